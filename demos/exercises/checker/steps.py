"""Inside an exercise that is made of others: each gradient on the way, in the order of the way back."""
from dataclasses import dataclass
from functools import wraps

import numpy as np

from . import files
from .answers import answer, near
from .composed import block_gradients, model_gradients
from .exercises import TABLE


class Record:
    """The learner's pieces, of all of whose backward passes is noted what they are given.

    calls    (piece, arguments), in order; those that a piece makes itself are not noted
    """

    def __init__(self):
        self.calls, self.depth = [], 0

    def load(self, exercise, load):
        """Load all that the exercise is made of, by load(name); returns this."""
        for name in exercise.all_needs:
            module = load(name)
            if hasattr(module, "backward"):
                module.backward = self.noting(name, module.backward)
        return self

    def noting(self, name, backward):
        @wraps(backward)
        def noted(*arguments, **named):
            if self.depth == 0:
                self.calls.append((name, [*arguments, *named.values()]))
            self.depth += 1
            try:
                return as_arrays(backward(*arguments, **named), TABLE[name].gradients_returned)
            finally:
                self.depth -= 1
        return noted


def as_arrays(returned, count):
    """What a piece returned, lists made arrays: an answer that is right may be built of lists, or a tuple of one."""
    if count == 1:
        return np.array(returned[0] if isinstance(returned, tuple) and len(returned) == 1 else returned)
    return [np.array(x) if isinstance(x, list) else x for x in returned]


@dataclass
class Seen:
    """One gradient on the way back.

    mark     "✓", "✗", or "·" where it was not seen: the learner does not call that piece
    name, about   as in composed.Step
    given, right  the arrays
    note     a sentence, where it is not a gradient that is wrong
    """
    mark: str
    name: str
    about: str
    given: object = None
    right: object = None
    note: str = ""


def compared(exercise, record, case, function, found):
    """A list of Seen for the case, in backward order: what each piece was given, and what came of it."""
    steps, gradients = [], {"block": block_gradients, "model": model_gradients}[exercise.name]
    right = gradients(case.dout, **case.inputs, steps=steps)
    record.calls.clear()
    answer(case, function)
    calls = list(record.calls)
    rows = []
    for step in steps:
        call = taken(calls, step, steps)
        rows += [Seen("·", step.name, step.about)] if call is None else judged(step, call)
        for name in step.beside:
            ok = near(found.given[name], right[name])
            rows.append(Seen("✓" if ok else "✗", name, "", found.given[name], right[name]))
    if "dx" in found.given:
        rows.append(Seen("✓" if near(found.given["dx"], right["dx"]) else "✗", "dx", "the block's input",
                         found.given["dx"], right["dx"]))
    return rows


def taken(calls, step, steps):
    """The call that is this step's, taken out of the list: of the same piece, with the same parameters if there is
    one, else with parameters that are no other step's."""
    same_piece = [call for call in calls if call[0] == step.piece]
    others = [other for other in steps if other.piece == step.piece and other is not step]
    best = next((call for call in same_piece if has_parameters(call, step)), None)
    if best is None:
        best = next((call for call in same_piece if not any(has_parameters(call, other) for other in others)), None)
    if best is not None:
        calls[:] = [call for call in calls if call is not best]
    return best


def has_parameters(call, step):
    return same(call[1][2:], step.arguments[1:])


def judged(step, call):
    """Rows about what a piece was given, beside what it should have been: the gradient, its input, its parameters."""
    _, (dout, *arguments) = call
    fits = like(dout, step.dout)
    yield Seen("✓" if fits else "✗", step.name, step.about, np.asarray(dout), np.asarray(step.dout))
    for name, value, right in zip(files.parameters(files.given_function(step.piece, "forward")), arguments, step.arguments):
        if not like(value, right):
            yield Seen("✗", f"{name} there", "", note=f"{step.piece}.backward was not given the {name} of its forward.")


def same(values, others):
    """Whether two lists of arguments are the same numbers."""
    return len(values) == len(others) and all(like(a, b) for a, b in zip(values, others))


def like(a, b):
    if isinstance(b, dict):
        return isinstance(a, dict) and all(key in a and like(a[key], b[key]) for key in b)
    try:
        return near(np.asarray(a, float), np.asarray(b, float))
    except (TypeError, ValueError):
        return False
