"""Each damage changes what it says, and leaves alone what would give it away."""

from __future__ import annotations

import numpy as np
import pytest

from stillwired.engine.cone import Cone
from stillwired.engine.engine import Engine
from stillwired.errors import UsageError
from stillwired.instruments.fed_linear import FedLinear
from stillwired.instruments.future_lens import FutureLens
from stillwired.instruments.learned_prompt import learned_prompts
from stillwired.instruments.logit_lens import LogitLens
from stillwired.instruments.prompt_readers import read_prompt
from stillwired.instruments.prompt_recipes import Recipe
from stillwired.instruments.survey import AHEAD, EMBEDDING
from stillwired.instruments.text import TextReadings, other_document
from stillwired.mutants.catalogue import mutant_named
from stillwired.mutants.damage import damage_of
from stillwired.mutants.readings import BACKWARD, SURVEYS, damaged
from stillwired.store.cache import Store
from tests.instruments.conftest import BLOCKS, made_checkpoint, made_corpus, readings_of

FIRST_BLOCK, EMBEDDED, FINALS, TOKENS, SAME, MEAN, FIRST_JUDGED, OTHERS = SURVEYS
RECIPE = Recipe(vectors=3, rate=0.05, steps=8, batch=8, every=4)
SPLITS = ("fit", "choose", "judge")


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    checkpoint = made_checkpoint()
    folder = tmp_path_factory.mktemp("cache")
    return readings_of(checkpoint, Engine(checkpoint), made_corpus(), folder)


def fit_states(survey):
    return {(d.block): np.array(survey.states("fit", d.block)) for d in survey.depths}


def finals(survey, split="fit"):
    return [np.array(survey.final_states(split, ahead)) for ahead in AHEAD]


def cross_by_hand(x, y):
    x, y = x.astype(np.float64), y.astype(np.float64)
    return (x - x.mean(0)).T @ (y - y.mean(0)) / len(x)


def assert_sums_fit(survey):
    """Sums and kept states tell the same story, so a reader meets one damage, not two."""
    moments = survey.moments()
    assert moments.n == len(survey.rows("fit"))
    assert moments.blocks == tuple(depth.block for depth in survey.depths)
    for block, x in fit_states(survey).items():
        for ahead, y in zip(AHEAD, finals(survey), strict=True):
            plain = cross_by_hand(x, y)
            error = np.abs(moments.centred_cross(block, ahead) - plain).max()
            assert error < 1e-3 * np.abs(plain).max()
    for ahead, y in zip(AHEAD, finals(survey), strict=True):
        assert moments.y_sum[ahead] / moments.n == pytest.approx(y.mean(0), abs=1e-4)


def test_sums_of_the_sound_survey_fit(text):
    assert_sums_fit(text.survey)


@pytest.mark.parametrize("damage", [*SURVEYS, BACKWARD])
def test_no_damage_shows_in_what_the_model_says_or_in_the_last_block(text, damage):
    broken = damaged(text, damage)
    assert broken.damage == damage
    assert broken.self_check == text.self_check
    for split in SPLITS:
        sound, rows = text.rows(split), broken.rows(split)
        assert np.array_equal(rows.targets[:, 0], sound.targets[:, 0])
        assert np.array_equal(rows.next_is_right, sound.next_is_right)
        for part in ("examples", "documents", "fed", "following"):
            assert np.array_equal(getattr(rows, part), getattr(sound, part))
    last = BLOCKS - 1
    assert np.array_equal(broken.survey.lens_states(last), text.survey.lens_states(last))
    assert LogitLens(broken).agreement_at_last_block() == 1.0
    assert np.array_equal(broken.predicts_text().scores, text.predicts_text().scores)


@pytest.mark.parametrize("damage", SURVEYS)
def test_sums_carry_the_same_damage_as_states(text, damage):
    assert_sums_fit(damaged(text, damage).survey)


def test_the_sound_survey_stays_as_it_is(text):
    before = {p.name: p.read_bytes() for p in text.survey.folder.iterdir()}
    for damage in SURVEYS:
        survey = damaged(text, damage).survey
        for split in SPLITS:
            survey.rows(split)
        survey.moments()
        survey.final_states("fit", 2)
    assert {p.name: p.read_bytes() for p in text.survey.folder.iterdir()} == before
    assert damaged(text, SAME).survey.folder == text.survey.folder


def test_the_first_block_is_read_at_every_depth(text):
    sound, broken = text.survey, damaged(text, FIRST_BLOCK).survey
    for split in SPLITS:
        for depth in sound.depths:
            assert np.array_equal(broken.states(split, depth.block), sound.states(split, 1))
    assert not np.array_equal(sound.states("judge", 4), sound.states("judge", 1))
    for block in sound.lens_blocks[:-1]:
        assert np.array_equal(broken.lens_states(block), sound.lens_states(sound.lens_blocks[1]))
    lens = LogitLens(damaged(text, FIRST_BLOCK))
    assert len({outcome.scores.tobytes() for outcome in lens.by_band().values()}) == 1


def test_the_embedding_is_read_at_every_depth(text):
    sound, broken = text.survey, damaged(text, EMBEDDED).survey
    for block in sound.lens_blocks[:-1]:
        assert np.array_equal(broken.lens_states(block), sound.lens_states(EMBEDDING))
    assert not np.array_equal(sound.lens_states(0), sound.lens_states(EMBEDDING))
    for depth in sound.depths:
        assert np.array_equal(
            broken.states("judge", depth.block), sound.states("judge", depth.block)
        )
    lens = LogitLens(damaged(text, EMBEDDED))
    assert np.array_equal(lens.input_at_early_block().scores, lens.input_at_embedding().scores)
    assert np.array_equal(
        lens.embedding_decodes().scores, LogitLens(text).embedding_decodes().scores
    )


def test_maps_are_fitted_to_the_final_states_of_other_documents(text):
    sound, broken = text.survey, damaged(text, FINALS).survey
    documents, order = sound.rows("fit").documents, broken._other
    assert not np.any(documents[order] == documents)
    for before, after in zip(finals(sound), finals(broken), strict=True):
        assert np.array_equal(after, before[order])
        assert not np.any(np.all(after == before, axis=1))
    for before, after in zip(finals(sound, "choose"), finals(broken, "choose"), strict=True):
        assert np.array_equal(after, before)
    for block, states in fit_states(broken).items():
        assert np.array_equal(states, sound.states("fit", block))
    last = text.depths[-1]
    hits = [FutureLens(t).linear(0, last).scores.mean() for t in (text, damaged(text, FINALS))]
    assert hits[1] < 0.5 * hits[0]


def test_vocabulary_maps_are_fitted_to_the_tokens_of_other_documents(text):
    sound, survey = text.survey, damaged(text, TOKENS).survey
    before, after = sound.rows("fit").targets, survey.rows("fit").targets
    documents = sound.rows("fit").documents
    assert not np.any(documents[survey._other] == documents)
    assert np.array_equal(after[:, 1:], before[survey._other, 1:])
    assert np.mean(after[:, 1:] == before[:, 1:]) < 0.2
    for split in ("choose", "judge"):
        assert np.array_equal(survey.rows(split).targets, sound.rows(split).targets)
    for before, after in zip(finals(sound), finals(survey), strict=True):
        assert np.array_equal(after, before)


def test_the_same_target_is_read_whatever_is_asked(text):
    sound, broken = text.survey, damaged(text, SAME).survey
    for split in SPLITS:
        before, after = sound.rows(split).targets, broken.rows(split).targets
        assert np.array_equal(after, before[:, [0, 1, 1, 1]])
        assert not np.array_equal(after, before)
    for split in ("fit", "choose"):
        before, after = finals(sound, split), finals(broken, split)
        for ahead in AHEAD:
            assert np.array_equal(after[ahead], before[min(ahead, 1)])
    # The other reader of N = 1 cannot tell N = 3 from it.
    lens, last = FutureLens(damaged(text, SAME)), text.depths[-1]
    assert np.array_equal(
        lens.read("vocabulary", 3, last).scores, lens.read("vocabulary", 1, last).scores
    )


def test_the_backward_table_counts_what_stands_before(text):
    broken = damaged(text, BACKWARD)
    assert broken.survey is text.survey
    checkpoint = broken.checkpoint
    sentence = "w1 w2 w3"
    assert checkpoint.encode([sentence])[0] == text.checkpoint.encode([sentence])[0][::-1]
    assert checkpoint.digest == text.checkpoint.digest
    table, sound = FutureLens(broken)._tables[1], FutureLens(text)._tables[1]
    counts = np.zeros((102, 102), dtype=int)
    for document in text.corpus.documents_of("fit"):
        tokens = text.checkpoint.encode([document.text])[0]
        np.add.at(counts, (tokens[1:], tokens[:-1]), 1)
    seen = np.flatnonzero(counts.sum(1))
    # Whatever it chose among equals, nothing stands before a token more often.
    assert np.array_equal(counts[seen, table.followers[seen]], counts[seen].max(1))
    assert not np.array_equal(table.followers, sound.followers)
    assert np.array_equal(table.seen, np.isin(np.arange(102), seen))


def test_damages_do_not_share_what_is_derived(text):
    last = text.depths[-1]
    found = {}
    for damage in ("", *SURVEYS):
        readings = damaged(text, damage) if damage else text
        found[damage] = FutureLens(readings).maps._linear_map(2, last, 1.0)["weights"]
    sound = found[""]
    changed = {damage for damage, weights in found.items() if not np.array_equal(weights, sound)}
    assert {FIRST_BLOCK, FINALS, SAME} <= changed
    # The lens alone is damaged, or what is judged.
    assert not {EMBEDDED, MEAN, FIRST_JUDGED, OTHERS} & changed


# Damage to what is judged only.


def judged_by_hand(text, damage, depth):
    """The states that are judged in place of a depth's own."""
    states = {d.block: np.array(text.survey.states("judge", d.block)) for d in text.depths}
    if damage == MEAN:
        mean = states[depth.block].astype(np.float64).mean(0).astype(np.float32)
        return np.repeat(mean[None], len(states[depth.block]), axis=0)
    if damage == OTHERS:
        documents = text.rows("judge").documents
        order = other_document(documents, np.random.default_rng(1))
        assert not (documents[order] == documents).any()
        return states[depth.block][order]
    last = text.depths[-1].block
    return states[depth.block if depth.block == last else text.depths[0].block]


def told_by(text, folder, told):
    """The same readings with a cache of their own, saying what they do."""
    return TextReadings(
        text.checkpoint,
        text.engine,
        text.corpus,
        text.plan,
        lambda: text.survey,
        Store(folder),
        told.append,
    )


def fits(readings):
    """Everything in the cache that something was fitted for."""
    kept = ("linear map", "fed linear map")
    return sorted(
        entry.key
        for entry in readings._store.entries()
        if entry.kind == "learned-prompt" or entry.inputs.get("what") in kept
    )


@pytest.mark.parametrize("damage", [MEAN, FIRST_JUDGED, OTHERS])
def test_judged_states_are_replaced_and_those_of_fits_are_not(text, damage):
    sound, broken = text.survey, damaged(text, damage).survey
    changed = []
    for depth in text.depths:
        states = np.array(broken.states("judge", depth.block))
        assert np.allclose(states, judged_by_hand(text, damage, depth), atol=1e-6)
        assert states.dtype == np.float32
        changed.append(not np.allclose(states, sound.states("judge", depth.block), atol=0.01))
        for split in ("fit", "choose"):
            assert np.array_equal(
                broken.states(split, depth.block), sound.states(split, depth.block)
            )
    # Of the first block and the last one, what is judged is their own.
    assert changed == ([False, True, True, False] if damage == FIRST_JUDGED else [True] * 4)
    for split in ("fit", "choose"):
        for before, after in zip(finals(sound, split), finals(broken, split), strict=True):
            assert np.array_equal(after, before)
    for split in SPLITS:
        assert np.array_equal(broken.rows(split).targets, sound.rows(split).targets)
    for part in ("origin", "gram", "cross", "x_sum", "y_sum"):
        assert np.array_equal(getattr(broken.moments(), part), getattr(sound.moments(), part))


@pytest.mark.parametrize("damage", [MEAN, FIRST_JUDGED])
def test_what_was_fitted_to_sound_readings_reads_the_damaged_ones(text, damage, tmp_path):
    told = []
    readings = told_by(text, tmp_path, told)
    sound, cone = FutureLens(readings, RECIPE), Cone(text.engine())
    rows, model = text.rows("judge"), text.checkpoint.model
    targets, head = rows.targets[:, 1], model.lm_head.weight.detach().numpy()
    table = model.model.embed_tokens.weight.detach().numpy()

    def ask(lens, depth):
        return [
            lens.linear(1, depth),
            lens.fair_linear(1, depth),
            lens.learned(1, depth, score="surprisal"),
            lens.read("vocabulary", 1, depth),
            lens.no_state(1, score="surprisal"),
        ]

    blocks = [depth.block for depth in text.depths]
    whole = {depth: ask(sound, depth) for depth in text.depths}
    chosen = [sound.chosen_depth(1), sound.prompts.chosen_depth()]
    assert [what for what in told if what.startswith("training the prompts")]
    before = fits(readings)
    told.clear()

    broken = FutureLens(damaged(readings, damage), RECIPE)
    for depth in text.depths:
        states = judged_by_hand(text, damage, depth)
        linear, fair, learned, vocabulary, none = ask(broken, depth)
        kept = sound.maps._linear_map(1, depth, 1.0)
        said = (states - kept["mean"]) @ kept["weights"] + kept["offset"]
        said = (said.astype(np.float32) @ head.T).argmax(1)
        assert np.array_equal(linear.scores, said == targets)
        kept = FedLinear(readings)._fit(1, depth.block)
        beside = np.concatenate([states, table[rows.following[:, 0]]], axis=1)
        said = (beside - kept["mean"]) @ kept["weights"] + kept["offset"]
        said = (said.astype(np.float32) @ head.T).argmax(1)
        assert np.array_equal(fair.scores, said == targets)
        kept = learned_prompts(readings, lambda: cone, blocks, (1,), RECIPE)[depth.block]
        said = read_prompt(
            cone, kept.prompt, depth.block, states, rows.following[:, :1], rows.targets[:, :2]
        )
        assert np.allclose(learned.scores, -said.scores[:, 1], atol=1e-4)
        if damage == MEAN:
            # One state, one guess.
            assert len(set(targets[vocabulary.scores == 1.0])) <= 1
        # What needs no state stays.
        assert np.array_equal(none.scores, whole[depth][-1].scores)
    assert [broken.chosen_depth(1), broken.prompts.chosen_depth()] == chosen
    middle = text.depths[1]
    for read, sound_one in zip(ask(broken, middle)[:4], whole[middle][:4], strict=True):
        assert not np.array_equal(read.scores, sound_one.scores)
    # Nothing was fitted or trained again, and sound readings are what they were.
    assert not [what for what in told if what.startswith(("training", "fitting"))]
    assert fits(readings) == before
    again = ask(FutureLens(readings, RECIPE), middle)
    for read, sound_one in zip(again, whole[middle], strict=True):
        assert np.array_equal(read.scores, sound_one.scores)


@pytest.mark.parametrize("damage", [FIRST_BLOCK, FINALS, BACKWARD])
def test_other_damages_have_fits_of_their_own(text, damage, tmp_path):
    readings = told_by(text, tmp_path, [])
    depth = text.depths[1]
    FutureLens(readings, RECIPE).linear(1, depth)
    FutureLens(readings, RECIPE).learned(1, depth)
    before = len(fits(readings))
    broken = damaged(readings, damage)
    assert broken.fits is broken
    FutureLens(broken, RECIPE).linear(1, depth)
    FutureLens(broken, RECIPE).learned(1, depth)
    assert len(fits(readings)) == before + 2


def test_the_mean_tells_nothing_of_its_row(text):
    broken = FutureLens(damaged(text, MEAN), RECIPE)
    depth = text.depths[1]
    for states in ("shuffled", "swapped"):
        for score in ("hits", "surprisal"):
            assert np.array_equal(
                broken.learned(1, depth, states=states, score=score).scores,
                broken.learned(1, depth, score=score).scores,
            )
    assert np.array_equal(
        broken.linear(1, depth, "shuffled").scores, broken.linear(1, depth).scores
    )


@pytest.mark.parametrize("damage", ["", "rust"])
def test_an_unknown_damage_is_an_error(text, damage):
    with pytest.raises(UsageError, match="There is no damage") as caught:
        damaged(text, damage)
    assert all(known in str(caught.value) for known in (*SURVEYS, BACKWARD))


# Which readers a damage reaches.


def stages(text, damage):
    """Readings, readers and lens as a run with this damage hands them on."""
    does, sound = damage_of(mutant_named(damage)), FutureLens(text, RECIPE, 40)
    text = does.text(text)
    lens = sound if text is sound.text else FutureLens(text, RECIPE, 40)
    return text, does.future_lens(lens), does.logit_lens(LogitLens(text))


@pytest.mark.parametrize("damage", [FIRST_BLOCK, MEAN, FIRST_JUDGED, OTHERS])
def test_damaged_states_reach_every_reader(text, damage):
    broken, readers, lens = stages(text, damage)
    assert {readers.maps.text, readers.prompts.text, lens.text} == {broken}
    assert broken.damage == damage


@pytest.mark.parametrize("damage", [FINALS, TOKENS, SAME])
def test_damaged_maps_leave_all_else_sound(text, damage):
    kept, readers, lens = stages(text, damage)
    assert {kept, readers.prompts.text, readers.text, lens.text} == {text}
    assert readers.maps.text.damage == damage
    sound = FutureLens(text, RECIPE, 40)
    reader = "vocabulary" if damage == TOKENS else "linear"
    hits = [r.read(reader, 2, r.last).scores for r in (sound, readers)]
    assert not np.array_equal(*hits)
    assert np.array_equal(sound.bigram(2).scores, readers.bigram(2).scores)


def test_tables_that_are_counted_backwards_leave_all_else_sound(text):
    kept, readers, lens = stages(text, BACKWARD)
    assert {kept, readers.prompts.text, readers.maps.text, lens.text} == {text}
    sound = FutureLens(text, RECIPE, 40)
    assert not np.array_equal(sound.bigram(1).scores, readers.bigram(1).scores)
    assert np.array_equal(
        readers.bigram(1).scores, FutureLens(damaged(text, BACKWARD)).bigram(1).scores
    )


def test_the_embedding_at_every_depth_reaches_the_lens_alone(text):
    kept, readers, lens = stages(text, EMBEDDED)
    assert {kept, readers.prompts.text, readers.maps.text} == {text}
    assert lens.text.damage == EMBEDDED
