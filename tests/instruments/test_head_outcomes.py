"""Heads that carry tasks, described: where they look, where they lie, what they copy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stillwired.instruments import function_vectors
from stillwired.instruments.function_vectors import TaskVectors
from stillwired.instruments.head_attention import attention_on_answers, prefix_matching
from stillwired.instruments.head_outcomes import DRAWS, HeadOutcomes
from stillwired.outcomes import paired
from tests.instruments.conftest import BLOCKS
from tests.instruments.test_function_vectors import Made, effects_of
from tests.instruments.test_task_readings import (
    FIVE,
    HEADS,
    SIZES,
    engine_of,
    examples,
    made_readings,
    no_engine,
)

TOP = ((6, 1), (2, 0), (6, 3))
TWO = {name: FIVE[name] for name in ("alpha", "gamma")}


def made(folder, effects=None, engine=None, tasks=TWO, **given):
    """Heads that are told, on a model that is real; the first three carry the tasks."""
    effects = effects or dict.fromkeys(tasks, effects_of(*TOP))
    vectors = Made(made_readings(folder, tasks, engine=engine, **given), None, effects)
    vectors.count = len(TOP)
    return vectors


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def vectors(folder):
    return made(folder)


@pytest.fixture(scope="module")
def heads(vectors):
    return HeadOutcomes(vectors, "alpha")


def weights_of(vectors, tokens):
    """Attention of a plain pass [layers, heads, queries, keys]."""
    model = vectors.readings.checkpoint.model
    with torch.no_grad():
        out = model(torch.tensor([list(tokens)]), output_attentions=True)
    return torch.stack(out.attentions)[:, 0].double().numpy()


# Where they look


def share(weights, answers, chosen):
    """Mean share of some heads' attention from the last token, without the first token."""
    shares = []
    for layer, number in chosen:
        last = weights[layer, number, -1]
        shares.append(last[list(answers)].sum() / last[1:].sum())
    return np.mean(shares)


def test_attention_is_that_of_the_heads_that_carry_tasks_and_of_others(vectors, heads):
    questions = vectors.readings.questions("alpha", "judge", "clean")
    drawn = [vectors.random_heads("alpha", k, TOP) for k in range(DRAWS)]
    others = [head for group in drawn for head in group]
    assert len(others) == DRAWS * len(TOP)
    weights = [weights_of(vectors, question.tokens) for question in questions]
    for label, chosen in (("top", TOP), ("random", others)):
        outcome = heads.attention_on_answers(label)
        expected = [share(w, q.answers, chosen) for w, q in zip(weights, questions, strict=True)]
        np.testing.assert_allclose(outcome.scores, expected, rtol=1e-4)
        assert outcome.examples.tolist() == examples(questions)
        assert outcome.clusters.tolist() == [question.cluster for question in questions]
        assert outcome.factors == {"task": "alpha", "heads": label}
    assert len(questions) == SIZES.judged_clean


def test_the_null_deals_out_what_the_same_heads_look_at(vectors, heads):
    questions = vectors.readings.questions("alpha", "judge", "clean")
    engine = engine_of(vectors.readings.checkpoint)
    rng = vectors.readings.rng("alpha", "shuffled positions")
    expected = attention_on_answers(engine, questions, TOP, rng).dealt.mean(1)
    outcome = heads.attention_on_answers("shuffled")
    np.testing.assert_allclose(outcome.scores, expected, rtol=1e-5)
    ours, theirs = paired(heads.attention_on_answers("top"), outcome)
    assert not np.allclose(ours, theirs)


def test_a_pattern_is_what_the_first_judged_prompt_shows(vectors, heads):
    question = vectors.readings.questions("alpha", "judge", "clean")[0]
    tokens, weights = heads.pattern(TOP[:2])
    assert tokens == [
        vectors.readings.checkpoint.tokenizer.decode([token]) for token in question.tokens
    ]
    assert question.row.input in tokens
    whole = weights_of(vectors, question.tokens)
    expected = [whole[layer, number, -1] for layer, number in TOP[:2]]
    np.testing.assert_allclose(weights, expected, atol=1e-6)
    # Other heads are another picture.
    _, others = heads.pattern(TOP[1:])
    np.testing.assert_allclose(others[0], expected[1], atol=1e-6)


# Where they lie


def test_the_early_share_is_that_of_the_effect_and_not_of_the_heads(tmp_path):
    # Of eight layers, the first five lie in the first two thirds.
    effects = effects_of((4, 0), (5, 1), (0, 2), (7, 0))
    found = HeadOutcomes(made(tmp_path, dict.fromkeys(TWO, effects)), "alpha")
    rows = np.arange(2)
    assert found.early_share(rows) == pytest.approx((1.0 + 0.8) / (1.0 + 0.9 + 0.8))
    for strongest, expected in (
        (((0, 0), (1, 0), (4, 3)), 1.0),
        (((5, 0), (6, 0), (7, 3)), 0.0),
    ):
        effects = dict.fromkeys(TWO, effects_of(*strongest))
        again = HeadOutcomes(made(tmp_path, effects), "alpha")
        assert again.early_share(rows) == pytest.approx(expected)


def test_heads_are_ranked_by_the_rows_that_are_asked_for_alone(tmp_path):
    effects = {
        "alpha": effects_of((0, 0), (1, 0), (2, 0)),
        "gamma": effects_of((7, 0), (1, 0), (6, 0)),
    }
    found = HeadOutcomes(made(tmp_path, effects), "alpha")
    assert found.early_share(np.array([0])) == pytest.approx(1.0)
    assert found.early_share(np.array([1])) == pytest.approx(0.9 / 2.7)
    # Together (1, 0) leads with 0.9, then the first of either with 0.5.
    assert found.early_share(np.array([0, 1])) == pytest.approx(1.4 / 1.9)
    # A row that is drawn twice counts twice.
    twice = found.early_share(np.array([0, 0, 1]))
    assert twice == pytest.approx(1.0)


def test_by_chance_as_much_lies_early_as_there_are_layers(tmp_path):
    for layers, expected in ((8, 5 / 8), (12, 8 / 12), (3, 2 / 3), (1, 1.0), (28, 19 / 28)):
        effects = dict.fromkeys(TWO, np.ones((1, layers, 2)))
        vectors = made(tmp_path, effects)
        vectors.all_heads = frozenset(np.ndindex(layers, 2))
        assert HeadOutcomes(vectors, "alpha").early_by_chance == pytest.approx(expected)


def test_by_chance_only_layers_with_heads_count(tmp_path):
    vectors = made(tmp_path)
    vectors.all_heads = frozenset((layer, number) for layer in (1, 3, 5) for number in range(HEADS))
    assert HeadOutcomes(vectors, "alpha").early_by_chance == pytest.approx(2 / 3)


# What they copy


def test_induction_is_scored_on_random_tokens_and_the_same_heads(vectors, heads):
    engine = engine_of(vectors.readings.checkpoint)
    drawn = [vectors.random_heads("alpha", k, TOP) for k in range(DRAWS)]
    for label, chosen in (("top", TOP), ("random", [h for group in drawn for h in group])):
        rng = vectors.readings.rng("alpha", "tokens shown twice")
        expected = prefix_matching(engine, chosen, rng, prefix=[0], rows=16).mean(1)
        outcome = heads.induction(label)
        np.testing.assert_allclose(outcome.scores, expected, rtol=1e-4)
        assert len(set(outcome.clusters.tolist())) == 16
        assert outcome.factors == {"heads": label}
    # Whatever the task: the tokens are the same.
    other = HeadOutcomes(vectors, "gamma").induction("top")
    assert np.array_equal(other.scores, heads.induction("top").scores)


# What is kept


def test_what_was_read_once_needs_no_model(vectors, heads, folder):
    measured = [heads.attention_on_answers(label) for label in ("top", "random", "shuffled")]
    measured += [heads.induction(label) for label in ("top", "random")]
    tokens, weights = heads.pattern(TOP[:2])
    again = HeadOutcomes(made(folder, engine=no_engine), "alpha")
    found = [again.attention_on_answers(label) for label in ("top", "random", "shuffled")]
    found += [again.induction(label) for label in ("top", "random")]
    for one, other in zip(measured, found, strict=True):
        assert np.array_equal(one.scores, other.scores)
        assert one.name == other.name
    assert again.pattern(TOP[:2])[0] == tokens
    assert np.array_equal(again.pattern(TOP[:2])[1], weights)
    with pytest.raises(AssertionError, match="the engine was asked for"):
        HeadOutcomes(made(folder, engine=no_engine), "gamma").attention_on_answers("top")


def test_everything_is_measured_on_a_model_alone(tmp_path, monkeypatch):
    """Without anything made up: the heads are the model's."""
    monkeypatch.setattr(function_vectors, "ABLE", -1.0)
    vectors = TaskVectors(made_readings(tmp_path, TWO))
    found = HeadOutcomes(vectors, "gamma")
    outcome = found.attention_on_answers("top")
    questions = vectors.readings.questions("gamma", "judge", "clean")
    expected = [share(weights_of(vectors, q.tokens), q.answers, vectors.heads()) for q in questions]
    np.testing.assert_allclose(outcome.scores, expected, rtol=1e-4)
    effects = vectors.mean_effects()
    chosen = vectors.heads()
    early = sum(effects[head] for head in chosen if head[0] < 5)
    whole = sum(effects[head] for head in chosen)
    assert found.early_share(np.arange(2)) == pytest.approx(early / whole)
    assert effects.shape == (BLOCKS, HEADS)
