"""GELU as defined, y = x Φ(x), Φ being the normal distribution's (Hendrycks and Gimpel, 2016).

nanoGPT's. NumPy has no erf. With its decay, exp(-z²) / (a + z), taken out, a polynomial will do:

    1 - Φ(|x|) = erfc(z) / 2,   erfc(z) = exp(-z²) f(r) / (a + z),
    z = |x| / sqrt(2),          r = (a - z) / (a + z)

f interpolates (a + z) exp(z²) erfc(z) at the Chebyshev points of r in -1..1, computed with 50
digits. Each step is analytic on either side of 0, so that a complex step goes through.
"""
from dataclasses import dataclass
from math import pi, sqrt

import numpy as np

from ..reprs import ShapeRepr

# a, and the coefficients of f, highest power first: to the precision of float32, and of float64.
SHORT = 2.5, (
    -7.292145627e-05, -2.686559161e-05, 0.0006662207953, 0.0004136037997, -0.004803455108,
    -0.008382888215, 0.02835886711, 0.1712494186, 0.4539142497, 0.8046519341, 1.05403182)
LONG = 4.0, (
    1.252169228211782e-09, -2.6471770049944693e-10, -1.5522062791612513e-08, -8.276487613621898e-10,
    1.231160742255897e-07, 7.597760874906101e-08, -8.444415138513227e-07, -1.42495728038385e-06,
    4.693043799316667e-06, 1.8861481777975764e-05, -3.634558037436345e-06, -0.00017681308475719695,
    -0.0004550528495048933, 0.0002809589371945609, 0.0061120556821152045, 0.026370053328949945,
    0.07638151490700863, 0.17401093724091568, 0.33085158787810337, 0.5408538313131965,
    0.7732087022652361, 0.9765487290808824, 1.095995661000491)


@dataclass(repr=False)
class Cache(ShapeRepr):
    x: np.ndarray           # any shape
    gate: np.ndarray        # Φ(x), of x's shape


def forward(x):
    """y = x Φ(x), of any shape."""
    upper = half_erfc(np.where(x.real < 0, -x, x) * sqrt(1 / 2))        # 1 - Φ(|x|)
    gate = np.where(x.real < 0, upper, 1 - upper)
    return x * gate, Cache(x, gate)


def backward(dy, cache):
    """dx = dy (Φ(x) + x Φ'(x)), of dy's shape;  Φ'(x) = exp(-x²/2) / sqrt(2π)."""
    x, gate = cache.x, cache.gate
    work = x * x
    work *= -1 / 2
    np.exp(work, out=work)
    work *= sqrt(1 / (2 * pi))                          # Φ'(x)
    work *= x
    work += gate
    dx = np.multiply(dy, work, out=work)
    del work                                            # its memory is dx's now
    return dx


def half_erfc(z):
    """erfc(z) / 2 for z >= 0, of any shape."""
    a, (highest, *coefficients, lowest) = SHORT if np.finfo(z.dtype).eps > 1e-10 else LONG
    inverse = 1 / (a + z)
    ratio = (a - z) * inverse
    work = highest * ratio          # the polynomial by Horner's rule, in one piece of memory
    for coefficient in coefficients:
        work += coefficient
        work *= ratio
    work += lowest
    work *= inverse
    work *= np.exp(-z * z)
    work *= 1 / 2
    return work
