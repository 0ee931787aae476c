"""Steps that are refused: numbers that are not finite, half an update, two threads, bad settings."""
import os
import signal
import threading
from functools import partial

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minigpt_np import GPT, GPTConfig, Parameters
from minigpt_np.training import blas, checkpoint, memory, parallel
from minigpt_np.training.optim import SGD, AdamW, WarmupCosine
from minigpt_np.training.trainer import Trainer, evaluate
from strategies import assert_bits, examples_of

forks = pytest.mark.skipif(not memory.FORKS, reason="processes are not forked here")
CONFIG = GPTConfig(vocab_size=7, block_size=4, n_layer=1, n_head=2, n_embd=4)
IDS = np.random.default_rng(0).integers(0, 7, (5, 4))
BOTH = pytest.mark.parametrize("threads", [1, 2])


def make_trainer(kind=AdamW, dtype=np.float32, **options):
    model = GPT(CONFIG, 0, dtype)
    return Trainer(model, kind(model.params, 0.1), **options)


def state(trainer):
    """All that a step changes, copied."""
    arrays = [trainer.model.params.flat, *trainer.optimizer.arrays().values()]
    drawn = trainer.rng and trainer.rng.bit_generator.state
    return [array.tobytes() for array in arrays], trainer.steps, trainer.optimizer.settings(), drawn


# ---- numbers that are not finite -------------------------------------------------------------------

@BOTH
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_a_loss_or_norm_that_is_not_finite_stops_training_and_changes_nothing(threads, bad):
    trainer = make_trainer(threads=threads, rng=np.random.default_rng(1))
    trainer.step(IDS, IDS)
    good = trainer.model.params.E[2, 1]
    trainer.model.params.E[2, 1] = bad
    before = state(trainer)
    for _ in range(2):
        with pytest.raises(FloatingPointError, match="^step 1: .* expected finite numbers; .*smaller learning rate"):
            trainer.step(IDS, IDS)
        assert state(trainer) == before and not trainer.half_updated
    trainer.model.params.E[2, 1] = good
    trainer.step(IDS, IDS)
    assert trainer.steps == trainer.optimizer.steps == 2


@BOTH
def test_a_learning_rate_beyond_all_bounds_ends_in_one_clear_error_without_warnings(threads):
    model = GPT(CONFIG)
    trainer = Trainer(model, AdamW(model.params, 1e30), threads=threads)
    with pytest.raises(FloatingPointError):
        for _ in range(3):              # warnings are errors here
            trainer.step(IDS, IDS)
    assert trainer.steps < 3


def test_one_thread_takes_the_step_by_plain_calls(monkeypatch):
    monkeypatch.setattr(parallel, "pool", lambda: pytest.fail("a thread is asked for"))
    monkeypatch.setattr(parallel, "fork", lambda *_: pytest.fail("a process is forked"))
    trainer = make_trainer(threads=1, rng=np.random.default_rng(1))
    trainer.step(IDS, IDS)
    assert len(set(trainer.seeds(100))) == 100                  # of dropout: no two parts drop the same


# ---- half of an update -----------------------------------------------------------------------------

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
    path, undisturbed = tmp_path / "run.npz", make_trainer(SGD, threads=1)
    trainer = make_trainer(SGD, threads=1)
    checkpoint.save(path, trainer)
    trainer.optimizer.__class__, Stops.armed = Stops, True
    with pytest.raises(KeyboardInterrupt):
        trainer.step(IDS, IDS)
    trainer.optimizer.__class__ = SGD
    assert_refuses(trainer, path)
    assert trainer.step(IDS, IDS) == undisturbed.step(IDS, IDS)
    assert state(trainer) == state(undisturbed)


@forks
def test_a_worker_killed_between_gradient_and_update(tmp_path, monkeypatch):
    path, undisturbed = tmp_path / "run.npz", make_trainer(threads=2)
    trainer = make_trainer(threads=2)
    for t in (trainer, undisturbed):
        t.step(IDS, IDS)
    for _ in range(examples_of(1, 100)):
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
        assert state(trainer) == state(undisturbed)


# ---- several threads -------------------------------------------------------------------------------

def test_a_second_thread_s_step_is_refused_and_the_first_goes_on(monkeypatch):
    trainer, undisturbed = make_trainer(threads=1), make_trainer(threads=1)
    inside, go_on, found = threading.Event(), threading.Event(), []
    forward = trainer.model.forward

    def wait(*given):
        inside.set()
        go_on.wait()
        return forward(*given)

    monkeypatch.setattr(trainer.model, "forward", wait)
    first = threading.Thread(target=lambda: found.append(trainer.step(IDS, IDS)))
    first.start()
    inside.wait()
    with pytest.raises(RuntimeError, match="another thread"):
        trainer.step(IDS, IDS)
    go_on.set()
    first.join()
    assert found == [undisturbed.step(IDS, IDS)]
    assert trainer.step(IDS, IDS) == undisturbed.step(IDS, IDS)


@given(st.permutations(range(8)))
def test_blas_threads_are_as_before_when_the_last_of_overlapping_blocks_has_ended(order):
    """Blocks 0..3 begin (numbers 0..3) and end (4..7), in any order that has each begin first."""
    get, put = blas.openblas()
    if get is None:
        pytest.skip("another BLAS")
    before, blocks = get(), [blas.blas_threads(1 + i % 2) for i in range(4)]
    put(3)
    try:
        open_blocks = []
        for i in sorted(order, key=lambda i: (order.index(i % 4), i) if i < 4 else (max(order.index(i), order.index(i % 4)), i)):
            if i < 4:
                blocks[i].__enter__()
                open_blocks.append(blocks[i])
            else:
                open_blocks.remove(blocks[i % 4])
                blocks[i % 4].__exit__()
            assert get() == (open_blocks[-1].n if open_blocks else 3)
        assert get() == 3
    finally:
        put(before)


# ---- settings and arguments ------------------------------------------------------------------------

@BOTH
def test_settings_that_are_numpys_numbers_reach_workers_and_files(threads):
    trainer, expected = make_trainer(threads=threads), make_trainer(threads=1)
    vars(trainer.optimizer).update(lr=np.float32(0.25), betas=(np.float32(0.5), np.float64(0.9)),
                                   weight_decay=np.float64(0.125), eps=np.float16(0.5))
    vars(expected.optimizer).update(lr=0.25, betas=(0.5, 0.9), weight_decay=0.125, eps=0.5)
    for t in (trainer, expected):
        t.step(IDS, IDS)
    np.testing.assert_allclose(trainer.model.params.flat, expected.model.params.flat, rtol=1e-4, atol=1e-6)
    found = trainer.optimizer.settings()
    assert found == expected.optimizer.settings()
    assert {type(value) for value in found.values()} == {int, float, tuple, bool}


@pytest.mark.parametrize("name, value", [
    ("lr", np.nan), ("lr", -1), ("lr", "0.1"), ("lr", np.array([0.1])), ("weight_decay", np.inf),
    ("weight_decay", None), ("betas", (0.9,)), ("betas", 0.9), ("betas", (0.9, 1)), ("eps", 0),
    ("steps", -1), ("steps", 1.5), ("decay_embeddings", 1), ("m", np.zeros(3, np.float32))])
def test_settings_that_mean_nothing_are_refused_before_anything_is_computed(name, value):
    trainer = make_trainer(threads=1)
    trainer.step(IDS, IDS)
    before, grads = state(trainer), trainer.grads.flat.copy()
    good = getattr(trainer.optimizer, name)
    setattr(trainer.optimizer, name, value)
    for step, arguments in ((trainer.step, (IDS, IDS)), (trainer.optimizer.step, (trainer.grads,))):
        with pytest.raises(ValueError, match=f"^{name}: .* given, expected"):
            step(*arguments)
    setattr(trainer.optimizer, name, good)
    assert state(trainer) == before and (trainer.grads.flat == grads).all()


LARGER = GPTConfig(vocab_size=8, block_size=4, n_layer=1, n_head=2, n_embd=4)
OTHERS = {                  # what is set -> the argument that is named, how it is set
    "params of the model": ("optimizer", lambda trainer: setattr(trainer.model, "params", Parameters(CONFIG))),
    "params of the optimizer": ("optimizer", lambda trainer: setattr(trainer.optimizer, "params", Parameters(CONFIG))),
    "a model": ("optimizer", lambda trainer: setattr(trainer, "model", GPT(CONFIG))),
    "no model": ("model", lambda trainer: setattr(trainer, "model", None)),
    "an optimizer": ("optimizer", lambda trainer: setattr(trainer, "optimizer", SGD(Parameters(CONFIG)))),
    "no optimizer": ("optimizer", lambda trainer: setattr(trainer, "optimizer", None)),
    "a config": ("model.params", lambda trainer: setattr(trainer.model, "config", LARGER)),
    "short moments": ("m", lambda trainer: setattr(trainer.optimizer, "m", np.zeros(3))),
    "a schedule": ("schedule", lambda trainer: setattr(trainer, "schedule", 0.1)),
    "a seed": ("rng", lambda trainer: setattr(trainer, "rng", 0)),
    "threads": ("threads", lambda trainer: setattr(trainer, "threads", 0)),
    "clip": ("clip", lambda trainer: setattr(trainer, "clip", -1)),
    "micro-batches": ("micro_batches", lambda trainer: setattr(trainer, "micro_batches", 1.5)),
}


@pytest.mark.parametrize("name, change", OTHERS.values(), ids=OTHERS)
def test_replaced_parts_are_checked_before_a_step_and_a_save(name, change, tmp_path):
    trainer = make_trainer(threads=1)
    trainer.step(IDS, IDS)
    params = trainer.model.params
    before = params.flat.copy()
    change(trainer)
    for use in (lambda: trainer.step(IDS, IDS), lambda: checkpoint.save(tmp_path / "run.npz", trainer)):
        with pytest.raises(ValueError, match=f"^{name}: .* given, expected"):
            use()
    assert_bits(params.flat, before)
    assert trainer.steps == 1 and not trainer.half_updated and not list(tmp_path.iterdir())


def test_a_gradient_of_another_model_is_refused():
    trainer = make_trainer(threads=1)
    trainer.grads = Parameters(LARGER)
    with pytest.raises(ValueError, match="^grads: .* given, expected"):
        trainer.step(IDS, IDS)


@pytest.mark.parametrize("lr", [np.nan, -0.1, np.inf, None, "x"])
def test_a_schedule_that_says_no_rate_is_refused_and_0_is_one(lr):
    trainer = make_trainer(schedule=lambda step: lr, threads=1)
    before = state(trainer)
    with pytest.raises(ValueError, match=r"^schedule\(0\): .* given, expected a number of at least 0"):
        trainer.step(IDS, IDS)
    assert state(trainer) == before
    for schedule in (lambda step: 0, WarmupCosine(0.1, 0, 0, 0)):       # a cosine that ends at 0
        trainer.schedule = schedule
        params = trainer.model.params.flat.copy()
        trainer.step(IDS, IDS)
        assert (trainer.model.params.flat == params).all()


@pytest.mark.parametrize("options, name", [
    ({"threads": 1.5}, "threads"), ({"threads": True}, "threads"), ({"threads": "2"}, "threads"),
    ({"threads": 0}, "threads"), ({"micro_batches": 1.5}, "micro_batches"),
    ({"micro_batches": 0}, "micro_batches"), ({"rng": 0}, "rng"), ({"clip": "1"}, "clip"),
    ({"clip": np.inf}, "clip"), ({"clip": 0}, "clip"), ({"schedule": 0.1}, "schedule"),
    ({"optimizer": "adam"}, "optimizer"), ({"optimizer": SGD(Parameters(CONFIG))}, "optimizer"),
    ({"model": None}, "model")])
def test_a_trainer_that_cannot_be_is_refused_where_it_is_made(options, name):
    model = GPT(CONFIG)
    with pytest.raises(ValueError, match=f"^{name}: .* given, expected"):
        Trainer(**{"model": model, "optimizer": SGD(model.params), "threads": 1} | options)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_numbers_that_cannot_be_trained_are_refused(dtype):
    model = GPT(CONFIG, 0, dtype)
    with pytest.raises(ValueError, match=f"^model: of {np.dtype(dtype)} given, expected float32 or float64"):
        Trainer(model, SGD(model.params))


def test_parameters_of_another_model_are_refused():
    model, larger, complex_ones = GPT(CONFIG), Parameters(LARGER), Parameters(CONFIG, complex)
    flat, optimizer, cache = model.params.flat, AdamW(model.params), model.forward(IDS, IDS)[2]
    before = flat.copy()
    for name, use, *wrong in (
            ("grads", optimizer.step, larger, complex_ones, None, flat),
            ("grads", partial(model.backward, cache), larger, complex_ones, flat),
            ("params", lambda params: GPT(CONFIG, params=params), larger, flat),
            ("params", AdamW, flat),
            ("scale", lambda x: optimizer.step(Parameters(CONFIG), scale=x), np.nan, "1", None),
            ("lr", lambda x: optimizer.step(Parameters(CONFIG), lr=x), np.nan, -1, "1")):
        for value in wrong:
            with pytest.raises(ValueError, match=f"^{name}: .* given, expected"):
                use(value)
    assert_bits(flat, before)
    assert (optimizer.m == 0).all() and optimizer.steps == 0


def test_evaluate_refuses_bad_arguments():
    model = GPT(CONFIG)
    for options, name in (({"B": 0}, "B"), ({"T": -1}, "T"), ({"T": 1.5}, "T"),
                          ({"threads": 0}, "threads"), ({"threads": 1.5}, "threads")):
        with pytest.raises(ValueError, match=f"^{name}: .* given, expected"):
            evaluate(model, IDS.ravel(), **{"B": 2, "T": 4, "threads": 1} | options)
