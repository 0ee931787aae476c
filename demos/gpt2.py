"""Open a checkpoint, see that one matrix E serves both ends, let the model write,
and see what E has to do with what it writes.

    python demos/gpt2.py --model FOLDER --prompt "The matrix"
    python demos/gpt2.py                  # a small model, trained on the spot

FOLDER holds config.json, model.safetensors (or shards and their index), and
the tokenizer: tokenizer.json, or vocab.json and merges.txt: what Hugging
Face's hub has of GPT-2 and GPT-1 (openai-gpt), what transformers saves, and
what demos/train_text.py --tokenizer bpe --export writes.
"""
import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from lib import terminal, writing
from lib.texts import documentation
from minigpt_np import GPT, GPTConfig
from minigpt_np.files import safetensors
from minigpt_np.layers.softmax import softmax
from minigpt_np.text import open_tokenizer
from minigpt_np.text.bpe import BPETokenizer
from minigpt_np.training.data import random_batch
from minigpt_np.training.optim import AdamW, WarmupCosine
from minigpt_np.training.progress import Progress
from minigpt_np.training.trainer import Trainer

WHERE_FROM = """\
No --model FOLDER given: a small model is trained on the spot. GPT-2 itself
comes from Hugging Face, for instance:
    pip install huggingface_hub
    hf download openai-community/gpt2 config.json model.safetensors vocab.json \\
        merges.txt --local-dir gpt2
    python demos/gpt2.py --model gpt2
"""


def main(argv=None):
    args = parse(argv)
    if args.model:
        show(args.model, args)
    else:
        print(WHERE_FROM, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            train(folder, args)
            show(folder, args)
    return 0


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model", metavar="FOLDER", help="default: a small model, trained on the spot")
    add("--prompt", metavar="TEXT", default="The object is", help="default: %(default)r")
    add("--tokens", type=int, default=40, help="how many to write (default: %(default)s)")
    add("--greedy", action="store_true", help="write the likeliest token each time, draw none")
    add("--temperature", type=float, default=0.8, help="of drawing (default: %(default)s)")
    add("--top-k", type=int, help="draw among the k likeliest (default: all)")
    add("--top-p", type=float, help="draw among the likeliest that make up this probability")
    add("--seed", type=int, default=0, help="of drawing, and of the model trained on the spot")
    add("--nearest", type=int, default=8, help="rows to show at the end (default: %(default)s)")
    add("--steps", type=int, default=300, help="of training on the spot (default: %(default)s)")
    args = parser.parse_args(argv)
    terminal.check_least(parser, args, tokens=1, nearest=1, steps=1, seed=0)
    if not args.prompt:
        parser.error("--prompt: an empty text given, expected at least one character")
    return args


def train(folder, args):
    """A tokenizer and a small model of CPython's own documentation, saved as any other."""
    text = " ".join(documentation().split())[:200_000]
    tokenizer = BPETokenizer.train(text, 512)
    tokens = tokenizer.encode(text)
    config = GPTConfig(vocab_size=512, block_size=64, n_layer=2, n_head=4, n_embd=128)
    model = GPT(config, seed=args.seed)
    schedule = WarmupCosine(2e-3, min(20, args.steps), args.steps, 2e-4)
    trainer = Trainer(model, AdamW(model.params), schedule)
    rng = np.random.default_rng(args.seed)
    progress = Progress(args.steps)
    for step in range(args.steps):
        loss, _ = trainer.step(*random_batch(tokens, 12, config.block_size, rng))
        progress.update(step + 1, f"loss {loss:.2f}")
    progress.line(f"Trained for {args.steps} steps: loss {loss:.2f}.\n")
    model.save_pretrained(folder)
    tokenizer.save(folder)


# ---- the four steps ------------------------------------------------------------------------------

def show(folder, args):
    if not Path(folder).is_dir():
        raise ValueError(f"--model: {folder} given, expected a folder that is there")
    tokenizer = open_tokenizer(folder)
    start = time.perf_counter()
    model = GPT.from_pretrained(folder)
    seconds = time.perf_counter() - start
    if tokenizer.vocab_size > model.config.vocab_size:
        raise ValueError(f"{folder}: the tokenizer has {tokenizer.vocab_size} tokens, but E has "
                         f"only {model.config.vocab_size} rows")
    ids = tokenizer.encode(args.prompt)
    if not len(ids):
        raise ValueError(f"--prompt: {args.prompt!r} given, of which this tokenizer leaves nothing")

    print("\n".join(what_the_file_holds(folder, model, seconds)))
    print("\n".join(rows_looked_up(ids, tokenizer)))
    ids = write(ids, model, tokenizer, args)
    print("\n".join(what_is_nearest(ids, model, tokenizer, args.nearest)))


def what_the_file_holds(folder, model, seconds):
    """The file's two ends of the model, and what became of them."""
    tensors = safetensors.read_folder(folder)
    c, tied = model.config, model.params.head is model.params.E
    lines = [f"The file: {len(tensors)} tensors, opened in {seconds:.2f} s", ""]
    ends = [name for name in tensors
            if name.endswith(("wte.weight", "tokens_embed.weight", "lm_head.weight"))]
    for name in sorted(ends, reverse=True):
        lines.append(f"    {name}  {' x '.join(map(str, tensors[name].shape))}")
    if len(ends) == 1:
        other = "the embeddings are" if ends[0].endswith("lm_head.weight") else "lm_head.weight is"
        lines.append(f"    {other} not in it: the lookup is also the head")
    elif tied:
        lines.append("    equal, bit for bit")
    elif np.array_equal(model.params.head, model.params.E):
        lines.append("    equal, but tie_word_embeddings is false in config.json: two matrices")
    else:
        lines.append("    two matrices of different numbers")
    lines += ["", f"The model: {model.params.flat.size:,} numbers, "
                  f"{c.vocab_size * c.n_embd:,} of them E", "",
              f"    params.head is params.E    {tied}"]
    if tied:
        lines += ["", "One array. Its row v is what token v is looked up as, and what the output is",
                  "multiplied by to score token v."]
    return lines


def rows_looked_up(ids, tokenizer):
    """The prompt as rows of E."""
    tokens = [f"{text_of(v, tokenizer)} {v}" for v in ids[:6]]
    more = " ..." if len(ids) > 6 else ""
    return ["", f"The prompt looks up {len(ids)} row{'s' * (len(ids) != 1)} of E", "",
            terminal.cut("    " + "   ".join(tokens) + more, terminal.COLUMNS), ""]


def write(ids, model, tokenizer, args):
    """Print the prompt and its continuation as it comes -> all ids (T,)."""
    print("It goes on\n")
    start = time.perf_counter()
    new = writing.write(model, ids, args.tokens, tokenizer, temperature=args.temperature, do_sample=not args.greedy,
                        top_k=args.top_k, top_p=args.top_p, seed=args.seed)
    seconds = time.perf_counter() - start
    print(f"\n{len(new)} tokens in {seconds:.2f} s\n")
    return np.append(ids, np.array(new, ids.dtype))


def what_is_nearest(ids, model, tokenizer, n):
    """The rows of the head whose products with the last position's output h are largest."""
    logits, _, cache = model.forward(ids[None, -model.config.block_size:])
    scores, h, head = logits[0, -1].astype(float), cache.logits.h[-1], model.params.head
    probs = softmax(scores)
    name = "E" if head is model.params.E else "head"

    lines = [f"After that the output h, {len(h)} numbers, scores highest with these rows of {name}", "",
             f"    {'row':>6}  {'token':12}  {f'h · {name}[row]':>12}  cosine  probability  "
             "  looked up"]
    for v in np.argsort(-scores)[:n]:
        cosine = scores[v] / np.sqrt((h @ h) * (head[v] @ head[v]))
        times = np.count_nonzero(ids == v)
        lines.append(f"    {v:>6}  {terminal.pad(text_of(v, tokenizer), 12)}  {scores[v]:>12.2f}  "
                     f"{cosine:>6.2f}  {100 * probs[v]:>9.1f} %  {times or '-':>11}")
    end = "the row of E that scored it" if name == "E" else "a row of E; it was scored by one of another matrix"
    return [*lines, "", f"Whichever comes next is then looked up: it is {end}."]


def text_of(v, tokenizer):
    return terminal.label(writing.bytes_of(v, tokenizer).decode(errors="replace"))


if __name__ == "__main__":
    terminal.run(main)
