"""Does magnitude matter? All of E, and single rows, scaled at one end only, after training."""
import numpy as np

from lib.charts import Lines, spread
from lib.instruments import SCALES, SIDES, log_probabilities, losses, magnitude, tokens_at
from lib.lab import TIED
from lib.report import in_seeds, verdict

# What is looked at when one row is scaled.
ROW_EFFECTS = ("input row: change of loss where it is read", "input row: guesses changed there",
               "output row: change of loss where it comes next", "output row: change of loss elsewhere")
OUTPUT = "head on the output"


def kinds(settings):
    return [TIED]


def measure(lab):
    return about([run.model for run in lab.runs(TIED)], *lab.sample())


def examine(subject):
    return about([subject.model], subject.ids, subject.targets)


def about(models, ids, targets):
    sides = [magnitude(model, ids, targets) for model in models]
    rows = [one_row(model, ids, targets) for model in models]
    return {"sides": {side: {what: [one[side][what] for one in sides] for what in ("loss", "guesses")} for side in SIDES},
            "one row": {name: [one[name] for one in rows] for name in rows[0]}}


def one_row(model, ids, targets):
    """The rows of the five commonest tokens, one at a time, halved and doubled; and where logits are above 0."""
    twin = model.untied()
    read, come = tokens_at(ids, targets)
    tokens = [v for v in np.argsort(-np.bincount(come), kind="stable")[:5] if (read == v).any()]
    before = log_probabilities(twin, ids, targets)
    loss, guesses = losses(before, come), before.argmax(axis=1)
    positive = twin.forward(ids)[0][targets >= 0] > 0
    changes = {"above 0, all": positive.mean(), "above 0, these": positive[:, tokens].mean(),
               "above 0, next": positive[np.arange(len(come)), come].mean()}
    for scale in (1 / 2, 2):
        effects = []
        for v in tokens:
            kept = twin.params.E[v].copy(), twin.params.head[v].copy()
            twin.params.E[v] *= scale
            by_input = log_probabilities(twin, ids, targets)
            twin.params.E[v] = kept[0]
            twin.params.head[v] *= scale
            by_output = losses(log_probabilities(twin, ids, targets), come) - loss
            twin.params.head[v] = kept[1]
            effects.append([(losses(by_input, come) - loss)[read == v].mean(),
                            (by_input.argmax(axis=1) != guesses)[read == v].mean(),
                            by_output[come == v].mean(), by_output[come != v].mean()])
        for name, value in zip(ROW_EFFECTS, np.mean(effects, axis=0)):
            changes[f"{name}, × {scale:g}"] = value
    return changes


# ---- telling -------------------------------------------------------------------------------------

def at(numbers, side, what, scale):
    """(seeds,)."""
    return np.array(numbers["sides"][side][what])[:, SCALES.index(scale)]


def cost(numbers, side, scale):
    return at(numbers, side, "loss", scale) - at(numbers, side, "loss", 1)


def answer(numbers):
    return ("Magnitude matters at both ends, differently: at the output as a temperature, at the input beside what the blocks add.",
            f"Doubled at the output: {spread(cost(numbers, OUTPUT, 2), 2)} nats, {spread(100 * at(numbers, OUTPUT, 'guesses', 2), 0)}% of guesses "
            f"change; at the input: {spread(cost(numbers, 'E on the input', 2), 2)} nats, "
            f"{spread(100 * at(numbers, 'E on the input', 'guesses', 2), 0)}%.")


def tell(numbers, report):
    changed = np.array(numbers["sides"][OUTPUT]["guesses"])
    report.say("Claim: on the output a common scale is a temperature, which changes the confidence and no guess; on the input it "
               f"changes guesses. {verdict((changed.max(axis=1) == 0) & (at(numbers, 'E on the input', 'guesses', 2) > 0))}.")
    report.say("Control: E and P scaled together. The first LayerNorm takes the scale out of what the first block is given, all of it "
               "but for its eps if P is scaled too; what is left is the residual stream, where E_v + P stands beside what "
               f"the blocks add. Doubled, E alone costs {spread(cost(numbers, 'E on the input', 2), 2)} nats and changes "
               f"{spread(100 * at(numbers, 'E on the input', 'guesses', 2), 0)}% of the guesses, E with P "
               f"{spread(cost(numbers, 'E and P on the input', 2), 2)} and {spread(100 * at(numbers, 'E and P on the input', 'guesses', 2), 0)}%: "
               "the second is what the residual stream makes of it.")
    shown = (1 / 4, 1 / 2, 2, 4)
    report.table(["all rows scaled by", *(f"{scale:g}" for scale in shown)],
                 [[f"loss: {side}", *(f"{at(numbers, side, 'loss', s).mean():.2f}" for s in shown)] for side in SIDES]
                 + [[f"guesses: {side}", *(f"{100 * at(numbers, side, 'guesses', s).mean():.0f}%" for s in shown)] for side in SIDES])
    report.charts(
        Lines("At either end a scale costs", "scale", "loss, nats a token",
              {side: (SCALES, np.mean(curves["loss"], axis=0)) for side, curves in numbers["sides"].items()}, log_x=True, log_y=True),
        Lines("but only at the input does it change guesses", "scale", "share of positions",
              {side: (SCALES, np.mean(curves["guesses"], axis=0)) for side, curves in numbers["sides"].items()}, log_x=True))
    row = {name: np.array(values) for name, values in numbers["one row"].items()}
    report.table(["one row, mean over 5 common tokens", "× 1/2", "× 2"],
                 [[name, spread(row[f"{name}, × 0.5"]), spread(row[f"{name}, × 2"])] for name in ROW_EFFECTS])
    report.say("Is a longer row a likelier token? Only where its logit is above 0: "
               f"{spread(100 * row['above 0, these'], 0)}% of these tokens' logits are, {spread(100 * row['above 0, all'], 0)}% of all, "
               f"{spread(100 * row['above 0, next'], 0)}% of those of the token that does come next. Doubling the output row "
               f"lowers the loss where that token comes next {in_seeds(row[ROW_EFFECTS[2] + ', × 2'] < 0)}, and the loss "
               f"elsewhere {in_seeds(row[ROW_EFFECTS[3] + ', × 2'] < 0)}.")
    report.say("What does not follow: that lengths are free at the input. The model was trained with the rows at the lengths they "
               "have; the experiment changes them afterwards.")
