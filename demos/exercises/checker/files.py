"""The files of the exercises: the templates, and the learner's own."""
import ast
import importlib
import os
import sys
import textwrap
from functools import cache
from pathlib import Path

from minigpt_np.files.atomic import atomic_write

COLUMNS = 80
# where a learner's files are, unless told otherwise
HERE = Path(__file__).resolve().parents[1]
TEMPLATES = HERE / "templates"

# in their order: exercise 0 to 12
NAMES = ("slope", "linear", "lookup", "logits", "tied", "cross_entropy", "gelu", "centring",
         "layernorm", "softmax", "causal", "block", "model")


@cache
def templates():
    """name -> module, of all exercises as they were given. Their imports find one another."""
    was = {name: sys.modules.pop(name) for name in NAMES if name in sys.modules}
    sys.path.insert(0, str(TEMPLATES))
    try:
        return {name: importlib.import_module(name) for name in NAMES}
    finally:
        sys.path.remove(str(TEMPLATES))
        for name in NAMES:
            sys.modules.pop(name, None)
        sys.modules |= was


def load(name, folder):
    """The learner's module; what it imports is the learner's, too, or the template if there is
    none."""
    sys.dont_write_bytecode = True          # a file saved twice within a second is read twice
    sys.path[:0] = [str(folder), str(TEMPLATES)]
    return importlib.import_module(name)


def start(folder):
    """Put the template of each exercise that is missing into the folder; returns their names."""
    missing = [name for name in NAMES if not (folder / f"{name}.py").exists()]
    for name in missing:
        write_template(name, folder)
    return missing


def is_untouched(name, folder):
    """Whether the file is the template, to the letter."""
    return (folder / f"{name}.py").read_bytes() == (TEMPLATES / f"{name}.py").read_bytes()


def reset(name, folder):
    """Put the template back; the learner's file is kept beside it. Returns a line to be shown."""
    path = folder / f"{name}.py"
    kept = path.with_name(path.name + ".old")
    own = path.exists() and not is_untouched(name, folder)
    if own:
        os.replace(path, kept)
    write_template(name, folder)
    return f"{path.name} is as it was given" + (f"; yours is now {kept.name}." if own else ".")


def write_template(name, folder):
    with atomic_write(folder / f"{name}.py") as file:
        file.write((TEMPLATES / f"{name}.py").read_bytes())


def has_another_forward(name, folder):
    """Whether the forward in the learner's file is not the template's, comments apart."""
    def forward(path):
        tree = ast.parse("\n".join(function_lines(path.read_text(encoding="utf-8"), "forward")))
        return ast.dump(tree)
    return forward(folder / f"{name}.py") != forward(TEMPLATES / f"{name}.py")


def function_lines(source, name):
    """The lines of one function of a source, without its docstring; [] if there is none."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.name == name:
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            kept = lines[node.lineno - 1:node.body[0].lineno - 1]
            kept += lines[first.lineno - 1:node.end_lineno]
            return textwrap.dedent("\n".join(kept)).splitlines()
    return []


def parameters(function):
    """What a function written in Python calls its arguments: x, W, b or q, k, v."""
    code = function.__code__
    return list(code.co_varnames[:code.co_argcount])
