"""What each use of E adds to its gradient, apart."""
from typing import NamedTuple

import numpy as np


class Apart(NamedTuple):
    """One batch through a model whose E and head are two arrays."""
    logits: np.ndarray      # (B, T, V)
    loss: float
    lookup: np.ndarray      # (V, D) what E's use as the lookup adds to its gradient
    head: np.ndarray        # (V, D) what its use as the head adds


def both_uses(model, ids, targets):
    """Apart: a tied model's contributions come apart in the same model with head as a matrix of its own."""
    apart = model.untied() if model.config.tie_embeddings else model
    logits, loss, cache = apart.forward(ids, targets)
    grads = apart.backward(cache)
    return Apart(logits, float(loss), grads.E, grads.head)


def contributions_of(model, ids, targets):
    """What E's use as the lookup and what that as the head add to its gradient: two (V, D)."""
    return both_uses(model, ids, targets)[2:]


def size_of(array):
    return float(np.sqrt(np.sum(array * array)))
