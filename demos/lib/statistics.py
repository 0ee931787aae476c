"""The statistics of demos/one_matrix.py: correlation, of ranks too, least squares, cosines.

Everything is float64. Raises ValueError, naming the argument, where a number is not defined: the
correlation of something constant, the cosine of a row of zeros.
"""
import numpy as np


def ranks(x):
    """x (n,) -> its ranks 1..n, float64; equal numbers share the mean of the ranks they take up."""
    _, which, counts = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[which]


def correlation(x, y):
    """Pearson's r of x and y (n,): mean of the products of their standard scores, in -1..1."""
    return float(np.clip(standard("x", x) @ standard("y", y), -1, 1))


def rank_correlation(x, y):
    """Spearman's rho of x and y (n,): Pearson's r of their ranks. Any increasing function of either
    leaves it as it is."""
    return correlation(ranks(x), ranks(y))


def r_squared(y, *predictors):
    """The share of y's variance that least squares explains: y ~ constant + weights · predictors.

    y and each predictor (n,). R² = 1 - sum of squared residuals / sum of squared deviations of y.
    """
    y = standard("y", y)                    # length 1: what is left of it is 1 - R²
    X = np.column_stack([np.ones(len(y)), *(scaled(x) for x in predictors)])
    weights, *_ = np.linalg.lstsq(X, y, rcond=None)
    residuals = y - X @ weights
    return float(np.clip(1 - residuals @ residuals, 0, 1))


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


def random_cosine(a, b):
    """a, b (V, D): the standard deviation of their cosine if each row's direction were random.

    The rows keep their lengths. The cosine of two random directions in D dimensions has mean 0 and
    variance 1/D, so that of sum_v a_v·b_v is sum_v |a_v|² |b_v|² / D: "at right angles" means
    within a few of these, and not simply a small number.
    """
    a2, b2 = (np.square(x, dtype=np.float64).sum(axis=1) for x in (a, b))
    sizes = a2.sum() * b2.sum()
    return float(np.sqrt(a2 @ b2 / np.shape(a)[1] / sizes)) if sizes > 0 else 0.0
