"""The end of it all: a GPT of the package, trained by the learner's own backward passes."""
import sys
from functools import partial

import numpy as np

from lib.texts import documentation
from minigpt_np import GPT, AdamW, CharacterTokenizer, GPTConfig, Trainer
from minigpt_np.training.data import random_batch
from minigpt_np.training.progress import Progress

from . import files
from .exercises import TABLE
from .steps import Record
from .verdict import Process

STEPS = 100
# so small that an answer may loop in Python
SIZES = dict(n_layer=1, n_head=2, n_embd=16, block_size=16)
B = 2
TO_ROUNDING = 1e-9      # of the loss: rounding errors of 1e-16 a step grow as the weights move


class OwnBackward(GPT):
    """The package's GPT, whose gradient is the learner's: model.backward is that of exercise 12."""
    model_backward = None

    def forward(self, ids, targets=None, rng=None):
        logits, loss, _ = super().forward(ids, targets, rng)
        return logits, loss, (ids, targets)

    def backward(self, cache, grads, dloss=1.0):
        ids, targets = cache
        dp = self.model_backward(dloss, ids, targets, as_exercise(self.params), self.config.n_head)
        add(as_exercise(grads), dp)
        return grads


def as_exercise(params):
    """The package's parameters, built like the exercise's p: the same arrays."""
    return dict(E=params.E, P=params.P, gain=params.norm.gain, bias=params.norm.bias,
                blocks=[as_w(block) for block in params.blocks])


def as_w(block):
    linears = dict(qkv=block.attention.qkv, out=block.attention.out, up=block.mlp.up,
                   down=block.mlp.down)
    w = dict(gain1=block.norm1.gain, bias1=block.norm1.bias, gain2=block.norm2.gain,
             bias2=block.norm2.bias)
    for name, linear in linears.items():
        w |= {f"W_{name}": linear.W, f"b_{name}": linear.b}
    return w


def add(total, terms):
    """total += terms, for arrays in the same nested dicts and lists."""
    for key in total if isinstance(total, dict) else range(len(total)):
        if isinstance(total[key], np.ndarray):
            total[key] += terms[key]
        else:
            add(total[key], terms[key])


# ---- in a process of its own ---------------------------------------------------------------------

def losses(folder, text, steps):
    """Yields for every step the loss of the learner's model and that of the package's."""
    load = partial(files.load, folder=folder)
    Record().load(TABLE["model"], load)
    OwnBackward.model_backward = staticmethod(load("model").backward)
    tokenizer = CharacterTokenizer(text)
    tokens = tokenizer.encode(text)
    runs = [run(model, tokens, tokenizer.vocab_size) for model in (OwnBackward, GPT)]
    for _ in range(steps):
        yield [next(each) for each in runs]


def run(model_class, tokens, vocab_size):
    """Yields the loss of each step; float64, so that two ways of adding stay together."""
    config = GPTConfig(vocab_size=vocab_size, **SIZES, embd_pdrop=0, attn_pdrop=0, resid_pdrop=0)
    model = model_class(config, seed=0, dtype=np.float64)
    trainer = Trainer(model, AdamW(model.params, 2e-3), threads=1)
    rng = np.random.default_rng(0)
    while True:
        yield trainer.step(*random_batch(tokens, B, config.block_size, rng))[0]


# ---- shown ---------------------------------------------------------------------------------------

def trained(folder, show=print):
    """Train, and show both losses as they go; returns whether they are the same to rounding."""
    items = Process(losses, str(folder), documentation(), STEPS).items()
    show("")
    show("Now they train: the package's GPT with your backward passes in it, and the")
    show(f"package's own. The default text, {STEPS} steps each, in float64;")
    L, H, D, T = SIZES.values()
    show(f"L = {L}, H = {H}, D = {D}, T = {T}, B = {B}.")
    show("")
    show("  step   loss, yours   loss, the package's   difference")
    progress, worst, curve = Progress(STEPS, sys.stderr, patience=1), 0.0, []
    for step, (yours, theirs) in enumerate(items):
        progress.update(step + 1, "steps of training")
        curve.append((yours, theirs))
        worst = max(worst, abs(yours - theirs) / abs(theirs))
        if step % 10 == 0 or step == STEPS - 1:
            show(f"{step:6} {yours:13.6f} {theirs:21.6f} {abs(yours - theirs):12.0e}")
    same = worst <= TO_ROUNDING
    progress.clear()
    show("")
    if same:
        show(f"One curve: they differ by {worst:.0e} of the loss at most, which is rounding.")
        show(f"From {curve[0][0]:.2f} to {curve[-1][0]:.2f}, and every derivative in it is yours.")
    else:
        show(f"They differ by {worst:.0e} of the loss, which is more than rounding.")
    return same
