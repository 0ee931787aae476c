"""What E alone cannot do: models without a block, tied and untied, beside counts of one and two tokens.

Without a block the logit of v after u is E_v · norm(E_u + P), all but symmetric in u and v if both are
rows of one matrix; what follows what is not symmetric. (Elhage et al. 2021, "A Mathematical Framework
for Transformer Circuits": zero layers are bigrams.)
"""
import numpy as np

from lib.charts import Bars, Lines, spread
from lib.instruments import after_one, symmetric_share
from lib.lab import Kind, at_depth
from lib.report import in_seeds, verdict

BRANCHES = {"attention": "attention only", "mlp": "MLP only"}


def depths(settings):
    return sorted({0, 1, settings.layers, 2 * settings.layers})


def one_branch(branch, tied):
    return Kind(f"{'tied' if tied else 'untied'}, {BRANCHES[branch]}", layers=1, tied=tied, branch=branch)


def kinds(settings):
    return [kind(tied) for tied in (True, False) for kind in (
        *(lambda tied, L=L: at_depth(settings, L, tied) for L in depths(settings)),
        *(lambda tied, b=b: one_branch(b, tied) for b in BRANCHES))]


def measure(lab):
    models = {f"{L}": [at_depth(lab.settings, L, tied) for tied in (True, False)] for L in depths(lab.settings)}
    models |= {f"1, {name}": [one_branch(branch, tied) for tied in (True, False)] for branch, name in BRANCHES.items()}
    numbers = {"depths": depths(lab.settings), "base": lab.settings.layers, "tokens": len(lab.common), "models": {}}
    for name, pair in models.items():
        numbers["models"][name] = {key: [about(lab, run) for run in lab.runs(kind)]
                                   for key, kind in zip(("tied", "untied"), pair)}
    pairs = pair_counts(lab.training, lab.V)
    unigram, bigram = count_losses(lab)
    shuffled = pair_counts(np.random.default_rng(0).permutation(lab.training), lab.V)
    numbers["text"] = {"unigram loss": unigram, "bigram loss": bigram, "itself": itself(pairs, lab.common)}
    for name, table in (("", pairs), (", shuffled", shuffled)):
        square = np.ix_(lab.common, lab.common)
        numbers["text"]["log counts" + name] = symmetric_share(np.log1p(table)[square])
        numbers["text"]["symmetric" + name] = symmetric_share(surprise(table)[square])
    return numbers


def about(lab, run):
    scores = after_one(run.model)
    return {"loss": run.loss, "symmetric": symmetric_share(scores[np.ix_(lab.common, lab.common)]),
            "itself": itself(scores, lab.common), "negative gains": np.mean(run.model.params.norm.gain < 0)}


def itself(scores, tokens):
    """The share of these tokens whose likeliest successor is themselves."""
    return float(np.mean(scores[tokens].argmax(axis=1) == tokens))


def pair_counts(tokens, V):
    """(V, V): how often v follows u."""
    return np.bincount(tokens[:-1] * V + tokens[1:], minlength=V * V).reshape(V, V)


def surprise(pairs):
    """(V, V): log of how often v follows u, less that of how often it would if both came by frequency alone.

    1 is added to either, so that what neither expects nor sees is 0.
    """
    expected = pairs.sum(axis=1, keepdims=True) * pairs.sum(axis=0) / pairs.sum()
    return np.log1p(pairs) - np.log1p(expected)


def count_losses(lab):
    """The validation text's mean loss by unigram and by bigram counts.

    p(v) = (c_v + 1) / (n + V);  p(v | u) = (c_uv + d_u p(v)) / (c_u + d_u), d_u the number of
    distinct successors of u (Witten and Bell 1991).
    """
    pairs = pair_counts(lab.training, lab.V)
    one = (lab.counts + 1) / (lab.counts.sum() + lab.V)
    distinct = np.count_nonzero(pairs, axis=1)
    u, v = lab.validation[:-1], lab.validation[1:]
    weight = np.maximum(distinct[u], 1)                     # never seen before: all of it is p(v)
    two = (pairs[u, v] + weight * one[v]) / (pairs.sum(axis=1)[u] + weight)
    return float(-np.log(one[v]).mean()), float(-np.log(two).mean())


# ---- telling -------------------------------------------------------------------------------------

def column(numbers, name, key, what):
    return np.array([run[what] for run in numbers["models"][name][key]])


def reached(numbers):
    """What the models without a block come to, beside the bigram counts: within a tenth of a nat is reached."""
    near = [np.all(column(numbers, "0", kind, "loss") < numbers["text"]["bigram loss"] + 0.1) for kind in ("tied", "untied")]
    return ("Without a block, " + {(False, True): "only two matrices reach", (True, True): "one matrix, too, reaches",
                                   (True, False): "only one matrix reaches", (False, False): "neither kind reaches"}[tuple(near)]
            + " the bigram counts")


def gaps(numbers):
    """name of a model -> (seeds,), the tied one's loss less the untied one's."""
    return {name: column(numbers, name, "tied", "loss") - column(numbers, name, "untied", "loss")
            for name in numbers["models"]}


def mlp_closes(gap):
    """Whether an MLP alone more than halves the gap that there is without a block, in every seed."""
    return np.all(gap[f"1, {BRANCHES['mlp']}"] < gap["0"] / 2)


def answer(numbers):
    tied, untied = (column(numbers, "0", key, "loss") for key in ("tied", "untied"))
    gap = gaps(numbers)
    mlp = gap[BRANCHES_SHOWN[1]]
    claim = "E alone cannot do both: without a block its logits lean to symmetry, and what follows what does not."
    if mlp_closes(gap):
        claim = "E alone cannot do both, a block's MLP can: it undoes the symmetry that the tie imposes on the logits."
    return claim, (
        f"Without a block: tied {spread(tied, 2)}, untied {spread(untied, 2)}, bigram counts "
        f"{numbers['text']['bigram loss']:.2f} nats; with an MLP the two are {spread(mlp, 2)} apart.")


def tell(numbers, report):
    text, depths_, gap = numbers["text"], numbers["depths"], gaps(numbers)
    tied, untied = (column(numbers, "0", key, "loss") for key in ("tied", "untied"))
    symmetric, other = (column(numbers, "0", key, "symmetric") for key in ("tied", "untied"))
    report.say("Claim: a tied model without a block cannot say what follows what, for its score of v after u is "
               "(but for the final LayerNorm, which divides by a number for each u) its score of u after v. "
               f"{verdict((tied > untied) & (symmetric > text['symmetric']) & (symmetric > other))}: its loss is {spread(tied - untied)} above "
               f"that of two matrices, and its scores are {spread(100 * symmetric, 0)}% symmetric, theirs {spread(100 * other, 0)}%, the "
               f"text's {100 * text['symmetric']:.0f}%.")
    report.say("Control: the untied model without a block, to which all but the symmetry applies too. Had it "
               "stayed as far from the bigram counts, the lack of blocks would be to blame, not the tie; "
               f"it is {spread(untied - text['bigram loss'])} from them.")
    report.table(["", "validation loss", "likeliest is itself", "symmetric"],
                 [[f"L = {name}, {key}", spread(column(numbers, name, key, "loss")),
                   f"{spread(100 * column(numbers, name, key, 'itself'), 0)}%",
                   f"{spread(100 * column(numbers, name, key, 'symmetric'), 0)}%"]
                  for name in numbers["models"] for key in ("tied", "untied")]
                 + [["unigram counts", f"{text['unigram loss']:.3f}", "", ""],
                    ["bigram counts", f"{text['bigram loss']:.3f}", f"{100 * text['itself']:.0f}%", ""],
                    *([f"{name}{of}", "", "", f"{100 * text[key + of]:.0f}%"]
                      for name, key in ((LOG_COUNTS, "log counts"), (SURPRISE, "symmetric")) for of in ("", ", shuffled"))])
    report.charts(
        Lines(reached(numbers), "blocks, L", "validation loss",
              {key: (depths_, [column(numbers, f"{L}", key, "loss").mean() for L in depths_])
               for key in ("tied", "untied")}
              | {"bigram counts": (depths_, [text["bigram loss"]] * len(depths_))}),
        Bars("Scores from E to E are symmetric, those of the text are not", "symmetric share",
             {f"L = {name}, {key}": column(numbers, name, key, "symmetric")
              for name in ("0", "1", *BRANCHES_SHOWN) for key in ("tied", "untied")}
             | {f"{SURPRISE}{of}": [text["symmetric" + of]] for of in ("", ", shuffled")}))
    report.table(["", "tied less untied", "of that gap closed"],
                 [[f"L = {name}", spread(gap[name]), f"{spread(100 * (1 - gap[name] / gap['0']), 0)}%" if name != "0" else ""]
                  for name in numbers["models"]])
    wider = [f"L = {name}" for name in numbers["models"] if np.all(gap[name] > gap["0"])]
    if wider:
        report.say(f"We had expected each to close some of the gap. It is wider than without a block with {', '.join(wider)} (a negative "
                   "percentage): there both kinds are better than without a block, and the untied one by more. So the tie costs something "
                   "else, too, than the symmetry; see part 4 for what a larger gradient of the lookup does about it.")
    one, other = (f"1, {name}" for name in BRANCHES.values())
    better = gap[other] < gap[one]
    report.say("Which part of a block does it? Both need nothing but the token itself to turn its vector: the MLP, "
               "and attention to the token's own position. The gap that remains is the smaller with the MLP alone "
               f"{in_seeds(better)} ({spread(gap[other])}, with attention alone {spread(gap[one])}).")
    says_itself = column(numbers, "0", "tied", "itself")
    report.say(f"The tied model without a block says most often the token it has just read for {spread(100 * says_itself, 0)}% "
               f"of {numbers['tokens']} tokens. Of the text this is true of {100 * text['itself']:.0f}%, of the untied model of "
               f"{spread(100 * column(numbers, '0', 'untied', 'itself'), 0)}%. "
               + (f"We had expected most of them. But {spread(100 * column(numbers, '0', 'tied', 'negative gains'), 0)}% of its final LayerNorm's "
                  "gains are negative, and E G Eᵀ with a diagonal G of both signs is as symmetric and need not have a large diagonal."
                  if says_itself.mean() < 0.5 else "As expected: a row's product with itself is large."))
    report.say("The scores are the logits after each single token at the first position, those of tokens that the text "
               "has ten times or more; rows' and columns' means are taken out, as frequency alone would make a "
               "matrix look asymmetric. Independent numbers are 50% symmetric. So is, less what frequency alone gives, the "
               f"shuffled text ({100 * text['symmetric, shuffled']:.0f}%); its bare log counts are not ({100 * text['log counts, shuffled']:.0f}%), "
               "for the logarithm of 1 + a small count is no sum of a row's and a column's part. What does not follow: that a tied "
               "model of one block has no trace of the symmetry; and with attention there is more to a block than "
               "undoing the tie.")


LOG_COUNTS, SURPRISE = "log counts", "counts over expected"
BRANCHES_SHOWN = tuple(f"1, {name}" for name in BRANCHES.values())
