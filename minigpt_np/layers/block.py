"""One block: attention, then MLP, each in a residual branch with its LayerNorm.

`pre` (GPT-2):   x = x + attention(norm1(x));   x = x + mlp(norm2(x))
`post` (GPT-1):  x = norm1(x + attention(x));   x = norm2(x + mlp(x))
"""
from dataclasses import dataclass

from ..reprs import ShapeRepr
from . import attention, layernorm, mlp


@dataclass(repr=False)
class Cache(ShapeRepr):
    norm1: layernorm.Cache
    attention: attention.Cache
    norm2: layernorm.Cache
    mlp: mlp.Cache


def forward_pre(x, params, shape, config, rng, extend=None):
    """x (N, D), the residual stream of a batch of shape (B, T) -> the stream after this block.

    extend   for generation: see causal.forward
    """
    normed1, norm1_cache = layernorm.forward(x, params.norm1, config.layer_norm_eps)
    branch1, attention_cache = attention.forward(
        normed1, params.attention, shape, config, rng, extend)
    x1 = x + branch1
    normed2, norm2_cache = layernorm.forward(x1, params.norm2, config.layer_norm_eps)
    branch2, mlp_cache = mlp.forward(normed2, params.mlp, config, rng)
    x2 = x1 + branch2
    return x2, Cache(norm1_cache, attention_cache, norm2_cache, mlp_cache)


def backward_pre(dx2, cache, grads):
    """dx2 (N, D) -> dx (N, D). x + f(x): the gradient flows past the branch and through it."""
    dnormed2 = mlp.backward(dx2, cache.mlp, grads.mlp)
    dx1 = dx2 + layernorm.backward(dnormed2, cache.norm2, grads.norm2)
    dnormed1 = attention.backward(dx1, cache.attention, grads.attention)
    dx = dx1 + layernorm.backward(dnormed1, cache.norm1, grads.norm1)
    return dx


def forward_post(x, params, shape, config, rng, extend=None):
    """As forward_pre, with the norms after the sums."""
    branch1, attention_cache = attention.forward(x, params.attention, shape, config, rng, extend)
    x1, norm1_cache = layernorm.forward(x + branch1, params.norm1, config.layer_norm_eps)
    branch2, mlp_cache = mlp.forward(x1, params.mlp, config, rng)
    x2, norm2_cache = layernorm.forward(x1 + branch2, params.norm2, config.layer_norm_eps)
    return x2, Cache(norm1_cache, attention_cache, norm2_cache, mlp_cache)


def backward_post(dx2, cache, grads):
    """As backward_pre, with the norms before the fork."""
    dsum2 = layernorm.backward(dx2, cache.norm2, grads.norm2)
    dx1 = dsum2 + mlp.backward(dsum2, cache.mlp, grads.mlp)
    dsum1 = layernorm.backward(dx1, cache.norm1, grads.norm1)
    dx = dsum1 + attention.backward(dsum1, cache.attention, grads.attention)
    return dx


FORWARD = {"pre": forward_pre, "post": forward_post}
BACKWARD = {"pre": backward_pre, "post": backward_post}
