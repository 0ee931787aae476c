"""Generation: what is kept never changes the answer, and draws follow the softmax."""
import itertools
import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt_np import GPT, GPTConfig, generation
from strategies import (
    assert_bits, assert_same, configs, ids_arrays, with_large_weights, seeds, sizes)

# eps = 1 keeps LayerNorm from stretching two nearly equal numbers, and their rounding, 300-fold
models = st.builds(with_large_weights, configs(layer_norm_eps=1.0), seeds)
SMALL = GPTConfig(vocab_size=7, block_size=4, n_layer=2, n_head=2, n_embd=8, layer_norm_eps=1.0)


def last_logits(model, ids):
    """(B, V) as minGPT finds them: the whole forward pass over the last block_size tokens."""
    return model.forward(ids[:, -model.config.block_size:])[0][:, -1]


@st.composite
def prompts(draw, model):
    return draw(ids_arrays(draw(sizes(3)), draw(sizes(8)), model.config.vocab_size))


@st.composite
def choices(draw):
    """Keyword arguments of generate."""
    if draw(st.booleans()):
        return dict(do_sample=False, seed=draw(seeds))
    return dict(temperature=draw(st.sampled_from([0.3, 1.0, 4.0])), do_sample=True,
                top_k=draw(st.none() | sizes(6)), top_p=draw(st.none() | st.floats(0.01, 1)),
                seed=draw(seeds))


# ---- the cache never changes the result ----------------------------------------------------------

@pytest.mark.parametrize("positions", [2, 256])
@given(st.data(), models)
def test_logits_are_the_full_pass_s_for_every_split_of_a_sequence(positions, data, model):
    ids = data.draw(prompts(model))
    T = ids.shape[1]
    expected = [last_logits(model, ids[:, :t]) for t in range(1, T + 1)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generation, "CHUNK", positions)
        for split in range(1, T + 1):
            found = []
            rest = iter(ids.T[split:])

            def choose(logits):
                found.append(logits)
                return next(rest, ids[:, 0])

            tokens = list(generation.decode(model, ids[:, :split], T - split + 1, choose))
            assert len(tokens) == len(found) == T - split + 1
            for logits, full in zip(found, expected[split - 1:]):
                assert_same(logits, full)


@given(st.data(), models, choices())
def test_generate_is_the_loop_that_remembers_nothing(data, model, options):
    ids = data.draw(prompts(model))
    rng = np.random.default_rng(options["seed"])
    longer = ids
    for _ in range(7):
        logits = last_logits(model, longer)
        if options["do_sample"]:
            p = generation.probabilities(
                logits, options["temperature"], options["top_k"], options["top_p"])
            new = generation.sample(p, rng)
        else:
            new = logits.argmax(axis=1)
        longer = np.concatenate([longer, new[:, None]], axis=1)
    assert np.array_equal(model.generate(ids, 7, **options), longer)
    greedy = model.generate(ids, 7, 1.0, False, None, None, 0)
    assert np.array_equal(model.generate(ids, 7), greedy)


@pytest.mark.parametrize("T, lengths", [(1, [1, 1, 1, 1, 4, 4]), (3, [3, 1, 4, 4, 4, 4]),
                                        (4, [4] * 6), (9, [4] * 6)])
def test_only_new_positions_go_through_the_blocks_until_the_window_slides(T, lengths, monkeypatch):
    next_logits, found = generation.next_logits, []

    def spy(model, ids, kv_cache):
        found.append(ids.shape[1])
        return next_logits(model, ids, kv_cache)

    monkeypatch.setattr(generation, "next_logits", spy)
    with_large_weights(SMALL, 0).generate(np.zeros((2, T), int), 6)             # block_size is 4
    assert found == lengths


@pytest.mark.parametrize("dtype", [np.float32, np.complex128])
@pytest.mark.parametrize("do_sample", [False, True])
def test_every_dtype_gives_the_same_tokens(dtype, do_sample):
    exact, model = with_large_weights(SMALL, 1), GPT(SMALL, dtype=dtype)
    model.params.flat[...] = exact.params.flat
    ids, options = [[1, 2], [3, 0]], dict(do_sample=do_sample, seed=0)
    assert_bits(model.generate(ids, 6, **options), exact.generate(ids, 6, **options))


# ---- what comes out ------------------------------------------------------------------------------

@given(st.data(), models, choices(), st.integers(0, 7))
def test_stream_yields_the_columns_generate_returns_and_a_seed_gives_the_same_bits(
        data, model, options, n):
    ids = data.draw(prompts(model))
    found = model.generate(ids, n, **options)
    assert np.array_equal(found[:, :ids.shape[1]], ids)
    columns = list(model.stream(ids, n, **options))
    assert len(columns) == n
    for column, expected in zip(columns, found.T[ids.shape[1]:]):
        assert_bits(column, expected.copy())
    assert_bits(found, model.generate(ids, n, **options))
    rng = np.random.default_rng(options.pop("seed"))
    assert_bits(found, model.generate(ids, n, **options, seed=rng))


def test_tokens_come_one_by_one():
    three = itertools.islice(with_large_weights(SMALL, 0).stream([[1]], 10**15), 3)
    assert [token.shape for token in three] == [(1,)] * 3


def test_ids_of_a_small_dtype_do_not_wrap_the_tokens():
    model = GPT(GPTConfig(vocab_size=300, block_size=4, n_layer=1, n_head=1, n_embd=2))
    model.params.E[...] = 0
    model.params.norm.gain[...], model.params.norm.bias[...] = 0, 1
    model.params.E[299] = 1                     # logits: 2 for token 299, else 0
    assert model.generate(np.array([[7]], np.uint8), 2).tolist() == [[7, 299, 299]]


def test_without_a_seed_draws_differ():
    ids = np.zeros((64, 1), int)
    model = GPT(SMALL)                          # all but uniform: two runs agree once in 7**64
    assert (model.generate(ids, 1, do_sample=True) != model.generate(ids, 1, do_sample=True)).any()


# ---- probabilities and draws ---------------------------------------------------------------------

@st.composite
def rows(draw):
    """logits (B, V) with ties, small or huge."""
    V = draw(sizes(7))
    row = st.lists(st.integers(-3, 3), min_size=V, max_size=V)
    scale = draw(st.sampled_from([0.5, 1.0, 3e37]))
    return scale * np.array(draw(st.lists(row, min_size=1, max_size=3)), np.float32)


def softmax(values):
    """In plain Python: list -> list."""
    e = [math.exp(v - max(values)) for v in values]
    return [x / math.fsum(e) for x in e]


@given(rows(), st.sampled_from([0.25, 1.0, 5.0]), st.none() | sizes(9),
       st.none() | st.floats(0.01, 1))
def test_probabilities_are_the_softmax_of_what_is_kept(logits, temperature, top_k, top_p):
    found = generation.probabilities(logits, temperature, top_k, top_p)
    assert found.dtype == np.float64
    for row, p in zip(logits.tolist(), found.tolist()):
        kth = sorted(row, reverse=True)[:top_k][-1]
        q = softmax([v / temperature if v >= kth else -math.inf for v in row])
        kept = [v for v in range(len(p)) if p[v]]
        dropped = [v for v in range(len(p)) if not p[v]]
        mass = math.fsum(q[v] for v in kept)
        # sums of 7 numbers below 1: each side is within 7 eps
        slack = 14 * np.finfo(float).eps
        least = min(q[v] for v in kept)
        assert mass >= (top_p or 1) - slack
        if top_p is not None and len(kept) > 1:
            assert mass - least < top_p + slack
        assert all(q[v] <= least + slack for v in dropped)
        assert_same(p, [q[v] / mass if v in kept else 0 for v in range(len(p))], scale=1, terms=64)


@pytest.mark.parametrize("top_p, kept", [(0.1, 1), (0.25, 1), (0.2500001, 2), (0.5, 2), (0.75, 3),
                                         (0.8, 4), (1.0, 4), (None, 4)])
def test_top_p_keeps_the_fewest_tokens_that_reach_it(top_p, kept):
    p = generation.probabilities(np.zeros((2, 4)), 1.0, None, top_p)
    assert np.array_equal(np.sort(p), [[0] * (4 - kept) + [1 / kept] * kept] * 2)


@pytest.mark.parametrize("temperature", [5e-324, 1e-300, 1e-30])
def test_a_tiny_temperature_leaves_the_largest_without_a_warning(temperature):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        p = generation.probabilities(np.array([[1.0, 3, 2], [5, 5, -5]], np.float32), temperature,
                                     None, None)
    assert p.tolist() == [[0, 1, 0], [0.5, 0.5, 0]]


class ConstantGenerator:
    """A Generator whose draws are all u."""
    def __init__(self, u):
        self.u = u

    def random(self, shape):
        return np.full(shape, self.u)


@pytest.mark.parametrize("u, token", [(0, 1), (0.25, 1), (np.nextafter(0.5, 0), 1), (0.5, 3),
                                      (1 - 2**-53, 3)])
def test_a_draw_inverts_the_cumulative_sum_and_never_finds_an_improbable_token(u, token):
    p = np.array([[0, 0.5, 0, 0.5, 0], [0, 0.5, 0, 0.5, 0]])
    assert generation.sample(p, ConstantGenerator(u)).tolist() == [token] * 2
    thirds = np.array([[1 / 3, 1 / 3, 1 / 3 - 1e-9, 0]])     # cumulative sums that fall short of 1
    assert generation.sample(thirds, ConstantGenerator(1 - 2**-53)).tolist() == [2]


# ---- bad input -----------------------------------------------------------------------------------

@pytest.mark.parametrize("name, bad", [
    ("ids", [[0, 7]]), ("ids", [[-1] + [0] * 20]), ("max_new_tokens", -1), ("temperature", 0),
    ("do_sample", 1), ("top_k", 0), ("top_p", 0), ("top_p", 1.1), ("seed", -1),
    ("temperature", 0.5), ("top_k", 1), ("top_p", 1.0)])    # of drawing, and no token is drawn
def test_a_bad_argument_is_named_before_anything_is_computed(name, bad, monkeypatch):
    monkeypatch.setattr(generation, "next_logits", None)
    arguments = dict(ids=[[1, 2]], max_new_tokens=2) | {name: bad}
    with pytest.raises(ValueError, match=f"^{name}: .*expected"):
        GPT(SMALL).stream(**arguments)


@pytest.mark.parametrize("good", [
    dict(max_new_tokens=0), dict(max_new_tokens=np.int64(2)), dict(temperature=1), dict(top_k=1),
    dict(temperature=np.float32(1e-30)), dict(top_k=np.int32(7)), dict(top_k=10**9), dict(top_p=1),
    dict(top_p=1e-300), dict(seed=0), dict(seed=None), dict(seed=np.random.default_rng(0))])
def test_what_is_just_within_the_bounds_is_accepted(good):
    arguments = dict(ids=[[6, 0]], max_new_tokens=1, do_sample=True) | good
    assert GPT(SMALL).generate(**arguments).shape == (1, 2 + arguments["max_new_tokens"])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_an_error_not_a_token(bad):
    model = GPT(replace(SMALL, tie_embeddings=False))
    model.params.E[1] = bad                     # of the second prompt alone
    with np.errstate(invalid="ignore"), pytest.raises(ValueError, match="^logits: .*params"):
        model.generate([[0], [1]], 1)
