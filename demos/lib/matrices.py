"""Matrices as coloured cells in an HTML page: what replay.py and tied_gradients.py draw with.

pages/cells.css says what a number looks like, pages/cells.js lets mouse, finger and keyboard reach it;
both also serve pages that draw their cells by script.
"""
from html import escape
from pathlib import Path

import numpy as np

from lib.charts import style as charts_style


def part(name):
    """A part of pages: the text of a file in pages/, to be put into the page."""
    return (Path(__file__).parent / "pages" / name).read_text(encoding="utf-8")


STYLE, SCRIPT = part("cells.css"), part("cells.js")
DIGITS_UP_TO = 8            # columns; beyond, cells are narrow and without digits

STATIC = """
.beside { display: flex; flex-wrap: wrap; gap: 10px 22px; align-items: flex-start; }
.drawing { margin: 6px 0; max-width: 100%; color: rgb(var(--ink)); }
.drawing .titles { font-weight: 650; font-size: .9rem; }
.drawing .note { color: rgb(var(--soft)); font-size: .8rem; }
pre { overflow-x: auto; font-size: .85rem; }
"""


def matrix(name, values, rows, scale=None, use="", title="", note="", columns=(), says=None):
    """One matrix as HTML.

    name     what a cell is called: name[row, column] = value, shown when it is pointed at
    values   (R, C) numbers; scale: the magnitude drawn strongest, the largest of its own if None
    rows     R texts; columns: C texts or none
    use      "logits", "lookup" or "sum" for their colours
    says     (r, c) -> more lines about a cell, or None
    """
    scale = scale or float(np.abs(values).max(initial=0)) or 1.0
    C = values.shape[1]
    digits, lines = C <= DIGITS_UP_TO, []
    if columns:
        heads = "".join(f'<th scope="col">{escape(c)}</th>' for c in columns)
        lines.append(f"<thead><tr><td></td>{heads}</tr></thead>")
    for r, row in enumerate(values):
        cells = [f'<th scope="row">{escape(rows[r])}</th>']
        for c, value in enumerate(row):
            about = f"{name}[{rows[r]}, {columns[c] if columns else c}] = {value:.4g}"
            about += "".join(f"\n{line}" for line in says(r, c)) if says else ""
            cells.append(f'<td class="{looks(value, use)}" style="--a:{min(1, abs(value) / scale):.3f}" '
                         f'tabindex="{0 if r == c == 0 else -1}" title="{escape(about)}">'
                         f'{brief(value) if digits else ""}</td>')
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


def brief(value):
    """A number in at most four characters; exactly 0 is none: its cell shows a dot."""
    size, sign = abs(value), "−" if value < 0 else ""
    if size == 0:
        return ""
    if size < 0.995:
        return sign + f"{size:.2f}"[1:]
    return sign + (f"{size:.1f}" if size < 9.95 else f"{size:.0f}")


def document(title, parts):
    """A page of its own, of parts of HTML and of charts' (lib/charts.py), that needs nothing else."""
    # The charts' style has variables of the same names that hold whole colours: each keeps its own.
    style = charts_style() + STYLE.replace(":root", ".drawing") + STATIC
    return (f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">'
            f'<title>{escape(title)}</title><style>{style}</style></head>'
            f'<body><main><h1>{escape(title)}</h1>{"".join(parts)}</main></body></html>\n')


def charts(*lines):
    return f'<div class="charts">{"".join(chart.svg() for chart in lines)}</div>'


def beside(*drawings):
    return f'<div class="beside">{"".join(drawings)}</div>'
