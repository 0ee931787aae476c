"""What each use of E adds to its gradient, apart."""
import numpy as np


def contributions_of(model, ids, targets):
    """What E's use as the lookup and what that as the head add to its gradient: two (V, D).

    They come apart in the same model with head as a matrix of its own.
    """
    apart = model.untied() if model.config.tie_embeddings else model
    _, _, cache = apart.forward(ids, targets)
    parts = apart.backward(cache)
    return parts.E, parts.head


def size_of(array):
    return float(np.sqrt(np.sum(array * array)))
