"""Reprs that show names, dtypes and shapes instead of values."""
import numpy as np

COLUMNS = 100               # a longer repr has one field a line
ALIKE = 3                   # of a longer list only the first entry is shown


class ShapeRepr:
    """A base for plain dataclasses: caches (whose repr names the layer), groups of parameters."""

    def __repr__(self):
        return "\n".join(lines(self))


def lines(value):
    """The repr of `value`, as a list of lines."""
    if isinstance(value, np.ndarray):
        return [f"{value.dtype} {value.shape}"]
    if isinstance(value, ShapeRepr):
        module, name = type(value).__module__.split(".")[-1], type(value).__qualname__
        title = f"{module}.Cache" if name == "Cache" else name          # every layer has a Cache
        return layout(title, vars(value).items())
    return [repr(value)]


def layout(title, fields):
    """title(name: field, ...) of (name, field) pairs: one line if it fits, else a field a line."""
    shown = [(name, lines(field)) for name, field in entries(fields)]
    one_line = f"{title}({', '.join(f'{name}: {text[0]}' for name, text in shown)})"
    if len(one_line) <= COLUMNS and all(len(text) == 1 for _, text in shown):
        return [one_line]
    inside = [line for name, text in shown for line in (f"{name}: {text[0]}", *text[1:])]
    return [f"{title}:", *(f"  {line}" for line in inside)]


def entries(fields):
    """The (name, field) pairs; of a list of ShapeRepr each entry, or one and how many more."""
    for name, field in fields:
        if not (isinstance(field, (list, tuple)) and field and isinstance(field[0], ShapeRepr)):
            yield name, field
            continue
        for i, entry in enumerate(field if len(field) <= ALIKE else field[:1]):
            yield f"{name}[{i}]", entry
        if len(field) > ALIKE:
            yield f"{name}[1:]", Verbatim(f"{len(field) - 1} more like it")


class Verbatim(str):
    """Shown as it is, without quotes."""
    __repr__ = str.__str__
