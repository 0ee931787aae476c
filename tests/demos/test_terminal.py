"""demos/lib/terminal.py: shades in colour and without, what fits, and which errors are one line."""
import bdb
import io
import linecache
import os
import re
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, strategies as st

import sort
import tied_gradients
from lib import terminal
from lib.notebook import css, draw
from minigpt_np.layers import gelu
from minigpt_np.training.progress import Progress

DEMOS = Path(__file__).resolve().parents[2] / "demos"
uses = st.sampled_from([*terminal.SHADES])
in_colour = mock.patch.object(terminal, "colours", lambda: True)


def plain(text):
    return terminal.ESCAPES.sub("", text)


def cells(*levels):
    """What a terminal without colours shows: levels 1 to 5, -1 to -5 of negative numbers, 0."""
    ramps = {1: terminal.SOLID, -1: terminal.STROKES, 0: " "}
    return "".join(2 * ramps[np.sign(level)][max(0, abs(level) - 1)] for level in levels)


# ---- matrices ------------------------------------------------------------------------------------

def luminance(index):
    """WCAG's relative luminance of one of xterm's 256 colours, from 16 on."""
    levels = [int(css(index)[n:n + 2], 16) for n in (1, 3, 5)]
    linear = [c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in levels]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def inks_and_shades(drawn):
    """(foreground, background) of each cell of a text; every cell sets both, and resets them."""
    cells = re.findall(r"\x1b\[38;5;(\d+);48;5;(\d+)m[^\x1b]*\x1b\[0m", drawn)
    assert 2 * len(cells) == drawn.count("\x1b")
    return [tuple(map(int, cell)) for cell in cells]


@in_colour
@given(st.floats(-1, 1), uses, st.sampled_from([terminal.shade, terminal.number]))
def test_what_is_drawn_in_colour_has_contrast_on_any_terminal(value, use, draw):
    """Each cell sets foreground and background, 4.5 apart as WCAG asks of text."""
    for ink, shade in inks_and_shades(draw(value, 1.0, 8, use)):
        light, dark = sorted((luminance(ink), luminance(shade)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5


@given(st.floats(-1, 1), st.floats(-1, 1), st.booleans(), st.sampled_from([1, 2]), uses)
def test_shades_grow_with_magnitude_and_zero_is_apart(a, b, colour, cell, use):
    def level(value):
        drawn = terminal.shade(value, 1.0, cell, use)
        assert terminal.width(drawn) == cell
        if colour:
            return -luminance(inks_and_shades(drawn)[0][1])
        ramp = terminal.SOLID if value > 0 else terminal.STROKES
        return ramp.index(drawn[0]) if value else -1

    with mock.patch.object(terminal, "colours", lambda: colour):
        small, large = sorted((a, b), key=abs)
        assert level(small) <= level(large)
        assert level(1.0) == level(-1.0) > level(0.01) == level(-0.01) > level(0.0)
        signs = {plain(terminal.shade(value, 1.0, cell, use)) for value in (-1.0, 0.0, 1.0)}
        assert len(signs) == 3                          # also without telling colours apart


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_shown_as_such(value):
    assert terminal.shades(np.array([[value]])) == ["??"]
    assert terminal.shades(np.array([[value]]), digits=True)[0].strip() == str(value)
    assert terminal.shades(np.array([[value, 1.0, -0.25]])) == ["??" + cells(5, -2)]
    html = draw(["a"], dE=np.array([[value, 1.0]]), E=np.array([[value]]))._repr_html_()
    assert html.count(">?<") == 2


def test_a_matrix_is_drawn_on_its_scale_with_its_heads():
    matrix = np.array([[1.0, 0.0], [-0.25, 0.5]])
    assert terminal.shades(matrix, heads="01") == [" 0 1", cells(5, 0), cells(-2, 3)]
    assert terminal.shades(matrix, scale=4.0) == [cells(2, 0), cells(-1, 1)]
    assert terminal.shades(matrix, digits=True) == ["  1.0000       ·", " -0.2500  0.5000"]
    assert terminal.shades(np.zeros((1, 2))) == ["    "]
    with in_colour:
        line, = terminal.shades(matrix[1:], use="sum")
    assert plain(line) == "//  " and [shade for _, shade in inks_and_shades(line)] == [135, 55]


@pytest.mark.parametrize("columns, C, digits, drawn", [
    (80, 28, False, cells(5) * 28), (80, 29, False, cells(5)[0] * 29),
    (80, 57, False, cells(5)[0] * 57), (80, 58, False, cells(5)[0] * 56 + "…"),
    (80, 8, True, "  1.0000" * 7 + "…")])
def test_a_row_that_does_not_fit_is_cut(columns, C, digits, drawn, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert terminal.shades(np.ones((1, C)), digits=digits) == [drawn]


def test_a_notebook_shows_the_same_shades_and_every_number():
    a, b = np.array([[1.0, -0.5], [0.0, 0.25]]), np.full((2, 1), 1e-3)
    html = draw(["<a>", "b"], lookup=a, dE=2 * a, E=b)._repr_html_()
    assert "lookup[&lt;a&gt;, 1] = -0.5" in html and "E[b, 0] = 0.001" in html and "<a>" not in html
    assert html.count("gradient") == 2 and html.count(">·<") == 2           # negative; exactly 0
    assert html.count("±2<") == 2 and html.count("±0.001<") == 1            # scales


# ---- text ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("columns, lines", [
    (18, ["one     two  three", "longer   22      3"]),
    (17, ["one     two", "longer   22", "", "one     three", "longer      3"]),
    (12, ["one    two", "long…   22", "", "one    three", "long…      3"])])
def test_columns_that_do_not_fit_go_below(columns, lines, monkeypatch):
    monkeypatch.setattr(terminal, "NARROWEST", 0)
    monkeypatch.setenv("COLUMNS", str(columns))
    assert terminal.table(("one", "two", "three"), ("longer", 22, 3)) == lines


def test_a_table_of_texts_is_set_to_the_left_and_counts_wide_characters_twice():
    assert terminal.table(("漢字", "b", "c"), ("a", "long", ""), right=False) == [
        "漢字  b     c", "a     long"]


def test_prose_is_in_lines_that_fit_and_shown_at_once(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    written = io.BytesIO()
    with redirect_stdout(io.TextIOWrapper(written, encoding="utf-8", newline="\n")):
        terminal.show("漢字 " * 8 + "x" * 50, ["a list  as it is"])
        shown = written.getvalue().decode()
    assert shown == " ".join(["漢字"] * 8) + "\n" + "x" * 39 + "…\n\na list  as it is\n\n"


@pytest.mark.parametrize("token, shown", [
    ("a b", "a␣b"), ("\n", "\\n"), ("\x1b[31m", "\\x1b[31m"), ("abcdefghijklm", "abcdefghijk…"),
    ("漢字漢字漢字漢字", "漢字漢字漢…"), ("e\u0301", "e\u0301"), ("\u200d", "\\u200d")])
def test_labels(token, shown):
    assert terminal.label(token) == shown
    assert terminal.width(shown) <= 12


@given(st.text("a漢\u0301"), st.integers(1, 9))
def test_a_text_is_cut_at_the_last_character_that_fits(text, columns):
    shown = terminal.cut(text, columns)
    if shown != text:
        fits = [n for n in range(len(text)) if terminal.width(text[:n]) < columns]
        assert shown == text[:fits[-1]] + "…"
    assert (shown == text) == (terminal.width(text) <= columns)


@pytest.mark.parametrize("tty, environment, wanted", [
    (True, {}, True), (False, {}, False), (True, {"NO_COLOR": "1"}, False),
    (True, {"NO_COLOR": ""}, True), (True, {"TERM": "dumb"}, False)])
def test_colours_only_where_they_are_wanted(tty, environment, wanted):
    stdout = mock.Mock(isatty=lambda: tty)
    with mock.patch.dict(os.environ, environment, clear=True), mock.patch("sys.stdout", stdout):
        assert terminal.colours() is wanted


# ---- programs ------------------------------------------------------------------------------------

@pytest.mark.parametrize("outcome, status, said", [
    (0, 0, ""), (1, 1, ""),
    (FileNotFoundError(2, "No such file", "x.txt"), 2, "No such file: 'x.txt'"),
    (MemoryError("too much"), 2, "error: too much"), (KeyboardInterrupt(), 130, "")])
def test_run_turns_errors_into_a_message_and_a_status(outcome, status, said, capsys):
    main = mock.Mock(side_effect=[outcome])
    with pytest.raises(SystemExit) as left:
        terminal.run(main)
    out, err = capsys.readouterr()
    assert left.value.code == status and out == ""
    assert said in err and bool(said) == bool(err) and "Traceback" not in err


def closed_pipe():
    reader, writer = os.pipe()
    os.close(reader)
    return open(writer, "w", encoding="utf-8")


def full_disk():
    return open("/dev/full", "w", encoding="utf-8")


@pytest.mark.parametrize("open_stdout, length, returned, status, said", [
    (closed_pipe, 99999, 0, 0, ""), (closed_pipe, 9, 1, 1, ""),
    pytest.param(full_disk, 9, 0, 2, "No space left on device",
                 marks=pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux"))])
def test_output_that_cannot_be_written_ends_no_program_with_a_traceback(
        open_stdout, length, returned, status, said, monkeypatch, capsys):
    def main():
        print("x" * length)
        return returned

    with open_stdout() as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        with pytest.raises(SystemExit) as left:
            terminal.run(main)
        monkeypatch.undo()                      # closing stdout flushes it again, as on exit
    assert left.value.code == status
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == bool(said)


def test_without_any_streams_a_program_runs(monkeypatch):
    """As with `<&- >&- 2>&-`, or in pythonw."""
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)

    def main():
        progress = Progress(1, every=0)
        progress.update(1, "x")
        print(terminal.colours(), sys.stdin.read(), file=sys.stderr)
        return 1

    with pytest.raises(SystemExit) as left:
        terminal.run(main)
    assert left.value.code == 1
    for name in ("stdin", "stdout", "stderr"):
        getattr(sys, name).close()


def edited(line):
    """The backward pass of a layer as someone has left it who is editing it."""
    source, names = f"def backward(dy, cache):\n    {line}\n", {"np": np, "right": gelu.backward}
    file = str(terminal.LAYERS / "edited.py")
    linecache.cache[file] = len(source), None, source.splitlines(True), file
    exec(compile(source, file, "exec"), names)
    return names["backward"]


@pytest.mark.parametrize("line, demo, options", [
    ("return right(dy, cache) + np.ones(7)", tied_gradients, []),           # NumPy's own, from C
    ("return np.stack([right(dy, cache)[:1], right(dy, cache)])",           # from its Python
     sort, ["--steps", "1", "--threads", "2"]),                             # in a worker
    ("raise ValueError('a check of my own')", tied_gradients, [])])
def test_a_mistake_in_a_layer_keeps_its_traceback(line, demo, options):
    with mock.patch.object(gelu, "backward", edited(line)), pytest.raises(ValueError):
        terminal.run(lambda: demo.main(options))


TRAINS = """
from findings import runs
runs.initialize_worker()
runs.train = lambda task: breakpoint()
runs.train_here(None)
"""


def test_a_breakpoint_in_a_process_that_trains_is_an_error_that_says_what_to_do():
    path = os.pathsep.join([str(DEMOS), str(DEMOS.parent)])
    done = subprocess.run([sys.executable, "-c", TRAINS], capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": path})
    assert done.stdout == ""
    assert done.stderr.endswith("(a demo's --threads 1) everything runs in this process\n")


@pytest.mark.parametrize("debugged", [False, True])
def test_q_at_a_breakpoint_ends_the_program_quietly(debugged):
    """But in a debugger that was there before, it is that debugger's."""
    def main():
        raise bdb.BdbQuit

    before = sys.gettrace()
    sys.settrace((lambda *_: None) if debugged else None)
    try:
        with pytest.raises(bdb.BdbQuit if debugged else SystemExit) as left:
            terminal.run(main)
    finally:
        sys.settrace(before)
    assert debugged or left.value.code == 1
