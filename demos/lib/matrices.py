"""Matrices as coloured cells in an HTML page: what replay.py and tied_gradients.py draw with.

pages/cells.css says what a number looks like, pages/cells.js lets mouse, finger and keyboard reach it;
both also serve pages that draw their cells by script.
"""
import math
from html import escape
from pathlib import Path

import numpy as np


def part(name):
    """A part of pages: the text of a file in pages/, to be put into the page."""
    return (Path(__file__).parent / "pages" / name).read_text(encoding="utf-8")


DIGITS_UP_TO = 8            # columns; beyond, cells are narrow and without digits


def matrix(name, values, rows, scale=None, use="", title="", note="", columns=()):
    """One matrix as HTML.

    name     what a cell is called: name[row, column] = value, shown when it is pointed at
    values   (R, C) numbers; scale: the magnitude drawn strongest, the largest of its own if None
    rows     R texts; columns: C texts or none
    use      "logits", "lookup" or "sum" for their colours
    """
    scale = scale or float(np.abs(values).max(initial=0)) or 1.0
    C = values.shape[1]
    digits, lines = C <= DIGITS_UP_TO, []
    n = power(scale) if digits else 0
    note = "; ".join(filter(None, [note, unit(n)]))
    if columns:
        heads = "".join(f'<th scope="col">{escape(c)}</th>' for c in columns)
        lines.append(f"<thead><tr><td></td>{heads}</tr></thead>")
    for r, row in enumerate(values):
        cells = [f'<th scope="row">{escape(rows[r])}</th>']
        for c, value in enumerate(row):
            about = f"{name}[{rows[r]}, {columns[c] if columns else c}] = {value:.4g}"
            cells.append(f'<td class="{looks(value, use)}" style="--a:{min(1, abs(value) / scale):.3f}" '
                         f'tabindex="{0 if r == c == 0 else -1}" title="{escape(about)}">'
                         f'{brief(value / 10 ** n) if digits else ""}</td>')
        lines.append(f"<tr>{''.join(cells)}</tr>")
    title = escape(title or name)
    return (f'<div class="drawing"><div class="titles {use}">{title}</div>'
            f'<div class="note">{escape(note)}&nbsp;</div>'
            f'<table class="matrix{"" if digits else " narrow"}" role="grid" aria-label="{title}">'
            f'{"".join(lines)}</table></div>')


def looks(value, use=""):
    """The classes of a cell: its sign, and whose number it is."""
    sign = "positive" if value > 0 else "negative" if value < 0 else "zero"
    return f"cell {sign} {use}".rstrip()


def power(most):
    """n: cells show units of 10ⁿ. 0 unless all numbers, of which the largest is `most`, are small."""
    return math.floor(math.log10(most)) if most < 0.0995 else 0


def unit(n):
    return "×\u00a010⁻" + "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(digit)] for digit in str(-n)) if n else ""


def brief(value):
    """A number in at most four characters; exactly 0 is none: its cell shows a dot."""
    size, sign = abs(value), "−" if value < 0 else ""
    if size == 0:
        return ""
    if size < 0.995:
        return sign + f"{size:.2f}"[1:]
    return sign + (f"{size:.1f}" if size < 9.95 else f"{size:.0f}")
