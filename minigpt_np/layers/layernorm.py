"""y = gain · (x - mean) / sqrt(variance + eps) + bias, over the D numbers of each row."""
from dataclasses import dataclass

import numpy as np

from ..reprs import ShapeRepr
from .constants import mean_weights, ones


@dataclass(repr=False)
class Cache(ShapeRepr):
    xhat: np.ndarray        # (N, D) normalised rows: mean 0, variance 1
    inv_std: np.ndarray     # (N, 1)
    gain: np.ndarray        # (D,)


def forward(x, params, eps):
    """x (N, D), params of gain (D,) and bias (D,) -> y (N, D).

    xhat = (x - mean) / sqrt(variance + eps),   y = gain xhat + bias   (Ba et al., 2016).
    """
    to_mean = mean_weights(x.shape[1], x.dtype)
    mean = x @ to_mean
    mean += (x - mean) @ to_mean            # what rounding left; a constant row's mean is exact
    centred = x - mean
    variance = (centred * centred) @ to_mean
    inv_std = 1 / np.sqrt(variance + eps)
    xhat = centred * inv_std
    y = xhat * params.gain
    y += params.bias
    return y, Cache(xhat, inv_std, params.gain)


def backward(dy, cache, grads):
    """dy (N, D) -> dx (N, D); accumulates into grads.gain and grads.bias.

    y = gain xhat + bias:    dgain = sum_n dy xhat,   dbias = sum_n dy,   dxhat = dy gain.
    xhat = (x - mean) inv_std, where moving one x[i] also moves mean and variance of its row:
        dx = inv_std (dxhat - mean(dxhat) - xhat mean(dxhat xhat)).
    The two means take away the part of the gradient along a shift and along a stretch of the row:
    LayerNorm ignores both, so its gradient has neither. As products:
        mean(dxhat) = dy @ gain / D,   mean(dxhat xhat) = (dy xhat) @ gain / D.
    """
    xhat, inv_std, gain = cache.xhat, cache.inv_std, cache.gain
    dgain, dbias = grads.gain, grads.bias
    dy_xhat = dy * xhat
    ones_N = ones(len(dy), dy.dtype)
    dgain += ones_N @ dy_xhat
    dbias += ones_N @ dy

    gain_over_D = gain[:, None] / len(gain)
    dx = dy * gain                              # dxhat
    dx -= dy @ gain_over_D                      # - mean(dxhat)
    dx -= xhat * (dy_xhat @ gain_over_D)        # - xhat mean(dxhat xhat)
    dx *= inv_std
    return dx
