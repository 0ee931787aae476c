"""GELU, the tanh approximation that GPT-1 and GPT-2 use (Hendrycks and Gimpel, 2016)."""
from dataclasses import dataclass
from math import pi, sqrt

import numpy as np

from ..reprs import ShapeRepr

C = sqrt(2 / pi)
A = 0.044715


@dataclass(repr=False)
class Cache(ShapeRepr):
    x: np.ndarray           # any shape
    gate: np.ndarray        # in 0..1, of x's shape
    y: np.ndarray           # x · gate


def forward(x):
    """y = x · gate,  gate = (1 + tanh u) / 2,  u = C (x + A x³), of any shape.

    In one piece of working memory: new memory for each operation costs as much as the operation.
    """
    work = x * x
    work *= C * A
    work += C
    work *= x                                           # u = C x + C A x³
    np.tanh(work, out=work)
    work += 1
    gate = np.multiply(work, 1 / 2, out=work)           # (1 + tanh u) / 2
    del work                                            # its memory is gate's now
    y = x * gate
    return y, Cache(x, gate, y)


def backward(dy, cache):
    """dx = dy · (gate + x gate'), of dy's shape.

    tanh' = 1 - tanh², and with tanh u = 2 gate - 1 that is 4 gate (1 - gate). So
        gate' = 2 gate (1 - gate) u',   x gate' = y (1 - gate) 2u',   u' = C + 3CA x².
    """
    x, gate, y = cache.x, cache.gate, cache.y
    work = x * x
    work *= 6 * C * A
    work += 2 * C                                       # 2u'
    work *= y * (1 - gate)                              # x gate'
    work += gate
    dx = np.multiply(dy, work, out=work)                # dy (gate + x gate')
    del work                                            # its memory is dx's now
    return dx
