"""The verdict on each exercise: its file is examined in a process of its own."""
import multiprocessing
import sys
import traceback
import warnings
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from hypothesis import HealthCheck, Phase, find, settings
from hypothesis.errors import HypothesisException

from minigpt_np.training.debugger import debugger_attached

from . import files
from .answers import Verdict, error_text, judge
from .cases import cases, large_cases, small_cases
from .exercises import TABLE
from .mistakes import diagnosis
from .steps import way_back

EXAMPLES = 60           # inputs that Hypothesis draws, in search of the smallest
SECONDS = 30            # by the clock, for all that is asked of a file

UNSTEADY = "{} does not always give the same answer: does it use a global, or random numbers?"
TOO_LONG = "It was still running after {} s: a loop that does not end, or does it sleep?"
ENDED = "The program ended, with exit code {}: os._exit, or a crash?"


# ---- one function --------------------------------------------------------------------------------

def first_wrong(exercise, function):
    """The first Case that the function gets wrong, or None. They are the same for everybody."""
    given = [*small_cases(exercise), *large_cases(exercise)]
    return next((case for case in given if not judge(case, function).done), None)


def examine(exercise, function):
    """The Verdict on a learner's function."""
    failed = first_wrong(exercise, function)
    if failed is None:
        return Verdict("done", exercise.name)
    case = smallest(failed, function)
    found = judge(case, function)
    if found.done or repr(judge(case, function)) != repr(found):
        return Verdict("wrong", exercise.name, UNSTEADY.format(exercise.function))
    if found.given:
        found.steps = way_back(found, function) if exercise.needs else []
        found.texts = diagnosis(found, function)
    return found


def smallest(failed, function):
    """The smallest Case that Hypothesis finds the function wrong for: of plain small inputs, or of
    such as the Case that failed; else that one."""
    thrifty = settings(max_examples=EXAMPLES, database=None, derandomize=True, deadline=None,
                       phases=[Phase.generate, Phase.shrink],
                       suppress_health_check=list(HealthCheck))
    for kind, large in (("decimals", False), (failed.kind, True)):
        try:
            return find(cases(failed.exercise, kind, large),
                        lambda case: not judge(case, function).done, settings=thrifty)
        except HypothesisException:         # it finds none, or the function is unsteady
            pass
    return failed


# ---- one file ------------------------------------------------------------------------------------

def verdict_on_file(name, folder):
    """The Verdict on the exercise's file in the folder, whatever the file does."""
    try:
        return verdict_on_module(TABLE[name], files.load(name, folder))
    except BaseException as error:          # SyntaxError, SystemExit and KeyboardInterrupt, too
        return Verdict("wrong", name, error_text(f"{name}.py", error))


def verdict_on_module(exercise, module):
    """The Verdict on a loaded file: on its first function that is not done."""
    for part in exercise.functions:
        if not hasattr(module, part.function):
            return Verdict("wrong", part.name, f"{part.file}.py has no function {part.function}.")
        try:
            verdict = examine(part, getattr(module, part.function))
        except NotImplementedError as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            return Verdict("not written yet", part.name,
                           f"{Path(where.filename).name}, `{where.name}`")
        if not verdict.done:
            return verdict
    return Verdict("done", exercise.name)


# ---- a process for each file ---------------------------------------------------------------------

def verdicts(names, folder):
    """Yields the Verdict on each of these exercises, whatever their files do: each has a process
    of its own. All begin at once, and once it is its turn, each has SECONDS."""
    for name, process, connection in [start_process(name, folder) for name in names]:
        verdict = Verdict("wrong", name, TOO_LONG.format(SECONDS))
        try:
            if connection.poll(None if debugger_attached() else SECONDS):
                verdict = connection.recv()
        except EOFError:
            process.join()
            verdict.text = ENDED.format(process.exitcode)
        process.kill()
        yield verdict


def start_process(name, folder):
    """The name, a process that examines the file, and the connection by which its Verdict comes."""
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    connection, theirs = context.Pipe(duplex=False)
    process = context.Process(target=send_verdict, args=(theirs, name, folder), daemon=True)
    sys.stdout.flush()
    with warnings.catch_warnings():     # of forking beside BLAS's threads, which nothing here calls
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    theirs.close()
    return name, process, connection


def send_verdict(connection, name, folder):
    warnings.simplefilter("ignore")
    with redirect_stdout(StringIO()):
        verdict = verdict_on_file(name, folder)
    connection.send(verdict)
