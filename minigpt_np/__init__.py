"""A GPT in pure NumPy, its backward written by hand, in which one matrix E is lookup and head.

Everything a user needs can be imported from here. The training and text modules are loaded on first
use, so that whoever only runs a model does not wait for them.
"""
from importlib import import_module

from .config import PRESETS, GPTConfig
from .model import GPT
from .parameters import Parameters

_LAZY = {
    "Trainer": "training.trainer", "evaluate": "training.trainer",
    "AdamW": "training.optim", "SGD": "training.optim", "WarmupCosine": "training.optim",
    "BPETokenizer": "text.bpe", "CharacterTokenizer": "text.characters",
}
__all__ = ["GPT", "GPTConfig", "PRESETS", "Parameters", *_LAZY]


def __getattr__(name):
    if name not in _LAZY:
        raise AttributeError(f"module 'minigpt_np' has no attribute {name!r}")
    return getattr(import_module("." + _LAZY[name], __name__), name)


def __dir__():
    return __all__
