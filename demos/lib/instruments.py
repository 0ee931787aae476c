"""What the findings look at a model with. All of it works on any GPT in GPT-2's order of norms, trained here or not.

The sublayers of a model, attention and MLP of each block in turn, each add to the residual stream
what comes out of their last product. Silenced, with that product at 0, one adds nothing: so the
stream after sublayer k, as the final LayerNorm and the head decode it, is what the model predicts
with all later ones silenced. That is the logit lens (nostalgebraist 2020), with nothing but the model's
own forward pass.
"""
from contextlib import contextmanager

import numpy as np

from lib.statistics import correlation, cosine, norm, random_cosine


def sublayers(params):
    """("attention" or "mlp", the Linear that ends the branch) of each sublayer, in the stream's order."""
    return [pair for block in params.blocks
            for pair in (("attention", block.attention.out), ("mlp", block.mlp.down))]


def points(params):
    """The names of the places at which the stream can be decoded: after the lookup and after each sublayer."""
    names = {"attention": "attention", "mlp": "MLP"}
    return ["lookup"] + [f"{names[kind]} {1 + i // 2}" for i, (kind, _) in enumerate(sublayers(params))]


@contextmanager
def silenced(params, which):
    """While the `with` block runs, the sublayers of these indices add nothing to the stream."""
    parts = [sublayers(params)[i][1] for i in which]
    kept = [(array, array.copy()) for part in parts for array in (part.W, part.b)]
    try:
        for array, _ in kept:
            array[...] = 0
        yield
    finally:
        for array, before in kept:
            array[...] = before


def tokens_at(ids, targets):
    """ids, targets (B, T) -> the tokens read and the tokens to come at the M positions with a target, (M,) each."""
    scored = targets >= 0
    return ids[scored], targets[scored]


def log_probabilities(model, ids, targets):
    """ids, targets (B, T) -> (M, V), at the M positions with a target (that is not -1)."""
    logits = model.forward(ids)[0][targets >= 0]
    logits -= logits.max(axis=1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return logits


def losses(log_p, come):
    """log_p (M, V), the M tokens to come -> (M,), the loss at each."""
    return -log_p[np.arange(len(log_p)), come]


# ---- the logit lens ------------------------------------------------------------------------------

def lens(model, ids, targets):
    """The stream at each of `points`, as the model's own head decodes it: name -> list over points.

    loss                of the token to come
    p read, p next      mean probability of the token read, and of the one to come
    rank read, rank next    their median rank, 1 for the likeliest
    read ahead          share of positions at which the token read is likelier than the one to come
    Positions at which the two are one token are left out, except from the loss.
    """
    n = len(sublayers(model.params))
    read, come = tokens_at(ids, targets)
    differ = read != come
    at = np.arange(len(read))
    measured = {name: [] for name in ("loss", "p read", "p next", "rank read", "rank next", "read ahead")}
    for k in range(n + 1):
        with silenced(model.params, range(k, n)):
            log_p = log_probabilities(model, ids, targets)
        measured["loss"].append(losses(log_p, come).mean())
        ahead = log_p[at, read] > log_p[at, come]
        measured["read ahead"].append(ahead[differ].mean())
        for name, tokens in (("read", read), ("next", come)):
            own = log_p[at, tokens]
            measured[f"p {name}"].append(np.exp(own)[differ].mean())
            measured[f"rank {name}"].append(np.median(1 + (log_p > own[:, None]).sum(axis=1)[differ]))
    return measured


def undoing(model, ids, targets):
    """What silencing each sublayer alone adds to the loss: a list over sublayers."""
    def loss():
        return losses(log_probabilities(model, ids, targets), tokens_at(ids, targets)[1]).mean()

    base, costs = loss(), []
    for k in range(len(sublayers(model.params))):
        with silenced(model.params, [k]):
            costs.append(loss() - base)
    return costs


# ---- symmetry ------------------------------------------------------------------------------------

def after_one(model):
    """(V, V): row u holds the logits of a sequence that consists of token u."""
    V = model.config.vocab_size
    return np.concatenate([model.forward(np.arange(start, min(start + 256, V))[:, None])[0][:, 0]
                           for start in range(0, V, 256)]).astype(float)


def symmetric_share(scores):
    """The share of a square matrix's sum of squares that is symmetric, with rows' and columns' means taken out.

    1 for a symmetric matrix (and for one of which nothing is left), 0 for an antisymmetric one, about 1/2
    for independent numbers.
    """
    S = scores - scores.mean(axis=0) - scores.mean(axis=1, keepdims=True) + scores.mean()
    half = (S + S.T) / 2
    total = np.sum(S * S)
    return float(np.sum(half * half) / total) if total > 0 else 1.0


# ---- frequency -----------------------------------------------------------------------------------

def ridge(X, y):
    """X (n, D), y (n,) -> (w, c): y is predicted as X w + c, by least squares with a penalty on |w|².

    The penalty is the one with the least squared error of predicting each y from all the others,
    which needs no refitting: it is that of the residuals divided by 1 - their leverage (Allen 1974).
    """
    centre, middle = X.mean(axis=0), y.mean()
    U, s, Vt = np.linalg.svd(X - centre, full_matrices=False)
    along = U.T @ (y - middle)
    best = None
    for penalty in (s[0] + 1e-300) ** 2 * 10.0 ** np.arange(-8, 2, 0.5):
        shrink = s * s / (s * s + penalty)
        residuals = (y - middle - U @ (shrink * along)) / (1 - U ** 2 @ shrink - 1 / len(y))
        error = residuals @ residuals
        if best is None or error < best[0]:
            best = error, shrink
    with np.errstate(divide="ignore"):
        inverse = np.where(s > 1e-12 * s[0], 1 / s, 0)
    w = Vt.T @ (best[1] * inverse * along)
    return w, middle - centre @ w


def predicted_share(X, y, seed=0, folds=5):
    """The share of y's variance that `ridge` predicts of rows it was not fitted to: R² over `folds` parts.

    Below 0 if it predicts them worse than their mean does.
    """
    part = np.random.default_rng(seed).permutation(len(y)) % folds
    error = np.zeros(len(y))
    for fold in range(folds):
        inside = part != fold
        w, c = ridge(X[inside], y[inside])
        error[~inside] = y[~inside] - X[~inside] @ w - c
    return float(1 - error @ error / np.sum((y - y.mean()) ** 2))


def frequency(rows, log_counts, bias):
    """How much of log frequency the rows (n, D) hold: along the bias (D,), in any direction, in their length.

    "shuffled" is the best direction again, for the same frequencies dealt out at random.
    """
    shuffled = np.random.default_rng(1).permutation(log_counts)
    return {"norm": correlation(np.sqrt((rows * rows).sum(axis=1)), log_counts) ** 2,
            "bias": correlation(rows @ bias, log_counts) ** 2 if np.any(bias) else 0.0,
            "best direction": predicted_share(rows, log_counts),
            "shuffled": predicted_share(rows, shuffled)}


# ---- surgery -------------------------------------------------------------------------------------

FACTORS = (1 / 400, 1 / 20, 1 / 5, 1, 5, 20, 400)
ENDS = {"both": ("E", "head"), "output": ("head",), "input": ("E",)}


def direction_for(rows, log_counts, bias):
    """name -> (D,), the step of a row that should multiply its token's probability by e.

    "best direction": the least step by which `ridge` then predicts log frequency to be 1 more.
    "bias": the least one by which the final LayerNorm's bias adds 1 to the logit, in every context.
    "random": as long as the first, to anywhere.
    """
    w, _ = ridge(rows, log_counts)
    best = w / (w @ w)
    anywhere = np.random.default_rng(2).normal(size=len(w))
    directions = {"best direction": best, "random": anywhere * norm(best) / norm(anywhere)}
    return directions | ({"bias": bias / (bias @ bias)} if np.any(bias) else {})


def operate(model, ids, targets, tokens, steps, factors=FACTORS):
    """Rows of `tokens` moved by log r · step, one at a time, at one end or both: what comes of it.

    steps   name -> (D,), from direction_for; the first is tried at every end, the others at the output
    -> "name, end" -> {quantity: (factors, tokens) array}:
    ratio       mean probability of the token over all positions, after / before
    next, elsewhere     change of the loss where it comes next, and where it does not
    read        change of the loss where it is the token read
    """
    twin = model.untied()
    arrays = {"E": twin.params.E, "head": twin.params.head}
    read, come = tokens_at(ids, targets)
    before = log_probabilities(twin, ids, targets)
    loss = losses(before, come)
    first = next(iter(steps))
    results = {}
    for name, step in steps.items():
        for end in ENDS if name == first else ("output",):
            result = {what: np.full((len(factors), len(tokens)), np.nan) for what in ("ratio", "next", "elsewhere", "read")}
            for j, token in enumerate(tokens):
                for i, r in enumerate(factors):
                    kept = {array: arrays[array][token].copy() for array in ENDS[end]}
                    for array in kept:
                        arrays[array][token] += np.log(r) * step
                    log_p = log_probabilities(twin, ids, targets)
                    for array, row in kept.items():
                        arrays[array][token] = row
                    change = losses(log_p, come) - loss
                    after, first_p = (np.exp(one[:, token].astype(float)).mean() for one in (log_p, before))
                    result["ratio"][i, j] = after / first_p
                    for what, where in (("next", come == token), ("elsewhere", come != token), ("read", read == token)):
                        if where.any():
                            result[what][i, j] = change[where].mean()
            results[f"{name}, {end}"] = result
    return results


def middling(counts, ids, n):
    """n tokens of `ids`, evenly spaced among those of its 200 commonest that `counts` has too.

    Not the ten commonest: what is likely already cannot become 20 times as likely.
    """
    here = np.bincount(ids.ravel(), minlength=len(counts)) * (counts > 0)
    order = np.argsort(-here, kind="stable")[:200]
    order = order[here[order] >= 2]
    order = order[10:] if len(order) >= 10 + n else order
    return order[np.linspace(0, len(order) - 1, min(n, len(order))).astype(int)]


# ---- magnitude -----------------------------------------------------------------------------------

SCALES = (1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8)
SIDES = {"E on the input": ("E",), "E and P on the input": ("E", "P"), "head on the output": ("head",)}


def magnitude(model, ids, targets):
    """All rows at one end multiplied by each of SCALES: side -> {"loss", "guesses"}, lists over scales.

    guesses     the share of positions whose likeliest token is another one
    """
    twin = model.untied()
    come = tokens_at(ids, targets)[1]
    guesses = log_probabilities(twin, ids, targets).argmax(axis=1)
    results = {}
    for side, names in SIDES.items():
        results[side] = {"loss": [], "guesses": []}
        kept = [(twin.params.named()[name], twin.params.named()[name].copy()) for name in names]
        for scale in SCALES:
            for array, before in kept:
                array[...] = before * scale
            log_p = log_probabilities(twin, ids, targets)
            results[side]["loss"].append(losses(log_p, come).mean())
            results[side]["guesses"].append(np.mean(log_p.argmax(axis=1) != guesses))
        for array, before in kept:
            array[...] = before
    return results


# ---- gradients -----------------------------------------------------------------------------------

def compare_contributions(lookup, logits):
    """lookup, logits (V, D), the two contributions to dE -> numbers on their sizes, rows and angle.

    "row cosine" is the mean over rows that were looked up, "row cosine size" the root mean square;
    "random cosine": see statistics.random_cosine.
    """
    both = np.any(lookup, axis=1) & np.any(logits, axis=1)
    cosines = cosine(lookup[both], logits[both], axis=1)
    return {"lookup": norm(lookup), "logits": norm(logits),
            "lookup rows": np.any(lookup, axis=1).mean(), "logits rows": np.any(logits, axis=1).mean(),
            "cosine": cosine(lookup, logits),
            "random cosine": random_cosine(lookup, logits),
            "row cosine": cosines.sum() / max(1, len(cosines)),
            "row cosine size": np.sqrt((cosines ** 2).sum() / max(1, len(cosines)))}
