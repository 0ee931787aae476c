"""Write reference/bpe.json: a vocabulary, ids and texts from `tokenizers` and transformers.

    pip install tokenizers transformers && python tests/reference/make_reference_bpe.py

The library's own trainer learns the merges from TEXT and its own encoder gives the ids, so the
file judges `BPETokenizer.train`, `encode` and `decode` from outside. Every character below is in
Unicode 12 or older, so all libraries and all Pythons see the same letters, numbers and signs.

transformers opens the same vocabulary beside files that add special tokens, new ones and ones that
the vocabulary has already. The ids that it gives to SPECIAL_TEXT judge `from_folder` and `save`.
"""
import json
import random
import tempfile
from pathlib import Path

import tokenizers
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

END_OF_TEXT = "<|endoftext|>"
VOCAB_SIZE = 400

TEXT = """\
The model reads a token and the model writes a token. When it reads, it looks up a row of the
matrix; when it writes, it asks which row of the same matrix is nearest. One matrix, two uses,
and so the gradient of the matrix is the sum of two gradients: the one from reading, which is
sparse, and the one from writing, which is dense. It's the same row that's read and that's
written, and they're added, not averaged. We've tested it, and we'll test it again: I'd say
that's what tests are for, don't you think? I'm sure that it can't be otherwise.

    for token in tokens:
        gradient[token] += upstream
    for token in range(len(matrix)):
        gradient[token] += written[token]

In 2016 there were 10000 tokens; in 2019 there were 50257, and in 2016 and in 2019 the matrix was
the biggest one of the model.   Spaces,  more   spaces,\ttabs\tand tabs, and now some others:
Die Matrix liest und schreibt; größer, schöner, größere Räume, schönere Räume. Où est la
matrice? Là où elle était, là où elle a été. Матрица читает и матрица пишет, матрица одна.
矩阵读，矩阵写，矩阵是一个矩阵。 行列は読む、行列は書く。 👍👍 👍🏽 naïve naïve café café.
"""

EXAMPLES = [
    "", " ", "\n", "   ", "a", "The model reads", "the  matrix   is\tread ", " \n \n x",
    "It's they're we've I'm we'll I'd don't", "IT'S 'SS ''s 's't 'sat 'l 'lle", "x's y'T z’s",
    "2016 20167 a2016b ٣٤٥ ½²Ⅷ 一二三 1½", "größer Räume RÄUME", "Матрица читает!",
    "矩阵读 矩阵", "行列は書く。", "👍👍🏽👨‍👩‍👧🇩🇪", "e\u0301 \u0301e ʰªº ǅ", "\x00\x01\x7f\x80\xff",
    "a\x1cb \x1d c\x1e\x1f d", "a\x85b \x85 c", "a\xa0b \xa0 c\xa0\xa0d",
    "a\u1680b\u2000\u2003c\u2028d\u2029 e\u202ff\u205f\u3000g", "a\u180eb \u200b\u200dc\ufeff",
    "\r\n\r\n x\r\n", "... !!! ,,, -- == +=", f"a{END_OF_TEXT}b", f"{END_OF_TEXT}{END_OF_TEXT} c",
    "<|endoftext|", "\uffff\U00010000\U0001d7d9\U0001d538\U0010ffff", "aaaaaaaaaaaaaaa" * 5,
]

ADDED = ["USER:", "\n\n", " ", "<pad>", "日本", "the mat"]
KNOWN = ["!", "the", "Ġthe", "é", "he", "Ã©"]
SPECIAL_TEXT = ("USER: the matrix!! Ġthe matrix\n\nis été, USER:USER:<pad>日本 the mat<|endoftext|>é!"
                "  the\n \ntoken")


def added_token(text):
    return {"content": text, "lstrip": False, "normalized": False, "rstrip": False,
            "single_word": False, "special": True}


def folders(id_of):
    """Files beside a vocabulary {token: id}, as {file name: object}."""
    known = {text: id_of[text] for text in KNOWN if text in id_of}
    new = {text: len(id_of) + n for n, text in enumerate(ADDED)}
    for added in (new, known, new | known):
        yield {"added_tokens.json": added}
        by_id = {v: added_token(text) for text, v in added.items()}
        yield {"tokenizer_config.json": {"tokenizer_class": "GPT2Tokenizer",
                                         "add_prefix_space": False, "added_tokens_decoder": by_id}}
        yield {"tokenizer.json": {"added_tokens": [{"id": v} | by_id[v] for v in by_id]}}
    yield {"tokenizer_config.json": {"pad_token": "!",
                                     "bos_token": {"__type": "AddedToken"} | added_token("the")}}
    yield {"special_tokens_map.json": {"pad_token": "ok", "additional_special_tokens": ["!"]}}


def folder_ids(vocab, merges):
    """What transformers makes of SPECIAL_TEXT: [{"files": those of folders, "ids": ...}, ...]."""
    cases = []
    for files in folders(vocab):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
            Path(folder, "merges.txt").write_text("".join(f"{a} {b}\n" for a, b in merges),
                                                  encoding="utf-8")
            for name, content in files.items():
                if name == "tokenizer.json":
                    content = content | {
                        "model": {"type": "BPE", "vocab": vocab, "merges": merges},
                        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False,
                                          "trim_offsets": True}}
                Path(folder, name).write_text(json.dumps(content), encoding="utf-8")
            ids = transformers.GPT2Tokenizer.from_pretrained(folder).encode(SPECIAL_TEXT)
        cases.append({"files": files, "ids": ids})
    return cases


def main():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator([TEXT], trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE - 1, min_frequency=2, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.add_special_tokens([END_OF_TEXT])
    assert tokenizer.token_to_id(END_OF_TEXT) == VOCAB_SIZE - 1

    encoded = []
    for text in EXAMPLES + TEXT.splitlines(keepends=True):
        tokenizer.encode_special_tokens = True      # that is: as any other text
        plain = tokenizer.encode(text).ids
        tokenizer.encode_special_tokens = False
        encoded.append({"text": text, "ids": plain, "special_ids": tokenizer.encode(text).ids})

    decoded = []
    rng = random.Random(0)
    for length in range(1, 41):
        ids = [rng.randrange(VOCAB_SIZE) for _ in range(length)]
        decoded.append({"ids": ids, "text": tokenizer.decode(ids, skip_special_tokens=False)})

    reference = {"tokenizers": tokenizers.__version__, "train_text": TEXT,
                 "vocab_size": VOCAB_SIZE, "vocab": tokenizer.get_vocab(),
                 "merges": json.loads(tokenizer.to_str())["model"]["merges"],
                 "encoded": encoded, "decoded": decoded,
                 "transformers": transformers.__version__, "special_text": SPECIAL_TEXT}
    reference["folders"] = folder_ids(reference["vocab"], reference["merges"])
    reference["vocab"] = sorted(reference["vocab"], key=reference["vocab"].get)
    sections = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in reference.items()]
    path = Path(__file__).parent / "bpe.json"
    path.write_text("{" + ",\n".join(sections) + "}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
