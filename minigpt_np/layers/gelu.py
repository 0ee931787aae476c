"""GELU, the tanh approximation that GPT-1 and GPT-2 use (Hendrycks and Gimpel, 2016)."""
from math import pi, sqrt
from typing import NamedTuple

import numpy as np

C = sqrt(2 / pi)
A = 0.044715


class Cache(NamedTuple):
    x: np.ndarray           # any shape
    gate: np.ndarray        # in 0..1, of x's shape
    y: np.ndarray           # x · gate


def forward(x):
    """y = x · gate(x), gate = (1 + tanh u) / 2, u = C (x + A x³), of any shape."""
    u = x * x
    u *= C * A
    u += C
    u *= x                              # u = C x + C A x³
    gate = np.tanh(u, out=u)
    gate *= 0.5
    gate += 0.5
    y = x * gate
    return y, Cache(x, gate, y)


def backward(dy, cache):
    """dx = dy · (gate + x gate'), of dy's shape.

    gate = (1 + t) / 2 with t = tanh u:  gate' = (1 - t²) u' / 2 = 2 gate (1 - gate) u',
    and u' = C + 3 C A x². So  x gate' = y (1 - gate) (2C + 6 C A x²).
    """
    x, gate, y = cache
    slope = x * x
    slope *= 6 * C * A
    slope += 2 * C
    slope *= y
    slope *= 1 - gate                   # slope = x gate'
    slope += gate
    slope *= dy
    return slope
