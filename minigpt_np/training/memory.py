"""Memory: shared with workers while a team of them lives, and kept when freed.

Weights, gradients and moments are ordinary memory. `Sharing` turns their pages into shared ones where
they are, so every view of them stays a view, and turns them back when the team is gone. What only the
team needs is shared `zeros`.
"""
import ctypes
import functools
import mmap
import os
import sys
import weakref
from threading import RLock

import numpy as np

# Elsewhere there is no fork, or the system's own libraries do not survive it (macOS).
FORKS = sys.platform == "linux"
CHUNK = 16 << 20            # bytes that are replaced at a time, and the extra memory that takes
MREMAP_MAYMOVE, MREMAP_FIXED = 1, 2                         # Linux, mman.h
MADV_DONTNEED = 4                                           # shared memory keeps its contents
FAILED = ctypes.c_void_p(-1).value


class Shared(mmap.mmap):
    """Memory that stays shared for as long as it lives."""


def zeros(n, dtype):
    """(n,) zeros; what a forked process writes to them this one reads, and the other way round.

    An ordinary array where processes are not forked. Only what is touched takes memory.
    """
    if not FORKS:
        return np.zeros(n, dtype)
    return np.ndarray(n, dtype, Shared(-1, max(1, n * np.dtype(dtype).itemsize)))


def is_shared(array):
    """Whether `array` is one of `zeros`, shared from the start."""
    return isinstance(array.base, Shared)


def can_share(array):
    """Whether `array` fills whole pages that one NumPy array owns (parameters.whole_pages makes such)."""
    owner = array
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    start, size = pages(array)
    return (FORKS and array.flags.c_contiguous and owner.flags.owndata and start % mmap.PAGESIZE == 0
            and start + size <= address(owner) + owner.nbytes)


class Sharing:
    """While it lives (until `close` or the garbage collector), `array`'s memory is shared with forked processes.

    Several may share one array. Its pages are replaced, a chunk at a time, when the first begins and
    when the last ends: what another thread writes to it then can be lost, what it reads is right.
    """

    def __init__(self, array):
        start = address(array)
        with _lock:
            if start not in _users:
                replace_pages(array, mmap.MAP_SHARED)
            _users[start] = _users.get(start, 0) + 1
        self.close = weakref.finalize(self, _end, array)
        self.close.atexit = False


_users = {}                 # address -> how many Sharings
_lock = RLock()             # a Sharing can end, collected as garbage, while another begins


def _end(array):
    start = address(array)
    with _lock:
        _users[start] -= 1
        if _users[start] == 0:
            del _users[start]
            replace_pages(array, mmap.MAP_PRIVATE)


def _new_lock():
    """In a forked process: the lock may be held by a thread that is not here."""
    global _lock
    _lock = RLock()


if FORKS:
    os.register_at_fork(after_in_child=_new_lock)


def replace_pages(array, kind):
    """Put pages of the kind (MAP_SHARED or MAP_PRIVATE) in place of `array`'s, with the same contents.

    They are filled elsewhere and then moved: at every moment the array reads the same. This process
    then lets go of shared ones until it reads or writes them: part of Adam's moments only a worker does.
    """
    start, size = pages(array)
    for offset in range(0, size, CHUNK):
        place, n = start + offset, min(CHUNK, size - offset)
        new = libc().mmap(None, n, mmap.PROT_READ | mmap.PROT_WRITE, kind | mmap.MAP_ANONYMOUS, -1, 0)
        if new == FAILED:
            raise OSError(ctypes.get_errno(), f"cannot share {array.nbytes:,} bytes of memory with workers")
        ctypes.memmove(new, place, n)
        if libc().mremap(new, n, n, MREMAP_MAYMOVE | MREMAP_FIXED, place) != place:
            error = ctypes.get_errno()
            libc().munmap(new, n)
            raise OSError(error, f"cannot share {array.nbytes:,} bytes of memory with workers")
        if kind == mmap.MAP_SHARED:
            libc().madvise(place, n, MADV_DONTNEED)


def pages(array):
    """Where the array's pages begin, and how many bytes they are."""
    return address(array), -(-array.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE


def address(array):
    """Where the array's first number lies in memory."""
    return array.__array_interface__["data"][0]


@functools.cache
def libc():
    """The C library, knowing the types of mmap and its kin."""
    library = ctypes.CDLL(None, use_errno=True)
    size = ctypes.c_size_t
    library.mmap.restype = library.mremap.restype = ctypes.c_void_p
    library.mmap.argtypes = [ctypes.c_void_p, size, *[ctypes.c_int] * 3, ctypes.c_long]
    library.mremap.argtypes = [ctypes.c_void_p, size, size, ctypes.c_int, ctypes.c_void_p]
    library.munmap.argtypes = [ctypes.c_void_p, size]
    library.madvise.argtypes = [ctypes.c_void_p, size, ctypes.c_int]
    return library


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
