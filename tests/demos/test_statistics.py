"""demos/lib/statistics.py: by invariances, known values, and NumPy's own."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from strategies import normal, seeds


from lib import statistics as stats

EPS = np.finfo(np.float64).eps


@st.composite
def columns(draw, n_columns, least=2):
    """Columns of equally many small whole numbers: ties are common, arithmetic is exact."""
    n = draw(st.integers(least, 12))
    column = st.lists(st.integers(-4, 4), min_size=n, max_size=n).filter(lambda x: len(set(x)) > 1)
    return [np.array(draw(column), float) for _ in range(n_columns)]


@given(columns(1))
def test_a_rank_is_the_mean_place_in_every_order_that_sorts(data):
    x, = data
    for value, rank in zip(x, stats.ranks(x)):
        assert rank == np.sum(x < value) + (np.sum(x == value) + 1) / 2


@given(columns(2))
def test_correlation_is_numpys(data):
    x, y = data
    assert abs(stats.correlation(x, y) - np.corrcoef(x, y)[0, 1]) <= 64 * EPS
    assert abs(stats.rank_correlation(x, y)
               - np.corrcoef(stats.ranks(x), stats.ranks(y))[0, 1]) <= 64 * EPS


@given(columns(2), st.permutations(range(12)))
def test_rank_correlation_sees_only_the_order(data, order):
    x, y = data
    rho = stats.rank_correlation(x, y)
    assert stats.rank_correlation(np.exp(x), y ** 3) == rho
    assert abs(stats.rank_correlation(-x, y) + rho) <= 64 * EPS
    assert stats.rank_correlation(y, x) == pytest.approx(rho, abs=64 * EPS)
    order = [i for i in order if i < len(x)]
    assert abs(stats.rank_correlation(x[order], y[order]) - rho) <= 64 * EPS
    assert stats.rank_correlation(x, x) == pytest.approx(1, abs=64 * EPS)


def test_spearmans_formula_without_ties():
    """rho = 1 - 6 sum d² / (n (n² - 1)): d = 1, 1, 1, 1, 0 and n = 5 give 0.8."""
    assert stats.rank_correlation([1, 2, 3, 4, 5], [2, 1, 4, 3, 5]) == pytest.approx(0.8, abs=64 * EPS)


@given(columns(2), st.floats(0.01, 100), st.floats(-10, 10))
def test_correlation_ignores_scale_and_shift(data, scale, shift):
    x, y = data
    # The shift is up to 1000 times what remains of x once it is taken away again.
    assert stats.correlation(scale * x + shift, y) == pytest.approx(stats.correlation(x, y), abs=2**14 * EPS)


@given(seeds, st.integers(2, 7), st.integers(1, 5), st.floats(0.01, 100))
def test_cosines_are_those_of_pairs_in_order_whatever_the_lengths(seed, n, D, scale):
    rows = normal(seed, n, D)
    assume((np.linalg.norm(rows, axis=1) > 1e-3).all())
    expected = [a @ b / np.linalg.norm(a) / np.linalg.norm(b)
                for i, a in enumerate(rows) for b in rows[i + 1:]]
    np.testing.assert_allclose(stats.pairwise_cosines(rows), expected, rtol=0, atol=64 * EPS)
    lengths = np.linspace(1, scale, n)[:, None]
    np.testing.assert_allclose(stats.pairwise_cosines(rows * lengths), expected, rtol=0, atol=64 * EPS)


def test_known_cosines():
    rows = [[1, 0], [0, 2], [3, 0], [-1, 0]]
    np.testing.assert_allclose(stats.pairwise_cosines(rows), [0, 1, -1, 0, 0, -1], atol=4 * EPS)


@given(st.floats(1e-300, 1e300), st.integers(2, 9))
def test_what_is_constant_correlates_with_nothing(value, n):
    ramp, same = np.arange(n), np.full(n, value)
    with pytest.raises(ValueError, match="^x: the same number"):
        stats.correlation(same, ramp)
    with pytest.raises(ValueError, match="^y: the same number"):
        stats.correlation(ramp, same)


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_squares_neither_overflow_nor_vanish(scale):
    x = np.array([1.0, 2, 4])
    assert stats.correlation(scale * x, x) == pytest.approx(1, abs=64 * EPS)


def test_a_row_of_zeros_has_no_direction():
    with pytest.raises(ValueError, match="row 1 is all zeros"):
        stats.pairwise_cosines([[1, 2], [0, 0]])


@given(columns(1, least=2))
def test_an_interval_is_students(data):
    """Half the width is the tabled quantile times the standard error; shift and scale go through."""
    x = data[0][:10]
    assume(len(set(x)) > 1)
    mean, half = stats.interval(x)
    assert mean == pytest.approx(x.mean(), abs=16 * EPS)
    assert half == pytest.approx(stats.T_975[len(x) - 2] * x.std(ddof=1) / np.sqrt(len(x)), rel=16 * EPS)
    moved = stats.interval(3 * x + 7)
    assert moved == pytest.approx((3 * mean + 7, 3 * half), abs=256 * EPS)


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
    np.testing.assert_allclose(stats.residuals(rows + np.outer(x, np.arange(D)) + 5, x), left, atol=2**12 * EPS)
