"""Write reference/gpt1.json: a small vocabulary as GPT-1's, and transformers' ids of texts.

    pip install 'transformers<5' && python tests/reference/make_reference_gpt1.py

`tokenizers` learns the merges from the text of make_reference_bpe.py; transformers'
OpenAIGPTTokenizer, without ftfy and spaCy, reads them from vocab.json and merges.txt. (Version 5
has another implementation, on `tokenizers`.)
"""
import json
import tempfile
from pathlib import Path

import tokenizers
import transformers
from make_reference_bpe import EXAMPLES, TEXT
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

MORE = [
    "Don't READ this!", "a\nb\n\nc\td\r\ne", "«Über»—naïve… CAFÉ", "İstanbul ΟΔΟΣ ὈΔΥΣΣΕΎΣ ǅ ß ẞ",
    "x\u2028y\u2029z", "a\u200db\u200cc\u00add\ufeffe", "Ⅷ½²₃ ª º ﬁ", "e\u0301\u0323 q\u0307\u0323",
    "한국어 かな カナ が", "$1,000.00 + 5% = ^x_y|z~`", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢", "矩ab阵",
    "<unk> the<unk>the </w> the</w>", "\x0b\x0c\x1c\x85 a\x0bb", "¿Qué? ¡Sí! „So“", "۰۱۲ ०१२",
    "\ufffd\ue000\U000e0001a", "I I. .I. ..", "_", "`", "the " * 20,
]


def main():
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.normalizer = normalizers.BertNormalizer()
    learner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    learner.train_from_iterator([TEXT], trainers.BpeTrainer(
        vocab_size=400, min_frequency=2, show_progress=False, end_of_word_suffix="</w>",
        special_tokens=["<unk>"]))
    model = json.loads(learner.to_str())["model"]
    vocab = model["vocab"]
    merges = [pair if isinstance(pair, list) else pair.split(" ") for pair in model["merges"]]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
        Path(folder, "merges.txt").write_text(
            "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), encoding="utf-8")
        tokenizer = transformers.OpenAIGPTTokenizer.from_pretrained(folder)
    assert type(tokenizer.nlp).__name__ == "BasicTokenizer"

    texts = EXAMPLES + MORE + TEXT.splitlines(keepends=True)
    encoded = [{"text": text, "ids": tokenizer.encode(text)} for text in texts]
    decoded = []
    for case in encoded[-12:]:
        text = tokenizer.decode(case["ids"], clean_up_tokenization_spaces=False)
        decoded.append({"ids": case["ids"], "text": text})
    reference = {"transformers": transformers.__version__, "tokenizers": tokenizers.__version__,
                 "vocab": sorted(vocab, key=vocab.get), "merges": merges,
                 "encoded": encoded, "decoded": decoded}
    sections = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in reference.items()]
    path = Path(__file__).with_name("gpt1.json")
    path.write_text("{" + ",\n".join(sections) + "}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
