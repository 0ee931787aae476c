"""Exercise 9: the softmax alone, the middle of attention.

    w[n, s] = exp(z[n, s]) / sum over r of exp(z[n, r])

    z (N, S)        scores; each row is a softmax of its own

backward is given dw (N, S). Return dz (N, S). One score moves all weights of its row:
dw[n, r]/dz[n, s] is w[n, r] (1 - w[n, r]) where r = s, and -w[n, r] w[n, s] elsewhere. That is a
matrix, diag(w) - w wᵀ, and dz is its product with a vector: write the product, not the matrix.
"""
import numpy as np


def forward(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))        # so that no exp overflows; it cancels
    return e / e.sum(axis=1, keepdims=True)


def backward(dw, z):
    raise NotImplementedError
