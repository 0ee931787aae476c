"""Tokenizer files: what a folder says about tokens, merges and special tokens.

    tokenizer.json           everything: {"model": {"type": "BPE", "vocab": ..., "merges": ...},
                             "added_tokens": [...], and how text becomes words: "normalizer", ...}
    vocab.json, merges.txt   where there is no tokenizer.json: {token: id, ...}; "#version: 0.2" and
                             a line "left right" for each merge. OpenAI, and minGPT with it, call
                             them encoder.json, vocab.bpe
    added_tokens.json        beside those two: {token: id, ...}
    tokenizer_config.json, special_tokens_map.json      beside either: more special tokens, options

All of them are read, as transformers does. An option that would change the ids is refused.
"""
import json
import re

from ..checks import check_path, show
from ..files.safetensors import read_object

BRACKETED = re.compile(r"<.+>|\[.+\]", re.DOTALL)
PAIRS = ("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe")
END_OF_WORD, UNKNOWN = "</w>", "<unk>"          # as GPT-1's files write them

# Fields of a tokenizer.json that decide which ids a text gets, with the supported values; a missing
# field means the first.
BOTH = {"model.type": ("BPE",), "model.dropout": (None, 0.0), "model.ignore_merges": (False,),
        "post_processor.type": (None, "ByteLevel", "TemplateProcessing"),
        "post_processor.special_tokens": ({},)}
RECIPES = {
    "byte-level": BOTH | {
        "normalizer.type": (None,), "pre_tokenizer.type": ("ByteLevel",),
        "pre_tokenizer.add_prefix_space": (False,), "pre_tokenizer.use_regex": (True,)},
    "GPT-1's": BOTH | {
        "normalizer.type": ("BertNormalizer",), "normalizer.strip_accents": (None, True),
        "normalizer.lowercase": (True,), "pre_tokenizer.type": ("BertPreTokenizer",),
        "model.unk_token": (UNKNOWN,)}}
# Options of a tokenizer_config.json that are not supported.
OPTIONS = "add_prefix_space", "add_bos_token", "add_eos_token", "split_special_tokens"
# Tokenizers that vocab.json and merges.txt are enough for: others add tokens of their own.
CLASSES = ["GPT2Tokenizer", "GPT2TokenizerFast", "OpenAIGPTTokenizer", "OpenAIGPTTokenizerFast",
           "PreTrainedTokenizerFast", "TokenizersBackend"]
# Fields with a special token, or with a list of them.
NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
         "additional_special_tokens", "extra_special_tokens")


class TokenizerFiles:
    """The tokenizer of a folder, as its files write it.

    path      the file that has the vocabulary
    kind      "byte-level" (GPT-2's) or "GPT-1's"
    id_of     token -> id
    tokens    the tokens by id, 0 to V-1
    merges    list of (where it stands, [left, right])
    special   text -> id of the tokens that stand for themselves; `merged` completes and sorts it

    Raises as MergingTokenizer.from_folder.
    """

    def __init__(self, folder):
        folder, self.special = check_path("folder", folder), {}
        whole = folder / "tokenizer.json"
        pairs = [(folder / vocab, folder / merges) for vocab, merges in PAIRS
                 if (folder / vocab).exists() and (folder / merges).exists()]
        try:
            if whole.exists():
                self._read_tokenizer_json(whole)
            elif pairs:
                self._read_pair(*pairs[0])
            else:
                raise FileNotFoundError(f"{folder}: no tokenizer here, expected tokenizer.json, or "
                                        "vocab.json and merges.txt, or encoder.json and vocab.bpe")
            for name in ("tokenizer_config.json", "special_tokens_map.json"):
                if (folder / name).exists():
                    self._read_config(folder / name)
            self.tokens = sorted(self.id_of, key=self.id_of.get)
        except (AttributeError, KeyError, TypeError, UnicodeDecodeError) as error:
            raise ValueError(f"{folder}: files of another form than a tokenizer's ({error!r})"
                             ) from error
        for v, token in enumerate(self.tokens):
            if self.id_of[token] != v:
                raise ValueError(f"{self.path}: token {show(token)} has id {self.id_of[token]}, "
                                 f"expected {v}: the ids are 0 to V-1, each once")

    def _read_tokenizer_json(self, path):
        self.path, content = path, read_object(path)
        model = content["model"]
        self._set_vocabulary(dict(model["vocab"]))
        check_recipe(path, content, self.kind)
        for token in content.get("added_tokens") or []:
            self._add(path, token, token["id"])
        pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
        self.merges = [(f"{path}, merge {n}", pair) for n, pair in enumerate(pairs, start=1)]

    def _read_pair(self, vocab, merges):
        self.path = vocab
        self._set_vocabulary(read_object(vocab))
        added = vocab.with_name("added_tokens.json")
        for token, v in (read_object(added) if added.exists() else {}).items():
            self._add(added, token, v)
        lines = enumerate(merges.read_text("utf-8-sig").split("\n"), start=1)
        self.merges = [(f"{merges}, line {n}", line.split(" ")) for n, line in lines
                       if line and not (n == 1 and line.startswith("#version"))]

    def _set_vocabulary(self, id_of):
        self.id_of = id_of
        ends = any(token.endswith(END_OF_WORD) for token in id_of)
        self.kind = "GPT-1's" if ends else "byte-level"

    def _read_config(self, path):
        """Check the options of a tokenizer_config.json; add the special tokens that it names."""
        fields = read_object(path)
        for name in OPTIONS:
            if fields.get(name):
                raise ValueError(f"{path}: {name} is {show(fields[name])}, expected false: nothing "
                                 "else is supported")
        kind = fields.get("tokenizer_class")
        if self.path.name != "tokenizer.json" and kind is not None and kind not in CLASSES:
            raise ValueError(f"{path}: tokenizer_class is {show(kind)}, expected one of "
                             f"{', '.join(CLASSES)}, or a tokenizer.json that says what it does")
        for v, token in fields.get("added_tokens_decoder", {}).items():
            self._add(path, token, int(v) if v.isdecimal() else v)
        for name in NAMED:
            tokens = fields.get(name) or []
            for token in tokens if isinstance(tokens, list) else [tokens]:
                self._add(path, token)

    def _add(self, path, token, v=None):
        """Make `token`, a text or an object with traits, special: as id `v` or the vocabulary's."""
        traits = token if isinstance(token, dict) else {"content": token}
        text = traits["content"]
        where = f"{path}: special token {show(text)}"
        for trait in ("single_word", "lstrip", "rstrip"):
            if traits.get(trait):
                raise ValueError(f"{where} has {trait} {show(traits[trait])}, expected false")
        known = self.id_of.get(text, v)
        if known is None:
            raise ValueError(f"{where} is not in the vocabulary, {self.path}")
        if v not in (None, known):
            raise ValueError(f"{where} has id {show(v)}, but {show(known)} in {self.path}")
        self.id_of[text] = self.special[text] = known

    def merged(self, letters):
        """The merges as {(left id, right id): id}, in the order learned. They begin with `letters`.

        Raises ValueError unless every line has two tokens that are letters or made by lines above,
        and makes one that is in the vocabulary. A token that no line makes is special if a file
        says so, or if it is in brackets: <pad>, [MASK]; any other means that merges are missing.
        """
        made, merges = set(letters), {}
        for where, parts in self.merges:
            if len(parts) != 2 or not made.issuperset(parts):
                raise ValueError(f"{where}: {show(parts)} given, expected two tokens, "
                                 "each a single letter or made by a line above")
            token = "".join(parts)
            if token not in self.id_of:
                raise ValueError(f"{where}: {show(token)} is not in {self.path}")
            made.add(token)
            merges[self.id_of[parts[0]], self.id_of[parts[1]]] = self.id_of[token]
        for token in self.id_of.keys() - made - self.special.keys():
            if not BRACKETED.fullmatch(token):
                raise ValueError(
                    f"{self.path}: token {show(token)} is made by no merge; are some missing? (A "
                    "token added later is expected in <brackets>, or in added_tokens.json)")
            self.special[token] = self.id_of[token]
        self.special = dict(sorted(self.special.items(), key=lambda item: item[1]))
        return merges


def check_recipe(path, content, kind):
    """Raise ValueError, naming the field, unless a tokenizer.json asks for the ids given here."""
    for name, values in RECIPES[kind].items():
        part, trait = name.split(".")
        traits = content.get(part) or {"type": None}
        given = traits.get(trait, values[0])
        if given not in values:
            expected = " or ".join(map(json.dumps, values))
            raise ValueError(f"{path}: {name} is {show(given)}, expected {expected}, "
                             f"as {kind} BPE has it")
