"""demos/exercises: right answers pass in every style, the package's own too; what the checker knows
is right itself."""
import numpy as np
import pytest

import learners
from checker import show, training, verdict
from checker.answers import judge
from checker.cases import EDGES, float_arrays, large_cases, small_cases
from checker.exercises import EXERCISES, TABLE, leaves, weights_of_block
from checker.files import NAMES
from checker.steps import way_back
from checker.teaching import LESSONS
from learners.right import OTHER_STYLES, PLAIN
from minigpt_np import GPT, GPTConfig

BACKWARDS = [exercise for exercise in EXERCISES if not exercise.parts]
STYLES = PLAIN | OTHER_STYLES | {"slope, x moved and put back": learners.changed(
    "slope", "step = np.zeros(len(x))", "old = x[i]", "step[i] = h", "x[i] = old + h",
    "dx[i] = (f(x + step) - f(x - step)) / (2 * h)", """right = f(x)
        x[i] = old - h
        dx[i] = (right - f(x)) / (2 * h)
        x[i] = old""")}


@pytest.mark.parametrize("style", STYLES)
def test_a_right_answer_passes_in_any_style(style):
    found = learners.verdict_on(style.split(",")[0], STYLES[style])
    assert found.done, found


def test_the_packages_own_backward_passes():
    """It goes through all of its layers."""
    def backward(dloss, ids, targets, p, H):
        V, D = p["E"].shape
        config = GPTConfig(vocab_size=V, block_size=len(p["P"]), n_layer=len(p["blocks"]),
                           n_head=H, n_embd=D)
        model = GPT(config, dtype=np.float64)
        model.params.flat[...] = 0
        given = dict(leaves("p", p))
        for label, x in leaves("p", training.as_exercise(model.params)):
            x += given[label]
        return training.as_exercise(model.backward(model.forward(ids, targets)[2], dloss=dloss))

    assert verdict.first_wrong(TABLE["model"], backward) is None


@pytest.mark.parametrize("name", NAMES)
def test_the_package_has_an_answer_to_be_shown(name):
    text = "\n".join(show.package_lines(TABLE[name]))
    assert "The package's minigpt_np." in text and "def " in text


# ---- what the checker knows ----------------------------------------------------------------------

@pytest.mark.parametrize("exercise", BACKWARDS, ids=lambda e: e.name)
def test_the_final_test_has_edge_cases(exercise):
    large = large_cases(exercise)
    axes = [large[0].sizes[letter] for letter in exercise.axes]
    assert min(axes) >= 2 and len(set(axes)) >= len(axes) - 1
    assert {"decimals", "many digits", "zeros", *exercise.edges} == {case.kind for case in large}
    assert set(exercise.edges) <= set(EDGES)
    if "extra" in exercise.sizes:
        assert {case.sizes["extra"] for case in large} == {0, 1, 3}
    ids = [case.inputs[name] for case in large for name in ("ids", "targets")
           if name in case.inputs]
    assert not ids or max(np.bincount(x.ravel()).max() for x in ids) >= 3
    looked_up = [(case.inputs["ids"], case.sizes["V"]) for case in large if "ids" in case.inputs]
    assert all(len(np.unique(x)) < V for x, V in looked_up)
    assert any((x == 0).any() for case in large for x in float_arrays(case.inputs).values())
    for letter, (least, most, _) in exercise.sizes.items():
        assert {case.sizes[letter] for case in small_cases(exercise)} == set(range(least, most + 1))


@pytest.mark.parametrize("name", ["block", "model"])
def test_of_a_right_answer_every_gradient_on_the_way_has_its_mark(name):
    case, right = small_cases(TABLE[name])[0], learners.right_piece(name).backward
    steps = way_back(judge(case, right), right)
    assert {step.mark for step in steps} == {"✓"} and len(steps) > len(case.expected)


def ones(*shape):
    return np.ones(shape)


def row(*numbers):
    return np.array([numbers], float)


def block_without_branches():
    w = weights_of_block(4, ones)
    return w | {name: 0 * w[name] for name in ("W_out", "b_out", "W_down", "b_down")}


def model_of_zeros():
    return dict(E=np.zeros((4, 3)), P=np.zeros((2, 3)), gain=ones(3), bias=ones(3),
                blocks=[weights_of_block(3, lambda *shape: np.zeros(shape))])


def added(backward, dlogits, ids, E, dE):
    backward(dlogits, ids, E, dE)
    return dE


# the number that each question asks for, from the right answer's backward
ASKED = {
    "linear": lambda b: b(ones(3, 2), ones(3, 2), ones(2, 2), ones(2))[2][0],
    "lookup": lambda b: b(ones(1, 3, 2), np.array([[1, 0, 1]]), ones(4, 2), ones(3, 2))[0][3].max(),
    "logits": lambda b: b(row(0.1, 0.2, 0.3, -0.6), row(10), row(1, 2, 3, 4).T)[1][3, 0],
    "tied": lambda b: added(b, row(0, 0), np.array([0]), row(0.5, 1).T, row(5, 5).T)[0, 0],
    "cross_entropy": lambda b: b(1.0, row(0, 0, 0, 0), np.array([0]))[0, 0],
    "gelu": lambda b: b(row(1), row(0))[0, 0],
    "centring": lambda b: b(row(1, 1, 1, 1), row(1, 2, 3, 4))[0, 0],
    "layernorm": lambda b: b(row(3, 0, 0), row(1, 2, 4), ones(3), ones(3))[0].sum(),
    "softmax": lambda b: b(row(1, 0), row(0, 0))[0, 0],
    "causal": lambda b: b(row(1, 0, 0).reshape(1, 1, 3, 1), *[ones(1, 1, 3, 1)] * 3)[2][0, 0, 0, 0],
    "block": lambda b: b(ones(2, 4) / 2, row(1, 2, 4, 9) * row(1, 2).T, block_without_branches(), 1,
                         2)[0][0, 0],
    "model": lambda b: b(1.0, np.array([[0, 1]]), np.array([[0, 1]]), model_of_zeros(), 1)["E"][3,
                                                                                                0],
}


@pytest.mark.parametrize("name", NAMES)
def test_the_question_before_has_the_right_answer(name):
    right = learners.right_piece(name)
    number = right.derivative(2.0) if name == "slope" else ASKED[name](right.backward)
    assert abs(number - LESSONS[name].answer) < 1e-12


def test_no_zero_is_shown_with_a_minus():
    assert show.array_text(np.array([0, -0.0, 1e-9, -1e-9])) == "[0. 0. 0. 0.]"
