"""Instruments that look into a GPT with a final LayerNorm (GPT-2's order), trained here or not.

The sublayers, attention and MLP of each block in turn, each add the output of their last product to
the residual stream; with that product at 0, a sublayer adds nothing. So the stream after sublayer
k, read by the final LayerNorm and a matrix, is what the model says with all later ones silenced:
the logit lens (nostalgebraist 2020), computed by the model's own forward pass.
"""
from dataclasses import replace

import numpy as np

from lib.statistics import correlation, cosine, norm, rank_correlation
from minigpt_np import Parameters


def sublayers(params):
    """The Linear that ends each sublayer's branch, in the stream's order."""
    return [part for block in params.blocks for part in (block.attention.out, block.mlp.down)]


def rungs(params):
    """The names of the places where the stream is read: after the lookup and each sublayer."""
    return ["lookup"] + [f"{name} {1 + i}" for i in range(len(params.blocks))
                         for name in ("attention", "MLP")]


def silenced(model, which):
    """A copy of the model in which the sublayers of these indices add nothing to the stream."""
    twin = model.untied()
    for i in which:
        last = sublayers(twin.params)[i]
        last.W[...] = last.b[...] = 0
    return twin


def log_softmax(logits):
    """logits (M, V) -> their log-probabilities."""
    logits = logits - logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def log_probabilities(model, ids, targets):
    """ids, targets (B, T) -> (M, V), at the M positions with a target (that is not -1)."""
    return log_softmax(model.forward(ids)[0][targets >= 0])


def losses(model, ids, targets):
    """(M,), the loss at each position with a target."""
    log_p = log_probabilities(model, ids, targets)
    return -log_p[np.arange(len(log_p)), targets[targets >= 0]]


# ---- the ladder ----------------------------------------------------------------------------------

def ladder(model, ids, targets):
    """The stream at each of `rungs`, read by the model's own head: name -> list over rungs.

    loss        of the token to come
    read ahead  share of positions at which the token read is likelier than the one to come, those
                at which the two are the same token left out
    """
    n, scored = len(sublayers(model.params)), targets >= 0
    read, come = ids[scored], targets[scored]
    differ, at = read != come, np.arange(len(read))
    measured = {"loss": [], "read ahead": []}
    for k in range(n + 1):
        log_p = log_probabilities(silenced(model, range(k, n)), ids, targets)
        ahead = (log_p[at, read] > log_p[at, come])[differ]
        measured["loss"].append(-log_p[at, come].mean())
        measured["read ahead"].append(ahead.sum() / max(1, len(ahead)))
    return measured


def read_with(model, matrix):
    """The model with this matrix (V, D) as its head. A new GPT."""
    twin = model.untied()
    twin.params.head[...] = matrix
    return twin


def costs_of_silence(model, ids, targets):
    """What silencing each sublayer alone adds to the loss: a list over sublayers."""
    def loss(which):
        return losses(silenced(model, which), ids, targets).mean()

    return [loss([k]) - loss([]) for k in range(len(sublayers(model.params)))]


# ---- likelihood is a direction -------------------------------------------------------------------

def direction(model, ids, targets, counts, tokens):
    """How rows lie along h̄, the mean final vector, and what moving a row along it does.

    ids, targets    a text that `counts` (V,) was not made of
    tokens          those whose rows are looked at
    The mean logit of v is E_v·h̄. "slope 1": the share of log frequency's variance that E_v·h̄
    explains with only a constant added; "free slope": with a slope fitted, too, which is r²;
    "random": r² of a random direction.
    A row moved by log r · h̄ / |h̄|² has its logit raised by a log r, a = h·h̄ / |h̄|², whose mean
    over positions is 1. "surgery": the slope of log(mean probability) on log r, r from 1/20 to 20,
    mean over tokens; "expected": the same at r = 1, Σ p (1 - p) a / Σ p; "surgery, random": a
    random direction of the same length.
    """
    scored = targets >= 0
    logits, _, cache = model.forward(ids)
    h = cache.logits.h[scored.ravel()].astype(float)
    p = np.exp(log_softmax(logits[scored].astype(float)))[:, tokens]
    head, log_counts = model.params.head[tokens].astype(float), np.log(counts[tokens])
    mean_h = h.mean(axis=0)
    anywhere = np.random.default_rng(1).normal(size=len(mean_h))
    anywhere *= norm(mean_h) / norm(anywhere)
    a, random_a = h @ mean_h / (mean_h @ mean_h), h @ anywhere / (mean_h @ mean_h)
    expected = (p * (1 - p) * a[:, None]).sum(axis=0) / p.sum(axis=0)
    return {"slope 1": float(1 - np.var(log_counts - head @ mean_h) / np.var(log_counts)),
            "free slope": correlation(head @ mean_h, log_counts) ** 2,
            "random": correlation(head @ anywhere, log_counts) ** 2,
            "surgery": slope(p, a), "expected": float(expected.mean()),
            "surgery, random": slope(p, random_a)}


def slope(p, a, factors=(1 / 20, 1 / 5, 5, 20)):
    """p (M, n), a (M,): of log(mean p after / before) on log r, a logit being raised by a log r."""
    rises = []
    for r in factors:
        s = np.exp(a * np.log(r))[:, None]
        rises.append(np.log((p * s / (1 + p * (s - 1))).mean(axis=0) / p.mean(axis=0)))
    log_r = np.log(factors)
    return float((log_r @ np.array(rises) / (log_r @ log_r)).mean())


# ---- length --------------------------------------------------------------------------------------

def length_correlations(matrix, tokens, properties):
    """Signed rank correlation of the lengths of rows with each property (V,): name -> rho.

    The tokens' mean row is taken out before. "name, frequency out": with the ranks of the property
    "log frequency" regressed out of both.
    """
    rows, found = matrix[tokens].astype(float), {}
    rows -= rows.mean(axis=0)
    length = np.sqrt((rows * rows).sum(axis=1))
    frequency = properties["log frequency"][tokens]
    for name, values in properties.items():
        found[name] = rank_correlation(length, values[tokens])
        if name != "log frequency":
            found[f"{name}, frequency out"] = rank_correlation(length, values[tokens], frequency)
    return found


def costs_of_lengthening(model, ids, targets, tokens):
    """Input rows of `tokens` doubled, one at a time: the loss it adds where that token is read.

    "random": the row moved as far in a random direction instead. Means over tokens.
    """
    twin, rng, added = model.untied(), np.random.default_rng(2), {"doubled": [], "random": []}
    for token in tokens:
        where = np.any((ids == token) & (targets >= 0), axis=1)     # sequences in which it is read
        batch, following = ids[where], np.where(ids[where] == token, targets[where], -1)
        row = twin.params.E[token].copy()
        elsewhere = rng.normal(size=row.shape)
        before = losses(twin, batch, following).mean()
        for name, change in (("doubled", row), ("random", elsewhere * norm(row) / norm(elsewhere))):
            twin.params.E[token] = row + change
            added[name].append(losses(twin, batch, following).mean() - before)
        twin.params.E[token] = row
    return {name: float(np.mean(values)) for name, values in added.items()}


def middling(counts, ids, n):
    """n tokens of `ids`, evenly spaced among its 200 commonest without the ten commonest."""
    here = np.bincount(ids.ravel(), minlength=len(counts)) * (counts > 0)
    order = np.argsort(-here, kind="stable")[:200]
    order = order[here[order] >= 2]
    order = order[10:] if len(order) >= 10 + n else order
    return order[np.linspace(0, len(order) - 1, min(n, len(order))).astype(int)]


# ---- contributions -------------------------------------------------------------------------------

def contributions_of(model, ids, targets):
    """What the use of E as the lookup, and what its use as the head, adds to dE: two (V, D).

    Backward keeps the two apart where grads.head is a separate array.
    """
    _, _, cache = model.forward(ids, targets)
    grads = Parameters(replace(model.config, tie_embeddings=False), model.params.flat.dtype)
    model.backward(cache, grads)
    return grads.E, grads.head


def compare_contributions(lookup, logits):
    """lookup, logits (V, D), the contributions to dE -> norms, shares of rows touched, cosine."""
    return {"lookup": norm(lookup), "logits": norm(logits),
            "rows looked up": float(np.any(lookup, axis=1).mean()),
            "rows of logits": float(np.any(logits, axis=1).mean()),
            "cosine": cosine(lookup, logits)}
