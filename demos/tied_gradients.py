"""One matrix E is looked up for the input and multiplied with for the output.
Watch both gradients accumulate into its dE, see the sum checked, and see how
one matrix can do both jobs.

    python demos/tied_gradients.py
    python demos/tied_gradients.py --sentence "a rose is a rose" --numbers
    python demos/tied_gradients.py --untied

Sentence, start and learning rate are those of one_page.py, and so are the
numbers.
"""
import argparse
import sys
from dataclasses import dataclass, replace

import numpy as np

import one_page
from lib.instruments import contributions_of, rungs, silenced, sublayers
from lib.terminal import (
    bold, check_least, cut, inked, label, largest, legend, pad, plural, room, run, shades, show,
    table)
from minigpt_np import GPT, GPTConfig, Parameters
from minigpt_np.gradcheck import check
from minigpt_np.layers import cross_entropy
from minigpt_np.training.blas import blas_threads
from minigpt_np.training.progress import Progress


def main(argv=None):
    args = parse(argv)
    with blas_threads(1):       # products this small are done before a second thread has woken up
        lesson = measure(args.sentence.split(), args.layers, args.heads, args.width, args.untied,
                         args.seed)
        the_task(lesson)
        used_twice(lesson)
        who_uses_which_row(lesson, args.numbers)
        two_contributions(lesson, args.numbers)
        repeated_lookups(lesson, args.numbers)
        reports = check_gradients(lesson)
        checked_against_differences(reports)
        loss, ladders = train_and_read(lesson, args.seed, args.steps)
        how_one_matrix_does_both(lesson, args.steps, loss, ladders)
    return 0 if all(report.ok for report in reports) else 1


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--sentence", default=one_page.TEXT,
        help="words to look up and predict (default: %(default)s)")
    add("--layers", type=int, default=1, help="L, blocks (default: %(default)s)")
    add("--heads", type=int, default=2, help="H, heads a block (default: %(default)s)")
    add("--width", type=int, default=6, help="D, a multiple of H (default: %(default)s)")
    add("--seed", type=int, default=0, help="of the start (default: %(default)s)")
    add("--steps", type=int, default=one_page.STEPS,
        help="of gradient descent before the last section (default: %(default)s)")
    add("--untied", action="store_true",
        help="cut the tie: head is a copy of E, a matrix of its own")
    add("--numbers", action="store_true", help="digits in place of shades")
    args = parser.parse_args(argv)
    check_least(parser, args, layers=1, seed=0, steps=0)
    return args


# ---- what is computed ----------------------------------------------------------------------------

@dataclass
class Lesson:
    """One sentence, and an untrained model forwards and backwards on it."""
    tokens: list                # V texts, row by row of E
    ids: np.ndarray             # (T,) the tokens looked up
    targets: np.ndarray         # (T,) the tokens to predict: at each position the next one
    model: GPT                  # float64; untied, head starts as a copy of E
    loss: float
    grads: Parameters           # all of backward's
    dlogits: np.ndarray         # (T, V)
    from_lookup: np.ndarray     # (V, D) one_hotᵀ dx: what E as the lookup adds to its gradient
    from_logits: np.ndarray     # (V, D) dlogitsᵀ h: what E, or head, adds as the head

    @property
    def tied(self):
        return self.model.config.tie_embeddings

    @property
    def head(self):
        """The name of the matrix that the logits are products with."""
        return "E" if self.tied else "head"

    @property
    def labels(self):
        return [label(token) for token in self.tokens]

    @property
    def lookups(self):
        """(V,) how often each row is looked up."""
        return np.bincount(self.ids, minlength=len(self.tokens))


def measure(words, layers=1, heads=2, n_embd=6, untied=False, seed=0):
    """The Lesson of a list of words. ValueError: fewer than two, or sizes GPTConfig refuses."""
    if len(words) < 2:
        raise ValueError(f"--sentence: {plural(len(words), 'word')} given, expected at least 2: "
                         "to look up and to predict")
    tokens = list(dict.fromkeys([*words, one_page.NEVER]))
    text = np.array([[tokens.index(word) for word in words]])
    ids, targets = text[:, :-1], text[:, 1:]                            # (1, T)
    model = start(GPTConfig(len(tokens), ids.shape[1], layers, heads, n_embd), seed)
    if untied:
        model = model.untied()
    _, loss, cache = model.forward(ids, targets)
    dlogits = cross_entropy.backward(1.0, cache.loss)
    grads = model.backward(cache)
    from_lookup, from_logits = contributions_of(model, ids, targets)
    return Lesson(tokens, ids[0], targets[0], model, float(loss), grads, dlogits, from_lookup,
                  from_logits)


def start(config, seed):
    """The model that one_page.py starts with: all matrices N(0, 0.2), gains 1, biases 0.

    A head of its own is drawn last, as in live/experiment.js.
    """
    model, rng = GPT(config, dtype=np.float64), np.random.default_rng(seed)
    arrays = one_page.new_parameters(config.vocab_size, config.block_size, config.n_embd,
                                     config.n_layer, rng)
    if not config.tie_embeddings:
        arrays.append(rng.normal(0, 0.2, arrays[0].shape))
    for theirs, ours in zip(model.params.arrays.values(), arrays, strict=True):
        theirs[...] = ours
    return model


def check_gradients(lesson):
    """gradcheck's Reports on E, and on head where it is another matrix, by two methods."""
    config, matrices = lesson.model.config, ["E"] if lesson.tied else ["E", "head"]
    twin = GPT(config, params=Parameters(config, np.complex128))
    twin.params.flat[...] = lesson.model.params.flat

    def report(model, method):
        params, grads = ({name: arrays[name] for name in matrices}
                         for arrays in (model.params.arrays, lesson.grads.arrays))
        return check(lambda: model.forward(lesson.ids[None], lesson.targets[None])[1], params,
                     grads, method)

    return [report(lesson.model, "differences"), report(twin, "complex")]


def train_and_read(lesson, seed, steps):
    """Train one E and its controls on the sentence -> the lesson's loss, and ladders by name."""
    ids, config = lesson.ids, replace(lesson.model.config, tie_embeddings=True)
    one, two = (start(replace(config, tie_embeddings=tied), seed) for tied in (True, False))
    no_block, as_gpt2 = start(replace(config, n_layer=0), seed), GPT(config, seed, np.float64)
    loss_of_one, loss_of_two, _, _ = [train(model, lesson, steps)
                                      for model in (one, two, no_block, as_gpt2)]
    return loss_of_one if lesson.tied else loss_of_two, {
        "untrained": ladder(start(config, seed), ids),
        "one E": ladder(one, ids),
        "two matrices, by head": ladder(two, ids),
        "two matrices, by E": ladder(two, ids, "E"),
        "one E, no block": ladder(no_block, ids),
        "one E, GPT-2's start": ladder(as_gpt2, ids)}


def train(model, lesson, steps):
    """Plain gradient descent, as in one_page.py -> the loss after it."""
    ids, targets = lesson.ids[None], lesson.targets[None]
    with Progress(steps, sys.stderr, patience=1) as progress:
        for step in range(steps):
            _, loss, cache = model.forward(ids, targets)
            model.params.flat -= one_page.LEARNING_RATE * model.backward(cache).flat
            progress.update(step + 1, f"loss {loss:.3f}")
    return model.forward(ids, targets)[1]


def ladder(model, ids, matrix="head"):
    """The (T,) tokens that each vector of the residual stream is read as, from the lookup on.

    A vector is read as the model reads the last one: by the final LayerNorm, and then the token
    whose row of the matrix, "head" or "E", has the largest product with it. The stream after a
    sublayer is the end of the stream where all later sublayers add nothing.
    """
    W, tokens, n = getattr(model.params, matrix), [], len(sublayers(model.params))
    for k in range(n + 1):
        h = silenced(model, range(k, n)).forward(ids[None])[2].logits.h     # (T, D)
        tokens.append((h @ W.T).argmax(axis=1))
    return tokens


# ---- what is printed, section by section ---------------------------------------------------------

def the_task(lesson):
    c, V, T, labels = lesson.model.config, len(lesson.tokens), len(lesson.ids), lesson.labels
    show([bold("One matrix E, two uses, one gradient" if lesson.tied
               else "Two matrices, two uses, two gradients")],
         "A GPT looks up the tokens of the top line, and at each position has to predict the token "
         f"below it without seeing any further right. V = {V} tokens, T = {T} positions, "
         f"D = {c.n_embd}, {plural(c.n_layer, 'layer')}, {plural(c.n_head, 'head')}; "
         f"{lesson.model.params.flat.size:,} numbers in float64.",
         table(["position", *range(T)],
               ["looked up", *(labels[v] for v in lesson.ids)],
               ["predict", *(labels[v] for v in lesson.targets)]),
         f"Untrained, its loss is {lesson.loss:.3f}. (A uniform guess has loss log {V} = "
         f"{np.log(V):.3f}.)")


def used_twice(lesson):
    params, grads = lesson.model.params, lesson.grads
    show([bold("1. E is used twice" if lesson.tied else "1. E is looked up, head predicts")],
         table(("Radford et al. 2018, (2)", "here", "shapes"),
               ("h0 = U We + Wp", "x = E[ids] + P", "(T, V)(V, D) = (T, D)"),
               ("P(u) = softmax(hn Weᵀ)", f"logits = h @ {lesson.head}.T", "(T, D)(D, V) = (T, V)"),
               right=False),
         "We is E: a row for each token. Wp is P: a row for each position. U has a row for each "
         "position, all 0 but for a 1 at the token there, so U We looks up rows of E. (With tokens "
         "as columns: Eᵀu for the lookup, E h for the logits.)",
         table(("params.head is params.E", params.head is params.E),
               ("grads.head is grads.E", grads.head is grads.E), right=False),
         "One array under two names, and one gradient: what is added to grads.head is in grads.E."
         if lesson.tied else
         "The paper predicts with We too; here the tie is cut: head starts as a copy.")


def who_uses_which_row(lesson, digits):
    """E beside the two matrices that its gradient is made with, a row a token in all of them."""
    one_hot = np.eye(len(lesson.tokens))[lesson.ids]                    # (T, V)
    positions = [str(t % 10) for t in range(len(lesson.ids))]
    show([bold("2. Who uses which row")],
         columns(["", "", "", *lesson.labels],
                 ["lookups", "", "", *map(str, lesson.lookups)],
                 ["E", "(V, D)", "", *shades(lesson.model.params.E, digits=digits)],
                 [inked("one_hotᵀ (V, T)", "lookup"), "1 where looked up",
                  *shades(one_hot.T, None, "lookup", digits, positions)],
                 [inked("dlogitsᵀ (V, T)", "logits"), "(p - one_hot)ᵀ/T",
                  *shades(lesson.dlogits.T, None, "logits", digits, positions)]),
         table(("any product", "Y = X W", "dW = Xᵀ dY", ""),
               ("the lookup", "x = one_hot E", "dE = one_hotᵀ dx", "the rows looked up"),
               ("the logits", f"logits = h {lesson.head}ᵀ", f"d{lesson.head} = dlogitsᵀ h",
                "every row"),
               right=False),
         "Every row, because softmax gives every token a nonzero probability p: dlogits = "
         "(p - one_hot) / T. This one_hot has its 1 at the token to predict; 1/T is there because "
         "the loss is a mean over T positions.")


def two_contributions(lesson, digits):
    """What each use adds, on one scale, so that the eye can add them up; and two rows in digits."""
    parts = {"lookup": lesson.from_lookup, "logits": lesson.from_logits,        # by their colours
             "sum": lesson.from_lookup + lesson.from_logits}
    titles = "  from lookup", "+ from logits", "= their sum"
    below = ("  one_hotᵀ dx", "  dlogitsᵀ h", "  dE") if lesson.tied else (
        "  dE", "  dhead", "  the tied dE")
    scale, never = largest(*parts.values()), np.flatnonzero(lesson.lookups == 0)
    total, rows = below[2].strip(), []
    for v in [np.argmax(lesson.lookups), *never[-1:]]:
        token = label(lesson.tokens[v], 6)
        names = f"{pad(token, 6)}  from lookup", "      + from logits", f"      = {total}[{token}]"
        rows += [(name, *shades(part[[v]], scale, use, digits=True))
                 for name, (use, part) in zip(names, parts.items())]
    show([bold("3. Two contributions, " + ("one dE" if lesson.tied else "one to each matrix"))],
         columns(["", "", *lesson.labels],
                 *([inked(title, use), product, *shades(part, scale, use, digits)]
                   for title, product, (use, part) in zip(titles, below, parts.items()))))
    if not digits:
        show(legend(scale))
    show(table(*rows, right=False),
         "In model.py's backward, layers.logits.backward(..., grads.head) accumulates what the "
         "logits add; then, after all blocks, layers.lookup.backward(..., grads.E, grads.P) what "
         f"the lookup adds, into {'the same' if lesson.tied else 'another'} array. "
         f"Rows never looked up: {', '.join(lesson.labels[v] for v in never) or 'none'}. "
         f"Only the logits move such a row{'' if lesson.tied else ', that of head'}.")


def repeated_lookups(lesson, digits):
    """The row that is looked up most often: what is added, and what `dE[ids] += dx` would add."""
    v = np.argmax(lesson.lookups)
    positions, dx = np.flatnonzero(lesson.ids == v), lesson.grads.P     # B = 1: dP[t] = dx[t]
    token, lost = label(lesson.tokens[v], 8), np.zeros_like(lesson.from_lookup)
    lost[lesson.ids] += dx
    names = [f"+ dx[{t}]" for t in positions]
    drawn = np.vstack([dx[positions], lesson.from_lookup[v], lost[v]])
    show([bold("4. Repeated lookups accumulate")],
         f"Positions at which '{token}' is looked up: {', '.join(map(str, positions))}. Backward "
         "adds the dx of each to one row of dE. NumPy's dE[ids] += dx would keep only the last."
         if len(positions) > 1 else
         "No token is looked up twice here. Try --sentence 'a rose is a rose is a rose'.",
         columns([*names, f"= dE[{token}]", "  dE[ids] += dx"],
                 shades(drawn, None, "lookup", digits)))


def checked_against_differences(reports):
    show([bold("5. Checked against finite differences")],
         "minigpt_np.gradcheck moves one number after another and watches the loss, by "
         "differences and then by complex steps, in which nothing is subtracted.",
         *([cut(f"   {line}", room()) for line in str(report).splitlines()] for report in reports))


def how_one_matrix_does_both(lesson, steps, loss, ladders):
    """What each vector of the residual stream is read as after training, and the controls."""
    T, trained = len(lesson.ids), ladders["one E"]

    def matches(tokens):        # positions at which they are the token read; at which the next
        return np.sum(tokens == lesson.ids), np.sum(tokens == lesson.targets)

    show([bold("6. How one matrix does both")],
         f"After {plural(steps, 'step')} of gradient descent"
         f"{'' if lesson.tied else ', head drawn anew,'} the loss is {loss:.3f}. Each rung of "
         "this ladder, the lookup lowest, shows what the model says if attention and MLPs above it "
         "add nothing: its vectors go through the final LayerNorm, then the token whose row of "
         f"{lesson.head} has the largest product is shown.")
    if lesson.tied:
        show(ladder_lines(trained, lesson),
             "E names tokens at both ends: the lowest rung shows the token read at "
             f"{matches(trained[0])[0]} of {T} positions, the highest the token to come at "
             f"{matches(trained[-1])[1]} of {T}. Attention and MLP, between them, turn the one "
             "into the other.")
    else:
        show(ladder_lines(ladders["two matrices, by head"], lesson),
             "The same stream, read with E:",
             ladder_lines(ladders["two matrices, by E"], lesson))
    rows = []
    for name, found in ladders.items():
        ends = matches(found[0]), matches(found[-1])
        rows.append((name, *(f"{read:2} read, {come:2} next" for read, come in ends)))
    show(f"Controls: at how many of {T} positions a rung shows the token read, and the next",
         table(("", "lowest rung", "highest rung"), *rows),
         "Without a block, or from GPT-2's start, N(0, 0.02), where P is as large as E, one "
         "sentence can be memorised through P: E[ids] + P then shows the next token already. And "
         "one memorised sentence proves nothing about text: demos/findings has the ladder on text. "
         "(An E written by hand that does both: python demos/clock.py)")


def ladder_lines(found, lesson):
    """A ladder as lines, from its end down; blue the token read, orange the token to come."""
    names = ["E[ids] + P", *(f"after {name}" for name in rungs(lesson.model.params)[1:])]
    if len(lesson.model.params.blocks) == 1:
        names = [name.removesuffix(" 1") for name in names]

    def text(v, read, come):
        return inked(lesson.labels[v], "lookup" if v == read else "logits" if v == come else None)

    rows = [("token read", lesson.ids), *zip(names, found), ("to come", lesson.targets)][::-1]
    return table(*((name, *map(text, tokens, lesson.ids, lesson.targets)) for name, tokens in rows))


def columns(*texts):
    """Lists of texts side by side."""
    return table(*zip(*texts), right=False)


if __name__ == "__main__":
    run(main)
