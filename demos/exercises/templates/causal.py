"""Exercise 10: causal attention.

    scores[t, s] = q[t] · k[s] / sqrt(K),  and -inf where s > t: nobody looks ahead
    weights = softmax over s of scores
    y = weights v

    q, k, v (B, H, T, K)    H heads of width K in each of B sequences; all B·H by themselves

backward is given dy (B, H, T, K). Return dq, dk, dv. `attend` is yours to call: the weights are
needed again. What a softmax sends back you know from exercise 9.
"""
import numpy as np


def attend(q, k):
    """q, k (B, H, T, K) -> weights (B, H, T, T), each row summing to 1, 0 where s > t."""
    T, K = q.shape[2:]
    scores = q @ k.swapaxes(2, 3) / np.sqrt(K)
    scores = np.where(np.tri(T, dtype=bool), scores, -np.inf)
    e = np.exp(scores - scores.max(axis=3, keepdims=True))
    return e / e.sum(axis=3, keepdims=True)


def forward(q, k, v):
    return attend(q, k) @ v


def backward(dy, q, k, v):
    raise NotImplementedError
