"""The experiments of demos/one_matrix.py: texts, kinds of model, training, and runs kept on disk.

A `Model` computes with an untied GPT whose lookup table is made from E: E itself, E[π], a multiple
of E, or E M. So every kind of tie goes through the package's own forward and backward, and what the
lookup and the logits add to dE is there in two arrays, at every step.
"""
import multiprocessing
import signal
import sys
import sysconfig
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np

from lib.statistics import norm
from lib.texts import read_text
from minigpt_np import (
    GPT, AdamW, BPETokenizer, CharacterTokenizer, GPTConfig, Parameters, WarmupCosine, evaluate)
from minigpt_np.files.atomic import atomic_write
from minigpt_np.layers import cross_entropy
from minigpt_np.parameters import from_flat
from minigpt_np.training.blas import blas_threads
from minigpt_np.training.data import check_length, random_batch
from minigpt_np.training.debugger import detach_debugger
from minigpt_np.training.memory import keep_freed_memory
from minigpt_np.training.optim import clip_factor
from minigpt_np.training.progress import Progress

CLIP = 1.0                  # of the gradient's global norm
SWEEP_SEED = 0              # learning rates are chosen with this seed; results have others
PROBES = 40                 # steps at which contributions are measured, at equal ratios


# ---- texts ---------------------------------------------------------------------------------------

SOURCE_CODE = "source code"
REVERSIBLE = "reversible chain"
SOURCE_LENGTH = 465_000     # characters, about as many as the documentation has


def standard_library():
    """The first SOURCE_LENGTH characters of the standard library's modules, by name."""
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    return "\n".join(read_text(file) for file in files[:40])[:SOURCE_LENGTH]


class Text:
    """A text cut into tokens, in three pieces.

    source      None: CPython's documentation; SOURCE_CODE; a file's path; or REVERSIBLE: a Markov
                chain drawn from C + Cᵀ, C the documentation's counts of pairs, which reads alike
                backwards
    vocab_size  V of the pieces (BPE) made from the text; 0: its characters
    train       (N,) ids, the first 80%
    choose      the next 10%: learning rates are chosen by the loss on it
    report      the last 10%: losses that are reported
    counts      (V,) of each token in train
    log_p       (V,) log of (counts + 1) / (N + V), the smoothed unigram distribution
    """

    def __init__(self, source=None, vocab_size=1024, block=1):
        text = (standard_library() if source == SOURCE_CODE
                else read_text(None if source == REVERSIBLE else source))
        self.tokenizer = (BPETokenizer.train(text, vocab_size) if vocab_size
                          else CharacterTokenizer(text))
        ids = self.tokenizer.encode(text)
        if source == REVERSIBLE:
            C = pair_counts(ids, self.tokenizer.vocab_size)
            ids = markov_chain(C + C.T, len(ids))
        first, second = len(ids) * 8 // 10, len(ids) * 9 // 10
        self.train, self.choose, self.report = ids[:first], ids[first:second], ids[second:]
        for piece in (self.train, self.choose, self.report):
            check_length(piece, block)
        self.V = self.tokenizer.vocab_size
        self.counts = np.bincount(self.train, minlength=self.V)
        self.log_p = np.log((self.counts + 1) / (self.counts.sum() + self.V))


def pair_counts(ids, V):
    """ids (N,) -> C (V, V), how often v follows u."""
    return np.bincount(ids[:-1] * V + ids[1:], minlength=V * V).reshape(V, V)


def markov_chain(C, n, seed=0):
    """n tokens, each drawn from the row of C that the one before it names, in proportion."""
    rng, cumulative = np.random.default_rng(seed), np.cumsum(C, axis=1)
    total, ids = cumulative[:, -1], np.empty(n, int)
    ids[0] = rng.choice(len(C), p=total / total.sum())
    for i, draw in enumerate(rng.random(n - 1)):
        row = cumulative[ids[i]]
        ids[i + 1] = np.searchsorted(row, draw * row[-1], side="right")
    return ids


# ---- what is trained -----------------------------------------------------------------------------

@dataclass(frozen=True)
class Settings:
    """The sizes that all runs of one comparison share."""
    layers: int = 2         # L
    heads: int = 4          # H
    width: int = 64         # D
    block: int = 32         # T
    batch: int = 8          # B
    steps: int = 600
    vocab_size: int = 1024  # V; 0: characters
    source: str | None = None


@dataclass(frozen=True)
class Kind:
    """What sets a model apart; the defaults are the tied GPT with AdamW.

    tied        one matrix E, or E and head
    lookup      what is looked up: "E"; "permuted": E[π], π a random permutation of the tokens;
                "like frequency": the same, but π moves a token only among GROUP of like frequency;
                "scaled": sqrt(D) E; "matrix": E M, M learned; "symmetric matrix": E (M + Mᵀ)/2
    bias        of the logits, one number a token: "none"; "frequency": log unigram probability,
                fixed; "shuffled": these numbers dealt out at random, fixed; "learned": from 0, by
                Adam
    optimizer   "AdamW"; "two moments": the lookup's and the logits' gradients each have moments of
                their own, and both steps are added to the one E; "coupled": the second moment of
                the head (tied: of E) is averaged over the tokens (Coupled Adam)
    factor      what the lookup's gradient is multiplied by
    """
    tied: bool = True
    lookup: str = "E"
    bias: str = "none"
    optimizer: str = "AdamW"
    factor: float = 1.0


TIED, UNTIED, PERMUTED = Kind(), Kind(tied=False), Kind(lookup="permuted")
GROUP = 8


def with_frequency(kind):
    """The kind with log unigram probabilities as its logits' bias."""
    return replace(kind, bias="frequency")


def permutation(kind, counts, seed):
    """π (V,): token v is looked up as row π[v], and never as its own where there is another."""
    rng, V = np.random.default_rng([seed, 2]), len(counts)
    if kind.lookup == "like frequency":
        order, size = np.argsort(-counts, kind="stable"), GROUP
    else:
        order, size = rng.permutation(V), V
    pi = np.empty(V, int)
    for start in range(0, V, size):
        group = rng.permutation(order[start:start + size])
        pi[group] = np.roll(group, 1)
    return pi


class Model:
    """A GPT in which the lookup table is made from E and the logits may have a bias.

    params      Parameters of the config: what is trained
    extra       name -> array that is trained besides: "M" (D, D), "bias" (V,)
    bias        (V,), added to the logits
    pi          (V,) or None
    Raises ValueError for an unknown lookup or bias.
    """

    def __init__(self, kind, params, counts, log_p, seed=0):
        self.kind, self.params, self.config = kind, params, params.config
        untied, dtype = replace(params.config, tie_embeddings=False), params.flat.dtype
        self.reader, D = GPT(untied, params=Parameters(untied, dtype)), untied.n_embd
        self.extra, self.pi = {}, None
        if kind.lookup in ("permuted", "like frequency"):
            self.pi = permutation(kind, counts, seed)
        elif kind.lookup in ("matrix", "symmetric matrix"):
            self.extra["M"] = np.eye(D, dtype=dtype)
        elif kind.lookup not in ("E", "scaled"):
            raise ValueError(f"lookup: {kind.lookup!r} given, expected one that Kind names")
        shuffled = np.random.default_rng([seed, 3]).permutation(log_p)
        biases = {"none": 0 * log_p, "frequency": log_p, "shuffled": shuffled, "learned": 0 * log_p}
        if kind.bias not in biases:
            raise ValueError(f"bias: {kind.bias!r} given, expected one of {', '.join(biases)}")
        self.bias = biases[kind.bias].astype(dtype)
        if kind.bias == "learned":
            self.extra["bias"] = self.bias

    def matrix(self):
        """M (D, D) as it is used."""
        M = self.extra["M"]
        return (M + M.T) / 2 if self.kind.lookup == "symmetric matrix" else M

    def table(self):
        """(V, D): the row that each token is looked up as."""
        E = self.params.E
        if self.pi is not None:
            return E[self.pi]
        if "M" in self.extra:
            return E @ self.matrix()
        return E * np.sqrt(self.config.n_embd) if self.kind.lookup == "scaled" else E

    def table_backward(self, dtable, extra_grads):
        """dtable (V, D) -> dE (V, D); M's gradient goes to extra_grads."""
        if self.pi is not None:
            dE = np.empty_like(dtable)
            dE[self.pi] = dtable                                # table[v] = E[π[v]], π one to one
            return dE
        if "M" in self.extra:
            dM = self.params.E.T @ dtable                       # table = E M
            extra_grads["M"] = (dM + dM.T) / 2 if self.kind.lookup == "symmetric matrix" else dM
            return dtable @ self.matrix().T
        return dtable * np.sqrt(self.config.n_embd) if self.kind.lookup == "scaled" else dtable

    def forward(self, ids, targets=None):
        """ids, targets (B, T) -> logits (B, T, V), loss or None, cache; as GPT.forward."""
        for name, array in self.params.named().items():
            self.reader.params.arrays[name][...] = array
        self.reader.params.E[...] = self.table()
        self.reader.params.head[...] = self.params.head
        logits, _, cache = self.reader.forward(ids)
        logits += self.bias
        loss = None
        if targets is not None:
            rows = logits.reshape(-1, logits.shape[2])
            loss, cache.loss = cross_entropy.forward(rows, targets.ravel())
        return logits, loss, cache

    def backward(self, cache, apart):
        """Accumulate into `apart`, untied Parameters that are 0; name -> gradient of `extra`.

        apart.E is then what the lookup adds to dE, and apart.head what the logits add.
        """
        grads = {}
        self.reader.backward(cache, apart)
        apart.E[...] = self.table_backward(apart.E, grads)
        if "bias" in self.extra:
            grads["bias"] = cross_entropy.backward(1.0, cache.loss).sum(axis=0)
        return grads


# ---- the optimizer -------------------------------------------------------------------------------

class Stepper:
    """AdamW on a Model's params and extra; E and head have `ratio` times the others' rate."""

    def __init__(self, model, rate, ratio):
        self.model, self.ratio = model, ratio
        self.two = model.kind.optimizer == "two moments"
        config = replace(model.config, tie_embeddings=model.config.tie_embeddings and not self.two)
        self.params = Parameters(config, model.params.flat.dtype) if self.two else model.params
        self.grads = Parameters(config, self.params.flat.dtype)
        self.adam = AdamW(self.params, rate, weight_decay=0)
        self.extra = {name: np.zeros((2, *array.shape), array.dtype)
                      for name, array in model.extra.items()}
        optimizer = model.kind.optimizer
        if optimizer not in ("AdamW", "two moments", "coupled"):
            raise ValueError(f"optimizer: {optimizer!r} given, expected one that Kind names")

    def quotient(self, m, v):
        """m̂ / (sqrt(v̂) + eps), with the two corrections for their start at 0."""
        beta1, beta2 = self.adam.betas
        c = np.sqrt(1 - beta2 ** self.adam.steps)
        return m * (c / (1 - beta1 ** self.adam.steps)) / (np.sqrt(v) + self.adam.eps * c)

    def step(self, apart, extra_grads, rate):
        """apart: untied Parameters, the gradients; -> the factor by which they were clipped."""
        model, grads, kind = self.model, self.grads, self.model.kind
        for name, array in grads.named().items():
            array[...] = apart.arrays[name]
        grads.E *= kind.factor
        if grads.head is grads.E:
            grads.E += apart.head
        squares = norm(grads.flat) ** 2 + sum(norm(g) ** 2 for g in extra_grads.values())
        scale = clip_factor(np.sqrt(squares), CLIP)

        if self.two:
            for name, array in model.params.named().items():
                self.params.arrays[name][...] = array
            self.params.head[...] = model.params.E
        before = {name: array.copy() for name, array in self.params.named().items()
                  if name in ("E", "head")}
        self.adam.step(grads, rate, scale)
        if kind.optimizer == "coupled":
            name = "E" if model.config.tie_embeddings else "head"
            m, v = (moment.arrays[name] for moment in (self.adam.m, self.adam.v))
            self.params.arrays[name][...] = before[name] - rate * self.quotient(m, v.mean(axis=0))
        for name, array in before.items():
            now = self.params.arrays[name]
            now[...] = array + self.ratio * (now - array)
        if self.two:
            self.params.E += self.params.head - before["head"]
            for name, array in model.params.named().items():
                array[...] = self.params.arrays[name]

        beta1, beta2 = self.adam.betas
        for name, g in extra_grads.items():
            m, v = self.extra[name]
            m[...] = beta1 * m + (1 - beta1) * scale * g
            v[...] = beta2 * v + (1 - beta2) * (scale * g) ** 2
            model.extra[name] -= rate * (self.ratio if name == "bias" else 1) * self.quotient(m, v)
        return scale


class Contributions:
    """Which part of a tied E's way is the lookup's, and which the logits'.

    Adam's step is -rate m̂ / (sqrt(v̂) + eps). m is linear in the gradients, so it is the sum of
    one m for each use; both are divided by the v that their sum has made, and the two quotients add
    up to E's step. `moved` (2, V, D) sums them over the steps: lookup's, logits'.
    Untied, each use has its own matrix, and only the sizes of the gradients are recorded.
    """

    def __init__(self, stepper, steps):
        self.stepper, self.rows = stepper, []
        self.tied = stepper.model.config.tie_embeddings and stepper.model.kind.optimizer == "AdamW"
        self.at = {int(round(x)) for x in np.geomspace(1, steps, PROBES)}
        self.m = np.zeros((2, *stepper.model.params.E.shape))
        self.moved = np.zeros_like(self.m)

    def record(self, step, apart, scale, rate):
        stepper, uses = self.stepper, (apart.E, apart.head)
        row = [step, norm(apart.E), norm(apart.head)]
        if self.tied:
            beta1 = stepper.adam.betas[0]
            v = stepper.adam.v.E
            for i, use in enumerate(uses):
                factor = stepper.model.kind.factor if i == 0 else 1
                self.m[i] = beta1 * self.m[i] + (1 - beta1) * scale * factor * use
            update = -rate * stepper.ratio * stepper.quotient(self.m, v)
            self.moved += update
            row += [norm(update[0]), norm(update[1])]
        if step in self.at:
            self.rows.append(row)


# ---- one run -------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Task:
    """One run to train. keep: its parameters and contributions are wanted, not only its loss."""
    settings: Settings
    kind: Kind
    seed: int
    rate: float             # of the blocks, the highest of the schedule
    ratio: float            # E's and head's rate relative to it
    keep: bool = False


@dataclass
class Run:
    """What a task has come to; all but the loss only with keep.

    loss        on the piece `choose` for SWEEP_SEED, else on `report`
    model       trained; `start` are its parameters before
    gradients   (probes, 3 or 5): step, |lookup's part of dE|, |logits' part|; tied, both of E's
                step
    moved       (2, V, D), see Contributions
    """
    task: Task
    loss: float
    model: Model | None = None
    start: Parameters | None = None
    gradients: np.ndarray | None = None
    moved: np.ndarray | None = None


def config_of(settings, kind, V):
    return GPTConfig(V, settings.block, settings.layers, settings.heads, settings.width,
                     tie_embeddings=kind.tied)


def new_model(task, text):
    """The untrained Model. Tied and untied ones start from different numbers, so none is alike."""
    rng = np.random.default_rng([task.seed, 1, int(task.kind.tied), task.settings.layers])
    params = GPT(config_of(task.settings, task.kind, text.V), seed=rng).params
    return Model(task.kind, params, text.counts, text.log_p, task.seed)


def train(task, text):
    """Task, Text -> Run. All runs of one seed see the same batches."""
    keep_freed_memory()
    s, model = task.settings, new_model(task, text)
    start = model.params.flat.copy()
    stepper = Stepper(model, task.rate, task.ratio)
    schedule = WarmupCosine(task.rate, s.steps // 10, s.steps, task.rate / 10)
    record = Contributions(stepper, s.steps) if task.keep else None
    apart = Parameters(model.reader.config, model.params.flat.dtype)
    rng = np.random.default_rng([task.seed, 100])
    with blas_threads(1):
        for step in range(1, s.steps + 1):
            ids, targets = random_batch(text.train, s.batch, s.block, rng)
            _, _, cache = model.forward(ids, targets)
            apart.flat[...] = 0
            extra_grads = model.backward(cache, apart)
            scale = stepper.step(apart, extra_grads, schedule(step - 1))
            if record:
                record.record(step, apart, scale, schedule(step - 1))
        piece = text.choose if task.seed == SWEEP_SEED else text.report
        loss = evaluate(model, piece, 32, s.block, threads=1)
    run = Run(task, loss)
    if task.keep:
        run.model, run.gradients, run.moved = model, np.array(record.rows), record.moved
        run.start = from_flat(model.config, start)
    return run


# ---- many runs, kept on disk ---------------------------------------------------------------------

class Laboratory:
    """Trains tasks, several at once, and keeps each finished run in a folder, to go on from there.

    folder      of the runs; None: they are kept in memory only
    processes   that train at the same time, a run each; leaving a `with` block ends them
    """

    def __init__(self, folder=None, processes=1):
        self.folder, self.processes = folder and Path(folder), processes
        self.texts, self.done, self.pool = {}, {}, None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.pool:
            self.pool.terminate()

    def text(self, settings):
        key = settings.source, settings.vocab_size, settings.block
        if key not in self.texts:
            self.texts[key] = Text(*key)
        return self.texts[key]

    def runs(self, tasks):
        """The runs of these tasks, in their order; those that are missing are trained."""
        missing = []
        for task in dict.fromkeys(tasks):
            if task not in self.done:
                run = self.load(task)
                if run:
                    self.done[task] = run
                else:
                    missing.append(task)
        if missing:
            progress = Progress(len(missing), sys.stderr)
            for n, run in enumerate(self.train(missing), 1):
                self.save(run)
                self.done[run.task] = run
                progress.update(n, f"runs; {name_of(run.task)}: {run.loss:.4f}")
        return [self.done[task] for task in tasks]

    def train(self, tasks):
        """Yield each run as it is done."""
        tasks = sorted(tasks, key=lambda task: -task.settings.steps)    # the longest first
        if self.processes == 1 or len(tasks) == 1:
            yield from (train(task, self.text(task.settings)) for task in tasks)
            return
        if self.pool is None:
            self.pool = multiprocessing.get_context("spawn").Pool(self.processes, initialize_worker)
        yield from self.pool.imap_unordered(train_here, tasks)

    def path(self, task):
        text = self.text(task.settings)
        digest = sha256(repr(sorted(asdict(task).items())).encode() + text.train.tobytes())
        return self.folder / f"{name_of(task).replace(' ', '_')}-{digest.hexdigest()[:12]}.npz"

    def save(self, run):
        if not self.folder:
            return
        arrays = {"loss": run.loss}
        if run.task.keep:
            arrays |= {"flat": run.model.params.flat, "start": run.start.flat,
                       "gradients": run.gradients, "moved": run.moved.astype(np.float32)}
            arrays |= run.model.extra
        self.folder.mkdir(parents=True, exist_ok=True)
        held = BytesIO()
        np.savez(held, **arrays)
        with atomic_write(self.path(run.task)) as file:
            file.write(held.getbuffer())

    def load(self, task):
        """The Run that `save` has written for this very task, or None."""
        if not self.folder or not self.path(task).exists():
            return None
        with np.load(self.path(task)) as file:
            arrays = dict(file)
        run = Run(task, float(arrays["loss"]))
        if task.keep:
            text = self.text(task.settings)
            run.model = new_model(task, text)
            run.model.params.flat[...] = arrays["flat"]
            for name, array in run.model.extra.items():
                array[...] = arrays[name]
            run.start = from_flat(run.model.config, arrays["start"])
            run.gradients, run.moved = arrays["gradients"], arrays["moved"]
        return run


def name_of(task):
    s, k, default = task.settings, task.kind, Kind()
    changed = [str(getattr(k, name)) for name in ("lookup", "bias", "optimizer", "factor")
               if getattr(k, name) != getattr(default, name)]
    return " ".join(["tied" if k.tied else "untied", *changed, f"V{s.vocab_size}", f"L{s.layers}",
                     f"{s.steps}", f"seed{task.seed}", f"{task.rate:.3g}x{task.ratio:g}"])


_here = Laboratory()        # in a process of the pool: it makes each text once


def train_here(task):
    return train(task, _here.text(task.settings))


def initialize_worker():
    signal.signal(signal.SIGINT, signal.SIG_IGN)    # Ctrl-C is the parent's, which ends its pool
    detach_debugger()


# ---- learning rates ------------------------------------------------------------------------------

@dataclass(frozen=True)
class Rates:
    """The learning rates of a search: `steps` by factors of `factor`, with each ratio for E."""
    least: float = 0.002
    steps: int = 5
    factor: float = 2 ** 0.5
    ratios: tuple = (1, 4)
    further: int = 3        # at most so many rates beyond an end that is the best


def search(lab, settings, kinds, grids):
    """Each kind's best (rate, ratio): the least loss on `choose` with SWEEP_SEED.

    grids   kind -> Rates
    -> kind -> {"best": (rate, ratio), "tried": {(rate, ratio): loss}}. While the best rate is at an
    end of those tried, one further is tried. A single rate is not tried, but taken.
    """
    only = {kind: (grid.least, grid.ratios[0]) for kind, grid in grids.items()
            if grid.steps == len(grid.ratios) == 1}
    if only:
        others = [kind for kind in kinds if kind not in only]
        return {kind: {"best": pair, "tried": {}} for kind, pair in only.items()} | (
            search(lab, settings, others, {kind: grids[kind] for kind in others}) if others else {})
    wanted = {(kind, grid.least * grid.factor ** i, ratio) for kind, grid in grids.items()
              for i in range(grid.steps) for ratio in grid.ratios}
    tried, added = {kind: {} for kind in kinds}, dict.fromkeys(kinds, 0)
    while wanted:
        tasks = [Task(settings, *one[:1], SWEEP_SEED, *one[1:]) for one in sorted(wanted, key=repr)]
        for run in lab.runs(tasks):
            loss = run.loss if np.isfinite(run.loss) else np.inf
            tried[run.task.kind][run.task.rate, run.task.ratio] = loss
        wanted = set()
        for kind in kinds:
            rate, ratio = min(tried[kind], key=tried[kind].get)
            same = [r for r, other in tried[kind] if other == ratio]
            if added[kind] < grids[kind].further and rate in (min(same), max(same)):
                added[kind] += 1
                factor = grids[kind].factor
                wanted.add((kind, rate * factor if rate == max(same) else rate / factor, ratio))
    return {kind: {"best": min(losses, key=losses.get), "tried": losses}
            for kind, losses in tried.items()}
