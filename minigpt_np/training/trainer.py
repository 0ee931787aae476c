"""Training: a batch's gradient, made by several workers together, and the step that uses it."""
from math import sqrt

import numpy as np

from . import parallel, shared_memory
from .data import consecutive_batches
from ..layers import linear, lookup
from ..checks import check_ids, check_targets
from .optim import check_positive, clip_factor, stretches
from ..parameters import Names, Parameters


class Trainer:
    """Everything that one run changes, in one place.

    model, optimizer   its params are model.params
    schedule           step number -> learning rate; None: the optimizer's own
    clip               the global norm that gradients are clipped to; None: they are not
    threads            shards that the batch is split into, each taken by a Worker of its own, all at
                       once (see parallel.team); None: one for each core. With 1, all happens in this
                       thread of this process: the choice for a debugger
    micro_batches      pieces that the batch goes through the model in, one after the other: the same
                       gradient to rounding, with activations of one piece at a time
    rng                Generator for dropout; None: no dropout
    grads              Parameters: the gradient of the last step
    Raises ValueError for an optimizer of other parameters, and for numbers that are not positive.
    """

    def __init__(self, model, optimizer, schedule=None, clip=1.0, threads=None, micro_batches=1, rng=None):
        if optimizer.params is not model.params:
            raise ValueError("optimizer: one of other parameters given, expected the model's own, model.params")
        if clip is not None:
            check_positive("clip", clip)
        check_positive("micro_batches", micro_batches)
        self.model, self.optimizer, self.schedule, self.clip, self.rng = model, optimizer, schedule, clip, rng
        self.threads = checked(threads)
        self.micro_batches = micro_batches
        parallel.keep_freed_memory()
        self.steps = 0
        self.grads = Parameters(model.config, model.params.flat.dtype, shared_memory.zeros)
        self._team = None

    def step(self, ids, targets):
        """One step on ids, targets (B, T) -> loss before it, global norm of its gradient before clipping."""
        with parallel.blas_threads(1):
            loss, norm = self.gradients(ids, targets)
            scale = 1.0 if self.clip is None else clip_factor(norm, self.clip)
            lr = self.schedule(self.steps) if self.schedule else None
            self.optimizer.steps += 1
            self.team().call("update", self.optimizer.settings(), lr, scale)
        self.steps += 1
        return loss, norm

    def gradients(self, ids, targets):
        """ids, targets (B, T) -> loss, global norm of its gradient; self.grads then holds that.

        The batch goes through the model in micro-batches, each split into shards of sequences, one a
        worker. The loss is a mean over all scored positions; so a shard's loss counts by its share of
        them, and the gradients with those weights simply add up.
        """
        ids = check_ids(ids, self.model.config)
        targets = check_targets(targets, ids.shape, self.model.config.vocab_size)
        n_scored = np.count_nonzero(targets >= 0)
        team = self.team()

        loss, fresh = 0.0, True         # fresh: what grads holds does not count yet
        for piece in parallel.shares(len(ids), self.micro_batches):
            read, said = ids[piece], targets[piece]
            shards = [(read[s], said[s]) for s in parallel.shares(len(read), len(team))]
            shards += [(ids[:0], targets[:0])] * (len(team) - len(shards))
            seeds = [None] * len(team) if self.rng is None else self.rng.integers(2**63, size=len(team)).tolist()
            found = team.call_each("gradients", [(*shard, n_scored, seed, fresh) for shard, seed in zip(shards, seeds)])
            losses, squares = zip(*found)
            for turn in range(1, len(team)):
                squares = team.call("add", turn, fresh)
            loss += sum(losses)
            fresh = False
        return loss, sqrt(sum(squares))

    def team(self):
        """The workers, made when first asked for, and anew for another model or optimizer."""
        held = (self.model, self.model.params, self.optimizer)
        if self._team is None or not self._team.alive or any(a is not b for a, b in zip(held, self._held)):
            n, config, dtype = self.threads, self.model.config, self.model.params.flat.dtype
            owns = [self.grads] if n == 1 else [Notes(config, dtype) for _ in range(n)]
            workers = [Worker(self.model, self.grads, self.optimizer, i, owns) for i in range(n)]
            self._team = parallel.team(workers, [self.model.params.flat, self.grads.flat, *self.optimizer.arrays().values(),
                                                 *(own.flat for own in owns)])
            self._held = held
        return self._team


class Worker:
    """One of n that take a step together: each its shard of the batch, then its share of all parameters.

    Two workers must not add to one array at once. So each makes the gradient of its shard apart
    (owns, all of them Notes), and they are added to the common one (grads) afterwards, share by share:
    in turn t worker i is at share i + t (mod n), adds the products that it has noted, and in the last
    turn what all have summed. No share has two workers at it, and each gets its terms in the same
    order every time: the same bits. A worker alone adds at once: owns is [grads].
    """

    def __init__(self, model, grads, optimizer, index, owns):
        self.model, self.grads, self.optimizer, self.index, self.owns = model, grads, optimizer, index, owns
        self.own, self.n = owns[index], len(owns)
        self.shares = split(grads, self.n)

    def gradients(self, ids, targets, n_scored, seed, fresh):
        """This shard's part of the loss; its gradient, and the first turn of adding: its squares.

        seed    for dropout; None: none.    fresh   what the common gradient holds does not count
        """
        if self.n > 1:
            self.own.clear()
        elif fresh:
            self.grads.flat[:] = 0
        weight = np.count_nonzero(targets >= 0) / n_scored
        loss = 0.0
        if weight > 0:
            rng = None if seed is None else np.random.default_rng(seed)
            _, loss, cache = self.model.forward(ids, targets, rng)
            self.model.backward(cache, self.own, weight)
        return weight * float(loss), self.add(0, fresh)

    def add(self, turn, fresh):
        """Add to the share whose turn it is; fresh: over what was there before the first turn.

        Returns the sum of its squares (added in float64), if that was the last; or 0.
        """
        found = 0.0
        for part, name, rows in self.shares[(self.index + turn) % self.n]:
            if self.n > 1 and name is not None:
                add_products(self.grads.arrays[name][rows], rows, self.own.arrays[name], fresh and turn == 0)
            if turn < self.n - 1:
                continue
            for stretch in stretches(part.start, part.stop):
                total = self.grads.flat[stretch]
                if self.n > 1 and name is None:
                    add_terms(total, [own.flat[stretch] for own in self.owns], fresh)
                found += float(total @ total)
        return found

    def update(self, settings, lr, scale):
        """The optimizer's step on this worker's share of the parameters."""
        vars(self.optimizer).update(settings)
        self.optimizer.update(self.grads, lr, scale, self.index, self.n)


class Notes(Parameters):
    """The gradient of one shard of several: arrays to add to, but for the largest, which are lists.

    To hold those once more for each worker would cost too much memory. Their lists take the (a, b)
    with dW = sum of aᵀ b (see linear.add_product; a may be ids, see lookup.add_rows). Tied, head is
    E here, too: one list, which gets a note from each of its uses.
    """

    def __init__(self, config, dtype):
        super().__init__(config, dtype, shared_memory.zeros)         # the system gives no memory for what is never touched
        self.parts = [part for part, name, _ in split(self, 1)[0] if name is None]
        Names.__init__(self, config, {name: [] if is_noted(name, array) else array
                                      for name, array in self.arrays.items()})

    def clear(self):
        """All zeros, and nothing noted."""
        for part in self.parts:
            self.flat[part] = 0
        for array in self.arrays.values():
            if isinstance(array, list):
                array.clear()


LARGE = 1 << 20             # numbers


def is_noted(name, array):
    """Whether the array is large, and the factor of products or E: the sum of what can be noted."""
    return array.size > LARGE and (name.endswith(".W") or name in ("E", "head"))


def split(params, n):
    """params.flat in n shares of about the same size: lists of (slice of flat, name, rows).

    Either name is None, and all of the slice belongs to arrays that are not noted; or it is the
    array's of which these rows are noted.
    """
    shares, size = [[] for _ in range(n)], params.flat.size
    bounds = [i * size // n for i in range(n + 1)]
    for name, place in params.places.items():
        array = params.arrays[name]
        if is_noted(name, array):
            for rows in linear.bands(*array.shape, linear.BAND):
                start, stop = (place.start + row * array.shape[1] for row in (rows.start, rows.stop))
                shares[start * n // size].append((slice(start, stop), name, rows))
            continue
        for share, low, high in zip(shares, bounds, bounds[1:]):
            start, stop = max(place.start, low), min(place.stop, high)
            if start < stop and share and share[-1][0].stop == start and share[-1][1] is None:
                start = share.pop()[0].start
            if start < stop:
                share.append((slice(start, stop), None, None))
    return shares


def add_products(total, rows, noted, fresh):
    """total += those rows of the sum of aᵀ b over all (a, b) noted for an array; fresh: total = that."""
    for a, b in noted:
        if a.ndim == 2 and fresh:
            np.matmul(a[:, rows].T, b, out=total)
        elif a.ndim == 2:
            total += a[:, rows].T @ b
        else:
            if fresh:
                total[...] = 0
            inside = (a >= rows.start) & (a < rows.stop)
            lookup.add_rows(total, a[inside] - rows.start, b[inside])
        fresh = False
    if fresh:
        total[...] = 0


def add_terms(total, terms, fresh):
    """total += the sum of all terms; fresh: total = that."""
    for term in terms:
        np.add(0 if fresh else total, term, out=total)
        fresh = False


def evaluate(model, tokens, B, T, threads=None):
    """Mean loss over all of tokens (N,), in stretches of T, B at a time for each of `threads` workers; no dropout.

    Raises ValueError for threads below 1, and for tokens that are fewer than T + 1.
    """
    threads = checked(threads)
    parallel.keep_freed_memory()
    batches = list(consecutive_batches(tokens, B, T))
    examiners = [Examiner(model, batches[share]) for share in parallel.shares(len(batches), threads)]
    with parallel.blas_threads(1):
        found = parallel.team(examiners, []).call("losses")
    losses, sizes = zip(*[pair for part in found for pair in part])
    return float(sum(losses) / sum(sizes))


def checked(threads):
    """threads, or ValueError if that is not positive; None: one for each core."""
    if threads is None:
        return parallel.cores()
    check_positive("threads", threads)
    return threads


class Examiner:
    """One of the workers that evaluate a model together: it has some of the batches."""

    def __init__(self, model, batches):
        self.model, self.batches = model, batches

    def losses(self):
        """(sum of losses, how many) of each batch."""
        return [(self.model.forward(ids, targets)[1] * targets.size, targets.size) for ids, targets in self.batches]
