"""The whole model: its gradient, its causality, its batches, its bits."""
import copy

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minigpt_np import GPT, GPTConfig, Parameters
from minigpt_np.gradcheck import directional
from strategies import (
    NORMS, assert_bits, assert_same, assert_unmoved, cases, examples, rounding, seeds,
    with_large_weights)


# ---- the gradient --------------------------------------------------------------------------------

@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("tied", [True, False])
@examples(1 / 2)
@given(data=st.data(), seed=seeds)
def test_backward_is_the_complex_step_derivative(norm, tied, data, seed):
    case = data.draw(cases(norm=norm, tie_embeddings=tied, dropout=True))
    moved = case.of(complex)
    directional(moved.loss, moved.model.params.arrays, case.gradient().arrays,
                np.random.default_rng(seed), "complex",
                atol=rounding(case.forward()[2])).raise_if_wrong()


@examples(1 / 2)
@given(case=cases(dropout=True), seed=seeds)
def test_backward_is_the_extrapolated_difference(case, seed):
    assume(case.model.config.vocab_size > 1)        # or the loss is 0, and moves by rounding only
    report = directional(case.loss, case.model.params.arrays, case.gradient().arrays,
                         np.random.default_rng(seed))
    report.raise_if_wrong()
    assert report.difference <= 1e-7 * max(1, abs(report.numerical))


@given(case=cases(dropout=True), start=st.floats(-9, 9), dloss=st.floats(-3, 3))
def test_backward_adds_dloss_times_the_gradient_and_only_reads_its_cache(case, start, dloss):
    cache = case.forward()[2]
    weights = case.model.params.flat.copy()
    before = copy.deepcopy(cache)
    gradient = case.model.backward(cache)
    total = Parameters(case.model.config, np.float64)
    total.flat[...] = start
    assert case.model.backward(cache, total, dloss) is total
    size = abs(start) + 3 * np.max(np.abs(gradient.flat)) + 1
    assert_same(total.flat, start + dloss * gradient.flat, scale=size)
    assert_bits(case.model.backward(cache).flat, gradient.flat)
    assert_unmoved(cache, before, "cache")
    assert_bits(case.model.params.flat, weights)


# ---- what a logit depends on ---------------------------------------------------------------------

@given(case=cases(), data=st.data())
def test_no_logit_depends_on_a_later_token(case, data):
    T = case.ids.shape[1]
    last = data.draw(st.integers(0, T - 1))
    changed = case.ids.copy()
    changed[:, last + 1:] = data.draw(st.integers(0, case.model.config.vocab_size - 1))
    logits, _, _ = case.model.forward(case.ids)
    others, _, _ = case.model.forward(changed)
    assert_same(others[:, :last + 1], logits[:, :last + 1])
    shorter, _, _ = case.model.forward(case.ids[:, :last + 1])
    assert_same(shorter, logits[:, :last + 1])


@given(case=cases())
def test_every_sequence_is_by_itself_and_the_batch_their_scored_weighted_mean(case):
    logits, loss, _ = case.model.forward(case.ids, case.targets)
    scored = (case.targets >= 0).sum(axis=1)
    total = Parameters(case.model.config, np.float64)
    total_loss = 0
    for b in range(len(case.ids)):
        alone, _, _ = case.model.forward(case.ids[b:b + 1])
        assert_same(alone, logits[b:b + 1])
        if scored[b]:
            share = scored[b] / scored.sum()
            _, part, cache = case.model.forward(case.ids[b:b + 1], case.targets[b:b + 1])
            total_loss += share * part
            case.model.backward(cache, total, dloss=share)
    gradient = case.gradient().flat
    assert_same(total_loss, loss)
    assert_same(total.flat, gradient, scale=1 + np.max(np.abs(gradient)))


@given(case=cases())
def test_without_targets_the_logits_are_the_same_and_there_is_no_loss(case):
    logits, _, _ = case.model.forward(case.ids, case.targets)
    alone, none, cache = case.model.forward(case.ids)
    assert_bits(logits, alone)
    assert none is None and cache.loss is None
    assert logits.shape == (*case.ids.shape, case.model.config.vocab_size)


# ---- dropout -------------------------------------------------------------------------------------

@pytest.mark.parametrize("place", ["embd_pdrop", "attn_pdrop", "resid_pdrop"])
@pytest.mark.parametrize("norm", NORMS)
def test_each_dropout_acts_with_a_generator_and_only_then(place, norm):
    sizes = dict(vocab_size=5, block_size=4, n_layer=1, n_head=1, n_embd=4, norm=norm)
    off, on = (with_large_weights(GPTConfig(**sizes, **{place: p}), seed=0) for p in (0.0, 0.5))
    ids = np.arange(4)[None]
    logits = off.forward(ids)[0]
    assert_bits(on.forward(ids)[0], logits)
    assert_bits(off.forward(ids, rng=np.random.default_rng(0))[0], logits)
    dropped = on.forward(ids, rng=np.random.default_rng(0))[0]
    assert np.max(np.abs(dropped - logits)) > 1e-3
    assert_bits(on.forward(ids, rng=np.random.default_rng(0))[0], dropped)
    assert np.max(np.abs(on.forward(ids, rng=np.random.default_rng(1))[0] - dropped)) > 1e-3


# ---- bits and dtypes -----------------------------------------------------------------------------

@given(case=cases(dropout=True), seed=seeds)
def test_seed_fixes_the_weights_and_every_dtype_holds_the_same(case, seed):
    config = case.model.config
    wide = GPT(config, seed, np.float64).params.flat
    assert_bits(GPT(config, seed).params.flat, wide.astype(np.float32))
    assert_bits(GPT(config).params.flat, GPT(config, 0).params.flat)
    assert_bits(GPT(config, seed, np.complex128).params.flat, wide.astype(complex))
    assert_bits(GPT(config, np.random.default_rng(seed), np.float64).params.flat, wide)
    assert np.any(GPT(config, seed + 1, np.float64).params.flat != wide)


@given(case=cases(dropout=True))
def test_float32_and_complex_say_what_float64_says(case):
    logits, loss, _ = case.forward()
    complex_logits, complex_loss, _ = case.of(complex).forward()
    assert complex_logits.dtype == complex and not np.any(complex_logits.imag)
    scale = 316**2 * (1 / 256 + np.max(np.abs(logits)))     # LayerNorm may raise an error 316 times
    assert_same(complex_logits.real, logits, scale=scale)
    assert_same(complex_loss.real, loss, scale=scale)

    short = case.of(np.float32)
    logits, loss, cache = short.forward()
    assert logits.dtype == loss.dtype == short.model.backward(cache).flat.dtype == np.float32
    assert np.isfinite(logits).all()
    exact = short.of(np.float64).forward()[0]
    if case.model.config.n_embd > 2:        # at D <= 2 a LayerNorm's row can be all rounding
        assert_same(logits, exact, scale=np.max(np.abs(exact)) + 1)
