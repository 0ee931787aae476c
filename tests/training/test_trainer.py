"""Threads and micro-batches change when things are computed, never what; batches of tokens."""
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, strategies as st

from minigpt_np import GPT
from minigpt_np.training import blas, memory, parallel
from minigpt_np.training.data import consecutive_batches, random_batch, split
from minigpt_np.training.optim import SGD, AdamW, WarmupCosine, clip_factor
from minigpt_np.training.trainer import Trainer, evaluate
from strategies import examples
from trainers import CONFIG, IDS, make_trainer

TOKENS = np.random.default_rng(7).integers(0, 5, 200)


# ---- one batch, split ----------------------------------------------------------------------------

@examples(0.8)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.booleans(),
       st.booleans(), st.sampled_from([AdamW, SGD]), st.integers(0, 2**32 - 1))
def test_workers_and_micro_batches_take_the_step_of_a_plain_loop(
        B, T, threads, micro_batches, processes, tie, kind, seed):
    rng, options = np.random.default_rng(seed), dict(seed=seed, dtype=np.float64, tie=tie, lr=0.01)
    ids, targets = rng.integers(0, 5, (B, T)), rng.integers(-1, 5, (B, T))
    targets[rng.integers(B), rng.integers(T)] = 0
    plain, before = make_trainer(kind, **options), memory.FORKS
    memory.FORKS = before and processes
    try:
        trainer = make_trainer(kind, threads, micro_batches=micro_batches, **options)
        for step in range(3):
            trainer.grads.flat[:] = np.nan      # what was there before must not matter
            found, norm = trainer.step(ids, targets)
            _, loss, cache = plain.model.forward(ids, targets)
            grads = plain.model.backward(cache)
            plain.optimizer.step(grads, scale=clip_factor(np.linalg.norm(grads.flat), 1.0))
            if step == 0:       # sums of at most 20 terms in another order
                assert found == pytest.approx(loss, rel=1e-13)
                assert norm == pytest.approx(np.linalg.norm(grads.flat), rel=1e-11)
                np.testing.assert_allclose(trainer.grads.flat, grads.flat, rtol=1e-11, atol=1e-14)
        forked = threads > 1 and memory.FORKS
        assert type(trainer.team()) is (parallel.Processes if forked else parallel.Threads)
    finally:
        memory.FORKS = before
    # AdamW divides by sqrt(v), so a gradient near 0 counts as much as a large one
    np.testing.assert_allclose(trainer.model.params.flat, plain.model.params.flat,
                               rtol=1e-9, atol=1e-9)


@given(st.integers(0, 20), st.integers(1, 9))
def test_shares_cover_everything_once_and_evenly(n, threads):
    shares = parallel.even_slices(n, threads)
    assert [i for s in shares for i in range(s.start, s.stop)] == list(range(n))
    sizes = [s.stop - s.start for s in shares]
    assert len(shares) == threads and max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("threads", [1, 2])
def test_while_a_step_runs_the_blas_uses_one_thread(threads, monkeypatch):
    get, put = blas.get_threads, blas.set_threads
    if get() is None:
        carried = Path(np.__file__).parents[1] / "numpy.libs"       # in the wheels for Linux
        assert not list(carried.glob("*openblas*"))
        pytest.skip("another BLAS")
    before, seen, trainer = get(), [], make_trainer(threads=threads)
    forward = trainer.model.forward
    monkeypatch.setattr(trainer.model, "forward",
                        lambda *given: seen.append(get()) or forward(*given))
    try:
        put(3)
        trainer.step(IDS, IDS)
        assert set(seen) == {1} and get() == 3
        seen.clear()
        evaluate(trainer.model, TOKENS, 3, 4, threads)
        assert set(seen) == {1} and get() == 3
    finally:
        put(before)


def test_one_worker_a_core_and_the_batch_in_one_piece_unless_asked():
    model = GPT(CONFIG)
    trainer = Trainer(model, SGD(model.params))
    assert trainer.threads == parallel.cores() and trainer.micro_batches == 1
    assert trainer.clip == 1.0 and trainer.schedule is None and trainer.rng is None


def test_a_trainer_shows_what_is_set():
    trainer = make_trainer(SGD, threads=2, clip=None)
    for text in ("threads=2", "clip=None", "schedule=None", "0 steps", "SGD", "momentum=0.0"):
        assert text in repr(trainer)


def test_an_unknown_blas_is_left_alone(monkeypatch):
    monkeypatch.setattr(blas.ctypes, "CDLL", lambda path: None)
    get, put = blas.find_openblas()
    assert put(3) is get() is None


# ---- the same seed, the same bits ----------------------------------------------------------------

@pytest.mark.parametrize("threads", [1, 3])
def test_the_same_seed_gives_the_same_bits(threads):
    first, second = (make_trainer(threads=threads, dropout=0.1) for _ in range(2))
    assert [first.step(IDS, IDS) for _ in range(4)] == [second.step(IDS, IDS) for _ in range(4)]
    assert (first.model.params.flat == second.model.params.flat).all()


def test_dropout_needs_the_trainers_generator_and_drops_anew_in_every_part_and_step():
    without = make_trainer(dropout=0.5, rng=None)
    expected = without.model.forward(IDS, IDS)[1]
    assert without.step(IDS, IDS)[0] == pytest.approx(expected, rel=1e-6)
    trainer = make_trainer(dropout=0.5, dtype=np.float64, micro_batches=2, lr=1e-30)
    forward, losses = trainer.model.forward, []

    def watched(*given):
        losses.append(forward(*given)[1])
        return forward(*given)

    trainer.model.forward = watched
    for _ in range(2):
        trainer.step(IDS[[0, 0]], IDS[[0, 0]])
    assert len(set(losses)) == 4


def test_more_micro_batches_than_sequences_are_one_for_each():
    one_each, more = (make_trainer(dropout=0.5, micro_batches=n) for n in (len(IDS), 99))
    for _ in range(2):
        assert more.step(IDS, IDS) == one_each.step(IDS, IDS)


def test_a_step_clips_and_follows_the_schedule():
    trainer = make_trainer(SGD, clip=0.01, schedule=WarmupCosine(0.01, 2, 10, 0.001))
    before = trainer.model.params.flat.copy()
    _, norm = trainer.step(IDS, IDS)
    assert norm > 0.01
    moved = np.linalg.norm((trainer.model.params.flat - before).astype(float))
    assert moved == pytest.approx(0.01 * trainer.schedule(0), rel=1e-3)

    free = make_trainer(SGD, clip=None)
    _, norm = free.step(IDS, IDS)
    moved = np.linalg.norm((free.model.params.flat - before).astype(float))
    assert moved == pytest.approx(norm * free.optimizer.lr, rel=1e-3)
    assert free.steps == 1


@examples(0.6)
@given(st.integers(5, 60), st.integers(1, 4), st.integers(1, 3))
def test_evaluate_is_the_mean_over_all_stretches(n, B, threads):
    model = GPT(CONFIG, 0, np.float64)
    losses = [model.forward(TOKENS[i:i + 4][None], TOKENS[i + 1:i + 5][None])[1]
              for i in range(0, n - 4, 4)]
    assert evaluate(model, TOKENS[:n], B, 4, threads) == pytest.approx(np.mean(losses), rel=1e-12)


# ---- data ----------------------------------------------------------------------------------------

@example(n=3, B=1, T=3, seed=0)
@given(st.integers(2, 50), st.integers(1, 5), st.integers(1, 8), st.integers(0, 99))
def test_batches_are_stretches_with_their_next_tokens(n, B, T, seed):
    tokens = np.arange(100, 100 + n)
    if n <= T:
        for draw in (lambda: random_batch(tokens, B, T, np.random.default_rng(seed)),
                     lambda: list(consecutive_batches(tokens, B, T))):
            with pytest.raises(ValueError, match="tokens: "):
                draw()
        return
    ids, targets = random_batch(tokens, B, T, np.random.default_rng(seed))
    assert ids.shape == targets.shape == (B, T)
    assert (targets == ids + 1).all() and (np.diff(ids, axis=1) == 1).all()
    assert ids.min() >= 100 and targets.max() < 100 + n
    seen = [(i.shape[1], i.ravel(), t.ravel()) for i, t in consecutive_batches(tokens, B, T)]
    assert {width for width, _, _ in seen} == {T}
    assert (np.concatenate([i for _, i, _ in seen]) == tokens[:(n - 1) // T * T]).all()
    assert (np.concatenate([t for _, _, t in seen]) == tokens[1:(n - 1) // T * T + 1]).all()


@pytest.mark.parametrize("tokens, given", [
    (TOKENS / 1, "dtype float64"), (TOKENS > 2, "dtype bool"), (TOKENS.astype(str), "dtype <U21"),
    (TOKENS[:, None], "shape"), (TOKENS[0], "shape")])
def test_tokens_are_one_row_of_integers(tokens, given):
    for draw in (lambda: random_batch(tokens, 2, 3, np.random.default_rng(0)),
                 lambda: consecutive_batches(tokens, 2, 3)):
        with pytest.raises(ValueError, match=f"^tokens: {given} .*expected"):
            draw()


def test_every_start_can_be_drawn():
    starts = {int(i[0]) for i in random_batch(np.arange(6), 200, 3, np.random.default_rng(0))[0]}
    assert starts == {0, 1, 2}


def test_split():
    training, validation = split(np.arange(25), 0.1)
    assert training.tolist() == list(range(23)) and validation.tolist() == [23, 24]
    assert [len(part) for part in split(np.arange(1000))] == [900, 100]
    for share in (0, 1, -1, float("nan")):
        with pytest.raises(ValueError, match="held_out: "):
            split(np.arange(25), share)
