"""Byte-level byte-pair encoding: text to ids and back, exactly as GPT-2 does it.

    "low lower"                        text
    "low"  " lower"                    words: merges stay inside a word
    b"low" b" lower"                   their UTF-8 bytes: 256 tokens can write any text
    b"l" b"o" b"w"  b" " b"l" ...      one token a byte
    b"low"  b" low" b"er"              neighbours merged, as far as the list of merges goes

Training makes the list: count the pairs of neighbouring tokens in a text, make the commonest
pair a token, write that merge down, and repeat until there are as many tokens as wanted.
Encoding replays it: of the pairs in a word, always merge the one that was written down first.

Sources: Sennrich, Haddow and Birch, "Neural Machine Translation of Rare Words with Subword
Units" (2016), algorithm 1; with bytes for characters and within words: Radford et al.,
"Language Models are Unsupervised Multitask Learners" (GPT-2, 2019), section 2.2.
"""
import heapq
import json
import re
import unicodedata
import warnings
from collections import Counter, defaultdict

import numpy as np

from ..checks import check_flag, check_int, check_path, check_token_ids, check_utf8
from ..files.atomic import write_text
from .tokenizer_files import TokenizerFiles

END_OF_TEXT = "<|endoftext|>"
MAX_CACHED_WORDS = 1 << 16

# GPT-2's pattern, with a-zA-Z where it has \p{L} (any letter) and 0-9 for \p{N} (any number).
# A word is: a contraction; letters, numbers or signs, each with the space before them; or white
# space, which leaves its last character to the word that follows.
WORD = re.compile(
    r"'s|'t|'re|'ve|'m|'ll|'d| ?[a-zA-Z]+| ?[0-9]+| ?[^\sa-zA-Z0-9]+|\s+(?!\S)|\s+", re.ASCII)


def stand_in(char):
    """An ASCII character of the same kind for WORD as `char`: letter, number, white space or sign.

    As far as Python's `unicodedata` knows: a letter newer than its version counts as a sign.
    """
    if char.isascii():
        return char
    if char.isspace():
        return "\t"                       # not " ", which alone can stand before a word
    return {"L": "a", "N": "0"}.get(unicodedata.category(char)[0], ".")


def split_words(text):
    """The words of `text`, strings that joined give `text` again."""
    if text.isascii():
        return WORD.findall(text)
    kinds = text.translate({ord(char): stand_in(char) for char in set(text)})
    return [text[word.start():word.end()] for word in WORD.finditer(kinds)]


def byte_alphabet():
    """byte -> the character that GPT-2's files write for it, in the order of GPT-2's ids.

    A byte that Latin-1 prints is that character; the n-th of the others is chr(256 + n), so that
    a token holds no space and no end of line: b" the" is written "Ġthe".
    """
    printed = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printed]
    return ({byte: chr(byte) for byte in printed}
            | {byte: chr(256 + n) for n, byte in enumerate(others)})


CHAR_OF_BYTE = byte_alphabet()
BYTE_OF_CHAR = {char: byte for byte, char in CHAR_OF_BYTE.items()}
# How tokenizer.json says that words are split as here, and their bytes written in this alphabet.
BYTE_LEVEL = {
    "type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def learn_merges(text, tokens, size):
    """The merges learned from `text`, {(left id, right id): id of the merged token}, in order.

    `tokens`, the 256 bytes, grows by one for each, up to `size`. Each merge changes only the words
    it occurs in and the counts of the pairs in those, so the text is counted once. Pairs wait in a
    heap of (-count, left id, right id), least first, pushed when they come into being; later their
    counts only fall.
    """
    id_of = {token: v for v, token in enumerate(tokens)}
    counted = Counter(split_words(text))
    words = [[id_of[bytes([byte])] for byte in word.encode()] for word in counted]
    times = list(counted.values())        # how often each word occurs

    count = Counter()                     # how often each pair of neighbours occurs,
    words_with = defaultdict(set)         # and in which words
    for w, ids in enumerate(words):
        for pair in zip(ids, ids[1:]):
            count[pair] += times[w]
            words_with[pair].add(w)

    merges = {}
    heap = [(-count[pair], pair) for pair in count]
    heapq.heapify(heap)
    while heap and len(tokens) < size:
        pushed, pair = heapq.heappop(heap)
        if pushed != -count[pair]:         # other merges took some since
            heapq.heappush(heap, (-count[pair], pair))
            continue
        if count[pair] < 2:
            break
        new = merges[pair] = len(tokens)
        tokens.append(tokens[pair[0]] + tokens[pair[1]])
        new_pairs = set()
        for w in words_with.pop(pair):
            for old in zip(words[w], words[w][1:]):
                count[old] -= times[w]
            words[w] = replace_pair(words[w], pair, new)
            for now in zip(words[w], words[w][1:]):
                count[now] += times[w]
                if new in now:
                    words_with[now].add(w)
                    new_pairs.add(now)
        for now in new_pairs:
            heapq.heappush(heap, (-count[now], now))
    return merges


def replace_pair(ids, pair, new):
    """The list `ids` with `new` for each `pair` of neighbours, from left to right."""
    replaced = []
    for v in ids:
        if replaced and (replaced[-1], v) == pair:
            replaced[-1] = new
        else:
            replaced.append(v)
    return replaced


class MergingTokenizer:
    """Text to ids and back by merging. Subclasses say how text becomes words, and words letters.

    tokens       list of bytes: tokens[v] is what id v stands for
    merges       {(left id, right id): id of the merged token}, in the order learned
    letters      letter -> id of the tokens that merging begins with
    special      text -> id of the tokens that stand for themselves
    end_of_text  the id of "<|endoftext|>", None where it is not among those
    vocab_size   V: the ids are 0 to V-1
    """

    def __init__(self, tokens, merges, letters, special):
        self.tokens, self.merges, self.letters, self.special = tokens, merges, letters, special
        self.end_of_text, self.vocab_size = special.get(END_OF_TEXT), len(tokens)
        longest_first = sorted(special, key=len, reverse=True)
        self._marks = re.compile("(" + "|".join(map(re.escape, longest_first)) + ")")
        self._rank = {pair: rank for rank, pair in enumerate(merges)}
        self._ids_of_word = {}

    def __repr__(self):
        return f"{type(self).__name__}({self.vocab_size} tokens, {len(self.merges)} merges)"

    @classmethod
    def from_folder(cls, folder):
        """The tokenizer of the folder's tokenizer.json, or of its vocab.json and merges.txt (or
        encoder.json and vocab.bpe, OpenAI's names for them), and of the files beside these.

        FileNotFoundError where it has none of these; ValueError, naming the file and the token,
        line or field, where they are of another kind of tokenizer, do not fit together, or ask for
        other ids than are given here.
        """
        return cls.from_files(TokenizerFiles(folder))

    def token(self, v):
        """The bytes that id `v` stands for, which can be a part of a character. (To show tokens as
        they come, feed these to `codecs.getincrementaldecoder("utf-8")("replace")`.)

        ValueError: `v` is negative, V or more, or not an integer.
        """
        v, = check_token_ids([v], self.vocab_size)
        return self.tokens[v]

    def decode(self, ids):
        """The text of `ids`, a sequence of integers. Bytes that are not UTF-8, such as a character
        of which a part is missing, become U+FFFD, the replacement character.

        ValueError: `ids` is not a sequence, or as for `token`.
        """
        tokens = [self.tokens[v] for v in check_token_ids(ids, self.vocab_size)]
        return b"".join(tokens).decode("utf-8", errors="replace")

    def encode(self, text, special=False):
        """The ids of `text`, int64, 1-D.

        "<|endoftext|>" within `text` is text like any other, as for OpenAI's encoder: nobody
        ends a document by quoting the mark. `special=True` makes each one the single id
        `end_of_text`, and each other special token its own, as transformers does.

        ValueError: `text` is not a str or holds a lone surrogate, which has no UTF-8; `special` is
        not a bool, or True and the vocabulary has no special token.
        """
        check_utf8("text", text)
        if check_flag("special", special) and not self.special:
            raise ValueError("special: True given, but this vocabulary has no special token")
        ids = []
        pieces = self._marks.split(text) if special else [text]     # text, mark, text, ..., text
        for n, piece in enumerate(pieces):
            ids += [self.special[piece]] if n % 2 else self._encode(piece)
        return np.array(ids, dtype=np.int64)

    def _encode(self, text):
        """The list of ids of `text`. A word is merged once and then remembered."""
        words = self._words(text)
        known = self._ids_of_word
        if len(known) > MAX_CACHED_WORDS:
            known = self._ids_of_word = {}      # another thread may still read the old one
        for word in set(words).difference(known):
            known[word] = self._merge(self._letters(word))
        return [v for word in words for v in known[word]]

    def _merge(self, ids):
        """The list of ids of one word, given as those of its letters, after all merges."""
        while pairs := [pair for pair in zip(ids, ids[1:]) if pair in self._rank]:
            first = min(pairs, key=self._rank.get)
            ids = replace_pair(ids, first, self.merges[first])
        return ids


class BPETokenizer(MergingTokenizer):
    """GPT-2's, by `train` or `from_folder`: letters are bytes, so `decode` gives back any text."""

    _words = staticmethod(split_words)

    def _letters(self, word):
        return [self.letters[byte] for byte in word.encode()]

    @classmethod
    def train(cls, text, vocab_size):
        """A tokenizer of `vocab_size` tokens, learned from `text`.

        The ids are laid out as GPT-2's: 256 bytes, then the merges as they were learned, then
        "<|endoftext|>". Of equally common pairs the one with the smaller left id is merged, and
        of those the one with the smaller right id: the same text gives the same tokenizer. When
        no pair occurs twice there is nothing left to learn; a UserWarning tells the size reached.

        ValueError: `text` is not a str or holds a lone surrogate; `vocab_size` is below 257
        or not an integer.
        """
        check_utf8("text", text)
        check_int("vocab_size", vocab_size, least=257)          # 256 bytes and the mark

        tokens = [bytes([byte]) for byte in CHAR_OF_BYTE]
        letters = {byte: v for v, byte in enumerate(CHAR_OF_BYTE)}
        merges = learn_merges(text, tokens, vocab_size - 1)
        tokens.append(END_OF_TEXT.encode())
        if len(tokens) < vocab_size:
            warnings.warn(f"vocab_size: {vocab_size} given, {len(tokens)} reached, where no pair "
                          "of neighbours in the text occurs twice", stacklevel=2)
        return cls(tokens, merges, letters, {END_OF_TEXT: len(tokens) - 1})

    def save(self, folder):
        """Write tokenizer.json into `folder`, created if needed. transformers opens it, too.

        It is written beside its place, and then moved into it. OSError where that cannot be done.
        """
        made = {*self.letters.values(), *self.merges.values()}
        text_of = {v: text for text, v in self.special.items()}
        written = ["".join(CHAR_OF_BYTE[byte] for byte in token) if v in made else text_of[v]
                   for v, token in enumerate(self.tokens)]
        traits = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
        added = [{"id": v, "content": text, "special": True} | traits
                 for text, v in self.special.items()]
        content = {
            "version": "1.0", "added_tokens": added, "normalizer": None, "post_processor": None,
            "pre_tokenizer": BYTE_LEVEL, "decoder": BYTE_LEVEL,
            "model": {"type": "BPE", "vocab": {token: v for v, token in enumerate(written)},
                      "merges": [[written[left], written[right]] for left, right in self.merges]}}
        folder = check_path("folder", folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "tokenizer.json", json.dumps(content, ensure_ascii=False, indent=0))

    @classmethod
    def from_files(cls, files):
        """The tokenizer of TokenizerFiles."""
        for byte, char in CHAR_OF_BYTE.items():
            if char not in files.id_of:
                raise ValueError(f"{files.path}: no token {char!r}, which is byte {byte}; "
                                 "expected byte-level BPE as GPT-2's")
        merges = files.merged(BYTE_OF_CHAR)
        letters = {byte: files.id_of[char] for byte, char in CHAR_OF_BYTE.items()}
        made = {*letters.values(), *merges.values()}
        tokens = [bytes(BYTE_OF_CHAR[char] for char in token) if v in made else token.encode()
                  for v, token in enumerate(files.tokens)]
        return cls(tokens, merges, letters, files.special)
