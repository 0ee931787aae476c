"""Where likelihood lives: a direction of E holds log frequency, early, and moving a row along it multiplies.

(Cho et al. 2024, arXiv 2406.01468: output embeddings hold token probabilities log-linearly along a
common direction, editable to about 20 times, learnt early.)
"""
import numpy as np

from lib.charts import Bars, Lines, spread
from lib.instruments import FACTORS, direction_for, frequency, middling, operate
from lib.lab import TIED, UNTIED
from lib.report import agrees, in_seeds, verdict
from lib.statistics import correlation

PLACES = {"tied E": (TIED, "E"), "untied output": (UNTIED, "head"), "untied input": (UNTIED, "E")}
SHOWN = {"best direction": "best direction", "bias": "final bias", "norm": "length of the row", "shuffled": "best, shuffled"}
SHOWN_FACTORS = (1 / 20, 1 / 5, 5, 20, 400)
SEQUENCES = 16              # that surgery looks at


def kinds(settings):
    return [TIED, UNTIED]


def measure(lab):
    log_counts = np.log(lab.counts[lab.common])
    numbers = {"tokens": len(lab.common), "R2": {}}
    for place, (kind, array) in PLACES.items():
        rows = [(run.model.params.named()[array][lab.common].astype(float), bias_of(run.model)) for run in lab.runs(kind)]
        numbers["R2"][place] = gathered([frequency(r, log_counts, bias) for r, bias in rows])
    runs = lab.runs(TIED)
    numbers["steps"] = runs[0].snapshots["steps"]
    numbers["loss"] = [run.snapshots["loss"] for run in runs]
    numbers["over time"] = [over_time(run.snapshots, lab.common, log_counts) for run in runs]
    p = (lab.counts + 1) / (lab.counts.sum() + lab.V)
    numbers["unigram loss"] = -np.log(p[lab.validation]).mean()
    ids, targets = lab.sample(SEQUENCES)
    numbers["surgery"] = surgery_of([run.model for run in runs], lab.common, lab.counts, ids, targets)
    return numbers


def examine(subject):
    common, counts = subject.common, subject.counts
    p = subject.model.params
    places = {"tied E": p.E} if p.head is p.E else {"untied output": p.head, "untied input": p.E}
    log_counts = np.log(counts[common])
    numbers = {"tokens": len(common), "R2": {
        place: gathered([frequency(matrix[common].astype(float), log_counts, bias_of(subject.model))])
        for place, matrix in places.items()}}
    n = max(1, 1024 // subject.ids.shape[1])
    numbers["surgery"] = surgery_of([subject.model], common, counts, subject.ids[:n], subject.targets[:n], tokens=3)
    return numbers


def bias_of(model):
    """The final LayerNorm's bias; h = gain · x̂ + bias, so E_v · bias is part of v's logit in every context."""
    return model.params.norm.bias.astype(float)


def over_time(snapshots, common, log_counts):
    """The share of log frequency that the best direction predicts at each snapshot."""
    return [max(0.0, frequency(E[common].astype(float), log_counts, bias)["best direction"])
            for E, bias in zip(snapshots["E"], snapshots["bias"])]


def surgery_of(models, common, counts, ids, targets, tokens=6):
    """"name, end" -> quantity -> (models, factors, tokens)."""
    chosen = middling(counts, ids, tokens)
    each = []
    for model in models:
        rows = model.params.head[common].astype(float)
        steps = direction_for(rows, np.log(counts[common]), bias_of(model))
        each.append(operate(model, ids, targets, chosen, steps))
    return {where: gathered([one[where] for one in each]) for where in each[0]}


def gathered(runs):
    return {name: [run[name] for run in runs] for name in runs[0]}


# ---- telling -------------------------------------------------------------------------------------

def log_ratios(one):
    """(seeds, factors, tokens); a probability that underflows counts as e^-690."""
    return np.log(np.maximum(np.array(one["ratio"], float), 1e-300))


def slopes(one):
    """(seeds,) of the line through log ratio over log r, tokens and factors together; and its R²."""
    ratio = log_ratios(one)
    x = np.repeat(np.log(FACTORS), ratio.shape[2])
    slope = [float(x @ y / (x @ x)) for y in (r.ravel() for r in ratio)]
    return np.array(slope), np.array([correlation(x, y) ** 2 if np.ptp(y) > 1e-9 else 0.0 for y in (r.ravel() for r in ratio)])


def attained(one, r):
    """(seeds,): the geometric mean over tokens of the ratio that comes of r."""
    return np.exp(log_ratios(one)[:, FACTORS.index(r)].mean(axis=1))


def mean_change(one, what, r):
    """(seeds,): over the tokens of which there are such positions."""
    runs = [[value for value in run[FACTORS.index(r)] if value is not None] for run in one[what]]
    return np.array([np.mean(values) for values in runs if values])


def changed(one, what, r):
    """The same in words."""
    values = mean_change(one, what, r)
    return spread(values) if len(values) else "(no such position)"


def first_share(series, share):
    """The index at which a series first has this share of the way from its first to its last number."""
    series = np.asarray(series, float)
    way = (series - series[0]) / (series[-1] - series[0])
    return int(np.argmax(way >= share))


def output_place(numbers):
    return "tied E" if "tied E" in numbers["R2"] else "untied output"


def answer(numbers):
    best = np.array(numbers["R2"][output_place(numbers)]["best direction"])
    output = numbers["surgery"]["best direction, output"]
    into = numbers["surgery"]["best direction, input"]
    slope, r2 = slopes(output)
    claim = "A direction of E holds log frequency" if best.mean() > 0.5 else "No direction of E plainly holds log frequency"
    claim += (": moving a row along it makes its token likelier, where E is the head." if np.all((slope > 0.25) & (r2 > 0.5)) else
              ", but moving a row along the one that predicts it best does not do what it says.")
    return claim, (
        f"It predicts {spread(100 * best, 0)}% of log frequency; asked for 20 times, {spread(attained(output, 20), 1)} times at the output, "
        f"{spread(attained(into, 20), 2)} at the input.")


def tell(numbers, report):
    place = output_place(numbers)
    best = np.array(numbers["R2"][place]["best direction"])
    shuffled = np.array(numbers["R2"][place]["shuffled"])
    report.say("Claim: a direction of the output embedding holds log frequency (Cho et al. 2024). The best direction, by least "
               f"squares with a penalty, predicts {spread(100 * best, 0)}% of the log frequency of tokens that it was not fitted to ({place}). "
               f"{verdict(best > 0.5)} that it is more than half.")
    report.say(f"Control: the same frequencies dealt out to the tokens at random; then it predicts {spread(100 * shuffled, 0)}% (below 0: "
               "worse than their mean). And a row's length, of which one might expect it: "
               f"{spread(100 * np.array(numbers['R2'][place]['norm']), 0)}%.")
    report.table(["log frequency explained by", *numbers["R2"]],
                 [[text, *(f"{spread(100 * np.array(shares[key]), 0)}%" for shares in numbers["R2"].values())]
                  for key, text in SHOWN.items()])
    report.charts(*(Bars(f"{name}: {'the direction, not the length' if 'input' not in name else 'hardly'}",
                         "share of log frequency explained", {text: np.array(shares[key]) for key, text in SHOWN.items()})
                    for name, shares in numbers["R2"].items()))
    if "over time" in numbers:
        tell_when(numbers, report)
    tell_surgery(numbers, report)


def tell_when(numbers, report):
    steps, share, loss = numbers["steps"], np.array(numbers["over time"]), np.array(numbers["loss"])
    falls = (loss[:, :1] - loss) / (loss[:, :1] - loss[:, -1:])
    report.charts(Lines("Frequency is learnt first, then what depends on context", "step", "share of the way",
                        {"log frequency, predicted by the best direction": (steps, (share / share[:, -1:]).mean(axis=0)),
                         "fall of the validation loss": (steps, falls.mean(axis=0))}, log_x=True))
    when = {part: (np.array([steps[first_share(s, part)] for s in share]), np.array([steps[first_share(s, part)] for s in loss]))
            for part in (0.5, 0.9)}
    before = when[0.9][0] < when[0.9][1]
    at = np.array([row[first_share(s, 0.9)] for row, s in zip(loss, share)])
    report.say(f"When: half of what the direction holds in the end is there at step {spread(when[0.5][0], 0)}, nine tenths at "
               f"{spread(when[0.9][0], 0)}; half of the loss's fall at {spread(when[0.5][1], 0)}, nine tenths at {spread(when[0.9][1], 0)}. "
               f"Frequency is first {in_seeds(before)}, which {agrees(before)} \"learnt early\". The loss is then {spread(at, 2)}; "
               f"unigram counts have {numbers['unigram loss']:.2f}.")


def tell_surgery(numbers, report):
    surgery = numbers["surgery"]
    rows = []
    for where, one in surgery.items():
        slope, r2 = slopes(one)
        rows.append([where, *(f"{np.mean(attained(one, r)):.2f}" for r in SHOWN_FACTORS), spread(slope, 2), f"{np.mean(r2):.2f}"])
    report.say("Surgery: the row of one token is moved by log r along the direction, at the output, at the input, or at both; "
               "what is measured is how its mean probability over the text looked at changes. The log-linear claim is a slope of 1.")
    report.table(["asked: r", *(f"{r:g}" if r > 1 else f"1/{1 / r:g}" for r in SHOWN_FACTORS), "slope", "R²"], rows)
    report.charts(Lines("What is asked for, and what comes out", "asked: r", "probability after / before",
                        {where: (FACTORS, np.exp(log_ratios(one).mean(axis=(0, 2)))) for where, one in surgery.items()},
                        log_x=True, log_y=True))
    report.table(["change of loss, r = 20", "token comes next", "elsewhere", "where it is read"],
                 [[where, *(changed(one, what, 20) for what in ("next", "elsewhere", "read"))]
                  for where, one in surgery.items()])
    output, random = (surgery[f"{name}, output"] for name in ("best direction", "random"))
    into = surgery["best direction, input"]
    slope, r2 = slopes(output)
    far = np.minimum(attained(output, 400), 1 / attained(output, 1 / 400))
    report.say(f"Editable to 20 times? The largest step, r = 400, makes {spread(attained(output, 400), 1)} times the probability, and its inverse "
               f"1/{spread(1 / attained(output, 1 / 400), 1)}; both are 20 or more {in_seeds(far >= 20)}, which "
               f"{agrees((far >= 20) & (r2 > 0.9))} Cho et al., if log-linear is R² above 0.9.")
    report.say(f"At the output the slope is {spread(slope, 2)} and a line through the origin fits with R² {spread(r2, 2)}; a random direction "
               f"of the same length has a slope of {spread(slopes(random)[0], 2)}, the same step at the input {spread(slopes(into)[0], 2)}. "
               "Probability that one token gains, all others lose: elsewhere the loss changes by "
               f"{changed(output, 'elsewhere', 20)} at r = 20 and {changed(output, 'elsewhere', 1 / 20)} at 1/20. "
               f"On the input side, where it is read, by {changed(into, 'read', 20)} and {changed(into, 'read', 1 / 20)}.")
    report.say("What does not follow: that frequency is all the direction holds, or that the probability of tokens that depend "
               "on their context is stored this way; the tokens moved are of middling frequency, as what is likely already "
               "cannot become twenty times as likely.")
