"""A tokenizer whose tokens are the characters of a text."""
import numpy as np

from ..checks import check_text, is_whole, show


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
        self._codes = _code_points(self.characters)

    @property
    def vocab_size(self):
        return len(self.characters)

    def token(self, v):
        """The bytes of id `v`: its character in UTF-8, "?" for a lone surrogate, which has none."""
        return self.decode([v]).encode("utf-8", "replace")

    def encode(self, text):
        """str of length N -> ids, int64 (N,). Raises ValueError for an unknown character."""
        codes = _code_points(check_text("text", text))
        ids = np.minimum(np.searchsorted(self._codes, codes), self.vocab_size - 1)
        unknown = np.flatnonzero(self._codes[ids] != codes)
        if len(unknown):
            raise ValueError(f"text: {text[unknown[0]]!r} given at {unknown[0]}, "
                             f"expected one of {show(self.characters)}")
        return ids

    def decode(self, ids):
        """ids (N,) -> str of length N. Raises ValueError for an id outside 0..V-1."""
        if not np.iterable(ids):
            raise ValueError(f"ids: {show(ids)} given, expected a sequence of integers")
        for i in ids:
            if not is_whole(i) or not 0 <= i < self.vocab_size:
                raise ValueError(f"ids: {show(i)} given, expected 0 to {self.vocab_size - 1}")
        return "".join(self.characters[i] for i in ids)


def _code_points(text):
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
