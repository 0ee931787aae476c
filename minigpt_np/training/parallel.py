"""Several cores at once: a team of workers whose methods are called together.

Workers are processes where the system can fork, with parameters in shared memory, else threads:
where NumPy's operations last only ten microseconds, threads wait for each other at Python's global
lock (the GIL) more than they work. While workers run, the BLAS uses one thread in each (blas.py).
"""
import functools
import os
import signal
import sys
import threading
import traceback
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor, wait as wait_for
from contextlib import ExitStack, suppress
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
    """range(n) in slices of (nearly) equal length; if n < parts, the last of them are empty."""
    m = min(n, parts)
    return [slice(i * n // m, (i + 1) * n // m) for i in range(m)] + [slice(n, n)] * (parts - m)


def team(members, arrays=()):
    """Processes that share the memory of the arrays; Threads for one member, or without fork."""
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


class Processes:
    """The same, but the first member works here, and every other in a process forked for it.

    A member's objects are as they were at the fork, except arrays in shared memory. Arguments and
    results go through pipes. Any exception (Ctrl-C too) ends the processes: a team of which some
    have answered and some have not is of no further use.
    arrays   each a Parameters' flat, in shared memory for as long as the processes live
    """

    def __init__(self, members, arrays=()):
        self.members, self.connections, self.pids, self.busy = members, [], [], True
        ending = ExitStack()
        self.close = weakref.finalize(self, ending.close)
        for array in arrays:
            ending.enter_context(memory.shared(array))
        _teams.add(self)
        for member in members[1:]:
            connection, pid = fork(member)
            ending.callback(end, connection, pid, os.getpid())
            self.connections.append(connection)
            self.pids.append(pid)
        self.busy = False

    @property
    def alive(self):
        return self.close.alive

    def call(self, method, *arguments):
        if not self.alive:
            raise RuntimeError("the workers have ended: one failed, or another thread forked")
        self.busy = True
        try:
            for connection in self.connections:
                connection.send((method, arguments))
            result = getattr(self.members[0], method)(*arguments)
            return [result, *(answer(connection) for connection in self.connections)]
        except BaseException as error:
            self.close()
            if isinstance(error, (EOFError, ConnectionError)):
                raise RuntimeError(f"a worker of {self.pids} has ended without an answer: killed, "
                                   "out of memory?") from error
            raise
        finally:
            self.busy = False


_teams = weakref.WeakSet()
_this_thread = threading.local()        # .forks_a_worker while it does


def end_teams():
    """End all teams before anyone but `fork` forks this process: the new one has memory of its own.

    A team that another thread is calling goes on. Its trainer then refuses to step in the new
    process: there the other thread's lock is never released.
    """
    if not getattr(_this_thread, "forks_a_worker", False):
        for team in list(_teams):
            if not team.busy:
                team.close()


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
            try:
                method, arguments = receive(connection)
            except (EOFError, ConnectionError):
                return
            try:
                connection.send((getattr(member, method)(*arguments), None, ""))
            except Exception as error:
                connection.send((None, error, traceback.format_exc()))


def answer(connection):
    """A worker's result; raises what it has raised, its traceback as the cause."""
    result, error, trace = receive(connection)
    if error is not None:
        raise error from RuntimeError("in a worker process:\n" + trace)
    return result


def receive(connection):
    """The next message. Spin for it first, SPIN_SECONDS at most: waking up takes longer."""
    end = perf_counter() + SPIN_SECONDS
    while not connection.poll() and perf_counter() < end:
        os.sched_yield()
    return connection.recv()


def end(connection, pid, parent):
    """End a worker process; in a fork of its parent, only close the connection."""
    connection.close()
    if os.getpid() == parent:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
