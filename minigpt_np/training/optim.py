"""Optimizers over the flat parameter vector, clipping, and the learning-rate schedule.

A tied E is one array, so it has one gradient and one pair of moments: none to keep in step.
"""
from dataclasses import dataclass
from math import cos, pi, sqrt

import numpy as np

from ..checks import (
    check_each, check_finite_number, check_int, check_not_negative, check_positive, check_rate,
    raise_value_error)
from ..parameters import Parameters, check_shapes

CHUNK = 1 << 15             # numbers updated together: they stay in the cache from pass to pass


def check_betas(name, value):
    """Two floats in [0, 1), as a tuple."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise_value_error(name, value, "two numbers in [0, 1)")
    return tuple(check_rate(name, beta) for beta in value)


class Optimizer:
    """Base class. `params` are Parameters, updated in place; `steps` counts the updates.

    SETTINGS   attribute -> its check. They may be set to something else between steps
    MOMENTS    names of attributes with a number for each parameter: Parameters, zeros at first
    """
    SETTINGS, MOMENTS = {"steps": check_int}, ()

    def __init__(self, params):
        self.params, self.steps = check_shapes("params", params), 0
        for name in self.MOMENTS:
            setattr(self, name, Parameters(params.config, params.flat.dtype))
        vars(self).update(self.check())             # NumPy's numbers become Python's

    def __repr__(self):
        settings = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.SETTINGS)
        return f"{type(self).__name__}[{self.params.flat.size:,} numbers]({settings})"

    def check(self):
        """SETTINGS as plain numbers, or ValueError unless all attributes are as described."""
        check_shapes("params", self.params)
        for name in self.MOMENTS:
            check_shapes(name, getattr(self, name), self.params.config)
        return check_each(self.SETTINGS, vars(self))

    def arrays(self):
        """Name -> the flat array of each of MOMENTS: with SETTINGS the optimizer's whole state."""
        return {name: getattr(self, name).flat for name in self.MOMENTS}

    def step(self, grads, lr=None, scale=1.0):
        """One step along scale · grads (Parameters), at this learning rate, in place."""
        vars(self).update(self.check())
        check_shapes("grads", grads, self.params.config, self.params.flat.dtype)
        scale = check_finite_number("scale", scale)
        lr = self.lr if lr is None else check_not_negative("lr", lr)
        self.steps += 1
        self.update(grads, lr, scale, slice(0, grads.flat.size))

    def update(self, grads, lr, scale, part):
        """Step number `steps`, for the numbers flat[part] of the parameters."""
        with np.errstate(all="ignore"):     # the next loss tells whether this went too far
            for chunk in chunks(part):
                self._update(chunk, grads.flat[chunk], lr, scale)


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Kingma and Ba, 2015; Loshchilov and Hutter, 2019).

    lr            learning rate, > 0; `step` can be given another
    betas         decay rates of the two moments, each in [0, 1)
    weight_decay  per unit of learning rate, on what parameters.decays names (a tied E: not)
    m, v          the moments, Parameters: m.E is the first moment of E
    Raises ValueError for numbers outside these ranges.
    """
    SETTINGS = {
        "steps": check_int, "lr": check_positive, "betas": check_betas, "eps": check_positive,
        "weight_decay": check_not_negative}
    MOMENTS = "m", "v"

    def __init__(self, params, lr=3e-4, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1):
        self.lr, self.betas, self.eps, self.weight_decay = lr, betas, eps, weight_decay
        super().__init__(params)

    def _update(self, chunk, g, lr, scale):
        """m = β1 m + (1-β1) g
        v = β2 v + (1-β2) g²
        p = p - lr (m̂ / (sqrt(v̂) + eps) + decay p)

        with m̂ = m / (1 - β1^t), v̂ = v / (1 - β2^t), both divisions taken out of the arrays:
        m̂ / (sqrt(v̂) + eps) = rate m / (sqrt(v) + eps c),
        c = sqrt(1 - β2^t), rate = c / (1 - β1^t)
        self.params.names_in(chunk) tells which arrays the chunk's numbers belong to.
        """
        params, m, v = self.params.flat[chunk], self.m.flat[chunk], self.v.flat[chunk]
        beta1, beta2 = self.betas
        c = sqrt(1 - beta2 ** self.steps)
        rate = c / (1 - beta1 ** self.steps)

        work = g * (scale * (1 - beta1))                    # (1-β1) g
        m *= beta1
        m += work
        work *= work
        work *= (1 - beta2) / (1 - beta1) ** 2              # (1-β2) g²
        v *= beta2
        v += work
        np.sqrt(v, out=work)
        work += self.eps * c
        np.divide(m, work, out=work)
        work *= lr * rate                                   # lr m̂ / (sqrt(v̂) + eps)
        decayed = params[:max(0, self.params.n_decayed - chunk.start)]      # the first in flat
        decayed *= 1 - lr * self.weight_decay
        params -= work


class SGD(Optimizer):
    """Gradient descent with momentum: velocity = momentum velocity + g, p = p - lr velocity.

    lr > 0; momentum in [0, 1). Raises ValueError otherwise.
    """
    SETTINGS = {"steps": check_int, "lr": check_positive, "momentum": check_rate}
    MOMENTS = "velocity",

    def __init__(self, params, lr=0.1, momentum=0.0):
        self.lr, self.momentum = lr, momentum
        super().__init__(params)

    def _update(self, chunk, g, lr, scale):
        velocity = self.velocity.flat[chunk]
        velocity *= self.momentum
        velocity += scale * g
        self.params.flat[chunk] -= lr * velocity


def chunks(part):
    """Slices of at most CHUNK numbers that make up `part`, a slice with a start and a stop."""
    return [slice(start, min(start + CHUNK, part.stop))
            for start in range(part.start, part.stop, CHUNK)]


def clip_factor(norm, limit):
    """What to multiply gradients of this norm by so that it is at most `limit`; 1 if it is."""
    return min(1.0, float(limit) / (norm + 1e-6))


@dataclass(frozen=True)
class WarmupCosine:
    """Step number 0, 1, 2, ... -> learning rate: up a line, then down half a cosine, as in nanoGPT.

    lr is reached at step `warmup`, if that is below `total`; `minimum` at step `total`, and kept
    from then on. Raises ValueError unless lr > 0, 0 <= minimum <= lr and 0 <= warmup <= total.
    """
    lr: float
    warmup: int
    total: int
    minimum: float

    def __post_init__(self):
        checks = {"lr": check_positive, "warmup": check_int, "total": check_int,
                  "minimum": check_not_negative}
        vars(self).update(check_each(checks, vars(self)))           # past the frozen __setattr__
        if self.minimum > self.lr:
            raise_value_error("minimum", self.minimum, f"a number in 0..lr = {self.lr}")
        if self.warmup > self.total:
            raise_value_error("warmup", self.warmup, f"a whole number in 0..total = {self.total}")

    def __call__(self, step):
        step = check_not_negative("step", step)
        if step < self.warmup:
            return self.lr * (step + 1) / (self.warmup + 1)
        if step >= self.total:
            return self.minimum
        progress = (step - self.warmup) / (self.total - self.warmup)
        return self.minimum + (self.lr - self.minimum) * (1 + cos(pi * progress)) / 2
