"""Is this gradient right? Checks for any function of NumPy arrays; of GPTs it knows nothing.

Everywhere here `f` takes no arguments and returns one number, computed from arrays that it reads
afresh at each call. A check moves those same arrays in place, calls f(), and puts every number
back exactly, even if f raises or changes them itself, which is refused:

    W, x = rng.normal(size=(3, 4)), rng.normal(size=4)
    dW = np.outer(1 - np.tanh(W @ x) ** 2, x)               # yours, by hand
    report = check(lambda: np.sum(np.tanh(W @ x)), {"W": W}, {"W": dW})
    print(report)                                           # the worst number, by name and index
    report.raise_if_wrong()

`check` goes number by number, `directional` takes all at once. They compare with a method that
knows nothing of backpropagation: `differences`, for any f, or `complex_step`, for an analytic one.

Of a layer, whose output is an array, f is sum(u * output) and the gradients are backward(u), for
any u. Along a direction v that is the adjoint test, <u, Jv> = <J^T u, v>.
"""
import itertools
import math
import sys
from dataclasses import dataclass

import numpy as np

from .checks import (
    check_array, check_choice, check_generator, check_not_negative, check_size, raise_value_error,
    show)

COMPLEX_STEP = 1e-20  # its square, the truncation error, is far below any eps


# ---- derivatives ---------------------------------------------------------------------------------

def differences(f, x):
    """Gradient of f() with respect to x: (f(x + h) - f(x - h)) / 2h, extrapolated to h = 0.

    Works for any f, but only to 10 or 11 digits in float64, since nearly equal numbers are
    subtracted. f is called 14 times to measure its rounding noise, and then six times for each
    number, or two more for each further halving of h if it is not smooth.
    f: no arguments -> one real number, a function of x. x: float array of any shape.
    Returns (gradient, error), float64 of x's shape. |gradient - the true one| is expected to be
    below error, which is inf where no step settles: f jumps or bends there, or computes in a
    shorter dtype. (Not on a stair of a staircase, as 1 + tanh(u) is next to 0: that seems smooth.)
    The gradient is NaN where f is not finite.
    Raises ValueError if x is not a writable float array, f() not one real number, or f changes x.
    """
    return _gradient("differences", f, x)


def complex_step(f, x):
    """Gradient of f() with respect to the real part of x: Im f(x + ih) / h.

    Nothing is subtracted, so nothing is lost: 15 or 16 digits. h is 1e-20 min(1, |x_i|). f must be
    analytic throughout: x * x, never abs(x), x.real, np.var or np.linalg.norm. Branches on x must
    look at the real part, as np.maximum does. f is called 14 times to measure its rounding noise,
    and then once for each number. (Squire and Trapp 1998.)
    f: no arguments -> one complex number, a function of x. x: complex array of any shape with zero
    imaginary part.
    Returns (gradient, error), float64 of x's shape; error is the noise of f's imaginary part.
    Raises ValueError if x is not such an array, f() not one complex number, or f changes x.
    """
    return _gradient("complex", f, x)


def _gradient(method, f, x):
    _need_movable(f, {"x": x}, method)
    x = np.asarray(x)
    gradient, error = np.transpose(_slopes(method, f, x, np.ndindex(x.shape)))
    return gradient.reshape(x.shape), error.reshape(x.shape)


def _slopes(method, f, x, indices):
    """The derivative of f with respect to each of these numbers of x, and its error: pairs."""
    sizes, scales = _sizes(x)
    slope = METHODS[method](f, {"x": x}, _directions({"x": x}), np.min(sizes))
    return [slope({"x": x[(*i, ...)]}, {"x": 1.0}, scales[i], sizes[i])     # x[(*i, ...)] is a view
            for i in indices]


def _by_differences(f, arrays, *_):
    """A function (arrays or parts of them, direction, scale, size) -> the slope of f along the
    direction, and its error.

    A central difference T0(h) is f' + c2 h^2 + c4 h^4 + ..., so combining those at h and h/2
    removes c2, and combining two such combinations c4:

        T0(h) = (f(x + h) - f(x - h)) / 2h
        T1(h) = (4 T0(h/2) - T0(h)) / 3     T2(h) = (16 T1(h/2) - T1(h)) / 15

    h is halved until the last step changed T2 less than rounding does: beyond that only rounding
    grows. T0 carries at most noise / h of it, T1 1.5 times and T2 1.65 times that: 2 covers it.
    h goes from eps^(1/5) scale to eps^(1/2) size, or less where f turns faster. Why 1/5: T1 leaves
    an error of order h^4, rounding adds eps/h, and h^4 = eps/h there. (Richardson 1911; the table
    and its stopping rule: Ridders 1982.)
    """
    def value():
        return _number(f, "differences")

    eps = _eps(arrays)
    noise, smooth = _noise(value, arrays)

    def slope(arrays, direction, scale, size):
        limit, row = math.nan, []
        first = round(math.log2(eps**0.2 * scale))
        last = round(math.log2(eps**0.5 * smooth * size))
        for exponent in range(first, last, -1):
            h = 2.0**exponent           # a power of two: x ± h then loses few bits of x
            f_right = _moved(value, arrays, direction, h)
            f_left = _moved(value, arrays, direction, -h)
            coarser, row = row, [(f_right - f_left) / (2 * h)]
            for order, t in zip((4, 16), coarser):
                row.append((order * row[-1] - t) / (order - 1))
            if not math.isfinite(row[0]):
                row = []            # x ± h is outside f's domain: begin again, nearer to x
            elif len(row) == 3:
                limit = row[2]
                truncation = abs(limit - coarser[-1])
                rounding = 2 * max(noise, eps * abs(f_right), eps * abs(f_left)) / h
                if truncation <= rounding:
                    return limit, truncation + rounding
        return limit, math.inf

    return slope


def _by_complex_steps(f, arrays, direction, size):
    """As _by_differences; the noise is that of the derivative along this direction."""
    eps, least = _eps(arrays), max(float(np.finfo(x.dtype).tiny) for x in arrays.values())

    def derivative(arrays, direction, size):
        h = max(COMPLEX_STEP * min(1.0, float(size)), least)    # f may turn within a size below 1
        value = _moved(lambda: _number(f, "complex"), arrays, direction, 1j * h)
        return value.imag / h if math.isfinite(value.real) else math.nan

    noise, _ = _noise(lambda: derivative(arrays, direction, size), arrays)

    def slope(arrays, direction, _, size):
        value = derivative(arrays, direction, size)
        return value, noise + eps * abs(value)

    return slope


METHODS = {"differences": _by_differences, "complex": _by_complex_steps}


# ---- checks --------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Comparison:
    """The gradient under test beside a method's, at one number or along one direction."""
    name: str           # of the array, or what the direction is in
    index: tuple | None         # None for a direction
    analytic: float     # the gradient under test
    numerical: float    # what the method says
    error: float        # that is expected of the method itself
    tolerance: float    # the difference allowed; see `check`

    @property
    def difference(self):
        return abs(self.analytic - self.numerical)

    @property
    def excess(self):
        """difference / tolerance: wrong above 1; inf if either is not finite."""
        if math.isfinite(self.difference) and math.isfinite(self.tolerance):
            return self.difference / max(self.tolerance, sys.float_info.min)
        return math.inf


@dataclass(frozen=True)
class Report(Comparison):
    """What a check found: the comparison farthest out of its tolerance, and the verdict."""
    method: str         # "differences" or "complex"
    wrong: int          # how many of the numbers that were checked are out of tolerance
    checked: int        # how many numbers were checked
    hint: str           # what the numbers themselves suggest is wrong, or leave undecided; else ""

    @property
    def ok(self):
        return self.wrong == 0

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

    A coordinate is right if |analytic - numerical| is at most

        2 error + 4096 eps max|gradient of that array| + atol

    error is the method's own, twice because the gradient under test was computed from the same
    rounded numbers. 4096 eps is its further rounding: what a sum of 4096 terms may lose at worst,
    and one of 16 million by a random walk; 9e-13 in float64. atol, 16 eps unless given, is for
    derivatives that are zero because numbers of order 1 cancel. Where no derivative of an array
    exceeds its tolerance, the report says that zeros would pass as well.
    Raises ValueError for arrays that are read-only, empty, or of the wrong kind, for names or
    shapes that do not match, for an f whose value is not one number or changes from call to call,
    or which changes the arrays.
    """
    arrays, gradients = _need_pairs(f, arrays, gradients, method, atol)
    if limit is not None:
        check_size("limit", limit)
        check_generator("rng", rng)
    _need_deterministic(f, arrays, method)
    compared = []
    for name, x in arrays.items():
        gradient, indices = gradients[name], _drawn(x, limit, rng)
        largest = np.max(np.abs(gradient), initial=0.0, where=np.isfinite(gradient))
        compared += [_compared(name, i, gradient[i], slope, largest, _eps({name: x}), atol)
                     for i, slope in zip(indices, _slopes(method, f, x, indices))]
    return _report(method, compared)


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
    for a, b in itertools.combinations(arrays, 2):
        if np.shares_memory(arrays[a], arrays[b]):
            raise ValueError(f"arrays: {a!r} and {b!r} share memory, expected each number once: "
                             "give a tied matrix under one name")
    _need_deterministic(f, arrays, method)
    sizes = {name: _sizes(x) for name, x in arrays.items()}
    v = {name: scale * rng.standard_normal(scale.shape) for name, (_, scale) in sizes.items()}
    largest = max(np.max(np.abs(part)) for part in v.values())
    v = {name: part / largest for name, part in v.items()}
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):     # inf, NaN are wrong
        nearest = min(np.min(size / (scale / largest)) for size, scale in sizes.values())
        products = np.concatenate([np.ravel(gradients[name] * v[name]) for name in arrays])
        analytic, most = np.sum(products), np.max(np.abs(products))
        length = most * np.sqrt(np.sum((products / (most or 1.0)) ** 2))    # without overflow
    slope = METHODS[method](f, arrays, v, nearest)(arrays, v, largest, nearest)
    name = "a random direction in " + ", ".join(map(str, arrays))
    return _report(method, [_compared(name, None, analytic, slope, length, _eps(arrays), atol)])


def _compared(name, index, analytic, slope, size, eps, atol):
    """The Comparison of a gradient whose numbers are of this size; `check` has its tolerance."""
    numerical, error = slope
    tolerance = 2 * error + 4096 * eps * size + (16 * eps if atol is None else atol)
    return Comparison(name, index, *map(float, (analytic, numerical, error, tolerance)))


def _drawn(x, limit, rng):
    """At most `limit` of the indices of x, in order."""
    if limit is None or limit >= x.size:
        return list(np.ndindex(x.shape))
    drawn = np.sort(rng.choice(x.size, limit, replace=False))
    return [tuple(map(int, np.unravel_index(i, x.shape))) for i in drawn]


def _report(method, compared):
    worst = max(compared, key=lambda one: one.excess)
    wrong = sum(one.excess > 1 for one in compared)
    hint = _hint(worst, compared) if wrong else _doubt(compared)
    return Report(**vars(worst), method=method, wrong=wrong, checked=len(compared), hint=hint)


def _hint(worst, compared):
    if not np.isfinite(worst.numerical):
        return "The numerical gradient is not finite: f is not, at or near these arrays."
    if not np.isfinite(worst.error):
        return ("The derivative did not settle: f jumps or bends at or near these arrays, or "
                "computes in a\n  shorter dtype than theirs. So this check decides nothing.")
    if not any(one.numerical for one in compared if one.name == worst.name):
        return "f does not change with these numbers: does it read a copy of the array?"
    return ""


def _doubt(compared):
    """A sentence that names the arrays of which zeros would be as right as the numbers compared."""
    decided = {one.name for one in compared if abs(one.numerical) > one.tolerance}
    names = list(dict.fromkeys(one.name for one in compared if one.name not in decided))
    return (f"Zeros would pass as well: no number is above its tolerance in {show(names)}.\n"
            "  If one should be, scale f up, use float64, or lower atol." if names else "")


# ---- steps and noise -----------------------------------------------------------------------------

def _noise(value, arrays):
    """Three standard deviations of value()'s rounding noise, taken to be its largest error; and the
    factor, at most 1, by which steps must be shorter than usual.

    The arrays move a little along a line, each number in proportion to itself because log x turns
    within x of 0. There a smooth function is a polynomial of degree 5, and what the best one leaves
    is noise. (The idea: Moré and Wild 2011.) Of a function that turns faster, the rest falls with
    the 6th power of the move, and noise does not: the arrays move less until that shows.
    The noise is inf if it is half of the digits or more, of value() or of 1: then f jumps or bends
    at the very point, or computes in a shorter dtype than the arrays'.
    """
    eps, smooth = _eps(arrays), 1.0
    directions = {name: _sizes(arrays[name])[0] * part
                  for name, part in _directions(arrays).items()}
    noise, magnitude = _residual(value, arrays, directions, eps**0.4)
    while noise > 64 * eps * magnitude and smooth / 8 > eps**0.4:  # more than a sum's rounding
        nearer, _ = _residual(value, arrays, directions, smooth / 8 * eps**0.4)
        if not nearer < noise / 32:         # a smooth function's rest falls up to 8^6 times
            break                           # it is noise, and was before
        noise, smooth = nearer, smooth / 8
    half_the_digits = eps**0.5 * max(1.0, magnitude)
    return (noise if noise < half_the_digits else np.inf), smooth


def _residual(value, arrays, directions, step):
    """What a polynomial leaves of value() within `step`, as three standard deviations; and
    value()'s magnitude."""
    t = np.random.default_rng(0).uniform(-1, 1, 14)
    samples = np.array([_moved(value, arrays, directions, step * distance) for distance in t])
    if not np.all(np.isfinite(samples)):
        return np.inf, np.inf
    magnitude = float(np.max(np.abs(samples)))
    powers, rise = np.vander(t, 6), samples / (magnitude or 1.0)
    rise -= rise[0]
    residuals = rise - powers @ np.linalg.lstsq(powers, rise, rcond=None)[0]
    deviation = math.sqrt(np.sum(residuals * residuals) / (len(t) - 6))
    return 3 * deviation * magnitude, magnitude


def _moved(value, arrays, direction, distance):
    """value() with the arrays moved to arrays + distance * direction, and then restored.

    ValueError if value() changes any of them, because then the next call is at another point.
    """
    start = {name: x.copy() for name, x in arrays.items()}
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # beyond a dtype's largest is inf
            for name, x in arrays.items():
                x[...] = start[name] + distance * direction[name]
        moved = {name: x.tobytes() for name, x in arrays.items()}
        number = value()
        for name, x in arrays.items():
            if x.tobytes() != moved[name]:
                raise ValueError(f"f: one that changes {name!r} given, expected one that only "
                                 "reads its arrays")
        return number
    finally:
        for name, x in arrays.items():
            x[...] = start[name]


def _sizes(x):
    """size and scale of each number in x; steps are proportional to them.

    scale: max(|x_i|, median |x|), or 1 if that is 0. size: |x_i|, or scale if that is 0. Both as if
    inf and NaN were 1, and |x_i| so large and so small that a step is a number of x's dtype.
    """
    limits, size = np.finfo(x.dtype), np.abs(x).astype(float)
    size = np.where(np.isfinite(size), size, 1.0)
    size = np.where(size > 0, np.clip(size, limits.tiny / limits.eps, limits.max / 64), 0.0)
    scale = np.maximum(size, np.median(size))
    scale = np.where(scale > 0, scale, 1.0)
    return np.where(size > 0, size, scale), scale


def _directions(arrays):
    """A direction for each array, in which no two numbers are moved alike: what subtracts a mean,
    as LayerNorm does, would see no move."""
    rng = np.random.default_rng(0)
    return {name: rng.choice([-1.0, 1.0], x.shape) * rng.uniform(0.75, 1, x.shape)
            for name, x in arrays.items()}


def _eps(arrays):
    return float(max(np.finfo(float).eps, *(np.finfo(x.dtype).eps for x in arrays.values())))


# ---- argument checks -----------------------------------------------------------------------------

def _number(f, method):
    """f() as a float, or as a complex number for method "complex"."""
    value = f()
    plain = isinstance(value, (int, float, complex, np.number, np.ndarray)) and np.ndim(value) == 0
    if not plain or np.asarray(value).dtype.kind not in "biufc":    # an int too long is an object
        raise_value_error("f", value, "one number")
    if method == "complex" and not np.iscomplexobj(value):
        raise_value_error("f", value, "a complex number from complex arrays: something in f drops "
                          "the imaginary part (abs, .real, float, a cast)")
    if method == "differences" and np.iscomplexobj(value):
        raise_value_error("f", value, "a real number from real arrays")
    return complex(value) if method == "complex" else float(value)


def _need_movable(f, arrays, method):
    """f is a function, and each of the arrays, by its name in messages, one to move in place."""
    if not callable(f):
        raise_value_error("f", f, "a function")
    kind = "complex" if method == "complex" else "float"
    for name, x in arrays.items():
        # in float16 an allowance of 4096 eps is 4 times the gradient: nothing would be wrong
        if not isinstance(x, np.ndarray) or x.dtype.kind != kind[0] or x.itemsize < 4:
            raise_value_error(name, x, f"a {kind} array, not of float16")
        if x.size == 0:
            raise ValueError(f"{name}: shape {x.shape} given, expected at least one number")
        if not x.flags.writeable:
            raise ValueError(f"{name}: a read-only array given, expected one to move in place")
        if np.any(x.imag != 0):
            raise ValueError(f"{name}: imaginary parts given, expected them to be 0")
        places = np.ix_(*(step * np.arange(n) for step, n in zip(x.strides, x.shape)))
        if not x.flags.forc and np.unique(sum(places)).size < x.size:
            raise ValueError(f"{name}: an array that overlaps itself given, expected each number "
                             "in one place")


def _need_pairs(f, arrays, gradients, method, atol):
    """The arrays in a dict of their own, as plain ones (an np.matrix has no 1-D parts), and copies
    of the gradients, into which f may write.
    """
    check_choice("method", method, tuple(METHODS))
    if not isinstance(arrays, dict) or not arrays:
        raise_value_error("arrays", arrays, "a dict of name -> array, at least one")
    if not isinstance(gradients, dict) or gradients.keys() != arrays.keys():
        raise_value_error("gradients", gradients, f"a dict of the names of arrays, {list(arrays)}")
    if atol is not None:
        check_not_negative("atol", atol)
    _need_movable(f, {f"arrays[{name!r}]": x for name, x in arrays.items()}, method)
    copies = {}
    for name, x in arrays.items():
        title = f"gradients[{name!r}]"
        copies[name] = np.array(check_array(title, gradients[name]))
        if copies[name].shape != x.shape or copies[name].dtype.kind not in "iuf":
            raise_value_error(title, copies[name], f"real numbers of shape {x.shape}")
    return {name: np.asarray(x) for name, x in arrays.items()}, copies


def _need_deterministic(f, arrays, method):
    first, second = (_moved(lambda: _number(f, method), arrays, dict.fromkeys(arrays, 0.0), 0.0)
                     for _ in range(2))
    apart, size = (max(abs(z.real), abs(z.imag)) for z in (first - second, first))
    if apart > _eps(arrays) ** 0.5 * size:
        raise ValueError(f"f: {first} given, then {second}, expected the same number at every "
                         "call: dropout, or a generator that is not seeded again?")
