"""Train a GPT on text, by default the prose in which CPython documents itself.

    python demos/train_text.py                       # nanoGPT's CPU model
    python demos/train_text.py --text FILE --untie   # your text, two matrices
    python demos/train_text.py --out out/run.npz     # saves; so does Ctrl-C
    python demos/train_text.py --resume out/run.npz  # goes on, bit for bit
    python demos/train_text.py --recipe nanogpt      # just as nanoGPT does it
    python demos/train_text.py --export out/model    # for transformers, too
    python demos/train_text.py --html out/run.html   # the film of the training
"""
import argparse
import copy
import os
import shlex
import sys
import time
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from lib import film, terminal, writing
from lib.charts import save as save_page
from lib.texts import read_text
from minigpt_np import GPT, AdamW, BPETokenizer, CharacterTokenizer, GPTConfig, Trainer, WarmupCosine, evaluate
from minigpt_np.checks import is_whole
from minigpt_np.files.atomic import check_writable
from minigpt_np.parameters import count
from minigpt_np.training import checkpoint
from minigpt_np.training.blas import blas_threads
from minigpt_np.training.data import check_length, random_batch, split
from minigpt_np.training.parallel import cores
from minigpt_np.training.progress import Interruptible, Progress

EVALUATE_EVERY = 500        # steps between two evaluations of the validation loss
SAVE_EVERY = 60             # seconds between two saves
LEAD = {
    True: "A GPT looks its tokens up in E, and predicts with the same E. Both uses add to one gradient: watch E learn.",
    False: "Here the tie is cut: a GPT looks its tokens up in E and predicts with another matrix, head. Watch both.",
}
SAMPLE = 60                 # tokens that a frame of the film shows the model writing


def main(argv=None):
    args = parse(argv)
    saved = checkpoint.load(args.resume) if args.resume else None
    if saved:
        args = resumed(args, saved)
    text = read_text(args.text)
    tokenizer = make_tokenizer(text, args)
    tokens = tokenizer.encode(text)
    training, validation = split(tokens)
    for part in (training, validation):
        check_length(part, args.block)
    config = config_of(args, tokenizer.vocab_size)
    check_memory(config)
    make_folders(args)

    model = (WithoutBiases if args.recipe == "nanogpt" else GPT)(config, seed=args.seed)
    optimizer = AdamW(model.params, args.lr, betas=(0.9, 0.99), weight_decay=args.weight_decay,
                      decay_embeddings=args.recipe == "nanogpt")
    schedule = WarmupCosine(args.lr, min(100, args.steps), args.steps, args.lr / 10)
    trainer = Trainer(model, optimizer, schedule, threads=args.threads, micro_batches=args.micro_batches,
                      rng=np.random.default_rng([args.seed, 1]))
    run = Run(args, text, trainer, np.random.default_rng([args.seed, 2]), training, tokenizer)
    if saved:
        run.restore(saved)
    about = (f"{len(text):,} characters, {len(tokens):,} tokens, {tokenizer.vocab_size} distinct; "
             f"{model.params.flat.size:,} parameters, E {'tied' if args.tie else 'and head apart'}; "
             f"{trainer.threads} thread{'s' * (trainer.threads != 1)}")
    try:
        done = train(run, validation, about)
    except FloatingPointError as error:
        kept = f"; {args.out} has what was last saved" if args.out else ""
        print(f"train_text.py: {error}{kept}. Nothing was exported.", file=sys.stderr)
        return 1
    if not done:
        run.show()
        text_again = f" --text {shlex.quote(args.text)}" if args.text else ""
        print(f"stopped after step {trainer.steps}" + (
            "; it could not be saved" if run.save_failed
            else f"; go on with:  python demos/train_text.py --resume {shlex.quote(str(args.out))}{text_again}" if args.out
            else "; nothing was saved, for want of --out FILE"))
        return 130
    loss = evaluate(model, validation, args.batch, args.block, trainer.threads)
    print(f"validation loss {loss:.4f} per token")
    run.validation.append((trainer.steps, loss))
    run.show()
    if args.export:
        model.save_pretrained(args.export)
        if args.tokenizer == "bpe":
            tokenizer.save(args.export)
        print(f"exported to {args.export}")
    show_samples(run)
    return int(run.save_failed)


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--text", metavar="FILE", help="UTF-8 text to train on (default: pydoc_data.topics)")
    add("--tokenizer", choices=("characters", "bpe"), default="characters")
    add("--vocab-size", type=int, default=1024, help="of --tokenizer bpe (default 1024)")
    add("--tie", action=argparse.BooleanOptionalAction, default=True, help="one matrix E for both ends (default)")
    add("--untie", dest="tie", action="store_false", help="two matrices")
    add("--layers", type=int, default=4, help="L (default 4)")
    add("--heads", type=int, default=4, help="H (default 4)")
    add("--width", type=int, default=128, help="D (default 128)")
    add("--block", type=int, default=64, help="T (default 64)")
    add("--batch", type=int, default=12, help="B (default 12)")
    add("--steps", type=int, default=2000)
    add("--recipe", choices=("ours", "nanogpt"), default="ours",
        help="nanogpt: its exact GELU, no biases, weight decay on E and P too, and its learning rate, 0.001")
    add("--lr", type=float, help="highest learning rate (default 0.002)")
    add("--weight-decay", type=float, default=0.1)
    add("--dropout", type=float, default=0.0)
    add("--micro-batches", type=int, default=1, help="pieces a batch goes through the model in (default 1)")
    add("--seed", type=int, default=0)
    add("--threads", type=int, help="default: one per core; one under a debugger")
    add("--samples", type=int, default=2, help="texts to write at the end (default 2)")
    add("--prompt", help="how the samples begin (default: as the text does)")
    add("--out", metavar="FILE.npz", help="save the run here as it goes")
    add("--resume", metavar="FILE.npz",
        help="go on with a saved run; give its --text again; of the others --out, --export, --html and --threads count")
    add("--export", metavar="FOLDER", help="save the trained model as config.json and model.safetensors")
    add("--html", metavar="FILE", help="the film of the training, a page")
    args = parser.parse_args(argv)
    if args.lr is None:
        args.lr = 1e-3 if args.recipe == "nanogpt" else 2e-3
    terminal.check_least(parser, args, vocab_size=1, batch=1, steps=1, micro_batches=1, threads=1, seed=0, samples=0)
    return args


def resumed(args, saved):
    """The options of a saved run. What a file says is data: no paths, and no more workers than there are cores."""
    given = saved.notes["args"] if isinstance(saved.notes, dict) else None
    if not isinstance(given, dict):
        raise ValueError(f"--resume: {args.resume} is no run of this program's")
    argv = [f"--{name.replace('_', '-')}={given[name]}" for name in OF_A_RUN if given.get(name) is not None]
    options = parse(["--tie" if given.get("tie") else "--no-tie", *argv])
    for name in ("resume", "text", "export", "html"):
        setattr(options, name, getattr(args, name))
    threads = given.get("threads")
    options.threads = args.threads or (min(threads, cores()) if is_whole(threads) and threads >= 1 else None)
    options.out = args.out or args.resume
    return options


OF_A_RUN = ("tokenizer", "vocab_size", "layers", "heads", "width", "block", "batch", "steps", "recipe", "lr", "weight_decay",
            "dropout", "micro_batches", "seed", "samples", "prompt")


def make_tokenizer(text, args):
    if args.tokenizer == "characters":
        return CharacterTokenizer(text)
    return BPETokenizer.train(text, args.vocab_size)


def config_of(args, vocab_size):
    return GPTConfig(vocab_size=vocab_size, block_size=args.block, n_layer=args.layers, n_head=args.heads,
                     n_embd=args.width, tie_embeddings=args.tie, embd_pdrop=args.dropout,
                     attn_pdrop=args.dropout, resid_pdrop=args.dropout,
                     activation="gelu_exact" if args.recipe == "nanogpt" else "gelu_tanh")


def check_memory(config):
    """Raise ValueError for a model that does not fit the machine's memory: weights, gradient and AdamW's two moments."""
    one, two = (count(replace(config, n_layer=n)) for n in (1, 2))
    needed = 4 * 4 * (one + (config.n_layer - 1) * (two - one))
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else needed
    if needed > there:
        raise ValueError(f"--layers, --width: {config.n_layer} and {config.n_embd} given, {needed / 1e9:,.0f} GB to train; "
                         f"expected a model that fits {there / 1e9:,.0f} GB of memory")


def make_folders(args):
    """Make the folders of what will be written, and find out now whether it can be."""
    for path in filter(None, (args.out, args.html)):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        check_writable(path)
    if args.export:
        Path(args.export).mkdir(parents=True, exist_ok=True)
        check_writable(Path(args.export) / "config.json")


class WithoutBiases(GPT):
    """nanoGPT's bias=False, in linear layers and LayerNorms: biases begin at 0, and with no gradient stay there."""

    def backward(self, cache, grads=None, dloss=1.0):
        grads = super().backward(cache, grads, dloss)
        for name, array in grads.named().items():
            if name.endswith((".b", ".bias")):
                array[...] = 0
        return grads


class Run:
    """A trainer, the Generator that draws its batches from `tokens`, the film, and where all of it is saved."""

    def __init__(self, args, text, trainer, rng, tokens, tokenizer):
        self.args, self.trainer, self.rng, self.tokens, self.tokenizer = args, trainer, rng, tokens, tokenizer
        self.checksum = zlib.crc32(text.encode("utf-8", "surrogatepass"))
        self.prompt = tokenizer.encode(args.prompt or text[:1])
        self.counts = np.bincount(tokens, minlength=tokenizer.vocab_size)
        self.film = film.Film(args.steps, film.watched(self.counts, args.width))
        self.validation = []
        self.save_failed = False        # the last time

    def batch(self, rng):
        return random_batch(self.tokens, self.args.batch, self.args.block, rng)

    def save(self, progress):
        """Write the run, if it is to be written; a full disk is no reason to stop training."""
        if not self.args.out:
            return
        try:
            checkpoint.save(self.args.out, self.trainer, {"batches": self.rng},
                            notes={"args": {name: getattr(self.args, name) for name in ("tie", "threads", *OF_A_RUN)},
                                   "checksum": self.checksum, "film": self.film.notes(), "validation": self.validation})
            self.save_failed = False
        except OSError as error:
            self.save_failed = True
            progress.line(f"warning: the run is not saved: {error}; training goes on")

    def record(self, film, ids, targets):
        """A frame of the model as it is now, with what this batch adds to dE."""
        with blas_threads(1):
            film.record(self.trainer.steps, self.trainer.model, ids, targets, self.sample)

    def sample(self):
        return self.tokenizer.decode(self.trainer.model.generate(
            self.prompt[None], SAMPLE, temperature=0.8, do_sample=True, seed=self.args.seed)[0])

    def show(self):
        """Write the page: of all frames, and of the model as it is now beside the batch that would be next."""
        if not self.args.html:
            return
        now = replace(self.film, frames=[*self.film.frames])
        if not now.frames or now.frames[-1]["step"] < self.trainer.steps:
            self.record(now, *self.batch(copy.deepcopy(self.rng)))
        if not now.frames:
            print("no page was written: the loss is not finite")
            return
        a, p = self.args, self.counts[self.counts > 0] / self.counts.sum()
        shown = film.scenes(now, lambda v: self.tokenizer.decode([v]), len(self.counts), validation=self.validation,
                            references=[("a blind guess", np.log(len(self.counts))),
                                        (film.ONLY_HOW_COMMON, -p @ np.log(p))])
        save_page(a.html, film.document(
            "One matrix E learns from both ends" if a.tie else "Two matrices learn, E and head", LEAD[a.tie],
            f"{self.trainer.steps} of {a.steps} steps on {len(self.tokens):,} tokens of text; V = {len(self.counts)}, "
            f"L = {a.layers}, H = {a.heads}, D = {a.width}, T = {a.block}, B = {a.batch}; AdamW; seed {a.seed}. The "
            f"contributions are those of the first {film.PASSAGES} sequences of each batch, at most.", shown))

    def restore(self, saved):
        if saved.notes["checksum"] != self.checksum:
            raise ValueError(f"--resume: {self.args.resume} is of another text than "
                             f"{self.args.text or 'the default'} is now (give its --text again)")
        saved.restore(self.trainer, {"batches": self.rng})
        self.film, self.validation = film.Film(**saved.notes["film"]), saved.notes["validation"]


def train(run, validation, about):
    """Steps until args.steps are done; False if Ctrl-C came first. Saves on the way, and then."""
    args, trainer = run.args, run.trainer
    progress = Progress(args.steps)
    last_save, last_step = time.monotonic(), None
    with Interruptible() as interrupt:
        progress.line("\n".join(terminal.paragraph(about)))
        while trainer.steps < args.steps and not interrupt.asked:
            start = time.perf_counter()
            ids, targets = run.batch(run.rng)
            if args.html and run.film.due(trainer.steps):
                run.record(run.film, ids, targets)
            loss, norm = trainer.step(ids, targets)
            run.film.count(trainer.steps, loss, ids, targets)
            seconds = time.perf_counter() - start
            last_step = seconds if last_step is None else 0.9 * last_step + 0.1 * seconds
            progress.update(trainer.steps,
                            f"loss {loss:.3f}  |gradient| {norm:.2f}  {ids.size / last_step:,.0f} tokens/s")
            if trainer.steps % EVALUATE_EVERY == 0 and trainer.steps < args.steps:
                held_out = evaluate(trainer.model, validation, args.batch, args.block, trainer.threads)
                run.validation.append((trainer.steps, held_out))
                progress.line(f"step {trainer.steps}: training loss {loss:.3f} (this batch), "
                              f"validation loss {held_out:.3f}")
            if time.monotonic() - last_save > SAVE_EVERY:
                run.save(progress)
                last_save = time.monotonic()
        progress.line(f"{trainer.steps} steps in {time.monotonic() - progress.begin:.1f} s")
        run.save(progress)
    return trainer.steps == args.steps


def show_samples(run):
    """Texts that the model writes, each token as it comes."""
    for i in range(run.args.samples):
        print(f"\n--- sample {i + 1}")
        writing.write(run.trainer.model, run.prompt, 300, run.tokenizer,
                      temperature=0.8, do_sample=True, seed=run.args.seed + i)


if __name__ == "__main__":
    terminal.run(main)
