"""demos/exercises: right answers pass in every style, the package's own too; what the checker knows
is right itself."""
from types import SimpleNamespace

import numpy as np
import pytest

import learners
from checker import cases, show, training, verdict
from checker.answers import near
from checker.cases import final_test, random_case
from checker.exercises import EXERCISES, TABLE
from checker.files import NAMES
from checker.steps import way_back
from learners.right import RIGHT
from minigpt_np import GPT, GPTConfig
from minigpt_np.layers import causal, cross_entropy, gelu, layernorm, linear, logits, lookup

BACKWARDS = [exercise for exercise in EXERCISES if not exercise.parts]
STYLES = [(name, style) for name, styles in RIGHT.items() for style in styles]


@pytest.fixture(autouse=True)
def few_examples(monkeypatch):
    monkeypatch.setattr(verdict, "EXAMPLES", 5)
    monkeypatch.setattr(verdict, "EXAMPLES_OF_MANY", 2)


@pytest.mark.parametrize("name, style", STYLES, ids=[f"{name}: {style}" for name, style in STYLES])
def test_a_right_answer_passes_in_any_style(name, style):
    found = learners.verdict_on(name, RIGHT[name][style])
    assert found.done, (found.text, found.case)


def test_pieces_that_return_lists_can_be_put_together(tmp_path):
    """What is done stays done in the exercises that are made of it."""
    learners.write(tmp_path, **{name: list(RIGHT[name].values())[-1 if name != "linear" else 3]
                                for name in NAMES})
    begun = [(name, verdict.begin(name, tmp_path)) for name in ("block", "model")]
    assert [verdict.finish(*one).state for one in begun] == ["done", "done"]


# ---- the package's layers, as answers ------------------------------------------------------------

def pair(a, b, names=("W", "b")):
    return SimpleNamespace(**dict(zip(names, (a, b))))


def package_linear(dy, x, W, b):
    grads = pair(np.zeros_like(W), np.zeros_like(b))
    return linear.backward(dy, linear.forward(x, pair(W, b))[1], grads), grads.W, grads.b


def package_lookup(dx, ids, E, P):
    dE, dP = np.zeros_like(E), np.zeros_like(P)
    lookup.backward(dx, lookup.forward(ids, E, P)[1], dE, dP)
    return dE, dP


def package_logits(dlogits, h, head):
    dhead = np.zeros_like(head)
    return logits.backward(dlogits, logits.forward(h, head)[1], dhead), dhead


def package_tied(dlogits, ids, E, dE):
    no_P = np.zeros((len(ids), E.shape[1]))
    x, lookup_cache = lookup.forward(ids[None], E, no_P)
    h = np.tanh(x[0])
    dh = logits.backward(dlogits, logits.forward(h, E)[1], dE)
    lookup.backward((dh * (1 - h * h))[None], lookup_cache, dE, np.zeros_like(no_P))


def package_cross_entropy(dloss, scores, targets):
    return cross_entropy.backward(dloss, cross_entropy.forward(scores, targets)[1])


def package_gelu(dy, x):
    return gelu.backward(dy, gelu.forward(x)[1])


def package_layernorm(dy, x, gain, bias):
    names = ("gain", "bias")
    grads = pair(np.zeros_like(gain), np.zeros_like(bias), names)
    return layernorm.backward(dy, layernorm.forward(x, pair(gain, bias, names), 1e-5)[1],
                              grads), grads.gain, grads.bias


def package_causal(dy, q, k, v):
    B, H, T, K = q.shape

    def rows(*parts):
        return np.stack(parts, axis=2).transpose(0, 3, 2, 1, 4).reshape(B * T, -1)

    dqkv = causal.backward(rows(dy), causal.forward(rows(q, k, v), B, T, H, 0, None)[1])
    return tuple(dqkv.reshape(B, T, 3, H, K).transpose(2, 0, 3, 1, 4))


def package_model(dloss, ids, targets, p, H):
    V, D = p["E"].shape
    config = GPTConfig(vocab_size=V, block_size=len(p["P"]), n_layer=len(p["blocks"]), n_head=H,
                       n_embd=D)
    model = GPT(config, dtype=np.float64)
    training.add(training.as_exercise(model.params), training.as_exercise(negative(model.params)))
    training.add(training.as_exercise(model.params), p)
    return training.as_exercise(model.backward(model.forward(ids, targets)[2], dloss=dloss))


def negative(params):
    minus = type(params)(params.config, params.flat.dtype)
    minus.flat[...] = -params.flat
    return minus


PACKAGE = {name.removeprefix("package_"): answer for name,
           answer in globals().items() if name.startswith("package_")}


@pytest.mark.parametrize("name", PACKAGE)
def test_the_package_passes(name):
    found = verdict.examine(TABLE[name], PACKAGE[name], None)
    assert found.done, (found.text, found.case)


@pytest.mark.parametrize("name", NAMES)
def test_the_package_has_an_answer_to_be_shown(name, tmp_path):
    learners.write(tmp_path, **{name: learners.plain(name)})
    text = "\n".join(show.beside_the_package(TABLE[name], tmp_path / f"{name}.py"))
    assert "yours, " in text and "the package's, minigpt_np/" in text


# ---- what the checker knows ----------------------------------------------------------------------

@pytest.mark.parametrize("exercise", BACKWARDS, ids=lambda e: e.name)
def test_the_final_test_has_edge_cases(exercise):
    exam = list(final_test(exercise))
    assert len(exam) == 10 and {case.layout for case in exam} == set(cases.LAYOUTS)
    for case in exam:
        axes = [case.sizes[letter] for letter in exercise.axes + ["L"] * ("L" in case.sizes)]
        assert min(axes) >= 2 and len(set(axes)) >= len(axes) - 1
    assert set(exercise.edges) <= {case.kind for case in exam}
    if "extra" in exercise.sizes:
        assert {case.sizes["extra"] for case in exam} == {0, 1, 3}
    if "axes" in exercise.sizes:
        assert {case.inputs["x"].ndim for case in exam} == {1, 2, 3}
    ids = [case.inputs[name] for case in exam for name in ("ids", "targets") if name in case.inputs]
    assert not ids or max(np.bincount(x.ravel()).max() for x in ids) >= 3
    assert any((x == 0).any() for case in exam for x in cases.float_arrays(case.inputs).values())


@pytest.mark.parametrize("name", ["block", "model"])
def test_the_gradients_on_the_way_are_those_of_the_pieces(name):
    """Each piece's right backward, given the step's gradient and arguments, returns what the whole
    has for its parameters."""
    case = random_case(TABLE[name], 1)
    pieces, _ = learners.right_pieces(name)
    steps, right = way_back(case), case.expected()
    assert [step.piece for step in steps] == (
        ["linear", "gelu", "linear", "layernorm", "linear", "causal", "linear", "layernorm"]
        if name == "block" else
        ["cross_entropy", "logits", "layernorm", *["block"] * case.sizes["L"], "lookup"])
    for step in steps:
        returned = pieces[step.piece].backward(step.dout, *step.arguments)
        if step.piece in ("linear", "layernorm"):
            assert all(near(x, right[label]) for x,
                       label in zip(returned[1:], step.beside, strict=True))
        if step.piece == "block":
            assert all(near(returned[1][key], right[label]) for key,
                       label in zip(step.arguments[1], step.beside, strict=True))


@pytest.mark.parametrize("array, text",
                         [(-0.0 * np.ones(2), "[0. 0.]"), (np.array([1e-9, -1e-9]), "[0. 0.]")])
def test_no_zero_is_shown_with_a_minus(array, text):
    assert show.written([array]) == [text]
