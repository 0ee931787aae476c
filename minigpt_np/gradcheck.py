"""Is this gradient right? Checks for any function of NumPy arrays; of GPTs it knows nothing.

Everywhere here `f` takes no arguments and returns one number, computed from arrays that it reads
afresh at each call. A check moves those same arrays in place, calls f(), and puts every number
back exactly, even if f raises:

    W, x = rng.normal(size=(3, 4)), rng.normal(size=4)

    def loss():
        return np.sum(np.tanh(W @ x))

    dW = np.outer(1 - np.tanh(W @ x) ** 2, x)              # yours, by hand
    report = check(loss, {"W": W}, {"W": dW})
    print(report)                                          # the worst coordinate, by name and index
    report.raise_if_wrong()

Two ways to a derivative that know nothing of backpropagation:

- differences: (f(x + h) - f(x - h)) / 2h at h, h/2, h/4, extrapolated to h = 0. Works for any f,
  but only to 10 or 11 digits in float64, since it subtracts nearly equal numbers.
- complex step: Im f(x + ih) / h with h = 1e-20. Nothing is subtracted, so nothing is lost: 15 or
  16 digits. Takes complex arrays and an f that is analytic throughout: x * x, never abs(x),
  x.real, np.var or np.linalg.norm. Branches on x must look at the real part, as np.maximum does.

Three questions to put with them: `check` asks coordinate by coordinate and names the one that is
wrong; `directional` asks about all of them at once for the price of a few calls of f, at any size;
`adjoint` asks of a forward and a backward whose output is not a number but an array.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np

from .checks import (check_array, check_choice, check_generator, check_not_negative, check_size,
                     is_masked, raise_value_error)

COMPLEX_STEP = 1e-20  # its square, the truncation error, is far below any eps
NOISE_POINTS = 14     # calls of f that measure its rounding noise, once for each array
FEW_EPS = 64          # no more noise than a sum has: no need to ask whether it is noise
FALLS = 32            # a smooth f's residual falls up to 8^6 times when moved 1/8 as far; noise not
SIGMAS = 3            # a rounding error is taken to be at most so many standard deviations
RTOL_EPS, ATOL_EPS = 4096, 16  # how many eps the gradient under test is allowed; see `check`


# ---- derivatives ---------------------------------------------------------------------------------

def differences(f, x, coordinates=None):
    """Gradient of f() with respect to x by central differences, extrapolated; with its error.

    f: no arguments -> one real number, a function of x. x: float array of any shape.
    coordinates: index tuples, e.g. [(0, 2), (5, 1)]; all when None.
    Returns (gradient, error), float64 of x's shape, NaN where not asked for. |gradient - the true
    one| is expected to be below error, which has two parts:

        truncation   |the extrapolation from h, h/2, h/4 - the one before it|
        rounding     2 noise / h: what f's own rounding, measured, becomes when divided by h

    error is inf where no step settles (f jumps or bends there, or computes in a shorter dtype), and
    the gradient is NaN where f is not finite. Six calls of f a coordinate if f is smooth, two more
    for each further halving.

    The first step is eps^(1/5) max(|x_i|, median |x|), the last one that is tried eps^(1/2) |x_i|,
    or less where f turns faster. Why 1/5: one extrapolation leaves an error of order h^4, rounding
    adds eps/h, and h^4 = eps/h there. (Richardson 1911; the table and its stopping rule: Ridders
    1982.)
    Raises ValueError if x is not a writable float array or f() not one real number.
    """
    return _gradient("differences", f, x, coordinates)


def complex_step(f, x, coordinates=None):
    """Gradient of f() with respect to the real part of x: Im f(x + ih) / h.

    f: no arguments -> one complex number, an analytic function of x. x: complex array of any shape
    with zero imaginary part. coordinates: index tuples; all when None.
    Returns (gradient, error), float of x's shape, NaN where not asked for; error is the rounding
    noise of f's imaginary part, measured. h is 1e-20 min(1, |x_i|). One call of f a coordinate.
    (Squire and Trapp 1998.)
    Raises ValueError if x is not such an array or f() not one complex number.
    """
    return _gradient("complex", f, x, coordinates)


def _gradient(method, f, x, coordinates):
    """What the method says, and its errors, at these coordinates of x; elsewhere NaN."""
    _need_callables(f=f)
    _need_array("x", x, method)
    indices = list(np.ndindex(x.shape)) if coordinates is None else _need_indices(coordinates, x)
    gradient, error = np.full(x.shape, np.nan), np.full(x.shape, np.nan)
    sizes, scales = _sizes(x)
    slope = METHODS[method](f, {"x": x}, {"x": _signs(x.shape)}, np.min(sizes))
    for i in indices:
        number = {"x": x[(*i, ...)]}        # a view
        gradient[i], error[i] = slope(number, {"x": 1.0}, scales[i], sizes[i])
    return gradient, error


def _by_differences(f, arrays, *_):
    """(arrays or parts of them, direction, scale, size) -> the slope of f there, and its error."""
    eps = _eps(arrays)
    noise, smooth = _noise(lambda: _real(f), arrays)

    def slope(arrays, direction, scale, size):
        def central(h):             # and the larger |f| of the two that it came from
            f_right = _moved(lambda: _real(f), arrays, direction, h)
            f_left = _moved(lambda: _real(f), arrays, direction, -h)
            return (f_right - f_left) / (2 * h), max(abs(f_right), abs(f_left))

        return _extrapolated(central, scale, smooth * size, noise, eps)

    return slope


def _by_complex_steps(f, arrays, direction, size):
    """As _by_differences; the noise is that of the slope along this direction."""
    eps, least = _eps(arrays), max(float(np.finfo(x.dtype).tiny) for x in arrays.values())

    def slope(arrays, direction, _, size):
        h = max(COMPLEX_STEP * min(1.0, float(size)), least)    # f may turn within a size below 1
        value = _moved(lambda: _imaginary(f), arrays, direction, 1j * h) / h
        return value, noise + eps * abs(value)

    noise = 0.0
    noise, _ = _noise(lambda: slope(arrays, direction, 1.0, size)[0], arrays)
    return slope


METHODS = {"differences": _by_differences, "complex": _by_complex_steps}


def _extrapolated(central, scale, size, noise, eps):
    """The limit of central(h) as h -> 0, and a bound of its error.

    h goes from eps^(1/5) scale to eps^(1/2) size. A central difference is f' + c2 h^2 + c4 h^4 +
    ..., so combining those at h and h/2 removes c2, and combining two such combinations c4:

        T0(h) = central(h)   T1(h) = (4 T0(h/2) - T0(h)) / 3   T2(h) = (16 T1(h/2) - T1(h)) / 15

    h is halved until the last step changed T2 less than rounding does: beyond that only rounding
    grows. T0 carries at most noise / h of it, T1 1.5 times and T2 1.65 times that: 2 covers it.
    """
    value, row = np.nan, []
    first = round(math.log2(eps**0.2 * scale))  # a power of two: x ± h then loses few bits of x
    h, halvings = 2.0**first, round(first - math.log2(eps**0.5 * size))
    for _ in range(halvings):
        t0, magnitude = central(h)
        coarser, row = row, [t0]
        for order, t in zip((4, 16), coarser):
            row.append((order * row[-1] - t) / (order - 1))
        if not np.isfinite(t0):
            row = []  # x ± h is outside f's domain: begin again, nearer to x
        elif len(row) == 3:
            value = row[2]
            truncation = abs(value - coarser[-1])
            rounding = 2 * max(noise, eps * magnitude) / h
            if truncation <= rounding:
                return value, truncation + rounding
        h /= 2
    return value, np.inf


# ---- questions -----------------------------------------------------------------------------------

@dataclass(frozen=True)
class Report:
    """What a check found: its verdict, and the coordinate farthest out of its tolerance."""
    ok: bool            # whether every difference is within its tolerance, no NaN or inf among them
    method: str         # "differences" or "complex"
    name: str           # of the worst coordinate, arrays[name][index]
    index: tuple | None         # None for a direction
    analytic: float     # the gradient under test there
    numerical: float    # what the method says
    difference: float   # |analytic - numerical|
    error: float        # that is expected of the method itself there
    tolerance: float    # the difference allowed there; see `check`
    wrong: int          # how many of the numbers that were checked are out of tolerance
    checked: int        # how many numbers were checked
    hint: str = ""      # a sentence, when the numbers themselves suggest what is wrong

    def __str__(self):
        verdict = "right" if self.ok else "WRONG"
        place = self.name if self.index is None else f"{self.name}{list(self.index)}"
        lines = [f"gradient {verdict}: {self.wrong} of {self.checked} out of tolerance, "
                 f"by {self.method}",
                 f"  worst at    {place}",
                 f"  analytic    {self.analytic: .15g}",
                 f"  numerical   {self.numerical: .15g}",
                 f"  difference  {self.difference: .2g}, allowed {self.tolerance:.2g}, "
                 f"error expected of the method {self.error:.2g}"]
        return "\n".join(lines + [f"  {self.hint}"] * bool(self.hint))

    def raise_if_wrong(self):
        """AssertionError with the text of this report, unless ok."""
        if not self.ok:
            raise AssertionError(str(self))


def check(f, arrays, gradients, method="differences", limit=None, rng=None, atol=None):
    """Compare a gradient with what a method finds, coordinate by coordinate. Returns a Report.

    f: no arguments -> one number, a function of the arrays.
    arrays: dict of name -> array, moved in place and restored; complex for method "complex".
    gradients: dict of the same names -> real arrays of the same shapes, the gradient under test.
    method: "differences" or "complex".
    limit: check at most so many coordinates of each array, drawn by rng (a numpy Generator).
    atol: see below.

    A coordinate is right if |analytic - numerical| is at most

        2 error + 4096 eps max|gradient of that array| + atol

    error is the method's own, twice because the gradient under test was computed from the same
    rounded numbers. 4096 eps is its further rounding: what a sum of 4096 terms may lose at worst,
    and one of 16 million by a random walk; 9e-13 in float64. atol, 16 eps unless given, is for
    derivatives that are zero because numbers of order 1 cancel.
    Raises ValueError for arrays that are read-only, empty, or of the wrong kind, for names or
    shapes that do not match, for an f whose value is not one number or changes from call to call.
    """
    arrays, gradients = _need_pairs(f, arrays, gradients, method, atol)
    if limit is not None:
        check_size("limit", limit)
        check_generator("rng", rng)
    _need_deterministic(f, arrays, method)
    entries = []
    for name, x in arrays.items():
        gradient, indices = gradients[name], _drawn(x.shape, limit, rng)
        values, errors = _gradient(method, f, x, indices)
        found = [(float(values[i]), float(errors[i])) for i in indices]
        largest = np.max(np.abs(gradient), initial=0.0, where=np.isfinite(gradient))
        slack, hint = _slack(float(largest), _eps({name: x}), atol), _hint(name, found)
        entries += [(name, i, float(gradient[i]), value, error, 2 * error + slack, hint)
                    for i, (value, error) in zip(indices, found)]
    return _report(method, entries)


def directional(f, arrays, gradients, rng, method="differences", atol=None):
    """Compare the slope of f along one random direction v with <gradient, v>. Returns a Report.

    The price does not grow with the arrays: about 20 calls of f. A gradient that is wrong anywhere
    is wrong along almost every direction; this cannot say where, but `check` can, and so can this
    with fewer arrays. v is normal, each coordinate in proportion to max(|x_i|, median |x|), and
    then divided by its largest.
    f, arrays, gradients, method, atol and ValueError as for `check`, with sqrt(sum (g v)^2) in
    place of max|gradient|; also if two arrays share memory, for v would move it twice.
    """
    arrays, gradients = _need_pairs(f, arrays, gradients, method, atol)
    check_generator("rng", rng)
    _need_separate(arrays)
    _need_deterministic(f, arrays, method)
    sizes = {name: _sizes(x) for name, x in arrays.items()}
    v = {name: scale * rng.standard_normal(scale.shape) for name, (_, scale) in sizes.items()}
    eps, largest = _eps(arrays), max(np.max(np.abs(part)) for part in v.values())
    v = {name: part / largest for name, part in v.items()}
    with np.errstate(divide="ignore", over="ignore"):
        nearest = min(np.min(size / (scale / largest)) for size, scale in sizes.values())
    value, error = METHODS[method](f, arrays, v, nearest)(arrays, v, largest, nearest)
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is reported as wrong
        products = np.concatenate([np.ravel(gradients[name] * v[name]) for name in arrays])
        analytic, most = float(np.sum(products)), float(np.max(np.abs(products)))
        size = most * math.sqrt(np.sum((products / (most or 1.0)) ** 2))    # without overflow
    return _report(method, [("a random direction in " + ", ".join(arrays), None, analytic, value,
                             error, 2 * error + _slack(size, eps, atol),
                             _hint("what is given", [(value, error)]))])


def adjoint(forward, backward, arrays, rng, method="differences", atol=None):
    """The adjoint test <u, Jv> = <J^T u, v> for random u and v. Returns a Report.

    forward: no arguments -> an array (not one number, as f returns), a function of the arrays.
    backward: u, of the output's shape -> dict of name -> J^T u, the gradients of sum(u * output).
    arrays, rng, method, atol and ValueError as for `directional`.
    Jv is the derivative of forward along v, so <u, Jv> is the slope of <u, forward()>.
    """
    _need_callables(forward=forward, backward=backward)
    check_generator("rng", rng)
    arrays = _need_arrays(arrays, method)
    u = rng.standard_normal(np.shape(forward()))
    return directional(lambda: np.sum(u * forward()), arrays, backward(u.copy()), rng, method, atol)


def _slack(size, eps, atol):
    """What is allowed besides the method's own error: see `check`."""
    return RTOL_EPS * eps * size + (ATOL_EPS * eps if atol is None else atol)


def _report(method, entries):
    """The Report of (name, index, analytic, numerical, error, tolerance, hint), one each."""
    wrong, worst, worst_ratio = 0, None, -1.0
    for entry in entries:
        _, _, analytic, numerical, _, tolerance, _ = entry
        difference = abs(analytic - numerical)
        wrong += not difference <= tolerance < np.inf  # wrong with NaN, too
        ratio = difference / max(tolerance, np.finfo(float).tiny)
        if not (ratio < np.inf and tolerance < np.inf):
            ratio = np.inf
        if ratio > worst_ratio:
            worst, worst_ratio = entry, ratio
    name, index, analytic, numerical, error, tolerance, hint = worst
    return Report(wrong == 0, method, name, index, analytic, numerical, abs(analytic - numerical),
                  error, tolerance, wrong, len(entries), hint if wrong else "")


def _hint(name, found):
    """A sentence about the values and errors that a method found, or ""."""
    values, errors = zip(*found)
    if not np.all(np.isfinite(values)):
        return "The numerical gradient is not finite: f is not, at or near these arrays."
    if not np.all(np.isfinite(errors)):
        return ("The derivative did not settle: f jumps or bends at or near these arrays, or "
                "computes in a\n  shorter dtype than theirs. So nothing is proved.")
    if not any(values):
        return f"f does not change when {name} moves: does it read the very array that was given?"
    return ""


def _drawn(shape, limit, rng):
    """At most `limit` of the indices of an array, in order."""
    size = math.prod(shape)
    if limit is None or limit >= size:
        return list(np.ndindex(shape))
    flat = np.sort(rng.choice(size, limit, replace=False))
    return [tuple(int(i) for i in np.unravel_index(j, shape)) for j in flat]


# ---- steps and noise -----------------------------------------------------------------------------

def _noise(value, arrays):
    """SIGMAS standard deviations of the rounding noise of value(), as the arrays move slightly; and
    the factor, at most 1, by which they had to move less than usual.

    So slightly that a smooth function is a polynomial of degree 5 there: what the best one leaves
    of value() at random points of a line is noise. (The idea: Moré and Wild 2011.) Each entry moves
    in proportion to itself, because log x turns within x of 0. What is left of a function that
    turns faster still falls with the 6th power of the move, and noise does not: the arrays are
    moved less until that shows.

    inf if that is half of the digits or more, of value() or of 1: no rounding does that, but a jump
    or a kink at the very point does, or a computation in a shorter dtype than the arrays'.
    """
    eps, best, smooth = _eps(arrays), (np.inf, 1.0), 1.0
    directions = {name: _sizes(x)[0] * _signs(x.shape) for name, x in arrays.items()}
    while smooth * eps**0.4 > eps**0.8:
        noise, magnitude = _residual(value, arrays, directions, smooth * eps**0.4)
        if not noise < best[0] / FALLS and smooth < 1:
            break                           # it is noise, and was before
        best = noise, smooth
        if noise <= FEW_EPS * eps * magnitude:
            break
        smooth /= 8
    noise, smooth = best
    half_the_digits = eps**0.5 * max(1.0, magnitude)
    return (noise if noise < half_the_digits else np.inf), smooth


def _residual(value, arrays, directions, step):
    """What a polynomial leaves of value() within `step`, as SIGMAS standard deviations; and
    value()'s magnitude."""
    t = np.random.default_rng(0).uniform(-1, 1, NOISE_POINTS)
    samples = np.array([_moved(value, arrays, directions, step * distance) for distance in t])
    if not np.all(np.isfinite(samples)):
        return np.inf, np.inf
    magnitude = float(np.max(np.abs(samples)))
    powers, rise = np.vander(t, 6), samples / (magnitude or 1.0)
    rise -= rise[0]
    residuals = rise - powers @ np.linalg.lstsq(powers, rise, rcond=None)[0]
    deviation = math.sqrt(np.sum(residuals * residuals) / (NOISE_POINTS - 6))
    return SIGMAS * deviation * magnitude, magnitude


def _moved(value, arrays, direction, distance):
    """value() with the arrays moved to arrays + distance * direction, and then restored."""
    start = {name: x.copy() for name, x in arrays.items()}
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # beyond a dtype's largest is inf
            for name, x in arrays.items():
                x[...] = start[name] + distance * direction[name]
        return value()
    finally:
        for name, x in arrays.items():
            x[...] = start[name]


def _sizes(x):
    """The size of each coordinate, |x_i|, and the one against which a step in it is small:
    max(|x_i|, median |x|), or 1. No size is 0, but the second in its place; none is so small or so
    large that
    a step from there would be no number of x's dtype; of inf and NaN it is 1."""
    limits, size = np.finfo(x.dtype), np.abs(x).astype(float)
    size = np.where(np.isfinite(size), np.minimum(size, float(limits.max) / 64), 1.0)
    size = np.where(size > 0, np.maximum(size, float(limits.tiny / limits.eps)), 0.0)
    scale = np.maximum(size, np.median(size))
    scale = np.where(scale > 0, scale, 1.0)
    return np.where(size > 0, size, scale), scale


def _signs(shape):
    return np.random.default_rng(0).choice([-1.0, 1.0], shape)


def _eps(arrays):
    return float(max(np.finfo(float).eps, *(np.finfo(x.dtype).eps for x in arrays.values())))


# ---- what is asked of f and of the arrays --------------------------------------------------------

def _number(f):
    value = f()
    plain = isinstance(value, (int, float, complex, np.number, np.ndarray)) and np.ndim(value) == 0
    if not plain or np.asarray(value).dtype.kind not in "biufc":    # an int too long is an object
        raise_value_error("f", value, "one number")
    return value


def _real(f):
    value = _number(f)
    if np.iscomplexobj(value):
        raise_value_error("f", value, "a real number from real arrays")
    return float(value)


def _imaginary(f):
    value = _number(f)
    if not np.iscomplexobj(value):
        raise_value_error("f", value, "a complex number from complex arrays: something in f drops "
                          "the imaginary part (abs, .real, float, a cast)")
    return float(value.imag) if np.isfinite(value.real) else np.nan


def _need_callables(**functions):
    for name, function in functions.items():
        if not callable(function):
            raise_value_error(name, function, "a function")


def _need_array(name, x, method):
    kind = "complex" if method == "complex" else "float"
    if not isinstance(x, np.ndarray) or x.dtype.kind != kind[0]:
        given = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
        raise ValueError(f"{name}: {given} given, expected a {kind} array")
    for fault, given, expected in [
            (is_masked(x), "a masked array", "one without a mask"),
            (x.size == 0, f"shape {x.shape}", "at least one number"),
            (not x.flags.writeable, "a read-only array", "one to move in place"),
            (_overlaps_itself(x), "an array that overlaps itself", "each number once"),
            (np.any(x.imag != 0), "imaginary parts", "them to be 0 before the step")]:
        if fault:
            raise ValueError(f"{name}: {given} given, expected {expected}")


def _overlaps_itself(x):
    """Whether several indices are one place in memory, as numpy.lib.stride_tricks can make them."""
    places = np.ix_(*(step * np.arange(n) for step, n in zip(x.strides, x.shape)))
    return not x.flags.forc and np.unique(sum(places)).size < x.size


def _need_indices(coordinates, x):
    """The coordinates as a list of index tuples."""
    try:
        indices = [tuple(index) for index in coordinates]
        fits = all(x[(*index, ...)].ndim == 0 for index in indices)
    except (TypeError, ValueError, IndexError):
        fits = False
    if not fits:
        raise_value_error("coordinates", coordinates, f"one index for each axis of shape {x.shape}")
    return indices


def _need_arrays(arrays, method):
    """The arrays, in a dict that f cannot change."""
    check_choice("method", method, tuple(METHODS))
    if not isinstance(arrays, dict):
        raise_value_error("arrays", arrays, "a dict of name -> array")
    if not arrays:
        raise_value_error("arrays", arrays, "at least one array")
    for name, x in arrays.items():
        _need_array(f"arrays[{name!r}]", x, method)
    return dict(arrays)


def _need_pairs(f, arrays, gradients, method, atol):
    """The arrays, and copies of the gradients: an f that runs backward may write into the very
    gradients under test."""
    _need_callables(f=f)
    arrays = _need_arrays(arrays, method)
    if atol is not None:
        check_not_negative("atol", atol)
    if not isinstance(gradients, dict):
        raise_value_error("gradients", gradients, "a dict of name -> array")
    if set(arrays) != set(gradients):
        raise_value_error("gradients", list(gradients), f"the names of arrays, {list(arrays)}")
    copies = {name: np.array(check_array(f"gradients[{name!r}]", gradients[name]))
              for name in arrays}
    for name, x in arrays.items():
        if copies[name].shape != x.shape:
            raise ValueError(f"gradients[{name!r}]: shape {copies[name].shape} given, expected "
                             f"{x.shape}, that of arrays[{name!r}]")
        if copies[name].dtype.kind not in "iuf":
            raise_value_error(f"gradients[{name!r}]", gradients[name], "real numbers")
    return arrays, copies


def _need_separate(arrays):
    for a, b in itertools.combinations(arrays, 2):
        if np.shares_memory(arrays[a], arrays[b]):
            raise ValueError(f"arrays: {a!r} and {b!r} share memory, expected each number once: "
                             "give a tied matrix under one name")


def _need_deterministic(f, arrays, method):
    number = _real if method == "differences" else _number
    first, second = complex(number(f)), complex(number(f))  # plain, where inf - inf is a quiet NaN
    apart, size = (max(abs(z.real), abs(z.imag)) for z in (first - second, first))
    if apart > _eps(arrays) ** 0.5 * size:
        raise ValueError(f"f: {first} given, then {second}, expected the same number at every "
                         "call: dropout, or a generator that is not seeded anew?")
