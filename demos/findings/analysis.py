"""What is measured on the trained models beside their losses: plain numbers, lists over seeds."""
import numpy as np

from findings import when_to_tie, who_moves_e
from lib import instruments
from lib.experiments import pair_counts
from minigpt_np import GPT
from minigpt_np.training.data import consecutive_batches, random_batch

SEQUENCES = 128             # of the text that are looked at
SHUFFLES = 5


def gpt(run):
    """The plain GPT of a run without a bias whose lookup is E."""
    return GPT(run.model.config, params=run.model.params)


def sample(piece, block):
    """ids, targets (SEQUENCES, T): the beginning of a piece of a text."""
    return next(consecutive_batches(piece, SEQUENCES, block))


def over(runs, measure):
    """measure(run) -> {name: number or list}, of each run -> {name: list over runs}."""
    found = [measure(run) for run in runs]
    return {name: [one[name] for one in found] for name in found[0]}


def ladder(two, text, block):
    """Tied, and untied read with head and with E; and what silencing each sublayer costs.

    "counts" is what no model is needed for: how often the token read is the commoner one, and the
    loss of counts of pairs at these positions.
    """
    ids, targets = sample(text.report, block)
    runs = {name: one["runs"] for name, one in two.items()}

    def rungs(run):
        return instruments.ladder(gpt(run), ids, targets)

    def read_with_E(run):
        twin = instruments.read_with(gpt(run), run.model.params.E)
        return instruments.ladder(twin, ids, targets)

    def costs(run):
        return instruments.costs_of_silence(gpt(run), ids, targets)

    read, come = ids[ids != targets], targets[ids != targets]
    counts = {"read ahead": float((text.log_p[read] > text.log_p[come]).mean()),
              "pairs": float(-np.log(after(text)[ids, targets]).mean())}
    return {"rungs": instruments.rungs(runs["tied"][0].model.params), "counts": counts,
            "tied": over(runs["tied"], rungs), "untied": over(runs["untied"], rungs),
            "untied, read with E": over(runs["untied"], read_with_E),
            "silenced": {name: [costs(run) for run in those] for name, those in runs.items()}}


def likelihood(pieces, text, block):
    """Heads along their mean final vectors; untied, also its E in the head's place.

    pieces      name of kind -> what `ledger.measure` has returned for it
    """
    ids, targets = sample(text.choose, block)
    tokens = instruments.common_tokens(text.counts)

    def direction(model):
        return instruments.direction(model, ids, targets, text.counts, tokens)

    found = {name: over(pieces[name]["runs"], lambda run: direction(run.model))
             for name in ("tied", "untied", "tied, b", "untied, b", "tied, b learned")
             if name in pieces}
    found["untied input"] = over(pieces["untied"]["runs"], lambda run: direction(
        instruments.read_with(gpt(run), run.model.params.E)))
    return found


def lookups(task, text):
    """(V,), how often each token was looked up in a run."""
    rng, s = np.random.default_rng([task.seed, 100]), task.settings
    batches = (random_batch(text.train, s.batch, s.block, rng)[0] for _ in range(s.steps))
    return sum(np.bincount(ids.ravel(), minlength=text.V) for ids in batches)


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


def length(pieces, text, block):
    """Signed rank correlations of rows' lengths; and what lengthening an input row does."""
    tokens, information = instruments.common_tokens(text.counts), tells(text.train, text.V)
    ids, targets = sample(text.report, block)
    some = instruments.middling(text.counts, ids, 20)

    def correlations(kind, matrix):
        return over(pieces[kind]["runs"], lambda run: instruments.length_correlations(
            getattr(run.model.params, matrix), tokens,
            {"log frequency": text.log_p, "times looked up": lookups(run.task, text),
             "what it tells": information}))

    def lengthened(run):
        return instruments.lengthened(gpt(run), ids, targets, some)

    return {"tied E": correlations("tied", "E"), "untied input": correlations("untied", "E"),
            "untied output": correlations("untied", "head"),
            "tied E, b": correlations("tied, b", "E"),
            "lengthened": {kind: over(pieces[kind]["runs"], lengthened)
                           for kind in ("tied", "untied")}}


def movers(pieces, optimizers, text):
    """The two contributions over time, their shares of E's way, and what E is like in the end."""
    tokens = instruments.common_tokens(text.counts)
    runs = {name: pieces[name]["runs"] for name in ("tied", "untied", "tied, b", "untied, b")}
    beside = {"tied": "untied", "tied, b": "untied, b"}
    if "tied, lookup's gradient × 10" in optimizers:
        runs["× 10"] = optimizers["tied, lookup's gradient × 10"]["runs"]
        beside["× 10"] = "untied"
    sizes = {name: [who_moves_e.sizes(run) for run in those] for name, those in runs.items()}
    return {"step": sizes["tied"][0]["step"],
            "ratio": {name: [one["ratio"] for one in those] for name, those in sizes.items()},
            "shares": {name: over(runs[name], lambda run: who_moves_e.shares(run, text.log_p))
                       for name in beside},
            "alignment": {name: who_moves_e.alignments(
                runs[name], runs[other][:len(runs[name])], text.log_p, tokens)
                for name, other in beside.items()}}


def when(sections, texts, block):
    """Counts of both texts, and the losses by the frequency of the token read."""
    found = {}
    for name, text in texts.items():
        ids, targets = next(consecutive_batches(text.report, len(text.report), block))

        def fifths(run):
            losses = instruments.losses(run.model, ids, targets)
            return when_to_tie.by_frequency(losses, ids.ravel(), text.counts)

        found[name] = {"counts": when_to_tie.measure(text.train, text.V), "by frequency": {
            kind: [fifths(run) for run in sections[name][kind]["runs"]]
            for kind in ("tied", "untied", "permuted")}}
    return found


def bigram(text):
    """The loss of counts of pairs on `report`."""
    return float(-np.log(after(text)[text.report[:-1], text.report[1:]]).mean())


def after(text):
    """(V, V): p(next | token) of counts of pairs, each row with 10 of the unigram distribution."""
    C = pair_counts(text.train, text.V) + 10 * np.exp(text.log_p)
    return C / C.sum(axis=1, keepdims=True)
