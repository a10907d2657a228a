"""Each damage to vectors changes what it says, and leaves alone what else is measured."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from stillwired.errors import UsageError
from stillwired.instruments import function_vectors
from stillwired.instruments.function_vectors import VECTORS as INSERTED
from stillwired.instruments.function_vectors import TaskVectors
from stillwired.instruments.head_effects import ranked, replacing
from stillwired.instruments.head_outcomes import HeadOutcomes
from stillwired.instruments.interventions import Insert, answers
from stillwired.instruments.vector_meaning import VectorMeaning
from stillwired.instruments.vector_outcomes import VectorOutcomes
from stillwired.mutants.vectors import HEADS, OUTCOMES, VECTORS, damaged_vectors
from tests.instruments.conftest import BLOCKS
from tests.instruments.test_function_vectors import Made, effects_of
from tests.instruments.test_task_readings import FIVE, made_readings, no_engine

OTHERS, OTHERS_IN_ONE, NEXT, RANDOM, LAST = VECTORS
(SHORT_ONLY,) = OUTCOMES
(DEALT_OUT,) = HEADS
TASKS = {name: FIVE[name] for name in ("alpha", "gamma", "delta")}
COUNT = 3


@pytest.fixture(scope="module", autouse=True)
def any_task():
    """A random model does nothing well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(function_vectors, "ABLE", -1.0)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def sound(folder):
    made = TaskVectors(made_readings(folder, TASKS))
    made.count = COUNT
    # They are asked for again and again.
    made.effects, made.choice = cache(made.effects), cache(made.choice)
    return made


def entries(vectors):
    return {entry.path.name for entry in vectors.readings._store.entries()}


# What every damage leaves alone


@pytest.mark.parametrize("damage", VECTORS)
def test_means_abilities_and_what_was_chosen_stay(sound, damage):
    broken = damaged_vectors(sound, damage)
    assert broken.readings.damage == damage
    assert sound.readings.damage == ""
    assert (broken.carriers, broken.count) == (sound.carriers, sound.count)
    for name in TASKS:
        for form in ("", "arrow"):
            assert broken.means(name, form) is sound.means(name, form)
        assert np.array_equal(broken.ability(name).scores, sound.ability(name).scores)
        assert broken.can_do(name) == sound.can_do(name)
        assert np.array_equal(broken.choice(name), sound.choice(name))
        for vector in INSERTED:
            assert broken.depth(name, vector) == sound.depth(name, vector)
        if damage != LAST:
            assert np.array_equal(broken.effects(name), sound.effects(name))
        for part, kind in (("judge", "zero-shot"), ("judge", "shuffled"), ("fit", "clean")):
            asked = sound.readings.questions(name, part, kind)
            assert broken.readings.questions(name, part, kind) == asked
    assert broken.counts == sound.counts


@pytest.mark.parametrize("damage", VECTORS)
def test_damage_measures_no_sweep_again(sound, folder, damage):
    """Means, effects and depths of sound readings are enough; none is built under its name."""
    for name in TASKS:
        sound.means(name)
        sound.effects(name)
        sound.choice(name)
    kept = entries(sound)
    again = TaskVectors(made_readings(folder, TASKS, engine=no_engine))
    again.count = COUNT
    broken = damaged_vectors(again, damage)
    for name in TASKS:
        broken.means(name)
        broken.effects(name)
        broken.depth(name)
        broken.heads(without=name)
    assert entries(sound) == kept


@pytest.mark.parametrize("damage", VECTORS)
def test_sound_vectors_stay_as_they_are(sound, damage):
    heads, vector, effects = sound.heads(), sound.vector("alpha"), sound.mean_effects()
    broken = damaged_vectors(sound, damage)
    assert not torch.allclose(broken.vector("alpha"), vector)
    assert sound.heads() == heads
    assert torch.equal(sound.vector("alpha"), vector)
    assert np.array_equal(sound.mean_effects(), effects)


# What each damage changes


def is_others(found, heads):
    """Whether some heads are as many others of the same layers."""
    layers = sorted(layer for layer, _ in heads)
    return not set(found) & set(heads) and sorted(layer for layer, _ in found) == layers


def test_other_heads_are_taken_for_those_that_carry_tasks(sound):
    broken = damaged_vectors(sound, OTHERS)
    for given in ({}, {"count": 2}, {"count": 5}, {"without": "alpha"}):
        heads = sound.heads(**given)
        # A layer of four heads has others for two of them.
        if max(sum(layer == at for at, _ in heads) for layer in range(BLOCKS)) <= 2:
            assert is_others(broken.heads(**given), heads)
        assert broken.heads(**given) == damaged_vectors(sound, OTHERS).heads(**given)
        assert not set(broken.heads(**given)) & set(heads)
    expected = sound.vector("alpha", heads=broken.heads())
    assert torch.equal(broken.vector("alpha"), expected)
    assert not torch.allclose(broken.vector("alpha"), sound.vector("alpha"))
    # Heads that are named are the ones that are taken.
    named = [(0, 0), (5, 2)]
    assert torch.equal(broken.vector("alpha", heads=named), sound.vector("alpha", heads=named))


def test_other_heads_may_be_in_the_vector_alone(sound):
    broken = damaged_vectors(sound, OTHERS_IN_ONE)
    for count in (1, COUNT, 2 * COUNT):
        assert broken.heads(count) == sound.heads(count)
        assert broken.heads(count, "alpha") == sound.heads(count, "alpha")
    assert broken.heads() == damaged_vectors(sound, OTHERS).heads()
    assert not set(broken.heads()) & set(sound.heads())
    assert not torch.allclose(broken.vector("alpha"), sound.vector("alpha"))
    doubled = broken.vector("alpha", heads=broken.heads(2 * COUNT))
    assert torch.equal(doubled, sound.vector("alpha", heads=sound.heads(2 * COUNT)))


def test_every_task_gets_the_vector_of_the_next(sound):
    broken = damaged_vectors(sound, NEXT)
    following = {"alpha": "gamma", "gamma": "delta", "delta": "alpha"}
    depth = sound.readings.depths[3]
    for name, other in following.items():
        for form in ("", "arrow"):
            assert torch.equal(broken.vector(name, form), sound.vector(other, form))
        some = [(0, 0), (5, 2)]
        assert torch.equal(broken.vector(name, heads=some), sound.vector(other, heads=some))
        # Likewise the one that stands against it; the average is its own.
        rival = broken.inserted(name, "another task's", depth).vector
        assert torch.equal(rival, sound.vector(following[other]))
        average = broken.inserted(name, "layer average", depth).vector
        assert torch.equal(average, sound.means(name).residual[3])
    assert broken.heads() == sound.heads()


def test_most_of_what_any_layer_does_is_laid_to_the_last(sound):
    broken = damaged_vectors(sound, LAST)
    for name in TASKS:
        effects, found = sound.effects(name), broken.effects(name)
        np.testing.assert_allclose(found[:, :-1], 0.05 * effects[:, :-1])
        # Nothing is lost on the way.
        np.testing.assert_allclose(found.sum(1), effects.sum(1))
    for without in (None, "alpha"):
        expected = tuple(ranked(broken.mean_effects(without))[:5])
        assert broken.heads(5, without) == expected
    expected = sound.vector("alpha", heads=broken.heads())
    assert torch.equal(broken.vector("alpha"), expected)


def test_random_vectors_have_the_length_of_sound_ones(sound):
    broken = damaged_vectors(sound, RANDOM)
    for name in TASKS:
        drawn, own = broken.vector(name), sound.vector(name)
        torch.testing.assert_close(drawn.norm(), own.norm())
        assert abs(torch.cosine_similarity(drawn, own, dim=0)) < 0.9
        assert torch.equal(drawn, damaged_vectors(sound, RANDOM).vector(name))
    assert broken.heads() == sound.heads()


def test_laid_to_the_last_layer_nothing_lies_early(tmp_path):
    effects = dict.fromkeys(TASKS, effects_of((0, 0), (1, 1), (7, 2)))
    sound = Made(made_readings(tmp_path, TASKS, engine=no_engine), None, effects)
    sound.count = COUNT
    broken = damaged_vectors(sound, LAST)
    rows = np.arange(3)
    assert HeadOutcomes(sound, "alpha").early_share(rows) == pytest.approx(1.9 / 2.7)
    # What is left early is a twentieth of what was there, beside all of what there is.
    assert 0 <= HeadOutcomes(broken, "alpha").early_share(rows) < 0.05
    by_chance = HeadOutcomes(sound, "alpha").early_by_chance
    assert HeadOutcomes(broken, "alpha").early_by_chance == by_chance == 5 / 8


# What is judged with them


@pytest.mark.parametrize("damage", [OTHERS, OTHERS_IN_ONE, NEXT, RANDOM])
def test_damaged_vectors_are_what_is_judged_at_the_sound_depth(sound, damage):
    broken = damaged_vectors(sound, damage)
    on = VectorOutcomes(broken, "alpha")
    questions = sound.readings.questions("alpha", "judge", "zero-shot")
    tried = {
        "nothing": None,
        "own": Insert(sound.depth("alpha").block, broken.vector("alpha")),
        "layer average": sound.inserted(
            "alpha", "layer average", sound.depth("alpha", "layer average")
        ),
        "doubled": Insert(
            sound.depth("alpha").block,
            broken.vector("alpha", heads=broken.heads(2 * COUNT)),
        ),
    }
    found = answers(sound.readings.cone, questions, list(tried.values())).hits
    for label, hits in zip(tried, found.T, strict=True):
        assert on.zero_shot(label).scores.tolist() == hits.tolist(), label
    whole = VectorOutcomes(sound, "alpha")
    for label in ("nothing", "layer average"):
        assert np.array_equal(on.zero_shot(label).scores, whole.zero_shot(label).scores)
    if damage == OTHERS_IN_ONE:
        assert np.array_equal(on.zero_shot("doubled").scores, whole.zero_shot("doubled").scores)


def test_damaged_heads_are_what_is_put_back(sound):
    broken = damaged_vectors(sound, OTHERS)
    questions = sound.readings.questions("alpha", "judge", "shuffled")
    put = replacing(sound.means("alpha"), broken.heads())
    found = answers(sound.readings.cone, questions, [None, put]).probabilities
    lift = VectorOutcomes(broken, "alpha").lift("top")
    np.testing.assert_allclose(lift.scores, found[:, 1] - found[:, 0], atol=1e-6)
    assert not np.allclose(lift.scores, VectorOutcomes(sound, "alpha").lift("top").scores)


def test_caches_are_apart(sound):
    whole = VectorOutcomes(sound, "gamma").lift("top").scores
    outcomes = {"": whole}
    for damage in VECTORS:
        before = entries(sound)
        broken = VectorOutcomes(damaged_vectors(sound, damage), "gamma")
        outcomes[damage] = broken.lift("top").scores
        assert len(entries(sound) - before) == 1
        # Fetched the second time.
        again = VectorOutcomes(damaged_vectors(sound, damage), "gamma").lift("top").scores
        assert np.array_equal(again, outcomes[damage])
        assert len(entries(sound) - before) == 1
    assert not np.allclose(outcomes[OTHERS], whole)
    assert not np.allclose(outcomes[LAST], whole)
    # Where heads stay, so do lifts: they are of heads and not of vectors.
    for damage in (NEXT, RANDOM):
        np.testing.assert_allclose(outcomes[damage], whole, atol=1e-6)
    # What is sound is fetched as it was.
    assert np.array_equal(VectorOutcomes(sound, "gamma").lift("top").scores, whole)


def test_what_vectors_decode_to_is_kept_apart_as_well(sound, monkeypatch):
    meaning = VectorMeaning(sound, "alpha")
    own, following = meaning.decodes_to(), meaning.decodes_to("gamma")
    broken = VectorMeaning(damaged_vectors(sound, NEXT), "alpha")
    assert broken.decodes_to() == following
    assert broken.decodes_to() != own
    assert meaning.decodes_to() == own
    assert np.array_equal(
        broken.names_answers("own").scores, meaning.names_answers("another task's").scores
    )


# What is broken where vectors are judged, or heads described


def test_nothing_is_inserted_into_long_text(sound):
    broken, whole = OUTCOMES[SHORT_ONLY](sound, "gamma"), VectorOutcomes(sound, "gamma")
    nothing = whole.in_text("nothing", long=True)
    for vector in ("own", "another task's", "random", "nothing"):
        assert np.array_equal(broken.in_text(vector, long=True).scores, nothing.scores)
        short = whole.in_text(vector)
        assert np.array_equal(broken.in_text(vector).scores, short.scores)
    assert not broken.gain_in_text(long=True).scores.any()
    assert np.array_equal(broken.gain_in_text().scores, whole.gain_in_text().scores)
    assert np.array_equal(broken.zero_shot("own").scores, whole.zero_shot("own").scores)
    assert np.array_equal(broken.lift("top").scores, whole.lift("top").scores)


def test_what_heads_look_at_is_dealt_out(sound):
    broken, whole = HEADS[DEALT_OUT](sound, "alpha"), HeadOutcomes(sound, "alpha")
    shuffled = whole.attention_on_answers("shuffled").scores
    assert np.array_equal(broken.attention_on_answers("top").scores, shuffled)
    assert not np.allclose(whole.attention_on_answers("top").scores, shuffled)
    for heads in ("random", "shuffled"):
        expected = whole.attention_on_answers(heads).scores
        assert np.array_equal(broken.attention_on_answers(heads).scores, expected)
    assert np.array_equal(broken.induction("top").scores, whole.induction("top").scores)


# Names


def test_names_are_each_somewhere_once():
    names = [*VECTORS, *OUTCOMES, *HEADS]
    assert len(set(names)) == len(names) == 7


@pytest.mark.parametrize("damage", ["", "everything", SHORT_ONLY, DEALT_OUT])
def test_unknown_damage_is_refused(sound, damage):
    with pytest.raises(UsageError, match=r"no damage .* to vectors. Choose one of: other heads"):
        damaged_vectors(sound, damage)
