"""One of several workers that take a training step together, each on its shard of the batch."""
import numpy as np

from .optim import chunks, squares_of


class Worker:
    """Worker number `index` of n: its shard of every batch, and its n-th of all parameters.

    A step is data-parallel. Each worker computes the gradient of its own shard, in arrays of its own
    (`local_gradients[index]`). Then each adds up the n-th of all of these in `grads`, in shared memory,
    always in the same order: the same bits. At last it takes the optimizer's step on its n-th of the
    parameters: the optimizer's state is split among workers (ZeRO stage 1, Rajbhandari et al., 2020).
    The others see what it has updated, since parameters are shared memory: nothing has to be gathered.
    """

    def __init__(self, model, grads, optimizer, index, local_gradients):
        self.model, self.grads, self.optimizer = model, grads, optimizer
        self.index, self.n = index, len(local_gradients)
        self.local, self.all_local = local_gradients[index], local_gradients

    def gradients(self, ids, targets, n_scored, seed, overwrite):
        """Add this shard's gradient to this worker's -> the shard's part of the loss.

        seed        of dropout; None: no dropout
        overwrite   discard what the worker's gradient holds
        """
        if overwrite:
            self.local.flat[:] = 0
        return accumulate(self.model, self.local, ids, targets, n_scored, seed)

    def add(self):
        """The sum of all workers' gradients, in this worker's n-th of `grads` -> the sum of its squares, in float64."""
        size, squares = self.grads.flat.size, 0.0
        for chunk in chunks(self.index * size // self.n, (self.index + 1) * size // self.n):
            total, (first, *others) = self.grads.flat[chunk], self.all_local
            total[...] = first.flat[chunk]
            for other in others:
                total += other.flat[chunk]
            squares += squares_of(total)
        return squares

    def update(self, settings, lr, scale):
        """The optimizer's step on this worker's n-th of the parameters."""
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
