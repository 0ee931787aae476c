"""demos/lib/film.py: what is recorded of a training, and that the page's plain data are these numbers."""
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, strategies as st

from html_page import Page
from lib import film
from minigpt_np import GPT, GPTConfig
from strategies import cases, examples, normal, seeds, sizes

DIGITS = 5.01e-4        # of itself, the most that a number with four digits is off
FLOAT32 = 2.0 ** -24


def filmed(model, batches, steps=None, rows=None):
    """A Film of plain gradient descent on the batches, one a step, and the E before each step and after the last."""
    V = model.config.vocab_size
    rolls = film.Film(len(batches) - 1 if steps is None else steps, list(range(V)) if rows is None else rows)
    seen = []
    for step, (ids, targets) in enumerate(batches):
        if rolls.due(step):
            rolls.record(step, model, ids, targets, lambda: f"after {step}")
            seen.append(model.params.E.copy())
        _, loss, cache = model.forward(ids, targets)
        model.params.flat -= 0.1 * model.backward(cache).flat
        rolls.count(step + 1, float(loss), ids, targets)
    return rolls, seen


def shown(rolls, V, **kwargs):
    """What the page holds, as a browser gets it."""
    return json.loads(json.dumps(film.scenes(rolls, str, V, **kwargs), allow_nan=False))


# ---- when ----------------------------------------------------------------------------------------

@given(st.integers(0, 10**7), st.integers(2, 400))
def test_marks_are_few_begin_and_end_and_grow_by_about_a_factor(steps, most):
    found = film.marks(steps, most)
    assert found == sorted({*found}) and len(found) <= most
    assert found[0] == 0 and (found[-1] == steps or most == 2)
    factor = max(steps, 1) ** (1 / max(most - 2, 1))
    for a, b in zip(found[1:], found[2:]):      # each rounded by at most a half
        assert b <= max(a + 1, (a + 0.5) * factor + 0.5)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=200), st.sampled_from([1, 8, 768, 1600, 100_000]))
def test_the_rows_watched_are_the_commonest_and_bounded(counts, width):
    rows = film.watched(counts, width)
    assert len({*rows}) == len(rows) <= film.ROWS
    assert len(rows) == 1 or len(rows) * width <= film.NUMBERS
    others = [n for v, n in enumerate(counts) if v not in rows]
    assert min(counts[v] for v in rows) >= max(others, default=0)


# ---- what ----------------------------------------------------------------------------------------

@examples(1 / 2)
@given(cases(), st.integers(1, 4))
def test_the_scenes_are_the_model_and_its_gradient_at_each_step(case, steps):
    model, V = case.model, case.model.config.vocab_size
    tied = model.config.tie_embeddings
    case = replace(case, targets=np.maximum(case.targets, 0))
    B = min(film.PASSAGES, len(case.ids))
    ids, targets = case.ids[:B], case.targets[:B]
    expected = GPT(model.config, params=model.params)
    first = expected.backward(expected.forward(ids, targets)[2])
    logits = expected.forward(ids)[0]
    rolls, seen = filmed(model, [(case.ids, case.targets)] * (steps + 1))
    page = shown(rolls, V)
    assert [f["step"] for f in page["frames"]] == list(range(steps + 1))
    assert [f["text"] for f in page["frames"]] == [f"after {i}" for i in range(steps + 1)]
    for frame, E in zip(page["frames"], seen):
        columns = page["columns"]
        np.testing.assert_allclose(frame["cells"]["E"], E[:, :columns], rtol=DIGITS, atol=1e-37)
        lookup, head = (np.array(frame["cells"][kind]) for kind in ("lookup", "logits"))
        assert not lookup[[v for v in range(V) if v not in ids]].any()          # exactly 0
        assert len(frame["nearest"]) == V and all(len(n) == min(film.NEAREST, V - 1) for n in frame["nearest"])
        longest = max(np.hypot(*push) for kind in frame["pushes"].values() for push in kind)
        assert longest == pytest.approx(1, rel=2 * DIGITS) or longest == 0
    frame, D = page["frames"][0], model.config.n_embd
    assert D <= film.CELLS
    lookup, head = (np.array(frame["cells"][kind]) for kind in ("lookup", "logits"))
    parts = [(lookup + head, first.E)] if tied else [(lookup, first.E), (head, first.head)]
    scale = np.abs(lookup) + np.abs(head) + 4096 * np.finfo(float).eps      # of the sums' other order, gradcheck's
    for got, right in parts:
        assert np.all(np.abs(got - right) <= (DIGITS + 2 * FLOAT32) * scale)
    for kind, norm in zip(("lookup", "logits"), frame["norms"]):            # here all rows are watched
        assert np.linalg.norm(frame["rowNorms"][kind]) == pytest.approx(norm, rel=3 * DIGITS, abs=1e-12)
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p = np.take_along_axis(p / p.sum(-1, keepdims=True), targets[..., None], -1)[..., 0]
    np.testing.assert_allclose(frame["p"], p, rtol=DIGITS)
    assert frame["ids"] == np.column_stack([ids, targets[:, -1]]).tolist()


def test_counts_and_losses_are_of_every_step_not_of_frames_alone():
    model = GPT(GPTConfig(vocab_size=3, block_size=4, n_layer=1, n_head=1, n_embd=4), seed=0)
    batches = [(np.array([[0, 1, 1, 0]]), np.array([[1, 1, 0, 2]]))] * 120
    rolls, _ = filmed(model, batches, rows=[2, 1])
    assert rolls.looked_up == [0, 240] and rolls.targets == [120, 240]
    page = shown(rolls, 3)
    assert len(page["frames"]) <= film.FRAMES
    assert [f["lookedUp"] for f in page["frames"]] == [[0, 2 * f["step"]] for f in page["frames"]]
    steps = [0] + [step for step, _ in page["losses"]]
    assert steps == sorted({*steps}) and len(steps) <= film.LOSSES
    total = sum(loss * (b - a) for a, b, (_, loss) in zip(steps, steps[1:], page["losses"]))
    again, losses = GPT(model.config, seed=0), []
    for ids, targets in batches[:steps[-1]]:
        _, loss, cache = again.forward(ids, targets)
        again.params.flat -= 0.1 * again.backward(cache).flat
        losses.append(float(loss))
    assert total == pytest.approx(sum(losses), rel=DIGITS)


@given(seeds, sizes(6), sizes(5))
def test_the_plane_is_spanned_by_the_principal_axes(seed, n, D):
    rows = normal(seed, n, D)
    axes, share = film.principal_axes(rows)
    lengths = np.linalg.norm(axes, axis=1)
    assert np.all((np.abs(lengths - 1) < 1e-12) | (lengths == 0)) and abs(axes[0] @ axes[1]) < 1e-12
    centred = rows - rows.mean(axis=0)
    spread = np.sum(centred ** 2)
    assert 0 <= share <= 1 + 1e-12
    assert np.sum((centred @ axes.T) ** 2) == pytest.approx(share * spread, rel=1e-9, abs=1e-12)
    for others in (np.linalg.qr(normal(seed + 1, D, min(2, D)))[0],):       # no other plane has more of it
        assert np.sum((centred @ others) ** 2) <= share * spread * (1 + 1e-9) + 1e-12


@given(st.floats(-1e308, 1e308))          # beyond, rounding up can overflow
def test_only_what_is_exactly_0_is_rounded_to_0(x):
    assert (film.rounded(x) == 0) == (x == 0)
    assert abs(film.rounded(x) - x) <= DIGITS * abs(x) + 5e-324


@given(seeds, sizes(4), sizes(4))
def test_one_direction_is_the_share_of_the_largest_singular_value(seed, n, D):
    array = normal(seed, n, D)
    squares = np.linalg.svd(array, compute_uv=False) ** 2
    assert film.one_direction(array) == pytest.approx(squares[0] / squares.sum(), rel=1e-9)
    assert film.one_direction(np.outer(array[:, 0], array[0])) == pytest.approx(1)
    assert film.one_direction(0 * array) == 0


# ---- kept and gone on with -----------------------------------------------------------------------

@examples(1 / 2)
@given(st.integers(1, 15), st.data())
def test_a_film_interrupted_and_gone_on_with_is_the_whole_film(steps, data):
    stop = data.draw(st.integers(0, steps))
    ids = np.array([[0, 1, 2, 1]])

    def run(interrupted):
        model = GPT(GPTConfig(vocab_size=4, block_size=4, n_layer=1, n_head=1, n_embd=2), seed=1)
        rolls = film.Film(steps, [1, 3])
        for step in range(steps + 1):
            if interrupted and step == stop:
                rolls = film.Film(**json.loads(json.dumps(rolls.notes())))
            if rolls.due(step):
                rolls.record(step, model, ids, ids, str)
            _, loss, cache = model.forward(ids, ids)
            model.params.flat -= 0.1 * model.backward(cache).flat
            rolls.count(step + 1, float(loss), ids, ids)
        return rolls

    whole, resumed = run(False), run(True)
    assert json.dumps(whole.notes()) == json.dumps(resumed.notes())
    assert whole == resumed and shown(whole, 4) == shown(resumed, 4)


def test_recording_leaves_the_model_and_the_film_of_a_diverged_run_ends():
    model = GPT(GPTConfig(vocab_size=4, block_size=4, n_layer=1, n_head=1, n_embd=2), seed=1)
    rolls, before = film.Film(10, [0, 1]), model.params.flat.copy()
    ids = np.array([[0, 1, 2, 1]])
    rolls.record(0, model, ids, ids, str)
    np.testing.assert_array_equal(model.params.flat, before)
    model.params.flat[:] = np.nan
    rolls.record(1, model, ids, ids, str)
    rolls.count(1, float("nan"), ids, ids)
    assert [frame["step"] for frame in rolls.frames] == [0]
    assert rolls.losses == [] and len(shown(rolls, 4)["frames"]) == 1


# ---- what it says --------------------------------------------------------------------------------

def frame(step, loss, lookup, logits, direction=0.5):
    return {"step": step, "loss": loss, "norms": [lookup, logits], "cosine": 0.0, "direction": direction}


def test_chapters_are_where_the_numbers_turn():
    frames = [frame(0, 4, 1, 1), frame(1, 3.9, 1, 2), frame(3, 3.5, .25, 2, .99), frame(9, 3, .5, 1),
              frame(20, 2, .9, 1), frame(50, 1, .1, 1), frame(99, .5, 1, 1)]
    rolls = film.Film(99, [0, 1, 2], frames)
    E = np.array([[1.0, 0.0], [1.0, 0.01], [-1.0, 0.0]])
    found = film.chapters(rolls, E, "abc".__getitem__, 3, [("guessing", 1.1), ("knowing x", 0.9)])
    assert [(c["frame"], c["title"]) for c in found] == [
        (0, "Before the first step"), (2, "The logits move E almost alone"), (4, "The lookup joins in"),
        (6, "After 99 steps")]
    texts = [c["text"] for c in found]
    assert "4.00" in texts[0] and "log V = 1.10" in texts[0]
    for what in ("At step 3", "8.0 times", "99% of it", "Knowing x gives a loss of 0.90"):
        assert what in texts[1]
    assert "At step 20" in texts[2] and "right angles" in texts[2]
    assert "0.50; it began at 4.00" in texts[3] and "a and b (1.00)" in texts[3]


def test_of_two_matrices_it_does_not_speak_as_of_one():
    frames = [frame(0, 4, 1, 1), frame(1, 3.9, .2, 2, .99), frame(3, 3, .9, 1), frame(9, 1, 1, 1)]
    found = film.chapters(film.Film(9, [0, 1], frames), np.eye(2), "ab".__getitem__, 2, [], tied=False)
    assert [c["title"] for c in found] == ["Before the first step", "The logits move head first", "The lookup joins in",
                                           "After 9 steps"]
    texts = [c["text"] for c in found]
    assert "E and head are noise" in texts[0] and "add to dhead is 10.0 times" in texts[1]
    assert "cosine" not in texts[2] and "hollow ones of head" in texts[3]


@pytest.mark.parametrize("frames, titles", [
    ([frame(0, 4, 1, 1)], ["Before the first step"]),
    ([frame(7, 4, 1, 1)], ["Step 7"]),
    ([frame(0, 4, 1, 1), frame(1, 3, 1, 1)], ["Before the first step", "After one step"]),
    ([frame(0, 4, 1, 1), frame(1, 3.9, 1, 2), frame(2, 3, 0, 1)], ["Before the first step", "The logits move E most",
                                                                   "After 2 steps"]),
])
def test_no_chapter_is_shown_that_did_not_happen(frames, titles):
    found = film.chapters(film.Film(9, [0], frames), np.ones((1, 2)), str, 1, [])
    assert [c["title"] for c in found] == titles


@pytest.mark.parametrize("moved, heap", [(9, True), (0.01, False)])
def test_rows_are_said_to_begin_in_a_heap_only_where_one_sees_it(moved, heap):
    model = GPT(GPTConfig(vocab_size=5, block_size=2, n_layer=1, n_head=1, n_embd=4), seed=0, dtype=np.float64)
    rolls = film.Film(1, [0, 1, 2])
    for step in (0, 1):
        rolls.record(step, model, np.array([[0, 1]]), np.array([[1, 2]]), str)
        model.params.E[:] *= 1 + moved
    scenes = film.scenes(rolls, str, 5)
    assert ("heap" in scenes["chapters"][0]["text"]) == heap


# ---- the page ------------------------------------------------------------------------------------

@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize("steps", [0, 1, 3])
def test_the_page_is_whole_at_any_length(steps, tie):
    model = GPT(GPTConfig(vocab_size=5, block_size=4, n_layer=1, n_head=1, n_embd=2, tie_embeddings=tie), seed=0)
    ids = np.array([[0, 1, 4, 1]])
    rolls, _ = filmed(model, [(ids, ids)] * (steps + 1))
    names = ["a", "</script>", "\n", "<b>", "é"]
    scenes = film.scenes(rolls, names.__getitem__, 5, validation=[(steps, 1.5)])
    text = film.document("A film", "Look <here>", "about", scenes)
    page = Page(text)
    assert page.open == [] and len(page.scripts) == 2
    assert "http:" not in text.replace("http://www.w3.org/2000/svg", "")        # but for the name of SVG
    data = json.loads(page.scripts[0])
    assert len(data["frames"]) == steps + 1 and data["names"]["1"] == "</script>"
    assert data["matrices"] == (["E"] if tie else ["E", "head"])
    assert f'max="{steps}"' in text and page.text.count("norms of the two") == 1
    for chapter in data["chapters"]:
        assert chapter["title"] in page.text


def test_the_largest_film_is_a_page_below_two_megabytes_and_notes_of_bounded_size():
    D, T, V = film.NUMBERS // film.ROWS, 300, 50257
    model = GPT(GPTConfig(vocab_size=60, block_size=4, n_layer=1, n_head=1, n_embd=D), seed=0)
    batch = np.array([[0, 1, 2, 3]]), np.array([[1, 2, 3, 4]])
    rolls, _ = filmed(model, [batch], steps=10**6, rows=list(range(film.ROWS)))
    long = rolls.frames[0] | {"ids": [[V] * 65] * 4, "p": [[0.00012345] * 64] * 4, "text": "word " * 60}
    rolls.frames = [long | {"step": step} for step in film.marks(10**6, film.FRAMES)]
    rolls.losses = [[step, 1.234] for step in film.marks(10**6, film.LOSSES)]
    text = film.document("A film", "", "", film.scenes(rolls, str, V))
    assert len(text.encode()) < 2_000_000
    assert len(json.dumps(rolls.notes())) < 20_000_000
    recorded = film.Film(1, [0])
    wide = np.arange(T + 1)[None] % 60
    big = GPT(GPTConfig(vocab_size=60, block_size=T, n_layer=1, n_head=1, n_embd=2), seed=0)
    for B in (1, 2, 9):
        recorded.frames.clear()
        recorded.record(0, big, np.repeat(wide[:, :-1], B, 0), np.repeat(wide[:, 1:], B, 0), str)
        assert np.size(recorded.frames[0]["p"]) == film.POSITIONS
