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
    product, sizes = (a * b).sum(axis=axis), np.sqrt((a * a).sum(axis=axis) * (b * b).sum(axis=axis))
    return product / np.where(sizes > 0, sizes, 1)


def random_cosine(a, b):
    """a, b (V, D): the standard deviation of their cosine if each row's direction were random.

    The rows keep their lengths. The cosine of two random directions in D dimensions has mean 0 and
    variance 1/D, so that of sum_v a_v·b_v is sum_v |a_v|² |b_v|² / D: "at right angles" means
    within a few of these, and not simply a small number.
    """
    a2, b2 = (np.square(x, dtype=np.float64).sum(axis=1) for x in (a, b))
    sizes = a2.sum() * b2.sum()
    return float(np.sqrt(a2 @ b2 / np.shape(a)[1] / sizes)) if sizes > 0 else 0.0
