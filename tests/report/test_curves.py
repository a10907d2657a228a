from __future__ import annotations

import json
from dataclasses import replace
from importlib import resources

import numpy as np
import pytest

from stillwired.judge.intervals import mean_interval
from stillwired.report.curves import Place, curves_of, place_of, places_of, published
from tests.report.made_curves import DEPTHS, family, outcome, told

PLAIN = {"reader": "linear", "ahead": 1, "relative": 0.5}


@pytest.mark.parametrize(
    ("factors", "place"),
    [
        ({}, Place(1, "linear", 0.5)),
        ({"states": "own", "population": "all", "share": 1.0}, Place(1, "linear", 0.5)),
        ({"within": 1, "score": "hits", "trained": "1"}, Place(1, "linear", 0.5)),
        ({"relative": 0}, Place(1, "linear", 0.0)),
        ({"trained": "1+2+3"}, Place(1, "linear, trained for N=1+2+3", 0.5)),
        ({"reader": "bigram", "relative": None}, Place(1, "bigram", None)),
        (
            {"reader": "no state", "relative": None, "states": "none"},
            Place(1, "no state", None),
        ),
        ({"states": "shuffled"}, None),
        ({"states": "none"}, None),
        ({"population": "next-right"}, None),
        ({"within": 5}, None),
        ({"score": "surprisal"}, None),
        ({"share": 0.5}, None),
        ({"fed": "wrong first"}, None),
        ({"prompt_of": "depth0.50"}, None),
        ({"states_of": "depth0.90"}, None),
        # A reader of a state must say where; one without a state stands nowhere.
        ({"relative": None}, None),
        ({"reader": "bigram"}, None),
        ({"reader": "skip-bigram", "relative": None}, None),
        # Other instruments may use the same words.
        ({"reader": None}, None),
        ({"ahead": "1"}, None),
        ({"relative": "middle"}, None),
    ],
)
def test_only_plain_accuracies_have_a_place(factors, place):
    assert place_of(PLAIN | factors) == place


def test_of_several_outcomes_at_one_place_most_rows_win_then_the_plainest_name():
    many = outcome("linear", 0.5, rows=320, rate=0.2, name="linear map, all rows, a long name")
    detail = outcome("linear", 0.5, rate=0.8, name="linear map, put in at depth0.90")
    record, outcomes = told(family("linear"), many, detail)
    (curves,) = curves_of(places_of(record), outcomes)
    assert [p.rows for p in curves.curves[0].points] == [160, 160, 320, 160, 160]
    record, outcomes = told(detail, family("linear"))
    (curves,) = curves_of(places_of(record), outcomes)
    assert curves.curves[0].points[2].value == pytest.approx(0.2)
    assert curves.rows == (160, 160)


def test_bands_are_the_judge_s_intervals_over_documents():
    hits = family("linear")
    # Averages over prompts are no hits, and get another interval.
    quarters = np.random.default_rng(0).integers(0, 5, 160) / 4
    means = replace(outcome("fixed", 0.5), scores=quarters)
    record, outcomes = told(hits, means)
    (curves,) = curves_of(places_of(record), outcomes)
    fixed, linear = curves.curves
    measured = [*zip(linear.points, hits.values(), strict=True), (fixed.points[0], means)]
    for point, one in measured:
        scale = "free" if one is means else "hits"
        interval = mean_interval(one.scores, one.clusters, scale)
        ends = (interval.estimate, interval.low, interval.high)
        assert (point.value, point.low, point.high) == pytest.approx(ends)
        assert interval.clusters == 20


def test_readers_stand_in_their_order_and_those_without_a_state_are_level():
    arms = [
        outcome("constant", rate=0.05),
        outcome("bigram", rate=0.25),
        outcome("no state", states="none", trained="1"),
        family("vocabulary"),
        family("learned, as tokens"),
        family("learned", depths=reversed(DEPTHS)),
    ]
    record, outcomes = told(*arms)
    (curves,) = curves_of(places_of(record), outcomes)
    assert [(curve.reader, curve.level) for curve in curves.curves] == [
        ("learned", False),
        ("vocabulary", False),
        ("learned, as tokens", False),
        ("no state", True),
        ("bigram", True),
        ("constant", True),
    ]
    assert [point.depth for point in curves.curves[0].points] == list(DEPTHS)
    (level,) = curves.curves[4].points
    assert level.depth is None
    assert level.value == 0.25
    assert level.low < 0.25 < level.high


def test_an_n_is_drawn_where_some_reader_has_three_depths():
    few = family("linear", DEPTHS[:2], ahead=2)
    three = family("linear", DEPTHS[:3], ahead=3)
    record, _ = told(few, three, outcome("bigram", ahead=2), outcome("bigram", ahead=3))
    assert {place.ahead for place in places_of(record)} == {3}
    assert places_of(told(few)[0]) == {}
    assert places_of(told()[0]) == {}


def test_of_readers_that_are_not_named_two_depths_are_not_drawn():
    other, learned = family("fixed, hello", DEPTHS[:2]), outcome("learned", 0.5)
    places = places_of(told(family("linear"), other, learned)[0])
    assert {place.reader for place in places} == {"linear", "learned"}


@pytest.mark.parametrize("block", ["null", "planted", "ability"])
def test_what_was_altered_on_purpose_is_not_drawn(block):
    assert places_of(told(family("linear"), block=block)[0]) == {}
    assert places_of(told(family("linear"), block="beside")[0])


def test_published_numbers_stand_at_their_relative_depth():
    curves = published().curves
    assert sorted(curves) == [0, 1, 2, 3]
    by_reader = {curve.reader: curve.points for curve in curves[1].curves}
    assert list(by_reader) == ["learned", "fixed", "linear", "vocabulary", "bigram"]
    learned, fixed = by_reader["learned"], by_reader["fixed"]
    assert (learned[0].depth, learned[0].value) == (0.0, 0.378)
    # Block 14 of 28, counted from 1.
    assert (learned[13].depth, learned[13].value) == (13 / 27, 0.482)
    assert (learned[27].depth, learned[27].value) == (1.0, 0.238)
    # Block 2 is hidden in the figure, and the third keeps its place.
    assert len(fixed) == 27
    assert (fixed[1].depth, fixed[1].value) == (2 / 27, 0.174)
    assert by_reader["bigram"][0].value == 0.201
    assert by_reader["bigram"][0].depth is None
    assert not any(curve.level for ahead in (0, 2, 3) for curve in curves[ahead].curves)
    assert max(p.value for p in curves[0].curves[2].points) == 0.978


def test_published_numbers_say_where_they_come_from():
    file = resources.files("stillwired.report") / "gptj_future_lens.json"
    data = json.loads(file.read_text(encoding="utf-8"))
    for fact in ("CoNLL 2023", "arXiv 2311.04897", "GPT-J-6B", "±0.005", "N=1", "0.201"):
        assert fact in data["source"]
    for readers in data["curves"].values():
        assert [len(values) for values in readers.values()] == [data["blocks"]] * 4
