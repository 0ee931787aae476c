"""demos/tied_gradients.py: its numbers, whether its pictures fit a terminal, and bad input."""
import json
import os
import re
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, strategies as st

from html_page import Page
from minigpt_np.layers import lookup

DEMOS = Path(__file__).resolve().parents[2] / "demos"

from lib import terminal
import tied_gradients as demo

ROSE = "a rose is a rose is a rose .".split()
EPS = np.finfo(float).eps


def unchecked(model, name, grads, ids, targets):
    """As demo.numerical_gradients, which takes long for wide models, with backward's word for all three."""
    g = grads.arrays[name]
    return demo.Check(name, model.params.arrays[name], g, g, np.zeros_like(g), g)


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch):
    """Whatever terminal the tests run in."""
    monkeypatch.setenv("COLUMNS", "80")


def plain(text):
    return terminal.ESCAPES.sub("", text)


def assert_fits(lines, columns=80):
    for line in lines:
        assert terminal.width(line) <= columns, line
        assert all(c.isprintable() for c in plain(line)), ascii(line)


# ---- the numbers ---------------------------------------------------------------------------------

@given(st.lists(st.sampled_from("abcd"), min_size=2, max_size=9),
       st.integers(0, 3), st.booleans(), st.integers(0, 2))
def test_the_contributions_are_the_two_products_and_add_up(tokens, seed, untied, steps):
    with mock.patch.object(demo, "numerical_gradients", unchecked):
        lesson = demo.measure(tokens, "z", seed=seed, n_embd=4, untied=untied, steps=steps)
    V, T = len(lesson.tokens), len(tokens) - 1
    assert lesson.tokens == list(dict.fromkeys([*tokens, "z"]))
    assert [lesson.tokens[v] for v in lesson.ids] == tokens[:-1]
    assert [lesson.tokens[v] for v in lesson.targets] == tokens[1:]
    assert list(lesson.lookups) == [tokens[:-1].count(token) for token in lesson.tokens]
    assert len(lesson.losses) == steps + 1

    one_hot = np.eye(V)[lesson.ids]
    _, loss, cache = lesson.model.forward(lesson.ids[None], lesson.targets[None])
    rounding = 8 * T * EPS * lesson.scale           # sums of T products, in two orders
    assert loss == lesson.losses[-1]
    np.testing.assert_allclose(lesson.from_lookup, one_hot.T @ lesson.dx, rtol=0, atol=rounding)
    np.testing.assert_allclose(lesson.from_logits, lesson.dlogits.T @ cache.logits.h,
                               rtol=0, atol=rounding)
    assert not lesson.from_lookup[lesson.lookups == 0].any()
    assert lesson.from_logits.any(axis=1).all()

    if untied:
        assert [check.name for check in lesson.checks] == ["E", "head"]
        np.testing.assert_array_equal(lesson.checks[0].backward, lesson.from_lookup)
        np.testing.assert_array_equal(lesson.checks[1].backward, lesson.from_logits)
    else:
        assert [check.name for check in lesson.checks] == ["E"]
        np.testing.assert_allclose(lesson.checks[0].backward, lesson.total,
                                   rtol=0, atol=4 * EPS * lesson.scale)


@pytest.mark.parametrize("untied", [False, True])
def test_the_numerical_gradients_agree(untied):
    lesson = demo.measure(ROSE, n_embd=4, untied=untied, steps=2)
    for check in lesson.checks:
        assert demo.agrees(check)
        assert np.all(check.error < 1e-7)           # so that agreeing says something
        difference, index = demo.disagreement(check.backward, check.complex_step)
        assert difference < 1e-14
        assert difference == abs(check.backward[index] - check.complex_step[index])


@pytest.mark.parametrize("method", ["differences", "complex_step"])
def test_one_wrong_number_is_a_disagreement(method):
    check = demo.measure(ROSE, n_embd=4).checks[0]
    getattr(check, method)[2, 1] += 1e-6
    assert not demo.agrees(check)
    difference, index = demo.disagreement(check.backward, getattr(check, method))
    assert index == (2, 1) and difference == pytest.approx(1e-6, rel=1e-3)


def losing_backward(dx, cache, dE, dP):
    """lookup.backward with its famous mistake."""
    dE[cache.ids] += dx
    dP[:dx.shape[1]] += dx.sum(axis=0)


def test_the_famous_mistake_is_found(capsys):
    with mock.patch.object(lookup, "backward", losing_backward):
        assert demo.main(["--text", " ".join(ROSE), "--width", "4"]) == 1
    assert "THEY DO NOT AGREE." in capsys.readouterr().out


def test_training_goes_down_and_the_same_seed_gives_the_same_bits():
    with mock.patch.object(demo, "numerical_gradients", unchecked):
        first, second, other = (demo.measure(ROSE, seed=seed, steps=20) for seed in (3, 3, 4))
    assert first.losses[-1] < first.losses[0]
    assert first.losses == second.losses != other.losses
    np.testing.assert_array_equal(first.E, second.E)


def test_untied_begins_as_the_tied_model_and_then_drifts():
    with mock.patch.object(demo, "numerical_gradients", unchecked):
        tied, untied, later = (demo.measure(ROSE, untied=u, steps=s)
                               for u, s in ((False, 0), (True, 0), (True, 5)))
    assert tied.losses == untied.losses
    np.testing.assert_array_equal(untied.E, untied.checks[1].values)
    np.testing.assert_allclose(untied.total, tied.checks[0].backward,
                               rtol=0, atol=4 * EPS * tied.scale)
    assert not np.array_equal(later.E, later.checks[1].values)


def test_splitting():
    assert demo.split("the cat, don't.", "words") == ["the", "cat", ",", "don", "'", "t", "."]
    assert demo.split("a b\n", "characters") == ["a", " ", "b", "\n"]


# ---- the pictures --------------------------------------------------------------------------------

@given(st.lists(st.text(min_size=1, max_size=30), min_size=2, max_size=40), st.sampled_from([1, 2, 9, 16, 90]),
       st.integers(40, 220), st.booleans(), st.booleans(), st.booleans())
def test_whatever_the_text_nothing_is_wider_than_the_terminal(tokens, D, columns, untied, colour, numbers):
    with mock.patch.object(demo, "numerical_gradients", unchecked), mock.patch.dict(os.environ, COLUMNS=str(columns)):
        lesson = demo.measure(tokens, heads=1, n_embd=D, untied=untied)
        lines = demo.report(lesson, demo.Style(colour, numbers))
    assert_fits(lines, columns)
    assert colour or not any("\x1b" in line for line in lines)


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_no_word_is_broken_or_lost_whatever_the_width(columns, monkeypatch):
    with mock.patch.object(demo, "numerical_gradients", unchecked):
        lesson = demo.measure(demo.TEXT.split(), ["fish"])

    def words():
        return sorted(" ".join(demo.report(lesson, demo.Style())).split())

    def prose(words):
        return [word for word in words if re.search("[a-z]{2}", word)]

    wide = words()
    monkeypatch.setenv("COLUMNS", str(columns))
    assert {*prose(words())} == {*prose(wide)}


def test_a_wide_terminal_is_used_for_numbers_and_not_for_prose(monkeypatch):
    with mock.patch.object(demo, "numerical_gradients", unchecked):
        lesson = demo.measure(demo.TEXT.split(), ["fish"])
    monkeypatch.setenv("COLUMNS", "200")
    lines = demo.report(lesson, demo.Style(numbers=True))
    assert max(map(terminal.width, lines)) > 150
    assert any("from the lookup" in line and "from the logits" in line and "their sum" in line for line in lines)
    assert all(terminal.width(line) <= 80 for line in terminal.paragraph(" ".join(["word"] * 99)))


def test_the_lesson_as_it_is_read(capsys):
    assert demo.main([]) == 0
    out = capsys.readouterr().out
    assert_fits(out.splitlines())
    assert "\x1b" not in out
    for what in ("h0 = U We + Wp", "P(u) = softmax(hn Weᵀ)", "params.head is params.E   True",
                 "norm", "4x", "never", "Never looked up, so nothing from the lookup: fly, fish.",
                 "(p - one_hot)ᵀ/T", "+ dx[9]", "They agree."):
        assert what in out


def test_untied_characters_numbers_and_steps(capsys):
    assert demo.main(["--untied", "--tokens", "characters", "--text", "so so so", "--also", "xs",
                      "--steps", "3", "--numbers", "--width", "4", "--layers", "2", "--heads", "4",
                      "--seed", "5"]) == 0
    out = capsys.readouterr().out
    assert_fits(out.splitlines())
    for what in ("params.head is params.E   False", "After 3 steps",
                 "2 layers, 4", "heads; ",
                 "Never looked up, so nothing from the lookup: x.", "logits = h @ head.T",
                 "backward's dhead and"):
        assert what in out


def test_a_text_without_a_repeated_token():
    with mock.patch.object(demo, "numerical_gradients", unchecked):
        lesson = demo.measure(["one", "two", "three"])
    assert demo.repeated(lesson) is None
    assert "No token is looked up twice" in " ".join(demo.report(lesson, demo.Style()))
    assert "No token is looked up twice" in demo.html(lesson)


def test_after_training_the_repeated_row_is_still_shown_in_shades():
    with mock.patch.object(demo, "numerical_gradients", unchecked):
        lesson = demo.measure(ROSE, steps=300)
    assert np.abs(lesson.dx).max() < 0.1            # far below what the legend of 3. runs to
    lines = demo.show_repeated(lesson, demo.Style())
    assert any("█" in line or "≣" in line for line in lines if "dE[" in line or "dx[" in line)


# ---- the program ---------------------------------------------------------------------------------

@pytest.mark.parametrize("options, named", [
    (["--text", "one"], "--text: 1 token given, expected at least 2"),
    (["--text", ""], "--text: 0 tokens given, expected at least 2"),
    (["--width", "9"], "--width: 9 given, expected a multiple of --heads = 2"),
    (["--layers", "0"], "--layers: '0' given, expected a whole number, 1 to 1024"),
    (["--width", "1025"], "--width: '1025' given, expected a whole number, 1 to 1024"),
    (["--heads", "two"], "--heads: 'two' given"),
    (["--seed", "-1"], "--seed: '-1' given, expected a whole number, 0 to 1000000000"),
    (["--steps", "1.5"], "--steps: '1.5' given"),
    (["--tokens", "bytes"], "--tokens: invalid choice"),
])
def test_bad_options_are_named_and_leave_with_2(options, named, capsys):
    with pytest.raises(SystemExit) as left:
        demo.main(options)
    captured = capsys.readouterr()
    assert left.value.code == 2
    assert named in captured.err and captured.out == ""


def test_measure_refuses_one_token():
    with pytest.raises(ValueError, match="tokens: 1 given, expected at least 2"):
        demo.measure(["one"])


def test_measure_refuses_what_is_too_large_and_training_that_diverges():
    too_large = "layers, n_embd: 1000 and 1000 given, 12,.* parameters, expected at most"
    with pytest.raises(ValueError, match=too_large):
        demo.measure(ROSE, layers=1000, n_embd=1000)
    with mock.patch.object(demo, "LEARNING_RATE", 1e308), np.errstate(all="ignore"):
        with pytest.raises(ValueError, match="steps: 9 given, but after . the weights are not"):
            demo.measure(ROSE, steps=9)


# ---- the page ------------------------------------------------------------------------------------

def written(tmp_path, *options):
    path = tmp_path / "new" / "tied.html"
    assert demo.main([*options, "--html", str(path)]) == 0
    return path.read_text(encoding="utf-8")


def test_the_page_has_all_that_the_terminal_has(tmp_path, capsys):
    text = written(tmp_path)
    out = capsys.readouterr().out
    page = Page(text)
    assert page.open == [] and "http" not in text
    shown = " ".join(page.text.split())
    for n, heading in enumerate(demo.headings(demo.measure(demo.TEXT.split())), 1):
        assert f"{n}. {heading}" in out and f"{n}. {heading}" in shown
    for what in ("h0 = U We + Wp", "P(u) = softmax(hn Weᵀ)", "params.head is params.E True", "one_hotᵀ (V, T)",
                 "dlogits = (p - one_hot) / T", "= dE[the]: their sum: the lookup's row", "They agree."):
        assert what in shown
    assert "film" not in page.ids                   # nothing was trained


@given(st.lists(st.sampled_from(["a", "b", "<i>"]), min_size=2, max_size=7), st.booleans(), st.integers(0, 2))
def test_the_shares_that_the_page_adds_up_are_the_gradients(tokens, untied, steps):
    with mock.patch.object(demo, "numerical_gradients", unchecked):
        lesson = demo.measure(tokens, "z", n_embd=4, untied=untied, steps=steps, filmed=steps > 0)
    page = Page(demo.html(lesson))
    data = json.loads(page.scripts[0])
    assert page.open == [] and data["names"] == demo.labels(lesson) and data["ids"] == list(lesson.ids)
    # every factor has 4 digits, off by 5e-4 of itself at most: so is a sum of T products, by 1e-3 of its terms
    logits = np.array(data["dlogits"]).T @ np.array(data["h"])
    lookup = np.eye(len(data["names"]))[:, data["ids"]] @ np.array(data["dx"])
    assert np.all(np.abs(logits - lesson.from_logits) <= 1.1e-3 * (np.abs(lesson.dlogits).T @ np.abs(lesson.h)))
    assert np.all(np.abs(lookup - lesson.from_lookup) <= 5.1e-4 * (lesson.one_hot.T @ np.abs(lesson.dx)))
    assert ("film" in page.ids) == (steps > 0)


def test_the_page_changes_nothing_in_the_terminal_and_holds_the_film(tmp_path, capsys):
    options = ["--text", "a <b a", "--also", "z", "--width", "2", "--heads", "1", "--steps", "3"]
    page = Page(written(tmp_path, *options))
    with_page = capsys.readouterr().out
    assert demo.main(options) == 0
    plain = capsys.readouterr().out
    assert with_page.startswith(plain) and with_page.removeprefix(plain) == f"As a page: {tmp_path / 'new' / 'tied.html'}\n"
    shown = json.loads(page.scripts[1])
    assert [frame["step"] for frame in shown["frames"]] == [0, 1, 2, 3]
    assert [shown["names"][str(v)] for v in shown["rows"]] == ["a", "<", "b", "z"]
    assert shown["gap"] == " " and all(frame["text"].startswith("a ") for frame in shown["frames"])


def test_a_page_too_large_is_refused_before_anything_is_done(tmp_path, capsys):
    path = tmp_path / "new" / "x.html"
    with pytest.raises(SystemExit) as caught:
        demo.main(["--text", "a b " * 50, "--width", "1024", "--html", str(path)])
    assert caught.value.code == 2
    assert "--html: matrices of 3,072 cells to draw given" in capsys.readouterr().err
    assert not path.parent.exists()
