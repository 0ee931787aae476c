"""The guided tour of a replay: about ten stops, each an equation, a few sentences, and the arrays it names.

A stop stands at the step of the walk (lib/walk.py) whose line computes its equation. The step is found by what it
does (which file and function, what is bound, what changes dE), not by a line's number or text.
"""
import ast
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lib.terminal import label
from minigpt_np import gradcheck
from minigpt_np.layers.softmax import softmax


@dataclass
class Shown:
    """One array of a stop, or of a line that changes dE.

    rows, columns   what they are: "tokens", "positions", "numbers", or texts, or ""
    sign            what stands before it: "·", "+", "=", ...; after "; " on a line of its own
    of              ("·", i, j) or ("+", i, j): it is the product or the sum of the stop's i-th and j-th arrays
    use             whose numbers they are: "logits", "lookup", "sum" or ""
    marked          (row, column) of cells to point out
    scale           the magnitude drawn strongest; terms and their sum have one
    """
    name: str
    values: np.ndarray
    rows: object = ""
    columns: object = ""
    sign: str = ""
    of: tuple = ()
    use: str = ""
    note: str = ""
    marked: list = field(default_factory=list)
    scale: float = 0

    def __post_init__(self):
        self.scale = float(np.abs(self.values).max(initial=0))


@dataclass
class Stop:
    """name is also what the picture (lib/whole.py) knows it by."""
    name: str
    title: str
    equation: str
    text: list              # of sentences
    step: int               # its place among the walk's steps
    shows: list             # of Shown
    one_page: str = ""      # the line of demos/one_page.py that computes the same

    def __post_init__(self):
        share_scales(self.shows)


def share_scales(shows):
    """Terms and their sum, and what is compared with it, on one scale."""
    for n, shown in enumerate(shows):
        group = [*(shows[i] for i in shown.of[1:]), shown] if shown.of[:1] == ("+",) else (
            [shows[n - 1], shown] if shown.sign.endswith("≈") else [])
        for part in group:
            part.scale = max(other.scale for other in group)


def tour(example, steps, loss):
    """The stops, for all steps of the walk through an example."""
    found = Finder(steps)
    token = [label(text) for text in example.tokens]
    ids = example.ids[0]
    stops = [whole(example, token), lookup(found, example, token), stream(found), logits(found, example),
             the_loss(found, example, loss), dlogits(found, example), head_gradient(found), way_back(found),
             lookup_gradient(found)]
    if max(Counter(ids.tolist()).values()) > 1:
        stops.append(twice(found, ids, token))
    stops.append(the_sum(found, example))
    for stop in stops:
        stop.one_page = one_page_line(*ONE_PAGE[stop.name]) if stop.name in ONE_PAGE else ""
    return stops


# What a line of demos/one_page.py binds, and a name on it, by stop.
ONE_PAGE = {"lookup": ("x", "one_hot"), "stream": ("x", "Wout"), "logits": ("logits", "h"), "loss": ("loss", "probs"),
            "dlogits": ("dlogits", "probs"), "head-gradient": ("dE", "dlogits"), "way-back": ("dx", "std1"),
            "lookup-gradient": ("dE", "one_hot")}


def one_page_line(target, name):
    """The line of demos/one_page.py that binds or changes `target`, with `name` on it; without its comment."""
    text = Path(__file__).parents[1].joinpath("one_page.py").read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if isinstance(node, (ast.Assign, ast.AugAssign)) and ast.unparse(targets[0]) == target and name in {
                part.id for part in ast.walk(node.value) if isinstance(part, ast.Name)}:
            return ast.get_source_segment(text, node)
    raise LookupError(f"no line in one_page.py that binds {target} with {name}")


class Finder:
    """Steps of a walk by what they do."""

    def __init__(self, steps):
        self.steps = steps
        self.accumulations = {step.accumulation.use: n for n, step in enumerate(steps) if step.accumulation}

    def all(self, file, function, test=lambda step: True):
        return [n for n, step in enumerate(self.steps)
                if step.file == file and step.function.startswith(function) and test(step)]

    def value(self, n, name):
        """The array a step binds or reads under a name."""
        step = self.steps[n]
        return next(value.array for value in step.binds + step.reads if value.name == name)


def binds(name):
    return lambda step: step.kind != "call" and any(value.name == name for value in step.binds)


def names(name):
    return lambda step: any(value.name == name for value in step.reads + step.binds)


def flat(array):
    """(B, T, D) -> (N, D)."""
    return array.reshape(-1, array.shape[-1])


def one_hot(ids, V):
    return np.eye(V)[ids]


# ---- the stops -----------------------------------------------------------------------------------

def whole(example, token):
    sentence = " ".join(token[v] for v in example.ids[0])
    target = " ".join(token[v] for v in example.targets[0])
    return Stop(
        "whole", "One matrix, two uses", "How can one matrix E both read tokens and predict them?",
        [f"This small GPT reads “{sentence}” and at every position is to predict the token that comes next: "
         f"“{target}”.",
         "Its matrix E has one row for each token. It is used twice: at one end to look up the row of each token read, "
         "at the other, as the head, to score every token as the next one.",
         "In one sentence: both uses send E a gradient, the two are added up in one array dE, and the blocks in between "
         "learn to turn what was looked up into what is to be predicted.",
         "The tour follows both uses forwards and both gradients back, in the lines of the program itself, on its own "
         "numbers."], 0, [])


def lookup(found, example, token):
    n = found.all("layers/lookup.py", "forward", binds("x"))[0]
    ids, E = example.ids[0], example.model.params.E
    first = token[ids[0]]
    return Stop(
        "lookup", "E is looked up", "x = one_hot E,  which is  x = E[ids]",
        [f"Every token that is read picks its row of E: position 0 reads “{first}”, so x[0] is the row of “{first}”.",
         "Written as a product: one_hot has in each row a single 1, in the column of its token. Nobody multiplies by "
         "that many zeros, but a product is what one can differentiate.",
         "The line after this one adds P, a vector for each position."], n,
        [Shown("one_hot", one_hot(ids, len(E)), "positions", "tokens"),
         Shown("E", E, "tokens", sign="·"),
         Shown("x", flat(found.value(n, "x")), "positions", sign="=", of=("·", 0, 1))])


def stream(found):
    """The first line of a block in which what is bound is the sum of two others: x + f(x)."""
    for n in found.all("layers/block.py", "forward"):
        step = found.steps[n]
        arrays = [value for value in step.reads if value.array is not None]
        for bound in step.binds:
            if bound.array is not None and len(arrays) == 2 and np.array_equal(
                    arrays[0].array + arrays[1].array, bound.array):
                x, branch = arrays
                return Stop(
                    "stream", "The residual stream", f"{bound.name} = {x.name} + {branch.name}",
                    ["Between the two uses of E stand the blocks. A block never replaces a position's vector; it adds "
                     "to it.",
                     "First attention adds what it took from the positions so far, then the MLP adds what it makes of "
                     "that position alone. What was looked up is turned, sum by sum, into what is to be predicted.",
                     f"This is the first such sum: {branch.name} is what attention adds."], n,
                    [Shown(x.name, flat(x.array), "positions"),
                     Shown(branch.name, flat(branch.array), "positions", sign="+"),
                     Shown(bound.name, flat(bound.array), "positions", sign="=", of=("+", 0, 1))])
    raise LookupError("no line in layers/block.py that adds to the residual stream")


def logits(found, example):
    n = found.all("layers/logits.py", "forward", lambda step: step.kind == "return")[0]
    E, h = example.model.params.E, found.value(n, "h")
    return Stop(
        "logits", "E is the head", "logits = h Eᵀ",
        ["The same E once more, now read as columns: the score of a token is the dot product of h, the stream at its "
         "end, with that token's row of E.",
         "So a row of E is two things at once: what its token means when it is read, and the direction in which h must "
         "point for its token to be predicted.",
         "In the program this matrix is called head; params.head is params.E, one array under two names."], n,
        [Shown("h", h, "positions"), Shown("Eᵀ", E.T, "numbers", "tokens", sign="·"),
         Shown("logits", h @ E.T, "positions", "tokens", sign="=", of=("·", 0, 1))])


def the_loss(found, example, loss):
    n = found.all("layers/cross_entropy.py", "forward", binds("loss"))[-1]
    targets = example.targets[0]
    probs = softmax(found.value(found.all("layers/cross_entropy.py", "forward", names("logits"))[0], "logits"))
    T, V = probs.shape
    p = probs[np.arange(T), targets][:, None]
    return Stop(
        "loss", "The loss", "loss = mean(−log p[target])",
        ["p = softmax(logits) makes probabilities of the scores of each position: all positive, each row summing to 1. "
         "The outlined cells are those of the tokens that really came next.",
         f"The loss is how surprising these were: {loss:.4f} here. Blind guessing among {V} tokens would cost log {V} "
         f"= {np.log(V):.4f}: this model has learnt nothing yet."], n,
        [Shown("p", probs, "positions", "tokens", marked=[(t, int(v)) for t, v in enumerate(targets)]),
         Shown("−log p[target]", -np.log(p), "positions", sign="→", note="their mean is the loss")])


def dlogits(found, example):
    n = found.all("layers/cross_entropy.py", "backward", binds("dlogits"))[-1]
    targets, d = example.targets[0], found.value(n, "dlogits")
    T, V = d.shape
    p = d * T + one_hot(targets, V)
    marked = [(t, int(v)) for t, v in enumerate(targets)]
    return Stop(
        "dlogits", "Where the way back begins", "dlogits = (p − one_hot) / T",
        ["dlogits says how the loss changes if a score grows a little; every name that begins with d is the gradient "
         "of the loss with respect to the rest of the name.",
         "At each position: probability given minus probability wanted. Only the target's score should grow (negative, "
         "hatched); all others should fall, the likelier the more. Each row sums to 0.",
         f"The division by T = {T} is there because the loss is a mean over {T} positions."], n,
        [Shown("p", p, "positions", "tokens", sign="(", marked=marked),
         Shown("one_hot", one_hot(targets, V), "positions", "tokens", sign="−", note="of the targets", marked=marked),
         Shown("dlogits", d, "positions", "tokens", sign=f") / {T} =", marked=marked)])


def product(accumulation, name=""):
    """The arrays of a line that accumulates into dE: leftᵀ right, and what it is, under a name."""
    left, right = {"logits": ("dlogitsᵀ", "h"), "lookup": ("one_hotᵀ", "dx")}[accumulation.use]
    return [Shown(left, accumulation.left.T, "tokens", "positions"), Shown(right, accumulation.right, "positions", sign="·"),
            Shown(name or f"from the {accumulation.use}", accumulation.contribution, "tokens", sign="=", of=("·", 0, 1),
                  use=accumulation.use)]


def head_gradient(found):
    n = found.accumulations["logits"]
    return Stop(
        "head-gradient", "① E's gradient from its use as the head", "dE += dlogitsᵀ h",
        ["logits = h Eᵀ is a product, so the gradient of E is one too. Position t puts dlogits[t, v] times h[t] into "
         "row v.",
         "Every row gets something from every position, because softmax gives every token some probability: the "
         "target's row is pulled towards h, all others are pushed away. This is dense, even in a vocabulary of 50,257.",
         "dE was all 0 until now: after this line it is this product."], n, product(found.steps[n].accumulation, "dE"))


def way_back(found):
    """The last line of the lowest block in which a gradient is passed by and added to."""
    for n in reversed(found.all("layers/block.py", "backward", lambda step: step.kind == "line")):
        step = found.steps[n]
        bound = [value for value in step.binds if value.array is not None]
        arrays = [value for value in step.reads if value.array is not None and value.name.startswith("dx")]
        if bound and arrays and bound[0].name.startswith("dx"):
            past, total = arrays[0], bound[0]
            name = past.name if past.name != total.name else f"{past.name} before"
            return Stop(
                "way-back", "The way back", f"{total.name} = {past.name} + what came through the branch",
                ["Through the head the gradient reaches h: dh = dlogits E. E is used here a third time, but only "
                 "multiplied by; nothing is accumulated.",
                 "Then the blocks, last one first. y = x + f(x) has two paths back to x: past f, unchanged, and "
                 "through f. The two gradients are added: whatever is used twice gets two gradients, the residual "
                 "stream as well as E.",
                 f"This is the last such sum: {total.name} is the gradient of what was looked up. What comes through a "
                 "branch is small in an untrained model."], n,
                [Shown(name, flat(past.array), "positions", note="past the branch"),
                 Shown("through the branch", flat(total.array - past.array), "positions", sign="+"),
                 Shown(total.name, flat(total.array), "positions", sign="=", of=("+", 0, 1))])
    raise LookupError("no line in layers/block.py that adds gradients")


def lookup_gradient(found):
    n = found.accumulations["lookup"]
    accumulation = found.steps[n].accumulation
    return Stop(
        "lookup-gradient", "② E's gradient from its use as the lookup", "dE += one_hotᵀ dx",
        ["x = one_hot E is a product too. one_hotᵀ sends the gradient of each position back to the row that was looked "
         "up there, and to no other.",
         "This is sparse: a row that was not looked up gets exactly 0, shown as a dot.",
         "And it is the same array: dE still holds what the head put there. Nothing is overwritten, the two are "
         "added."], n,
        [*product(accumulation), Shown("dE before", accumulation.before, "tokens", sign="; ", use="logits"),
         Shown("from the lookup", accumulation.contribution, "tokens", sign="+", use="lookup"),
         Shown("dE", accumulation.after, "tokens", sign="=", of=("+", 3, 4), use="sum")])


def twice(found, ids, token):
    """The token looked up most often: its gradients are summed."""
    row, count = Counter(ids.tolist()).most_common(1)[0]
    accumulation = found.steps[found.accumulations["lookup"]].accumulation
    where = np.flatnonzero(ids == row)
    repeated = [n for n in found.all("layers/lookup.py", "", lambda step: step.phase == "backward" and any(
        value.axes == ("M", "D") for value in step.binds)) if n < found.accumulations["lookup"]]
    dx, D = accumulation.right, accumulation.right.shape[1]
    times, number = ("twice", "two") if count == 2 else (f"{count} times", str(count))
    total = " + ".join(f"dx[{t}]" for t in where)
    return Stop(
        "twice", f"A row that is looked up {times}", f"dE[{token[row]}] += {total}",
        [f"“{token[row]}” is looked up at positions {' and '.join(map(str, where))}. One row served {times}, so it gets "
         f"{number} gradients, and they are summed.",
         "A classic mistake: dE[ids] += dx. NumPy takes dE[ids], adds, and puts it back, so that of a repeated id only "
         f"the last addition survives. Here that would lose {' and '.join(f'dx[{t}]' for t in where[:-1])}.",
         "That is why this line sums the rows of equal ids first."],
        repeated[-1] if repeated else found.accumulations["lookup"],
        [Shown("dx", dx, "positions", marked=[(int(t), d) for t in where for d in range(D)]),
         Shown(total, accumulation.contribution[row:row + 1], [token[row]], sign="→", use="lookup",
               note="the outlined rows, summed"),
         Shown("dE[ids] += dx", dx[where[-1]:where[-1] + 1], [token[row]], sign="≠", use="lookup",
               note="would add the last row alone")])


def the_sum(found, example):
    first, second = (found.steps[found.accumulations[use]].accumulation for use in ("logits", "lookup"))
    E, model = example.model.params.E, example.model
    numerical, error = gradcheck.differences(lambda: model.forward(example.ids, example.targets)[1], E)
    worst = np.abs(second.after - numerical).max()
    return Stop(
        "sum", "The sum, checked", "dE = dlogitsᵀ h + one_hotᵀ dx",
        ["An optimizer sees one array E and one gradient dE, and takes one step that serves both uses.",
         "Is it right? Ask the loss: move one number of E by a little, up and down, run the whole model both times, "
         "and divide the difference of the losses by the distance. That knows nothing of backpropagation, and moves "
         "both uses of E at once.",
         f"All {E.size} numbers of dE agree with these differences to {worst:.1e}; the differences themselves are good "
         f"to {error.max():.1e}."], len(found.steps) - 1,
        [Shown("from the logits", first.contribution, "tokens", use="logits"),
         Shown("from the lookup", second.contribution, "tokens", sign="+", use="lookup"),
         Shown("dE", second.after, "tokens", sign="=", of=("+", 0, 1), use="sum"),
         Shown("by differences", numerical, "tokens", sign="; dE ≈", note="of the loss")])
