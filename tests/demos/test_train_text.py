"""demos/train_text.py: what it learns, saves, resumes and refuses; and the progress it shows."""
import io
import json
import os
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import train_text
from html_page import Page
from lib import terminal, writing
from minigpt_np import GPT, GPTConfig
from minigpt_np.training import checkpoint
from minigpt_np.training.progress import Interruptible, Progress, clock

DEMO = Path(__file__).resolve().parents[2] / "demos" / "train_text.py"
SMALL = ["--layers", "1", "--heads", "1", "--width", "8", "--block", "8", "--batch", "2", "--samples", "1", "--threads", "1"]


def run(*options):
    """The demo in this process, as from the command line: its exit status, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.raises(SystemExit) as left, redirect_stdout(out), redirect_stderr(err):
        terminal.run(lambda: train_text.main([*map(str, options)]))
    return SimpleNamespace(returncode=left.value.code, stdout=out.getvalue(), stderr=err.getvalue())


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("the cat sat on the mat and the dog sat on the log. " * 40, encoding="utf-8")
    return path


@pytest.mark.parametrize("options", [["--tie"], ["--untie", "--tokenizer", "bpe", "--vocab-size", "270"]])
def test_it_trains_exports_and_writes(text, tmp_path, options):
    done = run("--text", text, "--steps", 30, "--export", tmp_path / "model", *SMALL, *options)
    assert done.returncode == 0, done.stderr
    assert "validation loss" in done.stdout and "--- sample 1" in done.stdout and done.stderr == ""
    assert "\r" not in done.stdout                                  # quiet lines in a pipe
    files = {"config.json", "model.safetensors"} | ({"vocab.json", "merges.txt"} if "bpe" in options else set())
    assert {p.name for p in (tmp_path / "model").iterdir()} == files
    model = GPT.from_pretrained(tmp_path / "model")
    assert model.config.tie_embeddings == ("--tie" in options)
    assert ("E tied" in done.stdout) == ("--tie" in options)


@pytest.mark.skipif(os.name == "nt", reason="SIGINT to one process is POSIX")
def test_ctrl_c_saves_and_the_resumed_run_ends_as_the_whole_one(text, tmp_path):
    whole, part = tmp_path / "whole.npz", tmp_path / "deep" / "part.npz"
    steps = ["--steps", 400, "--dropout", "0.1", "--lr", "0.01"]
    assert run("--text", text, "--out", whole, *steps, *SMALL).returncode == 0

    command = [sys.executable, DEMO, "--text", text, "--out", part, *steps, *SMALL]
    with subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()                                   # it has begun
        process.send_signal(signal.SIGINT)
        said = process.stdout.read()
    stopped = checkpoint.load(part).state["steps"]
    assert process.returncode == (130 if stopped < 400 else 0)
    assert stopped == 400 or f"--resume {part}" in said
    assert run("--resume", part).returncode == 0
    first, second = checkpoint.load(whole), checkpoint.load(part)
    assert second.state["steps"] == 400
    for name, array in first.arrays.items():
        assert (array == second.arrays[name]).all()


@pytest.mark.parametrize("options, message", [
    (["--text", "no such file"], "No such file"),
    (["--resume", "no such file"], "No such file"),
    (["--heads", "3"], "n_embd: 8 given, expected a multiple of n_head = 3"),
    (["--steps", "0"], "--steps: 0 given"),
    (["--dropout", "1"], "embd_pdrop: 1.0 given"),
    (["--lr", "-1"], "lr: -1.0 given"),
    (["--block", "100000"], "tokens: "),
    (["--seed", "-1"], "--seed: -1 given"),
])
def test_bad_input_is_a_message_and_status_2(text, options, message):
    done = run("--text", text, *SMALL, *options)
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr


def test_another_text_is_not_resumed(text, tmp_path):
    out = tmp_path / "run.npz"
    assert run("--text", text, "--steps", 2, "--out", out, *SMALL).returncode == 0
    text.write_text(text.read_text() + "!")
    done = run("--resume", out)
    assert done.returncode == 2 and "another text" in done.stderr


# ---- the page ----------------------------------------------------------------------------------------

class StopAfterFive(Interruptible):
    """Ctrl-C after five steps."""
    steps = -1

    @property
    def asked(self):
        self.steps += 1
        return self.steps == 5

    @asked.setter
    def asked(self, value):
        pass


def test_the_film_goes_on_where_the_run_does_and_changes_nothing(text, tmp_path, monkeypatch):
    """Stopped in the middle and resumed: the same page, and the weights of a run without one."""
    command = ["--text", text, "--steps", 12, "--dropout", "0.1", *SMALL]
    whole, plain, part = tmp_path / "whole.npz", tmp_path / "plain.npz", tmp_path / "part.npz"
    pages = tmp_path / "pages" / "whole.html", tmp_path / "pages" / "part.html"
    assert run(*command, "--out", whole, "--html", pages[0]).returncode == 0
    assert run(*command, "--out", plain).returncode == 0
    with monkeypatch.context() as patch:
        patch.setattr(train_text, "Interruptible", StopAfterFive)
        stopped = run(*command, "--out", part, "--html", pages[1])
    assert stopped.returncode == 130 and "stopped after step 5" in stopped.stdout
    half = json.loads(Page(pages[1].read_text(encoding="utf-8")).scripts[0])
    assert [frame["step"] for frame in half["frames"]] == [0, 1, 2, 3, 4, 5] and half["steps"] == 12
    assert run("--resume", part).returncode == 0
    texts = [path.read_text(encoding="utf-8") for path in pages]
    assert texts[0] == texts[1] and "12 of 12 steps" in texts[0]
    page = Page(texts[0])
    shown = json.loads(page.scripts[0])
    assert page.open == [] and shown["frames"][-1]["step"] == 12 and len(shown["validation"]) == 1
    assert shown["names"][str(shown["rows"][0])] == " "                     # the commonest
    assert all(frame["text"].startswith("t") and len(frame["text"]) == 61 for frame in shown["frames"])
    for name, array in checkpoint.load(plain).arrays.items():
        assert (array == checkpoint.load(whole).arrays[name]).all()


def test_a_prompt_that_cannot_be_encoded_is_refused_before_training(text):
    done = run("--text", text, *SMALL, "--prompt", "€")
    assert done.returncode == 2 and "'€' given at 0" in done.stderr and done.stdout == ""


# ---- writing -----------------------------------------------------------------------------------------

class Pieces:
    """A stream that keeps what came between two flushes."""

    def __init__(self):
        self.pieces, self.now = [], ""

    def write(self, text):
        self.now += text

    def flush(self):
        self.pieces.append(self.now)
        self.now = ""


class Bytes:
    """A tokenizer whose tokens are the two bytes of é, an end of text, and what a terminal would obey."""
    vocab_size, end_of_text = 4, 2

    def token(self, v):
        return [*("é".encode()[i:i + 1] for i in range(2)), b"", b"\x1b"][v]


@pytest.mark.parametrize("ids, pieces, rest", [
    ([0, 1, 0], ["", "é", ""], "\ufffd\n"), ([0, 1, 2, 0], ["", "é"], "\n"), ([5], ["\ufffd"], "\n"),
    ([3], ["\\x1b"], "\n")])
def test_each_token_is_shown_as_it_comes_and_a_character_once_it_is_whole(ids, pieces, rest):
    model, stream = GPT(GPTConfig(vocab_size=6, block_size=4, n_layer=1, n_head=1, n_embd=2)), Pieces()
    model.stream = lambda prompt, n, **options: iter(np.array([[v] for v in ids[:n]]))
    new = writing.write(model, np.array([0, 1]), len(ids), Bytes(), stream)
    assert stream.pieces == ["", "é", *pieces] and stream.now == rest
    assert new == ids[:len(pieces)]


# ---- progress ----------------------------------------------------------------------------------------

class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_renews_a_line_on_a_terminal_and_is_quiet_in_a_pipe(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("minigpt_np.training.progress.time.monotonic", lambda: now[0])
    terminal, pipe = Terminal(), io.StringIO()
    bars = Progress(4, terminal), Progress(4, pipe)
    for done in range(1, 5):
        now[0] += 3
        for bar in bars:
            bar.update(done, f"loss {done}")
    bars[0].line("done")
    assert terminal.getvalue() == ("\r1/4  loss 1  0:09 left\x1b[K\r2/4  loss 2  0:06 left\x1b[K"
                                   "\r3/4  loss 3  0:03 left\x1b[K\r4/4  loss 4  0:00 left\x1b[K\r\x1b[Kdone\n")
    assert pipe.getvalue() == "4/4  loss 4  0:00 left\n"

    patient = [Progress(3, stream, patience=5) for stream in (terminal, pipe)]
    said = terminal.getvalue(), pipe.getvalue()
    for bar in patient:
        bar.update(1, "quick")
    assert (terminal.getvalue(), pipe.getvalue()) == said       # not yet worth a line
    now[0] += 6
    for bar in patient:
        bar.update(2, "slow")
        bar.update(3, "slow")
        bar.clear()
    assert terminal.getvalue() == said[0] + "\r2/3  slow  0:03 left\x1b[K\r\x1b[K"
    assert pipe.getvalue() == said[1]                           # every 10 s, and no last line

    resumed = Progress(10, pipe, every=0)           # 8 were done before: their time does not count
    now[0] += 2
    resumed.update(9, "x")
    assert pipe.getvalue().endswith("9/10  x  0:02 left\n")


def test_clock():
    assert [clock(s) for s in (0, 59.6, 75, 3600, 7325)] == ["0:00", "1:00", "1:15", "1:00:00", "2:02:05"]


def test_interruptible_asks_first_and_raises_then():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        with Interruptible() as interrupt:
            assert not interrupt.asked
            signal.raise_signal(signal.SIGINT)
            assert interrupt.asked
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
