"""Matrices as coloured cells in an HTML page: what replay.py and tied_gradients.py draw with.

Numbers above 0 are green, below 0 red; where it matters whose a number is, the logits' are orange,
the lookup's blue, their sum violet, and numbers below 0 hatched.
"""
from html import escape

import numpy as np

from lib.charts import style as charts_style

STYLE = """
:root {
  color-scheme: light dark;
  --page: 255 255 255; --panel: 246 247 249; --ink: 24 32 44; --soft: 86 96 110;
  --line: 212 217 224; --lit: 255 240 178; --focus: 20 90 200;
  --plus: 10 140 130; --minus: 205 50 105;
  --logits: 216 112 0; --lookup: 30 105 215; --sum: 125 65 190;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: 17 21 27; --panel: 25 30 38; --ink: 229 233 239; --soft: 158 168 181; --line: 56 64 76;
    --lit: 78 68 20; --focus: 130 180 255;
    --plus: 40 190 175; --minus: 240 90 145;
    --logits: 245 150 45; --lookup: 90 160 255; --sum: 178 120 245;
  }
}
.matrix { display: grid; gap: 1px; width: max-content; max-width: 100%; font-size: 11px; }
.matrix .row, .matrix .head { color: rgb(var(--soft)); white-space: nowrap; overflow: hidden;
                              text-overflow: ellipsis; padding-right: 5px; line-height: 20px; }
.matrix .head { padding: 0 1px; text-align: center; font-size: 10px; line-height: 14px; }
.cell { height: 20px; min-width: 0; border-radius: 2px; text-align: center; line-height: 20px;
        font-size: 10px; overflow: hidden; white-space: nowrap; position: relative;
        background: rgb(var(--soft) / .07); font-variant-numeric: tabular-nums; }
.cell.plus { background: rgb(var(--plus) / var(--a)); }
.cell.minus { background: rgb(var(--minus) / var(--a)); }
.cell.logits { background-color: rgb(var(--logits) / var(--a)); }
.cell.lookup { background-color: rgb(var(--lookup) / var(--a)); }
.cell.sum { background-color: rgb(var(--sum) / var(--a)); }
.use.negative { background-image:
        repeating-linear-gradient(45deg, transparent 0 4px, rgb(var(--panel) / .42) 4px 5.5px); }
.titles.logits { color: rgb(var(--logits)); }
.titles.lookup { color: rgb(var(--lookup)); }
.titles.sum { color: rgb(var(--sum)); }
"""

STATIC = """
.beside { display: flex; flex-wrap: wrap; gap: 10px 22px; align-items: flex-start; }
.drawing { margin: 6px 0; max-width: 100%; color: rgb(var(--ink)); }
.drawing .titles { font-weight: 650; font-size: .9rem; }
.drawing .note { color: rgb(var(--soft)); font-size: .8rem; }
.cell:hover { box-shadow: 0 0 0 2px rgb(var(--ink)); z-index: 1; }
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
    cells = ["<span></span>"] if columns else []
    cells += [f'<span class="head">{escape(c)}</span>' for c in columns]
    for r, row in enumerate(values):
        cells.append(f'<span class="row">{escape(rows[r])}</span>')
        for c, value in enumerate(row):
            about = f"{name}[{rows[r]}, {columns[c] if columns else c}] = {value:.4g}"
            about += "".join(f"\n{line}" for line in says(r, c)) if says else ""
            kind = "plus" if value > 0 else "minus"
            if use:
                kind = f"use {use}" + " negative" * bool(value < 0)
            shade = 0.08 + 0.62 * min(1, abs(value) / scale) if value else 0
            text = brief(value) if C <= 8 else ""
            cells.append(f'<span class="cell {kind}" style="--a:{shade:.3f}" '
                         f'title="{escape(about)}">{text}</span>')
    width = 34 if C <= 8 else max(8, min(20, 330 // C))
    return (f'<div class="drawing"><div class="titles {use}">{escape(title or name)}</div>'
            f'<div class="note">{escape(note)}&nbsp;</div>'
            f'<div class="matrix" role="img" aria-label="{escape(title or name)}" '
            f'style="grid-template-columns:max-content repeat({C},minmax(0,{width}px))">'
            f'{"".join(cells)}</div></div>')


def brief(value):
    """A number in at most four characters."""
    size, sign = abs(value), "−" if value < 0 else ""
    if size < 0.005:
        return "0"
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
