"""The files of the exercises: as they were given, and the learner's own."""
import ast
import importlib
import os
import sys
import textwrap
from functools import cache
from pathlib import Path

from lib.terminal import cut
from minigpt_np.files.atomic import atomic_write

COLUMNS = 80
HERE = Path(__file__).resolve().parents[1]          # where a learner's files are, unless told otherwise
STATEMENTS = HERE / "statements"

# in their order: exercise 0 to 12
NAMES = ("slope", "linear", "lookup", "logits", "tied", "cross_entropy", "gelu", "centring",
         "layernorm", "softmax", "causal", "block", "model")


@cache
def given():
    """name -> module, of all exercises as they were given. Their imports find one another."""
    was = {name: sys.modules.pop(name) for name in NAMES if name in sys.modules}
    sys.path.insert(0, str(STATEMENTS))
    try:
        return {name: importlib.import_module(name) for name in NAMES}
    finally:
        sys.path.remove(str(STATEMENTS))
        for name in NAMES:
            sys.modules.pop(name, None)
        sys.modules |= was


def load(name, folder):
    """The learner's module; what it imports is the learner's, too, or as given where there is none."""
    sys.dont_write_bytecode = True          # a file saved twice within a second is read twice
    sys.path[:0] = [str(folder), str(STATEMENTS)]
    return importlib.import_module(name)


def reload(module):
    """The module, read anew from its file: nothing that it kept is in it."""
    del sys.modules[module.__name__]
    return importlib.import_module(module.__name__)


def given_function(name, function):
    return getattr(given()[name], function)


def start(folder):
    """Put the statement of each exercise that is missing into the folder; returns their names."""
    missing = [name for name in NAMES if not (folder / f"{name}.py").exists()]
    for name in missing:
        write_statement(name, folder)
    return missing


def is_untouched(name, folder):
    """Whether the file is as it was given, to the letter."""
    return (folder / f"{name}.py").read_bytes() == (STATEMENTS / f"{name}.py").read_bytes()


def reset(name, folder):
    """The file as it was given; what was there is kept beside it. Returns a line to be shown."""
    path, statement = folder / f"{name}.py", STATEMENTS / f"{name}.py"
    kept = path.with_name(path.name + ".old")
    own = path.exists() and path.read_bytes() != statement.read_bytes()
    if own:
        os.replace(path, kept)
    write_statement(name, folder)
    return f"{path.name} is as it was given" + (f"; yours is now {kept.name}." if own else ".")


def write_statement(name, folder):
    with atomic_write(folder / f"{name}.py") as file:
        file.write((STATEMENTS / f"{name}.py").read_bytes())


# ---- source --------------------------------------------------------------------------------------

def edited(name, folder, own):
    """What the learner's file no longer has as it was given: names of functions and constants.

    own   names of the functions that are the learner's to write
    """
    now, was = definitions(folder / f"{name}.py"), definitions(STATEMENTS / f"{name}.py")
    return [key for key in was if key not in own and now.get(key) != was[key]]


def definitions(path):
    """name -> what it is, comments and docstrings apart, of all functions and constants of a file."""
    found = {}
    for node in ast.parse(path.read_text(encoding="utf-8"), str(path)).body:
        if isinstance(node, ast.FunctionDef):
            node.body = without_docstring(node.body)
            found[node.name] = ast.dump(node)
        elif isinstance(node, ast.Assign):
            found |= {target.id: ast.dump(node.value) for target in node.targets if isinstance(target, ast.Name)}
    return found


def without_docstring(body):
    first = body[0]
    is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return body[1:] if is_text and isinstance(first.value.value, str) else body


def function_lines(source, name):
    """The lines of one function of a source, its docstring left out; [] if there is none."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.name == name:
            body = without_docstring(node.body) or node.body
            kept = lines[node.lineno - 1:node.body[0].lineno - 1] + lines[body[0].lineno - 1:node.end_lineno]
            return textwrap.dedent("\n".join(kept)).splitlines()
    return []


def own_line(filename, number, line):
    return cut(f"{os.path.basename(filename)}, line {number}:  {line.strip()}", COLUMNS)


def parameters(function):
    """What a function written in Python calls its arguments: x, W, b or q, k, v."""
    code = function.__code__
    return list(code.co_varnames[:code.co_argcount])
