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
    report.raise_if_wrong()                                # or assert_gradients(loss, ..., ...)

Two ways to a derivative that know nothing of backpropagation:

- differences: (f(x + h) - f(x - h)) / 2h at h, h/2, h/4, extrapolated to h = 0. Takes any f, and
  is good to 10 or 11 digits in float64, because nearly equal numbers are subtracted.
- complex step: Im f(x + ih) / h with h = 1e-20 (less where |x| is below 1). Nothing is subtracted, so nothing is lost: 15 or
  16 digits. Takes complex arrays and an f that is analytic throughout: x * x, never abs(x),
  x.real, np.var or np.linalg.norm. Branches on x must look at the real part, as np.maximum does.

Three questions to put with them: `check` asks coordinate by coordinate and names the one that is
wrong; `directional` asks about all of them at once for the price of a few calls of f, at any size;
`adjoint` asks of a forward and a backward whose output is not a number but an array.
"""

import math
from dataclasses import dataclass

import numpy as np

from .checks import check_choice, check_generator, check_not_negative, check_size, is_masked, raise_value_error, show

COMPLEX_STEP = 1e-20  # its square, the truncation error, is far below any eps
NOISE_POINTS = 14     # calls of f that measure its rounding noise, once for each array
FEW_EPS = 64          # no more noise than a sum has: no need to ask whether it is noise
FALLS = 32            # a smooth function's residual falls by up to 8^6 when it is moved 1/8 as far; noise does not
SIGMAS = 3            # a rounding error is taken to be at most so many standard deviations
RTOL_EPS, ATOL_EPS = 4096, 16  # how many eps the gradient under test is allowed; see `check`


# ---- derivatives ---------------------------------------------------------------------------------

def differences(f, x, coordinates=None):
    """Gradient of f() with respect to x by central differences, extrapolated; with its error.

    f: no arguments -> one real number, a function of x.
    x: float array of any shape; moved in place, one coordinate at a time, and restored bit for bit.
    coordinates: index tuples, e.g. [(0, 2), (5, 1)]; all when None.
    Returns (gradient, error), float64 of x's shape, NaN where not asked for. |gradient - the true
    one| is expected to be below error, which has two parts:

        truncation   |the extrapolation from h, h/2, h/4 - the one before it|
        rounding     2 noise / h: what f's own rounding, measured, becomes when divided by h

    error is inf where no step settles (f jumps or bends there, or computes in a shorter dtype), and
    the gradient is NaN where f is not finite. Six calls of f a coordinate if f is smooth, two more
    for each further halving.

    The first step is eps^(1/5) max(|x_i|, median |x|), the last one that is tried eps^(1/2) |x_i|, or
    less where f turns faster. Why 1/5: one extrapolation leaves an error of order h^4, rounding adds
    eps/h, and h^4 = eps/h there. (Richardson 1911; the table and its stopping rule: Ridders 1982.)
    Raises ValueError if x is not a writable float array or f() not one real number.
    """
    _need_callable("f", f)
    _need_array("x", x, complex_=False)
    return _filled(_differences, f, x, coordinates)


def complex_step(f, x, coordinates=None):
    """Gradient of f() with respect to the real part of x: Im f(x + ih) / h, h = 1e-20 min(1, |x_i|).

    f: no arguments -> one complex number, an analytic function of x.
    x: complex array of any shape with zero imaginary part; moved in place, and restored.
    coordinates: index tuples; all when None.
    Returns (gradient, error), float of x's shape, NaN where not asked for; error is the rounding
    noise of f's imaginary part, measured. One call of f a coordinate. Squire and Trapp 1998.
    Raises ValueError if x is not such an array or f() not one complex number.
    """
    _need_callable("f", f)
    _need_array("x", x, complex_=True)
    return _filled(_complex_steps, f, x, coordinates)


def _filled(method, f, x, coordinates):
    """The method's values at the coordinates, set into arrays of x's shape."""
    indices = list(np.ndindex(x.shape)) if coordinates is None else _need_indices(coordinates, x)
    gradient, error = np.full(x.shape, np.nan), np.full(x.shape, np.nan)
    for index, value, bound in zip(indices, *method(f, x, indices)):
        gradient[index], error[index] = value, bound
    return gradient, error


def _differences(f, x, indices):
    eps, scales, sizes = _eps(x), _scales(x), _sizes(x)
    noise, smooth = _noise(lambda: _real(f), {"x": x})
    pairs = [_extrapolated(_slope_at(f, x, i), scales[i], smooth * sizes[i], noise, eps) for i in indices]
    return [value for value, _ in pairs], [error for _, error in pairs]


def _complex_steps(f, x, indices):
    signs, sizes = _signs(x.shape), _sizes(x)
    noise, _ = _noise(lambda: _imaginary_slope(f, {"x": x}, {"x": signs}, np.min(sizes)), {"x": x})
    values = [_imaginary_slope_at(f, x, index, sizes[index]) for index in indices]
    return values, [noise + _eps(x) * abs(value) for value in values]


def _slope_at(f, x, index):
    """h -> the central difference of f at x[index], and the larger |f| of the two it came from."""
    start = x[index].copy()

    def slope(h):
        try:
            _set(x, index, start, h)
            right, f_right = float(x[index]), _real(f)
            _set(x, index, start, -h)
            left, f_left = float(x[index]), _real(f)
        finally:
            x[index] = start
        # x + h is rounded as well: divide by the distance moved, not by the one intended
        moved = right - left            # inf or NaN where x has no room for h: no slope there
        return (f_right - f_left) / moved if 0 < moved < np.inf else np.nan, max(abs(f_right), abs(f_left))

    return slope


def _set(x, index, start, h):
    """x[index] = start + h; inf beyond the largest number of x's dtype."""
    with np.errstate(over="ignore", invalid="ignore"):
        x[index] = start + h


def _slope_along(f, arrays, direction):
    """h -> the central difference of f along a direction, and the larger |f| of the two."""
    def slope(h):
        f_right = _moved(lambda: _real(f), arrays, direction, h)
        f_left = _moved(lambda: _real(f), arrays, direction, -h)
        return (f_right - f_left) / (2 * h), max(abs(f_right), abs(f_left))

    return slope


def _extrapolated(slope, scale, size, noise, eps):
    """The limit of slope(h) as h -> 0, and a bound of its error, with h from eps^(1/5) scale to eps^(1/2) size.

    A central difference is f' + c2 h^2 + c4 h^4 + ..., so combining those at h and h/2 removes c2,
    and combining two such combinations removes c4:

        T0(h) = slope(h)    T1(h) = (4 T0(h/2) - T0(h)) / 3    T2(h) = (16 T1(h/2) - T1(h)) / 15

    h is halved until the last step changed T2 less than rounding does: beyond that only rounding
    grows. T0 carries at most noise / h of it, T1 1.5 times and T2 1.65 times that: 2 covers it.
    """
    value, row, last = np.nan, [], math.log2(eps**0.5 * size)
    h = 2.0 ** round(math.log2(eps**0.2 * scale))       # a power of two: x ± h then loses as few bits as it can
    for _ in range(round(math.log2(h) - last)):
        t0, magnitude = slope(h)
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


def _imaginary_slope_at(f, x, index, size):
    start, h = x[index].copy(), _imaginary_step({"x": x}, size)
    try:
        x[index] = start + 1j * h
        return _imaginary(f) / h
    finally:
        x[index] = start


def _imaginary_slope(f, arrays, direction, size):
    h = _imaginary_step(arrays, size)
    return _moved(lambda: _imaginary(f), arrays, direction, 1j * h) / h


def _imaginary_step(arrays, size):
    """1e-20, or less in proportion to a `size` below 1, within which f may turn; no less than a normal number."""
    least = max(float(np.finfo(x.dtype).tiny) for x in arrays.values())
    return max(COMPLEX_STEP * min(1.0, float(size)), least)


# ---- questions -----------------------------------------------------------------------------------

@dataclass(frozen=True)
class Report:
    """What a check found: its verdict, and the coordinate that fares worst against its tolerance.

    ok          True if every difference is within its tolerance; never with a NaN or inf in it
    method      "differences" or "complex"
    name, index the worst coordinate: arrays[name][index]; index None for a direction
    analytic    the gradient under test there
    numerical   what the method says
    difference  |analytic - numerical|
    error       the error expected of the method itself there
    tolerance   the difference allowed there; see `check`
    wrong       how many of the numbers that were checked are out of tolerance
    checked     how many numbers were checked
    hint        a sentence when the numbers themselves suggest what is wrong, else ""
    """
    ok: bool
    method: str
    name: str
    index: tuple | None
    analytic: float
    numerical: float
    difference: float
    error: float
    tolerance: float
    wrong: int
    checked: int
    hint: str = ""

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


def check(f, arrays, gradients, method="differences", limit=None, rng=None, rtol=None, atol=None):
    """Compare a gradient with what a method finds, coordinate by coordinate. Returns a Report.

    f: no arguments -> one number, a function of the arrays.
    arrays: dict of name -> array, moved in place and restored; complex for method "complex".
    gradients: dict of the same names -> real arrays of the same shapes, the gradient under test.
    method: "differences" or "complex".
    limit: check at most so many coordinates of each array, drawn by rng (a numpy Generator).
    rtol, atol: see below.

    A coordinate is right if |analytic - numerical| is at most

        2 error + rtol max|gradient of that array| + atol

    error is the method's own, twice because the gradient under test was computed from the same
    rounded numbers. rtol is its further rounding, 4096 eps unless given: what a sum of 4096 terms
    may lose at worst, and one of 16 million by a random walk; 9e-13 in float64. atol, 16 eps unless
    given, is for derivatives that are zero because numbers of order 1 cancel.
    Raises ValueError for arrays that are read-only, empty, or of the wrong kind, for names or
    shapes that do not match, for an f whose value is not one number or changes from call to call.
    """
    _need_callable("f", f)
    arrays, gradients = _need_pairs(arrays, gradients, method)
    _need_tolerances(rtol=rtol, atol=atol)
    if limit is not None:
        check_size("limit", limit)
        check_generator("rng", rng)
    _need_deterministic(f, arrays, method)
    measure = _differences if method == "differences" else _complex_steps
    entries = []
    for name, x in arrays.items():
        indices = _drawn(x.shape, limit, rng)
        values, errors = measure(f, x, indices)
        largest = float(np.max(np.abs(gradients[name]), initial=0.0,
                               where=np.isfinite(gradients[name])))
        slack = _slack(largest, _eps(x), rtol, atol)
        hint = _hint(name, values, errors)
        for index, value, error in zip(indices, values, errors):
            analytic = float(gradients[name][index])
            entries.append((name, index, analytic, value, error, 2 * error + slack, hint))
    return _report(method, entries)


def directional(f, arrays, gradients, rng, method="differences", rtol=None, atol=None):
    """Compare the slope of f along one random direction v with <gradient, v>. Returns a Report.

    The price does not grow with the arrays: about 20 calls of f. A gradient that is wrong anywhere
    is wrong along almost every direction; this cannot say where, but `check` can, and so can this
    with fewer arrays. v is normal, each coordinate in proportion to max(|x_i|, median |x|), and then
    divided by its largest.
    f, arrays, gradients, method, rtol, atol and ValueError as for `check`, with sqrt(sum (g v)^2)
    in place of max|gradient|; also if two arrays share memory, for v would move it twice.
    """
    _need_callable("f", f)
    arrays, gradients = _need_pairs(arrays, gradients, method)
    _need_tolerances(rtol=rtol, atol=atol)
    check_generator("rng", rng)
    _need_separate(arrays)
    _need_deterministic(f, arrays, method)
    v = {name: _scales(x) * rng.standard_normal(x.shape) for name, x in arrays.items()}
    eps, largest = _eps_of(arrays), max(np.max(np.abs(part)) for part in v.values())
    v = {name: part / largest for name, part in v.items()}
    with np.errstate(divide="ignore", over="ignore"):
        nearest = min(np.min(_sizes(x) / (_scales(x) / largest)) for x in arrays.values())
    if method == "differences":
        noise, smooth = _noise(lambda: _real(f), arrays)
        value, error = _extrapolated(_slope_along(f, arrays, v), largest, smooth * nearest, noise, eps)
    else:
        noise, _ = _noise(lambda: _imaginary_slope(f, arrays, v, nearest), arrays)
        value = _imaginary_slope(f, arrays, v, nearest)
        error = noise + eps * abs(value)
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is reported as wrong
        products = np.concatenate([np.ravel(gradients[name] * v[name]) for name in arrays])
        analytic, most = float(np.sum(products)), float(np.max(np.abs(products)))
        size = most * float(np.sum((products / (most or 1.0)) ** 2)) ** 0.5         # sqrt(sum (g v)^2) without overflow
    tolerance = 2 * error + _slack(size, eps, rtol, atol)
    place = "a random direction in " + ", ".join(arrays)
    return _report(method, [(place, None, analytic, value, error, tolerance,
                             _hint("what is given", [value], [error]))])


def adjoint(forward, backward, arrays, rng, method="differences", rtol=None, atol=None):
    """The adjoint test <u, Jv> = <J^T u, v> for random u and v. Returns a Report.

    forward: no arguments -> an array (not one number, as f returns), a function of the arrays.
    backward: u, of the output's shape -> dict of name -> J^T u, the gradients of sum(u * output).
    arrays, rng, method, rtol, atol and ValueError as for `directional`.
    Jv is the derivative of forward along v, so <u, Jv> is the slope of <u, forward()>.
    """
    _need_callable("forward", forward)
    _need_callable("backward", backward)
    check_generator("rng", rng)
    arrays = _need_arrays(arrays, method)
    u = rng.standard_normal(np.shape(forward()))
    return directional(lambda: np.sum(u * forward()), arrays, backward(u.copy()), rng, method, rtol, atol)


def assert_gradients(f, arrays, gradients, **options):
    """`check`, raising AssertionError with the report's text if the gradient is wrong."""
    check(f, arrays, gradients, **options).raise_if_wrong()


def _slack(size, eps, rtol, atol):
    """rtol size + atol, with their defaults: see `check`."""
    rtol = RTOL_EPS * eps if rtol is None else rtol
    atol = ATOL_EPS * eps if atol is None else atol
    return rtol * size + atol


def _report(method, entries):
    wrong, worst, worst_ratio = 0, None, -1.0
    for entry in entries:
        _, _, analytic, numerical, _, tolerance, _ = entry
        difference = abs(analytic - numerical)
        right = difference <= tolerance < np.inf  # False for NaN
        wrong += not right
        ratio = difference / max(tolerance, np.finfo(float).tiny)
        if not (ratio < np.inf and tolerance < np.inf):
            ratio = np.inf
        if ratio > worst_ratio:
            worst, worst_ratio = entry, ratio
    name, index, analytic, numerical, error, tolerance, hint = worst
    return Report(wrong == 0, method, name, index, analytic, numerical, abs(analytic - numerical),
                  error, tolerance, wrong, len(entries), hint if wrong else "")


def _hint(name, values, errors):
    if not all(np.isfinite(values)):
        return "The numerical gradient is not finite: f is not, at or near these arrays."
    if not all(np.isfinite(errors)):
        return ("The derivative did not settle: f jumps or bends at or near these arrays, or "
                "computes in a\n  shorter dtype than theirs. So nothing is proved.")
    if not any(values):
        return f"f does not change when {name} moves: does it read the very array that was given?"
    return ""


def _drawn(shape, limit, rng):
    size = int(np.prod(shape))
    if limit is None or limit >= size:
        return list(np.ndindex(shape))
    flat = np.sort(rng.choice(size, limit, replace=False))
    return [tuple(int(i) for i in np.unravel_index(j, shape)) for j in flat]


# ---- steps and noise -----------------------------------------------------------------------------

def _noise(value, arrays):
    """SIGMAS standard deviations of the rounding noise of value(), as the arrays move slightly; and the
    factor, at most 1, by which they had to move less than usual.

    So slightly that a smooth function is a polynomial of degree 5 there: what the best one leaves of
    value() at random points of a line is noise. (The idea: Moré and Wild 2011.) Each entry moves in
    proportion to itself, for log x turns within x of 0. What is left of a function that turns faster
    still falls with the 6th power of the move, noise does not: it is moved less until that shows.

    inf if that is half of the digits or more, of value() or of 1: no rounding does that, but a jump or
    a kink at the very point does, or a computation in a shorter dtype than the arrays'.
    """
    eps, best, smooth = _eps_of(arrays), (np.inf, 1.0), 1.0
    directions = {name: _sizes(x) * _signs(x.shape) for name, x in arrays.items()}
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
    """What a polynomial leaves of value() within `step`, as SIGMAS standard deviations; and value()'s magnitude."""
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
        for name, x in arrays.items():
            _set(x, ..., start[name], distance * direction[name])
        return value()
    finally:
        for name, x in arrays.items():
            x[...] = start[name]


def _scales(x):
    """The size against which a step in each coordinate is small: max(|x_i|, median |x|), or 1."""
    size = _finite_sizes(x)
    size = np.maximum(size, np.median(size))
    return np.where(size > 0, size, 1.0)


def _sizes(x):
    """The size of each coordinate itself, or where that is 0, as _scales has it."""
    size = _finite_sizes(x)
    return np.where(size > 0, size, _scales(x))


def _finite_sizes(x):
    """|x|; no smaller, but for 0, and no larger than that the smallest step from there and the longest are numbers
    of x's dtype; 1 where x is not finite."""
    limits = np.finfo(x.dtype)
    size = np.abs(x).astype(float)
    size = np.where(np.isfinite(size), np.minimum(size, float(limits.max) / 64), 1.0)
    return np.where(size > 0, np.maximum(size, float(limits.tiny / limits.eps)), 0.0)


def _signs(shape):
    return np.random.default_rng(0).choice([-1.0, 1.0], shape)


def _eps(x):
    return max(float(np.finfo(x.dtype).eps), float(np.finfo(float).eps))


def _eps_of(arrays):
    return max(_eps(x) for x in arrays.values())


# ---- what is asked of f and of the arrays --------------------------------------------------------

def _number(f):
    value = f()
    plain = isinstance(value, (int, float, complex, np.number, np.ndarray)) and np.ndim(value) == 0
    if not plain or np.asarray(value).dtype.kind not in "biufc":        # an int too long for NumPy is an object to it
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
        raise_value_error("f", value, "a complex number from complex arrays: something in f drops the imaginary part "
                           "(abs, .real, float, a cast)")
    return float(value.imag) if np.isfinite(value.real) else np.nan


def _need_callable(name, function):
    if not callable(function):
        raise_value_error(name, function, "a function")


def _need_tolerances(**tolerances):
    for name, value in tolerances.items():
        if value is not None:
            check_not_negative(name, value)


def _need_array(name, x, complex_):
    kind = "complex" if complex_ else "float"
    if not isinstance(x, np.ndarray) or x.dtype.kind != kind[0]:
        given = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
        raise ValueError(f"{name}: {given} given, expected a {kind} array")
    if is_masked(x):
        raise ValueError(f"{name}: a masked array given, expected one without a mask")
    if x.size == 0:
        raise ValueError(f"{name}: shape {x.shape} given, expected at least one number")
    if not x.flags.writeable:
        raise ValueError(f"{name}: a read-only array given, expected one to move in place")
    if _overlaps_itself(x):
        raise ValueError(f"{name}: an array that overlaps itself given, strides {x.strides}, expected each number once")
    if complex_ and np.any(x.imag != 0):
        raise ValueError(f"{name}: imaginary parts given, expected them to be 0 before the step")


def _overlaps_itself(x):
    """Whether several indices are the same place in memory, as after np.lib.stride_tricks.as_strided."""
    places = np.ix_(*(step * np.arange(n) for step, n in zip(x.strides, x.shape)))
    return not x.flags.forc and np.unique(sum(places)).size < x.size


def _need_indices(coordinates, x):
    """The coordinates as a list of index tuples."""
    try:
        indices = [tuple(int(i) if i == int(i) else None for i in index) for index in coordinates]
        fits = all(len(index) == x.ndim and all(-n <= i < n for i, n in zip(index, x.shape)) for index in indices)
    except (TypeError, ValueError, OverflowError):
        fits = False
    if not fits:
        raise_value_error("coordinates", coordinates, f"one index for each axis of shape {x.shape}")
    return indices


def _need_arrays(arrays, method):
    """The arrays, in a dict that f cannot change."""
    check_choice("method", method, ("differences", "complex"))
    if not isinstance(arrays, dict):
        raise_value_error("arrays", arrays, "a dict of name -> array")
    if not arrays:
        raise_value_error("arrays", arrays, "at least one array")
    for name, x in arrays.items():
        _need_array(f"arrays[{name!r}]", x, complex_=method == "complex")
    return dict(arrays)


def _need_pairs(arrays, gradients, method):
    """The arrays, and copies of the gradients as arrays: an f that runs backward may write into the very gradients."""
    arrays = _need_arrays(arrays, method)
    if not isinstance(gradients, dict):
        raise_value_error("gradients", gradients, "a dict of name -> array")
    if set(arrays) != set(gradients):
        raise_value_error("gradients", list(gradients), f"the names of arrays, {show(list(arrays))}")
    checked = {}
    for name, x in arrays.items():
        try:
            checked[name] = np.array(gradients[name])
        except ValueError:              # rows of unequal lengths
            checked[name] = np.array(None)
        if checked[name].shape != x.shape:
            raise ValueError(f"gradients[{name!r}]: shape {checked[name].shape} given, expected {x.shape}, "
                             f"that of arrays[{name!r}]")
        if checked[name].dtype.kind not in "iuf" or is_masked(gradients[name]):
            raise_value_error(f"gradients[{name!r}]", gradients[name], "real numbers")
    return arrays, checked


def _need_separate(arrays):
    names = list(arrays)
    for i, a in enumerate(names):
        for b in names[i + 1:]:
            if np.shares_memory(arrays[a], arrays[b]):
                raise ValueError(f"arrays: {a!r} and {b!r} share memory, expected each number "
                                 "once: give a tied matrix under one name")


def _need_deterministic(f, arrays, method):
    number = _real if method == "differences" else _number
    first, second = complex(number(f)), complex(number(f))  # in plain Python, where inf - inf is a quiet NaN
    apart, size = (max(abs(z.real), abs(z.imag)) for z in (first - second, first))
    if apart > _eps_of(arrays) ** 0.5 * size:
        raise ValueError(f"f: {first} given, then {second}, expected the same number at every call: "
                         "dropout, or a generator that is not seeded anew?")
