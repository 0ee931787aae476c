"""Known mistakes, a row each: a formula for a wrong gradient. One is only named where the learner's
function gives the same wrong numbers, input after input. (So: spoilers below.)
"""
from itertools import permutations
from math import erf, sqrt

import numpy as np

from .answers import Fault, answer, near
from .cases import random_case

# inputs on which a mistake has to match, besides the smallest; of exercise 0
PROBES = 8
PROBES_OF_VALUES = 60
DISTINCT = 3            # on so many of them, at least, it differs from what is right
# of the largest number: an error so small is one of rounding, of a step, of a constant
NEARLY = 1e-3

LOST = ("{name}[ids] += ... loses repeated ids. NumPy takes {name}[ids] once, adds, and stores it: "
        "of the gradients of an id that is there twice only the last survives. np.add.at adds all.")
WRONG_AXIS = "{name} is a sum over the wrong axis: each row n counts, so sum over rows."
ACCUMULATES = "`=` where `+=` accumulates."


# ---- what the formulas are made of ---------------------------------------------------------------

def stored(total, ids, rows):
    """total with total[ids] = rows."""
    total = total.copy()
    total[ids] = rows
    return total


def tied_parts(dlogits, ids, E, slope=lambda h: 1 - h * h):
    """What the head gets, (V, D); what each lookup gets, (N, D); and (V, D)."""
    h = np.tanh(E[ids])
    dx = dlogits @ E * slope(h)
    return dlogits.T @ h, dx, np.eye(len(E))[ids].T @ dx


def softmax(z, axis=-1):
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def off_target(logits, targets, p=None, sign=1):
    """p - sign · one_hot(targets)."""
    return (softmax(logits) if p is None else p) - sign * np.eye(logits.shape[1])[targets]


def gelu_slope(x, first=1, through=1, du=lambda C, A, x: C * (1 + 3 * A * x * x)):
    """GELU's derivative; `first` and `through` are factors of its two terms, du what u' is."""
    C, A = sqrt(2 / np.pi), 0.044715
    t = np.tanh(C * (x + A * x ** 3))
    return first * (1 + t) / 2 + through * x * (1 - t * t) / 2 * du(C, A, x)


def exact_gelu_slope(x):
    """The derivative of x Φ(x), the GELU with erf."""
    Phi = (1 + np.vectorize(erf, otypes=[float])(x / sqrt(2))) / 2
    return Phi + x * np.exp(-x * x / 2) / sqrt(2 * np.pi)


def norm_dx(dxhat, x, mean=1, along=1, power=1, axis=1, ddof=0):
    """LayerNorm's dx; `mean` and `along` are factors of its two terms, power and axis what they
    say."""
    D, centred = x.shape[1], x - x.mean(axis=1, keepdims=True)
    std = np.sqrt((centred * centred).sum(axis=1, keepdims=True) / (D - ddof) + 1e-5)
    xhat = centred / std
    terms = [part.mean(axis=axis, keepdims=True) for part in (dxhat, dxhat * xhat)]
    return (dxhat - mean * terms[0] - along * xhat * terms[1]) / std ** power


def softmax_dz(w, dw, axis=-1, sign=1, total=None):
    """w (dw - sum of w dw), with something changed."""
    summed = (w * dw).sum(axis=axis, keepdims=True) if total is None else total(w * dw)
    return w * (dw - sign * summed)


def weights(q, k, scale, masked=True):
    seen = np.tri(q.shape[2], dtype=bool) | (not masked)
    return softmax(np.where(seen, q @ k.swapaxes(2, 3) * scale, -np.inf))


def attention(of, scale=lambda H, K: 1 / sqrt(K), of_gradient=None, masked=True, **changes):
    """A formula for dq, dk or dv: the scores' scale, that of their gradient, the mask, softmax_dz's
    changes."""
    def formula(right, dy, q, k, v):
        H, K = q.shape[1], q.shape[3]
        w = weights(q, k, scale(H, K), masked)
        ds = softmax_dz(w, dy @ v.swapaxes(2, 3), **changes) * (of_gradient or scale)(H, K)
        return {"dq": ds @ k, "dk": ds.swapaxes(2, 3) @ q, "dv": w.swapaxes(2, 3) @ dy}[of]
    return formula


def both(text, **changes):
    """Rows for dq and dk."""
    return [("dq", attention("dq", **changes), text), ("dk", attention("dk", **changes), text)]


ONE_SIDED = ("This is one-sided. The other side counts as well: its error then shrinks with h² and "
             "not with h.")
DIVIDED_BY_H = "From x - h to x + h it is 2h, and this is divided by h."
NO_SUM = "Softmax's sum is forgotten: its weights move one another, dz = w (dw - sum of w dw)."
AXIS_OF_SUM = "Softmax's sum is over the wrong axis: the weights that add up to 1 belong together."
DIAGONAL = ("This is the Jacobian's diagonal alone, w (1 - w): a score moves the other weights of its "
            "row, too.")
SIGN = "Softmax's sum is added where it has to be taken away: dz = w (dw - sum of w dw)."

# exercise -> (name of the gradient, (right gradient, dout, *forward's arguments) -> the wrong one,
# what is said)
MISTAKES = {
    "slope.derivative": [
        ("derivative", lambda right, _, x: x ** 3 - 2 * x,
         "This is f itself; f' is how fast it grows."),
        ("derivative", lambda right, _, x: 3 * x * x,
         "The derivative of -2x, which is -2, is missing.")],
    "slope.difference": [
        ("difference", lambda right, _, f, x, h: (f(x + h) - f(x)) / h, ONE_SIDED),
        ("difference", lambda right, _, f, x, h: (f(x) - f(x - h)) / h, ONE_SIDED),
        ("difference", lambda right, *_: 2 * right, DIVIDED_BY_H)],
    "slope.gradient": [
        ("gradient", lambda right, *_: 2 * right, DIVIDED_BY_H),
        ("gradient", lambda right, _, f, x: np.full(x.shape, right.sum()),
         "This is the slope with all numbers of x moved at once; move one, the others stay.")],
    "slope.sum_backward": [
        ("dx", lambda right, dy, x: right / len(x),
         "This is dy / D, the mean's: in a sum each x counts in full.")],
    "slope.mean_backward": [
        ("dx", lambda right, dy, x: right * len(x),
         "This is dy for each, the sum's: in a mean each x counts for 1/D.")],
    "slope.agrees": [
        ("agrees", lambda right, _, f, x,
         dx: np.asarray(bool(np.all(np.abs(dx - f.gradient(x)) <= 1e-6))),
         "The 1e-6 has to be that part of the gradient's largest number, where that is above 1."),
        ("agrees", lambda right, _, f, x, dx: np.asarray(np.allclose(dx, f.gradient(x))),
         "np.allclose has tolerances of its own, 1e-5 of each number; here it is 1e-6 of the "
         "largest."),
        ("agrees", lambda right, *_: np.asarray(True), "This is True for any dx.")],
    "linear": [
        ("dx", lambda right, dy, x, W, b: dy @ W,
         "dx is dy @ W: the transpose is missing. x[n, i] reaches y[n, j] by way of W[i, j], so "
         "dx[n, i] = sum over j of dy[n, j] W[i, j]. (Square matrices hide this.)"),
        ("dW", lambda right, dy, x, W, b: x @ dy,
         "dW is x @ dy: the transpose is missing. dW[i, j] = sum over n of x[n, i] dy[n, j]."),
        ("dW", lambda right, dy, x, W, b: dy.T @ x,
         "dW is dyᵀ x, the transpose of what it should be: W is (D_in, D_out)."),
        ("db", lambda right, dy, x, W, b: dy.sum(axis=1), WRONG_AXIS),
        ("db", lambda right, dy, x, W, b: dy,
         "db is dy, not summed: b[j] is added in every row n, and each counts.")],
    "lookup": [
        ("dE", lambda right, dx, ids, E, P: stored(0 * E, ids, dx), LOST),
        ("dE", lambda right, dx, ids, E,
         P: sum(stored(0 * E, ids[b], dx[b]) for b in range(len(ids))),
         LOST + " Here: within each sequence."),
        ("dE", lambda right, dx, ids, E, P: right + E,
         "dE is not all zeros to begin with: what is added to is E itself, or a copy of it."),
        ("dP", lambda right, dx, ids, E, P: right[:dx.shape[1]],
         "dP lacks the rows of positions that were not used: they are zero, but P has them."),
        ("dP", lambda right, dx, ids, E, P: np.concatenate([dx.sum(axis=1), right[dx.shape[1]:]]),
         "dP is a sum over the wrong axis: sum over sequences, not over positions.")],
    "logits": [
        ("dh", lambda right, dlogits, h, head: dlogits @ head.T,
         "dh is dlogits @ headᵀ: a transpose too many. dh[n, d] = sum over v of dlogits[n, v] "
         "head[v, d]."),
        ("dhead", lambda right, dlogits, h, head: dlogits @ h,
         "dhead is dlogits @ h: the transpose is missing. dhead[v] = sum over n of dlogits[n, v] "
         "h[n]."),
        ("dhead", lambda right, dlogits, h, head: h.T @ dlogits,
         "dhead is hᵀ dlogits, the transpose of what it should be: head is (V, D).")],
    "tied": [
        ("dE", lambda right, dlogits, ids, E, dE: dE,
         "dE is as it was before. `dE = dE + ...` makes a new array and leaves the one you were "
         "given alone; `dE += ...` adds to it."),
        ("dE", lambda right, dlogits, ids, E, dE: right - dE,
         f"What was in dE is lost: {ACCUMULATES} This batch's part is right."),
        ("dE", lambda right, dlogits, ids, E, dE: dE + tied_parts(dlogits, ids, E)[0],
         "Only the head's use of E is in it; the lookup's, dE[id] += dx, is missing."),
        ("dE", lambda right, dlogits, ids, E, dE: dE + tied_parts(dlogits, ids, E)[2],
         "Only the lookup's use of E is in it; the head's, dlogitsᵀ h, is missing."),
        ("dE", lambda right, dlogits, ids, E, dE: tied_parts(dlogits, ids, E)[2],
         f"The second use overwrote the first: {ACCUMULATES} Only the lookup's gradient is left."),
        ("dE", lambda right, dlogits, ids, E, dE: stored(
            (head := dE + tied_parts(dlogits, ids, E)[0]), ids,
            head[ids] + tied_parts(dlogits, ids, E)[1]), LOST),
        ("dE", lambda right, dlogits, ids, E,
         dE: dE + sum(tied_parts(dlogits, ids, E, lambda h: 1)[::2]),
         "On its way to the lookup the gradient was not multiplied with tanh' = 1 - tanh².")],
    "cross_entropy": [
        ("dlogits", lambda right, dloss, logits, targets: right * len(logits),
         "The 1/N of the mean is missing: the gradient is that of the sum of the losses."),
        ("dlogits", lambda right, dloss, logits, targets: dloss / len(logits) * softmax(logits),
         "This is the softmax alone: -logits[target], the loss's other term, has a gradient too."),
        ("dlogits", lambda right, dloss, logits,
         targets: dloss / len(logits) * off_target(logits, targets, sign=-1),
         "The one-hot part is added where it has to be taken away: the loss has -logits[target] in "
         "it."),
        ("dlogits", lambda right, dloss, logits, targets: dloss / len(logits) * off_target(
            logits, targets, np.exp(logits - logits.max(axis=1, keepdims=True))),
         "exp(logits) is not divided by its sum: p is meant to add up to 1 in each row."),
        ("dlogits", lambda right, dloss, logits, targets: right / dloss,
         "dloss is not in it. The chain rule begins with the gradient that is given.")],
    "gelu": [
        ("dx", lambda right, dy, x: right / dy, "dy is not in it: this is GELU's own derivative."),
        ("dx", lambda right, dy, x: dy, "This is dy alone: GELU's derivative is missing."),
        ("dx", lambda right, dy, x: dy * gelu_slope(x, through=0),
         "x is in two places, and this is the gradient by way of the first alone: tanh depends on "
         "x as well."),
        ("dx", lambda right, dy, x: dy * gelu_slope(x, first=0),
         "This is the gradient by way of tanh alone; the x in front of it counts as well."),
        ("dx", lambda right, dy, x: dy * gelu_slope(x, du=lambda C, A, x: 1),
         "The chain rule stops at tanh: the derivative of u, C (1 + 3A x²), is missing."),
        ("dx", lambda right, dy, x: dy * gelu_slope(x, du=lambda C, A, x: C * (1 + A * x * x)),
         "The derivative of A x³ is 3A x²; here it is A x²."),
        ("dx", lambda right, dy, x: dy * exact_gelu_slope(x),
         "This is the derivative of the GELU with erf. The one given here, and in GPT-2, has tanh: "
         "close, but another function.")],
    "centring": [
        ("dx", lambda right, dy, x: dy,
         "This is dy alone: the mean moves with x, too, and takes something away from every y."),
        ("dx", lambda right, dy, x: dy - dy.mean(axis=0),
         "This has the mean over the wrong axis: each row n has its own."),
        ("dx", lambda right, dy, x: dy - dy.sum(axis=1, keepdims=True),
         "This takes away the sum over the row where it needs the mean: the mean of x has a 1/D."),
        ("dx", lambda right, dy, x: dy - x.mean(axis=1, keepdims=True),
         "This takes away the mean of x; what comes back through the mean is a mean of dy.")],
    "layernorm": [
        ("dx", lambda right, dy, x, gain, bias: norm_dx(dy * gain, x, mean=0, along=0),
         "dx takes mean and variance for constants: they move with x. (Two terms, the mean of "
         "dxhat and xhat times the mean of dxhat · xhat, are missing.)"),
        ("dx", lambda right, dy, x, gain, bias: norm_dx(dy * gain, x, along=0),
         "dx takes the variance for a constant: the term xhat · mean(dxhat · xhat) is missing."),
        ("dx", lambda right, dy, x, gain, bias: norm_dx(dy * gain, x, mean=0),
         "dx takes the mean for a constant: the term mean(dxhat) is missing."),
        ("dx", lambda right, dy, x, gain,
         bias: norm_dx(dy * gain, x, mean=x.shape[1], along=x.shape[1]),
         "dx has sums over the row where it needs means: mean and variance have a 1/D."),
        ("dx", lambda right, dy, x, gain, bias: norm_dx(dy * gain, x, axis=0),
         "dx has means over the wrong axis: each row n has its own, over its D numbers."),
        ("dx", lambda right, dy, x, gain, bias: norm_dx(dy * gain, x, power=0),
         "dx is not divided by the standard deviation."),
        ("dx", lambda right, dy, x, gain, bias: norm_dx(dy, x),
         "dx leaves out the gain: xhat's gradient is dy · gain."),
        ("dx", lambda right, dy, x, gain, bias: gain * norm_dx(dy, x),
         "dx has the gain in front of it all. It comes first: dxhat is dy · gain, and then the "
         "means."),
        ("dx", lambda right, dy, x, gain, bias: norm_dx(dy * gain, x, ddof=1),
         "dx has the variance with 1/(D - 1); the one given here has 1/D."),
        ("dgain", lambda right, dy, x, gain, bias: dy.sum(axis=0),
         "dgain lacks xhat: y = gain · xhat + bias, so gain's gradient is a sum of dy · xhat."),
        ("dgain", lambda right, dy, x, gain, bias: (dy * x).sum(axis=0),
         "dgain has x where it needs xhat: gain multiplies the normalised rows."),
        ("dbias", lambda right, dy, *_: dy.sum(axis=1), WRONG_AXIS)],
    "softmax": [
        ("dz", lambda right, dw, z: softmax(z) * dw, NO_SUM),
        ("dz", lambda right, dw, z: softmax_dz(softmax(z), dw, axis=0), AXIS_OF_SUM),
        ("dz", lambda right, dw, z: softmax_dz(softmax(z), dw, total=lambda product: product),
         DIAGONAL),
        ("dz", lambda right, dw, z: softmax_dz(softmax(z), dw, sign=-1), SIGN)],
    "causal": [
        *both(NO_SUM, sign=0), *both(AXIS_OF_SUM, axis=-2), *both(SIGN, sign=-1),
        *both("The 1/sqrt(K) of the scores is missing in their gradient.", of_gradient=lambda H,
              K: 1),
        *both("The scores' gradient is divided by K; it has to be sqrt(K), as in the scores.",
              of_gradient=lambda H, K: 1 / K),
        *[(of, attention(of, masked=False),
            "The mask is forgotten: these weights look ahead, at s > t.")
          for of in ("dq", "dk", "dv")],
        *[(of, attention(of, scale=lambda H, K: 1 / sqrt(H * K)),
           "The scores are divided by sqrt(D), D = H·K: it has to be sqrt(K), the width of one "
           "head.")
          for of in ("dq", "dk", "dv")],
        ("dv", lambda right, dy, q, k, v: weights(q, k, 1 / sqrt(q.shape[3])) @ dy,
         "dv is weights @ dy: the transpose is missing. Position s gets something from every "
         "position t that looked at it.")],
}

PATHS = "x + f(x) gives dy + what f sends back."
# The same for what is made of others: name of a gradient on the way -> (the right ones by name) ->
# the wrong one
ON_THE_WAY = {
    "block": [
        ("dx2", lambda d: d["dx2"] - d["dy"], "The way past the MLP is forgotten: " + PATHS),
        ("dx2", lambda d: d["dy"], "What comes back through the MLP is forgotten: " + PATHS),
        ("dx", lambda d: d["dx"] - d["dx2"], "The way past attention is forgotten: " + PATHS),
        ("dx", lambda d: d["dx2"], "What comes back through attention is forgotten: " + PATHS),
        ("dx", lambda d: d["dx"] - d["dx2"] + d["dy"],
         "dx begins with dy once more, where the gradient has come to be dx2, that of the sum "
         "after attention."),
        ("dhidden", lambda d: d["dactive"],
         "GELU is forgotten on the way back: what W_down sends back is the gradient of GELU's "
         "output."),
        *[("dqkv", lambda d,
           order=order: np.concatenate([np.split(d["dqkv"], 3, axis=1)[i] for i in order], axis=1),
           "dq, dk and dv are put together in the wrong order: qkv has q first, then k, then v.")
          for order in permutations(range(3)) if order != (0, 1, 2)]],
    "model": [
        ('dp["E"]', lambda d: d["head's"],
         "Only the head's use of E is in dE: the lookup's has to be added to the same array."),
        ('dp["E"]', lambda d: d['dp["E"]'] - d["head's"],
         "Only the lookup's use of E is in dE: the head's has to be added to the same array. (Did "
         "the second `=` overwrite the first?)"),
        ('dp["blocks"][0]["b_up"]',
         lambda d: [x for name, x in d.items() if name.endswith('["b_up"]')][-1],
         'dp["blocks"] is in the order of the way back: the first block\'s gradients come first.')],
}


# ---- which mistake is it? ------------------------------------------------------------------------

def general(axes):
    """Rows that hold for any gradient; the sizes give the factors to look for."""
    rows = [(lambda right, n: right.swapaxes(-1, -2) if right.ndim > 1 else right,
             "It is the right gradient transposed: a transpose is missing, or one too many."),
            (lambda right, n: -right, "It is the right gradient with the wrong sign."),
            (lambda right, n: 0 * right,
             "It is all zeros: was it made, and then nothing added to it?"),
            (lambda right, n: 2 * right, "It is twice the right gradient: was it added two times?")]
    for axis in axes:
        rows += [(lambda right, n, axis=axis: right * n[axis],
                  f"It is {axis} times the right gradient: a 1/{axis} is missing."),
                 (lambda right, n, axis=axis: right / n[axis],
                  f"It is 1/{axis} of the right gradient: a mean where there should be a sum, or a "
                  f"1/{axis} too many.")]
    return rows


def diagnosis(case, function, found, rows=()):
    """Texts about the mistakes that the learner's numbers are; empty if none is known.

    rows: of an exercise made of others, what was seen on the way (steps.Seen), and the right
    gradients by name.
    """
    exercise = case.exercise
    if rows:
        return on_the_way(*rows, found.given, exercise)
    count = PROBES_OF_VALUES if exercise.value else PROBES
    probes = [random_case(exercise, seed) for seed in range(count)]
    answers = [(case, found.given)] + [(probe, given) for probe in probes
                                       if not isinstance(given := answer(probe, function), Fault)]
    if text := in_another_order(answers):
        return [text]
    texts = []
    for name in found.names:
        known = [row[1:] for row in MISTAKES.get(exercise.name, []) if row[0] == name]
        usual = [] if exercise.value else [
            (by_sizes(formula), f"{name}: {text}") for formula, text in general(exercise.axes)]
        texts += [text.format(name=name) for formula, text in [*known, *usual]
                  if is_it(formula, name, answers)][:1]
    return (list(dict.fromkeys(texts))[:3] or only_where(exercise, function, found.names)
            or nearly_right(answers, found.names))


def by_sizes(formula):
    return lambda right, *_, sizes: formula(right, sizes)


def is_it(formula, name, answers):
    """Whether the gradients called `name` are all the formula's, and not by being right."""
    distinct = 0
    for case, given in answers:
        right = case.expected()[name]
        more = [] if case.before is None else [case.before]
        sizes = dict(sizes=case.sizes) if formula.__code__.co_kwonlyargcount else {}
        try:
            with np.errstate(all="ignore"):
                wrong = np.asarray(formula(right, case.dout, *case.inputs.values(), *more, **sizes))
        except (ValueError, IndexError):        # shapes for which the mistake is an error as well
            return False
        if not near(given[name], wrong):
            return False
        distinct += not near(right, wrong)
    return distinct >= DISTINCT


def in_another_order(answers):
    """A sentence, if what is returned is right but not in the order it should be in."""
    names = list(answers[0][1])
    orders = [order for order in permutations(names) if 2 <= len(names) <= 3]
    orders = [order for order in orders if list(order) != names]
    for case, given in answers:
        right = case.expected()
        orders = [order for order in orders
                  if all(near(given[a], right[b]) for a, b in zip(names, order))]
    return (f"Each is right, but not in its place: backward returned {', '.join(orders[0])}; "
            f"expected {', '.join(names)}."
            if orders else "")


def only_where(exercise, function, names):
    """Texts for the sizes (sequences, rows, heads, ...) of which it takes two to go wrong.

    Said only where the gradients in question are not zero anyway at size 1.
    """
    def cases(axis, size):
        return (random_case(exercise, seed, **{axis: size}) for seed in range(PROBES))

    def is_right(case):
        given, right = answer(case, function), case.expected()
        answered = not isinstance(given, Fault)
        return answered and all(near(given[name], right[name]) for name in right)

    def is_zero(case):
        return all(np.abs(case.expected()[name]).max() < 1e-6 for name in names)

    return [f"It is right wherever {axis} = 1, and wrong where {axis} > 1."
            for axis in exercise.axes if names and exercise.sizes[axis][0] == 1
            and all(map(is_right, cases(axis, 1))) and not any(map(is_zero, cases(axis, 1)))
            and not any(map(is_right, cases(axis, exercise.sizes[axis][1])))]


def nearly_right(answers, names):
    """A text, if all wrong numbers are right to three digits at least, on every input: something is
    rounded."""
    pairs = [(given[name], case.expected()[name]) for case, given in answers for name in names]
    if not pairs or any(a.shape != b.shape or a.dtype.kind != "f" for a, b in pairs):
        return []
    worst = max(np.abs(a - b).max() / max(1, np.abs(b).max()) for a, b in pairs)
    return [f"It is right to {int(-np.log10(worst))} digits or more, and not to all: is something "
            f"rounded on the way "
            "(float32, np.round), is a small constant not the one given, or is this a difference "
            "with a step, where the derivative is asked for?"] if 0 < worst < NEARLY else []


def on_the_way(seen, right, given, exercise):
    """The texts of the mistakes that are seen on the way back."""
    given = {row.name: row.given for row in seen if row.given is not None} | given
    texts = [text for name, formula, text in ON_THE_WAY[exercise.name]
             if name in given and not near(given[name], right[name])
             and near(given[name], formula(right))]
    return list(dict.fromkeys(texts))
