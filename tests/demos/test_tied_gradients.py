"""demos/tied_gradients.py: its numbers, its ladder, whether its pictures fit, and bad input."""
import os
import re
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, strategies as st

import one_page
import tied_gradients as demo
from lib import terminal
from minigpt_np import layers
from minigpt_np.layers import lookup
from minigpt_np.training.blas import blas_threads

ROOT = Path(__file__).resolve().parents[2]
ROSE = "a rose is a rose is a rose .".split()
EPS = np.finfo(float).eps
# Numerical gradients take long for wide models, and the ladder trains four of them.
unchecked = mock.patch.object(demo, "compare", lambda *_: [])
untrained = mock.patch.object(demo, "SECTIONS", demo.SECTIONS[:-1])


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch):
    """Whatever terminal the tests run in."""
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture(scope="module")
def lesson():
    return demo.measure(demo.TEXT.split())


@pytest.fixture(scope="module")
def output():
    done = subprocess.run([sys.executable, demo.__file__], capture_output=True, text=True,
                          encoding="utf-8", check=True,
                          env=os.environ | {"COLUMNS": "80", "PYTHONPATH": str(ROOT)})
    assert not done.stderr
    return done.stdout


def lines_of(lesson):
    return [line for lines in demo.report(lesson) for line in lines]


def printed(capsys, *options, status=0):
    assert demo.main(list(options)) == status
    return capsys.readouterr().out


def assert_fits(lines, columns=80):
    for line in lines:
        assert terminal.width(line) <= columns, line
        assert all(c.isprintable() for c in terminal.ESCAPES.sub("", line)), ascii(line)


# ---- the gradients -------------------------------------------------------------------------------

@given(st.lists(st.sampled_from("abcd"), min_size=2, max_size=9), st.integers(0, 3), st.booleans())
def test_the_contributions_are_the_two_products_and_add_up(words, seed, untied):
    with unchecked:
        lesson = demo.measure(words, n_embd=4, seed=seed, untied=untied)
    V, T = len(lesson.tokens), len(words) - 1
    assert lesson.tokens == [*dict.fromkeys(words), demo.NEVER]
    assert [lesson.tokens[v] for v in lesson.ids] == words[:-1]
    assert [lesson.tokens[v] for v in lesson.targets] == words[1:]
    assert list(lesson.lookups) == [words[:-1].count(token) for token in lesson.tokens]

    _, loss, cache = lesson.model.forward(lesson.ids[None], lesson.targets[None])
    total = lesson.from_lookup + lesson.from_logits
    rounding = 8 * T * EPS * np.max(np.abs([lesson.from_lookup, lesson.from_logits, total]))
    dx, one_hot = lesson.grads.P, np.eye(V)[lesson.ids]
    assert loss == lesson.loss
    assert np.max(np.abs(lesson.from_lookup - one_hot.T @ dx)) <= rounding
    assert np.max(np.abs(lesson.from_logits - lesson.dlogits.T @ cache.logits.h)) <= rounding
    assert not lesson.from_lookup[lesson.lookups == 0].any()
    assert lesson.from_logits.any(axis=1).all()
    if untied:
        np.testing.assert_array_equal(lesson.grads.E, lesson.from_lookup)
        np.testing.assert_array_equal(lesson.grads.head, lesson.from_logits)
    else:
        assert np.max(np.abs(lesson.grads.E - total)) <= rounding


def test_it_starts_and_trains_as_one_page_does_and_with_its_numbers(lesson):
    assert (demo.TEXT, demo.NEVER, demo.STEPS, demo.LEARNING_RATE) == (
        one_page.TEXT, one_page.NEVER, one_page.STEPS, one_page.LEARNING_RATE)
    model, T = lesson.model, len(lesson.ids)
    params = one_page.new_parameters(len(lesson.tokens), T, one_page.D, one_page.L,
                                     np.random.default_rng(one_page.SEED))
    for theirs, ours in zip(model.params.named().values(), params, strict=True):
        np.testing.assert_array_equal(theirs, ours)
    for _ in range(demo.STEPS):
        _, grads = one_page.loss_and_gradient(lesson.ids, lesson.targets, params, one_page.H)
        for array, grad in zip(params, grads):
            array -= one_page.LEARNING_RATE * grad
    loss, _ = one_page.loss_and_gradient(lesson.ids, lesson.targets, params, one_page.H)
    trained = demo.start(model.config, one_page.SEED)
    # the rounding of 200 steps, each of which carries on what the last one lost
    assert demo.train(trained, lesson) == pytest.approx(loss, rel=1e-9)


def losing_backward(dx, cache, dE, dP):
    """lookup.backward with its famous mistake."""
    dE[cache.ids] += dx
    dP[:dx.shape[1]] += dx.sum(axis=0)


@pytest.mark.parametrize("untied", [False, True])
def test_both_reports_are_right_and_find_the_famous_mistake(untied):
    reports = demo.measure(ROSE, n_embd=4, untied=untied).reports
    assert [report.method for report in reports] == ["differences", "complex"]
    assert all(report.ok and report.checked == (1 + untied) * 5 * 4 for report in reports)
    with mock.patch.object(lookup, "backward", losing_backward):
        assert not any(report.ok for report in demo.measure(ROSE, n_embd=4, untied=untied).reports)


def test_a_wrong_gradient_is_exit_status_1(capsys):
    with mock.patch.object(lookup, "backward", losing_backward), untrained:
        out = printed(capsys, "--text", " ".join(ROSE), "--width", "4", status=1)
    assert "gradient WRONG" in out


# ---- the ladder ----------------------------------------------------------------------------------

@given(st.integers(0, 2), st.integers(0, 3), st.booleans())
def test_a_rung_is_the_stream_read_as_the_model_reads_its_end(n_layer, seed, untied):
    with unchecked:
        lesson = demo.measure(ROSE, layers=n_layer, n_embd=4, seed=seed, untied=untied)
    model, p, eps = lesson.model, lesson.model.params, lesson.model.config.layer_norm_eps
    x, shape = (p.E[lesson.ids] + p.P), (1, len(lesson.ids))
    stream = [x]
    for block in p.blocks:
        normed, _ = layers.layernorm.forward(x, block.norm1, eps)
        x = x + layers.attention.forward(normed, block.attention, shape, model.config, None)[0]
        normed, _ = layers.layernorm.forward(x, block.norm2, eps)
        stream += [x, x := x + layers.mlp.forward(normed, block.mlp, model.config, None)[0]]
    for matrix in ("head", "E"):
        rungs = demo.ladder(model, lesson, matrix)
        assert len(rungs) == 1 + 2 * n_layer and list(rungs)[-1] == demo.LOWEST
        for said, x in zip(rungs.values(), reversed(stream), strict=True):
            h, _ = layers.layernorm.forward(x, p.norm, eps)
            scores = h @ getattr(p, matrix).T
            np.testing.assert_array_equal(said, scores.argmax(axis=1))
    np.testing.assert_array_equal(demo.highest(demo.ladder(model, lesson)),
                                  model.forward(lesson.ids[None])[0][0].argmax(axis=1))


@pytest.mark.parametrize("seed", range(4))
def test_one_E_spells_the_token_read_below_and_the_next_above_and_two_matrices_do_not(seed, lesson):
    def low_and_high(model, matrix="head"):
        rungs = demo.ladder(model, lesson, matrix)
        low, high = rungs[demo.LOWEST], demo.highest(rungs)
        return np.sum(low == lesson.ids), np.sum(high == lesson.targets)

    one, T = demo.start(lesson.model.config, seed), len(lesson.ids)
    two = one.untied()
    assert low_and_high(one)[0] <= 6
    with blas_threads(1):
        demo.train(one, lesson), demo.train(two, lesson)
    assert low_and_high(one) == (T, T)
    assert low_and_high(two)[0] < T / 2 and low_and_high(two)[1] == T
    assert max(low_and_high(two, "E")) < T


def test_training_that_diverges_is_refused(lesson):
    with mock.patch.object(demo, "LEARNING_RATE", 1e308), np.errstate(all="ignore"):
        with pytest.raises(ValueError, match="steps: 200 given, but after . the weights are not"):
            demo.train(demo.start(lesson.model.config, 0), lesson)


# ---- what is printed -----------------------------------------------------------------------------

@given(st.lists(st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1, max_size=30),
                min_size=2, max_size=40),
       st.sampled_from([1, 2, 9, 16]), st.integers(40, 220),
       st.fixed_dictionaries(dict.fromkeys(["untied", "colour", "numbers"], st.booleans())))
def test_whatever_the_text_nothing_is_wider_than_the_terminal(words, D, columns, flags):
    with unchecked, mock.patch.dict(os.environ, COLUMNS=str(columns)):
        lines = lines_of(demo.measure(words, heads=1, n_embd=D, steps=1, **flags))
    assert_fits(lines, columns)
    assert flags["colour"] or not any("\x1b" in line for line in lines)


def test_the_colours_of_the_ladder_are_those_of_the_two_uses(lesson):
    texts = demo.spelled({"rung": np.array([*lesson.ids[:2], *lesson.targets[2:4], *[7] * 7])},
                         demo.replace(lesson, colour=True))["rung"]
    uses = [terminal.SHADES[use][1] for use in ("lookup", "lookup", "logits", "logits")]
    assert [int(re.search(r"48;5;(\d+)m", text)[1]) for text in texts[:4]] == uses
    assert texts[4:] == ["fish"] * 7


def test_the_lesson_as_it_is_read(output):
    assert_fits(output.splitlines())
    assert output.startswith("One matrix E, two uses, one gradient\n")
    assert "0.24 ≣≣≡≡==--····░░▒▒▓▓██ +0.24" in output            # shades, unless --numbers
    titles = re.findall(r"^\d\. (.+)$", output, re.MULTILINE)
    assert titles == ["E is used twice", "Who uses which row", "Two contributions, one dE",
                      "Repeated lookups accumulate", "Checked against finite differences",
                      "How one matrix does both"]
    shown = " ".join(output.split())
    for what in ("h0 = U We + Wp", "P(u) = softmax(hn Weᵀ)", "params.head is params.E True", "4x",
                 "Never looked up: fly, fish.", "(p - one_hot)ᵀ/T", "+ dx[9]", "grads.head) accumulates",
                 "gradient right: 0 of 48",
                 "token read at 11 of 11 positions, the highest the token to come at 11 of 11",
                 "one E, its block silenced 11 read, 0 next 11 read, 0 next"):
        assert what in shown


def test_a_row_of_every_token_is_looked_up():
    with unchecked:
        lines = demo.two_contributions(demo.measure(["fish", "a", "fish", "a"]))[1]
    assert any("= dE[fish]" in line for line in lines)
    assert not any("Never looked up" in line for line in lines)


def test_positions_that_do_not_fit_go_below(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    rows = {"t": [str(t) for t in range(12)], "word": ["abcd"] * 11 + ["abcdefgh"]}
    assert demo.by_position(rows) == [
        "t        0     1     2     3     4     5", "word  abcd  abcd  abcd  abcd  abcd  abcd", "",
        "t        6     7     8     9    10", "word  abcd  abcd  abcd  abcd  abcd", "",
        "t           11", "word  abcdefgh"]


def test_untied_with_two_layers_and_numbers(capsys):
    out = printed(capsys, "--untied", "--text", "so it is so", "--steps", "3", "--numbers",
                  "--width", "4", "--layers", "2", "--heads", "4", "--seed", "5")
    assert_fits(out.splitlines())
    assert out.startswith("Two matrices, E and head, a gradient each\n")
    shown = " ".join(out.split())
    for what in ("params.head is params.E False", "After 3 steps", "2 layers, 4 heads",
                 "Never looked up: fish.", "logits = h @ head.T", "The same stream, read with E:",
                 "after MLP 2", "after attention 1", "gradient right: 0 of 32",
                 "No token is looked up twice"):
        assert what in shown


def test_the_block_in_the_README_is_what_it_prints(output):
    """Its lines stand in the output, in this order."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block, = re.findall(r"<!-- printed by python demos/tied_gradients.py -->\n\n```\n(.*?)```",
                        readme, re.DOTALL)
    rest = iter(output.splitlines())
    assert all(line in rest for line in block.splitlines() if line), block
    assert "from lookup" in block and "to come" in block


# ---- bad input -----------------------------------------------------------------------------------

@pytest.mark.parametrize("options, named", [
    (["--width", "9"], "--width: 9 given, expected a multiple of --heads = 2"),
    (["--layers", "0"], "--layers: 0 given, expected at least 1"),
    (["--heads", "two"], "--heads: invalid int value: 'two'"),
    (["--seed", "-1"], "--seed: -1 given, expected at least 0"),
    (["--steps", "1.5"], "--steps: invalid int value: '1.5'"),
])
def test_bad_options_are_named_and_leave_with_2(options, named, capsys):
    with pytest.raises(SystemExit) as left:
        demo.main(options)
    captured = capsys.readouterr()
    assert left.value.code == 2
    assert named in captured.err and captured.out == ""


@pytest.mark.parametrize("words, sizes, message", [
    ([], {}, "text: 0 words given, expected at least 2"),
    (["one"], {}, "text: 1 word given, expected at least 2"),
    (ROSE, dict(layers=1000, n_embd=1000), "layers, n_embd: 1000 and 1000 given, 12,.* param")])
def test_measure_refuses_too_few_words_and_too_large_a_model(words, sizes, message):
    with pytest.raises(ValueError, match=message):
        demo.measure(words, **sizes)
