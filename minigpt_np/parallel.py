"""Threads: the batch split over them, and one thread each for the BLAS meanwhile.

NumPy lets go of Python's global lock inside every product and every element-wise operation, so
threads that run the same model on different sequences run at the same time. Two levels of threads
would fight over the same cores; so while ours run, the BLAS is told to use one, and afterwards
whatever it used before.
"""
import ctypes
import functools
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np


def cores():
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run(tasks):
    """Call every function of the list `tasks`, all at once, the first in this thread; their results in order."""
    if len(tasks) == 1:
        return [tasks[0]()]
    others = [pool().submit(task) for task in tasks[1:]]
    try:
        first = tasks[0]()
    finally:
        results = [other.exception() or other.result() for other in others]
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [first, *results]


@functools.cache
def pool():
    """The threads that wait for tasks; made when first asked for, kept for the life of the process."""
    return ThreadPoolExecutor(max_workers=64, thread_name_prefix="minigpt_np")


def shares(n, threads):
    """range(n) in at most `threads` slices of (nearly) equal length, none of them empty."""
    bounds = np.linspace(0, n, min(n, threads) + 1).astype(int)
    return [slice(a, b) for a, b in zip(bounds, bounds[1:])]


@contextmanager
def blas_threads(n):
    """While the `with` block runs, NumPy's BLAS uses n threads; then as many as before.

    Only OpenBLAS is known (NumPy's own wheels carry it). With any other, nothing happens: the
    results are the same, the threads of two levels get in each other's way.
    """
    get, put = _openblas()
    if get is None:
        yield
        return
    before = get()
    put(n)
    try:
        yield
    finally:
        put(before)


@functools.cache
def _openblas():
    """OpenBLAS's functions (get, set) for its number of threads, of the copy NumPy uses; or None, None."""
    for path in _openblas_files():
        try:
            library = ctypes.CDLL(str(path))
        except OSError:
            continue
        for prefix in ("scipy_openblas", "openblas"):
            for suffix in ("64_", "_64", ""):
                get = getattr(library, f"{prefix}_get_num_threads{suffix}", None)
                put = getattr(library, f"{prefix}_set_num_threads{suffix}", None)
                if get and put:
                    get.argtypes, get.restype = [], ctypes.c_int
                    put.argtypes, put.restype = [ctypes.c_int], None
                    return get, put
    return None, None


def _openblas_files():
    """Shared libraries to look for OpenBLAS in: what NumPy's wheel carries, then what is loaded."""
    root = Path(np.__file__).parent
    bundled = [p for folder in (root.parent / "numpy.libs", root / ".dylibs", root / ".libs")
               for p in sorted(folder.glob("*openblas*"))]
    maps = Path("/proc/self/maps")
    if bundled or not maps.exists():
        return bundled
    loaded = {line.split(maxsplit=5)[-1].strip() for line in maps.read_text().splitlines() if "openblas" in line}
    return sorted(loaded)


@functools.cache
def keep_freed_memory():
    """Tell glibc to keep what is freed for the next allocation, instead of giving it back to the system.

    A step frees and allocates the same arrays over and over; given back, every page is faulted in
    and zeroed again each time, which can take as long as the arithmetic. Elsewhere: nothing.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_TOP_PAD, 64 << 20)
        mallopt(M_MMAP_MAX, 0)


M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4       # glibc, malloc.h
