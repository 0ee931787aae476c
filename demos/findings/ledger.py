"""The ledger: what a tie costs, and to whom. Every model trained for the findings is named here.

Tied minus untied at equal width is taken apart with a third kind, which reads E[π(id)] and predicts
with E: as many numbers as tied, but a row's two uses belong to different tokens.

    tied - untied = (permuted - untied) + (tied - permuted)
                    what sharing numbers costs, and what it is worth that they are the same token's

and each with and without log unigram probabilities as a fixed bias b of the logits.
"""
from dataclasses import dataclass, replace

from lib.experiments import (
    PERMUTED, REVERSIBLE, SOURCE_CODE, TIED, UNTIED, Kind, Rates, Settings, Task, search,
    with_frequency)

ROOT2 = 2 ** 0.5


@dataclass(frozen=True)
class Section:
    """Kinds of model that are compared at the same settings.

    kinds   name -> Kind
    grid    the rates that are searched
    beside  the section near whose best rates they are searched instead: those of the same name, or
            of its tied or untied model
    below, above    from so many factors of sqrt(2) below that rate to so many above
    seeds   how many runs of each kind
    keep    names of the kinds whose models and contributions are looked at, not only their losses
    full    trained with --full only
    """
    settings: Settings
    kinds: dict
    grid: Rates = Rates()
    beside: str | None = None
    below: int = 1
    above: int = 1
    seeds: int = 5
    keep: tuple = ()
    full: bool = False

    def grids(self, found):
        """Kind -> Rates. found: name of section -> what `measure` has returned for it."""
        if self.beside is None:
            return dict.fromkeys(self.kinds.values(), self.grid)
        near, grids = found[self.beside], {}
        for name, kind in self.kinds.items():
            start = near[name if name in near else "tied" if kind.tied else "untied"]
            grids[kind] = Rates(start["rate"] / ROOT2 ** self.below, self.below + self.above + 1,
                                ROOT2, (start["ratio"],), 0)
        return grids


CORE = {"tied": TIED, "untied": UNTIED, "tied, b": with_frequency(TIED),
        "untied, b": with_frequency(UNTIED), "permuted": PERMUTED,
        "permuted, b": with_frequency(PERMUTED)}
NO_BIAS = {name: CORE[name] for name in ("tied", "untied", "permuted")}
TWO = {name: CORE[name] for name in ("tied", "untied")}
BIASES = {
    "tied, b shuffled": Kind(bias="shuffled"),
    "untied, b shuffled": Kind(tied=False, bias="shuffled"),
    "tied, b learned": Kind(bias="learned"),
    "untied, b learned": Kind(tied=False, bias="learned"),
    "permuted among like frequency": Kind(lookup="like frequency"),
}
OPTIMIZERS = {
    "tied, two pairs of moments": Kind(optimizer="two moments"),
    "tied, lookup's gradient × 10": Kind(factor=10),
    "tied, lookup × sqrt(D)": Kind(lookup="scaled"),
    "tied, Coupled Adam": Kind(optimizer="coupled"),
    "untied, Coupled Adam": Kind(tied=False, optimizer="coupled"),
}
NO_BLOCK = {"tied": TIED, "untied": UNTIED, "E M": Kind(lookup="matrix"),
            "E M, M symmetric": Kind(lookup="symmetric matrix")}

BASE = Settings(layers=1, width=48)
CHARACTERS, LONG = replace(BASE, vocab_size=0), replace(BASE, steps=3000)
ALONE, CHAIN = replace(BASE, layers=0), replace(BASE, layers=0, source=REVERSIBLE)
FEW, HIGH = Rates(0.004, 2, 2, (1, 4), 1), Rates(0.008, 3, 2, (1,), 1)
SECTIONS = {
    "pieces": Section(BASE, CORE, keep=tuple(CORE)),
    "two blocks": Section(replace(BASE, layers=2), TWO, beside="pieces", above=-1, seeds=3,
                          keep=tuple(TWO)),
    "biases": Section(BASE, BIASES, beside="pieces", below=0, above=0, seeds=3,
                      keep=("tied, b learned",)),
    "characters": Section(CHARACTERS, CORE, FEW, keep=tuple(NO_BIAS)),
    "optimizers": Section(BASE, OPTIMIZERS, beside="pieces", below=0, above=0, seeds=3,
                          keep=("tied, lookup's gradient × 10",)),
    "no block": Section(ALONE, NO_BLOCK, HIGH, seeds=3),
    "no block, reversible": Section(CHAIN, NO_BLOCK, HIGH, seeds=3),
    "pieces, long": Section(LONG, CORE, beside="pieces", above=-1, seeds=3, full=True),
    "source code": Section(replace(BASE, source=SOURCE_CODE), NO_BIAS, beside="pieces", below=0,
                           above=0, seeds=3),
    "characters, long": Section(replace(CHARACTERS, steps=3000), CORE, beside="characters",
                                above=-1, seeds=3, full=True),
}
LEDGER = ("pieces", "pieces, long", "characters", "characters, long")


def measure(lab, name, found, rates=None, seeds=None, settings=None):
    """Train a section: name of kind -> {"rate", "ratio", "tried", "runs"}, the runs one a seed.

    found   the sections before it, by name
    rates   name of kind -> {"rate", "ratio", "tried"}: these, and a search for other kinds only
    seeds, settings     in place of the section's, whose seeds are 1, 2, ...: none is the search's
    """
    section = SECTIONS[name]
    settings, seeds = settings or section.settings, seeds or range(1, section.seeds + 1)
    rates, searched = dict(rates or {}), {}
    others = {kind: one for kind, one in section.kinds.items() if kind not in rates}
    if others:
        grids = section.grids(found)
        searched = search(lab, settings, list(others.values()),
                          {one: grids[one] for one in others.values()})
    for kind, one in others.items():
        rate, ratio = searched[one]["best"]
        rates[kind] = {"rate": rate, "ratio": ratio, "tried": by_ratio(searched[one]["tried"])}
    tasks = {kind: [Task(settings, one, seed, rates[kind]["rate"], rates[kind]["ratio"],
                         kind in section.keep) for seed in seeds]
             for kind, one in section.kinds.items()}
    lab.runs([task for those in tasks.values() for task in those])
    return {kind: {**rates[kind], "runs": lab.runs(tasks[kind])} for kind in section.kinds}


def by_ratio(tried):
    """{(rate, ratio): loss} -> {ratio: {rate: loss}}, rates to 3 digits, in order."""
    found = {}
    for (rate, ratio), loss in sorted(tried.items()):
        found.setdefault(f"{ratio:g}", {})[f"{rate:.3g}"] = loss
    return found


def losses(section):
    """What `measure` returned, for JSON: the runs' losses, one a seed, in place of the runs."""
    return {name: {"rate": one["rate"], "ratio": one["ratio"], "tried": one["tried"],
                   "loss": [run.loss for run in one["runs"]]} for name, one in section.items()}
