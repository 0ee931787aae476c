"""One of several workers that take a training step together, each on its shard of the batch."""
import numpy as np

from .optim import chunks
from .parallel import even_slices


class Worker:
    """Worker number `index` of n: its shard of every batch, and its n-th of all parameters.

    In `accumulate` each goes through its shard, with a gradient of its own. In `add_up` it adds up
    its n-th of all these gradients, and in `update` it takes the optimizer's step on its n-th of
    the parameters (ZeRO stage 1, Rajbhandari et al., 2020), all of it in shared memory.

    gradients   n Parameters, one for each worker; the first becomes the gradient of the batch
    """

    def __init__(self, model, optimizer, gradients, index):
        self.model, self.optimizer = model, optimizer
        self.gradients, self.index = gradients, index
        self.part = even_slices(model.params.flat.size, len(gradients))[index]      # of flat

    def accumulate(self, ids, targets, n_scored, seeds, from_zero):
        """Forward and backward on its shard of ids, targets (B, T) -> its part of the loss.

        The loss is a mean over all n_scored scored positions of the batch. So a shard's loss is
        weighted by its share of them, and gradients weighted alike simply add up.
        seeds       of dropout, one for each worker; None: no dropout
        from_zero   discard what the worker's gradient holds
        """
        own = self.gradients[self.index]
        if from_zero:
            own.flat[:] = 0
        shard = even_slices(len(ids), len(self.gradients))[self.index]
        ids, targets = ids[shard], targets[shard]
        weight = float(np.count_nonzero(targets >= 0) / n_scored)
        if weight == 0:
            return 0.0
        rng = None if seeds is None else np.random.default_rng(seeds[self.index])
        with np.errstate(all="ignore"):     # the trainer checks whether loss and norm are finite
            _, loss, cache = self.model.forward(ids, targets, rng)
            self.model.backward(cache, own, weight)
        return weight * float(loss)

    def add_up(self):
        """Add up the worker's part of all gradients, in a fixed order -> the sum of its squares."""
        total, *others = [grads.flat for grads in self.gradients]
        squares = 0.0
        with np.errstate(all="ignore"):
            for chunk in chunks(self.part):
                for other in others:
                    total[chunk] += other[chunk]
                squares += float(total[chunk] @ total[chunk])
        return squares

    def update(self, settings, lr, scale):
        """The optimizer's step on this worker's part of the parameters, with these settings."""
        vars(self.optimizer).update(settings)
        self.optimizer.update(self.gradients[0], lr, scale, self.part)
