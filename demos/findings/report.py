"""Numbers in words: fields of a Markdown template, tables, and JSON.

A list of numbers is one for each seed; it is said as its mean ± half the width of the mean's 95%
t-interval.
"""
import json
import math
import re

import numpy as np

from lib.statistics import interval

FIELD = re.compile(r"\{\{(.+?)\}\}")
BLOCK = re.compile(r"(?s)<!-- one_matrix: .*? -->\n.*?<!-- one_matrix: end -->")


def said(numbers, form=".2f"):
    """A number, or a list of one for each seed, in this format: '0.20 ± 0.05', or '39 ± 2%'.

    '-' for None, a number that could not be measured.
    """
    if numbers is None:
        return "-"
    numbers = np.atleast_1d(np.asarray(numbers, float))
    if numbers.ndim != 1:
        raise ValueError(f"numbers: of shape {numbers.shape} given, expected one for each seed")
    mean, half = interval(numbers)
    text = f"{mean:{form}}"
    if np.isnan(half):
        return text
    return f"{text.removesuffix('%')} ± {half:{form.lstrip('+')}}"


def value(numbers, expression):
    """'a.b - c.d[2]' -> numbers["a"]["b"] minus the third column of the lists numbers["c"]["d"].

    Raises ValueError, naming the path, for one that is not there.
    """
    first, *others = (at(numbers, path.strip()) for path in expression.split(" - "))
    for other in others:
        first = minus(first, other)
    return first


def minus(a, b):
    """The differences of two lists, a number for each seed, for the seeds that both have."""
    n = min(len(a), len(b))
    return np.asarray(a[:n]) - b[:n]


def at(numbers, path):
    names, _, column = path.partition("[")
    try:
        for name in names.split("."):
            numbers = numbers[name]
        numbers = np.atleast_1d(np.asarray(numbers, float))
        return numbers[..., int(column.rstrip("]"))] if column else numbers
    except (KeyError, TypeError, IndexError):
        raise ValueError(f"{path}: not among the numbers") from None


def render(template, numbers, tables):
    """The template, its fields filled in: {{expression}}, {{expression|format}}, {{table name}}."""
    def filled(match):
        expression, _, form = match[1].partition("|")
        if expression.startswith("table "):
            return markdown(tables[expression.removeprefix("table ")](numbers))
        return said(value(numbers, expression), form or ".2f")
    return FIELD.sub(filled, template)


def markdown(rows):
    """Rows of cells, the first the head -> a table; all but the first column to the right."""
    head, *others = rows
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *others]
    rows = (" | ".join(cell.replace("|", "\\|") for cell in row) for row in lines)
    return "\n".join(f"| {row} |" for row in rows)


def with_block(text, source):
    """The text, its block between the `one_matrix` comments replaced by that of `source`.

    Raises ValueError if one of them has none.
    """
    block = BLOCK.search(source)
    if not block or not BLOCK.search(text):
        raise ValueError("no block given between <!-- one_matrix: ... --> and "
                         "<!-- one_matrix: end -->, expected one in each text")
    return BLOCK.sub(lambda _: block[0], text)


def rounded(value):
    """For JSON: arrays as lists, numbers to 4 digits, what is not finite as null."""
    if isinstance(value, dict):
        return {str(key): rounded(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [rounded(one) for one in value]
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def as_json(numbers):
    """JSON with a line for each entry of the outer two levels, which shows where a change is."""
    groups = []
    for name, those in numbers.items():
        lines = (f"  {json.dumps(key)}: {json.dumps(one)}" for key, one in those.items())
        groups.append(f"{json.dumps(name)}: {{\n" + ",\n".join(lines) + "\n}")
    return "{" + ",\n".join(groups) + "}\n"
