"""Inside an exercise that is made of others: each gradient on the way back, with a mark."""
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np

from minigpt_np.gradcheck import complex_step

from .answers import judge
from .cases import near
from .files import templates

# of each call of a piece that block.forward makes, in order: the gradient of its output, what that
# is, its parameters
BLOCK = [("da1", "norm1's output", ("gain1", "bias1")), ("dqkv", "q, k and v", ("W_qkv", "b_qkv")),
         ("dmixed", "the heads' output", ()),
         ("dx2", "the sum after attention", ("W_out", "b_out")),
         ("da2", "norm2's output", ("gain2", "bias2")),
         ("dhidden", "GELU's input", ("W_up", "b_up")),
         ("dactive", "GELU's output", ()), ("dy", "the MLP's output", ("W_down", "b_down"))]


@dataclass
class Step:
    """A gradient on the way back.

    name, about    what it is called, and what it is the gradient of
    right, given   arrays; given is None where the learner does not call that piece
    """
    name: str
    about: str
    right: object
    given: object

    @property
    def mark(self):
        if self.given is None:
            return "·"
        return "✓" if near(self.given, self.right) else "✗"


def labels(case):
    """(name, about, names of parameters' gradients) of each call of a piece that forward makes."""
    if case.name == "block":
        return [(name, about, [f'dw["{key}"]' for key in keys]) for name, about, keys in BLOCK]
    blocks = [(f"dx{i + 1}", f"block {i}'s output", [f'dp["blocks"][{i}]["{key}"]' for key in w])
              for i, w in enumerate(case.inputs["p"]["blocks"])]
    return [("dx0", "the lookup's output", ['dp["E"]', 'dp["P"]']), *blocks,
            ("dh", "the last norm's output", ['dp["gain"]', 'dp["bias"]']),
            ("dlogits", "the logits", []), ("dloss", "the loss", [])]


@cache
def calls_of_forward(case):
    """(piece, gradient of its output) of each call of a piece that forward makes.

    The gradient is found by moving that output: a complex step.
    """
    exercise, calls, moved = case.exercise, [], []
    dout = case.arguments["d" + exercise.out]

    def tapped(piece):
        def forward(*arguments):
            output = piece.forward(*arguments)
            if len(calls) == len(moved):
                moved.append(np.zeros(np.shape(output), complex))
            calls.append(piece.__name__)
            return output + moved[len(calls) - 1]
        return SimpleNamespace(**vars(piece) | dict(forward=forward))

    def loss():
        calls.clear()
        return np.sum(dout * exercise.forward(*case.inputs.values()))

    pieces = {name: tapped(templates()[name]) for name in exercise.needs}
    with patch.multiple(templates()[case.name], **pieces):
        loss()
        gradients = [complex_step(loss, x)[0] for x in moved]
    return list(zip(calls, gradients))


def calls_of_backward(case, function):
    """piece -> list of what each call of its backward by the learner's function is given first."""
    calls = defaultdict(list)

    def note(frame, event, _):
        code, caller = frame.f_code, frame.f_back.f_code
        if (event, code.co_name, Path(caller.co_filename).stem) == ("call", "backward", case.name):
            dout = frame.f_locals[code.co_varnames[0]]
            calls[Path(code.co_filename).stem].append(np.asarray(dout))

    sys.setprofile(note)
    try:
        judge(case, function)
    finally:
        sys.setprofile(None)
    return calls


def way_back(found, function):
    """A list of Steps in backward order, from the Verdict on an answer."""
    case, given, right, steps = found.case, found.given, found.case.expected, []
    forward, backward = calls_of_forward(case), calls_of_backward(case, function)
    for piece, n in Counter(piece for piece, _ in forward).items():
        if len(backward[piece]) != n:       # of more calls or fewer, nobody knows which is which
            backward[piece] = [None] * n
    for (piece, gradient), (name, about, beside) in zip(forward[::-1], labels(case)[::-1]):
        steps.append(Step(name, about, gradient, backward[piece].pop(0)))
        steps += [Step(label, "", right[label], given[label]) for label in beside]
    if "dx" in right:
        steps.append(Step("dx", "the block's input", right["dx"], given["dx"]))
    return steps
