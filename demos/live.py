"""The page in live/ as one file, and the data that it computes with.

    python demos/live.py out/live.html      # for a course site: one file with its scripts and style
    python demos/live.py --data             # write live/data.js, after one_page.py has changed

The page itself needs neither: demos/live/index.html opens in a browser. Its state is its address.
For a slide, add &embed (no title, no footer), &large, or &hide=lead,controls,picture,sums,number.
"""
import argparse
import inspect
import json
import re
from pathlib import Path

import numpy as np

import one_page
from lib.terminal import run
from minigpt_np.files.atomic import write_text

LIVE = Path(__file__).parent / "live"
DIGITS = 8                  # of reference numbers: those that no BLAS rounds differently


def data():
    """What data.js holds, as text."""
    values = {"text": one_page.TEXT, "never": one_page.NEVER, "D": one_page.D, "H": one_page.H,
              "steps": one_page.STEPS, "rate": one_page.LEARNING_RATE, "first": first_line(),
              "lines": lines(), "reference": reference()}
    body = ",\n".join(f"{name}: {json.dumps(value, ensure_ascii=False)}"
                      for name, value in values.items())
    return ("// Written by `python demos/live.py --data`: one_page.py's sentence, its sizes, the\n"
            "// lines of its two halves, and what NumPy computes with it.\n"
            f"const DATA = {{\n{body}}};\n")


def lines():
    """The two halves of one_page.py's loss_and_gradient."""
    text, start = inspect.getsourcelines(one_page.loss_and_gradient)
    return [re.sub(r"(?<=\S) {3,}", "  ", re.sub("-{4,}", "---", line[4:].rstrip()))
            for line in text[first_line() - start:]]


def first_line():
    """The number, in one_page.py, of the line with which its forward half begins."""
    text = Path(one_page.__file__).read_text(encoding="utf-8").splitlines()
    return next(n for n, line in enumerate(text, 1) if line.strip().startswith("# forwards"))


def reference():
    """The losses that one_page.py computes for its own sentence, at every 20th step."""
    words = one_page.TEXT.split()
    vocabulary = list(dict.fromkeys([*words, one_page.NEVER]))
    row = np.array([vocabulary.index(word) for word in words])
    ids, targets = row[:-1], row[1:]
    params = one_page.new_parameters(len(vocabulary), len(ids), one_page.D, one_page.L,
                                     np.random.default_rng(one_page.SEED))
    losses = []
    for _ in range(one_page.STEPS + 1):
        loss, gradients = one_page.loss_and_gradient(ids, targets, params, one_page.H)
        losses.append(loss)
        for array, gradient in zip(params, gradients):
            array -= one_page.LEARNING_RATE * gradient
    return [float(f"{loss:.{DIGITS}g}") for loss in losses[::20]]


def in_one_file():
    """index.html with its style and scripts in it, and without links into the repository."""
    html, style = (LIVE.joinpath(name).read_text("utf-8") for name in ("index.html", "style.css"))
    html = re.sub(r'<a href="\.\./[^"]*">(.*?)</a>', r"\1", html)
    html = html.replace('<link rel="stylesheet" href="style.css">', f"<style>\n{style}</style>")
    before, loader, after = re.split(r"<script>\n(.*?)</script>\n", html, flags=re.DOTALL)
    scripts = [LIVE.joinpath(name).read_text("utf-8")
               for name in re.findall(r'"(\w+\.js)"', loader)]
    return before + "".join(f"<script>\n{text}</script>\n" for text in scripts) + after


def main(argv=None):
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", metavar="FILE.html", nargs="?",
                        help="where to write the page as one file, with its style and scripts in "
                        "it: it opens from disk, from a web server, or in a frame of another page")
    parser.add_argument("--data", action="store_true", help="write live/data.js: one_page.py's "
                        "lines, and the numbers that the page compares its own with")
    args = parser.parse_args(argv)
    if not args.file and not args.data:
        parser.error("expected FILE.html or --data")
    if args.data:
        write(LIVE / "data.js", data())
    if args.file:
        Path(args.file).parent.mkdir(parents=True, exist_ok=True)
        write(args.file, in_one_file())
    return 0


def write(path, text):
    write_text(path, text)
    print(f"{len(text.encode()):,} bytes: {path}")


if __name__ == "__main__":
    run(main)
