"""demos/train_text.py: what it learns, saves, resumes and refuses."""
import errno
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import train_text
from lib import terminal, texts
from minigpt_np import GPT, CharacterTokenizer, GPTConfig
from minigpt_np.training import checkpoint
from minigpt_np.training.data import random_batch, split
from minigpt_np.training.parallel import cores

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
    files = {"config.json", "model.safetensors"} | ({"tokenizer.json"} if "bpe" in options else set())
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
    assert stopped == 400 or f"--resume {part} --text {text}" in said
    assert run("--resume", part, "--text", text).returncode == 0
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
    (["--prompt", "€"], "'€' given at 0"),
])
def test_bad_input_is_a_message_and_status_2(text, options, message):
    done = run("--text", text, *SMALL, *options)
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr and done.stdout == ""


def test_a_byte_order_mark_and_the_returns_of_line_ends_are_no_tokens(text, tmp_path):
    marked = tmp_path / "marked.txt"
    marked.write_bytes(b"\xef\xbb\xbf" + text.read_bytes().replace(b"\n", b"\r\n"))
    with_mark, without = (run("--text", path, "--steps", 1, *SMALL).stdout for path in (marked, text))
    assert with_mark.splitlines()[0] == without.splitlines()[0] and "\ufeff" not in with_mark


def test_the_line_of_progress_has_the_norms_of_both_contributions(text, tmp_path, monkeypatch):
    """They are those of the tied gradient's two parts: E's and head's of an untied model with the same weights."""
    model = GPT(GPTConfig(vocab_size=9, block_size=8, n_layer=1, n_head=1, n_embd=4), seed=0)
    ids, targets = np.array([[1, 2, 1, 1]]), np.array([[2, 1, 1, 8]])
    untied = model.untied()
    grads = untied.backward(untied.forward(ids, targets)[2])
    found = train_text.norms(model, ids, targets)
    np.testing.assert_allclose(found, [np.linalg.norm(grads.E), np.linalg.norm(grads.head)], rtol=1e-5)
    assert re.search(r"2/2  loss [\d.]+  \|dE\| lookup [\d.]+ logits [\d.]+  [\d,]+ tok/s  0:00 left\n",
                     run("--text", text, "--steps", 2, *SMALL).stdout)


def test_an_option_that_the_run_has_decided_is_not_ignored(text, tmp_path):
    out, begin = tmp_path / "run.npz", ["--text", text, "--steps", 2, *SMALL]
    assert run(*begin, "--out", out).returncode == 0
    for options in (["--steps", 61], ["--untie"], ["--lr", "0.1"], ["--tokenizer", "bpe"]):
        done = run("--resume", out, "--text", text, *options)
        assert done.returncode == 2 and f"{options[0]}: " in done.stderr.replace("--tie", "--untie") and str(out) in done.stderr
    again = run("--resume", out, *begin, "--samples", 2, "--prompt", "dog", "--threads", 1)
    assert again.returncode == 0 and again.stdout.count("--- sample") == 2 and "\ndog" in again.stdout


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux's /dev/full")
@pytest.mark.parametrize("redirection, status", [("| true", 1), ("> /dev/full", 1), (">&- 2>&-", 0)])
def test_output_that_cannot_be_written_loses_no_run(text, tmp_path, redirection, status):
    out, model = tmp_path / "run.npz", tmp_path / "model"
    command = [sys.executable, DEMO, "--text", text, "--steps", 5, "--out", out, "--export", model, *SMALL]
    done = subprocess.run(["bash", "-c", f"{shlex.join(map(str, command))} {redirection}; exit ${{PIPESTATUS[0]}}"],
                          capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(DEMO.parents[1])})
    assert done.returncode == status and done.stderr.count("its output could not be written") == status
    assert checkpoint.load(out).state["steps"] == 5 and (model / "config.json").is_file()


class Broken(io.StringIO):
    def flush(self):
        raise BrokenPipeError


def test_without_anything_to_keep_a_closed_pipe_ends_the_run(text):
    with redirect_stdout(Broken()), pytest.raises(BrokenPipeError):
        train_text.main([*map(str, ["--text", text, "--steps", 10**9, *SMALL])])


def test_another_text_is_not_resumed(text, tmp_path):
    out = tmp_path / "run.npz"
    assert run("--text", text, "--steps", 2, "--out", out, *SMALL).returncode == 0
    text.write_text(text.read_text() + "!")
    for again in ([], ["--text", text]):
        done = run("--resume", out, *again)
        assert done.returncode == 2 and "another text" in done.stderr


def test_a_saved_run_is_data(text, tmp_path):
    """No path is taken from it, nor more workers than there are cores; what is no option is refused."""
    out, other = tmp_path / "run.npz", tmp_path / "other"
    assert run("--text", text, "--steps", 2, "--out", out, *SMALL).returncode == 0
    saved = checkpoint.load(out)
    assert not {"text", "export", "out"} & saved.notes["args"].keys()

    def forged(**args):
        notes = {**saved.notes, "args": {**saved.notes["args"], **args}}
        state = np.frombuffer(json.dumps({**saved.state, "notes": notes}).encode(), np.uint8)
        with open(tmp_path / "forged.npz", "wb") as file:
            np.savez(file, state=state, **saved.arrays)
        return run("--resume", tmp_path / "forged.npz", "--text", text)

    done = forged(export=str(other), out=str(other), text="/etc/passwd", threads=300)
    assert done.returncode == 0 and not other.exists() and f"; {cores()} thread" in " ".join(done.stdout.split())
    for args in ({"layers": [1]}, {"lr": "x"}, {"samples": -1}, {"tokenizer": "a cake"}):
        assert forged(**args).returncode == 2


# ---- what goes wrong on the way ----------------------------------------------------------------------

def test_a_run_that_cannot_be_saved_goes_on_and_ends_with_status_1(text, tmp_path, monkeypatch):
    out, save, calls = tmp_path / "run.npz", checkpoint.save, []

    def full(path, *args, **options):
        calls.append(path)
        if len(calls) != 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        save(path, *args, **options)

    monkeypatch.setattr(checkpoint, "save", full)
    monkeypatch.setattr(train_text, "SAVE_EVERY", -1)
    done = run("--text", text, "--steps", 2, "--out", out, *SMALL)
    assert done.returncode == 1 and len(calls) == 3 and checkpoint.load(out).state["steps"] == 2
    assert done.stdout.count("warning: the run is not saved") == 2 and f"No space left on device: '{out}'" in done.stdout
    assert "--- sample 1" in done.stdout
    calls.clear()
    calls.append("the last save is the one that succeeds")
    assert run("--text", text, "--steps", 1, "--out", out, *SMALL).returncode == 1
    monkeypatch.setattr(checkpoint, "save", save)
    assert run("--text", text, "--steps", 1, "--out", out, *SMALL).returncode == 0


def test_what_cannot_be_written_is_noticed_before_training(text, tmp_path):
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "folder", "/dev/null"):
        done = run("--text", text, "--steps", 1, "--out", path, *SMALL)
        assert done.returncode == 2 and str(path) in done.stderr and "loss" not in done.stdout


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_what_was_saved(text, tmp_path):
    out, model = tmp_path / "run.npz", tmp_path / "model"
    assert run("--text", text, "--steps", 2, "--out", out, *SMALL).returncode == 0
    before = out.read_bytes()
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done = run("--text", text, "--steps", 9, "--lr", "1e30", "--out", out, "--export", model, *SMALL)
    assert done.returncode == 1 and "expected finite numbers" in done.stderr and "smaller learning rate" in done.stderr
    assert out.read_bytes() == before and not list(model.iterdir())


def test_a_model_larger_than_the_memory_is_refused(text):
    for options in (["--width", 10**9, "--heads", 1], ["--layers", 10**9]):
        done = run("--text", text, *SMALL, *options)
        assert done.returncode == 2 and "GB to train; expected a model that fits" in done.stderr


# ---- writing -----------------------------------------------------------------------------------------

class Bytes:
    """A tokenizer whose tokens are the two bytes of é, an end of text, and what a terminal would obey."""
    vocab_size, end_of_text = 4, 2

    def token(self, v):
        return [*("é".encode()[i:i + 1] for i in range(2)), b"", b"\x1b"][v]


class Pieces(io.StringIO):
    """A stream that keeps what came between two flushes."""

    def __init__(self):
        super().__init__()
        self.pieces = []

    def flush(self):
        self.pieces.append(self.getvalue()[len("".join(self.pieces)):])


def written(ids, seconds, monkeypatch):
    """The new ids and the stream when a model writes these, one every so many seconds."""
    model, stream = GPT(GPTConfig(vocab_size=6, block_size=4, n_layer=1, n_head=1, n_embd=2)), Pieces()
    model.stream = lambda prompt, n, **options: iter(np.array([[v] for v in ids[:n]]))
    times = iter(np.arange(10**4) * seconds / 2)            # looked at twice for each token
    monkeypatch.setattr(texts.time, "monotonic", lambda: next(times))
    return texts.write(model, np.array([0, 1]), len(ids), Bytes(), stream), stream


@pytest.mark.parametrize("ids, pieces, rest", [
    ([0, 1, 0], ["", "é", ""], "\ufffd\n"), ([0, 1, 2, 0], ["", "é"], "\n"), ([5], ["\ufffd"], "\n"),
    ([3], ["\\x1b"], "\n")])
def test_each_token_is_shown_as_it_comes_and_a_character_once_it_is_whole(ids, pieces, rest, monkeypatch):
    new, stream = written(ids, 1.0, monkeypatch)
    assert stream.pieces == ["", "é", *pieces] and stream.getvalue() == "".join(stream.pieces) + rest
    assert new == ids[:len(pieces)]


def test_a_fast_model_does_not_flush_for_every_token(monkeypatch):
    """In a notebook each flush is a message."""
    _, stream = written([0, 1] * 500, 0.001, monkeypatch)
    assert stream.getvalue() == "é" * 501 + "\n" and len(stream.pieces) <= 1 + 1 / texts.OFTEN
