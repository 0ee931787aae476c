"""One matrix E reads the input and writes the output. Watch its gradient being made, and check it.

    python demos/tied_gradients.py
    python demos/tied_gradients.py --steps 50 --text "a rose is a rose is a rose"
    python demos/tied_gradients.py --untied
    python demos/tied_gradients.py --steps 50 --html out/tied.html

A sentence goes through a small GPT. Shown are E, who uses its rows, what the input's use and the
output's use each add to its gradient, and two witnesses who know nothing of backpropagation.
"""
import argparse
import re
import sys
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from lib import film as film_page
from lib import matrices, page as html_page
from lib.charts import save
from lib.contributions import contributions_of, size_of
from lib.film import Film, watched
from lib.sentence import split
from lib.terminal import Panel, bold, colours, label, legend, paragraph, picture, room, run, table, width
from minigpt_np import GPT, GPTConfig, Parameters
from minigpt_np.gradcheck import complex_step, differences
from minigpt_np.layers import cross_entropy
from minigpt_np.parameters import count
from minigpt_np.training.parallel import blas_threads
from minigpt_np.training.progress import Progress

TEXT = "the dog saw the cat and the cat saw the bird fly"
ALSO = {"words": "fish", "characters": "z"}     # in the vocabulary, but not in the text
LEARNING_RATE = 0.1
LARGEST = 10_000_000        # parameters: this is about models small enough to look at
DRAWN = 100_000             # V D T at most in a page: what all positions put into all cells of dE


# ---- the numbers ---------------------------------------------------------------------------------

@dataclass
class Check:
    """One matrix, its gradient three ways, each (V, D) in float64."""
    name: str
    values: np.ndarray
    backward: np.ndarray
    differences: np.ndarray     # central differences, extrapolated
    error: np.ndarray           # expected of them at most
    complex_step: np.ndarray


@dataclass
class Lesson:
    """All that is shown: one sentence through one model, forwards and backwards."""
    tokens: list                # V texts, row by row of E
    ids: np.ndarray             # (T,) what is read
    targets: np.ndarray         # (T,) what is to be said: the token after it
    model: GPT
    grads: Parameters           # all of backward's
    losses: list                # before each step of training, and now
    film: Film                  # of the training; None unless asked for
    E: np.ndarray               # (V, D)
    h: np.ndarray               # (T, D) what the logits are products of, with head
    dx: np.ndarray              # (T, D) gradient of the rows that were looked up
    dlogits: np.ndarray         # (T, V)
    from_lookup: np.ndarray     # (V, D) one_hotᵀ dx: what E as the lookup adds to its gradient
    from_logits: np.ndarray     # (V, D) dlogitsᵀ h: what E as the head adds
    checks: list                # of Check: of E; untied, of E and of head

    @property
    def tied(self):
        return self.model.config.tie_embeddings

    @property
    def reads(self):
        """(V,) how often each row is read."""
        return np.bincount(self.ids, minlength=len(self.tokens))

    @property
    def total(self):
        """(V, D) the sum of the two contributions."""
        return self.from_lookup + self.from_logits

    @property
    def scale(self):
        """The largest number in any picture of a gradient: all are drawn on one scale."""
        return largest(self.from_lookup, self.from_logits, self.total, self.dx)


def measure(tokens, also=(), layers=1, heads=2, n_embd=6, seed=0, untied=False, steps=0,
            gap=None):
    """Run the model on the tokens, backwards too, and check what comes out: a Lesson.

    Untied, head is at first a copy of E, so that only what is done with the two differs.
    gap: record a film of the training, in which what the model writes has this between two tokens.
    Raises ValueError for fewer than two tokens, for sizes that GPTConfig refuses, for more than
    LARGEST parameters, and when training diverges.
    """
    if len(tokens) < 2:
        raise ValueError(f"tokens: {len(tokens)} given, expected at least 2: to read and to say")
    row = {token: v for v, token in enumerate(dict.fromkeys([*tokens, *also]))}
    text = np.array([[row[token] for token in tokens]])
    ids, targets = text[:, :-1], text[:, 1:]

    config = GPTConfig(vocab_size=len(row), block_size=ids.shape[1],
                       n_layer=layers, n_head=heads, n_embd=n_embd)
    if count(config) > LARGEST:
        raise ValueError(f"layers, n_embd: {layers} and {n_embd} given, "
                         f"{count(config):,} parameters, expected at most {LARGEST:,}")
    model = GPT(config, seed, dtype=np.float64)
    if untied:
        model = model.untied()
    film = None if gap is None else Film(steps, watched(np.bincount(text[0], minlength=len(row)), n_embd))
    names = list(row)

    def write():
        return gap.join(names[v] for v in model.generate(ids[:, :1], ids.shape[1])[0])

    losses = train(model, ids, targets, steps, film, write)
    if film:
        film.record(steps, model, ids, targets, write)

    _, loss, cache = model.forward(ids, targets)
    grads = model.backward(cache)

    from_lookup, from_logits = contributions_of(model, ids, targets)
    return Lesson(
        names, ids[0], targets[0], model, grads, [*losses, float(loss)], film, model.params.E,
        h=cache.output.h,
        dx=grads.P,         # x[t] = E[ids[t]] + P[t] in the one sequence there is: dP[t] is dx[t]
        dlogits=cross_entropy.backward(1.0, cache.loss),
        from_lookup=from_lookup, from_logits=from_logits,
        checks=[witnesses(model, name, grads, ids, targets) for name in ("E", "head")[:1 + untied]])


def train(model, ids, targets, steps, film, write):
    """Plain gradient descent on the one sentence, recorded if there is a film; the losses before each step."""
    losses, progress = [], Progress(steps, sys.stderr, patience=1)
    for step in range(steps):
        if film and film.due(step):
            film.record(step, model, ids, targets, write)
        _, loss, cache = model.forward(ids, targets)
        model.params.flat -= LEARNING_RATE * model.backward(cache).flat
        losses.append(float(loss))
        if film:
            film.count(step + 1, loss, ids, targets)
        progress.update(len(losses), f"loss {loss:.3f}")
        if not np.isfinite(model.params.flat).all():
            raise ValueError(f"steps: {steps} given, but after {len(losses)} "
                             "the weights are not finite")
    progress.clear()
    return losses


def witnesses(model, name, grads, ids, targets):
    """The gradient of `name`, "E" or "head", by moving each number and watching the loss."""
    twin = GPT(model.config, params=Parameters(model.config, np.complex128))
    twin.params.flat[...] = model.params.flat
    values, complex_values = model.params.arrays[name], twin.params.arrays[name]
    found = Check(name, values, grads.arrays[name], *(np.empty_like(values) for _ in range(3)))
    progress = Progress(len(values), sys.stderr, patience=1)
    for v in range(len(values)):
        found.differences[v], found.error[v] = differences(
            lambda: model.forward(ids, targets)[1], values[v])
        found.complex_step[v], _ = complex_step(
            lambda: twin.forward(ids, targets)[1], complex_values[v])
        progress.update(v + 1, f"rows of {name} checked")
    progress.clear()
    return found


def disagreement(a, b):
    """The largest |a - b|, and its index."""
    index = np.unravel_index(np.argmax(np.abs(a - b)), a.shape)
    return abs(a[index] - b[index]), index


def agrees(check):
    """Whether all of the gradient is as the witnesses say, to what their methods may lose.

    4096 eps of the largest number is more than the products and sums of a small model lose.
    """
    slack = 4096 * np.finfo(float).eps * max(np.max(np.abs(check.backward)), 1)
    return bool(np.all(np.abs(check.backward - check.differences) <= 2 * check.error + slack)
                and np.all(np.abs(check.backward - check.complex_step) <= slack))


# ---- the pictures --------------------------------------------------------------------------------

@dataclass
class Style:
    colour: bool = False
    numbers: bool = False


def report(lesson, style):
    """The lines of the whole lesson, none wider than the terminal."""
    parts = [opening, two_uses, who_uses, contributions, repeated, proof]
    lines = []
    for part in parts:
        lines += [*part(lesson, style), ""]
    return lines


def opening(lesson, style):
    c = lesson.model.config
    what = ("One matrix E, two uses, one gradient" if lesson.tied
            else "Two matrices, E and head, a gradient each")
    lines = [bold(what, style.colour), ""]
    lines += paragraph(
        f"A GPT reads the top line and at each position is to say the token below it, having seen "
        f"nothing further right. V = {c.vocab_size} tokens, D = {c.n_embd}, "
        f"{plural(c.n_layer, 'layer')}, {plural(c.n_head, 'head')}; "
        f"{lesson.model.params.flat.size:,} parameters, float64.")
    lines += ["", *sentence(lesson, style), ""]
    return lines + paragraph(trained(lesson))


def trained(lesson):
    first, last, steps = lesson.losses[0], lesson.losses[-1], len(lesson.losses) - 1
    if steps:
        return (f"After {plural(steps, 'step')} of gradient descent the loss is {last:.3f}; "
                f"it began at {first:.3f}.")
    V = len(lesson.tokens)
    return (f"It has learnt nothing yet: its loss is {last:.3f}; "
            f"a blind guess has log {V} = {np.log(V):.3f}.")


def sentence(lesson, style):
    """The tokens that are read, and below each the one to be said."""
    read = [label(lesson.tokens[v]) for v in lesson.ids]
    said = [label(lesson.tokens[v]) for v in lesson.targets]
    lines, first = [], 0
    while first < len(read):
        above, below, position, t = "reads   ", "next    ", "position", first
        while t < len(read):
            n = max(width(read[t]), width(said[t]), len(str(t))) + 2
            if width(above) + n > room():
                break
            position, above, below = (line + " " * (n - width(text)) + text for line, text in
                                      ((position, str(t)), (above, read[t]), (below, said[t])))
            t += 1
        lines += ([""] if first else []) + [position, above, below]
        first = t
    return lines


def two_uses(lesson, style):
    p, g, head = lesson.model.params, lesson.grads, "E" if lesson.tied else "head"
    lines = [heading(1, "E is used twice" if lesson.tied else "E reads, head writes", style), ""]
    lines += table(("Radford et al. 2018, (2)", "here", "shapes"),
                   ("h0 = U We + Wp", "x = E[ids] + P", "(T, V)(V, D) = (T, D)"),
                   ("P(u) = softmax(hn Weᵀ)", f"logits = h @ {head}.T", "(T, D)(D, V) = (T, V)"))
    lines += ["", *paragraph(
        "We is E: a row for each token. Wp is P: a row for each position. U has a row for each "
        "position, all 0 but for a 1 at the token read there, so U We picks rows of E. (With "
        "tokens as columns the same reads Eᵀu and writes E h.)"), ""]
    if not lesson.tied:
        began = "began as" if len(lesson.losses) > 1 else "is"
        lines += paragraph("The paper writes with We too; here the tie is cut. "
                           f"head {began} a copy of E.")
        lines += [""]
    return lines + table(("params.head is params.E", str(p.head is p.E)),
                         ("grads.head is grads.E", str(g.head is g.E)))


def who_uses(lesson, style):
    """E beside the two matrices that its gradient is made with, a row a token in all of them."""
    one_hot = np.zeros((len(lesson.ids), len(lesson.tokens)))
    one_hot[np.arange(len(lesson.ids)), lesson.ids] = 1
    positions = tuple(str(t) for t in range(len(lesson.ids)))
    panels = [
        Panel(("E", "(V, D)"), lesson.E),
        Panel(("", "read"), [f"{n}x" if n else "never" for n in lesson.reads]),
        Panel(("one_hotᵀ (V, T)", "1 where it is read"), one_hot.T, heads=positions),
        Panel(("dlogitsᵀ (V, T)", "p, or p - 1 if next"), lesson.dlogits.T, heads=positions),
    ]
    if not lesson.tied:
        panels.insert(1, Panel(("head", "(V, D)"), lesson.checks[1].values))
    lines = [heading(2, "Who uses which row", style), ""]
    lines += picture(labels(lesson), panels, style.colour, style.numbers) + [""]
    head = "E" if lesson.tied else "head"
    lines += table(("any product", "Y = X W", "dW = Xᵀ dY", ""),
                   ("reading", "x = one_hot E", "dE = one_hotᵀ dx", "the rows read"),
                   ("writing", f"logits = h {head}ᵀ", f"d{head} = dlogitsᵀ h", "every row"))
    return lines + ["", *paragraph(
        "Every row, because softmax gives every token some probability p, and at each position "
        "dlogits is p, less 1 for the token that comes next (over T, for the loss is a mean).")]


def contributions(lesson, style):
    """What each use adds, on one scale, so that the eye can add them up."""
    scale = lesson.scale
    lookup, logits, total = (f"norm {norm(array)}" for array in
                             (lesson.from_lookup, lesson.from_logits, lesson.total))
    if lesson.tied:
        lines = [heading(3, "Two contributions to one dE", style), ""]
        panels = [Panel(("from the lookup", "one_hotᵀ dx", lookup), lesson.from_lookup, scale),
                  Panel(("from the logits", "dlogitsᵀ h", logits), lesson.from_logits, scale, "+"),
                  Panel(("their sum", "dE", total), lesson.total, scale, "=")]
        where = "into the same array."
    else:
        lines = [heading(3, "One contribution to each", style), ""]
        panels = [Panel(("dE, from lookup", "one_hotᵀ dx", lookup), lesson.from_lookup, scale),
                  Panel(("dhead, from logits", "dlogitsᵀ h", logits), lesson.from_logits, scale)]
        where = "into another array."
    lines += picture(labels(lesson), panels, style.colour, style.numbers) + [""]
    lines += legend(scale, style.colour, style.numbers) + [""]
    lines += paragraph(
        "In model.py's backward, output.backward(..., g.head) adds what the logits have to say; "
        "then, behind all blocks, lookup.backward(..., g.E, g.P) what the lookup has, " + where)
    if not lesson.tied and len(lesson.losses) == 1:
        lines += paragraph("As head equals E here, the two add up to the dE of the tied model: "
                           "see without --untied.")
    never = [label(lesson.tokens[v]) for v in np.flatnonzero(lesson.reads == 0)]
    if never:
        lines += [""] + paragraph(
            f"Never read, so nothing from the lookup: {', '.join(never)}. "
            + ("All that these rows learn, they learn as outputs." if lesson.tied
               else "These rows of E learn nothing from this text; those of head do."))
    return lines


def repeated(lesson, style):
    """The sum over a repeated id, row by row, and what `dE[ids] += dx` makes of it."""
    v = int(np.argmax(lesson.reads))
    where = np.flatnonzero(lesson.ids == v)
    token = label(lesson.tokens[v], 8)
    lines = [heading(4, "A row that is read again is added to again", style), ""]
    if len(where) == 1:
        return lines + ["No token is read twice here. Try --text 'a rose is a rose is a rose'."]
    fancy = np.zeros_like(lesson.from_lookup)
    fancy[lesson.ids] += lesson.dx
    names = [f"dx[{t}]" for t in where] + [f"dE[{token}]", "dE[ids]+=dx"]
    signs = [" "] + ["+"] * (len(where) - 1) + ["=", " "]
    rows = np.vstack([lesson.dx[where], lesson.from_lookup[v], fancy[v]])
    names = [f"{sign} {name}" for sign, name in zip(signs, names)]
    notes = [f"{token} at position {t}" for t in where]
    notes += ["their sum: the lookup's row", "what that would give: the last one only"]
    scale = largest(rows)           # its own: after training these are far below the largest of all
    panels = [Panel((), rows, scale), Panel((), notes)]
    lines += picture(names, panels, style.colour, style.numbers) + [""]
    lines += legend(scale, style.colour, style.numbers) + [""]
    return lines + paragraph(
        "NumPy's dE[ids] += dx fetches all rows, adds, and writes them back: of a repeated id one "
        "addition survives. So layers/lookup.py first adds up the rows of each id.")


def proof(lesson, style):
    """The gradient of each matrix as backward has it, and as the witnesses do."""
    lines = [heading(5, "Is it right? Ask the loss", style), ""]
    every = sum(check.values.size for check in lesson.checks)
    names = " and ".join(check.name for check in lesson.checks)
    lines += paragraph(f"Move one number of {names}, run the forward pass, see how the loss moves. "
                       f"All {every:,}:")
    for check in lesson.checks:
        panels = [Panel((f"d{check.name}", "by backward"), check.backward, lesson.scale),
                  Panel(("by finite", "differences"), check.differences, lesson.scale),
                  Panel(("by complex", "step"), check.complex_step, lesson.scale)]
        if lesson.tied:
            panels.insert(0, Panel(("the sum", "of 3."), lesson.total, lesson.scale))
        lines += ["", *picture(labels(lesson), panels, style.colour, style.numbers)]
    for check in lesson.checks:
        lines += ["", *verdict(check, lesson)]
    right = all(agrees(check) for check in lesson.checks)
    return lines + ["", bold("They agree." if right else "THEY DO NOT AGREE.", style.colour)]


def verdict(check, lesson):
    """The largest disagreement of each with backward, its place, and the method's error there."""
    others = {"finite differences": check.differences, "complex step": check.complex_step}
    if lesson.tied:
        others = {"the sum of 3.": lesson.total} | others
    rows = [(f"backward's d{check.name} and", "differ by at most", "at", "error expected")]
    for name, other in others.items():
        difference, (v, d) = disagreement(check.backward, other)
        rows.append((name, f"{difference:.1e}" if difference else "0, to the bit",
                     f"[{label(lesson.tokens[v])}, {d}]" if difference else "",
                     f"{check.error[v, d]:.0e}" if other is check.differences else ""))
    return table(*rows)


def heading(n, text, style):
    return bold(f"{n}. {text}", style.colour)


def labels(lesson):
    return [label(token) for token in lesson.tokens]


def largest(*arrays):
    return float(max(np.max(np.abs(a)) for a in arrays)) or 1.0


def norm(array):
    """The root of the sum of squares, as text."""
    return f"{size_of(array):.2g}"


def plural(n, thing):
    return f"{n} {thing}" + "s" * (n != 1)


# ---- the page ------------------------------------------------------------------------------------

def page(lesson):
    """The same as one HTML page; to point at a cell of dE lists what each position put into it."""
    c, rows, scale = lesson.model.config, labels(lesson), lesson.scale
    head = "E" if lesson.tied else "head"
    used = [f"{n}x {token}" for token, n in zip(rows, lesson.reads)]
    said = [rows[v] for v in lesson.targets]
    parts = [
        f"<p>Reads “{escape(' '.join(rows[v] for v in lesson.ids))}” and at each position is to "
        f"say the token that comes next. "
        f"V = {c.vocab_size}, D = {c.n_embd}, L = {c.n_layer}, H = {c.n_head}. "
        f"{escape(trained(lesson))}</p>",
        "<h2>Who uses which row</h2>",
        matrices.beside(
            matrices.matrix("E", lesson.E, used, note="how often each row is read"),
            matrices.matrix("dlogitsᵀ", lesson.dlogits.T, rows, title="dlogitsᵀ (V, T)",
                             note="p, or p − 1 where it comes next",
                             columns=[f"{t} {token}" for t, token in enumerate(said)]
                             if len(said) <= 8 else ())),
        f"<h2>{'Two contributions to one dE' if lesson.tied else 'One contribution to each'}</h2>",
        f"<p>The logits add dlogitsᵀ h to d{head}: something for every row. The lookup adds "
        "one_hotᵀ dx to dE: only to rows that were read, and as often. All on one scale; hatched "
        "is negative.</p>",
        matrices.beside(*drawn_contributions(lesson, rows, scale)),
        "<h2>Is it right? Ask the loss</h2>"]
    for check in lesson.checks:
        parts.append(matrices.beside(*(
            matrices.matrix(title, values, rows, scale, note=note) for title, values, note in (
                (f"d{check.name}", check.backward, "by backward"),
                ("finite differences", check.differences, "moves each number, watches the loss"),
                ("complex step", check.complex_step, "the same, to machine precision")))))
        parts.append("<pre>" + escape("\n".join(verdict(check, lesson))) + "</pre>")
    if len(lesson.losses) > 1:
        steps, (lookup, logits) = np.arange(len(lesson.losses)), zip(*lesson.norms)
        parts += ["<h2>Training</h2>", matrices.charts(
            Lines("The loss", "steps", "loss", {"loss": (steps, lesson.losses)}),
            Lines("The two contributions", "steps", "norm",
                  {"from the lookup": (steps, lookup), "from the logits": (steps, logits)}))]
    title = "One matrix E, two uses, one gradient" if lesson.tied else "Two matrices, E and head"
    return matrices.document(title, parts)


def drawn_contributions(lesson, rows, scale):
    def logits(v, d):
        return [f"position {t}, {rows[lesson.ids[t]]} → {rows[lesson.targets[t]]}: "
                f"{lesson.dlogits[t, v] * lesson.h[t, d]:+.3g}" for t in range(len(lesson.ids))]

    def lookup(v, d):
        return [f"position {t} reads {rows[v]}: {lesson.dx[t, d]:+.3g}"
                for t in np.flatnonzero(lesson.ids == v)] or ["never read"]

    def both(v, d):
        return ["from the logits:", *logits(v, d), "from the lookup:", *lookup(v, d)]

    drawn = [("from the logits", lesson.from_logits, "logits", "dlogitsᵀ h", logits),
             ("from the lookup", lesson.from_lookup, "lookup", "+ one_hotᵀ dx", lookup)]
    if lesson.tied:
        drawn.append(("dE", lesson.total, "sum", "= their sum", both))
    return [matrices.matrix(name, values, rows, scale, use, note=f"{note}, norm {norm(values)}",
                             says=says)
            for name, values, use, note, says in drawn]


# ---- the program ---------------------------------------------------------------------------------

def arguments(argv=None):
    p = argparse.ArgumentParser(
        description="One sentence through a small GPT: what reading and what writing each add "
                    "to the gradient of their one matrix E, and the sum checked number by number.")
    p.add_argument("--text", default=TEXT, help="what is read and said (default: %(default)s)")
    p.add_argument("--tokens", choices=("words", "characters"), default="words",
                   help="default: %(default)s")
    p.add_argument("--also", help="tokens of the vocabulary that the text need not hold "
                                  "(default: fish, or for characters z)")
    p.add_argument("--layers", type=size, default=1, help="L, blocks (default: %(default)s)")
    p.add_argument("--heads", type=size, default=2, help="H, heads a block (default: %(default)s)")
    p.add_argument("--width", type=size, default=6,
                   help="D, a multiple of H (default: %(default)s)")
    p.add_argument("--seed", type=whole, default=8, help="of the weights (default: %(default)s)")
    p.add_argument("--steps", type=whole, default=0,
                   help="steps of gradient descent that go before (default: %(default)s)")
    p.add_argument("--untied", action="store_true",
                   help="cut the tie: head is a copy of E, a matrix of its own")
    p.add_argument("--numbers", action="store_true", help="numbers in place of shades")
    p.add_argument("--html", metavar="FILE", help="write it as a page, too")
    options = p.parse_args(argv)
    also = ALSO[options.tokens] if options.also is None else options.also
    options.also = split(also, options.tokens)
    options.words = split(options.text, options.tokens)
    if len(options.words) < 2:
        p.error(f"argument --text: {plural(len(options.words), 'token')} given, "
                "expected at least 2: to read and to say")
    if options.width % options.heads:
        p.error(f"argument --width: {options.width} given, "
                f"expected a multiple of --heads = {options.heads}")
    V, T = len({*options.words, *options.also}), len(options.words) - 1
    if options.html and V * options.width * T > DRAWN:
        p.error(f"argument --html: V D T = {V} x {options.width} x {T} numbers to draw given, "
                f"expected at most {DRAWN:,}")
    return options


def whole(text, least=0, most=10 ** 9):
    """argparse's type of a whole number."""
    if not re.fullmatch("[0-9]{1,10}", text) or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(
            f"{text!r} given, expected a whole number, {least} to {most}")
    return int(text)


def size(text):
    return whole(text, 1, 1024)


def main(argv=None):
    o = arguments(argv)
    if o.html:
        Path(o.html).parent.mkdir(parents=True, exist_ok=True)
    with blas_threads(1):       # products this small are done before a second thread has woken up
        lesson = measure(o.words, o.also, o.layers, o.heads, o.width, o.seed, o.untied, o.steps,
                         follow=bool(o.html))
    style = Style(colours(sys.stdout), o.numbers)
    print("\n".join(report(lesson, style)))
    if o.html:
        save(o.html, page(lesson))
    return 0 if all(agrees(check) for check in lesson.checks) else 1


if __name__ == "__main__":
    run(main)
