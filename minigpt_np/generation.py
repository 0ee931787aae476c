"""Generation: one token after another, keys and values of the earlier ones remembered.

Attention looks back and never ahead, so what a block computed for a position is the same whatever
follows it. New positions then go through the blocks alone, their queries meeting the keys and
values kept from before. Everything but `attend` is the layers' own arithmetic.
"""
from dataclasses import replace
from math import sqrt

import numpy as np

from .checks import (
    check_array, check_flag, check_ids, check_number, check_positive, check_seed, check_size, check_whole)
from .layers import causal, layernorm, linear, logits as output, lookup, mlp, softmax


def generate(model, ids, max_new_tokens, *options):
    """ids (B, T) -> (B, T + max_new_tokens) int64: the prompts, each with its continuation.

    Options and errors are those of `stream`.
    """
    new = [tokens[:, None] for tokens in stream(model, ids, max_new_tokens, *options)]
    return np.concatenate([np.asarray(ids, np.int64), *new], axis=1)


def stream(model, ids, max_new_tokens, temperature, do_sample, top_k, top_p, seed):
    """An iterator over max_new_tokens arrays (B,) int64: each prompt's next token, as it comes.

    ids          (B, T) integers, B prompts of equal length; only the last block_size are read
    temperature  > 0: the logits are divided by it
    do_sample    False: the most probable token; True: one drawn from the probabilities
    top_k        draw among the k largest logits (and what ties with the smallest of them); None,
                 or more than V: among all
    top_p        then draw among the fewest tokens, likeliest first, that together have at least
                 this probability (Holtzman et al., 2020), in (0, 1]
    seed         int or Generator for the draws; None: different every time

    The tokens are those of a full forward pass for each, to rounding. Up to block_size a token
    costs one reading of the weights. Beyond, the window slides as minGPT's: every token moves to
    another position and gets another row of P, nothing remembered holds, and a token costs a full
    forward pass over block_size positions.

    Raises ValueError, before anything is computed, for an argument other than described; and when
    the logits are not finite, as those of a model with NaN in its weights.
    """
    ids = check_prompt(ids, model.config)
    check_options(max_new_tokens, temperature, do_sample, top_k, top_p)
    rng = check_seed("seed", seed)

    def choose(logits):
        if not do_sample:
            return logits.argmax(axis=1)
        return draw(probabilities(logits, temperature, top_k, top_p), rng)

    return follow(model, ids, max_new_tokens, choose)


def follow(model, ids, n, choose):
    """Yield n times choose(logits), of logits (B, V) after ids (B, T) and all that was chosen."""
    c = model.config
    ids = ids[:, -c.block_size:]
    size = min(ids.shape[1] + n, c.block_size)
    shape = c.n_layer, 2, len(ids), c.n_head, size, c.head_size     # 2: keys and values
    memory = np.empty(shape, model.params.flat.dtype)
    remembered = 0                              # positions of which memory holds keys and values
    for _ in range(n):
        if remembered == c.block_size:          # the window slid, and every position with it
            remembered = 0
        logits = read(model, ids[:, remembered:], remembered, memory)
        remembered = ids.shape[1]
        new = choose(check_finite(logits))
        yield new
        ids = np.concatenate([ids, new[:, None]], axis=1)[:, -c.block_size:]


def read(model, ids, t, memory):
    """ids (B, n) at positions t.. -> logits (B, V) after the last of them.

    memory (L, 2, B, H, >= t + n, K) holds keys and values of t positions, and afterwards of t + n.
    """
    p, c = model.params, model.config
    place = PLACES[c.norm]
    for start in range(0, ids.shape[1], POSITIONS):
        run = ids[:, start:start + POSITIONS]
        x, _ = lookup.forward(run, p.E, p.P[t + start:])
        x = x.reshape(-1, c.n_embd)
        for w, (keys, values) in zip(p.blocks, memory):
            x = place(x, w, keys, values, t + start, c)
    return last_logits(x.reshape(*run.shape, -1)[:, -1], model)


POSITIONS = 256             # of a prompt that are read together


def last_logits(x, model):
    """x (B, D), the stream at the last position -> logits (B, V), real."""
    if model.params.norm is not None:
        x, _ = layernorm.forward(x, model.params.norm, model.config.layer_norm_eps)
    logits, _ = output.forward(x, model.params.head)
    return logits.real


def block_pre(x, w, keys, values, t, config):
    """block.forward_pre with `attend` for attention: x (N, D) -> (N, D)."""
    normed, _ = layernorm.forward(x, w.norm1, config.layer_norm_eps)
    x = x + attend(normed, w.attention, keys, values, t)
    normed, _ = layernorm.forward(x, w.norm2, config.layer_norm_eps)
    branch, _ = mlp.forward(normed, w.mlp, config, None)
    return x + branch


def block_post(x, w, keys, values, t, config):
    """block.forward_post with `attend` for attention: x (N, D) -> (N, D)."""
    branch = attend(x, w.attention, keys, values, t)
    x, _ = layernorm.forward(x + branch, w.norm1, config.layer_norm_eps)
    branch, _ = mlp.forward(x, w.mlp, config, None)
    x, _ = layernorm.forward(x + branch, w.norm2, config.layer_norm_eps)
    return x


PLACES = {"pre": block_pre, "post": block_post}


def attend(x, w, keys, values, t):
    """x (N, D), n positions from t on of B sequences -> y (N, D); keys and values get theirs.

    keys, values (B, H, >= t + n, K). As causal.forward, the rows of the new queries alone:
    y[t:] = softmax(q[t:] kᵀ / sqrt(K)) v, with k and v of all t + n positions.
    """
    B, H, _, K = keys.shape
    n = len(x) // B
    qkv, _ = linear.forward(x, w.qkv)
    q, k, v = causal.heads(qkv, B, n, 3, H)
    keys[:, :, t:t + n] = k
    values[:, :, t:t + n] = v
    scores = q * (1 / sqrt(K)) @ causal.transposed(keys[:, :, :t + n])
    scores[..., t:] += causal.future(n, scores.dtype)
    e, total, _ = softmax.exponentials(scores)
    mixed = e @ values[:, :, :t + n] / total                    # (B, H, n, K)
    y, _ = linear.forward(mixed.transpose(0, 2, 1, 3).reshape(B * n, H * K), w.out)
    return y


def probabilities(logits, temperature, top_k, top_p):
    """logits (B, V) -> float64 (B, V): softmax(logits / temperature) of the tokens kept, or 0."""
    logits = logits.astype(np.float64)
    V = logits.shape[1]
    with np.errstate(over="ignore"):            # a tiny temperature: 0 stays 0, the rest is -inf
        z = (logits - logits.max(axis=1, keepdims=True)) / float(temperature)
    if top_k is not None and top_k < V:
        kth = np.partition(logits, V - top_k, axis=1)[:, V - top_k, None]
        z[logits < kth] = -np.inf
    e, total, _ = softmax.exponentials(z)
    p = e / total
    if top_p is not None and top_p < 1:
        order = np.argsort(-p, axis=1)          # likeliest first
        ordered = np.take_along_axis(p, order, axis=1)
        reached = ordered.cumsum(axis=1) >= top_p
        ordered[:, 1:][reached[:, :-1]] = 0     # those before it suffice; the first always stays
        np.put_along_axis(p, order, ordered, axis=1)
        p /= p.sum(axis=1, keepdims=True)
    return p


def draw(p, rng):
    """p (B, V), rows of probabilities -> (B,): the first token whose cumulative sum exceeds u."""
    cumulative = p.cumsum(axis=1)
    u = rng.random((len(p), 1)) * cumulative[:, -1:]
    return (cumulative <= u).sum(axis=1)


def check_prompt(ids, config):
    """ids as an int64 array (B, T), each in 0..V-1, of any length T >= 1, or ValueError."""
    ids = check_array("ids", ids)
    return check_ids(ids, replace(config, block_size=max(config.block_size, ids.size)))


def check_options(max_new_tokens, temperature, do_sample, top_k, top_p):
    """Raise ValueError, naming the argument, for what `stream` does not accept."""
    check_whole("max_new_tokens", max_new_tokens)
    check_positive("temperature", temperature)
    check_flag("do_sample", do_sample)
    if top_k is not None:
        check_size("top_k", top_k)
    if top_p is not None:
        check_number("top_p", top_p, lambda p: 0 < p <= 1, "a probability in (0, 1]")


def check_finite(logits):
    """logits (B, V) as they are, or ValueError if a row's largest is NaN or infinite."""
    largest = logits.max(axis=1)
    if not np.isfinite(largest).all():
        raise ValueError(f"logits: {largest.tolist()} are the largest, expected finite numbers; "
                         "look for NaN or infinity in the model's params")
    return logits
