"""One of several workers that take a training step together, each on its shard of the batch."""
import numpy as np

from .optim import chunks, squares_of


class Worker:
    """Worker number `index` of n: its shard of every batch, and its n-th of all parameters.

    A training step is three calls, each of all workers at once. In `accumulate` every worker goes
    through its shard, with a gradient of its own. Once all have finished, each adds up its n-th of
    all the gradients in `add_up`. In `update` each takes the optimizer's step on its n-th of the
    parameters: the optimizer's state is split among workers (ZeRO stage 1, Rajbhandari et al.,
    2020). Parameters and gradients are shared memory, so nothing has to be sent.

    gradients   n of Parameters, a worker's own each; the first worker's becomes the whole batch's
    """

    def __init__(self, model, optimizer, gradients, index):
        self.model, self.optimizer = model, optimizer
        self.gradients, self.own = gradients, gradients[index]
        size, n = model.params.flat.size, len(gradients)
        self.part = slice(index * size // n, (index + 1) * size // n)       # of flat

    def accumulate(self, ids, targets, n_scored, seed, from_zero):
        """Forward and backward on a shard, ids and targets (B, T) -> its part of the batch's loss.

        The loss is a mean over all n_scored scored positions of the batch. So a shard's loss is
        weighted by its share of them, and gradients weighted alike simply add up.
        seed        of dropout; None: no dropout
        from_zero   discard what the worker's gradient holds
        """
        if from_zero:
            self.own.flat[:] = 0
        weight = float(np.count_nonzero(targets >= 0) / n_scored)
        if weight == 0:
            return 0.0
        rng = None if seed is None else np.random.default_rng(seed)
        # No warnings: the trainer checks loss and norm, and some BLAS raise flags on finite numbers.
        with np.errstate(all="ignore"):
            _, loss, cache = self.model.forward(ids, targets, rng)
            self.model.backward(cache, self.own, weight)
        return weight * float(loss)

    def add_up(self):
        """Add up this worker's part of all gradients, in a fixed order -> the sum of its squares."""
        total, *others = [grads.flat for grads in self.gradients]
        squares = 0.0
        for chunk in chunks(self.part):
            for other in others:
                total[chunk] += other[chunk]
            squares += squares_of(total[chunk])
        return squares

    def update(self, settings, lr, scale):
        """The optimizer's step on this worker's part of the parameters, with these settings."""
        vars(self.optimizer).update(settings)
        self.optimizer.update(self.gradients[0], lr, scale, self.part)
