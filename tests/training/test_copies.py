"""Copies of models and trainers: on their own, tied as the original, and trained further."""
import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minigpt_np import GPT, Parameters
from minigpt_np.training import checkpoint
from minigpt_np.training.optim import SGD
from strategies import assert_bits, cases, examples
from trainers import CONFIG, IDS, make_trainer

WAYS = {"deepcopy": copy.deepcopy, "pickle": lambda value: pickle.loads(pickle.dumps(value))}
ways = st.sampled_from(list(WAYS.values()))


def check_parameters(found, params):
    """found is a copy of params: the same numbers in its own memory, tied as params are."""
    assert type(found) is Parameters and found.config == params.config
    assert_bits(found.flat, params.flat)
    assert not np.shares_memory(found.flat, params.flat)
    found.flat[:] = np.arange(found.flat.size)
    assert list(found.arrays) == list(params.arrays)
    for name, array in found.arrays.items():
        assert (array.ravel() == np.arange(found.flat.size)[found.slices[name]]).all()
    assert (found.head is found.E) == (params.head is params.E)
    for i, block in enumerate(found.blocks):
        assert block.mlp.up.W is found.arrays[f"blocks.{i}.mlp.up.W"]


@examples(0.5)
@given(cases(), st.sampled_from([copy.copy, *WAYS.values()]))
def test_a_copy_of_parameters_is_parameters(case, way):
    check_parameters(way(case.model.params), case.model.params)


@examples(0.5)
@given(cases(), ways)
def test_a_copy_of_a_model_computes_and_learns_as_the_model(case, way):
    model = way(case.model)
    before = case.model.params.flat.copy()
    logits, _, cache = model.forward(case.ids, case.targets)
    expected_logits, _, expected_cache = case.model.forward(case.ids, case.targets)
    assert_bits(logits, expected_logits)
    assert_bits(model.backward(cache).flat, case.model.backward(expected_cache).flat)
    SGD(model.params, 0.1).step(model.backward(cache))
    assert (case.model.params.flat == before).all()
    check_parameters(way(case.model).params, case.model.params)


def test_a_shallow_copy_of_a_model_shares_its_parameters():
    model = GPT(CONFIG)
    assert copy.copy(model).params is model.params


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_copied_trainer_goes_on_as_the_trainer(way, tmp_path):
    trainer = make_trainer(threads=2, dropout=0.1)
    trainer.step(IDS, IDS)
    other, params = way(trainer), trainer.model.params
    assert other.optimizer.params is other.model.params
    check_parameters(copy.copy(other.model.params), params)
    expected = [trainer.step(IDS, IDS) for _ in range(3)]
    before = params.flat.copy()
    assert [other.step(IDS, IDS) for _ in range(3)] == expected
    assert (params.flat == before).all()
    assert_bits(other.model.params.flat, before)
    other.step(IDS, IDS)
    assert (params.flat == before).all() and (other.model.params.flat != before).any()

    # both ways of saving write the model that it is now
    other.model.save_pretrained(tmp_path)
    checkpoint.save(tmp_path / "run.npz", other)
    assert_bits(GPT.from_pretrained(tmp_path).params.flat, other.model.params.flat)
    assert_bits(checkpoint.load(tmp_path / "run.npz").arrays["params"], other.model.params.flat)
