"""The loss: mean over scored positions of -log softmax(logits)[target]."""
from typing import NamedTuple

import numpy as np

from . import softmax


class Cache(NamedTuple):
    e: np.ndarray           # (N, V) exp(logits - shift)
    total: np.ndarray       # (N, 1) their sums: e / total are the probabilities
    targets: np.ndarray     # (N,) -1 where not scored

    @property
    def probabilities(self):
        """(N, V), each row summing to 1."""
        return self.e / self.total


def forward(logits, targets):
    """logits (N, V), targets (N,) in -1..V-1 with at least one scored -> loss, a scalar.

    loss = mean over scored n of  log(sum_v exp(logits[n, v])) - logits[n, targets[n]].
    """
    e, total, shift = softmax.exponentials(logits)
    scored = np.flatnonzero(targets >= 0)
    log_sum = (np.log(total) + shift)[scored, 0]
    loss = (log_sum - logits[scored, targets[scored]]).mean()
    return loss, Cache(e, total, targets)


def backward(dloss, cache):
    """dloss, a number -> dlogits (N, V).

    d log(sum exp(z)) / dz_v = p_v = e_v / total, and d z_target / dz_v = 1 where v is the target:
        dlogits[n] = (p[n] - one_hot(targets[n])) dloss / (number scored),  0 where not scored.
    """
    scored = np.flatnonzero(cache.targets >= 0)
    share = dloss / len(scored)
    weight = np.zeros_like(cache.total)
    weight[scored] = share
    dlogits = cache.e * (weight / cache.total)
    dlogits[scored, cache.targets[scored]] -= share
    return dlogits
