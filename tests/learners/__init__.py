"""Learners to try the checker of demos/exercises on: their answers as modules of this process, or as files.

right.py and students.py have answers, wrong.txt what comes of changing the right ones.
"""
import sys
from dataclasses import replace
from functools import cache
from types import ModuleType
from unittest.mock import patch

from checker import diagnosis, examine, files
from checker.answers import fault, located
from checker.cases import random_case
from checker.exercises import TABLE
from checker.steps import Record
from .right import RIGHT


def source(name, answer):
    """The file of an exercise with the answer in it, in the place of what is to be written."""
    given = (files.STATEMENTS / f"{name}.py").read_text(encoding="utf-8")
    first = f"def {TABLE[name].functions[0]}"
    return given[:given.index(first)].rstrip() + "\n\n" + answer


def plain(name):
    return next(iter(RIGHT[name].values()))


def module(name, answer, pieces):
    """The module of a file with this answer, whose imports find the pieces."""
    made = ModuleType(name)
    with patch.dict(sys.modules, pieces):
        exec(compile(source(name, answer), f"{name}.py", "exec"), vars(made))
    return made


@cache
def right_pieces(name):
    """name -> module of all that an exercise is made of, right and plain; and the Record of their calls."""
    pieces, record = {}, Record()

    def load(piece):
        pieces[piece] = module(piece, plain(piece), pieces)
        return pieces[piece]

    record.load(TABLE[name], load)
    return pieces, record


def verdict(name, answer, explain=True):
    """On an answer that is examined in this process."""
    pieces, record = right_pieces(name)
    return examine.verdict_on_module(TABLE[name], module(name, answer, pieces), record, explain,
                                     lambda: module(name, answer, pieces))


def write(folder, **answers):
    """Files of these answers in the folder."""
    for name, answer in answers.items():
        (folder / f"{name}.py").write_text(source(name, answer), encoding="utf-8")
    return folder


same_case = cache(random_case)              # the same object each time, so what is known of it is known from then on


@cache
def remembering(mistake):
    """The mistake, with what it makes of a case computed once."""
    return replace(mistake, answer=cache(mistake.answer)) if mistake.answer else mistake


def names_of_all(name, answers):
    """names_of each."""
    return [names_of(name, answer) for answer in answers]


def names_of(name, answer):
    """The texts of a wrong answer's verdict, on any small case that shows it; None if the answer passes."""
    pieces, _ = right_pieces(name)
    made = module(name, answer, pieces)
    for exercise in TABLE[name].parts or [TABLE[name]]:
        function = getattr(made, exercise.function)
        questions = examine.Questions(exercise, function)
        failed = questions.examined()
        if failed is not None:
            small = (same_case(exercise, seed) for seed in range(20))
            case = next((case for case in small if fault(case, function)), failed)
            mistakes = [remembering(mistake) for mistake in exercise.mistakes]
            with patch.object(diagnosis, "random_case", same_case), patch.object(exercise, "mistakes", mistakes):
                return diagnosis.diagnosis(exercise, function, case, located(case, fault(case, function)))
    return None
