"""Rows, populations, draws and the cache that all instruments of a text share."""

from __future__ import annotations

import numpy as np
import pytest

from stillwired.errors import CorpusError, UsageError
from stillwired.instruments.depths import FIRST, LATE, MIDDLE, Band
from stillwired.instruments.survey import SurveyPlan
from stillwired.instruments.text import TextReadings, entropy, other_document
from stillwired.store.cache import Store
from tests.instruments.conftest import PLAN, SMALL, made_checkpoint, made_corpus


def never():
    raise AssertionError("asked for although it lies in the cache")


def unread(text, checkpoint=None, corpus=None, plan=PLAN):
    """Readings that may neither run the model nor open the survey."""
    return TextReadings(
        checkpoint or text.checkpoint, never, corpus or text.corpus, plan, never, text._store
    )


# Rows and hits.


def test_rows_and_self_check_come_from_the_cache(text, engine):
    check = text.self_check
    assert check == [tuple(identity) for identity in engine.self_check]
    assert all(difference <= allowed for _, difference, allowed in check)
    rows = {split: text.rows(split) for split in ("fit", "choose", "judge")}
    later = unread(text)
    assert later.self_check == check
    for split, kept in rows.items():
        for name, values in vars(kept).items():
            assert np.array_equal(getattr(later.rows(split), name), values)
            assert np.array_equal(getattr(text.survey.rows(split), name), values)


@pytest.mark.parametrize("ahead", [0, 2])
def test_hits_compare_guesses_with_what_the_model_says(text, ahead):
    rows = text.rows("judge")
    guesses = rows.targets[:, ahead].copy()
    guesses[::3] += 1
    outcome = text.hits("reader", guesses, ahead, depth="depth0.50")
    assert outcome.name == f"reader, N={ahead}"
    assert outcome.scores.tolist() == [float(row % 3 != 0) for row in range(len(rows))]
    assert outcome.examples.tolist() == rows.examples.tolist()
    assert outcome.clusters.tolist() == rows.documents.tolist()
    assert outcome.factors == {"ahead": ahead, "population": "all", "depth": "depth0.50"}


def test_next_right_keeps_rows_that_the_model_gets_right(text, monkeypatch):
    rows = text.rows("judge")
    # A random model is hardly ever right: say that it is, in every fourth row.
    following = rows.following.copy()
    following[:, 0] = rows.targets[:, 0] + (np.arange(len(rows)) % 4 != 0)
    monkeypatch.setitem(vars(rows), "following", following)
    outcome = text.hits("reader", rows.targets[:, 1], 1, "next-right")
    assert outcome.examples.tolist() == rows.examples[::4].tolist()
    assert outcome.clusters.tolist() == rows.documents[::4].tolist()
    assert outcome.factors["population"] == "next-right"
    fewer = text.hits("reader", rows.targets[:10, 1], 1, "next-right")
    assert fewer.examples.tolist() == rows.examples[:10:4].tolist()


def test_fewer_guesses_stand_for_the_first_rows(text):
    rows = text.rows("judge")
    outcome = text.hits("reader", rows.targets[:7, 3], 3)
    assert outcome.examples.tolist() == rows.examples[:7].tolist()
    assert outcome.scores.tolist() == [1.0] * 7


def test_an_unknown_population_is_an_error(text):
    with pytest.raises(UsageError, match=r"'right'.*all, next-right"):
        text.hits("reader", text.rows("judge").targets[:, 0], 0, "right")


def test_whether_the_model_predicts_the_text_is_asked_of_fit_rows(text, naive):
    outcome = text.predicts_text()
    rows = text.rows("fit")
    assert outcome.examples.tolist() == rows.examples.tolist()
    plain = [naive(example, "fit") for example in rows.examples]
    right = [p["said"][p["at"]] == p["tokens"][p["at"] + 1] for p in plain]
    assert outcome.scores.tolist() == [float(hit) for hit in right]


# Depths.


def test_bands_of_depth_hold_declared_depths(text):
    assert [text.depth_in(band).block for band in (FIRST, MIDDLE, LATE)] == [1, 4, 6]
    # Of blocks 0 and 1 (relative depth 0.14), the second lies nearer to 0.075.
    plan = SurveyPlan(SMALL, (0, 1), seed=3)
    assert unread(text, plan=plan).depth_in(FIRST).block == 1
    with pytest.raises(UsageError, match=r"tiny has too few blocks .* odd band .* 0.2 to 0.25"):
        text.depth_in(Band("odd", 0.2, 0.25))


# Draws.


def test_controls_do_not_depend_on_the_checkpoint_but_fits_do(text):
    def draws(readings, purpose="controls"):
        return readings.rng(purpose).integers(2**31, size=4).tolist()

    other = unread(text, checkpoint=made_checkpoint(seed=1))
    assert other.checkpoint.digest != text.checkpoint.digest
    assert draws(other) == draws(text) == draws(text)
    assert other.fit_seed("map") != text.fit_seed("map") == unread(text).fit_seed("map")
    assert 0 <= text.fit_seed("map") < 2**31

    elsewhere = unread(text, corpus=made_corpus(seed=1))
    reseeded = unread(text, plan=SurveyPlan(SMALL, SMALL.depths, seed=4))
    for changed in (elsewhere, reseeded):
        assert draws(changed) != draws(text)
        assert changed.fit_seed("map") != text.fit_seed("map")
    assert draws(text, "others") != draws(text)
    assert text.fit_seed("other") != text.fit_seed("map")


def test_other_document_moves_every_row_to_another_document():
    documents = np.repeat([f"d{k}" for k in range(9)], 5)
    orders = [other_document(documents, np.random.default_rng(seed)) for seed in range(50)]
    for order in orders:
        assert sorted(order) == list(range(45))
        assert not np.any(documents[order] == documents)
    assert len({tuple(order) for order in orders}) == 50


def test_other_document_works_where_one_holds_many_rows():
    documents = np.array(["large"] * 40 + [f"d{k}" for k in range(60)])
    for seed in range(20):
        order = other_document(documents, np.random.default_rng(seed))
        assert sorted(order) == list(range(100))
        assert not np.any(documents[order] == documents)


@pytest.mark.parametrize("large", [12, 20])
def test_one_document_that_holds_most_rows_is_an_error(large):
    documents = np.array(["large"] * large + [f"d{k}" for k in range(20 - large)])
    with pytest.raises(CorpusError, match="Use text from more documents"):
        other_document(documents, np.random.default_rng(0))


def test_entropy_is_in_bits():
    assert entropy(np.array([5, 5, 9, 9])) == 1.0
    assert entropy(np.array([3, 3, 3])) == 0.0
    assert entropy(np.arange(8)) == 3.0


# Cache.


class Counting:
    def __init__(self, value):
        self.value, self.calls = value, 0

    def __call__(self):
        self.calls += 1
        return {"value": np.array([self.value])}


def test_what_is_derived_is_kept_apart_by_damage_and_inputs(apart_from):
    text = apart_from
    sound, broken, worse = Counting(1), Counting(2), Counting(3)
    for _ in range(2):
        assert text.cached("thing", {"n": 1}, sound)["value"] == [1]
        assert text.with_damage("dented").cached("thing", {"n": 1}, broken)["value"] == [2]
        assert text.with_damage("bent").cached("thing", {"n": 1}, worse)["value"] == [3]
    assert (sound.calls, broken.calls, worse.calls) == (1, 1, 1)
    again = Counting(4)
    text.cached("thing", {"n": 2}, again)
    text.cached("other", {"n": 1}, again)
    assert again.calls == 2


def test_every_part_of_the_readings_is_part_of_the_key(text, tmp_path):
    store, builders = Store(tmp_path), []
    for checkpoint in (text.checkpoint, made_checkpoint(seed=1)):
        for corpus in (text.corpus, made_corpus(seed=1)):
            for plan in (PLAN, SurveyPlan(SMALL, SMALL.depths, seed=4)):
                builders.append(Counting(len(builders)))
                readings = TextReadings(checkpoint, never, corpus, plan, never, store)
                kept = readings.cached("thing", {}, builders[-1])
                assert kept["value"] == [len(builders) - 1]
    assert [builder.calls for builder in builders] == [1] * 8


def test_damaged_readings_open_the_sound_survey_unless_told(text):
    assert text.with_damage("dented").survey is text.survey
    assert text.with_damage("dented").damage == "dented"
    given = text.with_damage("dented", checkpoint="other", survey=lambda: "survey")
    assert (given.checkpoint, given.survey) == ("other", "survey")
    assert (given.corpus, given.plan) == (text.corpus, text.plan)
