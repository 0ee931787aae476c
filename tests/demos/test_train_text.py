"""demos/train_text.py: what it learns, saves, resumes and refuses."""
import errno
import io
import json
import os
import re
import signal
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest

import train_text
from lib import terminal, texts
from minigpt_np import GPT, GPTConfig, parameters
from minigpt_np.training import checkpoint, data
from minigpt_np.training.parallel import cores

SMALL = ["--layers", "1", "--heads", "1", "--width", "8", "--block-size", "8", "--batch", "1",
         "--samples", "1", "--threads", "1"]


def run(*options, stdout=None):
    """The demo in this process, as from the command line: its exit status, stdout and stderr."""
    out, err = stdout or io.StringIO(), io.StringIO()
    with pytest.raises(SystemExit) as left, redirect_stdout(out), redirect_stderr(err):
        terminal.run(lambda: train_text.main([*map(str, options)]))
    return SimpleNamespace(status=left.value.code, err=err.getvalue(),
                           out=out.getvalue() if stdout is None else None)


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("the cat sat on the mat and the dog sat on the log. " * 40, encoding="utf-8")
    return path


@pytest.fixture
def saved(text, tmp_path):
    """A finished run of two steps."""
    path = tmp_path / "run.npz"
    assert run("--text", text, "--steps", 2, "--out", path, *SMALL, "--samples", 0).status == 0
    return path


# ---- what it does --------------------------------------------------------------------------------

@pytest.mark.parametrize("options", [[], ["--untied", "--tokenizer", "bpe", "--vocab-size", "270"]])
def test_it_trains_exports_and_writes(text, tmp_path, options):
    done = run("--text", text, "--steps", 30, "--export", tmp_path / "model", *SMALL, *options)
    assert done.status == 0 and done.err == ""
    assert "validation loss" in done.out and "--- sample 1" in done.out
    assert "\r" not in done.out                                     # quiet lines in a pipe
    files = {"config.json", "model.safetensors"} | ({"tokenizer.json"} if options else set())
    assert {p.name for p in (tmp_path / "model").iterdir()} == files
    model = GPT.from_pretrained(tmp_path / "model")
    assert model.config.tie_embeddings == (not options) == ("E is the head" in done.out)


def test_a_plain_run_is_nanoGPTs_on_a_CPU():
    """Its README's: --block_size=64 --batch_size=12 --n_layer=4 --n_head=4 --n_embd=128 ..."""
    args, _ = train_text.parse([])
    assert (args.block, args.batch, args.layers, args.heads, args.width) == (64, 12, 4, 4, 128)
    assert (args.steps, args.dropout, args.weight_decay, args.tie) == (2000, 0, 0.1, True)
    assert (args.vocab_size, args.seed) == (1024, 0)


def test_the_line_of_progress_has_the_norms_of_both_contributions(text, monkeypatch):
    """Those of the tied gradient's two parts: E's and head's of an untied model, same weights."""
    model = GPT(GPTConfig(vocab_size=9, block_size=8, n_layer=1, n_head=1, n_embd=4), seed=0)
    ids, targets = np.array([[1, 2, 1, 1]]), np.array([[2, 1, 1, 8]])
    untied = model.untied()
    grads = untied.backward(untied.forward(ids, targets)[2])
    found = train_text.norms(model, ids, targets)
    np.testing.assert_allclose(found, [np.linalg.norm(grads.E), np.linalg.norm(grads.head)],
                               rtol=1e-5)
    line = r"2/2  loss [\d.]+  \|dE\| lookup [\d.]+ logits [\d.]+  [\d,]+ tok/s  0:00 left\n"
    monkeypatch.setattr(train_text, "EVALUATE_EVERY", 1)
    out = run("--text", text, "--steps", 2, *SMALL).out
    assert re.search(line, out) and out.count("validation loss") == 2 and "step 1: training" in out


def test_ctrl_c_saves_and_the_resumed_run_ends_as_an_unbroken_one(text, tmp_path, monkeypatch):
    unbroken, part = tmp_path / "unbroken.npz", tmp_path / "my runs" / "part.npz"
    steps = ["--steps", 9, "--dropout", "0.1", "--lr", "0.01"]
    assert run("--text", text, "--out", unbroken, *steps, *SMALL).status == 0

    def random_batch(*args):
        if next(drawn) == 4:
            signal.raise_signal(signal.SIGINT)
        return data.random_batch(*args)

    drawn = count(1)
    monkeypatch.setattr(train_text, "random_batch", random_batch)
    stopped = run("--text", text, "--out", part, *steps, *SMALL)
    assert stopped.status == 130 and stopped.err == ""
    assert "\n4 steps in 0" in stopped.out and "\nstopped after step 4; continue" in stopped.out
    assert stopped.out.endswith(f" --resume '{part}' --text {text}\n")
    resumed = run("--resume", part, "--text", text)
    assert resumed.status == 0 and "\n5 steps in 0" in resumed.out
    first, second = checkpoint.load(unbroken), checkpoint.load(part)
    assert second.state["steps"] == 9
    for name, array in first.arrays.items():
        assert (array == second.arrays[name]).all()


# ---- what it refuses -----------------------------------------------------------------------------

@pytest.mark.parametrize("options, message", [
    (["--text", "no such file"], "No such file"),
    (["--text", sys.executable], "not UTF-8"),
    (["--resume", "no such file"], "No such file"),
    (["--heads", "3"], ": --width: 8 given, expected a multiple of --heads = 3"),
    (["--steps", "0"], "--steps: 0 given"), (["--lr", "nan"], ": --lr: nan given"),
    (["--block-size", "0"], ": --block-size: 0"), (["--dropout", "1"], ": --dropout: 1.0 given"),
    (["--tokenizer", "bpe", "--vocab-size", "1"], ": --vocab-size: 1 given"),
    (["--weight-decay", "-1"], ": --weight-decay: -1.0 given"),
    (["--block-size", "204"], "--text: 2,040 tokens given, expected at least 2,050"),
    (["--prompt", "c€"], "--prompt: 'c€' given, expected characters of the text"),
    (["--out", os.devnull], os.devnull),
    (["--export", __file__], __file__),
    (["--width", "1000000000"], "GB to train; expected a model that fits"),
])
def test_bad_input_is_a_message_and_status_2_before_training(text, options, message):
    done = run("--text", text, *SMALL, *options)
    assert done.status == 2 and message in done.err and done.out == ""


def test_a_folder_that_cannot_be_exported_to_is_refused_before_training(text, tmp_path):
    (tmp_path / "config.json").mkdir()
    done = run("--text", text, "--export", tmp_path, *SMALL)
    assert done.status == 2 and str(tmp_path / "config.json") in done.err and done.out == ""


def test_a_model_needs_four_float32_a_parameter(monkeypatch):
    config = GPTConfig(vocab_size=9, block_size=8, n_layer=3, n_head=1, n_embd=4)
    memory = {"SC_PAGE_SIZE": 16, "SC_PHYS_PAGES": 5 * parameters.count(config)}
    monkeypatch.setattr(os, "sysconf", memory.get, raising=False)
    train_text.check_memory(config, threads=17)
    memory["SC_PHYS_PAGES"] -= 1
    with pytest.raises(ValueError, match="3 and 4 given, 0 GB to train; expected"):
        train_text.check_memory(config, threads=17)


@pytest.mark.parametrize("options", [["--steps", 61], ["--untied"], ["--block-size", 9]])
def test_an_option_that_the_run_has_decided_is_refused(text, saved, options):
    done = run("--resume", saved, "--text", text, *options)
    assert done.status == 2 and f"{options[0]}: given, but {saved} was begun with" in done.err


def test_another_text_is_not_resumed(text, saved):
    text.write_text(text.read_text() + "!")
    for again in ([], ["--text", text]):
        done = run("--resume", saved, *again)
        assert done.status == 2 and "another text" in done.err


def test_a_saved_run_decides_no_path_and_no_more_workers_than_cores(text, saved):
    def resumed(notes):
        archive["state"] = np.frombuffer(json.dumps(state | {"notes": notes}).encode(), np.uint8)
        np.savez(saved, **archive)
        return run("--resume", saved, "--text", text, "--steps", 2, "--samples", 1,
                   "--prompt", "dog")

    archive = dict(np.load(saved))
    state = json.loads(archive["state"].tobytes())
    args = state["notes"]["args"]
    assert not {"text", "export", "out"} & args.keys()
    done = resumed(state["notes"] | {"args": args | {"threads": 300}})
    assert done.status == 0 and "--- sample 1\ndog" in done.out
    assert f"; {cores()} thread" in " ".join(done.out.split())
    for notes in (None, {"args": {}}):
        done = resumed(notes)
        assert done.status == 2 and f"{saved} is not a run of this program" in done.err


# ---- what goes wrong on the way ------------------------------------------------------------------

def closed_pipe():
    reader, writer = os.pipe()
    os.close(reader)
    return open(writer, "w", encoding="utf-8")


@pytest.mark.parametrize("open_stdout", [closed_pipe, pytest.param(
    lambda: open("/dev/full", "w", encoding="utf-8"),
    marks=pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux"))])
def test_output_that_cannot_be_written_loses_no_run(text, tmp_path, open_stdout):
    out, model = tmp_path / "run.npz", tmp_path / "model"
    model.mkdir()
    with open_stdout() as stdout:
        done = run("--text", text, "--steps", 5, "--out", out, "--export", model, *SMALL,
                   stdout=stdout)
    assert done.status == 1 and done.err.count("its output could not be written") == 1
    assert checkpoint.load(out).state["steps"] == 5 and (model / "config.json").is_file()


def test_without_anything_to_keep_a_closed_pipe_ends_the_run(text):
    with closed_pipe() as stdout:
        assert run("--text", text, "--steps", 10**9, *SMALL, stdout=stdout).status == 0


def test_a_run_that_cannot_be_saved_goes_on_and_ends_with_status_1(text, tmp_path, monkeypatch):
    out, save, full = tmp_path / "run.npz", checkpoint.save, iter([1, 0, 1, 1, 0, 0])

    def save_or_fail(path, *args, **options):
        if next(full):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        save(path, *args, **options)

    monkeypatch.setattr(checkpoint, "save", save_or_fail)
    monkeypatch.setattr(train_text, "SAVE_EVERY", -1)
    done = run("--text", text, "--steps", 2, "--out", out, *SMALL)
    assert done.status == 1 and checkpoint.load(out).state["steps"] == 2
    assert done.out.count("warning: the run is not saved") == 2
    assert f"No space left on device: '{out}'" in done.out and "--- sample 1" in done.out
    args = ["--text", text, "--out", out, *SMALL, "--samples", 0]
    assert run(*args, "--steps", 1).status == 0                # saved at last
    monkeypatch.setattr(train_text, "SAVE_EVERY", 999)
    assert run(*args, "--steps", 2).status == 0                # saved once


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_what_was_saved(text, saved, tmp_path):
    before, model = saved.read_bytes(), tmp_path / "model"
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done = run("--text", text, "--steps", 9, "--lr", "1e30", "--out", saved, "--export", model,
                   *SMALL)
    assert done.status == 1 and "expected finite numbers" in done.err
    assert "smaller learning rate" in done.err
    assert saved.read_bytes() == before and not list(model.iterdir())


# ---- reading and writing -------------------------------------------------------------------------

@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_text_has_no_byte_order_mark_and_its_lines_end_alike(tmp_path, end):
    path = tmp_path / "text"
    path.write_bytes(b"\xef\xbb\xbf" + end.join(["one", "", "two", ""]).encode())
    assert texts.read_text(path) == "one\n\ntwo\n"


class Bytes:
    """A tokenizer: the two bytes of é, an end of text, a control character and a line's end."""
    vocab_size, end_of_text = 5, 2

    def token(self, v):
        return [*("é".encode()[i:i + 1] for i in range(2)), b"", b"\x1b", b"\n"][v]


class Pieces(io.StringIO):
    """A stream that keeps what came between two flushes."""

    def __init__(self):
        super().__init__()
        self.pieces = []

    def flush(self):
        self.pieces.append(self.getvalue()[len("".join(self.pieces)):])


def written(ids, often, monkeypatch):
    """The new ids and the stream when a model writes these and flushes so often."""
    config, stream = GPTConfig(vocab_size=6, block_size=4, n_layer=1, n_head=1, n_embd=2), Pieces()
    model = GPT(config)
    model.stream = lambda prompt, n, **options: iter(np.array([[v] for v in ids[:n]]))
    monkeypatch.setattr(texts, "OFTEN", often)
    return texts.write(model, np.array([0, 1]), len(ids), Bytes(), stream), stream


@pytest.mark.parametrize("ids, pieces, rest", [
    ([0, 1, 0], ["", "é", ""], "\ufffd\n"), ([0, 1, 2, 0], ["", "é"], "\n"),
    ([5], ["\ufffd"], "\n"), ([3], ["\\x1b"], "\n"), ([4], ["\n"], "\n")])
def test_a_token_is_shown_as_it_comes_but_no_part_of_a_character(ids, pieces, rest, monkeypatch):
    new, stream = written(ids, 0, monkeypatch)
    assert stream.pieces == ["", "é", *pieces]
    assert stream.getvalue() == "".join(stream.pieces) + rest
    assert new == ids[:len(pieces)]


def test_a_fast_model_does_not_flush_for_every_token(monkeypatch):
    """In a notebook each flush is a message."""
    _, stream = written([0, 1] * 500, 9, monkeypatch)
    assert stream.getvalue() == "é" * 501 + "\n" and len(stream.pieces) == 1
