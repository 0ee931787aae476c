"""The door: what is given is checked once, by name, before anything is computed."""
from numbers import Integral

import numpy as np


def check_size(name, value, least=1):
    """Raise ValueError unless `value` is a whole number of at least `least`."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name}: {value!r} given, expected a whole number of at least {least}")


def check_ids(ids, config):
    """ids as an integer array (B, T), 1 <= T <= block_size, each in 0..V-1, or ValueError."""
    ids = np.array(ids)         # a copy: the cache keeps it
    if ids.ndim != 2 or ids.size == 0:
        raise ValueError(f"ids: shape {ids.shape} given, expected (B, T), neither of them 0")
    if ids.dtype.kind not in "iu":
        raise ValueError(f"ids: dtype {ids.dtype} given, expected integers")
    if ids.shape[1] > config.block_size:
        raise ValueError(f"ids: T = {ids.shape[1]} positions given, expected at most block_size = {config.block_size}")
    check_range("ids", ids, 0, config.vocab_size - 1)
    return ids


def check_targets(targets, shape, vocab_size):
    """targets as an integer array of ids' shape, each in -1..V-1 and not all -1, or ValueError."""
    if targets is None:
        return None
    targets = np.array(targets)
    if targets.shape != shape:
        raise ValueError(f"targets: shape {targets.shape} given, expected that of ids, {shape}")
    if targets.dtype.kind not in "iu":
        raise ValueError(f"targets: dtype {targets.dtype} given, expected integers")
    check_range("targets", targets, -1, vocab_size - 1)
    if targets.max() < 0:
        raise ValueError("targets: all -1 given, expected at least one position that is scored")
    return targets


def check_range(name, values, low, high):
    """Raise ValueError naming the first of `values` outside low..high."""
    if values.min() < low or values.max() > high:
        where = np.argwhere((values < low) | (values > high))[0]
        raise ValueError(f"{name}: {values[tuple(where)]} given at {tuple(map(int, where))}, "
                         f"expected {low} to {high}")
