"""GPT-1's tokenizer: lower case, words and signs apart, and merges of letters within a word.

    "Don't read É!"                            text
    "don"  "'"  "t"  "read"  "e"  "!"          words: in lower case, without accents
    d o n</w>   '</w>   t</w>   r e a d</w>    letters; the last of each word carries the end mark
    don</w>  '</w>  t</w>  read</w>  e</w>     neighbours merged, as far as the merges go

Upper case and spacing are lost, and a letter that is not in the vocabulary becomes <unk>. Words are
split as transformers splits them without ftfy and spaCy, which OpenAI used: by BERT's rules
(transformers 4's tokenization_openai.py and BasicTokenizer).

Source: Radford et al., "Improving Language Understanding by Generative Pre-Training" (2018),
section 4.1.
"""
import unicodedata

from ..checks import show
from .bpe import MergingTokenizer
from .tokenizer_files import END_OF_WORD, UNKNOWN

# Ideographs, each of which is a word of its own: first and last code points of Unicode's blocks.
CJK = [(0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F),
       (0x2B740, 0x2B81F), (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F)]


def split_words(text):
    """The words of `text`, in lower case and without accents."""
    text = replace_each(text, cleaned)
    text = unicodedata.normalize("NFC", text).lower()
    text = unicodedata.normalize("NFD", text)
    return replace_each(text, parted).split()


def replace_each(text, replacement):
    """`text` with replacement(char) for each char."""
    return text.translate({ord(char): replacement(char) for char in set(text)})


def cleaned(char):
    """What replaces a character: its lower case; a space for white space; nothing for a control."""
    category = unicodedata.category(char)
    if char in "\t\n\r" or category == "Zs":
        return " "
    if category.startswith("C") or char == "\ufffd":
        return ""
    if any(first <= ord(char) <= last for first, last in CJK):
        return f" {char} "
    return char.lower()


def parted(char):
    """Nothing for an accent, a sign with spaces around it, any other character as it is."""
    category = unicodedata.category(char)
    if category == "Mn":
        return ""
    ascii_sign = char.isascii() and char.isprintable() and not char.isalnum() and char != " "
    sign = category.startswith("P") or ascii_sign
    return f" {char} " if sign else char


class GPT1Tokenizer(MergingTokenizer):
    """Text to ids, and ids to text in lower case; made by `from_folder`.

    tokens[v] ends in a space where the word ends; <unk> is any letter not in the vocabulary.
    """

    _words = staticmethod(split_words)

    def _letters(self, word):
        unknown = self.special[UNKNOWN]
        letters = [*word[:-1], word[-1] + END_OF_WORD]
        return [self.letters.get(letter, unknown) for letter in letters]

    def decode(self, ids):
        """The text of `ids`, a sequence of integers. ValueError as for `token`."""
        return super().decode(ids).strip()

    @classmethod
    def from_files(cls, files):
        """The tokenizer of TokenizerFiles: with <unk>, and no other special token."""
        if files.kind != "GPT-1's" or UNKNOWN not in files.id_of:
            raise ValueError(f"{files.path}: expected a vocabulary as GPT-1's, "
                             f"with words that end in {END_OF_WORD}, and {UNKNOWN}")
        letters = {token: v for token, v in files.id_of.items()
                   if len(token.removesuffix(END_OF_WORD)) == 1}
        merges = files.merged(letters)
        if others := files.special.keys() - {UNKNOWN}:
            raise ValueError(f"{files.path}: added token {show(min(others))} given, "
                             f"expected no other than {UNKNOWN}")
        tokens = [token.replace(END_OF_WORD, " ").encode() for token in files.tokens]
        return cls(tokens, merges, letters, files.special)
