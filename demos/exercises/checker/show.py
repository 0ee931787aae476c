"""Verdicts as lines of text."""
import inspect
import textwrap

import numpy as np

from lib.terminal import COLUMNS, paragraph

from .exercises import TABLE, float_arrays, leaves
from .teaching import LESSONS

DIFFERS = ("The package's passes find what forward computed in a cache, and add to gradients that "
           "they are given: several batches, or two uses of one E, then add up by themselves.")
ROOM = 52               # columns that the numbers of an array take


def verdict_lines(verdict, unfolded=False):
    """What is wrong, the smallest input that shows it, which mistake it is."""
    exercise = TABLE[verdict.name]
    name = exercise.file
    if verdict.done:
        return [f"{name}: done, right on every input."]
    if verdict.state == "not written yet":
        return wrap(f"{name}: not written yet. It is up to you: {verdict.text}.")
    part = "" if verdict.name == name else f", in `{exercise.function}`"
    lines = [f"{name}: wrong{part}."]
    if verdict.case:
        folded = exercise.needs and not unfolded
        lines += folded_input(verdict.case) if folded else input_lines(verdict.case)
    lines += ["", *wrap(verdict.fault)]
    lines += step_lines(verdict.steps) if verdict.steps else gradient_lines(verdict)
    for text in verdict.texts:
        lines += ["", *wrap(text)]
    if verdict.printed:
        lines += ["", f"{verdict.name.split('.')[-1]} printed on this input:"]
        lines += [f"  {line[:COLUMNS - 2]}" for line in verdict.printed.splitlines()[:8]]
    return lines


def hint_lines(name, count):
    """The first few of an exercise's three hints."""
    lines = []
    for i, text in enumerate(LESSONS[name].hints[:count], 1):
        lines += [f"Hint {i} of 3:", "", *wrap(text), ""]
    return lines


def wrap(text):
    return [part for line in text.splitlines() for part in paragraph(line)]


# ---- arrays --------------------------------------------------------------------------------------

def input_lines(case):
    rows = []
    for name, x in (leaf for item in case.arguments.items() for leaf in leaves(*item)):
        label = f"{name} {np.shape(x)}" if np.ndim(x) else name
        rows += label_lines(label, repr(x) if callable(x) else array_text(np.asarray(x)))
    return ["The smallest input that shows it:", "", *align(rows)]


def folded_input(case):
    sizes = [f"{letter} = {size}" for letter, size in case.sizes.items() if letter != "extra"]
    return [f"It calls {', '.join(case.exercise.needs)}: get them right first.",
            f"The smallest input that shows it has {', '.join(sizes)}.",
            f"(--debug prints it, {len(float_arrays(case.inputs))} arrays, and opens pdb on it.)"]


def gradient_lines(verdict):
    """The first few of the wrong gradients, as they should be and as they are."""
    if not verdict.given:
        return []
    rows = [row for name in verdict.wrong_names[:3]
            for row in expected_and_given(name, verdict.case.expected[name], verdict.given[name])]
    return ["", *align(rows)]


def step_lines(steps):
    """✓ and ✗ for each gradient on the way back; the first wrong one in numbers."""
    lines = ["", "On the way back (· where the backward that gets it was not called):"]
    names = max(len(step.name) for step in steps)
    for step in steps:
        about = step.about and f"  gradient of {step.about}"
        lines.append(f"  {step.mark} {step.name:{names}}{about}".rstrip())
    first = next((step for step in steps if step.mark == "✗"), None)
    if first is None:
        return lines
    lines += ["", f"The first that is wrong is "
                  f"{first.name}{first.about and f', the gradient of {first.about}'}."]
    return lines + ["", *align(expected_and_given(first.name, first.right, first.given))]


def expected_and_given(name, right, given):
    """Rows to be aligned, with as many digits as it takes to tell the two apart."""
    for digits in (4, 8, 16):
        texts = [array_text(x, digits) for x in (right, given)]
        if texts[0] != texts[1]:
            break
    return label_lines(f"{name} expected", texts[0]) + label_lines(f"{name} given", texts[1])


def align(rows):
    names = max(len(label) for label, _ in rows)
    return [f"  {label:{names}}  {line}" for label, line in rows]


def label_lines(label, text):
    """Rows to be aligned: the lines of the text, the first with a label."""
    first, *others = text.splitlines()
    return [(label, first), *(("", line) for line in others)]


def array_text(x, digits=4):
    """An array as text, in which no zero has a minus."""
    x = np.round(x, digits) + 0.0 if x.dtype.kind == "f" else x
    return np.array2string(x, precision=digits, suppress_small=digits < 16, max_line_width=ROOM,
                           threshold=48, edgeitems=2)


# ---- after success -------------------------------------------------------------------------------

def package_lines(exercise):
    """The package's lines for the same, and what is different in them."""
    name, source = exercise.answer.__qualname__, inspect.getsource(exercise.answer)
    lines = ["", f"The package's {exercise.answer.__module__}, {name}:", "",
             *textwrap.indent(textwrap.dedent(source), "  ").splitlines()]
    return lines if exercise.parts else [*lines, "", *wrap(DIFFERS)]
