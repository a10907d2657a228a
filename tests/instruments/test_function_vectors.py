"""Function vectors: which heads, how many, where; and that nothing is measured twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from stillwired.checkpoints.checkpoint import Checkpoint
from stillwired.errors import UnsuitableTaskError
from stillwired.instruments import function_vectors as module
from stillwired.instruments.depths import Depth
from stillwired.instruments.function_vectors import VECTORS, TaskVectors
from stillwired.instruments.head_effects import (
    CleanMeans,
    clean_means,
    head_effects,
    heads_of,
    others_of,
    written,
)
from stillwired.instruments.interventions import Answers, Insert, answers
from tests.engine.tiny import CONFIGS
from tests.instruments.conftest import BLOCKS, WIDTH
from tests.instruments.test_task_readings import (
    FIVE,
    HEADS,
    SIZES,
    TASKS,
    asked_checkpoint,
    engine_of,
    examples,
    made_readings,
    made_task,
    no_engine,
)

ABLE = ("alpha", "gamma", "delta")
TOTAL = BLOCKS * HEADS
assert TOTAL == WIDTH  # Each head can have an entry of the width to itself.


class Made(TaskVectors):
    """Vectors of made-up abilities and effects; no model is needed.

    What head k writes for the n-th task is n + 1 at entry k, so that a vector tells its heads.
    """

    def __init__(self, readings, right=None, effects=None):
        super().__init__(readings)
        right = right or dict.fromkeys(readings.tasks, 1.0)
        chance = np.random.default_rng(0)
        self.right, self.hits = right, {}
        self.made = effects or {
            name: chance.normal(size=(3, BLOCKS, HEADS)) for name in readings.tasks
        }
        for number, name in enumerate(readings.tasks):
            for form in readings.sizes.forms:
                parts = (number + 1) * torch.eye(TOTAL).view(BLOCKS, HEADS, WIDTH)
                self._written[name, form] = parts
        readings.cone = None
        if next(iter(self.made.values())).shape[1:] == (BLOCKS, HEADS):
            self.all_heads = frozenset(np.ndindex(BLOCKS, HEADS))

    def means(self, name, form=""):
        number = list(self.readings.tasks).index(name)
        heads = torch.zeros(BLOCKS, HEADS, 8)
        residual = 100.0 + number + torch.arange(BLOCKS)[:, None] * torch.ones(WIDTH)
        return CleanMeans(heads, residual, self.hits.get(name), 5)

    def _gains(self, name):
        if name in self.hits:
            return super()._gains(name)
        return [], (np.arange(100) < 100 * self.right[name]).astype(float), 0.0

    def effects(self, name):
        return self.made[name]


def made(folder, right=None, effects=None, tasks=FIVE, **given):
    return Made(made_readings(folder, tasks, engine=no_engine, **given), right, effects)


def effects_of(*strongest, questions=3):
    """Effects in which some heads stand out, the first of them most."""
    effects = np.zeros((questions, BLOCKS, HEADS))
    for rank, head in enumerate(strongest):
        effects[(slice(None), *head)] = 1.0 - 0.1 * rank
    return effects


def heads_in(vector):
    """Which heads a made-up vector sums, and the number of its task."""
    entries = vector.nonzero()[:, 0].tolist()
    (scale,) = set(vector[entries].tolist())
    return {(k // HEADS, k % HEADS) for k in entries}, int(scale) - 1


def answering(monkeypatch, rule):
    """Let a rule give the probability of every question and intervention."""
    calls = []

    def answer(cone, questions, tried, progress=None):
        calls.append((questions, list(tried)))
        found = np.array([[rule(question, one) for one in tried] for question in questions])
        return Answers(found, found > 0.5, 0)

    monkeypatch.setattr(module, "answers", answer)
    return calls


# Tasks that carry


def test_carriers_are_done_from_a_share_on_and_can_be_asked(tmp_path):
    right = {"alpha": 0.3, "beta": 0.29, "few": 1.0, "gamma": 0.31, "echo": 1.0, "half": 1.0}
    vectors = made(tmp_path, {**right, "delta": 0.0}, tasks=TASKS)
    assert vectors.carriers == ("alpha", "gamma", "half")
    assert module.ABLE == 0.30
    assert [vectors.can_do(name) for name in TASKS] == [True, False, True, True, False, True, True]


def test_no_carrier_is_no_heads(tmp_path):
    vectors = made(tmp_path, {**dict.fromkeys(FIVE, 0.2), "few": 1.0})
    with pytest.raises(UnsuitableTaskError, match=r"asked 0 does none .* alpha, beta, few, gamma"):
        vectors.heads(1)


WEEK = made_task("week", [(f"w{40 + k}", f"w{k}") for k in range(7)])


def test_a_table_with_too_few_rows_for_its_shots_is_left_out(tmp_path):
    sizes = replace(SIZES, shots=5)
    tasks = {"alpha": FIVE["alpha"], "week": WEEK, "gamma": FIVE["gamma"]}
    assert made(tmp_path, tasks=tasks, sizes=sizes).carriers == ("alpha", "gamma")


def test_ability_is_told_question_by_question_on_fit_rows(tmp_path):
    vectors = made(tmp_path)
    questions = vectors.readings.questions("alpha", "fit", "clean")
    hits = np.array([True, False, False, True, True, False, True, False])
    vectors.hits["alpha"] = hits
    common = vectors.readings.commonest("alpha")
    always = np.array([question.answer == common for question in questions])
    assert 0 < (always & hits).sum() < always.sum() < len(hits)
    outcome = vectors.ability("alpha")
    assert outcome.examples.tolist() == examples(questions)
    assert outcome.clusters.tolist() == [question.cluster for question in questions]
    # What the commonest answer hits is no ability.
    assert outcome.scores.tolist() == (hits.astype(float) - always).tolist()
    assert outcome.factors == {"task": "alpha", "commonest_answer": always.mean()}
    assert vectors.can_do("alpha") == (outcome.scores.mean() >= 0.3)


def test_who_always_says_the_commonest_answer_can_do_nothing(tmp_path):
    vectors = made(tmp_path, tasks=TASKS)
    for name in ("few", "half"):
        questions = vectors.readings.questions(name, "fit", "clean")
        common = vectors.readings.commonest(name)
        vectors.hits[name] = np.array([question.answer == common for question in questions])
        assert vectors.hits[name].any()
        assert not vectors.ability(name).scores.any()
        assert not vectors.can_do(name)
        vectors.hits[name] = np.ones(len(questions), bool)
        assert vectors.can_do(name)


def test_answers_that_copying_gives_away_are_no_ability(tmp_path, monkeypatch):
    vectors = made(tmp_path, tasks=TASKS)
    asked = vectors.readings.questions("half", "fit", "clean")
    copies = [replace(question, copies=k % 2 == 0) for k, question in enumerate(asked)]
    monkeypatch.setattr(vectors.readings, "questions", lambda *_: copies)
    vectors.hits["half"] = np.array([question.copies for question in copies])
    assert vectors.ability("half").examples.tolist() == examples(copies[1::2])
    assert vectors.ability("half").scores.max() <= 0
    assert not vectors.can_do("half")
    vectors.hits["half"] = ~vectors.hits["half"]
    assert vectors.can_do("half")


def test_a_task_of_copying_tells_nothing_of_ability(tmp_path):
    vectors = made(tmp_path, tasks=TASKS)
    vectors.hits["echo"] = np.ones(8, bool)
    assert len(vectors.readings.questions("echo", "fit", "clean")) == 8
    assert not vectors.can_do("echo")
    with pytest.raises(UnsuitableTaskError, match=r"about echo tells what .* every answer begins"):
        vectors.ability("echo")


# Effects


def test_effects_are_averaged_over_questions_then_over_tasks(tmp_path):
    rng = np.random.default_rng(1)
    effects = {
        name: rng.normal(size=(count, BLOCKS, HEADS))
        for name, count in zip(FIVE, (1, 4, 2, 9, 3), strict=True)
    }
    right = {**dict.fromkeys(FIVE, 1.0), "beta": 0.0}
    vectors = made(tmp_path, right, effects)
    assert vectors.carriers == ABLE
    means = {name: effects[name].mean(0) for name in ABLE}
    np.testing.assert_allclose(vectors.mean_effects(), sum(means.values()) / 3)
    without = vectors.mean_effects(without="gamma")
    np.testing.assert_allclose(without, (means["alpha"] + means["delta"]) / 2)
    # One that does not carry is not there to be left out.
    np.testing.assert_allclose(vectors.mean_effects(without="beta"), vectors.mean_effects())


def test_without_the_only_carrier_nothing_is_left(tmp_path):
    vectors = made(tmp_path, {**dict.fromkeys(FIVE, 0.0), "gamma": 1.0})
    assert vectors.carriers == ("gamma",)
    with pytest.raises(UnsuitableTaskError, match="asked 0 does no task but gamma in context"):
        vectors.mean_effects(without="gamma")
    np.testing.assert_allclose(vectors.mean_effects("alpha"), vectors.made["gamma"].mean(0))


def test_heads_are_the_strongest_and_may_be_found_without_a_task(tmp_path):
    effects = {
        "alpha": effects_of((5, 1), (0, 3), (7, 2)),
        "beta": effects_of((0, 3), (5, 1), (2, 2)),
        "gamma": 3 * effects_of((6, 0), (6, 1), (6, 2)),
    }
    vectors = made(tmp_path, None, effects, {name: FIVE[name] for name in effects})
    vectors.count = 2
    assert vectors.heads() == ((6, 0), (6, 1))
    assert vectors.heads(5) == ((6, 0), (6, 1), (6, 2), (0, 3), (5, 1))
    # Equal ones in the order of the layers.
    assert vectors.heads(without="gamma") == ((0, 3), (5, 1))
    assert vectors.heads(3, without="beta") == ((6, 0), (6, 1), (6, 2))


def test_numbers_of_heads_are_shares_of_all_heads(tmp_path):
    assert made(tmp_path).counts == (1, 3)
    for shape, counts in (((28, 16), (4, 9, 18, 36)), ((30, 9), (3, 5, 11, 22)), ((2, 2), (1,))):
        effects = {name: np.zeros((1, *shape)) for name in FIVE}
        found = made(tmp_path, None, effects)
        found.all_heads = frozenset(np.ndindex(*shape))
        assert found.counts == counts


def test_only_heads_that_exist_are_chosen(tmp_path):
    """In a model of mixers and attention every head may do harm, and is a head all the same."""
    config, tokenizer = CONFIGS["jamba"](), asked_checkpoint().tokenizer
    config.vocab_size = len(tokenizer)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    checkpoint = Checkpoint.of_model(model, tokenizer, name="mixed")
    real = heads_of(checkpoint.anatomy)
    effects = np.zeros((2, checkpoint.anatomy.layers, checkpoint.anatomy.heads))
    for number, head in enumerate(real, 1):
        effects[(slice(None), *head)] = -0.1 * number
    vectors = Made(made_readings(tmp_path, FIVE, checkpoint), effects=dict.fromkeys(FIVE, effects))
    assert vectors.heads(len(real)) == vectors.heads(100) == real
    assert vectors.all_heads == frozenset(real)


# How many heads


def by_count(table, baseline=0.05):
    """Probability by the number of heads and the block, for the task that a question is about."""

    def rule(question, one):
        if one is None:
            return baseline
        heads, task = heads_in(one.vector)
        name = question.example.split(":")[0]
        assert list(FIVE)[task] == name
        return table.get((name, len(heads), one.block), 0.01)

    return rule


def test_the_number_is_the_one_whose_vectors_do_most_each_task_at_its_best_depth(
    tmp_path, monkeypatch
):
    table = {
        # At one depth for all tasks, three heads would do more.
        ("alpha", 1, 2): 0.9,
        ("gamma", 1, 5): 0.9,
        ("delta", 1, 0): 0.6,
        ("alpha", 3, 4): 0.7,
        ("gamma", 3, 4): 0.7,
        ("delta", 3, 4): 0.7,
    }
    calls = answering(monkeypatch, by_count(table))
    vectors = made(tmp_path, {**dict.fromkeys(FIVE, 1.0), "beta": 0.0})
    assert vectors.carriers == ABLE
    assert vectors.count == 1
    # Asked were the choose split's zero-shot questions of each carrier, with the strongest heads.
    for name, (questions, tried) in zip(ABLE, calls, strict=True):
        assert questions == vectors.readings.questions(name, "choose", "zero-shot")
        assert tried[0] is None
        assert [one.block for one in tried[1:]] == 2 * list(range(BLOCKS))
        for k, one in enumerate(tried[1:]):
            heads, _ = heads_in(one.vector)
            assert heads == set(vectors.heads(1 if k < BLOCKS else 3))
    table["delta", 3, 6] = 1.0
    table["alpha", 3, 7] = 0.9
    again = made(tmp_path / "again", {**dict.fromkeys(FIVE, 1.0), "beta": 0.0})
    assert again.count == 3
    assert again.heads() == vectors.heads(3)
    assert again.heads()[:1] == vectors.heads()


def test_fewer_heads_win_a_tie(tmp_path, monkeypatch):
    answering(monkeypatch, by_count({(name, k, 3): 0.5 for name in FIVE for k in (1, 3)}))
    assert made(tmp_path).count == 1


# Vectors


def test_a_vector_is_the_sum_of_what_its_heads_write(tmp_path):
    vectors = made(tmp_path)
    vectors.count = 3
    assert heads_in(vectors.vector("alpha")) == (set(vectors.heads(3)), 0)
    assert heads_in(vectors.vector("gamma")) == (set(vectors.heads(3)), 3)
    some = [(7, 3), (0, 0)]
    assert heads_in(vectors.vector("beta", heads=some)) == (set(some), 1)
    vectors._written["alpha", "arrow"] = vectors._written["alpha", "qa"] * 5
    assert torch.equal(vectors.vector("alpha", "arrow"), 5 * vectors.vector("alpha"))


def test_the_other_task_is_the_next_in_the_list(tmp_path):
    vectors = made(tmp_path, {**dict.fromkeys(FIVE, 0.0), "alpha": 1.0})
    assert [vectors.other(name) for name in FIVE] == ["beta", "few", "gamma", "delta", "alpha"]


def test_tasks_that_cannot_be_asked_are_passed_over(tmp_path, monkeypatch):
    tasks = {"alpha": FIVE["alpha"], "week": WEEK, "gamma": FIVE["gamma"], "beta": FIVE["beta"]}
    vectors = made(tmp_path, tasks=tasks, sizes=replace(SIZES, shots=5))
    assert [vectors.other(name) for name in tasks] == ["gamma", "gamma", "beta", "alpha"]
    # As when every answer joins its prompt.
    sound = vectors.readings.questions

    def questions(name, part, kind, form=""):
        return [] if name == "beta" else sound(name, part, kind, form)

    monkeypatch.setattr(vectors.readings, "questions", questions)
    assert [vectors.other(name) for name in tasks] == ["gamma", "gamma", "alpha", "alpha"]


def test_tasks_that_ask_the_same_are_no_others(tmp_path):
    alike = {name: replace(FIVE[name], asks="one thing") for name in ("alpha", "beta", "gamma")}
    vectors = made(tmp_path, tasks={**FIVE, **alike})
    assert [vectors.other(name) for name in FIVE] == ["few", "few", "gamma", "delta", "alpha"]
    with pytest.raises(UnsuitableTaskError, match="no task beside alpha"):
        made(tmp_path, tasks=alike).other("alpha")


def test_a_single_task_has_no_other(tmp_path):
    with pytest.raises(UnsuitableTaskError):
        made(tmp_path, tasks={"alpha": FIVE["alpha"]}).other("alpha")


def test_what_is_inserted_is_what_it_is_called(tmp_path):
    vectors = made(tmp_path)
    vectors.count = 3
    depth = Depth("depth0.50", 4, 4 / 7)
    for name, other in (("alpha", "beta"), ("delta", "alpha")):
        inserted = {v: vectors.inserted(name, v, depth) for v in VECTORS}
        assert {one.block for one in inserted.values()} == {4}
        assert torch.equal(inserted["own"].vector, vectors.vector(name))
        assert torch.equal(inserted["another task's"].vector, vectors.vector(other))
        average = inserted["layer average"].vector
        assert torch.equal(average, vectors.means(name).residual[4])
        random = inserted["random"].vector
        assert float(random.norm()) == pytest.approx(float(vectors.vector(name).norm()), rel=1e-5)
        assert (random != 0).all()


def test_the_random_vector_depends_on_the_checkpoint_in_its_length_alone(tmp_path):
    depth = Depth("depth0.50", 4, 4 / 7)

    def random(name="alpha", **given):
        vectors = made(tmp_path, **given)
        vectors.count = 3
        vectors._written["beta", "qa"] = vectors._written["beta", "qa"] * 7
        return vectors.inserted(name, "random", depth).vector

    def along(vector):
        return vector / vector.norm()

    ours = random()
    assert torch.equal(random(checkpoint=asked_checkpoint(1)), ours)
    assert torch.equal(random(restart=3), ours)
    assert not torch.allclose(along(random(seed=1)), along(ours), atol=0.1)
    assert not torch.allclose(along(random("beta")), along(ours), atol=0.1)
    assert float(random("beta").norm()) == pytest.approx(14 * np.sqrt(3), rel=1e-5)
    drawn = made(tmp_path).readings.rng("alpha", "random vector").normal(size=WIDTH)
    np.testing.assert_allclose(along(ours), drawn / np.linalg.norm(drawn), rtol=1e-5)


def test_random_heads_are_others_of_the_same_layers_by_task_and_draw(tmp_path):
    vectors = made(tmp_path)
    heads = ((3, 1), (3, 2), (0, 0))
    drawn = {
        (name, draw): vectors.random_heads(name, draw, heads)
        for name in ("alpha", "beta")
        for draw in range(6)
    }
    for (name, draw), found in drawn.items():
        expected = others_of(heads, HEADS, vectors.readings.rng(name, f"random heads {draw}"))
        assert found == expected
        assert not set(found) & set(heads)
        assert sorted(layer for layer, _ in found) == [0, 3, 3]
    assert len(set(drawn.values())) > 2
    other = made(tmp_path, checkpoint=asked_checkpoint(1))
    assert other.random_heads("alpha", 2, heads) == drawn["alpha", 2]


# Where


def test_the_depth_is_the_one_that_does_most_on_the_choose_split(tmp_path, monkeypatch):
    vectors = made(tmp_path)
    vectors.count = 3
    own, other = vectors.vector("alpha"), vectors.vector("beta")
    # The mean over questions decides; one question alone would prefer block 7.
    first = vectors.readings.questions("alpha", "choose", "zero-shot")[0]
    peaks = {"own": 2, "another task's": 6, "layer average": 5, "random": 0}

    def rule(question, one):
        if torch.equal(one.vector, own):
            vector = "own"
        elif torch.equal(one.vector, other):
            vector = "another task's"
        elif len(set(one.vector.tolist())) == 1:
            vector = "layer average"
            assert float(one.vector[0]) == 100 + one.block
        else:
            vector = "random"
        if question == first and one.block == 7:
            return 0.6
        return 0.5 if one.block == peaks[vector] else 0.1

    calls = answering(monkeypatch, rule)
    for vector, block in peaks.items():
        assert vectors.depth("alpha", vector) == vectors.readings.depths[block]
    assert vectors.depth("alpha") == vectors.readings.depths[2]
    assert len(calls) == 1
    assert calls[0][0] == vectors.readings.questions("alpha", "choose", "zero-shot")
    curves = vectors.choice("alpha")
    expected = np.full((4, BLOCKS), 0.1)
    expected[:, 7] = 0.1 + 0.5 / 4
    expected[range(4), list(peaks.values())] = 0.5
    np.testing.assert_allclose(curves, expected)


def test_of_equally_good_depths_the_first_is_taken(tmp_path, monkeypatch):
    vectors = made(tmp_path)
    vectors.count = 1
    answering(monkeypatch, lambda _, one: 0.4 if one.block in (3, 5) else 0.2)
    assert vectors.depth("gamma").block == 3


# On a model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def any_task(monkeypatch):
    """A random model does nothing well."""
    monkeypatch.setattr(module, "ABLE", -1.0)


TWO = {name: FIVE[name] for name in ("alpha", "gamma")}


@pytest.fixture
def vectors(folder, any_task):
    return TaskVectors(made_readings(folder, TWO))


def test_means_are_those_of_the_clean_fit_questions_in_their_format(vectors):
    engine = engine_of(vectors.readings.checkpoint)
    for form in ("", "arrow"):
        questions = vectors.readings.questions("gamma", "fit", "clean", form)
        expected, found = clean_means(engine, questions), vectors.means("gamma", form)
        assert torch.equal(found.heads, expected.heads)
        assert torch.equal(found.residual, expected.residual)
        assert found.hits.tolist() == expected.hits.tolist()
        assert found.averaged == expected.averaged
    assert not torch.allclose(vectors.means("gamma").heads, vectors.means("gamma", "arrow").heads)
    assert vectors.means("gamma", "qa") is vectors.means("gamma")
    common, asked = vectors.readings.commonest("gamma"), vectors.ability("gamma")
    hits = vectors.means("gamma").hits.astype(float)
    always = [
        question.answer == common
        for question in vectors.readings.questions("gamma", "fit", "clean")
    ]
    assert asked.scores.tolist() == (hits - always).tolist()


def test_effects_are_those_of_shuffled_choose_questions(vectors):
    cost = {}
    for name in TWO:
        questions = vectors.readings.questions(name, "choose", "shuffled")
        expected, found = head_effects(vectors.readings.cone, questions, vectors.means(name))
        np.testing.assert_allclose(vectors.effects(name), expected, atol=1e-6)
        assert len(questions) == 3
        cost[name] = np.array([found.cells, found.full_cells])
    assert vectors.readings.cost["head sweep"] == tuple(sum(cost.values()))


def test_vectors_are_what_the_models_heads_write(vectors):
    engine = engine_of(vectors.readings.checkpoint)
    for form in ("", "brackets"):
        parts = written(engine, vectors.means("alpha", form))
        expected = sum(parts[head] for head in vectors.heads(3))
        found = vectors.vector("alpha", form, vectors.heads(3))
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_number_and_depths_follow_from_what_the_model_answers(vectors):
    readings, gains = vectors.readings, np.zeros((2, 2, BLOCKS))
    for task, name in enumerate(TWO):
        questions = readings.questions(name, "choose", "zero-shot")
        for k, count in enumerate(vectors.counts):
            vector = vectors.vector(name, heads=vectors.heads(count))
            tried = [Insert(block, vector) for block in range(BLOCKS)]
            gains[task, k] = answers(readings.cone, questions, tried).probabilities.mean(0)
    expected = vectors.counts[int(gains.max(2).mean(0).argmax())]
    assert vectors.count == expected
    for task, name in enumerate(TWO):
        curve = gains[task, vectors.counts.index(vectors.count)]
        np.testing.assert_allclose(vectors.choice(name)[0], curve, rtol=1e-3)
        assert vectors.depth(name).block == int(curve.argmax())


def everything(vectors):
    return {
        "carriers": vectors.carriers,
        "means": [vectors.means(name).heads.tolist() for name in TWO],
        "arrow": vectors.means("alpha", "arrow").residual.tolist(),
        "effects": [vectors.effects(name).tolist() for name in TWO],
        "count": vectors.count,
        "heads": vectors.heads(),
        "choice": [vectors.choice(name).tolist() for name in TWO],
        "depth": [vectors.depth(name, v) for name in TWO for v in VECTORS],
        "cost": vectors.readings.cost["head sweep"],
    }


def test_what_was_measured_once_needs_no_model(vectors, folder):
    measured = everything(vectors)
    again = TaskVectors(made_readings(folder, TWO, engine=no_engine))
    assert everything(again) == measured
    # It was needed for what was not.
    with pytest.raises(AssertionError, match="the engine was asked for"):
        again.means("gamma", "brackets")
    other = TaskVectors(made_readings(folder, TWO, engine=no_engine, seed=1))
    with pytest.raises(AssertionError, match="the engine was asked for"):
        other.effects("alpha")


def test_a_restart_measures_means_effects_and_depths_anew(vectors):
    again = TaskVectors(vectors.readings.again(1))
    for name in TWO:
        assert not torch.allclose(again.means(name).heads, vectors.means(name).heads)
        assert not np.allclose(again.effects(name), vectors.effects(name))
        assert not np.allclose(again.choice(name), vectors.choice(name))
        judged = vectors.readings.questions(name, "judge", "zero-shot")
        assert again.readings.questions(name, "judge", "zero-shot") == judged


def test_another_order_of_tasks_is_another_choice(tmp_path, any_task):
    three = {name: FIVE[name] for name in ("alpha", "beta", "gamma")}
    one = TaskVectors(made_readings(tmp_path, three))
    turned = {name: three[name] for name in ("alpha", "gamma", "beta")}
    other = TaskVectors(made_readings(tmp_path, turned))
    assert (one.other("alpha"), other.other("alpha")) == ("beta", "gamma")
    row = VECTORS.index("another task's")
    assert not np.allclose(one.choice("alpha")[row], other.choice("alpha")[row])
