"""demos/tied_gradients.py: its numbers, its ladder, what it prints, and bad input."""
import io
import os
import re
from contextlib import redirect_stdout
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, strategies as st

import live
import one_page
import tied_gradients as demo
from lib import terminal
from minigpt_np import layers
from minigpt_np.layers import lookup

ROOT = Path(__file__).resolve().parents[2]
ROSE = "a rose is a rose is a rose .".split()
EPS = np.finfo(float).eps


@pytest.fixture(scope="module")
def lesson():
    return demo.measure(one_page.TEXT.split())


@pytest.fixture(scope="module")
def final_loss():
    """one_page.py's after its last step, to the 8 digits of the live page's data."""
    return live.reference()[-1]


def printed(*options, status=0, columns=80):
    """What the program prints in a terminal so wide."""
    out = io.StringIO()
    with redirect_stdout(out), mock.patch.dict(os.environ, COLUMNS=str(columns)):
        assert demo.main([*options]) == status
    return out.getvalue()


# ---- the gradients -------------------------------------------------------------------------------

@given(st.lists(st.sampled_from("abcd"), min_size=2, max_size=9), st.integers(0, 3), st.booleans())
def test_the_contributions_are_the_two_products_and_add_up(words, seed, untied):
    lesson = demo.measure(words, n_embd=4, seed=seed, untied=untied)
    assert lesson.tokens == [*dict.fromkeys(words), one_page.NEVER]
    assert [lesson.tokens[v] for v in lesson.ids] == words[:-1]
    assert [lesson.tokens[v] for v in lesson.targets] == words[1:]
    assert list(lesson.lookups) == [words[:-1].count(token) for token in lesson.tokens]

    _, loss, cache = lesson.model.forward(lesson.ids[None], lesson.targets[None])
    total = lesson.from_lookup + lesson.from_logits
    largest = np.max(np.abs([lesson.from_lookup, lesson.from_logits, total]))
    rounding = 8 * len(words) * EPS * largest
    dx, one_hot = lesson.grads.P, np.eye(len(lesson.tokens))[lesson.ids]
    assert loss == lesson.loss
    assert np.max(np.abs(lesson.from_lookup - one_hot.T @ dx)) <= rounding
    assert np.max(np.abs(lesson.from_logits - lesson.dlogits.T @ cache.logits.h)) <= rounding
    if untied:
        np.testing.assert_array_equal(lesson.grads.E, lesson.from_lookup)
        np.testing.assert_array_equal(lesson.grads.head, lesson.from_logits)
    else:
        assert np.max(np.abs(lesson.grads.E - total)) <= rounding


def losing_backward(dx, cache, dE, dP):
    """lookup.backward with its famous mistake."""
    dE[cache.ids] += dx
    dP[:dx.shape[1]] += dx.sum(axis=0)


@pytest.mark.parametrize("untied", [False, True])
def test_both_reports_are_right_and_find_the_famous_mistake(untied):
    reports = demo.check_gradients(demo.measure(ROSE, n_embd=4, untied=untied))
    assert [report.method for report in reports] == ["differences", "complex"]
    assert all(report.ok and report.checked == (1 + untied) * 5 * 4 for report in reports)
    with mock.patch.object(lookup, "backward", losing_backward):
        wrong = printed("--sentence", " ".join(ROSE), "--width", "4", "--steps", "1",
                        *["--untied"] * untied, status=1)
    assert wrong.count("gradient WRONG") == 2


# ---- the ladder ----------------------------------------------------------------------------------

@given(st.integers(0, 2), st.integers(0, 3), st.booleans())
def test_a_rung_is_the_stream_read_as_the_model_reads_its_end(n_layer, seed, untied):
    lesson = demo.measure(ROSE, layers=n_layer, n_embd=4, seed=seed, untied=untied)
    model, p, eps = lesson.model, lesson.model.params, lesson.model.config.layer_norm_eps
    x, shape = p.E[lesson.ids] + p.P, (1, len(lesson.ids))
    stream = [x]
    for block in p.blocks:
        normed, _ = layers.layernorm.forward(x, block.norm1, eps)
        x = x + layers.attention.forward(normed, block.attention, shape, model.config, None)[0]
        normed, _ = layers.layernorm.forward(x, block.norm2, eps)
        stream += [x, x := x + layers.mlp.forward(normed, block.mlp, model.config, None)[0]]
    for matrix in ("head", "E"):
        for said, x in zip(demo.ladder(model, lesson.ids, matrix), stream, strict=True):
            h, _ = layers.layernorm.forward(x, p.norm, eps)
            np.testing.assert_array_equal(said, (h @ getattr(p, matrix).T).argmax(axis=1))


@pytest.mark.parametrize("untied", [False, True])
def test_the_loss_it_tells_is_that_of_the_model_asked_for(untied):
    lesson = demo.measure(ROSE, n_embd=4, untied=untied)
    expected = demo.train(demo.start(lesson.model.config, 0), lesson, 2)
    assert demo.train_and_read(lesson, 0, 2)[0] == pytest.approx(expected, rel=1e-12)


def test_it_trains_as_one_page_does(lesson, final_loss):
    trained = demo.start(lesson.model.config, one_page.SEED)
    found = demo.train(trained, lesson, one_page.STEPS)
    assert found == pytest.approx(final_loss, rel=1e-7)


# ---- what is printed -----------------------------------------------------------------------------

@given(st.lists(st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1, max_size=30),
                min_size=2, max_size=24),
       st.sampled_from([1, 2, 9, 16]), st.integers(40, 220),
       st.fixed_dictionaries(dict.fromkeys(["untied", "digits", "colour"], st.booleans())))
def test_whatever_the_text_nothing_is_wider_than_the_terminal(words, D, columns, flags):
    lesson, out = demo.measure(words, heads=1, n_embd=D, untied=flags["untied"]), io.StringIO()
    with (redirect_stdout(out), mock.patch.dict(os.environ, COLUMNS=str(columns)),
          mock.patch.object(terminal, "colours", lambda: flags["colour"])):
        demo.the_task(lesson)
        demo.used_twice(lesson)
        for section in (demo.who_uses_which_row, demo.two_contributions, demo.repeated_lookups):
            section(lesson, flags["digits"])
        demo.how_one_matrix_does_both(lesson, 1, *demo.train_and_read(lesson, 0, 1))
    for line in out.getvalue().splitlines():
        assert terminal.width(line) <= columns, line
        assert all(c.isprintable() for c in terminal.ESCAPES.sub("", line)), ascii(line)
    assert flags["colour"] == ("\x1b" in out.getvalue())


def test_the_lesson_and_the_block_of_it_in_the_README(final_loss):
    output = printed()
    titles = re.findall(r"^\d\. (.+)$", output, re.MULTILINE)
    assert titles == ["E is used twice", "Who uses which row", "Two contributions, one dE",
                      "Repeated lookups accumulate", "Checked against finite differences",
                      "How one matrix does both"]
    said = " ".join(output.split())
    for what in (f"the loss is {final_loss:.3f}.", "Rows never looked up: fly, fish.",
                 "params.head is params.E True",
                 "'the' is looked up: 0, 3, 6, 9.", "gradient right: 0 of 48",
                 "token read at 11 of 11 positions, the highest the token to come at 11 of 11"):
        assert what in said
    drawn = dict(re.findall(r"^[ +=] (d[xE]\[\w+\](?: \+= dx)?) +(\S+)$", output, re.MULTILINE))
    assert [*drawn] == ["dx[0]", "dx[3]", "dx[6]", "dx[9]", "dE[the]", "dE[ids] += dx"]
    assert drawn["dE[ids] += dx"] == drawn["dx[9]"]
    assert re.findall(r"^ +(= dE\[\w+\])   ", output, re.MULTILINE) == ["= dE[the]", "= dE[fish]"]
    read_and_come = {name: (int(read), int(come)) for name, read, come in re.findall(
        r"^(.+?)  +(\d+) read, .+ (\d+) next$", output, re.MULTILINE)}    # lowest, highest rung
    assert read_and_come["untrained"][0] <= 6 and read_and_come["one E"] == (11, 11)
    assert read_and_come["two matrices, by head"][0] < 5.5 > read_and_come["one E, no block"][0]
    assert read_and_come["two matrices, by head"][1] == read_and_come["one E, no block"][1] == 11
    assert max(read_and_come["two matrices, by E"]) < 11
    assert read_and_come["one E, GPT-2's start"][0] <= 5
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block, = re.findall(r"<!-- printed by python demos/tied_gradients.py -->\n\n```\n(.*?)```",
                        readme, re.DOTALL)
    rest = iter(output.splitlines())
    assert all(line in rest for line in block.splitlines() if line), block


def test_untied_with_two_layers_and_numbers():
    said = " ".join(printed("--untied", "--sentence", "so it is so", "--steps", "3", "--numbers",
                            "--width", "4", "--layers", "2", "--heads", "4").split())
    for what in ("params.head is params.E False", "2 layers, 4 heads",
                 "After 3 steps of gradient descent, head drawn anew, the loss",
                 "1. E is looked up, head predicts", "one to each matrix", "= the tied dE[so]",
                 "another array", "such a row, that of head.",
                 "logits = h @ head.T", "The same stream, read with E:", "after MLP 2",
                 "after attention 1", "gradient right: 0 of 32", "No token is looked up twice"):
        assert what in said
    assert not set(terminal.SOLID[1:]) & set(said)


def test_two_lookups_are_repeated_ones(capsys):
    demo.repeated_lookups(demo.measure("a b a c".split()), False)
    assert "'a' is looked up: 0, 2." in " ".join(capsys.readouterr().out.split())


def test_the_ladder_is_blue_for_the_token_read_and_orange_for_the_next(lesson):
    ids, targets = lesson.ids, lesson.targets
    with mock.patch.object(terminal, "colours", lambda: True):
        rung = demo.ladder_lines([np.array([*ids[:2], *targets[2:4], *[7] * 7])], lesson)[1]
    shades = [terminal.SHADES[use][1] for use in ("lookup", "lookup", "logits", "logits")]
    assert [int(n) for n in re.findall(r"48;5;(\d+)m", rung)] == shades


# ---- bad input -----------------------------------------------------------------------------------

@pytest.mark.parametrize("options, message", [
    (["--width", "9"], "--width: 9 given, expected a multiple of --heads = 2"),
    (["--layers", "0"], "--layers: 0 given, expected at least 1"),
    (["--heads", "0"], "--heads: 0 given"),
    (["--seed", "-1"], "--seed: -1 given, expected at least 0"),
    (["--steps", "-1"], "--steps: -1 given, expected at least 0"),
    (["--sentence", ""], "--sentence: 0 words given, expected at least 2"),
    (["--sentence", "one"], "--sentence: 1 word given, expected at least 2"),
])
def test_bad_options_are_named_before_anything_is_printed(options, message, capsys):
    with pytest.raises(SystemExit) as left:
        terminal.run(lambda: demo.main(options))
    captured = capsys.readouterr()
    assert left.value.code == 2 and message in captured.err and captured.out == ""
