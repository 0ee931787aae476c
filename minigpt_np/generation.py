"""Text generation with a key/value cache.

Attention looks back and never ahead, so keys and values of earlier positions do not change. They
are kept, and only new positions go through the blocks.
"""
import numpy as np

from . import layers
from .checks import (
    check_flag, check_ids, check_int, check_positive, check_probability, check_seed, check_size,
    raise_value_error)


def generate(model, ids, max_new_tokens, *args, **options):
    """ids (B, T) -> (B, T + max_new_tokens) int64: the prompts, each with its continuation.

    Options and errors are those of `stream`.
    """
    new = [tokens[:, None] for tokens in stream(model, ids, max_new_tokens, *args, **options)]
    return np.concatenate([np.asarray(ids, np.int64), *new], axis=1)


def stream(model, ids, max_new_tokens, temperature=1.0, do_sample=False,
           top_k=None, top_p=None, seed=None):
    """An iterator over max_new_tokens arrays (B,) int64: each prompt's next token, as it comes.

    ids          (B, T) integers, B prompts of equal length; only the last block_size are used
    temperature  > 0: the logits are divided by it
    do_sample    False: the most probable token; temperature, top_k and top_p must be the defaults
                 True: one drawn from the probabilities
    top_k        draw among the k largest logits (and any that tie with the smallest of them); None,
                 or more than V: among all
    top_p        then draw among the fewest tokens, likeliest first, that together have at least
                 this probability (Holtzman et al., 2020), in (0, 1]
    seed         int or Generator for the draws; None: different every time

    The tokens are those of a full forward pass for each, to rounding. Up to block_size a token
    costs one pass over the weights. Beyond that the window slides, as in minGPT: every token moves
    to another position and gets another row of P, so nothing cached is valid any more, and each
    token costs a full forward pass over block_size positions.

    Raises ValueError, before anything is computed, for an argument other than described; and when
    the logits are not finite, as those of a model with NaN in its weights.
    """
    ids = check_ids(ids, model.config, of_any_length=True)
    n, temperature, do_sample, top_k, top_p = check_options(
        max_new_tokens, temperature, do_sample, top_k, top_p)
    rng = check_seed("seed", seed)

    def choose(logits):
        if not do_sample:
            return logits.argmax(axis=1)
        return sample(probabilities(logits, temperature, top_k, top_p), rng)

    return decode(model, ids, n, choose)


def decode(model, ids, n, choose):
    """n times: compute the logits (B, V) after ids (B, T) and the tokens chosen so far, and yield
    choose(logits), the next token (B,) of each prompt.
    """
    config = model.config
    ids = ids[:, -config.block_size:]
    size = min(ids.shape[1] + n, config.block_size)
    kv_cache = KVCache(config, len(ids), size, model.params.flat.dtype)
    for _ in range(n):
        if kv_cache.length == config.block_size:        # the window slides: every position is new
            kv_cache.length = 0
        logits = next_logits(model, ids[:, kv_cache.length:], kv_cache)
        largest = logits.max(axis=1)
        if not np.isfinite(largest).all():
            raise ValueError(f"logits: {largest.tolist()} are the largest, expected finite "
                             "numbers; look for NaN or infinity in the model's params")
        new = choose(logits)
        yield new
        ids = np.concatenate([ids, new[:, None]], axis=1)[:, -config.block_size:]


def next_logits(model, ids, kv_cache):
    """ids (B, n) follow the positions in kv_cache and are added to it -> the last logits (B, V)."""
    for start in range(0, ids.shape[1], CHUNK):
        logits, _, _ = model.forward(ids[:, start:start + CHUNK], kv_cache=kv_cache)
    return logits[:, -1].real


CHUNK = 256                 # positions of a prompt that go through the blocks together


class KVCache:
    """Keys and values of `length` positions, to which later ones attend. GPT.forward adds to them.

    keys, values   (L, B, H, size, K)
    """

    def __init__(self, config, B, size, dtype):
        shape = config.n_layer, B, config.n_head, size, config.head_size
        self.keys, self.values, self.length = np.zeros(shape, dtype), np.zeros(shape, dtype), 0

    def extend(self, i, k, v):
        """k, v (B, H, n, K) of block i, from position length on -> those of all length + n."""
        stop = self.length + k.shape[2]
        keys, values = self.keys[i, :, :, :stop], self.values[i, :, :, :stop]
        keys[:, :, self.length:] = k
        values[:, :, self.length:] = v
        return keys, values


def check_kv_cache(kv_cache, shape, targets, config):
    """Raise ValueError unless kv_cache is None, or ids of this shape and no targets go with it."""
    if kv_cache is None:
        return
    if not isinstance(kv_cache, KVCache):
        raise_value_error("kv_cache", kv_cache, "a generation.KVCache")
    if targets is not None:
        raise ValueError("targets: given with a kv_cache, expected None: such a pass has no loss")
    (B, T), size = shape, kv_cache.keys.shape[3]
    expected = config.n_layer, B, config.n_head, size, config.head_size
    if kv_cache.keys.shape != expected:
        raise ValueError(f"kv_cache: keys of shape {kv_cache.keys.shape} given, expected "
                         f"(L, B, H, size, K) = {expected}")
    room = min(size, config.block_size) - kv_cache.length
    if T > room:
        raise ValueError(f"ids: T = {T} positions given, expected at most {room}: kv_cache holds "
                         f"{kv_cache.length}")


def probabilities(logits, temperature, top_k, top_p):
    """logits (B, V) -> float64 (B, V): softmax(logits / temperature) of the tokens kept, else 0."""
    logits = logits.astype(np.float64)
    V = logits.shape[1]
    with np.errstate(over="ignore"):            # a tiny temperature: 0 stays 0, the rest is -inf
        z = (logits - logits.max(axis=1, keepdims=True)) / temperature
    if top_k is not None and top_k < V:
        kth = np.partition(logits, V - top_k, axis=1)[:, V - top_k, None]
        z[logits < kth] = -np.inf
    p = layers.softmax.softmax(z)
    if top_p is not None and top_p < 1:
        order = np.argsort(-p, axis=1)          # likeliest first
        ordered = np.take_along_axis(p, order, axis=1)
        reached = ordered.cumsum(axis=1) >= top_p
        ordered[:, 1:][reached[:, :-1]] = 0     # those before it suffice; the first always stays
        np.put_along_axis(p, order, ordered, axis=1)
        p /= p.sum(axis=1, keepdims=True)
    return p


def sample(p, rng):
    """p (B, V), rows of probabilities -> (B,): the first token whose cumulative sum exceeds u."""
    cumulative = p.cumsum(axis=1)
    u = rng.random((len(p), 1)) * cumulative[:, -1:]
    return (cumulative <= u).sum(axis=1)


def check_options(max_new_tokens, temperature, do_sample, top_k, top_p):
    """The options as plain data, or ValueError, naming the one that `stream` does not accept.

    For programs, too, that check their options before they open a model (demos/gpt2.py).
    """
    n = check_int("max_new_tokens", max_new_tokens)
    temperature = check_positive("temperature", temperature)
    do_sample = check_flag("do_sample", do_sample)
    top_k = None if top_k is None else check_size("top_k", top_k)
    top_p = None if top_p is None else check_probability("top_p", top_p)
    for name, value, default in [
            ("temperature", temperature, 1.0), ("top_k", top_k, None), ("top_p", top_p, None)]:
        if not do_sample and value != default:
            raise_value_error(name, value, f"{default} where no token is drawn (do_sample=False)")
    return n, temperature, do_sample, top_k, top_p
