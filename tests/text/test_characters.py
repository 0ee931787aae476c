"""The tokenizer of characters."""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt_np import CharacterTokenizer


@given(st.text(min_size=1).map(lambda text: text + text[0]))
def test_every_text_comes_back(text):
    tokenizer = CharacterTokenizer(text)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.vocab_size == len(set(text)) and ids.shape == (len(text),)
    assert tokenizer.characters == "".join(sorted(set(text)))
    assert b"".join(map(tokenizer.token, ids)) == text.encode("utf-8", "replace")


def test_text_and_ids_outside_the_vocabulary_are_refused():
    tokenizer = CharacterTokenizer("bcd")
    for text, where in (("bca", 2), ("e", 0), ("c\N{GRINNING FACE}", 1)):
        with pytest.raises(ValueError, match=f"text: .* given at {where}, expected"):
            tokenizer.encode(text)
    for ids, given in (([0, 3], "3 given at .1,., expected 0 to 2"), (5, "shape .. given")):
        with pytest.raises(ValueError, match=f"ids: {given}"):
            tokenizer.decode(ids)
    with pytest.raises(ValueError, match="text: "):
        CharacterTokenizer("")
    assert tokenizer.encode("").shape == (0,) and tokenizer.encode("db").dtype == np.int64
