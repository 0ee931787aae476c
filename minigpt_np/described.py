"""Named fields that a debugger shows by name, dtype and shape, and never by a page of numbers."""
import numpy as np

MANY = 3                    # a list with more entries shows the first and how many there are


class Described:
    """A base for plain dataclasses: caches, groups of parameters. Its repr names the layer it belongs to."""

    def __repr__(self):
        return "\n".join(lines(self))


def lines(value):
    """What `value` is, as a list of lines: one if it fits in a hundred columns, else one a field."""
    if isinstance(value, np.ndarray):
        return [f"{value.dtype} {value.shape}"]
    if isinstance(value, (list, tuple)) and any(isinstance(entry, Described) for entry in value):
        fields = [(f"[{i}]", entry) for i, entry in enumerate(value if len(value) <= MANY else value[:1])]
        return joined(f"{len(value)} of", fields, more="" if len(value) <= MANY else f"... {len(value) - 1} more alike")
    if isinstance(value, Described):
        module, name = type(value).__module__.split(".")[-1], type(value).__qualname__
        return joined(f"{module}.{name}", vars(value).items())
    return [repr(value)]


def joined(title, fields, more=""):
    """title(name: field, ...), on one line or indented on several."""
    shown = [(name, lines(value)) for name, value in fields]
    one_line = f"{title}({', '.join(f'{name}: {text[0]}' for name, text in shown)})"
    if not more and all(len(text) == 1 for _, text in shown) and len(one_line) <= 100:
        return [one_line]
    found = [f"{title}("]
    for name, text in shown:
        found += [f"  {name}: {text[0]}", *(f"  {line}" for line in text[1:])]
    return found + ([f"  {more}"] if more else []) + [")"]
