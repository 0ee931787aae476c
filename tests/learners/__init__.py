"""Learners to try the checker of demos/exercises on: their answers as modules of this process, or
as files.

right.py has right answers, wrong.py what comes of changing the plain ones.
"""
import sys
import warnings
from functools import cache
from types import ModuleType
from unittest.mock import patch

from checker import files, verdict
from checker.exercises import TABLE

from .right import PLAIN


def source(name, answer):
    """The file of an exercise with the answer in it, in the place of what is to be written."""
    given = (files.TEMPLATES / f"{name}.py").read_text(encoding="utf-8")
    exercise = TABLE[name]
    first = f"def {exercise.functions[0].function}"
    return given[:given.index(first)].rstrip() + "\n\n" + answer


def changed(name, *edits):
    """The plain answer with every other text of the edits in the place of the one before it."""
    answer = PLAIN[name]
    for old, new in zip(edits[::2], edits[1::2]):
        assert old in answer
        answer = answer.replace(old, new, 1)
    return answer


def write(folder, **answers):
    """Files of these answers in the folder."""
    for name, answer in answers.items():
        (folder / f"{name}.py").write_text(source(name, answer), encoding="utf-8")
    return folder


def module(name, answer):
    """The module of a file with this answer, whose imports find right ones.

    It says that it is a file that is not there: of lookup.py alone, the lines of a learner's in
    demos/exercises would be shown.
    """
    made, pieces = ModuleType(name), {piece: right_piece(piece) for piece in TABLE[name].needs}
    with patch.dict(sys.modules, pieces):
        file = files.TEMPLATES / "answers" / f"{name}.py"
        exec(compile(source(name, answer), file, "exec"), vars(made))
    return made


@cache
def right_piece(name):
    """The module of the plain right answer."""
    return module(name, PLAIN[name])


def verdict_on(name, answer):
    """The Verdict on an answer that is examined in this process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")             # as in the process of an answer
        return verdict.verdict_on_module(TABLE[name], module(name, answer))
