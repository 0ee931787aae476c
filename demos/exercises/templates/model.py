"""Exercise 12: the whole model, out of what you have already done.

    x = E[ids] + P              lookup
    x = block(x)                for each block
    h = LayerNorm(x)
    logits = h Eᵀ               the same E
    loss = cross-entropy of logits and targets

    ids, targets (B, T)     integers in 0..V-1
    p       a dict: E (V, D), P (S, D), gain and bias (D,) of the last LayerNorm, and blocks, a list
            of what the block exercise calls w
    H       heads

backward is given dloss, a number. Return dp, built like p: dp["E"], ..., dp["blocks"][0]["W_up"].
When this and all it is made of are right, check.py trains a GPT with them.
"""
import numpy as np

import block
import cross_entropy
import layernorm
import logits
import lookup


def forward(ids, targets, p, H):
    B, T = ids.shape
    x = lookup.forward(ids, p["E"], p["P"]).reshape(B * T, -1)
    for w in p["blocks"]:
        x = block.forward(x, w, B, H)
    h = layernorm.forward(x, p["gain"], p["bias"])
    scores = logits.forward(h, p["E"])
    return cross_entropy.forward(scores, targets.ravel())


def backward(dloss, ids, targets, p, H):
    raise NotImplementedError
