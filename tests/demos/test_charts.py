"""demos/lib/charts.py and report.py: what is drawn is what was given, and fits."""
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lib import charts
from lib.report import Report, in_seeds, verdict
from strategies import normal, seeds

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


@given(seeds, st.booleans())
def test_charts_of_one_figure_have_one_scale(seed, log):
    a, b, c = np.abs(normal(seed, 3, 5)) + 0.1
    one, two = charts.on_one_scale([charts.Lines("1", "x", "y", {"a": (a, b)}, log_x=log),
                                    charts.Lines("2", "x", "z", {"b": (b, c)}, log_x=log)])
    (x1, y1), (x2, y2) = one.axes(), two.axes()
    assert (x1.low, x1.high) == (x2.low, x2.high) == (min(a.min(), b.min()), max(a.max(), b.max()))
    assert (y1.low, y2.low) == (b.min(), c.min())               # they show different things
    left, right = charts.on_one_scale([charts.Bars("1", "x", {"a": a}), charts.Bars("2", "x", {"b": -b})])
    assert (left.axis().low, left.axis().high) == (right.axis().low, right.axis().high) == (-b.max(), a.max())


def test_spread():
    assert charts.spread([1.0]) == "1.000"
    assert charts.spread([1.0, 2.0, 3.0], 1) == "2.0 ± 1.0"


# ---- reports -------------------------------------------------------------------------------------

class Reader(HTMLParser):
    """Notes what stands open, every address, and the text."""

    def __init__(self):
        super().__init__()
        self.open, self.charts, self.text, self.ids, self.links = [], 0, "", [], []

    def handle_starttag(self, tag, attributes):
        assert not {"src", "onload"} & dict(attributes).keys()
        self.ids.append(dict(attributes).get("id"))
        self.links.append(dict(attributes).get("href", "#").removeprefix("#"))      # to places on this page only
        if tag != "meta":
            self.open.append(tag)
        self.charts += dict(attributes).get("role") == "img"

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def a_report():
    report = Report("What < is it?")
    report.say("It begins.")
    report.finding(4, "A claim & its " + "long " * 20 + "end.", "3 ± 1 of 4.")
    report.table(["", "a|b", "c"], [["row", "1", "22"], ["another", "333", "4"]])
    report.charts(charts.Bars("Bars", "x", {"a": [1.0]}), charts.Bars("More", "x", {"b": [3.0]}))
    return report


def test_a_report_says_the_same_in_a_terminal_on_a_page_and_in_markdown():
    report = a_report()
    text, page, markdown = report.text(), Reader(), report.markdown()
    page.feed(report.html())
    assert page.open == [] and page.charts == 2
    assert all(len(line) <= 80 for line in text.split("\n"))
    assert set(filter(None, page.links)) == {"4"} <= set(page.ids)
    for said in ("What < is it?", "It begins.", "3 ± 1 of 4.", "333", "Bars"):
        assert said in text and said in page.text.replace("\u00a0", " ") and said in markdown
    assert "| row | 1 | 22 |" in markdown and "a\\|b" in markdown
    assert text.index("3 ± 1") < text.index("-----") < text.index("333")      # the answer first, then the details
    html = report.html()
    assert re.search(r"<summary>4\. A claim &amp; its .*?</summary>.*333", html)
    assert "<th></th>" not in html and html.count('class="wide" tabindex="0"') == html.count("<table>") == 1
    assert "beforeprint" in html            # what is folded away is there on paper


def test_words_follow_the_numbers():
    assert in_seeds([True] * 3) == "in all 3 seeds"
    assert in_seeds([True] * 2) == "in both seeds"
    assert in_seeds([True, False, True]) == "in 2 of 3 seeds"
    assert in_seeds(np.array([False, False])) == "in none of 2 seeds"
    assert in_seeds([True]) == "in the one run" and in_seeds([False]) == "in none"
    assert verdict([True]) == "It holds" and verdict([False]) == "It does not hold"
    assert verdict([True, True, True]) == "It holds in all 3 seeds"
    assert verdict(np.array([False, False])) == "It does not hold in any seed"
    assert verdict([True, False]) == "It does not hold in every seed, only in 1 of 2 seeds"
