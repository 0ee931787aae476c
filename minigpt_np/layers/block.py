"""One block: attention, then MLP, each in a residual branch with its LayerNorm.

`pre` (GPT-2):   x = x + attention(norm1(x));   x = x + mlp(norm2(x))
`post` (GPT-1):  x = norm1(x + attention(x));   x = norm2(x + mlp(x))
"""
from typing import NamedTuple

from . import attention, layernorm, mlp


class Cache(NamedTuple):
    norm1: layernorm.Cache
    attention: attention.Cache
    norm2: layernorm.Cache
    mlp: mlp.Cache


def forward_pre(x, w, shape, config, rng):
    """x (N, D), the residual stream of a batch of shape (B, T) -> the stream after this block."""
    normed, norm1 = layernorm.forward(x, w.norm1, config.layer_norm_eps)
    branch, attended = attention.forward(normed, w.attention, shape, config, rng)
    x = x + branch
    normed, norm2 = layernorm.forward(x, w.norm2, config.layer_norm_eps)
    branch, transformed = mlp.forward(normed, w.mlp, config, rng)
    x = x + branch
    return x, Cache(norm1, attended, norm2, transformed)


def backward_pre(dx, cache, grads):
    """dx (N, D) -> dx (N, D). x + f(x): the gradient flows past the branch and through it."""
    dbranch = mlp.backward(dx, cache.mlp, grads.mlp)
    dx = dx + layernorm.backward(dbranch, cache.norm2, grads.norm2)
    dbranch = attention.backward(dx, cache.attention, grads.attention)
    dx = dx + layernorm.backward(dbranch, cache.norm1, grads.norm1)
    return dx


def forward_post(x, w, shape, config, rng):
    """As forward_pre, the norms behind the sums."""
    branch, attended = attention.forward(x, w.attention, shape, config, rng)
    x, norm1 = layernorm.forward(x + branch, w.norm1, config.layer_norm_eps)
    branch, transformed = mlp.forward(x, w.mlp, config, rng)
    x, norm2 = layernorm.forward(x + branch, w.norm2, config.layer_norm_eps)
    return x, Cache(norm1, attended, norm2, transformed)


def backward_post(dx, cache, grads):
    """As backward_pre, the norms before the fork."""
    dsum = layernorm.backward(dx, cache.norm2, grads.norm2)
    dx = dsum + mlp.backward(dsum, cache.mlp, grads.mlp)
    dsum = layernorm.backward(dx, cache.norm1, grads.norm1)
    dx = dsum + attention.backward(dsum, cache.attention, grads.attention)
    return dx


PLACES = {"pre": (forward_pre, backward_pre), "post": (forward_post, backward_post)}
