"""Checkpoints: runs come back bit for bit, damage is found, and what fails changes nothing."""
import json
import os
from functools import partial

import numpy as np
import pytest
import trainers
from hypothesis import given, strategies as st

from minigpt_np.training import checkpoint
from minigpt_np.training.optim import SGD, AdamW, WarmupCosine
from strategies import assert_bits, examples, examples_of
from trainers import IDS, snapshot


def make_trainer(*arguments, **options):
    defaults = dict(schedule=WarmupCosine(0.1, 2, 9, 0.01), dropout=0.2)
    return trainers.make_trainer(*arguments, **defaults | options)


# ---- what is saved -------------------------------------------------------------------------------

@examples(0.5)
@given(st.sampled_from([AdamW, SGD]), st.integers(0, 3), st.booleans(),
       st.sampled_from([None, np.float32(0.5), np.float64(0.25), 2]), st.booleans(),
       st.integers(1, 2))
def test_a_resumed_run_is_the_run(tmp_path_factory, kind, n, drawn, clip, constant, threads):
    path = tmp_path_factory.mktemp("run") / "run.npz"
    numbers = np.float32(0.1), np.int64(2), np.int64(9), np.float16(0.01)
    schedule = None if constant else WarmupCosine(*numbers)
    trainer = make_trainer(kind, schedule=schedule, threads=threads)
    trainer.clip, trainer.micro_batches, trainer.optimizer.lr = clip, np.int64(2), np.float32(0.1)
    batches = np.random.default_rng(3)
    if drawn:
        batches.integers(5, dtype=np.uint32)        # half of a draw is kept for the next
    for _ in range(n):
        trainer.step(IDS, IDS)
    checkpoint.save(path, trainer, {"batches": batches}, notes={"anything": [1, "é"]})
    other = make_trainer(kind, seed=9, schedule=WarmupCosine(1, 1, 1, 1), threads=threads)
    restored, run = np.random.default_rng(8), checkpoint.load(path)
    assert run.config == trainer.model.config and run.notes == {"anything": [1, "é"]}
    run.restore(other, {"batches": restored})
    assert snapshot(other, {"batches": restored}) == snapshot(trainer, {"batches": batches})
    drawn, again = (rng.integers(9, size=9, dtype=np.uint32) for rng in (batches, restored))
    assert (drawn == again).all()
    assert [other.step(IDS, IDS) for _ in range(2)] == [trainer.step(IDS, IDS) for _ in range(2)]
    assert_bits(other.model.params.flat, trainer.model.params.flat)


OTHER_KIND = np.random.Generator(np.random.MT19937(0))


class Halved(WarmupCosine):
    """A schedule that a file would not tell from its base class."""

    def __call__(self, step):
        return super().__call__(step) / 2


@pytest.mark.parametrize("options, name, given", [
    ({}, "notes", {"notes": {1j}}), ({}, "notes", {"notes": {"a": b"bytes"}}),
    ({"rng": OTHER_KIND}, "trainer.rng: a Generator of MT19937", {}),
    ({"schedule": lambda step: 0.1}, "trainer.schedule: ", {}),
    ({"schedule": Halved(1, 1, 2, 0)}, "trainer.schedule: ", {})])
def test_what_cannot_be_saved_is_named_and_the_old_file_stays(tmp_path, options, name, given):
    path = tmp_path / "run.npz"
    checkpoint.save(path, make_trainer())
    old = path.read_bytes()
    with pytest.raises(ValueError, match=f"^{name}.* given"):
        checkpoint.save(path, make_trainer(**options), **given)
    assert path.read_bytes() == old and os.listdir(tmp_path) == ["run.npz"]


@pytest.mark.parametrize("argument, wrong, name", [
    ("path", None, "path"), ("path", 3, "path"),
    ("trainer", None, "trainer"), ("trainer", "x", "trainer"),
    ("generators", 3, "generators"), ("generators", [1], "generators"),
    ("generators", {1: np.random.default_rng(0)}, "generators"),
    ("generators", {"trainer.rng": np.random.default_rng(0)}, "generators"),
    ("generators", {"batches": OTHER_KIND}, "batches"), ("generators", {"batches": 3}, "batches")])
def test_arguments_of_another_kind_are_named_and_change_nothing(tmp_path, argument, wrong, name):
    path = tmp_path / "run.npz"
    trainer, generators = saved_run(path)
    old, before, run = path.read_bytes(), snapshot(trainer, generators), checkpoint.load(path)
    good = {"trainer": trainer, "generators": generators}
    uses = [lambda: checkpoint.save(**{"path": path, **good, argument: wrong}),
            lambda: (checkpoint.load(wrong) if argument == "path"
                     else run.restore(**good | {argument: wrong}))]
    for use in uses:
        with pytest.raises(ValueError, match=f"^{name}: .* given, expected"):
            use()
    assert snapshot(trainer, generators) == before
    assert path.read_bytes() == old and os.listdir(tmp_path) == ["run.npz"]


def test_a_save_that_is_stopped_leaves_the_run_there_was(tmp_path, monkeypatch):
    """By Ctrl-C in the middle of writing; test_atomic kills a process there."""
    def stops(file, **arrays):
        file.write(b"half")
        raise KeyboardInterrupt

    before = snapshot(*saved_run(tmp_path / "run.npz"))
    monkeypatch.setattr(np, "savez", stops)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(tmp_path / "run.npz", make_trainer(seed=3))
    assert snapshot(*restored(tmp_path / "run.npz")) == before
    assert os.listdir(tmp_path) == ["run.npz"]


# ---- what does not fit changes nothing -----------------------------------------------------------

def saved_run(path, **options):
    """A trainer and its generators, as they are saved at `path`."""
    trainer, generators = make_trainer(**options), {"batches": np.random.default_rng(1)}
    trainer.step(IDS, IDS)
    checkpoint.save(path, trainer, generators)
    return trainer, generators


def changes():
    """Functions that change a run so that it does not fit, and what the error then names."""
    def at(*path):
        def change(run, value):
            place = run.state
            for name in path[:-1]:
                place = place[name]
            place[path[-1]] = value
        return change
    settings = "optimizer", "settings"
    yield from [(lambda run: run.arrays.pop("m"), "arrays"),
                (lambda run: run.arrays.update(extra=np.zeros(1)), "arrays"),
                (lambda run: run.arrays.update(v=run.arrays["v"][1:]), "v: "),
                (lambda run: run.arrays.update(params=run.arrays["params"].astype(np.float64)),
                 "params: "),
                (lambda run: run.state["optimizer"]["settings"].pop("eps"), "eps"),
                (lambda run: run.state["dropout"].update(bit_generator="MT19937"), "PCG64"),
                (lambda run: run.state["dropout"].pop("state"), "state"),
                (lambda run: run.state["generators"]["batches"].update(state={"state": 1}), "inc")]
    for path, value in [(("steps",), -1), (("steps",), 1.5), (("clip",), -1), (("clip",), "1"),
                        (("micro_batches",), 0),
                        (("schedule",), {"lr": 1}), (("schedule",), 3),
                        (("schedule",), {"lr": 1, "warmup": 0, "total": 1, "minimum": 2}),
                        ((*settings, "lr"), None), ((*settings, "betas"), [0.9]),
                        ((*settings, "steps"), True),
                        ((*settings, "eps"), float("nan")), (("dropout",), None),
                        (("dropout",), []),
                        (("generators",), {}), (("optimizer", "kind"), "SGD")]:
        named = {"dropout": "trainer.rng", "kind": "optimizer"}.get(path[-1], path[-1].rstrip("s"))
        yield partial(at(*path), value=value), named


def test_a_restore_that_fails_changes_nothing(tmp_path):
    saved_run(tmp_path / "run.npz")
    for change, name in changes():
        run = checkpoint.load(tmp_path / "run.npz")
        change(run)
        trainer, generators = make_trainer(seed=3), {"batches": np.random.default_rng(2)}
        before = snapshot(trainer, generators)
        with pytest.raises(ValueError,
                           match=f"run.npz: .*{name}|run.npz: not a saved run that fits"):
            run.restore(trainer, generators)
        assert snapshot(trainer, generators) == before, name


@pytest.mark.parametrize("field, option", [
    ("tie_embeddings", {"tie": False}), ("resid_pdrop", {"dropout": 0.1})])
def test_a_run_of_another_config_is_refused_by_the_field(tmp_path, field, option):
    _, generators = saved_run(tmp_path / "run.npz")
    with pytest.raises(ValueError, match=f"run.npz: config: {field}: "):
        checkpoint.load(tmp_path / "run.npz").restore(make_trainer(**option), generators)


@pytest.mark.parametrize("field", [*checkpoint.FIELDS, "format"])
def test_a_file_without_a_field_is_refused_when_it_is_opened(tmp_path, field):
    path = tmp_path / "run.npz"
    saved_run(path)
    run = checkpoint.load(path)
    del run.state[field]
    np.savez(path, state=np.frombuffer(json.dumps(run.state).encode(), np.uint8), **run.arrays)
    with pytest.raises(ValueError, match=f"run.npz: not a saved run.*{field}"):
        checkpoint.load(path)


def test_a_run_without_dropout_is_no_run_with_dropout(tmp_path):
    for ours, theirs in [(None, np.random.default_rng(2)), (np.random.default_rng(2), None)]:
        trainer, generators = saved_run(tmp_path / "run.npz", rng=theirs)
        with pytest.raises(ValueError, match=r"run.npz: generators: .*trainer\.rng"):
            checkpoint.load(tmp_path / "run.npz").restore(make_trainer(rng=ours), generators)


# ---- damaged files -------------------------------------------------------------------------------

@pytest.mark.parametrize("name, value, message", [
    ("v", -0.5, "v: -0.5 given, expected second moments of at least 0"),
    ("v", np.nan, "v: .* given, expected"), ("m", np.inf, "m: .* given, expected"),
    ("params", -np.inf, "params: .* given, expected"), ("m", 1j, "m: .* given, expected"),
    ("m", "a", "m: .* given, expected"),
    ("m", None, "not a saved run")])
def test_numbers_that_no_run_can_have_are_refused(tmp_path, name, value, message):
    path = tmp_path / "run.npz"
    saved_run(path)
    with np.load(path) as archive:
        arrays = dict(archive)
    arrays[name] = np.array([*arrays[name][1:], value])
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=f"run.npz: {message}"):
        checkpoint.load(path)


@pytest.mark.parametrize("raw", [b"", b"PK\x03\x04", b"\x93NUMPY", b"text"])
def test_other_files_are_refused(tmp_path, raw):
    path = tmp_path / "run.npz"
    with pytest.raises(FileNotFoundError):
        checkpoint.load(path)
    path.write_bytes(raw)
    with pytest.raises(ValueError, match="run.npz: not a saved run"):
        checkpoint.load(path)
    np.savez(path, state=np.frombuffer(json.dumps({"format": "another"}).encode(), np.uint8))
    with pytest.raises(ValueError,
                       match="run.npz: format 'another' given, expected 'minigpt_np run 1'"):
        checkpoint.load(path)


@examples(0.5)
@given(st.data())
def test_a_damaged_file_is_refused_or_is_the_same_run(tmp_path_factory, data):
    """Bytes changed, cut or repeated: a clear error and nothing changed, or what was saved."""
    path = tmp_path_factory.mktemp("run") / "run.npz"
    expected = snapshot(*saved_run(path, seed=1))
    whole = path.read_bytes()
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    for _ in range(examples_of(10, 100)):
        raw = bytearray(whole)
        ends = rng.random() < 0.5           # where names and sizes are
        for _ in range(rng.integers(1, 4)):
            i = int(rng.integers(len(raw)) if not ends
                    else len(raw) - 1 - rng.integers(min(len(raw), 400)))
            way = rng.integers(4)
            if way == 0:
                raw[i] ^= 1 << rng.integers(8)
            elif way == 1:
                raw[i] = rng.integers(256)
            elif way == 2:
                del raw[i:i + int(rng.integers(1, 50))]
            else:
                raw[i:i] = raw[i:i + int(rng.integers(1, 50))]
        path.write_bytes(raw)
        resumed = restored(path)
        assert resumed is None or snapshot(*resumed) == expected


def restored(path):
    """A new trainer and its generators, as the file has them; None if it is refused, unchanged."""
    trainer, generators = make_trainer(seed=3), {"batches": np.random.default_rng(2)}
    before = snapshot(trainer, generators)
    try:
        checkpoint.load(path).restore(trainer, generators)
    except ValueError as error:
        assert "run.npz: " in str(error)
        assert snapshot(trainer, generators) == before
        return None
    return trainer, generators
