"""The one page: its gradient is the package's, and what its comments say is true."""
import ast
import inspect
import re
import runpy
import sys
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import minigpt_np
import one_page
from minigpt_np import GPT, GPTConfig
from strategies import ids_arrays, seeds, sizes

PAGE = Path(one_page.__file__)
PACKAGE = Path(minigpt_np.__file__).parent
LINES = PAGE.read_text(encoding="utf-8").splitlines()


@given(data=st.data(), T=sizes(6), V=sizes(6), H=sizes(3), L=sizes(3), unused=st.integers(0, 2), seed=seeds)
def test_loss_and_gradient_are_the_packages(data, T, V, H, L, unused, seed):
    """To 1e-12 of each array's largest number, or of 1, the size of the numbers it is a sum of."""
    K = data.draw(st.integers(-(-4 // H), 4), label="K")    # D >= 4: of fewer, LayerNorm makes much of rounding
    ids, targets = data.draw(ids_arrays(2, T, V), label="ids, targets")
    rng = np.random.default_rng(seed)
    params = one_page.new_parameters(V, T + unused, H * K, L, rng)
    for array in params:
        array += rng.normal(0, 0.7, array.shape)                # so that gains and biases matter
    loss, grads = one_page.loss_and_gradient(ids, targets, params, H)

    model = GPT(GPTConfig(V, T + unused, L, H, H * K), dtype=np.float64)
    for theirs, ours in zip(model.params.arrays.values(), params, strict=True):
        theirs[...] = ours
    _, expected_loss, cache = model.forward(ids[None], targets[None])
    assert abs(loss - expected_loss) <= 1e-12 * (1 + expected_loss)
    for (name, expected), ours in zip(model.backward(cache).arrays.items(), grads, strict=True):
        assert ours.shape == expected.shape
        assert np.max(np.abs(ours - expected)) <= 1e-12 * (1 + np.max(np.abs(expected))), name


def test_large_scores_and_logits_give_a_finite_gradient():
    """Up to 1e6, of which the exponential is too large for float64."""
    params = [1000 * array for array in one_page.new_parameters(5, 4, 6, 1, np.random.default_rng(0))]
    with np.errstate(divide="ignore"):              # the log of a probability that is 0
        _, grads = one_page.loss_and_gradient(np.array([0, 1, 2, 1]), np.array([3, 1, 4, 0]), params, 2)
    assert all(np.isfinite(gradient).all() for gradient in grads)


def test_it_learns_its_sentence_and_finds_the_packages_gradient(capsys):
    with np.printoptions():                                             # restored afterwards
        runpy.run_path(str(PAGE), run_name="__main__")
    output = capsys.readouterr().out
    losses = [float(text) for text in re.findall(r"loss ([\d.]+)", output)]
    V = len({*one_page.TEXT.split(), one_page.NEVER})
    assert abs(losses[0] - np.log(V)) < 0.1 and losses[-1] < 0.1        # from a guess to knowing it
    assert losses == sorted(losses, reverse=True)
    assert "The package's gradient is the same" in output


def test_every_file_it_names_is_there_and_every_layer_is_named():
    named = set(re.findall(r"[\w./]+\.py", " ".join(line.partition("# ")[2] for line in LINES[10:])))
    for name in named:
        assert (PACKAGE / "layers" / name).resolve().is_file(), name
    layers = {path.name for path in (PACKAGE / "layers").glob("*.py")}
    assert layers - named == {"__init__.py", "constants.py", "dropout.py", "gelu_exact.py"}    # the page drops nothing


def test_the_shape_beside_each_line_is_the_shape_it_makes():
    """The function is run line by line, with sizes that are all different."""
    T, V, H, K = 5, 7, 2, 3
    size = {"T": T, "V": V, "H": H, "K": K, "D": H * K, "3D": 3 * H * K, "4D": 4 * H * K, "1": 1}
    function = one_page.loss_and_gradient
    made, last = {}, None                   # line -> shapes of what it assigns

    def trace(frame, event, _):
        nonlocal last
        if frame.f_code is not function.__code__:
            return None
        if last in assigned:
            made[last] = [np.shape(eval(name, {}, dict(frame.f_locals))) for name in assigned[last]]
        last = frame.f_lineno
        return trace

    first = inspect.getsourcelines(function)[1]
    assigned = {}                           # line -> names
    for node in ast.walk(ast.parse(inspect.getsource(function))):
        if isinstance(node, (ast.Assign, ast.AugAssign)) and "# (" in LINES[node.lineno + first - 2]:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            assigned[node.lineno + first - 1] = [ast.unparse(name) for name in getattr(target, "elts", [target])]
    rng = np.random.default_rng(0)
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function(*rng.integers(0, V, (2, T)), one_page.new_parameters(V, T, H * K, 2, rng), H)
    finally:
        sys.settrace(before)

    assert made.keys() == assigned.keys()
    for n, shapes in made.items():
        said = [tuple(size[letter] for letter in re.findall(r"\w+", shape))
                for shape in re.findall(r"\(([\dTVDHK, ]*)\)", LINES[n - 1].partition("# ")[2])]
        assert said == shapes or set(said) == set(shapes) and len(said) == 1, LINES[n - 1]
    computes = re.compile(r" @ |np\.|\.(sum|reshape)\(| [*/] ")
    for n in range(min(made), max(made)):
        assert n in made or not computes.search(LINES[n - 1].partition("# ")[0]), LINES[n - 1]


def test_no_two_axes_have_one_length_so_that_shapes_teach():
    words, D, H = one_page.TEXT.split(), one_page.D, one_page.H
    axes = len(words) - 1, len({*words, one_page.NEVER}), D, H, D // H, 4 * D
    assert len(set(axes)) == 6, axes
