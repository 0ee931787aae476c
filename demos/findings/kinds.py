"""Kinds of tie: how the lookup table is made from E, what bias the logits have, and the optimizer.

Every kind computes with an untied GPT, so it goes through the package's own forward pass, backward
pass and AdamW, and what the lookup and the logits add to dE is there in two arrays at every step.
"""
from dataclasses import dataclass

import numpy as np

from lib.statistics import norm
from minigpt_np import AdamW
from minigpt_np.layers import cross_entropy
from minigpt_np.training.optim import clip_factor

CLIP = 1.0                  # of the gradient's global norm
GROUP = 8                   # tokens of like frequency


@dataclass(frozen=True)
class Kind:
    """What sets a model apart; the defaults are the tied GPT with AdamW.

    name        in tables, and of kept runs
    tied        one matrix E, or E and head
    lookup      "E"; "permuted": E[π], π a random permutation of the tokens; "like frequency": the
                same, but π moves a token only among GROUP of like frequency; "scaled": sqrt(D) E;
                "matrix": E M, M learned; "symmetric matrix": the same, M = Mᵀ
    bias        of the logits, one number a token: "none"; "frequency": log unigram probability,
                fixed; "shuffled": these numbers dealt out at random, fixed; "learned" from 0
    optimizer   "AdamW"; "two moments": the lookup's and the logits' gradients each have moments of
                their own, and both steps are added to the one E; "coupled": the second moment of
                the head (tied: of E) is averaged over the tokens (Coupled Adam)
    factor      what the lookup's gradient is multiplied by
    """
    name: str
    tied: bool = True
    lookup: str = "E"
    bias: str = "none"
    optimizer: str = "AdamW"
    factor: float = 1.0


class Model:
    """A GPT whose lookup table is made from its head, and whose logits have a bias.

    gpt         an untied GPT. Its head predicts; in a tied kind it is E, and params.E is the table
                (E M)[π], which `tie` makes
    params      the GPT's
    pi          (V,): token v is looked up as row π[v]
    M           (D, D), a multiple of the identity unless it is learned
    bias        (V,), added to the logits
    learned     name -> array: those of M and bias that are trained
    """

    def __init__(self, kind, gpt, counts, log_p, seed=0):
        self.kind, self.gpt = kind, gpt.untied()
        self.params = self.gpt.params
        (V, D), dtype = self.params.E.shape, self.params.flat.dtype
        self.pi = np.arange(V)
        if kind.lookup in ("permuted", "like frequency"):
            size = GROUP if kind.lookup == "like frequency" else V
            self.pi = permutation(counts, size, np.random.default_rng([seed, 2]))
        self.M = np.eye(D, dtype=dtype) * (np.sqrt(D) if kind.lookup == "scaled" else 1)
        shuffled = np.random.default_rng([seed, 3]).permutation(log_p)
        self.bias = {"frequency": log_p, "shuffled": shuffled}.get(kind.bias, 0 * log_p)
        self.M, self.bias = self.M.astype(dtype), self.bias.astype(dtype)
        self.learned = {}
        if kind.lookup.endswith("matrix"):
            self.learned["M"] = self.M
        if kind.bias == "learned":
            self.learned["bias"] = self.bias
        self.tie()

    def tie(self):
        """Make the lookup table of a tied kind from its E."""
        if self.kind.tied:
            self.params.E[...] = (self.params.head @ self.M)[self.pi]

    def forward(self, ids, targets=None):
        """ids, targets (B, T) -> logits (B, T, V), loss or None, cache; as GPT.forward."""
        logits, loss, cache = self.gpt.forward(ids)
        logits += self.bias
        if targets is not None:
            rows = logits.reshape(-1, logits.shape[2])
            loss, cache.loss = cross_entropy.forward(rows, targets.ravel())
        return logits, loss, cache

    def backward(self, cache):
        """-> grads, untied Parameters; name -> gradient of those in `learned`.

        Tied, grads.E is what the lookup adds to dE, and grads.head what the logits add.
        """
        grads, others = self.gpt.backward(cache), {}
        if self.kind.tied:
            dtable = np.empty_like(grads.E)
            dtable[self.pi] = grads.E                   # of E M: table[v] = (E M)[π[v]]
            others["M"] = self.params.head.T @ dtable
            if self.kind.lookup == "symmetric matrix":
                others["M"] = (others["M"] + others["M"].T) / 2
            grads.E[...] = dtable @ self.M.T
        if "bias" in self.learned:
            others["bias"] = cross_entropy.backward(1.0, cache.loss).sum(axis=0)
        return grads, {name: others[name] for name in self.learned}


def permutation(counts, size, rng):
    """π (V,) within groups of `size` tokens in the order of their counts; none stays in its place.

    (But for one that is alone in its group.)
    """
    V, pi = len(counts), np.empty(len(counts), int)
    order = np.argsort(-counts, kind="stable") if size < V else rng.permutation(V)
    for start in range(0, V, size):
        group = rng.permutation(order[start:start + size])
        pi[group] = np.roll(group, 1)
    return pi


class Stepper:
    """AdamW on a Model; E and head have `ratio` times the others' learning rate.

    moved   (2, V, D): of a tied E's way with AdamW, the lookup's part and the logits'. Adam's step
            is -rate m̂ / (sqrt(v̂) + eps). m is linear in the gradients, so it is the sum of one m
            for each use; both are divided by the root of the v that their sum has made.
    """

    def __init__(self, model, rate, ratio):
        self.model, self.ratio, kind = model, ratio, model.kind
        self.adam = AdamW(model.params, rate, weight_decay=0)
        self.others = {name: np.zeros((2, *array.shape), array.dtype)
                       for name, array in model.learned.items()}        # their m and v
        self.one_gradient = kind.tied and kind.optimizer != "two moments"
        self.m = np.zeros((2, *model.params.E.shape))                   # of each use
        self.moved = np.zeros_like(self.m)

    def step(self, grads, others, rate):
        """One step with what Model.backward returned. It changes grads."""
        grads.E *= self.model.kind.factor
        uses = np.stack([grads.E, grads.head])
        if self.one_gradient:
            grads.head += grads.E
            grads.E[...] = 0
        squares = norm(grads.flat) ** 2 + sum(norm(g) ** 2 for g in others.values())
        scale = clip_factor(np.sqrt(squares), CLIP)
        self.step_params(grads, rate, scale)
        for name, g in others.items():
            self.step_other(name, g, rate * self.ratio if name == "bias" else rate, scale)
        if self.one_gradient:
            self.m += (1 - self.adam.betas[0]) * (scale * uses - self.m)
            self.moved -= rate * self.ratio * self.quotient(self.m, self.adam.v.head)
        self.model.tie()

    def step_params(self, grads, rate, scale):
        params, optimizer = self.model.params, self.model.kind.optimizer
        E, head = params.E.copy(), params.head.copy()
        self.adam.step(grads, rate, scale)
        if optimizer == "coupled":
            v = self.adam.v.head.mean(axis=0)
            params.head[...] = head - rate * self.quotient(self.adam.m.head, v)
        for matrix, before in ((params.E, E), (params.head, head)):
            matrix[...] = before + self.ratio * (matrix - before)
        if optimizer == "two moments":
            params.head[...] = params.E + (params.head - head)      # both steps, from one E

    def step_other(self, name, g, rate, scale):
        m, v = self.others[name]
        beta1, beta2 = self.adam.betas
        m[...] = beta1 * m + (1 - beta1) * scale * g
        v[...] = beta2 * v + (1 - beta2) * (scale * g) ** 2
        self.model.learned[name] -= rate * self.quotient(m, v)

    def quotient(self, m, v):
        """m̂ / (sqrt(v̂) + eps), with the two corrections for their start at 0."""
        beta1, beta2 = self.adam.betas
        c = np.sqrt(1 - beta2 ** self.adam.steps)
        return m * (c / (1 - beta1 ** self.adam.steps)) / (np.sqrt(v) + self.adam.eps * c)
