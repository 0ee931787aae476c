"""How many threads NumPy's BLAS uses: one, while several workers share the cores."""
import ctypes
import os
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.linalg import _umath_linalg


class blas_threads:
    """While the `with` block runs, NumPy's BLAS uses n threads; then as many as before.

    Blocks may nest, and overlap in several threads. The BLAS has one number for the whole process:
    the latest block's, and the number before them all when the last has ended. Only OpenBLAS is
    known (NumPy's own wheels carry it). With any other nothing happens, which is only slower.
    """
    lock, running, before = Lock(), [], None        # of the process: blocks that have not ended

    def __init__(self, n):
        self.n = n

    def __enter__(self):
        with self.lock:
            if not self.running:
                blas_threads.before = get_threads()
            self.running.append(self)
            set_threads(self.n)

    def __exit__(self, *_):
        with self.lock:
            self.running.remove(self)
            set_threads(self.running[-1].n if self.running else self.before)


if hasattr(os, "register_at_fork"):     # a forked process has no other thread to release the lock
    os.register_at_fork(after_in_child=lambda: setattr(blas_threads, "lock", Lock()))


def find_openblas():
    """OpenBLAS's functions (get, set) for its number of threads; for another BLAS, of no effect.

    They are looked for in one of NumPy's own libraries, which searches what it is linked to, and,
    for Windows, where that is not so, in the files that NumPy's wheel carries.
    """
    carried = (Path(np.__file__).parents[1] / "numpy.libs").glob("*openblas*")
    for path in (_umath_linalg.__file__, *carried):
        library = ctypes.CDLL(str(path))
        for prefix in ("scipy_openblas", "openblas"):
            for suffix in ("64_", "_64", ""):
                get = getattr(library, f"{prefix}_get_num_threads{suffix}", None)
                put = getattr(library, f"{prefix}_set_num_threads{suffix}", None)
                if get and put:
                    get.argtypes, get.restype = [], ctypes.c_int
                    put.argtypes, put.restype = [ctypes.c_int], None
                    return get, put
    return lambda: None, lambda n: None


get_threads, set_threads = find_openblas()
