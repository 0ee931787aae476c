"""The score of every token at every position. E's second use, when the head is E."""
from dataclasses import dataclass

import numpy as np

from ..reprs import ShapeRepr


@dataclass(repr=False)
class Cache(ShapeRepr):
    h: np.ndarray           # (N, D)
    head: np.ndarray        # (V, D)


def forward(h, head):
    """h (N, D), head (V, D) -> logits (N, V), logits[n, v] = h[n] · head[v]."""
    return h @ head.T, Cache(h, head)


def backward(dlogits, cache, dhead):
    """dlogits (N, V) -> dh (N, D); accumulates into dhead (V, D).

    logits = h headᵀ, so
        dhead = dlogitsᵀ h,     that is   dhead[v] = sum over n of dlogits[n, v] h[n].
    Every row v gets something from every position, because softmax gives every token a nonzero
    probability: this is dense where the lookup's gradient is sparse. When embeddings are tied
    the array given as dhead *is* dE, and what is added here stays there for the lookup to add to.
    """
    dhead += dlogits.T @ cache.h                # tied: dE += dlogitsᵀ h
    return dlogits @ cache.head
