"""The film of training: E, the two contributions to its gradient and what the model writes, at
logarithmically spaced steps of a run.

While the model trains, a Film records frames, plain data that a saved run can hold. Afterwards `scenes`
turns them into what the page shows, and `section` into its HTML; pages/film.js only draws.
"""
import base64
from dataclasses import dataclass, field
from functools import cached_property
from html import escape

import numpy as np

from lib import page
from lib.contributions import both_uses
from lib.statistics import cosine, norm
from lib.terminal import label
from minigpt_np.layers.softmax import softmax

FRAMES = 48             # of a film, at most
LOSSES = 300            # points of its loss curve, at most
ROWS = 32               # of E that are watched, at most: those of the commonest tokens
NUMBERS = 1 << 14       # that these rows have together, at most
CELLS = 16              # columns of E that are drawn, at most
PASSAGES = 4            # sequences of the batch that are run once more for a frame, at most
POSITIONS = 256         # of these that are shown as text, at most
NEAREST = 3
ONLY_HOW_COMMON = "knowing only how common each token is"

STYLES, SCRIPTS = ("cells.css", "page.css", "film.css"), ("cells.js", "film.js")


def marks(steps, most):
    """Whole numbers from 0 to `steps`, `most` of them at most, each about the same factor after the last."""
    return sorted({0, *np.geomspace(1, steps, most - 1).round().astype(int).tolist()}) if steps else [0]


def watched(counts, width):
    """The ids of the tokens with the largest counts, so many that their rows of E are at most NUMBERS."""
    most = max(1, min(ROWS, NUMBERS // width))
    return np.argsort(-np.asarray(counts), kind="stable")[:most].tolist()


# ---- recording -----------------------------------------------------------------------------------

@dataclass
class Film:
    """What has been recorded of a run. Film(**film.notes()) is the same film, of what JSON can hold.

    steps       of the whole training
    rows        the R rows of E that are watched
    frames      a dict each; step is how many steps were done before it
    losses      [step, mean loss since the point before]
    since       [sum of the losses since the last point, how many]
    looked_up   how often each watched row was looked up so far, and
    targets     how often its token was the one to predict
    """
    steps: int
    rows: list
    frames: list = field(default_factory=list)
    losses: list = field(default_factory=list)
    since: list = field(default_factory=lambda: [0.0, 0])
    looked_up: list = field(default_factory=list)
    targets: list = field(default_factory=list)

    def __post_init__(self):
        self.looked_up = self.looked_up or [0] * len(self.rows)
        self.targets = self.targets or [0] * len(self.rows)

    def notes(self):
        return {name: value for name, value in vars(self).items() if name in self.__dataclass_fields__}

    @cached_property
    def frame_steps(self):
        return frozenset(marks(self.steps, FRAMES))

    @cached_property
    def loss_steps(self):
        return frozenset(marks(self.steps, LOSSES))

    def due(self, step):
        """Whether there is to be a frame before this step (the last one: after all steps)."""
        return step in self.frame_steps and (not self.frames or self.frames[-1]["step"] < step)

    def record(self, step, model, ids, targets, write):
        """A frame: the model as it is after `step` steps, and what these ids and targets (B, T) add to dE.

        write   function that returns what the model would write now
        Once the loss is not finite, nothing more is recorded.
        """
        ids, targets = ids[:PASSAGES], targets[:PASSAGES]
        apart = both_uses(model, ids, targets)
        if not np.isfinite(apart.loss):
            return
        arrays = {"E": model.params.E, "lookup": apart.lookup, "logits": apart.head}
        if not model.config.tie_embeddings:
            arrays["head"] = model.params.head
        p = np.take_along_axis(softmax(apart.logits), targets[..., None], axis=-1)[..., 0]
        shown = max(1, POSITIONS // len(ids))
        self.frames.append({
            "step": step, "loss": apart.loss, "text": write(),
            "norms": [norm(apart.lookup), norm(apart.head)],
            "cosine": float(cosine(apart.lookup, apart.head)), "direction": one_direction(apart.head),
            "arrays": {name: pack(array[self.rows]) for name, array in arrays.items()},
            "ids": np.column_stack([ids, targets[:, -1]])[:, :shown + 1].tolist(), "p": rounded(p[:, :shown]),
            "looked_up": list(self.looked_up), "targets": list(self.targets)})

    def count(self, step, loss, ids, targets):
        """Step number `step` is done: its loss, and the batch it was taken on."""
        for counts, used in ((self.looked_up, ids), (self.targets, targets)):
            found = np.bincount(np.ravel(used), minlength=max(self.rows) + 1)
            counts[:] = [n + int(found[v]) for n, v in zip(counts, self.rows)]
        if np.isfinite(loss):
            self.since = [self.since[0] + float(loss), self.since[1] + 1]
        if step in self.loss_steps and self.since[1]:
            self.losses.append([step, self.since[0] / self.since[1]])
            self.since = [0.0, 0]


def one_direction(array):
    """The share of the sum of squares of (V, D) rows that lies along one direction, the best one."""
    squares = np.linalg.eigvalsh((array.T @ array).astype(float))
    return float(squares[-1] / squares.sum()) if squares[-1] > 0 else 0.0


def pack(array):
    """float32 (R, D) as a text that JSON can hold; and back."""
    return base64.b64encode(np.ascontiguousarray(array, "<f4")).decode()


def unpack(text, R):
    return np.frombuffer(base64.b64decode(text), "<f4").reshape(R, -1).astype(float)


# ---- what the page shows -------------------------------------------------------------------------

def scenes(film, name, V, gap="", validation=(), references=()):
    """All that film.js draws, as plain data.

    name         id -> its text
    gap          what stands between two tokens of a text
    validation   (step, loss) pairs;    references   (text, loss) pairs: what the loss may be compared with
    """
    frames, R = film.frames, len(film.rows)
    arrays = {kind: np.array([unpack(frame["arrays"][kind], R) for frame in frames]) for kind in frames[0]["arrays"]}
    matrices = [kind for kind in ("E", "head") if kind in arrays]
    axes, share = principal_axes(np.concatenate([arrays[kind][-1] for kind in matrices]))
    columns = min(CELLS, arrays["E"].shape[2])
    shown = sorted({v for frame in frames for row in frame["ids"] for v in row} | {*film.rows})
    return {
        "V": V, "D": arrays["E"].shape[2], "columns": columns, "steps": film.steps, "gap": gap,
        "rows": film.rows, "names": {v: name(v) for v in shown}, "matrices": matrices, "share": rounded(share),
        "frames": [{
            "step": frame["step"], "loss": rounded(frame["loss"]), "text": frame["text"],
            "norms": rounded(frame["norms"]), "ids": frame["ids"], "p": frame["p"],
            "lookedUp": frame["looked_up"], "targets": frame["targets"],
            "cells": {kind: rounded(arrays[kind][i][:, :columns]) for kind in arrays},
            "rowNorms": {kind: rounded(np.linalg.norm(arrays[kind][i], axis=1)) for kind in ("lookup", "logits")},
            "places": {kind: rounded(arrays[kind][i] @ axes.T) for kind in matrices},
            "pushes": {kind: rounded(push) for kind, push in pushes(arrays, i, axes).items()},
            "nearest": nearest(arrays["E"][i]),
        } for i, frame in enumerate(frames)],
        "losses": rounded(film.losses), "validation": rounded(list(map(list, validation))),
        "references": [[text, rounded(loss)] for text, loss in references],
        "chapters": chapters(film, arrays["E"][-1], name, V, references, tied="head" not in arrays,
                             heap=2 * np.std(arrays["E"][0]) < np.std(arrays["E"][-1])),
    }


def principal_axes(rows):
    """rows (n, D) -> the two directions (2, D) along which they spread most, and the share of the spread."""
    centred = rows - rows.mean(axis=0)
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    axes = np.zeros((2, rows.shape[1]))
    axes[:len(directions)] = directions[:2]
    signs = np.sign(axes[np.arange(2), np.abs(axes).argmax(axis=1)])
    spread = np.sum(sizes ** 2)
    return axes * np.where(signs < 0, -1, 1)[:, None], float(np.sum(sizes[:2] ** 2) / spread) if spread else 1.0


def pushes(arrays, i, axes):
    """Where each contribution of frame i pushes each row, in the plane; the longest arrow is 1 long."""
    found = {kind: -arrays[kind][i] @ axes.T for kind in ("lookup", "logits")}
    longest = max(np.sqrt(np.sum(push ** 2, axis=1)).max() for push in found.values())
    return {kind: push / (longest or 1) for kind, push in found.items()}


def nearest(rows):
    """Of each row the others at the smallest angle: [index, cosine] pairs."""
    unit = rows / np.maximum(np.sqrt(np.sum(rows ** 2, axis=1, keepdims=True)), 1e-30)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :min(NEAREST, len(rows) - 1)]
    return [[[int(u), rounded(cosines[v, u])] for u in others] for v, others in enumerate(order)]


def rounded(x):
    """Numbers to four significant digits, in lists as deep as x; 0 only for what is exactly 0."""
    if isinstance(x, (list, tuple, np.ndarray)):
        return [rounded(part) for part in x]
    return int(x) if isinstance(x, (int, np.integer)) else float(f"{x:.4g}")


# ---- what it says --------------------------------------------------------------------------------

def chapters(film, E, name, V, references, tied=True, heap=True):
    """The phases that the frames show: {"frame", "title", "text"}, in their order; texts of measured numbers.

    heap: whether the rows lie close together at first, beside where they end.
    """
    frames = film.frames
    found = [(0, *beginning(frames[0], V, tied, heap))]
    early, joined = turning_points(frames)
    if early:
        found.append((early, *logits_alone(frames[early], references, tied)))
    if joined:
        found.append((joined, *lookup_joins(frames[joined], tied)))
    if len(frames) > 1:
        found.append((len(frames) - 1, *ending(frames, E, [name(v) for v in film.rows], tied)))
    return [{"frame": i, "title": title, "text": text} for i, title, text in found]


def ratio(frame):
    """How many times as large as the lookup's contribution that of the logits is."""
    lookup, logits = frame["norms"]
    return logits / lookup if lookup else np.inf


def turning_points(frames):
    """(early, joined): the frame, in the first half of the loss's fall, in which the logits' contribution is
    largest relative to the lookup's; then the first in which it is at most a quarter larger. None where there is
    none."""
    losses = [frame["loss"] for frame in frames]
    half = (losses[0] + min(losses)) / 2
    fallen = next((i for i, loss in enumerate(losses) if loss < half), len(frames))
    early = max(range(1, fallen), key=lambda i: ratio(frames[i]), default=None)
    if early is None or ratio(frames[early]) < 1.5:
        return None, None
    after = range(early + 1, len(frames) - 1)
    return early, next((i for i in after if ratio(frames[i]) <= 1.25), None)


def beginning(frame, V, tied, heap):
    if frame["step"]:
        return f"Step {frame['step']}", "The film begins here: the steps before this one were not recorded."
    where = ("to dE: orange from the logits, to every row; blue from the lookup, only to rows that were looked up. Now "
             "press Play, and see which of the two moves E first." if tied else
             "to each: orange from the logits, to every row of head; blue from the lookup, only to rows of E that were "
             "looked up. Now press Play, and see which of the two learns first.")
    return "Before the first step", (
        f"{'E is' if tied else 'E and head are'} noise: small random numbers, a row for each token"
        f"{'; in the plane the rows lie in one heap' * bool(heap)}. The model knows nothing: its loss, "
        f"{frame['loss']:.2f}, is about that of a blind guess, log V = {np.log(V):.2f}. Look at what the step is about "
        f"to add {where}")


def logits_alone(frame, references, tied):
    times, share = ratio(frame), frame["direction"]
    head = "E" if tied else "head"
    text = (f"At step {frame['step']} what the logits add to d{head} is {times:.1f} times as long as what the lookup "
            f"adds{'' if tied else ' to dE'}: in the matrices orange is strong and blue pale. ")
    if share > 0.9:
        text += ("Over 99%" if share > 0.995 else f"{share:.0%}") + (
            " of it lies along one direction: look at the orange arrows. Every row is moved along the same h, by how "
            f"much more often the model expects its token than it comes: the first thing {head} learns is how common "
            "each token is. ")
    if references:
        known, loss = references[-1]
        text += f"{known.capitalize()} gives a loss of {loss:.2f}: the dotted line below."
    how_far = ("almost alone" if times >= 4 else "most") if tied else "first"
    return f"The logits move {head} {how_far}", text


def lookup_joins(frame, tied):
    lookup, logits = frame["norms"]
    text = (f"At step {frame['step']} the two are about equal, {logits:.2g} from the logits and {lookup:.2g} from the "
            "lookup. ")
    if tied:
        angle = frame["cosine"]
        how = ("at about right angles, so that neither undoes the other" if abs(angle) < 0.2
               else "partly in the same direction" if angle > 0 else "partly against each other")
        text += f"They point {how} (cosine {angle:.2f}). "
    return "The lookup joins in", text + (
        "By now the blocks can use what the rows of E say as input. Watch the rows leave the heap"
        + (", each under two arrows of its own." if tied
           else ": those of E under blue arrows, those of head under orange."))


def ending(frames, E, names, tied):
    first, last = frames[0], frames[-1]
    text = (f"After step {last['step']} the loss is {last['loss']:.2f}; it began at {first['loss']:.2f}. Look at the "
            "plane: which rows have come together? ")
    text += ("One row has to serve both: what its token says about what follows, and when it is the one that follows."
             if tied else "Filled points are rows of E, hollow ones of head: each matrix has one use to serve.")
    pairs = sorted({(-cosine, *sorted((v, others[0][0]))) for v, others in enumerate(nearest(E)) if others
                    for cosine in (others[0][1],)})[:3]
    if pairs:
        text += f" Closest{'' if tied else ' in E'}, by their cosine: " + ", ".join(
            f"{label(names[a])} and {label(names[b])} ({-c:.2f})" for c, a, b in pairs) + "."
    return "After one step" if last["step"] == 1 else f"After {last['step']} steps", text


# ---- the page ------------------------------------------------------------------------------------

def section(shown):
    """The film as a part of a page, for the styles STYLES and the scripts SCRIPTS."""
    heads = "".join(f'<li><button type="button">{escape(chapter["title"])}</button></li>'
                    for chapter in shown["chapters"])
    untied = len(shown["matrices"]) > 1
    matrices, parts = ("E, head,", "to dE and dhead") if untied else ("E", "to dE")
    return f"""<section class="film" aria-label="The film of training">
<ol class="chapters">{heads}</ol>
<p class="caption" aria-live="polite"></p>
<div class="controls">
<button type="button" class="play">▶ Play</button>
<input type="range" min="0" max="{len(shown['frames']) - 1}" value="0" aria-label="Training step">
<output></output>
</div>
<p class="writes"><span class="about">It now writes:</span> <q></q></p>
<div class="pictures">
<div class="left">
<figure class="plane"><figcaption>The rows of {' and '.join(shown['matrices'])}, as points</figcaption>
<svg viewBox="0 0 400 400" role="img"></svg>
<p class="note">In the two directions in which the rows spread most at the end ({shown['share']:.0%} of their spread),
the same for the whole film. Arrows: where a plain step down the gradient would move a row,
<span class="key logits">━ for the logits</span>, <span class="key lookup">┅ for the lookup</span>.</p></figure>
<figure class="row"><figcaption><label>One row: <select></select></label></figcaption><div class="story"></div></figure>
</div>
<div class="right">
<figure class="numbers"><figcaption>{matrices} and what this step adds {parts}</figcaption>
<div class="wide" tabindex="0" role="region" aria-label="Matrices"></div>
<p class="note"><span class="scales"></span> Hatched is negative, a dot exactly 0. Click on a row.
<span class="cellsays" aria-live="polite"></span></p></figure>
<div class="charts">
<figure class="loss"><figcaption>The loss</figcaption><svg viewBox="0 0 420 240" role="img"></svg></figure>
<figure class="norms"><figcaption>The norms of the two contributions</figcaption>
<svg viewBox="0 0 420 240" role="img"></svg></figure>
</div>
</div>
</div>
{page.data("film-data", shown)}
</section>"""


def document(title, lead, about, shown):
    """A page that is the film alone."""
    body = f'<p class="lead">{escape(lead)}</p>\n{section(shown)}\n<p class="note">{escape(about)}</p>'
    return page.document(title, body, STYLES, SCRIPTS)
