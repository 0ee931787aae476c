"""The sizes, the names, the one flat vector, the initial numbers."""
import copy
import pickle
from dataclasses import FrozenInstanceError, replace
from math import prod

import numpy as np
import pytest
from hypothesis import given

from minigpt_np import GPT, PRESETS, GPTConfig, Parameters
from minigpt_np.parameters import Sealed, count, decays, shapes
from strategies import configs, seeds

NAMES = ("openai-gpt", "gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl", "gopher-44m", "gpt-mini",
         "gpt-micro", "gpt-nano")


# ---- presets -------------------------------------------------------------------------------------

@pytest.mark.parametrize("name, published", [
    ("openai-gpt", 116_534_784), ("gpt2", 124_439_808), ("gpt2-medium", 354_823_168),
    ("gpt2-large", 774_030_080), ("gpt2-xl", 1_557_611_200)])
def test_presets_have_the_published_number_of_parameters(name, published):
    config = GPTConfig.preset(name)
    assert count(config) == published
    assert config.norm == ("post" if name == "openai-gpt" else "pre") and config.tie_embeddings
    untied = replace(config, tie_embeddings=False)
    assert count(untied) == published + config.vocab_size * config.n_embd


def test_presets_are_minGPTs():
    assert set(PRESETS) == set(NAMES)
    configs = {name: GPTConfig.preset(name) for name in NAMES}
    sizes = {name: (c.n_layer, c.n_head, c.n_embd) for name, c in configs.items()}
    assert sizes == {
        "openai-gpt": (12, 12, 768), "gpt2": (12, 12, 768), "gpt2-medium": (24, 16, 1024),
        "gpt2-large": (36, 20, 1280), "gpt2-xl": (48, 25, 1600), "gopher-44m": (8, 16, 512),
        "gpt-mini": (6, 6, 192), "gpt-micro": (4, 4, 128), "gpt-nano": (3, 3, 48)}
    assert {name: GPTConfig.preset(name).vocab_size for name in NAMES} == {
        name: 40478 if name == "openai-gpt" else 50257 for name in NAMES}
    assert {name: GPTConfig.preset(name).block_size for name in NAMES} == {
        name: 512 if name == "openai-gpt" else 1024 for name in NAMES}


def test_a_preset_can_be_changed_and_a_config_cannot():
    config = GPTConfig.preset("gpt-nano", vocab_size=7, n_layer=2, embd_pdrop=0.1)
    assert config == GPTConfig(7, 1024, 2, 3, 48, embd_pdrop=0.1)
    with pytest.raises(FrozenInstanceError):
        config.n_layer = 3


def test_a_config_is_gpt2_tied_without_dropout_unless_said():
    assert GPTConfig() == GPTConfig(50257, 1024, 12, 12, 768, True, "pre", 0.0, 0.0, 0.0, 1e-5)


@given(config=configs())
def test_heads_share_the_width(config):
    assert config.head_size * config.n_head == config.n_embd


# ---- one flat vector -----------------------------------------------------------------------------

@given(config=configs())
def test_every_number_of_flat_is_in_one_named_view(config):
    p = Parameters(config, np.float64)
    assert p.flat.shape == (count(config),) and not p.flat.any()
    assert list(p.named()) == list(shapes(config))
    p.flat[...] = np.arange(p.flat.size)
    seen = np.concatenate([array.ravel() for array in p.named().values()])
    assert sorted(seen) == list(range(p.flat.size))
    for name, array in p.named().items():
        assert array.shape == shapes(config)[name] and np.shares_memory(array, p.flat)
        array += 1                                              # writing a view writes flat
    assert p.flat.tolist() == list(range(1, p.flat.size + 1))


@given(config=configs())
def test_views_have_the_shapes_of_the_architecture(config):
    V, D, L = config.vocab_size, config.n_embd, config.n_layer
    p = Parameters(config)
    assert p.flat.dtype == np.float32 and p.config is config
    assert p.E.shape == p.head.shape == (V, D) and p.P.shape == (config.block_size, D)
    assert len(p.blocks) == L
    for i, b in enumerate(p.blocks):
        for name, array, shape in [
                ("norm1.gain", b.norm1.gain, (D,)), ("norm1.bias", b.norm1.bias, (D,)),
                ("attention.qkv.W", b.attention.qkv.W, (D, 3 * D)),
                ("attention.qkv.b", b.attention.qkv.b, (3 * D,)),
                ("attention.out.W", b.attention.out.W, (D, D)),
                ("attention.out.b", b.attention.out.b, (D,)),
                ("norm2.gain", b.norm2.gain, (D,)), ("norm2.bias", b.norm2.bias, (D,)),
                ("mlp.up.W", b.mlp.up.W, (D, 4 * D)), ("mlp.up.b", b.mlp.up.b, (4 * D,)),
                ("mlp.down.W", b.mlp.down.W, (4 * D, D)), ("mlp.down.b", b.mlp.down.b, (D,))]:
            assert array.shape == shape and array is p.named()[f"blocks.{i}.{name}"]
    assert p.named()["E"] is p.E and p.named()["P"] is p.P
    if config.norm == "pre":
        assert p.norm.gain is p.named()["norm.gain"] and p.norm.bias is p.named()["norm.bias"]
        assert p.norm.gain.shape == p.norm.bias.shape == (D,)
    else:
        assert p.norm is None and not any(name.startswith("norm") for name in p.named())
    assert ("head" in p.named()) == (not config.tie_embeddings)
    if not config.tie_embeddings:
        assert p.head is p.named()["head"]


def test_named_hands_out_a_dict_of_its_own():
    p = Parameters(GPTConfig(2, 2, 1, 1, 1))
    p.named().clear()
    assert p.named()


# ---- nothing is rebound --------------------------------------------------------------------------

def owners(value):
    """Parameters, and each of the blocks, layers and linear maps in it."""
    if isinstance(value, tuple):
        return [owner for entry in value for owner in owners(entry)]
    return [value, *owners(tuple(vars(value).values()))] if isinstance(value, Sealed) else []


@given(config=configs())
def test_what_parameters_hold_stays_the_same_object_and_only_its_numbers_change(config):
    params = Parameters(config, np.float64)
    for owner in owners(params):
        for name, value in vars(owner).copy().items():
            with pytest.raises(ValueError, match=rf"^{name}: .*params.E\[...\] = W"):
                setattr(owner, name, np.copy(value) if isinstance(value, np.ndarray) else object())
            with pytest.raises(ValueError, match=f"^{name}: "):
                delattr(owner, name)
            setattr(owner, name, value)                             # as += does
            assert vars(owner)[name] is value
    assert not params.flat.any()
    for block in params.blocks:
        block.mlp.up.W += 1
        assert (params.arrays["blocks.0.mlp.up.W"] == 1).all() or block is not params.blocks[0]
    params.E += 1
    params.arrays["E"] += 1
    assert (params.E == 2).all() and (params.flat[params.slices["E"]] == 2).all()
    assert (params.head is params.E) == config.tie_embeddings


@pytest.mark.parametrize("change", [
    lambda arrays: arrays.update(E=0), lambda arrays: arrays.pop("E"), lambda arrays: arrays.popitem(),
    lambda arrays: arrays.clear(), lambda arrays: arrays.setdefault("new", 0),
    lambda arrays: arrays.__setitem__("E", np.zeros((2, 2))), lambda arrays: arrays.__setitem__("new", 0),
    lambda arrays: arrays.__delitem__("E"), lambda arrays: arrays.__ior__({"E": 0})])
def test_the_mapping_of_arrays_is_read_only(change):
    params = Parameters(GPTConfig(2, 2, 1, 1, 2))
    before = params.named()
    with pytest.raises(ValueError, match="expected"):
        change(params.arrays)
    assert params.named().keys() == before.keys() and params.arrays["E"] is params.E


def test_a_copy_of_the_mapping_of_arrays_is_a_dict_that_can_be_changed():
    arrays = Parameters(GPTConfig(2, 2, 1, 1, 2)).arrays
    for way in (dict, copy.copy, copy.deepcopy, lambda arrays: pickle.loads(pickle.dumps(arrays))):
        copied = way(arrays)
        assert type(copied) is dict and copied.keys() == arrays.keys()
        copied["E"] = None


# ---- which numbers decay -------------------------------------------------------------------------

@given(config=configs())
def test_the_weights_of_products_decay_and_come_first(config):
    """A linear layer's W and an untied head. Not biases, gains, P; and not E, tied or untied."""
    p = Parameters(config, np.float64)
    expected = {name for name in p.named()
                if name.endswith(("qkv.W", "out.W", "up.W", "down.W")) or name == "head"}
    assert {name for name in p.named() if decays(name)} == expected
    assert "E" not in expected and ("head" in expected) == (not config.tie_embeddings)
    p.flat[:p.n_decayed] = 1
    for name, array in p.named().items():
        assert np.all(array == (name in expected))
    assert p.n_decayed == sum(prod(shapes(config)[name]) for name in expected)


# ---- initial numbers -----------------------------------------------------------------------------

@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_initial_weights_are_gpt2s(tied, norm):
    config = GPTConfig(400, 100, 3, 2, 64, tied, norm)
    for name, array in GPT(config, seed=0, dtype=np.float64).params.named().items():
        if name.endswith("gain"):
            assert np.all(array == 1)
        elif name.endswith(("bias", ".b")):
            assert np.all(array == 0)
        else:
            std = 0.02 / 6**0.5 if name.endswith(("out.W", "down.W")) else 0.02     # 2L = 6
            n = array.size
            # sample mean and deviation of n normal numbers: 5 of their own deviations
            assert abs(array.mean()) < 5 * std / n**0.5
            assert abs(array.std() - std) < 5 * std / (2 * n)**0.5
            rows = np.corrcoef(array[:-1].ravel(), array[1:].ravel())[0, 1]     # are not alike
            assert abs(rows) < 5 / (n - len(array[0]))**0.5


@given(config=configs(), seed=seeds)
def test_no_two_arrays_start_alike(config, seed):
    drawn = [a.ravel() for n, a in GPT(config, seed, np.float64).params.named().items()
             if not n.endswith(("gain", "bias", ".b"))]
    numbers = np.concatenate(drawn)
    assert len(np.unique(numbers)) == len(numbers)
