"""What sort.py and add.py share: a model that is to learn a function from some of its cases.

A case is a row of tokens: what is given, then the answer. The model reads the row and is scored on
the answer alone: the targets of what is given are -1.
"""
import argparse
import time
from dataclasses import dataclass

import numpy as np

from lib.terminal import check_least
from minigpt_np import GPT, GPTConfig
from minigpt_np.training.optim import AdamW, WarmupCosine
from minigpt_np.training.progress import Progress
from minigpt_np.training.trainer import Trainer

SCORED = 20_000             # cases a score is taken over, at most


@dataclass
class Exercise:
    """The cases of one function.

    cases     (n, G + A) integers: G tokens given, then A of the answer
    given     G
    V         number of tokens
    held_out  (n,) bool: the cases that are never trained on
    """
    cases: np.ndarray
    given: int
    V: int
    held_out: np.ndarray

    def batch(self, B, rng):
        """ids, targets (B, G + A - 1) of B cases not held out, drawn by the Generator rng."""
        known = np.flatnonzero(~self.held_out)
        rows = self.cases[rng.choice(known, B)]
        ids, targets = rows[:, :-1], rows[:, 1:].copy()
        targets[:, :self.given - 1] = -1
        return ids, targets


def hold_out(n, share, seed):
    """(n,) bool, True for a `share` of n cases picked by the seed: at least one, and not all."""
    held_out = np.zeros(n, bool)
    count = min(max(1, round(n * share)), n - 1)
    held_out[np.random.default_rng([seed, 3]).permutation(n)[:count]] = True
    return held_out


def options(description, **defaults):
    """The parser both demos begin with; `defaults` of steps, batch and lr."""
    parser = argparse.ArgumentParser(description=description,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--steps", type=int, default=defaults["steps"], help=f"default {defaults['steps']}")
    add("--batch", type=int, default=defaults["batch"], help=f"B (default {defaults['batch']})")
    add("--lr", type=float, default=defaults["lr"],
        help=f"highest learning rate (default {defaults['lr']})")
    add("--tie", action="store_true", default=None, help="tied only (default: tied, then untied)")
    add("--untie", dest="tie", action="store_false", help="untied only")
    add("--seed", type=int, default=0)
    add("--threads", type=int, help="default: one per core; one under a debugger")
    return parser


def check(parser, args, *names):
    """Leave with a message unless the options `names`, and those of all, are at least 1."""
    check_least(parser, args, seed=0, **dict.fromkeys(("steps", "batch", "threads", *names), 1))


def solve(exercise, args, show):
    """Train as args says, tied and untied unless one was chosen, and print the scores.

    show     function of a model that prints a few of its answers
    Returns the scores, "tied" or "untied" -> (right, of) of the cases held out, and of the others.
    """
    n, held_out = len(exercise.cases), np.count_nonzero(exercise.held_out)
    print(f"{n:,} cases: {n - held_out:,} to train on, {held_out:,} held out; "
          f"{args.steps} steps of {args.batch}")
    scores = {}
    for tied in (True, False) if args.tie is None else (args.tie,):
        name = "tied" if tied else "untied"
        config = GPTConfig.preset("gpt-nano", vocab_size=exercise.V,
                                  block_size=exercise.cases.shape[1] - 1, tie_embeddings=tied)
        model = GPT(config, seed=args.seed)
        where = "E, lookup and head in one" if tied else "E, the lookup, and as many in head"
        print(f"\n{name}: {model.params.flat.size:,} parameters, "
              f"{exercise.V} x {config.n_embd} of them in {where}", flush=True)
        train(model, exercise, args)
        scores[name] = tuple(score(model, exercise, which, args.seed)
                             for which in (exercise.held_out, ~exercise.held_out))
        show(model)
    print("\nAnswered right:")
    for name, of_each in scores.items():
        print(f"{name + ':':8}", ", ".join(
            f"{right:,} of {of:,} {what} ({right / of:.2%})"
            for (right, of), what in zip(of_each, ("held out", "trained on"))))
    return scores


def train(model, exercise, args):
    """args.steps steps of AdamW on random batches, progress shown."""
    optimizer = AdamW(model.params, args.lr, betas=(0.9, 0.95))
    schedule = WarmupCosine(args.lr, min(100, args.steps), args.steps, args.lr / 100)
    trainer = Trainer(model, optimizer, schedule, threads=args.threads)
    rng = np.random.default_rng([args.seed, 2])
    progress = Progress(args.steps)
    for _ in range(args.steps):
        loss, _ = trainer.step(*exercise.batch(args.batch, rng))
        rate = trainer.steps / (time.monotonic() - progress.begin)
        progress.update(trainer.steps, f"loss {loss:.4f}  {rate:.0f} steps/s")
    seconds = time.monotonic() - progress.begin
    progress.line(f"{args.steps} steps in {seconds:.1f} s (threads: {trainer.threads}), loss {loss:.4f}")


def answers(model, exercise, rows):
    """`rows` of cases as the model completes them: the given part, then the likeliest tokens."""
    return model.generate(rows[:, :exercise.given], rows.shape[1] - exercise.given)


def few(exercise):
    """Three of the cases held out, evenly spaced."""
    rows = exercise.cases[exercise.held_out]
    return rows[np.linspace(0, len(rows) - 1, 5).astype(int)[1:-1]]


def score(model, exercise, which, seed):
    """(right, of): how many cases of the mask `which` are answered without a mistake, of how many.

    Of more than SCORED, as many are drawn by the seed.
    """
    chosen = np.flatnonzero(which)
    if len(chosen) > SCORED:
        chosen = np.random.default_rng([seed, 4]).choice(chosen, SCORED, replace=False)
    right = 0
    for start in range(0, len(chosen), 1000):
        rows = exercise.cases[chosen[start:start + 1000]]
        right += np.count_nonzero((answers(model, exercise, rows) == rows).all(axis=1))
    return int(right), len(chosen)
