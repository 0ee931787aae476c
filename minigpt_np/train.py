"""Training: a batch's loss and gradient on several threads, and the step that uses them."""
import numpy as np

from . import parallel
from .data import consecutive_batches
from .layers import linear, lookup
from .model import check_ids, check_targets
from .optim import clip_factor, global_norm
from .parameters import Names, Parameters, shapes


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
        self.grads = Parameters(model.config, model.params.flat.dtype)

    def step(self, ids, targets):
        """One step on ids, targets (B, T) -> loss before it, global norm of its gradient before clipping."""
        with parallel.blas_threads(1):
            loss = loss_and_gradients(self.model, ids, targets, self.grads, self.threads, self.micro_batches, self.rng)
            norm = global_norm(self.grads, self.threads)
            scale = 1.0 if self.clip is None else clip_factor(norm, self.clip)
            lr = self.schedule(self.steps) if self.schedule else None
            self.optimizer.step(self.grads, lr, scale, self.threads)
        self.steps += 1
        return loss, norm


def loss_and_gradients(model, ids, targets, grads, threads=1, micro_batches=1, rng=None):
    """loss of ids, targets (B, T); `grads` (Parameters) then holds its gradient, whatever it held.

    The batch goes through the model in micro-batches, each split into shards of sequences, one a
    thread. The loss is a mean over all scored positions; so a shard's loss counts by its share of
    them, and the gradients with those weights simply add up. rng as for GPT.forward.
    """
    ids = check_ids(ids, model.config)
    targets = check_targets(targets, ids.shape, model.config.vocab_size)
    n_scored = np.count_nonzero(targets >= 0)

    def work(rows, g, shard_rng):
        weight = np.count_nonzero(targets[rows] >= 0) / n_scored
        if weight == 0:
            return 0.0
        _, loss, cache = model.forward(ids[rows], targets[rows], shard_rng)
        model.backward(cache, g, weight)
        return weight * float(loss)

    loss, fresh = 0.0, True         # fresh: what grads holds does not count yet
    for piece in parallel.shares(len(ids), micro_batches):
        if targets[piece].max() < 0:
            continue
        shards = [slice(piece.start + s.start, piece.start + s.stop)
                  for s in parallel.shares(piece.stop - piece.start, threads)]
        rngs = [None] * len(shards) if rng is None else spawn(rng, len(shards))
        if len(shards) == 1:
            if fresh:
                grads.flat[:] = 0
            loss += work(shards[0], grads, rngs[0])
            fresh = False
            continue
        notes = [Notes(model.config, grads.flat.dtype) for _ in shards]
        loss += sum(parallel.run([lambda s=s, n=n, r=r: work(s, n, r) for s, n, r in zip(shards, notes, rngs)]))
        add_notes(grads, notes, threads, fresh)
        fresh = False
    return loss


class Notes(Names):
    """The gradients of one shard of several: what the large arrays are to be sums of, in lists.

    Two threads must not add to one array at once, and an array for each thread costs memory and a
    pass over all of it. So E, the head and every W are lists here, of the (a, b) with dW = sum of
    aᵀ b (see linear.add_product; a may be ids, see lookup.add_rows); the rest are small arrays.
    Tied, head is E here, too: one list, which gets a note from each of its uses.
    """

    def __init__(self, config, dtype):
        super().__init__(config, {name: [] if is_weight(name) else np.zeros(shape, dtype)
                                  for name, shape in shapes(config).items()})


def is_weight(name):
    """Whether the array is the factor of a product, or E."""
    return name.endswith(".W") or name in ("E", "head")


def add_notes(grads, notes, threads, fresh):
    """Add every shard's Notes into grads (Parameters), always in the order of the shards.

    fresh: what grads holds is to be written over instead, which saves a pass of zeros over it. A
    job is a band of rows of one array. Each thread takes the next one that nobody has taken; the
    result does not depend on who took it.
    """
    jobs, lookups = [], []
    for name, total in grads.arrays.items():
        parts = [n.arrays[name] for n in notes]
        if not is_weight(name):
            total[...] = sum(parts) if fresh else total + sum(parts)
            continue
        pairs = [pair for part in parts for pair in part]
        products = [pair for pair in pairs if pair[0].ndim == 2]
        lookups += [(total, *pair) for pair in pairs if pair[0].ndim == 1]
        jobs += [(total[rows], rows, products) for rows in linear.bands(total)]
    jobs = iter(jobs)

    def work():
        for band, rows, products in jobs:
            add_band(band, rows, products, fresh)

    parallel.run([work] * threads)
    for total, ids, dx in lookups:
        lookup.add_rows(total, ids, dx)


def add_band(band, rows, products, fresh):
    """band += sum of (aᵀ b)[rows] over products (a, b); fresh: band = that sum."""
    if fresh and not products:
        band[...] = 0
    for i, (a, b) in enumerate(products):
        if fresh and i == 0:
            np.matmul(a[:, rows].T, b, out=band)
        else:
            band += a[:, rows].T @ b


def spawn(rng, n):
    """n Generators, seeded by draws from rng: its own state tells all that is to come."""
    return [np.random.default_rng(seed) for seed in rng.integers(2**63, size=n)]


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
