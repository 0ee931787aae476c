"""Each token's row of E, plus each position's row of P. E's first use."""
from dataclasses import dataclass

import numpy as np

from ..reprs import ShapeRepr
from .deferred import Deferred


@dataclass(repr=False)
class Cache(ShapeRepr):
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
    """dx (B, T, D); accumulates into dE (V, D), and into the first T rows of dP. Ids have no gradient.

    E[ids] = one_hot @ E is a product, so as in every product y = x W, where dW = xᵀ dy,
        dE = one_hotᵀ @ dx,     that is   dE[v] = sum of dx[n] over all n with ids[n] == v.
    A row that was looked up three times gets three gradients, added; a row that was not gets none.
    """
    unique_ids, dx_sums = sum_by_id(cache.ids.ravel(), dx.reshape(-1, dx.shape[2]))
    if isinstance(dE, Deferred):                # one of several workers: added up later
        dE.rows.append((unique_ids, dx_sums))
    else:
        # Safe, for each id is there once. `dE[ids] += dx` would lose gradients:
        # of a repeated id NumPy keeps only the last addition.
        dE[unique_ids] += dx_sums               # dE += one_hotᵀ dx
    # x[b, t] = ... + P[t] for every sequence b alike:  dP[t] = sum over b of dx[b, t]
    dP[:dx.shape[1]] += dx.sum(axis=0)


def sum_by_id(ids, rows):
    """ids (N,), rows (N, D) -> the distinct ids (M,), in order, and for each the sum of its rows (M, D)."""
    order = np.argsort(ids, kind="stable")
    unique_ids, first = np.unique(ids[order], return_index=True)
    return unique_ids, np.add.reduceat(rows[order], first, axis=0)
