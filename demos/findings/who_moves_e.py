"""Who moves E: the two contributions over time, their shares of E's way, what E is like then."""
import numpy as np

from lib.statistics import norm, pairwise_cosines, rank_correlation, residuals


def sizes(run):
    """Over the probes: the step, and |the lookup's part of dE| / |the logits' part|."""
    step, lookup, logits = run.gradients[:, :3].T
    return {"step": step, "ratio": lookup / logits}


def shares(run, log_p):
    """Of a tied run's way: the lookup's share of it, and both parts' lengths relative to the way's.

    The share is the part's projection on the way; the two shares add up to 1. "whole": the way as
    it is; "shift out": without the mean over rows, which at the head changes no probability;
    "frequency out": without what is linear in log frequency as well.
    """
    lookup, logits = run.moved.astype(float)
    ways = {"whole": lambda x: x, "shift out": lambda x: x - x.mean(axis=0),
            "frequency out": lambda x: residuals(x, log_p)}
    found = {}
    for name, reduced in ways.items():
        a, b = reduced(lookup), reduced(logits)
        way = a + b
        found |= {f"{name}, share": float(np.sum(a * way) / np.sum(way * way)),
                  f"{name}, lookup": norm(a) / norm(way), f"{name}, logits": norm(b) / norm(way),
                  f"{name}, way": norm(way),
                  f"{name}, cosine": float(np.sum(a * b)) / (norm(a) * norm(b))}
    return found


def alignment(a, b, log_p, tokens):
    """Rank correlation of the cosines of all pairs of rows of a and b (V, D).

    What is linear in log frequency is regressed out of the rows before.
    """
    return rank_correlation(*(pairwise_cosines(residuals(rows[tokens].astype(float), log_p[tokens]))
                              for rows in (a, b)))


def alignments(tied, untied, log_p, tokens):
    """Lists of runs, paired by seed -> name -> list: E with the untied input and output; ceilings.

    A ceiling is the alignment of two runs of one kind: this seed's and the next one's (so that the
    five are not independent). "corrected" is divided by the root of both kinds' ceilings.
    """
    def of(first, second):
        return [alignment(a, b, log_p, tokens) for a, b in zip(first, second)]

    def ceiling(matrices):
        return of(matrices, matrices[1:] + matrices[:1])

    E = [run.model.params.E for run in tied]
    read, head = ([getattr(run.model.params, name) for run in untied] for name in ("E", "head"))
    found = {"with output": of(E, head), "with input": of(E, read),
             "input with output": of(read, head),
             "ceiling, tied": ceiling(E), "ceiling, input": ceiling(read),
             "ceiling, output": ceiling(head)}
    for name in ("output", "input"):
        both = np.multiply(found["ceiling, tied"], found[f"ceiling, {name}"])
        found[f"with {name}, corrected"] = list(found[f"with {name}"] / np.sqrt(both))
    return found
