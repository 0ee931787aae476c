"""Argument validation, done once, before any computation.

Each check returns its value as plain data (an int, a float, an array in the machine's byte order),
or raises a ValueError of one line: the argument's name, what was given, what was expected.
"""
import os
import reprlib
import sys
from contextlib import suppress
from functools import partial
from math import isfinite, nan
from numbers import Integral, Real
from pathlib import Path

import numpy as np

_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = 200


def show(value):
    """repr(value) in one line; of a long one only both ends, of an array its dtype and shape."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} of shape {value.shape}"
    return _short.repr(value).replace("\n", " ")


def raise_value_error(name, value, expected):
    raise ValueError(f"{name}: {show(value)} given, expected {expected}")


def check_each(checks, values):
    """Name -> value as plain data, of a dict of name -> check and one of name -> value."""
    return {name: check(name, values[name]) for name, check in checks.items()}


# ---- numbers -------------------------------------------------------------------------------------

def check_int(name, value, least=0):
    """An int, Python's or NumPy's, of at least `least`; True and False are none."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise_value_error(name, value, f"a whole number of at least {least}")
    return int(value)


def number_check(fits, expected):
    """A check: name, value -> a finite float for which fits(float) holds; `expected` in words."""
    def check(name, value):
        number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else nan
        if not (isfinite(number) and fits(number)):
            raise_value_error(name, value, expected)
        return number
    return check


check_size = partial(check_int, least=1)
check_finite_number = number_check(lambda x: True, "a finite number")
check_positive = number_check(lambda x: x > 0, "a positive number")
check_not_negative = number_check(lambda x: x >= 0, "a number of at least 0")
check_rate = number_check(lambda x: 0 <= x < 1, "a number in [0, 1)")
check_fraction = number_check(lambda x: 0 < x < 1, "a number between 0 and 1")
check_probability = number_check(lambda x: 0 < x <= 1, "a probability in (0, 1]")


# ---- choices, text, generators, dtypes -----------------------------------------------------------

def check_flag(name, value):
    """True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise_value_error(name, value, "True or False")
    return bool(value)


def check_choice(name, value, choices):
    """One of `choices`, which are strings."""
    if not isinstance(value, str) or value not in choices:
        raise_value_error(name, value, "one of " + ", ".join(choices))
    return value


def check_text(name, value):
    """A str."""
    if not isinstance(value, str):
        raise ValueError(f"{name}: {type(value).__name__} given, expected a str")
    return value


def check_utf8(name, value):
    """A str that can be written in UTF-8."""
    try:
        check_text(name, value).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name}: lone surrogate {value[error.start]!a} given at position "
                         f"{error.start}, expected text that UTF-8 can write") from None
    return value


def check_path(name, value):
    """A str or an os.PathLike, as a Path."""
    with suppress(TypeError, UnicodeEncodeError):       # a lone surrogate has no bytes
        path = Path(value)
        if b"\0" not in os.fsencode(path):
            return path
    raise_value_error(name, value, "a str or a Path")


def check_generator(name, value):
    """A numpy Generator."""
    if not isinstance(value, np.random.Generator):
        raise_value_error(name, value, "a numpy Generator, such as np.random.default_rng(0)")
    return value


def check_seed(name, value):
    """The Generator of a seed: a whole number of at least 0, a Generator, or None."""
    with suppress(TypeError, ValueError):
        if not isinstance(value, (bool, np.bool_)):
            return np.random.default_rng(value)
    raise_value_error(name, value, "a whole number of at least 0, a numpy Generator, or None")


def check_dtype(name, value):
    """A floating-point dtype, real or complex, of at least 32 bits, in the machine's byte order."""
    with suppress(TypeError, ValueError):
        dtype = np.dtype(value)
        if dtype.kind in "fc" and dtype.itemsize >= 4:
            return dtype.newbyteorder("=")
    raise_value_error(name, value, "a floating-point or complex type of at least 32 bits "
                      "(in float16 exp(12) is infinite)")


# ---- arrays --------------------------------------------------------------------------------------

def check_array(name, values):
    """values, nested lists or an array of any memory layout, as an array; an array is not copied.

    Raises ValueError for a masked array, whose mask would be lost, and for unequal lengths.
    """
    parts = values if isinstance(values, (list, tuple)) else [values]
    # numpy.ma is slow to import; until something imports it, no array is masked
    if "numpy.ma" in sys.modules and any(isinstance(part, np.ma.MaskedArray) for part in parts):
        raise ValueError(f"{name}: a masked array given, expected one without a mask")
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name}: {show(values)} given, expected rows of one length") from error


def check_integers(name, array, low, high):
    """A copy as int64, each number in low..high; ValueError names the first that is not."""
    if array.dtype.kind not in "iu":
        raise ValueError(f"{name}: dtype {array.dtype} given, expected integers")
    if array.min() < low or array.max() > high:
        where = np.argwhere((array < low) | (array > high))[0]
        raise ValueError(f"{name}: {array[tuple(where)]} given at {tuple(map(int, where))}, "
                         f"expected {low} to {high}")
    return array.astype(np.int64)


def check_token_ids(ids, V):
    """ids, a sequence of any length, as an int64 array (N,), each in 0..V-1, or ValueError."""
    ids = check_array("ids", ids)
    if ids.ndim != 1:
        raise ValueError(f"ids: shape {ids.shape} given, expected (N,)")
    return check_integers("ids", ids, 0, V - 1) if ids.size else ids.astype(np.int64)


def check_ids(ids, config, of_any_length=False):
    """ids as an int64 array (B, T), each in 0..V-1, or ValueError. T is at least 1, and at most
    block_size unless of_any_length.
    """
    ids = check_array("ids", ids)
    if ids.ndim != 2 or ids.size == 0:
        raise ValueError(f"ids: shape {ids.shape} given, expected (B, T), neither of them 0")
    if ids.shape[1] > config.block_size and not of_any_length:
        raise ValueError(f"ids: T = {ids.shape[1]} positions given, expected at most "
                         f"block_size = {config.block_size}")
    return check_integers("ids", ids, 0, config.vocab_size - 1)


def check_targets(targets, shape, vocab_size):
    """targets, or None; int64 of ids' shape, each in -1..V-1, not all -1, or ValueError."""
    if targets is None:
        return None
    targets = check_array("targets", targets)
    if targets.shape != shape:
        raise ValueError(f"targets: shape {targets.shape} given, expected that of ids, {shape}")
    targets = check_integers("targets", targets, -1, vocab_size - 1)
    if targets.max() < 0:
        raise ValueError("targets: all -1 given, expected at least one position that is scored")
    return targets
