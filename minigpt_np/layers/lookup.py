"""Each token's row of E, plus each position's row of P. E's first use."""
from dataclasses import dataclass

import numpy as np

from ..reprs import ShapeRepr


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
    """dx (B, T, D); accumulates into dE (V, D) and the first T rows of dP. Ids have no gradient.

    E[ids] = one_hot @ E is a product, so as in every product y = x W, where dW = xᵀ dy,
        dE = one_hotᵀ @ dx,     that is   dE[v] = sum of dx[n] over all n with ids[n] == v.
    A row that was looked up three times gets three gradients, added; a row that was not gets none.
    `dE[ids] += dx` would lose some: of a repeated id NumPy keeps only the last addition.
    x[b, t] = ... + P[t] for every sequence b alike, so  dP[t] = sum over b of dx[b, t].
    """
    B, T, D = dx.shape
    for v, dx_n in zip(cache.ids.ravel().tolist(), dx.reshape(B * T, D)):
        dE[v] += dx_n                           # dE += one_hotᵀ dx, row by row
    for dx_b in dx:
        dP[:T] += dx_b
