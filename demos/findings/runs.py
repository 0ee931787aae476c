"""Texts, runs that are trained on them, and a laboratory that keeps many of them on disk."""
import bdb
import multiprocessing
import re
import signal
import sys
import sysconfig
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from findings.counts import markov_chain, pair_counts
from findings.kinds import Kind, Model, Stepper
from lib.statistics import norm
from lib.texts import read_text
from minigpt_np import (
    GPT, BPETokenizer, CharacterTokenizer, GPTConfig, WarmupCosine, evaluate)
from minigpt_np.files.atomic import atomic_write
from minigpt_np.training.blas import blas_threads
from minigpt_np.training.data import random_batch
from minigpt_np.training.debugger import BREAKPOINT, detach_debugger
from minigpt_np.training.memory import keep_freed_memory
from minigpt_np.training.progress import Progress

SWEEP_SEED = 0              # learning rates are chosen with this seed; results have others
PROBES = 40                 # steps at which contributions are measured, at equal ratios
SOURCE_CODE, REVERSIBLE = "source code", "reversible chain"
SOURCE_LENGTH = 465_000     # characters, about as many as the documentation has


# ---- texts ---------------------------------------------------------------------------------------

class Text:
    """A text cut into tokens, in three splits.

    source      None: CPython's documentation; SOURCE_CODE: the standard library's; a file's path;
                REVERSIBLE: a Markov chain drawn from C + Cᵀ, C the documentation's counts of pairs,
                which reads alike backwards
    vocab_size  V of the pieces (BPE) made from the text; 0: its characters
    train       (N,) ids, the first 80%
    choose      the next 10%: learning rates are chosen by the loss on it
    report      the last 10%: losses that are reported
    counts      (V,) of each token in train
    log_p       (V,) log of (counts + 1) / (N + V), the smoothed unigram distribution
    """

    def __init__(self, source, vocab_size):
        if source == SOURCE_CODE:
            files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))[:40]
            text = "\n".join(map(read_text, files))[:SOURCE_LENGTH]
        else:
            text = read_text(None if source == REVERSIBLE else source)
        tokenizer = BPETokenizer.train(text, vocab_size) if vocab_size else CharacterTokenizer(text)
        ids, self.V = tokenizer.encode(text), tokenizer.vocab_size
        if source == REVERSIBLE:
            C = pair_counts(ids, self.V)
            ids = markov_chain(C + C.T, len(ids))
        ends = [len(ids) * 8 // 10, len(ids) * 9 // 10]
        self.train, self.choose, self.report = np.split(ids, ends)
        self.counts = np.bincount(self.train, minlength=self.V)
        self.log_p = np.log((self.counts + 1) / (self.counts.sum() + self.V))


text_of = cache(Text)       # each is made once


# ---- one run -------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Settings:
    """The sizes that all runs of one comparison share."""
    layers: int = 1         # L
    heads: int = 4          # H
    width: int = 48         # D
    block: int = 32         # T
    batch: int = 8          # B
    steps: int = 600
    vocab_size: int = 1024  # V; 0: characters
    source: str | None = None


@dataclass(frozen=True)
class Task:
    """One run to train."""
    settings: Settings
    kind: Kind
    seed: int
    rate: float             # of the blocks, the highest of the schedule
    ratio: float            # E's and head's rate relative to it

    @property
    def text(self):
        return text_of(self.settings.source, self.settings.vocab_size)

    @property
    def config(self):
        s = self.settings
        return GPTConfig(self.text.V, s.block, s.layers, s.heads, s.width,
                         tie_embeddings=self.kind.tied)


@dataclass
class Run:
    """A trained task.

    loss        on the split `choose` for SWEEP_SEED, else on `report`
    fit         the loss on as much of the text that was trained on
    sizes       (probes, 3): step, |the lookup's part of dE|, |the logits' part|
    moved       (2, V, D), see Stepper
    """
    task: Task
    model: Model
    loss: float
    fit: float
    sizes: np.ndarray
    moved: np.ndarray


def new_model(task):
    """The untrained Model. Tied and untied ones start from different numbers, so none is alike."""
    kind, text, config = task.kind, task.text, task.config
    rng = np.random.default_rng([task.seed, 1, int(kind.tied), config.n_layer])
    return Model(kind, GPT(config, seed=rng), text.counts, text.log_p, task.seed)


def batches(task):
    """ids, targets (B, T) for each step, the same for all kinds of one seed."""
    s, rng = task.settings, np.random.default_rng([task.seed, 100])
    return (random_batch(task.text.train, s.batch, s.block, rng) for _ in range(s.steps))


def train(task):
    """Task -> Run."""
    keep_freed_memory()
    s, text, model, sizes = task.settings, task.text, new_model(task), []
    stepper = Stepper(model, task.rate, task.ratio)
    schedule = WarmupCosine(task.rate, s.steps // 10, s.steps, task.rate / 10)
    probes = np.geomspace(1, s.steps, PROBES).round()
    with blas_threads(1):
        for step, (ids, targets) in enumerate(batches(task)):
            grads, others = model.backward(model.forward(ids, targets)[2])
            if step + 1 in probes:
                sizes.append([step + 1, norm(grads.E), norm(grads.head)])
            stepper.step(grads, others, schedule(step))
        split = text.choose if task.seed == SWEEP_SEED else text.report
        loss, fit = (evaluate(model, ids, 32, s.block, threads=1)
                     for ids in (split, text.train[:len(split)]))
    return Run(task, model, loss, fit, np.array(sizes), stepper.moved.astype(np.float32))


# ---- many runs, kept on disk ---------------------------------------------------------------------

class Laboratory:
    """Trains tasks, several at once, and keeps each finished run in a folder, to go on from there.

    folder      of the runs; None: a temporary one
    processes   that train at the same time, a run each. Leave the `with` block to end them
    """

    def __init__(self, folder=None, processes=1):
        self.temporary = None if folder else TemporaryDirectory()
        self.folder = Path(folder or self.temporary.name)
        self.pool = processes > 1 and multiprocessing.get_context("spawn").Pool(
            processes, initialize_worker)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.pool:
            self.pool.terminate()
        if self.temporary:
            self.temporary.cleanup()

    def runs(self, tasks):
        """The runs of these tasks, in their order; those that are missing are trained."""
        missing = [task for task in tasks if not self.path(task).exists()]
        trained = (self.pool.imap_unordered(train_here, missing) if self.pool
                   else map(train, missing))
        with Progress(len(missing), sys.stderr) as progress:
            for n, run in enumerate(trained, 1):
                self.save(run)
                s, task = run.task.settings, run.task
                progress.update(n, f"runs; {task.kind.name}, V {task.text.V}, {s.steps} steps, "
                                   f"rate {task.rate:.3g}, seed {task.seed}: {run.loss:.4f}")
        return [self.load(task) for task in tasks]

    def path(self, task):
        digest = sha256(repr(task).encode() + task.text.train.tobytes()).hexdigest()
        return self.folder / f"{re.sub('[^a-z]+', '_', task.kind.name)}-{digest[:16]}.npz"

    def save(self, run):
        self.folder.mkdir(parents=True, exist_ok=True)
        held = BytesIO()
        np.savez(held, loss=run.loss, fit=run.fit, sizes=run.sizes, moved=run.moved,
                 flat=run.model.params.flat, **run.model.learned)
        with atomic_write(self.path(run.task)) as file:
            file.write(held.getbuffer())

    def load(self, task):
        """The Run that `save` has written for this task."""
        with np.load(self.path(task)) as file:
            arrays, model = dict(file), new_model(task)
        model.params.flat[...] = arrays["flat"]
        for name, array in model.learned.items():
            array[...] = arrays[name]
        return Run(task, model, float(arrays["loss"]), float(arrays["fit"]), arrays["sizes"],
                   arrays["moved"])


def train_here(task):
    """`train`, in a process of the pool."""
    try:
        return train(task)
    except bdb.BdbQuit:
        raise RuntimeError(BREAKPOINT) from None


def initialize_worker():
    signal.signal(signal.SIGINT, signal.SIG_IGN)    # Ctrl-C is the parent's, which ends its pool
    detach_debugger()
