"""Two linear layers with GELU between them, 4D wide in the middle; each row by itself."""
from dataclasses import dataclass

import numpy as np

from ..reprs import ShapeRepr
from . import dropout, gelu, gelu_exact, linear

ACTIVATIONS = {"gelu_tanh": gelu, "gelu_exact": gelu_exact}


@dataclass(repr=False)
class Cache(ShapeRepr):
    up: linear.Cache
    gelu: gelu.Cache        # or gelu_exact's
    down: linear.Cache
    mask: np.ndarray        # dropout's, or None
    activation: str         # which of ACTIVATIONS


def forward(x, params, config, rng):
    """x (N, D) -> y (N, D)."""
    hidden, up_cache = linear.forward(x, params.up)
    active, gelu_cache = ACTIVATIONS[config.activation].forward(hidden)
    projected, down_cache = linear.forward(active, params.down)
    y, mask = dropout.forward(projected, config.resid_pdrop, rng)
    return y, Cache(up_cache, gelu_cache, down_cache, mask, config.activation)


def backward(dy, cache, grads):
    """dy (N, D) -> dx (N, D); accumulates into the gradients of both linear layers."""
    dprojected = dropout.backward(dy, cache.mask)
    dactive = linear.backward(dprojected, cache.down, grads.down)
    dhidden = ACTIVATIONS[cache.activation].backward(dactive, cache.gelu)
    return linear.backward(dhidden, cache.up, grads.up)
