"""A gradient whose terms are added up later: what one of several workers accumulates into."""
import numpy as np


class Deferred:
    """Stands in for a large parameter's gradient dW (I, J), as the terms it is the sum of.

    A worker's own copy of every large gradient would cost 4 bytes a parameter in float32. The factors
    of its terms are there anyway, as activations: so a worker keeps those, and training/worker.py adds
    the terms of all workers into the one gradient they share.

    products   (x, dy) pairs, (N, I) and (N, J):  dW += xᵀ dy
    rows       (ids, sums) pairs, (M,) distinct and (M, J):  dW[ids] += sums
    """

    def __init__(self):
        self.products, self.rows = [], []

    def __repr__(self):
        return f"Deferred({len(self.products)} products, {len(self.rows)} sets of rows)"

    def clear(self):
        """Forget all terms: the gradient is 0."""
        self.products.clear()
        self.rows.clear()

    def add_to(self, dW, band, overwrite):
        """Add rows `band`, a slice, of all terms to dW, which has those rows alone; overwrite: discard what dW held."""
        for x, dy in self.products:
            if overwrite:
                np.matmul(x[:, band].T, dy, out=dW)
            else:
                dW += x[:, band].T @ dy
            overwrite = False
        if overwrite:
            dW[...] = 0
        for ids, sums in self.rows:
            inside = (ids >= band.start) & (ids < band.stop)
            dW[ids[inside] - band.start] += sums[inside]
