"""Two linear layers with GELU between them, 4D wide in the middle; each row by itself."""
from dataclasses import dataclass

import numpy as np

from ..described import Described
from . import dropout, gelu, linear


@dataclass(repr=False)
class Cache(Described):
    up: linear.Cache
    gelu: gelu.Cache
    down: linear.Cache
    mask: np.ndarray        # dropout's, or None


def forward(x, params, config, rng):
    """x (N, D) -> y (N, D)."""
    hidden, up_cache = linear.forward(x, params.up)
    active, gelu_cache = gelu.forward(hidden)
    projected, down_cache = linear.forward(active, params.down)
    y, mask = dropout.forward(projected, config.resid_pdrop, rng)
    return y, Cache(up_cache, gelu_cache, down_cache, mask)


def backward(dy, cache, grads):
    """dy (N, D) -> dx (N, D); accumulates into the gradients of both linear layers."""
    dprojected = dropout.backward(dy, cache.mask)
    dactive = linear.backward(dprojected, cache.down, grads.down)
    dhidden = gelu.backward(dactive, cache.gelu)
    return linear.backward(dhidden, cache.up, grads.up)
