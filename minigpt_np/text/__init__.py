"""Text to ids and back."""
from .bpe import BPETokenizer
from .gpt1 import GPT1Tokenizer
from .tokenizer_files import TokenizerFiles


def open_tokenizer(folder):
    """The BPETokenizer or GPT1Tokenizer of a folder. Raises as their from_folder."""
    files = TokenizerFiles(folder)
    return (BPETokenizer if files.kind == "byte-level" else GPT1Tokenizer).from_files(files)
