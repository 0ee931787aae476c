"""A tie done wrong: two copies that start equal, or one matrix with two pairs of an optimizer's moments."""
import numpy as np

from lib.charts import Bars, Lines, spread
from lib.lab import TIED, UNTIED, Gradient, Kind, log_steps
from lib.report import in_seeds, verdict
from minigpt_np import GPT, AdamW, evaluate
from minigpt_np.training.data import random_batch

COPIES = Kind("two copies", start="copies")
MOMENTS = Kind("one matrix, two pairs of moments", start="moments")


def kinds(settings):
    return [TIED, COPIES, MOMENTS, UNTIED]


def measure(lab):
    runs = lab.runs(COPIES)
    steps = log_steps(len(runs[0].drift), 40)
    numbers = {"steps": steps, "drift": [run.drift[np.array(steps) - 1] for run in runs],
               "loss": {kind.name: [run.loss for run in lab.runs(kind)] for kind in kinds(lab.settings)},
               "fed alike": fed_alike(lab)}
    for name in ("E", "head"):
        numbers["loss"][f"two copies, {name} in both places"] = [
            evaluate(in_both(run.model, name), lab.validation, 64, lab.settings.block, threads=1) for run in runs]
    return numbers


def in_both(model, name):
    """The untied model with its E, or its head, in both places."""
    one = model.untied()
    one.params.E[...] = one.params.head[...] = model.params.named()[name]
    return one


def fed_alike(lab, steps=10):
    """The largest difference of two copies after some steps in which both were given the sum of the gradients."""
    model = GPT(lab.config(TIED), seed=0).untied()
    gradient, optimizer = Gradient(model, COPIES), AdamW(model.params, lab.rate_of(TIED), weight_decay=0)
    rng = np.random.default_rng(0)
    for _ in range(steps):
        gradient.take(*random_batch(lab.training, lab.settings.batch, lab.settings.block, rng))
        gradient.total.E += gradient.total.head
        gradient.total.head[...] = gradient.total.E
        optimizer.step(gradient.total)
    return float(np.abs(model.params.E - model.params.head).max())


# ---- telling -------------------------------------------------------------------------------------

def answer(numbers):
    drift = np.array(numbers["drift"])
    loss = {name: np.array(values) for name, values in numbers["loss"].items()}
    lost = is_lost(loss)
    return ("A tie done wrong comes apart at the first step: two copies are an untied model" + ", and cannot be put back into one" * lost + ".",
            f"|E - head| is {spread(100 * drift[:, 0], 1)}% of |E| after one step, {spread(100 * drift[:, -1], 0)}% at the end; "
            f"put back: {spread(loss['two copies, E in both places'], 2)} or {spread(loss['two copies, head in both places'], 2)} nats, "
            f"tied {spread(loss['tied'], 2)}.")


def is_lost(loss):
    """Whether either copy, in both places, is a nat or more worse than the tied model, in every seed."""
    return all(np.all(loss[f"two copies, {name} in both places"] > loss["tied"] + 1) for name in ("E", "head"))


def tell(numbers, report):
    steps, drift = numbers["steps"], np.array(numbers["drift"])
    loss = {name: np.array(values) for name, values in numbers["loss"].items()}
    report.say("Claim: two copies that start equal, each with its own use's gradient and moments, are not tied. "
               f"{verdict((drift[:, 0] > 0) & (drift[:, -1] > drift[:, 0]))}: they part at the first step and keep parting.")
    report.say("Control: two copies that are both given the sum of the two gradients. After ten steps they differ by "
               f"{numbers['fed alike']:g}: what drives copies apart is what they are given, not that there are two.")
    wanted = [int(np.argmin(np.abs(np.log(np.array(steps) / s)))) for s in (1, 10, 100, steps[-1]) if s <= steps[-1]]
    report.table(["two copies", *(f"step {steps[i]}" for i in wanted)],
                 [["|E - head| / |E|", *(spread(drift[:, i]) for i in wanted)]])
    report.table(["", "validation loss", "less the tied one's"],
                 [[name, spread(values), spread(values - loss["tied"])] for name, values in loss.items()])
    report.charts(Lines("Two equal copies part at once", "step", "|E - head| / |E|",
                        {f"seed {i}": (steps, row) for i, row in enumerate(drift[:6])}, log_x=True, log_y=True))
    report.charts(Bars("As two they do well; put back into one, they do not" if is_lost(loss) else "Two copies, and put back into one", "validation loss less the tied one's",
                       {name: values - loss["tied"] for name, values in loss.items() if name != "tied"}))
    difference = loss[MOMENTS.name] - loss["tied"]
    report.say("One matrix with two pairs of moments stays one: both updates are added into it, each divided by the root mean square of "
               f"its own use's gradient. Its loss less the tied one's is {spread(difference)}, lower {in_seeds(difference < 0)}. Each kind has the "
               "learning rate that was best for it. What does not follow: that this is how to tie. It counts what a token's "
               "lookup wants as much as what its logit wants, which here " +
               ("pays" if difference.mean() < 0 else "does not pay") + "; elsewhere it may not be so.")
