"""Word arithmetic: exact where words differ by one offset, at chance where they go round."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stillwired.engine.engine import Engine
from stillwired.errors import UsageError
from stillwired.instruments import word_offset
from stillwired.instruments.word_offset import SPACES, offset_guesses
from tests.engine.tiny import VOCABULARY, WIDTH, tiny

WORDS = 30
"""Inputs are tokens 0 to 29, their answers 30 to 59; token 60 belongs to nobody."""


def engine_with(table):
    """A model that embeds by a table and unembeds by the angle to the table's rows."""
    checkpoint = tiny("llama")
    with torch.no_grad():
        checkpoint.model.model.embed_tokens.weight.copy_(table)
        checkpoint.model.model.norm.weight.fill_(1.0)
        checkpoint.model.lm_head.weight.copy_(torch.nn.functional.normalize(table, dim=-1))
    return Engine(checkpoint)


def random_table(seed=0):
    return torch.randn(VOCABULARY, WIDTH, generator=torch.Generator().manual_seed(seed))


def shifted(length=4.0):
    """A table in which every answer is its input plus one offset."""
    table = random_table()
    offset = random_table(seed=7)[0]
    table[WORDS : 2 * WORDS] = table[:WORDS] + length * offset / offset.norm()
    return table


PAIRS = [((k,), k + WORDS) for k in range(WORDS)]


@pytest.fixture(scope="module")
def engine():
    return engine_with(shifted())


@pytest.mark.parametrize("space", SPACES)
def test_an_exact_offset_hits_every_word_that_was_not_fitted(engine, space):
    fit, asked = PAIRS[::2], PAIRS[1::2]
    guessed = offset_guesses(engine, fit, [word for word, _ in asked], space)
    assert guessed.dtype == np.int64
    assert guessed.tolist() == [answer for _, answer in asked]


@pytest.mark.parametrize("space", SPACES)
def test_an_offset_leads_one_way_only(engine, space):
    back = [(answer,) for _, answer in PAIRS]
    guessed = offset_guesses(engine, PAIRS, back, space)
    assert np.mean(guessed == np.arange(WORDS)) < 0.2


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("steps", [1, WORDS // 2])
def test_a_cycle_is_at_chance(space, steps):
    """The next of 30, or the other one of 15 pairs: over the cycle the differences cancel."""
    hits = []
    for seed in range(20):
        cycle = [((k,), (k + steps) % WORDS) for k in range(WORDS)]
        made = engine_with(random_table(seed))
        guessed = offset_guesses(made, cycle, [word for word, _ in cycle], space)
        hits += (guessed == [answer for _, answer in cycle]).tolist()
        # Nothing is added, so all that is left is the nearest token.
        nearest = offset_guesses(made, [((0,), 0)], [word for word, _ in cycle], space)
        assert guessed.tolist() == nearest.tolist()
    # One of the 60 other tokens is right; the bound is three standard errors above.
    assert np.mean(hits) < 1 / 60 + 3 * np.sqrt(1 / 60 / len(hits))


@pytest.mark.parametrize("space", SPACES)
def test_neighbours_can_be_right_without_any_offset(space):
    table = random_table()
    table[WORDS // 2 : WORDS] = table[: WORDS // 2] + 0.01
    both = [((k,), (k + WORDS // 2) % WORDS) for k in range(WORDS)]
    guessed = offset_guesses(engine_with(table), both, [word for word, _ in both], space)
    assert guessed.tolist() == [answer for _, answer in both]


def test_guesses_follow_the_plain_formula(engine):
    rng = np.random.default_rng(3)
    pairs = [(tuple(rng.integers(0, 60, 1 + k % 3)), int(rng.integers(60))) for k in range(9)]
    queries = [tuple(rng.integers(0, 60, 1 + k % 4).tolist()) for k in range(70)]
    table = engine.checkpoint.model.model.embed_tokens.weight.numpy().astype(np.float64)
    offset = np.mean([table[y] - table[list(x)].mean(0) for x, y in pairs], axis=0)
    head = engine.checkpoint.model.lm_head.weight.numpy()
    for space in SPACES:
        guessed = offset_guesses(engine, pairs, queries, space)
        for query, guess in zip(queries, guessed, strict=True):
            aimed = table[list(query)].mean(0) + offset
            rows = table / np.linalg.norm(table, axis=1)[:, None] if space == SPACES[0] else head
            scores = rows @ aimed
            scores[list(query)] = -np.inf
            assert guess == scores.argmax()
            assert guess not in query


def test_parts_of_the_table_change_nothing(engine, monkeypatch):
    queries = [word for word, _ in PAIRS] + [(60, 0), (59,)]
    whole = [offset_guesses(engine, PAIRS[:5], queries, space) for space in SPACES]
    monkeypatch.setattr(word_offset, "_TABLE_ROWS", 7)
    monkeypatch.setattr(word_offset, "_QUERIES", 5)
    parts = [offset_guesses(engine, PAIRS[:5], queries, space) for space in SPACES]
    assert np.array_equal(whole, parts)


def test_other_families_have_a_table_too():
    for family in ("gpt2", "gemma3", "bloom"):
        guessed = [offset_guesses(Engine(tiny(family)), PAIRS, [(3,), (4, 5)], s) for s in SPACES]
        assert np.isin(guessed, range(VOCABULARY)).all()
        assert not np.isin(np.array(guessed)[:, 0], [3]).any()


def test_the_models_table_stays_as_it_was(engine):
    before = engine.checkpoint.model.model.embed_tokens.weight.clone()
    for space in SPACES:
        offset_guesses(engine, PAIRS, [(1,)], space)
    assert torch.equal(engine.checkpoint.model.model.embed_tokens.weight, before)


@pytest.mark.parametrize("space", SPACES)
def test_nothing_asked_is_nothing_guessed(engine, space):
    assert offset_guesses(engine, PAIRS, [], space).shape == (0,)


def test_what_has_no_meaning_is_refused(engine):
    with pytest.raises(UsageError, match="no space 'words'"):
        offset_guesses(engine, PAIRS, [(1,)], "words")
    with pytest.raises(UsageError, match="needs pairs"):
        offset_guesses(engine, [], [(1,)], "logits")
    for word in ((), (-1,), (VOCABULARY,)):
        with pytest.raises(UsageError, match=r"no word of this model.*0 to 60"):
            offset_guesses(engine, PAIRS, [word], "embedding")
    with pytest.raises(UsageError, match=r"tokens \[61\]"):
        offset_guesses(engine, [((1,), VOCABULARY)], [(1,)], "embedding")
