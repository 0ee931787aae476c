"""Inside an exercise that is made of others: each gradient on the way, in the order of the way
back."""
import itertools
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps

import numpy as np

from minigpt_np.gradcheck import complex_step

from .answers import answer, near
from .cases import random_case
from .exercises import TABLE
from .files import parameters, templates

# of each call of a piece that block.forward makes, in order: the gradient of its output, what that
# is, its parameters
BLOCK = [("da1", "norm1's output", ("gain1", "bias1")), ("dqkv", "q, k and v", ("W_qkv", "b_qkv")),
         ("dmixed", "the heads' output", ()),
         ("dx2", "the sum after attention", ("W_out", "b_out")),
         ("da2", "norm2's output", ("gain2", "bias2")),
         ("dhidden", "GELU's input", ("W_up", "b_up")),
         ("dactive", "GELU's output", ()), ("dy", "the MLP's output", ("W_down", "b_down"))]


def labels(case):
    """(name, about, names of parameters' gradients) of each call of a piece that forward makes."""
    if case.name == "block":
        return [(name, about, [f'dw["{key}"]' for key in keys]) for name, about, keys in BLOCK]
    blocks = [(f"dx{i + 1}", f"block {i}'s output", [f'dp["blocks"][{i}]["{key}"]' for key in w])
              for i, w in enumerate(case.inputs["p"]["blocks"])]
    return [("dx0", "the lookup's output", ['dp["E"]', 'dp["P"]']), *blocks,
            ("dh", "the last norm's output", ['dp["gain"]', 'dp["bias"]']),
            ("dlogits", "the logits", []),
            ("dloss", "the loss", [])]


@dataclass(eq=False)
class Step:
    """One piece's turn on the way back.

    piece      name of the exercise whose backward it is
    name, about   of the gradient that it is given
    dout       the right one
    arguments  its other arguments, as they should be
    beside     names of the gradients of parameters that it returns
    """
    piece: str
    name: str
    about: str
    dout: object
    arguments: tuple
    beside: tuple


@contextmanager
def forwards(pieces, instead):
    """Where a forward calls the template's pieces, instead(name, output, arguments) is what comes
    of it.

    Calls that a piece makes itself are left alone.
    """
    was, depth = {name: templates()[name].forward for name in pieces}, 0

    def called(name, *arguments):
        nonlocal depth
        depth += 1
        try:
            output = was[name](*arguments)
        finally:
            depth -= 1
        return output if depth else instead(name, output, arguments)

    try:
        for name in pieces:
            templates()[name].forward = lambda *arguments, name=name: called(name, *arguments)
        yield
    finally:
        for name in pieces:
            templates()[name].forward = was[name]


def way_back(case):
    """A list of the right Steps. The gradient of a piece's output is found by moving that output: a
    complex step."""
    exercise, calls = case.exercise, []

    def note(name, output, arguments):
        calls.append((name, np.shape(output), arguments))
        return output

    with forwards(exercise.needs, note):
        exercise.forward(*case.inputs.values())

    def gradient(place):
        moved, turn = np.zeros(calls[place][1], complex), itertools.count()

        def loss():
            def moved_in_turn(_, y, __):
                return y + moved if next(turn) % len(calls) == place else y

            with forwards(exercise.needs, moved_in_turn):
                return np.sum(case.dout * exercise.forward(*case.inputs.values()))

        return complex_step(loss, moved)[0]

    return [Step(piece, name, about, gradient(i), arguments, beside)
            for i, ((piece, _, arguments), (name, about, beside))
            in enumerate(zip(calls, labels(case)))][::-1]


# ---- what the learner's pieces are given ---------------------------------------------------------

class Record:
    """Notes what the backward passes of the learner's pieces are given.

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
        count = len(TABLE[name].returned(random_case(TABLE[name], 0).inputs))

        @wraps(backward)
        def noted(*arguments, **named):
            if self.depth == 0:
                self.calls.append((name, [*arguments, *named.values()]))
            self.depth += 1
            try:
                return as_arrays(backward(*arguments, **named), count)
            finally:
                self.depth -= 1
        return noted


def as_arrays(returned, count):
    """What a piece returned, lists made arrays: a right answer may be built of lists, or be a tuple
    of one."""
    if count == 1:
        return np.array(returned[0] if isinstance(returned, tuple) and len(returned) == 1
                        else returned)
    return [np.array(x) if isinstance(x, list) else x for x in returned]


@dataclass
class Seen:
    """One gradient on the way back.

    mark     "✓", "✗", or "·" where it was not seen: the learner does not call that piece
    name, about   as in Step
    given, right  the arrays
    note     a sentence, where it is not a gradient that is wrong
    """
    mark: str
    name: str
    about: str
    given: object = None
    right: object = None
    note: str = ""


def compared(steps, record, case, function, found):
    """A list of Seen for the case, in backward order: what each piece was given, and what came of
    it."""
    right = case.expected()
    record.calls.clear()
    answer(case, function)
    calls = list(record.calls)

    def marked(name, about=""):
        mark = "✓" if near(found.given[name], right[name]) else "✗"
        return Seen(mark, name, about, found.given[name], right[name])

    rows = []
    for step in steps:
        asked = [arguments for piece, arguments in calls if piece == step.piece]
        alike = [other for other in steps if other.piece == step.piece]
        seen = len(asked) == len(alike)         # else nobody knows which call is which step's
        rows += judged(step, asked[alike.index(step)]) if seen else [
            Seen("·", step.name, step.about)]
        rows += map(marked, step.beside)
    return rows + ([marked("dx", "the block's input")] if "dx" in right else [])


def judged(step, call):
    """Rows about what a piece was given, beside what it should have been: the gradient, its input,
    its parameters."""
    dout, *arguments = call
    yield Seen("✓" if like(dout, step.dout) else "✗", step.name, step.about, np.asarray(dout),
               np.asarray(step.dout))
    for name, value, right in zip(parameters(templates()[step.piece].forward), arguments,
                                  step.arguments):
        if not like(value, right):
            yield Seen("✗", f"{name} there", "",
                       note=f"{step.piece}.backward was not given the {name} of its forward.")


def like(a, b):
    if isinstance(b, dict):
        return isinstance(a, dict) and all(key in a and like(a[key], b[key]) for key in b)
    try:
        return near(np.asarray(a, float), np.asarray(b, float))
    except (TypeError, ValueError):
        return False
