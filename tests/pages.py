"""What the tests of demos/one_page.py and of the live page share."""
import ast
import inspect
import sys

import numpy as np
from hypothesis import strategies as st

import one_page
from minigpt_np import GPT, GPTConfig
from strategies import ids_arrays, seeds, sizes


@st.composite
def passes(draw):
    """ids, targets, params, H of loss_and_gradient; gains and biases matter, P may be too long."""
    T, V, H, L = draw(sizes(6)), draw(sizes(6)), draw(sizes(3)), draw(st.integers(1, 3))
    K = draw(st.integers(-(-4 // H), 4))        # D >= 4: of fewer, LayerNorm makes much of rounding
    ids, targets = draw(ids_arrays(2, T, V))
    rng = np.random.default_rng(draw(seeds))
    params = one_page.new_parameters(V, T + draw(st.integers(0, 2)), H * K, L, rng)
    for array in params:
        array += rng.normal(0, 0.7, array.shape)
    return ids, targets, params, H


def packages_loss_and_gradients(ids, targets, params, H, head=None):
    """The package's for these parameters; untied, head and its gradient come last."""
    V, D = params[0].shape
    model = GPT(GPTConfig(V, len(params[1]), (len(params) - 4) // 12, H, D,
                          tie_embeddings=head is None), dtype=np.float64)
    arrays = params if head is None else [*params, head]
    for theirs, ours in zip(model.params.arrays.values(), arrays, strict=True):
        theirs[...] = ours
    _, loss, cache = model.forward(ids[None], targets[None])
    return loss, [*model.backward(cache).arrays.values()]


def arrays_of_lines(*args):
    """What each line with a shape in its comment binds, when loss_and_gradient(*args) runs.

    -> [(number of the line, [(name, array), ...]), ...] in the order in which the lines ran.
    """
    function = one_page.loss_and_gradient
    lines, first = inspect.getsourcelines(function)
    names, bound, last = {}, [], None                           # names: number of a line -> names
    for node in ast.walk(ast.parse("".join(lines))):
        if isinstance(node, (ast.Assign, ast.AugAssign)) and "# (" in lines[node.lineno - 1]:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            target = target.value if isinstance(target, ast.Subscript) else target      # dP[:T]
            names[node.lineno + first - 1] = [one.id for one in getattr(target, "elts", [target])]

    def trace(frame, event, _):
        nonlocal last
        if frame.f_code is not function.__code__:
            return None
        if last in names:
            bound.append((last, [(name, np.array(frame.f_locals[name])) for name in names[last]]))
        last = frame.f_lineno
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function(*args)
    finally:
        sys.settrace(before)
    return bound
