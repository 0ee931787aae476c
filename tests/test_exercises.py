"""demos/exercises: the package's own layers are right answers, and wrong ones are told what is wrong."""
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from minigpt_np import GPT, GPTConfig
from minigpt_np import parameters
from minigpt_np.layers import (block, causal, cross_entropy, gelu, layernorm, linear, logits, lookup)

EXERCISES = Path(__file__).resolve().parents[1] / "demos" / "exercises"
sys.path.insert(0, str(EXERCISES))

import check                            # noqa: E402
import _table                           # noqa: E402

TABLE = {exercise.name: exercise for exercise in _table.EXERCISES}


def verdict(name, backward):
    return check.examine(TABLE[name], forward_of(name), backward)


def forward_of(name):
    return check.importlib.import_module(name).forward


# ---- the package's layers, as answers ------------------------------------------------------------

def package_linear(dy, x, W, b):
    grads = parameters.Linear(np.zeros_like(W), np.zeros_like(b))
    _, cache = linear.forward(x, parameters.Linear(W, b))
    return linear.backward(dy, cache, grads), grads.W, grads.b


def package_lookup(dx, ids, E, P):
    dE, dP = np.zeros_like(E), np.zeros_like(P)
    lookup.backward(dx, lookup.forward(ids, E, P)[1], dE, dP)
    return dE, dP


def package_logits(dlogits, h, head):
    dhead = np.zeros_like(head)
    return logits.backward(dlogits, logits.forward(h, head)[1], dhead), dhead


def package_tied(dlogits, ids, E, dE):
    no_P = np.zeros((len(ids), E.shape[1]))
    x, looked_up = lookup.forward(ids[None], E, no_P)
    h = np.tanh(x[0])
    dh = logits.backward(dlogits, logits.forward(h, E)[1], dE)
    lookup.backward((dh * (1 - h * h))[None], looked_up, dE, np.zeros_like(no_P))


def package_cross_entropy(dloss, scores, targets):
    return cross_entropy.backward(dloss, cross_entropy.forward(scores, targets)[1])


def package_gelu(dy, x):
    return gelu.backward(dy, gelu.forward(x)[1])


def package_layernorm(dy, x, gain, bias):
    grads = parameters.LayerNorm(np.zeros_like(gain), np.zeros_like(bias))
    _, cache = layernorm.forward(x, parameters.LayerNorm(gain, bias), 1e-5)
    return layernorm.backward(dy, cache, grads), grads.gain, grads.bias


def package_causal(dy, q, k, v):
    B, H, T, K = q.shape

    def rows(*parts):
        return np.stack(parts, axis=2).transpose(0, 3, 2, 1, 4).reshape(B * T, -1)

    _, cache = causal.forward(rows(q, k, v), B, T, H, 0, None)
    return tuple(causal.heads(causal.backward(rows(dy), cache), B, T, 3, H))


def as_block(w):
    """A block exercise's w as the package has it: the same arrays."""
    def pair(name):
        return parameters.Linear(w[f"W_{name}"], w[f"b_{name}"])

    return parameters.Block(parameters.LayerNorm(w["gain1"], w["bias1"]),
                            parameters.Attention(pair("qkv"), pair("out")),
                            parameters.LayerNorm(w["gain2"], w["bias2"]),
                            parameters.MLP(pair("up"), pair("down")))


def package_block(dy, x, w, B, H):
    config = GPTConfig(vocab_size=1, n_layer=1, n_head=H, n_embd=x.shape[1])
    dw = {name: np.zeros_like(array) for name, array in w.items()}
    _, cache = block.forward_pre(x, as_block(w), (B, len(x) // B), config, None)
    return block.backward_pre(dy, cache, as_block(dw)), dw


def package_model(dloss, ids, targets, p, H):
    V, D = p["E"].shape
    model = GPT(GPTConfig(vocab_size=V, block_size=len(p["P"]), n_layer=len(p["blocks"]), n_head=H, n_embd=D),
                dtype=np.float64)
    for name, array in flat(model.params, p):
        array[...] = name
    _, _, cache = model.forward(ids, targets)
    grads = model.backward(cache, dloss=dloss)
    dp = check.rebuilt(p, np.zeros_like)
    for theirs, ours in flat(grads, dp):
        theirs[...] = ours
    return dp


def flat(params, p):
    """(the exercise's array, the package's) for each."""
    pairs = [(p["E"], params.E), (p["P"], params.P), (p["gain"], params.norm.gain), (p["bias"], params.norm.bias)]
    for w, theirs in zip(p["blocks"], params.blocks):
        ours = as_block(w)
        for a, b in [(ours.norm1, theirs.norm1), (ours.attention.qkv, theirs.attention.qkv),
                     (ours.attention.out, theirs.attention.out), (ours.norm2, theirs.norm2),
                     (ours.mlp.up, theirs.mlp.up), (ours.mlp.down, theirs.mlp.down)]:
            pairs += zip(vars(a).values(), vars(b).values())
    return pairs


PACKAGE = {name[8:]: answer for name, answer in list(globals().items()) if name.startswith("package_")}


@pytest.mark.parametrize("name", TABLE)
def test_the_package_passes(name):
    found = verdict(name, PACKAGE[name])
    assert found.state == "done", found.fault
    assert (EXERCISES.parents[1] / "minigpt_np" / TABLE[name].answer.split(",")[0]).exists()
