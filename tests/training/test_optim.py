"""The optimizers against their equations, number by number; clipping; the schedule."""
import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minigpt_np import GPTConfig, Parameters
from minigpt_np.training import optim
from minigpt_np.training.optim import SGD, AdamW, WarmupCosine, clip_factor

TINY = GPTConfig(vocab_size=3, block_size=2, n_layer=1, n_head=1, n_embd=2)
UNTIED = GPTConfig(vocab_size=3, block_size=2, n_layer=1, n_head=1, n_embd=2, tie_embeddings=False)
configs = st.sampled_from([TINY, UNTIED])
seeds = st.integers(0, 2**32 - 1)


def random_like(config, seed, scale=1.0):
    params = Parameters(config, np.float64)
    params.flat[:] = scale * np.random.default_rng(seed).normal(size=params.flat.size)
    return params


@given(configs, seeds, st.integers(1, 4), st.sampled_from([1, 7, 50, 1 << 15]),
       st.sampled_from([0.0, 0.1]), st.sampled_from([1.0, 0.25]),
       st.sampled_from([(0.9, 0.95), (0.0, 0.0)]))
def test_adamw_is_its_equations(config, seed, steps, piece, weight_decay, scale, betas):
    lr, (beta1, beta2), eps = 0.01, betas, 1e-3
    params = random_like(config, seed)
    p = dict(enumerate(params.flat.tolist()))
    m, v = dict.fromkeys(p, 0.0), dict.fromkeys(p, 0.0)
    optimizer = AdamW(params, lr, (beta1, beta2), eps, weight_decay)
    old, optim.CHUNK = optim.CHUNK, piece
    try:
        for t in range(1, steps + 1):
            grads = random_like(config, seed + t)
            optimizer.step(grads, lr=lr / t, scale=scale)
            for i, g in enumerate(scale * grads.flat):
                m[i] = beta1 * m[i] + (1 - beta1) * g
                v[i] = beta2 * v[i] + (1 - beta2) * g * g
                m_hat, v_hat = m[i] / (1 - beta1**t), v[i] / (1 - beta2**t)
                decay = weight_decay if i < params.n_decayed else 0.0
                p[i] -= lr / t * (m_hat / (math.sqrt(v_hat) + eps) + decay * p[i])
    finally:
        optim.CHUNK = old
    # a dozen roundings a step, of numbers of order 1
    tolerance = 20 * steps * np.finfo(float).eps
    np.testing.assert_allclose(params.flat, list(p.values()), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(optimizer.m.flat, list(m.values()), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(optimizer.v.flat, list(v.values()), rtol=tolerance, atol=tolerance)
    assert optimizer.steps == steps


def test_weight_decay_is_for_product_weights_and_never_E():
    for config, others in ((TINY, set()), (UNTIED, {"head"})):
        params = Parameters(config)
        params.flat[:] = 1
        optimizer = AdamW(params, lr=0.5, weight_decay=0.5)
        optimizer.step(Parameters(config))                  # gradient 0: decay alone
        decayed = {name for name, array in params.arrays.items() if (array != 1).all()}
        kept = {name for name, array in params.arrays.items() if (array == 1).all()}
        assert decayed == {name for name in params.arrays if name.endswith(".W")} | others
        assert decayed | kept == set(params.arrays)


def test_adamw_defaults_are_mingpts():
    optimizer = AdamW(Parameters(TINY))
    assert optimizer.check() == dict(steps=0, lr=3e-4, betas=(0.9, 0.95), eps=1e-8,
                                     weight_decay=0.1)
    grads = random_like(TINY, 0)
    optimizer.step(grads)
    np.testing.assert_allclose(optimizer.m.flat, 0.1 * grads.flat, rtol=1e-6)       # scale 1
    # the first step of Adam is the sign of the gradient, at the learning rate
    np.testing.assert_allclose(np.abs(optimizer.params.flat), 3e-4, rtol=1e-5)


def test_a_tied_E_has_one_moment_and_an_untied_pair_two():
    tied, untied = AdamW(Parameters(TINY)), AdamW(Parameters(UNTIED))
    assert all(moment.head is moment.E for moment in (tied.m, tied.v))
    assert not any(moment.head is moment.E for moment in (untied.m, untied.v))


@given(configs, seeds, st.integers(1, 4), st.sampled_from([0.0, 0.9]))
def test_sgd_is_its_equations(config, seed, steps, momentum):
    params = random_like(config, seed)
    p, velocity = params.flat.copy(), np.zeros(params.flat.size)
    optimizer = SGD(params, lr=0.1, momentum=momentum)
    for t in range(steps):
        grads = random_like(config, seed + t + 1)
        lr = None if t == 0 else 0.1 / (t + 1)
        optimizer.step(grads, lr=lr, scale=0.5)
        velocity = momentum * velocity + 0.5 * grads.flat
        p = p - 0.1 / (t + 1) * velocity
    np.testing.assert_allclose(params.flat, p, rtol=1e-13, atol=1e-13)


@given(st.floats(1e-6, 1e6), st.floats(1e-3, 1e3))
def test_clipping(norm, limit):
    factor = clip_factor(norm, limit)
    assert factor == 1 if norm <= limit - 1e-6 else factor * norm <= limit
    assert factor * norm == pytest.approx(min(norm, limit), rel=1e-6 / norm + 1e-9)


def test_clipping_has_pytorchs_millionth():
    assert clip_factor(1.0, 0.5) == pytest.approx(0.5 / 1.000001, rel=1e-9)


def test_schedule_goes_up_a_line_and_down_half_a_cosine():
    schedule = WarmupCosine(lr=1.0, warmup=4, total=14, minimum=0.2)
    assert [schedule(s) for s in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert schedule(9) == pytest.approx(0.6)            # half-way down
    assert schedule(4 + 10 / 3) == pytest.approx(0.2 + 0.8 * 0.75)     # cos 60° = 1/2
    assert schedule(14) == schedule(10**9) == 0.2
    assert WarmupCosine(1.0, 0, 0, 0.5)(0) == WarmupCosine(1.0, 3, 3, 0.5)(3) == 0.5


@pytest.mark.parametrize("make, name", [
    (lambda: AdamW(Parameters(TINY), lr=0), "lr"),
    (lambda: AdamW(Parameters(TINY), betas=(-0.1, 0.9)), "betas"),
    (lambda: AdamW(Parameters(TINY), weight_decay=-0.1), "weight_decay"),
    (lambda: SGD(Parameters(TINY), lr=-1), "lr"),
    (lambda: SGD(Parameters(TINY), momentum=1), "momentum"),
    (lambda: SGD(Parameters(TINY), momentum=-0.1), "momentum"),
    (lambda: WarmupCosine(0, 1, 2, 0), "lr"),
    (lambda: WarmupCosine(1, 1, 2, 1.1), "minimum"),
    (lambda: WarmupCosine(1, 1, 2, -0.1), "minimum"),
    (lambda: WarmupCosine(1, 3, 2, 0), "warmup"),
    (lambda: WarmupCosine(1, -1, 2, 0), "warmup"),
    (lambda: WarmupCosine(1, 1, 2, 0)(-1), "step"), (lambda: WarmupCosine(1, 1, 2, 0)("a"), "step"),
])
def test_bad_numbers_are_named(make, name):
    with pytest.raises(ValueError, match=f"^{name}: .* given, expected"):
        make()


def test_sgds_defaults_are_plain_gradient_descent():
    optimizer = SGD(Parameters(TINY, np.float64))
    grads = random_like(TINY, 0)
    for t in (1, 2):
        optimizer.step(grads)
        np.testing.assert_allclose(optimizer.params.flat, -0.1 * t * grads.flat, rtol=1e-14)
