"""What the demos share: pictures of matrices in a terminal, and errors without tracebacks."""
import bdb
import os
import re
import shutil
import sys
import traceback
import unicodedata
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import minigpt_np
from minigpt_np.training.debugger import debugger_attached

OURS = Path(minigpt_np.__file__).resolve().parent, Path(__file__).resolve().parents[1]
LAYERS = OURS[0] / "layers"             # no layer raises an error: one that does is being edited

COLUMNS = 80            # columns of prose, at most, and of everything where there is no terminal
NARROWEST = 40          # columns that anything is fitted into, at least
LABEL = 12              # columns of a row's label, at most
NUMBER = 8              # columns that a number takes

# A colour says whose number it is. Its shades go from small to large like ink on paper, and each
# sets its foreground too, so that it looks the same on a dark and on a light terminal. Indices into
# xterm's 256 colours.
SHADES = {
    "lookup": (189, 117, 75, 33, 27, 18),           # blue
    "logits": (223, 215, 208, 166, 130, 94),        # orange
    "sum": (225, 183, 177, 135, 129, 55),           # violet
    "": (254, 250, 246, 244, 241, 236),             # grey: no gradient
}
PAPER, BLACK, WHITE = 231, 16, 231
DEEP = 4                # from this shade on, white is read better than black
# The same without colour: a solid for positive numbers, strokes like a minus for negative ones.
SOLID, STROKES = "·░▒▓█", "·-=≡≣"

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


# ---- programs ------------------------------------------------------------------------------------

def run(main):
    """Call main() and leave with its exit status; for the last line of a demo.

    What is wrong with the user's input (see is_of_input) is one message on stderr and status 2.
    Ctrl-C is status 130; that a pipe was closed, as by `| head`, is no error.
    """
    status, debugged = 0, debugger_attached()
    replace_missing_streams()
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8")        # the shades, whatever the locale
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:
        pass
    except KeyboardInterrupt:
        if sys.stdout.isatty():
            print()                     # below the line of progress
        status = 130
    except bdb.BdbQuit:                                 # q at a breakpoint() of the reader's
        if debugged:
            raise
        status = 1
    except (ValueError, OSError, MemoryError) as error:
        if not is_of_input(error):
            raise
        if not status:
            print(f"{os.path.basename(sys.argv[0])}: error: {error}", file=sys.stderr)
            status = 2
    try:
        sys.stdout.flush()
    except OSError:                     # the interpreter would try again, and complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)


def replace_missing_streams():
    """Where a process has no stdin, stdout or stderr (`>&-`, pythonw), give it the null device."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))


def is_of_input(error):
    """Whether the input is to blame: a file, memory, no UTF-8, or a ValueError that a check raises.

    A ValueError from no `raise` of the package or of the demos, such as NumPy's in a line
    where two shapes do not fit, is a mistake in that line, and keeps its traceback.
    """
    if isinstance(error, (OSError, MemoryError, UnicodeError)):
        return True
    last = traceback.extract_tb(error.__traceback__)[-1]
    file = Path(last.filename).resolve()
    ours = any(map(file.is_relative_to, OURS)) and not file.is_relative_to(LAYERS)
    return ours and re.match(r"raise \w+\(", last.line or "") is not None


def check_least(parser, args, **least):
    """Leave with a message and status 2 unless each of these options that is given is so large."""
    for name, smallest in least.items():
        value = getattr(args, name)
        if value is not None and value < smallest:
            parser.error(f"--{name.replace('_', '-')}: {value} given, expected at least {smallest}")


def colours(stream):
    """Whether to write colours: only to a terminal, and not if NO_COLOR is set (no-color.org)."""
    wanted = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    if wanted and os.name == "nt":
        os.system("")           # makes older consoles of Windows read escape sequences
    return wanted


def room():
    """Columns of the terminal that stdout is; COLUMNS where it is none.

    (The environment variable COLUMNS decides, if it is set.)
    """
    return max(NARROWEST, shutil.get_terminal_size((COLUMNS, 24)).columns)


# ---- text ----------------------------------------------------------------------------------------

def bold(text, colour):
    return f"\x1b[1m{text}\x1b[0m" if colour else text


def width(text):
    """How many columns a text takes: wide characters two, accents and escape sequences none."""
    return sum(character_width(c) for c in ESCAPES.sub("", text))


def character_width(c):
    if unicodedata.category(c) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(c) in "WF" else 1


def label(token, columns=LABEL):
    """A token for a table: blanks and control characters made visible, `columns` wide at most."""
    text = "".join("␣" if c == " " else c if c.isprintable() else repr(c)[1:-1] for c in token)
    return cut(text, columns)


def cut(text, columns):
    """The text, or what fits of it and an ellipsis."""
    if width(text) <= columns:
        return text
    while text and width(text) > columns - 1:
        text = text[:-1]
    return text + "…"


def pad(text, columns, right=False):
    """The text, padded with blanks to `columns`, in front if it goes to the right."""
    blanks = " " * (columns - width(text))
    return blanks + text if right else text + blanks


def paragraph(text, indent=0):
    """The text in lines that fit the terminal, of at most COLUMNS, each after `indent` blanks."""
    lines, fits = [""], min(room(), COLUMNS) - indent
    for word in text.split():
        word = cut(word, fits)
        if lines[-1] and width(lines[-1]) + 1 + width(word) > fits:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word
    return [" " * indent + line for line in lines]


def table(*rows):
    """The rows with their cells in columns, indented.

    If that is too wide, what follows the first cell of a row goes below it, side by side if there
    is room.
    """
    needed = [max(map(width, cells)) for cells in zip(*rows)]
    if sum(needed) + 3 * len(needed) <= room():
        return ["   " + "   ".join(map(pad, row, needed)).rstrip() for row in rows]
    lines = []
    for first, *others in rows:
        beside = " " * 6 + "   ".join(filter(None, others))
        lines += paragraph(first, indent=3)
        fits = width(beside) <= room()
        lines += [beside] if fits else [line for text in others for line in paragraph(text, 6)]
    return lines


def number_table(*rows):
    """The rows in columns, the first to the left and the others, numbers, to the right.

    Columns that do not fit beside one another go below, after the first again.
    """
    columns = [[str(cell) for cell in column] for column in zip(*rows)]
    widths, lines, end = [max(map(width, column)) for column in columns], [], 1
    while end < len(columns):
        start, end = end, end + 1
        used = widths[0] + 2 + widths[start]
        while end < len(columns) and used + 2 + widths[end] <= room():
            used, end = used + 2 + widths[end], end + 1
        lines += [""] if lines else []
        for first, *others in zip(columns[0], *columns[start:end]):
            cells = [pad(cell, n, right=True) for cell, n in zip(others, widths[start:end])]
            lines.append("  ".join([pad(first, widths[0]), *cells]))
    return lines


# ---- matrices ------------------------------------------------------------------------------------

@dataclass
class Panel:
    """One matrix of a picture.

    title    lines above it, as many in all panels of a picture
    values   (rows, C) numbers, or a list of as many texts
    scale    the magnitude drawn strongest: the same in panels that are to be compared; the largest
             of its own if None
    joint    the sign between this panel and the one before
    heads    a number above each column; its last digit, if there is no room for all of it
    use      "lookup", "logits" or "sum" for their colours, "" for grey
    """
    title: tuple
    values: object
    scale: float | None = None
    joint: str = ""
    heads: tuple = ()
    use: str = ""

    @property
    def drawn(self):
        """Whether it is of numbers."""
        return isinstance(self.values, np.ndarray)

    @property
    def gap(self):
        """What stands between this panel and the one before."""
        return f" {self.joint} " if self.joint else "  "

    def columns(self, cell):
        """Columns it takes if a number takes `cell`."""
        widths = [self.values.shape[1] * cell] if self.drawn else map(width, self.values)
        return max([*widths, *map(width, self.title)], default=0)

    def lines(self, cell, most, heads, colour, numbers):
        """Its title, its heads if `heads`, and its rows: at most `most` wide, and all alike."""
        title, above = [cut(line, most) for line in self.title], ""
        if self.drawn:
            scale = self.scale or float(np.max(np.abs(self.values), initial=0)) or 1.0
            draw, shown = number if numbers else shade, most // cell
            rows = ["".join(draw(v, scale, cell, colour, self.use) for v in row)
                    for row in self.values[:, :shown]]
            above = "".join((text if len(text) < cell else text[-1]).rjust(cell)
                            for text in self.heads[:shown])
        else:
            rows = [cut(text, most) for text in self.values]
        if colour and self.use and title:
            title[0] = inked(title[0], self.use, 3)
        lines = [*title, *[above][:heads], *rows]
        columns = max(map(width, lines), default=0)
        return [pad(line, columns) for line in lines]


def picture(labels, panels, colour=False, numbers=False):
    """Lines that show the panels side by side after their row labels, within the terminal's width.

    A number is two columns of shade, one if that is too wide, or its digits if `numbers`. Panels
    that do not fit beside one another go below; columns that do not fit at all are left out, which
    the last line then says.
    """
    margin, heads = max(map(width, labels), default=0), any(panel.heads for panel in panels)
    cell = NUMBER if numbers else 2
    needed = margin + sum(len(panel.gap) + panel.columns(cell) for panel in panels)
    if not numbers and needed > room():
        cell = 1
    groups, used, missing = [], room(), []
    for panel in panels:
        most = room() - margin - len(panel.gap)
        lines = panel.lines(cell, most, heads, colour, numbers)
        used += len(panel.gap) + width(lines[0])
        if used > room():
            groups.append([])
            used = margin + len(panel.gap) + width(lines[0])
        groups[-1].append((panel.gap, lines))
        if panel.drawn and panel.values.shape[1] * cell > most:
            missing = [f"Only {most // cell} of {panel.values.shape[1]} columns fit."]
    above = len(panels[0].title) + heads
    parts = [["", *beside(labels, margin, group, above)] for group in groups]
    return [line for part in parts for line in part][1:] + missing


def beside(labels, margin, group, above):
    """The lines of panels that fit beside one another, given as (gap, lines), after the row labels.

    The first `above` lines are titles and have none.
    """
    joined = []
    for row, parts in enumerate(zip(*(lines for _, lines in group)), -above):
        line = pad(labels[row] if row >= 0 else "", margin)
        for (gap, _), part in zip(group, parts):
            line += (gap if row == len(labels) // 2 else " " * len(gap)) + part
        joined.append(line.rstrip(" "))
    return joined


def inked(text, use, level):
    """The text on a shade of a use's colour, in black or white."""
    ink = WHITE if level >= DEEP else BLACK
    return f"\x1b[38;5;{ink};48;5;{SHADES[use][level]}m{text}\x1b[0m"


def level_of(value, scale, n):
    """Which of n shades, 0 to n - 1, shows a number of this magnitude relative to `scale`."""
    return min(int(min(abs(value) / scale, 1) * n), n - 1)


def shade(value, scale, cell, colour, use=""):
    """`cell` columns for a number, its magnitude relative to `scale`.

    In colour a negative number is hatched and exactly 0 is a dot; without, strokes and a blank.
    """
    if not np.isfinite(value):
        return "?" * cell
    if colour:
        if value == 0:
            return f"\x1b[38;5;{BLACK};48;5;{PAPER}m{'·'.rjust(cell)}\x1b[0m"
        level = level_of(value, scale, len(SHADES[use]))
        return inked((" " if value > 0 else "/") * cell, use, level)
    if value == 0:
        return " " * cell
    ramp = SOLID if value > 0 else STROKES
    return ramp[level_of(value, scale, len(ramp))] * cell


def number(value, scale, cell, colour, use=""):
    """A number in `cell` columns, with the decimals that `scale` calls for; exactly 0 is a dot."""
    decimals = ".4f" if 0.001 < scale < 10 else ".2f" if 10 <= scale < 1000 else ".0e"
    text = (format(value, decimals) if value else "·").rjust(cell)
    if colour and value and np.isfinite(value):
        return inked(text, use, level_of(value, scale, len(SHADES[use])))
    return text


def legend(scale, colour, numbers=False, use=""):
    """What the shades mean, in one line if there is room; nothing to say about numbers."""
    if numbers:
        return []
    n = len(SHADES[use] if colour else SOLID)
    steps = [(i + 0.5) / n for i in range(n)]
    zero = f"exactly 0 is {'a dot' if colour else 'blank'}"
    for cell in (2, 1):
        left = "".join(shade(-s, 1, cell, colour, use) for s in reversed(steps))
        right = "".join(shade(s, 1, cell, colour, use) for s in steps)
        line = f"{-scale:.2g} {left}{right} +{scale:.2g}"
        if width(line) + width(zero) + 2 <= room():
            return [f"{line}; {zero}"]
    return [f"{line};", zero]
