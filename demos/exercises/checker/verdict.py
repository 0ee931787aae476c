"""The verdict on one exercise: the final test, the smallest input that proves an answer wrong, and
why."""
import multiprocessing
import os
import sys
import time
import traceback
import warnings
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from io import StringIO
from math import ceil
from pathlib import Path

import numpy as np

from minigpt_np.training.debugger import debugger_attached

from . import files
from .answers import Fault, answer, fault, located, raised
from .cases import EDGES, Case, cases, final_test, random_case
from .exercises import TABLE
from .mistakes import diagnosis
from .steps import Record, compared, way_back

try:
    import resource
except ImportError:     # on Windows
    resource = None

SMALL = 8               # small inputs, the same with every version of Hypothesis
EXAMPLES = 60           # inputs that Hypothesis draws; of what is made of others
EXAMPLES_OF_MANY = 25
SEARCH_SECONDS = 1      # of computing, for the smallest input: then the smallest so far has to do
CALL_SECONDS = 3        # of computing, for one call of a learner's function
# the same by the clock, for an answer that sleeps, or a machine that is busy
WAIT_SECONDS = 90
PRINTED = 400           # characters of what is printed that are shown


@dataclass
class Verdict:
    """What is known of one exercise. It travels from one process to another.

    state    "done", "wrong" or "not written yet"
    name     of the exercise, or of that part of it
    text     what is wrong; of "not written yet", the file and function that is missing
    case     the smallest that shows it
    names    of the gradients that are wrong
    given    name -> array, what the learner's function returned for the case
    texts    known mistakes that it is
    steps    of an exercise made of others: what was seen of each step (steps.Seen)
    printed  what the learner's function printed on that case
    finished functions of the file, before this one, that are right
    tried    inputs
    seconds  of computing
    """
    state: str
    name: str = ""
    text: str = ""
    case: Case = None
    names: list = field(default_factory=list)
    given: dict = None
    texts: list = field(default_factory=list)
    steps: list = field(default_factory=list)
    printed: str = ""
    finished: list = field(default_factory=list)
    tried: int = 0
    seconds: float = 0.0

    @property
    def done(self):
        return self.state == "done"


# ---- one function --------------------------------------------------------------------------------

def examine(exercise, function, record, explain=True):
    """The Verdict on a learner's function.

    record    a steps.Record of the pieces that it calls
    explain   whether to look for the smallest input and for the mistake, once it is wrong
    """
    wrong, search = partial(Verdict, "wrong", exercise.name), Search(exercise, function)
    fixed = [*(random_case(exercise, seed) for seed in range(SMALL)), *final_test(exercise)]
    try:
        failed = next((case for case in fixed if search.is_wrong(case)), None)
        if failed is not None and not explain:
            return wrong(tried=search.tried)
        case = search.smallest() or (failed and search.shrunk(failed))
    except NotImplementedError as error:
        return Verdict("not written yet", exercise.name, unwritten(error, exercise))
    if case is None:
        return Verdict("done", exercise.name, tried=search.tried)
    found, again = fault(case, function), fault(case, function)
    if found is None or again is None or not same(found.given, again.given):
        return wrong(UNSTEADY.format(exercise.function), tried=search.tried)
    found = located(case, found)
    rows, way, texts = [], (), []
    if found.given and exercise.needs:
        steps = way_back(case)
        rows = compared(steps, record, case, function, found)
        way = rows, right_on_the_way(case, steps)
    if found.given:
        texts = (only_at_the_edge(case, function) or diagnosis(case, function, found, way)
                 or only_large(case))
    return wrong(found.text, case, found.names, found.given, texts, rows,
                 printed_by(case, function),
                 tried=search.tried)


def right_on_the_way(case, steps):
    """name -> the right gradient, of all that is on the way and of what comes of it."""
    right = {step.name: np.asarray(step.dout) for step in steps} | case.expected()
    if "dlogits" in right:
        h, _ = next(step.arguments for step in steps if step.name == "dlogits")
        right["head's"] = right["dlogits"].T @ h
    return right


class Search:
    """The search for the smallest input that a function gets wrong."""

    def __init__(self, exercise, function):
        self.exercise, self.function, self.tried = exercise, function, 0
        self.until = time.process_time() + SEARCH_SECONDS

    def is_wrong(self, case):
        self.tried += 1
        return fault(case, self.function) is not None

    def smallest(self):
        """The smallest plain Case that Hypothesis finds; None if it finds none."""
        from hypothesis import HealthCheck, Phase, find, settings
        from hypothesis.errors import HypothesisException

        count = EXAMPLES_OF_MANY if self.exercise.needs else EXAMPLES
        thrifty = settings(max_examples=count, database=None, derandomize=True, deadline=None,
                           phases=[Phase.generate, Phase.shrink],
                           suppress_health_check=list(HealthCheck))
        smallest = []

        def noted(case):
            if smallest and time.process_time() > self.until:
                raise TimeoutError
            if wrong := self.is_wrong(case):
                smallest.append(case)
            return wrong

        try:
            return find(cases(self.exercise), noted, settings=thrifty)
        # there is none, it takes too long, or it is unsteady
        except (HypothesisException, TimeoutError):
            return smallest[-1] if smallest else None

    def shrunk(self, case):
        """A Case of the same kind, each of its sizes made as small as still fails."""
        for letter, (least, _) in self.exercise.sizes.items():
            smaller = ({**case.sizes, letter: size} for size in range(least, case.sizes[letter]))
            candidates = (random_case(self.exercise, seed, case.kind, case.layout, **sizes)
                          for sizes in smaller
                          if self.exercise.is_telling(sizes) for seed in range(3))
            case = next(filter(self.is_wrong, candidates), case)
        return case


UNSTEADY = ("{} does not always give the same answer to the same question:\n"
            "does it keep something from one call to the next, or draw something at random?")
LAYOUT = ("It is right for arrays that lie in memory as new ones do, and wrong for the same numbers "
          "laid out otherwise.")


def only_at_the_edge(case, function):
    """What is special about an input, where it is right without that: its layout in memory, or its
    numbers."""
    def is_right(**changes):
        made = dict(kind=case.kind, layout=case.layout) | case.sizes | changes
        return all(fault(random_case(case.exercise, seed, **made), function) is None
                   for seed in range(3))

    if case.layout != "plain" and is_right(layout="plain"):
        return [LAYOUT]
    if case.kind in EDGES and is_right(kind="decimals"):
        return [EDGES[case.kind][1]]
    return []


def only_large(case):
    """What is special about an input that is larger than the small ones."""
    large = [f"{axis} = {case.sizes[axis]}" for axis in case.exercise.axes
             if case.sizes[axis] > case.exercise.sizes[axis][1]]
    text = f"No smaller input was found that shows it: it takes {', '.join(large)}."
    return [text] * bool(large)


def same(first, second):
    """Whether two answers to one question are the same numbers."""
    return bool(first) == bool(second) and all(
        np.array_equal(x, second[name], equal_nan=x.dtype.kind == "f")
        for name, x in (first or {}).items())


def unwritten(error, exercise):
    """Which file and function it is that is not written."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    name = Path(frame.filename).stem
    own = name in files.NAMES
    return f"{name if own else exercise.file}.py, `{frame.name if own else exercise.function}`"


def printed_by(case, function):
    """What the function prints when asked about the case."""
    with redirect_stdout(StringIO()) as stream:
        answer(case, function)
    return stream.getvalue()[:PRINTED]


# ---- one file ------------------------------------------------------------------------------------

EDITED = ("forward in {0}.py is not as it was given: the question is about the one that was.\n"
          "What you need besides, put into a function of your own, or into backward.\n"
          "`check.py {0} --reset` brings the file back as it was, and keeps yours beside it.")


def verdict_on_file(name, folder, explain):
    """Yields the Verdict on the exercise's file in the folder, with the seconds of computing that
    it took."""
    begun, exercise, folder = time.process_time(), TABLE[name], Path(folder)
    try:
        if not (folder / f"{name}.py").exists():
            verdict = Verdict("not written yet", name, f"{name}.py, which is not in {folder}")
        else:
            module, record = loaded(name, folder)
            edited = not exercise.parts and files.has_another_forward(name, folder)
            verdict = (Verdict("wrong", name, EDITED.format(name)) if edited
                       else verdict_on_module(exercise, module, record, explain))
    except NotImplementedError as error:
        verdict = Verdict("not written yet", name, unwritten(error, exercise))
    except BaseException as error:          # SyntaxError, SystemExit and KeyboardInterrupt, too
        verdict = Verdict("wrong", name, raised(f"{name}.py", error))
    verdict.seconds = time.process_time() - begun
    yield verdict


def loaded(name, folder):
    """The learner's module, and the Record of the pieces that it calls."""
    Fault.before_each_call()    # a file may loop while it is loaded, too
    with np.errstate():         # what a file sets for NumPy is its own
        record = Record().load(TABLE[name], partial(files.load, folder=folder))
        return files.load(name, folder), record


def verdict_on_module(exercise, module, record, explain=True):
    """The Verdict on a loaded file: on its first function that is not done."""
    tried, right = 0, []
    for part in exercise.parts or [exercise]:
        function = getattr(module, part.function, None)
        if function is None:
            return Verdict("not written yet", part.name, f"{exercise.file}.py, `{part.function}`",
                           finished=right)
        verdict = examine(part, function, record, explain)
        verdict.finished = right
        right = [*right, part.function]
        if not verdict.done:
            return verdict
        tried += verdict.tried
    return Verdict("done", exercise.name, tried=tried)


# ---- a process of its own ------------------------------------------------------------------------

class Stopped(Exception):
    """The process ended without an answer. The text is the sentence for the learner."""


class Process:
    """work(*arguments), a generator, in a forked process of its own, begun at once: whatever
    happens there, the
    checker goes on."""

    def __init__(self, work, *arguments):
        forks = "fork" in multiprocessing.get_all_start_methods() and sys.platform != "darwin"
        context = multiprocessing.get_context("fork" if forks else "spawn")
        self.connection, theirs = context.Pipe(duplex=False)
        self.process = context.Process(target=alone, args=(theirs, work, arguments), daemon=True)
        sys.stdout.flush()
        # of forking beside BLAS's threads, which nothing here calls
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            self.process.start()
        theirs.close()

    def items(self):
        """What work yields, one by one as it comes. Raises Stopped if it ends in another way, or
        not in time."""
        try:
            while True:
                if not self.connection.poll(None if debugger_attached() else WAIT_SECONDS):
                    raise Stopped(f"It was still running after {WAIT_SECONDS} s: does it sleep, or "
                                  f"wait for something?")
                done, item = self.connection.recv()
                if done:
                    return
                yield item
        except EOFError:
            self.process.join()
            raise Stopped(ended(self.process.exitcode)) from None
        finally:
            self.process.kill()
            self.process.join()
            self.connection.close()


def ended(code):
    if code == -24:             # SIGXCPU, which not every system has
        return (f"A call was still computing after {CALL_SECONDS} s, and was stopped: a loop that does "
                "not end?")
    how = f"by signal {-code}" if code < 0 else f"with exit status {code}"
    return f"The program ended in the middle of the question, {how}: os._exit, or a crash?"


def alone(connection, work, arguments):
    """In the new process: no terminal, nobody to ask, so much time and no more; then the work."""
    Fault.before_each_call = staticmethod(limit_time)
    sys.stdin = open(os.devnull, encoding="utf-8")
    sys.stdout = open(os.devnull, "w", encoding="utf-8")
    warnings.simplefilter("ignore")
    for item in work(*arguments):
        connection.send((False, item))
    connection.send((True, None))


def limit_time():
    """The system ends this process when it has computed for so long. Windows cannot: there the
    clock decides."""
    if resource and not debugger_attached():
        _, most = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (ceil(time.process_time()) + CALL_SECONDS, most))


def begin(name, folder, explain=True):
    """The Process that makes the Verdict on the exercise's file in the folder."""
    return Process(verdict_on_file, name, str(folder), explain)


def finish(name, process):
    """The Verdict, whatever has become of the process."""
    try:
        verdict, = process.items()
        return verdict
    except Stopped as stop:
        return Verdict("wrong", name, str(stop))
