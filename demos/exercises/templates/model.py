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
    x = lookup.forward(ids, p["E"], p["P"])
    h = stream(x, p, H)
    scores = logits.forward(h, p["E"])
    return cross_entropy.forward(scores, targets.ravel())


def stream(x, p, H):
    """x (B, T, D), as looked up -> h (N, D), as the head gets it."""
    B, T, D = x.shape
    x = x.reshape(B * T, D)
    for w in p["blocks"]:
        x = block.forward(x, w, B, H)
    return layernorm.forward(x, p["gain"], p["bias"])


def backward(dloss, ids, targets, p, H):
    raise NotImplementedError
