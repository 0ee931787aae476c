"""Batches from one long row of token ids."""
import numpy as np

from ..checks import check_array, check_generator, check_fraction, check_size, show


def random_batch(tokens, B, T, rng):
    """B chunks of T tokens from random places -> ids (B, T) and targets (B, T), each the next id.

    tokens (N,) integers, N > T; rng a Generator. Raises ValueError for anything else, and for B or
    T below 1.
    """
    tokens, B, T = check_tokens(tokens, T), check_size("B", B), int(T)
    starts = check_generator("rng", rng).integers(0, len(tokens) - T, B)
    window = tokens[starts[:, None] + np.arange(T + 1)]
    return window[:, :-1], window[:, 1:]


def consecutive_batches(tokens, B, T):
    """An iterator over ids, targets (at most B, T) that go through the tokens once, in order.

    What remains after the last whole chunk of T is left out. Raises ValueError as random_batch.
    """
    tokens, B, T = check_tokens(tokens, T), check_size("B", B), int(T)
    n = (len(tokens) - 1) // T
    ids = tokens[:n * T].reshape(n, T)
    targets = tokens[1:n * T + 1].reshape(n, T)
    return ((ids[start:start + B], targets[start:start + B]) for start in range(0, n, B))


def split(tokens, held_out=0.1):
    """(training tokens, validation tokens): the last fraction `held_out` is for validation.

    tokens (N,) integers, N > 1; held_out between 0 and 1. Raises ValueError for anything else.
    """
    held_out = check_fraction("held_out", held_out)
    tokens = check_tokens(tokens, 1)
    cut = len(tokens) - int(len(tokens) * held_out)
    return tokens[:cut], tokens[cut:]


def check_tokens(tokens, T):
    """tokens as an array of integers (N,), or ValueError; 1 <= T < N."""
    tokens = check_array("tokens", tokens)
    if tokens.ndim != 1:
        raise ValueError(f"tokens: shape {tokens.shape} given, expected (N,)")
    if len(tokens) <= check_size("T", T):
        raise ValueError(
            f"tokens: {len(tokens)} given, expected more than the block of T = {show(T)}")
    if tokens.dtype.kind not in "iu":
        raise ValueError(f"tokens: dtype {tokens.dtype} given, expected integers")
    return tokens
