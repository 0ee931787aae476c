"""y = x W + b, on N rows at once."""
from dataclasses import dataclass

import numpy as np

from ..reprs import ShapeRepr
from .constants import ones


@dataclass(repr=False)
class Cache(ShapeRepr):
    x: np.ndarray           # (N, D_in)
    W: np.ndarray           # (D_in, D_out)


def forward(x, params):
    """x (N, D_in), params of W (D_in, D_out) and b (D_out,) -> y (N, D_out)."""
    y = x @ params.W
    y += params.b
    return y, Cache(x, params.W)


def backward(dy, cache, grads):
    """dy (N, D_out) -> dx (N, D_in); accumulates into grads.W and grads.b.

    y[n, j] = sum_i x[n, i] W[i, j] + b[j], so with dy[n, j] = dloss/dy[n, j]
        dW[i, j] = sum_n x[n, i] dy[n, j]        dW = xᵀ dy
        db[j]    = sum_n dy[n, j]                db = 1ᵀ dy
        dx[n, i] = sum_j dy[n, j] W[i, j]        dx = dy Wᵀ
    """
    dW, db = grads.W, grads.b
    dW += cache.x.T @ dy
    db += ones(len(dy), dy.dtype) @ dy
    return dy @ cache.W.T
