"""Charts, each drawn twice from the same numbers: in characters for the terminal, and as SVG.

The SVG follows the reader's light or dark mode, and fits a telephone. What puts charts on a page with
text and tables is report.py, or matrices.py.
"""
import math
from dataclasses import dataclass, replace
from html import escape

import numpy as np

from lib.matrices import part
from lib.terminal import COLUMNS, pad
from minigpt_np.files.atomic import atomic_write

MARKS = "●○▲+x◇"             # one for each line, in characters
COLOURS = [("#1d5fbf", "#7db4ff"), ("#b85c00", "#ffab57"), ("#167a4a", "#63d39b"),
           ("#8a3fa8", "#d39af0"), ("#b3262e", "#ff8f8f"), ("#5b6470", "#aab4c0")]     # light, dark
DASHES = ["", "7 3", "2 3", "9 3 2 3", "4 4", "1 3"]
W, H = 360, 230             # of an SVG, so that its letters are legible on a telephone
LEFT, RIGHT, TOP, BOTTOM = 50, 10, 8, 38
LABEL_COLUMNS, BAR_COLUMNS = 34, 26


@dataclass
class Lines:
    """Lines over a common axis, or clouds of points.

    x, y       what the axes show
    series     name -> (x (n,), y (n,)); with a logarithmic axis, what is not positive is left out
    points     draw points, not lines
    also       numbers that the axes must show, too: of x, of y (see on_one_scale)
    """
    title: str
    x: str
    y: str
    series: dict
    points: bool = False
    log_x: bool = False
    log_y: bool = False
    also: tuple = ((), ())

    def axes(self):
        """The two axes, wide enough for all series."""
        xs, ys = zip(*(self.shown(name) for name in self.series))
        return Axis(np.concatenate([*xs, self.also[0]]), self.log_x), Axis(np.concatenate([*ys, self.also[1]]), self.log_y)

    def shown(self, name):
        """x and y of a series, where both can be shown."""
        x, y = (np.asarray(values, float) for values in self.series[name])
        keep = np.isfinite(x) & np.isfinite(y) & ~(self.log_x & (x <= 0)) & ~(self.log_y & (y <= 0))
        return x[keep], y[keep]

    def text(self, rows=12):
        across, up = self.axes()
        columns = COLUMNS - 11
        grid = [[" "] * columns for _ in range(rows)]
        for mark, name in zip(MARKS, self.series):
            x, y = self.shown(name)
            if not self.points and len(x) > 1:
                x, y = filled(across.place(x), up.place(y), columns)
            else:
                x, y = across.place(x), up.place(y)
            for a, b in zip(x, y):
                grid[rows - 1 - round(b * (rows - 1))][round(a * (columns - 1))] = mark
        ends = {0: short(up.high), rows - 1: short(up.low)}
        lines = [f"{self.y}"]
        lines += [f"{ends.get(i, ''):>9} │" + "".join(line).rstrip() for i, line in enumerate(grid)]
        low, high = short(across.low), short(across.high)
        room = columns - len(low) - len(high)
        lines += [" " * 10 + "└" + "─" * columns,
                  " " * 11 + low + self.x.center(room)[:room] + high]
        keys = [f"{mark} {name}" for mark, name in zip(MARKS, self.series)]
        while keys:             # as many on a line as it takes
            n = max(n for n in range(1, len(keys) + 1) if n == 1 or len("   ".join(keys[:n])) <= COLUMNS)
            lines.append("   ".join(keys[:n]))
            keys = keys[n:]
        return lines

    def svg(self):
        across, up = self.axes()
        parts = frame(across, up, self.x, self.y)
        for i, name in enumerate(self.series):
            x, y = self.shown(name)
            x = LEFT + across.place(x) * (W - LEFT - RIGHT)
            y = H - BOTTOM - up.place(y) * (H - TOP - BOTTOM)
            places = [f"{a:.1f},{b:.1f}" for a, b in zip(x, y)]
            if self.points:
                dots = "".join(f"M{place}h0" for place in places)
                parts.append(f'<path class="dots s{i}" d="{dots}"/>')
            else:
                parts.append(f'<polyline class="s{i}" points="{" ".join(places)}"/>')
        legend = "".join(key(i, name, self.points) for i, name in enumerate(self.series))
        return figure(self.title, "".join(parts), H, legend)


@dataclass
class Bars:
    """A bar for each name as long as the mean of its numbers, one for each seed; ticks show each.

    x         what the length shows
    values    name -> numbers
    also      numbers that the axis must show, too
    """
    title: str
    x: str
    values: dict
    also: tuple = ()

    def axis(self):
        return Axis(np.concatenate([[0], *map(np.asarray, self.values.values()), self.also]), False)

    def text(self):
        axis, lines = self.axis(), [self.x]
        zero = round(axis.place(0) * BAR_COLUMNS)
        for name, numbers in self.values.items():
            end = round(axis.place(np.mean(numbers)) * BAR_COLUMNS)
            bar = " " * min(zero, end) + ("█" * abs(end - zero) or "│")
            lines.append(f"{pad(name, LABEL_COLUMNS)} {bar:{BAR_COLUMNS + 1}} {spread(numbers)}")
        return lines

    def svg(self):
        axis, step, parts = self.axis(), 34, []
        right = W - RIGHT

        def place(value):
            return 8 + axis.place(value) * (right - 8)

        for i, (name, numbers) in enumerate(self.values.items()):
            y, a, b = 4 + i * step, place(0), place(np.mean(numbers))
            parts.append(f'<text class="name" x="8" y="{y + 11}">{escape(name)}</text>'
                         f'<text class="end" x="{right}" y="{y + 11}">{spread(numbers)}</text>'
                         f'<rect class="bar" x="{min(a, b):.1f}" y="{y + 16}" '
                         f'width="{max(abs(b - a), 1):.1f}" height="9"/>')
            parts += [f'<path class="seed" d="M{place(v):.1f},{y + 14}v13"/>' for v in numbers]
            parts.append(f'<path class="axis" d="M{a:.1f},{y + 14}v13"/>')
        height = 4 + step * len(self.values) + 18
        parts.append(f'<text class="name" x="8" y="{height - 5}">{escape(self.x)}; '
                     'one tick a seed</text>')
        return figure(self.title, "".join(parts), height, "")


def on_one_scale(charts):
    """The charts with axes of one length: those that show the same along x or along y can be compared.

    Two that show different things, or one of them logarithmically, keep axes of their own.
    """
    lines = [chart for chart in charts if isinstance(chart, Lines)]
    ends = {}
    for chart in lines:
        for what, axis in zip((("x", chart.x, chart.log_x), ("y", chart.y, chart.log_y)), chart.axes()):
            ends.setdefault(what, []).extend((axis.low, axis.high))
    for chart in charts:
        if isinstance(chart, Bars):
            axis = chart.axis()
            ends.setdefault(("bars", chart.x), []).extend((axis.low, axis.high))

    def of(what):
        return min(ends[what]), max(ends[what])

    return [replace(chart, also=of(("bars", chart.x)) if isinstance(chart, Bars)
                    else (of(("x", chart.x, chart.log_x)), of(("y", chart.y, chart.log_y))))
            for chart in charts]


class Axis:
    """From the least to the greatest of values: a place in 0..1 for each, and round numbers."""

    def __init__(self, values, log):
        self.log = log
        low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
        if high - low <= 1e-8 * max(abs(low), abs(high)):       # or rounding would decide what is where
            low, high = (low / 2, high * 2) if log else (low - 1, high + 1)
        self.low, self.high = low, high

    def place(self, value):
        f = np.log if self.log else np.asarray
        return np.clip((f(value) - f(self.low)) / (f(self.high) - f(self.low)), 0, 1)

    def ticks(self):
        """A few round numbers between the ends."""
        if self.log and self.high / self.low >= 10:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            wanted = (1,) if len(powers) > 4 else (1, 2, 5)
            ticks = [m * 10.0 ** p for p in powers for m in wanted]
            ticks = [t for t in ticks if self.low * 0.999 <= t <= self.high * 1.001]
            return ticks[::1 + len(ticks) // 8]
        step = 10 ** math.floor(math.log10((self.high - self.low) / 2))
        step *= next(m for m in (5, 2, 1) if (self.high - self.low) / (m * step) >= 2)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [n * step for n in range(first, last + 1)]


def frame(across, up, x, y):
    """The axes' lines and numbers."""
    right, bottom = W - RIGHT, H - BOTTOM
    parts = []
    for value in up.ticks():
        at = bottom - up.place(value) * (bottom - TOP)
        parts.append(f'<path class="grid" d="M{LEFT},{at:.1f}H{right}"/>'
                     f'<text class="end" x="{LEFT - 5}" y="{at + 4:.1f}">{short(value)}</text>')
    for value in across.ticks():
        at = LEFT + across.place(value) * (right - LEFT)
        parts.append(f'<text class="mid" x="{at:.1f}" y="{bottom + 15}">{short(value)}</text>')
    parts.append(f'<path class="axis" d="M{LEFT},{TOP}V{bottom}H{right}"/>'
                 f'<text class="mid" x="{(LEFT + right) / 2}" y="{H - 6}">{escape(x)}</text>'
                 f'<text class="mid" transform="translate(11 {(TOP + bottom) / 2})rotate(-90)">'
                 f'{escape(y)}</text>')
    return parts


def figure(title, drawing, height, legend):
    title = escape(title)
    return (f'<figure><figcaption>{title}</figcaption><div class="legend">{legend}</div>'
            f'<svg viewBox="0 0 {W} {height}" role="img" aria-label="{title}">{drawing}</svg>'
            '</figure>')


def key(i, name, points):
    kind, line = ("dots ", "M14,6h0") if points else ("", "M1,6H27")
    line = f'<path class="{kind}s{i}" d="{line}"/>'
    return f'<span><svg class="key" viewBox="0 0 28 12">{line}</svg>{escape(name)}</span>'


def filled(x, y, columns):
    """Places (0..1) of a line at every column between its points."""
    order = np.argsort(x, kind="stable")
    across = np.linspace(x[order[0]], x[order[-1]], columns)
    return across, np.interp(across, x[order], y[order])


def short(value):
    """A number on an axis."""
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e6:
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"


def spread(numbers, digits=3):
    """'1.234 ± 0.005': mean and standard deviation over the seeds; one seed has no spread."""
    mean = f"{np.mean(numbers):.{digits}f}"
    return f"{mean} ± {np.std(numbers, ddof=1):.{digits}f}" if len(numbers) > 1 else mean


def style():
    """The page's CSS: the colours of the lines, and pages/charts.css."""
    light, dark = (";".join(f"--s{i}:{pair[shade]}" for i, pair in enumerate(COLOURS)) for shade in (0, 1))
    lines = "".join(f".s{i}{{stroke:var(--s{i});stroke-dasharray:{dash or 'none'}}}\n"
                    for i, dash in enumerate(DASHES))
    return f":root{{{light}}}\n@media(prefers-color-scheme:dark){{:root{{{dark}}}}}\n{lines}{part('charts.css')}"


def save(path, text):
    """Write the text to `path`; the file is the new one, whole, or still the old one."""
    with atomic_write(path) as file:
        file.write(text.encode())
