"""The live page: its GPT is one_page.py's and, untied, the package's, and its data are what its script writes.

What runs JavaScript is skipped without node, but not where MINIGPT_NP_NEED_NODE is set (.ci/run).
"""
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import one_page
from minigpt_np import GPT, GPTConfig
from strategies import examples, ids_arrays, seeds, sizes

LIVE = Path(one_page.__file__).parent / "live"
needs_node = pytest.mark.skipif(not (shutil.which("node") or os.environ.get("MINIGPT_NP_NEED_NODE")),
                                reason="node runs the page's scripts, and is not installed")


def node(code, cases, *scripts):
    """What `code`, a function of a case in JavaScript, returns for each of the cases."""
    source = "".join((LIVE / script).read_text(encoding="utf-8") for script in scripts)
    source += (f"\nconst answer = {code};\nconst read = require('fs').readFileSync;\n"
               "process.stdout.write(JSON.stringify(JSON.parse(read(0, 'utf8')).map(answer)));")
    done = subprocess.run([shutil.which("node") or "node", "-e", source], input=json.dumps(cases), text=True,
                          encoding="utf-8", capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


GRADIENT = """({ids, targets, params, H, head}) => {
  const {loss, grads, dhead} = lossAndGradient(ids, targets, params, H, head || params[0]);
  return {loss, grads, dhead};
}"""
TRAINED = """({ids, targets, params, H, steps}) => {
  for (let i = 0; i < steps; i++) step(params, lossAndGradient(ids, targets, params, H).grads, 0.1);
  return params;
}"""


def rows(array):
    """For JSON: a vector is a matrix of one row."""
    return np.atleast_2d(array).tolist()


@st.composite
def models(draw, T=8, V=6):
    """ids, targets, params, H with gains and biases that matter; tokens repeat, and P may be longer than T."""
    T, V, H, L = draw(sizes(T)), draw(sizes(V)), draw(sizes(3)), draw(sizes(2))
    K = draw(st.integers(-(-4 // H), 4))                # D >= 4: of fewer, LayerNorm makes much of rounding
    ids, targets = draw(ids_arrays(2, T, V))
    rng = np.random.default_rng(draw(seeds))
    params = one_page.new_parameters(V, T + draw(st.integers(0, 2)), H * K, L, rng)
    for array in params:
        array += rng.normal(0, 0.5, array.shape)
    return ids, targets, params, H, rng.normal(0, 0.7, (V, H * K))


def case(ids, targets, params, H, **more):
    return {"ids": ids.tolist(), "targets": targets.tolist(), "params": [*map(rows, params)], "H": H, **more}


def assert_close(ours, expected, tolerance, name=""):
    """Within tolerance of the array's largest number, or of 1, the size of the numbers that it is a sum of."""
    ours = np.array(ours).reshape(np.shape(expected))
    assert np.max(np.abs(ours - expected)) <= tolerance * (1 + np.max(np.abs(expected))), name


@needs_node
@given(batch=st.lists(models(), min_size=4, max_size=12))
@examples(0.3)
def test_loss_and_every_gradient_are_one_pages(batch):
    answers = node(GRADIENT, [case(*drawn[:4]) for drawn in batch], "model.js")
    for (ids, targets, params, H, _), answer in zip(batch, answers, strict=True):
        loss, grads = one_page.loss_and_gradient(ids, targets, params, H)
        assert_close(answer["loss"], loss, 1e-12)
        for n, (ours, expected) in enumerate(zip(answer["grads"], grads, strict=True)):
            assert_close(ours, expected, 1e-12, n)


@needs_node
@given(batch=st.lists(models(), min_size=4, max_size=12))
@examples(0.3)
def test_untied_loss_and_every_gradient_are_the_packages(batch):
    answers = node(GRADIENT, [case(*drawn[:4], head=rows(drawn[4])) for drawn in batch], "model.js")
    for (ids, targets, params, H, head), answer in zip(batch, answers, strict=True):
        V, D = head.shape
        config = GPTConfig(V, len(params[1]), (len(params) - 4) // 12, H, D, tie_embeddings=False)
        model = GPT(config, dtype=np.float64)
        named = model.params.named()
        order = [name for name in named if name != "head"]
        for name, array in zip(order, params, strict=True):
            named[name][...] = array
        named["head"][...] = head
        _, loss, cache = model.forward(ids[None], targets[None])
        expected = model.backward(cache).named()
        assert_close(answer["loss"], loss, 1e-12)
        assert_close(answer["dhead"], expected["head"], 1e-12, "head")
        for name, ours in zip(order, answer["grads"], strict=True):
            assert_close(ours, expected[name], 1e-12, name)
