"""y = x W + b, on N rows at once."""
import functools
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
    grads.b += ones(len(dy), dy.dtype) @ dy
    return dy @ cache.W.T


def add_product(total, a, b):
    """total += aᵀ b, for a (N, I), b (N, J), total (I, J).

    Where `total` is a list the two are only noted in it: several threads at work on one batch leave
    their products to be added later, when all are there (train.py). With an array, a band of rows
    at a time: its product is added while it is in the cache, where the whole product would travel
    to memory and back first.
    """
    if isinstance(total, list):
        total.append((a, b))
        return
    for rows in bands(*total.shape, BAND):
        band = total[rows]
        band += a[:, rows].T @ b


@functools.lru_cache(64)
def bands(I, J, numbers):
    """Slices of rows that together are an array (I, J); each holds about that many numbers."""
    height = max(64, numbers // J)
    return [slice(start, min(start + height, I)) for start in range(0, I, height)]


BAND = 1 << 20


@functools.lru_cache(64)
def ones(n, dtype):
    """(n,) ones, to be read only: as products, `ones @ x` and `x @ ones` are sums faster than x.sum(axis)."""
    return read_only(np.ones(n, dtype))


def read_only(array):
    """The array, which raises ValueError when written to: for what is kept from call to call."""
    array.flags.writeable = False
    return array
