"""Questions that are asked anew: others of the judge split, and heads and vectors as they were."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stillwired.checkpoints.checkpoint import Checkpoint
from stillwired.data.tasks import split
from stillwired.engine.cone import PACK_CELLS
from stillwired.engine.engine import Engine
from stillwired.instruments import function_vectors
from stillwired.instruments.function_vectors import VECTORS, TaskVectors
from stillwired.instruments.head_outcomes import HeadOutcomes
from stillwired.instruments.interventions import answers
from stillwired.instruments.redrawing import Redrawing
from stillwired.instruments.redrawn_tasks import RedrawnVectors
from stillwired.instruments.vector_outcomes import VectorOutcomes
from stillwired.redraws import Redraw
from stillwired.store.cache import Store
from tests.instruments.test_task_readings import (
    FIVE,
    KINDS,
    TASKS,
    asked_checkpoint,
    engine_of,
    examples,
    made_readings,
    no_engine,
)

TWO = {name: FIVE[name] for name in ("alpha", "gamma")}


@pytest.fixture(scope="module", autouse=True)
def any_task():
    """A random model does nothing well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(function_vectors, "ABLE", -1.0)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("undrawn")


@pytest.fixture(scope="module")
def undrawn(folder):
    """Vectors for which everything is found and chosen."""
    made = TaskVectors(made_readings(folder, TWO))
    for name in TWO:
        VectorOutcomes(made, name).zero_shot("own")
        VectorOutcomes(made, name).lift("top")
    return made


def redrawn(vectors, label, folder, checkpoint=None, engine=None):
    readings = vectors.readings
    redrawing = Redrawing(
        Redraw.parse(label),
        checkpoint or readings.checkpoint,
        engine or readings.engine,
        lambda: Store(folder),
    )
    return redrawing.task_vectors(vectors)


def entries(readings):
    return sorted((entry.kind, entry.key) for entry in readings._store.entries())


def tokens(questions):
    return [question.tokens for question in questions]


def test_judged_questions_are_others_and_the_rest_stays(undrawn, tmp_path):
    sound = undrawn.readings
    by_label = {
        label: redrawn(undrawn, label, tmp_path).readings
        for label in ("seed-1", "batches-1", "seed-2")
    }
    parts = split(TASKS["alpha"], 0)
    for label, made in by_label.items():
        assert made.parts("alpha") == parts
        for part, kind in KINDS:
            asked, before = (r.questions("alpha", part, kind) for r in (made, sound))
            assert len(asked) == len(before)
            assert {question.row for question in asked} <= set(parts[part])
            assert (tokens(asked) == tokens(before)) == (part != "judge"), label
        text = [r.in_text("alpha", "{x} means") for r in (made, sound)]
        assert examples(text[0]) != examples(text[1])
    one, halved, two = (r.questions("alpha", "judge", "clean") for r in by_label.values())
    assert tokens(one) == tokens(halved) != tokens(two)


def test_of_a_split_that_is_asked_as_a_whole_only_the_shots_are_others(undrawn, tmp_path):
    made = redrawn(undrawn, "seed-1", tmp_path).readings
    drawn, before = (r._drawn("alpha", "judge") for r in (made, undrawn.readings))
    assert len(drawn) == len(before) == len(split(TASKS["alpha"], 0)["judge"])
    assert {one.example for one in drawn} == {one.example for one in before}
    shots = {one.example: one.shots for one in before}
    assert any(one.shots != shots[one.example] for one in drawn)


def test_nothing_is_found_or_chosen_again(undrawn, tmp_path):
    told, kept = [], undrawn.readings
    vectors = TaskVectors(made_readings(kept._store.root, TWO, say=told.append))
    before = entries(kept)
    made = redrawn(vectors, "seed-1", tmp_path)
    for name in TWO:
        on = VectorOutcomes(made, name)
        for vector in ("own", "doubled", *VECTORS[1:], "nothing"):
            on.zero_shot(vector)
        on.lift("top")
        HeadOutcomes(made, name).attention_on_answers("top")
        assert made.depth(name) == undrawn.depth(name)
        assert np.array_equal(made.effects(name), undrawn.effects(name))
        assert np.array_equal(made.ability(name).scores, undrawn.ability(name).scores)
    assert (made.heads(), made.count, made.carriers) == (
        undrawn.heads(),
        undrawn.count,
        undrawn.carriers,
    )
    assert entries(kept) == before
    said = " ".join(told)
    assert "asking zero-shot questions about alpha" in said
    assert not any(words in said for words in ("trying", "choosing", "reading clean"))


def test_the_vectors_that_were_found_are_tried_on_the_new_questions(undrawn, tmp_path):
    made = redrawn(undrawn, "seed-1", tmp_path)
    questions = made.readings.questions("alpha", "judge", "zero-shot")
    for vector in VECTORS:
        at = undrawn.depth("alpha", vector)
        # Its depth was chosen for this very vector, a random one too.
        insert, same = (v.inserted("alpha", vector, at) for v in (undrawn, made))
        assert torch.equal(insert.vector, same.vector)
        plain = answers(undrawn.readings.cone, questions, [insert])
        found = VectorOutcomes(made, "alpha").zero_shot(vector)
        assert found.examples.tolist() == examples(questions)
        assert np.array_equal(found.scores, plain.hits[:, 0].astype(float))
    # Other controls are drawn with the questions.
    top = undrawn.heads()
    drawn = [v.random_heads("alpha", k, top) for v in (undrawn, made) for k in range(9)]
    assert drawn[:9] != drawn[9:]


def test_batches_are_half_as_large_and_give_the_same_up_to_rounding(undrawn, tmp_path):
    one, halved = (redrawn(undrawn, label, tmp_path) for label in ("seed-1", "batches-1"))
    assert one.readings.cone.pack_cells == PACK_CELLS
    assert halved.readings.cone.pack_cells == PACK_CELLS // 2
    for heads in ("top", "random"):
        a, b = (VectorOutcomes(made, "alpha").lift(heads) for made in (one, halved))
        assert a.examples.tolist() == b.examples.tolist()
        assert np.allclose(a.scores, b.scores, atol=1e-5)


def test_another_regime_is_asked_without_loading_the_reference(undrawn, tmp_path):
    made = asked_checkpoint()
    weights = {name: value.to(torch.bfloat16) for name, value in made.model.state_dict().items()}
    model = type(made.model)(made.model.config).to(torch.bfloat16).eval()
    model.load_state_dict(weights)
    coarse = Checkpoint.of_model(model, made.tokenizer, name="coarse")
    engine = Engine(coarse)
    kept = made_readings(undrawn.readings._store.root, TWO, engine=no_engine)
    label = "seed-1+reference-fits"
    judged = redrawn(TaskVectors(kept), label, tmp_path, coarse, lambda: engine)
    exact = redrawn(undrawn, "seed-1", tmp_path)
    a, b = (VectorOutcomes(v, "alpha").lift("top") for v in (judged, exact))
    assert a.examples.tolist() == b.examples.tolist()
    assert not np.array_equal(a.scores, b.scores)
    assert np.abs(a.scores - b.scores).max() < 0.1


def test_vectors_of_other_tasks_are_found_by_the_undrawn_ones(undrawn, tmp_path):
    made = redrawn(undrawn, "seed-1", tmp_path / "anew")
    delta = {"delta": FIVE["delta"]}
    parts = {"delta": split(FIVE["delta"], 5)}
    about = made.about(delta, parts)
    assert isinstance(about, RedrawnVectors)
    assert about.readings.parts("delta") == parts["delta"]
    about.means("delta")
    mine, theirs = (
        {entry.inputs.get("what") for entry in readings._store.entries()}
        for readings in (made.readings, undrawn.readings)
    )
    assert "clean means" in theirs
    assert "clean means" not in mine
    plain = undrawn.readings.about(delta, parts)
    asked = [r.questions("delta", "judge", "zero-shot") for r in (about.readings, plain)]
    assert examples(asked[0]) != examples(asked[1])


def test_documents_leave_tasks_alone_and_a_refit_finds_heads_again(undrawn, tmp_path):
    assert redrawn(undrawn, "documents-1", tmp_path) is undrawn
    again = redrawn(undrawn, "refit-2", tmp_path)
    assert again.readings.restart == 2
    for part, kind in KINDS:
        asked, before = (v.readings.questions("alpha", part, kind) for v in (again, undrawn))
        assert (tokens(asked) == tokens(before)) == (part == "judge")
    assert not torch.equal(again.means("alpha").heads, undrawn.means("alpha").heads)
    assert engine_of(undrawn.readings.checkpoint) is again.readings.engine()


def test_without_a_redraw_vectors_stay(undrawn):
    readings = undrawn.readings
    redrawing = Redrawing(None, readings.checkpoint, readings.engine, no_engine)
    assert redrawing.task_vectors(undrawn) is undrawn
