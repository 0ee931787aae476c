"""Train a GPT on text, by default the English prose in which CPython documents itself.

    python demos/train_text.py                          # nanoGPT's CPU configuration, 2000 steps
    python demos/train_text.py --text FILE --untie      # your text, two matrices instead of one
    python demos/train_text.py --out out/run.npz        # saves as it goes; Ctrl-C saves and stops
    python demos/train_text.py --resume out/run.npz     # goes on, to the bit, where that run stopped
    python demos/train_text.py --export out/model       # a folder that transformers opens, too
    python demos/train_text.py --html out/run.html      # a page: losses, both contributions to dE
"""
import argparse
import time
import zlib
from pathlib import Path

import numpy as np

from lib import matrices
from lib import terminal
from lib.charts import Lines
from lib.charts import save as save_page
from lib.contributions import contributions_of, size_of
from minigpt_np import GPT, GPTConfig
from minigpt_np.training import checkpoint
from minigpt_np.training.blas import blas_threads
from minigpt_np.text.bpe import BPETokenizer
from minigpt_np.text.characters import CharacterTokenizer
from minigpt_np.training.data import check_length, random_batch, split
from minigpt_np.training.optim import AdamW, WarmupCosine
from minigpt_np.training.progress import Interruptible, Progress
from minigpt_np.training.trainer import Trainer, evaluate

LOOK_EVERY = 500            # steps between two looks at the validation loss
SAVE_EVERY = 60             # seconds between two saves


def main(argv=None):
    args = parse(argv)
    saved = checkpoint.load(args.resume) if args.resume else None
    if saved:
        args = argparse.Namespace(**{**saved.notes["args"], "resume": args.resume,
                                     "out": args.out or args.resume, "export": args.export,
                                     "html": args.html or saved.notes["args"].get("html")})
    text = read_text(args.text)
    tokenizer = make_tokenizer(text, args)
    tokens = tokenizer.encode(text)
    training, validation = split(tokens)
    for part in (training, validation):
        check_length(part, args.block)
    make_folders(args)

    model = GPT(config_of(args, tokenizer.vocab_size), seed=args.seed)
    optimizer = AdamW(model.params, args.lr, betas=(0.9, 0.99), weight_decay=args.weight_decay)
    schedule = WarmupCosine(args.lr, min(100, args.steps), args.steps, args.lr / 10)
    trainer = Trainer(model, optimizer, schedule, threads=args.threads, micro_batches=args.micro_batches,
                      rng=np.random.default_rng([args.seed, 1]))
    run = Run(args, text, trainer, np.random.default_rng([args.seed, 2]))
    if saved:
        run.restore(saved)
    about = (f"{len(text):,} characters, {len(tokens):,} tokens, {tokenizer.vocab_size} distinct; "
             f"{model.params.flat.size:,} parameters, E {'tied' if args.tie else 'and head apart'}; "
             f"{trainer.threads} threads")
    if not train(run, training, validation, about):
        run.show()
        print(f"stopped after step {trainer.steps}" + (
            f"; go on with:  python demos/train_text.py --resume {args.out}" if args.out
            else "; nothing was saved, for want of --out FILE"))
        return 130
    loss = evaluate(model, validation, args.batch, args.block, trainer.threads)
    print(f"validation loss {loss:.4f} per token")
    run.history.validation.append((trainer.steps, loss))
    run.show()
    if args.export:
        model.save_pretrained(args.export)
        if args.tokenizer == "bpe":
            tokenizer.save(args.export)
        print(f"exported to {args.export}")
    show_samples(model, tokenizer, args)
    return 0


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
    add("--lr", type=float, default=2e-3, help="highest learning rate (default 0.002)")
    add("--weight-decay", type=float, default=0.1)
    add("--dropout", type=float, default=0.0)
    add("--micro-batches", type=int, default=1, help="pieces a batch goes through the model in (default 1)")
    add("--seed", type=int, default=0)
    add("--threads", type=int, help="default: one for each core, and one alone under a debugger")
    add("--samples", type=int, default=2, help="texts to write at the end (default 2)")
    add("--prompt", help="how the samples begin (default: as the text does)")
    add("--out", metavar="FILE.npz", help="save the run here as it goes")
    add("--resume", metavar="FILE.npz", help="go on with a saved run; of the others only --out, --export and --html count")
    add("--export", metavar="FOLDER", help="save the trained model as config.json and model.safetensors")
    add("--html", metavar="FILE", help="a page: the losses, the norms of both contributions to dE")
    args = parser.parse_args(argv)
    for name in ("vocab_size", "batch", "steps", "micro_batches", "threads"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            parser.error(f"--{name.replace('_', '-')}: {getattr(args, name)} given, expected at least 1")
    for name in ("seed", "samples"):
        if getattr(args, name) < 0:
            parser.error(f"--{name}: {getattr(args, name)} given, expected at least 0")
    return args


def read_text(path):
    if path is not None:
        return Path(path).read_text(encoding="utf-8")
    from pydoc_data.topics import topics
    return "\n\n".join(topics[name] for name in sorted(topics))


def make_tokenizer(text, args):
    if args.tokenizer == "characters":
        return CharacterTokenizer(text)
    return BPETokenizer.train(text, args.vocab_size)


def config_of(args, vocab_size):
    return GPTConfig(vocab_size=vocab_size, block_size=args.block, n_layer=args.layers, n_head=args.heads,
                     n_embd=args.width, tie_embeddings=args.tie, embd_pdrop=args.dropout,
                     attn_pdrop=args.dropout, resid_pdrop=args.dropout)


def make_folders(args):
    for path, folder in ((args.out, args.out and Path(args.out).parent), (args.export, args.export),
                         (args.html, args.html and Path(args.html).parent)):
        if path:
            Path(folder).mkdir(parents=True, exist_ok=True)


class History:
    """What a run's page shows, each a list of (step, ...): losses, norms of contributions to dE."""

    def __init__(self, training=(), validation=(), norms=()):
        self.training, self.validation, self.norms = list(training), list(validation), list(norms)

    def page(self, about):
        steps, lookup, logits = zip(*self.norms)
        both = {"training, each batch": self.training, "validation": self.validation}
        losses = {name: tuple(zip(*points)) for name, points in both.items() if points}
        return matrices.document("Training a GPT", [
            f"<p>{about}</p>", matrices.charts(
                Lines("The loss", "steps", "loss per token", losses),
                Lines("The two contributions to dE", "steps", "norm, of one batch",
                      {"from the lookup": (steps, lookup), "from the logits": (steps, logits)}))])


class Run:
    """A trainer, the Generator that draws its batches, and where both are saved."""

    def __init__(self, args, text, trainer, rng):
        self.args, self.trainer, self.rng, self.history = args, trainer, rng, History()
        self.checksum = zlib.crc32(text.encode("utf-8", "surrogatepass"))

    def save(self):
        if self.args.out:
            checkpoint.save(self.args.out, self.trainer, {"batches": self.rng},
                            notes={"args": vars(self.args), "checksum": self.checksum,
                                   "history": vars(self.history)})

    def watch(self, ids, targets):
        """The norms of what both uses of E will add to dE, at about a hundred of all steps."""
        steps = self.trainer.steps
        every = max(1, self.args.steps // 100)
        if self.args.html and (not self.history.norms or steps % every == 0):
            with blas_threads(1):
                parts = contributions_of(self.trainer.model, ids, targets)
            self.history.norms.append((steps, *map(size_of, parts)))

    def show(self):
        """Write the page."""
        if self.args.html and self.history.norms:
            a = self.args
            save_page(a.html, self.history.page(
                f"{self.trainer.steps} of {a.steps} steps; L = {a.layers}, H = {a.heads}, "
                f"D = {a.width}, T = {a.block}, B = {a.batch}; "
                f"E {'tied' if a.tie else 'and head apart'}; seed {a.seed}."))

    def restore(self, saved):
        if saved.notes["checksum"] != self.checksum:
            raise ValueError(f"--resume: {self.args.resume} is of another text than {self.args.text or 'the default'} is now")
        saved.restore(self.trainer, {"batches": self.rng})
        self.history = History(**saved.notes.get("history", {}))


def train(run, training, validation, about):
    """Steps until args.steps are done; False if Ctrl-C came first. Saves on the way, and then."""
    args, trainer = run.args, run.trainer
    progress = Progress(args.steps)
    last_save, last_step = time.monotonic(), None
    with Interruptible() as interrupt:
        progress.line(about)
        while trainer.steps < args.steps and not interrupt.asked:
            start = time.perf_counter()
            ids, targets = random_batch(training, args.batch, args.block, run.rng)
            run.watch(ids, targets)
            loss, norm = trainer.step(ids, targets)
            seconds = time.perf_counter() - start
            if args.html:
                run.history.training.append((trainer.steps - 1, loss))
            last_step = seconds if last_step is None else 0.9 * last_step + 0.1 * seconds
            progress.update(trainer.steps, f"loss {loss:.3f}  |gradient| {norm:.2f}  {ids.size / last_step:,.0f} tokens/s")
            if trainer.steps % LOOK_EVERY == 0 and trainer.steps < args.steps:
                held_out = evaluate(trainer.model, validation, args.batch, args.block, trainer.threads)
                run.history.validation.append((trainer.steps, held_out))
                progress.line(f"step {trainer.steps}: training loss {loss:.3f} (this batch), validation loss {held_out:.3f}")
            if time.monotonic() - last_save > SAVE_EVERY:
                run.save()
                last_save = time.monotonic()
        progress.line(f"{trainer.steps} steps in {time.monotonic() - progress.begin:.1f} s")
        run.save()
    return trainer.steps == args.steps


def show_samples(model, tokenizer, args):
    prompt = tokenizer.encode(args.prompt) if args.prompt else tokenizer.encode(read_text(args.text)[:1])
    for i in range(args.samples):
        ids = model.generate(prompt[None], 300, temperature=0.8, do_sample=True, seed=args.seed + i)
        print(f"\n--- sample {i + 1}\n{tokenizer.decode(ids[0])}")


if __name__ == "__main__":
    terminal.run(main)
