"""A learner's code runs in a process of its own: whatever it does, the checker goes on."""
import bdb
import inspect
import multiprocessing
import os
import signal
import sys
import threading
import traceback
import warnings
from contextlib import contextmanager
from operator import is_

import numpy as np

from minigpt_np.training.debugger import debugger_attached

CALL_SECONDS = 2            # of computing, for one call of a learner's function
WAIT_SECONDS = 10           # the same by the clock, for a call that sleeps, or a machine that is busy
CHECK_SECONDS = 60          # for all that is asked about one exercise
ALARMS = 5                  # that code may ignore before its process ends
DEAF = 86                   # exit status of that
DONE = "done"               # the last that a generator's process sends
PRINTED = 400               # characters of what is printed that are kept


class Stopped(BaseException):
    """Ends what the learner's code does. Its text is the sentence for the learner."""


class TooLong(Stopped):
    """The learner's code did not come to an end."""


class CheckerError(Exception):
    """What the checker's own code raised, in the process of an answer."""


@contextmanager
def guarded(what):
    """A call of learner's code: raises Stopped where that exits, hangs, asks for a terminal, or changes NumPy."""
    try:
        with time_limit(what), np.errstate(all="ignore"):
            yield
    except SystemExit:
        raise Stopped(f"{what} calls exit(): it has to return its answer and leave the program alone.") from None
    except bdb.BdbQuit:
        raise Stopped(NO_DEBUGGER.format(what)) from None
    except (KeyboardInterrupt, GeneratorExit) as error:
        raise Stopped(f"{what} raises {type(error).__name__}, which ends the program that calls it.") from None
    except EOFError as error:
        if "reading a line" not in str(error):
            raise
        raise Stopped(f"{what} calls input(): there is nobody to answer here.") from None
    finally:
        if names := altered():
            raise Stopped(f"{what} assigns to {', '.join(names)}, which changes NumPy for everything else as well: "
                          "use a name of your own.")


SHARED = [(module, dict(vars(module))) for module in (np, np.linalg, np.random)]


def altered():
    """Names of NumPy's that are no longer what they were; they are put back."""
    names = []
    for module, was in SHARED:
        now = vars(module)
        if all(map(is_, map(now.get, was), was.values())):          # as always but once
            continue
        names += [f"{module.__name__}.{name}" for name in was if now.get(name) is not was[name]]
        now.update(was)
    return names


# Named by sys.audit, when they happen: what leaves processes behind, or ends those of others.
NO_PROCESSES = ("os.fork", "os.forkpty", "os.kill", "os.killpg", "os.posix_spawn", "os.spawn", "os.exec", "os.system",
                "subprocess.Popen")
NO_DEBUGGER = ("{} reached a breakpoint, and there is no terminal here to stop at. Take it out; "
               "`check.py NAME --debug` opens pdb there.")


@contextmanager
def time_limit(what):
    """Raises TooLong when it has taken too long; not while somebody looks at it in a debugger.

    Where the system cannot (Windows), the process is ended later.
    """
    if debugger_attached() or not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return
    rung = 0

    def ring(number, _):
        nonlocal rung
        rung += 1
        if rung > ALARMS and multiprocessing.parent_process():
            os._exit(DEAF)
        computes = number == signal.SIGPROF
        seconds, why = ((CALL_SECONDS, "a loop that does not end?") if computes else
                        (WAIT_SECONDS, "does it sleep, or wait for something?"))
        raise TooLong(f"{what} was still running after {seconds} s, and was stopped: {why}")

    clocks = [(signal.ITIMER_PROF, signal.SIGPROF, CALL_SECONDS), (signal.ITIMER_REAL, signal.SIGALRM, WAIT_SECONDS)]
    was = [signal.signal(number, ring) for _, number, _ in clocks]
    for timer, _, seconds in clocks:
        signal.setitimer(timer, seconds, 0.1)       # and again, should the learner's code catch it
    try:
        yield
    finally:
        for (timer, number, _), handler in zip(clocks, was):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)


class Printed:
    """In the place of sys.stdout: keeps the beginning of what is printed."""
    encoding = "utf-8"

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text[:max(0, PRINTED - len(self.text))]
        return len(text)

    def flush(self):
        pass

    def isatty(self):
        return False


class Process:
    """work(*arguments) in a process of its own, begun at once."""

    def __init__(self, work, *arguments):
        forks = "fork" in multiprocessing.get_all_start_methods() and sys.platform != "darwin"
        context = multiprocessing.get_context("fork" if forks else "spawn")
        self.connection, theirs = context.Pipe(duplex=False)
        self.process = context.Process(target=alone, args=(theirs, work, arguments), daemon=True)
        sys.stdout.flush()
        with warnings.catch_warnings():         # of forking beside BLAS's threads, which nothing here calls
            warnings.simplefilter("ignore", DeprecationWarning)
            self.process.start()
        theirs.close()

    def result(self):
        """What work returned. Raises Stopped if it ended without, or not in time."""
        try:
            return self.received()
        finally:
            self.close()

    def items(self):
        """What work, a generator, yields, one by one as it comes. Raises Stopped as result does."""
        try:
            while (item := self.received()) != DONE:
                yield item
        finally:
            self.close()

    def received(self):
        if not self.connection.poll(None if debugger_attached() else CHECK_SECONDS):
            raise TooLong(f"It was still running after {CHECK_SECONDS} s, and was stopped.")
        try:
            value, error = self.connection.recv()
        except EOFError:
            raise Stopped(self.ended()) from None
        if error:
            raise CheckerError(error)
        return value

    def close(self):
        self.process.kill()
        self.process.join()
        self.connection.close()

    def ended(self):
        self.process.join()
        code = self.process.exitcode
        if code == DEAF:
            return (f"It was still running after {CALL_SECONDS} s, and was stopped: a loop that does not end, "
                    "with an `except:` that catches everything?")
        how = f"by signal {-code}" if code < 0 else f"with exit status {code}"
        return f"The program ended in the middle of the question, {how}: os._exit, or a crash?"


def alone(connection, work, arguments):
    """In the new process: no terminal, no questions; then the work."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    sys.stdin = open(os.devnull, encoding="utf-8")
    sys.stdout = sys.stderr = Printed()
    sys.breakpointhook = no_debugger
    warnings.simplefilter("ignore")
    sys.addaudithook(no_processes)
    try:
        value = work(*arguments)
        if inspect.isgenerator(value):
            for item in value:
                connection.send((item, None))
            value = DONE
        connection.send((value, None))
    except Exception:
        connection.send((None, traceback.format_exc()))


def no_debugger(*_, **__):
    raise bdb.BdbQuit


def no_processes(event, _):
    """For sys.addaudithook: a program that starts itself again at each call would soon be all that runs."""
    if event in NO_PROCESSES:
        raise Stopped(f"It calls {event}: an answer is computed here, without other processes.")
