"""softmax(z) = exp(z) / sum(exp(z)), over the last axis."""
import numpy as np

from .constants import ones

# Row sums of exp(z) inside these bounds leave float32 room on both sides for whatever is
# multiplied by them afterwards (float32 spans 1e-38 to 1e38).
SAFE_MIN, SAFE_MAX = 1e-10, 1e10


def softmax(z):
    """z (..., S) -> probabilities (..., S), each row summing to 1."""
    exp_z, total, _ = exponentials(z)
    probs = np.divide(exp_z, total, out=exp_z)
    del exp_z                           # its memory is probs' now
    return probs


def backward(dprobs, probs, row_dot):
    """dprobs, probs = softmax(z), both (..., S), row_dot (..., 1), each row's dot product -> dz.

    For one row p of probs, dp[i]/dz[j] = p[i] ([i = j] - p[j]), so
        dz[j] = p[j] (dp[j] - sum over i of p[i] dp[i]).
    """
    dz = dprobs - row_dot
    dz *= probs
    return dz


def exponentials(z):
    """z (..., S) -> exp_z (..., S), total (..., 1), shift: softmax(z) = exp_z / total.

    softmax(z) = softmax(z - shift) for any shift, since exp(z - shift) = exp(z) exp(-shift) and
    the factor cancels. A shift is needed only where exp(z) would leave the range of floating
    point; finding each row's maximum costs more than the exponentials themselves, so it is done
    only then. `shift` is 0 or (..., 1); log(total) + shift = log(sum(exp(z))).
    """
    with np.errstate(over="ignore", invalid="ignore"):
        exp_z = np.exp(z)
        total = row_sums(exp_z)
    if total.real.min() > SAFE_MIN and total.real.max() < SAFE_MAX:
        return exp_z, total, 0
    shift = z.max(axis=-1, keepdims=True)
    exp_z = np.exp(z - shift)
    return exp_z, row_sums(exp_z), shift


def row_sums(x):
    """(..., S) -> (..., 1): x.sum(-1, keepdims=True) as a product with ones: much faster."""
    S = x.shape[-1]
    return (x.reshape(-1, S) @ ones(S, x.dtype)).reshape(*x.shape[:-1], 1)
