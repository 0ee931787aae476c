"""When should one tie? What a text's counts of pairs say before anything is trained."""
import numpy as np

from lib.experiments import pair_counts
from lib.instruments import common_tokens
from lib.statistics import correlation


def measure(ids, V):
    """ids (N,): what their counts say, and those of the same ids shuffled."""
    shuffled = np.random.default_rng(0).permutation(ids)
    return {"text": counts_say(ids, V), "shuffled": counts_say(shuffled, V), "V": V}


def counts_say(ids, V):
    """See `likeness` and `swaps`."""
    return {"likeness": likeness(ids, V), **swaps(pair_counts(ids, V))}


def swaps(C):
    """The pairs u ≠ v that the text has both ways, and the share in which it rather swaps than
    repeats.

    It swaps where p(u|u) p(v|v) < p(v|u) p(u|v), that is, C_uu C_vv < C_uv C_vu. Pairs are chosen
    by C_uv and C_vu, which favours swaps: hence the shuffled text beside it.
    """
    both = np.triu((C > 0) & (C.T > 0), k=1)
    swapped = np.outer(np.diag(C), np.diag(C)) < C * C.T
    with np.errstate(invalid="ignore"):         # nan: nothing goes both ways
        return {"pairs both ways": int(both.sum()),
                "swaps": float(swapped[both].sum() / both.sum())}


def likeness(ids, V):
    """Whether tokens with like successors have like predecessors: a correlation over pairs of
    tokens.

    How alike two tokens are is the cosine of their rows (columns) of (C - expected) /
    sqrt(expected). Successors are taken from one half of the text and predecessors from the other,
    so that they share no noise of counting: "raw". "corrected" is divided by the root of both
    likenesses' correlations between the halves (Spearman's correction for attenuation).
    """
    half = len(ids) // 2
    halves = ids[:half], ids[half:]
    common = np.intersect1d(*(common_tokens(np.bincount(part, minlength=V)) for part in halves))
    after, before = [], []
    for part in halves:
        C = pair_counts(part, V).astype(float)
        expected = np.outer(C.sum(axis=1), C.sum(axis=0)) / C.sum()
        R = (C - expected) / np.sqrt(np.where(expected > 0, expected, 1))
        after.append(cosines(R[common]))
        before.append(cosines(R.T[common]))
    raw = (correlation(after[0], before[1]) + correlation(after[1], before[0])) / 2
    reliable = correlation(*after), correlation(*before)
    corrected = raw / np.sqrt(np.prod(reliable)) if min(reliable) > 0 else np.nan
    return {"tokens": len(common), "raw": raw, "corrected": float(corrected),
            "successors, halves": reliable[0], "predecessors, halves": reliable[1]}


def cosines(rows):
    unit = rows / np.sqrt((rows * rows).sum(axis=1, keepdims=True))
    return (unit @ unit.T)[np.triu_indices(len(rows), k=1)]


def by_frequency(losses, read, counts, parts=5):
    """losses, read (M,): mean losses by the token read, in fifths of the text, rarest first."""
    order = np.argsort(counts, kind="stable")
    share = np.cumsum(counts[order]) / counts.sum()
    part = np.empty(len(counts), int)
    part[order] = np.minimum((share * parts).astype(int), parts - 1)
    there = [part[read] == i for i in range(parts)]
    return [float(losses[where].sum() / max(1, where.sum())) for where in there]
