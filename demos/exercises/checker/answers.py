"""What a learner's function makes of a case, and whether that is right."""
import inspect
import traceback
import types
from dataclasses import dataclass

import numpy as np

from lib.terminal import cut
from minigpt_np.gradcheck import COMPLEX_STEP

from .exercises import Part
from .files import COLUMNS, NAMES, own_line
from .isolation import Stopped, guarded
from .nested import as_complex, float_arrays, leaves

RTOL = 1e-12            # far above the rounding of float64 in a few sums, below that of a difference with a step
SAME = 1e-9             # for arrays that are taken for the same, one of which a difference may have made
VISIBLE = 0.01          # a difference that a person sees: so large, and such a part of the larger number

WRONG_NUMBERS = "wrong numbers"


@dataclass
class Fault:
    """What is wrong with an answer. `given` are its arrays by name, None if there are none.

    final   nothing smaller is to be looked for: it hangs, exits, ...
    """
    text: str
    names: list
    given: dict = None
    final: bool = False


class NotAnswer(Exception):
    """What was returned is not built as it should be."""


# ---- what is answered ----------------------------------------------------------------------------

def answer(case, function):
    """What the learner's function makes of the case: its arrays by name, a Fault where that cannot be said.

    Raises NotImplementedError where something is not written yet.
    """
    exercise = case.exercise
    dout, inputs, into = case.arguments()
    what = exercise.function
    try:
        with guarded(what):
            returned = function(*exercise.arguments(dout, inputs, into))
            texts = unevaluated(what, returned)
    except NotImplementedError:
        raise
    except Stopped as stop:
        return Fault(str(stop), [], final=True)
    except Exception as error:
        return Fault(raised(what, error, function), [])
    if texts:
        return Fault(texts, [])
    if names := changed(case, inputs, dout):
        moved = "\n(x[i] + h - h is not always x[i]: keep the number itself, and put that back.)" * (
            case.exercise.file == "slope")
        return Fault(f"{what} changed its argument {names[0]}, which it must leave as it was: work on a copy.{moved}", [])
    try:
        return dict(named(case, returned if into is None else into))
    except NotAnswer as error:
        return Fault(str(error), [])


def unevaluated(what, returned):
    """A sentence on something returned that is not a value yet; empty if there is none."""
    if inspect.isgenerator(returned):
        if returned.gi_code.co_name == what:
            return f"{what} is a generator: it has a `yield` where a `return` is expected."
        return f"{what} returned a generator: nothing is computed yet. Make an array of it: np.array([...])."
    if inspect.iscoroutine(returned):
        returned.close()
        return f"{what} is a coroutine: `async def` where `def` is expected."
    return ""


def changed(case, inputs, dout):
    """Names of the arguments that the function wrote into."""
    was, now = arguments(case), arguments(case, inputs, dout)
    return [name for (name, a), (_, b) in zip(was, now) if not np.array_equal(a, b, equal_nan=isinstance(a, np.ndarray)
                                                                             and a.dtype.kind == "f")]


def arguments(case, inputs=None, dout=None):
    """(label, value) of all that the function is given to read."""
    values = [*(case.inputs if inputs is None else inputs).items()]
    if not isinstance(case.exercise, Part):
        values.append(("d" + case.exercise.out, case.dout if dout is None else dout))
    return [leaf for name, value in values for leaf in leaves(name, value) if not callable(leaf[1])]


def named(case, returned):
    """(name, array) of each gradient in what was returned."""
    exercise, what = case.exercise, case.exercise.function
    if isinstance(exercise, Part):
        yield from matched(what, exercise.out, case.expected()[exercise.out], returned)
        return
    expected = {"d" + name: value for name, value in case.inputs.items() if float_arrays({name: value})}
    wanted = ", ".join(expected)
    if returned is None:
        raise NotAnswer(f"{what} returned None, expected {wanted}: is there a return?")
    if len(expected) == 1:
        returned = alone(returned, *expected.values())
    elif isinstance(returned, np.ndarray):
        raise NotAnswer(f"{what} returned {described(returned)}, expected {wanted}: several arrays, not stacked "
                        f"into one. Write `return {wanted}`.")
    elif not isinstance(returned, (tuple, list)) or len(returned) != len(expected):
        raise NotAnswer(f"{what} returned {described(returned)}, expected {wanted}.")
    for (name, template), value in zip(expected.items(), returned):
        yield from matched(what, name, template, value)


def alone(returned, template):
    """A list of the one gradient, out of what was returned: itself, or a tuple or list of one."""
    if isinstance(returned, (tuple, list)) and len(returned) == 1:
        as_it_is = isinstance(template, np.ndarray) and np.shape(template) == shape_of(returned)
        return [returned] if as_it_is else [returned[0]]
    return [returned]


def shape_of(value):
    try:
        return np.shape(value)
    except ValueError:              # rows of unequal length
        return None


def matched(what, name, template, value):
    """(name, array) of each array of the template, out of a value that should be built like it."""
    if isinstance(template, dict):
        if not isinstance(value, dict) or set(value) != set(template):
            missing = sorted(set(template) - set(value)) if isinstance(value, dict) else []
            raise NotAnswer(f"{name} is {described(value)}, expected a dict of " + ", ".join(template) + "."
                            + f"\nMissing: {', '.join(missing)}." * bool(missing))
        for key in template:
            yield from matched(what, f'{name}["{key}"]', template[key], value[key])
    elif isinstance(template, list):
        if not isinstance(value, list) or len(value) != len(template):
            raise NotAnswer(f"{name} is {described(value)}, expected a list of {len(template)}.")
        for i, item in enumerate(template):
            yield from matched(what, f"{name}[{i}]", item, value[i])
    else:
        yield name, as_array(name, np.asarray(template), value)


def as_array(name, template, value):
    """The value as an array (a copy); raises NotAnswer where it has no numbers."""
    expected = f"expected an array of shape {template.shape}" if template.ndim else "expected a number"
    if callable(value):
        call = getattr(value, "__name__", "")
        missing = f" The parentheses are missing: {call}()." if call.isidentifier() else ""
        raise NotAnswer(f"{name} is {described(value)}: it has not been called.{missing}")
    if isinstance(value, types.GeneratorType):
        raise NotAnswer(f"{name} is a generator: nothing is computed yet. Make an array of it: np.array([...]).")
    if value is None or isinstance(value, (dict, str, set)):
        raise NotAnswer(f"{name} is {described(value)}, {expected}.")
    try:
        array = np.array(value)
    except Exception as error:
        rows = " with rows of unequal length" if isinstance(error, ValueError) else ""
        raise NotAnswer(f"{name} is {described(value)}{rows}, {expected}.") from None
    if np.ma.is_masked(value):
        raise NotAnswer(f"{name} is a masked array, with numbers that the mask hides, {expected}.")
    if array.dtype.kind not in "biufcO":
        raise NotAnswer(f"{name} holds {array.dtype}, {expected} of float64.")
    if array.dtype.kind == "O":
        inside = next((x for x in array.ravel().tolist() if not isinstance(x, (int, float))), None)
        more = f" One of them is {described(inside)}." if inside is not None else ""
        raise NotAnswer(f"{name} holds objects (dtype object), expected float64.{more}")
    return array


def described(value):
    if isinstance(value, np.ndarray):
        return f"one array of shape {value.shape}"
    if isinstance(value, (tuple, list, dict)):
        return f"a {type(value).__name__} of {len(value)}"
    if callable(value):
        return f"the {'method' if hasattr(value, '__self__') else 'function'} {getattr(value, '__name__', '')}".strip()
    return "None" if value is None else f"a {type(value).__name__}"


# ---- errors of the learner's code ----------------------------------------------------------------

def raised(what, error, function):
    """The learner's own line and the message: nothing of what it called."""
    if isinstance(error, ValueError) and "read-only" in str(error):
        lead = f"{what} writes into one of its arguments, which it must leave as they were: work on a copy."
    else:
        lead = f"{what} raised an error."
    place = [own_line(f.filename, f.lineno, f.line) for f in own_frames(error, function)[-1:]]
    hint = [MATMUL] if isinstance(error, ValueError) and "matmul" in str(error) else []
    return "\n".join([lead, *place, cut(message(error), COLUMNS * 3), *hint])


MATMUL = "A @ B takes as many columns of A as B has rows: which order, and which transpose, give the shape of the result?"


def message(error):
    """The error's name, and the first line of what it says, if it can say something."""
    try:
        text = str(error).strip()
    except Exception:
        text = ""
    return ": ".join([type(error).__name__, *text.splitlines()[:1]])


def own_frames(error, function=None):
    """The frames of a traceback that are in a learner's files: those of the exercises' names, and the function's."""
    own = getattr(getattr(function, "__code__", None), "co_filename", "")
    return [f for f in traceback.extract_tb(error.__traceback__)
            if f.filename == own or f.filename.rpartition(".")[0].replace("\\", "/").split("/")[-1] in NAMES]


# ---- is it right? --------------------------------------------------------------------------------

def fault(case, function):
    """The Fault of the function's answer to the case, or None if it is right."""
    given = answer(case, function)
    if isinstance(given, Fault):
        return given
    shapes = {"d" + name: x.shape for name, x in float_arrays(case.inputs).items()}
    if isinstance(case.exercise, Part):
        shapes = {case.exercise.out: case.expected()[case.exercise.out].shape}
    for name, x in given.items():
        if text := unfit(name, x, shapes[name], case.exercise):
            return Fault(text, [name], given)
    return None if is_right(case, given) else Fault(WRONG_NUMBERS, [], given)


def unfit(name, x, shape, exercise):
    """What is wrong with the array x before its numbers are looked at; empty if nothing."""
    if x.shape != shape:
        like = "" if isinstance(exercise, Part) else f", the shape of {name[1:]}"
        return f"{name} has shape {x.shape}, expected {shape}{like}."
    if exercise.name == "slope.agrees":
        return "" if x.dtype == bool else f"{name} returned {x.dtype} {x}, expected True or False."
    if x.dtype.kind in "iub" and x.ndim and not isinstance(exercise, Part):
        return (f"{name} holds {x.dtype}, whole numbers: what is added to it is cut off.\n"
                "Make it with np.zeros(shape), or zeros_like an array that is not of ids.")
    if x.dtype.kind not in "iu" and x.dtype != float:
        return f"{name} holds {x.dtype}, expected float64, as in the arguments."
    if not np.isfinite(x).all():
        return f"{name} holds NaN or infinity."
    return ""


def is_right(case, given):
    """Whether the gradients, all together, give the loss's slope along a random direction."""
    exercise = case.exercise
    if isinstance(exercise, Part):
        return near(given[exercise.out], case.expected()[exercise.out], exercise.rtol)
    return has_slope(case, given, list(given))


def has_slope(case, given, names):
    """Whether these gradients give the loss's slope along a random direction in their arrays."""
    rng = np.random.default_rng(0)
    inputs = as_complex(case.inputs)
    total = size = 0
    for name, x in float_arrays(inputs).items():
        direction = rng.normal(size=x.shape)
        if "d" + name in names:
            x += 1j * COMPLEX_STEP * direction
            products = (given["d" + name] - (0 if case.before is None else case.before)) * direction
            total += products.sum()
            size += np.abs(products).sum()
    return abs(total - case.loss(inputs)().imag / COMPLEX_STEP) <= RTOL * max(1, size)


def near(a, b, rtol=SAME):
    """Whether two arrays are the same but for rounding."""
    if a.shape != b.shape:
        return False
    if a.dtype == bool or b.dtype == bool:
        return bool((a == b).all())
    return bool(np.abs(a - b).max(initial=0) <= rtol * max(1, np.abs(b).max(initial=0)))


def is_visible(case, found):
    """Whether a person sees what is wrong in this case: another shape, or numbers clearly apart."""
    if found.given is None or found.text != WRONG_NUMBERS:
        return True
    right = case.expected()
    if any(x.dtype == bool for x in right.values()):
        return True
    return any((np.abs(x - right[name]) >= VISIBLE * np.maximum(1, np.maximum(np.abs(x), np.abs(right[name])))).any()
               for name, x in found.given.items())


def located(case, found):
    """The Fault, with the names of the gradients that have wrong numbers."""
    if found.text != WRONG_NUMBERS:
        return found
    if isinstance(case.exercise, Part):
        names = list(found.given)
    else:
        names = [name for name in found.given if not has_slope(case, found.given, [name])] or list(found.given)
    shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return Fault(f"{shown} {'is' if len(names) == 1 else 'are'} wrong.", names, found.given)
