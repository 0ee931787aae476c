"""Steps that must not be: of numbers that are not finite, half of an update, by two threads at once, of bad settings."""
import os
import signal
import threading
from fractions import Fraction

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


@forks
def test_a_worker_killed_at_any_moment_loses_nothing_or_says_so(tmp_path):
    """Every step is whole, or has changed nothing, or refuses to go on: never another number."""
    path, undisturbed, trainer = tmp_path / "run.npz", make_trainer(threads=3), make_trainer(threads=3)
    rng = np.random.default_rng(0)
    for _ in range(examples_of(5, 100)):
        checkpoint.save(path, trainer)
        pid = trainer.team().pids[int(rng.integers(2))]
        timer = threading.Timer(rng.uniform(0, 0.004), os.kill, (pid, signal.SIGKILL))
        timer.start()
        try:
            found = trainer.step(IDS, IDS)
        except RuntimeError as error:
            assert "ended without an answer" in str(error)
            timer.join()
            if trainer.half_updated:
                assert_refuses(trainer, path)
            found = trainer.step(IDS, IDS)
        timer.join()
        assert found == undisturbed.step(IDS, IDS)
        assert state(trainer) == state(undisturbed)
        trainer.team().close()          # which may be without the worker that was killed


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


def test_trainers_in_threads_leave_the_blas_as_it_was():
    get, put = blas.openblas()
    if get is None:
        pytest.skip("another BLAS")
    before = get()
    put(2)
    try:
        def train():
            trainer = make_trainer(threads=1)
            for _ in range(20):
                trainer.step(IDS, IDS)

        threads = [threading.Thread(target=train) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert get() == 2
    finally:
        put(before)


# ---- settings and arguments ------------------------------------------------------------------------

def numbers_like(x):
    """x as other kinds of number."""
    return st.sampled_from([x, np.float64(x), Fraction(x)] + [np.float32(x)] * (float(np.float32(x)) == x))


@given(numbers_like(0.25), st.booleans(), numbers_like(0.5), numbers_like(0.125), st.sampled_from([1, 2]))
def test_settings_of_any_kind_of_number_reach_workers_and_files(lr, as_list, beta, decay, threads):
    trainer, expected = make_trainer(threads=threads), make_trainer(threads=1)
    given = {"lr": lr, "betas": [beta, np.float64(0.9)] if as_list else (beta, 0.9), "weight_decay": decay, "eps": np.float32(0.5)}
    vars(trainer.optimizer).update(given)
    vars(expected.optimizer).update(lr=0.25, betas=(0.5, 0.9), weight_decay=0.125, eps=0.5)
    for t in (trainer, expected):
        t.step(IDS, IDS)
    np.testing.assert_allclose(trainer.model.params.flat, expected.model.params.flat, rtol=1e-4, atol=1e-6)
    found = trainer.optimizer.settings()
    assert found == expected.optimizer.settings()
    assert {type(value) for value in found.values()} == {int, float, tuple, bool}


@BOTH
@pytest.mark.parametrize("name, value", [
    ("lr", np.nan), ("lr", -1), ("lr", "0.1"), ("lr", np.array([0.1])), ("weight_decay", np.inf), ("weight_decay", None),
    ("betas", (0.9,)), ("betas", 0.9), ("betas", (0.9, 1)), ("eps", 0), ("steps", -1), ("steps", 1.5), ("decay_embeddings", 1)])
def test_settings_that_mean_nothing_are_refused_before_anything_is_computed(threads, name, value, monkeypatch):
    trainer = make_trainer(threads=threads)
    trainer.step(IDS, IDS)
    before, grads = state(trainer), trainer.grads.flat.copy()
    good = getattr(trainer.optimizer, name)
    setattr(trainer.optimizer, name, value)
    for step, arguments in ((trainer.step, (IDS, IDS)), (trainer.optimizer.step, (trainer.grads,))):
        with pytest.raises(ValueError, match=f"^{name}: .* given, expected"):
            step(*arguments)
    setattr(trainer.optimizer, name, good)
    assert state(trainer) == before and (trainer.grads.flat == grads).all()


@BOTH
@pytest.mark.parametrize("name, value", [("clip", -1), ("clip", "1"), ("micro_batches", 0), ("micro_batches", 1.5)])
def test_a_trainer_s_own_settings_are_looked_at_before_every_step(threads, name, value):
    trainer = make_trainer(threads=threads)
    trainer.step(IDS, IDS)
    before = state(trainer)
    setattr(trainer, name, value)
    with pytest.raises(ValueError, match=f"^{name}: .* given, expected"):
        trainer.step(IDS, IDS)
    assert state(trainer) == before


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
}


@BOTH
@pytest.mark.parametrize("name, change", OTHERS.values(), ids=OTHERS)
def test_what_is_refused_when_a_trainer_is_made_is_refused_when_it_steps_and_when_it_is_saved(threads, name, change, tmp_path):
    trainer = make_trainer(threads=threads)
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


def test_an_optimizer_s_params_and_moments_are_looked_at_before_every_step():
    for change in ({"params": None}, {"m": np.zeros(3, np.float32)}, {"lr": -1}):
        params = Parameters(CONFIG)
        optimizer = AdamW(params)
        vars(optimizer).update(change)
        with pytest.raises(ValueError, match=f"^{[*change][0]}: .* given, expected"):
            optimizer.step(Parameters(CONFIG))
        assert not params.flat.any()


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
    ({"micro_batches": 1.5}, "micro_batches"), ({"rng": 0}, "rng"), ({"clip": "1"}, "clip"), ({"clip": np.inf}, "clip"),
    ({"schedule": 0.1}, "schedule"), ({"optimizer": "adam"}, "optimizer"), ({"model": None}, "model")])
def test_a_trainer_that_cannot_be_is_refused_where_it_is_made(options, name):
    model = GPT(CONFIG)
    with pytest.raises(ValueError, match=f"^{name}: .* given, expected"):
        Trainer(**{"model": model, "optimizer": SGD(model.params), "threads": 1} | options)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_numbers_that_cannot_be_trained_are_refused(dtype):
    model = GPT(CONFIG, 0, dtype)
    with pytest.raises(ValueError, match=f"^model: of {np.dtype(dtype)} given, expected float32 or float64"):
        Trainer(model, SGD(model.params))


def test_a_trainer_s_plain_numbers_are_python_s():
    trainer = make_trainer(clip=np.float32(0.5), threads=np.int64(1), micro_batches=np.uint8(2))
    assert (type(trainer.clip), type(trainer.threads), type(trainer.micro_batches)) == (float, int, int)
    schedule = WarmupCosine(np.float32(0.5), np.int64(1), np.int32(5), np.float64(0.25))
    assert [type(value) for value in vars(schedule).values()] == [float, int, int, float]


def test_parameters_of_another_model_are_refused():
    model = GPT(CONFIG)
    other, complex_ones = Parameters(GPTConfig(vocab_size=8, block_size=4, n_layer=1, n_head=2, n_embd=4)), Parameters(CONFIG, complex)
    _, _, cache = model.forward(IDS, IDS)
    before = model.params.flat.copy()
    optimizer = AdamW(model.params)
    for wrong in (other, complex_ones, None, model.params.flat):
        for what, use in (("grads", optimizer.step), ("grads", lambda grads: model.backward(cache, grads)),
                          ("params", lambda params: GPT(CONFIG, params=params)), ("params", AdamW)):
            if (wrong is None and use is not optimizer.step) or (what == "params" and isinstance(wrong, Parameters)
                                                                 and (use is AdamW or wrong is complex_ones)):
                continue        # new ones; Parameters to train, or of another type of number
            with pytest.raises(ValueError, match=f"^{what}: .* given, expected"):
                use(wrong)
    assert (model.params.flat == before).all() and (optimizer.m == 0).all() and optimizer.steps == 0
    for scale in (np.nan, np.inf, "1", None):
        with pytest.raises(ValueError, match="^scale: "):
            optimizer.step(Parameters(CONFIG), scale=scale)
    for lr in (np.nan, -1, "1"):
        with pytest.raises(ValueError, match="^lr: "):
            optimizer.step(Parameters(CONFIG), lr=lr)
    assert_bits(model.params.flat, before)


def test_evaluate_refuses_bad_arguments():
    model = GPT(CONFIG)
    for options, name in (({"B": 0}, "B"), ({"B": -1}, "B"), ({"T": -1}, "T"), ({"T": 1.5}, "T"), ({"threads": 1.5}, "threads")):
        with pytest.raises(ValueError, match=f"^{name}: .* given, expected"):
            evaluate(model, IDS.ravel(), **{"B": 2, "T": 4, "threads": 1} | options)
