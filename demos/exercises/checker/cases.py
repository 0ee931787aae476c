"""Inputs for an exercise: many small ones and ten large ones decide, the smallest is shown."""
from dataclasses import dataclass
from functools import cache, cached_property
from types import SimpleNamespace

import numpy as np
from hypothesis import strategies as st

from minigpt_np.gradcheck import COMPLEX_STEP, complex_step

from .exercises import TABLE, float_arrays, map_arrays

SMALL, LARGE = 40, 10       # inputs that every answer has to get right, the same for everybody
SMALL_OF_MANY = 12          # small ones of an exercise made of others, each of which has its own

# differences that count for nothing, as a part of the largest number, or of 1 if that is larger
SAME = 1e-9             # between arrays that are taken for the same
TO_ROUNDING = 1e-12     # between an answer and what is right
OF_LARGE_NUMBERS = 1e-9         # the same where large numbers cancel: a right answer loses digits
BY_DIFFERENCE = 1e-7            # the same of exercise 0's gradient, which is a difference

# kind of numbers -> (inputs) -> what is another input there, and what is said of an answer that is
# right for plain decimals and wrong for these
EDGES = {
    "many digits": (lambda inputs: {}, "It is right for numbers of one decimal, and wrong for "
                    "others: is something rounded on the way?"),
    "zeros": (lambda inputs: {}, "It is right where no number is 0, and wrong where some are: is "
              "something divided by, or compared with, what may be 0?"),
    "huge": (lambda inputs: {name: x * 1000 for name, x in list(inputs.items())[:1]},
             "It is right for numbers near 1, and wrong for numbers near 1000: does an exp "
             "overflow? tanh does not; in a softmax, first take away the maximum of each row."),
    "large mean": (lambda inputs: dict(x=inputs["x"] + 1e4),
                   "It is right for rows near 0, and wrong for rows with a mean of 10,000, where "
                   "mean(x²) - mean² loses its digits: take away the mean first, then square."),
    "constant rows": (lambda inputs: dict(x=inputs["x"] * 0 + inputs["x"][:, :1]),
                      "It is right where a row's numbers differ, and wrong where they are all the "
                      "same: the variance is 0 there, and only EPS is left to divide by."),
    "no blocks": (lambda inputs: dict(p=inputs["p"] | dict(blocks=[])),
                  "It is right for a model with blocks, and wrong for one that has none."),
}


@dataclass(eq=False)
class Case:
    """One question to a learner's function.

    name       of the exercise
    kind       of numbers: "decimals", which are easy to read and never 0, or one of EDGES
    sizes      letter -> size
    inputs     name -> argument of the forward
    arguments  name -> argument of the learner's function, in its order: before the inputs the
               gradient of forward's output, after them the array that it adds to, if there is one
    """
    name: str
    kind: str
    sizes: dict
    inputs: dict
    arguments: dict

    @property
    def exercise(self):
        return TABLE[self.name]

    def split(self, flat):
        """label -> a view of its part of flat, for each of the inputs that has a gradient."""
        arrays = float_arrays(self.inputs)
        ends = np.cumsum([x.size for x in arrays.values()])[:-1]
        return {label: part.reshape(x.shape)
                for (label, x), part in zip(arrays.items(), np.split(flat, ends))}

    def loss(self):
        """The sum of dout · forward(inputs), a function of nothing, and the flat complex array of
        the numbers that it depends on."""
        numbers = [x.ravel() for x in float_arrays(self.inputs).values()]
        flat = np.concatenate(numbers, dtype=complex)
        views = iter(self.split(flat).values())
        inputs = map_arrays(self.inputs, lambda x: next(views) if x.dtype.kind == "f" else x)
        dout = self.arguments["d" + self.exercise.out]
        return lambda: np.sum(dout * self.exercise.forward(*inputs.values())), flat

    @property
    def before(self):
        """What is already in the array that backward adds to; 0 where it returns gradients."""
        return self.arguments.get(self.exercise.into, 0)

    @cached_property
    def expected(self):
        """label -> what is right, a gradient by complex steps."""
        if self.exercise.value:
            return {self.exercise.out: np.asarray(self.exercise.value(*self.inputs.values()))}
        gradient, _ = complex_step(*self.loss())
        return {f"d{label}": x + self.before for label, x in self.split(gradient).items()}

    @cached_property
    def slope(self):
        """A random direction and the loss's slope along it: one complex step, where `expected`
        takes one for each number."""
        loss, flat = self.loss()
        direction = np.random.default_rng(0).standard_normal(flat.size)
        flat += 1j * COMPLEX_STEP * direction
        return direction, loss().imag / COMPLEX_STEP

    def accepts(self, given):
        """Whether these arrays by label are right: gradients, if they give the loss's slope."""
        rtol = (BY_DIFFERENCE if self.exercise.out == "gradient"
                else OF_LARGE_NUMBERS if self.kind in ("huge", "large mean") else TO_ROUNDING)
        if self.exercise.value:
            return all(near(given[label], right, rtol) for label, right in self.expected.items())
        direction, slope = self.slope
        terms = direction * np.concatenate([(x - self.before).ravel() for x in given.values()])
        return bool(abs(terms.sum() - slope) <= rtol * max(1, np.linalg.norm(terms)))

    def copies(self):
        """Copies of the arguments, for a function that may write into them."""
        return map_arrays(self.arguments, np.copy)


def near(a, b, rtol=SAME):
    """Whether two arrays are the same but for rounding."""
    if a.shape != b.shape:
        return False
    b = 1.0 * b                 # of a bool 0 or 1, which can be subtracted
    return bool(np.abs(a - b).max(initial=0) <= rtol * max(1, np.abs(b).max(initial=0)))


def make_case(exercise, kind, sizes, seed):
    """The Case of these sizes and this kind of numbers, drawn with the seed."""
    rng = np.random.default_rng(seed)

    def ids(below, *shape):
        return rng.integers(0, below, shape)

    def floats(*shape):
        x = np.array(rng.integers(1, 20, shape) * rng.choice([-1, 1], shape) / 10)
        if kind == "many digits":
            x *= rng.uniform(1, 2, shape)
        return x * (rng.random(shape) > 1 / 3) if kind == "zeros" else x

    n = SimpleNamespace(**dict(S=sizes.get("T", 0) + sizes.get("extra", 0)) | sizes)
    inputs = exercise.inputs(n, ids, floats)
    if kind in EDGES:
        inputs |= EDGES[kind][0](inputs)
    if exercise.value:
        return Case(exercise.name, kind, sizes, inputs, inputs)
    dout = floats(*np.shape(exercise.forward(*inputs.values())))
    arguments = {"d" + exercise.out: dout if dout.ndim else float(dout)} | inputs
    if exercise.into:
        arguments[exercise.into] = floats(*inputs[exercise.into[1:]].shape)
    return Case(exercise.name, kind, sizes, inputs, arguments)


@cache
def small_cases(exercise, kind="decimals"):
    """A list of small Cases, made without Hypothesis, so that its version decides nothing."""
    found = []
    for seed in range(SMALL_OF_MANY if exercise.needs else SMALL):
        rng = np.random.default_rng([seed, 1])      # make_case draws with another
        sizes = {letter: int(rng.integers(least, most + 1))
                 for letter, (least, most, _) in exercise.sizes.items()}
        found.append(make_case(exercise, kind, sizes, seed))
    return found


@cache
def large_cases(exercise):
    """A list of LARGE Cases: no two sizes alike, repeated ids, rows not looked up, edge cases."""
    found, kinds = [], ("decimals", "many digits", "zeros", *exercise.edges)
    for seed in range(LARGE):
        sizes = {letter: large for letter, (*_, large) in exercise.sizes.items()}
        if "extra" in sizes:
            sizes["extra"] = (0, 1, 3)[seed % 3]
        found.append(make_case(exercise, kinds[seed % len(kinds)], sizes, seed))
    return found


def cases(exercise, kind, large):
    """A Hypothesis strategy of Cases, whose sizes shrink."""
    sizes = {letter: st.integers(least, max(most, greatest) if large else most)
             for letter, (least, most, greatest) in exercise.sizes.items()}
    return st.builds(make_case, st.just(exercise), st.just(kind), st.fixed_dictionaries(sizes),
                     st.integers(0, 9))
