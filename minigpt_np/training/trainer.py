"""Training: the step from a batch to better parameters, on one core or on several."""
from math import isfinite, sqrt
from threading import Lock

import numpy as np

from ..checks import (
    check_generator, check_ids, check_not_negative, check_positive, check_size, check_targets, raise_value_error)
from ..model import GPT
from ..parameters import Parameters
from . import memory, parallel
from .blas import blas_threads, openblas
from .data import consecutive_batches
from .optim import Optimizer, chunks, clip_factor, squares_of
from .worker import Worker, accumulate


class Trainer:
    """Everything that one run changes, in one place.

    model, optimizer   its params are model.params
    schedule           step number -> learning rate; None: the optimizer's own
    clip               the global norm that gradients are clipped to; None: they are not
    threads            shards that the batch is split into, each taken by a Worker of its own, all at
                       once; None: one for each core, and 1 under a debugger. With 1, all happens in
                       the current thread of this process, by plain calls
    micro_batches      parts that the batch goes through the model in, one after the other: the same
                       gradient to rounding, with activations of one part at a time
    rng                Generator for dropout; None: no dropout
    grads              Parameters: the gradient of the last step

    With several threads the model's weights are shared memory from the first step until the trainer
    is gone: a process that you fork meanwhile writes into the same weights (copy.deepcopy(model) has
    weights of its own). Workers run the code as it was at the first step: a layer that is edited and
    loaded again while they live (an editor's autoreload) is the old one in them. Make a new Trainer.

    Raises ValueError for an optimizer of other parameters, and for arguments other than described.
    """

    def __init__(self, model, optimizer, schedule=None, clip=1.0, threads=None, micro_batches=1, rng=None):
        if not isinstance(model, GPT):
            raise_value_error("model", model, "a GPT")
        check_trainable(model.params.flat.dtype)
        if not isinstance(optimizer, Optimizer):
            raise_value_error("optimizer", optimizer, "an optimizer, such as AdamW(model.params)")
        if optimizer.params is not model.params:
            raise ValueError("optimizer: one of other parameters given, expected the model's own, model.params")
        if schedule is not None and not callable(schedule):
            raise_value_error("schedule", schedule, "a function of the step's number, such as a WarmupCosine, or None")
        self.model, self.optimizer, self.schedule = model, optimizer, schedule
        self.clip, self.micro_batches = clip, micro_batches
        self.check_settings()
        self.threads = parallel.worker_count(threads)
        self.rng = None if rng is None else check_generator("rng", rng)
        memory.keep_freed_memory()
        openblas()                  # it is found here, not on the way from the first step to the optimizer
        self.steps, self.half_updated = 0, False
        self.grads = Parameters(model.config, model.params.flat.dtype)
        self._team, self._lock = None, Lock()

    def __repr__(self):
        names = ["threads", "micro_batches", "clip", "schedule", "optimizer"]
        settings = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"Trainer[{self.steps:,} steps]({settings})"

    def step(self, ids, targets):
        """One step on ids, targets (B, T) -> loss before it, global norm of its gradient before clipping.

        Raises FloatingPointError, changing nothing, when either is not finite. Whatever else stops it
        before the update changes nothing either; what stops it during the update (a worker that was
        killed, Ctrl-C) leaves parameters of which some have moved and some have not: `half_updated` is
        True, and every later step raises RuntimeError.
        """
        if not self._lock.acquire(blocking=False):
            raise RuntimeError("step: called while another thread's step of this trainer is running")
        dropout = None if self.rng is None else self.rng.bit_generator.state
        try:
            self.refuse_half_updated()
            self.check_settings()
            lr, settings = self.learning_rate(), self.optimizer.settings()
            with blas_threads(1):
                loss, norm = self.gradients(ids, targets)
                self.check_finite(loss, norm)
                self.update(norm, lr, settings)
        except BaseException:
            if dropout is not None and not self.half_updated:
                self.rng.bit_generator.state = dropout          # the same step can be tried again
            raise
        finally:
            self._lock.release()
        return loss, norm

    def check_settings(self):
        """Turn the settings that may be changed between steps into plain Python numbers, or raise ValueError."""
        self.clip = None if self.clip is None else check_positive("clip", self.clip)
        self.micro_batches = check_size("micro_batches", self.micro_batches)

    def learning_rate(self):
        """What the schedule says for the next step, or the optimizer's own."""
        if self.schedule is None:
            return check_positive("lr", self.optimizer.lr)
        return check_not_negative(f"schedule({self.steps})", self.schedule(self.steps))

    def refuse_half_updated(self):
        """Raise RuntimeError after a step that was stopped in the middle of its update."""
        if self.half_updated:
            raise RuntimeError("an earlier step was stopped in the middle of its update: some parameters have moved, "
                               "some have not. Go on from a checkpoint")

    def check_finite(self, loss, norm):
        """Raise FloatingPointError unless both are finite."""
        if not (isfinite(loss) and isfinite(norm)):
            raise FloatingPointError(
                f"step {self.steps}: the loss is {loss} and the norm of its gradient {norm}, expected finite numbers; "
                "the parameters are as they were before it. Try a smaller learning rate, or clipping")

    def update(self, norm, lr, settings):
        """The optimizer's step along self.grads, of this norm, clipped; settings are the optimizer's."""
        scale = 1.0 if self.clip is None else clip_factor(norm, self.clip)
        settings["steps"] += 1
        team = None if self.threads == 1 else self.team()
        self.half_updated = True
        if team is None:
            self.optimizer.steps = settings["steps"]
            self.optimizer.update(self.grads, lr, scale)
        else:
            team.call("update", settings, lr, scale)
        self.steps += 1
        self.half_updated = False

    def gradients(self, ids, targets):
        """ids, targets (B, T) -> loss, global norm of its gradient; self.grads then holds that gradient.

        The batch goes through the model in micro-batches, each split into shards of sequences, one a
        worker.
        """
        ids = check_ids(ids, self.model.config)
        targets = check_targets(targets, ids.shape, self.model.config.vocab_size)
        batches = [(ids[part], targets[part]) for part in parallel.even_slices(len(ids), self.micro_batches)]
        n_scored = np.count_nonzero(targets >= 0)
        if self.threads == 1:
            return self._gradients_here(batches, n_scored)
        return self._gradients_of_team(batches, n_scored)

    def _gradients_here(self, batches, n_scored):
        """gradients, all of it in the current thread."""
        self.grads.flat[:] = 0
        loss = 0.0
        for ids, targets in batches:
            seed, = self.seeds(1)
            loss += accumulate(self.model, self.grads, ids, targets, n_scored, seed)
        return loss, norm_of(self.grads.flat)

    def _gradients_of_team(self, batches, n_scored):
        """gradients, a shard of each batch a worker."""
        team, loss = self.team(), 0.0
        for i, (ids, targets) in enumerate(batches):
            shards = [(ids[part], targets[part]) for part in parallel.even_slices(len(ids), len(team))]
            shards += [(ids[:0], targets[:0])] * (len(team) - len(shards))
            arguments = [(*shard, n_scored, seed, i == 0) for shard, seed in zip(shards, self.seeds(len(team)))]
            loss += sum(team.call_each("gradients", arguments))
        return loss, sqrt(sum(team.call("add")))

    def seeds(self, n):
        """n seeds of dropout, or n times None."""
        return [None] * n if self.rng is None else self.rng.integers(2**63, size=n).tolist()

    def team(self):
        """The workers, made when first asked for, and anew for another model or optimizer."""
        arrays = [self.model.params.flat, self.grads.flat, *self.optimizer.arrays().values()]
        members = [self.model, self.model.params, self.grads, self.optimizer, *arrays]
        if self._team is None or not self._team.alive or any(a is not b for a, b in zip(members, self._members)):
            config, dtype = self.model.config, self.model.params.flat.dtype
            local_gradients = [Parameters(config, dtype, memory.zeros) for _ in range(self.threads)]
            workers = [Worker(self.model, self.grads, self.optimizer, i, local_gradients) for i in range(self.threads)]
            self._team = parallel.team(workers, [*arrays, *(local.flat for local in local_gradients)])
            self._members = members
        return self._team

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name not in ("_team", "_members", "_lock")}

    def __setstate__(self, state):
        vars(self).update(state)
        self._team, self._lock = None, Lock()


def check_trainable(dtype):
    """Raise ValueError for a dtype that cannot be trained."""
    if dtype.kind != "f" or dtype.itemsize < 4:     # float16: gradients below 6e-8 are 0, squares of those below 2e-4
        raise ValueError(f"model: of {dtype} given, expected float32 or float64")


def norm_of(flat):
    """The Euclidean norm of flat (n,), its squares added up in float64, a chunk at a time."""
    return sqrt(sum(squares_of(flat[chunk]) for chunk in chunks(0, flat.size)))


def evaluate(model, tokens, B, T, threads=None):
    """Mean loss over all of tokens (N,), in sequences of T, B at a time for each of `threads` workers; no dropout.

    Raises ValueError for threads below 1, and for tokens that are fewer than T + 1.
    """
    threads = parallel.worker_count(threads)
    memory.keep_freed_memory()
    batches = list(consecutive_batches(tokens, B, T))
    evaluators = [Evaluator(model, batches[part]) for part in parallel.even_slices(len(batches), threads)]
    with blas_threads(1):
        if len(evaluators) == 1:
            results = [evaluators[0].losses()]
        else:
            results = parallel.team(evaluators, []).call("losses")
    losses, sizes = zip(*[pair for result in results for pair in result])
    return float(sum(losses) / sum(sizes))


class Evaluator:
    """One of the workers that evaluate a model together: it has some of the batches."""

    def __init__(self, model, batches):
        self.model, self.batches = model, batches

    def losses(self):
        """(sum of losses, how many) of each batch."""
        with np.errstate(all="ignore"):         # as in training: what is not finite makes the loss so
            return [(self.model.forward(ids, targets)[1] * targets.size, targets.size) for ids, targets in self.batches]
