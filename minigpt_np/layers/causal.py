"""Causal attention: every position takes a mean of the values up to its own, weighted by softmax."""
from dataclasses import dataclass
from math import sqrt

import numpy as np

from ..reprs import ShapeRepr
from . import dropout, softmax
from .constants import causal_mask, ones

QUERY_BLOCK = 64            # queries that are processed together


@dataclass(repr=False)
class QueryBlock(ShapeRepr):
    """How the queries start <= t < stop attended to the keys s < stop."""
    start: int
    stop: int
    weights: np.ndarray     # (B, H, stop - start, stop) 0 for s > t; each row sums to 1
    mask: np.ndarray        # dropout's, or None


@dataclass(repr=False)
class Cache(ShapeRepr):
    scaled_q: np.ndarray    # (B, H, T, K) queries / sqrt(K)
    k: np.ndarray           # (B, H, T, K)
    v: np.ndarray           # (B, H, T, K)
    query_blocks: list      # of QueryBlock, in order
    y: np.ndarray           # (B, H, T, K) output


def forward(qkv, B, T, H, p_drop=0, rng=None):
    """qkv (N, 3D), in each row a query, a key and a value, each of H heads of width K -> y_rows (N, D).

    scores = q kᵀ / sqrt(K), -inf where s > t;   y = softmax(scores) v   (Vaswani et al., 2017).

    A block of queries at a time, against the keys they may see: the other half of the T x T square
    is never computed.
    """
    q, k, v = split_heads(qkv, B, T, 3, H)
    scaled_q = q * (1 / sqrt(q.shape[-1]))
    y_rows = np.zeros((len(qkv), qkv.shape[1] // 3), qkv.dtype)
    y, = split_heads(y_rows, B, T, 1, H)
    query_blocks = []
    for start in range(0, T, QUERY_BLOCK):
        stop = min(start + QUERY_BLOCK, T)
        weights = attention_weights(scaled_q[:, :, start:stop], k[:, :, :stop])
        kept_weights, mask = dropout.forward(weights, p_drop, rng)
        np.matmul(kept_weights, v[:, :, :stop], out=y[:, :, start:stop])
        query_blocks.append(QueryBlock(start, stop, weights, mask))
    return y_rows, Cache(scaled_q, k, v, query_blocks, y)


def backward(dy_rows, cache):
    """dy_rows (N, D) -> dqkv (N, 3D).

    y = weights v, so  dv = weightsᵀ dy  and  dweights = dy vᵀ.
    Softmax:  dscores = weights (dweights - sum_s weights dweights), and that sum over s is y[t] · dy[t].
    scores = q kᵀ / sqrt(K):  dq = dscores k / sqrt(K),  dk = dscoresᵀ q / sqrt(K).
    """
    scaled_q, k, v, y = cache.scaled_q, cache.k, cache.v, cache.y
    B, H, T, K = y.shape
    dqkv = np.zeros((B * T, 3 * H * K), y.dtype)
    dq, dk, dv = split_heads(dqkv, B, T, 3, H)
    dy, = split_heads(dy_rows, B, T, 1, H)
    for block in reversed(cache.query_blocks):
        queries, keys, weights = slice(block.start, block.stop), slice(block.stop), block.weights
        dy_block, overwrite = dy[:, :, queries], block.stop == T
        y_dy = (y[:, :, queries] * dy_block) @ ones(K, y.dtype)
        add_product(dv[:, :, keys], transposed(dropout.backward(weights, block.mask)), dy_block, overwrite)
        dweights = dropout.backward(dy_block @ transposed(v[:, :, keys]), block.mask)
        dscores = softmax.backward(dweights, weights, y_dy[..., None])
        np.multiply(dscores @ k[:, :, keys], 1 / sqrt(K), out=dq[:, :, queries])
        add_product(dk[:, :, keys], transposed(dscores), scaled_q[:, :, queries], overwrite)
    return dqkv


def attention_weights(scaled_q, k):
    """scaled_q (B, H, n, K), queries of the last n of the positions of k (B, H, S, K) -> weights (B, H, n, S).

    Each row is a softmax over the keys up to its own position, and 0 after it.
    """
    n = scaled_q.shape[2]
    scores = scaled_q @ transposed(k)
    scores[..., -n:] += causal_mask(n, scores.dtype)
    return softmax.softmax(scores)


def split_heads(rows, B, T, n, H):
    """rows (B·T, n·H·K) -> n views (B, H, T, K) into it."""
    return rows.reshape(B, T, n, H, -1).transpose(2, 0, 3, 1, 4)


def transposed(x):
    """(..., I, J) -> (..., J, I)."""
    return x.swapaxes(-1, -2)


def add_product(total, a, b, overwrite):
    """total += a b; overwrite: total = a b."""
    if overwrite:
        np.matmul(a, b, out=total)
    else:
        total += a @ b
