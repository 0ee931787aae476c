"""Multi-head causal self-attention: to queries, keys and values, attend, and back to width D."""
from typing import NamedTuple

from . import causal, dropout, linear


class Cache(NamedTuple):
    qkv: linear.Cache
    causal: causal.Cache
    out: linear.Cache
    mask: object            # dropout's


def forward(x, w, shape, config, rng):
    """x (N, D) rows of a batch of shape (B, T) -> y (N, D)."""
    qkv, qkv_cache = linear.forward(x, w.qkv)
    mixed, causal_cache = causal.forward(qkv, *shape, config.n_head, config.attn_pdrop, rng)
    y, out_cache = linear.forward(mixed, w.out)
    y, mask = dropout.forward(y, config.resid_pdrop, rng)
    return y, Cache(qkv_cache, causal_cache, out_cache, mask)


def backward(dy, cache, grads):
    """dy (N, D) -> dx (N, D); adds to the gradients of both projections."""
    dy = dropout.backward(dy, cache.mask)
    dmixed = linear.backward(dy, cache.out, grads.out)
    dqkv = causal.backward(dmixed, cache.causal)
    return linear.backward(dqkv, cache.qkv, grads.qkv)
