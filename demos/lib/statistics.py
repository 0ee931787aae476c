"""The statistics of demos/one_matrix.py: intervals over seeds, correlations, cosines, residuals.

Everything is float64. Raises ValueError, naming the argument, where a number is not defined: the
correlation of something constant, the cosine of a row of zeros.
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
    x = scaled(x)
    x = x - x.mean()
    length = np.sqrt(x @ x)
    if not length > 1e-12 * np.sqrt(len(x)):
        raise ValueError(f"{name}: the same number {len(x)} times given, expected some that differ")
    return x / length


def scaled(x):
    """x (n,) as float64, the largest magnitude 1, so that no square over- or underflows."""
    x = np.asarray(x, np.float64)
    largest = np.abs(x).max(initial=0)
    return x / largest if largest > 0 else x


def norm(x):
    """The root of the sum of squares of all of x, in float64."""
    return float(np.sqrt(np.sum(np.square(x, dtype=np.float64))))


def cosine(a, b, axis=None):
    """Of a and b as vectors, or of their rows (axis=1), in float64; 0 where one of them is 0."""
    a, b = (np.asarray(x, np.float64) for x in (a, b))
    sizes = np.sqrt((a * a).sum(axis=axis) * (b * b).sum(axis=axis))
    return (a * b).sum(axis=axis) / np.where(sizes > 0, sizes, 1)
