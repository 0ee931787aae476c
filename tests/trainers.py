"""Trainers of a tiny model, for the tests of training."""
import os
import warnings
from dataclasses import replace

import numpy as np
import pytest

from minigpt_np import GPT, GPTConfig
from minigpt_np.training import memory
from minigpt_np.training.optim import AdamW
from minigpt_np.training.trainer import Trainer

CONFIG = GPTConfig(vocab_size=7, block_size=4, n_layer=1, n_head=2, n_embd=4)
IDS = np.random.default_rng(0).integers(0, 7, (5, 4))
forks = pytest.mark.skipif(not memory.FORKS, reason="processes are not forked here")


def make_trainer(kind=AdamW, threads=1, seed=0, dtype=np.float32, dropout=0.0, lr=0.1, tie=True,
                 **options):
    config = replace(CONFIG, tie_embeddings=tie, resid_pdrop=dropout)
    model = GPT(config, seed, dtype)
    if dropout:
        options = {"rng": np.random.default_rng(seed)} | options
    return Trainer(model, kind(model.params, lr), threads=threads, **options)


def arrays_of(trainer):
    """The arrays that a step writes."""
    return [trainer.model.params.flat, trainer.grads.flat, *trainer.optimizer.arrays().values()]


def snapshot(trainer, generators=None):
    """All that the next step depends on, copied."""
    arrays = [trainer.model.params.flat, *trainer.optimizer.arrays().values()]
    states = [str(rng.bit_generator.state) for rng in (trainer.rng, *(generators or {}).values())
              if rng is not None]
    return ([array.tobytes() for array in arrays], trainer.check(), trainer.schedule,
            trainer.half_updated, trainer.optimizer.check(), states)


def in_child(work):
    """Call work() in a fork of this process; whether it ended well."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)         # that there are other threads
        pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1] == 0
