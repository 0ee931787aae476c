"""The checker is checked: it must accept what is right, name what is wrong, and touch nothing."""

import itertools
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minigpt_np import gradcheck
from minigpt_np.gradcheck import check, complex_step, differences, directional
from strategies import seeds

EPS = float(np.finfo(float).eps)
METHODS = ["differences", "complex"]
METHOD = pytest.mark.parametrize("method", METHODS)

methods = st.sampled_from(METHODS)
shapes = st.lists(st.integers(1, 3), max_size=3).map(tuple)


def array_for(method, values):
    """The values as an array that the method can move."""
    return np.array(values, complex if method == "complex" else float)


def ask_both(f, arrays, gradients, method, seed=0):
    """The reports of check and of directional."""
    rng = np.random.default_rng(seed)
    return (check(f, arrays, gradients, method),
            directional(f, arrays, gradients, rng, method))


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
        """The arrays that check and directional are given for this method."""
        self.x = array_for(method, self.x)
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


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e6])
def test_the_step_follows_the_scale_of_each_coordinate(scale):
    x = scale * np.array([0.5, 1.0, 100.0, 0.0])
    gradient, error = differences(lambda: np.sum(np.sin(x / scale)), x)
    exact = np.cos(x / scale) / scale
    assert np.all(np.abs(gradient - exact) <= error)
    assert np.all(error * scale < 1e-9)  # noise / h with h of 2^-12 is 6 eps 2^12


@pytest.mark.parametrize("width", [1e-1, 1e-2, 1e-4, 1e-6])
def test_a_function_that_turns_faster_than_x_suggests_gets_smaller_steps(width):
    x = np.array([1.0, 1.0 + width])
    gradient, error = differences(lambda: np.sum(np.tanh((x - 1) / width)), x)
    exact = (1 - np.tanh((x - 1) / width) ** 2) / width
    assert np.all(np.abs(gradient - exact) <= error)
    # as above: the last h is about width / 2^10, and x rounds to EPS
    assert np.all(error * width < 1e-9 + 2 * EPS / width * 2**10)


@pytest.mark.parametrize("f", [lambda x: float(x > 1), lambda x: abs(x - 1),
                               lambda x: float(np.float32(np.sin(x)))])
def test_a_jump_a_kink_and_a_shorter_dtype_never_settle(f):
    x = np.array([1.0])
    gradient, error = differences(lambda: f(x[0]), x)
    assert np.isinf(error[0])
    report = check(lambda: f(x[0]), {"x": x}, {"x": gradient})
    assert not report.ok and report.difference == 0 and "did not settle" in str(report)


def test_the_error_without_noise_is_of_one_eps_and_the_third_step():
    """A constant f: no noise, no truncation, so 2 eps |f| / h with h = 2^-12 (of 1, and of 8)."""
    gradient, error = differences(lambda: 3.0, np.array([1.0, 1.0, 8.0]))
    assert gradient.tolist() == [0, 0, 0]
    np.testing.assert_allclose(error, 2 * EPS * 3 * 2.0**12 / np.array([1, 1, 8]), rtol=1e-6)
    assert not np.any(differences(lambda: 0.0, np.ones(3)))


@pytest.mark.parametrize("outside", [np.nan, np.inf])
def test_a_step_out_of_the_domain_counts_for_nothing(outside):
    """The first step, 2^-10, leaves the domain."""
    x = np.array([1.0])
    gradient, error = differences(
        lambda: x[0] * x[0] if abs(x[0] - 1) < 2.0**-10.5 else outside, x)
    assert abs(gradient[0] - 2) <= error[0] < 1e-11


@pytest.mark.parametrize("derivative, least, most", [
    (differences, 1e-9, 1e-5), (complex_step, 1e-11, 1e-8)])
def test_noise_inside_f_is_measured_and_bounded(derivative, least, most):
    """1e6 x + sin x, less 1e6 x: a million times the noise that eps |f| and eps |f'| suggest."""
    x = np.random.default_rng(0).normal(size=20)
    moved = x.astype(complex if derivative is complex_step else float)
    gradient, error = derivative(lambda: np.sum((1e6 * moved + np.sin(moved)) - 1e6 * moved), moved)
    assert np.all(np.abs(gradient - np.cos(x)) <= error)
    assert np.all(error > least) and np.all(error < most)


def test_measured_noise_is_three_standard_deviations():
    rng = np.random.default_rng(0)
    ratios = [(gradcheck._noise(lambda: 1e-10 * rng.normal(), {"x": np.ones(1)})[0] / 3e-10) ** 2
              for _ in range(100)]
    # each is chi-squared with 14 - 6 degrees of freedom over 8: variance 2 / 8
    assert abs(np.mean(ratios) - 1) < 5 * np.sqrt(2 / 8 / 100)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_noise_is_sought_along_no_special_direction(n):
    """Were every coordinate moved alike, x less its mean would stay 0, and f be without noise."""
    x, b = np.ones(n), np.array([1.0, -2.0, 3.0, 0.5])[:n]
    gradient, error = differences(lambda: np.sum(b * np.sin(1e4 + (x - x.mean()))), x)
    assert np.all(np.abs(gradient - np.cos(1e4) * (b - b.mean())) <= error)
    # sin(1e4 + z) is off by half an ulp of 1e4, 0.9e-12, at most: 2 noise 2^12 is about 1e-8
    assert np.all(error > 1e-9) and np.all(error < 1e-7)


@pytest.mark.parametrize("dtype, bound", [(np.float32, 1e-3), (np.float64, 1e-10)])
def test_the_dtype_of_x_sets_the_step(dtype, bound):
    x = np.array([0.7, -1.3, 2.0], dtype)
    gradient, error = differences(lambda: np.sum(np.sin(x)), x)
    assert np.all(np.abs(gradient - np.cos(x.astype(float))) <= error) and np.all(error < bound)


@pytest.mark.parametrize("derivative, x, f, calls", [
    (differences, np.ones(5), lambda x: np.sum(np.sin(x)), 14 + 6 * 5),
    (differences, np.full(5, 1e-6), lambda x: np.sum(np.sin(1e6 * x)), 14 + 6 * 5),
    (complex_step, np.ones(5, complex), lambda x: np.sum(x * x), 14 + 5),
    # nowhere defined but at 1: steps of 2^-10 to 2^-25 are tried, and eps^(1/2) is 2^-26
    (differences, np.ones(1), lambda x: 1.0 if x[0] == 1 else np.nan, 14 + 2 * 16)])
def test_six_calls_a_number_or_one_and_an_end(derivative, x, f, calls):
    count = itertools.count()

    def counted():
        next(count)
        return f(x)

    derivative(counted, x)
    assert next(count) == calls


# ---- nothing is left changed ---------------------------------------------------------------------

@given(functions, methods, st.sampled_from([check, directional]), st.none() | st.integers(0, 60),
       seeds)
def test_arrays_are_restored_bit_for_bit_also_after_ctrl_c(f, method, ask, stop, seed):
    f.x.flat[0] = -0.0
    gradients, arrays = {"x": f.gradient()}, f.made(method)
    before, count = f.x.tobytes(), itertools.count()

    def g():
        if next(count) == stop:
            raise KeyboardInterrupt
        return f()

    with suppress(KeyboardInterrupt):
        ask(g, arrays, gradients, method=method, rng=np.random.default_rng(seed))
    assert f.x.tobytes() == before


@given(functions, methods, st.sampled_from([check, directional]), seeds)
def test_f_may_write_into_the_very_gradients_under_test(f, method, ask, seed):
    """As an f that runs backward into them does; and into the dict of the arrays."""
    gradients, arrays = {"x": f.gradient()}, f.made(method)

    def g():
        gradients["x"][...], arrays["other"] = np.nan, None
        return f()

    ask(g, arrays, gradients, method=method, rng=np.random.default_rng(seed)).raise_if_wrong()


@METHOD
@pytest.mark.parametrize("work", [
    lambda x: np.maximum(x, 0, out=x), lambda x: np.multiply(x, 2, out=x),
    lambda x: np.round(x, out=x)])      # which changes x only once it is moved
def test_an_f_that_works_in_place_is_refused_and_undone(work, method):
    x, y = array_for(method, [1.0, -2.0, 3.0]), array_for(method, [1.0])
    arrays, gradients = {"y": y, "x": x}, {"y": [1], "x": 2 * x.real}
    derivative = complex_step if method == "complex" else differences

    def f():
        work(x)
        return np.sum(x * x) + y[0]

    for use in (lambda: check(f, arrays, gradients, method), lambda: derivative(f, x),
                lambda: directional(f, arrays, gradients, np.random.default_rng(0), method)):
        raises("f: one that changes 'x' given, expected one that only reads", use)
        assert x.tolist() == [1, -2, 3]


# ---- any floats, anywhere in memory --------------------------------------------------------------

@given(st.lists(st.floats(), min_size=1, max_size=4), methods, seeds)
def test_of_any_floats_there_is_a_report(values, method, seed):
    """Subnormal, infinite and NaN, too: a right gradient is right, or not found, and then the
    report says why."""
    x = array_for(method, values)
    before = x.tobytes()

    def f():
        with np.errstate(all="ignore"):
            return np.sum(x * x)

    with np.errstate(all="ignore"):
        right = 2 * x.real
    for report in ask_both(f, {"x": x}, {"x": right}, method, seed):
        assert x.tobytes() == before and str(report)
        assert report.ok or not np.isfinite([report.numerical, report.error, report.analytic]).all()
        assert report.ok or report.hint or not np.isfinite(report.analytic)


@METHOD
@pytest.mark.parametrize("values",
                         [[1.0, 5e-324], [1.0, 1e-310], [5e-324, 5e-324], [1e308, 1.0], [1e-250]])
def test_of_extreme_floats_the_right_gradient_is_found_and_a_wrong_one_is_not_right(values, method):
    x = array_for(method, values)
    for f, right in ((lambda: np.sum(x), np.ones(len(x))),
                     (lambda: np.sum(np.tanh(x)), 1 - np.tanh(x.real) ** 2)):
        for wrong in (0, 0.5):
            for report in ask_both(f, {"x": x}, {"x": right + wrong}, method):
                assert report.ok == (not wrong)


@METHOD
def test_views_of_any_strides_are_moved_where_they_live(method):
    """As the named views into a model's one flat vector are; f reads the vector only."""
    flat = array_for(method, np.arange(1.0, 13))
    views = {"transposed": flat[:6].reshape(2, 3).T, "reversed": flat[8:5:-1],
             "strided": flat[9::2], "number": flat[10:11].reshape(())}
    gradients = {name: 2 * x.real for name, x in views.items()}
    for report in ask_both(lambda: np.sum(flat * flat), views, gradients, method):
        report.raise_if_wrong()


# ---- what is right is accepted -------------------------------------------------------------------

@given(functions, methods, seeds)
def test_right_gradients_are_right(f, method, seed):
    gradients, arrays = {"x": f.gradient()}, f.made(method)
    report, along = ask_both(f, arrays, gradients, method, seed)
    along.raise_if_wrong()
    assert report.ok and report.wrong == 0 and report.hint == "" and report.method == method
    assert report.checked == f.x.size
    assert report.difference == abs(report.numerical - report.analytic) <= report.tolerance
    assert 2 * report.error < report.tolerance


@METHOD
def test_a_zero_gradient_from_numbers_that_cancel_is_right(method):
    """The loss of a vocabulary of one token is log(exp(z)) - z: 0, and flat up to rounding."""
    x = array_for(method, [0.3, 1.7, -2.2])
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
}


@pytest.mark.parametrize("name", STEEP)
@pytest.mark.parametrize("small, method", [
    *itertools.product([[1e-4], [1e-6, 2e-6], [1e-12]], METHODS), ([1e-100], "complex")])
def test_an_entry_a_million_times_smaller_than_the_others_is_no_obstacle(name, small, method):
    """log x turns within x of 0, be x as small as it may: every probe keeps within that."""
    f, gradient = STEEP[name]
    real = np.array([*small, 1.0, 2.0, 3.0])
    x = array_for(method, real)
    with np.errstate(invalid="ignore", divide="ignore"):        # where a first step goes beyond 0
        for report in ask_both(lambda: f(x), {"x": x}, {"x": gradient(real)}, method):
            report.raise_if_wrong()


@pytest.mark.parametrize("name", STEEP)
@pytest.mark.parametrize("method, small, off", [
    ("complex", 0.5, 1e-9), ("complex", 1e-6, 1e-9), ("differences", 0.5, 1e-8),
    ("differences", 1e-6, 1e-6)])       # rounding is divided by steps below 1e-6 there
def test_an_error_in_the_ninth_digit_is_seen_all_the_same(name, method, small, off):
    f, gradient = STEEP[name]
    real = np.array([small, 1.0, 2.0, 3.0])
    x = array_for(method, real)
    wrong = gradient(real)
    largest = int(np.argmax(np.abs(wrong)))
    wrong[largest] *= 1 + off
    with np.errstate(invalid="ignore", divide="ignore"):
        report = check(lambda: f(x), {"x": x}, {"x": wrong}, method)
    assert not report.ok and report.index == (largest,) and report.wrong == 1


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
    other = array_for(method, [1, 1])
    arrays = {"other": other, **f.made(method)}
    report = check(lambda: f() + np.sum(other * other), arrays,
                   {"other": np.full(2, 2.0), "x": wrong}, method)
    assert not report.ok and report.wrong == 1 and report.checked == 2 + f.x.size
    assert (report.name, report.index) == ("x", index)
    assert report.analytic == wrong[index]
    assert abs(report.numerical - gradient[index]) <= report.error + 32 * EPS * abs(gradient[index])
    assert report.difference == pytest.approx(1e-5 * abs(gradient[index]), rel=0.1)
    with pytest.raises(AssertionError) as raised:
        report.raise_if_wrong()
    for said in (f"WRONG: 1 of {report.checked}", f"x{list(index)}", f"{report.numerical:.15g}"):
        assert said in str(raised.value)


@given(st.integers(1, 4), st.lists(st.integers(0, 4), min_size=1, max_size=6), seeds, methods)
def test_a_lost_accumulation_is_named_by_its_row(D, ids, seed, method):
    """dE[ids] += dx counts a repeated id once: rows read twice, and no others, are wrong."""
    rng = np.random.default_rng(seed)
    E, dx = rng.normal(size=(5, D)), 1 + rng.random((len(ids), D))
    right, lost = np.zeros_like(E), np.zeros_like(E)
    np.add.at(right, ids, dx)
    lost[ids] += dx
    E = array_for(method, E)
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


# ---- not a number --------------------------------------------------------------------------------

@given(functions, methods, st.sampled_from([np.nan, np.inf, -np.inf]), st.data())
def test_a_gradient_that_is_not_finite_is_named(f, method, value, data):
    gradient = f.gradient()
    index = data.draw(st.sampled_from(list(np.ndindex(f.x.shape))))
    gradient[index] = value
    report, along = ask_both(f, f.made(method), {"x": gradient}, method)
    assert not report.ok and report.wrong == 1 and report.index == index
    assert not along.ok


@METHOD
def test_a_function_that_is_not_a_number_is_never_right(method):
    x = array_for(method, [1, 1])
    for nothing in (np.nan, np.inf):
        report = check(lambda: x[0] + nothing, {"x": x}, {"x": np.array([1.0, 0.0])}, method)
        assert not report.ok and not np.isfinite(report.numerical)
        assert "not finite" in report.hint and "not finite" in str(report)


def test_a_function_of_a_copy_is_pointed_out():
    x = np.array([1.0, 2.0])
    copy = x.copy()
    report = check(lambda: np.sum(copy * copy), {"x": x}, {"x": 2 * x})
    assert not report.ok and "a copy of the array" in str(report)
    report = check(lambda: np.sum(copy * copy), {"x": x}, {"x": np.zeros(2)})
    assert report.ok and "Zeros would pass as well" in report.hint and "copy" not in report.hint


@pytest.mark.parametrize("dtype, f", [
    (np.float32, lambda x: np.mean(np.tanh(x)) / 10**6), (float, lambda x: 1e16 + np.sum(x * x))])
def test_right_is_not_said_without_a_word_where_zeros_are_right_as_well(dtype, f):
    """Right, since no derivative of W is above its tolerance; that of b is."""
    W, b = np.ones(3, dtype), np.ones(1)
    for report in ask_both(lambda: f(W), {"W": W}, {"W": 0 * W}, "differences"):
        assert report.ok and "Zeros would pass as well" in str(report)
    report = check(lambda: f(W) + 1e20 * b[0], {"b": b, "W": W}, {"b": [1e20], "W": 0 * W})
    assert report.ok and "in ['W']." in report.hint


# ---- report, drawing, tolerance ------------------------------------------------------------------

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


@METHOD
def test_atol_replaces_the_derived_one(method):
    x = array_for(method, [3.0, 1.0])
    arrays, gradients = {"x": x}, {"x": np.array([6.0, 2.0 + 1e-4])}

    def verdicts(**options):
        rng = np.random.default_rng(0)
        return (check(lambda: np.sum(x * x), arrays, gradients, method=method, **options).ok,
                directional(lambda: np.sum(x * x), arrays, gradients, rng, method, **options).ok)

    assert verdicts() == (False, False)
    assert verdicts(atol=1e-3) == (True, True)
    assert verdicts(atol=1e-7) == (False, False)


def test_the_derived_tolerance():
    x = np.array([0.3, 0.1], complex)
    report = check(lambda: np.sum(x * x), {"x": x}, {"x": np.array([0.6, 0.2 + 1e-9])}, "complex")
    assert report.tolerance == pytest.approx(2 * report.error + 4096 * EPS * 0.6 + 16 * EPS)


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


# ---- bad input -----------------------------------------------------------------------------------

def raises(match, call, *args, **options):
    with pytest.raises(ValueError, match=match):
        call(*args, **options)


@pytest.mark.parametrize("value, said", [
    (None, "None given"), ("1", "'1' given"), ([1.0], r"\[1.0\] given"),
    (np.ones(1), r"an array of float64 of shape \(1,\) given"), (10**400, "1000.*, expected one"),
    (1j, "1j given, expected a real number")])
def test_f_must_return_one_real_number(value, said):
    raises(f"f: {said}", differences, lambda: value, np.ones(2))


def test_f_of_complex_arrays_must_return_a_complex_number():
    x = np.ones(2, complex)
    raises(r"f: 2\.0\d* given, expected a complex number.*drops", complex_step,
           lambda: float(np.sum(x.real)), x)


@pytest.mark.parametrize("value", [1, np.float32(1), np.array(1.0)])
def test_any_kind_of_real_number_will_do(value):
    assert differences(lambda: value, np.ones(1))[0] == 0


def read_only():
    x = np.ones(2)
    x.flags.writeable = False
    return x


@pytest.mark.parametrize("method, x, said", [
    ("differences", np.ones(2, int), "int64 .*given, expected a float array"),
    ("differences", np.ones(2, complex), "complex128 .*given, expected a float array"),
    ("differences", np.ones(2, np.float16), "float16 .*given, expected a float array, not of"),
    ("differences", [1.0], r"\[1.0\] given, expected a float array"),
    ("differences", np.ones((2, 0)), r"shape \(2, 0\) given, expected at least one number"),
    ("differences", read_only(), "read-only"),
    ("complex", np.ones(1), "float64 .*given, expected a complex array"),
    ("complex", np.array([1, 1j]), "imaginary parts given")])
def test_arrays_that_cannot_be_moved(method, x, said):
    derivative = complex_step if method == "complex" else differences
    raises(f"x: .*{said}", derivative, lambda: 1.0, x)
    raises(rf"arrays\['x'\]: .*{said}", check, lambda: 1.0, {"x": x}, {"x": x}, method)


def test_gradients_must_match_the_arrays():
    x = np.ones((2, 3))
    for wrong in (x.T, x * 1j, x.astype(str)):
        raises(r"gradients\['x'\]: .* given, expected real numbers of shape \(2, 3\)", check,
               lambda: 1.0, {"x": x}, {"x": wrong})


@METHOD
def test_an_array_that_overlaps_itself_is_refused(method):
    """check would move one number, directional the same one twice."""
    flat = array_for(method, np.arange(1.0, 7))
    for shape, strides in [((2, 3), 2 * flat.strides), ((3,), (0,))]:
        x = np.lib.stride_tricks.as_strided(flat, shape, strides)
        for ask in check, directional:
            raises("x.*: an array that overlaps itself given", ask, lambda: np.sum(flat * flat),
                   {"x": x}, {"x": 2 * x.real}, method=method, rng=np.random.default_rng(0))


def test_a_direction_refuses_arrays_that_share_memory():
    E = np.ones((2, 3))
    for head in (E, E[1:]):
        raises("'E' and 'head' share memory", directional, lambda: 1.0,
               {"P": np.ones(1), "E": E, "head": head}, {"P": np.ones(1), "E": E, "head": head},
               np.random.default_rng(0))


@METHOD
@pytest.mark.parametrize("ask", [check, directional])
def test_a_function_that_changes_from_call_to_call_is_refused(method, ask):
    rng, x = np.random.default_rng(0), array_for(method, [1, 1])
    raises("f: .*expected the same number at every call", ask, lambda: x[0] * rng.random(),
           {"x": x}, {"x": np.ones(2)}, method=method, rng=rng)


def test_a_gradient_may_be_nested_lists_or_integers():
    W = np.array([[1.0, 2.0], [3.0, 4.0]])
    for gradient in ([[2.0, 4.0], [6.0, 8.0]], np.array([[2, 4], [6, 8]]), (2 * W).astype(">f8")):
        check(lambda: np.sum(W * W), {"W": W}, {"W": gradient}).raise_if_wrong()
