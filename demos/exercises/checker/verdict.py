"""The verdict on one exercise: each file is examined in a process of its own."""
import multiprocessing
import os
import sys
import traceback
import warnings
from contextlib import redirect_stdout
from pathlib import Path

from minigpt_np.training.debugger import debugger_attached

from . import files
from .answers import Verdict, judged, raised
from .cases import cases, large_cases, small_cases
from .exercises import TABLE
from .mistakes import diagnosis
from .steps import way_back

try:
    import resource
except ImportError:     # on Windows
    resource = None

EXAMPLES = 60           # inputs that Hypothesis draws, in search of the smallest
SECONDS = 10            # of computing, for all that is asked of a file
WAIT_SECONDS = 90       # by the clock: an answer may sleep, or the machine be busy

UNSTEADY = ("{} does not always give the same answer to the same question:\n"
            "does it keep something from one call to the next, or draw something at random?")


# ---- one function --------------------------------------------------------------------------------

def examine(exercise, function, explain=True):
    """The Verdict on a learner's function; if it is wrong, and explain, with the smallest input
    that shows it and the mistake's name."""
    fixed = [*small_cases(exercise), *large_cases(exercise)]
    failed = next((case for case in fixed if not judged(case, function).done), None)
    if failed is None or not explain:
        return Verdict("wrong" if failed else "done", exercise.name)
    case = smallest(failed, function)
    found = judged(case, function)
    if found.done or repr(judged(case, function)) != repr(found):
        return Verdict("wrong", exercise.name, UNSTEADY.format(exercise.function))
    if found.given:
        found.steps = way_back(found, function) if exercise.needs else []
        found.texts = diagnosis(found, function)
    return found


def smallest(failed, function):
    """The smallest Case that Hypothesis finds the function wrong for: of plain small inputs, or of
    such as the Case that failed; else that one."""
    from hypothesis import HealthCheck, Phase, find, settings
    from hypothesis.errors import HypothesisException

    thrifty = settings(max_examples=EXAMPLES, database=None, derandomize=True, deadline=None,
                       phases=[Phase.generate, Phase.shrink],
                       suppress_health_check=list(HealthCheck))
    for kind, large in (("decimals", False), (failed.kind, True)):
        try:
            return find(cases(failed.exercise, kind, large),
                        lambda case: not judged(case, function).done, settings=thrifty)
        except HypothesisException:         # it finds none, or the function is unsteady
            pass
    return failed


# ---- one file ------------------------------------------------------------------------------------

def verdict_on_file(name, folder, explain):
    """The Verdict on the exercise's file in the folder, whatever the file does."""
    exercise = TABLE[name]
    try:
        if not (folder / f"{name}.py").exists():
            return Verdict("not written yet", name, f"{name}.py, which is not in {folder}")
        return verdict_on_module(exercise, files.load(name, folder), explain)
    except BaseException as error:          # SyntaxError, SystemExit and KeyboardInterrupt, too
        return Verdict("wrong", name, raised(f"{name}.py", error))


def verdict_on_module(exercise, module, explain=True):
    """The Verdict on a loaded file: on its first function that is not done."""
    for part in exercise.parts or [exercise]:
        try:
            verdict = examine(part, getattr(module, part.function), explain)
        except NotImplementedError as error:
            verdict = Verdict("not written yet", part.name, unwritten(error))
        if not verdict.done:
            return verdict
    return Verdict("done", exercise.name)


def unwritten(error):
    """Which file and function it is that is not written."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(frame.filename).name}, `{frame.name}`"


# ---- a process of its own ------------------------------------------------------------------------

class Examination:
    """verdict_on_file(*arguments) in a process of its own, which begins at once: whatever happens
    there, the checker goes on."""

    def __init__(self, name, folder, explain=True):
        forks = sys.platform not in ("win32", "darwin")
        context = multiprocessing.get_context("fork" if forks else "spawn")
        self.name, (self.connection, theirs) = name, context.Pipe(duplex=False)
        self.process = context.Process(target=alone, args=(theirs, name, Path(folder), explain))
        self.process.daemon = True
        sys.stdout.flush()
        # of forking beside BLAS's threads, which nothing here calls
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            self.process.start()
        theirs.close()

    def verdict(self):
        """The Verdict, once it is there, or one on what became of the process."""
        try:
            if self.connection.poll(None if debugger_attached() else WAIT_SECONDS):
                return self.connection.recv()
            text = (f"It was still running after {WAIT_SECONDS} s: does it sleep, or wait for "
                    "something?")
        except EOFError:
            self.process.join()
            text = ended(self.process.exitcode)
        finally:
            self.process.kill()
            self.process.join()
            self.connection.close()
        return Verdict("wrong", self.name, text)


def alone(connection, name, folder, explain):
    """In the new process, where there is no keyboard: so much time and no more, and nothing is
    printed."""
    if resource and not debugger_attached():        # elsewhere the clock decides
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
    warnings.simplefilter("ignore")
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        connection.send(verdict_on_file(name, folder, explain))


def ended(code):
    """A sentence about a process that ended without a verdict."""
    if code == -24:             # SIGXCPU, which not every system has
        return (f"It was still computing after {SECONDS} s, and was stopped: a loop that does not "
                "end?")
    how = f"by signal {-code}" if code < 0 else f"with exit status {code}"
    return f"The program ended in the middle of the question, {how}: os._exit, or a crash?"
