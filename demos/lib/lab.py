"""The laboratory of demos/one_matrix.py: a text, kinds of model, and the runs that train them.

What each use of E adds to its gradient is kept apart while a tied model trains: `backward` is given
gradients with a head of their own, and what it leaves in the two is weighed, recorded and only then
added. So every step of every run can say what each use has done, at no cost.
"""
import bdb
import json
import math
import multiprocessing
import signal
import sys
import time
from copy import copy
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np

from lib.instruments import compare_contributions, sublayers
from lib.statistics import norm
from lib.texts import DOCUMENTATION, read_prose
from minigpt_np import GPT, AdamW, BPETokenizer, CharacterTokenizer, GPTConfig, Parameters, WarmupCosine, evaluate
from minigpt_np.files.atomic import atomic_write
from minigpt_np.parameters import count
from minigpt_np.training.blas import blas_threads
from minigpt_np.training.data import check_length, consecutive_batches, random_batch, split
from minigpt_np.training.debugger import BREAKPOINT, detach_debugger
from minigpt_np.training.memory import keep_freed_memory
from minigpt_np.training.optim import clip_factor
from minigpt_np.training.progress import Progress

CLIP = 1.0                  # of the gradient's global norm, before the two contributions are weighed
MIN_COUNT = 10              # occurrences that a token needs for a statement about its row
SNAPSHOTS = 16              # snapshots of a watched run, logarithmic in steps
PROBES = 40                 # times its two contributions are compared
SAME_TIME = ", same time"   # how the names of kinds with `same_time` end
EARLY = 0.1                 # of the steps: what "early" means


# ---- what is trained -----------------------------------------------------------------------------

@dataclass(frozen=True)
class Kind:
    """What sets a run apart: every field but the name has a default that one finding or other changes.

    layers      L; None: the settings'
    tied        one matrix E, or E and head
    branch      "attention" or "mlp": the only branch of each block; the other's last product is 0
    lookup      what the lookup's contribution to dE is multiplied by; logits: likewise
    early       these multipliers hold for the first EARLY of the steps only, then they are 1
    start       "copies": untied, but head starts as a copy of E. "moments": likewise, and after each
                step both updates are added into one matrix
    fewer       as many columns as give an untied model the tied one's number of parameters
    same_time   as many steps as take the time of the tied model's, from the committed sweep
    epochs      how often a piece of the text is read; None: all of the text, in the settings' steps
    longer      not a piece, but all of the text that many times: as many steps as that takes
    watched     its state is kept at SNAPSHOTS steps and its contributions are compared at PROBES
    """
    name: str
    layers: int | None = None
    tied: bool = True
    branch: str = ""
    lookup: float = 1.0
    logits: float = 1.0
    early: bool = False
    start: str = ""
    fewer: bool = False
    same_time: bool = False
    epochs: int | None = None
    longer: bool = False
    watched: bool = False


@dataclass(frozen=True)
class Settings:
    """The sizes of a run, but for what its kind changes."""
    layers: int = 2         # L
    heads: int = 4          # H
    width: int = 64         # D
    block: int = 32         # T
    batch: int = 16         # B
    steps: int = 600
    vocab_size: int = 1024  # V; 0: the text's characters are its tokens
    text: str | None = None


@dataclass
class Run:
    """A trained model and what was recorded on the way.

    rate        the highest learning rate
    losses      of each step's batch
    loss        of the validation text, at the end
    snapshots   of a watched run: {"steps", "loss", "E", "head", "bias"}, each an array over snapshots
    probes      of a watched run: name -> array over probes; see `Probe`
    drift       |E - head| / |E| after each step ("copies")
    """
    kind: Kind
    seed: int
    rate: float
    model: GPT
    losses: np.ndarray
    loss: float = np.nan
    snapshots: dict = field(default_factory=dict)
    probes: dict = field(default_factory=dict)
    drift: np.ndarray = None


class Lab:
    """A text cut into tokens, the settings, and every run that some finding asks for.

    settings    Settings
    seeds       as many runs of each kind
    rates       kind's name -> {"best": rate, "seconds": of a step}, of the committed sweep
    rate        for all kinds instead, unless None
    processes   that train at the same time, a run each
    folder      where runs are kept and found again; None: they are not
    """

    def __init__(self, settings, seeds=(0,), rates=None, rate=None, processes=1, folder=None):
        self.settings, self.seeds = settings, list(seeds)
        self.rates, self.rate, self.processes, self.folder = rates or {}, rate, processes, folder
        self.text, self.source = read_prose(settings.text), settings.text or DOCUMENTATION
        self.tokenizer = (BPETokenizer.train(self.text, settings.vocab_size) if settings.vocab_size
                          else CharacterTokenizer(self.text))
        self.V = self.tokenizer.vocab_size
        self.training, self.validation = split(self.tokenizer.encode(self.text))
        for part in (self.training, self.validation):
            check_length(part, settings.block)
        self.counts = np.bincount(self.training, minlength=self.V)
        self.common = common_tokens(self.counts)
        self._runs = {}

    # -- runs

    def runs(self, kind):
        """The runs of a kind, one a seed; those not asked for before are trained now."""
        self.train([kind])
        return [self._runs[kind, seed] for seed in self.seeds]

    def train(self, kinds):
        """Train what is missing of these kinds, several runs at once, with progress."""
        missing = [Task(self, kind, seed, self.rate_of(kind))
                   for kind in dict.fromkeys(kinds) for seed in self.seeds if (kind, seed) not in self._runs]
        for task, run in self.done(missing):
            self._runs[task.kind, task.seed] = run

    def losses_at(self, pairs):
        """(kind, learning rate) of each pair -> its validation loss, of the first seed."""
        tasks = [Task(self, kind, self.seeds[0], rate) for kind, rate in pairs]
        return {(task.kind, task.rate): run.loss for task, run in self.done(tasks)}

    def done(self, tasks):
        """Yield (task, its run): those that the folder has, then the others as they are trained, and kept."""
        missing = []
        for task in tasks:
            run = load_run(self.folder, task)
            if run:
                yield task, run
            else:
                missing.append(task)
        for task, run in train_all(missing, self.processes):
            save_run(self.folder, task, run)
            yield task, run

    def rate_of(self, kind):
        """The highest learning rate: the given one, or the committed sweep's best for this kind."""
        return self.rate or self.measured(kind).get("best", 4e-3)

    def measured(self, kind):
        """What the sweep has found for the kind; for one with `same_time`, what it has found for that without."""
        return self.rates.get(kind.name.removesuffix(SAME_TIME), {})

    def at(self, rates, seeds=None):
        """A lab with the same text and settings, other rates and perhaps other seeds, and no runs yet."""
        other = copy(self)
        other.rates, other.rate, other.seeds, other._runs = rates, None, list(self.seeds if seeds is None else seeds), {}
        return other

    # -- sizes

    def config(self, kind):
        s = self.settings
        L = s.layers if kind.layers is None else kind.layers
        config = GPTConfig(vocab_size=self.V, block_size=s.block, n_layer=L, n_head=s.heads, n_embd=s.width,
                           tie_embeddings=kind.tied and not kind.start)
        if kind.fewer:
            target = count(replace(config, tie_embeddings=True))
            config = min((replace(config, n_embd=D) for D in range(s.heads, s.width + 1, s.heads)),
                         key=lambda c: abs(count(c) - target))
        return config

    def steps(self, kind):
        s, steps = self.settings, self.settings.steps
        if kind.same_time:
            steps = round(steps * self.relative_time(kind))
        if kind.epochs:
            whole = kind.epochs * len(self.training) // (s.batch * s.block)
            steps = whole if kind.longer else min(steps, max(1, whole))
        return steps

    def piece(self, kind):
        """The training tokens that a run of this kind sees."""
        if not kind.epochs:
            return self.training
        read = self.steps(kind) * self.settings.batch * self.settings.block
        return self.training[:max(self.settings.block + 1, round(read / kind.epochs))]

    def relative_time(self, kind):
        """Seconds of the tied model's step to one of this kind's; 1 where no sweep has measured it."""
        tied, this = (self.measured(kind).get("seconds") for kind in (TIED, kind))
        return tied / this if tied and this else 1.0

    # -- what instruments look at

    def sample(self, sequences=32):
        """ids, targets (at most `sequences`, T): the validation text's beginning."""
        return next(consecutive_batches(self.validation, sequences, self.settings.block))


def common_tokens(counts):
    """The tokens that occur MIN_COUNT times or more. Raises ValueError if too few do."""
    common = np.flatnonzero(counts >= MIN_COUNT)
    if len(np.unique(counts[common])) < 4:
        raise ValueError(f"text: {len(common)} tokens occur {MIN_COUNT} times or more in it, expected tokens "
                         "of at least 4 such frequencies: a longer text")
    return common


TIED = Kind("tied", watched=True)
UNTIED = Kind("untied", tied=False, watched=True)


def at_depth(settings, L, tied):
    """The Kind of L blocks; with as many as the settings say, TIED or UNTIED, which all findings share."""
    if L == settings.layers:
        return TIED if tied else UNTIED
    return Kind(f"{'tied' if tied else 'untied'}, L = {L}", layers=L, tied=tied)


# ---- one run -------------------------------------------------------------------------------------

class Task:
    """One run to train: all that a process needs to know."""

    def __init__(self, lab, kind, seed, rate):
        self.kind, self.seed, self.rate = kind, seed, rate
        self.config, self.steps = lab.config(kind), lab.steps(kind)
        self.batch, self.block = lab.settings.batch, lab.settings.block
        self.training, self.validation = lab.piece(kind), lab.validation

    @property
    def name(self):
        """A file's: what was asked for, and a digest of everything that the result depends on."""
        what = asdict(self.kind) | asdict(self.config), self.seed, self.rate, self.steps, self.batch, self.block
        digest = sha256(repr(what).encode() + self.training.tobytes() + self.validation.tobytes())
        return f"{self.kind.name.replace(' ', '_')}-{self.seed}-{digest.hexdigest()[:16]}.npz"


def train(task, tick=lambda steps: None):
    """Task -> Run. Runs of a seed see the same batches, as far as they see the same text.

    Tied and untied models begin with numbers of their own: nothing is alike from the start.
    """
    kind, steps = task.kind, task.steps
    keep_freed_memory()
    beginning = np.random.default_rng([task.seed, int(kind.tied), task.config.n_layer])
    config = replace(task.config, tie_embeddings=True) if kind.start else task.config
    model = GPT(config, seed=beginning)
    if kind.start:
        model = model.untied()
    silenced = [part for name, part in sublayers(model.params) if kind.branch and name != kind.branch]
    for part in silenced:
        part.W[...] = part.b[...] = 0
    optimizer = AdamW(model.params, task.rate, weight_decay=0)
    schedule = WarmupCosine(task.rate, steps // 10, steps, task.rate / 10)
    gradient = Gradient(model, kind)
    watch = Watch(task, model, optimizer) if kind.watched else None
    rng = np.random.default_rng([task.seed, 100])
    losses, drift = np.empty(steps), np.empty(steps if kind.start == "copies" else 0)
    with blas_threads(1):
        for step in range(1, steps + 1):
            losses[step - 1] = gradient.take(*random_batch(task.training, task.batch, task.block, rng),
                                             early=step <= EARLY * steps)
            before = model.params.E.copy() if watch or kind.start else None
            optimizer.step(gradient.total, schedule(step - 1), gradient.scale)
            if kind.start == "moments":             # each by its own moments, both into one matrix
                model.params.E += model.params.head - before
                model.params.head[...] = model.params.E
            if kind.start == "copies":
                drift[step - 1] = norm(model.params.E - model.params.head) / norm(model.params.E)
            if watch:
                watch.record(step, schedule(step - 1), gradient, before)
            tick(1)
        loss = evaluate(model, task.validation, 64, task.block, threads=1)
    return Run(kind, task.seed, task.rate, model, losses, loss, *(watch.arrays() if watch else ({}, {})), drift)


class Gradient:
    """A batch's gradient, with what each use of E adds to dE apart.

    apart   Parameters with a head of their own: apart.E is the lookup's, apart.head the logits'
    total   Parameters like the model's: what the optimizer is given
    scale   the factor that clips it
    """

    def __init__(self, model, kind):
        self.model, self.kind = model, kind
        self.apart = Parameters(replace(model.config, tie_embeddings=False), model.params.flat.dtype)
        self.total = Parameters(model.config, model.params.flat.dtype)
        self.still = [part for name, part in sublayers(self.apart) if kind.branch and name != kind.branch]
        self.scale = 1.0

    def take(self, ids, targets, early=False):
        """ids, targets (B, T) -> their loss."""
        kind, apart, total = self.kind, self.apart, self.total
        apart.flat[...] = 0
        _, loss, cache = self.model.forward(ids, targets)
        self.model.backward(cache, apart)
        for part in self.still:
            part.W[...] = part.b[...] = 0
        for name, array in total.named().items():
            array[...] = apart.named()[name]
        if self.model.config.tie_embeddings:
            total.E += apart.head
        self.scale = clip_factor(norm(total.flat), CLIP)
        if (kind.lookup, kind.logits) != (1, 1) and (early or not kind.early):
            total.E[...] = kind.lookup * apart.E + kind.logits * apart.head
        return float(loss)


class Watch:
    """What is recorded of a run on its way."""

    def __init__(self, task, model, optimizer):
        self.task, self.model, self.optimizer = task, model, optimizer
        self.snapshots, self.probes = [], []
        self.snapshot_at = {0, *log_steps(task.steps, SNAPSHOTS)}
        self.probe_at = set(log_steps(task.steps, PROBES))
        self.probe = Probe(model, optimizer) if model.config.tie_embeddings else None
        self.keep(0)

    def record(self, step, rate, gradient, before):
        if self.probe:
            entry = self.probe.take(gradient, rate, before, step in self.probe_at)
            if entry:
                self.probes.append({"steps": step} | entry)
        if step in self.snapshot_at:
            self.keep(step)

    def keep(self, step):
        p = self.model.params
        loss = evaluate(self.model, self.task.validation, 64, self.task.block, threads=1)
        self.snapshots.append({"steps": step, "loss": loss, "E": p.E.copy(), "head": p.head.copy(),
                               "bias": p.norm.bias.copy()})

    def arrays(self):
        """snapshots, probes: name -> array over them."""
        return tuple({name: np.array([one[name] for one in many]) for name in many[0]} if many else {}
                     for many in (self.snapshots, self.probes))


class Probe:
    """Which part of E's change is the lookup's, and which the logits'.

    Adam's step is -lr m̂ / (sqrt(v̂) + eps). m is linear in the gradients, so it is the sum of one m
    for each use; both are divided by the v that their sum has made. The two quotients add up to E's
    step, and each use's share of it is its projection on it: the shares add up to 1.
    """

    def __init__(self, model, optimizer):
        self.model, self.optimizer = model, optimizer
        self.v = Parameters(model.config, optimizer.v.dtype, lambda n, dtype: optimizer.v).E
        self.m = np.zeros((2, *model.params.E.shape))
        self.moved = np.zeros_like(self.m)          # summed over all steps
        self.begin = model.params.E.astype(float)

    def take(self, gradient, rate, before, wanted):
        """After the optimizer's step, which began at `before`: numbers on the two, if wanted."""
        beta1, beta2 = self.optimizer.betas
        parts = np.array([gradient.apart.E, gradient.apart.head], float) * gradient.scale
        self.m = beta1 * self.m + (1 - beta1) * parts
        c = np.sqrt(1 - beta2 ** self.optimizer.steps)
        update = -rate * c / (1 - beta1 ** self.optimizer.steps) * self.m / (np.sqrt(self.v) + self.optimizer.eps * c)
        self.moved += update
        if not wanted:
            return None
        lookup, logits = parts
        change = self.model.params.E.astype(float) - before
        since = self.model.params.E - self.begin
        return compare_contributions(lookup, logits) | {
            "lookup update": norm(update[0]), "logits update": norm(update[1]),
            "lookup share": share_along(update[0], change), "logits share": share_along(update[1], change),
            "lookup share so far": share_along(self.moved[0], since),
            "logits share so far": share_along(self.moved[1], since),
            "error": norm(update.sum(axis=0) - change) / norm(change),
        }


def share_along(part, whole):
    """The projection of a part on the whole, as a share of it."""
    return float(np.sum(part * whole) / np.sum(whole * whole))


def log_steps(last, n):
    """At most n whole numbers from 1 to `last`, evenly spaced on a logarithmic axis."""
    return sorted({int(round(x)) for x in np.geomspace(1, last, n)})


# ---- many runs -----------------------------------------------------------------------------------

def train_all(tasks, processes):
    """Yield (task, its run) as they are done, with progress on stderr; `processes` at the same time."""
    if not tasks:
        return
    total = sum(task.steps for task in tasks)
    progress = Progress(total, sys.stderr)
    done, finished = 0, 0

    def show(steps):
        nonlocal done
        done += steps
        progress.update(done, f"steps, {finished} of {len(tasks)} runs")

    if processes == 1 or len(tasks) == 1:
        for task in tasks:
            run = train(task, show)
            finished += 1
            progress.line(line_about(run))
            yield task, run
        return
    context = multiprocessing.get_context("spawn")
    ticks = context.Value("q", 0)
    with context.Pool(min(processes, len(tasks)), initialize_worker, (ticks,)) as pool:
        # The longest first, so that no process is left alone with one at the end.
        waiting = [(task, pool.apply_async(train_here, (task,)))
                   for task in sorted(tasks, key=lambda t: -t.steps * (1 + t.config.n_layer))]
        while waiting:
            for task, result in [pair for pair in waiting if pair[1].ready()]:
                waiting.remove((task, result))
                run = result.get()
                finished += 1
                progress.line(line_about(run))
                yield task, run
            show(ticks.value - done if ticks.value > done else 0)
            time.sleep(0.05)


def line_about(run):
    return f"{run.kind.name}, seed {run.seed}, rate {run.rate:g}: validation loss {run.loss:.3f}"


def initialize_worker(ticks):
    global _ticks
    _ticks = ticks
    signal.signal(signal.SIGINT, signal.SIG_IGN)    # Ctrl-C is the parent's, which ends its pool
    detach_debugger()


def train_here(task):
    def tick(steps):
        with _ticks.get_lock():
            _ticks.value += steps
    try:
        return train(task, tick)
    except bdb.BdbQuit:
        raise RuntimeError(BREAKPOINT) from None


# ---- runs on disk --------------------------------------------------------------------------------

def save_run(folder, task, run):
    """Write the run into `folder`, if there is one: whole or not at all."""
    if folder is None:
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    arrays = {"params": run.model.params.flat, "losses": run.losses, "loss": run.loss, "drift": run.drift}
    arrays |= {f"{group}.{name}": values for group in ("snapshots", "probes")
               for name, values in getattr(run, group).items()}
    held = BytesIO()
    np.savez(held, **arrays)
    with atomic_write(Path(folder) / task.name) as file:
        file.write(held.getbuffer())


def load_run(folder, task):
    """The run that `save_run` has written for this very task, or None."""
    path = folder and Path(folder) / task.name
    if not path or not path.exists():
        return None
    with np.load(path) as file:
        arrays = dict(file)
    model = GPT(task.config)
    model.params.flat[...] = arrays["params"]
    groups = [{name.partition(".")[2]: values for name, values in arrays.items() if name.startswith(group)}
              for group in ("snapshots.", "probes.")]
    return Run(task.kind, task.seed, task.rate, model, arrays["losses"], float(arrays["loss"]), *groups, arrays["drift"])


# ---- learning rates ------------------------------------------------------------------------------

COMMITTED = Path(__file__).resolve().parents[1] / "findings" / "numbers.json"


def committed():
    """The committed numbers: "rates", kind's name -> {"best", "tried", "seconds"}, is the sweep of a run with --full."""
    return json.loads(COMMITTED.read_text(encoding="utf-8"))


def sweep(lab, kinds, start=4e-3, least=2.5e-4, most=0.512):
    """Search each kind's best learning rate by the validation loss of the first seed.

    `start`, half and twice of it are tried, and as long as the best is at an end, one further, within
    least..most; those of all kinds at the same time. -> the form of committed()["rates"].
    """
    tried = {kind: {} for kind in kinds}
    best = dict.fromkeys(kinds, start)
    while True:
        wanted = [(kind, rate) for kind in kinds for rate in (best[kind], best[kind] / 2, best[kind] * 2)
                  if least <= rate <= most and rate not in tried[kind]]
        if not wanted:
            return {kind.name: {"best": best[kind], "tried": {f"{rate:g}": losses[rate] for rate in sorted(losses)}}
                    for kind, losses in tried.items()}
        for (kind, rate), loss in lab.losses_at(wanted).items():
            tried[kind][rate] = loss
        best = {kind: min(losses, key=losses.get) for kind, losses in tried.items()}


def step_seconds(lab, kinds, rounds=150):
    """kind's name -> a processor's seconds for a step, the fastest of many, the kinds taking turns at random.

    Not the clock's: what else the machine has to do must not affect the comparison.
    """
    keep_freed_memory()
    runs = {}
    for kind in kinds:
        model = GPT(lab.config(kind), seed=0)
        runs[kind.name] = Gradient(model, kind), AdamW(model.params, 1e-3, weight_decay=0)
    rng, times = np.random.default_rng(0), {name: [] for name in runs}
    with blas_threads(1):
        for _ in range(rounds):
            for name in rng.permutation(list(runs)):
                gradient, optimizer = runs[name]
                batch = random_batch(lab.training, lab.settings.batch, lab.settings.block, rng)
                begin = time.process_time()
                gradient.take(*batch)
                optimizer.step(gradient.total, scale=gradient.scale)
                times[name].append(time.process_time() - begin)
    return {name: min(seconds) for name, seconds in times.items()}


# ---- numbers -------------------------------------------------------------------------------------

def plain(value):
    """The value as JSON keeps it: arrays as lists, numbers to 5 digits, NaN as null, keys as text."""
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, range, np.ndarray)):
        return [plain(one) for one in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
