"""What a learner's function makes of a case, and what is wrong with that."""
import os
import traceback
from dataclasses import dataclass, field

import numpy as np

from lib.terminal import cut

from .exercises import leaves
from .files import COLUMNS, NAMES

SAME = 1e-9             # of the largest number: for arrays that are taken for the same


@dataclass
class Fault:
    """What is wrong with an answer. `given` are its arrays by name, None if there are none."""
    text: str
    given: dict = None
    # of the gradients that are wrong, where that is known
    names: list = field(default_factory=list)

    @staticmethod
    def before_each_call():
        """What a process of its own puts in the place of this, to limit the time of a call."""


class NoAnswer(Exception):
    """What was returned is not built as it should be."""


def fault(case, function):
    """The Fault of the function's answer to the case; None if it is right.

    Raises NotImplementedError where something is not written yet.
    """
    exercise, given = case.exercise, answer(case, function)
    if isinstance(given, Fault):
        return given
    templates = templates_by_name(case).items()
    for name, template in (leaf for item in templates for leaf in leaves(*item)):
        if text := unfit(name, given[name], template.shape, exercise):
            return Fault(text, given, [name])
    if exercise.value:
        right, found = case.expected()[exercise.out], given[exercise.out]
        rtol = 1e-7 if exercise.function == "gradient" else SAME
        wrong = Fault(f"{exercise.out} is wrong.", given, [exercise.out])
        return None if near(found, right, rtol) else wrong
    missed, allowed = case.missed(given)
    return None if missed <= allowed else Fault("", given)


def located(case, found):
    """The Fault with the names of the gradients that have wrong numbers."""
    if found.text or not found.given:
        return found
    right = case.expected()
    names = [name for name in found.given if not near(found.given[name], right[name])]
    names = names or list(found.given)
    shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return Fault(f"{shown} {'is' if len(names) == 1 else 'are'} wrong.", found.given, names)


def near(a, b, rtol=SAME):
    """Whether two arrays are the same but for rounding."""
    if a.shape != b.shape:
        return False
    if a.dtype == bool or b.dtype == bool:
        return bool((a == b).all())
    return bool(np.abs(a - b).max(initial=0) <= rtol * max(1, np.abs(b).max(initial=0)))


# ---- what is answered ----------------------------------------------------------------------------

def answer(case, function):
    """What the learner's function makes of the case: its arrays by name, or a Fault where there are
    none."""
    what, arguments = case.exercise.function, case.arguments()
    Fault.before_each_call()
    try:
        with np.errstate(all="ignore"):
            returned = function(*arguments)
    except NotImplementedError:
        raise
    except BaseException as error:          # SystemExit and KeyboardInterrupt, too
        return Fault(raised(what, error))
    if name := changed(case, arguments):
        moved = KEEP_IT * (case.exercise.file == "slope")
        return Fault(f"{what} changed its argument {name}, which it must leave as it was: work on "
                     f"a copy.{moved}")
    try:
        return dict(named(case, returned if case.before is None else arguments[-1]))
    except NoAnswer as error:
        return Fault(str(error))


def changed(case, arguments):
    """The name of an argument that the function wrote into; empty if there is none."""
    labels = [] if case.exercise.value else ["d" + case.exercise.out]
    pairs = zip([*labels, *case.inputs], case.arguments(), arguments)
    now_and_then = [(label, was, now) for name, a, b in pairs for (label, was), (_, now) in zip(
        leaves(name, a), leaves(name, b)) if isinstance(was, np.ndarray)]
    return next((label for label, was, now in now_and_then
                 if not np.array_equal(was, now, equal_nan=was.dtype.kind == "f")), "")


def templates_by_name(case):
    """name -> array or nested arrays like those that are to be returned."""
    exercise = case.exercise
    return case.expected() if exercise.value else exercise.returned(case.inputs)


def named(case, returned):
    """(name, array) of each gradient in what was returned."""
    what, expected = case.exercise.function, templates_by_name(case)
    if len(expected) == 1 and returned is not None:
        (template,) = expected.values()
        alone = isinstance(returned, (tuple, list)) and len(returned) == 1
        alone = alone and np.shape(template) != np.shape(returned)
        returned = returned if alone else [returned]
    if not isinstance(returned, (tuple, list)) or len(returned) != len(expected):
        hint = ": is there a return?" if returned is None else "."
        raise NoAnswer(f"{what} returned {described(returned)}, expected {', '.join(expected)}"
                       + hint)
    for (name, template), value in zip(expected.items(), returned):
        yield from matched(name, template, value)


def matched(name, template, value):
    """(name, array) of each array of the template, out of a value that should be built like it."""
    if isinstance(template, (dict, list)):
        keys = dict.keys if isinstance(template, dict) else len
        if type(value) is not type(template) or keys(value) != keys(template):
            raise NoAnswer(f"{name} is {described(value)}, expected {described(template)}.")
        for key in template if isinstance(template, dict) else range(len(template)):
            label = f'{name}["{key}"]' if isinstance(template, dict) else f"{name}[{key}]"
            yield from matched(label, template[key], value[key])
        return
    try:
        array = np.array(value)
    except Exception:                   # rows of unequal length, or an object that refuses
        array = np.array(None)
    if array.dtype.kind not in "biufc":
        shape = np.shape(template)
        raise NoAnswer(f"{name} is {described(value)}, expected "
                       + (f"an array of shape {shape}." if shape else "a number."))
    yield name, array


def described(value):
    if isinstance(value, np.ndarray):
        return f"one array of shape {value.shape} and of {value.dtype}"
    if isinstance(value, dict):
        return f"a dict of {', '.join(map(str, value)) or 'nothing'}"
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else f"a {type(value).__name__}"


def unfit(name, x, shape, exercise):
    """What is wrong with the array x before its numbers are looked at; empty if nothing."""
    if x.shape != shape:
        like = "" if exercise.value else f", the shape of {name[1:]}"
        return f"{name} has shape {x.shape}, expected {shape}{like}."
    expected = np.dtype(bool if exercise.name == "slope.agrees" else float)
    whole = x.dtype.kind in "iu" and expected == float and (exercise.value or not x.ndim)
    if x.dtype != expected and not whole:
        return (f"{name} holds {x.dtype}, expected {expected}. (np.zeros_like makes an array of the "
                "dtype of what it is given.)")
    return "" if np.isfinite(x).all() else f"{name} holds NaN or infinity."


# ---- errors of the learner's code ----------------------------------------------------------------

def raised(what, error):
    """The learner's own line and the message: nothing of what it called."""
    place = [cut(f"{os.path.basename(f.filename)}, line {f.lineno}:  {f.line.strip()}", COLUMNS)
             for f in own_frames(error)[-1:]]
    place += [cut((error.text or "").strip(), COLUMNS)] if isinstance(error, SyntaxError) else []
    text = cut(": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]]), COLUMNS * 3)
    return "\n".join([f"{what} raised an error.", *place, text] + [MATMUL] * ("matmul" in text) + [NO_TERMINAL] * (
        type(error).__name__ in ("BdbQuit", "EOFError")))


KEEP_IT = "\n(x[i] + h - h is not always x[i]: keep the number itself, and put that back.)"
MATMUL = ("A @ B takes as many columns of A as B has rows: which order, and which transpose, give the "
          "shape of the result?")
NO_TERMINAL = ("There is no keyboard here to ask. Take it out; `check.py NAME --debug` opens pdb "
               "there.")


def own_frames(error):
    """The frames of a traceback that are in files of the exercises' names."""
    return [f for f in traceback.extract_tb(error.__traceback__)
            if os.path.splitext(os.path.basename(f.filename))[0] in NAMES]
