"""The exercises: which are done, and the smallest input that proves one wrong.

    python demos/exercises/check.py             which are done
    python demos/exercises/check.py lookup      what is wrong with `backward` in lookup.py

Write `backward` in linear.py, lookup.py, ... in this folder. Hypothesis looks
for an input on which it disagrees with the derivative of the `forward` beside
it, and makes that input small. A mistake that many make is named if yours gives
the very numbers that it gives, on this input and on others.
"""
import argparse
import importlib
import os
import sys
import tempfile
import textwrap
import traceback
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from mistakes import EXERCISES        # noqa: E402
from lib.terminal import cut, run      # noqa: E402
from minigpt_np.gradcheck import COMPLEX_STEP      # noqa: E402

COLUMNS = 80
ROOM = 52               # of which the numbers of an array take this
PROBES = 8              # inputs on which a face has to match, besides the smallest
TELLING = 3             # on at least so many of them, it has to differ from what is right
RTOL = 1e-9             # far above the rounding of float64 in a few sums, far below any mistake


# ---- inputs --------------------------------------------------------------------------------------

@dataclass
class Case:
    """One input: `forward` of the exercise, its arguments, and the gradient of its output.

    before   what is already in the array that backward adds to; None where it returns gradients
    """
    exercise: object
    forward: object
    sizes: dict
    inputs: dict
    dout: object
    before: object = None
    right: dict = field(default_factory=dict)       # gradients, remembered

    def gradients(self, names=None, forward=None):
        """{"d" + name: gradient} of all the forward's float arrays or of some, by complex step.

        Im loss(x + ih) / h, number by number: the derivative to 15 digits, and nothing subtracted
        (minigpt_np/gradcheck.py). `before` is added, where backward has to add to it.
        """
        inputs = {name: as_complex(value) for name, value in self.inputs.items()}
        loss = self.loss(inputs, forward)
        found = {}
        for name, x in float_arrays(inputs).items():
            if names is None or "d" + name in names:
                gradient = np.zeros(x.shape) if self.before is None else self.before.copy()
                for i in np.ndindex(x.shape):
                    x[i] += 1j * COMPLEX_STEP
                    gradient[i] += loss().imag / COMPLEX_STEP
                    x[i] = x[i].real
                found["d" + name] = gradient
        return found

    def loss(self, inputs, forward=None):
        """A function of nothing: the sum of dout · forward(inputs). Its gradient is backward's."""
        return lambda: np.sum(self.dout * (forward or self.forward)(*inputs.values()))


def make_case(exercise, forward, sizes, ids, seed):
    """The Case of these sizes: ids(below, *shape) gives ids, the seed all other numbers.

    They have one decimal and none is 0: easy to read, and nothing vanishes by accident.
    """
    rng = np.random.default_rng(seed)

    def floats(*shape):
        return np.array(rng.integers(1, 20, shape) * rng.choice([-1, 1], shape) / 10)

    inputs = exercise.inputs(SimpleNamespace(**sizes), ids, floats)
    dout = floats(*np.shape(forward(*inputs.values())))
    before = floats(*inputs[exercise.into[1:]].shape) if exercise.into else None
    return Case(exercise, forward, sizes, inputs, dout if dout.ndim else float(dout), before)


def cases(exercise, forward):
    """A Hypothesis strategy of Cases; what shrinks are the sizes and the ids."""
    from hypothesis import strategies as st

    @st.composite
    def draw_case(draw):
        sizes = {letter: draw(st.integers(1, most)) for letter, most in exercise.sizes.items()}

        def ids(below, *shape):
            count = int(np.prod(shape))
            drawn = draw(st.lists(st.integers(0, below - 1), min_size=count, max_size=count))
            return np.array(drawn).reshape(shape)

        return make_case(exercise, forward, sizes, ids, draw(st.integers(0, 9)))

    return draw_case()


def random_case(exercise, forward, seed, least=2, **fixed):
    """A Case of sizes between `least` and their largest, save those that are given."""
    rng = np.random.default_rng(seed)
    sizes = {letter: int(rng.integers(least, most + 1)) for letter, most in exercise.sizes.items()}

    def ids(below, *shape):
        return rng.integers(0, below, shape)

    return make_case(exercise, forward, sizes | fixed, ids, seed)


def leaves(label, value):
    """(label, array) for each array in nested dicts and lists: p["blocks"][0]["W_up"] and so on."""
    if isinstance(value, dict):
        items = [(f'{label}["{key}"]', item) for key, item in value.items()]
    elif isinstance(value, list):
        items = [(f"{label}[{i}]", item) for i, item in enumerate(value)]
    else:
        return [(label, value)]
    return [leaf for name, item in items for leaf in leaves(name, item)]


def float_arrays(inputs):
    """label -> array, of those that have a gradient."""
    found = [leaf for name, value in inputs.items() for leaf in leaves(name, value)]
    return {name: x for name, x in found if isinstance(x, np.ndarray) and x.dtype.kind in "fc"}


def rebuilt(value, convert):
    """The same nested dicts and lists, each array x as convert(x)."""
    if isinstance(value, dict):
        return {key: rebuilt(item, convert) for key, item in value.items()}
    if isinstance(value, list):
        return [rebuilt(item, convert) for item in value]
    return convert(value) if isinstance(value, np.ndarray) else value


def as_complex(value):
    return rebuilt(value, lambda x: x.astype(complex) if x.dtype.kind == "f" else x)


# ---- is it right? --------------------------------------------------------------------------------

@dataclass
class Fault:
    """What is wrong with an answer. `given` are its arrays by name, None if there are none."""
    text: str
    names: list
    given: dict = None


class NotAnswer(Exception):
    """What was returned is not built as it should be."""


def answer(case, backward):
    """What backward makes of the case: its arrays by name, a Fault where that cannot be said."""
    inputs = {name: rebuilt(value, np.array) for name, value in case.inputs.items()}
    dout = np.copy(case.dout) if np.ndim(case.dout) else case.dout
    into = [] if case.before is None else [case.before.copy()]
    try:
        returned = backward(dout, *inputs.values(), *into)
    except NotImplementedError:
        raise
    except Exception as error:
        lines = raised(error, getattr(getattr(backward, "__code__", None), "co_filename", ""))
        return Fault(f"backward raised an error.\n{lines}", [])
    if names := changed(case, inputs, dout):
        return Fault(f"backward changed its argument {names[0]}, which it may only read.", [])
    try:
        return dict(named(case, into[0] if into else returned))
    except (NotAnswer, ValueError) as error:
        return Fault(str(error), [])


def changed(case, inputs, dout):
    """Names of the arguments that backward wrote into."""
    was = arguments(case.exercise.out, case.dout, case.inputs)
    now = arguments(case.exercise.out, dout, inputs)
    return [name for (name, a), (_, b) in zip(was, now) if not np.array_equal(a, b)]


def arguments(out, dout, inputs):
    """(label, value) of all that backward is given to read."""
    values = [*inputs.items(), ("d" + out, dout)]
    return [leaf for name, value in values for leaf in leaves(name, value)]


def named(case, returned):
    """(name, array) of each gradient in what backward returned."""
    expected = {"d" + name: value for name, value in case.inputs.items()
                if float_arrays({name: value})}
    if case.exercise.into or len(expected) == 1:
        returned = [returned]
    wanted = ", ".join(expected)
    if returned is None:
        raise NotAnswer(f"backward returned None, expected {wanted}: is there a return?")
    if not isinstance(returned, (tuple, list)) or len(returned) != len(expected):
        raise NotAnswer(f"backward returned {described(returned)}, expected {wanted}.")
    for (name, template), value in zip(expected.items(), returned):
        yield from matched(name, template, value)


def matched(name, template, value):
    """(name, array) of each array of the template, out of a value that should be built like it."""
    if isinstance(template, dict):
        if not isinstance(value, dict) or set(value) != set(template):
            missing = sorted(set(template) - set(value)) if isinstance(value, dict) else []
            raise NotAnswer(f"{name} is {described(value)}, expected a dict of "
                            + ", ".join(template) + "."
                            + f"\nMissing: {', '.join(missing)}." * bool(missing))
        for key in template:
            yield from matched(f'{name}["{key}"]', template[key], value[key])
    elif isinstance(template, list):
        if not isinstance(value, list) or len(value) != len(template):
            raise NotAnswer(f"{name} is {described(value)}, expected a list of {len(template)}.")
        for i, item in enumerate(template):
            yield from matched(f"{name}[{i}]", item, value[i])
    else:
        if value is None or isinstance(value, (dict, str)):
            raise NotAnswer(f"{name} is {described(value)}, "
                            f"expected an array of shape {template.shape}.")
        yield name, np.array(value)


def described(value):
    if isinstance(value, (tuple, list, dict)):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, np.ndarray):
        return f"one array of shape {value.shape}"
    return "None" if value is None else f"a {type(value).__name__}"


def fault(case, backward):
    """The Fault of backward's answer to the case, or None if it is right."""
    given = answer(case, backward)
    if isinstance(given, Fault):
        return given
    arrays = float_arrays(case.inputs)
    for name, x in given.items():
        if text := unfit(name, x, arrays[name[1:]].shape):
            return Fault(text, [name], given)
    return None if is_slope(case, given) else Fault(WRONG_NUMBERS, [], given)


def unfit(name, x, shape):
    """What is wrong with the array x before its numbers are looked at; empty if nothing."""
    if x.shape != shape:
        return f"{name} has shape {x.shape}, expected {shape}, the shape of {name[1:]}."
    if x.dtype.kind in "iub":
        return (f"{name} holds {x.dtype}, whole numbers: what is added to it is cut off.\n"
                "Make it with np.zeros(shape), or zeros_like an array that is not of ids.")
    if x.dtype != float:
        return f"{name} holds {x.dtype}, expected float64, as in the arguments."
    if not np.isfinite(x).all():
        return f"{name} holds NaN or infinity."
    return ""


WRONG_NUMBERS = "wrong numbers"


def located(case, found):
    """The Fault, with the names of the gradients that have wrong numbers."""
    if found.text != WRONG_NUMBERS:
        return found
    right = case.gradients()
    names = [name for name in found.given if not near(found.given[name], right[name])]
    names = names or list(found.given)
    shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return Fault(f"{shown} {'is' if len(names) == 1 else 'are'} wrong.", names, found.given)


def is_slope(case, given):
    """Do the gradients, all together, give the loss's slope along a random direction?"""
    rng = np.random.default_rng(0)
    inputs = {name: as_complex(value) for name, value in case.inputs.items()}
    total = size = 0
    for name, x in float_arrays(inputs).items():
        direction = rng.normal(size=x.shape)
        x += 1j * COMPLEX_STEP * direction
        products = (given["d" + name] - (0 if case.before is None else case.before)) * direction
        total += products.sum()
        size += np.abs(products).sum()
    return abs(total - case.loss(inputs)().imag / COMPLEX_STEP) <= RTOL * max(1, size)


def near(a, b):
    """Whether two arrays are the same but for rounding."""
    return a.shape == b.shape and np.abs(a - b).max() <= RTOL * max(1, np.abs(b).max())


def raised(error, *files):
    """The learner's own line and the message: nothing of what it called."""
    place = [own_line(f.filename, f.lineno, f.line) for f in own_frames(error, *files)[-1:]]
    return "\n".join(place + [f"{type(error).__name__}: {error}"])


def own_frames(error, *files):
    """The frames of a traceback that are in the exercises' files, or in those given."""
    files += tuple(str(HERE / f"{exercise.name}.py") for exercise in EXERCISES)
    return [f for f in traceback.extract_tb(error.__traceback__) if f.filename in files]


def own_line(filename, number, line):
    return cut(f"{os.path.basename(filename)}, line {number}:  {line.strip()}", COLUMNS)


# ---- what is the mistake? ------------------------------------------------------------------------

def diagnosis(exercise, backward, smallest, found):
    """Texts about the mistakes that are seen by the learner's numbers; empty if none is known."""
    tried = [smallest] + [random_case(exercise, smallest.forward, seed) for seed in range(PROBES)]
    answers = [(case, given) for case in tried if isinstance(given := answer(case, backward), dict)]
    if not answers:
        return []
    texts = []
    for name in found.names or answers[0][1]:
        possible = [face for face in exercise.faces if face.of in (name, "*")]
        face = next((face for face in possible if has(face, name, answers)), None)
        if face is not None:
            text = face.text.format(name=name)
            texts.append(f"{name}: {text}" if face.of == "*" else text)
    texts = list(dict.fromkeys(texts))
    return texts[:3] or only_where(exercise, backward, smallest.forward)


def has(face, name, answers):
    """Whether the gradients called `name` are the face's, all of them, and not by being right."""
    telling = 0
    for case, given in answers:
        right = remembered(case, name)
        try:
            wrong = wrong_gradient(face, case, name, right)
        except (ValueError, IndexError):        # shapes for which the mistake is an error as well
            return False
        if not near(given[name], wrong):
            return False
        telling += not near(right, wrong)
    return telling >= TELLING


def wrong_gradient(face, case, name, right):
    if face.factor is not None:
        return right * face.factor(case.sizes)
    if face.forward is not None:
        return case.gradients([name], face.forward)[name]
    before = [] if case.before is None else [case.before.copy()]
    with np.errstate(all="ignore"):
        return face.formula(right, case.dout, *case.inputs.values(), *before)


def remembered(case, name):
    """The right gradient called `name`, computed once."""
    if name not in case.right:
        case.right |= case.gradients([name])
    return case.right[name]


def only_where(exercise, backward, forward):
    """Texts for the sizes (sequences, rows, heads, ...) of which it takes two to go wrong."""
    def faults(least=2, **fixed):
        tried = [random_case(exercise, forward, seed, least, **fixed) for seed in range(PROBES)]
        return [case for case in tried if fault(case, backward)]

    return [f"It is right wherever {letter} = 1, and wrong where {letter} > 1."
            for letter, most in exercise.sizes.items()
            if not faults(least=1, **{letter: 1}) and len(faults(**{letter: most})) == PROBES]


# ---- one exercise --------------------------------------------------------------------------------

@dataclass
class Verdict:
    """state: "done", "not written yet" or "wrong"; then the Case, its Fault, and the diagnosis."""
    state: str
    case: Case = None
    fault: Fault = None
    texts: tuple = ()
    tried: int = 0          # inputs


def examine(exercise, forward, backward, diagnose=True):
    """Look for the smallest Case that backward answers wrongly. Returns a Verdict."""
    from hypothesis import HealthCheck, Phase, find, settings
    from hypothesis.errors import Flaky, NoSuchExample

    thrifty = settings(max_examples=exercise.examples, database=None, derandomize=True,
                       deadline=None, phases=[Phase.generate, Phase.shrink],
                       suppress_health_check=list(HealthCheck))
    tried = []

    def is_wrong(case):
        tried.append(case)
        return fault(case, backward) is not None

    try:
        answer(random_case(exercise, forward, seed=0), backward)
        case = find(cases(exercise, forward), is_wrong, settings=thrifty)
        found = fault(case, backward)
    except NotImplementedError as error:
        return Verdict("not written yet", fault=Fault(unwritten(error), []))
    except NoSuchExample:
        return Verdict("done", tried=len(tried))
    except Flaky:
        found = None
    if found is None or not is_steady(case, backward):
        return Verdict("wrong", fault=Fault(
            "backward does not always give the same answer to the same question:\n"
            "does it keep something from one call to the next?", []))
    found = located(case, found)
    texts = diagnosis(exercise, backward, case, found) if diagnose else ()
    return Verdict("wrong", case, found, texts)


def is_steady(case, backward):
    """Whether backward answers the same question in the same way twice."""
    first, second = answer(case, backward), answer(case, backward)
    if isinstance(first, Fault) or isinstance(second, Fault):
        return type(first) is type(second)
    return all(np.array_equal(first[name], second[name], equal_nan=True) for name in first)


def unwritten(error):
    """Which exercise it is that is not written."""
    return Path(traceback.extract_tb(error.__traceback__)[-1].filename).stem


@cache
def check(exercise_name, diagnose=True):
    """The Verdict on the exercise's file."""
    exercise = next(e for e in EXERCISES if e.name == exercise_name)
    try:
        module = importlib.import_module(exercise_name)
        if not hasattr(module, "backward"):
            return Verdict("not written yet", fault=Fault(exercise_name, []))
        return examine(exercise, module.forward, module.backward, diagnose)
    except SyntaxError as error:
        place = own_line(error.filename, error.lineno, error.text or "")
        return Verdict("wrong", fault=Fault(f"{place}\n{type(error).__name__}: {error.msg}", []))
    except Exception as error:      # in the file's forward, or in what is around it
        if not own_frames(error):
            raise
        return Verdict("wrong", fault=Fault(raised(error), []))


# ---- on the terminal -----------------------------------------------------------------------------

def report(exercise):
    """Lines about one exercise."""
    verdict = check(exercise.name)
    if verdict.state == "done":
        return [f"{exercise.name}: done. {verdict.tried} inputs, and every gradient right.",
                f"The package's own: minigpt_np/{exercise.answer}"]
    if verdict.state == "not written yet":
        missing = verdict.fault.text
        return [f"{exercise.name}: not written yet. It is up to you: {missing}.py, `backward`."]
    lines = [f"{exercise.name}: wrong."]
    not_right = [name for name in exercise.needs if check(name, False).state != "done"]
    if not_right:
        lines += [f"It is made of {', '.join(not_right)}: get that right first."]
    if verdict.case is None:
        return lines + [""] + wrapped(verdict.fault.text)
    lines += ["The smallest input that shows it:", ""] + inputs_shown(verdict.case)
    lines += [""] + wrapped(verdict.fault.text) + gradients_shown(verdict.case, verdict.fault)
    for text in verdict.texts:
        lines += ["", *textwrap.wrap(text, COLUMNS)]
    return lines


def wrapped(text):
    return [part for line in text.splitlines() for part in textwrap.wrap(line, COLUMNS)]


def inputs_shown(case):
    values = arguments(case.exercise.out, case.dout, case.inputs)
    values += [(case.exercise.into, case.before)] if case.exercise.into else []
    return table([(f"{name} {np.shape(x)}" if np.ndim(x) else name, written([np.asarray(x)])[0])
                  for name, x in values])


def gradients_shown(case, found):
    """The first few of the wrong gradients, as they should be and as they are."""
    if found.given is None:
        return []
    rows = []
    for name in found.names[:3]:
        right = case.gradients([name])[name]
        texts = written([right, found.given[name]])
        rows += [(f"{name} expected", texts[0]), (f"{name} given", texts[1])]
    return [""] + table(rows)


def written(arrays):
    """The arrays as texts, with as many digits as it takes to tell them apart."""
    for digits in (4, 8, 16):
        style = dict(precision=digits, suppress_small=digits < 16, max_line_width=ROOM,
                     threshold=48, edgeitems=2)
        texts = [compact(np.array2string(x + 0, **style), x.ndim) for x in arrays]
        if len(set(texts)) == len(texts):
            break
    return texts


def compact(text, dimensions):
    """On one line, if it fits and is no matrix of more than one column."""
    line = " ".join(text.split()).replace("[ ", "[").replace(" ]", "]")
    matrix = dimensions == 2 and "." in text and "] [" in line and " " in line.split("]")[0]
    return text if matrix or len(line) > ROOM else line


def table(rows):
    """Lines of names and values, the values of several lines below one another."""
    width = max(len(name) for name, _ in rows)
    lines = []
    for name, text in rows:
        values = [line for line in text.splitlines() if line.strip()]
        labels = [name] + [""] * (len(values) - 1)
        lines += [f"  {label:{width}}  {line}" for label, line in zip(labels, values)]
    return lines


def overview():
    """A line for each exercise."""
    yield "The backward passes, one by one. Write `backward` in the file of that name."
    yield ""
    for i, exercise in enumerate(EXERCISES, 1):
        verdict = check(exercise.name, False)
        yield f"{i:3}  {exercise.name:14} {exercise.equation:44} {verdict.state}"
    yield ""
    yield "check.py NAME shows the smallest input that proves one wrong."


def main(arguments=None):
    names = [exercise.name for exercise in EXERCISES]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exercise", nargs="*", metavar="exercise", help=", ".join(names))
    chosen = parser.parse_args(arguments).exercise
    for name in chosen:
        if name not in names:
            expected = textwrap.fill(", ".join(names), COLUMNS)
            raise ValueError(f"exercise: {name!r} given, expected one of\n{expected}")
    try:
        import hypothesis       # noqa: F401
    except ImportError:
        raise ValueError("the checker needs Hypothesis, which finds the smallest input:\n"
                         "    python -m pip install hypothesis") from None
    if not chosen:
        for line in overview():
            print(line, flush=True)
        return 0
    for i, name in enumerate(chosen):
        print("\n" * bool(i) + "\n".join(report(EXERCISES[names.index(name)])))
    return 0 if all(check(name).state == "done" for name in chosen) else 1


if __name__ == "__main__":
    # Hypothesis makes a folder for its notes: not where the learner happens to be
    notes = Path(tempfile.gettempdir()) / "hypothesis"
    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(notes))
    run(main)
