"""Memory: shared with workers (gradients always, weights while a team of them lives), and kept when freed.

What the trainer itself needs it asks for as shared `zeros`. A model's weights are ordinary memory of its
own; `Sharing` turns their pages into shared ones where they are, so every view of them stays a view,
and turns them back when the team is gone.
"""
import ctypes
import functools
import mmap
import sys
import weakref

import numpy as np

# Elsewhere there is no fork, or the system's own libraries do not survive it (macOS).
FORKS = sys.platform == "linux"
CHUNK = 16 << 20            # bytes that are copied aside at a time
MAP_FIXED = 0x10            # Linux, mman.h: put the new pages exactly there


def zeros(n, dtype):
    """(n,) zeros; what a forked process writes to them this one reads, and the other way round.

    An ordinary array where processes are not forked. The system gives memory to what is touched.
    """
    if not FORKS:
        return np.zeros(n, dtype)
    return np.ndarray(n, dtype, mmap.mmap(-1, max(1, n * np.dtype(dtype).itemsize)))


def is_shared(array):
    """Whether `array` is one of `zeros`, shared from the start."""
    return isinstance(array.base, mmap.mmap)


def can_share(array):
    """Whether `array` begins a page and no other object has memory in its last one: see parameters.whole_pages."""
    return FORKS and array.flags.c_contiguous and address(array) % mmap.PAGESIZE == 0


class Sharing:
    """While it lives (until `close` or the garbage collector), `array`'s memory is shared with forked processes.

    Several may share one array. No other thread may write to the array while the first begins or the
    last ends: its pages are replaced then, a chunk at a time.
    """

    def __init__(self, array):
        start = address(array)
        if _users.setdefault(start, 0) == 0:
            replace_pages(array, mmap.MAP_SHARED)
        _users[start] += 1
        self.close = weakref.finalize(self, _end, array)
        self.close.atexit = False


_users = {}                 # address -> how many Sharings


def _end(array):
    _users[address(array)] -= 1
    if _users[address(array)] == 0:
        del _users[address(array)]
        replace_pages(array, mmap.MAP_PRIVATE)


def replace_pages(array, kind):
    """Put pages of the kind (MAP_SHARED or MAP_PRIVATE) in the place of `array`'s, with the same contents."""
    protection = mmap.PROT_READ | mmap.PROT_WRITE
    flags = kind | mmap.MAP_ANONYMOUS | MAP_FIXED
    start, size = address(array), -(-array.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    for offset in range(0, size, CHUNK):
        place, n = start + offset, min(CHUNK, size - offset)
        saved = ctypes.string_at(place, n)
        if libc().mmap(place, n, protection, flags, -1, 0) != place:
            raise OSError(ctypes.get_errno(), f"cannot share {array.nbytes:,} bytes of memory with workers")
        ctypes.memmove(place, saved, n)


def address(array):
    """Where the array's first number lies in memory."""
    return array.__array_interface__["data"][0]


@functools.cache
def libc():
    """The C library, knowing the types of mmap."""
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
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
