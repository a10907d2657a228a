"""Damaged patches land where the damage says, and what was fitted before stays as it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from stillwired.engine.cone import Cone
from stillwired.engine.edits import Edit
from stillwired.engine.engine import Engine
from stillwired.engine.sites import embedding, final, head, residual
from stillwired.errors import EngineError
from stillwired.instruments.future_lens import FutureLens
from stillwired.instruments.learned_prompt import KIND, learned_prompts
from stillwired.instruments.prompt_readers import Fronted, read_prompt
from stillwired.instruments.prompt_recipes import Recipe
from stillwired.instruments.vector_outcomes import VectorOutcomes
from stillwired.mutants.patches import (
    PATCHES,
    PatchedCone,
    forgotten,
    patched_lens,
    patched_vectors,
)
from tests.engine.tiny import prompts, tiny
from tests.instruments.conftest import made_checkpoint, made_corpus, readings_of
from tests.instruments.test_task_readings import FIVE

LAYER, POSITION, NO_EFFECT, FORGOTTEN, ZEROS = PATCHES
RECIPE = Recipe(vectors=3, rate=0.05, steps=4, batch=8, every=2)
FIRST = 30
TASKS = {name: FIVE[name] for name in ("alpha", "gamma")}


def site_of(patch, site, how="replace"):
    edit = PATCHES[patch](Edit(site, how, 2.0, rows=[1]))
    assert edit is None or edit.rows == [1]
    return edit


def test_a_patch_lands_one_layer_early_but_never_before_the_first():
    assert site_of(LAYER, residual(3, -1)).site == residual(2, -1)
    assert site_of(LAYER, head(1, 2, -1)).site == head(0, 2, -1)
    assert site_of(LAYER, residual(0, -2)).site == residual(0, -2)


def test_a_patch_lands_one_position_early():
    assert site_of(POSITION, residual(3, -1)).site == residual(3, -2)
    assert site_of(POSITION, residual(3)).site == residual(3)


def test_a_patch_is_replaced_by_nothing_and_by_zeros():
    assert site_of(FORGOTTEN, residual(3, -1)) is None
    nothing, zeros = site_of(NO_EFFECT, residual(3, -1)), site_of(ZEROS, residual(3, -1), "add")
    assert (nothing.how, nothing.value) == ("scale", 1.0)
    assert (zeros.how, zeros.value) == ("add", 0.0)


def test_vectors_that_stand_for_a_prompt_are_no_patches():
    engine = Engine(tiny("llama"))
    vector = torch.full((32,), 0.5)
    edits = [Edit(embedding(-3), "replace", vector), Edit(residual(1, -1), "replace", -vector)]
    sites, asked = [final(-1)], prompts(6, 6)
    (found,) = PatchedCone(engine, forgotten).plan(asked, edits, sites).run()
    (expected,) = Cone(engine).plan(asked, edits[:1], sites).run()
    assert torch.equal(found[final(-1)], expected[final(-1)])
    (bare,) = Cone(engine).plan(asked, [], sites).run()
    assert not torch.allclose(found[final(-1)], bare[final(-1)], atol=1e-3)


# Prompts


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    checkpoint = made_checkpoint()
    folder = tmp_path_factory.mktemp("cache")
    return readings_of(checkpoint, Engine(checkpoint), made_corpus(), folder)


@pytest.fixture(scope="module")
def sound(text):
    lens = FutureLens(text, RECIPE, FIRST)
    lens.learned(1, text.depths[1], few=True)
    return lens


@pytest.fixture(scope="module")
def prompt(text):
    """The prompt of the middle depth, trained with the others."""
    blocks = [depth.block for depth in text.depths]
    trained = learned_prompts(text, lambda: Cone(text.engine()), blocks, (1,), RECIPE)
    return trained[text.depths[1].block].prompt


def states_of(text, block):
    return np.array(text.survey.states("judge", block))[:FIRST]


def fed(text):
    return text.rows("judge").following[:FIRST, :1]


def read(text, prompt, block, states):
    asked = text.rows("judge").targets[:FIRST, :2]
    return read_prompt(Cone(text.engine()), prompt, block, states, fed(text), asked)


def broken_surprisal(sound, damage):
    depth = sound.text.depths[1]
    return patched_lens(sound, damage).learned(1, depth, few=True, score="surprisal").scores


@pytest.mark.parametrize("damage", [LAYER, FORGOTTEN, ZEROS])
def test_states_behind_prompts_land_as_the_damage_says(sound, text, prompt, damage):
    block = text.depths[1].block
    own = states_of(text, block)
    by_hand = {
        LAYER: (block - 1, own),
        FORGOTTEN: (block, None),
        ZEROS: (block, np.zeros_like(own)),
    }
    said = read(text, prompt, *by_hand[damage])
    found = broken_surprisal(sound, damage)
    assert found == pytest.approx(-said.scores[:, 1].astype(np.float64), abs=1e-4)
    whole = sound.learned(1, text.depths[1], few=True, score="surprisal").scores
    assert not np.allclose(found, whole, atol=1e-3)


def test_states_land_one_position_early(sound, text, prompt):
    block = text.depths[1].block
    rows = Fronted(prompt, block, states_of(text, block), fed(text))
    *vectors, state = rows.edits()
    early = replace(state, site=replace(state.site, position=state.site.position - 1))
    engine = text.engine()
    said = torch.zeros(FIRST, 32)
    for reading in engine.edit(rows.prompts, [*vectors, early], [final(-1)]):
        said[reading.rows] = reading[final(-1)]
    scores = torch.log_softmax(engine.unembed(said), -1)
    wanted = torch.from_numpy(text.rows("judge").targets[:FIRST, 1])
    expected = -scores[torch.arange(FIRST), wanted].double().numpy()
    assert broken_surprisal(sound, POSITION) == pytest.approx(expected, abs=1e-4)


def test_the_engine_notices_a_patch_that_changes_nothing(sound):
    with pytest.raises(EngineError, match="changed nothing"):
        broken_surprisal(sound, NO_EFFECT)


@pytest.mark.parametrize("damage", PATCHES)
def test_no_prompt_is_trained_with_damaged_patches(text, tmp_path, damage):
    """Even where the cache is empty: what is trained is kept under the sound name."""
    fresh = readings_of(text.checkpoint, text.engine(), text.corpus, tmp_path)
    lens = FutureLens(fresh, RECIPE, FIRST)
    depth = fresh.depths[1]
    broken = patched_lens(lens, damage)
    prompt = broken.prompts.trained_prompt(depth.block, (1,), RECIPE)
    kept = [entry for entry in fresh._store.entries() if entry.kind == KIND]
    assert len(kept) == 1
    assert torch.equal(
        prompt.vectors, lens.prompts.trained_prompt(depth.block, (1,), RECIPE).vectors
    )
    assert [e.path for e in fresh._store.entries() if e.kind == KIND] == [e.path for e in kept]


def test_what_is_read_with_damage_is_kept_apart(sound, text):
    before = sound.learned(1, text.depths[1], few=True, score="surprisal").scores
    patched_lens(sound, ZEROS).learned(1, text.depths[1], few=True)
    again = FutureLens(text, RECIPE, FIRST).learned(1, text.depths[1], few=True, score="surprisal")
    assert np.array_equal(again.scores, before)
    assert patched_lens(sound, ZEROS).prompts.chosen_depth() == sound.prompts.chosen_depth()


# Vectors


@pytest.fixture(scope="module")
def vectors(vectors_of):
    return vectors_of(TASKS)


def lifts(vectors, damage=None):
    made = patched_vectors(vectors, damage) if damage else vectors
    return VectorOutcomes(made, "alpha").lift("top").scores


def test_forgotten_patches_leave_every_answer_as_it_was(vectors):
    made = VectorOutcomes(patched_vectors(vectors, FORGOTTEN), "alpha")
    assert not made.lift("top").scores.any()
    assert lifts(vectors).any()
    nothing = made.zero_shot("nothing").scores
    for vector in ("own", "random", "doubled"):
        assert np.array_equal(made.zero_shot(vector).scores, nothing)


@pytest.mark.parametrize("damage", [NO_EFFECT, ZEROS])
def test_the_engine_notices_vectors_that_add_nothing(vectors, damage):
    with pytest.raises(EngineError, match="changed nothing"):
        VectorOutcomes(patched_vectors(vectors, damage), "alpha").zero_shot("own")


@pytest.mark.parametrize("damage", [LAYER, POSITION])
def test_heads_are_replaced_elsewhere(vectors, damage):
    assert not np.allclose(lifts(vectors, damage), lifts(vectors), atol=1e-6)


@pytest.mark.parametrize("damage", PATCHES)
def test_heads_vectors_and_depths_are_those_found_before(vectors, damage):
    broken = patched_vectors(vectors, damage)
    assert broken.heads() == vectors.heads()
    assert torch.equal(broken.vector("alpha"), vectors.vector("alpha"))
    assert broken.depth("alpha") == vectors.depth("alpha")
    assert np.array_equal(broken.effects("alpha"), vectors.effects("alpha"))
    asked = vectors.readings.questions("alpha", "judge", "shuffled")
    assert broken.readings.questions("alpha", "judge", "shuffled") == asked
