from __future__ import annotations

import re
from xml.etree import ElementTree

import matplotlib as mpl
import pytest

from stillwired.report.curves_figure import Heading
from stillwired.report.drawing import LEFT, WIDTH
from stillwired.report.vector_heads_figure import (
    LABELLED,
    Box,
    Grid,
    described,
    figure,
    labels,
    largest,
    named,
)
from stillwired.report.vectors import HeadMap, head_map_of
from tests.report.made_vectors import head_map, record_of

SVG = "{http://www.w3.org/2000/svg}"
LINK = "{http://www.w3.org/1999/xlink}href"
HEADING = Heading("tiny", "quick")


def made(layers=30, heads=9, chosen=6):
    return head_map_of(record_of(figures={"head map": head_map(layers, heads, chosen)})[0])


def root_of(heads):
    return ElementTree.fromstring(figure(heads, HEADING))


def texts(root):
    return [text.text for text in root.iter(f"{SVG}text")]


@pytest.mark.parametrize("size", [(30, 9, 6), (18, 4, 3), (28, 16, 10), (80, 64, 102), (1, 1, 1)])
def test_every_cell_has_the_colour_of_its_effect_at_its_place(size):
    heads = made(*size)
    grid = Grid.of(size[0], size[1])
    uses = [use for use in root_of(heads).iter(f"{SVG}use") if "fill" in use.get("style", "")]
    # Few cells are drawn one by one.
    if size == (1, 1, 1):
        assert not uses
        return
    assert len(uses) == size[0] * size[1]
    most = largest(heads)
    assert most == max(abs(effect) for row in heads.effects for effect in row)
    for k, use in enumerate(uses):
        layer, head = divmod(k, size[1])
        box = grid.box((layer, head))
        place = float(use.get("x")), float(use.get("y"))
        assert place == pytest.approx((72 * box.left, 72 * box.lower), abs=1e-3)
        colour = mpl.colormaps["RdBu_r"](0.5 + heads.effects[layer][head] / most / 2)
        assert f"fill: {mpl.colors.to_hex(colour)}" in use.get("style")


def test_no_effect_has_the_palest_colour_and_both_signs_their_own():
    heads = HeadMap(((0.0, 0.2, -0.2, 0.1),) * 3, ((0, 1),), ("a",))
    uses = [use for use in root_of(heads).iter(f"{SVG}use") if "fill" in use.get("style", "")]
    none, gain, loss, _ = (re.search("#(..)(..)(..)", u.get("style")).groups() for u in uses[:4])
    assert all("f5" < part < "f8" for part in none)
    assert gain[0] > gain[2]
    assert loss[0] < loss[2]


def test_chosen_heads_are_outlined_and_the_strongest_named():
    heads = made()
    root = root_of(heads)
    outlines = [
        re.findall(r"[ML] ([\d.]+) ([\d.]+)", path.get("d"))
        for path in root.iter(f"{SVG}path")
        if "stroke: #1b1f24; stroke-width: 1.3" in path.get("style", "")
    ]
    grid = Grid.of(30, 9)
    found = {(min(float(x) for x, _ in o), min(float(y) for _, y in o)) for o in outlines}
    boxes = [grid.box(head) for head in heads.chosen]
    wanted = {(72 * box.left, 72 * box.upper) for box in boxes}
    assert len(outlines) == 6
    for place in wanted:
        assert any(place == pytest.approx(one, abs=1e-3) for one in found)
    # On the map and in the list of bars.
    for k, head in enumerate(heads.chosen):
        assert texts(root).count(named(head)) == (2 if k < LABELLED else 1)


@pytest.mark.parametrize("size", [(30, 9, 22), (18, 4, 6), (28, 16, 36), (80, 64, 410)])
def test_names_stay_on_the_map_and_hide_neither_each_other_nor_their_heads(size):
    heads = made(*size)
    grid = Grid.of(size[0], size[1])
    found = labels(heads.chosen[:LABELLED], heads.chosen, grid)
    assert list(found) == list(heads.chosen[:LABELLED])
    frame = grid.frame
    for head, box in found.items():
        assert frame.left - 1e-9 <= box.left < box.right <= frame.right + 1e-9
        assert frame.upper - 1e-9 <= box.upper < box.lower <= frame.lower + 1e-9
        inside = grid.cell > 0.4
        assert (box.overlap(grid.box(head)) > 0) == inside
        for other, place in found.items():
            assert other == head or box.overlap(place) == 0
    assert frame.right < WIDTH - 3


def test_a_name_goes_where_nothing_is_hidden():
    grid = Grid.of(30, 9)
    box = labels([(10, 4)], [(10, 4)], grid)[10, 4]
    assert box.left > grid.box((10, 4)).right
    box = labels([(10, 4)], [(10, 4), (11, 4), (12, 4)], grid)[10, 4]
    assert box.right < grid.box((10, 4)).left
    # At the right edge there is no room to the right.
    box = labels([(29, 4)], [(29, 4)], grid)[29, 4]
    assert box.right < grid.box((29, 4)).left


def test_cells_are_as_large_as_fits():
    assert Grid.of(18, 4).cell == pytest.approx(7.55 / 18)
    assert Grid.of(80, 64).cell == pytest.approx(7.55 / 80)
    assert Grid.of(12, 64).cell == pytest.approx(0.1)
    assert Grid.of(2, 2).cell == 0.46
    assert Grid(4, 3, 0.5).box((2, 1)) == pytest.approx(
        Box(LEFT + 1.0, Grid(4, 3, 0.5).frame.upper + 0.5, LEFT + 1.5, 2.4)
    )


def test_the_scale_is_centred_at_no_effect_and_says_what_it_is():
    heads = HeadMap(((0.0, 0.08, -0.02),) * 20, ((0, 1), (1, 1)), ("a", "b"))
    found = texts(root_of(heads))
    assert {"0.080", "0", "−0.080", "2 heads make vectors"} <= set(found)
    # In as many lines as a bar of this height has room for.
    assert "gain of the right answer's probability" in " ".join(filter(None, found))
    assert "profile quick, mean over 2 tasks" in found


def test_it_is_heard_which_heads_were_chosen():
    effects = [[0.0] * 4 for _ in range(20)]
    for k in range(12):
        effects[k + 4][1] = 0.12 - 0.01 * k
    heads = HeadMap(
        tuple(map(tuple, effects)), tuple((k + 4, 1) for k in range(12)), ("antonym", "b")
    )
    said = described(heads, HEADING)
    assert said.startswith(
        "tiny, profile quick: 20 layers of 4 heads, mean over 2 tasks (antonym, b)."
    )
    assert "(4, 1) 0.120, (5, 1) 0.110" in said
    assert "(13, 1) 0.030 and 2 more." in said
    # Layers 4 to 12 begin before two thirds of 20: 0.12 to 0.04 of 0.78.
    assert "0.92 of the chosen heads' effect lies in the first two thirds." in said
    root = root_of(heads)
    assert root.find(f"{SVG}desc").text == said
    assert "and 2 more" in texts(root)
