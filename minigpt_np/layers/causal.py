"""Causal attention: every position takes a mean of the values up to its own, weighted by softmax."""
import functools
from math import sqrt
from typing import NamedTuple

import numpy as np

from . import dropout, softmax
from .linear import ones, read_only

QUERIES = 64                # positions that are treated together


class Piece(NamedTuple):
    """What a run of queries, start <= t < stop, did with the keys s < stop."""
    start: int
    stop: int
    weights: np.ndarray     # (B, H, stop - start, stop) 0 for s > t; each row sums to 1
    mask: np.ndarray        # dropout's, or None


class Cache(NamedTuple):
    q: np.ndarray           # (B, H, T, K) queries, already divided by sqrt(K)
    k: np.ndarray           # (B, H, T, K)
    v: np.ndarray           # (B, H, T, K)
    pieces: list            # of Piece, in order
    y: np.ndarray           # (B, H, T, K) output


def forward(qkv, B, T, H, p_drop=0, rng=None):
    """qkv (N, 3D), each row its query, key and value, each of H heads of width K -> y (N, D).

    scores = q kᵀ / sqrt(K), -inf where s > t;   y = softmax(scores) v   (Vaswani et al., 2017).

    A run of queries at a time, against the keys they may see: the other half of the T x T square
    is never computed.
    """
    q, k, v = heads(qkv, B, T, 3, H)
    q = q * (1 / sqrt(q.shape[-1]))
    rows = np.empty((B * T, qkv.shape[1] // 3), qkv.dtype)
    y, = heads(rows, B, T, 1, H)
    pieces = []
    for start in range(0, T, QUERIES):
        stop = min(start + QUERIES, T)
        scores = q[:, :, start:stop] @ transposed(k[:, :, :stop])
        diagonal = scores[..., start:]
        diagonal += future(stop - start, scores.dtype)
        weights, total, _ = softmax.exponentials(scores)
        weights /= total
        kept, mask = dropout.forward(weights, p_drop, rng)
        np.matmul(kept, v[:, :, :stop], out=y[:, :, start:stop])
        pieces.append(Piece(start, stop, weights, mask))
    return rows, Cache(q, k, v, pieces, y)


def backward(dy, cache):
    """dy (N, D) -> dqkv (N, 3D).

    With weights w:  y = w v, so  dv = wᵀ dy  and  dw = dy vᵀ.
    Softmax:  dscores = w (dw - sum_s w dw), and  sum_s w[t, s] dw[t, s] = y[t] · dy[t].
    scores = q kᵀ:  dq = dscores k,  dk = dscoresᵀ q.
    """
    q, k, v, pieces, y = cache
    B, H, T, K = q.shape
    dqkv = np.empty((B * T, 3 * H * K), q.dtype)
    dq, dk, dv = heads(dqkv, B, T, 3, H)
    dy, = heads(dy, B, T, 1, H)
    for start, stop, weights, mask in reversed(pieces):
        dy_part = dy[:, :, start:stop]
        y_dy = (y[:, :, start:stop] * dy_part) @ ones(K, q.dtype)
        add_product(dv[:, :, :stop], transposed(dropout.backward(weights, mask)), dy_part, stop == T)
        dscores = dropout.backward(dy_part @ transposed(v[:, :, :stop]), mask)
        dscores -= y_dy[..., None]
        dscores *= weights
        np.matmul(dscores, k[:, :, :stop], out=dq[:, :, start:stop])
        add_product(dk[:, :, :stop], transposed(dscores), q[:, :, start:stop], stop == T)
    dq *= 1 / sqrt(K)
    return dqkv


def add_product(total, a, b, first):
    """total += a b; first: total = a b, whatever it held."""
    if first:
        np.matmul(a, b, out=total)
    else:
        total += a @ b


def heads(rows, B, T, n, H):
    """rows (B·T, n·H·K) -> n views (B, H, T, K) into it."""
    return rows.reshape(B, T, n, H, -1).transpose(2, 0, 3, 1, 4)


def transposed(x):
    """(..., I, J) -> (..., J, I)."""
    return x.swapaxes(-1, -2)


@functools.cache
def future(n, dtype):
    """(n, n) of what is added to scores, to be read only: 0 for s <= t, -inf for s > t."""
    return read_only(np.triu(np.full((n, n), -np.inf, dtype), 1))
