"""What the demos share: errors without tracebacks, text and tables that fit the terminal, and
matrices as shades."""
import bdb
import os
import re
import shutil
import sys
import traceback
import unicodedata
from pathlib import Path

import numpy as np

import minigpt_np
from minigpt_np.training.debugger import debugger_attached

OURS = Path(minigpt_np.__file__).resolve().parent, Path(__file__).resolve().parents[1]
LAYERS = OURS[0] / "layers"             # no layer raises an error: one that does is being edited

# name of an argument of the package -> the option that sets it
OPTIONS = {"n_layer": "--layers", "n_head": "--heads", "n_embd": "--width",
           "block_size": "--block-size", "vocab_size": "--vocab-size", "embd_pdrop": "--dropout",
           "lr": "--lr", "weight_decay": "--weight-decay", "temperature": "--temperature",
           "top_k": "--top-k", "top_p": "--top-p"}

COLUMNS = 80            # columns of prose, at most, and of everything where there is no terminal
NARROWEST = 40          # columns that anything is fitted into, at least
LABEL = 12              # columns of a row's label, at most
MARGIN = 21             # columns kept free to the left of a matrix
DIGITS = 8              # columns that a number takes

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

    An error in the user's input (see is_of_input) becomes one message on stderr and status 2.
    Ctrl-C is status 130. A closed pipe, as after `| head`, is no error.
    """
    status, debugged = 0, debugger_attached()
    replace_missing_streams()
    if os.name == "nt":
        os.system("")                   # makes older consoles of Windows read escape sequences
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8")        # the shades, whatever the locale
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:
        pass
    except KeyboardInterrupt:
        if sys.stdout.isatty():
            print()                     # the prompt begins a line, not behind ^C
        status = 130
    except bdb.BdbQuit:                                 # q at a breakpoint() of the reader's
        if debugged:
            raise
        status = 1
    except (ValueError, OSError, MemoryError, FloatingPointError) as error:
        if not is_of_input(error):
            raise
        if not status:
            program, message = os.path.basename(sys.argv[0]), in_options(str(error))
            print(f"{program}: error: {message}", file=sys.stderr)
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
    """Whether the input is to blame: a file, memory, no UTF-8, or what a check raises: ValueError,
    and FloatingPointError where training diverges.

    Any other, such as NumPy's where two shapes do not fit, is a mistake in the code, and keeps its
    traceback: no `raise` statement of the package or the demos raised it.
    """
    if isinstance(error, (OSError, MemoryError, UnicodeError)):
        return True
    last = traceback.extract_tb(error.__traceback__)[-1]
    file = Path(last.filename).resolve()
    ours = any(map(file.is_relative_to, OURS)) and not file.is_relative_to(LAYERS)
    return ours and re.match(r"raise \w+\(", last.line or "") is not None


def in_options(message):
    """The message of a check, an option's name in place of that of the argument that it sets."""
    if message.partition(":")[0] not in OPTIONS:
        return message
    return re.sub(r"\w+", lambda word: OPTIONS.get(word[0], word[0]), message)


def check_least(parser, args, **least):
    """Leave with a message and status 2 unless each of these options that is given is so large."""
    for name, smallest in least.items():
        value = getattr(args, name)
        if value is not None and value < smallest:
            parser.error(f"--{name.replace('_', '-')}: {value} given, expected at least {smallest}")


def colours():
    """Whether to write colours: only to a terminal, and not if NO_COLOR is set (no-color.org)."""
    return (sys.stdout.isatty() and not os.environ.get("NO_COLOR")
            and os.environ.get("TERM") != "dumb")


def room():
    """Columns of the terminal that stdout is; COLUMNS where it is none.

    (The environment variable COLUMNS decides, if it is set.)
    """
    return max(NARROWEST, shutil.get_terminal_size((COLUMNS, 24)).columns)


# ---- text ----------------------------------------------------------------------------------------

def show(*blocks):
    """Print blocks, a blank line after each: a text as a paragraph, a list as lines."""
    for block in blocks:
        lines = paragraph(block) if isinstance(block, str) else block
        print("\n".join([*lines, ""]), flush=True)


def bold(text):
    return f"\x1b[1m{text}\x1b[0m" if colours() else text


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
    """The text, which has no escape sequences, or what fits of it and an ellipsis."""
    ends = np.cumsum([character_width(c) for c in text])
    if not text or ends[-1] <= columns:
        return text
    return text[:np.searchsorted(ends, columns - 1, side="right")] + "…"


def pad(text, columns, right=False):
    """The text, padded with blanks to `columns`, in front if it goes to the right."""
    blanks = " " * (columns - width(text))
    return blanks + text if right else text + blanks


def paragraph(text):
    """The text in lines that fit the terminal, of at most COLUMNS."""
    lines, fits = [""], min(room(), COLUMNS)
    for word in text.split():
        word = cut(word, fits)
        if lines[-1] and width(lines[-1]) + 1 + width(word) > fits:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word
    return lines


def plural(n, what):
    """1, "row" -> "1 row"; 2000, "row" -> "2,000 rows"."""
    return f"{n:,} {what}{'s' * (n != 1)}"


def table(*rows, right=True):
    """The rows in columns: the first to the left, the others to the right, as numbers are.

    Columns that do not fit beside one another go below, after the first again; of the first, as
    much is shown as fits beside the widest.
    """
    first, *others = [[str(cell) for cell in column] for column in zip(*rows)]
    widths = [max(map(width, column)) for column in others]
    margin = min(max(map(width, first)), room() - 2 - max(widths))
    parts, used = [], room()
    for column, n in zip(others, widths):
        used += 2 + n
        if used > room():
            parts.append([pad(cut(cell, margin), margin) for cell in first])
            used = margin + 2 + n
        parts[-1] = [f"{line}  {pad(cell, n, right)}" for line, cell in zip(parts[-1], column)]
    return [line.rstrip(" ") for part in parts for line in ("", *part)][1:]


# ---- matrices ------------------------------------------------------------------------------------

def shades(matrix, scale=None, use="", digits=False, heads=()):
    """A matrix (rows, C) as a list of texts, one for each row: a column of `table`.

    A number is two columns of shade, one if the terminal is too narrow for that, or its digits.
    scale    the magnitude drawn strongest; the largest of its own if None
    use      "lookup", "logits" or "sum" for their colours, "" for grey
    heads    C texts of one character, drawn above the columns in a first text
    """
    scale = scale or largest(matrix)
    C, most = matrix.shape[1], room() - MARGIN - 2
    cell = DIGITS if digits else 2 if 2 * C <= most else 1
    shown, more = (C, "") if C * cell <= most else ((most - 1) // cell, "…")
    draw = number if digits else shade
    rows = [[draw(value, scale, cell, use) for value in row] for row in matrix]
    rows = [[head.rjust(cell) for head in heads]] * bool(heads) + rows
    return ["".join(row[:shown]) + more for row in rows]


def largest(*matrices):
    """The largest magnitude of all numbers that are finite; 1 if there is none but 0."""
    sizes = [np.max(np.abs(matrix), initial=0, where=np.isfinite(matrix)) for matrix in matrices]
    return float(max(sizes, default=0)) or 1.0


def inked(text, use, level=1):
    """The text on a shade of a use's colour, in black or white; as it is without use or colours."""
    if use is None or not colours():
        return text
    ink = WHITE if level >= DEEP else BLACK
    return f"\x1b[38;5;{ink};48;5;{SHADES[use][level]}m{text}\x1b[0m"


def level_of(value, scale, n):
    """Which of n shades, 0 to n - 1, shows a number of this magnitude relative to `scale`."""
    return min(int(min(abs(value) / scale, 1) * n), n - 1)


def shade(value, scale, cell, use=""):
    """`cell` columns for a number, its magnitude relative to `scale`.

    In colour a negative number is hatched and exactly 0 is a dot; without, strokes and a blank.
    """
    if not np.isfinite(value):
        return "?" * cell
    if colours():
        if value == 0:
            return f"\x1b[38;5;{BLACK};48;5;{PAPER}m{'·'.rjust(cell)}\x1b[0m"
        level = level_of(value, scale, len(SHADES[use]))
        return inked((" " if value > 0 else "/") * cell, use, level)
    if value == 0:
        return " " * cell
    ramp = SOLID if value > 0 else STROKES
    return ramp[level_of(value, scale, len(ramp))] * cell


def number(value, scale, cell, use=""):
    """A number in `cell` columns, to four decimals; exactly 0 is a dot."""
    text = (f"{value:.4f}" if value else "·").rjust(cell)
    if value and np.isfinite(value):
        return inked(text, use, level_of(value, scale, len(SHADES[use])))
    return text


def legend(scale):
    """Two lines that say what the shades mean."""
    n = len(SHADES[""] if colours() else SOLID)
    steps = [(i + 0.5) / n for i in range(n)]
    left = "".join(shade(-step, 1, 2) for step in reversed(steps))
    right = "".join(shade(step, 1, 2) for step in steps)
    return [f"{-scale:.2g} {left}{right} +{scale:.2g}",
            f"exactly 0 is {'a dot' if colours() else 'blank'}"]
