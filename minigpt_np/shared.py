"""Memory that this process shares with those forked from it: where parameters and gradients live."""
import mmap
import sys

import numpy as np

# Elsewhere there is no fork, or the system's own libraries do not survive it (macOS).
FORKS = sys.platform == "linux"


def zeros(n, dtype):
    """(n,) zeros; what a forked process writes to them this one reads, and the other way round.

    An ordinary array where processes are not forked. The system gives memory to what is touched.
    """
    if not FORKS:
        return np.zeros(n, dtype)
    return np.ndarray(n, dtype, mmap.mmap(-1, n * np.dtype(dtype).itemsize))


def is_shared(array):
    """Whether `array` is one of `zeros`, and shared."""
    return isinstance(array.base, mmap.mmap)
