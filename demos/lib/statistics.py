"""Intervals over seeds, correlations, cosines, residuals, all in float64.

Raises ValueError, naming the argument, where a number is not defined: the correlation of something
constant, the cosine of a row of zeros.
"""
import numpy as np

# The 97.5% quantile of Student's t with 1, 2, ... degrees of freedom.
T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


def interval(numbers):
    """(mean, half the width of its 95% t-interval) of 2 to 10 numbers; (the number, nan) of one."""
    numbers = np.asarray(numbers, np.float64)
    n = len(numbers)
    if not 1 <= n <= 10:
        raise ValueError(f"numbers: {n} given, expected 1 to 10")
    half = T_975[n - 2] * numbers.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
    return float(numbers.mean()), float(half)


def ranks(x):
    """x (n,) -> its ranks 1..n, float64; equal numbers share the mean of the ranks they take up."""
    _, which, counts = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[which]


def correlation(x, y):
    """Pearson's r of x and y (n,): mean of the products of their standard scores, in -1..1."""
    return float(np.clip(standard("x", x) @ standard("y", y), -1, 1))


def rank_correlation(x, y, given=None):
    """Spearman's rho of x and y (n,): Pearson's r of their ranks, which is blind to any scale.

    given   (n,): the ranks of x and y are taken without what is linear in the ranks of `given`
    """
    x, y = ranks(x), ranks(y)
    if given is not None:
        x, y = (residuals(r[:, None], ranks(given))[:, 0] for r in (x, y))
    return correlation(x, y)


def residuals(rows, x):
    """rows (n, D) without their mean and without what is linear in x (n,), by least squares."""
    unit = standard("x", x)
    rows = rows - rows.mean(axis=0)
    return rows - np.outer(unit, unit @ rows)


def pairwise_cosines(rows):
    """rows (n, D) -> the cosines of the n(n-1)/2 pairs of them, in the order (0,1), (0,2), ..."""
    rows = np.asarray(rows, np.float64)
    lengths = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
    if not lengths.all():
        raise ValueError(f"rows: row {np.argmin(lengths)} is all zeros, expected a direction")
    unit = rows / lengths
    return (unit @ unit.T)[np.triu_indices(len(rows), k=1)]


def standard(name, x):
    """x (n,) less its mean, scaled to length 1."""
    x = np.asarray(x, np.float64)
    if np.ptp(x) == 0:
        raise ValueError(f"{name}: the same number {len(x)} times given, expected some that differ")
    x = x - x.mean()
    return x / norm(x)


def norm(x):
    """The root of the sum of squares of all of x, in float64."""
    return float(np.sqrt(np.sum(np.square(x, dtype=np.float64))))


def cosine(a, b):
    """Of two arrays as vectors, in float64."""
    a, b = (np.asarray(x, np.float64) for x in (a, b))
    return float(np.sum(a * b)) / (norm(a) * norm(b))
