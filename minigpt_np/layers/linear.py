"""y = x W + b, on N rows at once."""
from typing import NamedTuple

import numpy as np


class Cache(NamedTuple):
    x: np.ndarray           # (N, D_in)
    W: np.ndarray           # (D_in, D_out)


def forward(x, w):
    """x (N, D_in), w of W (D_in, D_out) and b (D_out,) -> y (N, D_out)."""
    y = x @ w.W
    y += w.b
    return y, Cache(x, w.W)


def backward(dy, cache, grads):
    """dy (N, D_out) -> dx (N, D_in); adds to grads.W and grads.b.

    y[n, j] = sum_i x[n, i] W[i, j] + b[j], so with dy[n, j] = dloss/dy[n, j]
        dW[i, j] = sum_n x[n, i] dy[n, j]        dW = xᵀ dy
        db[j]    = sum_n dy[n, j]                db = 1ᵀ dy
        dx[n, i] = sum_j dy[n, j] W[i, j]        dx = dy Wᵀ
    """
    add_product(grads.W, cache.x, dy)
    grads.b += ones(dy) @ dy
    return dy @ cache.W.T


def add_product(total, a, b):
    """total += aᵀ b, for a (N, I), b (N, J), total (I, J).

    A band of rows at a time: the band's product is added while it is still in the cache, where
    the whole product would travel to memory and back first.
    """
    band = max(64, BAND // b.shape[1])
    for start in range(0, len(total), band):
        rows = slice(start, start + band)
        total[rows] += a[:, rows].T @ b


BAND = 1 << 18


def ones(x):
    """(N,) ones for x of N rows: `ones @ x` sums over rows faster than x.sum(axis=0)."""
    return np.ones(len(x), x.dtype)
