"""The one page: its gradient is the package's, and what its comments say is true."""
import inspect
import re
import runpy
from pathlib import Path

import numpy as np
from hypothesis import given

import minigpt_np
import one_page
from pages import arrays_of_lines, packages_loss_and_gradients, passes

PAGE = Path(one_page.__file__)
PACKAGE = Path(minigpt_np.__file__).parent
LINES = PAGE.read_text(encoding="utf-8").splitlines()


@given(passes())
def test_loss_and_gradient_are_the_packages(drawn):
    """To 1e-12 of each array's largest number, or of 1, the size of the numbers it is a sum of."""
    loss, grads = one_page.loss_and_gradient(*drawn)
    expected_loss, expected = packages_loss_and_gradients(*drawn)
    assert abs(loss - expected_loss) <= 1e-12 * (1 + expected_loss)
    for n, (array, ours) in enumerate(zip(expected, grads, strict=True)):
        assert ours.shape == array.shape
        assert np.max(np.abs(ours - array)) <= 1e-12 * (1 + np.max(np.abs(array))), n


def test_large_scores_and_logits_give_a_finite_gradient():
    """Up to 1e6, of which the exponential is too large for float64."""
    start = one_page.new_parameters(5, 4, 6, 1, np.random.default_rng(0))
    params, ids, targets = [1000 * array for array in start], np.array([0, 1, 2, 1]), [3, 1, 4, 0]
    with np.errstate(divide="ignore"):              # the log of a probability that is 0
        _, grads = one_page.loss_and_gradient(ids, targets, params, 2)
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
    comments = " ".join(line.partition("# ")[2] for line in LINES[10:])
    named = set(re.findall(r"[\w./]+\.py", comments))
    for name in named:
        assert (PACKAGE / "layers" / name).resolve().is_file(), name
    layers = {path.name for path in (PACKAGE / "layers").glob("*.py")}
    without = {"__init__.py", "constants.py", "dropout.py", "gelu_exact.py"}    # it drops nothing
    assert layers - named == without


def test_the_shape_beside_each_line_is_the_shape_it_makes():
    """The function is run line by line, with sizes that are all different."""
    T, V, H, K = 5, 7, 2, 3
    size = {"T": T, "V": V, "H": H, "K": K, "D": H * K, "3D": 3 * H * K, "4D": 4 * H * K, "1": 1}
    rng = np.random.default_rng(0)
    params = one_page.new_parameters(V, T, H * K, 2, rng)
    made = {n: [array.shape for _, array in pairs]
            for n, pairs in arrays_of_lines(*rng.integers(0, V, (2, T)), params, H)}
    source, first = inspect.getsourcelines(one_page.loss_and_gradient)
    assert list(made) == [n for n, line in enumerate(source, first) if "# (" in line]
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
