"""Two linear layers with GELU between them, 4D wide in the middle; each row by itself."""
from typing import NamedTuple

from . import dropout, gelu, linear


class Cache(NamedTuple):
    up: linear.Cache
    gelu: gelu.Cache
    down: linear.Cache
    mask: object            # dropout's


def forward(x, w, config, rng):
    """x (N, D) -> y (N, D)."""
    hidden, up_cache = linear.forward(x, w.up)
    active, gelu_cache = gelu.forward(hidden)
    y, down_cache = linear.forward(active, w.down)
    y, mask = dropout.forward(y, config.resid_pdrop, rng)
    return y, Cache(up_cache, gelu_cache, down_cache, mask)


def backward(dy, cache, grads):
    """dy (N, D) -> dx (N, D); adds to the gradients of both linear layers."""
    dy = dropout.backward(dy, cache.mask)
    dactive = linear.backward(dy, cache.down, grads.down)
    dhidden = gelu.backward(dactive, cache.gelu)
    return linear.backward(dhidden, cache.up, grads.up)
