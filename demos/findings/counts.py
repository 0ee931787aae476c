"""What counts say of a text, and when one should tie, before anything is trained."""
import numpy as np

from lib.statistics import correlation, pairwise_cosines

MIN_COUNT = 10              # occurrences that a token needs for a statement about its row
RELIABLE = 0.1              # agreement that a correction for noise needs, at least
SHUFFLES = 5


def common_tokens(counts):
    """The tokens that occur MIN_COUNT times or more. Raises ValueError if too few do."""
    common = np.flatnonzero(counts >= MIN_COUNT)
    if len(np.unique(counts[common])) < 4:
        raise ValueError(f"text: {len(common)} tokens occur {MIN_COUNT} times or more in it, "
                         "expected tokens of at least 4 such frequencies: a longer text")
    return common


def pair_counts(ids, V):
    """ids (N,) -> C (V, V), how often v follows u."""
    return np.bincount(ids[:-1] * V + ids[1:], minlength=V * V).reshape(V, V)


def markov_chain(C, n, seed=0):
    """n tokens, each drawn from the row of C that the one before it names, in proportion."""
    rng, cumulative = np.random.default_rng(seed), np.cumsum(C, axis=1)
    total, ids = cumulative[:, -1], np.empty(n, int)
    ids[0] = rng.choice(len(C), p=total / total.sum())
    for i, draw in enumerate(rng.random(n - 1)):
        row = cumulative[ids[i]]
        ids[i + 1] = np.searchsorted(row, draw * row[-1], side="right")
    return ids


def successors(text):
    """(V, V): p(next | token) of counts of pairs, each row with 10 of the unigram distribution."""
    C = pair_counts(text.train, text.V) + 10 * np.exp(text.log_p)
    return C / C.sum(axis=1, keepdims=True)


def tells(ids, V):
    """(V,), nats that a token tells about the next one.

    The KL divergence of its successors from the unigram distribution, minus the same in shuffled
    texts.
    """
    rng = np.random.default_rng(0)
    return divergence(ids, V) - np.mean([divergence(rng.permutation(ids), V)
                                         for _ in range(SHUFFLES)], axis=0)


def divergence(ids, V):
    C = pair_counts(ids, V).astype(float)
    p = C / np.maximum(C.sum(axis=1, keepdims=True), 1)
    q = np.bincount(ids, minlength=V) / len(ids)
    ratio = np.where(p > 0, p, 1) / np.where((p > 0) & (q > 0), q, 1)
    return (p * np.log(ratio)).sum(axis=1)


def swaps(C):
    """Of the pairs u ≠ v that the text has both ways, the share at which it swaps, not repeats.

    It swaps where p(u|u) p(v|v) < p(v|u) p(u|v), that is, C_uu C_vv < C_uv C_vu. Pairs are chosen
    by C_uv and C_vu, which favours swaps: hence the shuffled text beside it. nan: no such pair.
    """
    both = np.triu((C > 0) & (C.T > 0), k=1)
    swapped = np.outer(np.diag(C), np.diag(C)) < C * C.T
    return float(swapped[both].mean()) if both.any() else np.nan


def likeness(ids, V):
    """Whether tokens with like successors have like predecessors: a correlation over their pairs.

    How alike two tokens are is the cosine of their rows (columns) of (C - expected) /
    sqrt(expected). Successors are taken from one half of the text and predecessors from the other,
    so that they share no noise of counting: "raw". "corrected" is divided by the root of both
    likenesses' correlations between the halves (Spearman's correction for attenuation); None where
    the halves hardly agree with each other.
    """
    halves = np.split(ids, [len(ids) // 2])
    common = np.intersect1d(*(common_tokens(np.bincount(part, minlength=V)) for part in halves))
    after, before = [], []
    for part in halves:
        C = pair_counts(part, V).astype(float)
        expected = np.outer(C.sum(axis=1), C.sum(axis=0)) / C.sum()
        R = (C - expected) / np.sqrt(np.where(expected > 0, expected, 1))
        after.append(pairwise_cosines(R[common]))
        before.append(pairwise_cosines(R.T[common]))
    raw = (correlation(after[0], before[1]) + correlation(after[1], before[0])) / 2
    reliable = correlation(*after), correlation(*before)
    corrected = raw / np.sqrt(np.prod(reliable)) if min(reliable) > RELIABLE else None
    return {"raw": raw, "corrected": corrected}


def fifths(values, read, counts, parts=5):
    """values, read (M,): means of values by the token read, in fifths of the text, rarest first."""
    order = np.argsort(counts, kind="stable")
    share = np.cumsum(counts[order]) / counts.sum()
    part = np.empty(len(counts), int)
    part[order] = np.minimum((share * parts).astype(int), parts - 1)
    there = [part[read] == i for i in range(parts)]
    return [float(values[where].sum() / max(1, where.sum())) for where in there]
