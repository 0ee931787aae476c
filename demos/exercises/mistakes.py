"""The ten exercises for check.py: what goes in, where the package has the answer, and the faces of
well-known mistakes. A face is a formula for a wrong gradient; it is only named where the learner's
function gives the same wrong numbers, input after input. (So: spoilers below.)
"""
from dataclasses import dataclass
from math import erf, sqrt

import numpy as np


@dataclass
class Exercise:
    """One row of the table.

    out      name of the forward's output; backward's first argument is d + out
    sizes    letter -> the largest to try
    inputs   (n, ids, floats) -> dict of the forward's arguments. n has the sizes as attributes;
             ids(below, *shape) and floats(*shape) make arrays
    answer   file of the package
    faces    of known mistakes
    into     name of an array that backward is given last, and adds to
    needs    exercises this one is made of
    examples how many inputs to try
    """
    name: str
    equation: str
    out: str
    sizes: dict
    inputs: object
    answer: str
    faces: list
    into: str = ""
    needs: tuple = ()
    examples: int = 60


@dataclass
class Face:
    """A mistake in the gradient `of` (an array's name; "*" for any), and the text that explains it.

    formula  (right gradient, dout, *forward's arguments) -> the wrong gradient, or
    forward  a function whose right gradient is the wrong one: a backward pass that forgets a path
             gives the exact gradient of a forward pass in which that path is cut, or
    factor   (sizes) -> how many times the right gradient the wrong one is
    """
    of: str
    text: str
    formula: object = None
    forward: object = None
    factor: object = None


# A cut: forward passes are differentiated by a complex step (minigpt_np/gradcheck.py), in which the
# imaginary part carries the derivative. What has none counts as constant.
cut = np.real


def general(letters):
    """Faces that any gradient may have; the sizes' letters give the factors to look for."""
    faces = [
        Face("*", "It is the right gradient transposed: a transpose is missing, or one too many.",
             lambda right, *_: right.swapaxes(-1, -2)),
        Face("*", "It is the right gradient with the wrong sign.", factor=lambda n: -1),
        Face("*", "It is all zeros: was it made, and then nothing added to it?",
             factor=lambda n: 0),
        Face("*", "It is twice the right gradient: was it added two times?", factor=lambda n: 2),
    ]
    for letter in letters:
        faces += [
            Face("*", f"It is {letter} times the right gradient: a 1/{letter} is missing.",
                 factor=lambda n, letter=letter: n[letter]),
            Face("*", f"It is 1/{letter} of the right gradient: a mean where there should be a "
                      f"sum, or a 1/{letter} too many.",
                 factor=lambda n, letter=letter: 1 / n[letter]),
        ]
    return faces


# ---- 1 to 3: products ----------------------------------------------------------------------------

LINEAR = [
    Face("dx", "dx is dy @ W: the transpose is missing. x[n, i] reaches y[n, j] by way of W[i, "
               "j], so dx[n, i] = sum over j of dy[n, j] W[i, j]. (Square matrices hide this.)",
         lambda right, dy, x, W, b: dy @ W),
    Face("dW", "dW is x @ dy: the transpose is missing. dW[i, j] = sum over n of x[n, i] dy[n, j].",
         lambda right, dy, x, W, b: x @ dy),
    Face("dW", "dW is dyᵀ x, the transpose of what it should be: W is (D_in, D_out).",
         lambda right, dy, x, W, b: dy.T @ x),
    Face("db", "db is a sum over the wrong axis: b[j] is added in every row n, so sum over rows.",
         lambda right, dy, x, W, b: dy.sum(axis=1)),
    Face("db", "db is dy, not summed: b[j] is added in every row n, and each of them counts.",
         lambda right, dy, x, W, b: dy),
]

LOST = ("{name}[ids] += ... loses repeated ids. NumPy reads {name}[ids] once, adds, and writes "
        "back: of the gradients of an id that is there twice only the last survives. np.add.at "
        "adds all.")


def last_of_each(total, ids, rows):
    total[ids] = rows
    return total


def last_in_each_sequence(dx, ids, E):
    dE = np.zeros_like(E)
    for b in range(len(ids)):
        dE[ids[b]] += dx[b]
    return dE


LOOKUP = [
    Face("dE", LOST, lambda right, dx, ids, E, P: last_of_each(0 * E, ids, dx)),
    Face("dE", LOST + " Here: within each sequence.",
         lambda right, dx, ids, E, P: last_in_each_sequence(dx, ids, E)),
    Face("dE", "dE has a mean over the times a row was read; each time had its effect: sum them.",
         lambda right, dx, ids, E, P:
             right / np.maximum(np.bincount(ids.ravel(), minlength=len(E)), 1)[:, None]),
    Face("dP", "dP has the last sequence only. P[t] is added in every sequence b: sum over b.",
         lambda right, dx, ids, E, P: np.concatenate([dx[-1], 0 * P[dx.shape[1]:]])),
    Face("dP", "dP has the first sequence only. P[t] is added in every sequence b: sum over b.",
         lambda right, dx, ids, E, P: np.concatenate([dx[0], 0 * P[dx.shape[1]:]])),
    Face("dP", "dP lacks the rows of positions that were not used: they are zero, but P has them.",
         lambda right, dx, ids, E, P: right[:dx.shape[1]]),
    Face("dP", "dP is a sum over the wrong axis: sum over sequences, not over positions.",
         lambda right, dx, ids, E, P: dx.sum(axis=1)),
]

LOGITS = [
    Face("dh", "dh is dlogits @ headᵀ: a transpose too many. h[n, d] reaches logits[n, v] by way "
               "of head[v, d], so dh[n, d] = sum over v of dlogits[n, v] head[v, d].",
         lambda right, dlogits, h, head: dlogits @ head.T),
    Face("dhead", "dhead is dlogits @ h: the transpose is missing. dhead[v] = sum over n of "
                  "dlogits[n, v] h[n].",
         lambda right, dlogits, h, head: dlogits @ h),
    Face("dhead", "dhead is hᵀ dlogits, the transpose of what it should be: head is (V, D).",
         lambda right, dlogits, h, head: h.T @ dlogits),
]


# ---- 4: tied -------------------------------------------------------------------------------------

def reading(dlogits, ids, E):
    """What each lookup gets: dx (N, D)."""
    return dlogits @ E * (1 - np.tanh(E[ids]) ** 2)


def writing(dlogits, ids, E):
    """What the head gets: (V, D)."""
    return dlogits.T @ np.tanh(E[ids])


def one_hot(ids, E):
    return np.eye(len(E))[ids]


TIED = [
    Face("dE", "dE is as it was before. `dE = dE + ...` makes a new array and leaves the one you "
               "were given alone; `dE += ...` writes into it.",
         lambda right, dlogits, ids, E, dE: dE),
    Face("dE", "What was in dE is lost: `=` where `+=` accumulates. This batch's part is right.",
         lambda right, dlogits, ids, E, dE: right - dE),
    Face("dE", "Only the head's use of E is in it; the lookup's, dE[id] += dx, is missing.",
         lambda right, dlogits, ids, E, dE: dE + writing(dlogits, ids, E)),
    Face("dE", "Only the lookup's use of E is in it; the head's, dlogitsᵀ h, is missing.",
         lambda right, dlogits, ids, E, dE: dE + one_hot(ids, E).T @ reading(dlogits, ids, E)),
    Face("dE", "The second use overwrote the first: `=` where `+=` accumulates. Only the lookup's "
               "gradient is left.",
         lambda right, dlogits, ids, E, dE: one_hot(ids, E).T @ reading(dlogits, ids, E)),
    Face("dE", "The second use overwrote the first: `=` where `+=` accumulates. Only the head's "
               "gradient is left.",
         lambda right, dlogits, ids, E, dE: writing(dlogits, ids, E)),
    Face("dE", "The lookup overwrote the rows that were read: `=` where `+=` accumulates.",
         lambda right, dlogits, ids, E, dE:
             last_of_each(dE + writing(dlogits, ids, E), ids, reading(dlogits, ids, E))),
    Face("dE", LOST, lambda right, dlogits, ids, E, dE: last_of_each(
        dE + writing(dlogits, ids, E), ids,
        (dE + writing(dlogits, ids, E))[ids] + reading(dlogits, ids, E))),
    Face("dE", "On its way to the lookup the gradient was not multiplied with tanh' = 1 - tanh².",
         lambda right, dlogits, ids, E, dE:
             dE + writing(dlogits, ids, E) + one_hot(ids, E).T @ dlogits @ E),
]


# ---- 5 to 7: element by element, row by row ------------------------------------------------------

def softmax(z, axis):
    e = np.exp(z)
    return e / e.sum(axis=axis, keepdims=True)


def scored(logits, targets):
    """one_hot(targets) (N, V)."""
    return np.eye(logits.shape[1])[targets]


CROSS_ENTROPY = [
    Face("dlogits", "The 1/N of the mean is missing: the gradient is that of the sum of the "
                    "losses.",
         lambda right, dloss, logits, targets: right * len(logits)),
    Face("dlogits", "The mean is over N rows, but this is divided by all N·V numbers.",
         lambda right, dloss, logits, targets: right / logits.shape[1]),
    Face("dlogits", "This is the softmax alone: -logits[target], the loss's other term, has a "
                    "gradient too.",
         lambda right, dloss, logits, targets: dloss * softmax(logits, 1) / len(logits)),
    Face("dlogits", "This is the one-hot part alone: the log of the sum has a gradient too.",
         lambda right, dloss, logits, targets: -dloss * scored(logits, targets) / len(logits)),
    Face("dlogits", "The softmax is a sum over the wrong axis: each row n has probabilities of "
                    "its own.",
         lambda right, dloss, logits, targets:
             dloss * (softmax(logits, 0) - scored(logits, targets)) / len(logits)),
    Face("dlogits", "dloss is not in it. The chain rule begins with the gradient that is given.",
         lambda right, dloss, logits, targets: right / dloss),
]


def gelu_parts(x):
    C, A = sqrt(2 / np.pi), 0.044715
    tanh = np.tanh(C * (x + A * x ** 3))
    return (1 + tanh) / 2, x * (1 - tanh * tanh) / 2, C, A


def gelu_face(text, slope):
    """The mistake of taking slope(x, gate, x gate' without u', C, A) for GELU's derivative."""
    return Face("dx", text, lambda right, dy, x: dy * slope(x, *gelu_parts(x)))


GELU = [
    Face("dx", "dy is not in it: this is GELU's own derivative. The chain rule multiplies it with "
               "dy.",
         lambda right, dy, x: right / dy),
    gelu_face("x is in two places, and this is the gradient by way of the first alone: tanh "
              "depends on x as well.", lambda x, gate, rest, C, A: gate),
    gelu_face("This is the gradient by way of tanh alone; the x in front of it counts as well.",
              lambda x, gate, rest, C, A: rest * C * (1 + 3 * A * x * x)),
    gelu_face("The chain rule stops at tanh: the derivative of u, C (1 + 3A x²), is missing.",
              lambda x, gate, rest, C, A: gate + rest),
    gelu_face("The derivative of A x³ is 3A x²; here it is A x².",
              lambda x, gate, rest, C, A: gate + rest * C * (1 + A * x * x)),
    gelu_face("The C of u = C (x + A x³) is missing in its derivative.",
              lambda x, gate, rest, C, A: gate + rest * (1 + 3 * A * x * x)),
    Face("dx", "This is the derivative of the GELU with erf. The one given here, and in GPT-2, "
               "has tanh: close, but another function.",
         lambda right, dy, x: dy * ((1 + np.vectorize(erf, otypes=[float])(x / sqrt(2))) / 2
                                    + x * np.exp(-x * x / 2) / sqrt(2 * np.pi))),
]


def rows_normalised(dy, x, gain):
    centred = x - x.mean(axis=1, keepdims=True)
    inv_std = 1 / np.sqrt((centred * centred).mean(axis=1, keepdims=True) + 1e-5)
    return dy * gain, centred * inv_std, inv_std


def layernorm_face(text, formula):
    """The mistake of taking formula(dxhat, xhat, inv_std) for dx."""
    return Face("dx", text, lambda right, dy, x, gain, bias: formula(*rows_normalised(dy, x, gain)))


def across(values):
    return values.mean(axis=1, keepdims=True)


LAYERNORM = [
    layernorm_face("dx has sums over the row where it needs means: mean and variance have a 1/D.",
                   lambda d, xhat, inv: inv * (d - d.sum(1, keepdims=True)
                                               - xhat * (d * xhat).sum(1, keepdims=True))),
    layernorm_face("dx takes mean and variance for constants: they move with x. (Two terms, the "
                   "mean of dxhat and xhat times the mean of dxhat · xhat, are missing.)",
                   lambda d, xhat, inv: inv * d),
    layernorm_face("dx takes the variance for a constant: the term xhat · mean(dxhat · xhat) is "
                   "missing.",
                   lambda d, xhat, inv: inv * (d - across(d))),
    layernorm_face("dx takes the mean for a constant: the term mean(dxhat) is missing.",
                   lambda d, xhat, inv: inv * (d - xhat * across(d * xhat))),
    layernorm_face("dx has means over the wrong axis: each row n has its own, over its D numbers.",
                   lambda d, xhat, inv:
                       inv * (d - d.mean(axis=0) - xhat * (d * xhat).mean(axis=0))),
    layernorm_face("dx is not divided by the standard deviation.",
                   lambda d, xhat, inv: d - across(d) - xhat * across(d * xhat)),
    Face("dx", "dx leaves out the gain: xhat's gradient is dy · gain.",
         lambda right, dy, x, gain, bias:
             (lambda d, xhat, inv: inv * (d - across(d) - xhat * across(d * xhat)))(
                 *rows_normalised(dy, x, np.ones_like(gain)))),
    Face("dgain", "dgain is a mean over the rows where a sum is wanted: every row adds its part.",
         lambda right, dy, *_: right / len(dy)),
    Face("dbias", "dbias is a mean over the rows where a sum is wanted: every row adds its part.",
         lambda right, dy, *_: right / len(dy)),
    Face("dgain", "dgain is a sum over the wrong axis: gain[d] is in every row n, so sum over "
                  "rows.",
         lambda right, dy, x, gain, bias: (dy * rows_normalised(dy, x, gain)[1]).sum(axis=1)),
    Face("dbias", "dbias is a sum over the wrong axis: bias[d] is in every row n, so sum over "
                  "rows.",
         lambda right, dy, *_: dy.sum(axis=1)),
    Face("dgain", "dgain has x where it needs xhat: gain multiplies the normalised rows.",
         lambda right, dy, x, gain, bias: (dy * x).sum(axis=0)),
]


# ---- 8: causal attention -------------------------------------------------------------------------

def attention(of, masked=True, forward_scale=None, scale=None, kept=1, axis=3):
    """A formula for dq, dk or dv with something changed: `scale` and `forward_scale` are functions
    of H, K; softmax's gradient is w (dw - kept · sum of w dw over the axis)."""
    def formula(right, dy, q, k, v):
        H, T, K = q.shape[1:]
        factor = (scale or forward_scale or standard)(H, K)
        scores = q @ k.swapaxes(2, 3) * (forward_scale or standard)(H, K)
        if masked:
            scores = np.where(np.tri(T, dtype=bool), scores, -np.inf)
        w = softmax(scores, 3)
        dw = dy @ v.swapaxes(2, 3)
        dscores = factor * w * (dw - kept * (w * dw).sum(axis=axis, keepdims=True))
        return {"dq": dscores @ k, "dk": dscores.swapaxes(2, 3) @ q,
                "dv": w.swapaxes(2, 3) @ dy}[of]
    return formula


def standard(H, K):
    return 1 / sqrt(K)


def attention_faces():
    changes = [     # dv does not depend on the last four
        ("The mask is forgotten: these weights look ahead, at s > t.", dict(masked=False)),
        ("The scores are divided by sqrt(D), D = H·K: it has to be sqrt(K), the width of one head.",
         dict(forward_scale=lambda H, K: 1 / sqrt(H * K))),
        ("The weights are computed without 1/sqrt(K).",
         dict(forward_scale=lambda H, K: 1, scale=standard)),
        ("The gradient is divided by sqrt(D), D = H·K, the scores by sqrt(K), the width of one "
         "head: it has to be sqrt(K) in both.", dict(scale=lambda H, K: 1 / sqrt(H * K))),
        ("The 1/sqrt(K) of the scores is missing in their gradient.", dict(scale=lambda H, K: 1)),
        ("Softmax's sum is forgotten: its weights move one another, dz = w (dw - sum of w dw).",
         dict(kept=0)),
        ("Softmax's sum is over the wrong axis: the weights of one query t, over s, add up to 1.",
         dict(axis=2)),
    ]
    return [Face(of, text, attention(of, **change)) for i, (text, change) in enumerate(changes)
            for of in ("dq", "dk", "dv")[:3 if i < 3 else 2]]


CAUSAL = attention_faces() + [
    Face("dv", "dv is weights @ dy: the transpose is missing. Position s gets something from "
               "every position t that looked at it.",
         lambda right, dy, q, k, v: weights(q, k) @ dy),
    Face("dk", "dk is dscores @ q: the transpose is missing. Key s gets something from every "
               "query t.",
         lambda right, dy, q, k, v: dscores(dy, q, k, v) @ q),
]


def weights(q, k):
    T, K = q.shape[2:]
    return softmax(np.where(np.tri(T, dtype=bool), q @ k.swapaxes(2, 3) / sqrt(K), -np.inf), 3)


def dscores(dy, q, k, v):
    """Of q · k, before the division by sqrt(K)."""
    w, dw = weights(q, k), dy @ v.swapaxes(2, 3)
    return w * (dw - (w * dw).sum(axis=3, keepdims=True)) / sqrt(q.shape[3])


# ---- 9 and 10: put together ----------------------------------------------------------------------

def same(x):
    return x


def block_with(past_attention=same, past_mlp=same, into_attention=same, into_mlp=same):
    """The block exercise's forward, with something done to each path of its two forks."""
    def forward(x, w, B, H):
        import block
        import layernorm
        a = layernorm.forward(into_attention(x), w["gain1"], w["bias1"])
        x = past_attention(x) + block.attention(a, w, B, H)
        a = layernorm.forward(into_mlp(x), w["gain2"], w["bias2"])
        return past_mlp(x) + block.mlp(a, w)
    return forward


BLOCK = [
    Face("dx", "The ways past both branches are forgotten: x + f(x) gives dy + what f sends back.",
         forward=block_with(past_attention=cut, past_mlp=cut)),
    Face("dx", "The way past the MLP is forgotten: x + f(x) gives dy + what f sends back.",
         forward=block_with(past_mlp=cut)),
    Face("dx", "The way past attention is forgotten: x + f(x) gives dy + what f sends back.",
         forward=block_with(past_attention=cut)),
    Face("dx", "The way through the MLP is forgotten: its dx has to be added to the way past it.",
         forward=block_with(into_mlp=cut)),
    Face("dx", "The way through attention is forgotten: its dx has to be added to the way past it.",
         forward=block_with(into_attention=cut)),
]


def model_with(reads=same, writes=same):
    """The model exercise's forward, with something done to E where it reads and where it writes."""
    def forward(ids, targets, p, H):
        import cross_entropy
        import logits
        import lookup
        import model
        h = model.stream(lookup.forward(ids, reads(p["E"]), p["P"]), p, H)
        return cross_entropy.forward(logits.forward(h, writes(p["E"])), targets.ravel())
    return forward


MODEL = [
    Face('dp["E"]', "Only the head's use of E is in it: the lookup's has to be added to the same "
                    "array.",
         forward=model_with(reads=cut)),
    Face('dp["E"]', "Only the lookup's use of E is in it: the head's has to be added to the same "
                    "array. (Did the second `=` overwrite the first?)",
         forward=model_with(writes=cut)),
]


def weights_of_block(D, floats):
    w = {name: floats(D) for name in ("gain1", "bias1", "gain2", "bias2")}
    shapes = dict(qkv=(D, 3 * D), out=(D, D), up=(D, 4 * D), down=(4 * D, D))
    for name, (D_in, D_out) in shapes.items():
        w |= {f"W_{name}": floats(D_in, D_out), f"b_{name}": floats(D_out)}
    return w


def weights_of_model(n, floats):
    D = n.H * n.K
    return dict(E=floats(n.V, D), P=floats(n.T + 1, D), gain=floats(D), bias=floats(D),
                blocks=[weights_of_block(D, floats) for _ in range(n.L)])


EXERCISES = [
    Exercise("linear", "y = x W + b", "y", dict(N=3, D_in=3, D_out=3),
             lambda n, ids, floats: dict(x=floats(n.N, n.D_in), W=floats(n.D_in, n.D_out),
                                         b=floats(n.D_out)),
             "layers/linear.py", LINEAR),
    Exercise("lookup", "x = E[ids] + P", "x", dict(B=3, T=3, V=3, D=3),
             lambda n, ids, floats: dict(ids=ids(n.V, n.B, n.T), E=floats(n.V, n.D),
                                         P=floats(n.T + 1, n.D)),
             "layers/lookup.py", LOOKUP),
    Exercise("logits", "logits = h headᵀ", "logits", dict(N=3, V=3, D=3),
             lambda n, ids, floats: dict(h=floats(n.N, n.D), head=floats(n.V, n.D)),
             "layers/logits.py", LOGITS),
    Exercise("tied", "logits = tanh(E[ids]) Eᵀ", "logits", dict(N=3, V=3, D=3),
             lambda n, ids, floats: dict(ids=ids(n.V, n.N), E=floats(n.V, n.D)),
             "model.py, in GPT.backward", TIED, into="dE"),
    Exercise("cross_entropy", "loss = mean of -log softmax(logits)[target]", "loss", dict(N=3, V=3),
             lambda n, ids, floats: dict(logits=floats(n.N, n.V), targets=ids(n.V, n.N)),
             "layers/cross_entropy.py", CROSS_ENTROPY),
    Exercise("gelu", "y = x (1 + tanh(C (x + A x³))) / 2", "y", dict(N=3, D=3),
             lambda n, ids, floats: dict(x=floats(n.N, n.D)),
             "layers/gelu.py", GELU),
    Exercise("layernorm", "y = gain (x - mean) / deviation + bias", "y", dict(N=3, D=4),
             lambda n, ids, floats: dict(x=floats(n.N, n.D), gain=floats(n.D), bias=floats(n.D)),
             "layers/layernorm.py", LAYERNORM),
    Exercise("causal", "y = softmax(q kᵀ / sqrt(K), s <= t) v", "y", dict(B=2, H=2, T=3, K=3),
             lambda n, ids, floats: {name: floats(n.B, n.H, n.T, n.K) for name in "qkv"},
             "layers/causal.py", CAUSAL),
    Exercise("block", "x + attention(norm(x)), x + MLP(norm(x))", "y", dict(B=2, T=3, H=2, K=2),
             lambda n, ids, floats: dict(x=floats(n.B * n.T, n.H * n.K),
                                         w=weights_of_block(n.H * n.K, floats), B=n.B, H=n.H),
             "layers/block.py", BLOCK, examples=25,
             needs=("linear", "gelu", "layernorm", "causal")),
    Exercise("model", "lookup, blocks, norm, logits, loss", "loss",
             dict(L=2, B=2, T=3, V=3, H=2, K=2),
             lambda n, ids, floats: dict(ids=ids(n.V, n.B, n.T), targets=ids(n.V, n.B, n.T),
                                         p=weights_of_model(n, floats), H=n.H),
             "model.py", MODEL, examples=25,
             needs=("lookup", "logits", "cross_entropy", "layernorm", "block")),
]
for exercise in EXERCISES:
    exercise.faces += general(exercise.sizes)
