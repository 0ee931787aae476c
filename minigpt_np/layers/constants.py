"""Constant arrays, made once and read-only: for sums and means as products, and for causality."""
import functools

import numpy as np


@functools.lru_cache(64)
def ones(n, dtype):
    """(n,) ones: `ones @ x` is x.sum(axis=0), and `x @ ones` is x.sum(axis=1), both faster."""
    return read_only(np.ones(n, dtype))


@functools.lru_cache(64)
def mean_weights(D, dtype):
    """(D, 1), each 1/D: `x @ mean_weights` is x.mean(axis=1, keepdims=True), faster."""
    return read_only(ones(D, dtype)[:, None] / D)


@functools.lru_cache(64)
def causal_mask(n, dtype):
    """(n, n) to be added to scores[t, s]: 0 where s <= t, -inf where s > t."""
    return read_only(np.triu(np.full((n, n), -np.inf, dtype), 1))


def read_only(array):
    """The array, which from now on raises ValueError when it is assigned to."""
    array.flags.writeable = False
    return array
