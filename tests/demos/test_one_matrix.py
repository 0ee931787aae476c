"""demos/one_matrix.py: its parts measure what they say, its sentences follow the numbers."""
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minigpt_np import GPTConfig
from minigpt_np.parameters import count
from strategies import assert_same, cases, with_large_weights, normal, seeds

DEMOS = Path(__file__).resolve().parents[2] / "demos"

from lib import charts
import one_matrix as demo

SMALL = ["--tokenizer", "characters", "--layers", "1", "--heads", "2", "--width", "8", "--block", "8",
         "--batch", "4", "--steps", "12", "--threads", "1", "--least", "2"]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("she sells sea shells by the sea shore; the shells she sells are surely seashells. " * 12)
    return str(path)


@pytest.fixture(scope="module")
def lab(text):
    return demo.Lab(demo.parse([*SMALL, "--seeds", "2", "--text", text]))


# ---- the runs ------------------------------------------------------------------------------------

@given(cases(tie_embeddings=True))
def test_the_two_contributions_add_up_to_the_tied_gradient(case):
    model, ids, targets = case.model, case.ids, case.targets
    lookup, logits = demo.contributions(model, ids, targets)
    _, _, cache = model.forward(ids, targets)
    dE = model.backward(cache).E
    assert_same(lookup + logits, dE, scale=np.abs(lookup).max() + np.abs(logits).max())
    untouched = np.setdiff1d(np.arange(model.config.vocab_size), ids)
    assert not lookup[untouched].any()


def test_runs_are_trained_once_and_runs_of_a_seed_see_the_same_batches(lab, monkeypatch):
    first = lab.runs(demo.TIED)
    assert [run.seed for run in first] == [0, 1]
    again = demo.train(lab, demo.TIED, 0)
    assert again.losses == first[0].losses                  # same seed, same bits
    assert first[0].losses != first[1].losses
    monkeypatch.setattr(demo, "train", None)
    assert lab.runs(demo.TIED)[0] is first[0]


def test_the_gradients_taken_apart_in_a_run_add_up(lab):
    for run in lab.runs(demo.TIED):
        assert len(run.probes) == lab.args.steps
        for probe in run.probes:
            assert probe["error"] < 1e-5                    # float32, sums of 32 positions
            assert 0 < probe["lookup touches"] <= probe["logits touch"] == 1
            assert abs(probe["cosine"]) <= 1 + 1e-6
        assert run.looks[-1][0] == lab.args.steps
        assert run.loss == lab.validate(run.model)


def test_equal_parameters_are_as_equal_as_the_heads_allow(lab):
    tied, small = (count(lab.config(kind)) for kind in (demo.TIED, demo.SMALL))
    assert not lab.config(demo.SMALL).tie_embeddings
    wider = GPTConfig(**{**vars(lab.config(demo.SMALL)), "n_embd": lab.small + 2})
    assert abs(count(wider) - tied) >= abs(small - tied)


def test_two_copies_start_equal_and_drift_and_one_matrix_stays_one(lab):
    copies, moments = lab.runs(demo.COPIES)[0], lab.runs(demo.MOMENTS)[0]
    assert len(copies.drift) == lab.args.steps
    assert 0 < copies.drift[0] < copies.drift[-1]
    assert (moments.model.params.E == moments.model.params.head).all()
    # All start where the tied run did: the first batch's loss is the same but for the sums' order.
    tied = lab.runs(demo.TIED)[0]
    assert copies.losses[0] == moments.losses[0] == pytest.approx(tied.losses[0], rel=1e-6)
    assert copies.losses[1] != moments.losses[1]
    assert demo.fed_alike(lab) == 0


# ---- what the parts look at ----------------------------------------------------------------------

@given(seeds, st.integers(1, 20), st.floats(0.05, 0.95))
def test_the_share_of_rows_that_holds_a_part(seed, n, part):
    squares = normal(seed, n) ** 2
    k = round(demo.share_holding(squares, part) * n)
    largest = np.sort(squares)[::-1]
    assert largest[:k].sum() >= part * squares.sum() * (1 - 1e-12)
    assert largest[:k - 1].sum() < part * squares.sum() * (1 + 1e-12)


def test_the_share_of_rows_of_equal_and_of_single_ones():
    assert demo.share_holding(np.ones(10), 0.9) in (0.9, 1.0)       # rounding decides which
    assert demo.share_holding(np.array([0, 5.0, 0, 0]), 0.9) == 0.25


def test_read_is_the_models_loss_at_each_position(lab):
    model = lab.runs(demo.TIED)[0].model
    ids, targets = demo.whole(lab)
    losses, guesses = demo.read(lab, model)
    logits, loss, _ = model.forward(ids, targets)
    assert losses.mean() == pytest.approx(float(loss), rel=1e-5)
    assert (guesses == logits.argmax(axis=2).ravel()).all()


@given(seeds, st.sampled_from(["E", "head"]), st.floats(0.1, 10))
def test_scaling_is_of_one_end_and_of_a_copy(seed, name, scale):
    config = GPTConfig(vocab_size=5, block_size=4, n_layer=1, n_head=1, n_embd=4)
    model = with_large_weights(config, seed)
    before = model.params.flat.copy()
    copy = demo.scaled(model, [name], 2, scale)
    assert (model.params.flat == before).all()
    expected = model.params.E.copy()
    expected[2] *= scale
    assert (copy.params.arrays[name] == expected).all()
    assert (copy.params.arrays["head" if name == "E" else "E"] == model.params.E).all()


def test_one_matrix_from_two(lab):
    model = lab.runs(demo.COPIES)[0].model
    for name in ("E", "head"):
        tied = demo.as_tied(model, name).params
        assert (tied.E == model.params.arrays[name]).all() and (tied.head == tied.E).all()
        assert (tied.P == model.params.P).all()


def test_rows_and_constants(lab):
    run = lab.runs(demo.UNTIED)[0]
    assert (demo.rows_of(lab, "untied input", run) == run.model.params.E[lab.common]).all()
    assert (demo.rows_of(lab, "untied output", run) == run.model.params.head[lab.common]).all()
    centred = demo.rows_of(lab, "untied output", run, centred=True)
    assert np.abs(centred.mean(axis=0)).max() < 1e-12
    # The mean of h is what makes the mean logits: mean of h · head = mean of (h · head).
    logits = run.model.forward(demo.whole(lab)[0])[0]
    bias, mean_h = demo.constants(lab, run.model)
    assert (bias == run.model.params.norm.bias).all()
    np.testing.assert_allclose(run.model.params.head @ mean_h, logits.mean(axis=(0, 1)), rtol=0, atol=1e-5)


# ---- words and numbers ---------------------------------------------------------------------------

def test_sentences_follow_the_numbers():
    assert demo.in_seeds([True] * 3) == "in all 3 seeds"
    assert demo.in_seeds([True] * 2) == "in both seeds"
    assert demo.in_seeds([True, False, True]) == "in 2 of 3 seeds"
    assert demo.in_seeds([False] * 2) == "in 0 of 2 seeds"
    assert demo.in_seeds([True]) == "in 1 of 1 seed"
    assert demo.verdict([True, True]) == "agrees with"
    assert demo.verdict([False, False]) == "contradicts"
    assert demo.verdict([True, False]) == "neither confirms nor contradicts"
    assert demo.signed([0.1, 0.2], "longer", "shorter") == "longer"
    assert demo.signed([-0.1, -0.2], "longer", "shorter") == "shorter"
    assert demo.signed([-0.1, 0.2], "longer", "shorter") == "neither clearly longer nor clearly shorter"
    assert "the same way" in demo.direction([0.2, 0.01])
    assert "against" in demo.direction([-0.2, -0.01])
    assert "right angles" in demo.direction([0.01, -0.02])
    assert "differ" in demo.direction([0.2, -0.2])


def test_spread():
    assert charts.spread([1.0]) == "1.000"
    assert charts.spread([1.0, 2.0, 3.0], 1) == "2.0 ± 1.0"


# ---- charts --------------------------------------------------------------------------------------

@given(st.floats(-1e4, 1e4), st.floats(1e-3, 1e4))
def test_ticks_are_few_and_within_the_axis(low, length):
    axis = charts.Axis(np.array([low, low + length]), False)
    ticks = axis.ticks()
    assert 2 <= len(ticks) <= 6
    slack = 1e-6 * (axis.high - axis.low)
    assert all(axis.low - slack <= tick <= axis.high + slack for tick in ticks)


@example(9.0, 1 + 2**-52)
@example(1.0, 1 + 2**-52)
@given(st.floats(1e-9, 1e3), st.floats(1, 1e9))
def test_logarithmic_ticks_too(low, factor):
    axis = charts.Axis(np.array([low, low * factor]), True)
    assert all(axis.low * 0.999 <= tick <= axis.high * 1.001 for tick in axis.ticks())
    assert 1 <= len(axis.ticks()) <= 10
    np.testing.assert_allclose(axis.place([axis.low, np.sqrt(axis.low) * np.sqrt(axis.high), axis.high]),
                               [0, 0.5, 1], atol=1e-6)


@given(seeds, st.integers(1, 30), st.booleans(), st.booleans(), st.booleans())
def test_charts_fit_and_leave_out_what_cannot_be_shown(seed, n, points, log_x, log_y):
    x, y = normal(seed, 2, n)
    chart = charts.Lines("t", "x", "y < z", {"a": (x, y), "b": (np.arange(1, 3), [1, np.nan])}, points, log_x, log_y)
    assert all(len(line) <= 80 for line in chart.text())
    svg = chart.svg()
    assert "nan" not in svg and "inf" not in svg and "y &lt; z" in svg
    shown = np.ones(n, bool)
    if log_x:
        shown &= x > 0
    if log_y:
        shown &= y > 0
    drawn = re.findall(r'(?:dots s0" d|class="s0" points)="(.*?)"', svg)[-1]
    assert len(re.findall(r"[\d.]+,[\d.]+", drawn)) == shown.sum()


def test_a_line_goes_from_corner_to_corner():
    chart = charts.Lines("t", "x", "y", {"up": ([0, 1], [0, 1])})
    lines = chart.text(rows=3)
    assert lines[1].endswith("●") and lines[3][11] == "●"
    ends = re.search(r'points="([\d.]+),([\d.]+) ([\d.]+),([\d.]+)"', chart.svg()).groups()
    assert [float(end) for end in ends] == [charts.LEFT, charts.H - charts.BOTTOM, charts.W - charts.RIGHT, charts.TOP]


def test_bars_start_at_zero_and_go_either_way():
    bars = charts.Bars("t", "x", {"up": [2.0, 2.0], "down": [-1.0, -1.0]})
    up, down = bars.text()[1:]
    assert up.count("█") == 2 * down.count("█") or abs(up.count("█") - 2 * down.count("█")) <= 1
    assert up.index("█") >= down.rindex("█")
    rects = re.findall(r'<rect class="bar" x="([\d.]+)" y="\d+" width="([\d.]+)"', bars.svg())
    (x1, w1), (x2, w2) = [(float(x), float(w)) for x, w in rects]
    assert w1 == pytest.approx(2 * w2, abs=0.3) and x1 == pytest.approx(x2 + w2, abs=0.2)


# ---- the whole -----------------------------------------------------------------------------------

class Reader(HTMLParser):
    """Notes what stands open and every address."""

    def __init__(self):
        super().__init__()
        self.open, self.charts, self.text = [], 0, ""

    def handle_starttag(self, tag, attributes):
        assert not {"src", "href", "onload"} & dict(attributes).keys()
        if tag != "meta":
            self.open.append(tag)
        self.charts += dict(attributes).get("role") == "img"

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_every_part_runs_alone_or_together(capsys, text, tmp_path):
    """One seed, all parts: the printed text fits, the page is whole, the numbers are finite."""
    page, numbers = tmp_path / "page.html", tmp_path / "numbers.json"
    assert demo.main([*SMALL, "--seeds", "1", "--text", text, "--html", str(page), "--json", str(numbers)]) == 0
    printed = capsys.readouterr().out
    for heading in ("1. The same", "2. Who writes", "3. Whose", "4. Where", "5. Does", "6. A tie"):
        assert heading in printed
    assert sorted(p.name for p in tmp_path.iterdir()) == ["numbers.json", "page.html"]

    reader = Reader()
    reader.feed(page.read_text(encoding="utf-8"))
    assert reader.open == [] and reader.charts == 15
    assert "http" not in page.read_text(encoding="utf-8")
    assert "prefers-color-scheme:dark" in page.read_text(encoding="utf-8")

    found = json.loads(numbers.read_text())
    assert [key for key in found if key.startswith("part")] == [f"part {n}" for n in range(1, 7)]
    assert "nan" not in printed.replace("nats", "")
    # The validation loss is one number, wherever it is told.
    assert found["part 1"]["tied"]["validation"][0][-1] == found["part 6"]["validation"]["tied"][0]
    # Scaled by 1, nothing changes.
    at_one = found["part 5"]["scales"].index(1)
    for side, values in found["part 5"]["guesses changed"].items():
        assert values[0][at_one] == 0
    assert not any(found["part 5"]["guesses changed"]["head on the output"][0])     # powers of 2: exact


def test_parts_can_be_chosen(capsys, text):
    assert demo.main([*SMALL, "--seeds", "2", "--steps", "3", "--text", text, "--part", "3"]) == 0
    printed = capsys.readouterr().out
    assert "3. Whose" in printed and "1. The same" not in printed
    assert "tied E of two seeds" in printed


@pytest.mark.parametrize("arguments, message", [
    (["--part", "7"], "--part"),
    (["--seeds", "0"], "--seeds: 0 given, expected at least 1"),
    (["--vocab-size", "0"], "--vocab-size: 0 given, expected at least 1"),
    (["--seed", "-1"], "--seed: -1 given, expected at least 0"),
    (["--html", "/no/such/folder/page.html"], "--html: /no/such/folder/page.html given"),
])
def test_bad_options_are_one_message_and_status_2(capsys, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        demo.main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_too_few_tokens_are_told_before_any_training(text, monkeypatch):
    monkeypatch.setattr(demo, "train", None)
    with pytest.raises(ValueError, match="^--least: 100000 given"):
        demo.main([*SMALL, "--text", text, "--least", "100000"])
