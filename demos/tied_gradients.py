"""One matrix E is looked up for the input and multiplied with for the output. Watch both gradients
accumulate into its dE, see the sum checked, and see how one matrix can do both jobs.

    python demos/tied_gradients.py
    python demos/tied_gradients.py --text "a rose is a rose is a rose" --numbers
    python demos/tied_gradients.py --untied

Sentence, start and learning rate are those of one_page.py, and so are the numbers.
"""
import argparse
import copy
import sys
from dataclasses import dataclass, replace

import numpy as np

from lib.contributions import contributions_of
from lib.terminal import (
    Panel, bold, check_least, colours, cut, inked, label, legend, pad, paragraph, picture, room,
    run, table, width)
from minigpt_np import GPT, GPTConfig, Parameters
from minigpt_np.gradcheck import check
from minigpt_np.layers import cross_entropy
from minigpt_np.parameters import count
from minigpt_np.training.blas import blas_threads
from minigpt_np.training.progress import Progress

TEXT, NEVER = "the dog saw the cat and the cat saw the bird fly", "fish"    # NEVER: not in the text
LEARNING_RATE, STEPS, STD = 0.1, 200, 0.2
LARGEST = 1_000_000         # parameters: this is about models small enough to look at
USES = "lookup", "logits", "sum"            # a colour each
LOWEST = "E[ids] + P"       # rung of the residual stream


@dataclass
class Lesson:
    """One sentence, and an untrained model, forwards and backwards on it."""
    tokens: list                # V texts, row by row of E
    ids: np.ndarray             # (T,) what is looked up
    targets: np.ndarray         # (T,) what is to be predicted: the token after it
    model: GPT                  # float64; untied, head starts as a copy of E
    loss: float
    grads: Parameters           # all of backward's
    dlogits: np.ndarray         # (T, V)
    from_lookup: np.ndarray     # (V, D) one_hotᵀ dx: what E as the lookup adds to its gradient
    from_logits: np.ndarray     # (V, D) dlogitsᵀ h: what E, or head, adds as the head
    reports: list               # of gradcheck, by differences and by complex steps
    seed: int = 0
    steps: int = STEPS          # of training, for the last section
    colour: bool = False
    numbers: bool = False       # digits in place of shades

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

    def picture(self, *panels, rows=None, numbers=False):
        return picture(rows or self.labels, panels, self.colour, numbers or self.numbers)


def measure(words, layers=1, heads=2, n_embd=6, untied=False, seed=0, **options):
    """The Lesson of a list of words; `options` are its last fields.

    Raises ValueError for fewer than two words, for sizes that GPTConfig refuses, and for more than
    LARGEST parameters.
    """
    if len(words) < 2:
        raise ValueError(f"text: {plural(len(words), 'word')} given, expected at least 2: "
                         "to look up and to predict")
    tokens = list(dict.fromkeys([*words, NEVER]))
    text = np.array([[tokens.index(word) for word in words]])
    ids, targets = text[:, :-1], text[:, 1:]
    config = GPTConfig(len(tokens), ids.shape[1], layers, heads, n_embd)
    if count(config) > LARGEST:
        raise ValueError(f"layers, n_embd: {layers} and {n_embd} given, "
                         f"{count(config):,} parameters, expected at most {LARGEST:,}")
    model = start(config, seed)
    if untied:
        model = model.untied()
    _, loss, cache = model.forward(ids, targets)
    grads = Parameters(model.config, np.float64)
    model.backward(cache, grads)
    return Lesson(tokens, ids[0], targets[0], model, float(loss), grads,
                  cross_entropy.backward(1.0, cache.loss), *contributions_of(model, ids, targets),
                  compare(model, grads, ids, targets), seed, **options)


def start(config, seed):
    """The model that one_page.py starts with: all matrices N(0, 0.2), gains 1, biases 0."""
    model, rng = GPT(config, dtype=np.float64), np.random.default_rng(seed)
    for array in model.params.named().values():
        if array.ndim == 2:
            array[...] = rng.normal(0, STD, array.shape)
    return model


def compare(model, grads, ids, targets):
    """gradcheck's Reports on E, and on head where it is another matrix, by two methods."""
    twin = GPT(model.config, params=Parameters(model.config, np.complex128))
    twin.params.flat[...] = model.params.flat

    def matrices(params):
        return {name: params.arrays[name] for name in ("E", "head") if name in params.arrays}

    return [check(lambda: at.forward(ids, targets)[1], matrices(at.params), matrices(grads), method)
            for at, method in ((model, "differences"), (twin, "complex"))]


# ---- the sections in order: each a title, and the lines below it ---------------------------------

def the_task(lesson):
    c, V, labels = lesson.model.config, len(lesson.tokens), lesson.labels
    title = ("One matrix E, two uses, one gradient" if lesson.tied
             else "Two matrices, E and head, a gradient each")
    return title, [
        *paragraph("A GPT looks up the tokens of the top line, and at each position has to predict "
                   "the token below it without seeing any further right. "
                   f"V = {V} tokens, T = {len(lesson.ids)} positions, D = {c.n_embd}, "
                   f"{plural(c.n_layer, 'layer')}, {plural(c.n_head, 'head')}; "
                   f"{lesson.model.params.flat.size:,} numbers in float64."),
        "",
        *by_position({"position": [str(t) for t in range(len(lesson.ids))],
                      "looked up": [labels[v] for v in lesson.ids],
                      "predict": [labels[v] for v in lesson.targets]}),
        "",
        *paragraph(f"Untrained, its loss is {lesson.loss:.3f}. (A uniform guess has loss "
                   f"log {V} = {np.log(V):.3f}.)")]


def used_twice(lesson):
    p, g = lesson.model.params, lesson.grads
    return "E is used twice" if lesson.tied else "E is looked up, head predicts", [
        *table(("Radford et al. 2018, (2)", "here", "shapes"),
               ("h0 = U We + Wp", "x = E[ids] + P", "(T, V)(V, D) = (T, D)"),
               ("P(u) = softmax(hn Weᵀ)", f"logits = h @ {lesson.head}.T",
                "(T, D)(D, V) = (T, V)")),
        "",
        *paragraph("We is E: a row for each token. Wp is P: a row for each position. U has a row "
                   "for each position, all 0 but for a 1 at the token there, so U We looks up rows "
                   "of E. (With tokens as columns: Eᵀu for the lookup, E h for the logits.)"),
        "",
        *table(("params.head is params.E", str(p.head is p.E)),
               ("grads.head is grads.E", str(g.head is g.E))),
        "",
        *paragraph("One array under two names, and one gradient: what is added to grads.head is in "
                   "grads.E." if lesson.tied else
                   "The paper predicts with We too; here the tie is cut: head starts as a copy.")]


def who_uses_which_row(lesson):
    """E beside the two matrices that its gradient is made with, a row a token in all of them."""
    positions = tuple(str(t) for t in range(len(lesson.ids)))
    one_hot = np.eye(len(lesson.tokens))[lesson.ids]
    return "Who uses which row", [
        *lesson.picture(
            Panel(("E", "(V, D)"), lesson.model.params.E),
            Panel(("", "looked up"), [f"{n}x" if n else "never" for n in lesson.lookups]),
            Panel(("one_hotᵀ (V, T)", "1 where looked up"), one_hot.T, heads=positions,
                  use="lookup"),
            Panel(("dlogitsᵀ (V, T)", "(p - one_hot)ᵀ/T"), lesson.dlogits.T, heads=positions,
                  use="logits")),
        "",
        *table(("any product", "Y = X W", "dW = Xᵀ dY", ""),
               ("the lookup", "x = one_hot E", "dE = one_hotᵀ dx", "the rows looked up"),
               ("the logits", f"logits = h {lesson.head}ᵀ", f"d{lesson.head} = dlogitsᵀ h",
                "every row")),
        "",
        *paragraph("Every row, because softmax gives every token a nonzero probability p: "
                   "dlogits = (p - one_hot) / T. This one_hot has its 1 at the token to predict; "
                   "1/T is there because the loss is a mean over T positions.")]


def two_contributions(lesson):
    """What each use adds, on one scale, so that the eye can add them up; and two rows in digits."""
    parts = lesson.from_lookup, lesson.from_logits, lesson.from_lookup + lesson.from_logits
    titles = [("from lookup", "one_hotᵀ dx"), ("from logits", "dlogitsᵀ h"), ("their sum", "dE")]
    if not lesson.tied:
        titles = [("from lookup", "dE"), ("from logits", "dhead"), ("their sum", "the tied dE")]
    scale = np.max(np.abs(parts))
    often, unread = np.argmax(lesson.lookups), np.flatnonzero(lesson.lookups == 0)
    lines = [*lesson.picture(*(Panel(title, part, scale, sign, use=use) for title, part, sign, use
                               in zip(titles, parts, ("", "+", "="), USES))),
             "", *legend(scale, lesson.colour, lesson.numbers), ""]
    for v in dict.fromkeys([often, *unread[-1:]]):
        token = label(lesson.tokens[v], 6)
        names = "  from lookup", "+ from logits", f"= dE[{token}]"
        for part, use, name in zip(parts, USES, names):
            row = pad(pad(token if use == "lookup" else "", 6) + name, 19)
            lines += lesson.picture(Panel((), part[[v]], scale, use=use), rows=[row], numbers=True)
    lines += ["", *paragraph(
        "In model.py's backward, layers.logits.backward(..., grads.head) accumulates what the "
        "logits add; then, after all blocks, layers.lookup.backward(..., grads.E, grads.P) what "
        f"the lookup adds, into {'the same' if lesson.tied else 'another'} array.")]
    if len(unread):
        names = ", ".join(lesson.labels[v] for v in unread)
        lines += paragraph(f"Never looked up: {names}. Only the logits move these rows"
                           + ("." if lesson.tied else ", those of head."))
    return "Two contributions, " + ("one dE" if lesson.tied else "each to its own matrix"), lines


def repeated_lookups(lesson):
    """The row that is looked up most often: what is added, and what `dE[ids] += dx` would add."""
    title, v = "Repeated lookups accumulate", np.argmax(lesson.lookups)
    positions, dx = np.flatnonzero(lesson.ids == v), lesson.grads.P     # B = 1: dP[t] = dx[t]
    if len(positions) == 1:
        return title, paragraph("No token is looked up twice here. "
                                "Try --text 'a rose is a rose is a rose'.")
    lost, token = np.zeros_like(lesson.from_lookup), label(lesson.tokens[v], 8)
    lost[lesson.ids] += dx
    return title, lesson.picture(
        Panel((), np.vstack([dx[positions], lesson.from_lookup[v], lost[v]]), use="lookup"),
        Panel((), [*(f"{token} at position {t}" for t in positions), "their sum: the lookup's row",
                   "what that would give: the last one only"]),
        rows=[*(f"{sign} dx[{t}]" for sign, t in zip(" " + "+" * len(positions), positions)),
              f"= dE[{token}]", "  dE[ids]+=dx"])


def checked(lesson):
    reports = [line for report in lesson.reports for line in ["", *str(report).splitlines()]]
    return "Checked against finite differences", [
        *paragraph("minigpt_np.gradcheck moves one number after another and watches the loss, by "
                   "differences and then by complex steps, in which nothing is subtracted."),
        *(line and cut(f"   {line}", room()) for line in reports)]


def how_one_matrix_does_both(lesson):
    """What each vector of the residual stream spells after training, and the controls."""
    config, T = replace(lesson.model.config, tie_embeddings=True), len(lesson.ids)
    one, no_block = start(config, lesson.seed), start(replace(config, n_layer=0), lesson.seed)
    two, as_gpt2 = one.untied(), GPT(config, lesson.seed, np.float64)
    untrained = ladder(one, lesson)
    losses = [train(model, lesson) for model in (one, two, no_block, as_gpt2)]
    trained, by_head, by_E = ladder(one, lesson), ladder(two, lesson), ladder(two, lesson, "E")

    def positions(said):
        """At how many it is the token read, and at how many the next."""
        return np.sum(said == lesson.ids), np.sum(said == lesson.targets)

    def control(name, rungs):
        return (name, *("{:2} read, {:2} next".format(*positions(said))
                        for said in (rungs[LOWEST], highest(rungs))))

    return "How one matrix does both", [
        *paragraph(f"After {plural(lesson.steps, 'step')} of gradient descent the loss is "
                   f"{losses[not lesson.tied]:.3f}. Each vector of the residual stream is now read "
                   "as the model reads the last: final LayerNorm, then the token whose row of "
                   f"{lesson.head} has the largest product with it."),
        "",
        *by_position(spelled(trained if lesson.tied else by_head, lesson)),
        "",
        *(paragraph("E is one alphabet for both ends. Read with it, the lowest rung spells the "
                    f"token read at {positions(trained[LOWEST])[0]} of {T} positions, the highest "
                    f"the token to come at {positions(highest(trained))[1]} of {T}. What lies "
                    "between, attention and MLP, turns the one into the other.") if lesson.tied else
          ["The same stream, read with E:", "", *by_position(spelled(by_E, lesson))]),
        "",
        *paragraph(f"Controls: at how many of {T} positions a rung spells the token read, and the "
                   "next"),
        "",
        *table(("", "lowest rung", "highest rung"),
               control("untrained", untrained),
               control("one E", trained),
               control("one E, its block silenced", {LOWEST: trained[LOWEST]}),
               control("two matrices, read with head", by_head),
               control("two matrices, read with E", by_E),
               control("one E, no block", ladder(no_block, lesson)),
               control("one E, from GPT-2's N(0, 0.02)", ladder(as_gpt2, lesson))),
        "",
        *paragraph("Without a block, or from GPT-2's start, where P is as large as E, one sentence "
                   "can be memorised through P: E[ids] + P then spells the next token already. And "
                   "one memorised sentence proves nothing about text: demos/findings has the "
                   "ladder on text. (An E written by hand that does both: python demos/clock.py)")]


def ladder(model, lesson, matrix="head"):
    """Rung -> the (T,) tokens it spells, from the end of the residual stream down to the lookup.

    The stream before a sublayer is the end of the stream of a model in which this sublayer and all
    later ones are silenced: they add nothing.
    """
    model, rungs = copy.deepcopy(model), {}
    blocks, head = model.params.blocks, getattr(model.params, matrix)

    def read(rung):
        h = model.forward(lesson.ids[None])[2].logits.h
        rungs[rung] = (h @ head.T).argmax(axis=1)

    for i in reversed(range(len(blocks))):
        for name, last in (("MLP", blocks[i].mlp.down), ("attention", blocks[i].attention.out)):
            read(f"after {name}{f' {i + 1}' * (len(blocks) > 1)}")
            last.W[...] = last.b[...] = 0
    read(LOWEST)
    return rungs


def highest(rungs):
    return next(iter(rungs.values()))


def spelled(rungs, lesson):
    """Rung -> T texts, blue where it is the token read, orange where it is the token to come."""
    def text(t, v):
        use = "lookup" if v == lesson.ids[t] else "logits" if v == lesson.targets[t] else ""
        return inked(lesson.labels[v], use, 1) if lesson.colour and use else lesson.labels[v]

    rows = {"to come": lesson.targets, **rungs, "token read": lesson.ids}
    return {name: [text(t, v) for t, v in enumerate(said)] for name, said in rows.items()}


def train(model, lesson):
    """Plain gradient descent; the loss after it. Raises ValueError if it diverges."""
    progress = Progress(lesson.steps, sys.stderr, patience=1)
    ids, targets = lesson.ids[None], lesson.targets[None]
    for step in range(1, lesson.steps + 1):
        _, loss, cache = model.forward(ids, targets)
        model.params.flat -= LEARNING_RATE * model.backward(cache).flat
        progress.update(step, f"loss {loss:.3f}")
        if not np.isfinite(model.params.flat).all():
            raise ValueError(f"steps: {lesson.steps} given, but after {step} the weights are not "
                             "finite")
    progress.clear()
    return model.forward(ids, targets)[1]


# ---- the program ---------------------------------------------------------------------------------

SECTIONS = (used_twice, who_uses_which_row, two_contributions, repeated_lookups, checked,
            how_one_matrix_does_both)


def report(lesson):
    """The lines of the lesson, section by section, none wider than the terminal."""
    for n, section in enumerate((the_task, *SECTIONS)):
        title, lines = section(lesson)
        title = f"{n}. {title}" if n else title
        yield [*(bold(line, lesson.colour) for line in paragraph(title)), "", *lines, ""]


def by_position(rows):
    """Name -> T texts, in a column for each position; where a line is full, in lines below."""
    margin, columns = max(map(width, rows)), [*zip(*rows.values())]
    lines, first = [], 0
    while first < len(columns):
        drawn, t = [name.ljust(margin) for name in rows], first
        while t < len(columns):
            n = max(map(width, columns[t])) + 2
            if t > first and width(drawn[0]) + n > room():
                break
            drawn = [line + " " * (n - width(text)) + text for line, text in zip(drawn, columns[t])]
            t += 1
        lines += [""] * (first > 0) + drawn
        first = t
    return lines


def plural(n, what):
    return f"{n:,} {what}{'s' * (n != 1)}"


def arguments(argv=None):
    p = argparse.ArgumentParser(
        description="One sentence through a small GPT: what the lookup and what the logits each "
                    "add to the gradient of their one matrix E, the sum checked number by number, "
                    "and how one matrix does both jobs.")
    p.add_argument("--text", default=TEXT, help="words to look up and predict "
                                                "(default: %(default)s)")
    p.add_argument("--layers", type=int, default=1, help="L, blocks (default: %(default)s)")
    p.add_argument("--heads", type=int, default=2, help="H, heads a block (default: %(default)s)")
    p.add_argument("--width", type=int, default=6, help="D, a multiple of H (default: %(default)s)")
    p.add_argument("--seed", type=int, default=0, help="of the start (default: %(default)s)")
    p.add_argument("--steps", type=int, default=STEPS,
                   help="of gradient descent before the last section (default: %(default)s)")
    p.add_argument("--untied", action="store_true",
                   help="cut the tie: head is a copy of E, a matrix of its own")
    p.add_argument("--numbers", action="store_true", help="digits in place of shades")
    options = p.parse_args(argv)
    check_least(p, options, layers=1, heads=1, width=1, seed=0, steps=0)
    if options.width % options.heads:
        p.error(f"--width: {options.width} given, expected a multiple of --heads = {options.heads}")
    return options


def main(argv=None):
    o = arguments(argv)
    with blas_threads(1):       # products this small are done before a second thread has woken up
        lesson = measure(o.text.split(), o.layers, o.heads, o.width, o.untied, o.seed,
                         steps=o.steps, colour=colours(sys.stdout), numbers=o.numbers)
        for lines in report(lesson):
            print("\n".join(lines), flush=True)
    return 0 if all(report.ok for report in lesson.reports) else 1


if __name__ == "__main__":
    run(main)
