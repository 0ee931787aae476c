"""The live page: its GPT is one_page.py's and, untied, the package's.

What runs JavaScript is skipped without node, but not where MINIGPT_NP_NEED_NODE is set (.ci/run).
"""
import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import live
import one_page
import tied_gradients
from pages import arrays_of_lines, packages_loss_and_gradients, passes
from strategies import examples, normal, seeds

LIVE = Path(one_page.__file__).parent / "live"
needs_node = pytest.mark.skipif(
    not (shutil.which("node") or os.environ.get("MINIGPT_NP_NEED_NODE")),
    reason="node runs the page's scripts, and is not installed")


def node(code, cases, *scripts):
    """What `code`, a function of a case in JavaScript, returns for each of the cases."""
    source = "const document = {addEventListener() {}};\n"        # arrays.js listens as it loads
    source += "".join((LIVE / script).read_text(encoding="utf-8") for script in scripts)
    source += (f"\nconst answer = {code};\nconst read = require('fs').readFileSync;\n"
               "process.stdout.write(JSON.stringify(JSON.parse(read(0, 'utf8')).map(answer)));")
    done = subprocess.run([shutil.which("node") or "node", "-e", source], input=json.dumps(cases),
                          text=True, encoding="utf-8", capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


GRADIENT = """({ids, targets, params, H, head}) => {
  const {loss, grads, dhead} = lossAndGradient(ids, targets, params, H, head || params[0]);
  return {loss, grads: head ? [...grads, dhead] : grads};
}"""
LEARNED = """({text, tied, seed}) => {
  const run = learn(text, tied, seed), [first, last] = [run.saved[0], run.saved.at(-1)];
  const {made, rungs} = look(run, DATA.steps, false, null);
  const said = rungs.map(({readings}) =>
    readings.map(({probs}) => [run.ids, run.targets].map(ids => count({probs}, ids))));
  return {first: [...first.params, first.head], last: [...last.params, last.head],
          losses: run.saved.map(({loss}) => loss), made, said};
}"""
COPIED = """({text, tied, at, silent, moved, cell}) => {
  const run = learn(text, tied, 0), o = look(run, at, silent, moved), {matrix, v, j} = cell;
  const [W, d] = matrix === "E" ? [o.E, o.grads[0]] : [o.head, o.dhead];
  return {program: asPython(run, at, silent, moved, cell), numbers: [o.loss, W[v][j], d[v][j]]};
}"""
FIGURE = """({text, seed}) => {
  const vocabulary = vocabularyOf(text.split(" "));
  const E = newParameters(vocabulary.length, 1, DATA.D, 1, seed).params[0];
  const boxes = E.flatMap((row, v) => row.flatMap((x, j) => {
    const box = {x: 40 * j, y: 20 * v, width: 36, height: 18, fill: "white", ink: "black"};
    const fonts = {"font-family": '"A & B", serif'};
    return [{...box, sign: x < 0 ? "negative" : "positive"}, {...box, fonts, text: full(x)}];
  }));
  const names = vocabulary.map(text => ({x: 0, y: 0, width: 9, height: 9, ink: "black", text}));
  return {svg: asSVG(240, 400, [...boxes, ...names]), E, vocabulary};
}"""
SCRIPTS = "data.js", "model.js", "random.js", "experiment.js", "export.js"
words = st.lists(
    st.sampled_from("the cat saw a bird dog and fly fish fishy \" \\ {x} é <&>".split()),
    min_size=2, max_size=16)


def rows(array):
    """For JSON: a vector is a matrix of one row."""
    return np.atleast_2d(array).tolist()


def assert_close(ours, expected, tolerance, name=""):
    """Within tolerance of the array's largest number, or of 1, the size of what it is a sum of."""
    ours = np.array(ours).reshape(np.shape(expected))
    assert np.max(np.abs(ours - expected)) <= tolerance * (1 + np.max(np.abs(expected))), name


@needs_node
@given(batch=st.lists(st.tuples(passes(), st.booleans(), seeds), min_size=8, max_size=16))
@examples(0.3)
def test_loss_and_every_gradient_are_one_pages_and_untied_the_packages(batch):
    cases, expected = [], []
    for (ids, targets, params, H), tied, seed in batch:
        head = None if tied else normal(seed, *params[0].shape, scale=0.7)
        cases.append({"ids": ids.tolist(), "targets": targets.tolist(), "H": H,
                      "params": [*map(rows, params)], "head": None if tied else rows(head)})
        expected.append(one_page.loss_and_gradient(ids, targets, params, H) if tied else
                        packages_loss_and_gradients(ids, targets, params, H, head))
    for answer, (loss, grads) in zip(node(GRADIENT, cases, "model.js"), expected, strict=True):
        assert_close(answer["loss"], loss, 1e-12)
        for n, (ours, array) in enumerate(zip(answer["grads"], grads, strict=True)):
            assert_close(ours, array, 1e-12, n)


def same_sentence(words, seed):
    """As one_page.py does it: vocabulary, ids, targets, params."""
    never = "fish"
    while never in words:
        never += "y"
    vocabulary = list(dict.fromkeys([*words, never]))
    row = np.array([vocabulary.index(word) for word in words])
    return row[:-1], row[1:], one_page.new_parameters(
        len(vocabulary), len(row) - 1, one_page.D, one_page.L, np.random.default_rng(seed))


@needs_node
@given(batch=st.lists(st.tuples(words, seeds), min_size=2, max_size=2))
@examples(0.1)
def test_after_200_steps_from_numpys_start_all_parameters_are_one_pages(batch):
    cases = [{"text": " ".join(text), "tied": True, "seed": seed} for text, seed in batch]
    answers = node(LEARNED, cases, *SCRIPTS)
    for (text, seed), answer in zip(batch, answers, strict=True):
        ids, targets, params = same_sentence(text, seed)
        for ours, expected in zip(answer["first"], params):
            assert_close(ours, expected, 1e-13)
        for i in range(one_page.STEPS + 1):
            if i == one_page.STEPS:
                break
            loss, gradients = one_page.loss_and_gradient(ids, targets, params, one_page.H)
            assert abs(loss - answer["losses"][i]) <= 1e-9 * (1 + loss)
            for array, gradient in zip(params, gradients):
                array -= one_page.LEARNING_RATE * gradient
        for ours, expected in zip(answer["last"], params):
            assert_close(ours, expected, 1e-9)


@pytest.fixture(scope="module")
def opened():
    """What the page shows as it opens."""
    case = {"text": one_page.TEXT, "tied": True, "seed": one_page.SEED}
    answer, = node(LEARNED, [case], *SCRIPTS)
    return answer


@needs_node
def test_every_array_that_a_line_of_one_page_binds_is_the_pages(opened):
    ids, targets, shapes = same_sentence(one_page.TEXT.split(), one_page.SEED)
    params = [np.reshape(array, like.shape) for array, like in zip(opened["last"], shapes)]
    expected = [pair for n, pairs in arrays_of_lines(ids, targets, params, one_page.H)
                if n >= live.first_line() for pair in pairs]
    assert [name for name, _ in opened["made"]] == [name for name, _ in expected]
    for (name, ours), (_, array) in zip(opened["made"], expected):
        ours = np.array(ours, float).reshape(array.shape)                   # JSON has null for -inf
        ours, array = np.nan_to_num(ours, nan=0), np.nan_to_num(array, neginf=0)
        assert_close(ours, array, 1e-12, name)


@needs_node
def test_the_ladders_of_the_page_are_those_of_tied_gradients(opened):
    apart, = node(LEARNED, [{"text": one_page.TEXT, "tied": False, "seed": 0}], *SCRIPTS)
    lesson = tied_gradients.measure(one_page.TEXT.split())
    _, ladders = tied_gradients.train_and_read(lesson, 0, one_page.STEPS)
    for page, *names in ((opened, "one E"),
                         (apart, "two matrices, by E", "two matrices, by head")):
        assert page["said"] == [
            [[np.sum(said == ids) for ids in (lesson.ids, lesson.targets)] for said in readings]
            for readings in zip(*(ladders[name] for name in names), strict=True)]


@needs_node
@given(text=words, tied=st.booleans(), at=st.integers(0, 3), silent=st.booleans(),
       moved=st.booleans(), pick=st.data())
@examples(0.1)
def test_the_copied_python_prints_the_pages_digits(text, tied, at, silent, moved, pick):
    matrix = "E" if tied else pick.draw(st.sampled_from(["E", "head"]), label="matrix")
    cell = {"matrix": matrix, "v": 0, "j": pick.draw(st.integers(0, 5), label="j")}
    case = {"text": " ".join(text), "tied": tied, "at": at, "silent": silent, "cell": cell,
            "moved": {**cell, "value": 0.25} if moved else None}
    answer, = node(COPIED, [case], *SCRIPTS)
    root = LIVE.parents[1]
    done = subprocess.run([sys.executable, "-c", answer["program"]], cwd=root, text=True,
                          env={**os.environ, "PYTHONPATH": str(root), "PYTHONUTF8": "1"},
                          encoding="utf-8", capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    printed = [float(line.split()[-1]) for line in done.stdout.splitlines()]
    assert_close(printed, answer["numbers"], 1e-11)


@needs_node
@given(batch=st.lists(st.tuples(words, seeds), min_size=2, max_size=6))
@examples(0.1)
def test_a_saved_figure_is_xml_that_says_the_numbers_and_underlines_those_below_0(batch):
    cases = [{"text": " ".join(text), "seed": seed} for text, seed in batch]
    for answer in node(FIGURE, cases, *SCRIPTS, "arrays.js"):
        figure, E = ET.fromstring(answer["svg"]), np.array(answer["E"])
        drawn = {tag: [*figure.iter(f"{{http://www.w3.org/2000/svg}}{tag}")]
                 for tag in ("rect", "text", "path")}
        numbers = [text.text.replace("\u2212", "-") for text in drawn["text"][:E.size]]
        assert np.allclose(np.array(numbers, float), E.ravel(), rtol=5e-4, atol=0)    # four digits
        assert [text.text for text in drawn["text"][E.size:]] == answer["vocabulary"]
        below = [f"M{40 * j},{20 * v + 17}h36" for v, j in np.argwhere(E < 0)]
        assert [path.get("d") for path in drawn["path"]] == below
        assert len(drawn["rect"]) == E.size


def test_data_js_is_what_the_script_writes():
    written = (LIVE / "data.js").read_text(encoding="utf-8")
    assert written == live.data(), "run: python demos/live.py --data"


def test_one_file_holds_every_script_and_refers_to_no_other_file(tmp_path, capsys):
    live.main([str(tmp_path / "new" / "page.html")])
    page = (tmp_path / "new" / "page.html").read_text(encoding="utf-8")
    assert f"{len(page.encode()):,} bytes" in capsys.readouterr().out
    assert not re.search(r'<script src|SCRIPTS|<link rel="stylesheet"|href="\.\./', page)
    assert set(re.findall(r"https?://[\w.]+", page)) <= {"http://www.w3.org"}      # SVG's name
    for path in LIVE.iterdir():
        assert path.name == "index.html" or path.read_text(encoding="utf-8") in page
