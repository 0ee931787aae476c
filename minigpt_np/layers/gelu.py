"""GELU, the tanh approximation that GPT-1 and GPT-2 use (Hendrycks and Gimpel, 2016)."""
from math import pi, sqrt
from typing import NamedTuple

import numpy as np

C = sqrt(2 / pi)
A = 0.044715
SHUT = 60.0                 # exp(-60) = 1e-26: such a gate is as good as 0


class Cache(NamedTuple):
    x: np.ndarray           # any shape
    gate: np.ndarray        # in 0..1, of x's shape
    y: np.ndarray           # x · gate


def forward(x):
    """y = x · gate(x), gate = (1 + tanh u) / 2, u = C (x + A x³), of any shape.

    Computed as gate = 1 / (1 + exp(-2u)), which is the same, and which NumPy computes faster.
    """
    z = x * x
    z *= -2 * C * A
    z += -2 * C
    z *= x                              # z = -2u = -2C x - 2CA x³
    if not z.real.max() < SHUT:         # exp stays finite
        np.minimum(z, SHUT, out=z)
    gate = np.exp(z, out=z)
    gate += 1
    np.divide(1, gate, out=gate)
    y = x * gate
    return y, Cache(x, gate, y)


def backward(dy, cache):
    """dx = dy · (gate + x gate'), of dy's shape.

    gate = 1 / (1 + exp(-2u)):  gate' = gate (1 - gate) 2u',  and u' = C + 3CA x².
    So  x gate' = y (1 - gate) (2C + 6CA x²).
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
