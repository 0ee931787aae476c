"""The table of the exercises: what goes in, what comes out, and how large the inputs are."""
from dataclasses import dataclass

import numpy as np

from .files import NAMES, templates

NO_AXES = ("extra", "axes", "L", "change", "tiny")      # sizes that are no axis of an array


@dataclass(eq=False)
class Exercise:
    """One row of the table.

    name      of the file, or file.function
    out       name of the forward's output; backward's first argument is d + out
    sizes     letter -> (least, most) in the small inputs: none so small that nothing is left to see
    large     letter -> size in the final test
    inputs    (n, ids, floats) -> dict of the forward's arguments. n has the sizes as attributes;
              ids(below, *shape) and floats(*shape) make arrays
    answer    where the package has it: module:function
    edges     name of an edge case (see cases.EDGES) -> (inputs) -> what is another input there
    into      name of an array that backward is given last, and adds to
    needs     exercises that it is made of
    function  what the learner writes
    forward_name  the function of the template whose derivative it is
    value     (*inputs) -> what it should return, of a function that is no backward pass
    parts     the functions of exercise 0, each an Exercise
    """
    name: str
    equation: str
    out: str
    sizes: dict
    large: dict
    inputs: object
    answer: str = ""
    edges: tuple = ()
    into: str = ""
    needs: tuple = ()
    function: str = "backward"
    forward_name: str = "forward"
    value: object = None
    parts: tuple = ()

    @property
    def file(self):
        """The name of its file, without .py."""
        return self.name.split(".")[0]

    @property
    def number(self):
        return NAMES.index(self.file)

    @property
    def all_needs(self):
        """What it is made of, and what that is made of, before it."""
        needs = [name for piece in self.needs for name in (*TABLE[piece].needs, piece)]
        return list(dict.fromkeys(needs))

    @property
    def axes(self):
        """The sizes that are axes, whose factors a mistake may have."""
        return [letter for letter in self.sizes if letter not in NO_AXES]

    def forward(self, *arguments):
        """The template's, whatever the learner made of it."""
        return getattr(templates()[self.file], self.forward_name)(*arguments)

    def is_telling(self, sizes):
        """Whether inputs of these sizes have a gradient to speak of: LayerNorm's of two numbers is
        all but 0."""
        return "H" not in sizes or self.name == "causal" or sizes["H"] * sizes["K"] >= 3

    def returned(self, inputs):
        """name -> array or nested arrays like those that backward returns."""
        return {"d" + name: value for name, value in inputs.items() if float_arrays({name: value})}


# ---- arrays in nested dicts and lists, by labels such as p["blocks"][0]["W_up"] ------------------

def leaves(label, value):
    """(label, leaf) of each value in nested dicts and lists."""
    if isinstance(value, dict):
        items = [(f'{label}["{key}"]', item) for key, item in value.items()]
    elif isinstance(value, list):
        items = [(f"{label}[{i}]", item) for i, item in enumerate(value)]
    else:
        return [(label, value)]
    return [leaf for name, item in items for leaf in leaves(name, item)]


def float_arrays(inputs):
    """label -> array, of those that have a gradient."""
    found = [leaf for name, value in inputs.items() for leaf in leaves(name, value)]
    return {name: x for name, x in found if isinstance(x, np.ndarray) and x.dtype.kind in "fc"}


def rebuilt(value, convert):
    """The same nested dicts and lists, with convert(x) for each array x."""
    if isinstance(value, dict):
        return {key: rebuilt(item, convert) for key, item in value.items()}
    if isinstance(value, list):
        return [rebuilt(item, convert) for item in value]
    return convert(value) if isinstance(value, np.ndarray) else value


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
    """A gradient that is right to rounding, or wrong in one number: by little, by much, by its
    sign, by NaN.

    change  which of these;  tiny  1 if all of the gradient is below 1
    """
    x, f = floats(n.D) * (0.1 if n.tiny else 5), Bent(floats(n.D))
    dx = f.gradient(x)
    slight = tolerance(dx)
    i = int(ids(n.D, 1)[0])
    dx[i] = [dx[i], dx[i] + slight / 2, dx[i] + 1.5 * slight, dx[i] + 0.5, -dx[i] - 0.1,
             np.nan][n.change]
    return dict(f=f, x=x, dx=dx)


def part(function, inputs, sizes=None, large=None, out="", **rest):
    return Exercise(f"slope.{function}", "", out or function, sizes or {}, large or {}, inputs,
                    function=function, **rest)


def vector(n, ids, floats):
    return dict(x=floats(n.D))


OF_D = dict(sizes=dict(D=(1, 3)), large=dict(D=7))
PARTS = (
    part("derivative", lambda n, ids, floats: dict(x=float(floats())),
         value=lambda x: 3 * x * x - 2),
    part("difference", lambda n, ids,
         floats: dict(f=Cubic(float(floats()), float(floats())), x=float(floats()),
                                                   h=0.1 + abs(float(floats())) / 10),
         value=lambda f, x, h: (f(x + h) - f(x - h)) / (2 * h)),
    part("gradient", lambda n, ids, floats: dict(f=Bent(floats(n.D)), x=floats(n.D)), **OF_D,
         value=lambda f, x: f.gradient(x), edges=("powers",)),
    part("identity_backward", vector, **OF_D, out="y", forward_name="identity"),
    part("sum_backward", vector, **OF_D, out="y", forward_name="total"),
    part("mean_backward", vector, **OF_D, out="y", forward_name="mean"),
    part("agrees", gradient_to_judge, dict(D=(1, 3), change=(0, 5), tiny=(0, 1)),
         dict(D=7, change=0, tiny=0),
         value=lambda f, x, dx: bool(np.abs(dx - f.gradient(x)).max() <= tolerance(f.gradient(x)))),
)


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
    Exercise("slope", "f'(x), by hand and by difference", "", {}, {}, None,
             "gradcheck:_by_differences", parts=PARTS),
    Exercise("linear", "y = x W + b", "y", dict(N=(1, 3), D_in=(1, 3), D_out=(1, 3)),
             dict(N=7, D_in=6, D_out=5),
             lambda n, ids,
             floats: dict(x=floats(n.N, n.D_in), W=floats(n.D_in, n.D_out), b=floats(n.D_out)),
             "layers.linear:backward"),
    Exercise("lookup", "x = E[ids] + P", "x",
             dict(B=(1, 3), T=(1, 3), V=(1, 3), D=(1, 3), extra=(0, 2)),
             dict(B=4, T=6, V=8, D=5, extra=0),
             lambda n, ids,
             floats: dict(ids=ids(n.V, n.B, n.T), E=floats(n.V, n.D), P=floats(n.T + n.extra, n.D)),
             "layers.lookup:backward"),
    Exercise("logits", "logits = h headᵀ", "logits", dict(N=(1, 3), V=(1, 3), D=(1, 3)),
             dict(N=6, V=8, D=5),
             lambda n, ids, floats: dict(h=floats(n.N, n.D), head=floats(n.V, n.D)),
             "layers.logits:backward"),
    Exercise("tied", "logits = tanh(E[ids]) Eᵀ", "logits", dict(N=(1, 3), V=(1, 3), D=(1, 3)),
             dict(N=9, V=7, D=5),
             lambda n, ids, floats: dict(ids=ids(n.V, n.N), E=floats(n.V, n.D)),
             "model:GPT.backward", into="dE"),
    Exercise("cross_entropy", "loss = mean of -log softmax(logits)[target]", "loss",
             dict(N=(1, 3), V=(2, 3)),
             dict(N=7, V=6), lambda n, ids,
             floats: dict(logits=floats(n.N, n.V), targets=ids(n.V, n.N)),
             "layers.cross_entropy:backward", edges=("huge logits",)),
    Exercise("gelu", "y = x (1 + tanh(C (x + A x³))) / 2", "y",
             dict(axes=(1, 3), N=(1, 3), D=(1, 3)),
             dict(axes=2, N=6, D=5), lambda n, ids, floats: dict(x=floats(*(n.N, n.D, 4)[:n.axes])),
             "layers.gelu:backward", edges=("huge x",)),
    Exercise("centring", "y = x - mean", "y", dict(N=(1, 3), D=(2, 4)), dict(N=6, D=5),
             lambda n, ids, floats: dict(x=floats(n.N, n.D)), "layers.layernorm:backward"),
    Exercise("layernorm", "y = gain (x - mean) / deviation + bias", "y", dict(N=(1, 3), D=(3, 4)),
             dict(N=7, D=6),
             lambda n, ids, floats: dict(x=floats(n.N, n.D), gain=floats(n.D), bias=floats(n.D)),
             "layers.layernorm:backward", edges=("large mean", "constant rows")),
    Exercise("softmax", "w = exp(z) / sum of exp(z)", "w", dict(N=(1, 3), S=(2, 3)), dict(N=6, S=5),
             lambda n, ids, floats: dict(z=floats(n.N, n.S)), "layers.causal:backward",
             edges=("huge z",)),
    Exercise("causal", "y = softmax(q kᵀ / sqrt(K), s <= t) v", "y",
             dict(B=(1, 2), H=(1, 2), T=(2, 3), K=(1, 3)),
             dict(B=3, H=2, T=5, K=4),
             lambda n, ids, floats: {name: floats(n.B, n.H, n.T, n.K) for name in "qkv"},
             "layers.causal:backward", edges=("huge q",)),
    Exercise("block", "x + attention(norm(x)), x + MLP(norm(x))", "y",
             dict(B=(1, 2), T=(2, 3), H=(1, 2), K=(2, 3)),
             dict(B=4, T=5, H=2, K=3),
             lambda n, ids,
             floats: dict(x=floats(n.B * n.T, n.H * n.K), w=weights_of_block(n.H * n.K, floats),
                                         B=n.B, H=n.H),
             "layers.block:backward_pre", needs=("linear", "gelu", "layernorm", "causal")),
    Exercise("model", "lookup, blocks, norm, logits, loss", "loss",
             dict(L=(0, 2), B=(1, 2), T=(2, 3), V=(2, 3), H=(1, 2), K=(2, 3), extra=(0, 2)),
             dict(L=3, B=4, T=5, V=7, H=2, K=3, extra=0),
             lambda n, ids, floats: dict(ids=ids(n.V, n.B, n.T), targets=ids(n.V, n.B, n.T),
                                         p=weights_of_model(n, floats), H=n.H),
             "model:GPT.backward", edges=("no blocks",),
             needs=("lookup", "logits", "cross_entropy", "layernorm", "block")),
]
TABLE = {exercise.name: exercise for exercise in (*EXERCISES, *PARTS)}
