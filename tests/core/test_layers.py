"""One set of laws for every layer that layer_strategies.py draws, then what each promises alone."""
import copy
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from math import erfc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from layer_strategies import LAYERS, Named
from minigpt_np import GPTConfig, layers
from minigpt_np.gradcheck import check, directional
from minigpt_np.layers import (
    causal, constants, cross_entropy, dropout, gelu, gelu_exact, layernorm, lookup, mlp, softmax)
from strategies import (
    assert_bits, assert_same, assert_unmoved, examples, ids_arrays, normal, rounding, seeds, sizes,
    targets_arrays, with_large_weights)

every_layer = pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)


def weights_like(y, seed):
    """float64 of y's shape, a number if y is one."""
    return np.random.default_rng(seed).normal(size=np.shape(y))[()]


# ---- laws of every layer -------------------------------------------------------------------------

@every_layer
@examples(2 / 5)
@given(data=st.data(), seed=seeds)
def test_backward_is_the_complex_step_derivative(layers, data, seed):
    layer = data.draw(layers)
    y, cache = layer.forward(layer.arrays)
    u = weights_like(y, seed)
    gradients, _ = layer.vjp(u, cache)
    moved = layer.of(complex)
    check(lambda: np.sum(u * moved.output()), moved.arrays, gradients, "complex",       # to 9e-13
          limit=4, rng=np.random.default_rng(seed), atol=rounding(cache)).raise_if_wrong()


@every_layer
@examples(1 / 2)
@given(data=st.data(), seed=seeds)
def test_backward_is_the_extrapolated_difference(layers, data, seed):
    layer = data.draw(layers)
    y, cache = layer.forward(layer.arrays)
    u = weights_like(y, seed)
    gradients, _ = layer.vjp(u, cache)
    # Where 1 + tanh(u) is next to 0 it is a staircase of eps, smooth on each stair. Steps are at
    # least eps^(1/2) x: what differences miss of x (1 + tanh(u)) is at most eps x / (eps^(1/2) x).
    atol = np.finfo(float).eps**0.5 if layer.name == "gelu" else rounding(cache)
    report = directional(lambda: np.sum(u * layer.output()), layer.arrays, gradients,
                         np.random.default_rng(seed), atol=atol)
    report.raise_if_wrong()
    assert report.difference <= 1e-7 * max(1, abs(report.numerical)), report


@every_layer
@given(data=st.data(), seed=seeds)
def test_backward_is_the_adjoint_of_forwards_derivative(layers, data, seed):
    """<u, Jv> = <Jᵀu, v>, for random u and v."""
    layer = data.draw(layers)
    y, cache = layer.forward(layer.arrays)
    u, moved = weights_like(y, seed), layer.of(complex)
    gradients, _ = layer.vjp(u, cache)
    directional(lambda: np.sum(u * moved.output()), moved.arrays, gradients,
                np.random.default_rng(seed + 1), "complex").raise_if_wrong()


@every_layer
@examples(1 / 2)
@given(data=st.data(), seed=seeds, a=st.floats(-2, 2), b=st.floats(-2, 2))
def test_backward_is_linear_in_its_input_gradient(layers, data, seed, a, b):
    layer = data.draw(layers)
    y, cache = layer.forward(layer.arrays)
    u, v = weights_like(y, seed), weights_like(y, seed + 1)
    left, of_u, of_v = (layer.vjp(dy, cache)[0] for dy in (a * u + b * v, u, v))
    for name in left:
        size = 1 + max(np.max(np.abs(of_u[name])), np.max(np.abs(of_v[name])))
        assert_same(left[name], a * of_u[name] + b * of_v[name], scale=4 * size, what=name)


@every_layer
@examples(1 / 2)
@given(data=st.data(), seed=seeds, start=st.floats(-9, 9))
def test_gradients_accumulate_and_a_cache_serves_twice(layers, data, seed, start):
    layer = data.draw(layers)
    y, cache = layer.forward(layer.arrays)
    dy = weights_like(y, seed)
    before = copy.deepcopy((dy, y, layer.arrays, cache))
    once, returned = layer.vjp(dy, cache)
    added, _ = layer.vjp(dy, cache, start)
    for name, gradient in once.items():
        expected = gradient if name in returned else start + gradient
        assert_same(added[name], expected, terms=64, what=name,
                    scale=abs(start) + np.max(np.abs(gradient)) + 1)
    again, _ = layer.vjp(dy, cache)
    for name in once:
        assert_bits(once[name], again[name], name)
    assert_unmoved((dy, y, layer.arrays, cache), before, "dy, y, arrays, cache")


@every_layer
@examples(1 / 2)
@given(data=st.data(), seed=seeds)
def test_float32_stays_float32_and_says_what_float64_says(layers, data, seed):
    layer = data.draw(layers)
    short = layer.of(np.float32)
    wide = short.of(np.float64)                    # the same rounded numbers
    y, cache = short.forward(short.arrays)
    exact, exact_cache = wide.forward(wide.arrays)
    dy = np.float32(weights_like(y, seed))
    gradients, _ = short.vjp(dy, cache)
    expected, _ = wide.vjp(np.float64(dy), exact_cache)
    assert y.dtype == np.float32
    # 316: LayerNorm's largest 1 / sqrt(variance + eps), by which it can raise a rounding error
    assert_same(y, exact, scale=316 * (1 + np.max(np.abs(exact))), terms=64, what="output")
    for name in gradients:
        assert gradients[name].dtype == np.float32, name
        assert_same(gradients[name], expected[name], terms=64, what=name,
                    scale=316 * (1 + np.max(np.abs(expected[name]))))


@every_layer
@examples(1 / 4)
@given(data=st.data(), seed=seeds)
def test_two_threads_get_the_bits_of_one(layers, data, seed):
    layer = data.draw(layers)

    def work(_):
        y, cache = layer.forward(layer.arrays)
        return [np.asarray(y), *layer.vjp(weights_like(y, seed), cache)[0].values()]

    alone = work(0)
    with ThreadPoolExecutor(2) as two:
        for together in two.map(work, range(4)):
            for a, b in zip(together, alone, strict=True):
                assert_bits(a, b)


# ---- lookup --------------------------------------------------------------------------------------

@given(data=st.data(), B=sizes(3), T=sizes(5), V=sizes(4), D=sizes(3), seed=seeds)
def test_looking_up_is_a_product_with_one_hot_rows(data, B, T, V, D, seed):
    ids = data.draw(ids_arrays(B, T, V))
    rng = np.random.default_rng(seed)
    E, P, dx = rng.normal(size=(V, D)), rng.normal(size=(T + 1, D)), rng.normal(size=(B, T, D))
    one_hot = np.eye(V)[ids.ravel()]
    x, cache = lookup.forward(ids, E, P)
    assert_same(x.reshape(B * T, D), one_hot @ E + np.tile(P[:T], (B, 1)), terms=4)

    dE, dP = np.zeros_like(E), np.zeros_like(P)
    lookup.backward(dx, cache, dE, dP)
    assert_same(dE, one_hot.T @ dx.reshape(B * T, D), terms=64)
    assert_same(dP[:T], dx.sum(axis=0), terms=64)
    never_read = np.setdiff1d(np.arange(V), ids)
    assert not dE[never_read].any() and not dP[T:].any()


@given(repeats=sizes(50))
def test_a_row_read_n_times_gets_n_gradients(repeats):
    ids = np.zeros((1, repeats), int)
    dE, dP = np.zeros((2, 1)), np.zeros((repeats, 1))
    lookup.backward(np.ones((1, repeats, 1)), lookup.Cache(ids), dE, dP)
    assert dE.tolist() == [[repeats], [0]]


def test_what_is_kept_between_calls_cannot_be_written_to():
    for make in (constants.ones, constants.mean_weights, constants.causal_mask):
        with pytest.raises(ValueError, match="read-only"):
            make(3, np.float64)[...] = 7


# ---- softmax and loss ----------------------------------------------------------------------------

def probabilities_of(z):
    e, total, _ = softmax.exponentials(z)
    return e / total


@given(n=sizes(4), S=sizes(6), seed=seeds, by=st.floats(-1e4, 1e4))
def test_softmax_and_loss_are_unmoved_by_a_shift(n, S, seed, by):
    z, targets = normal(seed, n, S), np.random.default_rng(seed).integers(0, S, n)
    shifted = z + by
    moved = 1 + abs(by)                             # z + by rounds z by eps |by|
    assert_same(probabilities_of(shifted), probabilities_of(z), scale=moved, terms=8)
    loss, cache = cross_entropy.forward(z, targets)
    shifted_loss, shifted_cache = cross_entropy.forward(shifted, targets)
    assert_same(shifted_loss, loss, scale=moved, terms=8)
    assert_same(cross_entropy.backward(1.0, shifted_cache), cross_entropy.backward(1.0, cache),
                scale=moved, terms=8)


@given(n=sizes(4), S=sizes(6), seed=seeds, by=st.sampled_from([0.0, -30.0, 30.0, -1e3, 1e3]))
def test_exponentials_give_softmax_and_the_log_of_the_sum(n, S, seed, by):
    z = normal(seed, n, S, scale=3) + by
    e, total, shift = softmax.exponentials(z)
    exact = np.exp(z - z.max(-1, keepdims=True))
    largest = 1 + np.max(np.abs(z))
    assert total.shape == (n, 1)
    assert_same(e / total, exact / exact.sum(-1, keepdims=True), scale=largest, terms=8)
    assert_same((e / total).sum(-1), np.ones(n), terms=32)
    assert_same(np.log(total) + shift,
                np.log(exact.sum(-1, keepdims=True)) + z.max(-1, keepdims=True),
                scale=largest, terms=8)
    assert by or np.ndim(shift) == 0            # no time is spent on what needs no shift
    # room in float32 for what is multiplied with them, whatever the logits
    assert 1e-10 < total.min() and total.max() < 1e10


@given(n=sizes(4), S=sizes(6), seed=seeds,
       size=st.sampled_from([30.0, 88.5, 89.0, 1e4]),
       dtype=st.sampled_from([np.float32, np.float64, np.complex128]))
def test_large_logits_give_finite_probabilities_loss_and_gradient(n, S, seed, size, dtype):
    """Up to 1e4, and at 88.5, where float32's exp is finite and a sum of two of them is not."""
    rng = np.random.default_rng(seed)
    z = rng.choice([-size, size], (n, S)).astype(dtype)
    targets = rng.integers(0, S, n)
    loss, cache = cross_entropy.forward(z, targets)
    dlogits = cross_entropy.backward(dtype(1), cache)
    exact = np.float64(z.real)
    log_sum = np.log(np.exp(exact - exact.max(-1, keepdims=True)).sum(-1)) + exact.max(-1)
    assert_same(dtype(loss), (log_sum - exact[np.arange(n), targets]).mean(), scale=size, terms=8)
    assert np.isfinite(dlogits).all()
    assert_same(dlogits.sum(-1), np.zeros(n, dtype), scale=1, terms=32)


@given(data=st.data(), N=sizes(5), V=sizes(5), seed=seeds)
def test_loss_is_the_mean_of_what_is_scored_and_nothing_else_has_a_gradient(data, N, V, seed):
    z, targets = normal(seed, N, V), data.draw(targets_arrays(1, N, V))[0]
    loss, cache = cross_entropy.forward(z, targets)
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    scored = np.flatnonzero(targets >= 0)
    assert_same(cache.probs, p, terms=16)
    assert_same(loss, np.mean([-np.log(p[n, targets[n]]) for n in scored]),
                scale=1 + np.max(np.abs(z)), terms=16)
    dlogits = cross_entropy.backward(3.0, cache)
    assert not dlogits[targets < 0].any()
    expected = p[scored] - np.eye(V)[targets[scored]]
    assert_same(dlogits[scored], 3.0 * expected / len(scored), scale=3, terms=16)


# ---- causal attention ----------------------------------------------------------------------------

def attended(qkv, B, T, H):
    """y and weights by the equation, one query at a time: softmax(q kᵀ / sqrt(K)) v."""
    N, K = B * T, qkv.shape[1] // (3 * H)
    y, weights = np.zeros((N, H * K)), np.zeros((B, H, T, T))
    for b in range(B):
        for h in range(H):
            rows = qkv[b * T:(b + 1) * T]
            q, k, v = (rows[:, i * H * K + h * K:][:, :K] for i in range(3))
            for t in range(T):
                scores = np.array([q[t] @ k[s] / K ** 0.5 for s in range(t + 1)])
                e = np.exp(scores - scores.max())
                weights[b, h, t, :t + 1] = e / e.sum()
                y[b * T + t, h * K:(h + 1) * K] = weights[b, h, t] @ v
    return y, weights


@given(B=sizes(2), T=sizes(5), H=sizes(2), K=sizes(3), seed=seeds,
       scale=st.sampled_from([0.5, 2.0, 30.0]))
def test_attention_is_the_papers_equation(B, T, H, K, seed, scale):
    qkv = normal(seed, B * T, 3 * H * K, scale=scale)
    y, cache = causal.forward(qkv, B, T, H)
    expected, weights = attended(qkv, B, T, H)
    size = np.max(np.abs(qkv)) * (1 + K * np.max(np.abs(qkv)) ** 2)      # a score, times v
    assert_same(y, expected, scale=size, terms=16)
    assert_same(cache.weights, weights, scale=size, terms=16)


# ---- dropout -------------------------------------------------------------------------------------

@given(p=st.floats(0, 0.99), seed=seeds, shape=st.tuples(sizes(5), sizes(5)))
def test_dropout_drops_or_grows_by_one_mask_both_ways(p, seed, shape):
    assume(p == 0 or p > 1e-6)
    x, dy = normal(seed, *shape), normal(seed + 1, *shape)
    y, mask = dropout.forward(x, p, np.random.default_rng(seed))
    factor = np.ones(shape) if mask is None else mask
    assert np.isin(factor, [0, 1 / (1 - p)]).all()
    assert_bits(y, x * factor)
    assert_bits(dropout.backward(dy, mask), dy * factor)
    again, _ = dropout.forward(x, p, np.random.default_rng(seed))
    assert_bits(y, again)


@pytest.mark.parametrize("p", [0.25, 0.5, 0.75])
def test_dropout_drops_exactly_p_of_evenly_spread_numbers(p):
    class Even:
        def random(self, shape, dtype):
            return np.arange(4, dtype=dtype) / 4

    _, mask = dropout.forward(np.ones(4), p, Even())
    assert np.count_nonzero(mask == 0) == 4 * p and mask.sum() == 4


@given(seed=seeds)
def test_no_generator_or_no_probability_is_no_dropout(seed):
    x = normal(seed, 3)
    for p, rng in ((0.9, None), (0.0, np.random.default_rng(seed))):
        y, mask = dropout.forward(x, p, rng)
        assert mask is None and y is x and dropout.backward(x, mask) is x


# ---- gelu and layernorm --------------------------------------------------------------------------

@given(seed=seeds, scale=st.sampled_from([0.1, 1.0, 5.0]))
def test_gelu_is_the_papers_equation(seed, scale):
    x = normal(seed, 9, scale=scale)
    expected = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    assert_same(gelu.forward(x)[0], expected, terms=32)


@pytest.mark.parametrize("layer", [gelu, gelu_exact])
@given(x=st.lists(st.floats(40, 2.0**60, width=32), min_size=1),
       dtype=st.sampled_from([np.float32, np.float64]))
def test_far_from_0_a_gelu_passes_what_is_positive_and_stops_what_is_negative(layer, x, dtype):
    x = np.array(x + [-size for size in x], dtype)
    with np.errstate(over="ignore"):            # x³ may be infinite
        y, cache = layer.forward(x)
        dx = layer.backward(np.ones_like(x), cache)
    assert (y == np.maximum(x, 0)).all() and (dx == (x > 0)).all()


def normal_distribution(x):
    """Φ of each number of x (n,), by the C library's erfc: accurate in both tails."""
    return np.array([erfc(-float(a) / 2**0.5) / 2 for a in x])


@given(x=st.lists(st.floats(-37, 37) | st.floats(-1e-3, 1e-3) | st.just(0.0), min_size=1))
def test_exact_gelu_is_x_times_the_normal_distribution(x):
    """Relative error, far into the tails: exp(-x²/2) turns a rounding of x into x² of them, here
    and in the C library's, and one of its square into half as many."""
    for dtype, most in ((np.float64, 37), (np.float32, 12.9)):  # beyond: no normal number
        array = np.array(x, dtype)
        array = array[np.abs(array) < most]
        y, cache = gelu_exact.forward(array)
        expected = normal_distribution(array)
        allowed = (8 + 3 * array.astype(float)**2) * np.finfo(dtype).eps
        assert (np.abs(cache.gate - expected) <= allowed * expected).all()
        assert_bits(y, array * cache.gate)


@pytest.mark.parametrize("name, layer", [("gelu_tanh", gelu), ("gelu_exact", gelu_exact)])
def test_an_mlp_has_the_activation_that_its_config_names(name, layer):
    config = GPTConfig(2, 1, 1, 1, 4, activation=name)
    params, x = with_large_weights(config, 0).params.blocks[0].mlp, normal(0, 3, 4)
    active, _ = layer.forward(x @ params.up.W + params.up.b)
    assert_same(mlp.forward(x, params, config, None)[0], active @ params.down.W + params.down.b)


@given(N=sizes(4), D=sizes(6), seed=seeds, eps=st.sampled_from([1e-5, 0.1]))
def test_layernorm_is_the_papers_equation_and_ignores_shift_and_stretch(N, D, seed, eps):
    x, gain, bias = normal(seed, N, D), normal(seed + 1, D), normal(seed + 2, D)
    w = Named({"gain": gain, "bias": bias})
    y, _ = layernorm.forward(x, w, eps)
    std = np.sqrt(x.var(-1, keepdims=True) + eps)
    assert_same(y, gain * (x - x.mean(-1, keepdims=True)) / std + bias, scale=9 * 316, terms=64)
    moved = 2 * x + 5
    assert_same(layernorm.forward(moved, w, 4 * eps)[0], y, scale=99 * 316, terms=64)


@given(N=sizes(3), D=st.sampled_from([1, 2, 3, 48, 800]), seed=seeds, exponent=st.integers(-20, 16),
       dtype=st.sampled_from([np.float32, np.float64]))
def test_layernorm_of_a_constant_row_is_its_bias(N, D, seed, exponent, dtype):
    x = np.repeat(normal(seed, N, 1, scale=10.0**exponent), D, axis=1).astype(dtype)
    gain, bias = (normal(seed + i, D).astype(dtype) for i in (1, 2))
    w = Named({"gain": gain, "bias": bias})
    assert (layernorm.forward(x, w, 1e-5)[0] == w.bias).all()


@given(D=st.sampled_from([2, 48, 384, 800]), seed=seeds, mean=st.sampled_from([1.0, 1e2, 1e4]))
def test_layernorm_of_a_row_with_a_large_mean_is_as_exact_as_the_mean_can_be(D, seed, mean):
    """A mean is rounded to half an eps of itself, and so much the numbers, about 1, are off."""
    x = np.float32(mean + normal(seed, 4, D))
    exact = np.float64(x) - np.float64(x).mean(axis=1, keepdims=True)
    inv_std = 1 / np.sqrt((exact * exact).mean(axis=1, keepdims=True) + 1e-5)
    w = Named({"gain": np.ones(D, np.float32), "bias": np.zeros(D, np.float32)})
    allowed = (0.6 * np.abs(x).max() * inv_std + 8 * D**0.5) * np.finfo(np.float32).eps
    assert (np.abs(layernorm.forward(x, w, 1e-5)[0] - exact * inv_std) <= allowed).all()


# ---- what a layer may know -----------------------------------------------------------------------

def test_a_layer_imports_numpy_the_standard_library_the_module_of_reprs_and_its_siblings():
    known = {"numpy", "..reprs", *sys.stdlib_module_names}
    for file in Path(layers.__file__).parent.glob("*.py"):
        for module in re.findall(r"^(?:from|import) (\S+)", file.read_text(encoding="utf-8"), re.M):
            assert module in known or re.fullmatch(r"\.\w*", module), f"{file.name}: {module}"
