"""One of several workers that take a training step together, each on its shard of the batch."""
import numpy as np

from ..layers.deferred import Deferred
from ..parameters import NamedArrays, Parameters
from . import memory
from .optim import chunks, squares_of

LARGE = 1 << 20             # numbers: gradients of more than this are deferred
BAND = 1 << 20              # numbers: how much of a deferred gradient, in whole rows, is added up at a time


class Worker:
    """Worker number `index` of n: its shard of every batch, and its part of all parameters.

    A step is data-parallel. Each worker computes the gradient of its own shard (`local`), and then
    these are added up by a ring reduce-scatter over shared memory: in round r worker i works on part
    i + r (mod n) of the one gradient they share (`grads`). It adds the products that it has deferred,
    and in the last round also the small arrays of all workers. No two workers are at one part, and each
    part gets its terms in the same order every time: the same bits. When all parts are
    complete, each worker takes the optimizer's step on its n-th of the parameters: the optimizer's
    state is split among workers (ZeRO stage 1, Rajbhandari et al., 2020). The others see what it has
    updated, since parameters are shared memory: nothing has to be gathered.
    """

    def __init__(self, model, grads, optimizer, index, local_gradients):
        self.model, self.grads, self.optimizer = model, grads, optimizer
        self.index, self.n = index, len(local_gradients)
        self.local, self.all_local = local_gradients[index], local_gradients
        self.parts = partition(grads, self.n)

    def gradients(self, ids, targets, n_scored, seed, overwrite):
        """Compute this shard's gradient and add round 0 of it -> its part of the loss, what `add` returns.

        seed        of dropout; None: no dropout
        overwrite   discard what the shared gradient holds
        """
        self.local.clear()
        loss = accumulate(self.model, self.local, ids, targets, n_scored, seed)
        return loss, self.add(0, overwrite)

    def add(self, round, overwrite):
        """Add to the part whose turn it is in this round; overwrite: discard what was there before round 0.

        Returns the sum of its squares (added up in float64) if this was the last round, else 0.
        """
        squares, last = 0.0, round == self.n - 1
        for place, name, band in self.parts[(self.index + round) % self.n]:
            if name is not None:
                self.local.arrays[name].add_to(self.grads.arrays[name][band], band, overwrite and round == 0)
            if not last:
                continue
            for chunk in chunks(place.start, place.stop):
                total = self.grads.flat[chunk]
                if name is None:
                    add_terms(total, [local.flat[chunk] for local in self.all_local], overwrite)
                squares += squares_of(total)
        return squares

    def update(self, settings, lr, scale):
        """The optimizer's step on this worker's part of the parameters."""
        vars(self.optimizer).update(settings)
        self.optimizer.update(self.grads, lr, scale, self.index, self.n)


def accumulate(model, grads, ids, targets, n_scored, seed):
    """Forward and backward on ids, targets (B, T), a part of a batch -> its part of the batch's loss.

    The loss is a mean over all n_scored scored positions of the batch. So a part's loss is weighted
    by its share of them, and gradients weighted alike simply add up: here, in `grads`.
    seed: of dropout; None: no dropout.
    """
    weight = float(np.count_nonzero(targets >= 0) / n_scored)
    if weight == 0:
        return 0.0
    rng = None if seed is None else np.random.default_rng(seed)
    # Whether all is finite is asked once, of loss and norm: kernels of some BLAS raise flags on finite numbers.
    with np.errstate(all="ignore"):
        _, loss, cache = model.forward(ids, targets, rng)
        model.backward(cache, grads, weight)
    return weight * float(loss)


class LocalGradients(Parameters):
    """The gradient of one shard of several: arrays to accumulate into, but for the largest, which are Deferred.

    Holding those once more for each worker would cost too much memory. Tied, head is E here, too: one
    Deferred, which gets terms from each of its uses.
    """

    def __init__(self, config, dtype):
        super().__init__(config, dtype, memory.zeros)       # the system gives no memory for what is never touched
        self.held = [place for place, name, _ in partition(self, 1)[0] if name is None]
        NamedArrays.__init__(self, config, {name: Deferred() if is_deferred(name, array) else array
                                            for name, array in self.arrays.items()})

    def clear(self):
        """All zeros, and nothing deferred."""
        for place in self.held:
            self.flat[place] = 0
        for array in self.arrays.values():
            if isinstance(array, Deferred):
                array.clear()


def is_deferred(name, array):
    """Whether the array is large, and E or a factor of products: its gradient is a sum of terms to defer."""
    return array.size > LARGE and (name.endswith(".W") or name in ("E", "head"))


def partition(params, n):
    """params.flat in n parts of about the same size: lists of (slice of flat, name, band).

    name and band are None for a slice of arrays that are not deferred; else they are the deferred
    array's name, and the slice of its rows.
    """
    parts, size = [[] for _ in range(n)], params.flat.size
    bounds = [i * size // n for i in range(n + 1)]
    for name, place in params.slices.items():
        array = params.arrays[name]
        if is_deferred(name, array):
            for band in bands(*array.shape):
                start, stop = (place.start + row * array.shape[1] for row in (band.start, band.stop))
                parts[start * n // size].append((slice(start, stop), name, band))
            continue
        for part, low, high in zip(parts, bounds, bounds[1:]):
            start, stop = max(place.start, low), min(place.stop, high)
            if start < stop and part and part[-1][0].stop == start and part[-1][1] is None:
                start = part.pop()[0].start
            if start < stop:
                part.append((slice(start, stop), None, None))
    return parts


def bands(I, J):
    """Slices of rows that together are an array (I, J), each of about BAND numbers: its product stays in the cache."""
    height = max(64, BAND // J)
    return [slice(start, min(start + height, I)) for start in range(0, I, height)]


def add_terms(total, terms, overwrite):
    """total += the sum of all terms; overwrite: total = that."""
    for term in terms:
        np.add(0 if overwrite else total, term, out=total)
        overwrite = False
