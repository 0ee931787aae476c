"""Training: the step from a batch to better parameters, on one core or on several."""
from math import isfinite, sqrt
from threading import Lock

import numpy as np

from ..checks import (
    check_generator, check_ids, check_not_negative, check_positive, check_size, check_targets,
    raise_value_error)
from ..model import GPT
from ..parameters import Parameters, check_shapes
from . import memory, parallel
from .blas import blas_threads, openblas
from .data import consecutive_batches
from .optim import Optimizer, clip_factor
from .worker import Worker


class Trainer:
    """Everything that one run changes, in one place.

    model, optimizer   its params are model.params
    schedule           step number -> learning rate; None: the optimizer's own
    clip               the global norm that gradients are clipped to; None: they are not
    threads            shards that the batch is split into, each taken by a Worker of its own, all
                       at once; None: one for each core, 32 at most, and 1 under a debugger. With 1,
                       all happens in the current thread of this process, by plain calls
    micro_batches      parts that the batch goes through the model in, one after the other: the same
                       gradient to rounding, with activations of one part at a time
    rng                Generator for dropout; None: no dropout
    grads              Parameters: the gradient of the last step

    All may be set to something else between steps. Several workers are processes forked at the
    first step, and run the code as it was then: a layer that is edited and loaded again while they
    live (an editor's autoreload) is the old one in them. Make a new Trainer. When you fork a process
    yourself, the workers end (the next step has new ones) and the new process has its own weights.

    Raises ValueError for an optimizer of other parameters, and for arguments other than described.
    """

    def __init__(self, model, optimizer, schedule=None, clip=1.0, threads=None, micro_batches=1,
                 rng=None):
        self.model, self.optimizer, self.schedule = model, optimizer, schedule
        self.clip, self.micro_batches, self.rng = clip, micro_batches, rng
        self.threads = parallel.worker_count(threads)
        self.check()
        vars(self).update(self.settings())
        self.grads = Parameters(model.config, model.params.flat.dtype)
        self.steps, self.half_updated = 0, False
        self._team, self._lock = None, Lock()
        memory.keep_freed_memory()
        openblas()                  # it is found here, and not while one steps through training

    def check(self):
        """Raise ValueError unless all attributes are as described and fit together."""
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
        self.settings()

    def settings(self):
        """Attribute name -> plain number, or ValueError for an attribute set to anything else."""
        return {"clip": None if self.clip is None else check_positive("clip", self.clip),
                "micro_batches": check_size("micro_batches", self.micro_batches)}

    def __repr__(self):
        names = ["threads", "micro_batches", "clip", "schedule", "optimizer"]
        settings = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"Trainer[{self.steps:,} steps]({settings})"

    def step(self, ids, targets):
        """One step on ids, targets (B, T) -> loss before it, norm of its gradient before clipping.

        Raises ValueError for bad arguments or attributes and FloatingPointError when loss or norm is
        not finite, changing nothing. Whatever else stops it before the update changes nothing either;
        what stops it during the update (a worker that was killed, Ctrl-C) leaves parameters of which
        some have moved and some have not: `half_updated` is True, and every later step raises
        RuntimeError.
        """
        if not self._lock.acquire(blocking=False):
            raise RuntimeError("step: another thread's step of this trainer is running")
        dropout = None
        try:
            self.refuse_half_updated()
            self.check()                    # attributes may have been set to something else
            check_shapes("grads", self.grads, self.model.config, self.model.params.flat.dtype)
            dropout = None if self.rng is None else self.rng.bit_generator.state
            lr = self.learning_rate()
            with blas_threads(1):
                loss, norm = self.gradients(ids, targets)
                self.check_finite(loss, norm)
                self.update(norm, lr)
        except BaseException:
            if dropout is not None and not self.half_updated:
                self.rng.bit_generator.state = dropout          # the same step can be tried again
            raise
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

    def check_finite(self, loss, norm):
        """Raise FloatingPointError unless both are finite."""
        if not (isfinite(loss) and isfinite(norm)):
            raise FloatingPointError(
                f"step {self.steps}: the loss is {loss} and the norm of its gradient {norm}, expected "
                "finite numbers; the parameters are as they were before it. Try a smaller learning "
                "rate, or clipping")

    def gradients(self, ids, targets):
        """ids, targets (B, T) -> loss, norm of its gradient; self.grads then holds that gradient.

        The batch goes through the model in micro-batches, each split into shards of sequences, one
        for each worker.
        """
        ids = check_ids(ids, self.model.config)
        targets = check_targets(targets, ids.shape, self.model.config.vocab_size)
        team, n_scored, loss = self.team(), np.count_nonzero(targets >= 0), 0.0
        for i, part in enumerate(parallel.even_slices(len(ids), self.micro_batches)):
            shards = [(ids[part][shard], targets[part][shard])
                      for shard in parallel.even_slices(len(ids[part]), len(team))]
            shards += [(ids[:0], targets[:0])] * (len(team) - len(shards))
            seeds = self.seeds(len(team))
            arguments = [(*shard, n_scored, seed, i == 0) for shard, seed in zip(shards, seeds)]
            loss += sum(team.call_each("accumulate", arguments))
        return loss, sqrt(sum(team.call("add_up")))

    def seeds(self, n):
        """n seeds of dropout, or n times None."""
        return [None] * n if self.rng is None else self.rng.integers(2**63, size=n).tolist()

    def update(self, norm, lr):
        """The optimizer's step along self.grads, of this norm, clipped."""
        scale = 1.0 if self.clip is None else clip_factor(norm, self.clip)
        settings = self.optimizer.settings()
        settings["steps"] += 1
        team = self.team()
        self.half_updated = True
        team.call("update", settings, lr, scale)
        self.steps += 1
        self.half_updated = False

    def team(self):
        """The workers, made when first asked for, and anew when attributes have been set since."""
        arrays = [self.model.params.flat, self.grads.flat, *self.optimizer.arrays().values()]
        members = [self.model, self.model.params, self.grads, self.optimizer, self.threads, *arrays]
        if (self._team is None or not self._team.alive
                or any(a is not b for a, b in zip(members, self._members))):
            gradients = [self.grads]
            for _ in range(1, self.threads):
                gradients.append(Parameters(self.model.config, self.grads.flat.dtype, memory.zeros))
            workers = [Worker(self.model, self.optimizer, gradients, i) for i in range(self.threads)]
            self._team, self._members = parallel.team(workers, arrays), members
        return self._team

    def __getstate__(self):
        own = "_team", "_members", "_lock"
        return {name: value for name, value in vars(self).items() if name not in own}

    def __setstate__(self, state):
        vars(self).update(state)
        self._team, self._lock = None, Lock()


def evaluate(model, tokens, B, T, threads=None):
    """Mean loss over tokens (N,), in sequences of T, B at a time for each worker; no dropout.

    Raises ValueError for threads below 1, and for tokens that are fewer than T + 1.
    """
    threads = parallel.worker_count(threads)
    memory.keep_freed_memory()
    batches = list(consecutive_batches(tokens, B, T))
    parts = parallel.even_slices(len(batches), threads)
    evaluators = [Evaluator(model, batches[part]) for part in parts]
    with blas_threads(1):
        results = parallel.team(evaluators, []).call("losses")
    losses, sizes = zip(*[pair for result in results for pair in result])
    return float(sum(losses) / sum(sizes))


class Evaluator:
    """One of the workers that evaluate a model together: it has some of the batches."""

    def __init__(self, model, batches):
        self.model, self.batches = model, batches

    def losses(self):
        """(sum of losses, how many) of each batch."""
        with np.errstate(all="ignore"):     # as in training: what is not finite makes the loss so
            return [(self.model.forward(ids, targets)[1] * targets.size, targets.size)
                    for ids, targets in self.batches]
