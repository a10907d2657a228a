"""Each wrong use of vectors changes what it says, and leaves alone what was found before."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stillwired.instruments.function_vectors import TaskVectors
from stillwired.instruments.interventions import Insert, answers
from stillwired.instruments.vector_outcomes import VectorOutcomes
from stillwired.mutants.tasks import MISUSED, misused_vectors
from tests.instruments.test_task_readings import FIVE, made_readings, no_engine

NEXT_HEADS, LAST_BLOCK, TURNED, DEALT = MISUSED
TASKS = {name: FIVE[name] for name in ("alpha", "gamma")}


@pytest.fixture(scope="module")
def sound(vectors_of):
    return vectors_of(TASKS)


def judged(vectors, task="alpha"):
    return VectorOutcomes(vectors, task)


def test_every_head_gets_the_mean_of_the_next_one_of_its_layer(sound):
    broken = misused_vectors(sound, NEXT_HEADS)
    before, after = sound.means("alpha").heads, broken.means("alpha").heads
    for which in range(before.shape[1]):
        assert torch.equal(after[:, which], before[:, (which + 1) % before.shape[1]])
    assert torch.equal(broken.means("alpha").residual, sound.means("alpha").residual)
    assert np.array_equal(broken.ability("alpha").scores, sound.ability("alpha").scores)
    assert not torch.allclose(broken.vector("alpha"), sound.vector("alpha"))
    assert not np.allclose(judged(broken).lift("top").scores, judged(sound).lift("top").scores)


def test_vectors_go_into_the_last_block_whatever_was_chosen(sound):
    broken = misused_vectors(sound, LAST_BLOCK)
    last = sound.readings.depths[-1]
    for vector in ("own", "random"):
        assert broken.depth("alpha", vector) == last
        assert broken.inserted("alpha", vector, broken.depth("alpha", vector)).block == last.block
    assert any(sound.depth(name) != last for name in TASKS)
    expected = judged(sound).at_depth(1.0).scores
    assert np.array_equal(judged(broken).zero_shot("own").scores, expected)


def test_vectors_point_the_other_way(sound):
    broken = misused_vectors(sound, TURNED)
    assert torch.equal(broken.vector("alpha"), -sound.vector("alpha"))
    assert torch.equal(broken.vector("gamma", "arrow"), -sound.vector("gamma", "arrow"))
    depth, asked = sound.depth("alpha"), sound.readings.questions("alpha", "judge", "zero-shot")
    put = Insert(depth.block, -sound.vector("alpha"))
    expected = answers(sound.readings.cone, asked, [put]).hits[:, 0]
    assert np.array_equal(judged(broken).zero_shot("own").scores, expected.astype(float))


@pytest.mark.parametrize("kind", ["zero-shot", "shuffled", "clean"])
def test_judged_answers_are_those_of_other_questions(sound, kind):
    broken = misused_vectors(sound, DEALT).readings
    whole, dealt = (r.questions("alpha", "judge", kind) for r in (sound.readings, broken))
    assert [q.tokens for q in dealt] == [q.tokens for q in whole]
    assert [q.answer for q in dealt] == [whole[-1].answer, *(q.answer for q in whole[:-1])]
    assert [q.answer for q in dealt] != [q.answer for q in whole]
    for part in ("fit", "choose"):
        assert broken.questions("alpha", part, kind) == sound.readings.questions(
            "alpha", part, kind
        )


def test_answers_in_natural_text_are_dealt_out_too(sound):
    frame = "The word {x} goes with"
    whole, dealt = (
        r.in_text("alpha", frame) for r in (sound.readings, misused_vectors(sound, DEALT).readings)
    )
    assert [q.answer for q in dealt] == [whole[-1].answer, *(q.answer for q in whole[:-1])]


@pytest.mark.parametrize("damage", MISUSED)
def test_nothing_is_swept_again_and_the_sound_vectors_stay(sound, damage):
    heads, vector = sound.heads(), sound.vector("alpha")
    for name in TASKS:
        sound.means(name), sound.effects(name), sound.choice(name)
    again = TaskVectors(made_readings(sound.readings._store.root, TASKS, engine=no_engine))
    again.count = 3
    broken = misused_vectors(again, damage)
    assert broken.readings.damage.startswith(damage)
    assert broken.heads() == heads
    assert np.array_equal(broken.effects("alpha"), sound.effects("alpha"))
    assert sound.heads() == heads
    assert torch.equal(sound.vector("alpha"), vector)
    assert sound.readings.damage == ""
