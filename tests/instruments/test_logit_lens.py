"""The logit lens against a plain norm, unembedding and log-softmax of a plain forward pass."""

from __future__ import annotations

import numpy as np
import pytest

from stillwired.instruments.logit_lens import TARGETS, LogitLens
from stillwired.instruments.survey import EMBEDDING, lens_bands, lens_early_block
from stillwired.instruments.text import TextReadings, other_document
from tests.instruments.conftest import BLOCKS, LENS_ROWS


@pytest.fixture(scope="module")
def lens(text):
    return LogitLens(text)


@pytest.fixture(scope="module")
def plain(text, naive, surprisals):
    """Surprisal of every token at a block, [rows, vocabulary], from plain forward passes."""
    passes = [naive(example, "judge") for example in text.rows("judge").examples[:LENS_ROWS]]

    def read(block):
        states = [p["embedding"] if block == EMBEDDING else p["blocks"][block] for p in passes]
        return surprisals(np.stack([s[p["at"]] for s, p in zip(states, passes, strict=True)]))

    return read


def asked(text, target, kind):
    """The tokens that a target means, by hand."""
    rows, order = text.rows("judge"), np.arange(LENS_ROWS)
    if target != "own":
        order = other_document(rows.documents[:LENS_ROWS], text.rng(f"lens, {target}"))
    return getattr(rows, kind)[order, 0]


def test_the_lens_at_the_last_block_is_the_model(lens):
    assert lens.agreement_at_last_block() == 1.0


def test_the_lens_elsewhere_is_not_the_model(lens, plain, text):
    said = lens._at(1)["argmax"]
    assert np.array_equal(said, plain(1).argmin(1))
    assert np.mean(said == text.rows("judge").targets[:LENS_ROWS, 0]) < 0.9


def test_bands_leave_out_the_last_block(lens):
    assert lens.bands == lens_bands(BLOCKS)
    read = [block for band in lens.bands for block in band]
    assert read[-1] == BLOCKS - 2
    assert read == sorted(read)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("block", [EMBEDDING, 1, 6, 7])
def test_surprisal_is_that_of_a_plain_log_softmax(lens, plain, text, block, target):
    tokens = asked(text, target, "following")
    expected = plain(block)[np.arange(LENS_ROWS), tokens]
    assert lens.surprisal([block], target) == pytest.approx(expected, abs=1e-3)


def test_other_targets_are_of_other_documents(text):
    documents = text.rows("judge").documents[:LENS_ROWS]
    orders = [other_document(documents, text.rng(f"lens, {t}")) for t in TARGETS[1:]]
    assert not np.array_equal(*orders)
    for order in orders:
        assert not np.any(documents[order] == documents)


def test_surprisal_is_averaged_over_blocks(lens):
    apart = [lens.surprisal([block]) for block in (2, 5)]
    assert lens.surprisal([2, 5]) == pytest.approx(np.mean(apart, axis=0))


def test_bands_are_outcomes_in_order(lens, text):
    found = lens.by_band()
    assert list(found) == [f"band {k} of 6" for k in range(1, 7)]
    for blocks, outcome in zip(lens.bands, found.values(), strict=True):
        assert outcome.scores == pytest.approx(lens.surprisal(blocks))
        assert outcome.examples.tolist() == text.rows("judge").examples[:LENS_ROWS].tolist()
        assert outcome.clusters.tolist() == text.rows("judge").documents[:LENS_ROWS].tolist()


@pytest.mark.parametrize("target", TARGETS)
def test_fall_is_the_first_third_minus_the_last(lens, plain, text, target):
    tokens = asked(text, target, "following")
    first = [block for band in lens.bands[:2] for block in band]
    last = [block for band in lens.bands[4:] for block in band]
    means = [
        np.mean([plain(block)[np.arange(LENS_ROWS), tokens] for block in blocks], axis=0)
        for blocks in (first, last)
    ]
    assert lens.fall(target).scores == pytest.approx(means[0] - means[1], abs=2e-3)


@pytest.mark.parametrize("target", TARGETS)
def test_inputs_are_scored_by_probability(lens, plain, text, target):
    tokens = asked(text, target, "fed")
    where = {
        EMBEDDING: lens.input_at_embedding,
        lens_early_block(BLOCKS): lens.input_at_early_block,
    }
    for block, outcome in where.items():
        expected = np.exp(-plain(block)[np.arange(LENS_ROWS), tokens])
        assert outcome(target).scores == pytest.approx(expected, abs=1e-4)
        assert target in outcome(target).name


def test_the_ability_is_asked_of_rows_that_are_not_judged(lens, text, naive, surprisals):
    outcome, rows = lens.embedding_decodes(), text.rows("choose")
    assert outcome.examples.tolist() == rows.examples.tolist()
    passes = [naive(example, "choose") for example in rows.examples]
    states = np.stack([p["embedding"][p["at"]] for p in passes])
    fed = [p["tokens"][p["at"]] for p in passes]
    expected = np.exp(-surprisals(states)[np.arange(len(rows)), fed])
    assert outcome.scores == pytest.approx(expected, abs=1e-4)


def test_a_second_lens_needs_neither_model_nor_survey(lens, text):
    def never():
        raise AssertionError("read again")

    wanted = lens.surprisal([2]), lens.embedding_decodes().scores
    again = LogitLens(
        TextReadings(text.checkpoint, never, text.corpus, text.plan, never, text._store)
    )
    assert np.array_equal(again.surprisal([2]), wanted[0])
    assert np.array_equal(again.embedding_decodes().scores, wanted[1])
