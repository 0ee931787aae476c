"""The table of the exercises: what goes in, what comes out, and how large the inputs are."""
from dataclasses import dataclass

import numpy as np

from minigpt_np import GPT, gradcheck, layers

from .files import NAMES, templates


@dataclass(eq=False)
class Exercise:
    """One row of the table.

    name      of the file; of one function of slope.py, slope.function
    equation  in a few words, for the overview
    out       name of the forward's output; backward's first argument is d + out
    sizes     letter -> (least, most, large): of the small inputs, and of the large ones
    inputs    (n, ids, floats) -> dict of the forward's arguments. n has the sizes as attributes;
              ids(below, *shape) and floats(*shape) make arrays
    answer    the function of the package that is shown after success
    edges     kinds of numbers (see cases.EDGES) that its large inputs have, besides the usual
    into      name of an array that backward is given last, and adds to
    needs     exercises that it is made of
    value     (*inputs) -> what a function that is no backward pass should return
    parts     the functions of exercise 0, each an Exercise
    """
    name: str
    equation: str = ""
    out: str = ""
    sizes: dict = None
    inputs: object = None
    answer: object = None
    edges: tuple = ()
    into: str = ""
    needs: tuple = ()
    value: object = None
    parts: tuple = ()

    @property
    def file(self):
        return self.name.split(".")[0]

    @property
    def function(self):
        return self.name.split(".")[1] if "." in self.name else "backward"

    @property
    def functions(self):
        """Each function to be written, as an Exercise."""
        return self.parts or (self,)

    @property
    def axes(self):
        """The sizes that are axes, whose factors a mistake may have."""
        return [letter for letter in self.sizes if letter[0].isupper()]

    def forward(self, *arguments):
        """The template's, whatever the learner made of it."""
        return templates()[self.file].forward(*arguments)


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


def map_arrays(value, convert):
    """The same nested dicts and lists, with convert(x) for each array x."""
    if isinstance(value, dict):
        return {key: map_arrays(item, convert) for key, item in value.items()}
    if isinstance(value, list):
        return [map_arrays(item, convert) for item in value]
    return convert(value) if isinstance(value, np.ndarray) else value


# ---- inputs --------------------------------------------------------------------------------------

def arrays(**axes):
    """An Exercise's inputs from the axes of each array: "N D" of floats, or "N < V" of ids."""
    def inputs(n, ids, floats):
        def made(letters, _, below):
            shape = [getattr(n, letter) for letter in letters.split()]
            return ids(getattr(n, below), *shape) if below else floats(*shape)

        return {name: made(*text.partition(" < ")) for name, text in axes.items()}
    return inputs


def weights_of_block(D, floats):
    w = {name: floats(D) for name in ("gain1", "bias1", "gain2", "bias2")}
    shapes = dict(qkv=(D, 3 * D), out=(D, D), up=(D, 4 * D), down=(4 * D, D))
    for name, (D_in, D_out) in shapes.items():
        w |= {f"W_{name}": floats(D_in, D_out), f"b_{name}": floats(D_out)}
    return w


def block_inputs(n, ids, floats):
    D = n.H * n.K
    return dict(x=floats(n.B * n.T, D), w=weights_of_block(D, floats), B=n.B, H=n.H)


def model_inputs(n, ids, floats):
    D = n.H * n.K
    p = dict(E=floats(n.V, D), P=floats(n.S, D), gain=floats(D), bias=floats(D),
             blocks=[weights_of_block(D, floats) for _ in range(n.L)])
    return dict(ids=ids(n.V, n.B, n.T), targets=ids(n.V, n.B, n.T), p=p, H=n.H)


# ---- exercise 0 ----------------------------------------------------------------------------------

@dataclass
class Bent:
    """f(x) = sum of a x³, plus the square of the sum of x; for arrays or numbers."""
    a: object

    def __call__(self, x):
        return np.sum(self.a * x * x * x) + np.sum(x) ** 2

    def gradient(self, x):
        return 3 * self.a * x * x + 2 * np.sum(x)

    def __repr__(self):
        return f"x -> np.sum({np.round(self.a, 2).tolist()} * x**3) + np.sum(x)**2"


def difference_inputs(n, ids, floats):
    return dict(f=Bent(float(floats())), x=float(floats()), h=0.1 + abs(float(floats())) / 10)


def gradient_to_judge(n, ids, floats):
    """A gradient with numbers above 1 or below, right to rounding or nearly, or wrong in one
    number: by little or by NaN."""
    i, change, small = (int(ids(below, 1)[0]) for below in (n.D, 5, 2))
    x, f = floats(n.D) * [5, 0.01][small], Bent(floats(n.D))
    dx = f.gradient(x)
    dx[i] += tolerance(dx) * [0, 1 / 2, 3 / 2, -3 / 2, np.nan][change]
    return dict(f=f, x=x, dx=dx)


def tolerance(right):
    """What `agrees` allows."""
    return 1e-6 * max(1, np.abs(right).max())


def is_gradient(f, x, dx):
    return bool(np.abs(dx - f.gradient(x)).max() <= tolerance(f.gradient(x)))


def number_and_vector(n, ids, floats):
    return dict(dy=float(floats()), x=floats(n.D))


OF_D = dict(D=(1, 3, 7))
PARTS = (
    Exercise("slope.derivative", out="derivative", sizes={}, value=lambda x: 3 * x * x - 2,
             inputs=lambda n, ids, floats: dict(x=float(floats()))),
    Exercise("slope.difference", out="difference", sizes={}, inputs=difference_inputs,
             value=lambda f, x, h: (f(x + h) - f(x - h)) / (2 * h)),
    Exercise("slope.gradient", out="gradient", sizes=OF_D, value=lambda f, x: f.gradient(x),
             inputs=lambda n, ids, floats: dict(f=Bent(floats(n.D)), x=floats(n.D))),
    Exercise("slope.identity_backward", out="dx", sizes=OF_D, inputs=arrays(dy="D", x="D"),
             value=lambda dy, x: dy),
    Exercise("slope.sum_backward", out="dx", sizes=OF_D, inputs=number_and_vector,
             value=lambda dy, x: np.full(len(x), dy)),
    Exercise("slope.mean_backward", out="dx", sizes=OF_D, inputs=number_and_vector,
             value=lambda dy, x: np.full(len(x), dy / len(x))),
    Exercise("slope.agrees", out="agrees", sizes=OF_D, inputs=gradient_to_judge,
             value=is_gradient),
)


# ---- the table -----------------------------------------------------------------------------------

EXERCISES = [
    Exercise("slope", "f'(x), by hand and by difference", answer=gradcheck.METHODS["differences"],
             parts=PARTS),
    Exercise("linear", "y = x W + b", "y", dict(N=(1, 3, 7), D_in=(1, 3, 6), D_out=(1, 3, 5)),
             arrays(x="N D_in", W="D_in D_out", b="D_out"), layers.linear.backward),
    Exercise("lookup", "x = E[ids] + P", "x",
             dict(B=(1, 3, 4), T=(1, 3, 6), V=(1, 3, 30), D=(1, 3, 5), extra=(0, 2, 3)),
             arrays(ids="B T < V", E="V D", P="S D"), layers.lookup.backward),
    Exercise("logits", "logits = h headᵀ", "logits",
             dict(N=(1, 3, 6), V=(1, 3, 8), D=(1, 3, 5)),
             arrays(h="N D", head="V D"), layers.logits.backward),
    Exercise("tied", "logits = tanh(E[ids]) Eᵀ", "logits",
             dict(N=(1, 3, 9), V=(1, 3, 12), D=(1, 3, 5)),
             arrays(ids="N < V", E="V D"), GPT.backward, into="dE"),
    Exercise("cross_entropy", "loss = mean of -log softmax(logits)[target]", "loss",
             dict(N=(1, 3, 7), V=(2, 3, 6)),
             arrays(logits="N V", targets="N < V"), layers.cross_entropy.backward, ("huge",)),
    Exercise("gelu", "y = x (1 + tanh(C (x + A x³))) / 2", "y", dict(N=(1, 3, 6), D=(1, 3, 5)),
             arrays(x="N D"), layers.gelu.backward, ("huge",)),
    Exercise("centring", "y = x - mean", "y", dict(N=(1, 3, 6), D=(2, 4, 5)),
             arrays(x="N D"), layers.layernorm.backward),
    Exercise("layernorm", "y = gain (x - mean) / deviation + bias", "y",
             dict(N=(1, 3, 7), D=(3, 4, 6)), arrays(x="N D", gain="D", bias="D"),
             layers.layernorm.backward, ("large mean", "constant rows")),
    Exercise("softmax", "w = exp(z) / sum of exp(z)", "w", dict(N=(1, 3, 6), S=(2, 3, 5)),
             arrays(z="N S"), layers.softmax.backward, ("huge",)),
    Exercise("causal", "y = softmax(q kᵀ / sqrt(K), s <= t) v", "y",
             dict(B=(1, 2, 3), H=(1, 2, 2), T=(2, 3, 5), K=(1, 3, 4)),
             arrays(q="B H T K", k="B H T K", v="B H T K"), layers.causal.backward, ("huge",)),
    Exercise("block", "x + attention(norm(x)), x + MLP(norm(x))", "y",
             dict(B=(1, 2, 4), T=(2, 3, 5), H=(1, 2, 2), K=(3, 3, 3)),
             block_inputs, layers.block.backward_pre,
             needs=("linear", "gelu", "layernorm", "causal")),
    Exercise("model", "lookup, blocks, norm, logits, loss", "loss",
             dict(L=(0, 2, 3), B=(1, 2, 4), T=(2, 3, 5), V=(2, 3, 21), H=(1, 2, 2), K=(3, 3, 3),
                  extra=(0, 2, 3)),
             model_inputs, GPT.backward, ("no blocks",),
             needs=("lookup", "logits", "cross_entropy", "layernorm", "block")),
]
TABLE = {exercise.name: exercise for exercise in (*EXERCISES, *PARTS)}
