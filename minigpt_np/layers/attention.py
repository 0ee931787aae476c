"""Multi-head causal self-attention: project to queries, keys and values, attend, project back."""
from dataclasses import dataclass

import numpy as np

from ..reprs import ShapeRepr
from . import causal, dropout, linear


@dataclass(repr=False)
class Cache(ShapeRepr):
    qkv: linear.Cache
    causal: causal.Cache
    out: linear.Cache
    mask: np.ndarray        # dropout's, or None


def forward(x, params, shape, config, rng, extend=None):
    """x (N, D) rows of a batch of shape (B, T) -> y (N, D). extend: see causal.forward."""
    qkv, qkv_cache = linear.forward(x, params.qkv)
    mixed, causal_cache = causal.forward(qkv, *shape, config.n_head, config.attn_pdrop, rng, extend)
    projected, out_cache = linear.forward(mixed, params.out)
    y, mask = dropout.forward(projected, config.resid_pdrop, rng)
    return y, Cache(qkv_cache, causal_cache, out_cache, mask)


def backward(dy, cache, grads):
    """dy (N, D) -> dx (N, D); accumulates into the gradients of both projections."""
    dprojected = dropout.backward(dy, cache.mask)
    dmixed = linear.backward(dprojected, cache.out, grads.out)
    dqkv = causal.backward(dmixed, cache.causal)
    return linear.backward(dqkv, cache.qkv, grads.qkv)
