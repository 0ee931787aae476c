"""Makes run.json and files/ beside it: what commit c587e12 trained, and what it wrote.

    git worktree add /tmp/c587e12 c587e12
    PYTHONPATH=/tmp/c587e12 python tests/reference/make_reference_run.py

Twenty steps of small models in float64: losses, norms, and at the end one random projection of
every array of the parameters and of Adam's two moments. Whatever else an array's numbers become,
their projection changes. tests/core/test_recorded_run.py takes the same runs with today's code.
"""
import json
from pathlib import Path

import numpy as np

from minigpt_np import AdamW, BPETokenizer, GPT, GPTConfig, Trainer, WarmupCosine
from minigpt_np.training import checkpoint

HERE = Path(__file__).parent
STEPS, B, T = 20, 8, 6
SIZES = dict(vocab_size=11, block_size=8, n_layer=2, n_head=2, n_embd=8)
MODELS = {f"{norm}, {tie}": dict(norm=norm, tie_embeddings=tie == "tied")
          for norm in ("pre", "post") for tie in ("tied", "untied")}
DROPOUT = dict(embd_pdrop=0.2, attn_pdrop=0.3, resid_pdrop=0.1)
WITH_DROPOUT = [("pre, tied", 1), ("pre, tied", 2), ("pre, tied", 8),       # threads
                ("post, untied", 1), ("post, untied", 2)]
FILES = HERE / "files"
FILE_CONFIG = GPTConfig(vocab_size=5, block_size=4, n_layer=1, n_head=1, n_embd=4, embd_pdrop=0.2)
TEXT = "the other then the other"


def batch(step):
    """ids and targets (B, T) of a step; a quarter of the targets are not scored."""
    rng = np.random.default_rng([1, step])
    ids, targets = rng.integers(0, SIZES["vocab_size"], (2, B, T))
    return ids, np.where(rng.random((B, T)) < 0.25, -1, targets)


def make_trainer(model, threads, micro_batches=1, dropout=False):
    """The trainer of a run, before its first step. `model` is one of MODELS."""
    config = GPTConfig(**SIZES, **MODELS[model], **(DROPOUT if dropout else {}))
    gpt = GPT(config, seed=3, dtype=np.float64)
    schedule = WarmupCosine(1e-2, 5, STEPS, 1e-3)
    rng = np.random.default_rng(7) if dropout else None
    return Trainer(gpt, AdamW(gpt.params, weight_decay=0.1), schedule, threads=threads,
                   micro_batches=micro_batches, rng=rng)


def take_steps(trainer):
    """The run's twenty steps -> losses, norms."""
    pairs = [trainer.step(*batch(step)) for step in range(STEPS)]
    return tuple(zip(*pairs))


def projections(trainer):
    """Name -> projection of each array of the parameters, m and v, on standard normal numbers.

    Without the keys' biases: their gradient is 0 but for rounding, which Adam magnifies.
    """
    rng, found = np.random.default_rng(11), {}
    arrays = {"params": trainer.model.params.flat} | trainer.optimizer.arrays()
    for kind, flat in arrays.items():
        for name, place in trainer.model.params.slices.items():
            numbers, directions = np.array(flat[place]), rng.normal(size=flat[place].size)
            if name.endswith("qkv.b"):
                np.split(numbers, 3)[1][...] = 0
            found[f"{kind} {name}"] = float(numbers @ directions)
    return found


def record(*arguments, **options):
    """What a run comes to, as plain data."""
    trainer = make_trainer(*arguments, **options)
    losses, norms = take_steps(trainer)
    return {"losses": losses, "norms": norms, "projections": projections(trainer)}


def file_trainer():
    """The small model whose files are kept."""
    model = GPT(FILE_CONFIG, seed=5)
    schedule = WarmupCosine(1e-2, 2, 9, 1e-3)
    return Trainer(model, AdamW(model.params), schedule, threads=1, rng=np.random.default_rng(2))


def file_batch(step):
    return np.random.default_rng([2, step]).integers(0, FILE_CONFIG.vocab_size, (2, 3, 4))


if __name__ == "__main__":
    runs = {model: record(model, threads=1) for model in MODELS}
    runs |= {f"{model}, dropout, {threads}": record(model, threads, micro_batches=2, dropout=True)
             for model, threads in WITH_DROPOUT}
    trainer, generator = file_trainer(), np.random.default_rng(13)
    for step in range(3):
        trainer.step(*file_batch(step))
    checkpoint.save(FILES / "run.npz", trainer, {"batches": generator}, notes={"text": TEXT})
    trainer.model.save_pretrained(FILES)
    tokenizer = BPETokenizer.train(TEXT, 260)
    tokenizer.save(FILES)
    after = {"params": trainer.model.params.flat.tolist(),
             "next draw": int(generator.integers(2**62)),
             "next loss": trainer.step(*file_batch(3))[0],
             "ids": tokenizer.encode(TEXT).tolist()}
    text = json.dumps({"runs": runs, "files": after}, separators=(",", ":")) + "\n"
    (HERE / "run.json").write_text(text, encoding="utf-8")
