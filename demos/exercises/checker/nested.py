"""Arrays in nested dicts and lists, by their labels: p["blocks"][0]["W_up"] and so on."""
import numpy as np


def leaves(label, value):
    """(label, leaf) of each value in nested dicts and lists."""
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
    """The same nested dicts and lists, with convert(x) for each array x."""
    if isinstance(value, dict):
        return {key: rebuilt(item, convert) for key, item in value.items()}
    if isinstance(value, list):
        return [rebuilt(item, convert) for item in value]
    return convert(value) if isinstance(value, np.ndarray) else value
