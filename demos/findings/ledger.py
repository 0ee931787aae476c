"""The ledger: what a tie costs, and to whom. Every model trained for the findings is named here.

Tied minus untied at equal width is taken apart with a third kind, which reads E[π(id)] and predicts
with E: as many numbers as tied, but a row's two uses belong to different tokens.

    tied - untied = (permuted - untied) + (tied - permuted)
                    what sharing parameters costs, and what it is worth that they are the same token's

and each with and without log unigram probabilities as a fixed bias b of the logits.
"""
from dataclasses import dataclass, replace

import numpy as np

from findings.kinds import Kind
from findings.runs import REVERSIBLE, SOURCE_CODE, SWEEP_SEED, Settings, Task


@dataclass(frozen=True)
class Section:
    """Kinds of model that are compared at the same settings.

    rates   the blocks' learning rates to search, least first, each so many times the one before
    ratios  of E's rate to the blocks', to search
    further at most so many rates beyond an end that is the best
    beside  a section whose search is used instead: the best rate at `ratios` there of the kind of
            this name, or of the tied or untied one; the blocks' rate divided by `slower`
    seeds   how many runs of each kind
    full    trained with --full only
    """
    settings: Settings
    kinds: tuple
    rates: tuple = ()
    ratios: tuple = (1, 4, 8, 16)
    further: int = 1
    beside: str | None = None
    slower: float = 1.0
    seeds: int = 3
    full: bool = False

    def best_rate(self, lab, kind, found):
        """The kind's {"rate", "ratio", "tried"}. found: sections measured before, by name."""
        if not self.beside:
            return search(lab, self.settings, kind, self.rates, self.ratios, self.further)
        near = found[self.beside]
        near = near.get(kind.name) or near["tied" if kind.tied else "untied"]
        _, rate, ratio = min((loss, float(rate), float(ratio))
                             for ratio, losses in near["tried"].items()
                             for rate, loss in losses.items() if float(ratio) in self.ratios)
        return {"rate": rate / self.slower, "ratio": ratio, "tried": {}}


def search(lab, settings, kind, rates, ratios, further):
    """The rate and ratio with the least loss on `choose` with SWEEP_SEED, and all that was tried.

    -> {"rate", "ratio", "tried": {ratio: {rate to 3 digits: loss}}}. While the best rate is at an
    end of those tried, one beyond it is tried, at most `further` times.
    """
    factor, losses = rates[1] / rates[0], {}
    wanted = [(rate, ratio) for ratio in ratios for rate in rates]
    while wanted:
        for run in lab.runs([Task(settings, kind, SWEEP_SEED, *pair) for pair in wanted]):
            pair = run.task.rate, run.task.ratio
            losses[pair] = run.loss if np.isfinite(run.loss) else np.inf
        rate, ratio = min(losses, key=losses.get)
        same = [r for r, other in losses if other == ratio]
        beyond = {min(same): rate / factor, max(same): rate * factor}
        wanted = [(beyond[rate], ratio)] if rate in beyond and further else []
        further -= 1
    tried = {}
    for (rate_tried, ratio_tried), loss in sorted(losses.items()):
        tried.setdefault(f"{ratio_tried:g}", {})[f"{rate_tried:.3g}"] = loss
    return {"rate": rate, "ratio": ratio, "tried": tried}


TIED, UNTIED = Kind("tied"), Kind("untied", tied=False)
PERMUTED = Kind("permuted", lookup="permuted")


def with_b(kind):
    return replace(kind, name=f"{kind.name}, b", bias="frequency")


NO_BIAS = TIED, UNTIED, PERMUTED
CORE = TIED, UNTIED, with_b(TIED), with_b(UNTIED), PERMUTED, with_b(PERMUTED)
BIASES = (
    Kind("tied, b shuffled", bias="shuffled"),
    Kind("untied, b shuffled", tied=False, bias="shuffled"),
    Kind("tied, b learned", bias="learned"),
    Kind("untied, b learned", tied=False, bias="learned"),
    Kind("permuted among like frequency", lookup="like frequency"),
)
OPTIMIZERS = (
    Kind("tied, two pairs of moments", optimizer="two moments"),
    Kind("tied, lookup's gradient × 10", factor=10),
    Kind("tied, lookup × sqrt(D)", lookup="scaled"),
    Kind("tied, Coupled Adam", optimizer="coupled"),
    Kind("untied, Coupled Adam", tied=False, optimizer="coupled"),
)
NO_BLOCK = (TIED, UNTIED, Kind("E M", lookup="matrix"),
            Kind("E M, M symmetric", lookup="symmetric matrix"))

ROOT2 = 2 ** 0.5
PIECES, CHARACTERS = Settings(), Settings(vocab_size=0)
ALONE, CHAIN = Settings(layers=0), Settings(layers=0, source=REVERSIBLE)
COARSE, FEW = (0.008, 0.016, 0.032), (1, 4)
SECTIONS = {
    "pieces": Section(PIECES, CORE, tuple(0.002 * ROOT2 ** i for i in range(5)), further=3,
                      seeds=5),
    "two blocks": Section(Settings(layers=2), (TIED, UNTIED), beside="pieces", slower=ROOT2),
    "biases": Section(PIECES, BIASES, beside="pieces"),
    "characters": Section(CHARACTERS, CORE, (0.004, 0.008), FEW, seeds=5),
    "optimizers": Section(PIECES, OPTIMIZERS, beside="pieces"),
    "no block": Section(ALONE, NO_BLOCK, COARSE, (1,), further=4),
    "no block, reversible": Section(CHAIN, NO_BLOCK, COARSE, (1,), further=4),
    "source code": Section(Settings(source=SOURCE_CODE), NO_BIAS, ratios=FEW, beside="pieces"),
    "pieces, long": Section(replace(PIECES, steps=3000), CORE, ratios=FEW, beside="pieces",
                            slower=ROOT2, seeds=5, full=True),
    "characters, long": Section(replace(CHARACTERS, steps=3000), CORE, ratios=FEW,
                                beside="characters", slower=ROOT2, seeds=5, full=True),
}
LEDGER = ("pieces", "pieces, long", "characters", "characters, long")


def measure(lab, section, found, rates=None):
    """Train a section: name of kind -> {"rate", "ratio", "tried", "runs"}, the runs one a seed.

    found   the sections before it, by name
    rates   name of kind -> {"rate", "ratio", "tried"}, to use in place of a search
    """
    rates = rates or {kind.name: section.best_rate(lab, kind, found) for kind in section.kinds}
    runs = lab.runs([Task(section.settings, kind, seed, rates[kind.name]["rate"],
                          rates[kind.name]["ratio"])
                     for kind in section.kinds for seed in range(1, section.seeds + 1)])
    return {kind.name: {**rates[kind.name], "runs": [run for run in runs if run.task.kind == kind]}
            for kind in section.kinds}
