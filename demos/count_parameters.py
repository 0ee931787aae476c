"""How many numbers a GPT holds, how many are E, and what tying E saves: on paper.

    python demos/count_parameters.py
    python demos/count_parameters.py gpt2 gpt2-xl
    python demos/count_parameters.py gpt-nano --vocab-size 3 --block-size 11

Nothing is allocated: the largest model is counted as fast as the smallest.
"""
import argparse
from dataclasses import replace
from math import prod

from lib.terminal import run, show, table
from minigpt_np import PRESETS, GPTConfig
from minigpt_np.parameters import count, shapes

BYTES = 16      # a parameter in training: itself, its gradient and AdamW's two moments, float32


def main(argv=None):
    args = vars(parse(argv))
    names = args.pop("models") or PRESETS
    changes = {name: value for name, value in args.items() if value is not None}
    models = {name: GPTConfig.preset(name, **changes) for name in names}
    for title, rows, *text in (numbers(models), share(models), training(models)):
        show(title, table(*rows), *text)
    return 0


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("models", nargs="*", metavar="MODEL", help=f"of {', '.join(PRESETS)} (default: all)")
    add("--vocab-size", type=int, help="V of all models shown, instead of their own")
    add("--block-size", type=int, help="T likewise")
    add("--layers", type=int, dest="n_layer", help="L likewise")
    add("--heads", type=int, dest="n_head", help="H likewise; D is a multiple of it")
    add("--width", type=int, dest="n_embd", help="D likewise")
    return parser.parse_args(argv)


# ---- counting ------------------------------------------------------------------------------------

def both(config):
    """How many numbers it has tied, and how many untied."""
    return [count(replace(config, tie_embeddings=tie)) for tie in (True, False)]


def size_of_E(config):
    return config.vocab_size * config.n_embd


def size_of_block(config):
    """What one more block adds: 12 D² weights, and 13 D biases, gains and the like."""
    return count(replace(config, n_layer=config.n_layer + 1)) - count(config)


def multiply_adds(config):
    """Of one token forward, the mean over a full block: (by weights, in attention, by E's logits).

    Each weight of a matrix product is used once. In each of L blocks the token at position t looks
    at t + 1 keys and as many values, D multiplications for each: on average over T positions
    L · 2 D · (T + 1) / 2. The lookup multiplies nothing.
    """
    weights = sum(prod(shape) for name, shape in shapes(config).items() if name.endswith(".W"))
    attention = config.n_layer * config.n_embd * (config.block_size + 1)
    return weights, attention, size_of_E(config)


# ---- the three parts: a title, the rows of a table and, of two, a text ---------------------------

def numbers(models):
    """How large each model is."""
    rows = [("", "L", "H", "D", "V", "T", "E tied", "untied")]
    for name, c in models.items():
        rows.append((name, c.n_layer, c.n_head, c.n_embd, c.vocab_size, c.block_size,
                     *map("{:,}".format, both(c))))
    return "Numbers in a model: with one matrix E (V x D) for both ends, and with two", rows


def share(models):
    """What a second matrix takes of small models and of large ones."""
    rows = [("", "E", "of all", "as much as", "untied, E and head")]
    for name, c in models.items():
        E, (one, two) = size_of_E(c), both(c)
        blocks = f"{E / size_of_block(c):.1f} of {c.n_layer} blocks"
        rows.append((name, f"{E:,}", f"{E / one:.1%}", blocks, f"{2 * E / two:.1%}"))
    return "E's share", rows, (
        "E grows as V D, the blocks as 12 L D²: the wider and deeper a model, the smaller E's "
        "part. Untied, it holds E's numbers once more: many blocks of a small model, few of a "
        "large one. What they are worth is measured, not counted: see one_matrix.py.")


def training(models):
    """Memory and work, on paper."""
    rows = [("", "tied", "untied", "multiply-adds", "attention", "logits")]
    for name, c in models.items():
        work = multiply_adds(c)
        rows.append((name, *(gigabytes(BYTES * n) for n in both(c)), f"{sum(work):,}",
                     *(f"{part / sum(work):.1%}" for part in work[1:])))
    return "To train it: memory for the parameters, and multiply-adds a token, forward", rows, (
        f"Memory: {BYTES} bytes a number, float32: weight, gradient, AdamW's two moments. What "
        "backward needs from forward comes on top and grows with the batch. Work: mean over a "
        "sequence of T tokens; backward takes twice as much again. Tied or untied is the same "
        "work: E is multiplied with once, at the output, and only looked up at the input.")


def gigabytes(n):
    return f"{n / 1e9:,.2f} GB" if n >= 1e8 else f"{n / 1e6:,.2f} MB"


if __name__ == "__main__":
    run(main)
