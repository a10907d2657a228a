"""What the model says after a wrong token, against plain passes over the passage."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stillwired.instruments import own_context as module
from stillwired.instruments.own_context import keeps_its_word
from stillwired.instruments.prompt_passes import PromptPasses
from stillwired.instruments.text import TextReadings, other_document
from tests.instruments.conftest import SMALL


def test_a_plain_pass_over_the_passage_with_the_wrong_token_says_the_same(
    apart_from, checkpoint, naive, text
):
    rows = text.rows("judge")
    order = other_document(rows.documents, text.rng("wrong tokens"))
    expected = {1: [], 2: [], 3: []}
    for row, example in enumerate(rows.examples):
        read = naive(example, "judge")
        tokens, at = list(read["tokens"]), read["at"]
        assert tokens[at + 1] == rows.following[row, 0]
        tokens[at + 1] = int(rows.following[order[row], 0])
        with torch.no_grad():
            said = checkpoint.model(torch.tensor([tokens])).logits[0].argmax(-1).numpy()
        for ahead, kept in expected.items():
            kept.append(said[at + ahead] == read["said"][at + ahead])
    for ahead, kept in expected.items():
        outcome = keeps_its_word(PromptPasses(apart_from, 3_000), ahead)
        assert outcome.scores.tolist() == kept
        assert 0 < outcome.scores.mean() < 1
        assert outcome.clusters.tolist() == rows.documents.tolist()
        assert outcome.factors["ahead"] == ahead


@pytest.mark.parametrize("ahead", [1, 2, 3])
def test_fed_its_own_tokens_the_model_always_keeps_its_word(apart_from, ahead, monkeypatch):
    monkeypatch.setattr(PromptPasses, "fed", lambda self, split, _: self.text.rows(split).following)
    outcome = keeps_its_word(PromptPasses(apart_from, 3_000), ahead)
    assert outcome.scores.tolist() == [1.0] * SMALL.judge_states


def test_rows_are_those_of_the_first_passages(apart_from, text, monkeypatch):
    whole = keeps_its_word(PromptPasses(text, 3_000), 1)
    assert whole.examples.tolist() == text.rows("judge").examples.tolist()
    monkeypatch.setattr(module, "PASSAGES", 5)
    few = keeps_its_word(PromptPasses(apart_from, 3_000), 1)
    assert few.examples.tolist() == whole.examples[: 5 * SMALL.per_passage].tolist()
    assert np.array_equal(few.scores, whole.scores[: 5 * SMALL.per_passage])


def test_what_was_read_needs_neither_model_nor_survey(apart_from, text):
    def never():
        raise AssertionError("read again")

    first = keeps_its_word(PromptPasses(apart_from, 3_000), 2)
    unread = TextReadings(text.checkpoint, never, text.corpus, text.plan, never, apart_from._store)
    again = keeps_its_word(PromptPasses(unread, 3_000), 2)
    assert np.array_equal(again.scores, first.scores)
    assert again.examples.tolist() == first.examples.tolist()
    assert again.name == first.name
