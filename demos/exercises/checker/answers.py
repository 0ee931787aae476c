"""What a learner's function makes of a case, and what is wrong with that."""
import os
import pickle
import reprlib
import traceback
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from io import StringIO

import numpy as np

from lib.terminal import COLUMNS, cut

from .cases import Case, near
from .exercises import float_arrays, leaves
from .files import NAMES

PRINTED = 400           # characters of what is printed that are shown


@dataclass
class Verdict:
    """What is known of an exercise, or of one answer. It travels from one process to another.

    state    "done", "wrong" or "not written yet"
    name     of the exercise, or of that part of it
    text     what is wrong, if it is not the numbers; what is not written yet
    case     the smallest that shows it
    given    label -> array, what the learner's function returned for the case
    printed  what it printed meanwhile
    texts    known mistakes that it is
    steps    of an exercise made of others: the gradients on the way (steps.Step)
    """
    state: str
    name: str
    text: str = ""
    case: Case = None
    given: dict = None
    printed: str = ""
    texts: list = field(default_factory=list)
    steps: list = field(default_factory=list)

    @property
    def done(self):
        return self.state == "done"

    @property
    def wrong_names(self):
        """Which of the arrays are wrong; all, if none is by itself."""
        right = self.case.expected
        names = [name for name, x in self.given.items() if not near(x, right[name])]
        return names or list(self.given)

    @property
    def fault(self):
        """What is wrong, in a sentence or two."""
        if self.text or not self.given:
            return self.text
        names = self.wrong_names
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        return f"{', '.join(names[:4])}{more} {'is' if len(names) == 1 else 'are'} wrong."


class NoAnswer(Exception):
    """What is wrong with an answer before its numbers are looked at."""


def judge(case, function):
    """The Verdict on a function's answer to the case: done or wrong.

    Raises NotImplementedError where something is not written yet.
    """
    found = Verdict("wrong", case.name, case=case)
    with redirect_stdout(StringIO()) as printed:
        try:
            found.given = arrays_of(case, call(case, function))
            need_fitting(case, found.given)
            found.state = "done" if case.accepts(found.given) else "wrong"
        except NoAnswer as error:
            found.text = str(error)
    found.printed = printed.getvalue()[:PRINTED]
    return found


# ---- what is answered ----------------------------------------------------------------------------

def call(case, function):
    """What the function returns; of one that adds into an array it is given, that array."""
    what, into, arguments = case.exercise.function, case.exercise.into, case.copies()
    try:
        with np.errstate(all="ignore"):
            returned = function(*arguments.values())
    except NotImplementedError:
        raise
    except BaseException as error:          # SystemExit and KeyboardInterrupt, too
        raise NoAnswer(error_text(what, error)) from None
    for name, was in case.arguments.items():    # every bit is compared, however nested
        if name != into and pickle.dumps(was) != pickle.dumps(arguments[name]):
            raise NoAnswer(f"{what} changed its argument {name}: work on a copy, or keep each "
                           "number and put it back.")
    return arguments[into] if into else returned


def expected_shapes(case):
    """label -> array of the shape and dtype of each that is to be returned."""
    if case.exercise.value:
        return case.expected
    return {"d" + label: x for label, x in float_arrays(case.inputs).items()}


def arrays_of(case, returned):
    """label -> array, of all that are to be returned."""
    what, expected = case.exercise.function, expected_shapes(case)
    names = list(dict.fromkeys(label.split("[")[0] for label in expected))      # dp, for all in it
    if len(names) == 1:
        returned = [returned]
    if not isinstance(returned, (tuple, list)) or len(returned) != len(names):
        raise NoAnswer(f"{what} returned {describe(returned)}, expected {', '.join(names)}.")
    values = dict(zip(names, returned))
    given = dict(leaf for item in values.items() for leaf in leaves(*item))
    for label, right in expected.items():
        if not isinstance(given.get(label), (np.ndarray, np.generic, int, float)):
            name, kind = label.split("[")[0], "array" if right.ndim else "number"
            raise NoAnswer(f"{what} returned no {kind} {label}: {name} is "
                           f"{describe(values[name])}.")
    return {label: np.asarray(given[label]) for label in expected}


def describe(value):
    """A value in a few words: no more than the beginning and the end of each part of it."""
    return " ".join(reprlib.repr(value).split())


def need_fitting(case, given):
    """Raises NoAnswer if an array has not the shape or the kind of numbers that it should have."""
    for label, right in expected_shapes(case).items():
        x, like = given[label], "" if case.exercise.value else f", the shape of {label[1:]}"
        if x.shape != right.shape:
            raise NoAnswer(f"{label} has shape {x.shape}, expected {right.shape}{like}.")
        if x.dtype != right.dtype and (x.ndim or x.dtype.kind not in "iu"):
            raise NoAnswer(f"{label} holds {x.dtype}, expected {right.dtype}.")


def error_text(what, error):
    """The learner's own line and the message: nothing of what it called."""
    lines = [f"{os.path.basename(f.filename)}, line {f.lineno}: {f.line.strip()}"
             for f in traceback.extract_tb(error.__traceback__)
             if os.path.splitext(os.path.basename(f.filename))[0] in NAMES]
    message = ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])
    return "\n".join([f"{what} raised an error.", *(cut(line, COLUMNS) for line in lines[-1:]),
                      cut(message, COLUMNS * 3)])
