"""Training: a batch's loss and gradient on several threads, and the step that uses them."""
import numpy as np

from . import parallel
from .data import consecutive_batches
from .model import check_ids, check_targets
from .optim import clip_factor, global_norm
from .parameters import Parameters


class Trainer:
    """Everything that one run changes, in one place.

    model, optimizer   its params are model.params
    schedule           step number -> learning rate; None: the optimizer's own
    clip               the global norm that gradients are clipped to; None: they are not
    threads            shards that the batch is split into, each on a thread; None: one for each core
    micro_batches      pieces that the batch goes through the model in, one after the other: the same
                       gradient to rounding, with activations of one piece at a time
    rng                Generator for dropout; None: no dropout
    """

    def __init__(self, model, optimizer, schedule=None, clip=1.0, threads=None, micro_batches=1, rng=None):
        parallel.keep_freed_memory()
        self.model, self.optimizer, self.schedule, self.clip, self.rng = model, optimizer, schedule, clip, rng
        self.threads = threads or parallel.cores()
        self.micro_batches = micro_batches
        self.steps = 0
        self.grads = [Parameters(model.config, model.params.flat.dtype) for _ in range(self.threads)]

    def step(self, ids, targets):
        """One step on ids, targets (B, T) -> loss before it, global norm of its gradient before clipping."""
        with parallel.blas_threads(1):
            loss = self.gradients(ids, targets)
            norm = global_norm(self.grads[0], self.threads)
            scale = 1.0 if self.clip is None else clip_factor(norm, self.clip)
            lr = self.schedule(self.steps) if self.schedule else None
            self.optimizer.step(self.grads[0], lr, scale, self.threads)
        self.steps += 1
        return loss, norm

    def gradients(self, ids, targets):
        """The loss of the whole batch; its gradient is in self.grads[0] afterwards."""
        return loss_and_gradients(self.model, ids, targets, self.grads, self.rng, self.micro_batches)


def loss_and_gradients(model, ids, targets, grads, rng=None, micro_batches=1):
    """loss of ids, targets (B, T); its gradient is in grads[0] afterwards.

    grads: a list of Parameters, one for each thread. The batch is split into shards of sequences,
    one a thread, and the loss is a mean over all scored positions: so each shard's loss counts by
    its share of them, and the gradients with those weights simply add up.
    """
    ids = check_ids(ids, model.config)
    targets = check_targets(targets, ids.shape, model.config.vocab_size)
    n_scored = np.count_nonzero(targets >= 0)
    shards = parallel.shares(len(ids), len(grads))
    rngs = [None] * len(shards) if rng is None else [np.random.default_rng(s) for s in rng.integers(2**63, size=len(shards))]

    def work(shard, g, shard_rng):
        g.flat[:] = 0
        loss = 0.0
        for piece in parallel.shares(shard.stop - shard.start, micro_batches):
            rows = slice(shard.start + piece.start, shard.start + piece.stop)
            weight = np.count_nonzero(targets[rows] >= 0) / n_scored
            if weight > 0:
                _, piece_loss, cache = model.forward(ids[rows], targets[rows], shard_rng)
                model.backward(cache, g, weight)
                loss += weight * float(piece_loss)
        return loss

    losses = parallel.run([lambda s=s, g=g, r=r: work(s, g, r) for s, g, r in zip(shards, grads, rngs)])
    add_up([g.flat for g in grads[:len(shards)]])
    return sum(losses)


def add_up(flats):
    """Add all arrays (n,) into the first, each thread a stretch of it."""
    total, *others = flats

    def work(stretch):
        for other in others:
            total[stretch] += other[stretch]

    parallel.run([lambda s=s: work(s) for s in parallel.shares(len(total), len(flats))])


def evaluate(model, tokens, B, T, threads=None):
    """Mean loss over all of tokens (N,), in stretches of T, B at a time on each thread; no dropout."""
    batches = list(consecutive_batches(tokens, B, T))

    def work(share):
        return [(model.forward(ids, targets)[1] * targets.size, targets.size) for ids, targets in batches[share]]

    with parallel.blas_threads(1):
        found = parallel.run([lambda s=s: work(s)
                              for s in parallel.shares(len(batches), threads or parallel.cores())])
    losses, sizes = zip(*[pair for part in found for pair in part])
    return float(sum(losses) / sum(sizes))
