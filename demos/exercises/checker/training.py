"""The end of it all: a GPT of the package, trained by the learner's own backward passes."""
import numpy as np

from lib.texts import documentation
from minigpt_np import GPT, AdamW, CharacterTokenizer, GPTConfig
from minigpt_np.parameters import Parameters
from minigpt_np.training.data import random_batch

from .exercises import leaves

STEPS = 100
# so small that an answer may loop in Python
SIZES = dict(n_layer=1, n_head=2, n_embd=16, block_size=16)
B = 2


def as_exercise(params):
    """The package's parameters, built like the exercise's p: the same arrays."""
    return dict(E=params.E, P=params.P, gain=params.norm.gain, bias=params.norm.bias,
                blocks=[as_w(block) for block in params.blocks])


def as_w(block):
    w = dict(gain1=block.norm1.gain, bias1=block.norm1.bias, gain2=block.norm2.gain,
             bias2=block.norm2.bias)
    for name, linear in [("qkv", block.attention.qkv), ("out", block.attention.out),
                         ("up", block.mlp.up), ("down", block.mlp.down)]:
        w |= {f"W_{name}": linear.W, f"b_{name}": linear.b}
    return w


def losses(tokens, vocab_size, model_backward=None):
    """Yields the loss of each step of training with the gradient of model_backward, or with the
    package's own; all else is the same."""
    config = GPTConfig(vocab_size=vocab_size, **SIZES, embd_pdrop=0, attn_pdrop=0, resid_pdrop=0)
    model = GPT(config, seed=0, dtype=np.float64)   # so that two ways of adding stay together
    optimizer, rng = AdamW(model.params, 2e-3), np.random.default_rng(0)
    while True:
        ids, targets = random_batch(tokens, B, config.block_size, rng)
        _, loss, cache = model.forward(ids, targets)
        if model_backward is None:
            grads = model.backward(cache)
        else:
            grads = Parameters(config, np.float64)
            given = dict(leaves("dp", model_backward(1.0, ids, targets, as_exercise(model.params),
                                                     config.n_head)))
            for label, total in leaves("dp", as_exercise(grads)):
                total += given[label]
        optimizer.step(grads)
        yield loss


def train_both(model_backward):
    """Train with the learner's backward and with the package's, and print both losses."""
    tokenizer = CharacterTokenizer(text := documentation())
    tokens = tokenizer.encode(text)
    runs = [losses(tokens, tokenizer.vocab_size, each) for each in (model_backward, None)]
    L, H, D, T = SIZES.values()
    print("\nNow they train: the package's GPT with your backward passes in it, and the\n"
          f"package's own. The default text, {STEPS} steps each, in float64;\n"
          f"L = {L}, H = {H}, D = {D}, T = {T}, B = {B}.\n\n"
          "  step   loss, yours   loss, the package's   difference", flush=True)
    for step, (yours, theirs) in zip(range(STEPS), zip(*runs)):
        if step % 10 == 0 or step == STEPS - 1:
            print(f"{step:6} {yours:13.6f} {theirs:21.6f} {abs(yours - theirs):12.0e}", flush=True)
    print("\nDifferences below 1e-9 are rounding: it is one curve, and every derivative is yours.")
