"""demos/exercises: right answers pass in every style, the package's own too; what the checker knows is right itself."""
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import learners
from checker import cases, diagnosis, examine, show, training
from checker.answers import Fault, answer, near
from checker.cases import EXAMINATION, examination, random_case
from checker.exercises import EXERCISES, PARTS, TABLE, Part
from checker.files import NAMES
from learners.right import RIGHT
from minigpt_np import GPT, GPTConfig
from minigpt_np.layers import causal, cross_entropy, gelu, layernorm, linear, logits, lookup
from strategies import examples

WHOLE = [exercise for exercise in EXERCISES if not exercise.parts]
STYLES = [(name, style) for name, styles in RIGHT.items() for style in styles]


@pytest.mark.parametrize("name, style", STYLES, ids=[f"{name}: {style}" for name, style in STYLES])
def test_a_right_answer_passes_in_any_style(name, style, monkeypatch):
    for exercise in EXERCISES + PARTS:
        monkeypatch.setattr(exercise, "examples", min(exercise.examples, examples(1 / 2).max_examples))
    found = learners.verdict(name, RIGHT[name][style])
    assert found.done, (found.text, found.case)


def test_there_are_forty_styles_and_every_exercise_has_one():
    assert len(STYLES) >= 40 and tuple(RIGHT) == NAMES and all(RIGHT.values())


def test_pieces_that_return_lists_can_be_put_together(tmp_path):
    """What is done stays done in the exercises that are made of it."""
    learners.write(tmp_path, **{name: list(RIGHT[name].values())[-1 if name != "linear" else 3] for name in NAMES})
    found = [examine.finish(name, examine.begin(name, tmp_path)) for name in ("block", "model")]
    assert [verdict.state for verdict in found] == ["done", "done"]


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
    return layernorm.backward(dy, layernorm.forward(x, pair(gain, bias, names), 1e-5)[1], grads), grads.gain, grads.bias


def package_causal(dy, q, k, v):
    B, H, T, K = q.shape

    def rows(*parts):
        return np.stack(parts, axis=2).transpose(0, 3, 2, 1, 4).reshape(B * T, -1)

    dqkv = causal.backward(rows(dy), causal.forward(rows(q, k, v), B, T, H, 0, None)[1])
    return tuple(dqkv.reshape(B, T, 3, H, K).transpose(2, 0, 3, 1, 4))


def package_model(dloss, ids, targets, p, H):
    V, D = p["E"].shape
    config = GPTConfig(vocab_size=V, block_size=len(p["P"]), n_layer=len(p["blocks"]), n_head=H, n_embd=D)
    model = GPT(config, dtype=np.float64)
    training.add(training.as_exercise(model.params), training.as_exercise(negative(model.params)))
    training.add(training.as_exercise(model.params), p)
    return training.as_exercise(model.backward(model.forward(ids, targets)[2], dloss=dloss))


def negative(params):
    minus = type(params)(params.config, params.flat.dtype)
    minus.flat[...] = -params.flat
    return minus


PACKAGE = {name.removeprefix("package_"): answer for name, answer in globals().items() if name.startswith("package_")}


@pytest.mark.parametrize("name", PACKAGE)
def test_the_package_passes(name, monkeypatch):
    monkeypatch.setattr(TABLE[name], "examples", examples(1 / 2).max_examples)
    found = examine.examine(TABLE[name], PACKAGE[name], None)
    assert found.done, (found.text, found.case)


@pytest.mark.parametrize("name", NAMES)
def test_the_package_has_an_answer_to_be_shown(name, tmp_path):
    learners.write(tmp_path, **{name: learners.plain(name)})
    text = "\n".join(show.beside_the_package(TABLE[name], tmp_path / f"{name}.py"))
    assert "yours, " in text and "the package's, minigpt_np/" in text
    assert all(len(line) <= 80 for line in text.splitlines())


def test_a_comment_too_long_for_a_line_goes_on_as_a_comment():
    lines = show.code(["    # " + "word " * 20, "    x = 1  # " + "why " * 20, "    return " + "a + " * 30 + "b"])
    assert all(len(line) <= 80 for line in lines)
    assert [line.strip()[:2] for line in lines] == ["# ", "# ", "# ", "# ", "x ", "re", "a "]


# ---- what the checker knows ----------------------------------------------------------------------

@pytest.mark.parametrize("exercise", [e for e in WHOLE if e.needs], ids=lambda e: e.name)
def test_gradients_put_together_step_by_step_are_those_of_the_whole(exercise):
    case = random_case(exercise, 1)
    whole = case.gradients()
    assert set(case.expected()) == set(whole) and all(near(case.expected()[name], whole[name]) for name in whole)


@pytest.mark.parametrize("exercise", WHOLE, ids=lambda e: e.name)
def test_the_examination_is_hostile(exercise):
    exam = list(examination(exercise))
    assert len(exam) == 10 and {case.layout for case in exam} == set(cases.LAYOUTS)
    for case in exam:
        axes = [case.sizes[letter] for letter in exercise.letters + ["L"] * ("L" in case.sizes)]
        assert min(axes) >= 3 and len(set(axes)) == len(axes)
    if "extra" in exercise.sizes:
        assert {case.sizes["extra"] for case in exam} == {0, 1, 3}
    if "axes" in exercise.sizes:
        assert {case.inputs["x"].ndim for case in exam} == {1, 2, 3}
    ids = [case.inputs[name] for case in exam for name in ("ids", "targets") if name in case.inputs]
    assert not ids or max(np.bincount(x.ravel()).max() for x in ids) >= 3
    if exercise.name == "model":
        assert any((case.inputs["ids"] == case.inputs["targets"]).all() for case in exam)
    for name in exercise.huge:
        assert any(np.abs(case.inputs[name]).max() > 1000 for case in exam)
    assert any((x == 0).any() for case in exam for x in cases.float_arrays(case.inputs).values())


@pytest.mark.parametrize("exercise", WHOLE, ids=lambda e: e.name)
@examples(1 / 4)
@given(data=st.data())
def test_no_case_is_degenerate_and_none_shows_a_zero_with_a_minus(exercise, data):
    case = data.draw(cases.cases(exercise))
    sizes = case.sizes
    assert "S" not in sizes or sizes["S"] >= 2
    if exercise.name in ("layernorm", "block", "model"):
        assert sizes.get("D", 0) >= 3 or sizes["H"] * sizes["K"] >= 3
    if exercise.name in ("cross_entropy", "model"):
        assert sizes["V"] >= 2
    if exercise.name in ("causal", "block", "model"):
        assert sizes["T"] >= 2
    right = [-0.0 * x if data.draw(st.booleans()) else x * data.draw(st.sampled_from([1, 1e-9, -1e-9]))
             for x in case.expected().values()]
    for text in show.written([np.asarray(x) for x in right[:1]]):
        assert "-0. " not in text and "-0.]" not in text and not text.endswith("-0.")


# ---- the known mistakes --------------------------------------------------------------------------

MISTAKES = [pytest.param(exercise, mistake, id=f"{exercise.name}: {mistake.of}: {mistake.text[:30]}")
            for exercise in WHOLE + PARTS for mistake in exercise.mistakes]


@pytest.mark.parametrize("exercise, mistake", MISTAKES)
def test_every_mistake_is_told_from_every_other(exercise, mistake, monkeypatch):
    """Whoever gives just the numbers of one gets its text: none is out of reach, or another's."""
    remembered = learners.remembering(mistake)

    def mistaken(case, function):
        if mistake.of == "all":
            return remembered.answer(case)
        try:
            wrong = diagnosis.wrong_gradient(mistake, case, case.expected([mistake.of])[mistake.of])
        except (ValueError, IndexError) as error:
            return Fault(str(error), [])
        return dict(case.expected()) | {mistake.of: wrong}

    monkeypatch.setattr(diagnosis, "answer", mistaken)
    monkeypatch.setattr(diagnosis, "random_case", learners.same_case)
    monkeypatch.setattr(exercise, "mistakes", [learners.remembering(m) for m in exercise.mistakes])
    case = learners.same_case(exercise, 1000)
    names = [mistake.of] if mistake.of != "all" else list(case.expected())
    with np.errstate(all="ignore"):
        texts = diagnosis.diagnosis(exercise, None, case, Fault("", names))
    assert texts == [mistake.text.format(name=mistake.of)]


@pytest.mark.parametrize("exercise", [e for e in WHOLE if not e.needs and not e.into], ids=lambda e: e.name)
def test_a_mistake_of_no_known_kind_is_given_no_name(exercise):
    name = exercise.returned(random_case(exercise, 0).inputs)[0]

    def stretched(case, function):
        right = dict(case.expected())
        x = right[name]
        right[name] = x * np.linspace(1, 1.1, x.size).reshape(x.shape) + 0.01
        return right

    case = random_case(exercise, 7)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(diagnosis, "answer", stretched)
        patch.setattr(diagnosis, "fault", lambda case, function: Fault("", [name]))
        assert diagnosis.diagnosis(exercise, None, case, Fault("", [name])) == []


def test_right_wherever_one_is_not_said_where_the_gradient_is_zero_anyway():
    """Attention at T = 1: dq and dk are 0 there, so that zeros are right there and say nothing."""
    def zeros(dy, q, k, v):
        return np.zeros_like(q), np.zeros_like(k), learners.right_pieces("block")[0]["causal"].backward(dy, q, k, v)[2]

    assert not diagnosis.only_where(TABLE["causal"], zeros, ["dq", "dk"])

    def first_sequence(dy, q, k, v):
        dq, dk, dv = learners.right_pieces("block")[0]["causal"].backward(dy, q, k, v)
        dv[1:] = 0
        return dq, dk, dv

    assert diagnosis.only_where(TABLE["causal"], first_sequence, ["dv"]) == [
        "It is right wherever B = 1, and wrong where B > 1."]


def test_parts_of_exercise_0_are_no_backward_passes():
    assert [part.name.split(".")[1] for part in PARTS if isinstance(part, Part)] == [
        "derivative", "difference", "gradient", "agrees"]
    assert isinstance(answer(random_case(PARTS[0], 0), lambda x: 3 * x * x - 2), dict) and len(EXAMINATION) == 10
