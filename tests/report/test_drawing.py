from __future__ import annotations

import re
from xml.etree import ElementTree

import matplotlib as mpl
import pytest

from stillwired.report.drawing import (
    INK,
    LEFT,
    TOP,
    Words,
    counted,
    ink_on,
    listed,
    picture,
    shortened,
)

SVG = "{http://www.w3.org/2000/svg}"
WORDS = Words(
    title="What it is",
    name="tiny & <small> $x_1$",
    profile="quick",
    under="3 tasks",
    notes=("A note.", " ".join(["word"] * 60)),
    said="One & two < three.",
)


def draw(sheet):
    sheet.box(LEFT, TOP, 1.0, 0.5, facecolor="#123456")
    sheet.line([0.0, 12.0], [2.0, 2.0], linewidth=3.5)
    sheet.text(5.0, 3.0, "$here_1$", color="#abcdef")
    sheet.scale(6.0, TOP, 1.0, lambda share: (share, 0.0, 0.0), {0.0: "none", 1.0: "all"}, "words")


def root_of(svg):
    return ElementTree.fromstring(svg)


def test_places_are_inches_from_the_upper_left_corner():
    root = root_of(picture(WORDS, 2.5, draw))
    (box,) = (p for p in root.iter(f"{SVG}path") if "fill: #123456" in p.get("style", ""))
    numbers = [float(n) for n in re.findall(r"-?[\d.]+", box.get("d"))]
    assert min(numbers[::2]) == pytest.approx(72 * LEFT)
    assert max(numbers[::2]) == pytest.approx(72 * (LEFT + 1))
    assert min(numbers[1::2]) == pytest.approx(72 * TOP)
    assert max(numbers[1::2]) == pytest.approx(72 * (TOP + 0.5))
    (text,) = (t for t in root.iter(f"{SVG}text") if t.text == "$here_1$")
    assert (float(text.get("x")), float(text.get("y"))) == pytest.approx((360, 216))


def test_a_picture_names_checkpoint_and_profile_and_is_heard():
    root = root_of(picture(WORDS, 2.5, draw))
    found = [text.text for text in root.iter(f"{SVG}text")]
    assert {"What it is", WORDS.name, "profile quick, 3 tasks", "A note."} <= set(found)
    title, desc = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title.text == f"What it is: {WORDS.name}, profile quick"
    assert desc.text == WORDS.said
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == f"{title.get('id')} {desc.get('id')}"
    assert root.get("style") == "max-width: 100%; height: auto"


def test_the_page_is_white_and_tall_enough_for_its_notes():
    root = root_of(picture(WORDS, 2.5, draw))
    height = float(root.get("height").removesuffix("pt"))
    # The second note takes two lines.
    assert len(WORDS.lines) == 3
    assert height == pytest.approx(72 * (TOP + 2.5 + 0.26 + 3 * 0.165))
    lowest = max(float(t.get("y")) for t in root.iter(f"{SVG}text") if t.text in WORDS.lines)
    assert lowest < height - 5
    page = next(root.iter(f"{SVG}path"))
    assert "fill: #ffffff" in page.get("style")


def test_the_same_bytes_whatever_the_user_s_style():
    first = picture(WORDS, 2.5, draw)
    with mpl.rc_context({"font.size": 20, "svg.fonttype": "path", "figure.facecolor": "black"}):
        assert picture(WORDS, 2.5, draw) == first
    assert not re.search(r"20\d\d-\d\d-\d\d", first)


def test_a_scale_runs_upwards():
    root = root_of(picture(WORDS, 2.5, draw))
    fills = [
        int(found[1][:2], 16)
        for path in root.iter(f"{SVG}path")
        if (found := re.search(r"fill: #([0-9a-f]{2}0000)", path.get("style", "")))
    ]
    assert len(fills) == 64
    assert fills == sorted(fills, reverse=True)
    height = {t.text: float(t.get("y")) for t in root.iter(f"{SVG}text") if t.get("y")}
    assert height["none"] - height["all"] == pytest.approx(72, abs=0.01)


@pytest.mark.parametrize(
    ("colour", "ink"), [((1, 1, 1), INK), ((0, 0, 0), "#ffffff"), ((0.0, 0.2, 0.5, 1.0), "#ffffff")]
)
def test_ink_is_what_reads_better(colour, ink):
    assert ink_on(colour) == ink


def test_small_words():
    assert (counted(1, "task"), counted(1200, "task")) == ("1 task", "1,200 tasks")
    assert shortened("a long, name", 8) == "a long…"
    assert shortened("short", 5) == "short"
    assert shortened("choose-first-of-5", 12, end=4) == "choose-…of-5"


def test_lists_end_with_a_whole_name_and_count_the_rest():
    names = ("antonym", "capitalize", "verb-ing")
    assert listed(names, 29) == "antonym, capitalize, verb-ing"
    assert listed(names, 28) == "antonym and 2 more"
    assert listed(names, 3) == "antonym and 2 more"
    assert listed((), 3) == ""
