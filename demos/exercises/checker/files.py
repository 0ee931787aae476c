"""The files of the exercises: the templates, and the learner's own."""
import importlib
import os
import shutil
import sys
from functools import cache
from pathlib import Path
from unittest.mock import patch

# where a learner's files are, unless told otherwise
HERE = Path(__file__).resolve().parents[1]
TEMPLATES = HERE / "templates"

# in their order: exercise 0 to 12
NAMES = ("slope", "linear", "lookup", "logits", "tied", "cross_entropy", "gelu", "centring",
         "layernorm", "softmax", "causal", "block", "model")


@cache
def templates():
    """name -> module, of all exercises as they were given. Their imports find one another."""
    with patch.dict(sys.modules), patch.object(sys, "path", [str(TEMPLATES), *sys.path]):
        for name in NAMES:
            sys.modules.pop(name, None)
        return {name: importlib.import_module(name) for name in NAMES}


def load(name, folder):
    """The learner's module; what it imports is the learner's, too, or else the template."""
    sys.dont_write_bytecode = True          # a file saved twice within a second is read twice
    sys.path[:0] = [str(folder), str(TEMPLATES)]
    return importlib.import_module(name)


def start(folder):
    """Put the template of each exercise that is missing into the folder; returns their names."""
    missing = [name for name in NAMES if not (folder / f"{name}.py").exists()]
    for name in missing:
        shutil.copyfile(TEMPLATES / f"{name}.py", folder / f"{name}.py")
    return missing


def save_times(folder):
    """When each file was written last."""
    paths = [folder / f"{name}.py" for name in NAMES]
    return {path.name: path.stat().st_mtime_ns for path in paths if path.exists()}


def is_untouched(name, folder):
    """Whether the file is the template, to the letter, or is not there."""
    path = folder / f"{name}.py"
    return not path.exists() or path.read_bytes() == (TEMPLATES / path.name).read_bytes()


def reset(name, folder):
    """Put the template back; the learner's file becomes NAME.py.old. Returns a line to be shown."""
    path = folder / f"{name}.py"
    if not is_untouched(name, folder):
        os.replace(path, f"{path}.old")
    shutil.copyfile(TEMPLATES / path.name, path)
    return f"{name}.py is as it was given; yours, if it was another, is now {name}.py.old."
