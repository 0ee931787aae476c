"""How many numbers a GPT holds, how many are E, and what tying E saves: on paper.

    python demos/count_parameters.py
    python demos/count_parameters.py gpt2 gpt2-xl
    python demos/count_parameters.py gpt-nano --vocab-size 3 --block-size 11

Nothing is allocated: the largest model is counted as fast as the smallest.
"""
import argparse
from dataclasses import replace

from lib.terminal import run, show, table
from minigpt_np import PRESETS, GPTConfig
from minigpt_np.parameters import count


def main(argv=None):
    args = vars(parse(argv))
    names = args.pop("models") or PRESETS
    changes = {name: value for name, value in args.items() if value is not None}
    models = {name: GPTConfig.preset(name, **changes) for name in names}
    show("Numbers in a model: with one matrix E (V x D) for both ends, and with two",
         table(*sizes(models)), "E's share", table(*shares(models)),
         "E grows as V D, the blocks as 12 L D²: the wider and deeper a model, the smaller E's "
         "part. Untied, it holds E's numbers once more: many blocks of a small model, few of a "
         "large one. The work is the same: E is multiplied with once, at the output, and only "
         "looked up at the input. What the numbers are worth is measured, not counted: see "
         "one_matrix.py.")
    return 0


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("models", nargs="*", metavar="MODEL", help=f"of {', '.join(PRESETS)} (default: all)")
    add("--vocab-size", type=int, metavar="V", help="of all models shown")
    add("--block-size", type=int, metavar="T", help="of all")
    add("--layers", type=int, metavar="L", dest="n_layer", help="of all")
    add("--heads", type=int, metavar="H", dest="n_head", help="of all; D is a multiple of it")
    add("--width", type=int, metavar="D", dest="n_embd", help="of all")
    return parser.parse_args(argv)


def both(config):
    """How many numbers it has tied, and how many untied."""
    return [count(replace(config, tie_embeddings=tie)) for tie in (True, False)]


def size_of_E(config):
    return config.vocab_size * config.n_embd


def size_of_block(config):
    """The numbers in one more block: 12 D² weights, and 13 D biases and gains."""
    return count(replace(config, n_layer=config.n_layer + 1)) - count(config)


def sizes(models):
    """How large each model is: rows of a table."""
    yield "", "L", "H", "D", "V", "T", "E tied", "untied"
    for name, c in models.items():
        yield (name, c.n_layer, c.n_head, c.n_embd, c.vocab_size, c.block_size,
               *map("{:,}".format, both(c)))


def shares(models):
    """E's share of small models and of large ones, tied and untied: rows of a table."""
    yield "", "E", "of all", "as many as", "untied, E and head"
    for name, c in models.items():
        E, (one, two) = size_of_E(c), both(c)
        blocks = E / size_of_block(c)
        yield name, f"{E:,}", f"{E / one:.1%}", f"{blocks:.1f} blocks", f"{2 * E / two:.1%}"


if __name__ == "__main__":
    run(main)
