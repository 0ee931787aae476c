"""GPT-1's tokenizer against the numbers of transformers."""
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minigpt_np.text import BPETokenizer, GPT1Tokenizer, open_tokenizer
from minigpt_np.text.gpt1 import split_words

REFERENCE = json.loads(Path(__file__).parents[1].joinpath("reference", "gpt1.json").read_bytes())


def write(folder, vocab=REFERENCE["vocab"], merges=REFERENCE["merges"]):
    Path(folder, "vocab.json").write_text(json.dumps({token: v for v, token in enumerate(vocab)}))
    Path(folder, "merges.txt").write_text(
        "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), encoding="utf-8")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpt1")
    write(folder)
    return GPT1Tokenizer.from_folder(folder)


@pytest.mark.parametrize("case", REFERENCE["encoded"], ids=lambda case: ascii(case["text"])[:20])
def test_transformers_gives_the_same_ids(tokenizer, case):
    ids = tokenizer.encode(case["text"], special=True)
    assert ids.tolist() == case["ids"] and ids.dtype == np.int64
    if "<unk>" not in case["text"]:
        assert tokenizer.encode(case["text"]).tolist() == case["ids"]


def test_transformers_gives_the_same_text(tokenizer):
    for case in REFERENCE["decoded"]:
        assert tokenizer.decode(case["ids"]) == case["text"]


@given(st.text(st.sampled_from("the matrix reads Éà. '\n")))
def test_decoded_text_is_encoded_alike(tokenizer, text):
    """Case, accents and spacing are gone after the first time."""
    ids = tokenizer.encode(text)
    assume(0 not in ids)                # <unk>: which letter it was is lost
    assert tokenizer.encode(tokenizer.decode(ids)).tolist() == ids.tolist()


def test_tokens_say_where_a_word_ends(tokenizer):
    ids = tokenizer.encode("The model READS")
    assert b"".join(map(tokenizer.token, ids)) == b"the model reads "
    assert tokenizer.decode(ids) == "the model reads"
    assert tokenizer.encode("").tolist() == tokenizer.encode(" \n\0").tolist() == []
    assert split_words("a\u4dbfb\u3400") == ["a", "\u4dbf", "b", "\u3400"]   # the ends of a block
    assert tokenizer.end_of_text is None and tokenizer.vocab_size == len(REFERENCE["vocab"])


def test_a_folder_is_opened_as_what_it_is(tmp_path, tokenizer):
    write(tmp_path)
    opened = open_tokenizer(tmp_path)
    assert isinstance(opened, GPT1Tokenizer) and opened.merges == tokenizer.merges
    with pytest.raises(ValueError, match="vocab.json: no token '.', .* expected byte-level BPE"):
        BPETokenizer.from_folder(tmp_path)
    BPETokenizer.train("aa aa", 258).save(tmp_path)
    assert isinstance(open_tokenizer(tmp_path), BPETokenizer)
    with pytest.raises(ValueError, match="tokenizer.json: expected a vocabulary as GPT-1's"):
        GPT1Tokenizer.from_folder(tmp_path)


def tokenizer_json(part="model", **changes):
    """What is read of a tokenizer.json by transformers 5, with changes in one part of it."""
    content = {
        "added_tokens": [{"id": 0, "content": "<unk>"}],
        "normalizer": {"type": "BertNormalizer", "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing", "special_tokens": {}},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "ignore_merges": False,
                  "vocab": {token: v for v, token in enumerate(REFERENCE["vocab"])},
                  "merges": REFERENCE["merges"]}}
    content[part] |= changes
    return json.dumps(content)


def test_a_tokenizer_json_is_the_same(tmp_path, tokenizer):
    (tmp_path / "tokenizer.json").write_text(tokenizer_json())
    opened = open_tokenizer(tmp_path)
    assert isinstance(opened, GPT1Tokenizer)
    assert (opened.tokens, opened.merges, opened.special) == (tokenizer.tokens, tokenizer.merges,
                                                              tokenizer.special)


@pytest.mark.parametrize("part, changes, complaint", [
    ("normalizer", {"lowercase": False}, "lowercase is False, expected true, as GPT-1's BPE"),
    ("pre_tokenizer", {"type": "Whitespace"}, "type is 'Whitespace', expected"),
    ("model", {"unk_token": "?"}, "unk_token is '.', expected \"<unk>\""),
])
def test_a_tokenizer_json_of_other_rules_is_refused_by_name(tmp_path, part, changes, complaint):
    (tmp_path / "tokenizer.json").write_text(tokenizer_json(part, **changes))
    with pytest.raises(ValueError, match=f"tokenizer.json: {part}.{complaint}"):
        open_tokenizer(tmp_path)


@pytest.mark.parametrize("vocab, merges, complaint", [
    (REFERENCE["vocab"][1:], REFERENCE["merges"], "expected a vocabulary as GPT-1's.*<unk>"),
    (REFERENCE["vocab"], REFERENCE["merges"][:-1], ".* made by no merge; are some missing")])
def test_invalid_files_are_refused(tmp_path, vocab, merges, complaint):
    write(tmp_path, vocab, merges)
    with pytest.raises(ValueError, match=f"vocab.json: {complaint}"):
        GPT1Tokenizer.from_folder(tmp_path)
