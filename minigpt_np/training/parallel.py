"""Several cores at once: a team of workers whose methods are called together.

Workers are processes where the system can fork, with parameters in shared memory, else threads:
where NumPy's operations last only ten microseconds, threads wait for each other at Python's global
lock (the GIL) more than they work. While workers run, the BLAS uses one thread in each (blas.py).
"""
import functools
import os
import select
import signal
import sys
import threading
import traceback
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor, wait as wait_for
from contextlib import suppress
from multiprocessing import Pipe
from time import perf_counter

from ..checks import check_size
from . import memory
from .blas import blas_threads
from .debugger import debugger_attached, detach_debugger

MOST_WORKERS = 32           # unless more are asked for: each has a gradient of its own in memory
SPIN_SECONDS = 0.002


def cores():
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def worker_count(threads):
    """threads, an int of at least 1; None: one a core, 32 at most, or 1 under a debugger."""
    if threads is not None:
        return check_size("threads", threads)
    if debugger_attached():
        say_once("A debugger is attached, so one thread does all the work "
                 "(threads=N, a demo's --threads N, for more).")
        return 1
    return min(cores(), MOST_WORKERS)


@functools.cache
def say_once(text):
    """Print a line on stderr, the first time only."""
    print(text, file=sys.stderr, flush=True)


def even_slices(n, parts):
    """range(n) in at most `parts` slices of (nearly) equal length, none of them empty."""
    m = min(n, parts)
    return [slice(i * n // m, (i + 1) * n // m) for i in range(m)]


def team(members, arrays=()):
    """Processes that share the memory of the arrays; Threads without fork, or for one member."""
    if len(members) == 1 or not memory.FORKS:
        return Threads(members)
    return Processes(members, arrays)


class Threads:
    """Objects that are called at the same time, each on a thread: the first on the caller's."""

    alive = True

    def __init__(self, members):
        self.members, self.pool = members, ThreadPoolExecutor(len(members))

    def call(self, method, *arguments):
        """member.method(*arguments) of each, all at once -> their results in order."""
        first, *others = [getattr(member, method) for member in self.members]
        running = [self.pool.submit(other, *arguments) for other in others]
        try:
            result = first(*arguments)
        finally:
            wait_for(running)
        return [result, *(other.result() for other in running)]


class Processes(Threads):
    """The same, but the first member works here, and every other in a process forked for it.

    A member's objects are as they were at the fork, except arrays in shared memory. Arguments and
    results go through pipes. Any exception (Ctrl-C too) ends the processes: a team of which some
    have answered and some have not is of no further use.
    arrays   each a Parameters' flat, in shared memory for as long as the processes live
    """

    def __init__(self, members, arrays=()):
        super().__init__(members)
        self.connections, self.pids, self.busy, shared = [], [], False, []
        self.close = weakref.finalize(self, close, os.getpid(), self.connections, self.pids, shared)
        for array in arrays:
            memory.share(array)
            shared.append(array)
        if arrays:
            _sharing.add(self)
        for member in members[1:]:
            connection, pid = fork(member)
            self.connections.append(connection)
            self.pids.append(pid)

    @property
    def alive(self):
        """Whether it can be called: it has not ended."""
        return self.close.alive

    def call(self, method, *arguments):
        if not self.alive:
            raise RuntimeError("the workers have ended: one failed, or another thread forked")
        self.busy = True
        try:
            for connection in self.connections:
                connection.send((method, arguments))
            result = getattr(self.members[0], method)(*arguments)
            return [result, *(receive(connection) for connection in self.connections)]
        except BaseException as error:
            self.close()
            if isinstance(error, (EOFError, ConnectionError)):
                raise RuntimeError(f"a worker of {self.pids} has ended without an answer: killed, "
                                   "out of memory?") from error
            raise
        finally:
            self.busy = False


_sharing = weakref.WeakSet()            # teams that share arrays
_this_thread = threading.local()        # .forks_a_worker while it does


def end_teams():
    """End all teams before anyone but `fork` forks this process: the new one has memory of its own.

    A team that another thread is calling goes on. Its trainer then refuses to step in the new
    process: there the other thread's lock is never released.
    """
    if not getattr(_this_thread, "forks_a_worker", False):
        for processes in list(_sharing):
            if not processes.busy:
                processes.close()


if memory.FORKS:
    os.register_at_fork(before=end_teams)


def fork(member):
    """Fork a process that serves `member` -> the connection to it, its pid.

    It ends when the connection does: the last of a team first, since it has the others' open.
    """
    here, there = Pipe()
    _this_thread.forks_a_worker = True
    # Only the parent handles Ctrl-C: the new process never gets SIGINT and SIGTERM.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        with warnings.catch_warnings():     # other threads' locks stay held in the new process, but
            warnings.simplefilter("ignore", DeprecationWarning)         # NumPy's own are released
            pid = os.fork()
        if pid == 0:
            try:
                here.close()
                detach_debugger()
                serve(member, there)
            finally:
                os._exit(0)
    finally:
        _this_thread.forks_a_worker = False
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    there.close()
    return here, pid


def serve(member, connection):
    """Call the methods asked for through the connection, and answer, until it is closed."""
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


def receive(connection):
    """A worker's result; raises what it has raised, its traceback as the cause."""
    wait(connection)
    result, error, trace = connection.recv()
    if error is not None:
        raise error from RuntimeError("in a worker process:\n" + trace)
    return result


def wait(connection):
    """Spin until there is something to read, SPIN_SECONDS at most: waking up takes longer."""
    poller = select.poll()
    poller.register(connection, select.POLLIN)
    end = perf_counter() + SPIN_SECONDS
    while not poller.poll(0) and perf_counter() < end:
        os.sched_yield()


def close(parent, connections, pids, shared):
    """End the processes of a team and what they share, in the process that has forked them."""
    if os.getpid() != parent:
        return
    for connection in connections:
        connection.close()
    for pid in pids:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    for array in shared:
        memory.unshare(array)
