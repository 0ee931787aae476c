"""y = gain · (x - mean) / sqrt(variance + eps) + bias, over the D numbers of each row."""
import functools
from typing import NamedTuple

import numpy as np

from .linear import ones, read_only


class Cache(NamedTuple):
    xhat: np.ndarray        # (N, D) normalised rows: mean 0, variance 1
    inv_std: np.ndarray     # (N, 1)
    gain: np.ndarray        # (D,)


def forward(x, w, eps):
    """x (N, D), w of gain (D,) and bias (D,) -> y (N, D). Means are products with 1/D each."""
    to_mean = averaging(x.shape[1], x.dtype)
    centred = x - x @ to_mean
    variance = (centred * centred) @ to_mean
    inv_std = 1 / np.sqrt(variance + eps)
    xhat = np.multiply(centred, inv_std, out=centred)
    y = xhat * w.gain
    y += w.bias
    return y, Cache(xhat, inv_std, w.gain)


def backward(dy, cache, grads):
    """dy (N, D) -> dx (N, D); adds to grads.gain and grads.bias.

    y = gain xhat + bias:    dgain = sum_n dy xhat,   dbias = sum_n dy,   dxhat = dy gain.
    xhat = (x - mean) inv_std, where moving one x[i] also moves mean and variance of its row:
        dx = inv_std (dxhat - mean(dxhat) - xhat mean(dxhat xhat)).
    The two means take away what a shift or a stretch of the row would have been: LayerNorm
    ignores both, so its gradient has neither. As products:
        mean(dxhat) = dy @ gain / D,   mean(dxhat xhat) = (dy xhat) @ gain / D.
    """
    xhat, inv_std, gain = cache
    dy_xhat = dy * xhat
    sums = ones(len(dy), dy.dtype)
    grads.gain += sums @ dy_xhat
    grads.bias += sums @ dy

    gain_over_D = gain[:, None] / len(gain)
    mean_dxhat = dy @ gain_over_D
    mean_dxhat_xhat = dy_xhat @ gain_over_D
    dx = dy * gain
    dx -= mean_dxhat
    dx -= np.multiply(xhat, mean_dxhat_xhat, out=dy_xhat)
    dx *= inv_std
    return dx


@functools.lru_cache(64)
def averaging(D, dtype):
    """(D, 1) of 1/D each, to be read only: its product with rows is their means."""
    return read_only(ones(D, dtype)[:, None] / D)
