"""Exponentials of rows, and their sums: softmax(z) = exp(z) / sum(exp(z)), left undivided."""
import numpy as np

from .linear import ones

# Row sums of exp(z) inside these bounds leave float32 room on both sides for whatever is
# multiplied with them afterwards (float32 spans 1e-38 to 1e38).
SMALL, LARGE = 1e-10, 1e10


def exponentials(z):
    """z (..., S) -> e (..., S), total (..., 1), shift: softmax(z) = e / total.

    softmax(z) = softmax(z - shift) for any shift, since exp(z - shift) = exp(z) exp(-shift) and
    the factor cancels. A shift is needed only where exp(z) would leave the range of floating
    point; finding each row's maximum costs more than the exponentials themselves, so it is done
    only then. `shift` is 0 or (..., 1); log(total) + shift = log(sum(exp(z))).
    """
    with np.errstate(over="ignore", invalid="ignore"):
        e = np.exp(z)
        total = row_sums(e)
    if total.real.min() > SMALL and total.real.max() < LARGE:
        return e, total, 0
    shift = z.max(axis=-1, keepdims=True)
    e = np.exp(z - shift)
    return e, row_sums(e), shift


def row_sums(e):
    """(..., S) -> (..., 1), as a product with ones: several times faster than e.sum(-1)."""
    S = e.shape[-1]
    return (e.reshape(-1, S) @ ones(S, e.dtype)).reshape(*e.shape[:-1], 1)
