"""Each damage to prompts changes what it says, and leaves alone what else is read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from stillwired.engine.cone import Cone
from stillwired.engine.engine import Engine
from stillwired.errors import UsageError
from stillwired.instruments.future_lens import FutureLens
from stillwired.instruments.learned_prompt import learned_prompts
from stillwired.instruments.prompt_readers import (
    FIXED_PROMPTS,
    Prompt,
    nearest_tokens,
    read_prompt,
)
from stillwired.instruments.prompt_recipes import Recipe
from stillwired.instruments.text import TextReadings, other_document
from stillwired.mutants import readers as module
from stillwired.mutants.readers import LENSES, PROMPTS, damaged_lens
from stillwired.store.cache import Store
from tests.instruments.conftest import BLOCKS, WIDTH, made_checkpoint, made_corpus, readings_of

UNTRAINED, CHANGED, ROUNDED, OTHERS, UPSIDE_DOWN, LAST_N = PROMPTS
SWAPPED, DEALT, MISFED = LENSES
RECIPE = Recipe(vectors=3, rate=0.05, steps=8, batch=8, every=4)
FIRST = 30
"""Judge rows that few means."""
LAST = BLOCKS - 1


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    checkpoint = made_checkpoint()
    folder = tmp_path_factory.mktemp("cache")
    return readings_of(checkpoint, Engine(checkpoint), made_corpus(), folder)


@pytest.fixture(scope="module")
def sound(text):
    return FutureLens(text, RECIPE, FIRST)


@pytest.fixture(scope="module")
def cone(text):
    return Cone(text.engine())


def trained(text, cone, block, recipe=RECIPE):
    """The prompt of a block; those of the usual recipe are trained together."""
    blocks = [depth.block for depth in text.depths] if recipe == RECIPE else [block]
    return learned_prompts(text, lambda: cone, blocks, (1,), recipe)[block].prompt


def spoken(text, cone, prompt, block, source=None, fed=None, order=slice(None)):
    """What a prompt says of all judge rows, asked for directly."""
    rows = text.rows("judge")
    states = np.array(text.survey.states("judge", block if source is None else source))[order]
    fed = rows.following[:, :3] if fed is None else fed
    return read_prompt(cone, prompt, block, states, fed, rows.targets)


def hits(text, said, ahead):
    return said.tokens[:, ahead] == text.rows("judge").targets[:, ahead]


def surprisals(said, ahead):
    return pytest.approx(-said.scores[:, ahead].astype(np.float64), abs=1e-4)


def with_store(text, folder, say=lambda _: None):
    return TextReadings(
        text.checkpoint,
        text.engine,
        text.corpus,
        text.plan,
        lambda: text.survey,
        Store(folder),
        say,
    )


def entries(text, kind):
    return [entry for entry in text._store.entries() if entry.kind == kind]


# What each damage changes.


def test_untrained_vectors_are_drawn_from_the_recipe_and_left_so(sound, text, cone):
    broken, depth = damaged_lens(sound, UNTRAINED), text.depths[0]
    drawn = np.random.default_rng(depth.block).normal(0.0, RECIPE.spread, (3, WIDTH))
    prompt = Prompt.of(torch.from_numpy(drawn).float())
    kept = trained(text, cone, depth.block)
    assert not torch.allclose(kept.vectors, prompt.vectors, atol=0.01)
    said = spoken(text, cone, prompt, depth.block)
    for ahead in (1, 3):
        assert np.array_equal(broken.learned(ahead, depth).scores, hits(text, said, ahead))
        outcome = broken.learned(ahead, depth, score="surprisal")
        assert outcome.scores == surprisals(said, ahead)
        assert outcome.scores != surprisals(spoken(text, cone, kept, depth.block), ahead)
    none = broken.no_state(1, score="surprisal")
    drawn = np.random.default_rng(LAST).normal(0.0, RECIPE.spread, (3, WIDTH))
    prompt = Prompt.of(torch.from_numpy(drawn).float())
    assert none.scores == surprisals(spoken(text, cone, prompt, LAST), 1)


@pytest.mark.parametrize("spread", [0.02, 0.5])
def test_untrained_vectors_have_the_spread_and_number_of_their_recipe(sound, spread):
    recipe = replace(RECIPE, vectors=400, spread=spread)
    vectors = damaged_lens(sound, UNTRAINED).prompts.trained_prompt(1, (1,), recipe).vectors
    assert vectors.shape == (400, WIDTH)
    assert float(vectors.std()) == pytest.approx(spread, rel=0.03)
    assert abs(float(vectors.mean())) < 0.05 * spread


def test_the_usual_recipe_is_left_alone_where_the_others_are_rounded(sound, text, cone):
    broken, depth = damaged_lens(sound, CHANGED), text.depths[0]
    assert np.array_equal(broken.learned(1, depth).scores, sound.learned(1, depth).scores)
    assert broken.prompts.chosen_depth() == sound.prompts.chosen_depth()
    for changed in ({"vectors": 2}, {"share": 0.5}):
        outcome = broken.learned(1, depth, recipe=changed, score="surprisal")
        kept = trained(text, cone, depth.block, replace(RECIPE, **changed))
        said = spoken(text, cone, nearest_tokens(text.engine(), kept), depth.block)
        assert outcome.scores == surprisals(said, 1)
        whole = sound.learned(1, depth, recipe=changed, score="surprisal")
        assert not np.allclose(outcome.scores, whole.scores, atol=1e-3)


def test_rounded_vectors_say_what_their_tokens_say(sound, text, cone):
    broken, depth = damaged_lens(sound, ROUNDED), text.depths[0]
    tokens = nearest_tokens(text.engine(), trained(text, cone, depth.block))
    said = spoken(text, cone, tokens, depth.block)
    for as_tokens in (False, True):
        outcome = broken.learned(1, depth, as_tokens=as_tokens)
        assert np.array_equal(outcome.scores, hits(text, said, 1))
        outcome = broken.learned(1, depth, as_tokens=as_tokens, score="surprisal")
        assert outcome.scores == surprisals(said, 1)
    whole = sound.learned(1, depth, score="surprisal").scores
    assert not np.allclose(outcome.scores, whole, atol=1e-3)


def test_bands_are_named_the_wrong_way_round(sound):
    broken = damaged_lens(sound, SWAPPED)
    assert (broken.first, broken.middle, broken.late) == (sound.late, sound.middle, sound.first)
    for read in (lambda lens, d: lens.fixed(1, d), lambda lens, d: lens.linear(1, d)):
        assert np.array_equal(read(broken, broken.first).scores, read(sound, sound.late).scores)


def test_followers_are_dealt_out_whatever_is_asked(sound):
    broken = damaged_lens(sound, DEALT)
    dealt = sound.bigram(1, followers="shuffled")
    for followers in ("counted", "shuffled"):
        assert np.array_equal(broken.bigram(1, followers).scores, dealt.scores)
    assert not np.array_equal(sound.bigram(1).scores, dealt.scores)
    few = broken.bigram(2, few=True)
    plain = sound.bigram(2, "shuffled", few=True)
    assert np.array_equal(few.scores, plain.scores)


def test_what_is_fed_is_another_documents(sound, text, cone):
    broken, depth, rows = damaged_lens(sound, OTHERS), text.depths[1], text.rows("judge")
    order = other_document(rows.documents, np.random.default_rng(1))
    assert not np.any(rows.documents[order] == rows.documents)
    fed = rows.following[order, :3]
    prompts = {"learned": trained(text, cone, depth.block)}
    prompts |= {name: Prompt.fixed(text.checkpoint, w) for name, w in FIXED_PROMPTS.items()}
    said = {
        name: spoken(text, cone, prompt, depth.block, fed=fed) for name, prompt in prompts.items()
    }
    for ahead in (1, 3):
        fixed = broken.fixed_each(ahead, depth, score="surprisal")
        for name in FIXED_PROMPTS:
            assert fixed[name].scores == surprisals(said[name], ahead)
        for which in ("true", "wrong first"):
            outcome = broken.learned(ahead, depth, fed=which, score="surprisal")
            assert outcome.scores == surprisals(said["learned"], ahead)
        whole = sound.learned(ahead, depth, score="surprisal")
        assert not np.allclose(outcome.scores, whole.scores, atol=1e-3)
    # For N = 0 nothing is fed.
    assert np.array_equal(broken.learned(0, depth).scores, sound.learned(0, depth).scores)


def test_confidence_is_turned_round_and_hits_are_not(sound, text):
    broken, depth = damaged_lens(sound, UPSIDE_DOWN), text.depths[0]
    for score in ("surer half", "random half"):
        before, after = (lens.learned(0, depth, score=score).scores for lens in (sound, broken))
        assert before.any()
        assert np.array_equal(after, -before)
    for score in ("hits", "surprisal"):
        assert np.array_equal(
            broken.learned(1, depth, score=score).scores,
            sound.learned(1, depth, score=score).scores,
        )


def test_fixed_prompts_are_read_one_token_ahead_whatever_is_asked(sound, text):
    broken, depth = damaged_lens(sound, LAST_N), text.depths[0]
    for ahead in (1, 2, 3):
        for score in ("hits", "surprisal"):
            one = sound.fixed_each(1, depth, score=score)
            read = broken.fixed_each(ahead, depth, score=score)
            assert all(np.array_equal(read[name].scores, one[name].scores) for name in one)
        mean = broken.fixed(ahead, depth, "shuffled", few=True)
        one = sound.fixed(1, depth, "shuffled", few=True)
        assert np.array_equal(mean.scores, one.scores)
    three = sound.fixed(3, depth, score="surprisal").scores
    assert not np.allclose(three, sound.fixed(1, depth, score="surprisal").scores, atol=1e-3)
    # N = 0 and prompts that were learned are left as they are.
    assert np.array_equal(broken.fixed(0, depth).scores, sound.fixed(0, depth).scores)
    for ahead in (1, 3):
        outcome = broken.learned(ahead, depth, score="surprisal")
        whole = sound.learned(ahead, depth, score="surprisal")
        assert np.array_equal(outcome.scores, whole.scores)


# What no damage changes.


def alone(lens):
    """What is read without a prompt: linear readers, tables, and the model's own words."""
    depth = lens.text.depths[1]
    return [
        lens.linear(1, depth),
        lens.linear(2, few=True),
        lens.read("vocabulary", 1, depth),
        lens.fair_linear(1, depth),
        lens.bigram(1),
        lens.constant(1),
        lens.own_drop(1),
        lens.own_drop(2),
        lens.text.predicts_text(),
    ]


@pytest.mark.parametrize("damage", PROMPTS)
def test_linear_readers_and_what_the_model_says_stay_whoever_asks_first(
    sound, text, damage, tmp_path
):
    broken = damaged_lens(FutureLens(with_store(text, tmp_path), RECIPE, FIRST), damage)
    assert broken.text.damage == ""
    for read, whole in zip(alone(broken), alone(sound), strict=True):
        assert np.array_equal(read.scores, whole.scores)
        assert read.examples.tolist() == whole.examples.tolist()
        assert read.name == whole.name
    sound_again = FutureLens(broken.text, RECIPE, FIRST)
    for read, whole in zip(alone(sound_again), alone(sound), strict=True):
        assert np.array_equal(read.scores, whole.scores)


# The cache.


def asked(lens):
    depth = lens.text.depths[0]
    return [
        lens.fixed(1, depth),
        lens.fixed(3, depth, few=True),
        lens.learned(1, depth, score="surprisal"),
        lens.learned(2, depth, states="shuffled", score="surprisal"),
        lens.learned(1, depth, fed="wrong first", as_tokens=True, score="surprisal"),
        lens.learned(1, depth, recipe={"vectors": 2}, score="surprisal"),
        lens.learned(0, depth, few=True, score="surer half"),
        lens.learned(1),
        lens.no_state(1, score="surprisal"),
    ]


@pytest.mark.parametrize("damage", PROMPTS)
def test_damaged_readings_are_kept_apart_and_no_prompt_is_trained_again(
    sound, text, damage, tmp_path
):
    told = []
    wanted = asked(sound)
    readings = with_store(text, tmp_path, told.append)
    lens = FutureLens(readings, RECIPE, FIRST)
    for recipe in (RECIPE, replace(RECIPE, vectors=2)):
        trained(readings, lens.prompts.passes.cone, text.depths[0].block, recipe)
    assert len(entries(readings, "learned-prompt")) == 2
    told.clear()

    # Damaged ones first: sound ones that come after must not meet them.
    broken = asked(damaged_lens(lens, damage))
    again = asked(damaged_lens(FutureLens(readings, RECIPE, FIRST), damage))
    whole = asked(lens)
    assert not [what for what in told if what.startswith("training")]
    assert len(entries(readings, "learned-prompt")) == 2
    for first, second in zip(broken, again, strict=True):
        assert np.array_equal(first.scores, second.scores)
    for outcome, expected in zip(whole, wanted, strict=True):
        assert np.array_equal(outcome.scores, expected.scores)
    changed = [not np.array_equal(b.scores, w.scores) for b, w in zip(broken, whole, strict=True)]
    assert any(changed)
    damages = {e.inputs.get("damaged") for e in entries(readings, "readings")}
    of_prompts = damages - {None}
    # What is only scored the wrong way is not read again.
    assert len(of_prompts) == (damage not in (UPSIDE_DOWN, LAST_N))
    assert all(said.startswith(damage) for said in of_prompts)


def test_what_was_read_needs_neither_model_nor_survey(sound, text):
    def never():
        raise AssertionError("read again")

    def ask(lens):
        return {d: asked(damaged_lens(lens, d)) for d in PROMPTS}

    wanted = ask(sound)
    unread = TextReadings(text.checkpoint, never, text.corpus, text.plan, never, text._store)
    again = ask(FutureLens(unread, RECIPE, FIRST))
    for damage, outcomes in wanted.items():
        for outcome, first in zip(again[damage], outcomes, strict=True):
            assert np.array_equal(outcome.scores, first.scores)
            assert outcome.name == first.name


def test_another_way_to_do_the_damage_is_read_anew(sound, text, monkeypatch):
    depth = text.depths[0]
    damaged_lens(sound, UNTRAINED).learned(1, depth)
    damaged_lens(sound, UNTRAINED).learned(1, depth)
    after = len(entries(text, "readings"))
    monkeypatch.setattr(module, "code_digest", lambda *_: "other code")
    damaged_lens(sound, UNTRAINED).learned(1, depth)
    # First rows, and the others.
    assert len(entries(text, "readings")) == after + 2


@pytest.mark.parametrize("damage", PROMPTS)
def test_few_means_the_same_rows(sound, text, damage):
    broken = damaged_lens(sound, damage)
    first = text.rows("judge").examples[:FIRST].tolist()
    assert broken.learned(1, text.depths[0], few=True).examples.tolist() == first
    assert broken.linear(1, text.depths[0], few=True).examples.tolist() == first


@pytest.mark.parametrize("damage", ["", "rust"])
def test_an_unknown_damage_is_an_error(sound, damage):
    with pytest.raises(UsageError, match="There is no damage") as caught:
        damaged_lens(sound, damage)
    assert all(known in str(caught.value) for known in PROMPTS)
