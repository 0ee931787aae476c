"""demos/lib/terminal.py: pictures in colour and without, and which errors are one line."""
import bdb
import os
import re
import subprocess
import sys
import types
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, strategies as st

from lib import terminal, texts
from lib.notebook import css, draw

DEMOS = Path(__file__).resolve().parents[2] / "demos"
uses = st.sampled_from([*terminal.SHADES])


def plain(text):
    return terminal.ESCAPES.sub("", text)


# ---- pictures --------------------------------------------------------------------------------------

def luminance(index):
    """WCAG's relative luminance of one of xterm's 256 colours, from 16 on."""
    levels = [int(css(index)[n:n + 2], 16) for n in (1, 3, 5)]
    linear = [c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in levels]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def inks_and_shades(drawn):
    """(foreground, background) of each cell of a drawn text; every cell sets both, and resets them."""
    cells = re.findall(r"\x1b\[38;5;(\d+);48;5;(\d+)m[^\x1b]*\x1b\[0m", drawn)
    assert 2 * len(cells) == drawn.count("\x1b")
    return [tuple(map(int, cell)) for cell in cells]


@given(st.floats(-1, 1), uses, st.sampled_from([terminal.shade, terminal.number]))
def test_what_is_drawn_in_colour_has_contrast_on_any_terminal(value, use, draw):
    """Each cell sets foreground and background, 4.5 apart as WCAG asks of text."""
    for ink, shade in inks_and_shades(draw(value, 1.0, 8, True, use)):
        light, dark = sorted((luminance(ink), luminance(shade)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5


@given(st.floats(-1, 1), st.floats(-1, 1), st.booleans(), st.sampled_from([1, 2]), uses)
def test_shades_grow_with_magnitude_and_zero_is_apart(a, b, colour, cell, use):
    def level(value):
        drawn = terminal.shade(value, 1.0, cell, colour, use)
        assert terminal.width(drawn) == cell
        if colour:
            return -luminance(inks_and_shades(drawn)[0][1])
        ramp = terminal.SOLID if value > 0 else terminal.STROKES
        return ramp.index(drawn[0]) if value else -1

    small, large = sorted((a, b), key=abs)
    assert level(small) <= level(large)
    assert level(1.0) == level(-1.0) > level(0.01) == level(-0.01) > level(0.0)
    signs = {plain(terminal.shade(value, 1.0, cell, colour, use)) for value in (-1.0, 0.0, 1.0)}
    assert len(signs) == 3                              # also without telling colours apart


@given(st.floats(-9.9, 9.9), st.floats(1e-12, 1e12), st.booleans())
def test_numbers_are_the_numbers(value, scale, colour):
    value *= scale / 10
    text = plain(terminal.number(value, scale, 8, colour))
    assert terminal.width(text) == 8 and text[0] == " "
    if value:
        # half of the last digit: of the fourth decimal, or of the only one, relative to it
        last = 0.51e-4 if 0.001 < scale < 10 else 0.51 * max(abs(float(text)), abs(value))
        assert abs(float(text) - value) <= last


@pytest.mark.parametrize("colour", [True, False])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_shown_as_such(value, colour):
    assert terminal.shade(value, 1.0, 2, colour) == "??"
    assert terminal.number(value, 1.0, 8, colour).strip() == str(value)


@pytest.mark.parametrize("colour", [True, False])
def test_the_legend_runs_from_the_most_negative_to_the_most_positive(colour):
    line, = terminal.legend(0.25, colour, use="sum")
    steps = [terminal.shade(s, 1, 2, colour, "sum") for s in (-1, 1)]
    assert line.startswith(f"-0.25 {steps[0]}") and f"{steps[1]} +0.25; exactly 0 is " in line
    assert terminal.legend(0.25, colour, numbers=True) == []


def test_a_notebook_shows_the_same_shades_and_every_number():
    a, b = np.array([[1.0, -0.5], [0.0, 0.25]]), np.full((2, 1), 1e-3)
    html = draw(["<a>", "b"], lookup=a, dE=2 * a, E=b)._repr_html_()
    assert "lookup[&lt;a&gt;, 1] = -0.5" in html and "E[b, 0] = 0.001" in html and "<a>" not in html
    assert html.count("gradient") == 2 and html.count(">·<") == 2           # negative; exactly 0
    shades = [css(terminal.SHADES[use][level]) for use, level in
              (("lookup", 3), ("lookup", 1), ("lookup", 0), ("sum", 5), ("sum", 3), ("sum", 1), ("", 5))]
    assert [shade for shade in re.findall("(#......)\"", html) if shade != css(terminal.PAPER)] == [*shades, shades[-1]]


def test_a_picture_that_does_not_fit_says_so(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    wide = terminal.Panel(("wide",), np.ones((1, 200)))
    lines = terminal.picture(["row"], [wide])
    assert lines[-1] == "Only 75 of 200 columns fit."
    assert lines[1] == "row  " + "█" * 75


@pytest.mark.parametrize("colour", [True, False])
def test_panels_stand_side_by_side_with_their_sign_and_heads(colour):
    a = terminal.Panel(("a", ""), np.array([[1.0, 0.0], [0.0, -1.0]]), heads=("8", "10"), use="lookup")
    b = terminal.Panel(("b", "(V, D)"), ["one", "two"], joint="=")
    lines = terminal.picture(["x", "yy"], [a, b], colour)
    assert [plain(line) for line in lines] == [
        "    a      b",
        "           (V, D)",
        "     8 0",
        *(["x      ·   one", "yy   ·// = two"] if colour else ["x   ██     one", "yy    ≣≣ = two"])]
    assert ("\x1b" in "".join(lines)) == colour


@pytest.mark.parametrize("columns, lines", [
    (40, ["   one      two   three", "   longer   2     3"]),
    (22, ["   one", "      two   three", "   longer", "      2   3"]),
    (12, ["   one", "      two", "      three", "   longer", "      2   3"])])
def test_a_table_goes_below_itself_where_it_is_too_wide(columns, lines, monkeypatch):
    monkeypatch.setattr(terminal, "NARROWEST", 0)
    monkeypatch.setenv("COLUMNS", str(columns))
    assert terminal.table(("one", "two", "three"), ("longer", "2", "3")) == lines


@pytest.mark.parametrize("token, shown", [
    ("cat", "cat"), ("a b", "a␣b"), ("\n", "\\n"), ("\x1b[31m", "\\x1b[31m"),
    ("abcdefghijklm", "abcdefghijk…"),
    ("漢字漢字漢字漢字", "漢字漢字漢…"), ("e\u0301", "e\u0301"), ("\u200d", "\\u200d"), ("\udcff", "\\udcff")])
def test_labels(token, shown):
    assert terminal.label(token) == shown
    assert terminal.width(shown) <= 12


@pytest.mark.parametrize("tty, environment, wanted", [
    (True, {}, True), (False, {}, False), (True, {"NO_COLOR": "1"}, False),
    (True, {"NO_COLOR": ""}, True),
    (True, {"TERM": "dumb"}, False)])
def test_colours_only_where_they_are_wanted(tty, environment, wanted):
    with mock.patch.dict(os.environ, environment, clear=True):
        assert bool(terminal.colours(types.SimpleNamespace(isatty=lambda: tty))) is wanted


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_prose_is_the_same_however_its_lines_end(tmp_path, end):
    path = tmp_path / "text"
    path.write_bytes(end.join(["one", "", "two", ""]).encode())
    assert texts.read_prose(path) == "one\n\ntwo\n"


# ---- programs ------------------------------------------------------------------------------------

@pytest.mark.parametrize("outcome, status, said", [
    (0, 0, ""), (1, 1, ""),
    (FileNotFoundError(2, "No such file", "x.txt"), 2, "No such file: 'x.txt'"),
    (MemoryError("too much"), 2, "error: too much"), (KeyboardInterrupt(), 130, "")])
def test_run_turns_errors_into_a_message_and_a_status(outcome, status, said, capsys):
    main = mock.Mock(side_effect=[outcome])
    with pytest.raises(SystemExit) as left:
        terminal.run(main)
    err = capsys.readouterr().err
    assert left.value.code == status
    assert said in err and bool(said) == bool(err) and "Traceback" not in err


PRINTS = f"""
import sys
sys.path.insert(0, {str(DEMOS)!r})
from lib import terminal
from minigpt_np.training.progress import Progress

def main():
    print("x" * int(sys.argv[1]), terminal.colours(sys.stdout), terminal.colours(sys.stderr))
    progress = Progress(1, every=0)
    progress.update(1, "x")
    progress.line("x")
    return int(sys.argv[2])

terminal.run(main)
"""


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell's redirections")
@pytest.mark.parametrize("length, redirections, returned, status, said", [
    (9, ">&-", 0, 0, ""), (9, "<&- >&- 2>&-", 0, 0, ""), (9, "2>&-", 1, 1, ""),
    (99999, "| true; exit ${PIPESTATUS[0]}", 0, 0, ""), (9, "| true; exit ${PIPESTATUS[0]}", 1, 1, ""),
    pytest.param(9, "> /dev/full", 0, 2, "No space left on device", marks=pytest.mark.skipif(
        not os.path.exists("/dev/full"), reason="Linux")),
])
def test_output_that_cannot_be_written_ends_no_program_with_a_traceback(length, redirections, returned, status, said):
    command = f'"{sys.executable}" -c "$PROGRAM" {length} {returned} {redirections}'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True,
                          env=os.environ | {"PROGRAM": PRINTS, "PYTHONPATH": str(DEMOS.parent), "PYTHONUNBUFFERED": ""})
    assert done.returncode == status
    assert said in done.stderr and done.stderr.count("\n") == bool(said)


# A layer as someone has left it who is editing it, then the demo as from the command line.
EDITED = """
import runpy, sys
import numpy as np
from minigpt_np.layers import gelu
right = gelu.backward
def backward(dy, cache):
    {line}
gelu.backward = backward
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def ran(*arguments):
    return subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, encoding="utf-8",
                          env=os.environ | {"PYTHONPATH": os.pathsep.join([str(DEMOS), str(DEMOS.parent)])})


@pytest.mark.parametrize("line, demo", [
    ("return right(dy, cache) + np.ones(7)", ["tied_gradients.py"]),                    # NumPy's own, from C
    ("return np.stack([right(dy, cache)[:1], right(dy, cache)])",                       # from its Python, in a worker
     ["sort.py", "--steps", "1", "--threads", "2"]),
    ("raise ValueError('a check of my own')", ["tied_gradients.py"]),
])
def test_a_mistake_in_a_layer_keeps_its_traceback(line, demo):
    done = ran("-c", EDITED.format(line=line), DEMOS / demo[0], *demo[1:])
    assert done.returncode == 1
    assert "Traceback" in done.stderr and ", in backward" in done.stderr
    assert "ValueError: " in done.stderr and f"{demo[0]}: error:" not in done.stderr


def test_what_only_shows_does_not_import_what_trains():
    done = ran("-c", "import sys, lib.terminal; print([n for n in sys.modules if n in ('multiprocessing', 'concurrent')])")
    assert done.stdout == "[]\n", done.stderr


TRAINS = """
from lib import experiments
experiments.initialize_worker()
experiments._here.text = lambda settings: breakpoint()
experiments.train_here(experiments.Task(None, None, 0, 0, 0))
"""


def test_a_breakpoint_in_a_process_that_trains_is_an_error_that_says_what_to_do():
    done = ran("-c", TRAINS)
    assert done.stdout == "" and done.stderr.endswith("(a demo's --threads 1) everything runs in this process\n")


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


@pytest.mark.parametrize("arguments, message", [
    (["tied_gradients.py", "--text", "one"], "tied_gradients.py: error: text: 1 word"),  # a check
    (["train_text.py", "--text", sys.executable], "train_text.py: error: "),            # not UTF-8
])
def test_what_is_wrong_with_the_input_is_one_line(arguments, message):
    done = ran(DEMOS / arguments[0], *arguments[1:])
    assert done.returncode == 2
    assert done.stderr.startswith(message) and done.stderr.count("\n") == 1
