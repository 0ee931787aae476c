"""Teach a GPT to add, as minGPT's projects/adder does: 85 + 50 = 135 is
8 5 5 0 -> 5 3 1

    python demos/add.py                   # two digits, tied and then untied
    python demos/add.py --tied --digits 3 --steps 6000
    python demos/add.py --threads 1       # to step through it

The sum is written from its last digit to its first, as one adds by hand: each
digit then needs only the two above it and a carry. A fifth of all pairs of
numbers is held out (at most 500, as in minGPT): the model never sees them
before it is scored.
"""
import numpy as np

from lib import terminal
from lib.tasks import Problem, hold_out, options, parse, solve


def main(argv=None):
    parser = options(__doc__, steps=2000, lr=2e-3)
    parser.add_argument("--digits", type=int, default=2,
                        help="digits of a number, 1 to 3 (default: %(default)s)")
    args = parse(parser, argv)
    if not 1 <= args.digits <= 3:
        parser.error(f"--digits: {args.digits} given, expected 1 to 3")
    solve(addition(args.digits, args.seed), args)
    return 0


def addition(digits, seed):
    """Every pair of numbers of so many digits, leading zeros included, and its sum reversed."""
    n = 10 ** digits
    a, b = np.divmod(np.arange(n * n), n)
    powers = 10 ** np.arange(digits + 1)
    cases = np.concatenate([a[:, None] // powers[-2::-1] % 10, b[:, None] // powers[-2::-1] % 10,
                            (a + b)[:, None] // powers % 10], axis=1)

    def read(row):
        a, b, total = np.split(np.asarray(row), [digits, 2 * digits])
        a, b, total = ("".join(map(str, part)) for part in (a, b, total[::-1]))
        return f"{a} + {b} = {total.lstrip('0') or '0'}"

    held_out = hold_out(len(cases), min(1 / 5, 500 / len(cases)), seed)
    return Problem(cases, 2 * digits, 10, held_out, read)


if __name__ == "__main__":
    terminal.run(main)
