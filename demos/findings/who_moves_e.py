"""Who moves E, and when: the two contributions to its gradient, and to its steps, from step 1.

(Lopardo et al. 2026, arXiv 2603.26663: the output's gradients dominate early.)
"""
import numpy as np

from lib.charts import Lines, spread
from lib.instruments import compare_contributions
from lib.lab import TIED, Kind
from lib.report import agrees, in_seeds, verdict

LOGITS_ONLY = Kind("lookup × 0", lookup=0.0)
LOOKUP_ONLY = Kind("logits × 0", logits=0.0)


def kinds(settings):
    return [TIED, LOGITS_ONLY, LOOKUP_ONLY]


def measure(lab):
    runs = lab.runs(TIED)
    numbers = {"probes": {name: [run.probes[name] for run in runs] for name in runs[0].probes if name != "steps"},
               "steps": runs[0].probes["steps"], "V": lab.V, "D": lab.settings.width}
    numbers["loss"] = {name: [run.loss for run in lab.runs(kind)] for name, kind in
                       (("both", TIED), ("the logits' alone", LOGITS_ONLY), ("the lookup's alone", LOOKUP_ONLY))}
    return numbers


def examine(subject):
    lookup, logits = subject.contributions()
    return {"once": compare_contributions(lookup, logits), "V": len(lookup), "D": lookup.shape[1]}


# ---- telling -------------------------------------------------------------------------------------

def ratios(numbers):
    """(seeds, probes): the norm of the lookup's contribution over that of the logits'."""
    return np.array(numbers["probes"]["lookup"]) / np.array(numbers["probes"]["logits"])


def early(numbers):
    """Which probes are in the first tenth of the steps, but for the first three; all, if none is."""
    steps = np.array(numbers["steps"])
    chosen = (steps <= steps[-1] / 10) & (steps > 3)
    return chosen if chosen.any() else steps > 0


def answer(numbers):
    if "once" in numbers:
        one = numbers["once"]
        return (f"On this text the lookup's gradient is {one['lookup'] / one['logits']:.2f} times as large as the logits'.",
                f"Their cosine is {one['cosine']:.3f}; random directions of the rows would give 0 ± "
                f"{one['random cosine']:.3f}. The lookup's touches {100 * one['lookup rows']:.0f}% of the rows.")
    ratio, moved = ratios(numbers), np.array(numbers["probes"]["lookup share so far"])[:, -1]
    low, where = ratio.min(axis=1), ratio.argmin(axis=1)
    claim = "Both of its uses move E."
    if np.all(moved < 0.25):
        claim = "The logits move E" + (", first almost alone" if np.all(low < 0.2) else "") + (
            ": that the lookup's gradient grows large changes little of where E goes.")
    return (claim,
            f"The lookup's gradient falls to {spread(low, 3)} of the logits' (step {steps_at(numbers, where)}) and ends at "
            f"{spread(ratio[:, -1], 2)}; of E's whole way the lookup's share is {spread(100 * moved, 0)}%.")


def steps_at(numbers, where):
    steps = [numbers["steps"][i] for i in where]
    return f"{min(steps)}" if min(steps) == max(steps) else f"{min(steps)} to {max(steps)}"


def tell(numbers, report):
    if "once" in numbers:
        tell_once(numbers, report)
        return
    steps, probes = numbers["steps"], {name: np.array(values) for name, values in numbers["probes"].items()}
    ratio = ratios(numbers)
    dominated = np.median(ratio[:, early(numbers)], axis=1) < 0.5
    report.say("Claim: the logits' gradient dominates early (Lopardo et al. 2026). "
               f"{verdict(dominated)} that over the first tenth of the steps the lookup's is, in the median, less than half of it; "
               f"this {agrees(dominated)} theirs. Later the two gradients are of a size: {spread(ratio[:, -1], 2)} at the last step.")
    report.say("Control: a gradient is not a step. Adam divides by the root of a mean square that both have made, so the "
               "step is taken apart too: its mean gradient is the sum of one for each use, and each quotient's projection on the "
               f"step is that use's share. The two add up to the step to within {probes['error'].max():.0e} of its norm.")
    wanted = [i for i, step in enumerate(steps) if i in marks(steps)]
    report.table(["step", *(f"{steps[i]}" for i in wanted)],
                 [[text, *(f"{probes[name][:, i].mean():.{digits}f}" for i in wanted)] for text, name, digits in (
                     ("|lookup's gradient|", "lookup", 3), ("|logits' gradient|", "logits", 3),
                     ("lookup's share of the step", "lookup share", 3),
                     ("lookup's share so far", "lookup share so far", 3),
                     ("rows the lookup touches", "lookup rows", 2), ("rows the logits touch", "logits rows", 2),
                     ("cosine of the two", "cosine", 3), ("random would be 0 ±", "random cosine", 3),
                     ("cosine of rows, rms", "row cosine size", 3))])
    mean = {name: (steps, values.mean(axis=0)) for name, values in probes.items()}
    report.charts(
        Lines("The lookup's gradient all but vanishes, then catches up", "step", "norm",
              {"lookup's": mean["lookup"], "logits'": mean["logits"]}, log_x=True, log_y=True),
        Lines("In Adam's steps likewise", "step", "norm",
              {"lookup's": mean["lookup update"], "logits'": mean["logits update"]}, log_x=True, log_y=True))
    report.charts(
        Lines("Most of each step is the logits'", "step", "share", {"lookup's": mean["lookup share"],
              "logits'": mean["logits share"]}, log_x=True),
        Lines("and of the way since the first step nearly all", "step", "share",
              {"lookup's": mean["lookup share so far"], "logits'": mean["logits share so far"]}, log_x=True))
    z = probes["cosine"] / probes["random cosine"]
    report.charts(Lines("The two pull neither together nor apart", "step", "cosine",
                        {"all of E": mean["cosine"], "two random standard deviations": (steps, 2 * mean["random cosine"][1]),
                         "and below": (steps, -2 * mean["random cosine"][1])}, log_x=True))
    beyond = np.mean(np.abs(z) > 2, axis=1)
    late = np.array(steps) > steps[-1] / 10
    report.say("Are they at right angles? Rows of these lengths in random directions would have a cosine of 0 ± "
               f"{probes['random cosine'].mean():.3f}; two of these are exceeded at {spread(100 * beyond, 0)}% of the steps looked at "
               "(random: 5%). After the first tenth the cosine is on average "
               f"{spread(probes['cosine'][:, late].mean(axis=1))}, that of single rows {spread(probes['row cosine'][:, late].mean(axis=1))}; "
               f"its root mean square over rows is {spread(probes['row cosine size'][:, late].mean(axis=1), 2)}, random directions in D = "
               f"{numbers['D']} would give {numbers['D'] ** -0.5:.2f}.")
    loss = {name: np.array(values) for name, values in numbers["loss"].items()}
    report.say("With one of the two alone moving E, each at its own best learning rate: "
               + "; ".join(f"{name} {spread(values)}" for name, values in loss.items()) + " nats. Without the lookup's the loss "
               f"is higher {in_seeds(loss[LOGITS_NAME] > loss['both'])}, without the logits' {in_seeds(loss[LOOKUP_NAME] > loss['both'])}.")
    report.say("What does not follow: that the lookup's gradient is useless because its share of the way is small. What a "
               "use needs may be a small part of the way; the losses above say what it is worth.")


LOGITS_NAME, LOOKUP_NAME = "the logits' alone", "the lookup's alone"


def marks(steps):
    """Indices of the probes nearest to 1, 3, 10, 30, 100, ... and of the last."""
    wanted = [step for k in range(6) for step in (10 ** k, 3 * 10 ** k) if step < steps[-1]] + [steps[-1]]
    return {int(np.argmin(np.abs(np.log(np.array(steps) / step)))) for step in wanted}


def tell_once(numbers, report):
    one = numbers["once"]
    report.table(["contribution to dE", "lookup's", "logits'"],
                 [["norm", f"{one['lookup']:.4g}", f"{one['logits']:.4g}"],
                  ["share of rows touched", f"{100 * one['lookup rows']:.1f}%", f"{100 * one['logits rows']:.1f}%"]])
    z = one["cosine"] / one["random cosine"] if one["random cosine"] else 0
    report.say(f"The cosine of the two is {one['cosine']:.4f}, {abs(z):.1f} times the {one['random cosine']:.4f} by which that of random "
               f"directions with these rows' lengths would vary; of single rows it is {one['row cosine']:.3f} on average, with a root mean "
               f"square of {one['row cosine size']:.3f} (random: {numbers['D'] ** -0.5:.3f}). What does not follow: what moved E while this model "
               "was trained; this is one gradient, where it ended, on this text.")
