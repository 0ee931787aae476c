"""Teach a GPT to sort digits, as minGPT's demo.ipynb does:
0 2 1 0 1 0 -> 0 0 0 0 1 1

    python demos/sort.py                        # tied and then untied
    python demos/sort.py --untie --digits 3     # one of the two; other sizes
    python demos/sort.py --threads 1            # to be stepped through

A quarter of all inputs is held out: the model never sees them before it is
scored.
"""
import numpy as np

from lib import terminal
from lib.tasks import Exercise, answers, check, few, hold_out, options, solve

MOST = 1_000_000            # inputs; they are all written down


def main(argv=None):
    parser = options(__doc__, steps=600, batch=64, lr=1e-3)
    parser.add_argument("--length", type=int, default=6, help="digits in an input (default 6)")
    parser.add_argument("--digits", type=int, default=4, help="kinds of digit (default 4)")
    args = parser.parse_args(argv)
    check(parser, args, "length")
    if not 2 <= args.digits <= 10:
        parser.error(f"--digits: {args.digits} given, expected 2 to 10")
    if args.digits ** args.length > MOST:
        parser.error(f"--length: {args.length} given, {args.digits}^{args.length} inputs; "
                     f"expected at most {MOST:,}")

    exercise = sorting(args.length, args.digits, args.seed)

    def show(model):
        rows = few(exercise)
        for given, written in zip(rows, answers(model, exercise, rows)):
            print("  ", *given[:args.length], "->", *written[args.length:])

    solve(exercise, args, show)
    return 0


def sorting(length, digits, seed):
    """All digits^length inputs, each followed by itself sorted; a quarter held out."""
    numbers = np.arange(digits ** length)
    inputs = numbers[:, None] // digits ** np.arange(length)[::-1] % digits
    cases = np.concatenate([inputs, np.sort(inputs, axis=1)], axis=1)
    return Exercise(cases, length, digits, hold_out(len(cases), 1 / 4, seed))


if __name__ == "__main__":
    terminal.run(main)
