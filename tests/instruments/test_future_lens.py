"""Readers of the future against counts and ridge regressions done by hand."""

from __future__ import annotations

from collections import Counter, defaultdict
from copy import copy
from dataclasses import replace

import numpy as np
import pytest

from stillwired.instruments import linear_outcomes as module
from stillwired.instruments.future_lens import FutureLens
from stillwired.instruments.linear_map import RIDGES
from stillwired.instruments.linear_outcomes import sums_of
from stillwired.instruments.prompt_recipes import Recipe
from stillwired.instruments.survey import AHEAD
from stillwired.instruments.text import TextReadings, other_document
from stillwired.instruments.vocabulary_map import RIDGES as VOCABULARY_RIDGES
from stillwired.outcomes import Outcome
from stillwired.store.cache import Store
from tests.instruments.conftest import SMALL


@pytest.fixture(scope="module")
def lens(text):
    return FutureLens(text)


@pytest.fixture(scope="module")
def untrained(text, tmp_path_factory):
    """Readers whose linear maps stay the ridge solution."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "train_on_kl", lambda start, *_, **__: start)
        store = Store(tmp_path_factory.mktemp("untrained"))
        yield FutureLens(
            TextReadings(
                text.checkpoint, text.engine, text.corpus, text.plan, lambda: text.survey, store
            )
        )


@pytest.fixture(scope="module")
def by_hand(text, surprisals):
    """Ridge from kept states: guesses for judge rows, mean surprisal on choose rows."""
    survey = text.survey

    def solve(block, ahead, rows=600):
        x = np.array(survey.states("fit", block)[:rows], dtype=np.float64)
        y = np.array(survey.final_states("fit", ahead)[:rows], dtype=np.float64)
        mean, scale = x.mean(0), x.std(0)
        z = (x - mean) / scale
        choose = (survey.states("choose", block) - mean) / scale
        wanted = survey.final_states("choose", ahead)
        maps = []
        for ridge in RIDGES:
            inner = z.T @ z / len(z) + ridge * np.eye(z.shape[1])
            weights = np.linalg.solve(inner, z.T @ (y - y.mean(0)) / len(z))
            maps.append((np.mean((choose @ weights + y.mean(0) - wanted) ** 2), ridge, weights))
        weights = min(maps, key=lambda found: found[0])[2]

        def predicted(states):
            return (((states - mean) / scale) @ weights + y.mean(0)).astype(np.float32)

        guesses = surprisals(predicted(survey.states("judge", block)), normed=True).argmin(1)
        scores = surprisals(predicted(survey.states("choose", block)), normed=True)
        said = text.rows("choose").targets[:, ahead]
        return guesses, float(scores[np.arange(len(said)), said].mean())

    return solve


def test_few_rows_are_as_many_as_the_profile_says(text):
    assert FutureLens(text).few_rows == FutureLens(text).prompts.passes.first == SMALL.few_states
    assert FutureLens(text, first=7).few_rows == 7
    few = copy(text)
    few.plan = replace(text.plan, profile=replace(SMALL, few_states=24))
    assert len(FutureLens(few).constant(1, few=True)) == 24


# Readers that count.


def counted(text, distance, backward=False):
    """Best follower of each token, over whole fit documents, with the same order of ties."""
    followers, overall = defaultdict(Counter), Counter()
    for document in text.corpus.documents_of("fit"):
        tokens = text.checkpoint.tokenizer.convert_tokens_to_ids(document.text.split())
        tokens = tokens[::-1] if backward else tokens
        for before, after in zip(tokens, tokens[distance:], strict=False):
            followers[before][after] += 1
            overall[after] += 1
    return {
        before: max(counts, key=lambda token: (counts[token], overall[token], -token))
        for before, counts in followers.items()
    }


@pytest.mark.parametrize("ahead", AHEAD)
def test_bigrams_equal_a_count_by_hand(lens, text, ahead):
    rows, best = text.rows("judge"), counted(text, 1)
    table = lens._tables[1]
    assert {token: table.followers[token] for token in best} == best
    hits = [
        best[fed[ahead]] == said[ahead] for fed, said in zip(rows.fed, rows.targets, strict=True)
    ]
    assert lens.bigram(ahead).scores.tolist() == [float(hit) for hit in hits]


@pytest.mark.parametrize("ahead", AHEAD)
def test_skip_bigrams_equal_a_count_by_hand(lens, text, ahead):
    rows, best = text.rows("judge"), counted(text, ahead + 1)
    table = lens._tables[ahead + 1]
    assert {token: table.followers[token] for token in best} == best
    hits = [best[fed[0]] == said[ahead] for fed, said in zip(rows.fed, rows.targets, strict=True)]
    assert lens.skip_bigram(ahead).scores.tolist() == [float(hit) for hit in hits]
    if ahead == 0:
        assert np.array_equal(lens.skip_bigram(0).scores, lens.bigram(0).scores)


def test_shuffled_followers_are_dealt_out_again(lens, text):
    rows = text.rows("judge")
    table = lens._tables[1].shuffled(text.rng("followers"))
    assert np.array_equal(np.sort(table.followers), np.sort(lens._tables[1].followers))
    assert not np.array_equal(table.followers, lens._tables[1].followers)
    expected = table.followers[rows.fed[:, 1]] == rows.targets[:, 1]
    assert np.array_equal(lens.bigram(1, followers="shuffled").scores, expected)


@pytest.mark.parametrize("ahead", [0, 3])
def test_the_constant_is_what_the_model_says_most_often(lens, text, ahead):
    said = Counter(text.rows("fit").targets[:, ahead].tolist())
    most = max(said.values())
    commonest = min(token for token, count in said.items() if count == most)
    expected = text.rows("judge").targets[:, ahead] == commonest
    assert np.array_equal(lens.constant(ahead).scores, expected)


# Readers that see a state.


@pytest.mark.parametrize("ahead", [0, 1, 3])
@pytest.mark.parametrize("place", [0, 1, 3])
def test_untrained_guesses_equal_a_ridge_by_hand(untrained, text, by_hand, ahead, place):
    depth = text.depths[place]
    kept = untrained.maps._linear_map(ahead, depth, 1.0)
    assert not kept["trained"]
    guesses, surprisal = by_hand(depth.block, ahead)
    ours = untrained.linear(ahead, depth)
    expected = guesses == text.rows("judge").targets[:, ahead]
    # Sums in float32: a near tie may fall the other way.
    assert np.sum(ours.scores != expected) <= 1
    assert kept["choose_surprisal"] == pytest.approx(surprisal, rel=1e-3)
    assert ours.factors == {
        "ahead": ahead,
        "population": "all",
        "reader": "linear",
        "depth": depth.label,
        "block": depth.block,
        "relative": depth.relative,
        "states": "own",
        "share": 1.0,
    }


def test_the_last_block_foresees_what_is_about_to_be_said(lens, text):
    last = text.depths[-1]
    assert (last.block, last.relative) == (7, 1.0)
    hits = lens.linear(0, last).scores.mean()
    assert hits > 0.5
    assert hits > 5 * lens.constant(0).scores.mean()
    assert lens.linear(0, last, states="shuffled").scores.mean() < 0.2


@pytest.mark.parametrize("ahead", [0, 2])
def test_a_kept_map_is_read_by_the_models_own_unembedding(lens, text, surprisals, ahead):
    """Whether training was kept or not: surprisal and guesses are those of the kept map."""
    for depth in text.depths:
        kept = lens.maps._linear_map(ahead, depth, 1.0)
        predicted = (text.survey.states("choose", depth.block) - kept["mean"]) @ kept["weights"]
        scores = surprisals((predicted + kept["offset"]).astype(np.float32), normed=True)
        said = text.rows("choose").targets[:, ahead]
        mean = scores[np.arange(len(said)), said].mean()
        assert kept["choose_surprisal"] == pytest.approx(mean, rel=1e-4)
        guesses = (text.survey.states("judge", depth.block) - kept["mean"]) @ kept["weights"]
        said = surprisals((guesses + kept["offset"]).astype(np.float32), normed=True).argmin(1)
        hits = said == text.rows("judge").targets[:, ahead]
        assert np.sum(lens.linear(ahead, depth).scores != hits) <= 1


@pytest.mark.parametrize("reader", ["linear", "vocabulary"])
def test_shuffled_states_are_the_same_guesses_dealt_out(lens, text, reader):
    depth, rows = text.depths[-1], text.rows("judge")
    guesses = np.concatenate(
        [lens.maps._guesses(reader, 0, depth, 1.0, part) for part in ("first rows", "other rows")]
    )
    own = lens.read(reader, 0, depth)
    assert np.array_equal(own.scores, guesses == rows.targets[:, 0])
    order = other_document(rows.documents, text.rng("shuffled states"))
    shuffled = lens.read(reader, 0, depth, states="shuffled")
    assert np.array_equal(shuffled.scores, guesses[order] == rows.targets[:, 0])
    assert shuffled.examples.tolist() == own.examples.tolist()


@pytest.mark.parametrize("ahead", AHEAD)
def test_the_chosen_depth_is_the_least_surprised(untrained, text, by_hand, ahead):
    surprisal = {depth.block: by_hand(depth.block, ahead)[1] for depth in text.depths}
    assert untrained.chosen_depth(ahead).block == min(surprisal, key=surprisal.__getitem__)
    chosen = untrained.linear(ahead)
    assert chosen.factors["block"] == untrained.chosen_depth(ahead).block


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_the_vocabulary_map_equals_a_ridge_by_hand(lens, text, share):
    ahead, depth, survey = 1, text.depths[1], text.survey
    rows = int(600 * share)
    x = np.array(survey.states("fit", depth.block)[:rows], dtype=np.float64)
    mean, scale = x.mean(0), x.std(0)
    z, onehot = (x - mean) / scale, np.eye(102)[text.rows("fit").targets[:rows, ahead]]
    seen = onehot.sum(0) > 0

    def guess(split, ridge):
        inner = z.T @ z / rows + ridge * np.eye(z.shape[1])
        weights = np.linalg.solve(inner, z.T @ (onehot - onehot.mean(0)) / rows)
        scores = ((survey.states(split, depth.block) - mean) / scale) @ weights + onehot.mean(0)
        return np.where(seen, scores, -np.inf).argmax(1)

    said = text.rows("choose").targets[:, ahead]
    hits = {ridge: np.mean(guess("choose", ridge) == said) for ridge in VOCABULARY_RIDGES}
    best = max(ridge for ridge in hits if hits[ridge] == max(hits.values()))
    expected = guess("judge", best) == text.rows("judge").targets[:, ahead]
    ours = lens.read("vocabulary", ahead, depth, share=share)
    assert np.sum(ours.scores != expected) <= 1


def test_a_learning_curve_fits_the_first_rows(untrained, text, by_hand):
    depth = untrained.chosen_depth(1)
    half = untrained.read("linear", 1, depth, share=0.5)
    expected = by_hand(depth.block, 1, rows=300)[0] == text.rows("judge").targets[:, 1]
    assert np.sum(half.scores != expected) <= 1
    gain = untrained.gain_from_doubling("linear", 1)
    assert np.array_equal(gain.scores, untrained.linear(1).scores - half.scores)
    assert gain.examples.tolist() == half.examples.tolist()


def test_the_curve_of_a_fed_map_stays_at_the_depth_that_all_rows_choose(untrained, monkeypatch):
    chosen = untrained.fair_linear(1, few=True)
    half = untrained.fair_linear(1, few=True, share=0.5)
    assert half.factors == {**chosen.factors, "share": 0.5}
    assert not np.array_equal(half.scores, chosen.scores)
    gain = untrained.gain_from_doubling("fair linear", 1)
    assert np.array_equal(gain.scores, chosen.scores - half.scores)


def test_sums_of_kept_states_equal_those_of_the_pass(text, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 128)
    passed, summed = text.survey.moments(), sums_of(text.survey, 4, slice(0, 600))
    assert summed.n == passed.n
    for ahead in AHEAD:
        a, b = (moments.centred_cross(4, ahead) for moments in (passed, summed))
        assert np.abs(a - b).max() < 1e-4 * np.abs(a).max()
    assert sums_of(text.survey, 4, slice(250)).n == 250


def test_first_rows_and_others_are_all_rows(apart_from, lens, text):
    parted, depth = FutureLens(apart_from, first=30), text.depths[2]
    for reader in ("linear", "vocabulary"):
        whole = lens.read(reader, 1, depth)
        assert np.array_equal(parted.read(reader, 1, depth).scores, whole.scores)
        few = parted.read(reader, 1, depth, few=True)
        assert few.examples.tolist() == whole.examples[:30].tolist()
        assert np.array_equal(few.scores, whole.scores[:30])
    assert len(parted.constant(1, few=True)) == 30


def test_prompts_read_the_same_first_rows(apart_from, text):
    parted = FutureLens(apart_from, Recipe(vectors=2, steps=2, batch=4, every=2), first=30)
    linear = parted.read("linear", 1, text.depths[1], few=True)
    for few in (
        parted.fixed(1, text.depths[1], few=True),
        parted.learned(1, text.depths[1], few=True),
        parted.no_state(1, few=True),
    ):
        assert few.examples.tolist() == linear.examples.tolist()
        assert few.clusters.tolist() == linear.clusters.tolist()


def test_every_declared_depth_is_read(lens, text):
    found = lens.by_depth("linear", 1)
    assert list(found) == [depth.label for depth in text.depths]
    assert [outcome.factors["block"] for outcome in found.values()] == [1, 4, 6, 7]
    assert (lens.first.block, lens.late.block) == (1, 6)


def test_guesses_that_are_cached_need_neither_model_nor_survey(lens, text):
    def never():
        raise AssertionError("read again")

    wanted = lens.linear(1).scores, lens.bigram(1).scores
    again = FutureLens(
        TextReadings(text.checkpoint, never, text.corpus, text.plan, never, text._store)
    )
    assert np.array_equal(again.linear(1).scores, wanted[0])
    assert np.array_equal(again.bigram(1).scores, wanted[1])


# A planted difference.


def arm(name, hits, rows=200):
    scores = np.zeros(rows)
    scores[np.random.default_rng(hits).permutation(rows)[:hits]] = 1.0
    ids = [f"e{k}" for k in range(rows)]
    return Outcome(name, ids, ids, scores)


def test_the_worse_reader_loses_exactly_the_planted_share(lens):
    a = {"one": arm("a", 80), "two": arm("a", 120), "few": arm("a", 7)}
    b = {"one": arm("b", 100), "two": arm("b", 90), "few": arm("b", 9)}
    planted = lens.apart(a, b, 0.1)
    expected = ({"one": 60, "two": 120, "few": 0}, {"one": 100, "two": 70, "few": 9})
    for sound, broken, hits in zip((a, b), planted, expected, strict=True):
        assert {label: outcome.scores.sum() for label, outcome in broken.items()} == hits
        for label, outcome in broken.items():
            assert np.all(outcome.scores <= sound[label].scores)
            assert outcome.examples.tolist() == sound[label].examples.tolist()
            assert ("spoilt" in outcome.name) == (hits[label] < sound[label].scores.sum())
    # What was handed over stays as it was, and the draw is the same every time.
    assert [outcome.scores.sum() for outcome in (*a.values(), *b.values())] == [
        80, 120, 7, 100, 90, 9,
    ]  # fmt: skip
    again = lens.apart(a, b, 0.1)
    assert np.array_equal(again[0]["one"].scores, planted[0]["one"].scores)
