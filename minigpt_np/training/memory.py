"""Shared memory for workers, and the allocator's settings.

Weights, gradient and moments are ordinary memory. While a team of workers lives, their pages are
shared ones (`shared`), replaced where they are, so that every view of them stays a view; then they
are private again. What only the team needs is shared from the start (`zeros`).
"""
import ctypes
import functools
import mmap
import os
import sys
from collections import Counter
from contextlib import contextmanager
from threading import RLock

import numpy as np

# Elsewhere there is no fork, or the system's own libraries do not survive it (macOS).
FORKS = sys.platform == "linux"
MREMAP_MAYMOVE, MREMAP_FIXED = 1, 2                         # Linux, mman.h
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4        # glibc, malloc.h
FAILED = ctypes.c_void_p(-1).value


def zeros(n, dtype):
    """(n,) zeros, shared with processes that are forked later. Untouched pages take no memory."""
    return np.ndarray(n, dtype, mmap.mmap(-1, n * np.dtype(dtype).itemsize))


@contextmanager
def shared(array):
    """A `with` block: processes forked in it share the memory of the array, a Parameters' flat.

    Blocks may overlap: the array is private again when the last one has ended. As the first begins
    and the last ends, pages are replaced: what another thread writes just then can be lost.
    """
    address = array.ctypes.data
    with _lock:
        if not _users[address]:
            replace_pages(array, mmap.MAP_SHARED)
        _users[address] += 1
    try:
        yield
    finally:
        with _lock:
            _users[address] -= 1
            if not _users[address]:
                replace_pages(array, mmap.MAP_PRIVATE)


_users = Counter()          # address -> how many blocks share it
_lock = RLock()             # a team can end, collected as garbage, while another begins

if FORKS:                   # a forked process has no other thread that could release the lock
    os.register_at_fork(after_in_child=lambda: globals().update(_lock=RLock()))


def replace_pages(array, kind):
    """Put pages of the kind (MAP_SHARED or MAP_PRIVATE) in place of the array's, with its contents.

    They are filled elsewhere and then moved: at every moment the array reads the same. No other
    array has numbers in these pages: parameters.MARGIN sees to that.
    """
    start = array.ctypes.data // mmap.PAGESIZE * mmap.PAGESIZE
    size = -(-(array.ctypes.data + array.nbytes - start) // mmap.PAGESIZE) * mmap.PAGESIZE
    access, kind = mmap.PROT_READ | mmap.PROT_WRITE, kind | mmap.MAP_ANONYMOUS
    new = moved = libc().mmap(None, size, access, kind, -1, 0)
    if new != FAILED:
        ctypes.memmove(new, start, size)
        moved = libc().mremap(new, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, start)
    if moved != start:
        raise OSError(ctypes.get_errno(),
                      f"cannot share {array.nbytes:,} bytes of memory with workers")


@functools.cache
def libc():
    """The C library, knowing the types of mmap and its kin."""
    library, size = ctypes.CDLL(None, use_errno=True), ctypes.c_size_t
    library.mmap.restype = library.mremap.restype = ctypes.c_void_p
    library.mmap.argtypes = [ctypes.c_void_p, size, *[ctypes.c_int] * 3, ctypes.c_long]
    library.mremap.argtypes = [ctypes.c_void_p, size, size, ctypes.c_int, ctypes.c_void_p]
    return library


@functools.cache
def keep_freed_memory():
    """Tell glibc to keep what is freed for the next allocation, and not give it back to the system.

    A step frees and allocates the same arrays over and over; given back, every page is faulted in
    and zeroed again each time, which can take as long as the arithmetic. Elsewhere: nothing.
    """
    mallopt = getattr(libc(), "mallopt", None) if FORKS else None
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_TOP_PAD, 64 << 20)
        mallopt(M_MMAP_MAX, 0)
