"""How long a training step takes, beside the matrix products in it alone, and
where the time goes.

    python demos/benchmark.py                       # all four shapes
    python demos/benchmark.py --shape shakespeare-cpu --steps 200
    python demos/benchmark.py --threads 1 --json    # one JSON object a shape

A step is forward, backward, clipping and AdamW, in float32 without dropout, on
random tokens. Its products alone (attention's with both halves of the T x T
square) are the limit: no trainer that multiplies the same with the same BLAS
can be faster.
"""
import argparse
import json
import sys
import time
from statistics import median

import numpy as np

from lib import terminal
from minigpt_np import GPT, GPTConfig
from minigpt_np.training import parallel
from minigpt_np.training.blas import blas_threads
from minigpt_np.layers import attention, cross_entropy, layernorm, logits, lookup, mlp
from minigpt_np.training.optim import AdamW
from minigpt_np.training.progress import Progress
from minigpt_np.training.trainer import Trainer

SHAPES = {                  # L, H, D, T, V, B
    "nano-sort": (3, 3, 48, 11, 3, 64),
    "shakespeare-cpu": (4, 4, 128, 64, 65, 12),
    "shakespeare-char": (6, 6, 384, 256, 65, 4),
    "gpt2-124M": (12, 12, 768, 64, 50257, 4),
}
ROUNDS = 10
PARTS = {
    "embedding": [lookup], "attention": [attention], "MLP": [mlp], "norms": [layernorm],
    "logits and loss": [logits, cross_entropy],
}


def main(argv=None):
    args = parse(argv)
    for name in [args.shape] if args.shape else SHAPES:
        result = measure(name, args.steps, args.threads, with_shares=not args.json)
        if args.json:
            print(json.dumps(result), flush=True)
        else:
            show(result)
    return 0


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, metavar="NAME",
                        help=f"{', '.join(SHAPES)} (default: all)")
    parser.add_argument("--steps", type=int,
                        help="timed steps (default: about ten seconds of them)")
    parser.add_argument("--threads", type=int, help="default: one per core")
    parser.add_argument("--json", action="store_true", help="one JSON object a shape")
    args = parser.parse_args(argv)
    terminal.check_least(parser, args, steps=1, threads=1)
    return args


def measure(name, steps, threads, with_shares):
    """Times of one shape, as a dict; each is the median over `steps` steps, in milliseconds."""
    L, H, D, T, V, B = SHAPES[name]
    config = GPTConfig(vocab_size=V, block_size=T, n_layer=L, n_head=H, n_embd=D)
    model = GPT(config, seed=0)
    trainer = Trainer(model, AdamW(model.params), threads=threads)
    threads = trainer.threads
    tokens = np.random.default_rng(0).integers(0, V, (B, T + 1))
    ids, targets = tokens[:, :-1], tokens[:, 1:]
    shards = parallel.even_slices(B, min(threads, B))
    limit = parallel.team([Products(config, shard.stop - shard.start) for shard in shards])

    trainer.step(ids, targets)
    steps = steps or max(5, min(500, int(5 / timed(trainer.step, ids, targets))))
    step_times, limit_times = [], []
    rounds = parallel.even_slices(steps, ROUNDS)
    with Progress(len(rounds), sys.stderr, patience=1) as progress:
        for done, part in enumerate(rounds, 1):     # in turn, so that both see the same machine
            step_times += [timed(trainer.step, ids, targets) for _ in range(part.start, part.stop)]
            with blas_threads(1):
                limit_times += [timed(limit.call, "run") for _ in range(part.start, part.stop)]
            progress.update(done, f"rounds of {name}")
    seconds, limit_seconds = median(step_times), median(limit_times)
    result = {
        "shape": name, "ms_per_step": 1e3 * seconds, "tokens_per_s": B * T / seconds,
        "gemm_ms": 1e3 * limit_seconds, "ratio": seconds / limit_seconds, "threads": threads,
    }
    if with_shares:
        result["shares"] = shares(model, ids, targets, max(2, steps // 5))
    return result


def timed(function, *args):
    """Seconds that function(*args) takes."""
    start = time.perf_counter()
    function(*args)
    return time.perf_counter() - start


class Products:
    """The matrix products that one shard's worker does in a step, into arrays made beforehand."""

    def __init__(self, config, B):
        T, D, V = config.block_size, config.n_embd, config.vocab_size
        H, K = config.n_head, config.head_size
        linear = [triple(B * T, d_in, d_out)
                  for d_in, d_out in ((D, 3 * D), (D, D), (D, 4 * D), (4 * D, D))]
        scores, mixes = triple(T, K, T, (B, H)), triple(T, T, K, (B, H))        # q kᵀ, weights v
        self.block = [product for three in [*linear, scores, mixes] for product in three]
        self.head = triple(B * T, D, V)
        self.L = config.n_layer

    def run(self):
        for _ in range(self.L):
            for a, b, out in self.block:
                np.matmul(a, b, out=out)
        for a, b, out in self.head:
            np.matmul(a, b, out=out)


def triple(n, i, j, batch=()):
    """Operands of y (n, j) = x (n, i) W (i, j), of dx = dy Wᵀ and of dW = xᵀ dy, and arrays for
    the results."""
    rng = np.random.default_rng(0)
    x, W, dy = (rng.standard_normal((*batch, *shape), dtype=np.float32)
                for shape in ((n, i), (i, j), (n, j)))
    return [(x, W, np.empty_like(dy)), (dy, W.swapaxes(-1, -2), np.empty_like(x)),
            (x.swapaxes(-1, -2), dy, np.empty_like(W))]


def shares(model, ids, targets, steps):
    """Part -> its share of a step's time on one thread, by timing the layers' own functions."""
    spent = dict.fromkeys([*PARTS, "optimizer"], 0.0)

    def watch(part, function):
        def watched(*args):
            start = time.perf_counter()
            result = function(*args)
            spent[part] += time.perf_counter() - start
            return result
        return watched

    originals = [(module, name, getattr(module, name)) for modules in PARTS.values()
                 for module in modules for name in ("forward", "backward")]
    trainer = Trainer(model, AdamW(model.params), threads=1)
    try:
        for part, modules in PARTS.items():
            for module in modules:
                module.forward = watch(part, module.forward)
                module.backward = watch(part, module.backward)
        trainer.optimizer.update = watch("optimizer", trainer.optimizer.update)
        total = sum(timed(trainer.step, ids, targets) for _ in range(steps))
    finally:
        for module, name, function in originals:
            setattr(module, name, function)
    of_total = {part: seconds / total for part, seconds in spent.items()}
    return of_total | {"the rest": 1 - sum(of_total.values())}


def show(result):
    print(f"{result['shape']}: {result['ms_per_step']:.1f} ms a step, "
          f"{result['tokens_per_s']:,.0f} tokens/s, "
          f"{terminal.plural(result['threads'], 'thread')}")
    print(f"Its matrix products alone take {result['gemm_ms']:.1f} ms: ratio {result['ratio']:.2f}")
    parts = ", ".join(f"{part} {share:.0%}" for part, share in result["shares"].items())
    terminal.show(f"On one thread: {parts}.")


if __name__ == "__main__":
    terminal.run(main)
