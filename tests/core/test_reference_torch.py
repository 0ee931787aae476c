"""Small models as PyTorch computes them: logits, loss, every gradient, ten steps of AdamW.

tests/reference/make_reference_torch.py made tests/reference/torch.json; no PyTorch is needed here.
"""
import json
from pathlib import Path

import numpy as np
import pytest

from minigpt_np import GPT, GPTConfig
from minigpt_np.training.optim import AdamW
from minigpt_np.training.trainer import Trainer
from strategies import assert_same

FILE = Path(__file__).parents[1] / "reference" / "torch.json"
REFERENCE = json.loads(FILE.read_text(encoding="utf-8"))
IDS, TARGETS = REFERENCE["ids"], REFERENCE["targets"]
NAMES = list(REFERENCE["models"])


def given_model(name, dtype=np.float64):
    config = GPTConfig(**REFERENCE["config"], tie_embeddings=name.endswith(", tied"),
                       norm="post" if name.startswith("GPT-1") else "pre")
    model = GPT(config, dtype=dtype)
    write(model.params, REFERENCE["models"][name]["weights"])
    return model, REFERENCE["models"][name]


def write(params, values):
    assert params.arrays.keys() == values.keys()
    for name, array in params.arrays.items():
        array[...] = values[name]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_logits_loss_and_every_gradient(name, dtype):
    model, torch = given_model(name, dtype)
    logits, loss, cache = model.forward(IDS, TARGETS)
    assert_same(logits, torch["logits"])
    assert_same(loss, torch["loss"])
    for array_name, gradient in model.backward(cache).arrays.items():
        assert_same(gradient, torch["gradients"][array_name], what=array_name)


@pytest.mark.parametrize("name, threads", [*zip(NAMES, [2, 1, 1])])
def test_ten_steps_of_adamw_clipped(name, threads):
    model, torch = given_model(name)
    optimizer = AdamW(model.params, **REFERENCE["adamw"])
    trainer = Trainer(model, optimizer, clip=REFERENCE["clip"], threads=threads)
    for step in range(REFERENCE["steps"]):
        loss, norm = trainer.step(IDS, TARGETS)
        # each step adds its rounding to all that follow, and they may magnify it: tenfold
        assert_same(loss, torch["losses"][step], terms=4096 * (1 + 10 * step))
        assert_same(norm, torch["norms"][step], terms=4096 * (1 + 10 * step))
    for array_name, array in model.params.arrays.items():
        expected = np.array(torch["weights_after"][array_name])
        assert np.max(np.abs(array - torch["weights"][array_name])) > 1e-2
        if array_name.endswith("qkv.b"):
            # A key's bias adds the same to all scores of a query: its gradient is 0, and what Adam
            # divides by its eps is rounding, at most 64 eps of numbers of order 1. Each step.
            ours, theirs = (np.split(x, 3)[1] for x in (array, expected))
            adam = REFERENCE["adamw"]
            noise = 64 * np.finfo(float).eps / adam["eps"]
            assert np.max(np.abs(ours - theirs)) <= REFERENCE["steps"] * adam["lr"] * noise
            theirs[...] = ours
        assert_same(array, expected, terms=4096 * 100)
