"""The verdict on one exercise: the examination, the smallest input that proves an answer wrong, and why."""
import inspect
import sys
import time
import traceback
import warnings
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from . import files
from .answers import Fault, answer, fault, is_visible, located, own_frames, raised
from .cases import Case, cases, examination, random_case
from .diagnosis import diagnosis
from .exercises import TABLE
from .isolation import CheckerError, Printed, Process, Stopped, guarded
from .steps import Record, compared

SEEDS = 3               # inputs of each size to look at, where it takes a hostile one to fail
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
    right: dict = None
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

def examine(exercise, function, record, explain=True, reloaded=None):
    """The Verdict on a learner's function.

    record    a steps.Record of the pieces that it calls
    explain   whether to look for the smallest input and for the mistake, once it is wrong
    reloaded  () -> the same function, read anew from its file
    """
    questions = Questions(exercise, function)
    try:
        failed = questions.examined()
        small = questions.smallest() if failed is None or explain else None
    except NotImplementedError as error:
        return Verdict("not written yet", exercise.name, unwritten(error, exercise))
    except Final as stop:
        return Verdict("wrong", exercise.name, stop.fault.text, stop.case, tried=questions.tried)
    if failed is None and small is None:
        text = questions.unsteady()
        return Verdict("wrong" if text else "done", exercise.name, text, tried=questions.tried)
    if not explain:
        return Verdict("wrong", exercise.name, tried=questions.tried)

    case = small or questions.like(failed)
    found = fault(case, function)
    if found is None or not is_steady(case, function) or reloaded and fault(case, reloaded()) is None:
        return Verdict("wrong", exercise.name, UNSTEADY.format(exercise.function), tried=questions.tried)
    found = located(case, found)
    texts = diagnosis(exercise, function, case, found) or ([] if small else only_hostile(case, found, function))
    seen = compared(exercise, record, case, function, found) if exercise.needs and found.given is not None else []
    right = case.expected() if found.given is not None else None
    return Verdict("wrong", exercise.name, found.text, case, found.names, found.given, right, texts, seen,
                   tried=questions.tried)


OVERFLOW = ("It is right for numbers near 1, and wrong for numbers near 1000: does an exp overflow? What all scores "
            "of a row have in common cancels, so take away their maximum first.")
HOSTILE = {"huge": "It is right for numbers near 1, and wrong for numbers near 1000: does a number like 1e3 or 1e-3 "
                   "stand for infinity, or for 0?",
           "normal": "It is right for numbers of one decimal, and wrong for such as these: is something rounded on "
                     "the way?",
           "zeros": "It is right where no number is 0, and wrong where some are: is something divided by, or compared "
                    "with, what may be 0?"}
LAYOUT = "It is right for arrays that lie in memory as new ones do, and wrong for the same numbers laid out otherwise."


def only_hostile(case, found, function):
    """What is special about an input, where no plain small one was found that fails."""
    def is_right(**changes):
        made = dict(kind=case.kind, layout=case.layout) | case.sizes | changes
        return all(fault(random_case(case.exercise, seed, **made), function) is None for seed in range(SEEDS))

    if case.layout == "read-only" and not is_right(kind="decimals"):
        return []                       # it says already that it writes where it may not
    if case.layout != "plain" and is_right(layout="plain"):
        return [LAYOUT]
    if case.kind in HOSTILE:
        overflows = case.kind == "huge" and not all(np.isfinite(x).all() for x in (found.given or {}).values())
        return [OVERFLOW if overflows else HOSTILE[case.kind]] if is_right(kind="decimals") else []
    large = [f"{letter} = {case.sizes[letter]}" for letter, (_, most) in case.exercise.sizes.items()
             if case.sizes[letter] > most and letter in case.exercise.letters]
    return [f"No smaller input was found that shows it: it takes {', '.join(large)}."] if large else []


UNSTEADY = ("{} does not always give the same answer to the same question:\n"
            "does it keep something from one call to the next, or draw something at random?")
OVERWRITTEN = ("An array that {} returned is not what it was after another call: it is kept from one call to the "
               "next, and the second answer overwrites the first. Make a new one each time.")


class Questions:
    """All that a function is asked."""

    def __init__(self, exercise, function):
        self.exercise, self.function, self.tried = exercise, function, 0
        self.until = time.process_time() + SEARCH_SECONDS

    def fault(self, case):
        """The Fault of the answer, or None; raises Final for one that is the same for any case: it hangs, exits, ..."""
        self.tried += 1
        found = fault(case, self.function)
        if found is not None and found.final:
            raise Final(case, found)
        return found

    def is_wrong(self, case):
        return self.fault(case) is not None

    def examined(self):
        """The first Case of the examination that it gets wrong, or None."""
        least = {letter: least for letter, (least, _) in self.exercise.sizes.items()}
        case = random_case(self.exercise, 0, small=1, **(least if self.exercise.is_telling(least) else {}))
        if self.is_wrong(case):
            return case
        return next((case for case in examination(self.exercise) if self.is_wrong(case)), None)

    def smallest(self):
        """The smallest plain Case that it visibly gets wrong; if there is none, the smallest that it gets wrong."""
        if self.exercise.needs:         # to compute all of its gradients for every case would take too long
            found = self.find(self.is_wrong)
            larger = [found] + [random_case(self.exercise, seed) for seed in range(SEEDS)] if found else []
            return next((case for case in larger if self.is_visibly_wrong(case)), found)
        found = self.find(self.is_visibly_wrong)
        if found is None and self.overlooked is not None:
            found = self.find(self.is_wrong) or self.overlooked
        return found

    def is_visibly_wrong(self, case):
        found = self.fault(case)
        if found is not None and not is_visible(case, found):
            self.overlooked = self.overlooked or case
            return False
        return found is not None

    overlooked = None           # a Case it gets wrong, but by so little that nobody sees it

    def like(self, failed):
        """The Case with what is hostile in one of the examination, each of its sizes made as small as still fails."""
        sizes, found = dict(failed.sizes), failed
        kinds = ["decimals", "normal"] if failed.kind == "normal" else [failed.kind]
        for letter, (least, _) in self.exercise.sizes.items():
            smaller = (sizes | {letter: size} for size in range(least, sizes[letter]))
            candidates = (random_case(self.exercise, seed, kind=kind, layout=failed.layout, **sizes)
                          for sizes in smaller if self.exercise.is_telling(sizes)
                          for kind in kinds for seed in range(SEEDS))
            case = next((case for case in candidates if self.is_wrong(case)), None)
            if case is not None:
                sizes, found = case.sizes, case
        return found

    def find(self, predicate):
        """The smallest plain Case for which the predicate holds, or None."""
        from hypothesis import HealthCheck, Phase, find, settings
        from hypothesis.errors import Flaky, NoSuchExample

        thrifty = settings(max_examples=self.exercise.examples, database=None, derandomize=True, deadline=None,
                           phases=[Phase.generate, Phase.shrink], suppress_health_check=list(HealthCheck))
        last = []

        def noted(case):
            if time.process_time() > self.until:
                if last:
                    raise OutOfTime
                return False
            if predicate(case):
                last.append(case)
                return True
            return False

        try:
            return find(cases(self.exercise), noted, settings=thrifty)
        except NoSuchExample:
            return None
        except (Flaky, OutOfTime):
            return last[-1]

    def unsteady(self):
        """A sentence on a function that is right but keeps something; empty if it does not."""
        first = random_case(self.exercise, 1)
        second = random_case(self.exercise, 2, **first.sizes)
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


class OutOfTime(Exception):
    """Shrinking has taken long enough."""


class Final(Exception):
    """Nothing more is to be asked: the answer hangs, exits, ..."""

    def __init__(self, case, fault):
        self.case, self.fault = case, fault


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
    except CheckerError as error:
        return Verdict("wrong", name, SHAKEN + str(error).splitlines()[-1])


SHAKEN = ("The checker itself failed on this file. Does the file change something that is not its own, a module or a "
          "builtin?\n")


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
    return verdict_on_module(exercise, module, record, explain, partial(files.reload, module))


EDITED = ("{0} in {1}.py is not as it was given: the question is about the one that was.\n"
          "What you need besides, put into a function of your own, or into backward.\n"
          "`check.py {1} --reset` brings the file back as it was, and keeps yours beside it.")


def verdict_on_module(exercise, module, record, explain, reload):
    """The Verdict on a loaded file: of its first function that is not done. reload() gives the module anew."""
    tried, right = 0, []
    for part in exercise.parts or [exercise]:
        function = getattr(module, part.function, None)
        if function is None:
            return Verdict("not written yet", part.name, f"{exercise.file}.py, `{part.function}`", finished=right)
        if text := unlike_given(part, function):
            return Verdict("wrong", part.name, text)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            verdict = examine(part, function, record, explain, lambda: getattr(reload(), part.function))
        verdict.finished = right
        right = [*right, part.function]
        if not verdict.done:
            if verdict.given is not None:
                verdict.printed = printed_by(verdict.case, function)
            return verdict
        tried += verdict.tried
    return Verdict("done", exercise.name, tried=tried)


def unlike_given(exercise, function):
    """A sentence on a function that cannot be called as it is; empty if it can."""
    wanted = files.parameters(files.given_function(exercise.file, exercise.function))
    if not callable(function):
        return f"{exercise.function} is no function: write `def {exercise.function}({', '.join(wanted)}):`."
    if not hasattr(function, "__code__") or function.__code__.co_flags & inspect.CO_VARARGS:
        return ""
    names = files.parameters(function)
    optional = len(function.__defaults__ or ())
    if not len(names) - optional <= len(wanted) <= len(names) or names != wanted and sorted(names) == sorted(wanted):
        return f"{exercise.function} takes ({', '.join(names)}), and it is given ({', '.join(wanted)}), in this order."
    return ""


def printed_by(case, function):
    """What the function prints when asked about the case."""
    was, sys.stdout = sys.stdout, Printed()
    try:
        answer(case, function)
        return sys.stdout.text
    finally:
        sys.stdout = was
