"""demos/lib/walk.py and step_through.py: what a walk reports is what the package does."""
import ast
import bdb
import contextlib
import io
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from minigpt_np.layers import constants

ROOT = Path(__file__).resolve().parents[2]
DEMOS = ROOT / "demos"

from lib import terminal
from lib import walk
import replay
import step_through

EPS = np.finfo(float).eps


def walked(example):
    """(walk, its steps, the loss)."""
    steps = []
    found = walk.Walk(example, lambda step, frame: steps.append(step))
    return found, steps, found.run()


@pytest.fixture(scope="module")
def default():
    example = walk.example()
    return example, *walked(example)


# ---- the walk ------------------------------------------------------------------------------------

sentences = st.lists(st.sampled_from("abcde"), min_size=2, max_size=7).map(" ".join)


@given(sentences, st.integers(0, 3), st.sampled_from([(2, 1), (4, 2), (6, 2)]), st.integers(1, 2))
@settings(max_examples=8)
def test_watching_changes_nothing_and_the_contributions_are_those_of_the_untied_twin(
        text, seed, sizes, layers):
    width, heads = sizes
    example = walk.example(text, "z", width, heads, layers, seed)
    found, steps, loss = walked(example)
    assert sys.gettrace() is not found.trace
    _, unwatched, cache = example.model.forward(example.ids, example.targets)
    assert loss == float(unwatched)
    np.testing.assert_array_equal(found.grads.flat, example.model.backward(cache).flat)

    apart = example.model.untied()
    parts = apart.backward(apart.forward(example.ids, example.targets)[2])
    accumulations = [step.accumulation for step in steps if step.accumulation]
    assert [accumulation.use for accumulation in accumulations] == ["logits", "lookup"]
    most = max(np.abs(parts.E).max(), np.abs(parts.head).max())
    rounding = 8 * (example.ids.size + 1) * EPS * max(1, most)      # sums of T products, twice
    for accumulation, truth in zip(accumulations, (parts.head, parts.E)):
        assert accumulation.before.shape == accumulation.contribution.shape == accumulation.after.shape == truth.shape
        np.testing.assert_allclose(accumulation.contribution, truth, rtol=0, atol=rounding)
        np.testing.assert_allclose(accumulation.parts.sum(axis=0), truth, rtol=0, atol=rounding)
    lookup = accumulations[1].parts
    for t, token in enumerate(example.ids[0]):          # a position adds to its own row only
        assert not np.delete(lookup[t], token, axis=0).any()


def test_what_is_added_is_what_dE_becomes(default):
    """The first accumulation finds zeros; the second what the first left; the last step what both left."""
    example, found, steps, _ = default
    first, second = (step.accumulation for step in steps if step.accumulation)
    assert not first.before.any()
    np.testing.assert_array_equal(first.contribution, first.after)
    np.testing.assert_array_equal(second.before, first.after)
    rounding = 2 * EPS * max(np.abs(second.before).max(), np.abs(second.after).max())
    np.testing.assert_allclose(second.before + second.contribution, second.after, rtol=0,
                               atol=rounding)
    np.testing.assert_array_equal(second.after, found.grads.E)
    np.testing.assert_array_equal(steps[-1].dE, found.grads.E)
    dE = np.zeros_like(found.grads.E)
    for step in steps:                                  # it changes nowhere else
        assert (step.dE is not dE and step.accumulation is not None) or np.array_equal(step.dE, dE)
        dE = step.dE


def test_the_lines_that_write_are_the_packages_own(default):
    lines = [(step.file, walk.source(step.file)[step.line - 1].strip())
             for step in default[2] if step.accumulation]
    assert [file for file, _ in lines] == ["layers/logits.py", "layers/lookup.py"]
    for file, line in lines:
        assert line in (ROOT / "minigpt_np" / file).read_text(encoding="utf-8")
        assert "+=" in line or line.startswith("for v, dx_n in")


def test_every_line_that_runs_is_reported():
    """Against a plain trace function that notes every line event of these files."""
    example, ran = walk.example(), set()
    grads = walk.Parameters(example.model.config, np.float64)

    def note(frame, event, arg):
        file, name = walk.FILES.get(frame.f_code.co_filename), frame.f_code.co_name
        if file is None or name.startswith(("<", "check_")):
            return None
        if event == "line":
            ran.add((file, walk.statement(file, frame.f_lineno).first))
        return note

    before = sys.gettrace()
    sys.settrace(note)
    try:
        _, _, cache = example.model.forward(example.ids, example.targets)
        example.model.backward(cache, grads)
    finally:
        sys.settrace(before)
    _, steps, _ = walked(example)
    reported = {(step.file, step.line) for step in steps if step.kind != "call"}
    constructed = {(file, line) for file, line in ran if file != "model.py"}
    assert constructed <= reported
    missing = {line for file, line in ran - reported}
    assert not missing, missing


def test_what_makes_constants_is_no_step():
    files = {frame[0] for step in walked(walk.example())[1] for frame in step.stack}
    assert "layers/lookup.py" in files and not any(name.endswith("constants.py") for name in files)
    assert constants.__file__ not in walk.FILES


def test_the_source_is_that_of_the_files():
    assert set(walk.FILES.values()) == {"model.py"} | {
        f"layers/{path.name}" for path in (ROOT / "minigpt_np" / "layers").glob("*.py")
        if path.name not in ("__init__.py", "constants.py")}
    for file in walk.FILES.values():
        text = (ROOT / "minigpt_np" / file).read_text(encoding="utf-8")
        assert "\n".join(walk.source(file)) == text


def test_values_are_those_of_the_moment(default):
    """An array that later lines change in place is kept as it was."""
    example, _, steps, _ = default
    by_line = {(step.file, walk.source(step.file)[step.line - 1].strip()): step for step in steps
               if step.kind == "line"}
    E, P = example.model.params.E, example.model.params.P
    looked_up = by_line["layers/lookup.py", "x = E[ids]"]
    placed = by_line["layers/lookup.py", "x += P[:ids.shape[1]]"]
    value = {v.name: v for v in looked_up.binds}["x"]
    assert (value.rows, value.columns) == ("positions", "")
    np.testing.assert_array_equal(value.array, E[example.ids])
    np.testing.assert_array_equal({v.name: v for v in placed.reads}["x"].array, E[example.ids])
    np.testing.assert_array_equal({v.name: v for v in placed.binds}["x"].array, E[example.ids] + P)
    assert {v.name: v for v in looked_up.reads}["E"].rows == "tokens"


def test_statements_of_several_lines_and_heads_of_loops():
    source = "for a, b in zip(x,\n             y):\n    total[a] += f(\n        b)\nc.d = a\n"
    outer, last = ast.parse(source).body
    loop, add, put = map(walk.read_statement, (outer, outer.body[0], last))
    assert (loop.first, loop.last, loop.simple, loop.assigned) == (1, 2, False, set())
    assert (add.first, add.last, add.simple) == (3, 4, True)
    assert {"total", "a", "b"} <= set(add.names) and not add.assigned
    assert put.names == ["c", "a"]


# ---- step_through --------------------------------------------------------------------------------

def driven(commands, debugger=None):
    """What is printed when these are typed."""
    typed = iter(commands)

    def ask(prompt):
        print(prompt, end="")
        said = next(typed, None)
        if said is None:
            raise EOFError
        print(said)
        return said

    guide = step_through.Guide(walk.example(), ask, debugger=debugger)
    with contextlib.suppress(bdb.BdbQuit):
        guide.walk.run()


def headings(text):
    titles = [line for line in text.splitlines() if line.endswith("─")]
    return [title.split("  ")[1].split(" › ")[-1] for title in titles]


def test_jumps_go_to_layers_and_stop_where_dE_is_written(capsys):
    driven(["f", "f", "f", "b", "b", "b", "b", "f", "q"])
    text = capsys.readouterr().out
    assert headings(text) == [
        "model.py forward", "layers/lookup.py forward", "layers/dropout.py forward",
        "layers/block.py forward_pre", "layers/cross_entropy.py backward",
        "layers/logits.py backward", "layers/logits.py backward", "layers/layernorm.py backward"]
    assert text.count("This line accumulates into dE, for E as the head") == 1
    assert "The forward pass is over" in text


def test_forward_jumps_end_where_backward_begins_and_backward_ones_at_the_second_accumulation(capsys):
    driven(["f"] * 40)
    assert "backward  model.py backward" in capsys.readouterr().out
    driven(["b"] * 100)
    text = capsys.readouterr().out
    assert text.count("This line accumulates into dE") == 2 and "for E as the lookup" in text


def test_names_are_printed(capsys):
    driven(["f", "E", "p ids", "cache.x", "ids.shape", "dE", "nothing", "h", "q"])
    text = capsys.readouterr().out
    assert "E  (5, 6)  float64" in text and "ids  (1, 4)  int64\n[[0 1 2 0]]" in text
    assert "no name 'cache' here" in text and "no name 'nothing'" in text
    assert "ids.shape = (1, 4)" in text
    assert "d           pdb, right here" in text


def test_d_is_pdb_at_that_frame_and_c_comes_back(capsys):
    said = io.StringIO()

    def debugger(found):
        typed = io.StringIO("p ids.tolist()\nn\nn\np x.shape\nc\n")
        return step_through.Visit(found, stdin=typed, stdout=said)

    driven(["f", "d", "q"], debugger)
    assert "[[0, 1, 2, 0]]" in said.getvalue() and "(1, 4, 6)" in said.getvalue()
    assert headings(capsys.readouterr().out)[-2:] == ["layers/lookup.py forward"] * 2


def test_pdb_opened_where_a_layer_returns_goes_on_in_its_caller(capsys):
    said = io.StringIO()

    def debugger(found):
        return step_through.Visit(found, stdin=io.StringIO("n\nn\nc\n"), stdout=said)

    driven(["b", "b", "b", "", "d", "q"], debugger)
    assert "-> return dlogits @ cache.head" in said.getvalue() and "--Return--" in said.getvalue()
    assert "-> dx = dh" in said.getvalue()
    assert headings(capsys.readouterr().out)[-1].startswith("model.py backward")


@pytest.mark.parametrize("lines, numbers", [(24, 1), (60, 3)])
def test_both_lines_that_accumulate_into_dE_fit_the_screen_with_their_numbers(capsys, monkeypatch, lines, numbers):
    monkeypatch.setenv("LINES", str(lines))
    driven(["b"] * 100)
    screens = capsys.readouterr().out.split("(h for help) > ")
    screens = [screen for screen in screens if "This line accumulates into dE" in screen]
    assert len(screens) == 2
    for screen in screens:
        rows = screen.removeprefix("b\n").count("\n") + 1                # and the prompt
        assert rows <= lines
        assert sum(line.startswith("fish") for line in screen.splitlines()) == 1 + numbers


def test_every_step_fits_a_small_screen_with_its_heading(capsys, monkeypatch):
    monkeypatch.setenv("LINES", "24")
    driven([""] * 400)
    screens = capsys.readouterr().out.split("(h for help) > ")
    assert len(screens) > 300 and sum("more lines: type a name" in screen for screen in screens) > 3
    assert max(screen.removeprefix("\n").count("\n") + 1 for screen in screens[:-1]) <= 24     # and the prompt


def test_the_help_fits_80_columns(capsys):
    driven(["h", "q"])
    assert step_through.HELP in capsys.readouterr().out
    assert all(len(line) < 80 for line in step_through.HELP.splitlines())


def test_q_in_pdb_quits_the_walk_too(capsys):
    def debugger(found):
        return step_through.Visit(found, stdin=io.StringIO("n\nn\nq\n"), stdout=io.StringIO())

    driven(["d", "E"], debugger)
    text = capsys.readouterr().out
    assert len(headings(text)) == 1 and "float64" not in text


def test_without_a_keyboard_every_line_is_shown_within_80_columns(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(isatty=lambda: False))
    assert step_through.main(["--auto"]) == 0
    text = capsys.readouterr().out
    assert all(terminal.width(line) <= 80 for line in text.splitlines())
    _, steps, loss = walked(walk.example())
    assert len(headings(text)) == len(steps)
    assert text.count("This line accumulates into dE") == 2 and f"loss {loss:.6f}" in text


# ---- bad input -----------------------------------------------------------------------------------

@pytest.mark.parametrize("arguments, complaint", [
    (["--text", "one"], "text: 1 tokens given, expected 2 to 17"),
    (["--text", "a " * 18], "text: 18 tokens given"),
    (["--width", "17"], "width: 17 given, expected 2 to 16"),
    (["--width", "1", "--heads", "1"], "width: 1 given, expected 2 to 16"),
    (["--layers", "0"], "layers: 0 given, expected 1 to 4"),
    (["--heads", "3", "--width", "4"], "n_embd: 4 given, expected a multiple of n_head = 3"),
    (["--also", " ".join(map(str, range(40)))], "also: 44 different tokens with the text's"),
    (["--text", "a a", "--also", ""], "also: 1 different tokens"),
    (["--seed", "-1"], "seed: -1 given"),
])
@pytest.mark.parametrize("demo", [step_through, replay])
def test_bad_input(demo, arguments, complaint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=complaint):
        demo.main(arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [
    ["step_through.py", "--text", "one"], ["replay.py", "{}/a-folder"],
    ["replay.py", "--width", "many"]])
def test_bad_input_is_one_message_and_status_2(arguments, tmp_path):
    (tmp_path / "a-folder").mkdir()
    command = [sys.executable, DEMOS / arguments[0], *(a.format(tmp_path) for a in arguments[1:])]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 2 and "error:" in done.stderr and "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["a-folder"]
