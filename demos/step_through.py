"""Step through one forward and one backward pass, line by line, in the package's own source.

    python demos/step_through.py                # Enter steps; h lists the rest
    python demos/step_through.py --auto | less  # every line, without a keyboard

After each line: what it has bound or changed, with shapes and values, and where E and dE stand.
The two lines that accumulate into dE stop every jump and show dE before, the contribution, dE after.
"""
import argparse
import bdb
import pdb
import shutil
import sys

import numpy as np

from lib.terminal import (
    COLUMNS, Panel, bold, colours, cut, label, legend, pad, paragraph, picture, run, shade, width)
from lib.walk import Walk, add_arguments, example_of, source

HELP = """\
Enter       the next line
f           on to the next layer's forward, or to where backward begins
b           on to the next layer's backward
            (both stop at a line that accumulates into dE; to go back, use
            demos/replay.py)
NAME        print a name: x, cache.x, grads.W; E, dE and P are there everywhere
p NAME      the same for a name that is also a command: p q
d           pdb, right here; its c comes back to this walk, its q quits
q           quit
h           this help"""


class Guide:
    """What is shown at each line, and what is done next.

    ask      prompt -> what is typed; None: nobody is there, every line is shown
    """

    def __init__(self, example, ask=None, colour=False, debugger=None):
        self.example, self.ask, self.colour = example, ask, colour
        self.walk = Walk(example, self.on_step)
        self.debugger = debugger or Visit
        self.until = ""             # "forward" or "backward" while jumping there
        self.count = 0

    def on_step(self, step, frame):
        self.count += 1
        if self.walk.visitor is not None or not self.stops(step):
            return
        self.until = ""
        print("\n".join(self.lines(step)))
        while self.ask:
            try:
                command = self.ask("(h for help) > ").strip()
            except EOFError:
                raise bdb.BdbQuit from None
            if self.handle(command, step, frame):
                break

    def stops(self, step):
        missed = self.until == "forward" and step.phase == "backward"
        return not self.until or step.enters == self.until or missed or step.accumulation is not None

    def handle(self, command, step, frame):
        """Do what the command says; whether the walk goes on."""
        if command == "q":
            raise bdb.BdbQuit
        if command == "d":
            self.debugger(self.walk).visit(frame)
        elif command == "f" and step.phase == "backward":
            print("The forward pass is over; b goes on to the next layer backwards.")
            return False
        elif command in ("f", "b"):
            self.until = {"f": "forward", "b": "backward"}[command]
        elif command == "h":
            print(HELP)
            return False
        elif command:
            print(self.look_up(command.removeprefix("p ").strip(), frame))
            return False
        return True

    def look_up(self, name, frame):
        """The text of a name, or of a name's attribute; no expressions: they are what pdb is for."""
        first, *rest = name.split(".")
        everywhere = {"E": self.example.model.params.E, "dE": self.walk.grads.E,
                      "P": self.example.model.params.P}
        scopes = [dict(frame.f_locals), everywhere, frame.f_globals]
        scope = next((scope for scope in scopes if first in scope), None)
        if scope is None:
            return f"no name {first!r} here; there are {', '.join(dict(frame.f_locals)) or 'none'}"
        value = scope[first]
        for part in rest:
            if not hasattr(value, part):
                return f"no {part!r} in {first}; d opens pdb, which evaluates expressions"
            value = getattr(value, part)
        if isinstance(value, np.ndarray):
            with np.printoptions(precision=4, suppress=True, linewidth=COLUMNS):
                return f"{name}  {value.shape}  {value.dtype}\n{value}"
        return f"{name} = {value!r}"

    # -- what is shown

    def lines(self, step):
        here = [" › ".join(f"{file} {function}" for file, function, _ in step.stack)]
        if width(here[0]) > 56:
            here = [f"… › {step.file} {step.function}"]
        title = f"{step.phase}  {here[0]}  {self.count} "
        lines = ["", bold(cut(title + "─" * (COLUMNS - width(title)), COLUMNS), self.colour)]
        lines += self.code(step) + [""]
        if step.accumulation:
            return lines + self.before_and_after(step.accumulation, self.rows_left(lines))
        lines += ["is called with"] if step.kind == "call" else []
        below = ["", *self.standing("E", self.example.model.params.E), *self.standing("dE", step.dE)]
        values = [line for value in step.binds for line in self.value(value)]
        return lines + fitting(values, self.rows_left(lines + below)) + below

    def rows_left(self, lines):
        """How many lines the terminal has below these, above the prompt; any number if nobody is there."""
        return shutil.get_terminal_size().lines - len(lines) - 1 if self.ask else np.inf

    def code(self, step):
        """The line in its place; above it, at a call, the line that calls."""
        lines, shown = source(step.file), []
        if step.kind == "call" and len(step.stack) > 1:
            file, _, line = step.stack[-2]
            shown += [cut(f"from {file} {line}: {source(file)[line - 1].strip()}", COLUMNS)]
        for n in range(max(step.line - 1, 1), min(step.last_line + 1, len(lines)) + 1):
            lit = step.line <= n <= step.last_line
            text = cut(f"{'▶' if lit else ' '}{n:>4}  {lines[n - 1]}", COLUMNS).rstrip()
            shown.append(bold(text, self.colour and lit))
        return shown

    def value(self, value):
        if value.array is None:
            return [cut(f"{value.name} = {value.text}", COLUMNS)]
        title = f"{value.name}  {value.array.shape}"
        if value.array.dtype.kind == "i":
            numbers = " ".join(map(str, value.array.ravel()))
            return paragraph(f"{title}  {numbers}{self.spoken(value)}")
        grid = value.array.reshape(-1, *value.array.shape[-2:]) if value.array.ndim > 1 else (
            value.array[None, None])
        finite = np.abs(grid[np.isfinite(grid)])
        scale = float(finite.max(initial=0)) or 1.0
        names = [(f"[{i}]",) if len(grid) > 1 else () for i in range(len(grid))]
        rows = self.labels(value.rows, grid.shape[1])
        numbers = max(map(width, rows)) + 2 + grid.shape[2] * 8 <= COLUMNS
        heads = self.labels(value.columns, grid.shape[2]) if value.columns and numbers else ()
        panels = [Panel(name, part, scale, heads=tuple(cut(h, 7) for h in heads))
                  for name, part in zip(names, grid)]
        return [title, *picture(rows, panels, self.colour, numbers)]

    def spoken(self, value):
        """The tokens of ids."""
        if value.name.split(".")[-1] not in ("ids", "targets"):
            return ""
        return ":  " + " ".join(label(self.example.tokens[v]) for v in value.array.ravel())

    def labels(self, kind, n):
        if kind == "tokens":
            return [label(token) for token in self.example.tokens]
        if kind == "positions":
            return [f"{t} {label(self.example.tokens[v], 8)}"
                    for t, v in enumerate(self.example.ids[0])]
        return [""] * n

    def before_and_after(self, accumulation, rows_left):
        """dE before + contribution = dE after: in shades, and as many numbers as there is room for."""
        scale = float(max(np.abs(accumulation.before).max(), np.abs(accumulation.after).max(),
                          np.abs(accumulation.contribution).max()))
        before = Panel(("dE before",), accumulation.before, scale)
        contribution = Panel((f"from the {accumulation.use}",), accumulation.contribution, scale, "+")
        after = Panel(("dE after",), accumulation.after, scale, "=")
        rows = self.labels("tokens", 0)
        shown = [bold(f"This line accumulates into dE, for E as the {PART[accumulation.use]}", self.colour), "",
                 *picture(rows, [before, contribution, after], self.colour), *legend(scale, self.colour)]
        for numbers in ([before, contribution, after], [Panel(contribution.title, accumulation.contribution, scale)]):
            more = ["", *picture(rows, numbers, self.colour, numbers=True)]
            if len(shown) + len(more) <= rows_left:
                return shown + more
        return shown

    def standing(self, name, array):
        """E or dE in a line: a shade a number, the rows one after the other."""
        if not array.any():
            return [f"{name:<3} all 0"]
        scale, lines = float(np.abs(array).max()), [f"{name:<3}"]
        for token, row in zip(self.example.tokens, array):
            part = f" {label(token, 8)} " + "".join(shade(v, scale, 1, self.colour) for v in row)
            if width(lines[-1]) + width(part) + 1 > COLUMNS:
                lines.append(pad("", 3))
            lines[-1] += part + " "
        return [line.rstrip() for line in lines]


def fitting(lines, rows):
    """As many of the lines as there are rows; if some are left out, the last says how many."""
    if len(lines) <= rows:
        return lines
    kept = max(1, rows - 1)
    return lines[:kept] + [f"… {len(lines) - kept} more lines: type a name to print all of it"]


PART = {"logits": "head: something for every row", "lookup": "lookup: for the rows of its ids"}


class Visit(pdb.Pdb):
    """pdb at a frame of the walk; its `continue` goes back to the walk.

    The walk stays Python's trace function and passes its events on, so that pdb sees the package's
    frames and no others.
    """

    def __init__(self, walk, **streams):
        super().__init__(nosigint=True, readrc=False, **streams)
        self.walk = walk

    def visit(self, frame):
        self.reset()
        self.botframe = frame
        while self.botframe.f_back:
            self.botframe = self.botframe.f_back
        self.walk.visitor = self
        self.set_step()
        self.interaction(frame, None)

    def set_continue(self):
        self.walk.visitor = None
        self._set_stopinfo(self.botframe, None, -1)

    def set_quit(self):
        raise bdb.BdbQuit           # ends the walk as well


def main(argv=None):
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_arguments(parser)
    parser.add_argument("--auto", action="store_true",
                        help="show every line without asking (as always in a pipe)")
    args = parser.parse_args(argv)
    small = example_of(args)
    auto = args.auto or not (sys.stdin.isatty() and sys.stdout.isatty())
    guide = Guide(small, None if auto else input, colours(sys.stdout))
    T, V, c = small.ids.size, len(small.tokens), small.model.config
    sentence = " ".join(label(small.tokens[v]) for v in small.ids[0])
    print("\n".join(paragraph(
        f"Input: {sentence}. T = {T}, V = {V}, D = {c.n_embd}, H = {c.n_head}, L = {c.n_layer}; "
        f"E is ({V}, {c.n_embd}) and serves as lookup and as head.")))
    if not auto:
        print("\nEnter steps; f goes on to the next layer's forward, b to the next backward; h: help.")
    try:
        loss = guide.walk.run()
    except bdb.BdbQuit:
        return 0
    print(f"\nloss {loss:.6f}; dE holds both contributions. To go back in time: demos/replay.py")
    return 0


if __name__ == "__main__":
    run(main)
