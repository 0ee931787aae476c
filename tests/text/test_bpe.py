"""Byte-level BPE against its rules spelled out slowly, and `tokenizers` and transformers."""
import json
import re
import tempfile
import unicodedata
import warnings
from collections import Counter
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minigpt_np.text import bpe
from minigpt_np.text.bpe import END_OF_TEXT, BPETokenizer
from strategies import repetitive_text, unicode_text

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


def merge_everywhere(ids, pair, new):
    """Replace each `pair` in the list, from left to right."""
    for i in range(len(ids)):
        if tuple(ids[i:i + 2]) == pair:
            ids[i:i + 2] = [new]


def naive_encode(tokenizer, text):
    """In the order in which the merges were learned, each wherever it stands, word by word."""
    all_ids = []
    for word in gpt2_pattern().findall(text):
        ids = [tokenizer.letters[byte] for byte in word.encode()]
        for pair, new in tokenizer.merges.items():
            merge_everywhere(ids, pair, new)
        all_ids += ids
    return all_ids


def naive_train(text, vocab_size):
    """The merges of Sennrich et al.'s algorithm 1: count everything afresh for each of them."""
    bytes_in_order = [v for v in range(256) if chr(v) in bpe.BYTE_OF_CHAR]
    bytes_in_order += [v for v in range(256) if v not in bytes_in_order]
    words = [[bytes_in_order.index(byte) for byte in word.encode()]
             for word in gpt2_pattern().findall(text)]
    merges = {}
    while 256 + len(merges) + 1 < vocab_size:
        count = Counter(pair for ids in words for pair in zip(ids, ids[1:]))
        if not count or max(count.values()) < 2:
            break
        pair = min(count, key=lambda pair: (-count[pair], pair))
        merges[pair] = 256 + len(merges)
        for ids in words:
            merge_everywhere(ids, pair, merges[pair])
    return merges


def train(text, vocab_size):
    """The tokenizer, and what it said where it fell short of `vocab_size`."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tokenizer = BPETokenizer.train(text, vocab_size)
    return tokenizer, [str(warning.message) for warning in caught]


def assert_same_tokenizer(a, b):
    assert (a.tokens, list(a.merges.items()), a.letters) == (b.tokens, list(b.merges.items()),
                                                             b.letters)
    assert list(a.special.items()) == sorted(b.special.items(), key=lambda item: item[1])


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


def test_words_are_remembered_but_not_without_limit(monkeypatch):
    monkeypatch.setattr(bpe, "MAX_CACHED_WORDS", 2)
    tokenizer, remembered = BPETokenizer.train("", 257), []
    for word in "abcde":
        tokenizer.encode(word)
        remembered.append("".join(tokenizer._ids_of_word))
    assert remembered == ["a", "ab", "abc", "d", "de"]


@given(st.lists(st.integers(0, V - 1)))
def test_bytes_that_are_not_text_are_replaced(ids):
    data = b"".join(TOKENIZER.token(v) for v in ids)
    assert TOKENIZER.decode(ids) == data.decode("utf-8", errors="replace")
    assert TOKENIZER.decode(np.array(ids, dtype=np.uint16)) == TOKENIZER.decode(ids)


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
    assert list(tokenizer.merges.items()) == list(naive_train(text, vocab_size).items())
    assert tokenizer.vocab_size == len(set(tokenizer.tokens)) == 257 + len(tokenizer.merges)
    assert tokenizer.end_of_text == tokenizer.vocab_size - 1
    if tokenizer.vocab_size < vocab_size:
        assert len(said) == 1 and f"{vocab_size} given, {tokenizer.vocab_size} reached" in said[0]
    else:
        assert tokenizer.vocab_size == vocab_size and not said


# Files

SMALL = "the then the then these there other other"
TRAINED = BPETokenizer.train(SMALL, 262)
WRITTEN = ["".join(bpe.CHAR_OF_BYTE[byte] for byte in token) for token in TRAINED.tokens]
VOCAB = {token: v for v, token in enumerate(WRITTEN)}
MERGES = "#version: 0.2\nh e\nt he\nĠ the\no the\nĠ othe\n"


def write(folder, vocab=VOCAB, merges=MERGES, **others):
    """The files, each as bytes, text or an object; others by name without .json."""
    others = {f"{name}.json": content for name, content in others.items()}
    for name, content in {"vocab.json": vocab, "merges.txt": merges, **others}.items():
        if not isinstance(content, (bytes, str)):
            content = json.dumps(content)
        Path(folder, name).write_bytes(content.encode() if isinstance(content, str) else content)


def tokenizer_json(change=lambda content: None):
    """What is read of a tokenizer.json by transformers 5, with <pad>, after change(content)."""
    traits = {"single_word": False, "lstrip": False, "rstrip": False, "special": True}
    content = {
        "added_tokens": [{"id": v, "content": text} | traits
                         for text, v in {END_OF_TEXT: 261, "<pad>": 262}.items()],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
        "post_processor": {"type": "TemplateProcessing", "special_tokens": {}},
        "model": {"type": "BPE", "dropout": None, "ignore_merges": False, "vocab": VOCAB,
                  "merges": [line.split(" ") for line in MERGES.splitlines()[1:]]}}
    content = json.loads(json.dumps(content))           # a copy that may be changed
    change(content)
    return content


@given(repetitive_text, st.integers(257, 275))
def test_saved_and_opened_it_is_the_same(text, vocab_size):
    tokenizer, _ = train(text, vocab_size)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save(Path(folder, "new", "folder"))
        assert_same_tokenizer(BPETokenizer.from_folder(Path(folder, "new", "folder")), tokenizer)


@pytest.mark.parametrize("case", REFERENCE["folders"], ids=lambda case: ",".join(case["files"]))
def test_transformers_gives_the_same_ids_beside_these_files(tmp_path, case):
    """Tokens that were added in any of the files that can say so; and the rules' unless asked."""
    vocab = {token: v for v, token in enumerate(REFERENCE["vocab"])}
    files = {name.removesuffix(".json"): content for name, content in case["files"].items()}
    if "tokenizer" in files:
        files["tokenizer"] |= {"model": {"vocab": vocab, "merges": REFERENCE["merges"]},
                               "pre_tokenizer": {"type": "ByteLevel"}}
    write(tmp_path, vocab, "".join(f"{a} {b}\n" for a, b in REFERENCE["merges"]), **files)
    opened = BPETokenizer.from_folder(tmp_path)
    text = REFERENCE["special_text"]
    assert opened.encode(text, special=True).tolist() == case["ids"]
    assert opened.encode(text).tolist() == naive_encode(opened, text)
    assert list(opened.special.values()) == sorted(opened.special.values())
    opened.save(tmp_path / "again")
    assert_same_tokenizer(BPETokenizer.from_folder(tmp_path / "again"), opened)


@pytest.mark.parametrize("change", [
    lambda text: text, lambda text: text.replace("\n", "\r\n"), lambda text: "\ufeff" + text,
    lambda text: text.removeprefix("#version: 0.2\n"), lambda text: text.replace("\n", "\n\n")])
def test_line_ends_and_a_byte_order_mark_do_not_matter(tmp_path, change):
    write(tmp_path, merges=change(MERGES))
    assert_same_tokenizer(BPETokenizer.from_folder(str(tmp_path)), TRAINED)
    for ours, openais in [("vocab.json", "encoder.json"), ("merges.txt", "vocab.bpe")]:
        (tmp_path / ours).rename(tmp_path / openais)
    assert_same_tokenizer(BPETokenizer.from_folder(tmp_path), TRAINED)


def test_ids_may_stand_in_any_order_and_the_mark_be_absent(tmp_path):
    shuffled = {token: (v + 100) % 261 for token, v in VOCAB.items() if token != END_OF_TEXT}
    write(tmp_path, shuffled)
    tokenizer = BPETokenizer.from_folder(tmp_path)
    assert tokenizer.vocab_size == 261 and tokenizer.end_of_text is None
    text = "the other thing <|endoftext|>"
    assert tokenizer.encode(text).tolist() == naive_encode(tokenizer, text)
    assert tokenizer.encode(" the").tolist() == [shuffled["Ġthe"]]
    with pytest.raises(ValueError, match="special.*no special token"):
        tokenizer.encode(text, special=True)


@pytest.mark.parametrize("token", ["<pad>", "[MASK]", "<|日本|>", "< two words >"])
def test_a_token_in_brackets_needs_no_other_file(tmp_path, token):
    write(tmp_path, {**VOCAB, token: 262})
    opened = BPETokenizer.from_folder(tmp_path)
    assert opened.token(262) == token.encode() and opened.decode([262, 0]) == token + "!"
    assert 262 not in opened.encode(token) and opened.encode(token, special=True).tolist() == [262]


@pytest.mark.parametrize("change", [
    lambda content: None,
    lambda content: content["model"].update(merges=[" ".join(pair)
                                                for pair in content["model"]["merges"]]),
    lambda content: [content["model"].pop(name)
                   for name in ("type", "dropout", "ignore_merges")],
    lambda content: content.update(post_processor={"type": "ByteLevel", "trim_offsets": False}),
], ids=["as version 5", "merges as text", "an older one", "ByteLevel"])
def test_a_tokenizer_json_is_read_instead_of_the_others(tmp_path, change):
    write(tmp_path, {"a": 0}, "", tokenizer=tokenizer_json(change))
    opened = BPETokenizer.from_folder(tmp_path)
    expected = BPETokenizer([*TRAINED.tokens, b"<pad>"], TRAINED.merges, TRAINED.letters,
                            {END_OF_TEXT: 261, "<pad>": 262})
    assert_same_tokenizer(opened, expected)


# Bad input

def test_a_lone_surrogate_is_refused_with_its_position():
    for use in (TOKENIZER.encode, lambda text: BPETokenizer.train(text, 300)):
        with pytest.raises(ValueError, match=r"lone surrogate '\\ud800' given at position 2"):
            use("ab\ud800c")


@pytest.mark.parametrize("v, message", [
    (-1, f"-1 given at (0,), expected 0 to {V - 1}"), (V, f"{V} given at (0,), expected 0 to")])
def test_ids_outside_the_vocabulary_are_refused(v, message):
    for use in (TOKENIZER.token, lambda v: TOKENIZER.decode([v])):
        with pytest.raises(ValueError, match=f"^ids: {re.escape(message)}"):
            use(v)
    assert TOKENIZER.decode([0, V - 1]) == "!<|endoftext|>"


@pytest.mark.parametrize("vocab, message", [
    (VOCAB | {"he": 7}, "token 'he' has id 7, expected 8: the ids are 0 to V-1, each once"),
    ({token: v for v, token in enumerate(token for token in VOCAB if token != "Ġ")},
     "no token 'Ġ', which is byte 32"),
    (VOCAB | {"PAD": 262}, "'PAD' is made by no merge.*expected in <brackets>"),
])
def test_invalid_vocabulary_files_are_refused(tmp_path, vocab, message):
    write(tmp_path, vocab)
    with pytest.raises(ValueError, match=r"vocab\.json: .*" + message):
        BPETokenizer.from_folder(tmp_path)


@pytest.mark.parametrize("merges, message", [
    (MERGES.encode() + b"\xff", "UnicodeDecodeError"),
    (MERGES.replace("\nh e\n", "\nh e \n"), "line 2: .'h', 'e', ''. given, expected two tokens"),
    (MERGES.replace("\nh e\n", "\n") + "h e\n", "line 2: .*, each .* made by a line above"),
    (MERGES + "z z\n", "line 7: 'zz' is not in .*vocab.json"),
    (MERGES[:-7], "token 'Ġothe' is made by no merge; are some missing"),
])
def test_invalid_merges_files_are_refused(tmp_path, merges, message):
    write(tmp_path, merges=merges)
    with pytest.raises(ValueError, match=message):
        BPETokenizer.from_folder(tmp_path)


def set_to(part, **traits):
    return lambda content: content[part].update(traits)


@pytest.mark.parametrize("change, message", [
    (set_to("model", type="Unigram", vocab=[["<unk>", 0.0], ["the", -2.5]]),
     "model.type is 'Unigram', expected \"BPE\", as byte-level BPE has it"),
    (set_to("model", dropout=0.1), "model.dropout is 0.1, expected null or 0.0"),
    (set_to("model", ignore_merges=True), "model.ignore_merges is True, expected false"),
    (lambda content: content.update(normalizer={"type": "NFC"}),
     "normalizer.type is 'NFC', expected null"),
    (lambda content: content.update(pre_tokenizer=None),
     "pre_tokenizer.type is None, expected \"ByteLevel\""),
    (set_to("pre_tokenizer", add_prefix_space=True),
     "pre_tokenizer.add_prefix_space is True, expected false"),
    (lambda content: content.update(post_processor={"type": "RobertaProcessing"}),
     "post_processor.type is 'RobertaProcessing', expected null or \"ByteLevel\" or"),
    (set_to("post_processor", special_tokens={"<s>": {}}),
     "post_processor.special_tokens is .*, expected {}"),
    (lambda content: content["added_tokens"][1].update(lstrip=True),
     "special token '<pad>' has lstrip True, expected false"),
    (lambda content: content["added_tokens"][1].update(id=7), "'<pad>' has id 7, expected 8"),
    (lambda content: content["added_tokens"][0].update(id=7),
     "special token '<.endoftext.>' has id 7, but 261 in "),
    (set_to("model", merges=["the"]), "merge 1: .* given, expected two tokens"),
])
def test_a_tokenizer_json_of_other_rules_is_refused_by_name(tmp_path, change, message):
    write(tmp_path, tokenizer=tokenizer_json(change))
    with pytest.raises(ValueError, match=f"tokenizer.json[:,] .*{message}"):
        BPETokenizer.from_folder(tmp_path)


@pytest.mark.parametrize("name, content, message", [
    *[("tokenizer_config", {option: True}, f"{option} is True, expected false") for option in
      ("add_prefix_space", "add_bos_token", "add_eos_token", "split_special_tokens")],
    ("tokenizer_config", {"tokenizer_class": "RobertaTokenizer"},
     "tokenizer_class is 'RobertaTokenizer', expected"),
    ("tokenizer_config", {"pad_token": "<pad>"},
     "special token '<pad>' is not in the vocabulary, .*vocab.json"),
    ("tokenizer_config", {"pad_token": {"content": "!", "rstrip": True}},
     "special token '!' has rstrip True"),
    ("tokenizer_config", {"extra_special_tokens": ["!", "<x>"]},
     "special token '<x>' is not in the vocabulary"),
    ("tokenizer_config", {"added_tokens_decoder": {"x": {"content": "the"}}},
     "special token 'the' has id 'x', but 257 in .*vocab"),
    ("special_tokens_map", {"mask_token": "<mask>"},
     "special token '<mask>' is not in the vocabulary"),
    ("added_tokens", {"he": 7}, "special token 'he' has id 7, but 256 in .*vocab.json"),
])
def test_files_that_say_otherwise_are_refused_by_name(tmp_path, name, content, message):
    write(tmp_path, **{name: content})
    with pytest.raises(ValueError, match=f"{name}.json: .*{message}"):
        BPETokenizer.from_folder(tmp_path)


@pytest.mark.parametrize("content", [7, {"pad_token": 7.5}, {"added_tokens_decoder": []},
                                     {"added_tokens_decoder": {"x": {"content": "<new>"}}}])
def test_files_of_another_form_are_refused(tmp_path, content):
    write(tmp_path, tokenizer_config=content)
    with pytest.raises(ValueError, match=re.escape(str(tmp_path))):
        BPETokenizer.from_folder(tmp_path)


def test_a_config_beside_a_tokenizer_json(tmp_path):
    """The class does not matter, since the file says what it does."""
    write(tmp_path, tokenizer=tokenizer_json(), tokenizer_config={
        "tokenizer_class": "CodeGenTokenizer", "add_bos_token": False, "pad_token": "<pad>",
        "cls_token": None})
    assert BPETokenizer.from_folder(tmp_path).special == {END_OF_TEXT: 261, "<pad>": 262}


def test_a_folder_without_a_tokenizer(tmp_path):
    for missing in ("vocab.json", "merges.txt"):
        write(tmp_path)
        (tmp_path / missing).unlink()
        with pytest.raises(FileNotFoundError, match="tokenizer.json, or vocab.json and merges.txt"):
            BPETokenizer.from_folder(tmp_path)
    with pytest.raises(OSError):
        TOKENIZER.save(tmp_path / "vocab.json")
