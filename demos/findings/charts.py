"""Two kinds of figure as SVG: each seed's number along an axis, and lines over a common axis.

They follow the reader's light or dark mode. Labels stand on the lines, and every seed is drawn.
"""
from html import escape

import numpy as np

# name -> (light, dark): lookup and input are blue, logits and output orange, sum and tied violet.
COLOURS = {"lookup": ("#1e69d7", "#7db4ff"), "logits": ("#b85c00", "#ffab57"),
           "sum": ("#7d41be", "#caa0fa"), "grey": ("#5b6470", "#aab4c0")}
STYLE = """text{font:12px system-ui,sans-serif;fill:#222} .title{font-weight:600;font-size:14px}
.axis{stroke:#777;fill:none} .grid{stroke:#ddd} .mid{text-anchor:middle} .end{text-anchor:end}
.seed{stroke-width:1;opacity:.45;fill:none} .mean{stroke-width:2.5;fill:none} .back{fill:#fff}"""
DARK = "text{fill:#ddd} .grid{stroke:#333} .back{fill:#111}"
WIDTH = 700


def drawing(title, height, parts):
    """The file's text."""
    light, dark = ("\n".join(f".{name}{{stroke:{shades[mode]}}} text.{name},circle.{name}"
                             f"{{fill:{shades[mode]};stroke:none}}"
                             for name, shades in COLOURS.items()) for mode in (0, 1))
    title = escape(title)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            f'width="{WIDTH}" height="{height}" role="img" aria-label="{title}">\n'
            f"<style>{STYLE}\n{light}\n"
            f"@media(prefers-color-scheme:dark){{{DARK}\n{dark}}}</style>\n"
            f'<rect class="back" width="{WIDTH}" height="{height}"/>'
            f'<text class="title" x="10" y="20">{title}</text>\n' + "\n".join(parts) + "\n</svg>\n")


def text(content, x, y, classes=""):
    return f'<text class="{classes}" x="{x:.1f}" y="{y:.1f}">{escape(content)}</text>'


def line(path, classes, more=""):
    return f'<path class="{classes}" d="{path}" {more}/>'


def scale(low, high, begin, end):
    """The function that maps low..high to begin..end, pixels."""
    return lambda value: begin + (value - low) / (high - low) * (end - begin)


def dots(title, legend, unit, groups, ticks):
    """Numbers of each seed as circles, their mean as a bar.

    legend  a line under the title that says what the marks are
    groups  heading -> {label: ((seeds,) numbers, colour)}
    ticks   numbers on the axis, least first, which all others lie between
    """
    left, right, top, y = 230, 630, 56, 72
    at, body = scale(ticks[0], ticks[-1], left, right), []
    for heading, rows in groups.items():
        body.append(text(heading, 10, y, "title"))
        for label, (numbers, colour) in rows.items():
            y += 18
            body.append(text(label, 20, y + 4, colour))
            body += [f'<circle class="{colour}" cx="{at(number):.1f}" cy="{y}" r="3.5" '
                     'opacity=".55"/>' for number in numbers]
            body.append(line(f"M{at(np.mean(numbers)):.1f},{y - 8}v16", f"mean {colour}"))
            body.append(text(f"{np.mean(numbers):+.3f}", right + 60, y + 4, "end"))
        y += 30
    bottom = y - 16
    axis = [part for tick in ticks for part in (
        line(f"M{at(tick):.1f},{top}V{bottom}", "grid" if tick else "axis"),
        text(f"{tick:.4g}", at(tick), bottom + 16, "mid"))]
    return drawing(title, bottom + 44, [text(legend, 10, 38), *axis, *body,
                                        text(unit, (left + right) / 2, bottom + 34, "mid")])


def lines(title, x, y, series, x_ticks, y_ticks, mark=None):
    """Lines with a label at their ends: the mean thick, each seed thin.

    series  label -> (x (n,), y (seeds, n), colour, dashes)
    x_ticks, y_ticks    {place: text} on the axes, least first; the first and last are their ends
    mark    (x, text) of a vertical line
    """
    left, right, top, bottom = 60, 520, 50, 330
    across = scale(min(x_ticks), max(x_ticks), left, right)
    up = scale(min(y_ticks), max(y_ticks), bottom, top)
    parts = [part for place, name in y_ticks.items() for part in (
        line(f"M{left},{up(place):.1f}H{right}", "grid"),
        text(name, left - 6, up(place) + 4, "end"))]
    parts += [text(name, across(place), bottom + 17, "mid") for place, name in x_ticks.items()]
    parts += [line(f"M{left},{top}V{bottom}H{right}", "axis"),
              text(x, (left + right) / 2, bottom + 36, "mid"), text(y, left - 50, top - 12)]
    if mark:
        parts += [line(f"M{across(mark[0]):.1f},{top}V{bottom}", "axis", 'stroke-dasharray="3 3"'),
                  text(mark[1], across(mark[0]) + 5, top + 12)]
    ends = []
    for label, (places, values, colour, dashes) in series.items():
        mean = np.mean(values, axis=0)
        for numbers, classes in [(one, "seed") for one in values] + [(mean, "mean")]:
            points = " ".join(f"{across(a):.1f},{up(b):.1f}" for a, b in zip(places, numbers))
            parts.append(f'<polyline class="{classes} {colour}" '
                         f'stroke-dasharray="{dashes or "none"}" points="{points}"/>')
        ends.append((up(mean[-1]), label, colour))
    below = -np.inf
    for end, label, colour in sorted(ends):
        below = max(end, below + 15)            # so that labels do not overlap
        parts.append(text(label, right + 8, below + 4, colour))
    return drawing(title, bottom + 48, parts)
