"""What each use of E adds to its gradient, apart."""
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from minigpt_np import Parameters


class Apart(NamedTuple):
    """One batch forwards and backwards, its two contributions to dE in two arrays."""
    logits: np.ndarray      # (B, T, V)
    loss: float
    lookup: np.ndarray      # (V, D) what E's use as the lookup adds to its gradient
    head: np.ndarray        # (V, D) what its use as the head adds


def both_uses(model, ids, targets):
    """Apart: with a head's gradient of its own, backward keeps the two contributions apart."""
    logits, loss, cache = model.forward(ids, targets)
    grads = Parameters(replace(model.config, tie_embeddings=False), model.params.flat.dtype)
    model.backward(cache, grads)
    return Apart(logits, float(loss), grads.E, grads.head)


def contributions_of(model, ids, targets):
    """What E's use as the lookup and what that as the head add to its gradient: two (V, D)."""
    return both_uses(model, ids, targets)[2:]
