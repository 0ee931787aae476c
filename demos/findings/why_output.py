"""Is the larger gradient why a tied E is an output embedding? The lookup's, multiplied: the intervention.

(Press and Wolf 2017: the tied embedding resembles the untied output's. Lopardo et al. 2026, arXiv
2603.26663: because the output's gradients dominate, which scaling the input's can change.)
"""
import numpy as np

from lib.charts import Bars, Lines, spread
from lib.lab import EARLY, TIED, UNTIED, Kind
from lib.report import agrees, in_seeds, verdict
from lib.statistics import pairwise_cosines, rank_correlation

FACTORS = (0, 1, 2, 5, 10)
WHEN = {"throughout": False, "early only": True}


def scaled(factor, early):
    if factor == 1:
        return TIED
    return Kind(f"lookup × {factor}" + ", early" * early, lookup=float(factor), early=early)


def kinds(settings):
    return [TIED, UNTIED] + [scaled(factor, early) for early in WHEN.values() for factor in FACTORS]


def measure(lab):
    ends = {"input": [cosines(lab, run.model.params.E) for run in lab.runs(UNTIED)],
            "output": [cosines(lab, run.model.params.head) for run in lab.runs(UNTIED)]}
    numbers = {"untied loss": [run.loss for run in lab.runs(UNTIED)], "tokens": len(lab.common), "EARLY": EARLY,
               "input, output": list(map(rank_correlation, ends["input"], ends["output"])), "when": {}}
    for when, early in WHEN.items():
        runs = {factor: lab.runs(scaled(factor, early)) for factor in FACTORS}
        numbers["when"][when] = {"loss": [[run.loss for run in runs[f]] for f in FACTORS]}
        own = {f: [cosines(lab, run.model.params.E) for run in runs[f]] for f in FACTORS}
        for end, others in ends.items():
            numbers["when"][when][end] = [list(map(rank_correlation, own[f], others)) for f in FACTORS]
    tied = [cosines(lab, run.model.params.E) for run in lab.runs(TIED)]
    numbers["two seeds"] = list(map(rank_correlation, tied, tied[1:]))
    return numbers


def cosines(lab, matrix):
    """Of all pairs of rows of the common tokens, the mean row taken out."""
    rows = matrix[lab.common].astype(float)
    return pairwise_cosines(rows - rows.mean(axis=0))


# ---- telling -------------------------------------------------------------------------------------

def values(numbers, when, what):
    """(factors, seeds)."""
    return np.array(numbers["when"][when][what])


def nearer_to_output(numbers):
    """(seeds,), whether the tied E, its gradients as they are, is nearer to the untied output than to the input."""
    output, into = (values(numbers, "throughout", end)[FACTORS.index(1)] for end in ("output", "input"))
    return output > into


def answer(numbers):
    one = FACTORS.index(1)
    output, into = (values(numbers, "throughout", end) for end in ("output", "input"))
    turned = into[-1] > output[-1]
    claim = ("E is an output embedding because the logits' gradient outweighs the lookup's; ten times the lookup's makes it an input embedding."
             if turned.all() else "E is an output embedding, but not only because the logits' gradient outweighs the lookup's.")
    return claim, (f"Alignment of E with the untied output and input: {spread(output[one], 2)} and {spread(into[one], 2)}; "
                   f"with ten times the lookup's gradient {spread(output[-1], 2)} and {spread(into[-1], 2)}.")


def tell(numbers, report):
    one = FACTORS.index(1)
    output, into, loss = (values(numbers, "throughout", what) for what in ("output", "input", "loss"))
    nearer = nearer_to_output(numbers)
    towards = (into[-1] - output[-1]) > (into[one] - output[one])
    report.say("Claim: the tied E is an output embedding that is also looked up (Press and Wolf 2017), because the logits' "
               "gradient outweighs the lookup's (Lopardo et al. 2026). The first part. "
               f"{verdict(nearer)} that E is nearer to the untied output than to the untied input, which {agrees(nearer)} Press and Wolf.")
    report.say("Control: the intervention. If the size of the lookup's gradient is the reason, multiplying it must move E "
               f"towards the input. {verdict(towards)}: with ten times the lookup's gradient throughout, input less output is "
               f"{spread(into[-1] - output[-1], 2)}, against {spread(into[one] - output[one], 2)}; this {agrees(towards)} Lopardo et al. "
               f"E comes nearer to the input than to the output {in_seeds(into[-1] > output[-1])}.")
    report.table(["lookup's gradient", "with untied output", "with untied input", "validation loss"],
                 [[f"× {factor} {when}" if factor != 1 else "as it is",
                   *(spread(values(numbers, when, end)[i]) for end in ("output", "input", "loss"))]
                  for when in WHEN for i, factor in enumerate(FACTORS) if factor != 1 or when == "throughout"]
                 + [["two matrices", "", "", spread(numbers["untied loss"])]])
    report.charts(*(Lines(f"{title}: {what}", "lookup's gradient multiplied by", "rank correlation of pairwise cosines",
                          {f"with untied {end}": (FACTORS, values(numbers, when, end).mean(axis=1)) for end in ("output", "input")})
                    for when, title, what in (("throughout", "Throughout", "E turns as far as this"),
                                              ("early only", f"In the first {EARLY:.0%} of steps only", "and so far by that alone"))))
    report.charts(Bars("What the lookup's gradient is worth, at each kind's own best rate", "validation loss less the tied one's",
                       {f"× {factor} {when}": values(numbers, when, "loss")[i] - loss[one]
                        for when in WHEN for i, factor in enumerate(FACTORS) if factor != 1}))
    after = values(numbers, "early only", "input")[-1] - values(numbers, "early only", "output")[-1]
    base, whole = into[one] - output[one], into[-1] - output[-1]
    gain = values(numbers, "early only", "loss")[-1] - loss[one]
    report.say(f"Only early: ten times the lookup's gradient in the first {EARLY:.0%} of the steps leaves input less output at "
               f"{spread(after, 2)}, {spread(100 * (after - base) / (whole - base), 0)}% of the way that it goes throughout: the head takes E back. "
               f"The loss changes by {spread(gain)}, and is lower {in_seeds(gain < 0)}; two matrices are at "
               f"{spread(numbers['untied loss'] - loss[one])} from the tied one.")
    best = np.array(FACTORS)[loss.argmin(axis=0)]
    report.say("Loss: the lowest of the factors throughout is " + ", ".join(f"× {factor} {in_seeds(best == factor)}" for factor in sorted(set(best.tolist())))
               + f"; ten times costs {spread(loss[-1] - loss[one])} and none at all {spread(loss[0] - loss[one])} nats.")
    seeds = f" (the tied E of two seeds: {spread(numbers['two seeds'], 2)})" if numbers["two seeds"] else ""
    report.say(f"Alignment is the rank correlation of the cosines of all pairs among {numbers['tokens']} tokens that the text has ten "
               f"times or more, their mean row taken out{seeds}; the untied input and output with each other have "
               f"{spread(numbers['input, output'], 2)}. Models begin differently, so nothing is alike from the start. What does not "
               "follow: anything about words, which is what Press and Wolf compared; or that an E turned to the input is better or "
               "worse for it: the same factor also changes how fast E moves.")
