"""Writing: the score of every token at every position. E's second use, when the head is E."""
from typing import NamedTuple

import numpy as np

from .linear import add_product


class Cache(NamedTuple):
    h: np.ndarray           # (N, D)
    head: np.ndarray        # (V, D)


def forward(h, head):
    """h (N, D), head (V, D) -> logits (N, V), logits[n, v] = h[n] · head[v]."""
    return h @ head.T, Cache(h, head)


def backward(dlogits, cache, dhead):
    """dlogits (N, V) -> dh (N, D); adds to dhead (V, D).

    logits = h headᵀ, so
        dhead = dlogitsᵀ h,     that is   dhead[v] = sum over n of dlogits[n, v] h[n].
    Every row v gets something from every position, for softmax gives every token some
    probability: this is dense where the lookup's gradient is sparse. When embeddings are tied
    the array given as dhead *is* dE, and what is added here stays there for the lookup to add to.
    """
    add_product(dhead, dlogits, cache.h)
    return dlogits @ cache.head
