"""The gradients of the two exercises that are made of others, step by step: what is right, and what
comes of leaving something out. Each piece is differentiated by a complex step: no backward pass is used.
"""
from dataclasses import dataclass
from math import erf, sqrt

import numpy as np

from minigpt_np.gradcheck import COMPLEX_STEP

from .files import given


@dataclass
class Step:
    """One piece's turn in a backward pass: what it is given, and the gradients that come out at its side.

    piece      name of the exercise whose backward it is
    name       of the gradient that it is given
    about      what that is the gradient of
    dout       the right one
    arguments  its other arguments, as they should be
    beside     names of the gradients of parameters that it returns
    """
    piece: str
    name: str
    about: str
    dout: object
    arguments: tuple
    beside: tuple = ()


def vjp(function, dout, *arguments):
    """Gradients of sum(dout · function(*arguments)) with respect to the float arrays among them, by complex step."""
    arguments = [np.array(x, complex) if is_float(x) else x for x in arguments]
    found = []
    for x in arguments:
        if isinstance(x, np.ndarray) and x.dtype.kind == "c":
            gradient = np.zeros(x.shape)
            for i in np.ndindex(x.shape):
                x[i] += 1j * COMPLEX_STEP
                gradient[i] = np.sum(dout * function(*arguments)).imag / COMPLEX_STEP
                x[i] = x[i].real
            found.append(gradient)
    return found


def stacked_vjp(function, dout, *arguments):
    """The same, all numbers of an array moved at once, each in a copy of its own: the function sees a stack of them.

    It has to treat each layer of a stack (n, ...) alike, as linear.forward and gelu.forward do.
    """
    found = []
    for i, x in enumerate(arguments):
        steps = np.eye(x.size).reshape(x.size, *[1] * (2 - x.ndim), *x.shape)
        y = function(*arguments[:i], x + 1j * COMPLEX_STEP * steps, *arguments[i + 1:])
        found.append(np.sum(dout * y, axis=(1, 2)).imag.reshape(x.shape) / COMPLEX_STEP)
    return found


def is_float(x):
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


VJP = {"linear": stacked_vjp, "gelu": stacked_vjp}


def block_gradients(dy, x, w, B, H, steps=None, past_mlp=1, through_mlp=1, past_attention=1, through_attention=1,
                    attention_gets="dx2", norm2_at="x2", norm1_at="x", down_at="active", gelu="tanh", gelu_at="hidden",
                    sum_of="x and attention", dx_from="dx2", order="qkv"):
    """{"dx": ..., 'dw["gain1"]': ...} of the block exercise; appends each Step to `steps`.

    The rest are ways to be wrong, each the right way unless given: a factor 0 leaves out a path.
    """
    pieces, dw = given(), {}
    linear, layernorm = pieces["linear"].forward, pieces["layernorm"].forward
    heads, rows = pieces["block"].heads, pieces["block"].rows
    steps = [] if steps is None else steps

    def step(piece, name, about, dout, arguments, keys=()):
        """Takes note of the step and of the parameters' gradients; returns those of the inputs."""
        steps.append(Step(piece, name, about, dout, arguments, tuple(f'dw["{key}"]' for key in keys)))
        gradients = VJP.get(piece, vjp)(pieces[piece].forward, dout, *arguments)
        n = len(gradients) - len(keys)
        dw.update(zip(keys, gradients[n:]))
        return gradients[:n]

    a1 = layernorm(x, w["gain1"], w["bias1"])
    qkv = linear(a1, w["W_qkv"], w["b_qkv"])
    q, k, v = [heads(part, B, H) for part in np.split(qkv, 3, axis=1)]
    mixed = rows(pieces["causal"].forward(q, k, v))
    attended = linear(mixed, w["W_out"], w["b_out"])
    x2 = {"x and attention": x + attended, "x": x, "attention": attended}[sum_of]
    a2 = layernorm(x2, w["gain2"], w["bias2"])
    hidden = linear(a2, w["W_up"], w["b_up"])
    active = pieces["gelu"].forward(hidden)

    dactive, = step("linear", "dy", "the MLP's output", dy,
                    (active if down_at == "active" else hidden, w["W_down"], w["b_down"]), ("W_down", "b_down"))
    if gelu == "tanh":
        dhidden, = step("gelu", "dactive", "GELU's output", dactive, (hidden if gelu_at == "hidden" else active,))
    else:
        dhidden = dactive * (1 if gelu == "forgotten" else erf_slope(hidden))
    da2, = step("linear", "dhidden", "GELU's input", dhidden, (a2, w["W_up"], w["b_up"]), ("W_up", "b_up"))
    dmlp, = step("layernorm", "da2", "norm2's output", da2,
                 (x2 if norm2_at == "x2" else x, w["gain2"], w["bias2"]), ("gain2", "bias2"))
    dx2 = past_mlp * dy + through_mlp * dmlp
    dmixed, = step("linear", "dx2", "the sum after attention", dx2 if attention_gets == "dx2" else dy,
                   (mixed, w["W_out"], w["b_out"]), ("W_out", "b_out"))
    parts = dict(zip("qkv", step("causal", "dmixed", "the heads' output", heads(dmixed, B, H), (q, k, v))))
    dqkv = np.concatenate([rows(parts[letter]) for letter in order], axis=1)
    da1, = step("linear", "dqkv", "q, k and v", dqkv, (a1, w["W_qkv"], w["b_qkv"]), ("W_qkv", "b_qkv"))
    dattention, = step("layernorm", "da1", "norm1's output", da1,
                       ({"x": x, "x2": x2, "a1": a1}[norm1_at], w["gain1"], w["bias1"]), ("gain1", "bias1"))
    dx = past_attention * (dx2 if dx_from == "dx2" else dy) + through_attention * dattention
    return {"dx": dx} | {f'dw["{key}"]': dw[key] for key in w}


def erf_slope(x):
    """The derivative of x Φ(x), the GELU with erf."""
    Phi = (1 + np.vectorize(erf, otypes=[float])(x / sqrt(2))) / 2
    return Phi + x * np.exp(-x * x / 2) / sqrt(2 * np.pi)


def model_gradients(dloss, ids, targets, p, H, steps=None, lookup=1, head=1, order="C", norm_at="x", blocks_at="own",
                    norm=True, backwards=True, in_order=True):
    """{'dp["E"]': ..., 'dp["blocks"][0]["gain1"]': ...} of the model exercise; the rest as in block_gradients."""
    pieces = given()
    steps = [] if steps is None else steps
    forward_block = pieces["block"].forward
    B, T = ids.shape
    D = p["E"].shape[1]

    streams = [pieces["lookup"].forward(ids, p["E"], p["P"]).reshape(B * T, D)]
    for w in p["blocks"]:
        streams.append(forward_block(streams[-1], w, B, H))
    x = streams.pop()
    h = pieces["layernorm"].forward(x, p["gain"], p["bias"])
    scores = pieces["logits"].forward(h, p["E"])

    found = {}
    flat = targets.ravel(order)
    steps.append(Step("cross_entropy", "dloss", "the loss", dloss, (scores, flat)))
    dscores, = vjp(pieces["cross_entropy"].forward, dloss, scores, flat)
    steps.append(Step("logits", "dlogits", "the logits", dscores, (h, p["E"])))
    dh, dhead = vjp(pieces["logits"].forward, dscores, h, p["E"])
    normed = (x if norm_at == "x" else h, p["gain"], p["bias"])
    steps.append(Step("layernorm", "dh", "the last norm's output", dh, normed, ('dp["gain"]', 'dp["bias"]')))
    dx, found['dp["gain"]'], found['dp["bias"]'] = vjp(pieces["layernorm"].forward, dh, *normed)
    dx = dx if norm else dh
    blocks = [*enumerate(p["blocks"])]
    for i, w in reversed(blocks) if backwards else blocks:
        at = streams[i] if blocks_at == "own" else streams[0] if blocks_at == "first" else x
        names = [f'dp["blocks"][{i}]["{key}"]' for key in w]
        steps.append(Step("block", f"dx{i + 1}", f"block {i}'s output", dx,
                          (at, w, B, H), tuple(names)))
        gradients = block_gradients(dx, at, w, B, H)
        dx = gradients.pop("dx")
        found |= dict(zip(names, gradients.values()))
    dx = dx.reshape(B, T, D)
    steps.append(Step("lookup", "dx0", "the lookup's output", dx, (ids, p["E"], p["P"]), ('dp["E"]', 'dp["P"]')))
    dE, dP = vjp(pieces["lookup"].forward, dx, ids, p["E"], p["P"])
    if not in_order:
        L, label = len(blocks), 'dp["blocks"][{}]["{}"]'
        found |= {label.format(i, key): found[label.format(L - 1 - i, key)] for i, w in blocks for key in w}
    return {'dp["E"]': head * dhead + lookup * dE, 'dp["P"]': dP} | found
