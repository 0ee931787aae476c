"""Shared by sort.py and add.py: a model learns a function from some of its cases.

A case is a row of tokens: the question, then the answer. The model reads the row and is scored on
the answer alone: the targets within the question are -1.
"""
import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lib.terminal import check_least, show, table
from minigpt_np import GPT, GPTConfig
from minigpt_np.training.optim import AdamW, WarmupCosine
from minigpt_np.training.progress import Progress
from minigpt_np.training.trainer import Trainer

SCORED = 20_000             # cases a score is taken over, at most


@dataclass
class Problem:
    """The cases of one function.

    cases     (n, G + A) integers: G tokens of the question, then A of the answer
    given     G
    V         number of tokens
    held_out  (n,) bool: the cases that are never trained on
    read      function of a case: the text it is printed as
    """
    cases: np.ndarray
    given: int
    V: int
    held_out: np.ndarray
    read: Callable

    def batch(self, B, rng):
        """ids, targets (B, G + A - 1) of B cases not held out, drawn by the Generator rng."""
        rows = self.cases[rng.choice(np.flatnonzero(~self.held_out), B)]
        ids, targets = rows[:, :-1], rows[:, 1:].copy()
        targets[:, :self.given - 1] = -1
        return ids, targets

    def answers(self, model, rows):
        """`rows` of cases with the model's answers: its likeliest tokens after the question."""
        return model.generate(rows[:, :self.given], rows.shape[1] - self.given)

    def score(self, model, which, seed):
        """How many cases of the mask `which` are answered without a mistake, and of how many.

        Of more than SCORED cases, SCORED are drawn by the seed.
        """
        chosen = np.flatnonzero(which)
        if len(chosen) > SCORED:
            chosen = np.random.default_rng([seed, 4]).choice(chosen, SCORED, replace=False)
        parts = np.array_split(self.cases[chosen], -(-len(chosen) // 1000))
        right = sum(int((self.answers(model, rows) == rows).all(axis=1).sum()) for rows in parts)
        return right, len(chosen)


def hold_out(n, share, seed):
    """(n,) bool, True for a `share` of n cases picked by the seed: at least one, and not all."""
    held_out = np.zeros(n, bool)
    count = min(max(1, round(n * share)), n - 1)
    held_out[np.random.default_rng([seed, 3]).permutation(n)[:count]] = True
    return held_out


def options(description, steps, lr):
    """The parser of the options that both demos have."""
    parser = argparse.ArgumentParser(description=description,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--steps", type=int, default=steps, help="default: %(default)s")
    add("--batch", type=int, default=64, help="B (default: %(default)s)")
    add("--lr", type=float, default=lr, help="highest learning rate (default: %(default)s)")
    add("--tied", action="store_true", default=None, help="tied only (default: tied, then untied)")
    add("--untied", dest="tied", action="store_false", help="untied only")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--threads", type=int, help="default: one per core; one under a debugger")
    return parser


def parse(parser, argv, **least):
    """The options, checked to be at least `least`; otherwise a message and status 2."""
    args = parser.parse_args(argv)
    check_least(parser, args, seed=0, steps=1, batch=1, threads=1, **least)
    if not 0 < args.lr < np.inf:
        parser.error(f"--lr: {args.lr} given, expected a positive number")
    return args


def solve(problem, args):
    """Train as args says, tied and untied unless one was chosen; print three answers and scores."""
    n, held_out = len(problem.cases), np.count_nonzero(problem.held_out)
    show(f"{n:,} cases: {n - held_out:,} to train on, {held_out:,} held out; "
         f"{args.steps} steps of {args.batch}")
    rows = [("answered right", "held out", "trained on")]
    for tied in (True, False) if args.tied is None else (args.tied,):
        name = "tied" if tied else "untied"
        config = GPTConfig.preset("gpt-nano", vocab_size=problem.V,
                                  block_size=problem.cases.shape[1] - 1, tie_embeddings=tied)
        model = GPT(config, seed=args.seed)
        where = "E, lookup and head in one" if tied else "E, and as many in head"
        show(f"{name}: {model.params.flat.size:,} parameters, "
             f"{problem.V} x {config.n_embd} of them in {where}")
        train(model, problem, args)
        scores = [problem.score(model, which, args.seed)
                  for which in (problem.held_out, ~problem.held_out)]
        rows.append((name, *(f"{right:,} of {of:,} ({right / of:.2%})" for right, of in scores)))
        cases = problem.cases[problem.held_out]
        some = cases[np.linspace(0, len(cases) - 1, 5).astype(int)[1:-1]]
        show(["Three of those held out:",
              *(f"   {problem.read(row)}" for row in problem.answers(model, some))])
    show(table(*rows))


def train(model, problem, args):
    """Take args.steps steps of AdamW on random batches."""
    optimizer = AdamW(model.params, args.lr, betas=(0.9, 0.95))
    schedule = WarmupCosine(args.lr, min(100, args.steps // 5), args.steps, args.lr / 100)
    trainer = Trainer(model, optimizer, schedule, threads=args.threads)
    rng = np.random.default_rng([args.seed, 2])
    with Progress(args.steps) as progress:
        for _ in range(args.steps):
            loss, _ = trainer.step(*problem.batch(args.batch, rng))
            progress.update(trainer.steps, f"loss {loss:.4f}")
    progress.line(f"{args.steps} steps (threads: {trainer.threads}), loss {loss:.4f}")
