"""The checker is checked: it must accept what is right, name what is wrong, and touch nothing."""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minigpt_np import gradcheck
from minigpt_np.gradcheck import (
    adjoint, check, complex_step, differences, directional)
from strategies import ODD, seeds

EPS = float(np.finfo(float).eps)
METHODS = ["differences", "complex"]

methods = st.sampled_from(METHODS)
shapes = st.lists(st.integers(1, 3), max_size=3).map(tuple)


class Function:
    """sum(c * g(x)) + (b . x)^2, its gradient by hand, and x, which f reads afresh."""

    KINDS = {
        "cubic": (lambda x: x * x * x, lambda x: 3 * x * x),
        "exp": (np.exp, np.exp),
        "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
        "linear": (lambda x: x, np.ones_like),
    }

    def __init__(self, kind, shape, seed, scale):
        rng = np.random.default_rng(seed)
        self.x = np.asarray(scale * rng.normal(size=shape))
        self.b, self.c = rng.normal(size=(2, *shape))
        self.g, self.dg = self.KINDS[kind]

    def __call__(self):
        bx = np.sum(self.b * self.x)
        return np.sum(self.c * self.g(self.x)) + bx * bx

    def gradient(self):
        return np.array(self.c * self.dg(self.x) + 2 * np.sum(self.b * self.x) * self.b)

    def made(self, method):
        """The arrays that check, directional and adjoint are given for this method."""
        if method == "complex":
            self.x = self.x.astype(complex)
        return {"x": self.x}


functions = st.builds(Function, st.sampled_from(sorted(Function.KINDS)), shapes, seeds,
                      st.sampled_from([1e-2, 1.0, 3.0]))


# ---- the two methods -----------------------------------------------------------------------------

@given(functions)
def test_error_of_differences_bounds_the_actual_error_and_is_small(f):
    exact = f.gradient()
    gradient, error = differences(f, f.x)
    size = np.max(np.abs(exact)) + abs(f())
    assert gradient.shape == error.shape == f.x.shape
    assert np.all(np.abs(gradient - exact) <= error + 32 * EPS * size)
    # noise / h, with h at least the last but two of eps^(1/5) scale, scale at least 1e-4 in f.x
    assert np.all(error <= 1e-6 * size)


@given(functions)
def test_complex_step_agrees_to_1e_13(f):
    exact = f.gradient()
    f.made("complex")
    gradient, error = complex_step(f, f.x)
    size = np.max(np.abs(exact))
    assert gradient.dtype == float and gradient.shape == error.shape == f.x.shape
    assert np.all(np.abs(gradient - exact) <= 1e-13 * size)
    assert np.all(error <= 1e-13 * size) and np.all(error >= EPS * np.abs(gradient))


def test_differences_of_numbers_of_order_one_are_good_to_ten_digits():
    x = np.array([0.7, -1.3, 2.0])
    gradient, error = differences(lambda: np.sum(np.exp(np.sin(x))), x)
    exact = np.cos(x) * np.exp(np.sin(x))
    # h = 2^-10, 2^-11, 2^-12: rounding 2 * 3 sigma / 2^-12 of an f below 8, sigma below eps * 8
    assert np.all(np.abs(gradient - exact) <= error) and np.all(error < 6 * 8 * EPS * 2**13)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e6])
def test_the_step_follows_the_scale_of_each_coordinate(scale):
    x = scale * np.array([0.5, 1.0, 100.0, 0.0])
    gradient, error = differences(lambda: np.sum(np.sin(x / scale)), x)
    exact = np.cos(x / scale) / scale
    assert np.all(np.abs(gradient - exact) <= error)
    assert np.all(error * scale < 1e-9)  # noise / h with h of 2^-12 is 6 eps 2^12


@pytest.mark.parametrize("width", [1e-1, 1e-2, 1e-3, 1e-4])
def test_a_function_that_turns_faster_than_x_suggests_gets_smaller_steps(width):
    x = np.array([1.0, 1.0 + width])
    gradient, error = differences(lambda: np.sum(np.tanh((x - 1) / width)), x)
    exact = (1 - np.tanh((x - 1) / width) ** 2) / width
    assert np.all(np.abs(gradient - exact) <= error)
    assert np.all(error * width < 1e-9)  # as above: the last h is about width / 2^10


def test_a_kink_beside_x_is_stepped_around():
    x = np.array([1e-4, -1e-4, 1.0, 1.0, 1.0])
    gradient, error = differences(lambda: np.sum(np.maximum(x, 0.0)), x)
    assert np.all(np.abs(gradient - [1, 0, 1, 1, 1]) <= error) and np.all(error < 1e-8)


def test_a_step_out_of_the_domain_is_halved():
    x = np.array([1e-5, 1.0, 1.0])
    with np.errstate(invalid="ignore"):
        gradient, error = differences(lambda: np.sum(np.log(x[0])), x[:1])
        wide, wide_error = differences(lambda: np.log(x[0]), x, [(0,)])
    assert abs(gradient[0] - 1e5) <= error[0] < 1
    # the noise is measured where log is not defined: the value is found, the bound is not given
    assert abs(wide[0] - 1e5) < 1e5 * 1e-6 or np.isinf(wide_error[0])


@pytest.mark.parametrize("f", [lambda x: float(x > 1), lambda x: abs(x - 1),
                               lambda x: float(np.float32(np.sin(x)))])
def test_a_jump_a_kink_and_a_shorter_dtype_never_settle(f):
    x = np.array([1.0])
    gradient, error = differences(lambda: f(x[0]), x)
    assert np.isinf(error[0])
    report = check(lambda: f(x[0]), {"x": x}, {"x": gradient})
    assert not report.ok and report.difference == 0 and "did not settle" in str(report)


def test_a_jump_nearby_is_stepped_around_and_one_too_near_never_settles():
    x = np.array([1.0])
    gradient, error = differences(lambda: float(x[0] > 1 + 1e-4) + x[0] * x[0], x)
    assert abs(gradient[0] - 2) <= error[0] < 1e-8
    _, error = differences(lambda: float(x[0] > 1 + 1e-6) + x[0] * x[0], x)
    assert 0 < error[0] < 1e-5
    _, error = differences(lambda: float(x[0] > 1 + 1e-9) + x[0] * x[0], x)
    assert np.isinf(error[0])


def test_the_error_without_noise_is_of_one_eps_and_the_third_step():
    """A constant f: no noise, no truncation, so 2 eps |f| / h with h = 2^-12 (of 1, and of 8)."""
    gradient, error = differences(lambda: 3.0, np.array([1.0, 1.0, 8.0]))
    assert gradient.tolist() == [0, 0, 0]
    np.testing.assert_allclose(error, 2 * EPS * 3 * 2.0**12 / np.array([1, 1, 8]), rtol=1e-6)


@pytest.mark.parametrize("outside", [np.nan, np.inf])
def test_a_step_out_of_the_domain_counts_for_nothing(outside):
    """The first step, 2^-10, leaves the domain: the next three are a table of their own."""
    x, places = np.array([1.0]), []

    def f():
        places.append(x[0])
        return x[0] * x[0] if abs(x[0] - 1) < 2.0**-10.5 else outside

    gradient, error = differences(f, x)
    assert abs(gradient[0] - 2) <= error[0] < 1e-11
    assert places[14:] == [1 + sign * 2.0**-k for k in range(10, 14) for sign in (1, -1)]


def test_halving_ends_at_eps_to_the_half():
    """Defined at x alone: 16 steps, 2^-10 to 2^-25 of x, are tried; eps^(1/2) is 2^-26."""
    x, places = np.array([1.0]), []

    def f():
        places.append(x[0])
        return 1.0 if x[0] == 1 else np.nan

    gradient, error = differences(f, x)
    assert np.isnan(gradient[0]) and np.isinf(error[0])
    assert places[-32:] == [1 + sign * 2.0**-k for k in range(10, 26) for sign in (1, -1)]
    assert len(places) == 14 + 32


def test_noise_inside_f_is_measured_and_bounded():
    """1e4 + sin, less the 1e4: 1e4 times the noise that eps |f| suggests."""
    x = np.random.default_rng(0).normal(size=20)
    gradient, error = differences(lambda: np.sum((1e4 + np.sin(x)) - 1e4), x)
    assert np.all(np.abs(gradient - np.cos(x)) <= error)
    assert np.all(error > 1e-9) and np.all(error < 1e-5)


def noise_of(sigma, f=0.0, seed=0):
    """What is measured of a constant f with normal noise of standard deviation sigma."""
    rng, x = np.random.default_rng(seed), np.ones(1)
    return gradcheck._noise(lambda: f + sigma * rng.normal(), {"x": x})[0]


def test_measured_noise_is_three_standard_deviations():
    ratios = [(noise_of(1e-10, seed=seed) / 3e-10) ** 2 for seed in range(500)]
    # each is chi-squared with 14 - 6 degrees of freedom over 8: variance 2 / 8
    assert abs(np.mean(ratios) - 1) < 5 * np.sqrt(2 / 8 / 500)


@pytest.mark.parametrize("f", [0.0, 0.01, 1.0, -100.0])
def test_noise_in_half_of_the_digits_is_no_noise(f):
    limit = EPS**0.5 * max(1, abs(f))
    sigma = limit * 1e-10 / noise_of(1e-10)
    assert noise_of(0.97 * sigma, f) == pytest.approx(0.97 * limit, rel=1e-3)
    assert np.isinf(noise_of(1.03 * sigma, f))


def test_noise_is_sought_along_no_special_direction():
    """Were every coordinate moved alike, x less its mean would stay 0, and f be without noise."""
    x, b = np.ones(4), np.array([1.0, -2.0, 3.0, 0.5])
    gradient, error = differences(lambda: np.sum(b * np.sin(1e4 + (x - x.mean()))), x)
    assert np.all(np.abs(gradient - np.cos(1e4) * (b - b.mean())) <= error)
    # sin(1e4 + z) is off by half an ulp of 1e4, 0.9e-12, at most: 2 noise 2^12 is about 1e-8
    assert np.all(error > 1e-9) and np.all(error < 1e-7)


@pytest.mark.parametrize("dtype, bound", [(np.float32, 1e-3), (np.float64, 1e-10)])
def test_the_dtype_of_x_sets_the_step(dtype, bound):
    x = np.array([0.7, -1.3, 2.0], dtype)
    gradient, error = differences(lambda: np.sum(np.sin(x)), x)
    assert np.all(np.abs(gradient - np.cos(x.astype(float))) <= error) and np.all(error < bound)


def test_six_calls_a_coordinate_or_one():
    calls = itertools.count()
    x = np.ones(5)

    def f():
        next(calls)
        return np.sum(x * x)

    differences(f, x)
    assert next(calls) == 14 + 6 * 5
    x = x.astype(complex)
    complex_step(f, x)
    assert next(calls) - 45 == 14 + 5


@given(functions, st.data())
def test_only_the_coordinates_asked_for(f, data):
    places = list(np.ndindex(f.x.shape))
    asked = data.draw(st.lists(st.sampled_from(places), unique=True))
    for method in (differences, complex_step):
        f.x = f.x.astype(complex if method is complex_step else float)
        every, _ = method(f, f.x)
        some, error = method(f, f.x, asked)
        for index in places:
            assert (index in asked) == (not np.isnan(some[index])) == (not np.isnan(error[index]))
            assert index not in asked or some[index] == every[index]


# ---- nothing is left changed ---------------------------------------------------------------------

class Stop(Exception):
    pass


@given(functions, methods, st.sampled_from([check, directional, adjoint, "gradient"]),
       st.none() | st.integers(0, 60), seeds)
def test_arrays_are_restored_bit_for_bit_also_when_f_raises(f, method, ask, stop, seed):
    f.x.flat[0] = -0.0
    arrays, gradient, rng = f.made(method), {"x": f.gradient().real}, np.random.default_rng(seed)
    before, count = f.x.tobytes(), itertools.count()

    def g():
        if next(count) == stop:
            raise Stop
        return f()

    ran_out = False
    try:
        if ask == "gradient":
            (complex_step if method == "complex" else differences)(g, f.x)
        elif ask is adjoint:
            adjoint(lambda: g() * np.ones(2), lambda u: gradient, arrays, rng, method)
        else:
            extra = {"rng": rng} if ask is directional else {}
            ask(g, arrays, gradient, method=method, **extra)
        ran_out = True
    except Stop:
        pass
    assert f.x.tobytes() == before
    assert ran_out or stop is not None


def test_views_are_moved_where_they_live():
    """Named views into one flat vector, one of them transposed: f reads the vector only."""
    flat = np.random.default_rng(0).normal(size=10)
    weights = np.arange(1.0, 11)
    views = {"E": flat[:6].reshape(2, 3).T, "b": flat[6:9], "s": flat[9:].reshape(())}
    gradients = {"E": weights[:6].reshape(2, 3).T, "b": weights[6:9], "s": weights[9]}

    def f():
        return weights @ flat

    assert check(f, views, gradients).ok
    assert directional(f, views, gradients, np.random.default_rng(1)).ok


@given(functions, methods, seeds)
def test_what_f_writes_into_its_callers_arguments_changes_no_report(f, method, seed):
    """f may run backward into the gradients under test; whatever else it was called with may be
    overwritten, too."""
    gradient, arrays = f.gradient(), f.made(method)

    def reports(scribble):
        for ask in (check, directional, adjoint):
            given, rng = [{**arrays}, {"x": gradient.copy()}], np.random.default_rng(seed)

            def g():
                if scribble:
                    given[0]["other"], given[1]["x"][...] = None, np.nan
                return f()

            def backward(u):
                given[1] = {"x": np.array(gradient * u[0])}
                u[...] = np.nan if scribble else u
                return given[1]

            yield (check(g, *given, method) if ask is check else directional(g, *given, rng, method)
                   if ask is directional
                   else adjoint(lambda: g() * np.ones(1), backward, given[0], rng, method))

    assert [*reports(True)] == [*reports(False)]
    assert all(report.ok for report in reports(True))


# ---- any floats, anywhere in memory --------------------------------------------------------------

# name -> f of x, which turns nowhere within less than a part of x, and its gradient
ANYWHERE = {"sum": (np.sum, np.ones_like), "square": (lambda x: np.sum(x * x), lambda x: 2 * x),
            "log": (lambda x: np.sum(np.log(np.where(x.real > 0, x, np.nan))), lambda x: 1 / x)}


@given(st.sampled_from(sorted(ANYWHERE)), st.sampled_from(["f4", "f8"]), methods, seeds, st.data())
def test_of_any_floats_there_is_a_report(name, dtype, method, seed, data):
    """Subnormal, infinite and NaN, too: a right gradient is right, or not found, and then the
    report says why."""
    width = 8 * np.dtype(dtype).itemsize
    values = data.draw(st.lists(st.floats(width=width), min_size=1, max_size=4))
    x, (f, gradient) = np.array(values, dtype), ANYWHERE[name]
    x = x.astype(float) if method == "complex" else x
    with np.errstate(all="ignore"):
        right = gradient(x)
    x = x.astype(complex) if method == "complex" else x
    before = x.tobytes()

    def g():
        with np.errstate(all="ignore"):
            return f(x)

    for report in (check(g, {"x": x}, {"x": right}, method),
                   directional(g, {"x": x}, {"x": right}, np.random.default_rng(seed), method)):
        assert x.tobytes() == before and str(report)
        assert report.ok or not np.isfinite([report.numerical, report.error, report.analytic]).all()
        assert report.ok or report.hint or not np.isfinite(report.analytic)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("values",
                         [[1.0, 5e-324], [1.0, 1e-310], [5e-324, 5e-324], [1e308, 1.0], [1e-250]])
def test_of_extreme_floats_the_right_gradient_is_found_and_a_wrong_one_is_not_right(values, method):
    x = np.array(values, complex if method == "complex" else float)
    for f, gradient in (ANYWHERE["sum"],
                        (lambda x: np.sum(np.tanh(x)), lambda x: 1 - np.tanh(x) ** 2)):
        right = gradient(x.real)
        for wrong in (0, 0.5):
            given = lambda: f(x), {"x": x}, {"x": right + wrong}
            assert check(*given, method).ok == directional(*given, np.random.default_rng(0),
                                                           method).ok == (not wrong)


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(-3, 3)), min_size=1, max_size=3), methods)
def test_an_array_that_overlaps_itself_is_refused_and_no_other(axes, method):
    """axes: of each its size and its stride, in numbers of `flat`."""
    flat = np.ones(31, complex if method == "complex" else float)
    shape, strides = zip(*axes)
    x = np.lib.stride_tricks.as_strided(flat[15:], shape,
                                        [step * flat.itemsize for step in strides])
    places = [15 + sum(i * step for i, step in zip(index, strides)) for index in np.ndindex(shape)]
    asks = [lambda: (complex_step if method == "complex"
                     else differences)(lambda: np.sum(flat * flat), x),
            lambda: check(lambda: np.sum(flat * flat), {"x": x}, {"x": 2 * x.real},
                          method).raise_if_wrong(),
            lambda: directional(lambda: np.sum(flat * flat), {"x": x}, {"x": 2 * x.real},
                                np.random.default_rng(0),
                                method).raise_if_wrong()]
    for ask in asks:
        if len(set(places)) < len(places):
            raises("x.*: an array that overlaps itself given", ask)
        else:
            ask()


# ---- what is right is accepted -------------------------------------------------------------------

@given(functions, methods, seeds)
def test_right_gradients_are_right(f, method, seed):
    gradients, arrays = {"x": f.gradient()}, f.made(method)
    rng = np.random.default_rng(seed)
    directional(f, arrays, gradients, rng, method).raise_if_wrong()
    report = check(f, arrays, gradients, method)
    assert report.ok and report.wrong == 0 and report.hint == "" and report.method == method
    assert report.checked == f.x.size
    assert report.numerical == pytest.approx(report.analytic, abs=report.tolerance)
    assert report.difference == abs(report.numerical - report.analytic) <= report.tolerance
    assert 2 * report.error < report.tolerance


@pytest.mark.parametrize("method", METHODS)
def test_a_zero_gradient_from_numbers_that_cancel_is_right(method):
    """The loss of a vocabulary of one token is log(exp(z)) - z: 0, and flat up to rounding."""
    x = np.array([0.3, 1.7, -2.2]).astype(complex if method == "complex" else float)
    b = np.array([0.9, 2.1, 0.4])
    report = check(lambda: np.log(np.exp(x @ b)) - x @ b, {"x": x}, {"x": 2 * EPS * b}, method)
    assert report.ok and report.wrong == 0


# name -> f of x, and its gradient by hand
STEEP = {
    "sum of log x": (lambda x: np.sum(np.log(x)), lambda x: 1 / x),
    "sum of 1/x": (lambda x: np.sum(1 / x), lambda x: -1 / (x * x)),
    "sum of sqrt x": (lambda x: np.sum(np.sqrt(x)), lambda x: 0.5 / np.sqrt(x)),
    "sum of x log x": (lambda x: np.sum(x * np.log(x)), lambda x: np.log(x) + 1),
    "log sum exp": (lambda x: np.log(np.sum(np.exp(x))), lambda x: np.exp(x) / np.sum(np.exp(x))),
    "product": (np.prod, lambda x: np.prod(x) / x),
    "length": (lambda x: np.sqrt(np.sum(x * x)), lambda x: x / np.sqrt(np.sum(x * x))),
    "sum of sin(1 + x)": (lambda x: np.sum(np.sin(1 + x)), lambda x: np.cos(1 + x)),
    "sum of exp -x": (lambda x: np.sum(np.exp(-x)), lambda x: -np.exp(-x)),
    "sum of x³": (lambda x: np.sum(x * x * x), lambda x: 3 * x * x),
}


@pytest.mark.parametrize("name", STEEP)
@pytest.mark.parametrize("small, method", [
    *itertools.product([[1e-2], [1e-4], [1e-6], [1e-6, 2e-6], [1e-9], [1e-12]], METHODS),
    ([1e-30], "complex"), ([1e-100], "complex")])
def test_an_entry_a_million_times_smaller_than_the_others_is_no_obstacle(name, small, method):
    """log x turns within x of 0, be x as small as it may: every probe keeps within that."""
    f, gradient = STEEP[name]
    real = np.array([*small, 1.0, 2.0, 3.0])
    x = real.astype(complex if method == "complex" else float)
    with np.errstate(invalid="ignore", divide="ignore"):        # where a first step goes beyond 0
        check(lambda: f(x), {"x": x}, {"x": gradient(real)}, method).raise_if_wrong()
        rng = np.random.default_rng(0)
        directional(lambda: f(x), {"x": x}, {"x": gradient(real)}, rng, method).raise_if_wrong()
    assert np.array_equal(x, real)


@pytest.mark.parametrize("name", STEEP)
@pytest.mark.parametrize("method, small, off", [
    ("complex", 0.5, 1e-9), ("complex", 1e-6, 1e-9), ("differences", 0.5, 1e-8),
    ("differences", 1e-6, 1e-6)])       # rounding is divided by steps below 1e-6 there
def test_an_error_in_the_ninth_digit_is_seen_all_the_same(name, method, small, off):
    f, gradient = STEEP[name]
    real = np.array([small, 1.0, 2.0, 3.0])
    x = real.astype(complex if method == "complex" else float)
    wrong = gradient(real)
    largest = int(np.argmax(np.abs(wrong)))
    wrong[largest] *= 1 + off
    with np.errstate(invalid="ignore", divide="ignore"):
        report = check(lambda: f(x), {"x": x}, {"x": wrong}, method)
    assert not report.ok and report.index == (largest,) and report.wrong == 1


def test_a_function_that_turns_faster_than_its_arguments_suggest_is_followed():
    """sin x at a million: a millionth of x is a sixth of a turn, far too much for a polynomial."""
    for method in METHODS:
        x = np.array([1e6, 1.0, 2.0]).astype(complex if method == "complex" else float)
        check(lambda: np.sum(np.sin(x)), {"x": x}, {"x": np.cos(x.real)}, method).raise_if_wrong()


# ---- what is wrong is named ----------------------------------------------------------------------

@given(functions, methods, st.data())
def test_one_coordinate_off_by_1e_5_is_named(f, method, data):
    gradient = f.gradient()
    size = abs(f()) + 2  # of the function below; its differences are good to 1e-11 size / scale
    scale = np.maximum(np.abs(f.x), np.median(np.abs(f.x)))
    places = [i for i in np.ndindex(f.x.shape) if abs(gradient[i]) * scale[i] > 1e-4 * size]
    assume(places)
    index = data.draw(st.sampled_from(places))
    wrong = gradient.copy()
    wrong[index] *= 1 + 1e-5
    other = np.ones(2, complex if method == "complex" else float)
    arrays = {"other": other, **f.made(method)}
    report = check(lambda: f() + np.sum(other * other), arrays,
                   {"other": np.full(2, 2.0), "x": wrong}, method)
    assert not report.ok and report.wrong == 1 and report.checked == 2 + f.x.size
    assert (report.name, report.index) == ("x", index)
    assert report.analytic == wrong[index]
    assert abs(report.numerical - gradient[index]) <= report.error + 32 * EPS * abs(gradient[index])
    assert report.difference == pytest.approx(1e-5 * abs(gradient[index]), rel=0.1)
    with pytest.raises(AssertionError, match=f"x{list(index)}".replace("[", r"\[")):
        report.raise_if_wrong()


@given(st.integers(2, 4), seeds, methods)
def test_a_transpose_is_wrong_everywhere_but_on_the_diagonal(n, seed, method):
    rng = np.random.default_rng(seed)
    W, x, c = rng.normal(size=(n, n)), rng.normal(size=n), rng.normal(size=n)
    dW = np.outer(c, x)
    assume(np.all(np.abs(dW - dW.T)[~np.eye(n, dtype=bool)] > 1e-6))
    W = W.astype(complex if method == "complex" else float)

    def f():
        return c @ (W @ x)

    assert check(f, {"W": W}, {"W": dW}, method).ok
    report = check(f, {"W": W}, {"W": dW.T}, method)
    assert not report.ok and report.wrong == n * n - n and report.index[0] != report.index[1]
    assert report.analytic == dW[report.index[::-1]]
    assert not directional(f, {"W": W}, {"W": dW.T}, rng, method).ok


@given(st.integers(1, 4), st.lists(st.integers(0, 4), min_size=1, max_size=6), seeds, methods)
def test_a_lost_accumulation_is_named_by_its_row(D, ids, seed, method):
    """dE[ids] += dx counts a repeated id once: rows read twice, and no others, are wrong."""
    rng = np.random.default_rng(seed)
    E, dx = rng.normal(size=(5, D)), 1 + rng.random((len(ids), D))
    right, lost = np.zeros_like(E), np.zeros_like(E)
    np.add.at(right, ids, dx)
    lost[ids] += dx
    E = E.astype(complex if method == "complex" else float)
    repeated = [v for v in set(ids) if ids.count(v) > 1]
    report = check(lambda: np.sum(dx * E[ids]), {"E": E}, {"E": lost}, method)
    assert check(lambda: np.sum(dx * E[ids]), {"E": E}, {"E": right}, method).ok
    assert report.ok == (not repeated) and report.wrong == len(repeated) * D
    assert report.ok or report.index[0] in repeated


@given(functions, methods, seeds)
def test_a_direction_shows_one_wrong_coordinate(f, method, seed):
    rng = np.random.default_rng(seed)
    gradient = f.gradient()
    place = np.unravel_index(np.argmax(np.abs(gradient)), gradient.shape)
    gradient[place] *= 1.01
    scale = max(abs(f.x[place]), np.median(np.abs(f.x)))
    assume(abs(gradient[place]) * scale > 1e-3 * abs(f()))
    # v is normal: below 1e-4 in fewer than one draw of 10^4
    report = directional(f, f.made(method), {"x": gradient}, rng, method)
    assert not report.ok and report.index is None and (report.wrong, report.checked) == (1, 1)
    assert report.name == "a random direction in x"


# ---- adjoint -------------------------------------------------------------------------------------

@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), seeds, methods)
def test_adjoint_accepts_true_pairs_and_rejects_false_ones(N, n, m, seed, method):
    rng = np.random.default_rng(seed)
    x, W = rng.normal(size=(N, n)), rng.normal(size=(n, m))
    real_x, real_W = x.copy(), W.copy()
    if method == "complex":
        x, W = x.astype(complex), W.astype(complex)

    def forward():
        return np.tanh(x @ W)

    def backward(u):
        dz = u * (1 - np.tanh(real_x @ real_W) ** 2)
        return {"x": dz @ real_W.T, "W": real_x.T @ dz}

    def forgets_tanh(u):
        return {"x": u @ real_W.T, "W": real_x.T @ u}

    def half_of_W(u):
        return backward(u) | {"W": backward(u)["W"] * 0.5}

    arrays = {"x": x, "W": W}
    report = adjoint(forward, backward, arrays, rng, method)
    assert report.ok and report.name == "a random direction in x, W"
    assert not adjoint(forward, half_of_W, arrays, rng, method).ok
    assert not adjoint(forward, forgets_tanh, arrays, rng, method).ok


# ---- not a number --------------------------------------------------------------------------------

@given(functions, methods, st.sampled_from([np.nan, np.inf, -np.inf]), st.data())
def test_a_gradient_that_is_not_finite_is_named(f, method, value, data):
    gradient = f.gradient()
    index = data.draw(st.sampled_from(list(np.ndindex(f.x.shape))))
    gradient[index] = value
    arrays = f.made(method)
    report = check(f, arrays, {"x": gradient}, method)
    assert not report.ok and report.wrong == 1 and report.index == index
    assert not directional(f, arrays, {"x": gradient}, np.random.default_rng(0), method).ok


@pytest.mark.parametrize("method", METHODS)
def test_a_function_that_is_not_a_number_is_never_right(method):
    x = np.ones(2, complex if method == "complex" else float)
    for nothing in (np.nan, np.inf):
        report = check(lambda: x[0] + nothing, {"x": x}, {"x": np.array([1.0, 0.0])}, method)
        assert not report.ok and not np.isfinite(report.numerical)
        assert "not finite" in report.hint and "not finite" in str(report)


def test_a_function_of_a_copy_is_pointed_out():
    x = np.array([1.0, 2.0])
    copy = x.copy()
    report = check(lambda: np.sum(copy * copy), {"x": x}, {"x": 2 * x})
    assert not report.ok and "the very array" in str(report)
    report = check(lambda: np.sum(copy * copy), {"x": x}, {"x": np.zeros(2)})
    assert report.ok and report.hint == ""  # it does not change, and is not said to


# ---- report, drawing, tolerance ------------------------------------------------------------------

def test_the_report_reads_in_a_few_lines():
    W = np.array([[1.0, 2.0], [3.0, 4.0]])
    wrong = 2 * W
    wrong[1, 0] = 7.0
    text = str(check(lambda: np.sum(W * W), {"W": W}, {"W": wrong})).splitlines()
    assert text[0] == "gradient WRONG: 1 of 4 out of tolerance, by differences"
    assert text[1].split() == ["worst", "at", "W[1,", "0]"]
    assert text[2].split() == ["analytic", "7"]
    assert float(text[3].split()[1]) == pytest.approx(6)
    assert text[4].startswith("  difference   1, allowed ")
    assert len(text) == 5 and max(map(len, text)) <= 80
    along = directional(lambda: np.sum(W * W), {"W": W}, {"W": wrong}, np.random.default_rng(0))
    assert str(along).splitlines()[1].split(maxsplit=2)[2] == "a random direction in W"
    right = check(lambda: np.sum(W * W), {"W": W}, {"W": 2 * W})
    assert str(right).startswith("gradient right: 0 of 4 out of tolerance")
    right.raise_if_wrong()


@given(st.integers(1, 12), seeds)
def test_at_most_limit_coordinates_of_each_array_are_drawn(limit, seed):
    arrays = {"a": np.ones((2, 3), complex), "b": np.ones(10, complex), "c": np.ones(1, complex)}

    def f():
        return np.sum(arrays["a"]) + np.sum(arrays["b"]) + arrays["c"][0]

    def places(seed):
        report = check(f, arrays, {name: 2 * x.real for name, x in arrays.items()}, "complex",
                       limit=limit, rng=np.random.default_rng(seed))
        assert report.wrong == report.checked
        return report

    assert places(seed).checked == min(limit, 6) + min(limit, 10) + 1
    assert places(seed) == places(seed)


def test_every_coordinate_can_be_drawn_and_none_twice():
    rng = np.random.default_rng(0)
    drawn = [gradcheck._drawn((2, 3), 2, rng) for _ in range(200)]
    assert {index for pair in drawn for index in pair} == set(np.ndindex(2, 3))
    assert all(a < b for a, b in drawn)


@pytest.mark.parametrize("method", METHODS)
def test_atol_replaces_the_derived_one(method):
    x = np.array([3.0, 1.0]).astype(complex if method == "complex" else float)
    arrays, gradients = {"x": x}, {"x": np.array([6.0, 2.0 + 1e-4])}

    def verdicts(**options):
        rng = np.random.default_rng(0)
        return (check(lambda: np.sum(x * x), arrays, gradients, method=method, **options).ok,
                directional(lambda: np.sum(x * x), arrays, gradients, rng, method, **options).ok)

    assert verdicts() == (False, False)
    assert verdicts(atol=1e-3) == (True, True)
    assert verdicts(atol=1e-7) == (False, False)


def test_the_derived_tolerance():
    x = np.array([3.0, 1.0], complex)
    report = check(lambda: np.sum(x * x), {"x": x}, {"x": np.array([6.0, 2.0 + 1e-9])}, "complex")
    assert report.tolerance == pytest.approx(2 * report.error + 4096 * EPS * 6 + 16 * EPS)


def test_the_tolerance_of_a_direction_is_that_of_a_random_sum():
    x, g = np.array([3.0, -1.0, 0.5]), np.array([2.0, 5.0, -4.0])
    v = np.array([3.0, 1.0, 1.0]) * np.random.default_rng(0).standard_normal(3)
    v = v / np.max(np.abs(v))
    for method, x in (("differences", x), ("complex", x.astype(complex))):
        report = directional(lambda: x @ g, {"x": x}, {"x": g}, np.random.default_rng(0), method,
                             atol=1.0)
        assert report.ok and report.analytic == pytest.approx(g @ v)
        assert report.error >= EPS * abs(report.numerical)
        # 4096 eps times the length of g v, whose three parts differ: not its sum, nor its largest
        slack = report.tolerance - 2 * report.error - 1
        assert slack == pytest.approx(4096 * EPS * np.sqrt(np.sum((g * v) ** 2)), abs=4 * EPS)


def test_the_worst_is_the_one_farthest_out_of_its_own_tolerance():
    big, small = np.ones(2, complex), np.ones(2, complex)
    right = {"big": np.full(2, 1e6), "small": np.full(2, 1.0)}

    def f():
        return 1e6 * np.sum(big) + np.sum(small)

    off = {"big": right["big"] + [0, 1e-9], "small": right["small"] + [1e-10, 1e-11]}
    report = check(f, {"big": big, "small": small}, off, "complex")
    # 1e-9 is nothing beside 1e6, 1e-10 is a hundred times the tolerance beside 1
    assert (report.name, report.index, report.wrong) == ("small", (0,), 2)


def test_the_first_of_equals_is_named_and_what_cannot_be_bounded_before_what_is_wrong():
    x, y = np.array([1.0, 2.0]), np.array([1.0])
    nans = check(lambda: np.sum(x * x), {"x": x}, {"x": np.full(2, np.nan)})
    assert (nans.index, nans.wrong) == ((0,), 2)
    report = check(lambda: np.sum(x * x) + float(y[0] > 1), {"x": x, "y": y},
                   {"x": x, "y": np.zeros(1)})
    assert report.name == "y" and report.wrong == 3 and "did not settle" in report.hint


def test_no_difference_is_within_no_tolerance():
    x = np.ones(2, complex)
    report = check(lambda: 0 * x[0], {"x": x}, {"x": np.zeros(2)}, "complex", atol=0)
    assert report.ok and report.difference == report.tolerance == 0


def test_with_atol_zero_and_no_gradient_twice_the_error_is_left():
    x, rng = np.array([3.0, 1.0]), np.random.default_rng(0)
    given = lambda: np.sum(x) * 0 + 1, {"x": x}, {"x": 0 * x}
    for report in (check(*given, atol=0), directional(*given, rng, atol=0)):
        assert 0 < report.tolerance == 2 * report.error


# ---- bad input -----------------------------------------------------------------------------------

def raises(match, call, *args, **options):
    with pytest.raises(ValueError, match=match):
        call(*args, **options)


@pytest.mark.parametrize("value, said", [
    (None, "None given"), ("1", "'1' given"), (np.ones(1), r"an array of float64 of shape \(1,\) "
                                                           r"given"),
    ([1.0], r"\[1.0\] given"), (1j, "1j given, expected a real number")])
def test_f_must_return_one_real_number(value, said):
    x = np.ones(2)
    raises(f"f: {said}", differences, lambda: value, x)
    raises(f"f: {said}", check, lambda: value, {"x": x}, {"x": x})
    raises(f"f: {said}", directional, lambda: value, {"x": x}, {"x": x},
           np.random.default_rng(0))


def test_f_of_complex_arrays_must_return_a_complex_number():
    x = np.ones(2, complex)
    for call in (lambda f: complex_step(f, x),
                 lambda f: check(f, {"x": x}, {"x": x.real}, "complex"),
                 lambda f: directional(f, {"x": x}, {"x": x.real}, np.random.default_rng(0),
                                       "complex")):
        raises(r"f: 2\.0\d* given, expected a complex number.*drops", call,
               lambda: float(np.sum(x.real)))
        raises("f: .* given, expected one number", call, lambda: x)
    assert differences(lambda: 1, np.ones(1))[0] == 0
    assert differences(lambda: np.float32(1), np.ones(1))[0] == 0
    assert differences(lambda: np.array(1.0), np.ones(1))[0] == 0


def read_only():
    x = np.ones(2)
    x.flags.writeable = False
    return x


@pytest.mark.parametrize("x, said", [
    (np.ones(2, int), "int64 given, expected a float array"),
    (np.ones(2, complex), "complex128 given, expected a float array"),
    ([1.0], "list given, expected a float array"),
    (np.ones((2, 0)), r"shape \(2, 0\) given, expected at least one number"),
    (read_only(), "read-only")])
def test_arrays_that_cannot_be_moved(x, said):
    raises(f"x: .*{said}", differences, lambda: 1.0, x)
    raises(rf"arrays\['x'\]: .*{said}", check, lambda: 1.0, {"x": x}, {"x": x})
    raises(rf"arrays\['x'\]: .*{said}", directional, lambda: 1.0, {"x": x}, {"x": x},
           np.random.default_rng(0))


def test_complex_arrays_must_be_complex_and_real_in_value():
    raises("x: float64 given, expected a complex array", complex_step, lambda: 1j, np.ones(1))
    raises("x: imaginary parts given", complex_step, lambda: 1j, np.array([1, 1j]))
    raises(r"arrays\['x'\]: .*expected a complex array", check, lambda: 1j, {"x": np.ones(1)},
           {"x": np.ones(1)}, "complex")


def test_gradients_must_match_the_arrays():
    x = np.ones((2, 3))
    rng = np.random.default_rng(0)
    for ask in (check, lambda *args, **named: directional(*args, rng, **named)):
        raises(r"gradients: \['y'\] given, expected .*\['x'\]", ask, lambda: 1.0, {"x": x},
               {"y": x})
        raises(r"gradients\['x'\]: shape \(3, 2\) given, expected \(2, 3\)", ask, lambda: 1.0,
               {"x": x}, {"x": x.T})
        raises(r"gradients\['x'\]: .*expected real", ask, lambda: 1.0, {"x": x}, {"x": x * 1j})
        raises("arrays: {} given, expected at least one", ask, lambda: 1.0, {}, {})
        raises("method: .*'magic'", ask, lambda: 1.0, {"x": x}, {"x": x}, method="magic")


@pytest.mark.parametrize("index", [(), (0,), (2, 0), (0, -4), (0, 0, 0)])
def test_coordinates_must_be_in_the_array(index):
    raises("coordinates: .*expected one index for each axis", differences, lambda: 1.0,
           np.ones((2, 3)), [index])
    assert differences(lambda: 1.0, np.ones((2, 3)), [(-2, -3)])[0][0, 0] == 0


def test_numbers_too_long_to_print_are_refused_like_others():
    x, long = np.ones((2, 3)), 10**5000
    raises(r"^coordinates: a list of numbers too long to print given, expected one index",
           differences, lambda: 1.0, x,
           [(long, 0)])
    raises(r"^f: a list of .* given, expected one number", check, lambda: [long], {"x": x},
           {"x": x})
    raises(r"^limit: a number of \d+ bits given", check, lambda: 1.0, {"x": x}, {"x": x},
           limit=-long,
           rng=np.random.default_rng(0))


def test_limit_needs_a_generator_and_at_least_one():
    x = np.ones(2)
    raises("rng: ", check, lambda: 1.0, {"x": x}, {"x": x}, limit=1)
    raises("limit: ", check, lambda: 1.0, {"x": x}, {"x": x}, limit=0, rng=np.random.default_rng(0))


def test_a_direction_refuses_arrays_that_share_memory():
    E = np.ones((2, 3))
    for head in (E, E[1:]):
        raises("'E' and 'head' share memory", directional, lambda: 1.0,
               {"P": np.ones(1), "E": E, "head": head}, {"P": np.ones(1), "E": E, "head": head},
               np.random.default_rng(0))


@pytest.mark.parametrize("method", METHODS)
def test_a_function_that_changes_from_call_to_call_is_refused(method):
    rng = np.random.default_rng(0)
    x = np.ones(2, complex if method == "complex" else float)
    for call in (check, lambda *args: directional(*args[:3], rng, args[3])):
        raises("f: .*expected the same number at every call", call, lambda: x[0] * rng.random(),
               {"x": x}, {"x": np.ones(2)}, method)


CALLS = {
    "differences": (differences, dict(f=lambda: 1.0, x=np.ones(2), coordinates=[(0,)])),
    "complex_step": (complex_step, dict(f=lambda: 1j, x=np.ones(2, complex), coordinates=[(0,)])),
    "check": (check, dict(f=lambda: 1.0, arrays={"x": np.ones(2)}, gradients={"x": np.zeros(2)},
                          method="differences",
                          limit=1, rng=np.random.default_rng(0), atol=0.0)),
    "directional": (directional,
                    dict(f=lambda: 1.0, arrays={"x": np.ones(2)}, gradients={"x": np.zeros(2)},
                                      rng=np.random.default_rng(0), method="differences",
                                      atol=0.0)),
    "adjoint": (adjoint, dict(forward=lambda: np.ones(2), backward=lambda u: {"x": np.zeros(2)},
                              arrays={"x": np.ones(2)}, rng=np.random.default_rng(0))),
}


@pytest.mark.parametrize("name, argument", [(name, argument) for name,
                                            (_, good) in CALLS.items() for argument in good])
def test_any_value_is_taken_or_refused_in_one_line_that_names_the_argument(name, argument):
    call, good = CALLS[name]
    for value in [*ODD, {"x": None}, {"x": [0.0, 0.0]}, {"x": [[0.0], [0, 1]]},
                  {"x": np.ma.ones(2)}, {3: np.zeros(2)}]:
        if callable(value) and argument in ("f", "forward", "backward"):
            continue
        try:
            call(**good | {argument: value})
        except ValueError as error:
            assert str(error).startswith((argument, "gradients" if argument == "arrays"
                                          else argument)), str(error)
            assert "expected" in str(error) and "\n" not in str(error) and len(str(error)) < 1000


def test_a_gradient_may_be_nested_lists_or_integers():
    W = np.array([[1.0, 2.0], [3.0, 4.0]])
    for gradient in ([[2.0, 4.0], [6.0, 8.0]], np.array([[2, 4], [6, 8]]), (2 * W).astype(">f8")):
        check(lambda: np.sum(W * W), {"W": W}, {"W": gradient}).raise_if_wrong()
