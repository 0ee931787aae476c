"""Tokenizer files: what a folder says about tokens, merges and special tokens.

    tokenizer.json           everything: {"model": {"type": "BPE", "vocab": ..., "merges": ...},
                             "added_tokens": [...], and how text becomes words: "normalizer", ...}
    vocab.json, merges.txt   where there is no tokenizer.json: {token: id, ...}; "#version: 0.2" and
                             a line "left right" for each merge (OpenAI: encoder.json, vocab.bpe)
    added_tokens.json        beside those two: {token: id, ...}
    tokenizer_config.json, special_tokens_map.json      beside either: more special tokens, options

All of them are read, as transformers does. An option that would change the ids raises ValueError
naming it.
"""
import json
import re
from pathlib import Path

from ..checks import is_whole, show
from ..files.regular import read_bytes

MAX_BYTES = 1 << 25         # of a file; GPT-2's tokenizer.json has a tenth of that
PAIRS = [("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe")]
BRACKETED = re.compile(r"<.+>|\[.+\]", re.DOTALL)
END_OF_WORD, UNKNOWN = "</w>", "<unk>"          # as GPT-1's files write them

# Fields of a tokenizer.json that decide which ids a text gets, with the supported values; a missing
# field means the first.
BOTH = {"model.type": ("BPE",), "model.dropout": (None, 0.0), "model.byte_fallback": (False,),
        "model.ignore_merges": (False,), "model.continuing_subword_prefix": (None, "")}
RECIPES = {
    "byte-level": BOTH | {
        "normalizer.type": (None,), "pre_tokenizer.type": ("ByteLevel",),
        "pre_tokenizer.add_prefix_space": (False,), "pre_tokenizer.use_regex": (True,),
        "model.end_of_word_suffix": (None, "")},
    "GPT-1's": BOTH | {
        "normalizer.type": ("BertNormalizer",), "normalizer.clean_text": (True,),
        "normalizer.handle_chinese_chars": (True,), "normalizer.strip_accents": (None, True),
        "normalizer.lowercase": (True,), "pre_tokenizer.type": ("BertPreTokenizer",),
        "model.end_of_word_suffix": (END_OF_WORD,), "model.unk_token": (UNKNOWN,),
        "model.fuse_unk": (False,)}}
# Options of a tokenizer_config.json that are not supported.
OPTIONS = "add_prefix_space", "add_bos_token", "add_eos_token", "split_special_tokens"
# Tokenizers that vocab.json and merges.txt are enough for: others add tokens of their own.
CLASSES = ["GPT2Tokenizer", "GPT2TokenizerFast", "OpenAIGPTTokenizer", "OpenAIGPTTokenizerFast",
           "PreTrainedTokenizerFast", "TokenizersBackend"]


class TokenizerFiles:
    """The tokenizer of a folder, as its files write it.

    path      the file that has the vocabulary
    id_of     token -> id; the ids are 0 to V-1, each once
    merges    list of (where it stands, [left, right])
    special   text -> id of the tokens that stand for themselves; `merged` completes and sorts it
    kind      "byte-level" (GPT-2's) or "GPT-1's"

    Raises FileNotFoundError where the folder has no such files, ValueError, naming file and token
    or field, for files that do not fit together.
    """

    def __init__(self, folder):
        folder = Path(folder)
        self.id_of, self.special = {}, {}
        self.path = folder / "tokenizer.json"
        pairs = [(folder / vocab, folder / merges) for vocab, merges in PAIRS]
        pair = next((pair for pair in pairs if pair[0].exists() and pair[1].exists()), None)
        if self.path.exists():
            self._read_tokenizer_json()
        elif pair:
            self._read_pair(*pair)
        else:
            raise FileNotFoundError(f"{folder}: no tokenizer here, expected tokenizer.json, or "
                                    "vocab.json and merges.txt, or encoder.json and vocab.bpe")
        for name in ("tokenizer_config.json", "special_tokens_map.json"):
            if (folder / name).exists():
                fields = read_object(folder / name)
                self._read_options(folder / name, fields)
                if "added_tokens_decoder" in fields:
                    break               # then transformers does not read special_tokens_map.json
        check_ids(self.id_of, self.path)

    def _read_tokenizer_json(self):
        whole = read_object(self.path)
        model = expect(self.path, "model", whole.get("model"), dict)
        self._set_vocabulary(expect(self.path, "model.vocab", model.get("vocab"), dict))
        check_recipe(self.path, whole, self.kind)
        for token in expect(self.path, "added_tokens", whole.get("added_tokens") or [], list):
            self._add(self.path, token, expect(self.path, "added token", token, dict).get("id"))
        merges = expect(self.path, "model.merges", model.get("merges"), list)
        pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in merges]
        self.merges = [(f"{self.path}, merge {n}", pair) for n, pair in enumerate(pairs, start=1)]

    def _read_pair(self, vocab, merges):
        self.path = vocab
        self._set_vocabulary(read_object(vocab))
        added = vocab.with_name("added_tokens.json")
        for token, v in (read_object(added) if added.exists() else {}).items():
            self._add(added, token, v)
        lines = enumerate(decoded(merges).replace("\r\n", "\n").split("\n"), start=1)
        self.merges = [(f"{merges}, line {n}", line.split(" ")) for n, line in lines
                       if line and not (n == 1 and line.startswith("#version"))]

    def _set_vocabulary(self, id_of):
        self.id_of = dict(id_of)
        ends = any(token.endswith(END_OF_WORD) for token in id_of)
        self.kind = "GPT-1's" if ends else "byte-level"

    def _read_options(self, path, fields):
        """The special tokens that a tokenizer_config.json names, after its options."""
        for name in OPTIONS:
            if fields.get(name):
                raise ValueError(f"{path}: {name} is {show(fields[name])}, expected false: nothing "
                                 "else is supported")
        kind = fields.get("tokenizer_class")
        if self.path.name != "tokenizer.json" and kind is not None and kind not in CLASSES:
            raise ValueError(f"{path}: tokenizer_class is {show(kind)}, expected one of "
                             f"{', '.join(CLASSES)}, or a tokenizer.json that says what it does")
        added = fields.get("added_tokens_decoder", {})
        for v, token in expect(path, "added_tokens_decoder", added, dict).items():
            self._add(path, token, int(v) if v.isascii() and v.isdigit() else v)
        named = {name: fields[name] for name in sorted(fields) if name.endswith("_token")}
        for name in ("additional_special_tokens", "extra_special_tokens"):
            more = fields.get(name) or []
            named |= more if isinstance(more, dict) else {
                f"{name} {n}": token for n, token in enumerate(expect(path, name, more, list))}
        for name, token in named.items():
            if token is None or token is False:         # add_bos_token, an option, ends in it, too
                continue
            text = token.get("content") if isinstance(token, dict) else token
            if isinstance(text, str) and text not in self.id_of:
                raise ValueError(f"{path}: {name} {show(text)} is not in the vocabulary, "
                                 f"{self.path}")
            self._add(path, token, self.id_of[text] if isinstance(text, str) else None)

    def _add(self, path, token, v):
        """Make `token`, a text or an object with its traits, one that stands for itself."""
        text = token.get("content") if isinstance(token, dict) else token
        if not isinstance(text, str) or not text:
            raise ValueError(f"{path}: added token {show(token)} given, expected its text and id")
        where = f"{path}: added token {show(text)}"
        for trait in ("single_word", "lstrip", "rstrip"):
            if isinstance(token, dict) and token.get(trait):
                raise ValueError(f"{where} has {trait} {show(token[trait])}, expected false")
        if self.id_of.setdefault(text, v) != v:
            raise ValueError(f"{where} has id {show(v)}, "
                             f"but {show(self.id_of[text])} in {self.path}")
        self.special[text] = v

    def merged(self, letters):
        """The merges as {(left id, right id): id}, in the order learned. They begin with `letters`.

        Raises ValueError unless every line has two tokens that are letters or made by lines above,
        and makes one that is in the vocabulary. A token that no line makes is special if a file
        says so, or if it is in brackets: <pad>, [MASK]; any other means that merges are missing.
        """
        made, merges = set(letters), {}
        for where, parts in self.merges:
            if not isinstance(parts, list) or [type(part) for part in parts] != [str, str]:
                raise ValueError(f"{where}: {show(parts)} given, expected two tokens")
            token = "".join(parts)
            if not made.issuperset(parts):
                raise ValueError(f"{where}: {show(' '.join(parts))} given, expected two tokens, "
                                 "each a single letter or made by a line above")
            if token in made:
                raise ValueError(f"{where}: {show(token)} is made by a line above, too")
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


def check_recipe(path, whole, kind):
    """Raise ValueError, naming the field, unless a tokenizer.json asks for the ids given here."""
    for name, values in RECIPES[kind].items():
        part, trait = name.split(".")
        traits = whole.get(part) or {"type": None}
        given = traits.get(trait, values[0]) if isinstance(traits, dict) else traits
        if given not in values:
            expected = " or ".join(map(json.dumps, values))
            raise ValueError(f"{path}: {name} is {show(given)}, expected {expected}, "
                             f"as {kind} BPE has it")
    after = whole.get("post_processor") or {"type": "ByteLevel"}
    if (not isinstance(after, dict) or after.get("special_tokens")
            or after.get("type") not in ("ByteLevel", "TemplateProcessing")):
        raise ValueError(f"{path}: post_processor is {show(after)}, "
                         "expected one that adds no tokens to a text")


def check_ids(id_of, path):
    """Raise ValueError unless the ids are 0 to V-1, each once, of tokens that UTF-8 can write."""
    token_of = {}
    for token, v in id_of.items():
        if token.encode(errors="ignore").decode() != token:
            raise ValueError(f"{path}: token {show(token)} is not Unicode")
        if not is_whole(v) or not 0 <= v < len(id_of):
            raise ValueError(f"{path}: token {show(token)} has id {show(v)}, expected an integer "
                             f"from 0 to V-1 = {len(id_of) - 1}")
        if v in token_of:
            raise ValueError(f"{path}: tokens {show(token_of[v])} and {show(token)} have id {v}")
        token_of[v] = token


def expect(path, name, value, kind):
    if not isinstance(value, kind):
        raise ValueError(f"{path}: {name} is {show(value)}, expected a {kind.__name__}")
    return value


def decoded(path):
    """The text of a file in UTF-8, without the byte-order mark that some editors put first."""
    try:
        return read_bytes(path, MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8: {error}") from None


def read_object(path):
    """The JSON object in a file."""
    try:
        value = json.loads(decoded(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON: {error}") from None
    return expect(path, "the content", value, dict)
