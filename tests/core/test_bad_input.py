"""Bad input raises ValueError naming the argument, what was given and what was expected."""
import re
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt_np import PRESETS, GPT, BPETokenizer, CharacterTokenizer, GPTConfig, Parameters
from minigpt_np.files import safetensors
from minigpt_np.generation import KVCache
from minigpt_np.gradcheck import check, complex_step, directional
from minigpt_np.text import open_tokenizer
from minigpt_np.training.data import consecutive_batches, random_batch, split
from minigpt_np.training.optim import WarmupCosine
from strategies import ODD, VIEWS, assert_bits, cases, sizes
from trainers import make_trainer

MODEL = GPT(GPTConfig(vocab_size=5, block_size=4, n_layer=1, n_head=1, n_embd=2))


def refused(argument, given, expected):
    """pytest.raises for a message `argument: <given> ... expected <expected>`."""
    return pytest.raises(ValueError, match=f"^{argument}: .*{re.escape(given)}.*"
                                           f"expected.*{re.escape(expected)}")


# ---- ids -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("ids, given, expected", [
    ([[0, -1]], "-1 given at (0, 1)", "0 to 4"),
    ([[4, 1], [4, 5]], "5 given at (1, 1)", "0 to 4"),
    ([[0.0, 1.0]], "float64", "integers"),
    ([[True, False]], "bool", "integers"),
    ([0, 1], "(2,)", "(B, T)"),
    ([[]], "(1, 0)", "(B, T)"),
    (np.zeros((1, 5), int), "T = 5 positions", "at most block_size = 4"),
])
def test_ids(ids, given, expected):
    with refused("ids", given, expected):
        MODEL.forward(ids)


@pytest.mark.parametrize("ids, given", [
    ([[0, 1], [2]], "[[0, 1], [2]] given"),
    ([np.array([0, 1]), np.array([2])], "[array([0, 1]), array([2])] given"),
    ([[0, [1]]], "[[0, [1]]] given")])
def test_prompts_of_unequal_length(ids, given):
    with refused("ids", given, "rows of one length"):
        MODEL.generate(ids, 1)


@pytest.mark.parametrize("ids", [np.ma.array([[0, 1]]), [np.ma.array([0, 1], mask=[0, 1])]])
def test_masked_arrays_are_rejected(ids):
    with refused("ids", "a masked array", "one without a mask"):
        MODEL.forward(ids)
    with refused("targets", "a masked array", "one without a mask"):
        MODEL.forward([[0, 1]], ids)


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


LAYOUTS = [
    lambda array: array.tolist(), lambda array: [list(row) for row in array], tuple,
    lambda array: array.astype(">i8"), lambda array: array.astype(np.int8),
    np.asfortranarray, read_only, VIEWS[3], lambda array: array[::-1, ::-1].copy()[::-1, ::-1]]


@given(cases(), st.sampled_from(LAYOUTS))
def test_every_layout_of_the_same_numbers_is_the_same_input(case, layout):
    logits, loss, cache = case.model.forward(case.ids, case.targets)
    found, found_loss, found_cache = case.model.forward(layout(case.ids), layout(case.targets))
    assert_bits(found, logits)
    assert found_loss == loss
    assert_bits(case.model.backward(found_cache).flat, case.model.backward(cache).flat)
    assert_bits(case.model.generate(layout(case.ids), 2), case.model.generate(case.ids, 2))


# ---- targets -------------------------------------------------------------------------------------

@pytest.mark.parametrize("targets, given, expected", [
    ([[0, 1, 2]], "(1, 3)", "(1, 2)"),
    ([[-1, -2]], "-2 given at (0, 1)", "-1 to 4"),
    ([[4, 5]], "5 given at (0, 1)", "-1 to 4"),
    (np.array([[255, 0]], np.uint8), "255", "-1 to 4"),        # -1 as a uint8
    ([[0.0, 1.0]], "float64", "integers"),
    ([[-1, -1]], "all -1", "at least one"),
])
def test_targets(targets, given, expected):
    with refused("targets", given, expected):
        MODEL.forward([[0, 1]], targets)


# ---- arguments that do not go together -----------------------------------------------------------

def test_backward_of_a_pass_without_targets():
    for cache in (MODEL.forward([[0]])[2], MODEL.forward([[0]], kv_cache=room_for(1, 1))[2]):
        with refused("cache", "model.Cache", "a forward pass with targets"):
            MODEL.backward(cache)


@pytest.mark.parametrize("grads, given", [
    (MODEL.params, "the model's own params"), (Parameters(MODEL.config, complex), "complex128"),
    (Parameters(GPTConfig(5, 4, 2, 1, 2)), "n_layer=2"), (MODEL.params.arrays, "E")])
def test_backward_into_what_is_no_gradient_of_this_model(grads, given):
    before, (_, _, cache) = MODEL.params.flat.copy(), MODEL.forward([[0]], [[0]])
    with refused("grads", given, ""):
        MODEL.backward(cache, grads)
    assert_bits(MODEL.params.flat, before)


@pytest.mark.parametrize("change", [dict(n_layer=2), dict(n_head=2), dict(activation="gelu_exact")])
def test_backward_of_a_pass_through_another_model(change):
    other, ids = GPT(replace(MODEL.config, **change)), np.zeros((1, 4), int)
    grads = Parameters(other.config)
    with refused("cache", str(MODEL.config), str(other.config)):
        other.backward(MODEL.forward(ids, ids)[2], grads)
    assert not grads.flat.any()


def test_backward_of_a_complex_pass_is_for_complex_gradients():
    complex_model, grads = GPT(MODEL.config, dtype=complex), Parameters(MODEL.config)
    with refused("cache", "complex128", "float32"):
        MODEL.backward(complex_model.forward([[0]], [[0]])[2], grads)
    assert not grads.flat.any()


def room_for(B, size, length=0, config=MODEL.config):
    kv_cache = KVCache(config, B, size, np.float32)
    kv_cache.length = length
    return kv_cache


@pytest.mark.parametrize("kv_cache, targets, argument, given", [
    (room_for(1, 2), [[0, 1]], "targets", "kv_cache"),
    (room_for(2, 2), None, "kv_cache", "(1, 2, 1, 2, 2)"),
    (room_for(1, 2, config=GPTConfig(5, 4, 2, 1, 2)), None, "kv_cache", "(2, 1, 1, 2, 2)"),
    (room_for(1, 1), None, "ids", "T = 2"), (room_for(1, 9, length=3), None, "ids", "T = 2"),
    ([], None, "kv_cache", "[]")])
def test_a_kv_cache_that_does_not_fit(kv_cache, targets, argument, given):
    with refused(argument, given, ""):
        MODEL.forward([[0, 1]], targets, kv_cache=kv_cache)


def test_refusal_comes_before_anything_is_written():
    weights = MODEL.params.flat.copy()
    rng = np.random.default_rng(0)
    state = rng.bit_generator.state
    model = GPT(GPTConfig(5, 4, 1, 1, 2, embd_pdrop=0.5), params=MODEL.params)
    for ids, targets in (([[9]], None), ([[0]], [[9]])):
        with pytest.raises(ValueError):
            model.forward(ids, targets, rng)
    assert rng.bit_generator.state == state
    assert_bits(MODEL.params.flat, weights)


# ---- config --------------------------------------------------------------------------------------

@pytest.mark.parametrize("names, values, expected", [
    ("vocab_size block_size n_head n_embd", [0, 1.5, True, "3"], "whole number of at least 1"),
    ("n_layer", [-1, 1.5], "whole number of at least 0"),
    ("embd_pdrop attn_pdrop resid_pdrop", [-0.1, 1, np.nan, "0.5", True], "[0, 1)"),
    ("layer_norm_eps", [0, -1e-5, np.inf, None], "positive number"),
    ("norm", ["middle", None], "one of pre, post"),
    ("activation", ["relu"], "one of gelu_tanh, gelu_exact"),
    ("tie_embeddings", [1, None], "True or False")])
def test_config(names, values, expected):
    for name, value in product(names.split(), values):
        with refused(name, repr(value), expected):
            GPTConfig(**{name: value})


@given(H=sizes(9), D=sizes(40))
def test_width_is_a_multiple_of_heads(H, D):
    if D % H == 0:
        assert GPTConfig(n_head=H, n_embd=D).head_size == D // H
    else:
        with refused("n_embd", str(D), f"multiple of n_head = {H}"):
            GPTConfig(n_head=H, n_embd=D)


def test_preset():
    with refused("preset", "'GPT2'", ", ".join(PRESETS)):
        GPTConfig.preset("GPT2")
    with refused("n_layer", "-1", "at least 0"):
        GPTConfig.preset("gpt2", n_layer=-1)


# ---- model ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", [int, str, np.float16])
def test_model_dtype(dtype):
    """exp(12) is infinite in float16: softmax, GELU and LayerNorm would be wrong without a word."""
    for use in (lambda: GPT(MODEL.config, dtype=dtype), lambda: Parameters(MODEL.config, dtype),
                lambda: GPT.from_pretrained("/nothing", dtype=dtype)):
        with refused("dtype", repr(dtype), "floating-point or complex type of at least 32 bits"):
            use()


@pytest.mark.parametrize("change", [dict(vocab_size=6), dict(n_layer=2), dict(norm="post")])
def test_params_of_another_config_that_were_put_in_place_of_a_model_s(change):
    model = GPT(MODEL.config)
    model.params = Parameters(replace(MODEL.config, **change))
    for use in (lambda: model.forward([[1]]), lambda: model.generate([[1]], 1),
                lambda: model.save_pretrained("/nothing")):
        with pytest.raises(ValueError, match="^params: .*given, expected"):
            use()


# ---- whatever is given: one clear line, or it works ----------------------------------------------

TOKENS = np.arange(20)
BPE = BPETokenizer.train("the other then the other", 260)
TRAINER = make_trainer()
CHECKED = dict(f=lambda: 1.0, arrays={"x": np.ones(2)}, gradients={"x": np.zeros(2)},
               rng=np.random.default_rng(0), method="differences", atol=0.0)
CALLS = {
    "check": (check, CHECKED | dict(limit=1)),
    "directional": (directional, CHECKED),
    "complex_step": (complex_step, dict(f=lambda: 1j, x=np.ones(2, complex))),
    "config": (GPTConfig, vars(MODEL.config)),
    "preset": (lambda preset: GPTConfig.preset(preset), dict(preset="gpt-nano")),
    "forward": (MODEL.forward, dict(ids=[[1]], targets=[[1]], rng=np.random.default_rng(0),
                                    kv_cache=None)),
    "backward": (MODEL.backward, dict(cache=MODEL.forward([[1]], [[1]])[2], grads=None,
                                      dloss=1.0)),
    "generate": (MODEL.generate, dict(ids=[[1]], max_new_tokens=1, temperature=1.0, do_sample=True,
                                      top_k=1, top_p=0.5, seed=0)),
    "random_batch": (random_batch, dict(tokens=TOKENS, B=2, T=3, rng=np.random.default_rng(0))),
    "consecutive_batches": (consecutive_batches, dict(tokens=TOKENS, B=2, T=3)),
    "split": (split, dict(tokens=TOKENS, held_out=0.1)),
    "schedule": (lambda step: WarmupCosine(1, 1, 2, 0)(step), dict(step=1)),
    "training step": (lambda ids, targets: TRAINER.step(ids, targets),
                      dict(ids=[[1]], targets=[[1]])),
    "train": (BPETokenizer.train, dict(text="aa aa", vocab_size=257)),
    "encode": (lambda text, special: BPE.encode(text, special), dict(text="aa", special=False)),
    "decode": (lambda ids: BPE.decode(ids), dict(ids=[1])),
    "token": (lambda id: BPE.token(id), dict(id=1)),
    "characters": (CharacterTokenizer, dict(text="ab")),
    "characters' encode": (lambda text: CharacterTokenizer("ab").encode(text), dict(text="ab")),
    "characters' decode": (lambda ids: CharacterTokenizer("ab").decode(ids), dict(ids=[1])),
    "parameters": (Parameters, dict(config=MODEL.config, dtype="f4")),
    "model": (GPT, dict(config=MODEL.config, seed=0, dtype="f4", params=None)),
    "from_pretrained": (GPT.from_pretrained, dict(folder="/nothing", n_head=1, dtype="f4")),
    "save_pretrained": (MODEL.save_pretrained, dict(folder="/nothing")),
    "open_tokenizer": (open_tokenizer, dict(folder="/nothing")),
    "save": (BPE.save, dict(folder="/nothing")),
    "safetensors.read": (safetensors.read, dict(path="/nothing")),
    "safetensors.write": (lambda path: safetensors.write(path, {}), dict(path="/nothing")),
}
TAKEN_AT_ITS_WORD = {"max_new_tokens", "B", "vocab_size", "block_size", "n_layer"}


@pytest.mark.filterwarnings("ignore:vocab_size", "ignore:Data type alias")
@pytest.mark.parametrize("name, argument", [
    (name, argument) for name, (_, good) in CALLS.items() for argument in good])
def test_any_value_is_taken_or_refused_in_one_line_that_names_the_argument(
        name, argument, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)             # some of the values are names of files
    call, good = CALLS[name]
    for value in ODD:
        if argument in TAKEN_AT_ITS_WORD and isinstance(value, (int, np.integer)) and value > 10**6:
            continue                    # would take long
        if argument == "f" and callable(value):
            continue                    # raises its own error
        try:
            call(**good | {argument: value})
        except OSError:
            assert {"folder", "path"} & good.keys()
        except ValueError as error:
            also = {"id": "ids", "ids": "id", "n_head": "n_embd", "T": "tokens",
                    "path": ".",                                    # the folder itself, for ""
                    "do_sample": "top_k", "arrays": "gradients"}.get(argument)
            said = str(error)
            assert re.match(f"({argument}|{also}): .*given(,| at).* expected .*", said), said
            assert "\n" not in said and len(said) < 1000


def drawn(B, T):
    return random_batch(np.arange(300), B, T, np.random.default_rng(0))


def continued(max_new_tokens, top_k):
    model, ids = GPT(replace(MODEL.config, vocab_size=300)), np.zeros((1, 100), int)
    return model.generate(ids, max_new_tokens, np.float16(0.5), True, top_k, seed=0)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.uint64])
@pytest.mark.parametrize("use, numbers", [
    (continued, (100, 5)), (drawn, (100, 100)),
    (lambda B, T: list(consecutive_batches(np.arange(300), B, T)), (100, 2))])
def test_numpys_whole_numbers_give_the_same_as_pythons(use, numbers, dtype):
    """Sums of them with other numbers do not fit such a dtype."""
    np.testing.assert_equal(use(*map(dtype, numbers)), use(*numbers))


def test_numpys_numbers_become_pythons():
    config = GPTConfig(np.int64(5), np.uint8(4), np.int32(1), np.int16(1), np.int64(2), np.False_,
                       embd_pdrop=np.float32(0.5), layer_norm_eps=np.float64(1e-3))
    for name, default in vars(GPTConfig()).items():
        assert type(getattr(config, name)) is type(default), name
