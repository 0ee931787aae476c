"""What a tokenizer's files say: vocab.json and merges.txt, or tokenizer.json, in which transformers 5 has both.

    vocab.json      {token: id, ...}
    merges.txt      #version: 0.2, and a line "left right" for each merge, in the order learned
    tokenizer.json  {"model": {"type": "BPE", "vocab": ..., "merges": ...}, "added_tokens": [...],
                     and how text becomes words: "normalizer", "pre_tokenizer", ...}
"""
import json
import re
from dataclasses import dataclass
from pathlib import Path

from ..checks import is_whole, show
from ..files.regular import read_bytes

MOST = 1 << 25              # bytes of a file; GPT-2's tokenizer.json has a tenth of that
PAIRS = [("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe")]      # transformers' names, OpenAI's names
BRACKETED = re.compile(r"<.+>|\[.+\]", re.DOTALL)
END_OF_WORD, UNKNOWN = "</w>", "<unk>"          # as GPT-1's files write them


@dataclass
class Saved:
    """id_of    token as it is written -> id, 0 to V-1, each once
    merges      list of (where it stands, [left, right])
    special     the tokens in id_of that stand for themselves, letter by letter, and are in no merge
    kind        of the tokenizer: "byte-level" or "GPT-1's"
    vocab, merged    what the two are called in messages
    """
    id_of: dict
    merges: list
    special: set
    kind: str
    vocab: str
    merged: str

    def pairs(self, is_letter):
        """The merges as pairs of ids; `is_letter` tells the tokens that merging begins with.

        Every line must have two tokens that are letters or made by lines above, and make one that is in
        the vocabulary. A token that no line makes is special if it is marked as that, or in brackets:
        <pad>, [MASK]. Raises ValueError naming file and line for anything else.
        """
        if "" in self.special:
            raise ValueError(f"{self.vocab}: an added token without a letter given")
        pairs, made = [], {token for token in self.id_of if is_letter(token)} - self.special
        for where, parts in self.merges:
            token = "".join(parts)
            if len(parts) != 2 or not made.issuperset(parts):
                raise ValueError(f"{where}: {show(' '.join(parts))} given, expected two tokens, "
                                 "each a single one or made by a line above")
            if token in made:
                raise ValueError(f"{where}: {show(token)} is made by a line above, too")
            if token not in self.id_of:
                raise ValueError(f"{where}: {show(token)} is not in {self.vocab}")
            made.add(token)
            pairs.append((self.id_of[parts[0]], self.id_of[parts[1]]))
        for token in self.id_of.keys() - made - self.special:
            if not BRACKETED.fullmatch(token):
                raise ValueError(f"{self.vocab}: token {show(token)} is made by no line of {self.merged}; is a part "
                                 "of that missing? (A token added later is expected in brackets, <like this>, "
                                 "or in added_tokens.json)")
            self.special.add(token)
        return pairs


def read_folder(folder):
    """The Saved of a folder. Raises FileNotFoundError where it has no such files, ValueError as the others."""
    folder = Path(folder)
    for names in PAIRS:
        vocab, merges = (folder / name for name in names)
        if vocab.exists() and merges.exists():
            return read_pair(vocab, merges)
    if (folder / "tokenizer.json").exists():
        return read_tokenizer_json(folder / "tokenizer.json")
    expected = "expected vocab.json and merges.txt, or encoder.json and vocab.bpe, or tokenizer.json"
    for name, kind in [("vocab.txt", "BERT's WordPiece"), ("tokenizer.model", "SentencePiece"),
                       ("spiece.model", "SentencePiece")]:
        if (folder / name).exists():
            raise ValueError(f"{folder / name}: {kind} given, which is not read here; {expected}")
    raise FileNotFoundError(f"{folder}: {expected}")


def read_pair(vocab, merges):
    """The Saved of two files like GPT-2's or GPT-1's, in UTF-8; beside them, added_tokens.json if it is there."""
    id_of = read_object(vocab)
    added = Path(vocab).with_name("added_tokens.json")
    special = read_object(added) if added.exists() else {}
    for token, v in special.items():
        if id_of.setdefault(token, v) != v:
            raise ValueError(f"{added}: token {show(token)} has id {show(v)}, but {show(id_of[token])} in {vocab}")
    check_ids(id_of, vocab)
    raw = read_bytes(merges, MOST)
    try:
        lines = raw.decode().replace("\r\n", "\n").rstrip("\n").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{merges}: not UTF-8: {error}") from None
    first = 1 if lines[0].startswith("#version") else 0
    if lines[first:] == [""] and first:
        lines.pop()                         # no merges at all
    parts = [(f"{merges}, line {n + 1}", lines[n].split(" ")) for n in range(first, len(lines))]
    return Saved(id_of, parts, set(special), kind_of(id_of, vocab), str(vocab), str(merges))


def read_tokenizer_json(path):
    """The Saved of a tokenizer.json that does to text what GPT-2's or GPT-1's does; others are refused by name."""
    whole = read_object(path)
    model = whole.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict):
        kind = model.get("type") if isinstance(model, dict) else None
        raise ValueError(f"{path}: a tokenizer of type {show(kind)} given, expected BPE with a vocab")
    id_of, kind = dict(model["vocab"]), kind_of(model["vocab"], path)
    check_recipe(path, whole, kind)
    special = set()
    for token in expect(path, "added_tokens", whole.get("added_tokens") or [], list):
        if not isinstance(token, dict) or not isinstance(token.get("content"), str) or not token["content"]:
            raise ValueError(f"{path}: added_tokens has {show(token)}, expected content and id")
        text = token["content"]
        for trait in ("single_word", "lstrip", "rstrip"):
            if token.get(trait):
                raise ValueError(f"{path}: added token {show(text)} has {trait} {show(token[trait])}, expected false")
        if id_of.setdefault(text, token.get("id")) != token.get("id"):
            raise ValueError(f"{path}: added token {show(text)} has id {show(token.get('id'))}, "
                             f"but {show(id_of[text])} in its vocab")
        special.add(text)
    check_ids(id_of, path)
    merges = []
    for n, pair in enumerate(expect(path, "merges", model.get("merges"), list)):
        parts = pair.split(" ") if isinstance(pair, str) else pair          # as older versions wrote it
        if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
            raise ValueError(f"{path}, merge {n + 1}: {show(pair)} given, expected two tokens")
        merges.append((f"{path}, merge {n + 1}", parts))
    return Saved(id_of, merges, special, kind, str(path), "its merges")


def expect(path, name, value, kind):
    if not isinstance(value, kind):
        raise ValueError(f"{path}: {name} is {show(value)}, expected a {kind.__name__}")
    return value


# What in a tokenizer.json decides which ids a text gets, each with the values under which it does what is done here;
# where it is missing, the first one is meant. (Whole parts, such as the normalizer, must be there: see check_recipe.)
GPT2S = {"normalizer.type": (None,), "pre_tokenizer.type": ("ByteLevel",),
         "pre_tokenizer.add_prefix_space": (False,), "pre_tokenizer.use_regex": (True,),
         "model.continuing_subword_prefix": (None, ""), "model.end_of_word_suffix": (None, "")}
GPT1S = {"normalizer.type": ("BertNormalizer",), "normalizer.clean_text": (True,),
         "normalizer.handle_chinese_chars": (True,), "normalizer.strip_accents": (None, True),
         "normalizer.lowercase": (True,), "pre_tokenizer.type": ("BertPreTokenizer",),
         "model.continuing_subword_prefix": (None, ""), "model.end_of_word_suffix": (END_OF_WORD,),
         "model.unk_token": (UNKNOWN,), "model.fuse_unk": (False,)}
BOTH = {"model.type": ("BPE",), "model.dropout": (None, 0.0), "model.byte_fallback": (False,),
        "model.ignore_merges": (False,)}


def check_recipe(path, whole, kind):
    """Raise ValueError, naming the field, unless text becomes ids as it does here."""
    for name, values in (BOTH | (GPT2S if kind == "byte-level" else GPT1S)).items():
        part, trait = name.split(".")
        traits = whole.get(part) or {"type": None}
        given = traits.get(trait, values[0]) if isinstance(traits, dict) else traits
        if given not in values:
            raise ValueError(f"{path}: {name} is {show(given)}, expected {' or '.join(map(json.dumps, values))}, "
                             f"as {kind} BPE has it")
    after = whole.get("post_processor")
    if after and (not isinstance(after, dict) or after.get("special_tokens")
                  or after.get("type") not in ("ByteLevel", "TemplateProcessing")):
        after = after.get("type") if isinstance(after, dict) else after
        raise ValueError(f"{path}: post_processor is {show(after)}, which adds tokens to a text; "
                         "expected one that adds none")


def kind_of(id_of, path):
    """Which tokenizer the tokens are of, by how they are written."""
    ends = any(token.endswith(END_OF_WORD) for token in id_of)
    spaces = "Ġ" in id_of               # a space, as the byte-level alphabet writes it
    if ends and not spaces:
        return "GPT-1's"
    if ends:
        raise ValueError(f"{path}: bytes and words that end in {END_OF_WORD} given, as CLIP's tokenizer has them; "
                         "expected byte-level BPE as GPT-2's, or GPT-1's")
    return "byte-level"


def read_object(path):
    """The JSON object in a file."""
    raw = read_bytes(path, MOST)
    try:
        value = json.loads(raw.decode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path}: {type(value).__name__} given, expected a JSON object")
    return value


def check_ids(id_of, path):
    """Raise ValueError unless the ids are 0 to V-1, each once, of tokens that UTF-8 can write."""
    token_of = {}
    for token, v in id_of.items():
        if not token.isascii() and token.encode(errors="ignore").decode() != token:
            raise ValueError(f"{path}: token {show(token)} is not Unicode")
        if not is_whole(v) or not 0 <= v < len(id_of):
            raise ValueError(f"{path}: token {show(token)} has id {show(v)}, expected an integer "
                             f"from 0 to V-1 = {len(id_of) - 1}")
        if v in token_of:
            raise ValueError(f"{path}: tokens {show(token_of[v])} and {show(token)} have id {v}")
        token_of[v] = token
