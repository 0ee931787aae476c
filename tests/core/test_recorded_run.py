"""What an earlier version trained and wrote: today's code trains the same, and opens its files.

tests/reference/make_reference_run.py made tests/reference/run.json and tests/reference/files/.
"""
import json
from pathlib import Path

import numpy as np
import pytest

from minigpt_np import GPT, BPETokenizer
from minigpt_np.training import checkpoint
from reference.make_reference_run import (
    FILE_CONFIG, FILES, TEXT, file_batch, file_trainer, record)
from strategies import assert_same

REFERENCE = json.loads((Path(FILES).parent / "run.json").read_text(encoding="utf-8"))


def assert_recorded(found, name):
    """losses, norms and projections are those recorded, but for sums in another order.

    A step adds its rounding to all that follow; small steps of AdamW, as here, do not magnify it.
    """
    expected = REFERENCE["runs"][name]
    for step, (loss, norm) in enumerate(zip(expected["losses"], expected["norms"], strict=True)):
        assert_same(found["losses"][step], loss, what=f"losses at step {step}")
        assert_same(found["norms"][step], norm, what=f"norms at step {step}")
    assert found["projections"].keys() == expected["projections"].keys()
    for kind in ("params", "m", "v"):
        theirs = {array: value for array, value in expected["projections"].items()
                  if array.startswith(f"{kind} ")}
        largest = max(map(abs, theirs.values()))
        for array, value in theirs.items():
            assert_same(found["projections"][array], value, scale=largest, what=array)


@pytest.mark.parametrize("model, threads, micro_batches", [
    ("pre, tied", 1, 1), ("pre, untied", 2, 3), ("post, tied", 1, 1), ("post, untied", 1, 3)])
def test_twenty_steps_are_those_recorded(model, threads, micro_batches):
    assert_recorded(record(model, threads, micro_batches), model)


@pytest.mark.parametrize("model, threads", [("pre, tied", 8), ("post, untied", 2)])
def test_twenty_steps_with_dropout_are_those_recorded(model, threads):
    found = record(model, threads, micro_batches=2, dropout=True)
    assert_recorded(found, f"{model}, dropout, {threads}")


def test_a_checkpoint_opens_and_its_next_step_is_the_one_that_followed():
    expected, trainer, generator = REFERENCE["files"], file_trainer(), np.random.default_rng(0)
    run = checkpoint.load(FILES / "run.npz")
    run.restore(trainer, {"batches": generator})
    assert run.config == FILE_CONFIG and run.notes == {"text": TEXT} and trainer.steps == 3
    assert trainer.model.params.flat.tolist() == expected["params"]
    assert int(generator.integers(2**62)) == expected["next draw"]
    assert_same(np.float32(trainer.step(*file_batch(3))[0]), expected["next loss"])


def test_a_saved_model_and_a_saved_tokenizer_open():
    model = GPT.from_pretrained(FILES)
    assert model.params.flat.tolist() == REFERENCE["files"]["params"]
    assert model.params.head is model.params.E
    assert BPETokenizer.from_folder(FILES).encode(TEXT).tolist() == REFERENCE["files"]["ids"]
