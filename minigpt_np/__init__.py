"""A GPT in pure NumPy, forward and backward written by hand, in which one matrix E reads and writes."""
from .config import PRESETS, GPTConfig
from .model import GPT
from .parameters import Parameters
