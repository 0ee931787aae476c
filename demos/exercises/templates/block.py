"""Exercise 11: a whole block, out of the layers you have already done.

    x = x + attention(LayerNorm(x))
    x = x + MLP(LayerNorm(x))

    x (N, D)        N = B·T rows, those of one sequence below one another
    w               a dict of arrays: norms gain1, bias1, gain2, bias2 (D,)
                    W_qkv (D, 3D), W_out (D, D), W_up (D, 4D), W_down (4D, D);
                    their biases b_qkv, b_out, b_up, b_down
    B, H            sequences and heads; D = H·K

backward is given dy (N, D). Return dx (N, D) and dw, a dict with an array for each of w's names.
Call linear.backward and the others: they are yours. Where x forks into a branch and a way past it,
its gradient is the sum of what comes back on both.
"""
import numpy as np

import causal
import gelu
import layernorm
import linear


def forward(x, w, B, H):
    x = x + attention(layernorm.forward(x, w["gain1"], w["bias1"]), w, B, H)
    x = x + mlp(layernorm.forward(x, w["gain2"], w["bias2"]), w)
    return x


def attention(a, w, B, H):
    qkv = linear.forward(a, w["W_qkv"], w["b_qkv"])
    q, k, v = [heads(part, B, H) for part in np.split(qkv, 3, axis=1)]
    mixed = rows(causal.forward(q, k, v))
    return linear.forward(mixed, w["W_out"], w["b_out"])


def mlp(a, w):
    hidden = linear.forward(a, w["W_up"], w["b_up"])
    return linear.forward(gelu.forward(hidden), w["W_down"], w["b_down"])


def heads(x, B, H):
    """(N, D) -> (B, H, T, K)."""
    return x.reshape(B, len(x) // B, H, -1).swapaxes(1, 2)


def rows(x):
    """(B, H, T, K) -> (N, D): undoes heads, in either direction."""
    B, H, T, K = x.shape
    return x.swapaxes(1, 2).reshape(B * T, H * K)


def backward(dy, x, w, B, H):
    raise NotImplementedError
