"""What tying costs, and when it pays: each kind at its best rate, by steps, by parameters, by time, by length.

With --full, too: the whole text read several times over, and other ratios of V to D.
"""
from dataclasses import replace

import numpy as np

from lib.charts import Bars, Lines, spread
from lib.lab import SAME_TIME, TIED, UNTIED, Kind, Lab, sweep
from lib.report import in_seeds
from minigpt_np.parameters import count

FEWER = Kind("untied, fewer columns", tied=False, fewer=True)
TIMED = [replace(kind, name=kind.name + SAME_TIME, watched=False, same_time=True) for kind in (UNTIED, FEWER)]
EPOCHS = {"read once": 1, "read 20 times": 20}
THREE = [replace(TIED, watched=False), replace(UNTIED, watched=False), FEWER]

# What --full looks at besides: how often the whole text is read, and (V, D), V = 0 for characters.
LONGER = (5, 20)
SIZES = ((0, 64), (1024, 32), (1024, 128), (4096, 64))
RATES = (2.5e-4, 3.2e-2)    # least and most that it tries, from 0.002 on by factors of 2


def often(kind, reading):
    return replace(kind, name=f"{kind.name}, {reading}", watched=False, epochs=EPOCHS[reading])


def kinds(settings):
    return [TIED, UNTIED, FEWER, *TIMED] + [often(kind, reading) for reading in EPOCHS for kind in (TIED, UNTIED, FEWER)]


def measure(lab):
    return {"V": lab.V, "epochs": lab.settings.steps * lab.settings.batch * lab.settings.block / len(lab.training),
            "kinds": {kind.name: about(lab, kind) for kind in kinds(lab.settings)}}


def about(lab, kind):
    runs = lab.runs(kind)
    config = lab.config(kind)
    return {"parameters": count(config), "D": config.n_embd, "steps": lab.steps(kind), "tokens": len(lab.piece(kind)),
            "rate": lab.rate_of(kind), "seconds": lab.measured(kind).get("seconds"), "loss": [run.loss for run in runs],
            "training": [run.losses[-50:].mean() for run in runs]}


def measure_full(lab):
    """The same three kinds where --full looks besides, each at the best of the rates tried for it here."""
    numbers = {"seeds": lab.seeds, "least": RATES[0], "most": RATES[1], "lengths": {}, "sizes": []}
    for epochs in LONGER:
        longer = [replace(kind, name=f"{kind.name}, all of it read {epochs} times", epochs=epochs, longer=True) for kind in THREE]
        numbers["lengths"][str(epochs)] = best_of_each(lab, longer)
    for V, D in SIZES:
        other = Lab(replace(lab.settings, vocab_size=V, width=D), lab.seeds, processes=lab.processes, folder=lab.folder)
        numbers["sizes"].append({"V": other.V, "D": D, "kinds": best_of_each(other, THREE)})
    return numbers


def best_of_each(lab, kinds):
    """Kind's name without what all share -> its numbers, and the rates tried with the first seed."""
    lab = lab.at(sweep(lab, kinds, 2e-3, *RATES))
    lab.train(kinds)
    return {plain.name: about(lab, kind) | {"tried": lab.rates[kind.name]["tried"]} for plain, kind in zip(THREE, kinds)}


# ---- telling -------------------------------------------------------------------------------------

def losses(numbers, name):
    return np.array(numbers["kinds"][name]["loss"])


def comparisons(numbers):
    """What is compared -> (seeds,), the tied loss less the untied one's: where it is below 0, tying wins."""
    tied = losses(numbers, "tied")
    differences = {"equal steps and width": tied - losses(numbers, "untied"),
                   "equal parameters": tied - losses(numbers, FEWER.name),
                   "equal time and width": tied - losses(numbers, TIMED[0].name),
                   "equal time and parameters": tied - losses(numbers, TIMED[1].name)}
    for reading in EPOCHS:
        tied = losses(numbers, often(TIED, reading).name)
        differences[f"{reading}, equal width"] = tied - losses(numbers, often(UNTIED, reading).name)
        differences[f"{reading}, equal parameters"] = tied - losses(numbers, often(FEWER, reading).name)
    for epochs, kinds in numbers.get("full", {}).get("lengths", {}).items():
        for name, what in ((UNTIED.name, "width"), (FEWER.name, "parameters")):
            differences[f"the whole text read {epochs} times, equal {what}"] = np.array(kinds["tied"]["loss"]) - np.array(kinds[name]["loss"])
    for size in numbers.get("full", {}).get("sizes", []):
        for name, what in ((UNTIED.name, "width"), (FEWER.name, "parameters")):
            differences[f"V {size['V']}, D {size['D']}, equal {what}"] = (
                np.array(size["kinds"]["tied"]["loss"]) - np.array(size["kinds"][name]["loss"]))
    return differences


def wins(numbers):
    """The comparisons that the tied model wins in every seed."""
    return [name for name, difference in comparisons(numbers).items() if np.all(difference < 0)]


def wins_in_words(numbers):
    """The same, those of equal width and of equal parameters together."""
    won = {}
    for name in wins(numbers):
        where, _, what = name.rpartition(", ")
        won.setdefault(where, []).append(what or name)
    return "; ".join(f"{where} ({' and '.join(whats).replace('and equal', 'and')})" if where else "; ".join(whats)
                     for where, whats in won.items())


def searched(numbers):
    full = numbers.get("full")
    text = f"V/D = {numbers['V'] / numbers['kinds']['tied']['D']:.0f}; a text read once to 20 times"
    if not full:
        return text
    ratios = [size["V"] / size["D"] for size in full["sizes"]] + [numbers["V"] / numbers["kinds"]["tied"]["D"]]
    steps = max(kinds["tied"]["steps"] for kinds in full["lengths"].values())
    return f"V/D from {min(ratios):.1f} to {max(ratios):.0f}, texts read once to 20 times, {steps:,} steps at most"


def answer(numbers):
    differences = comparisons(numbers)
    won = wins(numbers)
    number = (f"Tied less untied: {spread(differences['equal steps and width'])} nats at equal steps, "
              f"{spread(differences['equal parameters'])} at equal parameters, {spread(differences['equal time and width'])} at equal time. ")
    return ("Tying costs at these sizes and lengths, and " + (f"wins in {len(won)} of {len(differences)} comparisons." if won else
                                                             "wins nowhere in the range searched."),
            number + (f"It wins: {wins_in_words(numbers)}. " if won else "") + f"Searched: {searched(numbers)}.")


def tell(numbers, report):
    differences, won = comparisons(numbers), wins(numbers)
    report.say("Claim, as one expects it: with one matrix fewer to learn, a tied model does better than an untied one of as many "
               f"parameters. Tied less untied at equal parameters is {spread(differences['equal parameters'])} nats; it is below 0 "
               f"{in_seeds(differences['equal parameters'] < 0)}.")
    report.say("Control: each kind at its own best learning rate, for one rate for all would favour the kind that it suits.")
    report.table(["", "parameters", "steps", "rate", "validation"],
                 [[name, f"{one['parameters']:,}", f"{one['steps']:,}", f"{one['rate']:g}", spread(one["loss"])]
                  for name, one in numbers["kinds"].items()])
    report.charts(Bars("To the right tying costs, to the left it pays", "tied loss less the untied one's, nats", differences))
    report.say((f"The tied model wins in every seed: {wins_in_words(numbers)}." if won else
                "The tied model wins nowhere in every seed.") + f" Searched: {searched(numbers)}. The text is read "
               f"{numbers['epochs']:.1f} times; \"read 20 times\" is a piece of it, {numbers['kinds'][often(TIED, 'read 20 times').name]['tokens']:,} tokens long.")
    seconds = {name: numbers["kinds"][name]["seconds"] for name in (TIED.name, UNTIED.name, FEWER.name)}
    if all(seconds.values()):
        report.say("A step takes " + ", ".join(f"{1000 * value:.1f} ms ({name})" for name, value in seconds.items())
                   + " where the sweep was made, the fastest of many taken in turn; from these come the numbers of steps in equal time.")
    tell_overfitting(numbers, report)
    if "full" in numbers:
        tell_full(numbers["full"], report)
    report.say("What does not follow: that large models should not be tied, or that they should. E is "
               f"{100 * numbers['V'] * numbers['kinds']['tied']['D'] / numbers['kinds']['tied']['parameters']:.0f}% of the parameters "
               "here; the text is one, and small; and memory, which tying saves for certain, has no place in these numbers.")


def tell_overfitting(numbers, report):
    tied, untied = (numbers["kinds"][often(kind, "read 20 times").name] for kind in (TIED, UNTIED))
    gap = [np.array(one["loss"]) - np.array(one["training"]) for one in (tied, untied)]
    report.say(f"Does tying regularise? Read twenty times, the validation loss is above the training loss by {spread(gap[0], 2)} tied and "
               f"{spread(gap[1], 2)} untied; tied less untied in the validation loss is "
               f"{spread(np.array(tied['loss']) - np.array(untied['loss']))}.")


def at_an_end(full):
    """How many of the models have the least or the greatest rate of the range: they might do better beyond it."""
    kinds = [*full["lengths"].values(), *(size["kinds"] for size in full["sizes"])]
    n = sum(one["rate"] in (full["least"], full["most"]) for those in kinds for one in those.values())
    return f"{n}" if n else "none"


def tell_full(full, report):
    rows = [[f"read {epochs} times, {name}", f"{one['steps']:,}", f"{one['rate']:g}", spread(one["loss"]), f"{np.mean(one['training']):.2f}"]
            for epochs, kinds in full["lengths"].items() for name, one in kinds.items()]
    report.say(f"Over length and V/D (--full): seed{'s' * (len(full['seeds']) > 1)} {', '.join(map(str, full['seeds']))}, rates from "
               f"{full['least']:g} to {full['most']:g} by factors of 2, tried with the first seed, and further while the best was at "
               f"an end of those tried. For {at_an_end(full)} of these models is it at an end of the whole range.")
    report.table(["all of the text", "steps", "rate", "validation", "training"], rows)
    report.table(["V, D", "V/D", "tied", "untied", "fewer columns"],
                 [[f"{size['V']}, {size['D']}", f"{size['V'] / size['D']:.1f}", *(spread(one["loss"]) for one in size["kinds"].values())]
                  for size in full["sizes"]])
    sizes = sorted(full["sizes"], key=lambda size: size["V"] / size["D"])
    report.charts(Lines("The more tokens for each column, the more tying costs", "V/D", "tied loss less untied",
                        {f"equal {what}": ([size["V"] / size["D"] for size in sizes],
                                           [np.mean(size["kinds"]["tied"]["loss"]) - np.mean(size["kinds"][name]["loss"]) for size in sizes])
                         for name, what in ((UNTIED.name, "width"), (FEWER.name, "parameters"))}, log_x=True))
