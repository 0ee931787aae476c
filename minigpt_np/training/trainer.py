"""Training: the step from a batch to better parameters, on one core or on several."""
from copy import deepcopy
from functools import partial
from math import isfinite, sqrt
from operator import is_
from threading import Lock

import numpy as np

from ..checks import (
    check_each, check_generator, check_ids, check_int, check_not_negative, check_positive,
    check_size, check_targets, raise_value_error)
from ..model import GPT
from ..parameters import Parameters, check_shapes
from . import memory, parallel
from .blas import blas_threads
from .data import consecutive_batches
from .optim import Optimizer, clip_factor
from .worker import Worker


def check_clip(name, value):
    """A float above 0, or None."""
    return None if value is None else check_positive(name, value)


class Trainer:
    """Everything that one run changes, in one place.

    step:   gradients -> Worker.accumulate for each micro-batch, then Worker.add_up
            update    -> Worker.update
    Each of these is called on all workers at once, the first worker's in this process and thread.

    model, optimizer   its params are model.params
    schedule           step number -> learning rate; None: the optimizer's own
    clip               the global norm that gradients are clipped to; None: they are not
    threads            how many workers, each with its shard of the batch; None: one for each core,
                       32 at most, and 1 under a debugger. 1: plain calls in this thread
    micro_batches      parts that the batch goes through the model in, one after the other: the same
                       gradient to rounding, with activations of one part at a time
    rng                Generator for dropout; None: no dropout
    grads              Parameters: the gradient of the last step
    steps              how many were taken

    All may be set to something else between steps. Several workers are processes forked at the
    first step, and run the code as it was then: after a layer has been edited and loaded again (an
    editor's autoreload), make a new Trainer.

    Raises ValueError for an optimizer of other parameters, and for arguments of another kind.
    """
    SETTINGS = {"steps": check_int, "clip": check_clip, "micro_batches": check_size}

    def __init__(self, model, optimizer, schedule=None, clip=1.0, threads=None, micro_batches=1,
                 rng=None):
        self.model, self.optimizer, self.schedule = model, optimizer, schedule
        self.clip, self.micro_batches, self.rng = clip, micro_batches, rng
        self.threads, self.steps, self.half_updated = parallel.worker_count(threads), 0, False
        self._team, self._lock = None, Lock()
        vars(self).update(self.check())             # NumPy's numbers become Python's
        self.grads = Parameters(model.config, model.params.flat.dtype)
        memory.keep_freed_memory()

    def check(self):
        """SETTINGS as plain numbers, or ValueError unless all attributes fit together."""
        model, optimizer = self.model, self.optimizer
        if not isinstance(model, GPT):
            raise_value_error("model", model, "a GPT")
        check_shapes("model.params", model.params, model.config)
        if model.params.flat.dtype.kind != "f":
            raise ValueError(
                f"model: of {model.params.flat.dtype} given, expected float32 or float64")
        if not isinstance(optimizer, Optimizer):
            raise_value_error("optimizer", optimizer, "an optimizer, such as AdamW(model.params)")
        if optimizer.params is not model.params:
            raise ValueError(
                "optimizer: one of other parameters given, expected the model's own, model.params")
        optimizer.check()
        if self.schedule is not None and not callable(self.schedule):
            raise_value_error("schedule", self.schedule,
                              "a function of the step's number, such as a WarmupCosine, or None")
        if self.rng is not None:
            check_generator("rng", self.rng)
        check_size("threads", self.threads)
        return check_each(self.SETTINGS, vars(self))

    def __repr__(self):
        names = ["threads", "micro_batches", "clip", "schedule", "optimizer"]
        settings = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"Trainer[{self.steps:,} steps]({settings})"

    def step(self, ids, targets):
        """One step on ids, targets (B, T) -> loss before it, norm of its gradient before clipping.

        Raises ValueError for bad arguments or attributes, and FloatingPointError when loss or norm
        is not finite. A step that raises has changed nothing, unless it was stopped during the
        update (Ctrl-C, a worker that was killed). Then some parameters have moved and some have
        not, `half_updated` is True, and every later step raises RuntimeError.
        """
        if not self._lock.acquire(blocking=False):
            raise RuntimeError("step: another thread's step of this trainer is running")
        try:
            self.refuse_half_updated()
            vars(self).update(self.check())     # attributes may have been set to something else
            check_shapes("grads", self.grads, self.model.config, self.model.params.flat.dtype)
            lr, rng = self.learning_rate(), self.rng and deepcopy(self.rng)
            with blas_threads(1):
                loss, norm = self.gradients(ids, targets, rng)
                if not (isfinite(loss) and isfinite(norm)):
                    raise FloatingPointError(
                        f"step {self.steps}: the loss is {loss} and the norm of its gradient {norm}"
                        ", expected finite numbers; the parameters are as they were before it. Try "
                        "a smaller learning rate, or clipping")
                self.update(norm, lr)
            if rng is not None:             # a step that fails can be tried again with this rng
                self.rng.bit_generator.state = rng.bit_generator.state
        finally:
            self._lock.release()
        return loss, norm

    def learning_rate(self):
        """What the schedule says for the next step, or the optimizer's own."""
        if self.schedule is None:
            return check_positive("lr", self.optimizer.lr)
        return check_not_negative(f"schedule({self.steps})", self.schedule(self.steps))

    def refuse_half_updated(self):
        """Raise RuntimeError after a step that was stopped in the middle of its update."""
        if self.half_updated:
            raise RuntimeError("an earlier step was stopped in the middle of its update: some "
                               "parameters have moved, some have not. Go on from a checkpoint")

    def gradients(self, ids, targets, rng=None):
        """ids, targets (B, T) -> loss, norm of its gradient; self.grads then holds that gradient.

        The batch goes through the model in micro-batches, of which each worker takes its shard.
        """
        ids = check_ids(ids, self.model.config)
        if targets is None:
            raise_value_error("targets", targets, f"integers of ids' shape, {ids.shape}")
        targets = check_targets(targets, ids.shape, self.model.config.vocab_size)
        team, n_scored, loss = self.team(), np.count_nonzero(targets >= 0), 0.0
        parts = parallel.even_slices(len(ids), min(self.micro_batches, len(ids)))
        for i, part in enumerate(parts):
            seeds = None if rng is None else rng.integers(2**63, size=self.threads)
            loss += sum(team.call("accumulate", ids[part], targets[part], n_scored, seeds, i == 0))
        return loss, sqrt(sum(team.call("add_up")))

    def update(self, norm, lr):
        """The optimizer's step along self.grads, of this norm, clipped."""
        scale = 1.0 if self.clip is None else clip_factor(norm, self.clip)
        settings = self.optimizer.check()
        settings["steps"] += 1
        team = self.team()
        self.half_updated = True
        team.call("update", settings, lr, scale)
        self.steps += 1
        self.half_updated = False

    def team(self):
        """The workers, made at the first call, and again when attributes have been set since."""
        arrays = [self.model.params.flat, self.grads.flat, *self.optimizer.arrays().values()]
        made_of = [self.model, self.model.config, self.optimizer, self.threads, *arrays]
        if not (self._team and self._team.alive and all(map(is_, made_of, self._made_of))):
            gradients = [self.grads]
            for _ in range(1, self.threads):
                gradients.append(Parameters(self.model.config, self.grads.flat.dtype, memory.zeros))
            workers = [Worker(self.model, self.optimizer, gradients, i)
                       for i in range(self.threads)]
            self._team, self._made_of = parallel.team(workers, arrays), made_of
        return self._team

    def __getstate__(self):
        own = "_team", "_made_of", "_lock"
        return {name: value for name, value in vars(self).items() if name not in own}

    def __setstate__(self, state):
        vars(self).update(state)
        self._team, self._lock = None, Lock()


def evaluate(model, tokens, B, T, threads=None):
    """Mean loss over tokens (N,), in sequences of T, B at a time for each worker; no dropout.

    model   a GPT, or any object with a method forward(ids, targets) like its own
    Raises ValueError for anything else, for threads below 1, and for tokens fewer than T + 1.
    """
    if not hasattr(model, "forward"):
        raise_value_error("model", model, "a GPT, or an object with such a forward")
    threads = parallel.worker_count(threads)
    memory.keep_freed_memory()
    batches = list(consecutive_batches(tokens, B, T))
    parts = parallel.even_slices(len(batches), min(threads, len(batches)))
    with blas_threads(1):
        team = parallel.team([partial(sum_of_losses, model, batches[part]) for part in parts])
        total = sum(team.call("__call__"))
    return float(total / sum(targets.size for _, targets in batches))


def sum_of_losses(model, batches):
    """The sum over all targets of the batches."""
    with np.errstate(all="ignore"):         # as in training: what is not finite makes the loss so
        return sum(model.forward(ids, targets)[1] * targets.size for ids, targets in batches)
