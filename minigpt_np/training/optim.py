"""Optimizers over the flat parameter vector, clipping, and the learning-rate schedule.

A tied E is one array, so it has one gradient and one pair of moments; there is nothing to keep in
step. All of them are loops over pieces that fit the cache; of n workers, each takes an n-th of them.
"""
from dataclasses import dataclass
from math import cos, pi, sqrt

import numpy as np

from . import shared_memory
from ..checks import check_positive

PIECE = 1 << 17             # numbers that are updated together: few enough to stay in the cache from pass to pass


class Optimizer:
    """What every optimizer has: `params` (Parameters), updated in place; `steps`, how many were taken."""

    def __init__(self, params):
        self.params = params
        self.steps = 0

    def step(self, grads, lr=None, scale=1.0):
        """One step along scale · grads (Parameters), at this learning rate, in place."""
        self.steps += 1
        self.update(grads, lr, scale)

    def update(self, grads, lr=None, scale=1.0, worker=0, workers=1):
        """Step number `steps`, for every number of the parameters, or for one worker's part of them."""
        lr = self.lr if lr is None else lr
        for piece in pieces(grads, worker, workers):
            decays = piece.start < grads.n_decayed
            self._update(piece, grads.flat[piece], lr, scale, decays)

    def settings(self):
        """Attribute name -> plain number (or tuple of them): with `arrays`, all that the next step depends on."""
        return {name: value for name, value in vars(self).items() if isinstance(value, (int, float, tuple))}

    def arrays(self):
        """Attribute name -> array, of params.flat's shape, in memory that workers share."""
        return {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Kingma and Ba, 2015; Loshchilov and Hutter, 2019).

    lr            learning rate, > 0; `step` can be given another
    betas         decay rates of the two moments, each in [0, 1)
    weight_decay  per unit of learning rate, on `params.flat[:params.n_decayed]` only: the weights
                  of matrix products as minGPT has it; see parameters.decays (a tied E: none)
    m, v          the moments, flat like params.flat
    Raises ValueError for numbers outside these ranges.
    """

    def __init__(self, params, lr=3e-4, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1):
        check_positive("lr", lr)
        check_positive("eps", eps)
        for beta in betas:
            if not 0 <= beta < 1:
                raise ValueError(f"betas: {betas!r} given, expected two numbers in [0, 1)")
        if not weight_decay >= 0:
            raise ValueError(f"weight_decay: {weight_decay!r} given, expected a number of at least 0")
        super().__init__(params)
        self.lr, self.betas, self.eps, self.weight_decay = lr, betas, eps, weight_decay
        self.m = shared_memory.zeros(params.flat.size, params.flat.dtype)
        self.v = shared_memory.zeros(params.flat.size, params.flat.dtype)

    def _update(self, piece, g, lr, scale, decays):
        """m = β1 m + (1-β1) g,  v = β2 v + (1-β2) g²,  p = p - lr (m̂ / (sqrt(v̂) + eps) + decay p),

        with m̂ = m / (1 - β1^t), v̂ = v / (1 - β2^t). The two divisions are taken out of the arrays:
        m̂ / (sqrt(v̂) + eps) = rate m / (sqrt(v) + eps c),  c = sqrt(1 - β2^t),  rate = c / (1 - β1^t).
        """
        p, m, v = self.params.flat[piece], self.m[piece], self.v[piece]
        beta1, beta2 = self.betas
        c = sqrt(1 - beta2 ** self.steps)
        rate = c / (1 - beta1 ** self.steps)

        work = g * (scale * (1 - beta1))
        m *= beta1
        m += work
        np.multiply(g, g, out=work)
        work *= scale * scale * (1 - beta2)
        v *= beta2
        v += work
        np.sqrt(v, out=work)
        work += self.eps * c
        np.divide(m, work, out=work)
        work *= lr * rate
        if decays:
            p *= 1 - lr * self.weight_decay
        p -= work


class SGD(Optimizer):
    """Gradient descent with momentum: velocity = momentum velocity + g, p = p - lr velocity.

    lr > 0; momentum in [0, 1). Raises ValueError otherwise.
    """

    def __init__(self, params, lr=0.1, momentum=0.0):
        check_positive("lr", lr)
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum: {momentum!r} given, expected a number in [0, 1)")
        super().__init__(params)
        self.lr, self.momentum = lr, momentum
        self.velocity = shared_memory.zeros(params.flat.size, params.flat.dtype)

    def _update(self, piece, g, lr, scale, decays):
        velocity = self.velocity[piece]
        velocity *= self.momentum
        velocity += scale * g
        self.params.flat[piece] -= lr * velocity


def pieces(grads, worker=0, workers=1):
    """Slices of grads.flat (Parameters), each of at most PIECE numbers that all decay or all do not.

    All of them together are the whole vector; a worker's are one stretch of it, its share.
    """
    begin, end = (i * grads.flat.size // workers for i in (worker, worker + 1))
    for low, high in ((begin, min(end, grads.n_decayed)), (max(begin, grads.n_decayed), end)):
        yield from stretches(low, high)


def stretches(start, stop):
    """Slices, each of at most PIECE numbers, that together are start..stop."""
    return [slice(low, min(low + PIECE, stop)) for low in range(start, stop, PIECE)]


def clip_factor(norm, limit):
    """What to multiply gradients of this global norm by so that it is at most `limit`; 1 if it is."""
    return min(1.0, limit / (norm + 1e-6))


@dataclass(frozen=True)
class WarmupCosine:
    """Step number 0, 1, 2, ... -> learning rate: up in a line, then down half a cosine (nanoGPT's).

    lr is reached at step `warmup`, `minimum` at step `total` and kept from there. Raises ValueError
    unless lr > 0, 0 <= minimum <= lr and 0 <= warmup <= total.
    """
    lr: float
    warmup: int
    total: int
    minimum: float

    def __post_init__(self):
        check_positive("lr", self.lr)
        if not 0 <= self.minimum <= self.lr:
            raise ValueError(f"minimum: {self.minimum!r} given, expected 0 to lr = {self.lr!r}")
        if not 0 <= self.warmup <= self.total:
            raise ValueError(f"warmup: {self.warmup!r} given, expected 0 to total = {self.total!r}")

    def __call__(self, step):
        if step < self.warmup:
            return self.lr * (step + 1) / (self.warmup + 1)
        if step >= self.total:
            return self.minimum
        progress = (step - self.warmup) / (self.total - self.warmup)
        return self.minimum + (self.lr - self.minimum) * (1 + cos(pi * progress)) / 2
