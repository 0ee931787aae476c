"""The loss: mean over scored positions of -log softmax(logits)[target]."""
from dataclasses import dataclass

import numpy as np

from ..reprs import ShapeRepr
from . import softmax


@dataclass(repr=False)
class Cache(ShapeRepr):
    exp_logits: np.ndarray  # (N, V) exp(logits - shift)
    total: np.ndarray       # (N, 1) sums of its rows
    targets: np.ndarray     # (N,) -1 where not scored

    @property
    def probs(self):
        """(N, V) softmax(logits), each row summing to 1."""
        return self.exp_logits / self.total


def forward(logits, targets):
    """logits (N, V), targets (N,) in -1..V-1 with at least one scored -> loss, a scalar.

    loss = mean over scored n of  log(sum_v exp(logits[n, v])) - logits[n, targets[n]].
    """
    exp_logits, total, shift = softmax.exponentials(logits)
    scored, = (targets >= 0).nonzero()
    log_sum = (np.log(total) + shift)[scored, 0]
    loss = (log_sum - logits[scored, targets[scored]]).mean()
    return loss, Cache(exp_logits, total, targets)


def backward(dloss, cache):
    """dloss, a number -> dlogits (N, V).

    d log(sum exp(z)) / dz_v = p_v = softmax(z)_v;  d z_target / dz_v is 1 for the target. M scored:
        dlogits[n] = (probs[n] - one_hot(targets[n])) dloss / M,  0 where not scored.
    """
    scored, = (cache.targets >= 0).nonzero()
    dloss_each = dloss / len(scored)
    row_scale = np.zeros(cache.total.shape, cache.total.dtype)
    row_scale[scored] = dloss_each / cache.total[scored]
    dlogits = cache.exp_logits * row_scale                          # probs dloss / M
    dlogits[scored, cache.targets[scored]] -= dloss_each            # - one_hot dloss / M
    return dlogits
