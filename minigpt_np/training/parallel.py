"""Several cores at once: a team of workers whose methods are called together.

NumPy lets go of Python's global lock (the GIL) inside every product and element-wise operation, so
threads can run the same model on different sequences at the same time. But they take the lock back
after each one, and where operations last ten microseconds they wait for each other more than they
work: two threads are no faster than one. So workers are processes where the system can fork, over
parameters in memory that they share, and threads elsewhere. Either way two levels of threads would
fight over the same cores; so while ours run, the BLAS uses one (blas.py).
"""
import bdb
import functools
import os
import select
import signal
import sys
import threading
import traceback
import warnings
import weakref
from concurrent import futures
from contextlib import suppress
from multiprocessing import Pipe
from time import perf_counter

from ..checks import check_size
from . import memory
from .blas import blas_threads
from .debugger import BREAKPOINT, debugger_attached, detach_debugger


def cores():
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


MOST_WORKERS = 32           # unless more are asked for: each has a gradient of its own in memory


def worker_count(threads):
    """threads, an int of at least 1, or ValueError; None: one a core, 32 at most, or 1 in a debugger."""
    if threads is not None:
        return check_size("threads", threads)
    if debugger_attached():
        say_once("A debugger is attached, so one thread does all the work "
                 "(threads=N, a demo's --threads N, for more).")
        return 1
    return min(cores(), MOST_WORKERS)


@functools.cache
def say_once(text):
    """A line on stderr, the first time only."""
    print(text, file=sys.stderr, flush=True)


def even_slices(n, parts):
    """range(n) in at most `parts` slices of (nearly) equal length, none of them empty."""
    m = min(n, parts)
    return [slice(i * n // m, (i + 1) * n // m) for i in range(m)]


def team(members, arrays):
    """A Processes of the members that share arrays; a Threads if there is no sharing, or one member."""
    if len(members) == 1 or not memory.FORKS or not all(map(memory.can_share, arrays)):
        return Threads(members)
    return Processes(members, arrays)


class Threads:
    """Objects of one class that work at the same time, each on a thread, the first on the caller's."""

    alive = True

    def __init__(self, members):
        self.members = members

    def __len__(self):
        return len(self.members)

    def call(self, method, *arguments):
        """member.method(*arguments) of each, all at once; their results in order."""
        return self.call_each(method, [arguments] * len(self))

    def call_each(self, method, arguments):
        """The same with arguments of its own for each member: a list of tuples."""
        first, *others = [getattr(member, method) for member in self.members]
        running = [pool().submit(other, *given) for other, given in zip(others, arguments[1:])]
        try:
            result = first(*arguments[0])
        finally:
            futures.wait(running)
        return [result, *(other.result() for other in running)]


@functools.cache
def pool():
    """The threads that wait for tasks, made when first asked for and kept."""
    return futures.ThreadPoolExecutor(max_workers=64, thread_name_prefix="minigpt_np")


class Processes(Threads):
    """The same, but the first member works here, and every other in a process forked for it.

    What a member holds is as it was at the fork, but for arrays in shared memory. Arguments and
    results go through pipes. Whatever goes wrong (Ctrl-C too) ends the processes: a team of which
    some have answered and some have not is of no further use.
    """

    def __init__(self, members, arrays=()):
        """arrays: those whose memory is shared for as long as the processes live."""
        super().__init__(members)
        self.connections, self.pids, self.owner, self.busy = [], [], os.getpid(), False
        shared = []
        self.close = weakref.finalize(self, close, self.owner, self.connections, self.pids, shared)
        for array in arrays:
            memory.share(array)
            shared.append(array)
        if arrays:
            _sharing.add(self)
        for member in members[1:]:
            connection, pid = fork(member, self.connections)
            self.connections.append(connection)
            self.pids.append(pid)

    @property
    def alive(self):
        """Whether it can be called: it has not ended, and this process is the one that made it."""
        return self.close.alive and self.owner == os.getpid()

    def call_each(self, method, arguments):
        if not self.alive:
            raise RuntimeError("the workers have ended: one failed, or another thread forked a process")
        self.busy = True
        try:
            for connection, given in zip(self.connections, arguments[1:]):
                connection.send((method, given))
            results = [getattr(self.members[0], method)(*arguments[0])]
            return results + [receive(connection) for connection in self.connections]
        except (EOFError, ConnectionError) as gone:
            pids = list(self.pids)
            self.close()
            raise RuntimeError(f"a worker of {pids} has ended without an answer: killed, "
                               "out of memory?") from gone
        except BaseException:
            self.close()
            raise
        finally:
            self.busy = False


_sharing = weakref.WeakSet()            # teams that share arrays
_this_thread = threading.local()        # .forks_a_worker while it does


def end_teams():
    """End all teams before anyone but `fork` forks this process: the new one has memory of its own.

    A team that another thread is calling goes on. Its trainer then refuses to step in the new
    process: to it, the other thread's step never ends.
    """
    if not getattr(_this_thread, "forks_a_worker", False):
        for team in list(_sharing):
            if not team.busy:
                team.close()


if memory.FORKS:
    os.register_at_fork(before=end_teams)


def receive(connection):
    """What a process answers; raises what it raised, its traceback as the cause."""
    wait(connection)
    result, error, trace = connection.recv()
    if error is not None:
        raise error from RuntimeError("in a worker process:\n" + trace)
    return result


def fork(member, others):
    """A process that does what `member` is asked to do -> the connection to it, its pid."""
    here, there = Pipe()
    _this_thread.forks_a_worker = True
    # Ctrl-C is for the process that asks: the new one never gets SIGINT and SIGTERM.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        with warnings.catch_warnings():     # other threads' locks stay held in the new process, but
            warnings.simplefilter("ignore", DeprecationWarning)         # NumPy's own are released
            pid = os.fork()
        if pid == 0:
            for connection in (here, *others):      # or no one would see the end of these pipes
                connection.close()
            try:
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
            except bdb.BdbQuit:
                connection.send((None, RuntimeError(BREAKPOINT), traceback.format_exc()))
            except Exception as error:
                connection.send((None, error, traceback.format_exc()))


def wait(connection):
    """Spin until there is something to read, SPIN_SECONDS at most: waking up takes longer."""
    poller = select.poll()
    poller.register(connection, select.POLLIN)
    end = perf_counter() + SPIN_SECONDS
    while not poller.poll(0) and perf_counter() < end:
        os.sched_yield()


SPIN_SECONDS = 0.002


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
