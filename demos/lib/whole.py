"""A picture of the whole, as SVG: ids -> E -> blocks -> E -> logits -> loss, E drawn once, an arrow at each end.

What belongs to a stop of the tour (lib/tour.py) has the stop's name in its data-on.
"""
from html import escape

import numpy as np

E_LEFT, E_TOP, E_WIDTH, E_HEIGHT = 168, 164, 114, 126
ABOUT = ("The ids look up rows of E, which go through the blocks and come back to the same E as the head, which gives "
         "the logits and with them the loss. On the way back, a gradient reaches E from each of its two ends.")


def picture(E, tokens, layers):
    """The SVG of a model with this E (V, D), of these tokens and so many blocks."""
    return (f'<svg class="whole" viewBox="0 0 456 320" role="img" aria-label="{ABOUT}">'
            '<defs><marker id="arrowhead" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="11" markerHeight="11" '
            'markerUnits="userSpaceOnUse" orient="auto"><path d="M0,0L8,4L0,8z" fill="context-stroke"/></marker></defs>'
            f'{"".join([*boxes(layers), *cells(E, tokens), *arrows()])}</svg>')


def boxes(layers):
    right = E_LEFT + E_WIDTH + 90
    blocks = "1 block" if layers == 1 else f"{layers} blocks"
    return [
        box("ids", "what is read", 2, 200, "lookup lookup-gradient twice"),
        box(blocks, "attention, MLP", 135, 22, "stream way-back", 180),
        box("logits", "one a token", right, 200, "logits dlogits head-gradient"),
        box("loss", "mean −log p", right, 270, "loss dlogits"),
        f'<rect class="E" data-on="whole lookup logits head-gradient lookup-gradient twice sum" '
        f'x="{E_LEFT}" y="{E_TOP}" width="{E_WIDTH}" height="{E_HEIGHT}" rx="6"/>']


def box(title, note, x, y, on, width=82):
    middle = x + width / 2
    return (f'<g class="box" data-on="{on}"><rect x="{x}" y="{y}" width="{width}" height="46" rx="6"/>'
            f'<text class="title" x="{middle}" y="{y + 20}">{title}</text>'
            f'<text class="note" x="{middle}" y="{y + 37}">{note}</text></g>')


def cells(E, tokens):
    """E's numbers, as small squares in its box, and the tokens of its rows where there is room."""
    V, D = E.shape
    named = V <= 8
    left, top = E_LEFT + (44 if named else 10), E_TOP + 8
    width, height = (E_LEFT + E_WIDTH - 10 - left) / D, (E_HEIGHT - 16) / V
    drawn, most = [], np.abs(E).max() or 1
    for v, row in enumerate(E):
        y = top + v * height
        if named:
            middle, name = y + height / 2 + 4, escape(tokens[v][:5])
            drawn.append(f'<text class="token" x="{left - 5}" y="{middle:.1f}">{name}</text>')
        drawn += [number(x / most, left + d * width, y, width - 1, height - 1) for d, x in enumerate(row)]
    middle = E_LEFT + E_WIDTH / 2
    return drawn + [f'<text class="title" x="{middle}" y="{E_TOP + E_HEIGHT + 20}">E, one matrix</text>']


def number(share, x, y, width, height):
    """A square for a number, given as a share of the largest: negative crossed by a stroke, exactly 0 a dot."""
    if share == 0:
        return f'<circle class="zero" cx="{x + width / 2:.1f}" cy="{y + height / 2:.1f}" r="1.2"/>'
    square = (f'<rect class="number" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
              f'fill-opacity="{0.12 + 0.75 * abs(share):.2f}"/>')
    stroke = f'<path class="minus" d="M{x:.1f},{y + height:.1f}l{width:.1f},{-height:.1f}"/>'
    return square + stroke * bool(share < 0)


def arrows():
    """Each with its label; the way back is dashed."""
    left, right, top = E_LEFT, E_LEFT + E_WIDTH, E_TOP
    return [
        arrow(f"M85,215H{left - 4}", "look up", 126, 207, "lookup"),
        arrow(f"M{left + 14},{top - 2}V72", "x", left + 4, 115, "lookup stream", "end"),
        arrow(f"M{right - 32},70V{top - 4}", "h", right - 40, 115, "stream logits", "end"),
        arrow(f"M{right + 2},215H{right + 87}", "h Eᵀ", right + 44, 207, "logits"),
        arrow(f"M{right + 112},247V267", "", 0, 0, "loss"),
        arrow(f"M{right + 144},268V250", "", 0, 0, "dlogits", "start", "back"),
        arrow(f"M{right + 88},236H{right + 4}", "+ dlogitsᵀ h", right + 47, 255, "head-gradient sum", "middle",
              "back logits"),
        arrow(f"M{right - 14},{top - 2}V72", "dh", right - 5, 115, "way-back", "start", "back"),
        arrow(f"M{left + 34},70V{top - 4}", "dx", left + 40, 115, "way-back", "start", "back"),
        arrow(f"M{left + 34},70V{top - 4}", "+ one_hotᵀ dx", left + 6, 152, "lookup-gradient twice sum", "end",
              "back lookup")]


def arrow(path, label, x, y, on, anchor="middle", kind="ahead"):
    return (f'<g class="arrow {kind}" data-on="{on}"><path d="{path}" marker-end="url(#arrowhead)"/>'
            f'<text class="label" x="{x}" y="{y}" text-anchor="{anchor}">{label}</text></g>')
