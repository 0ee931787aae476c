"""Several cores at once: workers that call the same methods, memory they share, and the BLAS told to use one thread each.

NumPy lets go of Python's global lock (the GIL) inside every product and element-wise operation, so
threads can run the same model on different sequences at the same time. But they take the lock back
after each one, and where operations last ten microseconds they wait for each other more than they
work: two threads are no faster than one. So workers are processes where the system can fork, over
parameters in memory that they share, and threads elsewhere. Either way two levels of threads would
fight over the same cores; so while ours run, the BLAS uses one, and afterwards what it used before.
"""
import ctypes
import functools
import os
import select
import signal
import sys
import traceback
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from time import perf_counter

import numpy as np

from . import shared_memory


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
    m = min(n, threads)
    return [slice(i * n // m, (i + 1) * n // m) for i in range(m)]


def team(members, arrays):
    """A Processes of the members if what they write, `arrays`, is or can be shared; a Threads if not.

    Arrays that are private memory are shared for as long as the Processes live.
    """
    private = [array for array in arrays if not shared_memory.is_shared(array)]
    if not shared_memory.FORKS or not all(map(shared_memory.can_share, private)):
        return Threads(members)
    return Processes(members, private)


class Threads:
    """Objects of one class that work at the same time, each on a thread."""

    def __init__(self, members):
        self.members = members

    def __len__(self):
        return len(self.members)

    alive = True

    def call(self, method, *arguments):
        """member.method(*arguments) of each, all at once; their results in order."""
        return self.call_each(method, [arguments] * len(self))

    def call_each(self, method, arguments):
        """The same with arguments of its own for each member: a list of tuples."""
        return run([lambda m=m, a=a: getattr(m, method)(*a) for m, a in zip(self.members, arguments)])


class Processes(Threads):
    """The same, but the first works here, and each other in a process forked for it.

    What a member holds is as it was at the fork, but for arrays in shared memory. Arguments and
    results go through pipes. Whatever goes wrong (Ctrl-C too) ends the processes: a team of which
    some have answered and some have not is of no more use.
    """

    def __init__(self, members, private=()):
        """private: arrays whose memory is shared for as long as the processes live."""
        super().__init__(members)
        self.connections, self.pids = [], []
        sharings = [shared_memory.Sharing(array) for array in private if len(members) > 1]
        self.close = weakref.finalize(self, close, os.getpid(), self.connections, self.pids, sharings)
        for member in members[1:]:
            connection, pid = fork(member, self.connections)
            self.connections.append(connection)
            self.pids.append(pid)

    @property
    def alive(self):
        """Whether it can be called: no call has failed yet."""
        return self.close.alive

    def call_each(self, method, arguments):
        try:
            for connection, given in zip(self.connections, arguments[1:]):
                connection.send((method, given))
            results = [getattr(self.members[0], method)(*arguments[0])]
            return results + [answer(connection) for connection in self.connections]
        except (EOFError, ConnectionError) as gone:
            self.close()
            raise RuntimeError(f"a worker of {self.pids} has ended without an answer: killed for want of memory?") from gone
        except BaseException:
            self.close()
            raise


def answer(connection):
    """What a process answers; raises what it raised, its traceback as the cause."""
    wait(connection)
    result, error, trace = connection.recv()
    if error is not None:
        raise error from RuntimeError("in a worker process:\n" + trace)
    return result


def fork(member, others):
    """A process that does what `member` is asked to: its connection and its number."""
    from multiprocessing import Pipe
    here, there = Pipe()
    # Ctrl-C is for the process that asks: the new one is born deaf to it, and stays so.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        with warnings.catch_warnings():     # of forking while other threads run, whose locks stay shut in the
            warnings.simplefilter("ignore", DeprecationWarning)     # new process: NumPy's own are opened again
            pid = os.fork()
        if pid == 0:
            for connection in (here, *others):      # or no one would see the end of these pipes
                connection.close()
            try:
                serve(member, there)
            finally:
                os._exit(0)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    there.close()
    return here, pid


def serve(member, connection):
    """Do what comes through the connection until it closes."""
    with blas_threads(1):
        while True:
            wait(connection)
            try:
                method, arguments = connection.recv()
            except (EOFError, ConnectionError):
                return
            try:
                connection.send((getattr(member, method)(*arguments), None, ""))
            except Exception as error:
                connection.send((None, error, traceback.format_exc()))


def wait(connection):
    """Until there is something to read, but at most AWAKE seconds: to wake up takes longer than a small product."""
    there = select.poll()
    there.register(connection, select.POLLIN)
    end = perf_counter() + AWAKE
    while not there.poll(0) and perf_counter() < end:
        os.sched_yield()


AWAKE = 0.002


def close(parent, connections, pids, sharings):
    """End the processes of a team and what they share; only the process that has forked them does so."""
    if os.getpid() != parent:
        return
    for connection in connections:
        connection.close()
    for pid in pids:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    for sharing in sharings:
        sharing.close()


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
