"""GELU, the tanh approximation that GPT-1 and GPT-2 use (Hendrycks and Gimpel, 2016)."""
from dataclasses import dataclass
from math import pi, sqrt

import numpy as np

from ..reprs import ShapeRepr

C = sqrt(2 / pi)
A = 0.044715
MAX_EXPONENT = 60.0         # exp(-60) = 1e-26: such a gate is as good as 0


@dataclass(repr=False)
class Cache(ShapeRepr):
    x: np.ndarray           # any shape
    gate: np.ndarray        # in 0..1, of x's shape
    y: np.ndarray           # x · gate


def forward(x):
    """y = x · gate(x), gate = (1 + tanh u) / 2, u = C (x + A x³), of any shape.

    Computed as gate = 1 / (1 + exp(-2u)), which is the same, and which NumPy computes faster; in one
    piece of working memory, since new memory for each operation costs as much as the operation.
    """
    work = x * x
    work *= -2 * C * A
    work -= 2 * C
    work *= x                                           # -2u = -2C x - 2CA x³
    if not work.real.max() < MAX_EXPONENT:              # exp stays finite
        np.minimum(work, MAX_EXPONENT, out=work)
    np.exp(work, out=work)
    work += 1
    gate = np.divide(1, work, out=work)                 # 1 / (1 + exp(-2u))
    del work                                            # its memory is gate's now
    y = x * gate
    return y, Cache(x, gate, y)


def backward(dy, cache):
    """dx = dy · (gate + x gate'), of dy's shape.

    gate = 1 / (1 + exp(-2u)):  gate' = gate (1 - gate) 2u',  and u' = C + 3CA x².
    So  x gate' = y (1 - gate) 2u',  2u' = 2C + 6CA x².
    """
    x, gate, y = cache.x, cache.gate, cache.y
    work = x * x
    work *= 6 * C * A
    work += 2 * C                                       # 2u'
    work *= y
    work *= 1 - gate                                    # x gate'
    work += gate
    dx = np.multiply(dy, work, out=work)                # dy (gate + x gate')
    del work                                            # its memory is dx's now
    return dx
