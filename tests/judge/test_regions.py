from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillwired.judge import Level, Word
from stillwired.judge.intervals import Interval
from stillwired.judge.regions import Region
from stillwired.judge.verdicts import locate

ends = st.floats(-2, 2, allow_nan=False)


def interval(low, high, clusters=40):
    return Interval((low + high) / 2, low, high, 8 * clusters, clusters, 0.1, 39, "t")


@pytest.mark.parametrize(
    ("region", "text"),
    [
        ({"at_least": 0.02}, "0.02"),
        ({"at_least": 0.005}, "0.005"),
        ({"at_least": 1}, "1"),
        ({"at_least": 0.3}, "0.30"),
        ({"at_most": 0.3}, "≤ 0.30"),
        ({"between": (0.15, 0.3)}, "0.15 … 0.30"),
        ({"within": 0.05}, "±0.05"),
        ({"between": (-0.1, 0.25)}, "−0.10 … 0.25"),
        ({"reported": True}, ""),
    ],
)
def test_a_region_reads_as_in_the_table(region, text):
    assert Level("arm", **region).region.text == text


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (0.021, 0.05, Word.HOLDS),
        (0.02, 0.05, Word.INCONCLUSIVE),
        (0.01, 0.05, Word.INCONCLUSIVE),
        (-0.01, 0.02, Word.INCONCLUSIVE),
        (-0.01, 0.019, Word.FAILS),
    ],
)
def test_an_interval_decides_and_one_that_touches_the_edge_does_not(low, high, word):
    assert locate(interval(low, high), Region("at least", low=0.02)) is word


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (0.16, 0.29, Word.HOLDS),
        (0.31, 0.35, Word.FAILS),
        (0.10, 0.14, Word.FAILS),
        (0.10, 0.40, Word.INCONCLUSIVE),
        (0.20, 0.31, Word.INCONCLUSIVE),
    ],
)
def test_a_band_has_two_edges(low, high, word):
    assert locate(interval(low, high), Region("between", low=0.15, high=0.3)) is word


def test_below_eight_clusters_nothing_holds_but_it_may_fail():
    region = Region("at least", low=0.02)
    assert locate(interval(0.5, 0.6, clusters=8), region) is Word.HOLDS
    assert locate(interval(0.5, 0.6, clusters=7), region) is Word.INCONCLUSIVE
    assert locate(interval(-0.6, -0.5, clusters=7), region) is Word.FAILS


@pytest.mark.parametrize("clusters", [2, 40])
@pytest.mark.parametrize("end", [0.001, float("inf")])
def test_without_a_region_nothing_is_decided(end, clusters):
    assert locate(interval(-end, end, clusters), Region("reported")) is Word.REPORTED


@given(st.tuples(ends, ends), st.tuples(ends, ends), st.floats(0, 1), st.floats(0, 1))
def test_widening_a_region_never_makes_a_verdict_worse(interval_ends, edges, left, right):
    (a, b), (low, high) = sorted(interval_ends), sorted(edges)
    order = [Word.FAILS, Word.INCONCLUSIVE, Word.HOLDS]
    narrow = locate(interval(a, b), Region("between", low=low, high=high))
    wide = locate(interval(a, b), Region("between", low=low - left, high=high + right))
    assert order.index(wide) >= order.index(narrow)
