"""demos/findings/charts.py: well-formed SVG in which every seed is drawn where its number is."""
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from findings import charts

numbers = st.lists(st.floats(-9, 9), min_size=3, max_size=3)
SVG = "{http://www.w3.org/2000/svg}"


@given(numbers, numbers)
def test_dots_are_where_their_numbers_are(a, b):
    groups = {"one": {"x & y": (a, "sum")}, "two": {"z": (b, "grey")}}
    svg = ElementTree.fromstring(charts.dots("a < b", "seeds", "nats", groups, (-9, 0, 9)))
    assert svg.get("aria-label") == "a < b"
    places = [float(circle.get("cx")) for circle in svg.iter(SVG + "circle")]
    ends = [float(text.get("x")) for text in svg.iter(SVG + "text") if text.text in ("-9", "9")]
    # Places are printed to 0.1.
    np.testing.assert_allclose(places, np.interp([*a, *b], (-9, 9), ends), atol=0.11)


@given(st.lists(numbers, min_size=1, max_size=3))
def test_lines_draw_each_seed_and_their_mean(seeds):
    svg = ElementTree.fromstring(charts.lines(
        "t", "x", "y", {"name": ([0, 1, 2], seeds, "lookup", "6 3")}, {0: "a", 2: "c"},
        {-9: "low", 9: "high"}, mark=(1, "here")))
    drawn = [[float(point.split(",")[1]) for point in line.get("points").split()]
             for line in svg.iter(SVG + "polyline")]
    ends = {text.text: float(text.get("y")) - 4 for text in svg.iter(SVG + "text")}
    expected = np.interp([*seeds, np.mean(seeds, axis=0)], (-9, 9), (ends["low"], ends["high"]))
    np.testing.assert_allclose(drawn, expected, atol=0.11)
    assert ends["name"] == pytest.approx(drawn[-1][-1], abs=0.11)


def test_labels_do_not_overlap():
    series = {name: ([0, 1], [[0, end]], "sum", "") for name, end in (("a", 0), ("b", 0.1))}
    svg = ElementTree.fromstring(
        charts.lines("t", "x", "y", series, {0: "", 1: ""}, {0: "", 9: ""}))
    a, b = (float(text.get("y")) for text in svg.iter(SVG + "text") if text.text in series)
    assert abs(a - b) >= 15
