"""Verdicts as lines of text."""
import inspect
import textwrap
from importlib import import_module

import numpy as np

from .files import COLUMNS, function_lines
from .exercises import float_arrays, leaves
from .teaching import LESSONS

ROOM = 52               # columns that the numbers of an array take


def verdict_lines(exercise, verdict, unfolded=False):
    """Lines about one exercise: what is wrong, the smallest input that shows it, which mistake it
    is."""
    name = exercise.name
    if verdict.done:
        lines = [f"{name}: done. {verdict.tried} inputs, and every gradient right."]
        return lines + printed_lines(verdict)
    if verdict.state == "not written yet":
        right = [f"{name}: {', '.join(verdict.finished)}: right."] if verdict.finished else []
        return wrapped("\n".join([*right,
            f"{name}: not written yet. It is up to you: "
            f"{verdict.text}."]))
    part = "" if verdict.name == name else f", in `{verdict.name.split('.')[1]}`"
    lines = [f"{name}: wrong{part}."]
    if verdict.case is None:
        return lines + [""] + wrapped(verdict.text)
    folded = bool(exercise.needs) and not unfolded
    smallest = folded_input if folded else inputs_lines
    lines += smallest(verdict.case)
    lines += [""] + wrapped(verdict.text)
    lines += step_lines(verdict.steps) if verdict.steps else gradient_lines(verdict)
    for text in verdict.texts:
        lines += ["", *wrapped(text)]
    return lines + printed_lines(verdict)


def wrapped(text):
    return [part for line in text.splitlines() for part in textwrap.wrap(line, COLUMNS) or [""]]


def formulas(text):
    """Wrapped, each formula of several (between two semicolons with two spaces) on a line of its
    own."""
    return [line for i, part in enumerate(text.split(";  "))
            for line in textwrap.wrap(part, COLUMNS, initial_indent="   " * (i > 0),
                                      subsequent_indent="   ")]


def printed_lines(verdict):
    if not verdict.printed:
        return []
    return ["", f"{verdict.name.split('.')[-1]} printed on this input:"] + [
        "  " + part for line in verdict.printed.splitlines()[:8] for part
        in textwrap.wrap(line, COLUMNS - 2) or [""]]


# ---- arrays --------------------------------------------------------------------------------------

def inputs_lines(case):
    values = [leaf for name, value in case.inputs.items() for leaf in leaves(name, value)]
    values += [] if case.exercise.value else [("d" + case.exercise.out, case.dout)]
    values += [(case.exercise.into, case.before)] if case.exercise.into else []
    rows = [(f"{name} {np.shape(x)}" if np.ndim(x) else name,
             repr(x) if callable(x) else written([np.asarray(x)])[0])
            for name, x in values]
    notes = {"plain": []}.get(case.layout, [f"  (in memory: {case.layout})"])
    return ["The smallest input that shows it:", "", *table(rows), *notes]


def folded_input(case):
    sizes = ", ".join(f"{letter} = {size}" for letter,
                      size in case.sizes.items() if letter != "extra")
    return [f"The smallest input that shows it has {sizes}.",
            f"(--debug prints it, {len(float_arrays(case.inputs))} arrays, and opens pdb on it.)"]


def gradient_lines(verdict):
    """The first few of the wrong gradients, as they should be and as they are."""
    if verdict.given is None:
        return []
    rows = []
    for name in verdict.names[:3]:
        rows += pair(name, verdict.case.expected()[name], verdict.given[name])
    return [""] + table(rows)


def pair(name, right, given):
    texts = written([right, given])
    return [(f"{name} expected", texts[0]), (f"{name} given", texts[1])]


def step_lines(steps):
    """✓ and ✗ for each gradient on the way back; the first wrong one in numbers."""
    lines = ["", "On the way back:"]
    names = max(len(step.name) for step in steps)
    for step in steps:
        about = step.about and f"  gradient of {step.about}"
        lines.append(f"  {step.mark} {step.name:{names}}{about}".rstrip())
        lines += [f"    {line}" for line in textwrap.wrap(step.note, COLUMNS - 4)]
    if any(step.mark == "·" for step in steps):
        lines.append("  (· not seen: that piece's backward was not called for it)")
    first = next((step for step in steps if step.mark == "✗"), None)
    if first is None or first.note:
        return lines
    lines += ["", f"The first that is wrong is "
                  f"{first.name}{first.about and f', the gradient of {first.about}'}."]
    if np.shape(first.right) != np.shape(first.given):
        return lines + [f"It has shape {np.shape(first.given)}, expected {np.shape(first.right)}."]
    return lines + ["", *table(pair(first.name, first.right, first.given))]


def written(arrays):
    """The arrays as texts, with as many digits as it takes to tell them apart; no zero has a
    minus."""
    for digits in (4, 8, 16):
        style = dict(precision=digits, suppress_small=digits < 16, max_line_width=ROOM,
                     threshold=48, edgeitems=2)
        texts = [compact(np.array2string(plain(x, digits), **style), x.ndim) for x in arrays]
        if len(set(texts)) == len(texts):
            break
    return texts


def plain(x, digits):
    return np.round(x, digits) + 0.0 if x.dtype.kind == "f" else x


def compact(text, dimensions):
    """On one line, if it fits and is no matrix of more than one column."""
    line = " ".join(text.split()).replace("[ ", "[").replace(" ]", "]")
    matrix = dimensions == 2 and "." in text and "] [" in line and " " in line.split("]")[0]
    return text if matrix or len(line) > ROOM else line


def table(rows):
    """Lines of names and values, the values of several lines below one another."""
    names = max(len(name) for name, _ in rows)
    lines = []
    for name, text in rows:
        values = [part for line in text.splitlines() if line.strip()
                  for part in textwrap.wrap(line, COLUMNS - names - 4, subsequent_indent="  ")
                  or [line]]
        labels = [name] + [""] * (len(values) - 1)
        lines += [f"  {label:{names}}  {line}" for label, line in zip(labels, values)]
    return lines


# ---- after success -------------------------------------------------------------------------------

def beside_the_package(exercise, path):
    """The learner's lines beside the package's, and what is different."""
    module, qualified = exercise.answer.split(":")
    function = import_module(f"minigpt_np.{module}")
    for attribute in qualified.split("."):
        function = getattr(function, attribute)
    theirs = function_lines(textwrap.dedent(inspect.getsource(function)), qualified.split(".")[-1])
    source = path.read_text(encoding="utf-8")
    name = "difference" if exercise.parts else exercise.function
    yours = function_lines(source, name)
    place = f"minigpt_np/{module.replace('.', '/')}.py"
    return ["", f"yours, {path.name}:", "", *indented(yours), "", f"the package's, {place}:", "",
            *indented(theirs), "", *wrapped(LESSONS[exercise.name].differs)]


def indented(lines):
    return [f"  {line}".rstrip() for line in lines]
