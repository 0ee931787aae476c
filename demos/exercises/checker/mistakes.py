"""Known mistakes, a row each: a formula for a wrong gradient. (So: spoilers below.)"""
from itertools import permutations
from math import sqrt
from types import SimpleNamespace

import numpy as np

from .answers import judge
from .cases import EDGES, near, small_cases
from .files import templates

DISTINCT = 3            # on so many inputs, at least, a mistake differs from what is right
# of the largest number: an error so small is one of rounding, of a step, of a constant
NEARLY = 1e-3

LOST = ("dE[ids] += ... loses repeated ids: of the gradients of an id that is there twice only the "
        "last survives. np.add.at adds all.")
NEARLY_RIGHT = ("It is right to a few digits, and not to all: rounded (float32, np.round), another "
                "constant, or a difference in place of the derivative?")
PATHS = "x + f(x) gives dy + what f sends back."


# ---- what the formulas are made of ---------------------------------------------------------------

def assign_rows(total, ids, rows):
    """total with total[ids] = rows."""
    total = total.copy()
    total[ids] = rows
    return total


def sum_by_id(dx, a):
    """The sum of dx over the positions of each id, (V, D)."""
    V, D = a.E.shape
    return np.eye(V)[a.ids.ravel()].T @ dx.reshape(-1, D)


def lookup_gradient(a):
    """What each lookup of `tied` gets, (N, D)."""
    return a.dlogits @ a.E * (1 - np.tanh(a.E[a.ids]) ** 2)


def head_gradient(a):
    """What the head of `tied` gets, (V, D)."""
    return a.dlogits.T @ np.tanh(a.E[a.ids])


def softmax(z):
    return templates()["softmax"].forward(z)


def gelu_slope(x, du):
    """GELU's derivative with du in the place of u' = C (1 + 3A x²)."""
    C, A = templates()["gelu"].C, templates()["gelu"].A
    t = np.tanh(C * (x + A * x ** 3))
    return (1 + t) / 2 + x * (1 - t * t) / 2 * du(C, A, x)


def norm_dx(a, gain=True, mean=1, along=1, power=1):
    """LayerNorm's dx; `mean` and `along` are factors of its two terms, power the deviation's."""
    dxhat, centred = a.dy * a.gain if gain else a.dy, a.x - a.x.mean(axis=1, keepdims=True)
    std = np.sqrt((centred * centred).mean(axis=1, keepdims=True) + 1e-5)
    xhat = centred / std
    terms = [part.mean(axis=1, keepdims=True) for part in (dxhat, dxhat * xhat)]
    return (dxhat - mean * terms[0] - along * xhat * terms[1]) / std ** power


def weights(a):
    return templates()["causal"].attend(a.q, a.k)


def dscores_without_sum(a):
    return weights(a) * (a.dy @ a.v.swapaxes(2, 3)) / sqrt(a.K)


NO_SUM = "Softmax's sum is forgotten: dz = w (dw - sum of w dw)."
SQRT_K = "The 1/sqrt(K) of the scores is missing in their gradient."
DIVIDED_BY_H = "From x - h to x + h it is 2h, and this is divided by h."

# exercise -> (name of the gradient, formula for the wrong one, what is said). A formula's argument
# has all inputs, right gradients and sizes as attributes, and `right`, the one of this name.
MISTAKES = {
    "slope.derivative": [
        ("derivative", lambda a: a.x ** 3 - 2 * a.x, "This is f itself; f' is how fast it grows.")],
    "slope.difference": [
        ("difference", lambda a: (a.f(a.x + a.h) - a.f(a.x)) / a.h,
         "This is one-sided. The other side counts, too: the error is then in h², not in h."),
        ("difference", lambda a: 2 * a.right, DIVIDED_BY_H)],
    "slope.gradient": [
        ("gradient", lambda a: 2 * a.right, DIVIDED_BY_H),
        ("gradient", lambda a: np.full(a.D, a.right.sum()),
         "This is the slope with all numbers of x moved at once; move one, the others stay.")],
    "slope.agrees": [
        ("agrees", lambda a: np.all(np.abs(a.dx - a.f.gradient(a.x)) <= 1e-6),
         "The 1e-6 has to be that part of the gradient's largest number, where that is above 1."),
        ("agrees", lambda a: np.asarray(True), "This is True for any dx.")],
    "linear": [
        ("db", lambda a: a.dy.sum(axis=1),
         "db is a sum over the wrong axis: each row n counts, so sum over rows."),
        ("db", lambda a: a.dy,
         "db is dy, not summed: b[j] is added in every row n, and each counts.")],
    "lookup": [
        ("dE", lambda a: assign_rows(0 * a.E, a.ids, a.dx), LOST),
        ("dE", lambda a: a.right + a.E,
         "dE is not all zeros to begin with: what is added to is E itself, or a copy of it."),
        ("dP", lambda a: a.right[:a.T],
         "dP lacks the rows of positions that were not used: they are zero, but P has them.")],
    "tied": [
        ("dE", lambda a: a.dE,
         "dE is as it was before. `dE = dE + ...` makes a new array; `dE += ...` adds to it."),
        ("dE", lambda a: a.right - a.dE, "What was in dE is lost: `=` where `+=` accumulates."),
        ("dE", lambda a: a.dE + head_gradient(a),
         "Only the head's use of E is in it; the lookup's, dE[id] += dx, is missing."),
        ("dE", lambda a: a.right - head_gradient(a),
         "Only the lookup's use of E is in it; the head's, dlogitsᵀ h, is missing."),
        ("dE", lambda a: a.right - head_gradient(a) - a.dE,
         "The second use overwrote the first: `=` where `+=` accumulates."),
        ("dE", lambda a: assign_rows(a.dE + head_gradient(a), a.ids,
                                     (a.dE + head_gradient(a))[a.ids] + lookup_gradient(a)), LOST),
        ("dE", lambda a: a.dE + head_gradient(a) + sum_by_id(a.dlogits @ a.E, a),
         "On its way to the lookup the gradient was not multiplied with tanh' = 1 - tanh².")],
    "cross_entropy": [
        ("dlogits", lambda a: a.dloss / a.N * softmax(a.logits),
         "This is the softmax alone: -logits[target], the loss's other term, has a gradient too."),
        ("dlogits", lambda a: a.right / a.dloss,
         "dloss is not in it. The chain rule begins with the gradient that is given.")],
    "gelu": [
        ("dx", lambda a: a.right / a.dy, "dy is not in it: this is GELU's own derivative."),
        ("dx", lambda a: a.dy, "This is dy alone: GELU's derivative is missing."),
        ("dx", lambda a: a.dy * gelu_slope(a.x, lambda C, A, x: 0),
         "x is in two places, and this is the gradient by way of the first alone, not of tanh."),
        ("dx", lambda a: a.dy * gelu_slope(a.x, lambda C, A, x: 1),
         "The chain rule stops at tanh: the derivative of u, C (1 + 3A x²), is missing."),
        ("dx", lambda a: a.dy * gelu_slope(a.x, lambda C, A, x: C * (1 + A * x * x)),
         "The derivative of A x³ is 3A x²; here it is A x².")],
    "centring": [
        ("dx", lambda a: a.dy, "This is dy alone: the mean moves with x, and every y with it."),
        ("dx", lambda a: a.dy - a.dy.mean(axis=0),
         "This has the mean over the wrong axis: each row n has its own."),
        ("dx", lambda a: a.dy - a.dy.sum(axis=1, keepdims=True),
         "This takes away the sum over the row where it needs the mean: the mean of x has a 1/D.")],
    "layernorm": [
        ("dx", lambda a: norm_dx(a, mean=0, along=0),
         "dx takes mean and variance for constants: they move with x."),
        ("dx", lambda a: norm_dx(a, along=0),
         "dx takes the variance for a constant: the term xhat · mean(dxhat · xhat) is missing."),
        ("dx", lambda a: norm_dx(a, mean=0),
         "dx takes the mean for a constant: the term mean(dxhat) is missing."),
        ("dx", lambda a: norm_dx(a, mean=a.D, along=a.D),
         "dx has sums over the row where it needs means: mean and variance have a 1/D."),
        ("dx", lambda a: norm_dx(a, power=0), "dx is not divided by the standard deviation."),
        ("dx", lambda a: norm_dx(a, gain=False),
         "dx leaves out the gain: xhat's gradient is dy · gain."),
        ("dgain", lambda a: a.dy.sum(axis=0),
         "dgain lacks xhat: y = gain · xhat + bias, so dgain is a sum of dy · xhat.")],
    "softmax": [
        ("dz", lambda a: softmax(a.z) * a.dw, NO_SUM),
        ("dz", lambda a: softmax(a.z) * (1 - softmax(a.z)) * a.dw,
         "This is the Jacobian's diagonal alone: a score moves the row's other weights, too.")],
    "causal": [
        ("dq", lambda a: dscores_without_sum(a) @ a.k, NO_SUM),
        ("dk", lambda a: dscores_without_sum(a).swapaxes(2, 3) @ a.q, NO_SUM),
        ("dq", lambda a: a.right * sqrt(a.K), SQRT_K),
        ("dk", lambda a: a.right * sqrt(a.K), SQRT_K),
        ("dv", lambda a: weights(a) @ a.dy,
         "dv is weights @ dy: the transpose is missing. v[s] is in y[t] for every t >= s.")],
    "block": [
        ("dx2", lambda a: a.dx2 - a.dy, "The way past the MLP is forgotten: " + PATHS),
        ("dx2", lambda a: a.dy, "What comes back through the MLP is forgotten: " + PATHS),
        ("dx", lambda a: a.right - a.dx2, "The way past attention is forgotten: " + PATHS),
        ("dx", lambda a: a.dx2, "What comes back through attention is forgotten: " + PATHS),
        ("dhidden", lambda a: a.dactive, "GELU is forgotten on the way back.")],
    "model": [
        ('dp["E"]', lambda a: a.right - sum_by_id(a.dx0, a),
         "Only the head's use of E is in dE: the lookup's has to be added to the same array."),
        ('dp["E"]', lambda a: sum_by_id(a.dx0, a),
         "Only the lookup's use of E is in dE: the head's has to be added to the same array."),
        ('dp["blocks"][0]["b_up"]', lambda a: vars(a)[f'dp["blocks"][{a.L - 1}]["b_up"]'],
         'dp["blocks"] is in the order of the way back: the first block has to come first.')],
}


def general(axes):
    """Rows that hold for any gradient: (formula, text)."""
    rows = [(lambda a: a.right.swapaxes(-1, -2) if a.right.ndim > 1 else a.right,
             "It is the right gradient transposed: a transpose is missing, or one too many."),
            (lambda a: -a.right, "It is the right gradient with the wrong sign."),
            (lambda a: 0 * a.right, "It is all zeros: was nothing added to it?"),
            (lambda a: 2 * a.right, "It is twice the right gradient: was it added two times?")]
    for axis in axes:
        rows += [(lambda a, axis=axis: a.right * vars(a)[axis],
                  f"It is {axis} times the right gradient: a 1/{axis} is missing."),
                 (lambda a, axis=axis: a.right / vars(a)[axis],
                  f"It is 1/{axis} of the right gradient: a mean where a sum should be?")]
    return rows


# ---- which mistake is it? ------------------------------------------------------------------------

def diagnosis(found, function):
    """Sentences about the mistakes that an answer's numbers are; empty if none is known.

    found   the Verdict on the smallest case
    """
    exercise = found.case.exercise
    if found.case.kind in EDGES:        # it is right for decimals: they were tried first
        return [EDGES[found.case.kind][1]]
    if found.steps:
        right = {step.name: step.right for step in found.steps} | found.case.expected
        given = {step.name: step.given for step in found.steps if step.given is not None}
        return known_mistakes(exercise, [(found.case, right, given | found.given)], [])
    others = small_cases(exercise, "many digits")       # where nothing cancels by accident
    tried = [found, *(judge(case, function) for case in others)]
    answers = [(each.case, each.case.expected, each.given) for each in tried if each.given]
    usual = [] if exercise.out == "agrees" else general(exercise.axes)
    return (in_another_order(answers) or known_mistakes(exercise, answers, usual)
            or only_where(exercise, tried) or nearly_right(answers, found.wrong_names))


def known_mistakes(exercise, answers, usual):
    """What is said of the mistakes that the answers are, each (case, right, given).

    usual   rows to be tried for any gradient
    """
    _, right, given = answers[0]
    texts = []
    for name in (name for name in given if not near(given[name], right[name])):
        known = [row[1:] for row in MISTAKES.get(exercise.name, []) if row[0] == name]
        known += [(formula, f"{name}: {text}") for formula, text in usual]
        texts += [text for formula, text in known if matches(formula, name, answers)][:1]
    return list(dict.fromkeys(texts))


def matches(formula, name, answers):
    """Whether the gradients called `name` are all the formula's, and not by being right."""
    distinct = 0
    for case, right, given in answers:
        try:
            with np.errstate(all="ignore"):
                wrong = np.asarray(formula(formula_inputs(case, right, name)))
        except (ValueError, IndexError):        # shapes for which the mistake is an error as well
            return False
        if not near(given[name], wrong):
            return False
        distinct += not near(right[name], wrong)
    return distinct >= min(DISTINCT, len(answers))


def formula_inputs(case, right, name):
    """What a formula may use, as attributes."""
    p = case.inputs.get("p", {})        # of a model
    return SimpleNamespace(**right | case.sizes | p | case.arguments | {"right": right[name]})


def in_another_order(answers):
    """A sentence, if what is returned is right but not in the order it should be in."""
    names = list(answers[0][2])
    for order in permutations(names):
        if list(order) != names and all(near(given[a], right[b]) for _, right, given in answers
                                        for a, b in zip(names, order)):
            return [f"Each is right, but not in its place: {', '.join(order)} are returned."]
    return []


def only_where(exercise, tried):
    """Sentences about the sizes of which it takes two to go wrong."""
    return [f"It is right wherever {axis} = 1, and wrong where {axis} > 1."
            for axis in exercise.axes if exercise.sizes[axis][0] == 1
            and all(verdict.done == (verdict.case.sizes[axis] == 1) for verdict in tried)]


def nearly_right(answers, names):
    """A sentence, if all wrong numbers are nearly right, on every input."""
    close = all(near(given[name], right[name], NEARLY)
                for _, right, given in answers for name in names)
    return [NEARLY_RIGHT] if close else []
