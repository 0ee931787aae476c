"""demos/lib/terminal.py: which errors are one line, and which keep their traceback."""
import bdb
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lib import terminal, texts

DEMOS = Path(__file__).resolve().parents[2] / "demos"
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


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_prose_is_the_same_however_its_lines_end(tmp_path, end):
    path = tmp_path / "text"
    path.write_bytes(end.join(["one", "", "two", ""]).encode())
    assert texts.read_prose(path) == "one\n\ntwo\n"


TRAINS = """
from lib import lab
lab.initialize_worker(None)
lab.train = lambda task, tick: breakpoint()
lab.train_here(None)
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
    (["step_through.py", "--text", "one"], "step_through.py: error: text: 1 tokens"),   # a check says so
    (["train_text.py", "--text", sys.executable], "train_text.py: error: "),            # not UTF-8
])
def test_what_is_wrong_with_the_input_is_one_line(arguments, message):
    done = ran(DEMOS / arguments[0], *arguments[1:])
    assert done.returncode == 2
    assert done.stderr.startswith(message) and done.stderr.count("\n") == 1
