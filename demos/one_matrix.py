"""How can one matrix do both jobs? Six measurements on small GPTs trained on real text.

    python demos/one_matrix.py                          # all of them, a few minutes on two cores
    python demos/one_matrix.py --part 2 4               # some of them
    python demos/one_matrix.py --html one_matrix.html   # with a page of charts
    python demos/one_matrix.py --seeds 5 --steps 2000 --width 128

 1  The same budget, tied and untied: loss and parameters.
 2  Who writes E? The lookup's contribution to its gradient, and the logits'.
 3  Whose embedding does a tied one resemble: an untied model's input, or its output?
 4  Where does a token's frequency live: in the norm of its row, or in a direction?
 5  Does magnitude matter on the input? Rows scaled at one end only.
 6  A tie done wrong: two copies that start equal, each with an optimizer's moments of its own.

E is V x D; row v is token v's vector. Untied, E reads and a second matrix, head, writes. Runs are
trained once, whichever parts ask for them. A number is the mean over the seeds ± their standard
deviation. AdamW has no weight decay here: nothing but the two gradients moves E.
"""
import argparse
import itertools
import json
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from lib import terminal
from lib.charts import Bars, Lines, Page, save, spread
from lib.statistics import correlation, pairwise_cosines, r_squared, rank_correlation
from minigpt_np import GPT, GPTConfig
from minigpt_np.training import parallel
from minigpt_np.text.bpe import BPETokenizer
from minigpt_np.text.characters import CharacterTokenizer
from minigpt_np.training.data import check_length, consecutive_batches, random_batch, split
from minigpt_np.training.optim import AdamW, WarmupCosine
from minigpt_np.parameters import count
from minigpt_np.training.progress import Progress
from minigpt_np.training.trainer import Trainer, evaluate

# The kinds of run.
TIED, UNTIED, SMALL = "tied", "untied", "untied, fewer columns"
COPIES, MOMENTS = "two copies", "one matrix, two pairs of moments"
KINDS = [TIED, UNTIED, SMALL, COPIES, MOMENTS]

# The matrices that parts 3 and 4 compare, and what part 4 looks at in each row of them.
MATRICES = {"tied E": TIED, "untied output": UNTIED, "untied input": UNTIED}
FEATURES = ("norm", "E_v·bias", "E_v·mean h")
BOTH = "norm and E_v·bias"
OCCURRENCES = "occurrences in the training text"
# What part 5 looks at when one row is scaled.
ROW_EFFECTS = ("input row: change of loss where it is read",
               "input row: share of guesses changed there",
               "output row: change of loss where it comes next",
               "output row: change of loss elsewhere")

LOOKS = 8                   # times the validation loss is taken in a run
PROBES = 100                # times the two contributions are taken apart in a tied run
SCALES = [1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8]


def main(argv=None):
    args = parse(argv)
    lab = Lab(args)
    page = Page("How can one matrix do both jobs?")
    page.say(f"{lab.source}: {len(lab.training):,} tokens to train on and {len(lab.validation):,} "
             f"to validate, {lab.V} distinct. L{args.layers} H{args.heads} D{args.width} "
             f"T{args.block}, {args.steps} steps of {args.batch} sequences, AdamW, highest "
             f"learning rate {args.lr}; seed{'s' * (args.seeds > 1)} "
             f"{', '.join(map(str, lab.seeds))}.")
    numbers = {"options": vars(args)}
    for n in sorted(set(args.part)):
        numbers[f"part {n}"] = PARTS[n](lab, page)
        if args.html:
            save(args.html, page.html())
        if args.json:
            save(args.json, json.dumps(numbers, default=plain, indent=1))
    print(f"\n{time.monotonic() - lab.begin:.0f} s in all")
    return 0


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--part", type=int, nargs="+", choices=PARTS, default=[*PARTS], help="default: all")
    add("--text", metavar="FILE", help="UTF-8 text to train on (default: pydoc_data.topics)")
    add("--tokenizer", choices=("characters", "bpe"), default="bpe")
    add("--vocab-size", type=int, default=1024, help="V, of --tokenizer bpe (default 1024)")
    add("--layers", type=int, default=2, help="L (default 2)")
    add("--heads", type=int, default=4, help="H (default 4)")
    add("--width", type=int, default=64, help="D (default 64)")
    add("--block", type=int, default=64, help="T (default 64)")
    add("--batch", type=int, default=16, help="B (default 16)")
    add("--steps", type=int, default=600)
    add("--lr", type=float, default=2e-3, help="highest learning rate (default 0.002)")
    add("--seeds", type=int, default=3, help="runs of each kind (default 3)")
    add("--seed", type=int, default=0, help="the first seed (default 0)")
    add("--least", type=int, default=10,
        help="parts 2 to 4 look at tokens that the training text has so often (default 10)")
    add("--threads", type=int, default=parallel.cores(), help="default: one for each core")
    add("--html", metavar="FILE", help="write the page with its charts here, after each part")
    add("--json", metavar="FILE", help="write the numbers here, after each part")
    args = parser.parse_args(argv)
    for name in ("vocab_size", "batch", "steps", "seeds", "least", "threads"):
        if getattr(args, name) < 1:
            parser.error(f"--{name.replace('_', '-')}: {getattr(args, name)} given, "
                         "expected at least 1")
    if args.seed < 0:
        parser.error(f"--seed: {args.seed} given, expected at least 0")
    for name in ("html", "json"):
        path = getattr(args, name)
        if path and not Path(path).absolute().parent.is_dir():
            parser.error(f"--{name}: {path} given, expected a file in a folder that is there")
    return args


# ---- the runs ------------------------------------------------------------------------------------

@dataclass
class Run:
    """A trained model and what was noted on the way.

    losses      of each step's batch
    looks       (step, validation loss), the last at the end
    probes      dicts of numbers on the two contributions, every few steps (tied runs)
    rows        (3, V), summed over the probes for each row of E:
                |lookup's|², |logits'|², and the product of the two
    drift       |E - head| / |E| after each step (two copies)
    """
    kind: str
    seed: int
    model: GPT
    losses: list = field(default_factory=list)
    looks: list = field(default_factory=list)
    probes: list = field(default_factory=list)
    rows: np.ndarray = None
    drift: list = field(default_factory=list)

    @property
    def loss(self):
        """The validation loss at the end."""
        return self.looks[-1][1]


class Lab:
    """The text, the options, and every run that some part has asked for."""

    def __init__(self, args):
        self.args, self.begin, self._runs = args, time.monotonic(), {}
        text, self.source = read_text(args.text)
        tokenizer = (BPETokenizer.train(text, args.vocab_size) if args.tokenizer == "bpe"
                     else CharacterTokenizer(text))
        self.V = tokenizer.vocab_size
        self.training, self.validation = split(tokenizer.encode(text))
        for part in (self.training, self.validation):
            check_length(part, args.block)
        self.counts = np.bincount(self.training, minlength=self.V)
        self.common = np.flatnonzero(self.counts >= args.least)     # what parts 2 to 4 look at
        if len(np.unique(self.counts[self.common])) < 4:
            raise ValueError(f"--least: {args.least} given, expected a number that leaves tokens "
                             "of 4 frequencies")
        tied = self.config(TIED)
        untied = replace(tied, tie_embeddings=False)
        self.small = min(range(args.heads, args.width + 1, args.heads),
                         key=lambda D: abs(count(replace(untied, n_embd=D)) - count(tied)))

    @property
    def seeds(self):
        return range(self.args.seed, self.args.seed + self.args.seeds)

    def config(self, kind):
        a = self.args
        return GPTConfig(vocab_size=self.V, block_size=a.block, n_layer=a.layers, n_head=a.heads,
                         n_embd=self.small if kind == SMALL else a.width,
                         tie_embeddings=kind not in (UNTIED, SMALL))

    def runs(self, kind):
        """The runs of a kind, one a seed; those not asked for before are trained now."""
        for seed in self.seeds:
            if (kind, seed) not in self._runs:
                self._runs[kind, seed] = train(self, kind, seed)
        return [self._runs[kind, seed] for seed in self.seeds]

    def validate(self, model):
        return evaluate(model, self.validation, self.args.batch, self.args.block, self.args.threads)


def read_text(path):
    if path is not None:
        return Path(path).read_text(encoding="utf-8"), path
    from pydoc_data.topics import topics
    return "\n\n".join(topics[name] for name in sorted(topics)), "pydoc_data.topics"


def train(lab, kind, seed):
    """One run. Runs of a seed see the same batches; each of the three models begins differently."""
    args = lab.args
    beginning = KINDS.index(kind) if kind in (UNTIED, SMALL) else KINDS.index(TIED)
    model = GPT(lab.config(kind), seed=np.random.default_rng([seed, beginning]))
    if kind in (COPIES, MOMENTS):
        model = model.untied()              # head starts as a copy of E, and has moments of its own
    p = model.params
    schedule = WarmupCosine(args.lr, args.steps // 10, args.steps, args.lr / 10)
    trainer = Trainer(model, AdamW(p, args.lr, weight_decay=0), schedule, threads=args.threads)
    rng = np.random.default_rng([seed, 100])
    run = Run(kind, seed, model, rows=np.zeros((3, lab.V)))
    looks = set(np.linspace(args.steps / LOOKS, args.steps, LOOKS).astype(int))
    progress = Progress(args.steps, sys.stderr)
    for step in range(1, args.steps + 1):
        ids, targets = random_batch(lab.training, args.batch, args.block, rng)
        probing = kind == TIED and (step == 1 or step % max(1, args.steps // PROBES) == 0)
        apart = contributions(model, ids, targets) if probing else None
        before = p.E.copy() if kind == MOMENTS else None
        loss, _ = trainer.step(ids, targets)
        run.losses.append(loss)
        if probing:
            note(run, step, *apart, trainer.grads.E)
        if kind == MOMENTS:                 # both updates, each by its own moments, into one matrix
            p.E += p.head - before
            p.head[:] = p.E
        if kind == COPIES:
            run.drift.append(norm(p.E - p.head) / norm(p.E))
        if step in looks:
            run.looks.append((step, lab.validate(model)))
        progress.update(step, f"{kind}, seed {seed}: loss {loss:.3f}")
    seconds = time.monotonic() - progress.begin
    progress.line(f"{kind}, seed {seed}: {args.steps} steps in {seconds:.1f} s, "
                  f"validation loss {run.loss:.3f}")
    return run


def contributions(model, ids, targets):
    """The lookup's and the logits' contribution to dE, (V, D) each, from an untied twin."""
    twin = model.untied()
    _, _, cache = twin.forward(ids, targets)
    grads = twin.backward(cache)
    return grads.E, grads.head


def note(run, step, lookup, logits, dE):
    """Into the run: the size of the two contributions to dE, the rows they touch, their cosine."""
    pairs = (lookup, lookup), (logits, logits), (lookup, logits)
    rows = np.array([(a * b).sum(axis=1) for a, b in pairs], float)
    run.rows += rows
    squares = rows.sum(axis=1)
    run.probes.append({
        "step": step,
        "lookup": np.sqrt(squares[0]), "logits": np.sqrt(squares[1]),
        "cosine": squares[2] / np.sqrt(squares[0] * squares[1]),
        "lookup touches": np.mean(rows[0] > 0), "logits touch": np.mean(rows[1] > 0),
        "lookup 90%": share_holding(rows[0], 0.9), "logits 90%": share_holding(rows[1], 0.9),
        "error": norm(lookup + logits - dE) / norm(dE),
    })


def share_holding(squares, part):
    """The smallest share of rows that holds `part` of the sum of squares."""
    sums = np.cumsum(np.sort(squares)[::-1])
    return (np.searchsorted(sums, part * sums[-1]) + 1) / len(squares)


# ---- the parts -----------------------------------------------------------------------------------

def same_budget(lab, page):
    page.heading("1. The same budget, tied and untied")
    kinds = [TIED, UNTIED, SMALL]
    runs = {kind: lab.runs(kind) for kind in kinds}
    sizes = {kind: runs[kind][0].model.params.flat.size for kind in kinds}
    steps = [step for step, _ in runs[TIED][0].looks]
    curves = {kind: np.array([[loss for _, loss in run.looks] for run in runs[kind]])
              for kind in kinds}
    last = {kind: np.array([np.mean(run.losses[-50:]) for run in runs[kind]]) for kind in kinds}
    half = len(steps) // 2 - 1
    page.table(
        ["", "D", "parameters", f"validation, step {steps[half]}", f"step {steps[-1]}",
         "training, last 50"],
        [[kind, str(runs[kind][0].model.config.n_embd), f"{sizes[kind]:,}",
          spread(curves[kind][:, half]), spread(curves[kind][:, -1]), spread(last[kind])]
         for kind in kinds])
    page.charts(
        Lines("Validation loss", "step", "loss, nats a token",
              {kind: (steps, curves[kind].mean(axis=0)) for kind in kinds}),
        Lines("Training loss, mean of 25 steps", "step", "loss, nats a token",
              {kind: smooth(runs[kind]) for kind in kinds}))
    for kind, what in ((UNTIED, "At equal steps and width"),
                       (SMALL, "At (nearly) equal parameters")):
        difference = curves[TIED][:, -1] - curves[kind][:, -1]
        page.say(f"{what}, {sizes[TIED]:,} parameters tied and {sizes[kind]:,} untied: the tied "
                 f"model's validation loss less the untied one's is {spread(difference)}; it is "
                 f"the lower one {in_seeds(difference < 0)}.")
    page.say("What does not follow: anything about models where E is a small share of the "
             f"parameters (here {runs[TIED][0].model.params.E.size / sizes[TIED]:.0%} of the tied "
             "ones), about long training, or about another learning rate: all three kinds had "
             "the same, tuned for none of them.")
    return {kind: {"parameters": sizes[kind], "D": runs[kind][0].model.config.n_embd,
                   "steps": steps, "validation": curves[kind], "training at the end": last[kind]}
            for kind in kinds}


def who_writes(lab, page):
    page.heading("2. Who writes E?")
    runs = lab.runs(TIED)
    found = {name: np.array([[probe[name] for probe in run.probes] for run in runs])
             for name in runs[0].probes[0]}                 # name -> (seeds, probes)
    steps = found.pop("step")[0]
    third = len(steps) // 3
    times = {"first step": slice(0, 1), "first third": slice(1, 1 + third),
             "last third": slice(len(steps) - third, None)}
    times = {name: part for name, part in times.items() if len(steps[part])}
    names = {"lookup": "norm of the lookup's", "logits": "norm of the logits'",
             "cosine": "cosine of the two",
             "lookup touches": "rows the lookup touches", "logits touch": "rows the logits touch",
             "lookup 90%": "rows with 90% of the lookup's",
             "logits 90%": "rows with 90% of the logits'"}
    page.table(["contribution to dE", *times],
               [[text, *(spread(found[name][:, part].mean(axis=1)) for part in times.values())]
                for name, text in names.items()])
    mean = {name: (steps, values.mean(axis=0)) for name, values in found.items()}
    page.charts(
        Lines("The two contributions to dE", "step", "norm",
              {"lookup's": mean["lookup"], "logits'": mean["logits"]}, log_y=True),
        Lines("Cosine between them, all of E", "step", "cosine", {"cosine": mean["cosine"]}))

    counts = lab.counts[lab.common]
    squares = [run.rows[:, lab.common] for run in runs]
    share = np.array([rows[0] / (rows[0] + rows[1]) for rows in squares])
    cosine = np.array([rows[2] / np.sqrt(rows[0] * rows[1] + 1e-300) for rows in squares])
    size = np.array([np.sqrt(rows[0] + rows[1]) for rows in squares])
    page.charts(*(Lines(f"Row by row, seed {runs[0].seed}: {what}", OCCURRENCES, what,
                        {"a token": (counts, values[0])}, points=True, log_x=True)
                  for what, values in (("lookup's share", share), ("cosine of the two", cosine))))
    quarters = zip(("commonest quarter", "second", "third", "rarest quarter"),
                   np.array_split(np.argsort(-counts, kind="stable"), 4))
    page.table([f"{len(counts)} tokens, by frequency", "lookup's share", "cosine of the two"],
               [[f"{name} ({counts[rows].min()} to {counts[rows].max()} times)",
                 spread(share[:, rows].mean(axis=1)), spread(cosine[:, rows].mean(axis=1))]
                for name, rows in quarters])
    by_frequency = {name: np.array([rank_correlation(counts, row) for row in values])
                    for name, values in (("norm", size), ("share", share), ("cosine", cosine))}
    ratio = (found["lookup"] / found["logits"]).mean(axis=1)
    page.say(f"The lookup touches {spread(100 * found['lookup touches'].mean(axis=1), 0)}% of the "
             f"rows in a step, the logits {spread(100 * found['logits touch'].mean(axis=1), 0)}%. "
             f"The norm of the lookup's contribution is on average {spread(ratio, 2)} times that "
             "of the logits'. Per row, rank correlation with the token's frequency: of the size "
             f"of the two contributions {spread(by_frequency['norm'], 2)}, of the lookup's share "
             f"of the squares {spread(by_frequency['share'], 2)}, of the cosine "
             f"{spread(by_frequency['cosine'], 2)}.")
    overall, rowwise = found["cosine"].mean(axis=1), cosine.mean(axis=1)
    page.say(f"Do they pull against each other? The cosine is {spread(overall)} on average over "
             f"the steps and {spread(rowwise)} over the rows: {direction(overall)}. In single "
             f"steps it is between {found['cosine'].min():.2f} and {found['cosine'].max():.2f}. "
             "The two, taken apart, add up to the gradient that the tied model computes in one "
             f"array to within {found['error'].max():.1e} of its norm.")
    page.say("What does not follow: how far each moves E. Adam divides their sum by one root of "
             "a mean square, so a large contribution also makes the steps of a small one shorter.")
    return {"steps": steps, **found, "rank correlation with frequency": by_frequency,
            "rows: lookup's share": share.mean(axis=1), "rows: cosine": rowwise,
            "lookup / logits": ratio}


def whose_embedding(lab, page):
    page.heading("3. Whose embedding does the tied one resemble?")
    found = {}
    for centred in (False, True):
        cosines = {name: [pairwise_cosines(rows_of(lab, name, run, centred))
                          for run in lab.runs(kind)] for name, kind in MATRICES.items()}
        for a, b in itertools.combinations(MATRICES, 2):
            found[a, b, centred] = [rank_correlation(x, y) for x, y in zip(cosines[a], cosines[b])]
        for a in MATRICES if len(lab.seeds) > 1 else ():
            neighbours = zip(cosines[a], cosines[a][1:])
            found[a, a, centred] = [rank_correlation(x, y) for x, y in neighbours]
    pairs = list(dict.fromkeys((a, b) for a, b, _ in found))
    title = {(a, b): f"{a} of two seeds" if a == b else f"{a}, {b}" for a, b in pairs}
    page.table(["rank correlation of pairwise cosines", "rows as they are", "mean row taken out"],
               [[title[a, b], spread(found[a, b, False]), spread(found[a, b, True])]
                for a, b in pairs])
    page.charts(*(Bars(text, "Spearman's rho",
                       {title[a, b]: found[a, b, centred] for a, b in pairs})
                  for text, centred in (("Rank correlation of pairwise cosines", False),
                                        ("The same, mean row taken out", True))))
    for centred, how in ((False, "Rows as they are"), (True, "With the mean row taken out")):
        gap = np.subtract(found["tied E", "untied output", centred],
                          found["tied E", "untied input", centred])
        page.say(f"{how}: the tied E is nearer to the untied output than to the untied input "
                 f"{in_seeds(gap > 0)} (difference {spread(gap)}). This {verdict(gap > 0)} Press "
                 "and Wolf (2017).")
    page.say(f"Taken over the {len(lab.common)} tokens that occur {lab.args.least} times or more; "
             "every model has a beginning of its own, so nothing is alike from the start. Runs "
             "of one seed see the same batches, two seeds do not. Where two seeds of the same "
             "matrix are hardly alike, little was learned that comes out the same twice, and "
             "little could resemble it: its low numbers say nothing more. What does not follow: "
             "anything about words, which is what Press and Wolf compared; these are pieces of "
             "words.")
    return {f"{title[a, b]}{', mean row taken out' if centred else ''}": values
            for (a, b, centred), values in found.items()}


def where_frequency_lives(lab, page):
    page.heading("4. Where does frequency live?")
    counts = lab.counts[lab.common]
    frequency = np.log(counts)
    features = {name: [features_of(lab, name, run) for run in lab.runs(kind)]
                for name, kind in MATRICES.items()}
    r, r2 = {}, {}                          # (matrix, feature) -> a number for each seed
    for name, of_seeds in features.items():
        for what in FEATURES:
            r[name, what] = [correlation(frequency, f[what]) for f in of_seeds]
            r2[name, what] = np.array([r_squared(frequency, f[what]) for f in of_seeds])
        r2[name, BOTH] = np.array([r_squared(frequency, *(f[what] for what in FEATURES[:2]))
                                   for f in of_seeds])
    page.table(["log frequency with", "correlation r", "R², share explained"],
               [[f"{what} of {name}", spread(r[name, what]) if what in FEATURES else "",
                 spread(values)]
                for (name, what), values in r2.items()])
    page.charts(
        Bars("How much of log frequency each explains", "R²",
             {f"{what} of {name}": values for (name, what), values in r2.items()}),
        *(Lines(f"{what} of each row, seed {lab.args.seed}", OCCURRENCES, what,
                {name: (counts, features[name][0][what]) for name in MATRICES},
                points=True, log_x=True) for what in FEATURES[:2]))
    for name in MATRICES:
        by_norm, by_bias, by_mean = (r2[name, what] for what in FEATURES)
        page.say(f"{name}: the norm of a row explains {spread(100 * by_norm, 0)}% of log "
                 "frequency, and commoner tokens have "
                 f"{signed(r[name, 'norm'], 'longer', 'shorter')} rows; the projection on the "
                 f"final LayerNorm's bias explains {spread(100 * by_bias, 0)}%, the projection on "
                 f"the mean of h {spread(100 * by_mean, 0)}%. The bias explains more than the "
                 f"norm {in_seeds(by_bias > by_norm)}.")
    away = np.abs(frequency - frequency.mean())
    ends = {name: [correlation(away, f["norm"]) for f in of_seeds]
            for name, of_seeds in features.items()}
    page.say("A norm has no sign, so one number more: its correlation with how far log frequency is "
             "from its mean, either way, which is positive where rare and common tokens both have "
             "the longer rows. It is " + ", ".join(
        f"{spread(values, 2)} ({name})" for name, values in ends.items()) + ".")
    bias, mean_h = np.array([[norm(x) for x in constants(lab, run.model)]
                             for run in lab.runs(TIED)]).T
    page.say("h = gain·x̂ + bias, so E_v·bias is the same number in every context: a constant "
             f"added to v's logit. (Tied: the bias is {spread(bias, 2)} long, the mean of h over "
             f"the validation text {spread(mean_h, 2)}: x̂ has a mean, too.) The untied input "
             "writes no logits: what its rows have along the bias is there as a control. What "
             "does not follow: that a longer row makes a likelier token. A row's length "
             "multiplies a logit of either sign; see part 5.")
    return {f"{what} of {name}": {"r": r.get((name, what)), "R2": values}
            for (name, what), values in r2.items()} | {
        "norm with distance from the mean log frequency": ends, "|bias|": bias, "|mean h|": mean_h}


def features_of(lab, name, run):
    """FEATURES -> a number for each common token, of its row in the matrix `name`."""
    rows, (bias, mean_h) = rows_of(lab, name, run), constants(lab, run.model)
    return dict(zip(FEATURES, (np.sqrt((rows * rows).sum(axis=1)), rows @ bias, rows @ mean_h)))


def magnitude(lab, page):
    page.heading("5. Does magnitude matter on the input?")
    runs = lab.runs(TIED)
    sides = {"E on the input": ["E"], "E and P on the input": ["E", "P"],
             "head on the output": ["head"]}
    losses = {side: np.zeros((len(runs), len(SCALES))) for side in sides}
    changed = {side: np.zeros((len(runs), len(SCALES))) for side in sides}
    for i, run in enumerate(runs):
        _, guesses = read(lab, run.model)
        for side, names in sides.items():
            for j, scale in enumerate(SCALES):
                scores, now = read(lab, scaled(run.model, names, slice(None), scale))
                losses[side][i, j], changed[side][i, j] = scores.mean(), np.mean(guesses != now)
    shown = [SCALES.index(scale) for scale in (1 / 4, 1 / 2, 1, 2, 4)]
    page.table(["all rows scaled by", *(f"{SCALES[j]:g}" for j in shown)],
               [[f"loss: {side}", *(spread(values[:, j], 2) for j in shown)]
                for side, values in losses.items()]
               + [[f"guesses changed: {side}", *(f"{values[:, j].mean():.1%}" for j in shown)]
                  for side, values in changed.items()])
    page.charts(
        Lines("Loss with all of E scaled at one end", "scale", "loss, nats a token",
              {side: (SCALES, values.mean(axis=0)) for side, values in losses.items()},
              log_x=True, log_y=True),
        Lines("Likeliest tokens that change", "scale", "share of positions",
              {side: (SCALES, values.mean(axis=0)) for side, values in changed.items()},
              log_x=True))
    up, down = SCALES.index(2), SCALES.index(1 / 2)
    base = losses["E on the input"][:, SCALES.index(1)]
    cost = {side: (losses[side][:, down] - base, losses[side][:, up] - base) for side in sides}
    page.say("Halved and doubled, the loss changes by " + "; ".join(
        f"{spread(a)} and {spread(b)} ({side})" for side, (a, b) in cost.items()) + ".")
    page.say("On the output a common scale is a temperature: it can change no guess "
             f"({changed['head on the output'].max():.1%} measured), only the confidence. On the "
             "input the first LayerNorm takes the scale out of what the first block reads, all "
             "of it (but for its eps) if P is scaled too; what remains is the residual stream, "
             "where E_v + P stands beside what the blocks add to it.")
    return {"scales": SCALES, "loss": losses, "guesses changed": changed,
            "one row": one_row(lab, page, runs)}


def one_row(lab, page, runs):
    """Part 5, a single row at a time, of the five tokens commonest in the validation text."""
    tokens = np.argsort(-np.bincount(lab.validation, minlength=lab.V), kind="stable")[:5]
    ids, targets = whole(lab)
    found = {}
    for run in runs:
        before, guesses = read(lab, run.model)
        positive = run.model.forward(ids)[0].reshape(ids.size, -1) > 0
        for what, share in (("all", positive), ("these tokens", positive[:, tokens]),
                            ("next token", positive[np.arange(ids.size), targets.ravel()])):
            found.setdefault(what, []).append(100 * np.mean(share))
        for scale in (1 / 2, 2):
            rows = []
            for v in tokens:
                read_v, next_v = ids.ravel() == v, targets.ravel() == v
                by_input, guesses_in = read(lab, scaled(run.model, ["E"], v, scale))
                by_output, _ = read(lab, scaled(run.model, ["head"], v, scale))
                rows.append([(by_input - before)[read_v].mean(),
                             np.mean((guesses_in != guesses)[read_v]),
                             (by_output - before)[next_v].mean(),
                             (by_output - before)[~next_v].mean()])
            for what, value in zip(ROW_EFFECTS, np.mean(rows, axis=0)):
                found.setdefault((scale, what), []).append(value)
    page.table(["one row scaled, mean over 5 common tokens", "by 1/2", "by 2"],
               [[what, spread(found[1 / 2, what]), spread(found[2, what])] for what in ROW_EFFECTS])
    page.say("Is a larger row a likelier token? Only where its logit is above 0: "
             f"{spread(found['these tokens'], 0)}% of these tokens' logits are, "
             f"{spread(found['all'], 0)}% of all, {spread(found['next token'], 0)}% of those of "
             "the token that does come next. Where it is below 0, a longer row makes the token "
             "less likely. Doubling the output row lowers the loss where that token comes next "
             f"{in_seeds(np.array(found[2, ROW_EFFECTS[2]]) < 0)}, and elsewhere "
             f"{in_seeds(np.array(found[2, ROW_EFFECTS[3]]) < 0)}.")
    page.say("What does not follow: that the input has no use for length. These models were "
             "trained with the rows at the lengths they have; the experiment changes them "
             "afterwards.")
    return {str(name): values for name, values in found.items()}


def tie_done_wrong(lab, page):
    page.heading("6. A tie done wrong")
    kinds = [TIED, COPIES, MOMENTS, UNTIED]
    runs = {kind: lab.runs(kind) for kind in kinds}
    page.say("Two copies: head starts as a copy of E, and each gets its own use's gradient and "
             "moments of its own. That is an untied model that starts tied. One matrix, two "
             "pairs of moments: the two updates are added into one matrix, so it stays tied, but "
             "each use's gradient is divided by the root mean square of its own.")
    losses = {kind: np.array([run.loss for run in runs[kind]]) for kind in kinds}
    drift = np.array([run.drift for run in runs[COPIES]])
    as_one = {f"two copies, then one: {name}":
              np.array([lab.validate(as_tied(run.model, name)) for run in runs[COPIES]])
              for name in ("E", "head")}
    steps = np.arange(1, drift.shape[1] + 1)
    marks = sorted({1, 2, 10, 100, len(steps)} & set(steps.tolist()))
    page.table(["two copies", *(f"step {n}" for n in marks)],
               [["|E - head| / |E|", *(spread(drift[:, n - 1]) for n in marks)]])
    page.table(["", "validation loss", "less the tied one's"],
               [[name, spread(values), spread(values - losses[TIED])]
                for name, values in (losses | as_one).items()])
    page.charts(Lines("How fast two equal copies drift apart", "step", "|E - head| / |E|",
                      {f"seed {run.seed}": (steps, run.drift) for run in runs[COPIES][:5]},
                      log_x=True, log_y=True),
                Bars("Validation loss less the tied one's", "nats a token",
                     {name: values - losses[TIED]
                      for name, values in (losses | as_one).items() if name != TIED}))
    same, (as_E, as_head) = fed_alike(lab), as_one.values()
    page.say(f"After one step the copies are {spread(drift[:, 0])} of E's norm apart, at the end "
             f"{spread(drift[:, -1])}. The loss of the two copies less that of the tied model is "
             f"{spread(losses[COPIES] - losses[TIED])}, and it is the higher one "
             f"{in_seeds(losses[COPIES] > losses[TIED])}. The price comes when it is saved or "
             f"used as what it was meant to be: with E in both places the loss is {spread(as_E)}, "
             f"with head in both {spread(as_head)}.")
    difference = losses[MOMENTS] - losses[TIED]
    page.say("One matrix with two pairs of moments: its loss less the tied one's is "
             f"{spread(difference)}; higher {in_seeds(difference > 0)}. Two copies that are both "
             f"given the sum of the two gradients differ by {same:g} after "
             f"{min(20, lab.args.steps)} steps: what drives them apart is what they are given, "
             "not that there are two. What does not follow: that two moments are always worse or "
             "better; that depends on the learning rate, which was the same here for all.")
    return {"drift": {int(n): drift[:, n - 1] for n in marks}, "validation": losses | as_one,
            "fed alike": same}


def fed_alike(lab):
    """The largest difference of E and head after a few steps in which both were given the sum."""
    args = lab.args
    model = GPT(lab.config(TIED), seed=args.seed).untied()
    optimizer = AdamW(model.params, args.lr, weight_decay=0)
    rng = np.random.default_rng([args.seed, 100])
    for _ in range(min(20, args.steps)):
        _, _, cache = model.forward(*random_batch(lab.training, args.batch, args.block, rng))
        grads = model.backward(cache)
        grads.E += grads.head
        grads.head[:] = grads.E
        optimizer.step(grads)
    return float(np.abs(model.params.E - model.params.head).max())


PARTS = {1: same_budget, 2: who_writes, 3: whose_embedding, 4: where_frequency_lives,
         5: magnitude, 6: tie_done_wrong}


# ---- what the parts look at ----------------------------------------------------------------------

def rows_of(lab, name, run, centred=False):
    """The rows of the common tokens, float64, of E or (for "untied output") of the head."""
    p = run.model.params
    rows = (p.head if name == "untied output" else p.E)[lab.common].astype(float)
    return rows - rows.mean(axis=0) if centred else rows


def constants(lab, model):
    """The final LayerNorm's bias, and the mean of h over `whole`; (D,) each."""
    _, _, cache = model.forward(*whole(lab))
    return model.params.norm.bias.astype(float), cache.logits.h.mean(axis=0, dtype=float)


def whole(lab):
    """ids, targets of the first 64 sequences (or as many as there are) of the validation text."""
    return next(consecutive_batches(lab.validation, 64, lab.args.block))


def read(lab, model):
    """Over the positions of `whole`: the loss at each (N,), and the likeliest token (N,)."""
    ids, targets = whole(lab)
    logits = model.forward(ids)[0].reshape(ids.size, -1)
    largest = logits.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(logits - largest).sum(axis=1)) + largest[:, 0]
    return log_sum - logits[np.arange(ids.size), targets.ravel()], logits.argmax(axis=1)


def scaled(model, names, rows, scale):
    """An untied copy of the model with these rows of the arrays multiplied by `scale`."""
    copy = model.untied()
    for name in names:
        copy.params.arrays[name][rows] *= scale
    return copy


def as_tied(model, name):
    """The untied model with its E, or its head, in both places."""
    tied = model.untied()
    tied.params.E[:] = tied.params.head[:] = model.params.arrays[name]
    return tied


# ---- numbers and words ---------------------------------------------------------------------------

def norm(x):
    return float(np.sqrt(np.sum(x * x, dtype=float)))


def smooth(runs, n=25):
    """(steps, mean over the runs of the training loss, each the mean of n steps)."""
    losses = np.mean([run.losses for run in runs], axis=0)
    n = min(n, len(losses))
    return np.arange(n, len(losses) + 1), np.convolve(losses, np.ones(n) / n, "valid")


def in_seeds(flags):
    """(seeds,) bool -> 'in all 3 seeds', 'in 2 of 3 seeds'."""
    yes, n = int(np.sum(flags)), len(flags)
    if yes == n > 1:
        return "in both seeds" if n == 2 else f"in all {n} seeds"
    return f"in {yes} of {n} seed{'s' * (n > 1)}"


def signed(values, positive, negative):
    """Which of two words the signs of a number in all seeds call for."""
    if min(values) > 0:
        return positive
    return negative if max(values) < 0 else f"neither clearly {positive} nor clearly {negative}"


def verdict(flags):
    """Whether what was found in each seed agrees with what was found before."""
    if all(flags):
        return "agrees with"
    return "neither confirms nor contradicts" if any(flags) else "contradicts"


def direction(cosines):
    """What the mean cosines of the seeds say about two gradients."""
    if max(np.abs(cosines)) < 0.05:
        return "they are all but at right angles, neither helping nor hindering each other"
    if min(cosines) > 0:
        return "they pull the same way, if only in part"
    if max(cosines) < 0:
        return "they pull against each other in part"
    return "the seeds differ in sign"


def plain(value):
    """For json: arrays and NumPy's numbers as Python's."""
    return value.tolist()


if __name__ == "__main__":
    terminal.run(main)
