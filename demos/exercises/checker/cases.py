"""Inputs for an exercise: small ones to be read, and the large and hostile ones of the examination."""
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np

from minigpt_np.gradcheck import COMPLEX_STEP

from .exercises import TABLE, WAYS, Part
from .nested import as_complex, float_arrays, rebuilt

# ---- a case --------------------------------------------------------------------------------------


@dataclass(eq=False)
class Case:
    """One question: the forward's arguments, and the gradient of its output.

    name     of the exercise
    before   what is already in the array that backward adds to; None where it returns gradients
    layout   of the arrays in memory: one of LAYOUTS
    kind     of numbers: see make_case
    """
    name: str
    sizes: dict
    inputs: dict
    dout: object
    before: object = None
    layout: str = "plain"
    kind: str = "decimals"
    right: dict = field(default_factory=dict)       # gradients, remembered

    @property
    def exercise(self):
        return TABLE[self.name]

    def gradients(self, names=None, forward=None):
        """{"d" + name: gradient} of all the forward's float arrays or of some, by complex step.

        Im loss(x + ih) / h, number by number: the derivative to 15 digits, and nothing subtracted
        (minigpt_np/gradcheck.py). `before` is added, where backward has to add to it.
        """
        inputs = as_complex(self.inputs)
        loss = self.loss(inputs, forward)
        found = {}
        for name, x in float_arrays(inputs).items():
            if names is None or "d" + name in names:
                gradient = np.zeros(x.shape) if self.before is None else self.before.copy()
                for i in np.ndindex(x.shape):
                    x[i] += 1j * COMPLEX_STEP
                    gradient[i] += loss().imag / COMPLEX_STEP
                    x[i] = x[i].real
                found["d" + name] = gradient
        return found

    def loss(self, inputs, forward=None):
        """A function of nothing: the sum of dout · forward(inputs). Its gradient is backward's."""
        forward = forward or self.exercise.forward
        return lambda: np.sum(self.dout * forward(*inputs.values()))

    def expected(self, names=None):
        """name -> the right gradient, of all or of some, each computed once."""
        names = self.exercise.returned(self.inputs) if names is None else names
        if missing := [name for name in names if name not in self.right]:
            self.right |= self.exercise.right(self, missing)
        return {name: self.right[name] for name in names}

    def arguments(self):
        """dout, inputs, the array to add to (or None): copies, laid out in memory as they should be."""
        lay = LAYOUTS[self.layout]
        before = None if self.before is None else np.array(self.before)
        return rebuilt(self.dout, lay), rebuilt(self.inputs, lay), before


# ---- arrays in memory ----------------------------------------------------------------------------

def strided(x):
    """Every second number of a larger array, along each axis."""
    wide = np.zeros([2 * n for n in x.shape], x.dtype)
    view = wide[(slice(None, None, 2),) * x.ndim]
    view[...] = x
    return view


def backwards(x):
    """A view with strides below 0."""
    flipped = (slice(None, None, -1),) * x.ndim
    return np.array(x[flipped])[flipped]


def read_only(x):
    copy = np.array(x)
    copy.flags.writeable = False
    return copy


LAYOUTS = {"plain": np.array, "Fortran": np.asfortranarray, "strided": strided, "backwards": backwards,
           "read-only": read_only}


# ---- small cases ---------------------------------------------------------------------------------

def make_case(exercise, sizes, ids, seed, kind="decimals", layout="plain"):
    """The Case of these sizes: ids(below, *shape) gives ids, the seed all other numbers.

    kind    "decimals"   one decimal and none is 0: easy to read, and nothing vanishes by accident
            "normal"     N(0, 1)
            "zeros"      decimals, every third of them exactly 0
            "huge"       decimals, those inputs that may be huge times a thousand
    """
    rng = np.random.default_rng(seed)

    def floats(*shape):
        if kind == "normal":
            return rng.normal(size=shape)
        x = np.array(rng.integers(1, 20, shape) * rng.choice([-1, 1], shape) / 10)
        return x * (rng.random(shape) > 1 / 3) if kind == "zeros" else x

    inputs = exercise.inputs(SimpleNamespace(**sizes), ids, floats)
    if kind == "huge":
        inputs |= {name: inputs[name] * 1000 for name in exercise.huge}
    dout = floats(*exercise.out_shape(inputs))
    before = floats(*inputs[exercise.into[1:]].shape) if exercise.into else None
    if isinstance(exercise, Part):              # which may move x and put it back, as gradcheck does
        layout = "plain"
    return Case(exercise.name, sizes, inputs, dout if dout.ndim else float(dout), before, layout, kind)


def cases(exercise):
    """A Hypothesis strategy of Cases; what shrinks are the sizes and the ids."""
    from hypothesis import strategies as st

    @st.composite
    def draw_case(draw):
        sizes = {letter: draw(st.integers(least, most)) for letter, (least, most) in exercise.sizes.items()}

        def ids(below, *shape):
            count = int(np.prod(shape))
            drawn = draw(st.lists(st.integers(0, below - 1), min_size=count, max_size=count))
            return np.array(drawn).reshape(shape)

        return make_case(exercise, sizes, ids, draw(st.integers(0, 9)))

    return draw_case().filter(lambda case: exercise.is_telling(case.sizes))


def random_case(exercise, seed, small=2, kind="decimals", layout="plain", **fixed):
    """A Case of sizes between `small` (or the least that tells something) and their largest, save those given."""
    rng = np.random.default_rng(seed)
    while True:
        sizes = {letter: int(rng.integers(least if letter in WAYS else min(max(least, small), most), most + 1))
                 for letter, (least, most) in exercise.sizes.items()} | fixed
        if exercise.is_telling(sizes):
            return make_case(exercise, sizes, lambda below, *shape: rng.integers(0, below, shape), seed, kind, layout)


# ---- the examination -----------------------------------------------------------------------------

# What each of its cases is made of: numbers, memory, how many rows P has beyond T (S = T + extra), ids, and axes where
# the statement says "any shape".
EXAMINATION = [
    dict(kind="normal", layout="plain", extra=0, ids="few", axes=2),
    dict(kind="normal", layout="Fortran", extra=1, ids="few", axes=3),
    dict(kind="normal", layout="strided", extra=3, ids="few", axes=1),
    dict(kind="zeros", layout="plain", extra=3, ids="same", axes=3),
    dict(kind="zeros", layout="read-only", extra=0, ids="few", axes=1),
    dict(kind="huge", layout="plain", extra=1, ids="few", axes=2),
    dict(kind="huge", layout="read-only", extra=0, ids="own", axes=3),
    dict(kind="normal", layout="backwards", extra=3, ids="own", axes=1),
    dict(kind="decimals", layout="read-only", extra=1, ids="same", axes=2),
    dict(kind="decimals", layout="strided", extra=0, ids="own", axes=3),
]


def examination(exercise):
    """The Cases that every answer has to get right: large, all sizes different, and hostile.

    ids     "few"   so few distinct that most come three times, and some rows are not looked up
            "same"  all the same
            "own"   every array of ids the same one: each target is its own position's id
    """
    for seed, row in enumerate(EXAMINATION):
        row = row | dict(change=seed % 6, tiny=seed // 6)
        sizes = exercise.exam | {letter: row[letter] for letter in row if letter in exercise.exam}
        rng = np.random.default_rng(seed)

        def ids(below, *shape):
            count, distinct = int(np.prod(shape)), 1 if row["ids"] == "same" else max(2, below // 2)
            one = np.random.default_rng(seed) if row["ids"] == "own" else rng
            return (one.integers(0, distinct, count) + below // 3).reshape(shape) % below

        yield make_case(exercise, sizes, ids, seed, row["kind"], row["layout"])
