"""Open a checkpoint, see that one matrix E serves both ends, let the model write,
and see what E has to do with what it writes.

    python demos/gpt2.py --model FOLDER --prompt "The matrix"

FOLDER holds config.json, model.safetensors (or shards and their index), and a
tokenizer (tokenizer.json, or vocab.json and merges.txt): what Hugging Face's
hub has of GPT-2 and GPT-1 (openai-gpt), what transformers saves, and what
demos/train_text.py --tokenizer bpe exports. To get one:

    pip install huggingface_hub
    hf download openai-community/gpt2 config.json model.safetensors vocab.json \\
        merges.txt --local-dir gpt2
    python demos/train_text.py --tokenizer bpe --export out/model
"""
import argparse
import time
from pathlib import Path

import numpy as np

from lib import terminal, texts
from lib.terminal import show
from minigpt_np import GPT
from minigpt_np.files import safetensors
from minigpt_np.generation import check_options
from minigpt_np.layers.softmax import softmax
from minigpt_np.text import open_tokenizer


def main(argv=None):
    args = parse(argv)
    check_options(args.tokens, args.temperature, not args.greedy, args.top_k, args.top_p)
    if not Path(args.model).is_dir():
        raise ValueError(f"--model: {args.model} given, expected an existing folder")
    tokenizer = open_tokenizer(args.model)
    start = time.perf_counter()
    model = GPT.from_pretrained(args.model)
    seconds = time.perf_counter() - start
    if tokenizer.vocab_size > model.config.vocab_size:
        raise ValueError(f"{args.model}: the tokenizer has {tokenizer.vocab_size} tokens, but E "
                         f"has only {model.config.vocab_size} rows")
    ids = tokenizer.encode(args.prompt)
    if not len(ids):
        raise ValueError(f"--prompt: {args.prompt!r} given, of which this tokenizer leaves nothing")

    show_what_the_file_holds(args.model, model, seconds)
    tokens = "   ".join(f"{text_of(v, tokenizer)} {v}" for v in ids)
    show(f"The prompt looks up {terminal.plural(len(ids), 'row')} of E",
         [terminal.cut(f"    {tokens}", terminal.room())], "The model continues")
    start = time.perf_counter()
    new = texts.write(model, ids, args.tokens, tokenizer, temperature=args.temperature,
                      do_sample=not args.greedy, top_k=args.top_k, top_p=args.top_p, seed=args.seed)
    print()
    show(f"{len(new)} tokens in {time.perf_counter() - start:.2f} s")
    show_what_is_nearest([*ids, *new], model, tokenizer, args.nearest)
    return 0


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model", metavar="FOLDER", required=True)
    add("--prompt", metavar="TEXT", default="The object is", help="default: %(default)r")
    add("--tokens", type=int, default=40, help="how many to write (default: %(default)s)")
    add("--greedy", action="store_true", help="write the likeliest token each time, draw none")
    add("--temperature", type=float, help="of drawing (default: 0.8)")
    add("--top-k", type=int, help="draw among the k likeliest (default: all)")
    add("--top-p", type=float, help="draw among the likeliest that make up this probability")
    add("--seed", type=int, default=0, help="of drawing (default: %(default)s)")
    add("--nearest", type=int, default=8, help="rows to show at the end (default: %(default)s)")
    args = parser.parse_args(argv)
    terminal.check_least(parser, args, tokens=1, nearest=1, seed=0)
    if args.temperature is None:
        args.temperature = 1.0 if args.greedy else 0.8
    return args


# ---- what it says --------------------------------------------------------------------------------

def show_what_the_file_holds(folder, model, seconds):
    """The file's two ends of the model, and what became of them."""
    tensors, E, head = safetensors.read_folder(folder), model.params.E, model.params.head
    ends = [name for name in tensors
            if name.endswith(("wte.weight", "tokens_embed.weight", "lm_head.weight"))]
    if len(ends) == 1:
        about = "One matrix: it is looked up, and it is the head."
    elif head is E:
        about = "The two are equal, bit for bit."
    elif np.array_equal(head, E):
        about = "The two are equal, but tie_word_embeddings is false in config.json."
    else:
        about = "The two have different numbers."
    if head is E:
        about += (" The model has one array, whose row v is what token v is looked up as, and what "
                  "the output is multiplied by to score token v.")
    show(f"The file: {len(tensors)} tensors, opened in {seconds:.2f} s",
         [f"    {name}  {' x '.join(map(str, tensors[name].shape))}"
          for name in sorted(ends, reverse=True)],
         about, f"The model: {model.params.flat.size:,} numbers, {E.size:,} of them E",
         [f"    params.head is params.E    {head is E}"])


def show_what_is_nearest(ids, model, tokenizer, n):
    """The rows of the head whose products with the last position's output h are largest."""
    logits, _, cache = model.forward(np.array([ids[-model.config.block_size:]]))
    scores, h, head = logits[0, -1].astype(float), cache.logits.h[-1], model.params.head
    probs, tied = softmax(scores), head is model.params.E
    name = "E" if tied else "head"
    rows = [("token", "row", f"h · {name}[row]", "cosine", "probability", "looked up")]
    for v in np.argsort(-scores)[:n]:
        cosine = scores[v] / np.sqrt((h @ h) * (head[v] @ head[v]))
        rows.append((text_of(v, tokenizer), v, f"{scores[v]:.2f}", f"{cosine:.2f}",
                     f"{probs[v]:.1%}", ids.count(v) or "-"))
    end = ("the row of E that scored it" if tied
           else "a row of E; it was scored by one of another matrix")
    show(f"After that the output h, {len(h)} numbers, scores highest with these rows of {name}",
         terminal.table(*rows), f"Whichever comes next is then looked up: it is {end}.")


def text_of(v, tokenizer):
    return terminal.label(texts.bytes_of(v, tokenizer).decode(errors="replace"))


if __name__ == "__main__":
    terminal.run(main)
