"""Causal attention: each position takes a mean of the values up to its own, weighted by softmax."""
from dataclasses import dataclass
from math import sqrt

import numpy as np

from ..reprs import ShapeRepr
from . import dropout, softmax
from .constants import causal_mask, ones


@dataclass(repr=False)
class Cache(ShapeRepr):
    scaled_q: np.ndarray    # (B, H, T, K) queries / sqrt(K)
    k: np.ndarray           # (B, H, S, K)
    v: np.ndarray           # (B, H, S, K)
    weights: np.ndarray     # (B, H, T, S) of query t for key s: 0 for s > t; each row sums to 1
    mask: np.ndarray        # dropout's, or None
    y: np.ndarray           # (B, H, T, K) output


def forward(qkv, B, T, H, p_drop=0, rng=None, extend=None):
    """qkv (N, 3D), in each row a query, a key and a value of H heads of width K -> y_rows (N, D).

    scores = q kᵀ / sqrt(K), -inf where s > t;   y = softmax(scores) v   (Vaswani et al., 2017).
    All T x T scores at once. Blocks of 64 queries, each against the keys it may see, would save
    nothing at T = 64, at T = 1024 a quarter of both passes' time and two thirds of their memory.
    extend   for generation, a function of k and v (B, H, T, K) that puts those of earlier positions
             in front: then there are S > T keys and values. backward is for S = T
    """
    q, k, v = split_heads(qkv, B, T, 3, H)
    if extend is not None:
        k, v = extend(k, v)
    scaled_q = q * (1 / sqrt(q.shape[-1]))
    scores = scaled_q @ transposed(k)
    scores[..., -T:] += causal_mask(T, scores.dtype)
    weights = softmax.softmax(scores)
    kept_weights, mask = dropout.forward(weights, p_drop, rng)
    y_rows = np.zeros((len(qkv), qkv.shape[1] // 3), qkv.dtype)
    y, = split_heads(y_rows, B, T, 1, H)    # a view: what is written into it stands in y_rows
    np.matmul(kept_weights, v, out=y)
    return y_rows, Cache(scaled_q, k, v, weights, mask, y)


def backward(dy_rows, cache):
    """dy_rows (N, D) -> dqkv (N, 3D).

    y = weights v, so  dv = weightsᵀ dy  and  dweights = dy vᵀ.
    Softmax:  dscores = weights (dweights - sum_s weights dweights), where the sum is y[t] · dy[t].
    scores = q kᵀ / sqrt(K):  dq = dscores k / sqrt(K),  dk = dscoresᵀ q / sqrt(K).
    """
    scaled_q, k, v, weights, y = cache.scaled_q, cache.k, cache.v, cache.weights, cache.y
    B, H, T, K = y.shape
    dqkv = np.zeros((B * T, 3 * H * K), y.dtype)
    dq, dk, dv = split_heads(dqkv, B, T, 3, H)
    dy, = split_heads(dy_rows, B, T, 1, H)

    kept_weights = dropout.backward(weights, cache.mask)
    np.matmul(transposed(kept_weights), dy, out=dv)
    dweights = dropout.backward(dy @ transposed(v), cache.mask)
    y_dy = (y * dy) @ ones(K, y.dtype)
    dscores = softmax.backward(dweights, weights, y_dy[..., None])
    np.multiply(dscores @ k, 1 / sqrt(K), out=dq)
    np.matmul(transposed(dscores), scaled_q, out=dk)
    return dqkv


def split_heads(rows, B, T, n, H):
    """rows (B·T, n·H·K) -> n views (B, H, T, K) into it."""
    return rows.reshape(B, T, n, H, -1).transpose(2, 0, 3, 1, 4)


def transposed(x):
    """(..., I, J) -> (..., J, I)."""
    return x.swapaxes(-1, -2)
