"""Steps that are refused: numbers not finite, half an update, two threads, bad settings."""
import os
import signal
import threading
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minigpt_np import GPT, GPTConfig, Parameters
from minigpt_np.training import blas, checkpoint, memory, parallel
from minigpt_np.training.optim import SGD, AdamW, WarmupCosine
from minigpt_np.training.trainer import Trainer, evaluate
from strategies import assert_bits
from trainers import CONFIG, IDS, forks, in_child, make_trainer, snapshot


# ---- numbers that are not finite -----------------------------------------------------------------

@pytest.mark.parametrize("threads, bad", [(1, np.nan), (1, np.inf), (2, 1e30)])
def test_a_loss_or_norm_that_is_not_finite_stops_training_and_changes_nothing(threads, bad):
    trainer = make_trainer(threads=threads, dropout=0.1)
    trainer.step(IDS, IDS)
    good = trainer.model.params.E[2, 1]
    trainer.model.params.E[2, 1] = bad
    before = snapshot(trainer)
    for _ in range(2):
        with pytest.raises(FloatingPointError,
                           match="^step 1: .* expected finite numbers; .*smaller learning rate"):
            trainer.step(IDS, IDS)
        assert snapshot(trainer) == before and not trainer.half_updated
    trainer.model.params.E[2, 1] = good
    trainer.step(IDS, IDS)
    assert trainer.steps == trainer.optimizer.steps == 2


@pytest.mark.parametrize("threads", [1, 2])
def test_a_learning_rate_beyond_all_bounds_ends_in_one_error_without_warnings(threads):
    trainer = make_trainer(threads=threads, lr=1e30)
    with pytest.raises(FloatingPointError):
        for _ in range(3):              # warnings are errors here
            trainer.step(IDS, IDS)
    assert trainer.steps < 3


def test_one_thread_takes_the_step_by_plain_calls(monkeypatch):
    monkeypatch.setattr(threading.Thread, "start", lambda *_: pytest.fail("a thread is started"))
    monkeypatch.setattr(parallel, "fork", lambda *_: pytest.fail("a process is forked"))
    make_trainer(dropout=0.1).step(IDS, IDS)


# ---- half of an update ---------------------------------------------------------------------------

class Stops(SGD):
    """An optimizer that the user interrupts in the middle of its update, once."""
    armed = True

    def _update(self, *given):
        super()._update(*given)
        if self.armed:
            type(self).armed = False
            raise KeyboardInterrupt


def assert_refuses(trainer, path):
    """Neither steps nor saves, and goes on once a checkpoint has been restored."""
    saved, old = checkpoint.load(path), path.read_bytes()
    assert trainer.half_updated
    for _ in range(2):
        with pytest.raises(RuntimeError, match="in the middle of its update.*checkpoint"):
            trainer.step(IDS, IDS)
        with pytest.raises(RuntimeError, match="in the middle of its update"):
            checkpoint.save(path, trainer)
    assert path.read_bytes() == old
    saved.restore(trainer)
    assert not trainer.half_updated


def test_after_half_an_update_nothing_goes_on_but_from_a_checkpoint(tmp_path):
    path, undisturbed, trainer = tmp_path / "run.npz", make_trainer(SGD), make_trainer(SGD)
    checkpoint.save(path, trainer)
    trainer.optimizer.__class__, Stops.armed = Stops, True
    with pytest.raises(KeyboardInterrupt):
        trainer.step(IDS, IDS)
    trainer.optimizer.__class__ = SGD
    assert_refuses(trainer, path)
    assert trainer.step(IDS, IDS) == undisturbed.step(IDS, IDS)
    assert snapshot(trainer) == snapshot(undisturbed)


@forks
def test_a_worker_killed_between_gradient_and_update(tmp_path, monkeypatch):
    path, undisturbed = tmp_path / "run.npz", make_trainer(threads=2)
    trainer = make_trainer(threads=2)
    for t in (trainer, undisturbed):
        t.step(IDS, IDS)
    checkpoint.save(path, trainer)
    update = trainer.update

    def killed(*given):
        os.kill(trainer.team().pids[0], signal.SIGKILL)
        update(*given)

    monkeypatch.setattr(trainer, "update", killed)
    with pytest.raises(RuntimeError, match="ended without an answer"):
        trainer.step(IDS, IDS)
    monkeypatch.undo()
    assert_refuses(trainer, path)
    assert trainer.step(IDS, IDS) == undisturbed.step(IDS, IDS)
    assert snapshot(trainer) == snapshot(undisturbed)


# ---- several threads -----------------------------------------------------------------------------

def test_a_second_thread_s_step_is_refused_and_the_first_goes_on(monkeypatch):
    """Whatever else happens meanwhile: a step of another trainer, and a fork of the process."""
    trainer, other, undisturbed = (make_trainer(threads=2) for _ in range(3))
    inside, go_on, found = threading.Event(), threading.Event(), []
    forward, _ = trainer.model.forward, trainer.team()      # whose worker has the model's own

    def wait(*given):
        inside.set()
        go_on.wait()
        return forward(*given)

    monkeypatch.setattr(trainer.model, "forward", wait)
    first = threading.Thread(target=lambda: found.append(trainer.step(IDS, IDS)))
    first.start()
    inside.wait()

    def refused():
        with pytest.raises(RuntimeError, match="another thread"):
            trainer.step(IDS, IDS)

    def end():
        refused()
        trainer.team().close()          # as when it exits: the workers are not its own

    refused()
    assert not memory.FORKS or in_child(end)
    other.step(IDS, IDS)
    go_on.set()
    first.join()
    assert found == [undisturbed.step(IDS, IDS)]
    assert trainer.step(IDS, IDS) == other.step(IDS, IDS) == undisturbed.step(IDS, IDS)


@given(st.permutations([0, 1, 2, 3] * 2))
def test_blas_threads_are_as_before_when_the_last_of_overlapping_blocks_has_ended(order):
    """Each of four blocks begins the first time that it is in `order`, and ends the second time."""
    get, put = blas.get_threads, blas.set_threads
    if get() is None:
        pytest.skip("another BLAS")
    before, blocks, running = get(), [blas.blas_threads(1 + i % 2) for i in range(4)], []
    put(3)
    try:
        for block in (blocks[i] for i in order):
            if block in running:
                running.remove(block)
                block.__exit__()
            else:
                running.append(block)
                block.__enter__()
            assert get() == (running[-1].n if running else 3)
    finally:
        put(before)


# ---- settings and arguments ----------------------------------------------------------------------

def test_micro_batches_of_a_small_dtype_do_not_overflow():
    trainer, ids = make_trainer(), np.zeros((100, 4), int)
    trainer.micro_batches = np.uint8(3)
    trainer.step(ids, ids)
    assert type(trainer.micro_batches) is int


@pytest.mark.parametrize("name, value", [
    ("lr", np.nan), ("lr", -1), ("lr", "0.1"), ("lr", np.array([0.1])), ("weight_decay", np.inf),
    ("weight_decay", None), ("betas", (0.9,)), ("betas", 0.9), ("betas", (0.9, 1)), ("eps", 0),
    ("steps", -1), ("steps", 1.5), ("m", np.zeros(3, np.float32))])
def test_settings_that_mean_nothing_are_refused_before_anything_is_computed(name, value):
    trainer = make_trainer()
    trainer.step(IDS, IDS)
    before, grads = snapshot(trainer), trainer.grads.flat.copy()
    good = getattr(trainer.optimizer, name)
    setattr(trainer.optimizer, name, value)
    for step in (partial(trainer.step, IDS, IDS), partial(trainer.optimizer.step, trainer.grads)):
        with pytest.raises(ValueError, match=f"^{name}: .* given, expected"):
            step()
    setattr(trainer.optimizer, name, good)
    assert snapshot(trainer) == before and (trainer.grads.flat == grads).all()


LARGER = GPTConfig(vocab_size=8, block_size=4, n_layer=1, n_head=2, n_embd=4)
WRONG = [                   # where -> an attribute, another value, the argument that is named
    ("", "model", None, "model"), ("", "model", GPT(CONFIG), "optimizer"),
    ("model", "params", Parameters(CONFIG), "optimizer"),
    ("model", "config", LARGER, "model.params"),
    ("", "optimizer", None, "optimizer"), ("", "optimizer", SGD(Parameters(CONFIG)), "optimizer"),
    ("optimizer", "params", Parameters(CONFIG), "optimizer"),
    ("optimizer", "m", Parameters(LARGER), "m"),
    ("", "schedule", 0.1, "schedule"), ("", "rng", 0, "rng"), ("", "threads", 0, "threads"),
    ("", "threads", True, "threads"), ("", "clip", np.inf, "clip"), ("", "clip", 0, "clip"),
    ("", "micro_batches", 1.5, "micro_batches"), ("", "micro_batches", 0, "micro_batches"),
    ("", "steps", -1, "steps")]


@pytest.mark.parametrize("where, attribute, value, name", WRONG)
def test_replaced_parts_are_checked_before_a_step_and_a_save(
        where, attribute, value, name, tmp_path):
    trainer = make_trainer()
    trainer.step(IDS, IDS)
    params = trainer.model.params
    before = params.flat.copy()
    uses = [lambda: trainer.step(IDS, IDS), lambda: checkpoint.save(tmp_path / "run.npz", trainer)]
    if attribute in ("schedule", "rng", "threads", "clip", "micro_batches"):
        uses.append(lambda: make_trainer(**{attribute: value}))
    setattr(getattr(trainer, where) if where else trainer, attribute, value)
    for use in uses:
        with pytest.raises(ValueError, match=f"^{name}: .* given, expected"):
            use()
    assert_bits(params.flat, before)
    assert not trainer.half_updated and not list(tmp_path.iterdir())


@pytest.mark.parametrize("config", [LARGER, replace(CONFIG, tie_embeddings=False)])
def test_a_gradient_of_another_model_is_refused(config):
    trainer = make_trainer()
    trainer.grads = Parameters(config)
    with pytest.raises(ValueError, match="^grads: .* given, expected"):
        trainer.step(IDS, IDS)


@pytest.mark.parametrize("lr", [np.nan, -0.1, None])
def test_a_schedule_that_says_no_rate_is_refused_and_0_is_one(lr):
    trainer = make_trainer(schedule=lambda step: lr)
    before = snapshot(trainer)
    with pytest.raises(ValueError,
                       match=r"^schedule\(0\): .* given, expected a number of at least 0"):
        trainer.step(IDS, IDS)
    assert snapshot(trainer) == before
    trainer.schedule = WarmupCosine(0.1, 0, 0, 0)       # a cosine that has ended at 0
    params = trainer.model.params.flat.copy()
    trainer.step(IDS, IDS)
    assert (trainer.model.params.flat == params).all()


def test_numbers_that_cannot_be_trained_are_refused():
    model = GPT(CONFIG, 0, complex)
    with pytest.raises(ValueError, match="^model: of complex128 given, expected float32 or float"):
        Trainer(model, SGD(model.params))


def test_parameters_of_another_model_are_refused():
    model, larger, complex_ones = GPT(CONFIG), Parameters(LARGER), Parameters(CONFIG, complex)
    grads, optimizer = Parameters(CONFIG), AdamW(model.params)
    before = model.params.flat.copy()
    for name, use, *wrong in (
            ("grads", optimizer.step, larger, complex_ones, None),
            ("params", lambda params: GPT(CONFIG, params=params), larger, model.params.flat),
            ("params", AdamW, model.params.flat),
            ("scale", lambda x: optimizer.step(grads, scale=x), np.nan, "1"),
            ("lr", lambda x: optimizer.step(grads, lr=x), np.nan, -1)):
        for value in wrong:
            with pytest.raises(ValueError, match=f"^{name}: .* given, expected"):
                use(value)
    assert_bits(model.params.flat, before)
    assert (optimizer.m.flat == 0).all() and optimizer.steps == 0


def test_evaluate_refuses_bad_arguments():
    good = dict(model=GPT(CONFIG), tokens=IDS.ravel(), B=2, T=4, threads=1)
    for name, value in [("B", 0), ("T", -1), ("threads", 0), ("model", "x"), ("model", None)]:
        with pytest.raises(ValueError, match=f"^{name}: .* given, expected"):
            evaluate(**good | {name: value})
