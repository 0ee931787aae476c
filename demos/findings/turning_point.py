"""Where the token read gives way to the token predicted: the stream decoded after each sublayer (nostalgebraist 2020).

In a tied model the stream begins as E's row of the token read, and E is what it is decoded with: it
should spell that token until some sublayer turns it into the token to come.
"""
import numpy as np

from lib.charts import Bars, Lines, spread
from lib.instruments import lens, points, undoing
from lib.lab import at_depth
from lib.report import in_seeds, verdict


TURN = 0.1                  # of the positions at which the token read must fall behind for a turn


def shown(settings):
    """Depths to look at: those that have more than one block to choose from, and twice that."""
    return settings.layers, 2 * settings.layers


def kinds(settings):
    return [at_depth(settings, L, tied) for L in shown(settings) for tied in (True, False)]


def measure(lab):
    return {"models": {f"L = {L}, {'tied' if tied else 'untied'}":
                       gathered([look(run.model, *lab.sample()) for run in lab.runs(at_depth(lab.settings, L, tied))])
                       for L in shown(lab.settings) for tied in (True, False)}}


def examine(subject):
    name = f"L = {subject.model.config.n_layer}, {'tied' if subject.model.config.tie_embeddings else 'untied'}"
    return {"models": {name: gathered([look(subject.model, subject.ids, subject.targets)])}}


def look(model, ids, targets):
    return lens(model, ids, targets) | {"undoing": undoing(model, ids, targets), "points": points(model.params)}


def gathered(runs):
    return {name: runs[0][name] if name == "points" else [run[name] for run in runs] for name in runs[0]}


# ---- telling -------------------------------------------------------------------------------------

def turns(model):
    """(seeds,), the sublayer after which the share of positions with the token read ahead falls most.

    And that fall, as a share of the whole way from the first point to the last. None where that way
    is less than TURN in some seed: there is nothing to turn.
    """
    ahead = np.array(model["read ahead"])
    falls = ahead[:, :-1] - ahead[:, 1:]
    where = falls.argmax(axis=1)
    whole = ahead[:, 0] - ahead[:, -1]
    return (where, falls[np.arange(len(falls)), where] / whole) if np.all(whole > TURN) else None


def cost_of(model, where):
    """(seeds,), what undoing each seed's sublayer costs."""
    return np.array(model["undoing"])[np.arange(len(where)), where]


def named(model, where):
    """'MLP 1', or 'MLP 1 in 2 of 3 seeds' and the others."""
    names = [model["points"][1 + i] for i in where]
    each = list(dict.fromkeys(names))
    return names[0] if len(each) == 1 else ", ".join(f"{name} {in_seeds([n == name for n in names])}" for name in each)


def of(numbers, tied):
    """(name, model) of the first that is tied or not; None."""
    return next(((name, model) for name, model in numbers["models"].items() if ("untied" not in name) == tied), None)


def answer(numbers):
    name, model = of(numbers, True) or of(numbers, False)
    ahead, turn = np.array(model["read ahead"]), turns(model)
    begins = (f"{name}: the token read is ahead of the one to come at {spread(100 * ahead[:, 0], 0)}% of positions after the lookup, "
              f"{spread(100 * ahead[:, -1], 0)}% at the end")
    if turn is None:
        return "The stream does not turn from the token read to the one to come.", begins + "."
    where, share = turn
    spells, one = np.all(ahead[:, 0] > 0.9), np.all(share > 0.5)
    claim = ("The stream spells the token read until " if spells else "The stream only leans to the token read until ") + (
        "one sublayer turns it." if one else "several sublayers, one after the other, turn it.")
    return claim, begins + (f"; {spread(100 * share, 0)}% of the turn is {named(model, where)}, and to undo that costs "
                            f"{spread(cost_of(model, where), 2)} nats.")


def what_the_lens_shows(model):
    if turns(model) is None:
        return "no turn from the token read to the one to come"
    most = np.all(np.array(model["read ahead"])[:, 0] > 0.5)
    return "the token read gives way to the one to come" if most else "the token read is not what the stream begins with"


def what_undoing_shows(model):
    costs = np.mean(model["undoing"], axis=0)
    first, second = np.argsort(costs)[::-1][:2]
    name = model["points"][1 + first]
    if costs[second] <= 0:
        return f"only {name} costs anything to undo"
    times = costs[first] / costs[second]
    return f"to undo {name} costs {times:.0f} times what the next one does" if times >= 2 else f"{name} costs most to undo, but not twice the next"


def tell(numbers, report):
    tied, untied = of(numbers, True), of(numbers, False)
    if tied:
        name, model = tied
        ahead = np.array(model["read ahead"])
        report.say("Claim: in a tied model the stream spells the token read, until a sublayer turns it into the one to come. "
                   f"{verdict(ahead[:, 0] > 0.9)} ({name}) that the stream after the lookup has the token read ahead of the one to come "
                   "at nine of ten positions.")
    if untied:
        ahead = np.array(untied[1]["read ahead"])
        report.say("Control: two matrices. The head of an untied model has no reason to recognise a row of E; if its "
                   "stream spelled the token read as well, the tie would explain nothing. There the token read is ahead "
                   f"at {spread(100 * ahead[:, 0], 0)}% of positions after the lookup ({untied[0]}).")
    for name, model in numbers["models"].items():
        seeds = range(len(model["loss"]))
        report.table([name, "p read", "p next", "rank read", "rank next", "read ahead", "to undo"],
                     [[point, *(f"{np.mean([model[what][i][k] for i in seeds]):.3f}" for what in ("p read", "p next")),
                       *(f"{np.mean([model[what][i][k] for i in seeds]):.0f}" for what in ("rank read", "rank next")),
                       f"{100 * np.mean([model['read ahead'][i][k] for i in seeds]):.0f}%",
                       spread([model["undoing"][i][k - 1] for i in seeds], 2) if k else ""]
                      for k, point in enumerate(model["points"])])
    report.charts(*(
        Lines(f"{name}: {what_the_lens_shows(model)}", "point of the stream, in sublayers", "mean probability",
              {what: (np.arange(len(model["points"])), np.mean(model[key], axis=0))
               for what, key in (("token read", "p read"), ("token to come", "p next"))})
        for name, model in numbers["models"].items()))
    report.charts(*(
        Bars(f"{name}: {what_undoing_shows(model)}", "nats a token, to undo each",
             {point: [run[k] for run in model["undoing"]] for k, point in enumerate(model["points"][1:])})
        for name, model in numbers["models"].items()))
    for name, model in numbers["models"].items():
        turned, dearest = turns(model), np.array(model["undoing"]).argmax(axis=1)
        turn = "there is no turn" if turned is None else (
            f"the sharpest turn is at {named(model, turned[0])}, {spread(100 * turned[1], 0)}% of the whole way")
        same = "" if turned is None else f", the same one {in_seeds(dearest == turned[0])}"
        report.say(f"{name}: {turn}; the dearest sublayer to undo is {named(model, dearest)} "
                   f"({spread(cost_of(model, dearest), 2)} nats){same}.")
    report.say("The stream at a point is decoded with all later sublayers silenced, by the model's own final LayerNorm "
               "and head; at the last point that is the model's output. Probabilities are means, ranks medians, over "
               "positions where the token read and the one to come differ. What does not follow: that a sublayer does "
               "nothing where the lens does not move (it may write what later ones use), or that the lens, made for the "
               "last point, is fair to the others: an untied model's stream may hold the token in a form that its head "
               "does not read.")
