"""Reading: each token's row of E, plus each position's row of P. E's first use."""
from typing import NamedTuple

import numpy as np


class Cache(NamedTuple):
    ids: np.ndarray         # (B, T)


def forward(ids, E, P):
    """ids (B, T), E (V, D), P (block_size, D) -> x (B, T, D) with x[b, t] = E[ids[b, t]] + P[t].

    Looking up is multiplying: with one_hot (N, V) holding a single 1 in each row, at that
    position's id, E[ids] = one_hot @ E. Nobody would multiply by that many zeros, but the
    derivative is easiest read off the product. (For one-hot *column* vectors it is Eᵀ x.)
    """
    x = E[ids]
    x += P[:ids.shape[1]]
    return x, Cache(ids)


def backward(dx, cache, dE, dP):
    """dx (B, T, D): adds to dE (V, D), and to the first T rows of dP. Ids have no gradient.

    E[ids] = one_hot @ E is a product, so as in every product y = x W, where dW = xᵀ dy,
        dE = one_hotᵀ @ dx,     that is   dE[v] = sum of dx[n] over all n with ids[n] == v.
    A row that was read three times gets three gradients, added; a row that was not read gets
    none. `dE[ids] += dx` would be wrong: NumPy reads dE[ids] once, adds, and writes back, so of
    a repeated id only one addition survives. np.add.at counts them all; sorting the ids and
    adding up each run of equal ones does the same, and fast.
    """
    add_rows(dE, cache.ids.ravel(), dx.reshape(-1, dx.shape[2]))
    # x[b, t] = ... + P[t] for every sequence b alike:  dP[t] = sum over b of dx[b, t]
    dP[:dx.shape[1]] += dx.sum(axis=0)


def add_rows(total, ids, dx):
    """total += one_hot(ids)ᵀ dx, for ids (N,), dx (N, D), total (V, D): add_product's sparse twin.

    As there, the two are only noted where `total` is a list.
    """
    if isinstance(total, list):
        total.append((ids, dx))
        return
    order = np.argsort(ids, kind="stable")
    rows_read, first = np.unique(ids[order], return_index=True)
    total[rows_read] += np.add.reduceat(dx[order], first, axis=0)
