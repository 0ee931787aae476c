"""Train a GPT on text, by default the prose in which CPython documents itself.

    python demos/train_text.py                       # nanoGPT's CPU model
    python demos/train_text.py --text FILE --untied  # your text, two matrices
    python demos/train_text.py --out out/run.npz     # saves; so does Ctrl-C
    python demos/train_text.py --resume out/run.npz  # continues it
    python demos/train_text.py --export out/model    # for transformers, too

The line of progress shows how much the lookup and the logits each add to the
gradient of E: the norms of the two parts.
"""
import argparse
import os
import shlex
import sys
import time
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from lib import terminal, texts
from lib.instruments import contributions_of
from lib.statistics import norm
from minigpt_np import (
    GPT, AdamW, BPETokenizer, CharacterTokenizer, GPTConfig, Trainer, WarmupCosine, evaluate)
from minigpt_np.files.atomic import check_writable
from minigpt_np.parameters import count
from minigpt_np.training import checkpoint
from minigpt_np.training.blas import blas_threads
from minigpt_np.training.data import random_batch, split
from minigpt_np.training.parallel import cores, worker_count
from minigpt_np.training.progress import Interruptible, Progress

EVALUATE_EVERY = 500        # steps between two evaluations of the validation loss
SAVE_EVERY = 60             # seconds between two saves
NORMS_EVERY = 50            # steps between two measurements of the two norms
OF_A_RUN = ("tie", "tokenizer", "vocab_size", "layers", "heads", "width", "block", "batch", "steps",
            "lr", "weight_decay", "dropout", "micro_batches", "seed")
ANEW = "threads", "samples", "prompt"           # saved with a run, but can be given anew


def main(argv=None):
    args, saved = parse(argv)
    text = texts.read_text(args.text)
    tokenizer = (CharacterTokenizer(text) if args.tokenizer == "characters"
                 else BPETokenizer.train(text, args.vocab_size))
    prompt = args.prompt or text[:1]
    if args.tokenizer == "characters" and not set(prompt) <= set(text):
        raise ValueError(f"--prompt: {prompt!r} given, expected characters of the text")
    prompt, tokens = tokenizer.encode(prompt), tokenizer.encode(text)
    if len(tokens) < (needed := 10 * (args.block + 1)):
        raise ValueError(f"--text: {terminal.plural(len(tokens), 'token')} given, expected at least"
                         f" {needed:,}, so that the tenth for validation is longer than a block")
    training, validation = split(tokens)
    config = GPTConfig(tokenizer.vocab_size, args.block, args.layers, args.heads, args.width,
                       tie_embeddings=args.tie, embd_pdrop=args.dropout, attn_pdrop=args.dropout,
                       resid_pdrop=args.dropout)
    check_memory(config, worker_count(args.threads))
    make_folders(args)

    model = GPT(config, seed=args.seed)
    optimizer = AdamW(model.params, args.lr, betas=(0.9, 0.99), weight_decay=args.weight_decay)
    schedule = WarmupCosine(args.lr, min(100, args.steps // 5), args.steps, args.lr / 10)
    trainer = Trainer(model, optimizer, schedule, threads=args.threads,
                      micro_batches=args.micro_batches, rng=np.random.default_rng([args.seed, 1]))
    session = Session(args, text, trainer)
    if saved:
        session.restore(saved)
    about = (f"{len(text):,} characters, {len(tokens):,} tokens, {tokenizer.vocab_size} distinct; "
             f"{model.params.flat.size:,} parameters, "
             f"E {'is the head' if args.tie else 'and a separate head'}; "
             f"{terminal.plural(trainer.threads, 'thread')}")
    try:
        done = train(session, training, validation, about)
    except FloatingPointError as error:
        kept = f"; {args.out} is as last saved" if args.out else ""
        print(f"train_text.py: {error}{kept}. Nothing was exported.", file=sys.stderr)
        return 1
    if not done:
        session.progress.line(f"stopped after step {trainer.steps}{session.how_to_continue()}")
        return 130
    return finish(session, tokenizer, prompt, validation)


def finish(session, tokenizer, prompt, validation):
    """Evaluate the trained model, export it, and let it write -> the exit status."""
    args, trainer, say = session.args, session.trainer, session.progress.line
    loss = evaluate(trainer.model, validation, args.batch, args.block, trainer.threads)
    say(f"validation loss {loss:.4f} per token")
    if args.export:
        trainer.model.save_pretrained(args.export)
        if args.tokenizer == "bpe":
            tokenizer.save(args.export)
        say(f"exported to {args.export}")
    if session.progress.lost:
        print(f"train_text.py: its output could not be written: {session.progress.lost}. The "
              "training was finished without it.", file=sys.stderr)
        return 1
    for i in range(args.samples):
        print(f"\n--- sample {i + 1}")
        texts.write(trainer.model, prompt, 300, tokenizer, temperature=0.8, do_sample=True,
                    seed=args.seed + i)
    return int(session.save_failed)


# ---- options -------------------------------------------------------------------------------------

def parse(argv):
    """The options, and the saved run to continue, or None."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--text", metavar="FILE", help="UTF-8 text to train on (default: pydoc_data.topics)")
    add("--tokenizer", choices=("characters", "bpe"), default="characters",
        help="default: %(default)s")
    add("--vocab-size", type=int, default=1024, help="of --tokenizer bpe (default: %(default)s)")
    add("--untied", dest="tie", action="store_false",
        help="two matrices, not one E for both ends")
    add("--layers", type=int, default=4, help="L (default: %(default)s)")
    add("--heads", type=int, default=4, help="H (default: %(default)s)")
    add("--width", type=int, default=128, help="D (default: %(default)s)")
    add("--block-size", dest="block", type=int, default=64, help="T (default: %(default)s)")
    add("--batch", type=int, default=12, help="B (default: %(default)s)")
    add("--steps", type=int, default=2000, help="default: %(default)s")
    add("--lr", type=float, default=2e-3, help="highest learning rate (default: %(default)s)")
    add("--weight-decay", type=float, default=0.1, help="default: %(default)s")
    add("--dropout", type=float, default=0.0, help="default: %(default)s")
    add("--micro-batches", type=int, default=1,
        help="pieces a batch goes through the model in (default: %(default)s)")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--threads", type=int, help="default: one per core; one under a debugger")
    add("--samples", type=int, default=2, help="texts to write at the end (default: %(default)s)")
    add("--prompt", help="how the samples begin (default: as the text does)")
    add("--out", metavar="FILE.npz", help="save the run here as it goes")
    add("--resume", metavar="FILE.npz",
        help="continue a saved run, which has decided the options above but --threads, --samples "
        "and --prompt; give its --text again")
    add("--export", metavar="FOLDER",
        help="save the trained model as config.json and model.safetensors")
    args, saved = parser.parse_args(argv), None
    if args.resume:
        saved = checkpoint.load(args.resume)
        args = options_of_run(parser, argv, args.resume, saved.notes)
    terminal.check_least(parser, args, batch=1, steps=1, micro_batches=1, threads=1, seed=0,
                         samples=0)
    return args, saved


def options_of_run(parser, argv, path, notes):
    """The options of a saved run, and those of argv, which may change none that it has decided.

    A file says nothing of paths, and cannot ask for more workers than there are cores.
    """
    try:
        run = {name: notes["args"][name] for name in (*OF_A_RUN, *ANEW)}
    except (TypeError, KeyError):
        raise ValueError(f"--resume: {path} is not a run of this program") from None
    run["threads"] = run["threads"] and min(run["threads"], cores())
    parser.set_defaults(**run)
    args = parser.parse_args(argv)
    for name in OF_A_RUN:
        if getattr(args, name) != run[name]:
            option = {"tie": "untied", "block": "block-size"}.get(name, name.replace("_", "-"))
            raise ValueError(f"--{option}: given, but {path} was begun with {name} = {run[name]}, "
                             "which a run cannot change")
    args.out = args.out or path
    return args


def check_memory(config, threads):
    """Raise ValueError if weights, two moments and the threads' gradients do not fit the memory."""
    one, two = (count(replace(config, n_layer=n)) for n in (1, 2))
    needed = (12 + 4 * threads) * (one + (config.n_layer - 1) * (two - one))
    there = needed
    if hasattr(os, "sysconf"):
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise ValueError(
            f"--layers, --width: {config.n_layer} and {config.n_embd} given, "
            f"{needed / 1e9:,.0f} GB to train; expected a model that fits {there / 1e9:,.0f} GB")


def make_folders(args):
    """Make the folders of --out and --export, and raise now if one of them cannot be written."""
    if args.out:
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        check_writable(args.out)
    if args.export:
        Path(args.export).mkdir(parents=True, exist_ok=True)
        check_writable(Path(args.export) / "config.json")


# ---- training ------------------------------------------------------------------------------------

class Session:
    """A trainer, the Generator that draws its batches, and the file they are saved to."""

    def __init__(self, args, text, trainer):
        self.args, self.trainer, self.rng = args, trainer, np.random.default_rng([args.seed, 2])
        self.checksum = zlib.crc32(text.encode("utf-8", "surrogatepass"))
        self.progress = Progress(args.steps)
        self.save_failed = False        # when the run was last saved

    def save(self):
        """Write the run to --out, if given; a full disk is no reason to stop training."""
        if not self.args.out:
            return
        notes = {"args": {name: getattr(self.args, name) for name in (*OF_A_RUN, *ANEW)},
                 "checksum": self.checksum}
        try:
            checkpoint.save(self.args.out, self.trainer, {"batches": self.rng}, notes)
            self.save_failed = False
        except OSError as error:
            self.save_failed = True
            self.progress.line(f"warning: the run is not saved: {error}; training continues")

    def restore(self, saved):
        if saved.notes["checksum"] != self.checksum:
            raise ValueError(f"--resume: {self.args.resume} is of another text than "
                             f"{self.args.text or 'the default'} is now (give its --text again)")
        saved.restore(self.trainer, {"batches": self.rng})

    def how_to_continue(self):
        if not self.args.out:
            return "; nothing was saved: there was no --out FILE"
        if self.save_failed:
            return "; it could not be saved"
        text = f" --text {shlex.quote(self.args.text)}" if self.args.text else ""
        out = shlex.quote(str(self.args.out))
        return f"; continue with:  python demos/train_text.py --resume {out}{text}"


def train(session, training, validation, about):
    """Print `about` and take steps until args.steps are done -> False if a signal came first.

    The run is saved on the way, and at the end. If output cannot be written, a run that is saved or
    exported continues without it; any other ends.
    """
    args, trainer, progress = session.args, session.trainer, session.progress
    last_save, first = time.monotonic(), trainer.steps
    with Interruptible() as interrupt, progress:
        progress.line("\n".join(terminal.paragraph(about)))
        while trainer.steps < args.steps and not interrupt.asked:
            ids, targets = random_batch(training, args.batch, args.block, session.rng)
            if trainer.steps == first or trainer.steps % NORMS_EVERY == 0:
                lookup, logits = norms(trainer.model, ids, targets)
            loss, _ = trainer.step(ids, targets)
            speed = (trainer.steps - first) * ids.size / (time.monotonic() - progress.begin)
            progress.update(trainer.steps, f"loss {loss:.3f}  |dE| lookup {lookup:.2f} logits "
                                           f"{logits:.2f}  {speed:,.0f} tok/s")
            if progress.lost and not (args.out or args.export):
                raise progress.lost
            if trainer.steps % EVALUATE_EVERY == 0 and trainer.steps < args.steps:
                held_out = evaluate(trainer.model, validation, args.batch, args.block,
                                    trainer.threads)
                progress.line(f"step {trainer.steps}: training loss {loss:.3f} (this batch), "
                              f"validation loss {held_out:.3f}")
            if time.monotonic() - last_save > SAVE_EVERY:
                session.save()
                last_save = time.monotonic()
        progress.line(f"{trainer.steps - first} steps in "
                      f"{time.monotonic() - progress.begin:.1f} s")
        session.save()
    return trainer.steps == args.steps


def norms(model, ids, targets):
    """The norms of what lookup and logits each add to the gradient of E, without dropout."""
    with blas_threads(1):
        return [norm(array) for array in contributions_of(model, ids, targets)]


if __name__ == "__main__":
    terminal.run(main)
