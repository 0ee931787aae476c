"""Byte-level BPE against the rules spelled out slowly, and against the `tokenizers` library."""
import codecs
import json
import os
import random
import re
import tempfile
import threading
import unicodedata
import warnings
from collections import Counter
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from minigpt_np.text import bpe, open_tokenizer
from minigpt_np.text.bpe import END_OF_TEXT, BPETokenizer
from strategies import corrupted, examples_of, repetitive_text, unicode_text, with_another_value

REFERENCE = json.loads(Path(__file__).parents[1].joinpath("reference", "bpe.json").read_bytes())
TOKENIZER = BPETokenizer.train(REFERENCE["train_text"], REFERENCE["vocab_size"])
V = TOKENIZER.vocab_size


# The rules, spelled out

@lru_cache(maxsize=None)
def gpt2_pattern():
    """GPT-2's own pattern, every letter and number written out where it says \\p{L} and \\p{N}."""
    characters = [chr(code) for code in range(0x110000)]
    kinds = "".join(unicodedata.category(char)[0] for char in characters)

    def ranges(kind):
        return "".join(f"\\U{run.start():08x}-\\U{run.end() - 1:08x}"
                       for run in re.finditer(kind + "+", kinds))

    letter, number = ranges("L"), ranges("N")
    space = ranges("Z") + r"\t-\r\x85"              # the property White_Space
    return re.compile(rf"'s|'t|'re|'ve|'m|'ll|'d| ?[{letter}]+| ?[{number}]+"
                      rf"| ?[^{space}{letter}{number}]+|[{space}]+(?![^{space}])|[{space}]+")


def naive_encode(tokenizer, text):
    """Merge the pair learned first wherever it stands, again and again, word by word."""
    id_of = {token: v for v, token in enumerate(tokenizer.tokens)}
    all_ids = []
    for word in gpt2_pattern().findall(text):
        ids = [id_of[bytes([byte])] for byte in word.encode()]
        for left, right in tokenizer.merges:        # in the order in which they were learned
            i = 0
            while i < len(ids) - 1:
                if (ids[i], ids[i + 1]) == (left, right):
                    ids[i:i + 2] = [id_of[tokenizer.tokens[left] + tokenizer.tokens[right]]]
                i += 1
        all_ids += ids
    return all_ids


def naive_train(text, vocab_size):
    """The merges of Sennrich et al.'s algorithm 1: count everything afresh for each of them."""
    bytes_in_order = [v for v in range(256) if chr(v) in bpe.BYTE_OF_CHAR]
    bytes_in_order += [v for v in range(256) if v not in bytes_in_order]
    words = [[bytes_in_order.index(byte) for byte in word.encode()]
             for word in gpt2_pattern().findall(text)]
    merges = []
    while 256 + len(merges) + 1 < vocab_size:
        count = Counter(pair for ids in words for pair in zip(ids, ids[1:]))
        if not count or max(count.values()) < 2:
            break
        pair = min(count, key=lambda pair: (-count[pair], pair))
        for ids in words:
            i = 0
            while i < len(ids) - 1:
                if (ids[i], ids[i + 1]) == pair:
                    ids[i:i + 2] = [256 + len(merges)]
                i += 1
        merges.append(pair)
    return merges


def train(text, vocab_size):
    """The tokenizer and whether it said that it fell short of `vocab_size`."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tokenizer = BPETokenizer.train(text, vocab_size)
    return tokenizer, [str(warning.message) for warning in caught]


# Encoding and decoding

@given(unicode_text)
def test_every_text_comes_back(text):
    ids = TOKENIZER.encode(text)
    assert ids.dtype == np.int64 and ids.ndim == 1
    assert all(0 <= v < V for v in ids)
    assert TOKENIZER.decode(ids) == text
    assert TOKENIZER.decode(TOKENIZER.encode(text, special=True)) == text


@given(unicode_text)
def test_ids_are_those_of_the_rules(text):
    assert TOKENIZER.encode(text).tolist() == naive_encode(TOKENIZER, text)


@given(st.integers(0, 4998))
def test_words_are_gpt2s_whatever_the_character(first):
    for code in {*range(first, 0x110000, 4999), *range(first % 70, 0x3000, 70)}:
        if 0xD800 <= code <= 0xDFFF:
            continue
        text = "a{0} {0}0{0}  {0}.{0}'s".format(chr(code))
        assert bpe.split_words(text) == gpt2_pattern().findall(text), hex(code)


@given(st.text("ab", max_size=300), repetitive_text)
def test_long_words_are_merged_by_the_rules(word, text):
    tokenizer, _ = train(text, 280)
    assert tokenizer.encode(word).tolist() == naive_encode(tokenizer, word)


@given(unicode_text, unicode_text)
def test_texts_that_meet_between_words_are_encoded_apart(left, right):
    left, right = left + "a", " a" + right
    apart = [*TOKENIZER.encode(left), *TOKENIZER.encode(right)]
    assert TOKENIZER.encode(left + right).tolist() == apart


@given(unicode_text, unicode_text)
def test_end_of_text_is_text_unless_asked_for(left, right):
    assume(END_OF_TEXT not in left + right)
    text = left + END_OF_TEXT + right
    special = TOKENIZER.encode(text, special=True)
    assert special.tolist() == [*TOKENIZER.encode(left), V - 1, *TOKENIZER.encode(right)]
    assert TOKENIZER.end_of_text == V - 1
    assert V - 1 not in TOKENIZER.encode(text)


def test_the_words_remembered_are_few_and_change_nothing(monkeypatch):
    text = REFERENCE["train_text"]
    once = TOKENIZER.encode(text)
    monkeypatch.setattr(bpe, "MAX_CACHED_WORDS", 5)
    tokenizer = BPETokenizer(TOKENIZER.tokens, TOKENIZER.merges)
    assert np.array_equal(tokenizer.encode("a b c d e"), TOKENIZER.encode("a b c d e"))
    assert len(tokenizer._ids_of_word) == 5
    assert np.array_equal(tokenizer.encode(text), once)
    assert len(tokenizer._ids_of_word) == 0
    assert np.array_equal(tokenizer.encode(text), once)


def test_a_word_is_merged_once(monkeypatch):
    merged = []
    monkeypatch.setattr(BPETokenizer, "_merge", lambda self, ids: merged.append(self.decode(ids)) or [0])
    tokenizer = BPETokenizer(TOKENIZER.tokens, TOKENIZER.merges)
    for text in ("one one two", "one two"):
        tokenizer.encode(text)
    assert sorted(merged) == [" one", " two", "one"]


def test_threads_may_share_a_tokenizer(monkeypatch):
    monkeypatch.setattr(bpe, "MAX_CACHED_WORDS", 5)
    lines = REFERENCE["train_text"].splitlines()
    expected = [TOKENIZER.encode(line).tolist() for line in lines]
    tokenizer = BPETokenizer(TOKENIZER.tokens, TOKENIZER.merges)
    found = {}

    def encode(n):
        found[n] = [tokenizer.encode(line).tolist() for line in lines]

    threads = [threading.Thread(target=encode, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found[n] == expected for n in range(4))


@given(st.lists(st.integers(0, V - 1)))
def test_bytes_that_are_not_text_are_replaced(ids):
    data = b"".join(TOKENIZER.token(v) for v in ids)
    assert TOKENIZER.decode(ids) == data.decode("utf-8", errors="replace")
    for dtype in (np.uint16, np.int32, np.int64):
        assert TOKENIZER.decode(np.array(ids, dtype=dtype)) == TOKENIZER.decode(ids)


def test_tokens_of_a_part_of_a_character():
    ids = TOKENIZER.encode("字!")
    assert TOKENIZER.decode(ids[:1]) == "\ufffd"
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    assert [decoder.decode(TOKENIZER.token(v)) for v in ids] == ["", "", "字", "!"]


def test_the_alphabet_is_gpt2s():
    assert len(bpe.BYTE_OF_CHAR) == 256
    assert not any(char.isspace() for char in bpe.BYTE_OF_CHAR)
    # Known of GPT-2: "!" 0, "~" 93, "¡" 94, byte 0 188, line feed 198, space 220
    ids = {byte: v for v, byte in enumerate(bpe.CHAR_OF_BYTE)}
    assert [ids[byte] for byte in (ord("!"), ord("~"), 0xA1, 0, ord("\n"), ord(" "))] == [
        0, 93, 94, 188, 198, 220]
    assert bpe.CHAR_OF_BYTE[ord("\n")] == "Ċ" and bpe.CHAR_OF_BYTE[ord(" ")] == "Ġ"


# The `tokenizers` library's numbers

def test_the_library_learns_the_same_merges():
    written = ["".join(bpe.CHAR_OF_BYTE[byte] for byte in token) for token in TOKENIZER.tokens]
    assert written == REFERENCE["vocab"]
    assert [[written[a], written[b]] for a, b in TOKENIZER.merges] == REFERENCE["merges"]


@pytest.mark.parametrize("case", REFERENCE["encoded"], ids=lambda case: ascii(case["text"])[:20])
def test_the_library_gives_the_same_ids(case):
    assert TOKENIZER.encode(case["text"]).tolist() == case["ids"]
    assert TOKENIZER.encode(case["text"], special=True).tolist() == case["special_ids"]


def test_the_library_gives_the_same_text():
    for case in REFERENCE["decoded"]:
        assert TOKENIZER.decode(case["ids"]) == case["text"]


# Training

@given(st.one_of(repetitive_text, unicode_text.map(lambda text: text * 2)), st.integers(257, 290))
@example("aaaa aaa aa a aaaaa", 270)
def test_training_follows_the_rules_and_says_where_it_ends(text, vocab_size):
    tokenizer, said = train(text, vocab_size)
    assert tokenizer.merges == naive_train(text, vocab_size)
    assert tokenizer.vocab_size == len(set(tokenizer.tokens)) == 257 + len(tokenizer.merges)
    if tokenizer.vocab_size < vocab_size:
        assert len(said) == 1 and f"{vocab_size} given, {tokenizer.vocab_size} reached" in said[0]
    else:
        assert tokenizer.vocab_size == vocab_size and not said
    again, _ = train(text, vocab_size)
    assert (again.tokens, again.merges) == (tokenizer.tokens, tokenizer.merges)


def test_learned_from_a_text_it_shortens_that_text():
    text = REFERENCE["train_text"]
    assert len(TOKENIZER.encode(text)) < len(BPETokenizer.train(text, 300).encode(text))
    assert len(BPETokenizer.train(text, 257).encode(text)) == len(text.encode())


# Files

SMALL = "the then the then these there other other"


def write(folder, vocab, merges, names=("vocab.json", "merges.txt")):
    for name, content in zip(names, (vocab, merges)):
        content = content if isinstance(content, bytes) else content.encode()
        Path(folder, name).write_bytes(content)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """(vocab.json as an object, merges.txt as text) of a small vocabulary."""
    folder = tmp_path_factory.mktemp("saved")
    BPETokenizer.train(SMALL, 262).save(folder)
    return (json.loads(Path(folder, "vocab.json").read_bytes()),
            Path(folder, "merges.txt").read_text(encoding="utf-8"))


@given(repetitive_text, st.integers(257, 275), unicode_text)
def test_saved_and_read_again_it_is_the_same(text, vocab_size, probe):
    tokenizer, _ = train(text, vocab_size)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save(Path(folder, "new", "folder"))
        assert sorted(os.listdir(Path(folder, "new", "folder"))) == ["merges.txt", "vocab.json"]
        read = BPETokenizer.from_folder(Path(folder, "new", "folder"))
    assert (read.tokens, read.merges) == (tokenizer.tokens, tokenizer.merges)
    assert read.encode(probe, special=True).tolist() == tokenizer.encode(
        probe, special=True).tolist()


def test_the_files_are_gpt2s_kind(saved):
    vocab, merges = saved
    assert merges == "#version: 0.2\nh e\nt he\nĠ the\no the\nĠ othe\n"
    assert vocab["!"] == 0 and vocab["he"] == 256 and vocab[END_OF_TEXT] == 261
    assert list(vocab.values()) == list(range(262))


@pytest.mark.parametrize("names", [("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe")])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_either_pair_of_names_and_either_line_end(tmp_path, saved, names, line_end):
    vocab, merges = saved
    write(tmp_path, json.dumps(vocab), merges.replace("\n", line_end), names)
    assert BPETokenizer.from_folder(str(tmp_path)).encode(" the").tolist() == [vocab["Ġthe"]]


def test_ids_may_stand_in_any_order_and_the_mark_be_absent(tmp_path, saved):
    vocab, merges = saved
    size = len(vocab) - 1
    shuffled = {token: (v + 100) % size for token, v in vocab.items() if token != END_OF_TEXT}
    write(tmp_path, json.dumps(shuffled), merges.split("\n", 1)[1])       # no #version line either
    tokenizer = BPETokenizer.from_folder(tmp_path)
    assert tokenizer.vocab_size == size and tokenizer.end_of_text is None
    text = "the other thing <|endoftext|>"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.encode(text).tolist() == naive_encode(tokenizer, text)
    assert tokenizer.encode(" the").tolist() == [shuffled["Ġthe"]]
    with pytest.raises(ValueError, match="special.*no <|endoftext|>"):
        tokenizer.encode(text, special=True)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_save_that_fails_leaves_what_was_there(tmp_path, monkeypatch, step):
    old = BPETokenizer.train(SMALL, 262)
    old.save(tmp_path)

    def failing(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, step, failing)
    with pytest.raises(OSError, match="no space left"):
        TOKENIZER.save(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["merges.txt", "vocab.json"]
    assert BPETokenizer.from_folder(tmp_path).merges == old.merges


# Bad input

@pytest.mark.parametrize("text, message", [
    (b"abc", "text: bytes given"),
    (None, "text: NoneType given"),
    ("ab\ud800c", r"lone surrogate '\\ud800' given at position 2"),
    ("\U0001f44d\udfff", r"lone surrogate '\\udfff' given at position 1"),
])
def test_text_that_cannot_be_encoded_is_refused(text, message):
    for use in (TOKENIZER.encode, lambda text: BPETokenizer.train(text, 300)):
        with pytest.raises(ValueError, match=message):
            use(text)


@pytest.mark.parametrize("v", [-1, V, 2**70, 1.0, np.float64(1), True, np.True_, "1", None, [1]])
def test_ids_outside_the_vocabulary_are_refused(v):
    message = rf"id: .*given, expected an integer from 0 to V-1 = {V - 1}"
    with pytest.raises(ValueError, match=message):
        TOKENIZER.token(v)
    with pytest.raises(ValueError, match=message):
        TOKENIZER.decode([0, v])
    assert TOKENIZER.decode([0, V - 1]) == "!<|endoftext|>"


@pytest.mark.parametrize("ids", [5, np.int64(5), np.array(5), None])
def test_ids_that_are_not_a_sequence_are_refused(ids):
    with pytest.raises(ValueError, match="ids: .*given, expected a sequence of integers"):
        TOKENIZER.decode(ids)


@pytest.mark.parametrize("vocab_size", [256, 0, -1, 300.0, True, "300", None])
def test_impossible_vocabulary_sizes_are_refused(vocab_size):
    with pytest.raises(ValueError, match=f"vocab_size: {vocab_size!r} given.*at least 257"):
        BPETokenizer.train("abc", vocab_size)


def without(vocab, *tokens):
    """The vocabulary without these tokens, its other ids moved up."""
    kept = [token for token in vocab if token not in tokens]
    return {token: v for v, token in enumerate(kept)}


VOCABULARIES = {
    "empty file": (lambda vocab: "", "not JSON"),
    "cut short": (lambda vocab: json.dumps(vocab)[:-9], "not JSON"),
    "not UTF-8": (lambda vocab: b'{"\xff": 1}', "not JSON"),
    "nested without end": (lambda vocab: "[" * 10**6, "not JSON"),
    "a list": (lambda vocab: json.dumps(list(vocab)), "list given, expected a JSON object"),
    "no object": (lambda vocab: "7", "int given, expected a JSON object"),
    "nothing in it": (lambda vocab: "{}", "no token '!', which is byte 33"),
    "no id": (lambda vocab: {**vocab, "he": None}, "token 'he' has id None, expected an integer"),
    "id as text": (lambda vocab: {**vocab, "he": "256"}, "token 'he' has id '256'"),
    "id with a point": (lambda vocab: {**vocab, "he": 256.0}, r"token 'he' has id 256\.0"),
    "id true": (lambda vocab: {**vocab, '"': True}, "token '\"' has id True"),
    "id below 0": (lambda vocab: {**vocab, "he": -1}, "token 'he' has id -1"),
    "id V": (lambda vocab: {**vocab, END_OF_TEXT: 262}, r"has id 262, .* 0 to V-1 = 261"),
    "id beyond all memory": (lambda vocab: {**vocab, END_OF_TEXT: 10**18}, "has id 10000000"),
    "id twice": (lambda vocab: {**vocab, "he": 7}, r"tokens '\(' and 'he' have id 7"),
    "byte missing": (lambda vocab: without(vocab, "Ġ"), "no token 'Ġ', which is byte 32"),
    "token too many": (lambda vocab: {**vocab, "zzz": 262}, "'zzz' is made by no line of .*merges"),
    "added token without brackets": (lambda vocab: {**vocab, "PAD": 262},
                                     "'PAD' is made by no line.*expected in brackets"),
    "token outside the alphabet": (lambda vocab: {**vocab, "a b": 262}, "'a b' is made by no line"),
    "empty token": (lambda vocab: {**vocab, "": 262}, "token '' is made by no line"),
}


@pytest.mark.parametrize("name", VOCABULARIES)
def test_invalid_vocabulary_files_are_refused(tmp_path, saved, name):
    spoil, message = VOCABULARIES[name]
    spoiled = spoil(dict(saved[0]))
    write(tmp_path, json.dumps(spoiled) if isinstance(spoiled, dict) else spoiled, saved[1])
    with pytest.raises(ValueError, match=r"vocab\.json: .*" + message):
        BPETokenizer.from_folder(tmp_path)


MERGES = {
    "empty file": (lambda text: "", "line 1: '' given, expected two tokens"),
    "not UTF-8": (lambda text: text.encode() + b"\xff", "not UTF-8"),
    "one token": (lambda text: text.replace("\nh e\n", "\nhe\n"), "line 2: 'he' given"),
    "three tokens": (lambda text: text.replace("\nh e\n", "\nh e r\n"), "line 2: 'h e r' given"),
    "no token": (lambda text: text.replace("\nh e\n", "\n\nh e\n"), "line 2: '' given"),
    "an empty token": (lambda text: text.replace("\nh e\n", "\nh e \n"), "line 2: 'h e ' given"),
    "made further down": (lambda text: text.replace("\nh e\n", "\n") + "h e\n",
                          "line 2: 't he' given"),
    "no such part": (lambda text: text + "zz e\n", "line 7: 'zz e' given.* made by a line above"),
    "not in the vocabulary": (lambda text: text + "z z\n", "line 7: 'zz' is not in .*vocab.json"),
    "made twice": (lambda text: text + "h e\n", "line 7: 'he' is made by a line above, too"),
}


@pytest.mark.parametrize("name", MERGES)
def test_invalid_merges_files_are_refused(tmp_path, saved, name):
    spoil, message = MERGES[name]
    write(tmp_path, json.dumps(saved[0]), spoil(saved[1]))
    with pytest.raises(ValueError, match=r"merges\.txt(: |, )" + message):
        BPETokenizer.from_folder(tmp_path)


def test_a_merges_file_cut_short(tmp_path, saved):
    write(tmp_path, json.dumps(saved[0]), saved[1][:saved[1].rindex("\n", 0, -1) + 1])
    with pytest.raises(ValueError, match="made by no line of .*merges.txt; .* missing"):
        BPETokenizer.from_folder(tmp_path)


@given(data=st.data())
def test_spoiled_files_are_refused_by_name_or_work(saved, data):
    files = [bytearray(json.dumps(saved[0]).encode()), bytearray(saved[1].encode())]
    for _ in range(data.draw(st.integers(1, 3))):
        content = files[data.draw(st.integers(0, 1))]
        start = data.draw(st.integers(0, len(content)))
        end = start + data.draw(st.sampled_from([0, 1, 2, 10, 10**6]))
        content[start:end] = data.draw(st.one_of(
            st.binary(max_size=3), st.sampled_from([b"\n", b" ", b'"', b"e", b"h e\n", b"9"])))
    with tempfile.TemporaryDirectory() as folder:
        write(folder, *map(bytes, files))
        try:
            tokenizer = BPETokenizer.from_folder(folder)
        except ValueError as error:
            assert "vocab.json" in str(error) or "merges.txt" in str(error)
            assert len(str(error)) < 1000 + 2 * len(folder)
        else:
            assert tokenizer.decode(tokenizer.encode(SMALL)) == SMALL
            assert tokenizer.encode(SMALL).tolist() == naive_encode(tokenizer, SMALL)


# tokenizer.json, and tokens that were added

def as_json(saved, change=lambda whole: None):
    """The same tokenizer as transformers 5 saves it, with <pad> added, after change(whole)."""
    vocab, merges = saved
    added = {END_OF_TEXT: len(vocab) - 1, "<pad>": len(vocab)}
    whole = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": v, "content": token, "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": False, "special": True} for token, v in added.items()],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}],
                           "special_tokens": {}},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
                  "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": dict(vocab), "merges": [line.split(" ") for line in merges.splitlines()[1:]]}}
    change(whole)
    return json.dumps(whole)


def set_to(part, **traits):
    return lambda whole: whole[part].update(traits)


@pytest.mark.parametrize("change", [
    lambda whole: None,
    lambda whole: whole["model"].update(merges=[" ".join(pair) for pair in whole["model"]["merges"]]),
    lambda whole: [whole["model"].pop(name) for name in ("type", "dropout", "byte_fallback", "ignore_merges")],
    lambda whole: whole.update(post_processor={"type": "ByteLevel", "trim_offsets": False}),
    lambda whole: whole.update(post_processor=None),
], ids=["as version 5", "merges as text", "an older one", "ByteLevel", "no post-processor"])
def test_a_tokenizer_json_is_the_same_tokenizer(tmp_path, saved, change):
    BPETokenizer.train(SMALL, 262).save(tmp_path)
    pair = BPETokenizer.from_folder(tmp_path)
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / name).unlink()
    (tmp_path / "tokenizer.json").write_text(as_json(saved, change), encoding="utf-8")
    read = BPETokenizer.from_folder(tmp_path)
    assert read.merges == pair.merges and read.tokens == [*pair.tokens, b"<pad>"]
    assert read.special == {END_OF_TEXT: 261, "<pad>": 262} and read.end_of_text == 261
    text = f"the <pad>other{END_OF_TEXT}"
    assert read.encode(text).tolist() == pair.encode(text).tolist()
    assert read.encode(text, special=True).tolist() == [*pair.encode("the "), 262, *pair.encode("other"), 261]
    assert read.decode(read.encode(text, special=True)) == text


@pytest.mark.parametrize("change, message", [
    (lambda whole: whole.pop("model"), "a tokenizer of type None given, expected BPE"),
    (lambda whole: whole.update(model={"type": "Unigram", "vocab": []}), "a tokenizer of type 'Unigram' given"),
    (lambda whole: whole.update(model={"type": "WordPiece", "vocab": {}}), "model.type is 'WordPiece', expected"),
    (set_to("model", dropout=0.1), "model.dropout is 0.1, expected null or 0.0"),
    (set_to("model", byte_fallback=True), "model.byte_fallback is True, expected false"),
    (set_to("model", ignore_merges=True), "model.ignore_merges is True, expected false"),
    (set_to("model", end_of_word_suffix="</w>"), "model.end_of_word_suffix is '</w>', expected null or"),
    (lambda whole: whole.update(normalizer={"type": "NFC"}), "normalizer.type is 'NFC', expected null"),
    (lambda whole: whole.update(pre_tokenizer={"type": "Metaspace"}), "pre_tokenizer.type is 'Metaspace'"),
    (lambda whole: whole.update(pre_tokenizer=None), "pre_tokenizer.type is None, expected \"ByteLevel\""),
    (set_to("pre_tokenizer", add_prefix_space=True), "pre_tokenizer.add_prefix_space is True, expected false"),
    (set_to("pre_tokenizer", use_regex=False), "pre_tokenizer.use_regex is False, expected true"),
    (lambda whole: whole.update(post_processor={"type": "RobertaProcessing"}), "'RobertaProcessing', which adds"),
    (set_to("post_processor", special_tokens={"<s>": {}}), "post_processor is 'TemplateProcessing', which adds"),
    (lambda whole: whole["added_tokens"][1].update(lstrip=True), "added token '<pad>' has lstrip True"),
    (lambda whole: whole["added_tokens"][1].update(id=7), "id 7, expected an integer|have id 7"),
    (lambda whole: whole["added_tokens"][0].update(id=7), "added token '<.endoftext.>' has id 7, but 261 in its"),
    (lambda whole: whole["added_tokens"][1].pop("content"), "added_tokens has .*expected content and id"),
    (lambda whole: whole.update(added_tokens=7), "added_tokens is 7, expected a list"),
    (set_to("model", merges=None), "merges is None, expected a list"),
    (set_to("model", merges=[["t", "h", "e"]]), "merge 1: 't h e' given, expected two tokens"),
    (set_to("model", merges=[7]), "merge 1: 7 given, expected two tokens"),
    (lambda whole: whole["model"]["merges"].pop(), "'Ġothe' is made by no line of its merges"),
])
def test_a_tokenizer_json_of_other_rules_is_refused_by_name(tmp_path, saved, change, message):
    (tmp_path / "tokenizer.json").write_text(as_json(saved, change), encoding="utf-8")
    with pytest.raises(ValueError, match=f"tokenizer.json[:,] .*{message}"):
        BPETokenizer.from_folder(tmp_path)


@pytest.mark.parametrize("token", ["<pad>", "[MASK]", "<|日本|>", "< two words >"])
def test_a_vocabulary_with_added_tokens_just_works(tmp_path, saved, token):
    vocab, merges = saved
    write(tmp_path, json.dumps({**vocab, token: 262}), merges)
    read = BPETokenizer.from_folder(tmp_path)
    assert read.vocab_size == 263 and read.token(262) == token.encode() and read.special[token] == 262
    assert read.decode([262, 0]) == token + "!"
    assert 262 not in read.encode(token) and read.encode(token, special=True).tolist() == [262]
    read.save(tmp_path / "again")
    again = BPETokenizer.from_folder(tmp_path / "again")
    assert (again.tokens, again.merges, again.special) == (read.tokens, read.merges, read.special)


def test_of_special_tokens_the_longest_is_found(tmp_path, saved):
    vocab, merges = saved
    write(tmp_path, json.dumps({**vocab, "<a>": 262, "<a><b>": 263}), merges)
    read = BPETokenizer.from_folder(tmp_path)
    assert read.encode("<a><b><a>", special=True).tolist() == [263, 262]


def test_added_tokens_may_have_a_file_of_their_own(tmp_path, saved):
    """As transformers 4 has it; in that file they need no brackets."""
    vocab, merges = saved
    write(tmp_path, json.dumps(vocab), merges)
    (tmp_path / "added_tokens.json").write_text(json.dumps({"PAD": 262}))
    assert BPETokenizer.from_folder(tmp_path).encode("PAD!", special=True).tolist() == [262, 0]
    (tmp_path / "added_tokens.json").write_text(json.dumps({"he": 7}))
    with pytest.raises(ValueError, match="added_tokens.json: token 'he' has id 7, but 256 in .*vocab.json"):
        BPETokenizer.from_folder(tmp_path)
    for token, message in [("", "an added token without a letter"), ("<\ud800>", "token '<.ud800>' is not Unicode")]:
        (tmp_path / "added_tokens.json").write_text(json.dumps({token: 262}))
        with pytest.raises(ValueError, match=f"vocab.json: {message}"):
            BPETokenizer.from_folder(tmp_path)


@pytest.mark.parametrize("name, kind", [("vocab.txt", "BERT's WordPiece"), ("tokenizer.model", "SentencePiece")])
def test_a_tokenizer_of_another_kind_is_named(tmp_path, name, kind):
    (tmp_path / name).write_bytes(b"[PAD]")
    with pytest.raises(ValueError, match=f"{name}: {kind} given, which is not read here; expected vocab.json"):
        BPETokenizer.from_folder(tmp_path)


def test_bytes_with_ends_of_words_are_clips(tmp_path, saved):
    vocab, merges = saved
    write(tmp_path, json.dumps({**vocab, "a</w>": 262}), merges)
    with pytest.raises(ValueError, match="vocab.json: .* as CLIP's tokenizer has them; expected byte-level"):
        BPETokenizer.from_folder(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="has no FIFOs")
@pytest.mark.parametrize("name", ["vocab.json", "merges.txt", "tokenizer.json", "added_tokens.json"])
def test_what_hangs_or_has_no_end_is_refused(tmp_path, saved, name, monkeypatch):
    if name != "tokenizer.json":
        write(tmp_path, json.dumps(saved[0]), saved[1])
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    with pytest.raises(ValueError, match=f"{name}: a FIFO given, expected a regular file"):
        BPETokenizer.from_folder(tmp_path)
    (tmp_path / name).unlink()
    with open(tmp_path / name, "wb") as file:
        file.truncate(2**40)            # a sparse file: no disk holds as much
    with pytest.raises(ValueError, match=f"{name}: longer than 33,554,432 bytes"):
        BPETokenizer.from_folder(tmp_path)


def test_hundreds_of_corrupted_tokenizer_json_are_refused_or_right(tmp_path, saved):
    rng = random.Random(0)
    path, whole = tmp_path / "tokenizer.json", json.loads(as_json(saved))
    raw, accepted, n = json.dumps(whole).encode(), 0, examples_of(400, 20_000)
    for _ in range(n):
        some = json.dumps(with_another_value(whole, rng)).encode() if rng.random() < 0.7 else corrupted(raw, rng)
        path.write_bytes(some)
        try:
            tokenizer = open_tokenizer(tmp_path)
        except ValueError as error:
            assert "tokenizer.json" in str(error) and "\n" not in str(error) and len(str(error)) < 1500
        else:
            accepted += 1
            assert tokenizer.decode(tokenizer.encode(SMALL)) == SMALL
            assert tokenizer.encode(SMALL).tolist() == naive_encode(tokenizer, SMALL)
            vocab = json.loads(some)["model"]["vocab"]
            assert all(tokenizer.token(v) == token.encode() for token, v in vocab.items() if token.isascii())
    assert 0 < accepted < n


def test_files_that_are_not_there(tmp_path, saved):
    with pytest.raises(FileNotFoundError, match="vocab.json and merges.txt, or encoder.json"):
        BPETokenizer.from_folder(tmp_path)
    write(tmp_path, json.dumps(saved[0]), saved[1], ("vocab.json", "vocab.bpe"))
    with pytest.raises(FileNotFoundError, match="expected vocab.json and merges.txt"):
        BPETokenizer.from_folder(tmp_path)
    with pytest.raises(FileNotFoundError, match="merges.txt"):
        BPETokenizer.from_files(tmp_path / "vocab.json", tmp_path / "merges.txt")
    with pytest.raises(FileNotFoundError, match="none.json"):
        BPETokenizer.from_files(tmp_path / "none.json", tmp_path / "vocab.bpe")
    with pytest.raises(OSError):
        TOKENIZER.save(tmp_path / "vocab.json")
