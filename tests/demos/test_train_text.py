"""demos/train_text.py: what it learns, saves, resumes and refuses; and the progress it shows."""
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from minigpt_np import GPT
from minigpt_np.training import checkpoint
from minigpt_np.training.progress import Interruptible, Progress, clock

DEMO = Path(__file__).resolve().parents[2] / "demos" / "train_text.py"
SMALL = ["--layers", "1", "--heads", "1", "--width", "8", "--block", "8", "--batch", "2", "--samples", "1", "--threads", "1"]


def run(*options, **kwargs):
    return subprocess.run([sys.executable, DEMO, *map(str, options)], capture_output=True, text=True, timeout=120, **kwargs)


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
