"""What the quick profile's sizes decide: 8,400 states, 8 to a passage, 713 documents.

Hits of two readers of the same position resemble each other (an easy token is easy for both);
``alike`` is that correlation on the scale of the underlying normal variables, 0.05 of the
variance belongs to the document, and another 0.02 to the document for one reader only.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import stats

from stillwired.judge import Difference, Evidence, Level, Outcome, Steps, Word, judge_cell

RUNS = 60
STATES = 8
# Documents that give 1, 2, … 7 passages; simulation.py says where the figures come from.
PASSAGES_EACH = np.repeat(np.arange(1, 8), (579, 64, 28, 3, 6, 14, 19))
DOCUMENTS = len(PASSAGES_EACH)
# Documents take turns: first every document's first passage, then every second one, …
DOCUMENT = np.concatenate([np.flatnonzero(turn < PASSAGES_EACH) for turn in range(7)])
PAST_CHANCE = 0.9
OWN = 0.02  # variance of what a document does to one reader only


@cache
def population(states=8400):
    document = DOCUMENT[np.arange(states) // STATES]
    clusters = np.char.add("d", document.astype(str))
    examples = np.char.add("e", np.arange(states).astype(str))
    return examples, clusters, document


def readers(rng, rates, alike=0.5, icc=0.05):
    """Hits of several readers at the same positions."""
    examples, clusters, document = population()
    shared = np.sqrt(icc) * rng.normal(size=DOCUMENTS)[document]
    shared = shared + np.sqrt(alike - icc) * rng.normal(size=len(document))
    found = {}
    for name, rate in rates.items():
        own = np.sqrt(OWN) * rng.normal(size=DOCUMENTS)[document]
        z = shared + own + np.sqrt(1 - alike - OWN) * rng.normal(size=len(document))
        hits = (z < stats.norm.ppf(rate)).astype(float)
        found[name] = Outcome(name, examples, clusters, hits)
    return found


def words(claim, draw, runs=RUNS):
    rng = np.random.default_rng(11)
    found = [judge_cell(claim, Evidence(draw(rng)), {}).verdict for _ in range(runs)]
    return {word: found.count(word) / runs for word in Word}


def test_linear_beats_bigram(claim):
    """FL-03a: published 0.292 against 0.201; dead when both read 0.2."""
    published = words(claim(), lambda rng: readers(rng, {"linear": 0.292, "bigram": 0.201}))
    assert published[Word.HOLDS] >= PAST_CHANCE
    dead = words(claim(), lambda rng: readers(rng, {"linear": 0.2, "bigram": 0.2}))
    assert dead[Word.FAILS] >= PAST_CHANCE
    assert dead[Word.HOLDS] == 0


def test_late_reads_more_than_first(claim):
    """FL-03b: published 0.29 late against about 0.10 in the first blocks."""
    declared = claim(expects=(Difference("late", "first", at_least=0.02),))
    published = words(declared, lambda rng: readers(rng, {"late": 0.29, "first": 0.1}))
    assert published[Word.HOLDS] >= PAST_CHANCE
    dead = words(declared, lambda rng: readers(rng, {"late": 0.15, "first": 0.15}))
    assert dead[Word.FAILS] >= PAST_CHANCE


@pytest.mark.parametrize(("rate", "word"), [(0.201, Word.HOLDS), (0.05, Word.FAILS)])
def test_bigram_floor(claim, rate, word):
    """FL-01: published 0.201; dead when the table reads 0.05."""
    declared = claim(expects=(Level("bigram", between=(0.15, 0.30)),))
    found = words(declared, lambda rng: readers(rng, {"bigram": rate}), 50)
    assert found[word] >= PAST_CHANCE


def test_decay(claim):
    """FL-05: published 0.292, 0.190, 0.158 at N = 1, 2, 3; dead when the curve is flat."""
    declared = claim(
        expects=(
            Difference("one", "two", at_least=0.025),
            Difference("two", "three", at_least=0.01),
        )
    )
    published = words(
        declared, lambda rng: readers(rng, {"one": 0.292, "two": 0.19, "three": 0.158})
    )
    assert published[Word.HOLDS] >= PAST_CHANCE
    dead = words(declared, lambda rng: readers(rng, {"one": 0.19, "two": 0.19, "three": 0.19}))
    assert dead[Word.FAILS] >= PAST_CHANCE


@pytest.mark.parametrize(("fall", "word"), [(4.0, Word.HOLDS), (0.0, Word.FAILS)])
def test_surprisal_falls_with_depth(claim, fall, word):
    """LL-01: 1,000 states, differences with a standard deviation of 4 nats."""
    declared = claim(
        expects=(
            Difference("first third", "last third", at_least=1),
            Steps("bands", at_most=0.3),
        )
    )
    examples, clusters, document = population(1000)

    def draw(rng):
        # Independent noise of 4/√2 nats at each depth, so that differences have 4.
        shared = np.sqrt(0.05) * rng.normal(size=(3, DOCUMENTS))[:, document]
        noise = shared + np.sqrt(0.95) * rng.normal(size=(3, len(document)))
        nats = 4 / np.sqrt(2) * noise + 8 + fall * np.array([[1.0], [0.5], [0.0]])
        bands = {
            name: Outcome(name, examples, clusters, row)
            for name, row in zip(("first third", "middle third", "last third"), nats, strict=True)
        }
        return {**{k: bands[k] for k in ("first third", "last third")}, "bands": bands}

    assert words(declared, draw)[word] >= PAST_CHANCE


def test_too_few_states_would_not_do(claim):
    """The test can fail: with a tenth of the states a dead mechanism stays undecided."""

    def tenth(rng):
        arms = readers(rng, {"linear": 0.2, "bigram": 0.2})
        return {
            name: Outcome(name, arm.examples[:800], arm.clusters[:800], arm.scores[:800])
            for name, arm in arms.items()
        }

    assert words(claim(), tenth, 40)[Word.FAILS] < 0.5
