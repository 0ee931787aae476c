"""Measurements of the trained models, besides their losses: plain numbers, lists over seeds.

`kinds` is what `ledger.measure` returned for a section: name of kind -> {"runs": list of Run, ...}.
"""
import numpy as np

from findings import counts
from findings.runs import batches
from lib import instruments
from lib.statistics import cosine, norm, pairwise_cosines, rank_correlation, residuals
from minigpt_np.training.data import consecutive_batches

SEQUENCES = 128             # of the text that are looked at


def sample(ids, block, sequences=SEQUENCES):
    """ids, targets (sequences, T): the beginning of a split of a text."""
    return next(consecutive_batches(ids, sequences, block))


def over(runs, measure):
    """measure(run) -> {name: number or list}, of each run -> {name: list over runs}."""
    found = [measure(run) for run in runs]
    return {name: [one[name] for one in found] for name in found[0]}


def ladder(kinds, text, block):
    """Tied, and untied read with head and with E; and what silencing each sublayer costs.

    "counts" is what no model is needed for: how often the token read is the commoner one, and the
    loss of counts of pairs at these positions.
    """
    ids, targets = sample(text.report, block)
    tied, untied = (kinds[name]["runs"] for name in ("tied", "untied"))

    def rungs(run):
        return instruments.ladder(run.model.gpt, ids, targets)

    def read_with_E(run):
        twin = instruments.read_with(run.model.gpt, run.model.params.E)
        return instruments.ladder(twin, ids, targets)

    def costs(runs):
        return [instruments.costs_of_silence(run.model.gpt, ids, targets) for run in runs]

    read, come = ids[ids != targets], targets[ids != targets]
    without = {"read ahead": float((text.log_p[read] > text.log_p[come]).mean()),
               "pairs": float(-np.log(counts.successors(text)[ids, targets]).mean())}
    return {"rungs": instruments.rungs(tied[0].model.params), "counts": without,
            "tied": over(tied, rungs), "untied": over(untied, rungs),
            "untied, read with E": over(untied, read_with_E),
            "silenced": {"tied": costs(tied), "untied": costs(untied)}}


def likelihood(kinds, text, block):
    """Heads along their mean final vectors; untied, also its E in the head's place."""
    ids, targets = sample(text.choose, block)
    tokens = counts.common_tokens(text.counts)

    def direction(model):
        return instruments.direction(model, ids, targets, text.counts, tokens)

    found = {name: over(kinds[name]["runs"], lambda run: direction(run.model))
             for name in ("tied", "untied", "tied, b", "untied, b", "tied, b learned")
             if name in kinds}
    found["untied input"] = over(kinds["untied"]["runs"], lambda run: direction(
        instruments.read_with(run.model.gpt, run.model.params.E)))
    return found


def length(kinds, text, block):
    """Signed rank correlations of rows' lengths; and what lengthening an input row does."""
    tokens, information = counts.common_tokens(text.counts), counts.tells(text.train, text.V)
    ids, targets = sample(text.report, block)
    some = instruments.middling(text.counts, ids, 20)

    def correlations(kind, matrix):
        return over(kinds[kind]["runs"], lambda run: instruments.length_correlations(
            getattr(run.model.params, matrix), tokens,
            {"log frequency": text.log_p, "times looked up": lookups(run.task),
             "what it tells": information}))

    def lengthened(run):
        return instruments.costs_of_lengthening(run.model.gpt, ids, targets, some)

    return {"tied E": correlations("tied", "E"), "untied input": correlations("untied", "E"),
            "untied output": correlations("untied", "head"),
            "tied E, b": correlations("tied, b", "E"),
            "lengthened": {kind: over(kinds[kind]["runs"], lengthened)
                           for kind in ("tied", "untied")}}


def lookups(task):
    """(V,), how often each token was looked up in a run."""
    return sum(np.bincount(ids.ravel(), minlength=task.text.V) for ids, _ in batches(task))


# ---- who moves E ---------------------------------------------------------------------------------

TIMES_10 = "tied, lookup's gradient × 10"


def movers(kinds, text):
    """The two contributions over time, their shares of E's way, and what E is like in the end."""
    tokens = counts.common_tokens(text.counts)
    beside = {"tied": "untied", "tied, b": "untied, b", TIMES_10: "untied"}
    beside = {tied: other for tied, other in beside.items() if tied in kinds}

    def ratios(name):
        return [run.sizes[:, 1] / run.sizes[:, 2] for run in kinds[name]["runs"]]

    return {"step": kinds["tied"]["runs"][0].sizes[:, 0],
            "ratio": {name: ratios(name) for name in ("tied", "untied", "tied, b", "untied, b")},
            "shares": {name: over(kinds[name]["runs"], lambda run: shares(run.moved, text.log_p))
                       for name in beside},
            "alignment": {name: alignments(kinds[name]["runs"], kinds[other]["runs"], text.log_p,
                                           tokens) for name, other in beside.items()}}


def shares(moved, log_p):
    """Of a tied run's way: the lookup's share of it, and both parts' lengths relative to the way's.

    The share is the part's projection on the way; the two shares add up to 1. "whole": the way as
    it is; "shift out": without the mean over rows, which at the head changes no probability;
    "frequency out": without what is linear in log frequency as well.
    """
    lookup, logits = moved.astype(float)
    ways = {"whole": lambda x: x, "shift out": lambda x: x - x.mean(axis=0),
            "frequency out": lambda x: residuals(x, log_p)}
    found = {}
    for name, reduced in ways.items():
        a, b = reduced(lookup), reduced(logits)
        way = a + b
        found |= {f"{name}, share": float(np.sum(a * way) / np.sum(way * way)),
                  f"{name}, lookup": norm(a) / norm(way), f"{name}, logits": norm(b) / norm(way),
                  f"{name}, way": norm(way), f"{name}, cosine": cosine(a, b)}
    return found


def alignments(tied, untied, log_p, tokens):
    """Lists of runs, paired by seed -> name -> list: E with the untied input and output; ceilings.

    An alignment is the rank correlation of the cosines of all pairs of rows, with what is linear in
    log frequency regressed out of the rows before. A ceiling is the alignment of two runs of one
    kind: this seed's and the next one's (so that the five are not independent). "corrected" is
    divided by the root of both kinds' ceilings; None where two runs of one kind hardly agree.
    """
    def pairs(matrix):
        return pairwise_cosines(residuals(matrix[tokens].astype(float), log_p[tokens]))

    def of(first, second):
        return [rank_correlation(a, b) for a, b in zip(first, second)]

    def ceiling(matrices):
        return of(matrices, matrices[1:] + matrices[:1])

    E = [pairs(run.model.params.E) for run in tied]
    read = [pairs(run.model.params.E) for run in untied[:len(tied)]]
    head = [pairs(run.model.params.head) for run in untied[:len(tied)]]
    found = {"with output": of(E, head), "with input": of(E, read),
             "input with output": of(read, head), "ceiling, tied": ceiling(E),
             "ceiling, input": ceiling(read), "ceiling, output": ceiling(head)}
    for name in ("output", "input"):
        ceilings = np.array([found["ceiling, tied"], found[f"ceiling, {name}"]])
        found[f"with {name}, corrected"] = (
            list(found[f"with {name}"] / np.sqrt(ceilings.prod(axis=0)))
            if ceilings.min() > counts.RELIABLE else None)
    return found


# ---- when should one tie? ------------------------------------------------------------------------

def when(kinds, text, block):
    """What counts of a text say, and the losses by the frequency of the token read."""
    ids, targets = sample(text.report, block, len(text.report))
    shuffled = np.random.default_rng(0).permutation(text.train)

    def fifths(run):
        losses = instruments.losses(run.model, ids, targets)
        return counts.fifths(losses, ids.ravel(), text.counts)

    said = {name: {"likeness": counts.likeness(some, text.V),
                   "swaps": counts.swaps(counts.pair_counts(some, text.V))}
            for name, some in (("text", text.train), ("shuffled", shuffled))}
    return {"V": text.V, "counts": said, "by frequency": {
        kind: [fifths(run) for run in kinds[kind]["runs"]]
        for kind in ("tied", "untied", "permuted")}}


def bigram(text):
    """The loss of counts of pairs on `report`."""
    return float(-np.log(counts.successors(text)[text.report[:-1], text.report[1:]]).mean())
