"""Teach a GPT to sort digits, as minGPT's demo.ipynb does:
0 2 1 0 1 0 -> 0 0 0 0 1 1

    python demos/sort.py                        # tied and then untied
    python demos/sort.py --untied --kinds 3     # one of the two; other sizes
    python demos/sort.py --threads 1            # to step through it

A quarter of all inputs is held out: the model never sees them before it is
scored.
"""
import numpy as np

from lib import terminal
from lib.tasks import Problem, hold_out, options, parse, solve

MOST = 1_000_000            # inputs, all of which are held in memory


def main(argv=None):
    parser = options(__doc__, steps=600, lr=1e-3)
    add = parser.add_argument
    add("--length", type=int, default=6, help="digits in an input (default: %(default)s)")
    add("--kinds", type=int, default=4, help="kinds of digit (default: %(default)s)")
    args = parse(parser, argv, length=1)
    if not 2 <= args.kinds <= 10:
        parser.error(f"--kinds: {args.kinds} given, expected 2 to 10")
    if args.kinds ** args.length > MOST:
        parser.error(f"--length: {args.length} given, {args.kinds}^{args.length} inputs; "
                     f"expected at most {MOST:,}")
    solve(sorting(args.length, args.kinds, args.seed), args)
    return 0


def sorting(length, kinds, seed):
    """All kinds^length inputs, each followed by itself sorted; a quarter held out."""
    numbers = np.arange(kinds ** length)
    inputs = numbers[:, None] // kinds ** np.arange(length)[::-1] % kinds
    cases = np.concatenate([inputs, np.sort(inputs, axis=1)], axis=1)

    def read(row):
        return " ".join(map(str, [*row[:length], "->", *row[length:]]))

    return Problem(cases, length, kinds, hold_out(len(cases), 1 / 4, seed), read)


if __name__ == "__main__":
    terminal.run(main)
