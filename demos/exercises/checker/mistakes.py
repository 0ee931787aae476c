"""Known mistakes. Each is a formula for a wrong gradient; it is only named where the learner's function
gives the same wrong numbers, input after input. (So: spoilers below.)
"""
from dataclasses import dataclass
from functools import partial
from math import sqrt

import numpy as np

from .composed import block_gradients, erf_slope, model_gradients


@dataclass(eq=False)
class Mistake:
    """A mistake in the gradient `of` (an array's name; "*" for any), and the text that explains it.

    formula  (right gradient, dout, *forward's arguments) -> the wrong gradient, or
    factor   (sizes) -> how many times the right gradient the wrong one is, or
    answer   (case) -> all gradients by name, the wrong and the right ones
    """
    of: str
    text: str
    formula: object = None
    factor: object = None
    answer: object = None


def general(letters):
    """Mistakes that any gradient may have; the sizes' letters give the factors to look for."""
    found = [
        Mistake("*", "It is the right gradient transposed: a transpose is missing, or one too many.",
                lambda right, *_: right.swapaxes(-1, -2)),
        Mistake("*", "It is the right gradient with the wrong sign.", factor=lambda n: -1),
        Mistake("*", "It is all zeros: was it made, and then nothing added to it?", factor=lambda n: 0),
        Mistake("*", "It is twice the right gradient: was it added two times?", factor=lambda n: 2),
    ]
    for letter in letters:
        found += [
            Mistake("*", f"It is {letter} times the right gradient: a 1/{letter} is missing.",
                    factor=lambda n, letter=letter: n[letter]),
            Mistake("*", f"It is 1/{letter} of the right gradient: a mean where there should be a "
                         f"sum, or a 1/{letter} too many.", factor=lambda n, letter=letter: 1 / n[letter]),
        ]
    return found


# ---- 0: a slope ----------------------------------------------------------------------------------

DERIVATIVE = [
    Mistake("derivative", "This is f itself; f' is how fast it grows.", lambda right, _, x: x ** 3 - 2 * x),
    Mistake("derivative", "The derivative of -2x, which is -2, is missing.", lambda right, _, x: 3 * x * x),
    Mistake("derivative", "The derivative of x³ is 3x²; here it is x².", lambda right, _, x: x * x - 2),
]
DIFFERENCE = [
    Mistake("difference", "This is (f(x + h) - f(x)) / h, one-sided. The other side counts as well: its error then "
                          "shrinks with h² and not with h.", lambda right, _, f, x, h: (f(x + h) - f(x)) / h),
    Mistake("difference", "This is (f(x) - f(x - h)) / h, one-sided. The other side counts as well: its error then "
                          "shrinks with h² and not with h.", lambda right, _, f, x, h: (f(x) - f(x - h)) / h),
    Mistake("difference", "It is not divided: a slope is a difference for each unit of x.",
            lambda right, _, f, x, h: f(x + h) - f(x - h)),
    Mistake("difference", "From x - h to x + h it is 2h, and this is divided by h.", factor=lambda n: 2),
    Mistake("difference", "It is divided by 2 and then multiplied with h: (2 * h) needs its brackets.",
            lambda right, _, f, x, h: right * h * h),
]
GRADIENT = [
    Mistake("gradient", "From x - h to x + h it is 2h, and this is divided by h.", factor=lambda n: 2),
    Mistake("gradient", "It is not divided by 2h: a slope is a difference for each unit of x.",
            factor=lambda n: 2e-5),
    Mistake("gradient", "This is half the slope: one side of the difference is x itself, and it is divided by 2h.",
            factor=lambda n: 1 / 2),
    Mistake("gradient", "This is the slope with all numbers of x moved at once; move one, the others stay.",
            lambda right, _, f, x: np.full(x.shape, right.sum())),
]
SUM = [
    Mistake("dx", "This is dy / D, the mean's: in a sum each x counts in full.", lambda right, dy, x: right / len(x)),
    Mistake("dx", "This is dy · x: the sum grows by 1 with each x, whatever x is.", lambda right, dy, x: dy * x),
]
MEAN = [
    Mistake("dx", "This is dy for each, the sum's: in a mean each x counts for 1/D.",
            lambda right, dy, x: right * len(x)),
]


def agrees_mistake(text, holds):
    """The mistake of taking holds(dx, right) for agreement."""
    return Mistake("agrees", text, lambda right, _, f, x, dx: np.asarray(bool(np.all(holds(dx, f.gradient(x))))))


AGREES = [
    agrees_mistake("The 1e-6 has to be that part of the gradient's largest number, where that is above 1.",
                   lambda dx, right: np.abs(dx - right) <= 1e-6),
    agrees_mistake("Where all of the gradient is below 1, the difference may be 1e-6 itself: 1e-6 * max(1, ...).",
                   lambda dx, right: np.abs(dx - right) <= 1e-6 * np.abs(right).max()),
    agrees_mistake("A difference below 0 counts, too: np.abs.",
                   lambda dx, right: (dx - right).max() <= 1e-6 * max(1, np.abs(right).max())),
    agrees_mistake("np.allclose has tolerances of its own, 1e-5 of each number; here it is 1e-6 of the largest.",
                   lambda dx, right: np.isclose(dx, right) | np.isclose(right, dx)),
    agrees_mistake("This is True for any dx.", lambda dx, right: True),
]


# ---- 1 to 3: products ----------------------------------------------------------------------------

LINEAR = [
    Mistake("dx", "dx is dy @ W: the transpose is missing. x[n, i] reaches y[n, j] by way of W[i, j], so dx[n, i] = "
                  "sum over j of dy[n, j] W[i, j]. (Square matrices hide this.)", lambda right, dy, x, W, b: dy @ W),
    Mistake("dW", "dW is x @ dy: the transpose is missing. dW[i, j] = sum over n of x[n, i] dy[n, j].",
            lambda right, dy, x, W, b: x @ dy),
    Mistake("dW", "dW is dyᵀ x, the transpose of what it should be: W is (D_in, D_out).",
            lambda right, dy, x, W, b: dy.T @ x),
    Mistake("dW", "dW is xᵀ y: it is dy, the gradient, that x is multiplied with.",
            lambda right, dy, x, W, b: x.T @ (x @ W + b)),
    Mistake("db", "db is a sum over the wrong axis: b[j] is added in every row n, so sum over rows.",
            lambda right, dy, x, W, b: dy.sum(axis=1)),
    Mistake("db", "db is a sum over everything: b[j] is added to y[n, j] only, so sum over the rows n alone.",
            lambda right, dy, x, W, b: np.full(b.shape, dy.sum())),
    Mistake("db", "db is dy, not summed: b[j] is added in every row n, and each of them counts.",
            lambda right, dy, x, W, b: dy),
]

LOST = ("{name}[ids] += ... loses repeated ids. NumPy takes {name}[ids] once, adds, and stores it: of the gradients of "
        "an id that is there twice only the last survives. np.add.at adds all.")


def last_of_each(total, ids, rows):
    total[ids] = rows
    return total


def set_first(total, T, rows):
    total[:T] = rows
    return total


def last_in_each_sequence(dx, ids, E):
    dE = np.zeros_like(E)
    for b in range(len(ids)):
        dE[ids[b]] += dx[b]
    return dE


LOOKUP = [
    Mistake("dE", LOST, lambda right, dx, ids, E, P: last_of_each(0 * E, ids, dx)),
    Mistake("dE", LOST + " Here: within each sequence.",
            lambda right, dx, ids, E, P: last_in_each_sequence(dx, ids, E)),
    Mistake("dE", "dE has a mean over the times a row was looked up; each time had its effect: sum them.",
            lambda right, dx, ids, E, P: right / np.maximum(np.bincount(ids.ravel(), minlength=len(E)), 1)[:, None]),
    Mistake("dE", "dE is not all zeros to begin with: what is added to is E itself, or a copy of it.",
            lambda right, dx, ids, E, P: right + E),
    Mistake("dP", "dP is not all zeros to begin with: what is added to is P itself, or a copy of it.",
            lambda right, dx, ids, E, P: right + P),
    Mistake("dP", "dP's rows of positions that were not used are P's: what is added to has to be all zeros.",
            lambda right, dx, ids, E, P: set_first(P.copy(), dx.shape[1], dx.sum(axis=0))),
    Mistake("dP", "dP has the last sequence only. P[t] is added in every sequence b: sum over b.",
            lambda right, dx, ids, E, P: np.concatenate([dx[-1], 0 * P[dx.shape[1]:]])),
    Mistake("dP", "dP has the first sequence only. P[t] is added in every sequence b: sum over b.",
            lambda right, dx, ids, E, P: np.concatenate([dx[0], 0 * P[dx.shape[1]:]])),
    Mistake("dP", "dP lacks the rows of positions that were not used: they are zero, but P has them.",
            lambda right, dx, ids, E, P: right[:dx.shape[1]]),
    Mistake("dP", "dP is a sum over the wrong axis: sum over sequences, not over positions.",
            lambda right, dx, ids, E, P: dx.sum(axis=1)),
    Mistake("dP", "dP is a sum over the wrong axis: sum over sequences, not over positions.",
            lambda right, dx, ids, E, P: set_first(0 * P, dx.shape[1], dx.sum(axis=1))),
]

LOGITS = [
    Mistake("dh", "dh is dlogits @ headᵀ: a transpose too many. h[n, d] reaches logits[n, v] by way of head[v, d], so "
                  "dh[n, d] = sum over v of dlogits[n, v] head[v, d].",
            lambda right, dlogits, h, head: dlogits @ head.T),
    Mistake("dhead", "dhead is dlogits @ h: the transpose is missing. dhead[v] = sum over n of dlogits[n, v] h[n].",
            lambda right, dlogits, h, head: dlogits @ h),
    Mistake("dhead", "dhead is hᵀ dlogits, the transpose of what it should be: head is (V, D).",
            lambda right, dlogits, h, head: h.T @ dlogits),
]


# ---- 4: tied -------------------------------------------------------------------------------------

def slope_of_tanh(ids, E):
    return 1 - np.tanh(E[ids]) ** 2


def lookup_part(dx, ids, E):
    """Of dx (N, D), what each lookup gets: (V, D)."""
    return np.eye(len(E))[ids].T @ dx


def head_part(dlogits, ids, E):
    """What the head gets: (V, D)."""
    return dlogits.T @ np.tanh(E[ids])


def tied_mistake(text, formula):
    """The mistake of leaving formula(dE as it was, head's part, dx, ids, E) in dE."""
    return Mistake("dE", text, lambda right, dlogits, ids, E, dE: formula(
        dE, head_part(dlogits, ids, E), dlogits @ E * slope_of_tanh(ids, E), ids, E))


TIED = [
    tied_mistake("dE is as it was before. `dE = dE + ...` makes a new array and leaves the one you were given alone; "
                 "`dE += ...` adds to it.", lambda dE, head, dx, ids, E: dE),
    Mistake("dE", "What was in dE is lost: `=` where `+=` accumulates. This batch's part is right.",
            lambda right, dlogits, ids, E, dE: right - dE),
    tied_mistake("Only the head's use of E is in it; the lookup's, dE[id] += dx, is missing.",
                 lambda dE, head, dx, ids, E: dE + head),
    tied_mistake("Only the lookup's use of E is in it; the head's, dlogitsᵀ h, is missing.",
                 lambda dE, head, dx, ids, E: dE + lookup_part(dx, ids, E)),
    tied_mistake("The second use overwrote the first: `=` where `+=` accumulates. Only the lookup's gradient is left.",
                 lambda dE, head, dx, ids, E: lookup_part(dx, ids, E)),
    tied_mistake("The second use overwrote the first: `=` where `+=` accumulates. Only the head's gradient is left.",
                 lambda dE, head, dx, ids, E: head),
    tied_mistake("The lookup overwrote the rows that were looked up: `=` where `+=` accumulates.",
                 lambda dE, head, dx, ids, E: last_of_each(dE + head, ids, dx)),
    tied_mistake(LOST, lambda dE, head, dx, ids, E: last_of_each(dE + head, ids, (dE + head)[ids] + dx)),
    Mistake("dE", "On its way to the lookup the gradient was not multiplied with tanh' = 1 - tanh².",
            lambda right, dlogits, ids, E, dE:
                dE + head_part(dlogits, ids, E) + lookup_part(dlogits @ E, ids, E)),
    Mistake("dE", "tanh' is taken at h, which is a tanh already: with h = tanh(x) it is 1 - h².",
            lambda right, dlogits, ids, E, dE: dE + head_part(dlogits, ids, E) + lookup_part(
                dlogits @ E * (1 - np.tanh(np.tanh(E[ids])) ** 2), ids, E)),
    Mistake("dE", "The head's part has x where it needs h = tanh(x): h is what the head was given.",
            lambda right, dlogits, ids, E, dE:
                dE + dlogits.T @ E[ids] + lookup_part(dlogits @ E * slope_of_tanh(ids, E), ids, E)),
]


# ---- 5 to 9: element by element, row by row ------------------------------------------------------

def softmax(z, axis):
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def one_hot(logits, targets):
    """(N, V)."""
    return np.eye(logits.shape[1])[targets]


def loss_mistake(text, formula):
    """The mistake of taking formula(p, one-hot targets, targets) for p - one-hot targets."""
    return Mistake("dlogits", text, lambda right, dloss, logits, targets: dloss / len(logits) * formula(
        softmax(logits, 1), one_hot(logits, targets), targets))


def reduced(p, index):
    p[index] -= 1
    return p


CROSS_ENTROPY = [
    Mistake("dlogits", "The 1/N of the mean is missing: the gradient is that of the sum of the losses.",
            lambda right, dloss, logits, targets: right * len(logits)),
    Mistake("dlogits", "The mean is over N rows, but this is divided by all N·V numbers.",
            lambda right, dloss, logits, targets: right / logits.shape[1]),
    Mistake("dlogits", "This is divided by V, the tokens; the mean is over the N rows.",
            lambda right, dloss, logits, targets: right * len(logits) / logits.shape[1]),
    loss_mistake("This is the softmax alone: -logits[target], the loss's other term, has a gradient too.",
                 lambda p, one_hot, targets: p),
    loss_mistake("This is the one-hot part alone: the log of the sum has a gradient too.",
                 lambda p, one_hot, targets: -one_hot),
    Mistake("dlogits", "The softmax is a sum over the wrong axis: each row n has probabilities of its own.",
            lambda right, dloss, logits, targets:
                dloss * (softmax(logits, 0) - one_hot(logits, targets)) / len(logits)),
    loss_mistake("The one-hot part is added where it has to be taken away: the loss has -logits[target] in it.",
                 lambda p, one_hot, targets: p + one_hot),
    loss_mistake("p[:, targets] is these columns in every row; of row n only p[n, targets[n]] is meant: "
                 "p[np.arange(N), targets].", lambda p, one_hot, targets: reduced(p, (slice(None), targets))),
    loss_mistake("p[targets] is whole rows; of row n only p[n, targets[n]] is meant: p[np.arange(N), targets].",
                 lambda p, one_hot, targets: reduced(p, targets)),
    Mistake("dlogits", "exp(logits) is not divided by its sum: p is meant to add up to 1 in each row.",
            lambda right, dloss, logits, targets: dloss / len(logits) * (
                np.exp(logits - logits.max(axis=1, keepdims=True)) - one_hot(logits, targets))),
    Mistake("dlogits", "dloss is not in it. The chain rule begins with the gradient that is given.",
            lambda right, dloss, logits, targets: right / dloss),
    Mistake("dlogits", "Neither dloss nor the mean's 1/N is in it: this is p - one_hot(targets), the gradient of the "
                       "sum of the losses.", lambda right, dloss, logits, targets: right * len(logits) / dloss),
]


def gelu_parts(x):
    C, A = sqrt(2 / np.pi), 0.044715
    tanh = np.tanh(C * (x + A * x ** 3))
    return (1 + tanh) / 2, x * (1 - tanh * tanh) / 2, C, A


def gelu_mistake(text, slope):
    """The mistake of taking slope(x, gate, x gate' without u', C, A) for GELU's derivative."""
    return Mistake("dx", text, lambda right, dy, x: dy * slope(x, *gelu_parts(x)))


GELU = [
    Mistake("dx", "dy is not in it: this is GELU's own derivative. The chain rule multiplies it with dy.",
            lambda right, dy, x: right / dy),
    Mistake("dx", "This is dy alone: GELU's derivative is missing.", lambda right, dy, x: dy),
    gelu_mistake("This is dy · y: GELU's value where its derivative should be.",
                 lambda x, gate, rest, C, A: x * gate),
    gelu_mistake("x is in two places, and this is the gradient by way of the first alone: tanh depends on x as well.",
                 lambda x, gate, rest, C, A: gate),
    gelu_mistake("This is the gradient by way of tanh alone; the x in front of it counts as well.",
                 lambda x, gate, rest, C, A: rest * C * (1 + 3 * A * x * x)),
    gelu_mistake("The chain rule stops at tanh: the derivative of u, C (1 + 3A x²), is missing.",
                 lambda x, gate, rest, C, A: gate + rest),
    gelu_mistake("The derivative of A x³ is 3A x²; here it is A x².",
                 lambda x, gate, rest, C, A: gate + rest * C * (1 + A * x * x)),
    gelu_mistake("The derivative of A x³ is 3A x²; here it is 3A x.",
                 lambda x, gate, rest, C, A: gate + rest * C * (1 + 3 * A * x)),
    gelu_mistake("The derivative of A x³, 3A x², is missing: u is C (x + A x³).",
                 lambda x, gate, rest, C, A: gate + rest * C),
    gelu_mistake("The C of u = C (x + A x³) is missing in its derivative.",
                 lambda x, gate, rest, C, A: gate + rest * (1 + 3 * A * x * x)),
    gelu_mistake("tanh' is 1 - tanh²; here it is 1 - tanh.",
                 lambda x, gate, rest, C, A: gate + x * (1 - gate) * C * (1 + 3 * A * x * x)),
    gelu_mistake("tanh', which is 1 - tanh², is missing.",
                 lambda x, gate, rest, C, A: gate + x / 2 * C * (1 + 3 * A * x * x)),
    gelu_mistake("The term with tanh' is taken away where it has to be added.",
                 lambda x, gate, rest, C, A: gate - rest * C * (1 + 3 * A * x * x)),
    gelu_mistake("The 1/2 is missing in front of 1 + tanh u.",
                 lambda x, gate, rest, C, A: 2 * gate + rest * C * (1 + 3 * A * x * x)),
    gelu_mistake("The x in front of tanh' is missing: y is x times (1 + tanh u) / 2.",
                 lambda x, gate, rest, C, A: gate + 2 * gate * (1 - gate) * C * (1 + 3 * A * x * x)),
    gelu_mistake("The 1/2 is missing in front of the term with tanh'.",
                 lambda x, gate, rest, C, A: gate + 2 * rest * C * (1 + 3 * A * x * x)),
    Mistake("dx", "This is the derivative of the GELU with erf. The one given here, and in GPT-2, has tanh: close, but "
                  "another function.", lambda right, dy, x: dy * erf_slope(x)),
]

CENTRING = [
    Mistake("dx", "This is dy alone: the mean moves with x, too, and takes something away from every y.",
            lambda right, dy, x: dy),
    Mistake("dx", "This has the mean over the wrong axis: each row n has its own.",
            lambda right, dy, x: dy - dy.mean(axis=0)),
    Mistake("dx", "This takes away the mean of all numbers: each row n has its own.",
            lambda right, dy, x: dy - dy.mean()),
    Mistake("dx", "This takes away the sum over the row where it needs the mean: the mean of x has a 1/D.",
            lambda right, dy, x: dy - dy.sum(axis=1, keepdims=True)),
    Mistake("dx", "This takes away the mean of x; what comes back through the mean is a mean of dy.",
            lambda right, dy, x: dy - x.mean(axis=1, keepdims=True)),
    Mistake("dx", "The mean is added where it has to be taken away: y = x - mean.",
            lambda right, dy, x: dy + dy.mean(axis=1, keepdims=True)),
    Mistake("dx", "This is what y[n, i] alone sends back to x[n, i], 1 - 1/D: the other y of the row moved as well.",
            lambda right, dy, x: dy * (1 - 1 / x.shape[1])),
]


def rows_normalised(dy, x, gain, ddof=0):
    centred = x - x.mean(axis=1, keepdims=True)
    inv_std = 1 / np.sqrt((centred * centred).sum(axis=1, keepdims=True) / (x.shape[1] - ddof) + 1e-5)
    return dy * gain, centred * inv_std, inv_std


def layernorm_dx(dxhat, xhat, inv_std):
    return inv_std * (dxhat - across(dxhat) - xhat * across(dxhat * xhat))


def layernorm_mistake(text, formula):
    """The mistake of taking formula(dxhat, xhat, inv_std) for dx."""
    return Mistake("dx", text, lambda right, dy, x, gain, bias: formula(*rows_normalised(dy, x, gain)))


def across(values):
    return values.mean(axis=1, keepdims=True)


LAYERNORM = [
    layernorm_mistake("dx has sums over the row where it needs means: mean and variance have a 1/D.",
                      lambda d, xhat, inv: inv * (d - d.sum(1, keepdims=True)
                                                  - xhat * (d * xhat).sum(1, keepdims=True))),
    layernorm_mistake("dx takes mean and variance for constants: they move with x. (Two terms, the mean of dxhat and "
                      "xhat times the mean of dxhat · xhat, are missing.)", lambda d, xhat, inv: inv * d),
    layernorm_mistake("dx takes the variance for a constant: the term xhat · mean(dxhat · xhat) is missing.",
                      lambda d, xhat, inv: inv * (d - across(d))),
    layernorm_mistake("dx takes the mean for a constant: the term mean(dxhat) is missing.",
                      lambda d, xhat, inv: inv * (d - xhat * across(d * xhat))),
    layernorm_mistake("dx has means over the wrong axis: each row n has its own, over its D numbers.",
                      lambda d, xhat, inv: inv * (d - d.mean(axis=0) - xhat * (d * xhat).mean(axis=0))),
    layernorm_mistake("dx is not divided by the standard deviation.",
                      lambda d, xhat, inv: layernorm_dx(d, xhat, 1)),
    layernorm_mistake("dx is divided by the variance: it has to be the standard deviation, its square root.",
                      lambda d, xhat, inv: layernorm_dx(d, xhat, inv * inv)),
    layernorm_mistake("dx is multiplied with the standard deviation; it has to be divided by it.",
                      lambda d, xhat, inv: layernorm_dx(d, xhat, 1 / inv)),
    layernorm_mistake("dx has the sum of dxhat over the row where it needs the mean.",
                      lambda d, xhat, inv: inv * (d - d.sum(1, keepdims=True) - xhat * across(d * xhat))),
    layernorm_mistake("dx has the sum of dxhat · xhat over the row where it needs the mean.",
                      lambda d, xhat, inv: inv * (d - across(d) - xhat * (d * xhat).sum(1, keepdims=True))),
    layernorm_mistake("dx's term xhat · mean(dxhat · xhat) is added where it has to be taken away.",
                      lambda d, xhat, inv: inv * (d - across(d) + xhat * across(d * xhat))),
    layernorm_mistake("dx's term mean(dxhat) is added where it has to be taken away.",
                      lambda d, xhat, inv: inv * (d + across(d) - xhat * across(d * xhat))),
    layernorm_mistake("dx's second term lacks xhat: it is xhat · mean(dxhat · xhat).",
                      lambda d, xhat, inv: inv * (d - across(d) - across(d * xhat))),
    Mistake("dx", "dx leaves out the gain: xhat's gradient is dy · gain.",
            lambda right, dy, x, gain, bias: layernorm_dx(*rows_normalised(dy, x, np.ones_like(gain)))),
    Mistake("dx", "dx has the gain in front of it all. It comes first: dxhat is dy · gain, and then the means.",
            lambda right, dy, x, gain, bias: gain * layernorm_dx(*rows_normalised(dy, x, np.ones_like(gain)))),
    Mistake("dx", "dx has the variance with 1/(D - 1); the one given here has 1/D.",
            lambda right, dy, x, gain, bias: layernorm_dx(*rows_normalised(dy, x, gain, ddof=1))),
    Mistake("dgain", "dgain is a sum over the wrong axis: gain[d] is in every row n, so sum over rows.",
            lambda right, dy, x, gain, bias: (dy * rows_normalised(dy, x, gain)[1]).sum(axis=1)),
    Mistake("dbias", "dbias is a sum over the wrong axis: bias[d] is in every row n, so sum over rows.",
            lambda right, dy, *_: dy.sum(axis=1)),
    Mistake("dgain", "dgain has x where it needs xhat: gain multiplies the normalised rows.",
            lambda right, dy, x, gain, bias: (dy * x).sum(axis=0)),
    Mistake("dgain", "dgain lacks xhat: y = gain · xhat + bias, so gain's gradient is a sum of dy · xhat.",
            lambda right, dy, *_: dy.sum(axis=0)),
    Mistake("dgain", "dgain has the gain in it: y grows by xhat as gain does, whatever gain is.",
            lambda right, dy, x, gain, bias: right * gain),
    Mistake("dbias", "dbias has the gain in it: the bias is added after it.",
            lambda right, dy, x, gain, bias: (dy * gain).sum(axis=0)),
]


def softmax_gradient(w, dw, kind="right"):
    """The product of a softmax's Jacobian, diag(w) - w wᵀ, and dw; or one of the usual others."""
    product = w * dw
    total = product.sum(axis=-1, keepdims=True)
    return {"right": product - w * total, "sum forgotten": product, "no diagonal": -w * total,
            "diagonal alone": product * (1 - w), "wrong axis": product - w * product.sum(axis=-2, keepdims=True),
            "sign": product + w * total, "mean": product - w * product.mean(axis=-1, keepdims=True), "no w": dw - total,
            "sum of dw": product - w * dw.sum(axis=-1, keepdims=True)}[kind]


SOFTMAX_KINDS = {
    "sum forgotten": "Softmax's sum is forgotten: its weights move one another, dz = w (dw - sum of w dw).",
    "no diagonal": "Softmax's Jacobian is diag(w) - w wᵀ, and this lacks its diagonal: w dw.",
    "diagonal alone": "This is the Jacobian's diagonal alone, w (1 - w): a score moves the other weights of its row, "
                      "too.",
    "wrong axis": "Softmax's sum is over the wrong axis: the weights that add up to 1 belong together.",
    "sign": "Softmax's sum is added where it has to be taken away: dz = w (dw - sum of w dw).",
    "mean": "Softmax has a sum of w dw over the row; here it is a mean.",
    "no w": "The w in front is missing: dz = w (dw - sum of w dw).",
    "sum of dw": "Softmax's sum is one of w dw; here it is of dw alone.",
}
SOFTMAX = [Mistake("dz", text, lambda right, dw, z, kind=kind: softmax_gradient(softmax(z, 1), dw, kind))
           for kind, text in SOFTMAX_KINDS.items()] + [
    Mistake("dz", "The softmax is over the wrong axis: each row n is one of its own.",
            lambda right, dw, z: softmax_gradient(softmax(z, 0), dw)),
    Mistake("dz", "dw is not in it: this is the Jacobian's diagonal, w (1 - w).",
            lambda right, dw, z: softmax(z, 1) * (1 - softmax(z, 1))),
]


# ---- 10: causal attention ------------------------------------------------------------------------

def attention(of, masked=True, forward_scale=None, scale=None, kind="right"):
    """A formula for dq, dk or dv with something changed: `scale` and `forward_scale` are functions of H, K;
    `kind` is softmax_gradient's."""
    def formula(right, dy, q, k, v):
        _, H, _, K = q.shape
        w = weights(q, k, (forward_scale or standard)(H, K), masked)
        dscores = softmax_gradient(w, dy @ v.swapaxes(2, 3), kind) * (scale or forward_scale or standard)(H, K)
        return {"dq": dscores @ k, "dk": dscores.swapaxes(2, 3) @ q, "dv": w.swapaxes(2, 3) @ dy}[of]
    return formula


def weights(q, k, scale, masked=True):
    scores = q @ k.swapaxes(2, 3) * scale
    return softmax(np.where(np.tri(scores.shape[-1], dtype=bool), scores, -np.inf) if masked else scores, 3)


def standard(H, K):
    return 1 / sqrt(K)


CAUSAL = [Mistake(of, text, attention(of, **change)) for text, change in [
    ("The mask is forgotten: these weights look ahead, at s > t.", dict(masked=False)),
    ("The scores are divided by sqrt(D), D = H·K: it has to be sqrt(K), the width of one head.",
     dict(forward_scale=lambda H, K: 1 / sqrt(H * K))),
    ("The weights are computed without 1/sqrt(K).", dict(forward_scale=lambda H, K: 1, scale=standard)),
] for of in ("dq", "dk", "dv")] + [Mistake(of, text, attention(of, **change)) for text, change in [
    ("The gradient is divided by sqrt(D), D = H·K, the scores by sqrt(K), the width of one head: it has to be sqrt(K) "
     "in both.", dict(scale=lambda H, K: 1 / sqrt(H * K))),
    ("The weights are computed without 1/sqrt(K), and it is missing in the scores' gradient as well.",
     dict(forward_scale=lambda H, K: 1)),
    ("The 1/sqrt(K) of the scores is missing in their gradient.", dict(scale=lambda H, K: 1)),
    ("The scores' gradient is multiplied with sqrt(K) where it has to be divided.", dict(scale=lambda H, K: sqrt(K))),
    ("The scores' gradient is divided by K; it has to be sqrt(K), as in the scores.",
     dict(scale=lambda H, K: 1 / K)),
    *[(text, dict(kind=kind)) for kind, text in SOFTMAX_KINDS.items()],
] for of in ("dq", "dk")] + [
    Mistake("dv", "dv is weights @ dy: the transpose is missing. Position s gets something from every position t that "
                  "looked at it.", lambda right, dy, q, k, v: weights(q, k, standard(0, q.shape[3])) @ dy),
    Mistake("dk", "dk is dscores @ q: the transpose is missing. Key s gets something from every query t.",
            lambda right, dy, q, k, v: softmax_gradient(
                weights(q, k, standard(0, q.shape[3])), dy @ v.swapaxes(2, 3)) @ q / sqrt(q.shape[3])),
]


# ---- 11 and 12: put together ---------------------------------------------------------------------

def composed_mistake(gradients, text, **changes):
    """What comes of block_gradients or model_gradients with something changed."""
    return Mistake("all", text, answer=lambda case: gradients(case.dout, **case.inputs, **changes))


block_mistake = partial(composed_mistake, block_gradients)

BLOCK = [
    block_mistake("The ways past both branches are forgotten: x + f(x) gives dy + what f sends back.",
                  past_attention=0, past_mlp=0),
    block_mistake("The way past the MLP is forgotten: x + f(x) gives dy + what f sends back.", past_mlp=0),
    block_mistake("The way past attention is forgotten: x + f(x) gives dy + what f sends back.", past_attention=0),
    block_mistake("The way through the MLP is forgotten: its dx has to be added to the way past it.", through_mlp=0),
    block_mistake("The way through attention is forgotten: its dx has to be added to the way past it.",
                  through_attention=0),
    block_mistake("The attention branch is given dy: what comes back through the MLP has to be added first.",
                  attention_gets="dy"),
    block_mistake("GELU is forgotten on the way back: what W_down sends back is the gradient of GELU's output.",
                  gelu="forgotten"),
    block_mistake("On the way back this is the GELU with erf; the one given here has tanh.", gelu="erf"),
    block_mistake("W_down's input is GELU's output, and here it is GELU's input.", down_at="hidden"),
    block_mistake("norm2 is taken at x, the block's input: its own input is the sum after attention.", norm2_at="x"),
    block_mistake("norm1 is taken at its own output: what it needs is the block's input x.", norm1_at="a1"),
    block_mistake("norm1 is taken at the sum after attention: what it needs is the block's input x.", norm1_at="x2"),
    block_mistake("gelu.backward is given GELU's output; it needs GELU's input.", gelu_at="active"),
    block_mistake("The sum after attention is computed without x: x2 = x + attention(...).", sum_of="attention"),
    block_mistake("The sum after attention is computed without attention: x2 = x + attention(...).", sum_of="x"),
    block_mistake("dx begins with dy once more, where the gradient has come to be dx2, that of the sum after "
                  "attention.",
                  dx_from="dy"),
    block_mistake("dq, dk and dv are put together in the wrong order: qkv has q first, then k, then v.", order="kqv"),
    block_mistake("dq, dk and dv are put together in the wrong order: qkv has q first, then k, then v.", order="vkq"),
    block_mistake("dq, dk and dv are put together in the wrong order: qkv has q first, then k, then v.", order="qvk"),
]


model_mistake = partial(composed_mistake, model_gradients)

MODEL = [
    model_mistake("Only the head's use of E is in dE: the lookup's has to be added to the same array.", lookup=0),
    model_mistake("Only the lookup's use of E is in dE: the head's has to be added to the same array. (Did the "
                  "second `=` overwrite the first?)", head=0),
    model_mistake("The targets are not in the order of the rows: N counts through T first, then B, as ravel() does.",
                  order="F"),
    model_mistake("The last LayerNorm is taken at h, its own output: it needs its input.", norm_at="h"),
    model_mistake("The last LayerNorm's dx is not used: the blocks get dh as it came from the head.", norm=False),
    model_mistake("Every block is given the same x, the first one's: each needs the x that it was given on the way "
                  "forward.", blocks_at="first"),
    model_mistake("Every block is given the same x, the last one's output: each needs the x that it was given on the "
                  "way forward.", blocks_at="last"),
    model_mistake("dp[\"blocks\"] is in the order of the way back: the first block's gradients come first.",
                  in_order=False),
    model_mistake("The blocks come in forward order: the way back begins with the last.", backwards=False),
]
