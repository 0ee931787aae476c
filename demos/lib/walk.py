"""A walk through forward and backward, line by line: what each line binds and changes.

sys.settrace has Python report every line of minigpt_np/model.py and layers/*.py as they run: the
package itself, no copy of it. NumPy, and the checks of ids and targets, run without a report.
"""
import ast
import dataclasses
import functools
import os
import sys
from dataclasses import dataclass, field

import numpy as np

import minigpt_np
from lib.sentence import split
from minigpt_np import GPT, GPTConfig, Parameters
from minigpt_np.layers import constants
from minigpt_np.training.blas import blas_threads

TEXT = "the cat saw the dog"            # 4 positions are looked up; `the` at two of them
EXTRA_TOKENS = "fish"                   # in the vocabulary, but not in the text
SEED = 6                                # of weights at which both contributions can be seen in every row
POSITIONS, WIDTH, LAYERS = 16, 16, 4    # the most that can still be looked at
ROOT = os.path.dirname(minigpt_np.__file__)
FILES = {os.path.join(ROOT, *name.split("/")): name for name in
         ["model.py", *sorted(f"layers/{file}" for file in os.listdir(os.path.join(ROOT, "layers"))
                              if file.endswith(".py") and file not in ("__init__.py", "constants.py"))]}


# ---- the example ---------------------------------------------------------------------------------

@dataclass
class Example:
    """A sentence and a model that is small enough to look at."""
    tokens: list            # V texts, row by row of E
    ids: np.ndarray         # (1, T) what is looked up
    targets: np.ndarray     # (1, T) what is to be predicted: the token after it
    model: GPT              # float64, tied


def example(text=TEXT, also=EXTRA_TOKENS, width=None, heads=2, layers=1, seed=SEED):
    """The text's words, and a new model. Raises ValueError for what is too short or too large.

    width is D; None: the least at which no two axes are of one length, so that a shape tells what it is of.
    """
    words = split(text, "words")
    if not 2 <= len(words) <= POSITIONS + 1:
        raise ValueError(f"text: {len(words)} tokens given, expected 2 to {POSITIONS + 1}")
    row = {token: v for v, token in enumerate(dict.fromkeys([*words, *split(also, "words")]))}
    if width is None:
        width = telling_width(len(words) - 1, len(row), heads)
    # Of one number a row LayerNorm leaves 0, and of one token softmax leaves 1: dE would stay 0.
    for name, given, least, most in (("width", width, 2, WIDTH), ("layers", layers, 1, LAYERS)):
        if not least <= given <= most:
            raise ValueError(f"{name}: {given} given, expected {least} to {most}")
    if seed < 0:
        raise ValueError(f"seed: {seed} given, expected at least 0")
    if not 2 <= len(row) <= 2 * POSITIONS:
        raise ValueError(f"also: {len(row)} different tokens with the text's, expected 2 to {2 * POSITIONS}")
    ids = np.array([[row[word] for word in words]])
    config = GPTConfig(vocab_size=len(row), block_size=len(words) - 1, n_layer=layers,
                       n_head=heads, n_embd=width)
    return Example(list(row), ids[:, :-1], ids[:, 1:], GPT(config, seed, dtype=np.float64))


def add_arguments(parser):
    """Options of a program that walks through an example."""
    parser.add_argument("--text", default=TEXT,
                        help="the input, and after each token the one to predict (default: %(default)s)")
    parser.add_argument("--also", default=EXTRA_TOKENS, help="tokens that the text need not hold (default: %(default)s)")
    parser.add_argument("--width", type=int, help="D (default: the least at which all axes differ)")
    parser.add_argument("--heads", type=int, default=2, help="H (default: %(default)s)")
    parser.add_argument("--layers", type=int, default=1, help="L (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="of the weights (default: %(default)s)")


def example_of(args):
    """The example that these options ask for."""
    return example(args.text, args.also, args.width, args.heads, args.layers, args.seed)


def telling_width(T, V, H):
    """The least D at which T, V, D, H, K, 3D and 4D are all different; 4 if there is none."""
    for D in range(2, WIDTH + 1):
        if H > 0 and D % H == 0 and len({T, V, D, H, D // H, 3 * D, 4 * D}) == 7:
            return D
    return 4


# ---- what a step shows ---------------------------------------------------------------------------

@dataclass
class Value:
    """What a name stands for: an array as it was then, or a text."""
    name: str
    array: np.ndarray | None = None
    text: str = ""
    axes: tuple = ()        # a letter for each axis of the array, see AXES; () if they are not known

    @property
    def rows(self):
        """What its rows are: a name in KINDS, or ""."""
        return KINDS.get(self.axes[-2], "") if len(self.axes) > 1 else ""

    @property
    def columns(self):
        return KINDS.get(self.axes[-1], "") if self.axes else ""


@dataclass
class Accumulation:
    """What one line accumulated into dE; every array (V, D), but for left and right.

    Both uses of E accumulate a product, leftᵀ right: dlogitsᵀ h or one_hotᵀ dx.
    """
    use: str                # whose contribution it is: "logits" or "lookup"
    before: np.ndarray
    contribution: np.ndarray
    after: np.ndarray
    left: np.ndarray        # (T, V)
    right: np.ndarray       # (T, D)

    @property
    def parts(self):
        """(T, V, D) what each position of the text has put into it."""
        return self.left[:, :, None] * self.right[:, None, :]


@dataclass
class Step:
    """One line has been executed; or, of kind "call", a function has been given its arguments.

    Of kind "return", `binds` holds what is returned.
    """
    kind: str               # "call", "line" or "return"
    phase: str              # "forward" or "backward"
    stack: tuple            # of (file, function, line), from model.py inwards
    last_line: int          # where the statement ends that begins at the line
    reads: list             # of Value: arrays and numbers in the line, as they were before it
    binds: list             # of Value: names bound or changed
    dE: np.ndarray          # (V, D) as it is now
    accumulation: Accumulation | None     # if this line changed dE

    @property
    def file(self):
        return self.stack[-1][0]

    @property
    def function(self):
        return self.stack[-1][1]

    @property
    def line(self):
        return self.stack[-1][2]

    @property
    def enters(self):
        """"forward" or "backward" if this is the call of a layer's; "" otherwise."""
        name = self.function.split("_")[0]
        is_layer = self.kind == "call" and self.file.startswith("layers/")
        return name if is_layer and name in ("forward", "backward") else ""

    @property
    def prepares(self):
        """Whether this line only gets a constant that is kept between calls: ones, the weights of a mean."""
        return self.kind == "line" and statement(self.file, self.line).prepares


# ---- what axes are -------------------------------------------------------------------------------

KINDS = {"N": "positions", "T": "positions", "S": "positions", "V": "tokens", "M": "rows looked up", "H": "heads"}

# The axes of the arrays that a name stands for, as in the package's docstrings; one for each number of
# axes it may have. N rows are T positions here, as B = 1; I and J are the widths of a linear layer.
AXES = {name: axes.split(" | ") for names, axes in (
    ("ids targets", "B T | N"),
    ("E dE head dhead", "V D"),
    ("P dP", "T D"),
    ("x dx", "N D | B T D"),
    ("h dh x1 x2 dx1 dx2 normed1 normed2 dnormed1 dnormed2 branch1 branch2", "N D"),
    ("mixed dmixed projected dprojected y_rows dy_rows centred xhat dy_xhat", "N D"),
    ("gain bias dx_n", "D"),
    ("dx_b", "T D"),
    ("variance inv_std mean_dxhat mean_dxhat_xhat row_scale", "N 1"),
    ("to_mean gain_over_D", "D 1"),
    ("ones_N log_sum scored order", "N"),
    ("qkv dqkv", "N 3D"),
    ("q k v dq dk dv scaled_q", "B H T K"),
    ("weights kept_weights scores dscores dweights", "B H T S"),
    ("y_dy", "B H T"),
    ("y dy", "N D | B H T K"),
    ("hidden dhidden active dactive gate work", "N 4D"),
    ("logits dlogits", "N V | B T V"),
    ("exp_logits", "N V"),
    ("z exp_z probs dprobs", "N V | B H T S"),
    ("total row_dot", "N 1 | B H T 1"),
) for name in names.split()}
AXES |= {(file, name): axes.split(" | ") for file, names, axes in (
    ("layers/linear.py", "x", "N I"), ("layers/linear.py", "y dy", "N J"),
    ("layers/linear.py", "W dW", "I J"), ("layers/linear.py", "b db", "J"),
    ("layers/gelu.py", "x dx y dy", "N 4D"),
    ("layers/dropout.py", "x dy", "N D | B T D | B H T S"),
    ("layers/softmax.py", "x", "N V | B H T S"),
    ("layers/causal.py", "rows", "N C"),
) for name in names.split()}

# What is returned without having a name: the name it is known by, with its axes.
RETURNS = {
    ("layers/logits.py", "forward"): ("logits", "N V"),
    ("layers/logits.py", "backward"): ("dh", "N D"),
    ("layers/linear.py", "backward"): ("dx", "N I"),
    ("layers/attention.py", "backward"): ("dx", "N D"),
    ("layers/mlp.py", "backward"): ("dx", "N D"),
    ("layers/gelu.py", "backward"): ("dx", "N 4D"),
    ("layers/layernorm.py", "backward"): ("dx", "N D"),
    ("layers/softmax.py", "softmax"): ("probs", "N V | B H T S"),
    ("layers/softmax.py", "backward"): ("dz", "N V | B H T S"),
    ("layers/softmax.py", "row_sums"): ("total", "N 1 | B H T 1"),
    ("model.py", "forward"): ("logits", "B T V"),
}


# ---- the walk ------------------------------------------------------------------------------------

@dataclass
class CallFrame:
    """A function that has been called and has not returned."""
    file: str
    frame: object
    line: int
    known: dict = field(default_factory=dict)       # name -> Value, as last seen


class Walk:
    """Runs an example forwards and backwards and calls on_step(step, frame) after every line.

    grads    Parameters: what backward adds to; 0 at first
    visitor  None, or a bdb.Bdb that is to see the same events (see step_through.py)
    """

    def __init__(self, example, on_step):
        self.example, self.on_step = example, on_step
        self.grads = Parameters(example.model.config, np.float64)
        self.copies = {}            # (shape, dtype, bytes) -> the one copy that is kept
        self.stack = []             # of CallFrame
        self.phase = "forward"
        self.visitor = None
        self.dE = self.copy(self.grads.E)

    def run(self):
        """-> the loss."""
        model, example = self.example.model, self.example
        before = sys.gettrace()
        with blas_threads(1):
            sys.settrace(self.trace)
            try:
                _, loss, cache = model.forward(example.ids, example.targets)
                self.phase = "backward"
                model.backward(cache, self.grads)
            finally:
                sys.settrace(before)
        return float(loss)

    def trace(self, frame, event, arg):
        """What Python calls. "line" comes before a line runs: the one before it is done."""
        file, name = FILES.get(frame.f_code.co_filename), frame.f_code.co_name
        if file is None or name.startswith(("<", "check_")):
            return None
        visitor = self.visitor
        if event == "call":
            if self.stack:
                self.stack[-1].line = self.stack[-1].frame.f_lineno
            self.stack.append(CallFrame(file, frame, frame.f_lineno))
            self.step("call")
        elif event == "line":
            top = self.stack[-1]
            here, there = statement(file, frame.f_lineno), statement(file, top.line)
            if here is there and here.simple:
                return self.trace           # another line of the same statement
            if top.line != frame.f_code.co_firstlineno:     # the call itself has been reported
                self.step("line")
            top.line = here.first
        elif event == "return":
            self.step("line" if arg is None else "return", arg)
            self.stack.pop()
            visitor = self.visitor          # one who came at this very return sees it, too
        if visitor is not None:
            visitor.trace_dispatch(frame, event, arg)
        return self.trace

    def step(self, kind, result=None):
        top = self.stack[-1]
        known, now = top.known, self.values(top)
        there = statement(top.file, top.line)
        changed = [name for name, value in now.items() if not same(value, known.get(name))]
        reads = [known[name] for name in there.names
                 if name in known and (known[name].array is not None or number(known[name].text))]
        if kind == "call":
            binds, reads = [now[name] for name in changed if "." not in name], []
        else:
            binds = [value for name, value in now.items() if name in there.assigned
                     or name in changed and ("." not in name or name in known)]
        if kind == "return":
            binds += self.returned(top, result)
        top.known = now
        before, self.dE = self.dE, self.copy(self.grads.E)
        accumulation = None if self.dE is before else self.accumulation(before)
        stack = tuple((o.file, o.frame.f_code.co_name, o.line) for o in self.stack)
        self.on_step(Step(kind, self.phase, stack, there.last, reads, binds, self.dE, accumulation),
                     top.frame)

    def accumulation(self, before):
        """Whose the change of dE is, and what every position put into it."""
        V, n = len(self.example.tokens), self.example.ids.size
        use, layer = next((o.file[7:-3], o.frame.f_locals) for o in reversed(self.stack)
                          if o.file in ("layers/logits.py", "layers/lookup.py")
                          and o.frame.f_code.co_name == "backward")
        if use == "logits":
            left, right = layer["dlogits"], layer["cache"].h
        else:
            left, right = np.eye(V)[layer["cache"].ids.ravel()], layer["dx"].reshape(n, -1)
        return Accumulation(use, before, self.dE - before, self.dE, left.copy(), right.copy())

    # -- values

    def values(self, top):
        """name -> Value of all local names, and of the arrays in them as name.field."""
        found = {}
        for name, value in dict(top.frame.f_locals).items():
            if name == "self" or name.startswith("."):
                continue
            found[name] = self.value(name, value, top)
            for part, array in arrays_in(value):
                found[f"{name}.{part}"] = self.value(f"{name}.{part}", array, top)
        return found

    def value(self, name, value, top):
        if not isinstance(value, np.ndarray) or value.ndim == 0:
            return Value(name, text=describe(value))
        last = name.split(".")[-1]
        return Value(name, self.copy(value), axes=self.axes(value, AXES.get((top.file, last), AXES.get(last, ()))))

    def returned(self, top, result):
        """What is returned; arrays that have a name here are shown under that name."""
        results = result if type(result) is tuple else (result,)
        if result is None:
            return []
        named = [id(value) for value in dict(top.frame.f_locals).values()]
        name, axes = RETURNS.get((top.file, top.frame.f_code.co_name), ("returned", ""))
        found = []
        for value in results:
            if not isinstance(value, np.ndarray) or value.ndim == 0:
                found.append(Value("returned", text=describe(value)))
            elif id(value) not in named:
                found.append(Value(name, self.copy(value), axes=self.axes(value, axes.split(" | "))))
        return [] if all(id(value) in named for value in results) else found

    def axes(self, array, choices):
        """The axes among `choices` that the array has; () if it has none of them: a label is right or missing."""
        T, c = self.example.ids.size, self.example.model.config
        sizes = {"1": 1, "B": 1, "N": T, "T": T, "S": T, "V": c.vocab_size, "H": c.n_head, "K": c.head_size,
                 "D": c.n_embd, "3D": 3 * c.n_embd, "4D": 4 * c.n_embd}
        for axes in map(str.split, choices):
            if len(axes) == array.ndim and all(sizes.get(axis, n) == n for axis, n in zip(axes, array.shape)):
                return tuple(axes)
        return ()

    def copy(self, array):
        """The array as it is now; equal arrays have one copy."""
        key = array.shape, array.dtype.str, array.tobytes()
        if key not in self.copies:
            self.copies[key] = array.copy()
        return self.copies[key]


def arrays_in(value):
    """(field, array) of the arrays in a dataclass; of nothing else."""
    items = vars(value).items() if dataclasses.is_dataclass(value) else ()
    return [(name, array) for name, array in items if isinstance(array, np.ndarray)]


def describe(value):
    """A few words about what is not an array."""
    if isinstance(value, (float, np.floating)) or isinstance(value, np.ndarray):
        return f"{float(value):.6g}"
    if value is None or isinstance(value, (int, np.integer, str)) or type(value) is tuple and all(
            isinstance(part, int) for part in value):
        return str(value)
    if isinstance(value, list):
        return f"list of {len(value)}"
    if isinstance(value, slice):
        return f"{value.start}:{value.stop}"
    if dataclasses.is_dataclass(value) and not isinstance(value, GPTConfig):
        module = type(value).__module__.split(".")[-1]
        return f"{module}.{type(value).__qualname__} of {', '.join(vars(value))}"
    return getattr(value, "__name__", type(value).__name__)


def number(text):
    return text.lstrip("-")[:1].isdigit()


def same(a, b):
    """Whether two Values look alike. Equal arrays are one copy: see Walk.copy."""
    return b is not None and a.array is b.array and a.text == b.text


# ---- the source ----------------------------------------------------------------------------------

@dataclass
class Statement:
    first: int              # its lines; of a compound statement, its head's
    last: int
    simple: bool
    names: list             # it reads, as they stand there: "dx", "cache.x"
    assigned: set           # names it binds or changes; a loop's only as they change
    prepares: bool          # whether all it does is to call a function of layers/constants.py


@functools.cache
def source(file):
    """The lines of one of FILES, by its short name."""
    with open(os.path.join(ROOT, *file.split("/")), encoding="utf-8") as stream:
        return stream.read().split("\n")


@functools.cache
def statements(file):
    """Line number -> Statement."""
    table = {}
    for node in ast.walk(ast.parse("\n".join(source(file)))):       # outer ones first
        if isinstance(node, ast.stmt):
            found = read_statement(node)
            if found.first in table and table[found.first].simple:      # it is the body of a loop that is one step
                continue
            table |= dict.fromkeys(range(found.first, found.last + 1), found)
    return table


def statement(file, line):
    return statements(file)[line]


def read_statement(node):
    body = getattr(node, "body", None)
    if isinstance(node, ast.For) and "dx" in ast.unparse(node.iter):        # the rows of dE, or of dP: one step
        body = None
    last = node.end_lineno if body is None else max(node.lineno, body[0].lineno - 1)
    is_definition = isinstance(node, (ast.FunctionDef, ast.ClassDef))
    heads = [] if is_definition else [
        part for name, value in ast.iter_fields(node) if body is None or name not in ("body", "orelse", "finalbody")
        for part in (value if isinstance(value, list) else [value]) if isinstance(part, ast.AST)]
    inner = [n for head in heads for n in ast.walk(head)]
    nodes = [n for n in inner if isinstance(n, (ast.Name, ast.Attribute))]
    assigned = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
                and not isinstance(node, ast.For)}
    reads = [n for n in nodes if not isinstance(n.ctx, ast.Store)]
    if isinstance(node, ast.AugAssign) and isinstance(node.target, (ast.Name, ast.Attribute)):
        assigned.add(ast.unparse(node.target))
        reads.insert(0, node.target)
    reads.sort(key=lambda n: (n.lineno, n.col_offset))
    names = list(dict.fromkeys(map(ast.unparse, reads)))
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
    prepares = (isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
                and ast.unparse(node.value.func) in vars(constants))
    return Statement(first, last, body is None, names, assigned, prepares)
