"""Exercise 4: one matrix E, looked up at one end and the head at the other.

    x = E[ids]              the lookup: a row for each id
    h = tanh(x)             a model, if a small one
    logits = h Eᵀ           the head: the score of every token at every position

    ids (N,)        integers in 0..V-1
    E (V, D)        used twice, so the loss depends on it in two ways

backward is given dlogits (N, V) and dE (V, D), which holds the gradient of earlier batches. Add to
dE what this batch gives, from both uses, *into the array you were given*; return nothing.
(tanh' = 1 - tanh².)
"""
import numpy as np


def forward(ids, E):
    x = E[ids]
    h = np.tanh(x)
    return h @ E.T


def backward(dlogits, ids, E, dE):
    raise NotImplementedError
