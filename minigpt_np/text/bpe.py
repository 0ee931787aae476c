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
from pathlib import Path

import numpy as np

from ..checks import check_text, check_int, is_whole, show
from ..files.atomic import whole_files
from . import tokenizer_files

END_OF_TEXT = "<|endoftext|>"
MAX_CACHED_WORDS = 1 << 16

# GPT-2's pattern, with a-zA-Z where it has \p{L} (any letter) and 0-9 for \p{N} (any number).
# A word is: a contraction; letters, numbers or signs, each with the space before them; or white
# space, which leaves its last character to the word that follows.
WORD = re.compile(
    r"'s|'t|'re|'ve|'m|'ll|'d| ?[a-zA-Z]+| ?[0-9]+| ?[^\sa-zA-Z0-9]+|\s+(?!\S)|\s+", re.ASCII)


def stand_in(char):
    """An ASCII character of the same kind for WORD as `char`: letter, number, white space or sign.

    As far as Python's `unicodedata` knows: a letter newer than its Unicode version counts as a sign.
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


def learn_merges(text, tokens, size):
    """The merges learned from `text`. `tokens`, the 256 bytes, grows by one for each, up to `size`.

    Each merge changes only the words it occurs in and the counts of the pairs in those, so the
    text is counted once. Pairs wait in a heap of (-count, left id, right id), least first, pushed
    when they come into being; later their counts only fall.
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

    merges = []
    heap = [(-count[pair], pair) for pair in count]
    heapq.heapify(heap)
    while heap and len(tokens) < size:
        pushed, pair = heapq.heappop(heap)
        if pushed != -count[pair]:         # other merges took some since
            heapq.heappush(heap, (-count[pair], pair))
            continue
        if count[pair] < 2:
            break
        new = len(tokens)
        tokens.append(tokens[pair[0]] + tokens[pair[1]])
        merges.append(pair)
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
    """Text to ids and back by merging; its subclasses say how text becomes words, and words letters.

    tokens       list of bytes: tokens[v] is what id v stands for
    merges       list of pairs of ids, in the order in which they were learned
    special      text -> id of the tokens that stand for themselves and are in no merge
    end_of_text  the id of "<|endoftext|>", None where it is not among those
    """

    def __init__(self, tokens, merges, special):
        self.tokens, self.merges, self.special = tokens, merges, special
        self.end_of_text = special.get(END_OF_TEXT)
        self._marks = re.compile("(" + "|".join(map(re.escape, sorted(special, key=len, reverse=True))) + ")")
        self._id_of = {token: v for v, token in enumerate(tokens) if v not in special.values()}
        self._rank = {pair: rank for rank, pair in enumerate(merges)}
        self._made = [self._id_of[tokens[left] + tokens[right]] for left, right in merges]
        self._ids_of_word = {}

    @property
    def vocab_size(self):
        """V: the ids are 0 to V-1."""
        return len(self.tokens)

    def token(self, v):
        """The bytes that id `v` stands for, which can be a part of a character. (To show tokens as
        they come, feed these to `codecs.getincrementaldecoder("utf-8")("replace")`.)

        ValueError: `v` is negative, V or more, or not an integer.
        """
        if not is_whole(v) or not 0 <= v < self.vocab_size:
            raise ValueError(f"id: {show(v)} given, expected an integer from 0 to V-1 = "
                             f"{self.vocab_size - 1}")
        return self.tokens[v]

    def decode(self, ids):
        """The text of `ids`, a sequence of integers. Bytes that are not UTF-8, such as a character
        of which a part is missing, become U+FFFD, the replacement character.

        ValueError: `ids` is not a sequence, or as for `token`.
        """
        if not np.iterable(ids):
            raise ValueError(f"ids: {show(ids)} given, expected a sequence of integers")
        return b"".join([self.token(v) for v in ids]).decode("utf-8", errors="replace")

    def encode(self, text, special=False):
        """The ids of `text`, int64, 1-D.

        "<|endoftext|>" within `text` is text like any other, as for OpenAI's encoder: nobody
        ends a document by quoting the mark. `special=True` makes each one the single id
        `end_of_text`, and each other special token its own, as transformers does.

        ValueError: `text` is not a str or holds a lone surrogate, which has no UTF-8; `special=True`
        and the vocabulary has no special token.
        """
        check_utf8(text)
        if not special:
            return np.array(self._encode(text), dtype=np.int64)
        if not self.special:
            raise ValueError(f"special: True given, but this vocabulary has no {END_OF_TEXT} or the like")
        ids = []
        for n, piece in enumerate(self._marks.split(text)):         # text, mark, text, mark, ..., text
            ids.extend(self._encode(piece) if n % 2 == 0 else [self.special[piece]])
        return np.array(ids, dtype=np.int64)

    def _encode(self, text):
        """The list of ids of `text`. A word is merged once and then remembered."""
        words = self._words(text)
        known = self._ids_of_word
        for word in set(words).difference(known):
            known[word] = self._merge(self._letters(word))
        if len(known) > MAX_CACHED_WORDS:
            self._ids_of_word = {}        # a new dict: another thread may still read the old one
        return [v for word in words for v in known[word]]

    def _merge(self, ids):
        """The list of ids of one word, given as those of its letters.

        The rule: of all pairs of neighbours take the one learned first, and of those the leftmost;
        merge it; again, until no pair was ever learned. Here a heap of (rank, position) hands out
        the pairs, so that n letters take n log n steps and not n squared. Where i and j are merged,
        the new token stands at i, and at j None; `after` and `before` lead past it.
        """
        n = len(ids)
        after = list(range(1, n + 1))
        before = list(range(-1, n - 1))
        heap = []

        def note_pair(i, j):
            if 0 <= i and j < n and (ids[i], ids[j]) in self._rank:
                heapq.heappush(heap, (self._rank[ids[i], ids[j]], i))

        for i in range(n):
            note_pair(i, i + 1)
        while heap:
            rank, i = heapq.heappop(heap)
            j = after[i]
            if j == n or (ids[i], ids[j]) != self.merges[rank]:
                continue                  # one of the two has been merged since it was pushed
            ids[i], ids[j] = self._made[rank], None
            after[i] = after[j]
            if after[i] < n:
                before[after[i]] = i
            note_pair(before[i], i)
            note_pair(i, after[i])
        return [v for v in ids if v is not None]


class BPETokenizer(MergingTokenizer):
    """GPT-2's: the letters are bytes, so that `decode` gives back any text that was encoded.

    Made by `train`, `from_folder` or `from_files`. Its fields are MergingTokenizer's.
    """

    def __init__(self, tokens, merges, special=None):
        if special is None:             # tokens as `train` lays them out
            special = {token.decode(): v for v, token in enumerate(tokens) if token == END_OF_TEXT.encode()}
        super().__init__(tokens, merges, special)

    def _words(self, text):
        return split_words(text)

    def _letters(self, word):
        return [self._id_of[bytes([byte])] for byte in word.encode()]

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
        check_utf8(text)
        smallest = len(CHAR_OF_BYTE) + 1
        check_int("vocab_size", vocab_size, smallest)         # 256 bytes and the mark

        tokens = [bytes([byte]) for byte in CHAR_OF_BYTE]
        merges = learn_merges(text, tokens, vocab_size - 1)
        tokens.append(END_OF_TEXT.encode())
        if len(tokens) < vocab_size:
            warnings.warn(f"vocab_size: {vocab_size} given, {len(tokens)} reached, where no pair "
                          "of neighbours in the text occurs twice", stacklevel=2)
        return cls(tokens, merges)

    def save(self, folder):
        """Write vocab.json and merges.txt into `folder`, created if needed. `from_folder` and
        transformers' GPT2Tokenizer read them. Both are written in full beside their place, and
        then moved into it. OSError where that cannot be done.
        """
        written = ["".join(CHAR_OF_BYTE[byte] for byte in token) for token in self.tokens]
        for text, v in self.special.items():
            written[v] = text
        vocab = {token: v for v, token in enumerate(written)}
        lines = [f"{written[left]} {written[right]}\n" for left, right in self.merges]
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with whole_files(folder / "merges.txt", folder / "vocab.json") as (merges_file, vocab_file):
            merges_file.write(("#version: 0.2\n" + "".join(lines)).encode())
            vocab_file.write(json.dumps(vocab, ensure_ascii=False).encode())

    @classmethod
    def from_folder(cls, folder):
        """The tokenizer of the folder's vocab.json and merges.txt, or of its encoder.json and
        vocab.bpe, OpenAI's names for them, or of its tokenizer.json, which transformers 5 saves.

        FileNotFoundError where it has none of these; ValueError as for `from_files`, and for a
        tokenizer.json whose ids would differ from those here.
        """
        return cls.from_saved(tokenizer_files.read_folder(folder))

    @classmethod
    def from_files(cls, vocab, merges):
        """The tokenizer of two files like GPT-2's, in UTF-8, their tokens in `byte_alphabet`:
        `vocab`, a JSON object of token: id, and `merges`, a line of two tokens for each merge.

        ValueError, naming the file and the token or line: `vocab` is no such object, its ids are
        not 0 to V-1, each once, or a byte has no token; a line of `merges` is not two tokens that
        are bytes or made by lines above, or makes a token that `vocab` lacks or that was made
        before; a token is made by no line, and is not in brackets as <|endoftext|> and <pad> are, nor in
        an added_tokens.json beside `vocab`. OSError: a file cannot be read.
        """
        return cls.from_saved(tokenizer_files.read_pair(vocab, merges))

    @classmethod
    def from_saved(cls, files):
        if files.kind != "byte-level":
            raise ValueError(f"{files.vocab}: a tokenizer of {files.kind} kind given, "
                             "expected byte-level BPE as GPT-2's")
        for byte, char in CHAR_OF_BYTE.items():
            if char not in files.id_of:
                raise ValueError(f"{files.vocab}: no token {char!r}, which is byte {byte}; "
                                 "expected byte-level BPE as GPT-2's")
        pairs = files.pairs(BYTE_OF_CHAR.__contains__)
        tokens = [token.encode() if token in files.special else bytes(BYTE_OF_CHAR[char] for char in token)
                  for token in sorted(files.id_of, key=files.id_of.get)]
        return cls(tokens, pairs, {token: files.id_of[token] for token in files.special})


def check_utf8(text):
    """Raise ValueError unless `text` is a str that can be written in UTF-8."""
    check_text("text", text)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"text: lone surrogate {text[error.start]!a} given at position "
                         f"{error.start}, expected text that UTF-8 can write") from None
