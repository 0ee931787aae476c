"""The exercises: what goes in, what comes out, and how large the inputs are that show a mistake."""
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np

from . import mistakes
from .composed import block_gradients, model_gradients
from .files import NAMES, given
from .nested import float_arrays


WAYS = ("change", "tiny")       # among the sizes: which of several kinds of input, no axis of any


@dataclass(eq=False)
class Exercise:
    """One row of the table.

    name      of the file
    out       name of the forward's output; backward's first argument is d + out
    sizes     letter -> (least, most) in the small inputs: none so small that nothing is left to see
    exam      letter -> size in the examination
    inputs    (n, ids, floats) -> dict of the forward's arguments. n has the sizes as attributes;
              ids(below, *shape) and floats(*shape) make arrays
    answer    where the package has it: a function of a module
    huge      those inputs that may be a thousand times as large
    into      name of an array that backward is given last, and adds to
    needs     exercises this one is made of
    examples  how many small inputs to try
    probes    inputs on which a mistake has to match, besides the smallest; on `distinct` of them at least it
              has to differ from what is right
    function  what the learner writes
    """
    name: str
    equation: str
    out: str
    sizes: dict
    exam: dict
    inputs: object
    answer: str
    mistakes: list = ()
    huge: tuple = ()
    into: str = ""
    needs: tuple = ()
    examples: int = 60
    probes: int = 8
    distinct: int = 3
    function: str = "backward"
    forward_name: str = "forward"
    parts: list = field(default_factory=list)

    @property
    def file(self):
        """The name of its file, without .py."""
        return self.name.split(".")[0]

    @property
    def number(self):
        return NAMES.index(self.file)

    @property
    def functions(self):
        """Names of all that the learner writes in this file."""
        return [part.function for part in self.parts] or [self.function]

    @property
    def all_needs(self):
        """What it is made of, and what that is made of, before it."""
        needs = [name for piece in self.needs for name in (*TABLE[piece].needs, piece)]
        return list(dict.fromkeys(needs))

    def forward(self, *arguments):
        """As given, whatever the learner made of it."""
        return getattr(given()[self.file], self.forward_name)(*arguments)

    def returned(self, inputs):
        """The names of all gradients that are asked for."""
        return ["d" + name for name in float_arrays(inputs)]

    @property
    def gradients_returned(self):
        """How many things backward returns."""
        largest = SimpleNamespace(**{letter: most for letter, (_, most) in self.sizes.items()})
        inputs = self.inputs(largest, lambda below, *shape: np.zeros(shape, int), lambda *shape: np.zeros(shape))
        return sum(bool(float_arrays({name: value})) for name, value in inputs.items())

    def right(self, case, names):
        """name -> the right gradient, for these names at least."""
        return case.gradients(names)

    def arguments(self, dout, inputs, into):
        """What the learner's function is given, in its order."""
        return [dout, *inputs.values(), *([] if into is None else [into])]

    def out_shape(self, inputs):
        return np.shape(self.forward(*inputs.values()))

    def is_telling(self, sizes):
        """Whether inputs of these sizes have a gradient to speak of."""
        return "H" not in sizes or self.name == "causal" or sizes["H"] * sizes["K"] >= 3

    @property
    def letters(self):
        """The sizes that are axes, whose factors a mistake may have."""
        return [letter for letter in self.sizes if letter not in ("extra", "axes", "L", *WAYS)]


@dataclass(eq=False)
class Composed(Exercise):
    """An exercise whose right gradients are put together from those of its pieces."""
    gradients: object = None

    def right(self, case, names):
        return self.gradients(case.dout, **case.inputs)


@dataclass(eq=False)
class Part(Exercise):
    """One function of exercise 0 that is no backward pass: its one output is compared as it is.

    value    (*inputs) -> what it should return
    rtol     how near that has to be
    """
    value: object = None
    rtol: float = 1e-9

    def out_shape(self, inputs):
        return ()

    def returned(self, inputs):
        return [self.out]

    def right(self, case, names):
        return {self.out: np.asarray(self.value(*case.inputs.values()))}

    def arguments(self, dout, inputs, into):
        return list(inputs.values())


# ---- exercise 0 ----------------------------------------------------------------------------------

@dataclass
class Cubic:
    """f(x) = a x³ + b x² of one number."""
    a: float
    b: float

    def __call__(self, x):
        return self.a * x * x * x + self.b * x * x

    def __repr__(self):
        return f"x -> {self.a + 0:g} x³ {'-' if self.b < 0 else '+'} {abs(self.b):g} x²"


@dataclass
class Bent:
    """f(x) = sum of a[i] x[i]³, and the product of the first two (if there are two)."""
    a: np.ndarray

    def __call__(self, x):
        return np.sum(self.a * x * x * x) + (x[0] * x[1] if len(x) > 1 else 0)

    def gradient(self, x):
        dx = 3 * self.a * x * x
        if len(x) > 1:
            dx[:2] += x[1], x[0]
        return dx

    def __repr__(self):
        return f"x -> sum of {self.a.round(2).tolist()} x³" + " + x[0] x[1]" * (len(self.a) > 1)


def tolerance(right):
    """What `agrees` allows."""
    return 1e-6 * max(1, np.abs(right).max())


def gradient_to_judge(n, ids, floats):
    """A gradient that is right to rounding, or wrong in one number: by little, by much, by its sign, by NaN.

    change  which of these;  tiny  1 if all of the gradient is below 1
    """
    x, f = floats(n.D) * (0.1 if n.tiny else 5), Bent(floats(n.D))
    dx = f.gradient(x)
    slight = tolerance(dx)
    i = int(ids(n.D, 1)[0])
    dx[i] = [dx[i], dx[i] + slight / 2, dx[i] + 1.5 * slight, dx[i] + 0.5, -dx[i] - 0.1, np.nan][n.change]
    return dict(f=f, x=x, dx=dx)


def agreement(f, x, dx):
    right = f.gradient(x)
    return bool(np.abs(dx - right).max() <= tolerance(right))


def part(function, inputs, sizes=None, exam=None, **rest):
    kind = Part if "value" in rest else Exercise
    return kind(f"slope.{function}", "", rest.pop("out", function), sizes or {}, exam or {}, inputs, "",
                function=function, examples=20, **rest)


def vector(n, ids, floats):
    return dict(x=floats(n.D))


OF_D = dict(sizes=dict(D=(1, 3)), exam=dict(D=7))
PARTS = [
    part("derivative", lambda n, ids, floats: dict(x=float(floats())), value=lambda x: 3 * x * x - 2,
         mistakes=mistakes.DERIVATIVE),
    part("difference", lambda n, ids, floats: dict(f=Cubic(float(floats()), float(floats())), x=float(floats()),
                                                   h=0.1 + abs(float(floats())) / 10),
         value=lambda f, x, h: (f(x + h) - f(x - h)) / (2 * h), mistakes=mistakes.DIFFERENCE),
    part("gradient", lambda n, ids, floats: dict(f=Bent(floats(n.D)), x=floats(n.D)), **OF_D,
         value=lambda f, x: f.gradient(x), rtol=1e-7, mistakes=mistakes.GRADIENT),
    part("identity_backward", vector, **OF_D, out="y", forward_name="identity"),
    part("sum_backward", vector, **OF_D, out="y", forward_name="total", mistakes=mistakes.SUM),
    part("mean_backward", vector, **OF_D, out="y", forward_name="mean", mistakes=mistakes.MEAN),
    part("agrees", gradient_to_judge, dict(D=(1, 3), change=(0, 5), tiny=(0, 1)), dict(D=7, change=0, tiny=0),
         value=agreement, mistakes=mistakes.AGREES, probes=60),
]


# ---- 11 and 12 -----------------------------------------------------------------------------------

def weights_of_block(D, floats):
    w = {name: floats(D) for name in ("gain1", "bias1", "gain2", "bias2")}
    shapes = dict(qkv=(D, 3 * D), out=(D, D), up=(D, 4 * D), down=(4 * D, D))
    for name, (D_in, D_out) in shapes.items():
        w |= {f"W_{name}": floats(D_in, D_out), f"b_{name}": floats(D_out)}
    return w


def weights_of_model(n, floats):
    D = n.H * n.K
    return dict(E=floats(n.V, D), P=floats(n.T + n.extra, D), gain=floats(D), bias=floats(D),
                blocks=[weights_of_block(D, floats) for _ in range(n.L)])


# ---- the table -----------------------------------------------------------------------------------

EXERCISES = [
    Exercise("slope", "f'(x), by hand and by difference", "", {}, {}, None, "gradcheck:_by_differences", parts=PARTS),
    Exercise("linear", "y = x W + b", "y", dict(N=(1, 3), D_in=(1, 3), D_out=(1, 3)), dict(N=7, D_in=6, D_out=5),
             lambda n, ids, floats: dict(x=floats(n.N, n.D_in), W=floats(n.D_in, n.D_out), b=floats(n.D_out)),
             "layers.linear:backward", mistakes.LINEAR),
    Exercise("lookup", "x = E[ids] + P", "x", dict(B=(1, 3), T=(1, 3), V=(1, 3), D=(1, 3), extra=(0, 2)),
             dict(B=4, T=6, V=8, D=5, extra=0),
             lambda n, ids, floats: dict(ids=ids(n.V, n.B, n.T), E=floats(n.V, n.D), P=floats(n.T + n.extra, n.D)),
             "layers.lookup:backward", mistakes.LOOKUP),
    Exercise("logits", "logits = h headᵀ", "logits", dict(N=(1, 3), V=(1, 3), D=(1, 3)), dict(N=6, V=8, D=5),
             lambda n, ids, floats: dict(h=floats(n.N, n.D), head=floats(n.V, n.D)),
             "layers.logits:backward", mistakes.LOGITS),
    Exercise("tied", "logits = tanh(E[ids]) Eᵀ", "logits", dict(N=(1, 3), V=(1, 3), D=(1, 3)), dict(N=9, V=7, D=5),
             lambda n, ids, floats: dict(ids=ids(n.V, n.N), E=floats(n.V, n.D)),
             "model:GPT.backward", mistakes.TIED, into="dE"),
    Exercise("cross_entropy", "loss = mean of -log softmax(logits)[target]", "loss", dict(N=(1, 3), V=(2, 3)),
             dict(N=7, V=6), lambda n, ids, floats: dict(logits=floats(n.N, n.V), targets=ids(n.V, n.N)),
             "layers.cross_entropy:backward", mistakes.CROSS_ENTROPY, huge=("logits",)),
    Exercise("gelu", "y = x (1 + tanh(C (x + A x³))) / 2", "y", dict(axes=(1, 3), N=(1, 3), D=(1, 3)),
             dict(axes=2, N=6, D=5), lambda n, ids, floats: dict(x=floats(*(n.N, n.D, 4)[:n.axes])),
             "layers.gelu:backward", mistakes.GELU),
    Exercise("centring", "y = x - mean", "y", dict(N=(1, 3), D=(2, 4)), dict(N=6, D=5),
             lambda n, ids, floats: dict(x=floats(n.N, n.D)),
             "layers.layernorm:backward", mistakes.CENTRING),
    Exercise("layernorm", "y = gain (x - mean) / deviation + bias", "y", dict(N=(1, 3), D=(3, 4)), dict(N=7, D=6),
             lambda n, ids, floats: dict(x=floats(n.N, n.D), gain=floats(n.D), bias=floats(n.D)),
             "layers.layernorm:backward", mistakes.LAYERNORM),
    Exercise("softmax", "w = exp(z) / sum of exp(z)", "w", dict(N=(1, 3), S=(2, 3)), dict(N=6, S=5),
             lambda n, ids, floats: dict(z=floats(n.N, n.S)),
             "layers.causal:backward", mistakes.SOFTMAX, huge=("z",)),
    Exercise("causal", "y = softmax(q kᵀ / sqrt(K), s <= t) v", "y", dict(B=(1, 2), H=(1, 2), T=(2, 3), K=(1, 3)),
             dict(B=4, H=5, T=7, K=6),
             lambda n, ids, floats: {name: floats(n.B, n.H, n.T, n.K) for name in "qkv"},
             "layers.causal:backward", mistakes.CAUSAL, huge=("q",)),
    Composed("block", "x + attention(norm(x)), x + MLP(norm(x))", "y", dict(B=(1, 2), T=(2, 3), H=(1, 2), K=(2, 3)),
             dict(B=5, T=6, H=3, K=4),
             lambda n, ids, floats: dict(x=floats(n.B * n.T, n.H * n.K), w=weights_of_block(n.H * n.K, floats),
                                         B=n.B, H=n.H),
             "layers.block:backward_pre", mistakes.BLOCK, examples=25, probes=4, distinct=2,
             needs=("linear", "gelu", "layernorm", "causal"), gradients=block_gradients),
    Composed("model", "lookup, blocks, norm, logits, loss", "loss",
             dict(L=(1, 2), B=(1, 2), T=(2, 3), V=(2, 3), H=(1, 2), K=(2, 3), extra=(0, 2)),
             dict(L=5, B=6, T=7, V=8, H=3, K=4, extra=0),
             lambda n, ids, floats: dict(ids=ids(n.V, n.B, n.T), targets=ids(n.V, n.B, n.T),
                                         p=weights_of_model(n, floats), H=n.H),
             "model:GPT.backward", mistakes.MODEL, examples=25, probes=4, distinct=2,
             needs=("lookup", "logits", "cross_entropy", "layernorm", "block"), gradients=model_gradients),
]
TABLE = {exercise.name: exercise for exercise in EXERCISES + PARTS}
