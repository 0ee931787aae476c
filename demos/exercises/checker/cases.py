"""Inputs for an exercise: small ones to be read, and the large edge cases of the final test."""
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace

import numpy as np

from minigpt_np.gradcheck import complex_step

from .exercises import NO_AXES, TABLE, float_arrays, rebuilt

RTOL = 4096 * np.finfo(float).eps       # gradcheck's own allowance, for a sum of 4096 terms


@dataclass(eq=False)
class Case:
    """One question: the forward's arguments, and the gradient of its output.

    name     of the exercise
    before   what is already in the array that backward adds to; None where it returns gradients
    layout   of the arrays in memory, one of LAYOUTS
    kind     of numbers: see make_case
    """
    name: str
    sizes: dict
    inputs: dict
    dout: object
    before: object = None
    layout: str = "plain"
    kind: str = "decimals"

    @property
    def exercise(self):
        return TABLE[self.name]

    def loss(self):
        """The sum of dout · forward(inputs) as a function of nothing; and its arrays by label,
        complex.

        Its gradient is what backward returns.
        """
        inputs = rebuilt(self.inputs, lambda x: x.astype(complex) if x.dtype.kind == "f" else x)

        def loss():
            return np.sum(self.dout * self.exercise.forward(*inputs.values()))

        return loss, float_arrays(inputs)

    @cache
    def expected(self):
        """name -> the right gradient, by complex steps; plus `before`, where backward has to add to
        it."""
        if self.exercise.value:
            return {self.exercise.out: np.asarray(self.exercise.value(*self.inputs.values()))}
        f, arrays = self.loss()
        added = 0 if self.before is None else self.before
        return {"d" + name: complex_step(f, x)[0] + added for name, x in arrays.items()}

    @cache
    def along(self):
        """A random direction by label, the loss's slope along it by one complex step, and its
        error."""
        (f, arrays), rng = self.loss(), np.random.default_rng(0)
        start = {name: x.copy() for name, x in arrays.items()}
        v = {name: rng.normal(size=x.shape) for name, x in arrays.items()}
        t = np.zeros((), complex)

        def moved():
            for name, x in arrays.items():
                x[...] = start[name] + t * v[name]
            return f()

        return v, *map(float, complex_step(moved, t))

    def missed(self, given):
        """How far these gradients by name are from the loss's slope along a random direction, and
        how far they may be. Rows with a large mean lose digits, in a right answer too.
        """
        v, slope, error = self.along()
        added = 0 if self.before is None else self.before
        products = np.concatenate([np.ravel((given["d" + name] - added) * v[name]) for name in v])
        atol = 1e-9 if self.kind == "large mean" else 1e-12
        allowed = 2 * error + RTOL * np.sqrt(np.sum(products * products)) + atol
        return abs(np.sum(products) - slope), allowed

    def arguments(self):
        """What the learner's function is given, in its order: copies, laid out in memory as they
        should be."""
        lay = LAYOUTS[self.layout]
        dout = [] if self.exercise.value else [rebuilt(self.dout, lay)]
        into = [] if self.before is None else [np.array(self.before)]
        return [*dout, *(rebuilt(value, lay) for value in self.inputs.values()), *into]


# ---- arrays in memory ----------------------------------------------------------------------------

def strided(x):
    """Every second number of a larger array, along each axis."""
    wide = np.zeros([2 * n for n in x.shape], x.dtype)
    view = wide[(slice(None, None, 2),) * x.ndim]
    view[...] = x
    return view


def read_only(x):
    copy = np.array(x)
    copy.flags.writeable = False
    return copy


LAYOUTS = {"plain": np.array, "Fortran": np.asfortranarray, "strided": strided,
           "read-only": read_only}


# ---- edge cases ----------------------------------------------------------------------------------

OVERFLOW = ("It is right for numbers near 1, and wrong for numbers near 1000: does an exp "
            "overflow, or does a number like 1e3 stand for infinity? ")
CANCELS = (OVERFLOW + "What all scores of a row have in common cancels, so take away their maximum "
           "first.")

# name -> (inputs) -> what is another input there, and what is said of an answer that is wrong there
# alone
EDGES = {
    "zeros": (lambda inputs: {}, "It is right where no number is 0, and wrong where some are: is "
                                 "something divided by, "
              "or compared with, what may be 0?"),
    "normal": (lambda inputs: {}, "It is right for numbers of one decimal, and wrong for such as "
                                  "these: is something "
               "rounded on the way?"),
    "huge logits": (lambda inputs: dict(logits=inputs["logits"] * 1000), CANCELS),
    "huge z": (lambda inputs: dict(z=inputs["z"] * 1000), CANCELS),
    "huge q": (lambda inputs: dict(q=inputs["q"] * 1000), CANCELS),
    "huge x": (lambda inputs: dict(x=np.sign(inputs["x"]) * (999 + abs(inputs["x"]))),
               OVERFLOW + "tanh does not: it is 1 or -1 there."),
    "large mean": (lambda inputs: dict(x=inputs["x"] + 1e4),
                   "It is right for rows near 0, and wrong for rows with a mean of 10,000: "
                   "mean(x²) - mean² is the variance, but of two numbers near 1e8 few digits are "
                   "left. Take away the mean first, then square."),
    "constant rows": (lambda inputs: dict(x=inputs["x"] * 0 + inputs["x"][:, :1]),
                      "It is right where a row's numbers differ, and wrong where they are all the "
                      "same: the variance is 0 there, and only EPS is left to divide by."),
    "no blocks": (lambda inputs: dict(p=inputs["p"] | dict(blocks=[])),
                  "It is right for a model with blocks, and wrong for one that has none."),
    "powers": (lambda inputs: dict(x=np.resize([1.0, -1.0, 0.5, -0.5, -2.0], len(inputs["x"]))),
               ""),
}


# ---- small cases ---------------------------------------------------------------------------------

def make_case(exercise, sizes, ids, seed, kind="decimals", layout="plain"):
    """The Case of these sizes: ids(below, *shape) gives ids, the seed all other numbers.

    kind    "decimals"   one decimal and none is 0: easy to read, and nothing vanishes by accident
            "normal"     N(0, 1)
            "zeros"      decimals, every third of them exactly 0
            or another of EDGES
    """
    rng = np.random.default_rng(seed)

    def floats(*shape):
        if kind == "normal":
            return rng.normal(size=shape)
        x = np.array(rng.integers(1, 20, shape) * rng.choice([-1, 1], shape) / 10)
        return x * (rng.random(shape) > 1 / 3) if kind == "zeros" else x

    inputs = exercise.inputs(SimpleNamespace(**sizes), ids, floats)
    if kind in EDGES:
        inputs |= EDGES[kind][0](inputs)
    before = floats(*inputs[exercise.into[1:]].shape) if exercise.into else None
    if exercise.value:              # its function may move x and put it back, as gradcheck does
        return Case(exercise.name, sizes, inputs, 1.0, before, "plain", kind)
    dout = floats(*np.shape(exercise.forward(*inputs.values())))
    return Case(exercise.name, sizes, inputs, dout if dout.ndim else float(dout), before, layout,
                kind)


def cases(exercise):
    """A Hypothesis strategy of Cases; what shrinks are the sizes and the ids."""
    from hypothesis import strategies as st

    @st.composite
    def draw_case(draw):
        sizes = {letter: draw(st.integers(*limits)) for letter, limits in exercise.sizes.items()}

        def ids(below, *shape):
            count = int(np.prod(shape))
            drawn = draw(st.lists(st.integers(0, below - 1), min_size=count, max_size=count))
            return np.array(drawn).reshape(shape)

        return make_case(exercise, sizes, ids, draw(st.integers(0, 9)))

    return draw_case().filter(lambda case: exercise.is_telling(case.sizes))


@cache
def random_case(exercise, seed, kind="decimals", layout="plain", **fixed):
    """A Case of sizes of at least 2, where there are such, save those given. Hypothesis has no part
    in it.

    The same object each time, so that what its gradients are is computed once.
    """
    rng = np.random.default_rng(seed)
    while True:
        sizes = {letter: int(rng.integers(least if letter in NO_AXES else min(max(least, 2), most),
                                          most + 1))
                 for letter, (least, most) in exercise.sizes.items()} | fixed
        if exercise.is_telling(sizes):
            return make_case(exercise, sizes, lambda below, *shape: rng.integers(0, below, shape),
                             seed, kind, layout)


# ---- the final test ------------------------------------------------------------------------------

# What each of its cases is made of: numbers (an edge case of the exercise's by its place), memory,
# how many rows P has
# beyond T (S = T + extra), ids, and axes where the template says "any shape".
FINAL = [
    dict(kind="normal", layout="plain", extra=0, ids="few", axes=2),
    dict(kind="normal", layout="Fortran", extra=1, ids="few", axes=3),
    dict(kind="normal", layout="strided", extra=3, ids="few", axes=1),
    dict(kind="zeros", layout="plain", extra=3, ids="same", axes=3),
    dict(kind="zeros", layout="read-only", extra=0, ids="few", axes=1),
    dict(kind=0, layout="plain", extra=1, ids="few", axes=2),
    dict(kind=1, layout="read-only", extra=0, ids="own", axes=3),
    dict(kind="normal", layout="Fortran", extra=3, ids="own", axes=1),
    dict(kind="decimals", layout="read-only", extra=1, ids="same", axes=2),
    dict(kind="decimals", layout="strided", extra=0, ids="own", axes=3),
]


@cache
def final_test(exercise):
    """A list of the Cases that every answer has to get right: large, all sizes different, and edge cases.

    ids     "few"   so few distinct that most come three times, and some rows are not looked up
            "same"  all the same
            "own"   every array of ids the same one: each target is its own position's id
    """
    found, edges = [], exercise.edges or ("decimals",)
    for seed, row in enumerate(FINAL):
        row = row | dict(change=seed % 6, tiny=seed // 6)
        kind = row["kind"] if isinstance(row["kind"], str) else edges[row["kind"] % len(edges)]
        sizes = exercise.large | {letter: row[letter] for letter in row if letter in exercise.large}
        rng = np.random.default_rng(seed)

        def ids(below, *shape):
            count, distinct = int(np.prod(shape)), 1 if row["ids"] == "same" else max(2, below // 2)
            one = np.random.default_rng(seed) if row["ids"] == "own" else rng
            return (one.integers(0, distinct, count) + below // 3).reshape(shape) % below

        found.append(make_case(exercise, sizes, ids, seed, kind, row["layout"]))
    return found
