"""A forward and a backward pass of a small GPT as one HTML page: a guided tour, and every line replayed.

    python demos/replay.py                                  # writes out/replay.html
    python demos/replay.py rose.html --text "a rose is a rose is a rose"

The file needs nothing else: open it in a browser. replay.html#stop=head-gradient opens it at a stop of the tour,
#step=57 at a line.
"""
import argparse
import io
import json
import keyword
import math
import re
import tokenize
from pathlib import Path

from lib.charts import save
from lib.matrices import part
from lib.terminal import label, run
from lib.tour import product, tour
from lib.walk import KINDS, Walk, add_arguments, example_of, source
from lib.whole import picture
from lib.words import headline

DIGITS = 4                  # significant ones that are kept of a number
SCRIPTS = ["cells.js", "arrays.js", "tour.js", "every_line.js", "replay.js"]


class Recording:
    """The walk through an example as plain data, the way the page reads it."""

    def __init__(self, example):
        self.example = example
        self.arrays, self.index = [], {}    # what the page holds; id of an array -> its place there
        self.kept = []                      # the arrays, so that no id comes twice
        self.walked, self.files = [], {}
        self.walk = Walk(example, lambda step, frame: self.walked.append(step))

    def data(self):
        """All of it."""
        loss = self.walk.run()
        e, c = self.example, self.example.model.config
        tokens = [label(token) for token in e.tokens]
        about = (f"{e.ids.size} positions (T), {len(tokens)} tokens (V), {c.n_embd} numbers a token (D), "
                 f"{c.n_head} heads (H), {c.n_layer} block{'s' * (c.n_layer > 1)} (L); untrained, loss {loss:.4f}")
        return {"about": about, "tokens": tokens, "kinds": KINDS,
                "ids": e.ids[0].tolist(), "targets": e.targets[0].tolist(),
                "stops": list(map(self.stop, tour(e, self.walked, loss))),
                "E": self.array(self.walk.copy(e.model.params.E)),
                "steps": list(map(self.step, self.walked)),
                "accumulations": [self.accumulation(n, step.accumulation) for n, step in enumerate(self.walked) if step.accumulation],
                "files": self.files, "arrays": self.arrays}

    def stop(self, stop):
        return {**vars(stop), "shows": list(map(self.shown, stop.shows))}

    def shown(self, shown):
        return {**vars(shown), "values": self.array(shown.values, DIGITS + 3), "scale": rounded(shown.scale)}

    def step(self, step):
        if step.file not in self.files:
            self.files[step.file] = coloured(source(step.file))
        return {"kind": step.kind, "phase": step.phase, "stack": step.stack, "last": step.last_line,
                "enters": bool(step.enters), "prepares": step.prepares, "headline": headline(step),
                "reads": list(map(self.value, step.reads)), "binds": list(map(self.value, step.binds))}

    def accumulation(self, n, accumulation):
        arrays = {name: self.array(getattr(accumulation, name)) for name in ("before", "contribution", "after")}
        return {"step": n, "use": accumulation.use, **arrays, "shows": list(map(self.shown, product(accumulation)))}

    def value(self, value):
        what = value.text if value.array is None else self.array(value.array)
        return [value.name, what, value.axes]

    def array(self, array, digits=DIGITS):
        """The place of an array among those of the page."""
        if id(array) not in self.index:
            self.kept.append(array)
            self.index[id(array)] = len(self.arrays)
            values = [rounded(x, digits) for x in array.ravel().tolist()]
            self.arrays.append({"shape": array.shape, "whole": array.dtype.kind == "i", "values": values})
        return self.index[id(array)]


def rounded(x, digits=DIGITS):
    """A number to so many significant digits; what JSON has no number for, as text."""
    if isinstance(x, int):
        return x
    if not math.isfinite(x):
        return str(x)
    x = float(f"{x:.{digits}g}")
    return int(x) if x == int(x) and abs(x) < 1e6 else x


def coloured(lines):
    """Each line with its marks, [from, to, class]: comments "c", strings "s", keywords "k"."""
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


def page(data, picture):
    """The HTML: the data are in a script element, where no `<` may occur."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    parts = {"STYLE": part("cells.css") + part("replay.css"), "PICTURE": picture, "DATA": text,
             "SCRIPT": "".join(map(part, SCRIPTS))}
    return re.sub(r"/\*([A-Z]+)\*/", lambda match: parts[match[1]], part("replay.html"))


def main(argv=None):
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", nargs="?", default="out/replay.html", help="default: %(default)s")
    add_arguments(parser)
    args = parser.parse_args(argv)
    small = example_of(args)
    Path(args.file).parent.mkdir(parents=True, exist_ok=True)
    data = Recording(small).data()
    html = page(data, picture(small.model.params.E, data["tokens"], small.model.config.n_layer))
    save(args.file, html)
    print(f"{len(data['stops']) - 1} stops, {len(data['steps'])} steps, {len(html.encode()):,} bytes: {args.file}")
    return 0


if __name__ == "__main__":
    run(main)
