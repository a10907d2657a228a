"""What a vector is: the words that it decodes to, its likenesses, offsets, and sums."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stillwired.checkpoints.checkpoint import Checkpoint
from stillwired.data.composed_tasks import compose_tasks, split_lists
from stillwired.errors import UnsuitableTaskError
from stillwired.instruments import function_vectors
from stillwired.instruments import vector_meaning as module
from stillwired.instruments.function_vectors import TaskVectors
from stillwired.instruments.head_effects import clean_means, others_of, written
from stillwired.instruments.interventions import Insert, answers
from stillwired.instruments.vector_meaning import ComposedVectors, VectorMeaning
from stillwired.instruments.vocabulary_decoding import Rebuilt, rebuilt
from stillwired.outcomes import paired
from tests.instruments.conftest import WIDTH, made_checkpoint
from tests.instruments.test_task_readings import (
    FIVE,
    HEADS,
    SAID,
    asked_checkpoint,
    engine_of,
    examples,
    made_readings,
    made_task,
    no_engine,
)
from tests.instruments.test_vector_outcomes import answering

COUNT = 3
THREE = {name: FIVE[name] for name in ("alpha", "gamma", "delta")}


@pytest.fixture(scope="module", autouse=True)
def any_task():
    """A random model does nothing well, and decodes to all of its few words at once.

    Made-up answers tell vectors apart that do much the same to it.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(function_vectors, "ABLE", -1.0)
        patch.setattr(module, "DECODED", 5)
        patch.setattr(module, "answers", answering)
        yield


def vectors_in(folder, tasks=THREE, **given):
    made = TaskVectors(made_readings(folder, tasks, **given))
    made.count = COUNT
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def vectors(folder):
    return vectors_in(folder)


def judged(vectors, name="alpha"):
    return vectors.readings.questions(name, "judge", "zero-shot")


def about(outcome, questions):
    return outcome.examples.tolist() == examples(questions) and outcome.clusters.tolist() == [
        question.cluster for question in questions
    ]


# Words


def likeliest(vectors, vector, count):
    """What the plain final norm and unembedding make of a vector."""
    model = vectors.readings.checkpoint.model
    with torch.no_grad():
        logits = model.lm_head(model.model.norm(vector))
    return logits.sort(descending=True, stable=True).indices[:count].tolist()


def test_vectors_decode_to_what_the_end_of_the_model_makes_of_them(vectors):
    meaning = VectorMeaning(vectors, "alpha")
    own = likeliest(vectors, vectors.vector("alpha"), 5)
    assert meaning.decodes_to() == meaning.decodes_to("alpha") == own
    other = likeliest(vectors, vectors.vector("gamma"), 5)
    assert meaning.decodes_to("gamma") == other
    assert VectorMeaning(vectors, "gamma").decodes_to() == other
    assert set(own) != set(other)


@pytest.mark.parametrize(("name", "other"), [("alpha", "gamma"), ("delta", "alpha")])
def test_answers_are_counted_among_the_decoded_tokens(vectors, name, other):
    meaning, questions = VectorMeaning(vectors, name), judged(vectors, name)
    hits = []
    for label, of in (("own", name), ("another task's", other)):
        outcome = meaning.names_answers(label)
        tokens = likeliest(vectors, vectors.vector(of), 5)
        assert outcome.scores.tolist() == [question.answer in tokens for question in questions]
        assert about(outcome, questions)
        assert outcome.factors == {"task": name}
        assert outcome.name == f"{name}: among the 5 tokens of {of}"
        hits += outcome.scores.tolist()
    assert set(hits) == {0.0, 1.0}


def test_all_tokens_name_every_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "DECODED", 102)
    vectors = vectors_in(tmp_path)
    assert VectorMeaning(vectors, "alpha").names_answers("own").scores.all()


# Rebuilt


def test_the_likeness_is_inserted_where_the_vector_was_and_kept(vectors, monkeypatch):
    likeness = torch.randn(WIDTH, generator=torch.Generator().manual_seed(0))
    calls = []

    def rebuild(engine, vector, count, **given):
        calls.append((vector, count, given))
        return Rebuilt(likeness, 0.25, 0.75)

    monkeypatch.setattr(module, "rebuilt", rebuild)
    monkeypatch.setattr(vectors, "depth", lambda name: vectors.readings.depths[5])
    meaning, questions = VectorMeaning(vectors, "gamma"), judged(vectors, "gamma")
    outcome = meaning.with_rebuilt()
    put = Insert(5, likeness)
    expected = answering(None, questions, [put]).hits[:, 0]
    assert outcome.scores.tolist() == expected.tolist()
    assert about(outcome, questions)
    assert outcome.factors == {"task": "gamma", "divergence": 0.25, "share": 0.75}
    ((vector, count, given),) = calls
    assert torch.equal(vector, vectors.vector("gamma"))
    assert (count, given) == (5, {"seed": 0, "among": "vocabulary"})
    assert np.array_equal(meaning.with_rebuilt().scores, outcome.scores)
    assert len(calls) == 1


def test_the_likeness_decodes_as_the_vector_does(vectors, monkeypatch):
    """The real one, with its thousand steps, and the model's own answers."""
    monkeypatch.setattr(module, "answers", answers)
    outcome = VectorMeaning(vectors, "alpha").with_rebuilt()
    engine = engine_of(vectors.readings.checkpoint)
    made = rebuilt(engine, vectors.vector("alpha"), 5, seed=0, among="vocabulary")
    put = Insert(vectors.depth("alpha").block, made.vector)
    questions = judged(vectors)
    expected = answers(vectors.readings.cone, questions, [put]).hits[:, 0]
    assert outcome.scores.tolist() == expected.tolist()
    assert outcome.factors["divergence"] == pytest.approx(made.divergence, rel=1e-3, abs=1e-6)
    assert outcome.factors["share"] == pytest.approx(made.share, rel=1e-3)


# Offsets


def shifted_checkpoint(broken=()):
    """Answers are their queries plus one offset, but for some; unembedding is by the angle."""
    made = made_checkpoint()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        table = made.model.model.embed_tokens.weight
        offset = 4 * torch.nn.functional.normalize(torch.randn(WIDTH, generator=generator), dim=0)
        for row in SHIFTED.rows:
            asked, answer = (2 + int(word[1:]) for word in (row.input, row.output))
            table[answer] = torch.randn(WIDTH, generator=generator)
            if row not in broken:
                table[answer] = table[asked] + offset
        made.model.model.norm.weight.fill_(1.0)
        made.model.lm_head.weight.copy_(torch.nn.functional.normalize(table, dim=-1))
    return Checkpoint.of_model(made.model, made.tokenizer, name=f"shifted, {len(broken)} not")


SHIFTED = made_task("shifted", [(f"w{k}", f"w{k + 50}") for k in range(40)], cyclic=True)


@pytest.mark.parametrize("space", ["embedding", "logits"])
def test_a_constant_offset_hits_where_answers_are_one_offset_away(tmp_path, space):
    checkpoint = shifted_checkpoint()
    vectors = vectors_in(tmp_path, {"shifted": SHIFTED}, checkpoint=checkpoint)
    outcome = VectorMeaning(vectors, "shifted").with_offset(space)
    assert outcome.scores.tolist() == [1.0] * 10
    assert about(outcome, judged(vectors, "shifted"))
    assert outcome.name == f"shifted: constant offset, {space}"
    # Judged rows alone lie elsewhere: the offset is that of fitted ones, and misses these.
    questions = judged(vectors, "shifted")
    broken = [question.row for question in questions[::2]]
    checkpoint = shifted_checkpoint(broken)
    vectors = vectors_in(tmp_path, {"shifted": SHIFTED}, checkpoint=checkpoint)
    outcome = VectorMeaning(vectors, "shifted").with_offset(space)
    assert outcome.scores.tolist() == [0.0, 1.0] * 5


def test_offsets_are_fitted_to_fit_rows_and_kept_by_space(vectors, folder, monkeypatch):
    calls = []

    def guesses(engine, pairs, queries, space):
        calls.append((pairs, queries, space))
        right = [question.answer for question in judged(vectors)]
        return np.array([right[0], *right[1:-1], -1]) + (space == "logits")

    monkeypatch.setattr(module, "offset_guesses", guesses)
    meaning = VectorMeaning(vectors, "alpha")
    assert meaning.with_offset("embedding").scores.tolist() == [1.0] * 9 + [0.0]
    assert meaning.with_offset("logits").scores.tolist() == [0.0] * 10
    fit = vectors.readings.questions("alpha", "fit", "zero-shot")
    for (pairs, queries, space), wanted in zip(calls, ("embedding", "logits"), strict=True):
        assert pairs == [(question.query, question.answer) for question in fit]
        assert queries == [question.query for question in judged(vectors)]
        assert space == wanted
    again = VectorMeaning(vectors_in(folder, engine=no_engine), "alpha")
    assert again.with_offset("embedding").scores.tolist() == [1.0] * 9 + [0.0]


def test_words_and_likenesses_that_are_kept_need_no_model(vectors, folder):
    meaning = VectorMeaning(vectors, "alpha")
    again = VectorMeaning(vectors_in(folder, engine=no_engine), "alpha")
    assert meaning.decodes_to() == again.decodes_to()
    for label in ("own", "another task's"):
        one, other = meaning.names_answers(label), again.names_answers(label)
        ours, theirs = paired(one, other)
        assert np.array_equal(ours, theirs)
    assert np.array_equal(meaning.with_rebuilt().scores, again.with_rebuilt().scores)


# Sums


BASE = made_task("base", [(f"w{40 + k}", f"w{k % SAID}") for k in range(40)])
COMPOSED = compose_tasks(BASE, count=60)
ROLES = ("last_copy", "first", "first_copy")


@pytest.fixture(scope="module")
def composed(vectors):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "composition", lambda which: COMPOSED)
        return ComposedVectors(vectors, "last-base")


def test_parts_are_split_as_the_lists_are(composed, vectors):
    parts = split_lists(COMPOSED, vectors.readings.seed)
    readings = composed.readings
    assert list(readings.tasks) == [task.name for task in COMPOSED.tasks.values()]
    for role, task in COMPOSED.tasks.items():
        assert readings.parts(task.name) == parts[role]
        for part in ("fit", "choose", "judge"):
            asked = {q.row for q in readings.questions(task.name, part, "clean")}
            assert asked <= set(parts[role][part])
    # No list is asked about on both sides.
    fitted = {
        question.row.input
        for task in COMPOSED.tasks.values()
        for question in readings.questions(task.name, "fit", "clean")
    }
    assert not fitted & {q.row.input for q in judged(composed.vectors, "last-base")}
    # The tasks that the heads are from stay as they were.
    assert list(vectors.readings.tasks) == list(THREE)


def own_vectors(composed, heads):
    """The four tasks' vectors of some heads, from means that are read here again."""
    engine, found = engine_of(composed.readings.checkpoint), {}
    for role, task in COMPOSED.tasks.items():
        questions = composed.readings.questions(task.name, "fit", "clean")
        parts = written(engine, clean_means(engine, questions))
        found[role] = sum(parts[head] for head in heads)
    return found


def expected_hits(composed, heads):
    """Hits without anything, and with each vector at the depth that choose rows prefer."""
    own, readings = own_vectors(composed, heads), composed.readings
    made = {
        "composed": own["last_copy"] + own["first"] - own["first_copy"],
        "direct": own["last"],
        **{role: own[role] for role in ROLES},
    }
    choosing = readings.questions("last-base", "choose", "zero-shot")
    asked = judged(composed.vectors, "last-base")
    found = {"nothing": answering(None, asked, [None]).hits[:, 0]}
    for label, vector in made.items():
        tried = [Insert(depth.block, vector) for depth in readings.depths]
        curve = answering(None, choosing, tried).probabilities.mean(0)
        put = tried[int(curve.argmax())]
        found[label] = answering(None, asked, [put]).hits[:, 0]
    assert len({tuple(hits.tolist()) for hits in found.values()}) == len(found)
    return found


def test_sums_are_of_the_heads_that_carry_other_tasks(composed, vectors):
    expected = expected_hits(composed, vectors.heads())
    assert list(expected) == ["nothing", "composed", "direct", *ROLES]
    asked = judged(composed.vectors, "last-base")
    common = composed.readings.commonest("last-base")
    expected["commonest answer"] = np.array([q.answer == common for q in asked])
    outcomes = {label: composed.zero_shot(label) for label in expected}
    for label, outcome in outcomes.items():
        assert outcome.scores.tolist() == expected[label].tolist(), label
        assert outcome.examples.tolist() == examples(asked)
        # Lists that end alike are one cluster, and so are others with their answer.
        assert outcome.clusters.tolist() == [q.row.output for q in asked]
        assert outcome.factors == {"task": "last-base", "vector": label}
        paired(outcomes["composed"], outcome)


def test_only_the_judged_task_has_to_be_done(composed):
    outcome = composed.ability()
    questions = composed.readings.questions("last-base", "fit", "clean")
    assert about(outcome, questions)
    found = clean_means(engine_of(composed.readings.checkpoint), questions)
    common = composed.readings.commonest("last-base")
    always = np.array([question.answer == common for question in questions])
    assert outcome.scores.tolist() == (found.hits.astype(float) - always).tolist()


def test_there_is_no_other_vector(composed):
    with pytest.raises(UnsuitableTaskError, match=r"no 'last' vector: nothing, composed, direct"):
        composed.zero_shot("last")


def test_sums_of_other_heads_are_kept_apart(composed, vectors, folder, monkeypatch):
    monkeypatch.setattr(module, "composition", lambda which: COMPOSED)
    before = composed.zero_shot("composed")
    again = ComposedVectors(vectors_in(folder, engine=no_engine), "last-base")
    assert np.array_equal(again.zero_shot("composed").scores, before.scores)
    other = vectors_in(folder)
    others = others_of(vectors.heads(), HEADS, np.random.default_rng(0))
    assert len(others) == COUNT
    monkeypatch.setattr(other, "heads", lambda count=None, without=None: others)
    moved = ComposedVectors(other, "last-base")
    expected = expected_hits(moved, others)
    for label, hits in expected.items():
        assert moved.zero_shot(label).scores.tolist() == hits.tolist()


def test_compositions_of_the_paper_are_found_by_name(vectors):
    made = ComposedVectors(vectors, "last-country-capital")
    assert made.composition.whole.name == "last-country-capital"
    assert made.vectors.readings is made.readings
    assert made.carriers is vectors
    assert asked_checkpoint() is made.readings.checkpoint
