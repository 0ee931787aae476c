"""Record a forward and a backward pass, line by line, in one HTML file that plays them.

    python demos/replay.py                                  # writes out/replay.html
    python demos/replay.py rose.html --text "a rose is a rose is a rose"

The file needs nothing else: open it in a browser. A slider and the arrow keys move through time.
"""
import argparse
import io
import json
import keyword
import math
import tokenize
from pathlib import Path


from lib import matrices
from lib.charts import save
from lib.terminal import label, run
from lib.walk import ALSO, TEXT, Walk, example, source

PAGE = Path(__file__).parent / "lib" / "replay_page.html"
DIGITS = 4                  # significant ones that are kept of a number
KINDS = {"tokens": "t", "positions": "p", "": ""}


class Recording:
    """The walk through an example as plain data, the way the page reads it."""

    def __init__(self, example):
        self.example = example
        self.arrays, self.index = [], {}    # what the page holds; id of an array -> its place there
        self.kept = []                      # the arrays, so that no id comes twice
        self.steps, self.writes, self.files = [], [], {}
        self.walk = Walk(example, self.see)

    def see(self, step, _frame):
        if step.write:
            self.writes.append({"step": len(self.steps), "use": step.write.use, **{
                name: self.array(getattr(step.write, name))
                for name in ("before", "contribution", "after", "parts")}})
        if step.file not in self.files:
            self.files[step.file] = coloured(source(step.file))
        self.steps.append({"kind": step.kind, "phase": step.phase, "stack": step.stack,
                           "last": step.last_line, "enters": bool(step.enters),
                           "dE": self.array(step.dE),
                           "reads": list(map(self.value, step.reads)),
                           "binds": list(map(self.value, step.binds))})

    def value(self, value):
        what = value.text if value.array is None else self.array(value.array)
        return [value.name, what, KINDS[value.rows], KINDS[value.columns]]

    def array(self, array):
        """The place of an array among those of the page."""
        if id(array) not in self.index:
            self.kept.append(array)
            self.index[id(array)] = len(self.arrays)
            values = list(map(rounded, array.ravel().tolist()))
            self.arrays.append({"shape": array.shape, "values": values})
        return self.index[id(array)]

    def data(self):
        """All of it, after the walk."""
        loss = self.walk.run()
        e, c = self.example, self.example.model.config
        tokens = [label(token) for token in e.tokens]
        sentence = " ".join(tokens[v] for v in e.ids[0])
        about = (f"Reads “{sentence}” and is to say “{' '.join(tokens[v] for v in e.targets[0])}”. "
                 f"T = {e.ids.size}, V = {len(tokens)}, D = {c.n_embd}, H = {c.n_head}, "
                 f"L = {c.n_layer}; untrained, loss {loss:.4f}.")
        return {"about": about, "tokens": tokens,
                "ids": e.ids[0].tolist(), "targets": e.targets[0].tolist(),
                "E": self.array(self.walk.copy(e.model.params.E)), "files": self.files,
                "arrays": self.arrays, "steps": self.steps, "writes": self.writes}


def rounded(x):
    """A number with DIGITS significant digits; what JSON has no number for as text."""
    if isinstance(x, int):
        return x
    if not math.isfinite(x):
        return str(x)
    x = float(f"{x:.{DIGITS}g}")
    return int(x) if x == int(x) and abs(x) < 1e6 else x


def coloured(lines):
    """Each line with its marks, [from, to, class]: comments "c", texts "s", keywords "k"."""
    marks = [[] for _ in lines]
    for token in tokenize.generate_tokens(io.StringIO("\n".join(lines)).readline):
        kind = {tokenize.COMMENT: "c", tokenize.STRING: "s"}.get(token.type)
        if token.type == tokenize.NAME and keyword.iskeyword(token.string):
            kind = "k"
        if kind is None:
            continue
        (first, start), (last, stop) = token.start, token.end
        for n in range(first, last + 1):
            begin, end = start if n == first else 0, stop if n == last else len(lines[n - 1])
            if begin < end:
                marks[n - 1].append([begin, end, kind])
    return list(zip(lines, marks))


def page(data):
    """The HTML: the data stand in a script element, where no `<` may come."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    empty = PAGE.read_text(encoding="utf-8").replace("/*MATRICES*/", matrices.STYLE)
    return empty.replace("/*DATA*/", text)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", nargs="?", default="out/replay.html", help="default: %(default)s")
    parser.add_argument("--text", default=TEXT, help="what is read and said (default: %(default)s)")
    parser.add_argument("--also", default=ALSO,
                        help="tokens that the text need not hold (default: %(default)s)")
    parser.add_argument("--width", type=int,
                        help="D (default: the least at which all axes differ)")
    parser.add_argument("--heads", type=int, default=2, help="H (default: %(default)s)")
    parser.add_argument("--layers", type=int, default=1, help="L (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the weights (default: %(default)s)")
    args = parser.parse_args(argv)
    recording = Recording(
        example(args.text, args.also, args.width, args.heads, args.layers, args.seed))
    Path(args.file).parent.mkdir(parents=True, exist_ok=True)
    html = page(recording.data())
    save(args.file, html)
    print(f"{len(recording.steps)} steps, {len(html.encode()):,} bytes: {args.file}")
    return 0


if __name__ == "__main__":
    run(main)
