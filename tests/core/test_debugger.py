"""What a debugger shows: where a step lands, and how much of the screen a name takes."""
import bdb
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from minigpt_np import GPT, GPTConfig, Parameters
from strategies import NORMS, cases

SIZES = dict(vocab_size=8, block_size=11, n_layer=1, n_head=2, n_embd=6)    # tied_gradients.py's
IDS = np.arange(11)[None] % 8
ROOT = Path(__file__).resolve().parents[2]


class Stops(bdb.Bdb):
    """Steps through a call, as pdb's `step` does, and notes the file of every stop."""

    def __init__(self):
        super().__init__()
        self.files = []

    def note(self, frame, *_):
        self.files.append(frame.f_code.co_filename.replace("\\", "/"))
        self.set_step()

    user_call = user_line = user_return = user_exception = note


@pytest.mark.parametrize("norm", NORMS)
def test_stepping_through_backward_meets_the_layers_and_nothing_of_numpy(norm):
    model = GPT(GPTConfig(**SIZES, norm=norm), dtype=np.float64)
    _, _, cache = model.forward(IDS, IDS)
    grads, stops = Parameters(model.config, np.float64), Stops()
    model.backward(cache)                                           # constants are made once
    stops.runcall(model.backward, cache, grads)
    assert grads.flat.any()
    mathematics = [file for file in stops.files if re.search("minigpt_np/(layers/|model.py)", file)]
    others = [file for file in stops.files if file not in mathematics]
    assert len(mathematics) > 100 and len(others) <= 60
    assert not [file for file in others if "numpy/" in file.replace("minigpt_np/", "")]


def test_from_a_first_step_to_the_optimizer_there_is_no_import_and_no_search_for_a_library():
    """In a process of its own, where nothing is imported that another test asked for."""
    program = """if True:
        import sys
        import numpy as np
        from minigpt_np import GPT, AdamW, GPTConfig, Trainer
        model = GPT(GPTConfig(8, 11, 1, 2, 6))
        trainer, ids, found = Trainer(model, AdamW(model.params), threads=1), [[0, 1]], []
        sys.settrace(lambda frame, *_: found.append(frame.f_code))
        trainer.step(ids, ids)
        sys.settrace(None)
        assert "_update" in [code.co_name for code in found]
        print(len(found), *{code.co_filename for code in found if "importlib" in code.co_filename
                            or "openblas" in code.co_name})
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                          encoding="utf-8", env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    calls, *others = done.stdout.split()
    assert int(calls) < 500 and not others


@given(case=cases(dropout=True))
def test_a_repr_has_names_dtypes_and_shapes_and_no_numbers_of_arrays(case):
    case.model.params.flat[...] = 1234567.0
    _, _, cache = case.forward()
    for shown in (cache, case.model.params, case.model):
        assert "1234567" not in repr(shown) and "array(" not in repr(shown)
    config = case.model.config
    assert f"E: float64 {(config.vocab_size, config.n_embd)}" in repr(case.model.params)
    assert f"head: float64 {(config.vocab_size, config.n_embd)}" in repr(cache)
    tie = "head is E" if config.tie_embeddings else "head is not E"
    assert tie in repr(case.model) and tie in repr(case.model.params)
    assert ("\n  head: E" in repr(case.model.params)) == config.tie_embeddings


def test_of_many_blocks_the_first_is_shown_and_how_many_more():
    three, five = (repr(Parameters(GPTConfig(2, 2, L, 1, 2))) for L in (3, 5))
    assert "blocks[2]:" in three and "more like it" not in three
    assert "norm1: LayerNorm(gain: float32 (2,), bias: float32 (2,))\n" in three
    assert "blocks[0]:" in five and "blocks[1]:" not in five and "[1:]: 4 more like it" in five
