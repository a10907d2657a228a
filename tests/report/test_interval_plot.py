"""What is drawn lies where its figures say."""

from __future__ import annotations

import re

import pytest

from stillwired.judge.regions import Region
from stillwired.report.interval_plot import WIDTH, Bar, Scale, axis, drawing


def places(svg, pattern):
    return [float(x) for x in re.findall(pattern, svg)]


def test_a_scale_has_room_for_everything_and_for_zero():
    region = Region("between", low=0.15, high=0.9)
    bars = [Bar(0.3, 0.2, 0.4, region), Bar(0.5, None, 0.6, None, published=-0.7)]
    scale = Scale.over(bars)
    assert scale.low < -0.7
    assert scale.high > 0.9
    for bar in bars:
        for value in bar.values:
            assert 0 < scale.at(value) < WIDTH
    assert scale.at(0.3) - scale.at(0) == pytest.approx(scale.at(0.6) - scale.at(0.3), abs=0.2)
    above = Scale.over([Bar(0.5, 0.4, 0.6)])
    assert above.at(0) < above.at(0.4) < above.at(0.5) < above.at(0.6)


def test_nothing_at_all_still_has_a_scale():
    assert 0 < Scale.over([Bar(0.0)]).at(0) < WIDTH
    assert 0 < Scale.over([]).at(0) < WIDTH


def test_an_interval_stands_where_its_ends_are():
    scale = Scale(0, 1)
    bar = Bar(0.5, 0.25, 0.75, Region("at least", low=0.4), published=0.9)
    svg = drawing(bar, scale)
    assert places(svg, r'<circle cx="([\d.]+)"') == [scale.at(0.5)]
    assert f'class="i" d="M{scale.at(0.25):g} 9H{scale.at(0.75):g}' in svg
    assert places(svg, r'class="m" d="M([\d.]+) ') == [scale.at(0.9)]
    # The ground begins at the edge and runs to the end of the drawing.
    (left, width) = places(svg, r'class="g" x="([\d.]+)"') + places(svg, r'width="([\d.]+)"')
    assert left == scale.at(0.4)
    assert left + width == pytest.approx(WIDTH)


@pytest.mark.parametrize(
    ("region", "left", "right"),
    [
        (Region("at most", high=0.4), 0.0, "high"),
        (Region("between", low=0.2, high=0.4), "low", "high"),
        (Region("within", low=-0.1, high=0.1), "low", "high"),
        (Region("above", low=0.0), "low", WIDTH),
    ],
)
def test_every_region_is_shaded_between_its_edges(region, left, right):
    scale = Scale(-0.5, 1)
    svg = drawing(Bar(0.3, 0.2, 0.4, region), scale)
    x, width = (places(svg, rf'{name}="([\d.]+)"')[0] for name in ("x", "width"))
    assert x == (scale.at(region.low) if left == "low" else left)
    expected = scale.at(region.high) if right == "high" else right
    assert x + width == pytest.approx(expected, abs=0.11)


def test_an_open_end_runs_out_and_looks_different():
    scale = Scale(0, 1)
    svg = drawing(Bar(0.5, None, None), scale)
    assert f"M0 9H{WIDTH}" in svg
    assert 'class="i u"' in svg
    assert 'class="i u"' not in drawing(Bar(0.5, 0.4, 0.6), scale)


def test_reported_cells_have_no_ground_and_unmeasured_ones_no_bar():
    scale = Scale(0, 1)
    assert 'class="g"' not in drawing(Bar(0.5, 0.4, 0.6, Region("reported")), scale)
    empty = drawing(Bar(None), scale)
    assert "circle" not in empty
    assert 'class="i' not in empty


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (-0.01, 0.21, [0, 0.1, 0.2]),
        (-0.06, 0.11, [-0.05, 0, 0.05, 0.1]),
        (-1, 11, [0, 5, 10]),
        (-2e-5, 1.2e-4, [0, 5e-5, 1e-4]),
    ],
)
def test_ticks_are_round(low, high, ticks):
    assert Scale(low, high).ticks == pytest.approx(ticks)
    written = re.findall(r">([^<]+)</text>", axis(Scale(low, high)))
    assert [float(text.replace("−", "-")) for text in written] == pytest.approx(ticks)
