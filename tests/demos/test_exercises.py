"""demos/exercises: the package's layers pass, and each classic mistake is called by its name."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minigpt_np import GPT, GPTConfig
from minigpt_np import parameters
from minigpt_np.layers import (block, causal, cross_entropy, gelu, layernorm, linear, logits,
                               lookup)

EXERCISES = Path(__file__).resolve().parents[2] / "demos" / "exercises"

import check
import mistakes

TABLE = {exercise.name: exercise for exercise in mistakes.EXERCISES}


def verdict(name, backward):
    return check.examine(TABLE[name], forward_of(name), backward)


def forward_of(name):
    return check.importlib.import_module(name).forward


# ---- the package's layers, as answers ------------------------------------------------------------

def package_linear(dy, x, W, b):
    grads = parameters.Linear(np.zeros_like(W), np.zeros_like(b))
    _, cache = linear.forward(x, parameters.Linear(W, b))
    return linear.backward(dy, cache, grads), grads.W, grads.b


def package_lookup(dx, ids, E, P):
    dE, dP = np.zeros_like(E), np.zeros_like(P)
    lookup.backward(dx, lookup.forward(ids, E, P)[1], dE, dP)
    return dE, dP


def package_logits(dlogits, h, head):
    dhead = np.zeros_like(head)
    return logits.backward(dlogits, logits.forward(h, head)[1], dhead), dhead


def package_tied(dlogits, ids, E, dE):
    no_P = np.zeros((len(ids), E.shape[1]))
    x, looked_up = lookup.forward(ids[None], E, no_P)
    h = np.tanh(x[0])
    dh = logits.backward(dlogits, logits.forward(h, E)[1], dE)
    lookup.backward((dh * (1 - h * h))[None], looked_up, dE, np.zeros_like(no_P))


def package_cross_entropy(dloss, scores, targets):
    return cross_entropy.backward(dloss, cross_entropy.forward(scores, targets)[1])


def package_gelu(dy, x):
    return gelu.backward(dy, gelu.forward(x)[1])


def package_layernorm(dy, x, gain, bias):
    grads = parameters.LayerNorm(np.zeros_like(gain), np.zeros_like(bias))
    _, cache = layernorm.forward(x, parameters.LayerNorm(gain, bias), 1e-5)
    return layernorm.backward(dy, cache, grads), grads.gain, grads.bias


def package_causal(dy, q, k, v):
    B, H, T, K = q.shape

    def rows(*parts):
        return np.stack(parts, axis=2).transpose(0, 3, 2, 1, 4).reshape(B * T, -1)

    _, cache = causal.forward(rows(q, k, v), B, T, H, 0, None)
    return tuple(causal.split_heads(causal.backward(rows(dy), cache), B, T, 3, H))


def as_block(w):
    """A block exercise's w as the package has it: the same arrays."""
    def pair(name):
        return parameters.Linear(w[f"W_{name}"], w[f"b_{name}"])

    return parameters.Block(parameters.LayerNorm(w["gain1"], w["bias1"]),
                            parameters.Attention(pair("qkv"), pair("out")),
                            parameters.LayerNorm(w["gain2"], w["bias2"]),
                            parameters.MLP(pair("up"), pair("down")))


def package_block(dy, x, w, B, H):
    config = GPTConfig(vocab_size=1, n_layer=1, n_head=H, n_embd=x.shape[1])
    dw = {name: np.zeros_like(array) for name, array in w.items()}
    _, cache = block.forward_pre(x, as_block(w), (B, len(x) // B), config, None)
    return block.backward_pre(dy, cache, as_block(dw)), dw


def package_model(dloss, ids, targets, p, H):
    V, D = p["E"].shape
    config = GPTConfig(vocab_size=V, block_size=len(p["P"]), n_layer=len(p["blocks"]), n_head=H,
                       n_embd=D)
    model = GPT(config, dtype=np.float64)
    for theirs, ours in zip(arrays_of_model(p), arrays_of_parameters(model.params)):
        ours[...] = theirs
    _, _, cache = model.forward(ids, targets)
    grads = model.backward(cache, dloss=dloss)
    dp = check.rebuilt(p, np.zeros_like)
    for theirs, ours in zip(arrays_of_model(dp), arrays_of_parameters(grads)):
        theirs[...] = ours
    return dp


def arrays_of_model(p):
    """The exercise's arrays, in an order of its own."""
    blocks = [as_block(w) for w in p["blocks"]]
    return [p["E"], p["P"], p["gain"], p["bias"]] + arrays_of_blocks(blocks)


def arrays_of_parameters(params):
    """The package's, in the same order."""
    first = [params.E, params.P, params.norm.gain, params.norm.bias]
    return first + arrays_of_blocks(params.blocks)


def arrays_of_blocks(blocks):
    return [array for b in blocks
            for pair in (b.norm1, b.attention.qkv, b.attention.out, b.norm2, b.mlp.up, b.mlp.down)
            for array in vars(pair).values()]


PACKAGE = {name: globals()[f"package_{name}"] for name in TABLE}


@pytest.mark.parametrize("name", TABLE)
def test_the_package_passes(name):
    found = verdict(name, PACKAGE[name])
    assert found.state == "done", found.fault
    assert (EXERCISES.parents[1] / "minigpt_np" / TABLE[name].answer.split(",")[0]).exists()


# ---- classic wrong answers -----------------------------------------------------------------------

RETURNED = {"linear": ("dx", "dW", "db"), "lookup": ("dE", "dP"), "logits": ("dh", "dhead"),
            "cross_entropy": ("dlogits",), "gelu": ("dx",), "layernorm": ("dx", "dgain", "dbias"),
            "causal": ("dq", "dk", "dv")}


def instead(name, **changes):
    """The package's answer to an exercise, one of its gradients computed as given."""
    def backward(*arguments):
        right = PACKAGE[name](*arguments)
        right = right if isinstance(right, tuple) else (right,)
        found = [changes[d](*arguments) if d in changes else x
                 for d, x in zip(RETURNED[name], right)]
        return tuple(found) if len(found) > 1 else found[0]
    return backward


def lookup_fancy(dx, ids, E, P):
    dE, dP = np.zeros_like(E), np.zeros_like(P)
    dE[ids] += dx
    dP[:ids.shape[1]] += dx.sum(axis=0)
    return dE, dP


def lookup_fancy_in_a_loop(dx, ids, E, P):
    dE, dP = np.zeros_like(E), np.zeros_like(P)
    for row, d in zip(ids, dx):
        dE[row] += d
        dP[:len(row)] += d
    return dE, dP


def tied_answer(step):
    """The tied exercise with its last two lines given: step(dE, from head, ids, E, dx)."""
    def backward(dlogits, ids, E, dE):
        h = np.tanh(E[ids])
        step(dE, dlogits.T @ h, ids, E, dlogits @ E * (1 - h * h))
    return backward


def tied_rebinding(dE, head, ids, E, dx):
    dE = dE + head
    np.add.at(dE, ids, dx)


def tied_forgetting_earlier(dE, head, ids, E, dx):
    dE[...] = head
    np.add.at(dE, ids, dx)


def tied_overwriting_head(dE, head, ids, E, dx):
    dE += head
    dE[...] = 0
    np.add.at(dE, ids, dx)


def tied_setting_rows(dE, head, ids, E, dx):
    dE += head
    dE[ids] = dx


def tied_fancy(dE, head, ids, E, dx):
    dE += head
    dE[ids] += dx


def tied_head_only(dE, head, ids, E, dx):
    dE += head


def tied_lookup_only(dE, head, ids, E, dx):
    np.add.at(dE, ids, dx)


def softmax(z, axis):
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def cross_entropy_over_columns(dloss, scores, targets):
    dscores = softmax(scores, axis=0)
    dscores[np.arange(len(targets)), targets] -= 1
    return dscores * dloss / len(targets)


def layernorm_dx(mean=lambda z: z.mean(axis=1, keepdims=True), gained=True, first=1, second=1):
    def dx(dy, x, gain, bias):
        std = np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)
        xhat = (x - x.mean(axis=1, keepdims=True)) / std
        dxhat = dy * gain if gained else dy
        return (dxhat - first * mean(dxhat) - second * xhat * mean(dxhat * xhat)) / std
    return dx


def attention_answer(masked=True, divisor=lambda H, K: K ** 0.5, back=None, axis=-1, subtract=1):
    """Causal attention as a learner may write it."""
    def backward(dy, q, k, v):
        _, H, T, K = q.shape
        scores = q @ k.swapaxes(-1, -2) / divisor(H, K)
        if masked:
            scores[..., np.triu(np.ones((T, T)), 1) == 1] = -np.inf
        w = softmax(scores, -1)
        dv = w.swapaxes(-1, -2) @ dy
        dw = dy @ v.swapaxes(-1, -2)
        dscores = w * (dw - subtract * np.sum(w * dw, axis=axis, keepdims=True))
        dscores /= (back or divisor)(H, K)
        return dscores @ k, dscores.swapaxes(-1, -2) @ q, dv
    return backward


def attention_of_the_first_sequence(dy, q, k, v):
    dq, dk, dv = attention_answer()(dy, q, k, v)
    dv[1:] = 0
    return dq, dk, dv


def block_answer(past_mlp=1, past_attention=1, through_mlp=1):
    """The block exercise, put together from right pieces."""
    import block as given

    def backward(dy, x, w, B, H):
        a1 = given.layernorm.forward(x, w["gain1"], w["bias1"])
        qkv = given.linear.forward(a1, w["W_qkv"], w["b_qkv"])
        q, k, v = [given.heads(part, B, H) for part in np.split(qkv, 3, axis=1)]
        mixed = given.rows(given.causal.forward(q, k, v))
        x2 = x + given.linear.forward(mixed, w["W_out"], w["b_out"])
        a2 = given.layernorm.forward(x2, w["gain2"], w["bias2"])
        hidden = given.linear.forward(a2, w["W_up"], w["b_up"])
        dw = {}

        active = given.gelu.forward(hidden)
        da, dw["W_down"], dw["b_down"] = package_linear(dy, active, w["W_down"], w["b_down"])
        da = package_gelu(da, hidden)
        da, dw["W_up"], dw["b_up"] = package_linear(da, a2, w["W_up"], w["b_up"])
        dx, dw["gain2"], dw["bias2"] = package_layernorm(da, x2, w["gain2"], w["bias2"])
        dx = past_mlp * dy + through_mlp * dx
        da, dw["W_out"], dw["b_out"] = package_linear(dx, mixed, w["W_out"], w["b_out"])
        parts = package_causal(given.heads(da, B, H), q, k, v)
        dqkv = np.concatenate([given.rows(part) for part in parts], axis=1)
        da, dw["W_qkv"], dw["b_qkv"] = package_linear(dqkv, a1, w["W_qkv"], w["b_qkv"])
        da, dw["gain1"], dw["bias1"] = package_layernorm(da, x, w["gain1"], w["bias1"])
        return past_attention * dx + da, dw
    return backward


def model_answer(reads=True, writes=True):
    """The package's model with head and lookup taken apart: what either gives dE alone."""
    def backward(dloss, ids, targets, p, H):
        dp = package_model(dloss, ids, targets, p, H)
        h = sys.modules["model"].stream(p["E"][ids] + p["P"][:ids.shape[1]], p, H)
        dscores = package_cross_entropy(dloss, h @ p["E"].T, targets.ravel())
        head = dscores.T @ h
        dp["E"] = reads * (dp["E"] - head) + writes * head
        return dp
    return backward


D_OF_HEADS = dict(divisor=lambda H, K: (H * K) ** 0.5)

WRONG = {
    "fancy index": ("lookup", lookup_fancy, "loses repeated ids"),
    "fancy index in a loop": ("lookup", lookup_fancy_in_a_loop, "Here: within each sequence"),
    "fancy index, tied": ("tied", tied_answer(tied_fancy), "loses repeated ids"),
    "transpose": ("linear", instead("linear", dx=lambda dy, x, W, b: dy @ W),
                  "dx is dy @ W: the transpose is missing"),
    "transpose of x": ("linear", instead("linear", dW=lambda dy, x, W, b: x @ dy), "dW is x @ dy"),
    "transposed": ("linear", instead("linear", dW=lambda dy, x, W, b: dy.T @ x),
                   "the transpose of what it should be"),
    "transpose too many": ("logits", instead("logits", dh=lambda d, h, head: d @ head.T),
                           "a transpose too many"),
    "head transposed": ("logits", instead("logits", dhead=lambda d, h, head: h.T @ d),
                        "head is (V, D)"),
    "1/N": ("cross_entropy",
            instead("cross_entropy", dlogits=lambda d, z, t:
                                     len(z) * package_cross_entropy(d, z, t)),
            "The 1/N of the mean is missing"),
    "softmax over columns": ("cross_entropy", cross_entropy_over_columns, "over the wrong axis"),
    "no dloss": ("cross_entropy", lambda d, z, t: package_cross_entropy(1.0, z, t),
                 "dloss is not in it"),
    "mean for sum": ("linear", instead("linear", db=lambda dy, x, W, b: dy.mean(axis=0)),
                     "It is 1/N of the right"),
    "= for +=": ("tied", tied_answer(tied_forgetting_earlier), "What was in dE is lost"),
    "= for +=, rows": ("tied", tied_answer(tied_setting_rows), "The lookup overwrote the rows"),
    "= for +=, all": ("tied", tied_answer(tied_overwriting_head),
                      "The second use overwrote the first"),
    "rebinding": ("tied", tied_answer(tied_rebinding), "dE is as it was before"),
    "head only": ("tied", tied_answer(tied_head_only), "Only the head's use"),
    "lookup only": ("tied", tied_answer(tied_lookup_only), "Only the lookup's use"),
    "wrong axis": ("linear", instead("linear", db=lambda dy, x, W, b: dy.sum(axis=1)),
                   "over the wrong axis"),
    "wrong axis of a softmax": ("causal", attention_answer(axis=-2),
                                "Softmax's sum is over the wrong axis"),
    "mask": ("causal", attention_answer(masked=False), "The mask is forgotten"),
    "sqrt(D)": ("causal", attention_answer(**D_OF_HEADS), "The scores are divided by sqrt(D)"),
    "sqrt(D), backward": ("causal", attention_answer(back=D_OF_HEADS["divisor"]),
          "The gradient is divided by sqrt(D)"),
    "softmax's sum": ("causal", attention_answer(subtract=0), "Softmax's sum is forgotten"),
    "first sequence": ("causal", attention_of_the_first_sequence,
                       "It is right wherever B = 1, and wrong where B > 1"),
    "first row": ("linear", instead("linear", dW=lambda dy, x, W, b: np.outer(x[0], dy[0])),
                  "It is right wherever N = 1, and wrong where N > 1"),
    "sums for means": ("layernorm", instead("layernorm", dx=layernorm_dx(
        lambda z: z.sum(axis=1, keepdims=True))),
                       "sums over the row where it needs means"),
    "constants": ("layernorm", instead("layernorm", dx=layernorm_dx(first=0, second=0)),
                  "mean and variance for constants"),
    "means down": ("layernorm", instead("layernorm", dx=layernorm_dx(lambda z: z.mean(axis=0))),
                   "means over the wrong axis"),
    "no gain": ("layernorm", instead("layernorm", dx=layernorm_dx(gained=False)),
                "leaves out the gain"),
    "mean of the gain": ("layernorm", instead("layernorm", dgain=lambda dy, x, gain, bias:
                                              package_layernorm(dy, x, gain, bias)[1] / len(x)),
                         "dgain is a mean over the rows where a sum is wanted"),
    "no dy": ("gelu", lambda dy, x: package_gelu(np.ones_like(dy), x), "dy is not in it"),
    "sign": ("gelu", lambda dy, x: -package_gelu(dy, x), "wrong sign"),
    "zeros": ("gelu", lambda dy, x: np.zeros_like(x), "all zeros"),
    "past the MLP": ("block", block_answer(past_mlp=0), "The way past the MLP is forgotten"),
    "past attention": ("block", block_answer(past_attention=0),
                       "The way past attention is forgotten"),
    "through the MLP": ("block", block_answer(through_mlp=0),
                        "The way through the MLP is forgotten"),
    "model without lookup": ("model", model_answer(reads=False), "Only the head's use of E"),
    "model without head": ("model", model_answer(writes=False), "Only the lookup's use of E"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_classic_mistake_is_called_by_its_name(mistake):
    name, backward, expected = WRONG[mistake]
    found = verdict(name, backward)
    assert found.state == "wrong"
    assert len(found.texts) == 1 and expected in found.texts[0], found.texts


def test_right_pieces_without_a_mistake_pass():
    """What the wrong answers above are made of is right if nothing is changed."""
    for name, backward in [("causal", attention_answer()), ("block", block_answer()),
                           ("layernorm", instead("layernorm", dx=layernorm_dx())),
                           ("model", model_answer())]:
        assert verdict(name, backward).state == "done"


# ---- the table of mistakes -----------------------------------------------------------------------

SPECIAL = [pytest.param(exercise, face, id=f"{exercise.name}: {face.of}: {face.text[:30]}")
           for exercise in mistakes.EXERCISES for face in exercise.faces if face.of != "*"]


@pytest.mark.parametrize("exercise, face", SPECIAL)
def test_every_mistake_in_the_table_is_told_from_every_other(exercise, face, monkeypatch):
    """Whoever gives just the numbers of one gets its text: none is out of reach, or another's."""
    def answer(case, backward):
        right = check.remembered(case, face.of)
        try:
            return {face.of: check.wrong_gradient(face, case, face.of, right)}
        except (ValueError, IndexError) as error:
            return check.Fault(str(error), [])

    monkeypatch.setattr(check, "answer", answer)
    case = check.random_case(exercise, forward_of(exercise.name), 1000)
    texts = check.diagnosis(exercise, None, case, check.Fault("", [face.of]))
    assert texts == [face.text.format(name=face.of)]


# ---- mistakes of another kind --------------------------------------------------------------------

def integers(dx, ids, E, P):
    dE, dP = package_lookup(dx, ids, E, P)
    return dE.astype(int), dP


def writes_into_its_input(dy, x, W, b):
    dx, dW, db = package_linear(dy, x, W, b)
    x *= 2
    return dx, dW, db


def looks_up_too_far(dx, ids, E, P):
    return E[ids + 1], P


@pytest.mark.parametrize("name, backward, expected", [
    ("linear", lambda *_: None, "backward returned None, expected dx, dW, db"),
    ("linear", lambda dy, x, W, b: (dy, x), "backward returned a tuple of 2, expected dx, dW, db"),
    ("linear", instead("linear", db=lambda dy, x, W, b: dy.sum(axis=0, keepdims=True)),
     "db has shape (1, 1), expected (1,), the shape of b"),
    ("linear", instead("linear", dx=lambda *_: None),
     "dx is None, expected an array of shape (1, 1)"),
    ("linear", instead("linear", dW=lambda dy, x, W, b: (x.T @ dy).astype(np.float32)),
     "dW holds float32"),
    ("linear", writes_into_its_input, "backward changed its argument x"),
    ("lookup", integers, "dE holds int64, whole numbers"),
    ("lookup", looks_up_too_far, "IndexError: index 1 is out of bounds"),
    ("gelu", lambda dy, x: np.full(x.shape, np.nan), "dx holds NaN"),
    ("block", lambda dy, x, w, B, H: (dy, {}),
     "dw is a dict of 0, expected a dict of gain1, bias1"),
    ("model", lambda dloss, ids, targets, p, H: {**p, "blocks": []},
     'dp["blocks"] is a list of 0, expected a list of 1'),
])
def test_what_is_no_answer_is_said_to_be_none(name, backward, expected):
    found = verdict(name, backward)
    assert found.state == "wrong" and expected in found.fault.text


def test_an_answer_that_changes_is_found_out():
    kept = {}

    def backward(dy, x):
        kept.setdefault(x.shape, np.zeros(x.shape))
        kept[x.shape] += package_gelu(dy, x)
        return kept[x.shape]

    found = verdict("gelu", backward)
    assert found.state == "wrong" and "does not always give the same answer" in found.fault.text


@pytest.mark.parametrize("name, gradient",
                         [("linear", "dx"), ("layernorm", "dgain"), ("causal", "dv")])
def test_a_mistake_of_no_known_kind_is_given_no_name(name, gradient):
    def stretched(*arguments):
        right = PACKAGE[name](*arguments)[RETURNED[name].index(gradient)]
        return right * np.linspace(1, 1.1, right.size).reshape(right.shape) + 0.01

    found = verdict(name, instead(name, **{gradient: stretched}))
    assert found.state == "wrong" and found.fault.names == [gradient] and not found.texts


# ---- on the terminal -----------------------------------------------------------------------------

@pytest.fixture
def learner(monkeypatch):
    """learner(name=backward, ...) has these written in the exercises' files."""
    def write(**answers):
        for name, backward in answers.items():
            monkeypatch.setattr(check.importlib.import_module(name), "backward", backward)
    check.check.cache_clear()
    yield write
    check.check.cache_clear()


def printed(capsys, *arguments):
    status = check.main(list(arguments))
    text = capsys.readouterr().out
    assert all(len(line) <= 80 for line in text.splitlines()), text
    return status, text


def test_the_overview_says_which_are_done(learner, capsys):
    learner(linear=package_linear, lookup=lookup_fancy)
    status, text = printed(capsys)
    rows = {line.split()[1]: line for line in text.splitlines() if line[:3].strip().isdigit()}
    assert status == 0 and list(rows) == list(TABLE)
    assert rows["linear"].endswith(" done") and rows["lookup"].endswith(" wrong")
    assert all(rows[name].endswith("not written yet") for name in list(rows)[2:])


def test_the_smallest_input_is_printed(learner, capsys):
    learner(lookup=lookup_fancy, linear=package_linear)
    status, text = printed(capsys, "lookup", "linear")
    assert status == 1
    assert "ids (1, 2)    [[0 0]]" in text and "dE expected" in text
    assert "loses repeated ids" in text
    assert "linear: done." in text and "minigpt_np/layers/linear.py" in text
    assert printed(capsys, "linear")[0] == 0


def test_of_a_learners_error_only_the_own_line_is_shown(learner, capsys):
    learner(lookup=looks_up_too_far)
    status, text = printed(capsys, "lookup")
    assert status == 1 and "return E[ids + 1], P" in text and "IndexError" in text
    assert "Traceback" not in text and "site-packages" not in text


def test_all_that_is_printed_fits_80_columns(learner, capsys):
    learner(linear=instead("linear", dx=lambda dy, x, W, b: dy @ W), layernorm=PACKAGE["layernorm"],
            gelu=PACKAGE["gelu"], causal=attention_answer(**D_OF_HEADS),
            block=block_answer(past_mlp=0),
            cross_entropy=lambda d, z, t: package_cross_entropy(1.0, z, t))
    _, text = printed(capsys, "linear", "causal", "block", "cross_entropy")
    assert "It is made of linear, causal: get that right first." in text
    assert 'W_up' in text


def test_a_block_of_what_is_not_written_says_what_is_missing(learner, capsys):
    learner(block=lambda dy, x, w, B, H: sys.modules["linear"].backward(dy, x, w["W_out"], 0))
    status, text = printed(capsys, "block")
    assert status == 1 and "It is up to you: linear.py" in text


def test_a_broken_forward_is_the_files_fault(learner, capsys, monkeypatch):
    monkeypatch.setattr(sys.modules["gelu"], "C", "two")
    learner(gelu=package_gelu)
    status, text = printed(capsys, "gelu")
    assert status == 1 and "gelu.py, line " in text and "u = C * (x" in text


def test_an_unknown_exercise_and_a_missing_hypothesis_are_refused(monkeypatch):
    with pytest.raises(ValueError, match="exercise: 'softmax' given, expected one of\nlinear, "):
        check.main(["softmax"])
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(ValueError, match="pip install hypothesis"):
        check.main([])


def test_as_a_program(tmp_path):
    """A copy of the folder with a mistake in it, run as a learner would."""
    folder = tmp_path / "demos" / "exercises"
    for name in ("exercises", "lib"):
        shutil.copytree(EXERCISES.parent / name, folder.parent / name)
    with open(folder / "gelu.py", "a", encoding="utf-8") as file:
        file.write("\n\ndef backward(dy, x):\n    return dy +\n")
    found = subprocess.run([sys.executable, str(folder / "check.py"), "gelu"], cwd=tmp_path,
                           env=dict(os.environ, PYTHONPATH=str(EXERCISES.parents[1])),
                           capture_output=True, text=True, encoding="utf-8")
    assert found.returncode == 1 and found.stderr == ""
    assert "return dy +\nSyntaxError: invalid syntax" in found.stdout
    assert sorted(p.name for p in tmp_path.iterdir()) == ["demos"]
