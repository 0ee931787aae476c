"""The sizes, the names, the one flat vector, the initial numbers."""
import copy
import pickle
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt_np import GPT, GPTConfig, Parameters
from minigpt_np.parameters import Sealed, count, shapes
from strategies import configs


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


def test_a_preset_can_be_changed_and_a_config_cannot():
    config = GPTConfig.preset("gpt-nano", vocab_size=7, n_layer=2, embd_pdrop=0.1)
    assert config == GPTConfig(7, 1024, 2, 3, 48, embd_pdrop=0.1) == eval(repr(config))
    assert "embd_pdrop=0.1" in repr(config) and "norm" not in repr(config)
    with pytest.raises(FrozenInstanceError):
        config.n_layer = 3


def test_a_config_is_gpt2_tied_without_dropout_unless_said():
    assert GPTConfig() == GPTConfig(50257, 1024, 12, 12, 768, True, "pre", 0.0, 0.0, 0.0, 1e-5)


# ---- one flat vector -----------------------------------------------------------------------------

@given(config=configs())
def test_every_number_of_flat_is_in_one_named_view(config):
    p = Parameters(config, np.float64)
    assert p.flat.shape == (count(config),) and not p.flat.any()
    assert list(p.arrays) == list(shapes(config))
    p.flat[...] = np.arange(p.flat.size)
    seen = np.concatenate([array.ravel() for array in p.arrays.values()])
    assert sorted(seen) == list(range(p.flat.size))
    for name, array in p.arrays.items():
        assert array.shape == shapes(config)[name] and np.shares_memory(array, p.flat)
        array += 1                                              # writing a view writes flat
    assert p.flat.tolist() == list(range(1, p.flat.size + 1))


@given(config=configs(), data=st.data())
def test_names_in_a_part_of_flat(config, data):
    p = Parameters(config, np.float64)
    p.flat[...] = np.arange(p.flat.size)
    edges = st.sampled_from([edge for place in p.slices.values() for edge in
                             (place.start, place.start + 1, place.stop)])
    start, stop = sorted(data.draw(st.tuples(edges, edges).filter(lambda two: two[0] != two[1])))
    inside = [name for name, array in p.arrays.items()
              if np.any((start <= array) & (array < stop))]
    assert sorted(p.names_in(slice(start, stop))) == sorted(inside)


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
    lambda arrays: arrays.update(E=0), lambda arrays: arrays.pop("E"),
    lambda arrays: arrays.popitem(), lambda arrays: arrays.clear(),
    lambda arrays: arrays.setdefault("new", 0), lambda arrays: arrays.__setitem__("new", 0),
    lambda arrays: arrays.__setitem__("E", np.zeros((2, 2))),
    lambda arrays: arrays.__delitem__("E"), lambda arrays: arrays.__ior__({"E": 0})])
def test_the_mapping_of_arrays_is_read_only(change):
    params = Parameters(GPTConfig(2, 2, 1, 1, 2))
    before = dict(params.arrays)
    with pytest.raises(ValueError, match="expected"):
        change(params.arrays)
    assert params.arrays.keys() == before.keys() and params.arrays["E"] is params.E


def test_a_copy_of_the_mapping_of_arrays_is_a_dict_that_can_be_changed():
    arrays = Parameters(GPTConfig(2, 2, 1, 1, 2)).arrays
    for way in (dict, copy.copy, copy.deepcopy, lambda arrays: pickle.loads(pickle.dumps(arrays))):
        copied = way(arrays)
        assert type(copied) is dict and copied.keys() == arrays.keys()
        copied["E"] = None


# ---- initial numbers -----------------------------------------------------------------------------

@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_initial_weights_are_gpt2s(tied, norm):
    config = GPTConfig(400, 100, 3, 2, 64, tied, norm)
    for name, array in GPT(config, seed=0, dtype=np.float64).params.arrays.items():
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
