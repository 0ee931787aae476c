"""Two kinds of figure as SVG: each seed's number along an axis, and lines over a common axis.

They follow the reader's light or dark mode. Labels stand on the lines, and every seed is drawn.
"""
import math
from html import escape

import numpy as np

from minigpt_np.files.atomic import atomic_write

# name -> (light, dark): lookup and input are blue, logits and output orange, sum and tied violet.
COLOURS = {"lookup": ("#1e69d7", "#7db4ff"), "logits": ("#b85c00", "#ffab57"),
           "sum": ("#7d41be", "#caa0fa"), "grey": ("#5b6470", "#aab4c0")}
STYLE = """text{font:12px system-ui,sans-serif;fill:#222} .title{font-weight:600;font-size:14px}
.axis{stroke:#777;fill:none} .grid{stroke:#ddd} .mid{text-anchor:middle} .end{text-anchor:end}
.seed{stroke-width:1;opacity:.45;fill:none} .mean{stroke-width:2.5;fill:none} .back{fill:#fff}"""
DARK = "text{fill:#ddd} .grid{stroke:#333} .back{fill:#111}"


def drawing(title, width, height, parts):
    """The file's text."""
    light, dark = ("\n".join(f".{name}{{stroke:{shades[mode]}}} text.{name},circle.{name}"
                             f"{{fill:{shades[mode]};stroke:none}}"
                             for name, shades in COLOURS.items()) for mode in (0, 1))
    title = escape(title)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img" aria-label="{title}">\n'
            f"<style>{STYLE}\n{light}\n"
            f"@media(prefers-color-scheme:dark){{{DARK}\n{dark}}}</style>\n"
            f'<rect class="back" width="{width}" height="{height}"/>'
            f'<text class="title" x="10" y="20">{title}</text>\n' + "\n".join(parts) + "\n</svg>\n")


def dots(title, x, groups, names):
    """Numbers of each seed as circles, their mean as a bar, beside a line at 0.

    x       what the axis shows, with its unit
    groups  heading -> {label: ((seeds,) numbers, colour)}
    names   a line under the title that says what the marks are
    """
    values = [numbers for rows in groups.values() for numbers, _ in rows.values()]
    values = np.concatenate([*values, [0]])
    left, right, step, top = 230, 630, 18, 50
    ticks = round_numbers(*wide(values.min(), values.max()))
    low, high = min(ticks[0], values.min()), max(ticks[-1], values.max())
    parts, y = [f'<text x="10" y="38">{escape(names)}</text>'], top

    def at(value):
        return left + (value - low) / (high - low) * (right - left)

    body = []
    for heading, rows in groups.items():
        y += 30 if body else 22
        body.append(f'<text x="10" y="{y}" style="font-weight:600">{escape(heading)}</text>')
        for label, (numbers, colour) in rows.items():
            y += step
            mean = np.mean(numbers)
            body.append(f'<text class="{colour}" x="20" y="{y + 4}">{escape(label)}</text>')
            body += [f'<circle class="{colour}" cx="{at(value):.1f}" cy="{y}" r="3.5" '
                     'opacity=".55"/>' for value in numbers]
            body.append(f'<path class="mean {colour}" d="M{at(mean):.1f},{y - 8}v16"/>')
            body.append(f'<text class="end" x="{right + 60}" y="{y + 4}">{mean:+.3f}</text>')
    bottom = y + 14
    for tick in ticks:
        line = "axis" if tick == 0 else "grid"
        parts.append(f'<path class="{line}" d="M{at(tick):.1f},{top + 6}V{bottom}"/>'
                     f'<text class="mid" x="{at(tick):.1f}" y="{bottom + 16}">{tick:.4g}</text>')
    parts += body
    parts.append(f'<text class="mid" x="{(left + right) / 2}" y="{bottom + 34}">{escape(x)}</text>')
    return drawing(title, 700, bottom + 44, parts)


def lines(title, x, y, series, names=None, log_x=False, log_y=False, mark=None, low=None,
          high=None):
    """Lines with a label at their ends: the mean thick, each seed thin.

    series  label -> (x (n,), y (seeds, n), colour, dashes)
    names   of the places along x, in place of numbers
    mark    (x, text) of a vertical line
    low, high   the ends of y, where the data should not decide
    """
    xs = np.concatenate([np.asarray(at, float) for at, *_ in series.values()])
    ys = np.concatenate([np.ravel(values) for _, values, *_ in series.values()])
    left, right, top, bottom = 60, 520, 50, 330
    low, high = wide(ys.min() if low is None else low, ys.max() if high is None else high, log_y)
    across, up = (xs.min(), xs.max(), log_x), (low, high, log_y)
    parts = []

    def place(value, axis, begin, end):
        first, last, log = axis
        f = math.log if log else float
        return begin + (f(value) - f(first)) / (f(last) - f(first)) * (end - begin)

    for tick in round_numbers(low, high, log_y):
        at = place(tick, up, bottom, top)
        parts.append(f'<path class="grid" d="M{left},{at:.1f}H{right}"/>'
                     f'<text class="end" x="{left - 6}" y="{at + 4:.1f}">{tick:.4g}</text>')
    for i, tick in enumerate(names or round_numbers(xs.min(), xs.max(), log_x)):
        at = place(i if names else tick, across, left, right)
        tick = tick if names else f"{tick:.4g}"
        parts.append(f'<text class="mid" x="{at:.1f}" y="{bottom + 17}">{tick}</text>')
    if mark:
        at = place(mark[0], across, left, right)
        parts.append(f'<path class="axis" stroke-dasharray="3 3" d="M{at:.1f},{top}V{bottom}"/>'
                     f'<text x="{at + 5:.1f}" y="{top + 12}">{escape(mark[1])}</text>')
    parts.append(f'<path class="axis" d="M{left},{top}V{bottom}H{right}"/>'
                 f'<text class="mid" x="{(left + right) / 2}" y="{bottom + 36}">{escape(x)}</text>'
                 f'<text x="{left - 50}" y="{top - 12}">{escape(y)}</text>')
    ends = []
    for label, (at, values, colour, dashes) in series.items():
        mean = np.mean(values, axis=0)
        for numbers, kind in [(one, "seed") for one in values] + [(mean, "mean")]:
            points = " ".join(f"{place(a, across, left, right):.1f},{place(b, up, bottom, top):.1f}"
                              for a, b in zip(at, numbers))
            parts.append(f'<polyline class="{kind} {colour}" '
                         f'stroke-dasharray="{dashes or "none"}" points="{points}"/>')
        ends.append([place(mean[-1], up, bottom, top), label, colour])
    for i, (at, label, colour) in enumerate(apart(sorted(ends))):
        label = escape(label)
        parts.append(f'<text class="{colour}" x="{right + 8}" y="{at + 4:.1f}">{label}</text>')
    return drawing(title, 700, bottom + 48, parts)


def apart(ends, least=15):
    """Labels whose lines end close together, moved down until they are `least` pixels apart."""
    for one, next in zip(ends, ends[1:]):
        next[0] = max(next[0], one[0] + least)
    return ends


def wide(low, high, log=False):
    """The ends of an axis; apart, if the numbers are all the same."""
    if high - low > 1e-9 * max(abs(low), abs(high)):
        return low, high
    return (low / 2, high * 2) if log else (low - 1, high + 1)


def round_numbers(low, high, log=False):
    """A few round numbers from `low` to `high`; on a logarithmic axis 1, 2, 5 times 10**n."""
    if log:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        ticks = [m * 10.0 ** p for p in powers for m in (1, 2, 5)]
        ticks = [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]
        return ticks if len(ticks) < 9 else [t for t in ticks if f"{t:e}"[0] == "1"]
    step = 10 ** math.floor(math.log10((high - low) / 2))
    step *= next(m for m in (5, 2, 1, 0.5) if (high - low) / (m * step) >= 3)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [n * step for n in range(first, last + 1)]


def save(path, text):
    """Write the text to `path`, atomically."""
    with atomic_write(path) as file:
        file.write(text.encode())
