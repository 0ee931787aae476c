"""One matrix E is looked up for the input and multiplied with for the output. Watch its gradient being made, and
check it.

    python demos/tied_gradients.py
    python demos/tied_gradients.py --steps 50 --text "a rose is a rose is a rose"
    python demos/tied_gradients.py --untied
    python demos/tied_gradients.py --steps 50 --html out/tied.html

A sentence goes through a small GPT. Shown are E, who uses its rows, what the lookup and the logits each add to
its gradient, and two numerical gradients that know nothing of backpropagation. The page has the film of the training, too.
"""
import argparse
import re
import sys
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from lib import film, matrices, page, statistics
from lib.charts import save
from lib.contributions import contributions_of
from lib.sentence import split
from lib.terminal import Panel, bold, colours, label, legend, paragraph, picture, room, run, table, width
from minigpt_np import GPT, GPTConfig, Parameters
from minigpt_np.gradcheck import complex_step, differences
from minigpt_np.layers import cross_entropy
from minigpt_np.parameters import count
from minigpt_np.training.blas import blas_threads
from minigpt_np.training.progress import Progress

TEXT = "the dog saw the cat and the cat saw the bird fly"
EXTRA_TOKENS = {"words": "fish", "characters": "z"}     # in the vocabulary, but not in the text
GAPS = {"words": " ", "characters": ""}         # between two tokens
LEARNING_RATE = 0.05        # at twice this the loss of the sentence leaps up now and then
LARGEST = 10_000_000        # parameters: this is about models small enough to look at
DRAWN = 1_500               # cells of a matrix, at most, in a page


# ---- the numbers ---------------------------------------------------------------------------------

@dataclass
class Check:
    """One matrix, its gradient three ways, each (V, D) in float64."""
    name: str
    values: np.ndarray
    backward: np.ndarray
    differences: np.ndarray     # central differences, extrapolated
    error: np.ndarray           # the most expected of them
    complex_step: np.ndarray


@dataclass
class Lesson:
    """All that is shown: one sentence through one model, forwards and backwards."""
    tokens: list                # V texts, row by row of E
    ids: np.ndarray             # (T,) what is looked up
    targets: np.ndarray         # (T,) what is to be predicted: the token after it
    model: GPT
    grads: Parameters           # all of backward's
    losses: list                # before each step of training, and now
    film: film.Film             # of the training; None unless asked for
    gap: str                    # between two tokens of a text
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
    def head(self):
        """The name of what the logits are products with."""
        return "E" if self.tied else "head"

    @property
    def lookups(self):
        """(V,) how often each row is looked up."""
        return np.bincount(self.ids, minlength=len(self.tokens))

    @property
    def one_hot(self):
        """(T, V)"""
        return np.eye(len(self.tokens))[self.ids]

    @property
    def total(self):
        """(V, D) the sum of the two contributions."""
        return self.from_lookup + self.from_logits

    @property
    def scale(self):
        """The largest number in any picture of a gradient: all are drawn on one scale."""
        return largest(self.from_lookup, self.from_logits, self.total, self.dx)


def measure(tokens, also=(), layers=1, heads=2, n_embd=6, seed=0, untied=False, steps=0,
            gap=" ", filmed=False):
    """Run the model on the tokens, backwards too, and check what comes out: a Lesson.

    Untied, head is at first a copy of E, so that only what is done with the two differs.
    gap: what stands between two tokens of a text. filmed: record a film of the training.
    Raises ValueError for fewer than two tokens, for sizes that GPTConfig refuses, for more than
    LARGEST parameters, and when training diverges.
    """
    if len(tokens) < 2:
        raise ValueError(f"tokens: {len(tokens)} given, expected at least 2: to look up and to predict")
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
    names, frames = list(row), None
    if filmed:
        frames = film.Film(steps, film.watched(np.bincount(text[0], minlength=len(row)), n_embd))

    def write():
        return gap.join(names[v] for v in model.generate(ids[:, :1], ids.shape[1])[0])

    losses = train(model, ids, targets, steps, frames, write)
    if filmed:
        frames.record(steps, model, ids, targets, write)

    _, loss, cache = model.forward(ids, targets)
    grads = model.backward(cache)

    from_lookup, from_logits = contributions_of(model, ids, targets)
    return Lesson(
        names, ids[0], targets[0], model, grads, [*losses, float(loss)], frames, gap, model.params.E,
        h=cache.logits.h,
        dx=grads.P,         # x[t] = E[ids[t]] + P[t] in the one sequence there is: dP[t] is dx[t]
        dlogits=cross_entropy.backward(1.0, cache.loss),
        from_lookup=from_lookup, from_logits=from_logits,
        checks=[numerical_gradients(model, name, grads, ids, targets) for name in ("E", "head")[:1 + untied]])


def train(model, ids, targets, steps, frames, write):
    """Plain gradient descent on the one sentence, recorded if there is a film (frames); the losses before each step."""
    losses, progress = [], Progress(steps, sys.stderr, patience=1)
    for step in range(steps):
        if frames and frames.due(step):
            frames.record(step, model, ids, targets, write)
        _, loss, cache = model.forward(ids, targets)
        model.params.flat -= LEARNING_RATE * model.backward(cache).flat
        losses.append(float(loss))
        if frames:
            frames.count(step + 1, loss, ids, targets)
        progress.update(len(losses), f"loss {loss:.3f}")
        if not np.isfinite(model.params.flat).all():
            raise ValueError(f"steps: {steps} given, but after {len(losses)} "
                             "the weights are not finite")
    progress.clear()
    return losses


def numerical_gradients(model, name, grads, ids, targets):
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
    """Whether all of the gradient is as the numerical gradients say, to what their methods may lose.

    4096 eps of the largest number is more than the products and sums of a small model lose.
    """
    slack = 4096 * np.finfo(float).eps * max(np.max(np.abs(check.backward)), 1)
    return bool(np.all(np.abs(check.backward - check.differences) <= 2 * check.error + slack)
                and np.all(np.abs(check.backward - check.complex_step) <= slack))


# ---- what it says, in the terminal and on the page ---------------------------------------------------

def title(lesson):
    return ("One matrix E, two uses, one gradient" if lesson.tied
            else "Two matrices, E and head, a gradient each")


LEAD = {
    True: "A GPT looks its tokens up in E at the bottom, and multiplies with the same E at the top. On the way back "
          "each use has something to add to E's gradient, and both are added to one array: here is every number of it.",
    False: "Here the tie is cut: a GPT looks its tokens up in E at the bottom, and multiplies with head, a matrix of "
           "its own, at the top. Each gets the contribution of its use alone: here is every number of it.",
}


def task(lesson):
    c = lesson.model.config
    return ("A GPT looks up the tokens of the top line, and at each position has to predict the token below it "
            f"without seeing any further right. V = {c.vocab_size} tokens, T = {len(lesson.ids)} positions, "
            f"D = {c.n_embd}, {plural(c.n_layer, 'layer')}, {plural(c.n_head, 'head')}; "
            f"{lesson.model.params.flat.size:,} parameters, float64.")


def trained(lesson):
    first, last, steps = lesson.losses[0], lesson.losses[-1], len(lesson.losses) - 1
    if steps:
        return (f"After {plural(steps, 'step')} of gradient descent the loss is {last:.3f}; "
                f"it began at {first:.3f}.")
    V = len(lesson.tokens)
    return (f"It has learnt nothing yet: its loss is {last:.3f}; "
            f"a blind guess costs log {V} = {np.log(V):.3f}.")


def headings(lesson):
    """Of the five sections."""
    return (["E is used twice", "Who uses which row", "Two contributions to one dE"] if lesson.tied
            else ["E is looked up, head predicts", "Who uses which row", "One contribution to each"]
            ) + ["A row that is looked up again is added to again", "Is it right? Ask the loss"]


def equations(lesson):
    return (("Radford et al. 2018, (2)", "here", "shapes"),
            ("h0 = U We + Wp", "x = E[ids] + P", "(T, V)(V, D) = (T, D)"),
            ("P(u) = softmax(hn Weᵀ)", f"logits = h @ {lesson.head}.T", "(T, D)(D, V) = (T, V)"))


WHAT_WE_IS = ("We is E: a row for each token. Wp is P: a row for each position. U has a row for each position, "
              "all 0 but for a 1 at the token there, so U We looks up rows of E. (With tokens as columns the same "
              "is Eᵀu for the lookup and E h for the logits.)")


def tie(lesson):
    """What of E and head is the same array, and a word on that."""
    p, g = lesson.model.params, lesson.grads
    same = ("params.head is params.E", str(p.head is p.E)), ("grads.head is grads.E", str(g.head is g.E))
    if lesson.tied:
        return same, "One array under two names, and one gradient: whatever is added to grads.head is in grads.E."
    began = "began as" if len(lesson.losses) > 1 else "is"
    return same, f"The paper predicts with We too; here the tie is cut. head {began} a copy of E."


def products(lesson):
    return (("any product", "Y = X W", "dW = Xᵀ dY", ""),
            ("the lookup", "x = one_hot E", "dE = one_hotᵀ dx", "the rows looked up"),
            ("the logits", f"logits = h {lesson.head}ᵀ", f"d{lesson.head} = dlogitsᵀ h", "every row"))


EVERY_ROW = ("Every row, because softmax gives every token some probability p: dlogits = (p - one_hot) / T, where the "
             "one_hot has its 1 at the token to predict, and 1/T is there because the loss is a mean over T positions.")


def where_added(lesson):
    text = ("In model.py's backward, layers.logits.backward(..., grads.head) accumulates what the logits add; then, "
            "after all blocks, layers.lookup.backward(..., grads.E, grads.P) what the lookup adds, into "
            f"{'the same' if lesson.tied else 'another'} array.")
    if not lesson.tied and len(lesson.losses) == 1:
        text += " As head equals E here, the two add up to the dE of the tied model: see without --untied."
    return text


def never(lesson):
    """On rows that were not looked up; None if all were."""
    rows = [label(lesson.tokens[v]) for v in np.flatnonzero(lesson.lookups == 0)]
    if not rows:
        return None
    return f"Never looked up, so nothing from the lookup: {', '.join(rows)}. " + (
        "All that these rows learn, they learn from being predicted, or not." if lesson.tied
        else "These rows of E learn nothing from this text; those of head do.")


@dataclass
class Repeated:
    """The row that is looked up most often: what is added to it, and what `dE[ids] += dx` would make of it."""
    token: str
    positions: np.ndarray   # (n,)
    rows: np.ndarray        # (n + 2, D): the dx, their sum, and the last of them alone

    @property
    def names(self):
        return ([f"{sign} dx[{t}]" for sign, t in zip(" " + "+" * len(self.positions), self.positions)]
                + [f"= dE[{self.token}]", "  dE[ids]+=dx"])

    @property
    def notes(self):
        return ([f"{self.token} at position {t}" for t in self.positions]
                + ["their sum: the lookup's row", "what that would give: the last one only"])


def repeated(lesson):
    """Repeated, or None if no token is looked up twice."""
    v = int(np.argmax(lesson.lookups))
    positions = np.flatnonzero(lesson.ids == v)
    if len(positions) == 1:
        return None
    fancy = np.zeros_like(lesson.from_lookup)
    fancy[lesson.ids] += lesson.dx
    return Repeated(label(lesson.tokens[v], 8), positions,
                    np.vstack([lesson.dx[positions], lesson.from_lookup[v], fancy[v]]))


NOT_TWICE = "No token is looked up twice here. Try --text 'a rose is a rose is a rose'."
WHY_SUMS = ("NumPy's dE[ids] += dx fetches all rows, adds, and puts them back: of a repeated id one addition "
            "survives. So layers/lookup.py first adds up the rows of each id.")


def how_checked(lesson):
    names = " and ".join(check.name for check in lesson.checks)
    every = sum(check.values.size for check in lesson.checks)
    return f"Move one number of {names}, run the forward pass, see how the loss moves. All {every:,}:"


def verdict(check, lesson):
    """A table: the largest disagreement of each with backward, its place, and the method's error there."""
    others = {"finite differences": check.differences, "complex step": check.complex_step}
    if lesson.tied:
        others = {"the sum of 3.": lesson.total} | others
    rows = [(f"backward's d{check.name} and", "differ by at most", "at", "error expected")]
    for name, other in others.items():
        difference, (v, d) = disagreement(check.backward, other)
        rows.append((name, f"{difference:.1e}" if difference else "0, bit for bit",
                     f"[{label(lesson.tokens[v])}, {d}]" if difference else "",
                     f"{check.error[v, d]:.0e}" if other is check.differences else ""))
    return rows


def conclusion(lesson):
    return "They agree." if all(map(agrees, lesson.checks)) else "THEY DO NOT AGREE."


# ---- the terminal --------------------------------------------------------------------------------

@dataclass
class Style:
    colour: bool = False
    numbers: bool = False


def report(lesson, style):
    """The lines of the whole lesson, none wider than the terminal."""
    lines = [*headline(title(lesson), style), *paragraph(task(lesson)), "", *sentence(lesson), "",
             *paragraph(trained(lesson)), ""]
    parts = show_uses, show_rows, show_contributions, show_repeated, show_proof
    for n, (heading, part) in enumerate(zip(headings(lesson), parts), 1):
        lines += [*headline(f"{n}. {heading}", style), *part(lesson, style), ""]
    return lines


def headline(text, style):
    return [*(bold(line, style.colour) for line in paragraph(text)), ""]


def sentence(lesson):
    """The tokens that are looked up, and below each the one to predict."""
    used, following = labels(lesson, lesson.ids), labels(lesson, lesson.targets)
    lines, first = [], 0
    while first < len(used):
        above, below, position, t = "looked up", "predict  ", "position ", first
        while t < len(used):
            n = max(width(used[t]), width(following[t]), len(str(t))) + 2
            if width(above) + n > room():
                break
            position, above, below = (line + " " * (n - width(text)) + text for line, text in
                                      ((position, str(t)), (above, used[t]), (below, following[t])))
            t += 1
        lines += ([""] if first else []) + [position, above, below]
        first = t
    return lines


def show_uses(lesson, style):
    same, about = tie(lesson)
    return [*table(*equations(lesson)), "", *paragraph(WHAT_WE_IS), "", *table(*same), "", *paragraph(about)]


def show_rows(lesson, style):
    """E beside the two matrices that its gradient is made with, a row a token in all of them."""
    positions = tuple(str(t) for t in range(len(lesson.ids)))
    panels = [
        Panel(("E", "(V, D)"), lesson.E),
        Panel(("", "looked up"), [f"{n}x" if n else "never" for n in lesson.lookups]),
        Panel(("one_hotᵀ (V, T)", "1 where looked up"), lesson.one_hot.T, heads=positions),
        Panel(("dlogitsᵀ (V, T)", "(p - one_hot)ᵀ/T"), lesson.dlogits.T, heads=positions),
    ]
    if not lesson.tied:
        panels.insert(1, Panel(("head", "(V, D)"), lesson.checks[1].values))
    return [*picture(labels(lesson), panels, style.colour, style.numbers), "", *table(*products(lesson)), "",
            *paragraph(EVERY_ROW)]


def show_contributions(lesson, style):
    """What each use adds, on one scale, so that the eye can add them up."""
    lookup, logits, total = (f"norm {norm(array)}" for array in
                             (lesson.from_lookup, lesson.from_logits, lesson.total))
    if lesson.tied:
        panels = [Panel(("from the lookup", "one_hotᵀ dx", lookup), lesson.from_lookup, lesson.scale, use="lookup"),
                  Panel(("from the logits", "dlogitsᵀ h", logits), lesson.from_logits, lesson.scale, "+", use="logits"),
                  Panel(("their sum", "dE", total), lesson.total, lesson.scale, "=", use="sum")]
    else:
        panels = [Panel(("dE, from lookup", "one_hotᵀ dx", lookup), lesson.from_lookup, lesson.scale, use="lookup"),
                  Panel(("dhead, from logits", "dlogitsᵀ h", logits), lesson.from_logits, lesson.scale, use="logits")]
    lines = picture(labels(lesson), panels, style.colour, style.numbers) + [""]
    lines += below(lesson.scale, style) + paragraph(where_added(lesson))
    return lines + (["", *paragraph(never(lesson))] if never(lesson) else [])


def show_repeated(lesson, style):
    again = repeated(lesson)
    if again is None:
        return paragraph(NOT_TWICE)
    scale = largest(again.rows)     # its own: after training these are far below the largest of all
    panels = [Panel((), again.rows, scale), Panel((), again.notes)]
    return [*picture(again.names, panels, style.colour, style.numbers), "", *below(scale, style),
            *paragraph(WHY_SUMS)]


def show_proof(lesson, style):
    """The gradient of each matrix as backward has it, and as the numerical methods find it."""
    lines = paragraph(how_checked(lesson))
    for check in lesson.checks:
        panels = [Panel((f"d{check.name}", "by backward"), check.backward, lesson.scale),
                  Panel(("by finite", "differences"), check.differences, lesson.scale),
                  Panel(("by complex", "step"), check.complex_step, lesson.scale)]
        if lesson.tied:
            panels.insert(0, Panel(("the sum", "of 3."), lesson.total, lesson.scale))
        lines += ["", *picture(labels(lesson), panels, style.colour, style.numbers)]
    for check in lesson.checks:
        lines += ["", *table(*verdict(check, lesson))]
    return lines + ["", bold(conclusion(lesson), style.colour)]


def below(scale, style):
    """What a picture's shades mean, and an empty line; nothing below numbers."""
    return [line for text in legend(scale, style.colour, style.numbers) for line in (text, "")]


def labels(lesson, ids=None):
    return [label(lesson.tokens[v]) for v in (range(len(lesson.tokens)) if ids is None else ids)]


def largest(*arrays):
    return float(max(np.max(np.abs(a)) for a in arrays)) or 1.0


def norm(array):
    """Its norm as text."""
    return f"{statistics.norm(array):#.2g}"


def plural(n, thing):
    return f"{n} {thing}" + "s" * (n != 1)


# ---- the page ------------------------------------------------------------------------------------

def html(lesson):
    """The same as one HTML page, and below it the film of the training, if there was any."""
    trains = len(lesson.losses) > 1
    parts = [f'<p class="lead">{escape(LEAD[lesson.tied])}</p>', said(f"{task(lesson)} {trained(lesson)}"),
             html_sentence(lesson),
             '<p><a href="#film">Watch it train: the film</a> is below.</p>' if trains else ""]
    sections = html_uses, html_rows, html_contributions, html_repeated, html_proof
    for n, (heading, section) in enumerate(zip(headings(lesson), sections), 1):
        parts += [f"<h2>{n}. {escape(heading)}</h2>", *section(lesson)]
    parts.append(page.data("lesson-data", {
        "names": labels(lesson), "ids": lesson.ids.tolist(), "targets": lesson.targets.tolist(), "head": lesson.head,
        "dlogits": film.rounded(lesson.dlogits), "h": film.rounded(lesson.h), "dx": film.rounded(lesson.dx)}))
    styles, scripts = ["cells.css", "page.css", "lesson.css"], ["cells.js", "lesson.js"]
    if trains:
        p = np.bincount(lesson.targets) / len(lesson.targets)
        p = p[p > 0]
        shown = film.scenes(lesson.film, lambda v: lesson.tokens[v], len(lesson.tokens), lesson.gap, references=[
            ("a blind guess", np.log(len(lesson.tokens))), (film.ONLY_HOW_COMMON, -p @ np.log(p))])
        parts += ['<h2 id="film">The film of the training</h2>', film.section(shown)]
        styles, scripts = [*styles, "film.css"], [*scripts, "film.js"]
    return page.document(title(lesson), "\n".join(parts), styles, scripts)


def html_sentence(lesson):
    lines = (("position", map(str, range(len(lesson.ids)))), ("looked up", labels(lesson, lesson.ids)),
             ("predict", labels(lesson, lesson.targets)))
    rows = "".join(f'<tr><th scope="row">{name}</th>' + "".join(f"<td>{escape(text)}</td>" for text in texts) + "</tr>"
                   for name, texts in lines)
    return ('<div class="wide" tabindex="0" role="region" aria-label="The sentence">'
            f'<table class="facts sentence">{rows}</table></div>')


def html_uses(lesson):
    same, about = tie(lesson)
    return [facts(equations(lesson)), said(WHAT_WE_IS), facts(same, heads=False), said(about)]


def html_rows(lesson):
    rows, positions = labels(lesson), [str(t) for t in range(len(lesson.ids))]
    used = [f"{row}  {n}×" if n else f"{row}  never" for row, n in zip(rows, lesson.lookups)]
    drawn = [matrices.matrix("E", lesson.E, used, title="E (V, D)", note="and how often each row is looked up")]
    if not lesson.tied:
        drawn.append(matrices.matrix("head", lesson.checks[1].values, rows, title="head (V, D)"))
    drawn += [matrices.matrix("one_hotᵀ", lesson.one_hot.T, rows, use="lookup", title="one_hotᵀ (V, T)",
                              note="1 where it is looked up", columns=positions),
              matrices.matrix("dlogitsᵀ", lesson.dlogits.T, rows, use="logits", title="dlogitsᵀ (V, T)",
                              note="(p − one_hot)ᵀ/T", columns=positions)]
    return [figures(*drawn), facts(products(lesson)), said(EVERY_ROW)]


def html_contributions(lesson):
    drawn = [("from the logits" if lesson.tied else "dhead, from the logits", lesson.from_logits, "logits",
              f"dlogitsᵀ h, norm {norm(lesson.from_logits)}"),
             ("+ from the lookup" if lesson.tied else "dE, from the lookup", lesson.from_lookup, "lookup",
              f"one_hotᵀ dx, norm {norm(lesson.from_lookup)}")]
    if lesson.tied:
        drawn.append(("= dE", lesson.total, "sum", f"their sum, norm {norm(lesson.total)}"))
    names = {"logits": "logits", "lookup": "lookup", "sum": "dE"}
    return [said("Point at a number, tap it, or walk with the arrow keys: below is what each position put into it. "
                 "All on one scale; hatched is negative, a dot is exactly 0."),
            '<div class="interactive"><div class="figures contributions">',
            *(matrices.matrix(names[use], values, labels(lesson), lesson.scale, use, heading, note)
              for heading, values, use, note in drawn),
            '</div><div class="shares" aria-live="polite" tabindex="0" role="group" '
            'aria-label="What each position put into the number"></div></div>',
            said(where_added(lesson)), said(never(lesson) or "")]


def html_repeated(lesson):
    again = repeated(lesson)
    if again is None:
        return [said(NOT_TWICE)]
    rows = [f"{name.strip()}: {note}" for name, note in zip(again.names, again.notes)]
    return [figures(matrices.matrix("row", again.rows, rows, use="lookup",
                                    title=f"What is added to row “{again.token}” of dE"), kind="again"), said(WHY_SUMS)]


def html_proof(lesson):
    rows, scale, parts = labels(lesson), lesson.scale, [said(how_checked(lesson))]
    for check in lesson.checks:
        drawn = [(f"d{check.name}", check.backward, "by backward"),
                 ("finite differences", check.differences, "(loss(E + ε) − loss(E − ε)) / 2ε, extrapolated"),
                 ("complex step", check.complex_step, "Im loss(E + iε) / ε, to machine precision")]
        if lesson.tied:
            drawn.insert(0, ("the sum of 3.", lesson.total, "both contributions"))
        parts += [figures(*(matrices.matrix(name, values, rows, scale, "sum" if lesson.tied else "", note=note)
                            for name, values, note in drawn)), facts(verdict(check, lesson))]
    return [*parts, f"<p><strong>{conclusion(lesson)}</strong></p>"]


def said(text):
    return f"<p>{escape(text)}</p>" if text else ""


def facts(rows, heads=True):
    """A table; its first row heads the columns."""
    lines = [[f'<th scope="col">{escape(text)}</th>' if heads and not n and text else f"<td>{escape(text)}</td>"
              for text in row] for n, row in enumerate(rows)]
    lines = ["<tr>" + "".join(cells) + "</tr>" for cells in lines]
    top = f"<thead>{lines.pop(0)}</thead>" if heads else ""
    return ('<div class="wide" tabindex="0" role="group" aria-label="A table">'
            f'<table class="facts math">{top}<tbody>{"".join(lines)}</tbody></table></div>')


def figures(*drawn, kind=""):
    """Matrices side by side, and a line about the cell that is pointed at."""
    return (f'<div class="figures {kind}">{"".join(drawn)}</div>'
            '<p class="note cellsays" aria-live="polite"></p>')


# ---- the program ---------------------------------------------------------------------------------

def arguments(argv=None):
    p = argparse.ArgumentParser(
        description="One sentence through a small GPT: what the lookup and what the logits each add "
                    "to the gradient of their one matrix E, and the sum checked number by number.")
    p.add_argument("--text", default=TEXT, help="what is looked up and predicted (default: %(default)s)")
    p.add_argument("--tokens", choices=("words", "characters"), default="words",
                   help="default: %(default)s")
    p.add_argument("--also", help="more tokens of the vocabulary, in the text or not "
                                  "(default: fish, or for characters z)")
    p.add_argument("--layers", type=size, default=1, help="L, blocks (default: %(default)s)")
    p.add_argument("--heads", type=size, default=2, help="H, heads a block (default: %(default)s)")
    p.add_argument("--width", type=size, default=6,
                   help="D, a multiple of H (default: %(default)s)")
    p.add_argument("--seed", type=whole, default=8, help="of the weights (default: %(default)s)")
    p.add_argument("--steps", type=whole, default=0,
                   help="steps of gradient descent to take first (default: %(default)s)")
    p.add_argument("--untied", action="store_true",
                   help="cut the tie: head is a copy of E, a matrix of its own")
    p.add_argument("--numbers", action="store_true", help="numbers in place of shades")
    p.add_argument("--html", metavar="FILE", help="write it as a page, too")
    options = p.parse_args(argv)
    also = EXTRA_TOKENS[options.tokens] if options.also is None else options.also
    options.also = split(also, options.tokens)
    options.words = split(options.text, options.tokens)
    if len(options.words) < 2:
        p.error(f"argument --text: {plural(len(options.words), 'token')} given, "
                "expected at least 2: to look up and to predict")
    if options.width % options.heads:
        p.error(f"argument --width: {options.width} given, "
                f"expected a multiple of --heads = {options.heads}")
    cells = len({*options.words, *options.also}) * max(len(options.words) - 1, options.width)
    if options.html and cells > DRAWN:
        p.error(f"argument --html: matrices of {cells:,} cells to draw given, expected at most {DRAWN:,}: "
                "a shorter text, or a smaller --width")
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
                         gap=GAPS[o.tokens], filmed=bool(o.html and o.steps))
    style = Style(colours(sys.stdout), o.numbers)
    print("\n".join(report(lesson, style)))
    if o.html:
        save(o.html, html(lesson))
        print(f"As a page: {o.html}")
    return 0 if all(agrees(check) for check in lesson.checks) else 1


if __name__ == "__main__":
    run(main)
