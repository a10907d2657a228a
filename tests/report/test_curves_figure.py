from __future__ import annotations

import math
import re
from itertools import pairwise
from xml.etree import ElementTree

import matplotlib as mpl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillwired.report.curves import Curve, Curves, Point, curves_of, places_of, published
from stillwired.report.curves_figure import Heading, common_top, described, figure, spread
from tests.report.made_curves import DEPTHS, family, outcome, told

SVG = "{http://www.w3.org/2000/svg}"
HEADING = Heading("tiny & <small> $x_1$", "quick")


def made(*arms):
    record, outcomes = told(*arms)
    (curves,) = curves_of(places_of(record), outcomes)
    return curves


FULL = made(
    *(family(reader) for reader in ("learned", "fixed", "fair linear", "linear", "vocabulary")),
    family("learned", DEPTHS[:3], trained="1+2+3"),
    outcome("bigram", rate=0.25),
    outcome("no state", states="none"),
    outcome("constant", rate=0.05),
)


def texts(svg):
    return ["".join(text.itertext()) for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_a_figure_names_both_sides_and_every_reader():
    found = texts(figure(FULL, published(), HEADING))
    assert found.count("linear map") == found.count("learned prompt") == 2
    for text in (
        "Future Lens, N = 1: how often a reader of one state foresees the token after next",
        HEADING.name,
        "profile quick, 160 rows",
        "GPT-J-6B",
        "learned for N=1+2+3",
        "linear map, fed tokens",
        "prompt, no state",
        "token pairs",
        "constant guess",
    ):
        assert text in found


def test_the_same_curves_give_the_same_bytes_whatever_the_user_s_style():
    first = figure(FULL, published(), HEADING)
    with mpl.rc_context({"font.size": 20, "svg.fonttype": "path", "axes.grid": False}):
        assert figure(FULL, published(), HEADING) == first
        assert mpl.rcParams["font.size"] == 20
    assert "dc:date" not in first
    assert not re.search(r"20\d\d-\d\d-\d\d", first)


def test_screen_readers_are_told_the_numbers():
    root = ElementTree.fromstring(figure(FULL, published(), HEADING))
    assert root.get("role") == "img"
    title, desc = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert root.get("aria-labelledby") == f"{title.get('id')} {desc.get('id')}"
    assert title.text.startswith("Future Lens, N = 1")
    assert desc.text == described(FULL, published(), HEADING)
    point = FULL.curves[0].points[0]
    said = f"Learned prompt: {point.value:.3f} at 0.10 ({point.low:.3f} to {point.high:.3f}), "
    assert said in desc.text
    assert "Token pairs: 0.250 (" in desc.text
    assert "Learned prompt: 0.378 at 0.00, at most 0.482 at 0.48, 0.238 at 1.00." in desc.text
    assert published().source in desc.text


@pytest.mark.parametrize(
    ("ahead", "says"),
    [
        (0, "foresees the next token"),
        (2, "foresees the second token after the next"),
        (7, "foresees the token 7 after the next"),
    ],
)
def test_other_n_are_drawn_with_or_without_published_curves(ahead, says):
    found = texts(figure(made(family("linear", ahead=ahead)), published(), HEADING))
    assert f"Future Lens, N = {ahead}: how often a reader of one state {says}" in found
    assert ("GPT-J-6B" in found) == (ahead < 4)
    assert any("No curves are published for N = 7" in text for text in found) == (ahead == 7)


def test_bands_without_an_end_stay_on_the_page():
    open_ended = Point(0.5, 0.3, -math.inf, math.inf, 8)
    points = (Point(0.1, 0.2, 0.1, 0.3, 8), open_ended, Point(0.9, 0.2, 0.1, 0.3, 8))
    curves = Curves(1, (Curve("linear", points), Curve("fixed", (open_ended,))))
    svg = figure(curves, published(), HEADING)
    assert "inf" not in svg.replace("inf)", "").replace("(-inf", "")
    assert "nan" not in svg


def test_legends_do_not_overlap():
    root = ElementTree.fromstring(figure(FULL, published(), HEADING))
    labels = [
        (float(text.get("x")), float(text.get("y")))
        for text in root.iter(f"{SVG}text")
        if "size: 10px" in text.get("style") and "anchor: start" in text.get("style")
    ]
    sides = [sorted(y for x, y in labels if x == left) for left in {x for x, _ in labels}]
    assert {len(FULL.curves), 5} <= {len(heights) for heights in sides}
    for heights in sides:
        assert all(b - a > 11 for a, b in pairwise(heights))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.01, 0.2))
def test_heights_keep_their_gap_their_order_and_their_room(wanted, gap):
    moved = spread(wanted, gap, 0.0, 1.0)
    room = min(gap, 1 / max(len(wanted) - 1, 1))
    ordered = sorted(moved)
    assert ordered[0] >= -1e-9
    assert ordered[-1] <= 1 + 1e-9
    assert all(b - a >= room - 1e-9 for a, b in pairwise(ordered))
    for k, height in enumerate(wanted):
        assert all(moved[j] >= moved[k] for j, other in enumerate(wanted) if other > height)


def test_heights_that_need_not_move_stay():
    assert spread([0.9, 0.1, 0.5], 0.1, 0.0, 1.0) == pytest.approx([0.9, 0.1, 0.5])
    assert spread([0.5, 0.5], 0.1, 0.0, 1.0) == pytest.approx([0.45, 0.55])
    assert spread([0.0, 0.0], 0.1, 0.0, 1.0) == pytest.approx([0.0, 0.1])


@pytest.mark.parametrize(
    ("highest", "top"),
    [(0.48, 0.5), (0.5, 0.6), (0.97, 1.0), (0.31, 0.35), (1.3, 1.0), (0.0, 0.05)],
)
def test_both_sides_end_at_a_tick_above_everything(highest, top):
    low = Curves(1, (Curve("linear", (Point(0.5, 0.0, 0.0, 0.0),)),))
    high = Curves(1, (Curve("linear", (Point(0.5, highest, 0.0, math.inf),)),))
    assert common_top([low, high]) == common_top([high, low]) == pytest.approx(top)
