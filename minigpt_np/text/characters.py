"""A tokenizer whose tokens are the characters of a text."""
import numpy as np

from ..checks import check_text, check_token_ids, show


class CharacterTokenizer:
    """One token for each distinct character of `text`, numbered in the order of their code points.

    characters   the vocabulary as a sorted string; vocab_size is its length, V
    Raises ValueError for an empty text, and for anything but a str.
    """
    end_of_text = None          # as a BPETokenizer's: there is no such token

    def __init__(self, text):
        if not check_text("text", text):
            raise ValueError("text: an empty string given, expected at least one character")
        self.characters = "".join(sorted(set(text)))
        self.vocab_size = len(self.characters)
        self._id_of = {char: v for v, char in enumerate(self.characters)}

    def token(self, v):
        """The bytes of id `v`: its character in UTF-8, "?" for a lone surrogate, which has none."""
        return self.decode([v]).encode("utf-8", "replace")

    def encode(self, text):
        """str of length N -> ids, int64 (N,). Raises ValueError for an unknown character."""
        check_text("text", text)
        try:
            return np.array([self._id_of[char] for char in text], np.int64)
        except KeyError as error:
            char, = error.args
            raise ValueError(f"text: {char!r} given at {text.index(char)}, "
                             f"expected one of {show(self.characters)}") from None

    def decode(self, ids):
        """ids (N,) -> str of length N. Raises ValueError for an id outside 0..V-1."""
        return "".join(self.characters[v] for v in check_token_ids(ids, self.vocab_size))
