"""demos/lib/charts.py: well-formed SVG in which every seed is drawn where its number is."""
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib import charts

numbers = st.lists(st.floats(-9, 9), min_size=2, max_size=5)
SVG = "{http://www.w3.org/2000/svg}"


@given(numbers, numbers)
def test_dots_are_as_far_apart_as_their_numbers(a, b):
    groups = {"one": {"x & y": (a, "sum")}, "two": {"z": (b, "grey")}}
    svg = ElementTree.fromstring(charts.dots("a < b", "nats", groups, "seeds"))
    assert svg.get("aria-label") == "a < b"
    places = [float(circle.get("cx")) for circle in svg.iter(SVG + "circle")]
    values = [*a, *b]
    assert len(places) == len(values)
    if np.ptp(values) > 0.1:
        scale, shift = np.polyfit(values, places, 1)
        # Places are printed to 0.1.
        assert scale > 0 and np.abs(np.polyval([scale, shift], values) - places).max() <= 0.11


@given(st.lists(numbers.filter(lambda x: len(x) == 3), min_size=1, max_size=3), st.booleans())
def test_lines_draw_each_seed_and_their_mean(seeds, log):
    values = np.exp(np.array(seeds)) if log else np.array(seeds)
    values[0, 0] += 1
    svg = ElementTree.fromstring(charts.lines(
        "t", "x", "y", {"name": ([1, 10, 100], values, "lookup", "6 3")}, log_x=True, log_y=log,
        mark=(10, "here")))
    lines = [line.get("points").split() for line in svg.iter(SVG + "polyline")]
    assert len(lines) == len(values) + 1 and all(len(points) == 3 for points in lines)
    across = [float(point.split(",")[0]) for point in lines[0]]
    assert across[1] - across[0] == pytest.approx(across[2] - across[1], abs=0.2)
    assert "name" in "".join(svg.itertext()) and "here" in "".join(svg.itertext())


def test_labels_do_not_overlap():
    ends = charts.apart([[10.0, "a", ""], [11.0, "b", ""], [12.0, "c", ""]])
    places = [at for at, *_ in ends]
    assert min(np.diff(places)) >= 15


@given(st.floats(-100, 100), st.floats(0.01, 200))
def test_ticks_are_round_and_inside(low, size):
    ticks = charts.round_numbers(low, low + size)
    assert 2 <= len(ticks) <= 8
    assert low - 1e-6 * size <= ticks[0] and ticks[-1] <= low + size * (1 + 1e-6)


def test_a_colour_means_one_thing_in_both_modes():
    svg = charts.dots("t", "x", {"g": {"r": ([1, 2], "logits")}}, "n")
    for light, dark in charts.COLOURS.values():
        assert light in svg and dark in svg
    assert not re.search(r"https?://(?!www\.w3\.org)", svg)


def test_save_writes_the_text(tmp_path):
    charts.save(tmp_path / "a.svg", "näher")
    assert (tmp_path / "a.svg").read_text(encoding="utf-8") == "näher"
