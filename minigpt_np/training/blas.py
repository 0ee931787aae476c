"""How many threads NumPy's BLAS uses: one, while several workers share the cores."""
import ctypes
import functools
import os
from pathlib import Path
from threading import Lock

import numpy as np


class blas_threads:
    """While the `with` block runs, NumPy's BLAS uses n threads; then as many as before.

    Blocks may nest, and overlap in several threads: the BLAS has one number for the whole process, the
    latest block's, and the number before them all when the last has ended. Only OpenBLAS is known
    (NumPy's own wheels carry it). With any other, nothing happens: the results are the same, but
    the threads of two levels get in each other's way.
    """

    lock, running, before = Lock(), [], None    # one for the process: blocks that run now, the number before them

    def __init__(self, n):
        self.n = n

    def __enter__(self):
        get_threads, set_threads = openblas()
        if set_threads:
            with self.lock:
                if not self.running:
                    blas_threads.before = get_threads()
                self.running.append(self)
                set_threads(self.n)

    def __exit__(self, *_):
        _, set_threads = openblas()
        if set_threads:
            with self.lock:
                self.running.remove(self)
                set_threads(self.running[-1].n if self.running else self.before)


def _new_lock():
    """In a forked process: the lock may be held by a thread that is not here."""
    blas_threads.lock = Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)


@functools.cache
def openblas():
    """OpenBLAS's functions (get, set) for its number of threads, of the copy NumPy uses; or None, None."""
    for path in _openblas_files():
        try:
            library = ctypes.CDLL(str(path))
        except OSError:
            continue
        for prefix in ("scipy_openblas", "openblas"):
            for suffix in ("64_", "_64", ""):
                get_threads = getattr(library, f"{prefix}_get_num_threads{suffix}", None)
                set_threads = getattr(library, f"{prefix}_set_num_threads{suffix}", None)
                if get_threads and set_threads:
                    get_threads.argtypes, get_threads.restype = [], ctypes.c_int
                    set_threads.argtypes, set_threads.restype = [ctypes.c_int], None
                    return get_threads, set_threads
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
