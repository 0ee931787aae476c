"""The verdict on one exercise: the examination, the smallest input that proves an answer wrong, and why."""
import time
import traceback
import warnings
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from . import files
from .answers import Fault, answer, fault, is_visible, located, own_frames, raised
from .cases import EXAMINATION, Case, cases, examination, random_case
from .diagnosis import diagnosis
from .exercises import TABLE
from .isolation import Process, Stopped, guarded
from .steps import Record, compared

SEARCH_SECONDS = 1      # of computing, for the smallest input: then the smallest so far has to do


@dataclass
class Verdict:
    """What is known of one exercise. It travels from one process to another.

    state    "done", "wrong" or "not written yet"
    name     of the exercise, or of that part of it
    text     what is wrong; of "not written yet", the file and function that is missing
    case     the smallest that shows it
    names    of the gradients that are wrong
    given    name -> array, what the learner's function returned for the case
    right    name -> array, what it should have
    texts    known mistakes that it is
    steps    of an exercise made of others: what was seen of each step (steps.Seen)
    printed  what the learner's function printed on that case
    tried    inputs
    seconds  of computing
    """
    state: str
    name: str = ""
    text: str = ""
    case: Case = None
    names: list = field(default_factory=list)
    given: dict = None
    right: dict = None
    texts: list = field(default_factory=list)
    steps: list = field(default_factory=list)
    printed: str = ""
    tried: int = 0
    seconds: float = 0.0

    @property
    def done(self):
        return self.state == "done"


# ---- one function --------------------------------------------------------------------------------

def examine(exercise, function, record=None, explain=True):
    """The Verdict on a learner's function.

    record    a steps.Record of the pieces that it calls, if it calls some
    explain   whether to look for the smallest input and for the mistake, once it is wrong
    """
    questions = Questions(exercise, function)
    try:
        failed = questions.examined()
        small = questions.smallest() if failed is None or explain else None
    except NotImplementedError as error:
        return Verdict("not written yet", exercise.name, unwritten(error, exercise))
    if failed is None and small is None:
        text = questions.unsteady()
        return Verdict("wrong" if text else "done", exercise.name, text, tried=questions.tried)
    if not explain:
        return Verdict("wrong", exercise.name, tried=questions.tried)

    case = small or questions.like(failed) or failed
    found = fault(case, function)
    if found is None or not is_steady(case, function):
        return Verdict("wrong", exercise.name, UNSTEADY.format(exercise.function), tried=questions.tried)
    found = located(case, found)
    if case is failed and exercise.needs:           # too many numbers to compute, and to read
        sizes = ", ".join(f"{letter} = {size}" for letter, size in case.sizes.items())
        return Verdict("wrong", exercise.name, f"On an input with {sizes} (S = T + extra):\n{found.text}\n"
                       "No smaller input was found that shows it.", tried=questions.tried)
    texts = [] if found.final else diagnosis(exercise, function, case, found)
    seen = [] if not exercise.needs or record is None or found.given is None else compared(exercise, record, case, function, found)
    right = {name: x for name, x in case.expected().items()} if found.given is not None else None
    return Verdict("wrong", exercise.name, found.text, case, found.names, found.given, right, texts, seen,
                   tried=questions.tried)


UNSTEADY = ("{} does not always give the same answer to the same question:\n"
            "does it keep something from one call to the next, or draw something at random?")
OVERWRITTEN = ("An array that {} returned is not what it was after another call: it is kept from one call to the "
               "next, and the second answer overwrites the first. Make a new one each time.")


class Questions:
    """All that a function is asked."""

    def __init__(self, exercise, function):
        self.exercise, self.function, self.tried = exercise, function, 0
        self.until = time.process_time() + SEARCH_SECONDS

    def is_wrong(self, case):
        self.tried += 1
        return fault(case, self.function) is not None

    def examined(self):
        """The first Case of the examination that it gets wrong, or None."""
        case = random_case(self.exercise, 0, small=1)
        if self.is_wrong(case):
            return case
        return next((case for case in examination(self.exercise) if self.is_wrong(case)), None)

    def smallest(self):
        """The smallest plain Case that it visibly gets wrong; if there is none, the smallest that it gets wrong."""
        found = self.find(cases(self.exercise), self.is_visibly_wrong, self.exercise.examples)
        if found is None and self.overlooked is not None:
            found = self.find(cases(self.exercise), self.is_wrong, self.exercise.examples) or self.overlooked
        return found

    def is_visibly_wrong(self, case):
        self.tried += 1
        found = fault(case, self.function)
        if found is None:
            return False
        if found.final:
            raise Final(case)
        if is_visible(case, found):
            return True
        self.overlooked = self.overlooked or case
        return False

    overlooked = None           # a Case it gets wrong, but by so little that nobody sees it

    def like(self, failed):
        """The smallest Case with what was hostile in one of the examination: its kind of numbers, its layout, its size."""
        row = next((row for row, case in zip(EXAMINATION, examination(self.exercise)) if same_case(case, failed)), None)
        if row is None:
            return None
        for large in (False, True):
            strategy = cases(self.exercise, row["kind"], row["layout"], large)
            if found := self.find(strategy, self.is_visibly_wrong, self.exercise.examples):
                return found
        return None

    def find(self, strategy, predicate, examples):
        """The smallest Case of the strategy for which the predicate holds, or None."""
        from hypothesis import HealthCheck, Phase, find, settings
        from hypothesis.errors import Flaky, NoSuchExample

        thrifty = settings(max_examples=examples, database=None, derandomize=True, deadline=None,
                           phases=[Phase.generate, Phase.shrink], suppress_health_check=list(HealthCheck))
        last = []

        def noted(case):
            if time.process_time() > self.until:
                if last:
                    raise Final(last[-1])
                return False
            if predicate(case):
                last.append(case)
                return True
            return False

        try:
            return find(strategy, noted, settings=thrifty)
        except NoSuchExample:
            return None
        except Flaky:
            return last[-1]
        except Final as stop:
            return stop.case

    def unsteady(self):
        """A sentence on a function that is right but keeps something; empty if it does not."""
        first, second = (random_case(self.exercise, seed) for seed in (1, 2))
        kept = []

        def keeping(*arguments):
            kept.append(self.function(*arguments))
            return kept[-1]

        if self.exercise.into:
            return ""
        answer(first, keeping)
        before = repr(kept)
        answer(second, self.function)
        return OVERWRITTEN.format(self.exercise.function) if repr(kept) != before else ""


class Final(Exception):
    """Nothing smaller is to be looked for than this case."""

    def __init__(self, case):
        self.case = case


def same_case(a, b):
    return a.sizes == b.sizes and a.layout == b.layout and str(a.dout) == str(b.dout)


def is_steady(case, function):
    """Whether the function answers the same question in the same way twice."""
    first, second = answer(case, function), answer(case, function)
    if isinstance(first, Fault) or isinstance(second, Fault):
        return type(first) is type(second)
    return all(np.array_equal(first[name], second[name], equal_nan=first[name].dtype.kind == "f") for name in first)


def unwritten(error, exercise):
    """Which file and function it is that is not written."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    name = Path(frame.filename).stem
    return f"{name}.py, `{frame.name}`" if name in files.NAMES else f"{exercise.file}.py, `{exercise.function}`"


# ---- one file, in a process of its own -----------------------------------------------------------

def begin(name, folder, explain=True):
    """The Process that makes the Verdict on the exercise's file in the folder."""
    return Process(check_file, name, str(folder), explain)


def finish(name, process):
    """The Verdict, whatever has become of the process."""
    try:
        return process.result()
    except Stopped as stop:
        return Verdict("wrong", name, str(stop))


def check_file(name, folder, explain):
    """In the process of its own: the Verdict, with the seconds of computing that it took."""
    begun = time.process_time()
    verdict = verdict_on(TABLE[name], Path(folder), explain)
    verdict.seconds = time.process_time() - begun
    return verdict


def verdict_on(exercise, folder, explain):
    name = exercise.name
    path = folder / f"{name}.py"
    if not path.exists():
        return Verdict("not written yet", name, f"{name}.py, which is not in {folder}")
    try:
        if changed := files.edited(name, folder, exercise.functions):
            return Verdict("wrong", name, EDITED.format(", ".join(changed), name))
        with guarded(f"{name}.py"):
            record = Record().load(exercise, partial(files.load, folder=folder))
            module = files.load(name, folder)
    except SyntaxError as error:
        place = files.own_line(error.filename or path.name, error.lineno or 0, error.text or "")
        return Verdict("wrong", name, f"{place}\n{type(error).__name__}: {error.msg}")
    except NotImplementedError as error:
        return Verdict("not written yet", name, unwritten(error, exercise))
    except Stopped as stop:
        return Verdict("wrong", name, str(stop))
    except Exception as error:
        if not own_frames(error):
            raise
        return Verdict("wrong", name, raised(f"{name}.py", error, None))
    return verdict_on_module(exercise, module, record, explain)


EDITED = ("{0} in {1}.py is not as it was given: the question is about the one that was.\n"
          "What you need besides, put into a function of your own, or into backward.\n"
          "`check.py {1} --reset` brings the file back as it was, and keeps yours beside it.")


def verdict_on_module(exercise, module, record, explain):
    """The Verdict on a loaded file: of its first function that is not done."""
    tried = 0
    for part in exercise.parts or [exercise]:
        function = getattr(module, part.function, None)
        if function is None:
            return Verdict("not written yet", part.name, f"{exercise.file}.py, `{part.function}`")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            verdict = examine(part, function, record, explain)
        if not verdict.done:
            verdict.printed = printed_by(verdict.case, function)
            return verdict
        tried += verdict.tried
    return Verdict("done", exercise.name, tried=tried)


def printed_by(case, function):
    """What the function prints when asked about the case."""
    import sys
    from .isolation import Printed
    if case is None:
        return ""
    was, sys.stdout = sys.stdout, Printed()
    try:
        answer(case, function)
        return sys.stdout.text
    finally:
        sys.stdout = was
