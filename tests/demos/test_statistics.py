"""demos/lib/statistics.py: by invariances, known values, and NumPy's own."""
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lib import statistics as stats
from strategies import normal, seeds

EPS = np.finfo(np.float64).eps


@st.composite
def columns(draw, n_columns):
    """Columns of equally many small whole numbers: ties are common, arithmetic is exact."""
    n = draw(st.integers(2, 12))
    column = st.lists(st.integers(-4, 4), min_size=n, max_size=n).filter(lambda x: len(set(x)) > 1)
    return [np.array(draw(column), float) for _ in range(n_columns)]


@given(columns(1))
def test_a_rank_is_the_mean_place_in_every_order_that_sorts(data):
    x, = data
    for value, rank in zip(x, stats.ranks(x)):
        assert rank == np.sum(x < value) + (np.sum(x == value) + 1) / 2


@given(columns(2))
def test_correlations_are_numpys_and_that_of_ranks_sees_only_the_order(data):
    x, y = data
    assert abs(stats.correlation(x, y) - np.corrcoef(x, y)[0, 1]) <= 64 * EPS
    rho = stats.rank_correlation(x, y)
    assert abs(rho - np.corrcoef(stats.ranks(x), stats.ranks(y))[0, 1]) <= 64 * EPS
    assert stats.rank_correlation(np.exp(x), y ** 3) == rho
    assert abs(stats.rank_correlation(-x, y) + rho) <= 64 * EPS


@given(seeds, st.integers(2, 7), st.integers(1, 5), st.floats(0.01, 100))
def test_cosines_are_those_of_pairs_in_order_whatever_the_lengths(seed, n, D, scale):
    rows = normal(seed, n, D)
    assume((np.linalg.norm(rows, axis=1) > 1e-3).all())
    expected = [stats.cosine(a, b) for i, a in enumerate(rows) for b in rows[i + 1:]]
    lengths = np.linspace(1, scale, n)[:, None]
    found = stats.pairwise_cosines(rows * lengths)
    np.testing.assert_allclose(found, expected, rtol=0, atol=64 * EPS)


def test_known_cosines():
    rows = [[1, 0], [0, 2], [3, 0], [-1, 0]]
    np.testing.assert_allclose(stats.pairwise_cosines(rows), [0, 1, -1, 0, 0, -1], atol=4 * EPS)
    with pytest.raises(ValueError, match="row 1 is all zeros"):
        stats.pairwise_cosines([[1, 2], [0, 0]])


@given(st.floats(1e-300, 1e300), st.integers(2, 9))
def test_what_is_constant_correlates_with_nothing(value, n):
    with pytest.raises(ValueError, match="^x: the same number"):
        stats.correlation(np.full(n, value), np.arange(n))


def test_known_intervals():
    assert stats.interval([1, 2, 3, 4, 5]) == pytest.approx((3, 2.776 * np.sqrt(2.5 / 5)))
    assert np.isnan(stats.interval([4.0])[1])
    with pytest.raises(ValueError, match="numbers: 11 given"):
        stats.interval(range(11))


@given(seeds, st.integers(3, 9), st.integers(1, 4))
def test_residuals_have_nothing_of_x_left_and_are_moved_by_nothing_linear_in_it(seed, n, D):
    rows, x = normal(seed, n, D), normal(seed + 1, n)
    left = stats.residuals(rows, x)
    assert np.abs(left.mean(axis=0)).max() <= 64 * EPS * np.abs(rows).max()
    assert np.abs((x - x.mean()) @ left).max() <= 256 * EPS * np.abs(rows).max() * np.abs(x).sum()
    moved = stats.residuals(rows + np.outer(x, np.arange(D)) + 5, x)
    np.testing.assert_allclose(moved, left, atol=2**12 * EPS)
