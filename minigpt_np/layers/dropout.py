"""Dropout: a number is dropped with probability p_drop, or multiplied by 1 / (1 - p_drop)."""
import numpy as np


def forward(x, p_drop, rng):
    """x of any shape, p_drop in [0, 1), rng a Generator, or None for no dropout -> y, mask.

    mask is 0 or 1 / (1 - p_drop), of x's shape, so that y is x on average; None if none is dropped.
    """
    if rng is None or p_drop == 0:
        return x, None
    keep = rng.random(x.shape, dtype=np.float32) >= p_drop
    mask = keep * x.real.dtype.type(1 / (1 - p_drop))
    return x * mask, mask


def backward(dy, mask):
    """dx = dy · mask: dropped values had no influence; kept ones were scaled, and so is dy."""
    return dy if mask is None else dy * mask
