"""Batches from one long row of token ids."""
import numpy as np


def random_batch(tokens, B, T, rng):
    """B stretches of T tokens from random places -> ids (B, T) and targets (B, T), each the next id.

    tokens (N,) integers, N > T; rng a Generator. Raises ValueError when tokens are too few.
    """
    check_length(tokens, T)
    starts = rng.integers(0, len(tokens) - T, B)
    window = tokens[starts[:, None] + np.arange(T + 1)]
    return window[:, :-1], window[:, 1:]


def consecutive_batches(tokens, B, T):
    """Yield ids, targets (at most B, T) that go through the tokens once, in order.

    What is left behind the last whole stretch of T is left out. Raises ValueError as random_batch.
    """
    check_length(tokens, T)
    n = (len(tokens) - 1) // T
    ids = tokens[:n * T].reshape(n, T)
    targets = tokens[1:n * T + 1].reshape(n, T)
    for start in range(0, n, B):
        yield ids[start:start + B], targets[start:start + B]


def split(tokens, held_out=0.1):
    """(training tokens, validation tokens): the last part, a share of `held_out`, is for validation."""
    if not 0 < held_out < 1:
        raise ValueError(f"held_out: {held_out!r} given, expected a share between 0 and 1")
    cut = len(tokens) - int(len(tokens) * held_out)
    return tokens[:cut], tokens[cut:]


def check_length(tokens, T):
    """Raise ValueError unless there is one stretch of T tokens and the one that follows it."""
    if len(tokens) <= T:
        raise ValueError(f"tokens: {len(tokens)} given, expected more than the block of T = {T}")
