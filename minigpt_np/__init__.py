"""A GPT in pure NumPy, its backward written by hand, in which one matrix E is lookup and head.

Everything a user needs can be imported from here.
"""
from .config import PRESETS, GPTConfig
from .model import GPT
from .parameters import Parameters
from .text.bpe import BPETokenizer
from .text.characters import CharacterTokenizer
from .training.optim import SGD, AdamW, WarmupCosine
from .training.trainer import Trainer, evaluate

__all__ = ["GPT", "GPTConfig", "PRESETS", "Parameters", "BPETokenizer", "CharacterTokenizer",
           "AdamW", "SGD", "WarmupCosine", "Trainer", "evaluate"]
