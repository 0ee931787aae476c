"""Learners to try the checker of demos/exercises on: their answers as modules of this process, or
as files.

right.py and students.py have answers, wrong.txt what comes of changing the right ones.
"""
import sys
import warnings
from functools import cache
from types import ModuleType
from unittest.mock import patch

from checker import files, verdict
from checker.answers import fault, located
from checker.cases import final_test, random_case
from checker.exercises import TABLE
from checker.mistakes import diagnosis
from checker.steps import Record, compared, way_back

from .right import RIGHT


def source(name, answer):
    """The file of an exercise with the answer in it, in the place of what is to be written."""
    given = (files.TEMPLATES / f"{name}.py").read_text(encoding="utf-8")
    exercise = TABLE[name]
    first = f"def {(exercise.parts or [exercise])[0].function}"
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
    """name -> module of all that an exercise is made of, right and plain; and the Record of their
    calls."""
    pieces, record = {}, Record()

    def load(piece):
        pieces[piece] = module(piece, plain(piece), pieces)
        return pieces[piece]

    record.load(TABLE[name], load)
    return pieces, record


def verdict_on(name, answer, explain=True):
    """The Verdict on an answer that is examined in this process."""
    pieces, record = right_pieces(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")             # as in the process of an answer
        return verdict.verdict_on_module(TABLE[name], module(name, answer, pieces), record, explain)


def write(folder, **answers):
    """Files of these answers in the folder."""
    for name, answer in answers.items():
        (folder / f"{name}.py").write_text(source(name, answer), encoding="utf-8")
    return folder


@cache
def fixed_cases(name):
    """The inputs that are the same whatever Hypothesis draws: what is known of them is known from
    then on."""
    return [*(random_case(TABLE[name], seed) for seed in range(verdict.SMALL)),
            *final_test(TABLE[name])]


def names_of(name, answer):
    """The texts of a wrong answer's verdict, on the first fixed input that shows it; None if the
    answer passes."""
    pieces, record = right_pieces(name)
    made = module(name, answer, pieces)
    for exercise in TABLE[name].parts or [TABLE[name]]:
        function = getattr(made, exercise.function)
        case = next((case for case in fixed_cases(exercise.name) if fault(case, function)), None)
        if case is not None:
            found = located(case, fault(case, function))
            rows = ()
            if exercise.needs and found.given:
                steps = steps_of(case)
                rows = compared(steps, record, case, function,
                                found), verdict.right_on_the_way(case, steps)
            return found.given and diagnosis(case, function, found, rows) or []
    return None


steps_of = cache(way_back)
