from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest

from stillwired.report.curves import Point
from stillwired.report.curves_figure import Heading
from stillwired.report.drawing import LEFT, TOP
from stillwired.report.vector_depth_figure import COLOURED, described, figure, looks_of, ranked
from stillwired.report.vectors import Depths, depths_of, published_depths
from tests.report.made_vectors import RATES, depth_cell, record_of

SVG = "{http://www.w3.org/2000/svg}"
HEADING = Heading("tiny", "quick")


def made(rates, *more):
    cells = [depth_cell(task, rate) for task, rate in rates.items()]
    return depths_of(*record_of(*cells, *more, layers=30))


ALL = made(RATES, depth_cell("choose-last-of-3", 0.1, "NOT APPLICABLE"))


def root_of(depths):
    return ElementTree.fromstring(figure(depths, published_depths(), HEADING))


def lines_of(root, style):
    """Polylines with a style, as relative depth and share."""
    ticks = {
        float(t.text): float(t.get("y"))
        for t in root.iter(f"{SVG}text")
        if re.fullmatch(r"[01]\.\d", t.text or "") and "anchor: end" in t.get("style")
    }
    high, low = max(ticks), min(ticks)
    per_share = (ticks[low] - ticks[high]) / (high - low)
    floor = 72 * (TOP + 4.0)
    found = []
    for path in root.iter(f"{SVG}path"):
        if style in path.get("style", ""):
            places = re.findall(r"[ML] ([\d.]+) ([\d.]+)", path.get("d"))
            found.append(
                [
                    (((float(x) / 72 - LEFT) / 6.75) * 1.03 - 0.015, (floor - float(y)) / per_share)
                    for x, y in places
                ]
            )
    return found


def plotted(points):
    return [(p.depth, p.value) for p in points]


def same(line, points):
    return len(line) == len(points) and all(
        place == pytest.approx(point, abs=2e-3) for place, point in zip(line, points, strict=True)
    )


def test_every_line_stands_where_its_numbers_are():
    root = root_of(ALL)
    mean = lines_of(root, "stroke: #1b1f24; stroke-width: 2.8")
    assert any(same(line, plotted(ALL.mean)) for line in mean)
    for task, looks in looks_of(ALL).items():
        solid = looks["linestyle"] == "-"
        before = "fill: none; " if solid else "stroke-dashoffset: 0; "
        drawn = lines_of(root, f"{before}stroke: {looks['color']}; stroke-opacity: 0.9")
        assert len(drawn) == 2, task  # and its key
        assert any(same(line, plotted(ALL.tasks[task])) for line in drawn), task
    published = lines_of(root, "stroke: #8a929c")
    theirs = published_depths()
    assert any(same(line, plotted(theirs.points)) for line in published)
    limit = plotted((theirs.points[-1], *theirs.rest))
    assert any(same(line, limit) for line in published)
    level = lines_of(root, "stroke-dasharray: 6.5")
    assert any(
        len(line) == 2 and all(share == pytest.approx(0.05, abs=2e-3) for _, share in line)
        for line in level
    )


def test_tasks_stand_in_the_order_of_their_highest_hits_with_their_depth():
    texts = [text.text for text in root_of(ALL).iter(f"{SVG}text")]
    order = sorted(RATES, key=lambda task: -RATES[task])
    assert ranked(ALL) == order
    assert [text for text in texts if text in RATES] == order
    at = texts.index("antonym")
    assert texts[at + 1 : at + 4] == ["0.45", "0.31", "0.05"]
    assert "mean of 7 tasks" in texts
    assert "without a vector, 0.05" in texts
    assert "profile quick, 7 tasks, zero-shot; 1 task left out" in texts
    assert any(text and text.endswith("or a check failed: choose-last-of-3.") for text in texts)


def test_tasks_can_be_told_apart_as_long_as_there_are_few():
    looks = looks_of(made({f"t{k}": 0.5 for k in range(COLOURED)}))
    assert len({(one["color"], str(one["linestyle"])) for one in looks.values()}) == COLOURED
    many = made({f"t{k:02}": 0.3 + k / 60 for k in range(30)})
    assert len({str(one) for one in looks_of(many).values()}) == 1
    texts = [text.text for text in root_of(many).iter(f"{SVG}text")]
    assert "… 22 tasks between …" in texts
    order = ranked(many)
    assert [text for text in texts if text in order] == [*order[:4], *order[-4:]]


def test_one_task_is_its_own_mean():
    one = made({"antonym": 0.45})
    root = root_of(one)
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert not any(text and text.startswith("mean of") for text in texts)
    assert any(text and "interval over the task's questions" in text for text in texts)
    assert not lines_of(root, "stroke: #1b1f24; stroke-width: 2.8")


def test_bands_without_an_end_stay_on_the_page():
    points = tuple(Point(d, 0.3, -math.inf, math.inf, 2) for d in (0.0, 0.5, 1.0))
    depths = Depths({"a": points, "b": points}, points, {"a": points[0], "b": points[0]}, points[0])
    svg = figure(depths, published_depths(), HEADING)
    assert "nan" not in svg
    assert "inf" not in svg
    assert "no interval" in described(depths, published_depths(), HEADING)


def test_screen_readers_are_told_the_numbers():
    root = root_of(ALL)
    said = described(ALL, published_depths(), HEADING)
    assert root.find(f"{SVG}desc").text == said
    point = ALL.mean[3]
    assert f"{point.value:.3f} at 0.31 ({point.low:.3f} to {point.high:.3f})" in said
    assert "antonym: at most 0.450, at 0.31, 0.050 without a vector." in said
    assert "GPT-J-6B, antonym: 0.420 at 0.00, 0.550 at 0.11" in said
    assert "at most 0.02 from 0.67 on." in said
    assert "Left out: choose-last-of-3." in said
    assert published_depths().source in said
