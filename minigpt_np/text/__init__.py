"""Text to ids and back."""
from . import tokenizer_files
from .bpe import BPETokenizer
from .gpt1 import GPT1Tokenizer

KINDS = {"byte-level": BPETokenizer, "GPT-1's": GPT1Tokenizer}


def open_tokenizer(folder):
    """The BPETokenizer or GPT1Tokenizer of a folder, as its files are. Raises as their from_folder."""
    files = tokenizer_files.read_folder(folder)
    return KINDS[files.kind].from_saved(files)
