"""demos/train_text.py: what it learns, saves, resumes and refuses."""
import errno
import io
import json
import os
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
from html_page import Page
from lib import terminal, writing
from minigpt_np import GPT, CharacterTokenizer, GPTConfig
from minigpt_np.training import checkpoint
from minigpt_np.training.data import random_batch, split
from minigpt_np.training.parallel import cores
from minigpt_np.training.progress import Interruptible

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
])
def test_bad_input_is_a_message_and_status_2(text, options, message):
    done = run("--text", text, *SMALL, *options)
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr


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
    assert not {"text", "html", "export", "out"} & saved.notes["args"].keys()

    def forged(**args):
        notes = {**saved.notes, "args": {**saved.notes["args"], **args}}
        state = np.frombuffer(json.dumps({**saved.state, "notes": notes}).encode(), np.uint8)
        with open(tmp_path / "forged.npz", "wb") as file:
            np.savez(file, state=state, **saved.arrays)
        return run("--resume", tmp_path / "forged.npz", "--text", text)

    done = forged(html=str(other), export=str(other), out=str(other), text="/etc/passwd", threads=300)
    assert done.returncode == 0 and not other.exists() and f"; {cores()} thread" in " ".join(done.stdout.split())
    for args in ({"layers": [1]}, {"lr": "x"}, {"samples": -1}, {"recipe": "a cake"}):
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


@pytest.mark.parametrize("option", ["--out", "--html"])
def test_what_cannot_be_written_is_noticed_before_training(text, tmp_path, option):
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "folder", "/dev/null"):
        done = run("--text", text, "--steps", 1, option, path, *SMALL)
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


# ---- nanoGPT's recipe --------------------------------------------------------------------------------

def test_nanogpts_recipe_is_what_nanogpt_does(text, tmp_path):
    """train.py's and model.py's: exact GELU, bias=False, decay on every matrix, its rates and betas. Steps written out."""
    out, options = tmp_path / "run.npz", ["--recipe", "nanogpt", "--steps", 3, *SMALL]
    assert run("--text", text, "--out", out, *options).returncode == 0
    saved = checkpoint.load(out)
    assert saved.config.activation == "gelu_exact" and saved.notes["args"]["lr"] == 1e-3
    assert saved.state["schedule"] == dict(lr=1e-3, warmup=3, total=3, minimum=1e-4)

    trained = GPT(saved.config, seed=0)
    params = trained.params.flat.astype(float)
    tokens = CharacterTokenizer(text.read_text(encoding="utf-8")).encode(text.read_text(encoding="utf-8"))
    training, rng = split(tokens)[0], np.random.default_rng([0, 2])
    m, v = np.zeros_like(params), np.zeros_like(params)
    biases = np.concatenate([np.arange(place.start, place.stop) for name, place in trained.params.slices.items()
                             if name.endswith((".b", ".bias"))])
    matrices = np.concatenate([np.arange(place.start, place.stop) for name, place in trained.params.slices.items()
                               if trained.params.arrays[name].ndim == 2])
    exact = GPT(saved.config, dtype=np.float64)
    for step in range(3):
        exact.params.flat[:] = params
        g = exact.backward(exact.forward(*random_batch(training, 2, 8, rng))[2]).flat
        g[biases] = 0
        g *= min(1, 1 / (np.linalg.norm(g) + 1e-6))
        lr = 1e-3 * (step + 1) / 4
        params[matrices] *= 1 - lr * 0.1
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
        params -= lr * (m / (1 - 0.9**(step + 1))) / (np.sqrt(v / (1 - 0.99**(step + 1))) + 1e-8)
    found = saved.arrays["params"]
    assert not found[biases].any()
    # AdamW divides by sqrt(v): float32's rounding of a gradient counts as a part of a whole step of lr
    np.testing.assert_allclose(found, params, rtol=1e-5, atol=3 * 1e-3 * 1e-2)
    moved = np.linalg.norm(found - GPT(saved.config, seed=0).params.flat)
    assert np.linalg.norm(found - params) < 1e-3 * moved


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
    assert run("--resume", part, "--text", text, "--html", pages[1]).returncode == 0
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
