"""Matrices drawn in a notebook, in the terminal's colours."""
from html import escape

import numpy as np

from lib.terminal import BLACK, DEEP, PAPER, SHADES, WHITE, label, largest, level_of

USES = {"lookup": "lookup", "logits": "logits", "dE": "sum"}


class Drawing(str):
    """HTML that a notebook renders."""

    def _repr_html_(self):
        return str(self)


def draw(rows, **matrices):
    """Matrices (V, C) side by side, a cell for each number, which it shows when it is pointed at.

    rows       V texts
    matrices   by name: lookup is drawn in blue, logits in orange, dE in violet, all three on one
               scale; any other in grey, on a scale of its own. A negative number is hatched,
               exactly 0 is a dot, NaN and infinity a question mark.
    """
    shared = largest(*(matrices[name] for name in USES if name in matrices))
    tables = []
    for name, matrix in matrices.items():
        scale = shared if name in USES else largest(matrix)
        body = ""
        for text, row in zip(rows, matrix):
            head = "" if tables else f'<th style="text-align: right">{escape(label(text))}</th>'
            cells = [cell(f"{name}[{text}, {c}] = {value:.4g}", value, scale, USES.get(name, ""))
                     for c, value in enumerate(row)]
            body += f"<tr>{head}{''.join(cells)}</tr>"
        tables.append('<table style="border-spacing: 1px; margin: 0 1em 0 0; color: inherit">'
                      f'<caption>{escape(name)} ±{scale:.2g}</caption>{body}</table>')
    return Drawing('<div style="display: flex; flex-wrap: wrap; align-items: end">'
                   f'{"".join(tables)}</div>')


def cell(about, value, scale, use):
    if not np.isfinite(value):
        return f'<td title="{escape(about)}">?</td>'
    level = level_of(value, scale, len(SHADES[use]))
    shade = css(SHADES[use][level] if value else PAPER)
    ink = css(WHITE if value and level >= DEEP else BLACK)
    hatch = f"repeating-linear-gradient(135deg, {ink} 0 1px, transparent 1px 5px), "
    return (f'<td title="{escape(about)}" style="padding: 0; width: 1.4em; height: 1.2em; '
            f'text-align: center; color: {ink}; background: {hatch if value < 0 else ""}{shade}">'
            f'{"" if value else "·"}</td>')


def css(index):
    """One of xterm's 256 colours, from 16 on, as CSS has it."""
    levels = (0, 95, 135, 175, 215, 255)
    red, green, blue = ([8 + 10 * (index - 232)] * 3 if index >= 232 else
                        [levels[(index - 16) // n % 6] for n in (36, 6, 1)])
    return f"#{red:02x}{green:02x}{blue:02x}"
