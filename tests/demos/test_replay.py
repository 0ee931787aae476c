"""replay.py: its page holds the walk and a tour whose equations hold; words, axes and cells are what they say."""
import ast
import json
import re

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from html_page import Page
from lib import matrices, tour, walk, whole, words
from minigpt_np import gradcheck
import replay

EPS = np.finfo(float).eps
ROUNDED = 5.01e-4           # 4 significant digits: off by half of the fourth at most
sentences = st.lists(st.sampled_from("abcde"), min_size=2, max_size=7).map(" ".join)


def walked(example):
    """(its steps, the loss)."""
    steps = []
    return steps, walk.Walk(example, lambda step, frame: steps.append(step)).run()


@pytest.fixture(scope="module")
def default():
    example = walk.example()
    return example, *walked(example)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    path = tmp_path_factory.mktemp("replay") / "deep" / "replay.html"
    assert replay.main([str(path)]) == 0
    assert [p.name for p in path.parent.iterdir()] == ["replay.html"]
    text = path.read_text(encoding="utf-8")
    return text, json.loads(Page(text).scripts[0])


# ---- the tour ------------------------------------------------------------------------------------

@given(sentences, st.integers(0, 3), st.sampled_from([(2, 1), (4, 2), (6, 2)]), st.integers(1, 2))
@settings(max_examples=8)
def test_every_equation_of_the_tour_holds_in_the_arrays_it_shows(text, seed, sizes, layers):
    width, heads = sizes
    example = walk.example(text, "z", width, heads, layers, seed)
    steps, loss = walked(example)
    stops = {stop.name: stop for stop in tour.tour(example, steps, loss)}
    # A contribution is the difference of dE after and before a line, and rounded as those are.
    most = max(np.abs(dE).max() for step in steps if step.accumulation for dE in (step.accumulation.before, step.accumulation.after))
    for stop in stops.values():
        assert 0 <= stop.step < len(steps) and stop.text and stop.equation
        for shown in stop.shows:
            assert shown.values.ndim == 2 and shown.scale >= np.abs(shown.values).max()
            assert shown.rows               # rows are of something; columns without a name are the D numbers
            assert shown.columns or shown.values.shape[1] in (1, width)
            if shown.of:
                sign, a, b = shown.of
                a, b = stop.shows[a].values, stop.shows[b].values
                expected = a @ b if sign == "·" else a + b
                size = np.abs(a) @ np.abs(b) if sign == "·" else np.abs(a) + np.abs(b)
                rounding = 4 * (a.shape[1] + 1) * EPS * size + 2 * EPS * most
                assert (np.abs(shown.values - expected) <= rounding).all()
    ids, targets, T = example.ids[0], example.targets[0], example.ids.size
    p, by_target = (shown.values for shown in stops["loss"].shows)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=0, atol=len(p[0]) * 4 * EPS)
    np.testing.assert_allclose(by_target.mean(), loss, rtol=1e-13)
    assert stops["loss"].shows[0].marked == list(enumerate(targets.tolist()))
    p, one_hot, dlogits = (shown.values for shown in stops["dlogits"].shows)
    np.testing.assert_allclose((p - one_hot) / T, dlogits, rtol=0, atol=8 * EPS)
    assert (one_hot.argmax(axis=1) == targets).all() and (one_hot.sum(axis=1) == 1).all()
    repeats = np.bincount(ids).max()
    assert ("twice" in stops) == (repeats > 1)
    if repeats > 1:
        dx, total, lost = (shown.values for shown in stops["twice"].shows)
        rows = sorted({t for t, _ in stops["twice"].shows[0].marked})
        assert len(rows) == repeats and len(set(ids[rows].tolist())) == 1
        np.testing.assert_allclose(dx[rows].sum(axis=0), total[0], rtol=0, atol=T * EPS * np.abs(dx).sum())
        np.testing.assert_array_equal(lost[0], dx[rows[-1]])


def test_the_stops_stand_at_the_lines_that_compute_them(default):
    example, steps, loss = default
    stops = {stop.name: stop for stop in tour.tour(example, steps, loss)}
    assert list(stops) == ["whole", "lookup", "stream", "logits", "loss", "dlogits", "head-gradient", "way-back",
                           "lookup-gradient", "twice", "sum"]
    at = {name: steps[stop.step] for name, stop in stops.items()}
    assert {name: (step.file, step.phase) for name, step in at.items()
            if name not in ("head-gradient", "lookup-gradient")} == {
        "whole": ("model.py", "forward"), "lookup": ("layers/lookup.py", "forward"),
        "stream": ("layers/block.py", "forward"), "logits": ("layers/logits.py", "forward"),
        "loss": ("layers/cross_entropy.py", "forward"), "dlogits": ("layers/cross_entropy.py", "backward"),
        "way-back": ("layers/block.py", "backward"), "twice": ("layers/lookup.py", "backward"),
        "sum": ("model.py", "backward")}
    assert at["head-gradient"].accumulation.use == "logits" and at["lookup-gradient"].accumulation.use == "lookup"
    x = stops["lookup"].shows[2].values
    np.testing.assert_array_equal(x, example.model.params.E[example.ids[0]])
    np.testing.assert_array_equal(stops["logits"].shows[1].values, example.model.params.E.T)
    dx = stops["way-back"].shows[2].values          # what flows out of the lowest block is what the lookup gets
    np.testing.assert_array_equal(dx, at["lookup-gradient"].accumulation.right)


def test_the_sum_is_checked_by_differences_of_the_loss(default):
    example, steps, loss = default
    stop = tour.tour(example, steps, loss)[-1]
    dE, numerical = stop.shows[2].values, stop.shows[3].values
    assert stop.shows[3].name == "by differences" and not np.array_equal(dE, numerical)
    expected, error = gradcheck.differences(
        lambda: example.model.forward(example.ids, example.targets)[1], example.model.params.E)
    np.testing.assert_array_equal(numerical, expected)
    assert (np.abs(dE - numerical) <= error + 1e-12).all()
    assert f"{np.abs(dE - numerical).max():.1e}" in stop.text[-1] and f"{error.max():.1e}" in stop.text[-1]


def test_a_stop_names_the_arrays_of_its_equation(default):
    stops = tour.tour(*default)
    for stop in stops[1:]:
        names = {name for shown in stop.shows for name in re.findall(r"[A-Za-z_]\w*", shown.name.replace("ᵀ", ""))}
        wanted = set(re.findall(r"[A-Za-z_]\w*", stop.equation.replace("ᵀ", ""))) - set(
            "which is ids loss mean log target what came through the branch T dlogits one_hot h dx".split())
        assert wanted <= names | {"the"}, stop.name
        # demos/one_page.py computes the same, where the stop is of one line
        assert bool(stop.one_page) == (stop.name not in ("twice", "sum")), stop.name
        assert stop.one_page == "" or stop.one_page.split()[0] in stop.equation + " dx"
    drawn = whole.picture(np.array([[1, 0], [-1, 2], [0, 0]]), ["a", "<b", "c"], 2)
    lit = {name for names in re.findall('data-on="([^"]*)"', drawn) for name in names.split()}
    assert lit == {stop.name for stop in stops}     # at every stop the picture points somewhere
    assert drawn.count('class="E"') == 1 and "&lt;b" in drawn
    assert [drawn.count(f'class="{kind}"') for kind in ("number", "minus", "zero")] == [3, 1, 3]


# ---- axes ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("text, also, width, heads", [
    ("a b c d a e f", "g h i j k", 10, 2),                  # all sizes differ
    ("a b c d e f g h i j k l", "", 4, 2),                  # V = 12 = 3D: a row of qkv is no token
    ("a b c d", "", 4, 1)])                                 # T = 3, V = D = K
def test_axes_are_what_their_labels_say(text, also, width, heads):
    example = walk.example(text, also, width, heads)
    sizes = {"B": 1, "T": example.ids.size, "S": example.ids.size, "N": example.ids.size, "V": len(example.tokens),
             "D": width, "H": heads, "K": width // heads, "3D": 3 * width, "4D": 4 * width, "1": 1,
             "M": len(set(example.ids[0].tolist()))}
    unnamed = set()
    for step in walked(example)[0]:
        for value in step.binds + step.reads:
            if value.array is None or step.prepares:
                continue
            assert len(value.axes) in (0, value.array.ndim)
            for axis, size in zip(value.axes, value.array.shape):
                assert sizes.get(axis, size) == size, (step.file, value.name)
            if value.name in ("qkv", "dqkv"):
                assert (value.rows, value.columns) == ("positions", "")
            if not value.axes:
                unnamed.add((step.file, step.function))
    assert unnamed <= {("layers/causal.py", "transposed"), ("layers/causal.py", "split_heads")}


# ---- every line ----------------------------------------------------------------------------------

def test_what_is_folded_only_gets_constants(default):
    steps = default[1]
    folded = {walk.source(step.file)[step.line - 1].strip() for step in steps if step.prepares}
    assert folded and all(re.fullmatch(r"\w+ = (ones|mean_weights)\(.*\)", line) for line in folded)
    assert not any(step.accumulation for step in steps if step.prepares)
    for step in steps:
        if step.prepares:
            value, = (value for value in step.binds if value.array is not None)
            assert len(np.unique(value.array)) == 1


def test_a_headline_is_a_sentence_that_names_what_is_bound(default):
    for step in default[1]:
        said = words.headline(step)
        assert said.endswith((".", "?", ".)")) and "\n" not in said
        node = words.syntax(step.file).get(step.line)
        if step.kind == "line" and isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            assert node.targets[0].id in said, said
    assert words.phrase(ast.parse("x.T @ dy").body[0].value) == "the matrix product of x transposed and dy"


# ---- the page ------------------------------------------------------------------------------------

def test_the_page_is_whole_and_alone(recorded):
    text, data = recorded
    page = Page(text)
    assert page.open == [] and len(page.scripts) == 2 and not re.search(r"/\*[A-Z]+\*/", text)
    assert not re.search(r"https?:|url\((?!#)|import\(|@import", text)
    used = set(re.findall(r'(?:\$|getElementById)\("([\w-]+)"\)', page.scripts[1]))
    assert used <= set(page.ids) and len(page.ids) == len(set(page.ids))
    for stop in data["stops"]:
        assert {"name", "title", "equation", "text", "step", "shows"} <= set(stop)


def test_fourteen_words_and_two_layers_are_less_than_a_megabyte(tmp_path):
    path = tmp_path / "long.html"
    text = "the cat saw the dog and the bird saw the fish in a tree"
    assert replay.main([str(path), "--text", text, "--layers", "2"]) == 0
    assert len(path.read_bytes()) < 1_000_000


def test_the_page_holds_the_walk(recorded, default):
    _, data = recorded
    example, steps, _ = default
    arrays = [np.array(a["values"], float).reshape(a["shape"]) for a in data["arrays"]]
    assert len(data["steps"]) == len(steps)
    for told, step in zip(data["steps"], steps):
        assert (told["kind"], told["phase"], told["last"]) == (step.kind, step.phase, step.last_line)
        assert (told["prepares"], told["headline"]) == (step.prepares, words.headline(step))
        assert list(map(tuple, told["stack"])) == list(step.stack)
        for (name, what, axes), value in zip(told["binds"] + told["reads"], step.binds + step.reads, strict=True):
            assert (name, tuple(axes)) == (value.name, value.axes)
            if value.array is None:
                assert what == value.text
            else:
                np.testing.assert_allclose(arrays[what], value.array, rtol=ROUNDED, atol=0)
    np.testing.assert_allclose(arrays[data["E"]], example.model.params.E, rtol=ROUNDED)
    for accumulation, use in zip(data["accumulations"], ("logits", "lookup"), strict=True):
        before, put, after = (arrays[accumulation[name]] for name in ("before", "contribution", "after"))
        assert accumulation["use"] == use == steps[accumulation["step"]].accumulation.use
        np.testing.assert_allclose(before + put, after, rtol=0, atol=2e-3 * np.abs([before, put, after]).max())
    for told, stop in zip(data["stops"], tour.tour(*default), strict=True):
        assert [told["name"], told["equation"], told["step"]] == [stop.name, stop.equation, stop.step]
        for shown, original in zip(told["shows"], stop.shows, strict=True):
            np.testing.assert_allclose(arrays[shown["values"]], original.values, rtol=5.01e-7, atol=1e-9)
    for file, lines in data["files"].items():
        assert [line for line, _ in lines] == walk.source(file)
        assert all(0 <= a < b <= len(line) for line, marks in lines for a, b, _ in marks)


def test_any_text_can_be_recorded_and_the_same_one_gives_the_same_bytes(tmp_path):
    pages = []
    for name in ("a.html", "b.html"):
        assert replay.main([str(tmp_path / name), "--text", "</x> <!-- 語 🙂 \u2028& \udc80",
                            "--also", "", "--width", "2", "--heads", "1"]) == 0
        pages.append((tmp_path / name).read_bytes())
    assert pages[0] == pages[1]
    page = Page(pages[0].decode())
    assert page.open == [] and len(page.scripts) == 2
    assert "語" in json.loads(page.scripts[0])["tokens"]


@pytest.mark.parametrize("x, expected", [
    (0.123456, 0.1235), (-2.0, -2), (0.0, 0), (float("-inf"), "-inf"), (float("nan"), "nan"),
    (7, 7), (1.23456e-9, 1.235e-9)])
def test_rounding(x, expected):
    assert replay.rounded(x) == expected and type(replay.rounded(x)) is type(expected)


# ---- cells ---------------------------------------------------------------------------------------

@given(st.floats(-1e3, 1e3))
def test_exactly_0_and_the_sign_show_without_colour(x):
    """By class, which cells.css draws as a dot or hatched, and by the digits."""
    looks, digits = matrices.looks(x, "sum").split(), matrices.brief(x)
    assert looks == ["cell", "zero" if x == 0 else "positive" if x > 0 else "negative", "sum"]
    assert (digits == "") == (x == 0) and digits.startswith("−") == (x < 0) and len(digits) <= 5


@given(st.floats(1e-6, 100), st.floats(-1, 1))
def test_the_largest_number_of_a_matrix_is_legible_in_units_of_a_power_of_ten(most, share):
    html = matrices.matrix("x", np.array([[most, share * most]]), ["a"], note="small")
    shown, unit = re.search(r">([^<]*)</td>", html)[1], re.search(r"×\s10⁻([⁰¹²³⁴⁵⁶⁷⁸⁹]+)", html)
    n = int("".join(str("⁰¹²³⁴⁵⁶⁷⁸⁹".index(digit)) for digit in unit[1])) if unit else 0
    assert float(shown) >= 0.1 and abs(float(shown) / 10 ** n - most) <= 0.0501 * max(most, 10 ** -n)


def luminance(colour):
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in np.asarray(colour) / 255]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def contrast(a, b):
    """As WCAG 2 defines it."""
    bright, dark = sorted([luminance(a), luminance(b)], reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_no_page_restyles_the_cells():
    cells = matrices.part("cells.css")
    classes = {name for group in re.findall(r"\.cell((?:\.[a-z]+)+)", cells) for name in group.split(".") if name}
    assert {"positive", "negative", "zero"} <= classes
    for style in ("replay.css", "film.css", "lesson.css", "page.css"):
        rules = re.findall(r"([^{};/]+)\{", matrices.part(style))
        bare = {selector.strip() for rule in rules for selector in rule.split(",")}
        assert not {f".{name}" for name in classes} & bare, style
    given = {name for script in ("cells.js", "arrays.js")
             for text in re.findall(r'"cell ([a-z ]+)"', matrices.part(script)) for name in text.split()}
    assert given <= classes


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_legible_on_every_cell_and_page(scheme):
    """At least 4.5 : 1, the bound of WCAG 2.2 AA."""
    light, dark = re.findall(r":root \{(.*?)\}", matrices.part("cells.css"), re.S)[:2]
    found = re.findall(r"--([\w-]+): ([\d. ]+);", light + (dark if scheme == "dark" else ""))
    variables = {name: np.array(list(map(float, value.split()))) for name, value in found}
    page, ink = variables["page"], variables["ink"]
    strongest = variables["faintest"] + variables["span"]
    for name in ("plain", "logits", "lookup", "sum"):
        cell = variables[name] * strongest + page * (1 - strongest)
        assert contrast(ink, cell) >= 4.5, name
        if name != "plain":
            assert contrast(variables[f"{name}-text"], page) >= 4.5
            assert contrast(variables[f"{name}-text"], variables["panel"]) >= 4.5
    for ground in ("page", "panel", "lit"):
        assert contrast(ink, variables[ground]) >= 4.5
    assert contrast(variables["soft"], page) >= 4.5 and contrast(variables["soft"], variables["panel"]) >= 4.5
