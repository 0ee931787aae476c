"""A model from a folder, and the text it is examined on: a file's, or one it generates."""
import json
import sys
from pathlib import Path

import numpy as np

from findings.counts import common_tokens
from lib.texts import read_text
from minigpt_np import GPT, BPETokenizer
from minigpt_np.training.data import consecutive_batches
from minigpt_np.training.progress import Progress

T = 128                     # positions of a sequence, or block_size if that is less
GENERATED = 128             # sequences that a model generates where no text is given
SCORES = 1 << 24            # logits at a time that instruments look at


class Subject:
    """The model in `folder`, and what the findings look at.

    text    path of a UTF-8 text; its tokens are those of the folder's tokenizer.
            None: GENERATED sequences, sampled from the model at temperature 1 with seed 0 from
            config.json's bos_token_id on, each cut after its first eos_token_id
    ids, targets    (B, T), as many sequences as SCORES allows; a target of -1 is not looked at
    counts, common  of each token in the whole text; the tokens that are frequent enough
    about           a paragraph on both
    Raises ValueError or OSError for what cannot be opened, is of another kind, or too short.
    """

    def __init__(self, folder, text=None):
        self.model = GPT.from_pretrained(folder)
        c = self.model.config
        if c.norm != "pre":
            raise ValueError(f"--model: {folder} is a model with its norms after the sums "
                             "(GPT-1's), expected one with a final LayerNorm (GPT-2's)")
        block = min(T, c.block_size)
        if text is not None:
            tokens, ids, targets = from_text(folder, text, block, c.vocab_size)
        else:
            tokens, ids, targets = from_itself(self.model, folder, block)
        self.counts = np.bincount(tokens, minlength=c.vocab_size)
        self.common = common_tokens(self.counts)
        n = max(1, SCORES // (block * c.vocab_size))
        self.ids, self.targets = ids[:n], targets[:n]
        E = "one matrix E" if c.tie_embeddings else "E and head apart"
        self.about = (
            f"{folder}: L = {c.n_layer}, H = {c.n_head}, D = {c.n_embd}, V = {c.vocab_size}, {E}, "
            f"{self.model.params.flat.size:,} parameters. Text: "
            f"{text or f'{GENERATED} sequences that the model generates'}, {len(tokens):,} tokens, "
            f"{len(self.common)} of them distinct with ten occurrences or more; looked at: "
            f"{np.count_nonzero(self.targets >= 0):,} positions in sequences of {block}. One model "
            "has no spread over seeds.")


def from_text(folder, path, block, V):
    """tokens (N,), ids and targets (B, T)."""
    text = read_text(path)
    try:
        tokens = BPETokenizer.from_folder(folder).encode(text)
    except FileNotFoundError as error:
        raise ValueError(f"--text: {path} given, but {error}; without --text the model generates "
                         "its own") from None
    if len(tokens) and tokens.max() >= V:
        raise ValueError(f"{folder}: the tokenizer has a token {tokens.max()}, expected less than "
                         f"the model's V = {V}")
    return tokens, *next(consecutive_batches(tokens, len(tokens), block))


def from_itself(model, folder, block):
    """The same, of sequences that the model generates."""
    path = Path(folder) / "config.json"
    fields = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    start, V = fields.get("bos_token_id"), model.config.vocab_size
    if not isinstance(start, int) or not 0 <= start < V:
        raise ValueError(f"{path}: bos_token_id {start} given, expected a token of 0 to {V - 1} "
                         "for texts to begin with; or give --text")
    columns = [np.full(GENERATED, start)]
    with Progress(block, sys.stderr, patience=1) as progress:
        for new in model.stream(np.full((GENERATED, 1), start), block, do_sample=True, seed=0):
            columns.append(new)
            progress.update(len(columns) - 1, "tokens of each generated sequence")
    rows = np.stack(columns, axis=1)                        # (GENERATED, block + 1)
    ended = rows == fields.get("eos_token_id", -1)
    ended[:, 0] = False                             # GPT-2's begin with the token that ends them
    inside = np.cumsum(ended, axis=1) - ended == 0          # up to and with the first end
    return rows[inside], rows[:, :-1], np.where(inside[:, 1:], rows[:, 1:], -1)
