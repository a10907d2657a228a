"""Prompts as outcomes: which states they are given, what counts as a hit, what is cached."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stillwired.engine.cone import Cone
from stillwired.errors import UsageError
from stillwired.instruments.depths import FIRST
from stillwired.instruments.future_lens import FutureLens
from stillwired.instruments.learned_prompt import learned_prompts
from stillwired.instruments.prompt_outcomes import PromptOutcomes
from stillwired.instruments.prompt_readers import (
    FIXED_PROMPTS,
    Prompt,
    nearest_tokens,
    read_prompt,
    swapped_rows,
)
from stillwired.instruments.prompt_recipes import Recipe
from stillwired.instruments.survey import FURTHEST
from stillwired.instruments.text import TextReadings, other_document
from stillwired.store.cache import Store
from tests.instruments.conftest import BLOCKS

RECIPE = Recipe(vectors=3, rate=0.05, steps=8, batch=8, every=4)


@pytest.fixture(scope="module")
def readings(text, tmp_path_factory):
    """Readings that say what they do, with a cache of their own."""
    return with_cache(text, tmp_path_factory.mktemp("prompts"))


@pytest.fixture(scope="module")
def lens(readings):
    return FutureLens(readings, RECIPE)


def with_cache(text, folder):
    return TextReadings(
        text.checkpoint, text.engine, text.corpus, text.plan, lambda: text.survey, Store(folder)
    )


def kept_prompt(readings, block, trained=(1,), recipe=RECIPE):
    """The prompt of a block; the usual ones are trained together, all others alone."""
    usual = (trained, replace(recipe, restart=0)) == ((1,), RECIPE)
    blocks = [depth.block for depth in readings.depths] if usual else [block]
    return learned_prompts(readings, lambda: Cone(readings.engine()), blocks, trained, recipe)[
        block
    ]


def partners(text, states):
    rows = text.rows("judge")
    if states == "shuffled":
        return other_document(rows.documents, text.rng("shuffled states"))
    if states == "swapped":
        return swapped_rows(rows.targets[:, 0], rows.documents, text.rng("swapped states"))
    return np.arange(len(rows))


def spoken(text, prompt, block, states, furthest=FURTHEST):
    """What a prompt says of all judge rows, asked for directly."""
    rows = text.rows("judge")
    given = None
    if states != "none":
        given = np.array(text.survey.states("judge", block))[partners(text, states)]
    return read_prompt(Cone(text.engine()), prompt, block, given, rows.following[:, :furthest])


def hits(text, said, ahead, within=1):
    wanted = text.rows("judge").targets[:, ahead]
    if within == 1:
        return said.tokens[:, ahead] == wanted
    return (said.likeliest[:, ahead, :within] == wanted[:, None]).any(1)


# Fixed prompts.


@pytest.mark.parametrize("states", ["own", "shuffled", "swapped", "none"])
def test_fixed_prompts_are_read_with_the_states_that_are_asked_for(lens, text, states):
    depth = text.depths[1]
    for ahead in (0, 1, 3):
        each = lens.fixed_each(ahead, depth, states)
        assert list(each) == list(FIXED_PROMPTS)
        for name, words in FIXED_PROMPTS.items():
            prompt = Prompt.fixed(text.checkpoint, words)
            expected = hits(text, spoken(text, prompt, depth.block, states), ahead)
            assert np.array_equal(each[name].scores, expected)
            assert each[name].factors["states"] == states
        # In turn, the k-th row is read by the k-th prompt, and so on round.
        turns = lens.fixed(ahead, depth, states)
        scores = np.array([outcome.scores for outcome in each.values()])
        rows = np.arange(scores.shape[1])
        assert np.array_equal(turns.scores, scores[rows % 4, rows])
        assert turns.examples.tolist() == text.rows("judge").examples.tolist()
        assert turns.clusters.tolist() == text.rows("judge").documents.tolist()
        assert turns.factors["block"] == depth.block
        apart = lens.fixed_apart(ahead, depth, states)
        assert list(apart) == list(FIXED_PROMPTS)
        for number, outcome in enumerate(apart.values()):
            assert np.array_equal(outcome.scores, scores[number, number::4])
            assert outcome.examples.tolist() == turns.examples[number::4].tolist()


def test_prompts_in_turn_are_told_apart_by_hits_alone(lens, text):
    for scoring in ({"population": "next-right"}, {"score": "surprisal"}):
        with pytest.raises(UsageError, match="by hits at all rows alone"):
            lens.fixed_apart(1, text.depths[1], **scoring)


def test_hits_within_the_likeliest_tokens(lens, text):
    depth, name = text.depths[2], "concepts"
    prompt = Prompt.fixed(text.checkpoint, FIXED_PROMPTS[name])
    said = spoken(text, prompt, depth.block, "own")
    rates = []
    for within in (1, 5, 10):
        outcome = lens.fixed_each(2, depth, within=within)[name]
        assert np.array_equal(outcome.scores, hits(text, said, 2, within))
        assert outcome.factors["within"] == within
        rates.append(outcome.scores.mean())
    assert rates == sorted(rates)
    assert rates[0] < rates[-1]
    for within in (0, 11):
        with pytest.raises(UsageError, match="within 1 to 10"):
            lens.fixed(1, depth, within=within)


def test_swapped_states_say_how_many_rows_keep_their_own(lens, text):
    outcome = lens.fixed_each(1, text.depths[0], "swapped")["concepts"]
    alone = int(np.sum(partners(text, "swapped") == np.arange(len(outcome))))
    assert 0 < alone < len(outcome)
    assert outcome.factors["alone"] == alone
    assert f"{alone} of {len(outcome)} rows keep their own" in outcome.name


def test_at_the_last_block_states_change_nothing_but_the_next_token(lens, text):
    last = text.depths[-1]
    for ahead in (1, 2, 3):
        own, shuffled, none = (
            lens.fixed(ahead, last, states) for states in ("own", "shuffled", "none")
        )
        assert np.array_equal(own.scores, shuffled.scores)
        assert np.array_equal(own.scores, none.scores)
    assert np.all(lens.fixed(0, last).scores == 1.0)
    assert lens.fixed(0, last, "shuffled").scores.mean() < 0.2


def test_first_rows_and_others_are_all_rows(text, tmp_path, lens):
    parted = PromptOutcomes(with_cache(text, tmp_path), RECIPE, first=30)
    depth = text.depths[1]
    for states in ("own", "swapped"):
        whole = lens.fixed(1, depth, states)
        assert np.array_equal(parted.fixed(1, depth, states).scores, whole.scores)
        few = parted.fixed(1, depth, states, few=True)
        assert few.examples.tolist() == whole.examples[:30].tolist()
        assert np.array_equal(few.scores, whole.scores[:30])


def test_a_population_keeps_its_rows(lens, text, monkeypatch):
    rows = text.rows("judge")
    following = rows.following.copy()
    following[::4, 0] = rows.targets[::4, 0]
    kept = lens.text.rows("judge")
    whole = lens.fixed(0, text.depths[1])
    monkeypatch.setitem(vars(kept), "following", following)
    outcome = lens.fixed(0, text.depths[1], population="next-right")
    assert outcome.examples.tolist() == rows.examples[kept.next_is_right].tolist()
    assert np.array_equal(outcome.scores, whole.scores[kept.next_is_right])


def test_unknown_states_are_an_error(lens, text):
    with pytest.raises(UsageError, match=r"'mine'.*own, shuffled, swapped, none"):
        lens.fixed(1, text.depths[0], "mine")


# Learned prompts.


@pytest.mark.parametrize("trained", [1, (1, 2)])
def test_learned_prompts_are_those_of_their_depth(lens, readings, text, trained):
    depth = text.depths[0]
    several = (trained,) if isinstance(trained, int) else trained
    kept = kept_prompt(readings, depth.block, several)
    for states in ("own", "shuffled", "swapped"):
        said = spoken(text, kept.prompt, depth.block, states)
        for ahead in (1, 2):
            outcome = lens.learned(ahead, depth, trained, states)
            assert np.array_equal(outcome.scores, hits(text, said, ahead))
    assert outcome.factors["trained"] == "+".join(map(str, several))


def test_training_is_told_of_the_prompt_that_is_read(lens, readings, text):
    block = lens.learned(1).factors["block"]
    told = lens.training_facts()
    assert told["loss of the learned prompt"] == kept_prompt(readings, block).course
    others = {kept_prompt(readings, depth.block).course for depth in text.depths}
    assert len(others) == len(text.depths)
    width = text.checkpoint.prepared.width
    assert told["trained parameters, learned prompt"] == RECIPE.vectors * width
    assert told["trained parameters, linear map"] == (width + 1) * width


def test_without_a_state_the_prompt_of_the_last_block_is_read(lens, readings, text):
    last = text.depths[-1]
    kept = kept_prompt(readings, last.block)
    for ahead in (1, 3):
        none = lens.no_state(ahead)
        said = spoken(text, kept.prompt, last.block, "none")
        assert np.array_equal(none.scores, hits(text, said, ahead))
        # It is the learned prompt of that depth, whatever states that is given.
        for states in ("own", "shuffled"):
            assert np.array_equal(lens.learned(ahead, last, 1, states).scores, none.scores)
    for wrong in ((0, 1), (1, 0), (2, (0, 1))):
        with pytest.raises(UsageError, match="N ≥ 1"):
            lens.no_state(*wrong)


def test_a_prompt_without_a_state_needs_no_last_block_among_the_declared(text, lens, monkeypatch):
    def refuse(split, block):
        assert block != BLOCKS - 1
        return text.survey.states(split, block)

    class Partly:
        rows, final_states = text.survey.rows, text.survey.final_states
        states = staticmethod(refuse)

    readings = TextReadings(
        text.checkpoint, text.engine, text.corpus, text.plan, Partly, lens.text._store, damage="x"
    )
    again = FutureLens(readings, RECIPE).no_state(1)
    assert np.array_equal(again.scores, lens.no_state(1).scores)


@pytest.mark.parametrize("trained", [1, (1, 2), 2])
def test_the_chosen_depth_is_the_least_surprised_on_the_choose_split(lens, readings, text, trained):
    several = (trained,) if isinstance(trained, int) else trained
    first = several[0]
    rows, surprisal = text.rows("choose"), {}
    for depth in text.depths:
        kept = kept_prompt(readings, depth.block, several)
        said = read_prompt(
            Cone(text.engine()),
            kept.prompt,
            depth.block,
            np.array(text.survey.states("choose", depth.block)),
            rows.following[:, :2],
            rows.targets[:, :3],
        )
        surprisal[depth.block] = -said.scores[:, first].mean()
    best = min(surprisal, key=surprisal.__getitem__)
    chosen = lens.prompts.chosen_depth(trained)
    assert chosen.block == best
    # One prompt reads every N, at the depth that was chosen for what it was trained for.
    for ahead in (1, 3):
        outcome = lens.learned(ahead, trained=trained)
        assert outcome.factors["block"] == best
        assert np.array_equal(outcome.scores, lens.learned(ahead, chosen, trained).scores)


# What a prompt is given, beside the states.


def test_the_prompt_of_one_depth_reads_another(lens, readings, text):
    early, middle = text.depths[0], text.depths[1]
    kept = kept_prompt(readings, middle.block)
    said = spoken(text, kept.prompt, early.block, "own")
    outcome = lens.learned(1, early, prompt_of=middle)
    assert np.array_equal(outcome.scores, hits(text, said, 1))
    assert outcome.factors["block"] == early.block
    assert not np.array_equal(outcome.scores, lens.learned(1, early).scores)


def test_states_of_another_depth_are_scaled_to_the_length_of_those_that_belong(
    lens, readings, text
):
    middle, late = text.depths[1], text.depths[2]
    kept = kept_prompt(readings, middle.block)
    lengths = {
        depth.block: np.linalg.norm(text.survey.states("choose", depth.block), axis=1).mean()
        for depth in (middle, late)
    }
    assert lengths[late.block] > 1.1 * lengths[middle.block]
    states = np.array(text.survey.states("judge", late.block))
    states *= lengths[middle.block] / lengths[late.block]
    rows = text.rows("judge")
    said = read_prompt(
        Cone(text.engine()), kept.prompt, middle.block, states, rows.following[:, :3]
    )
    outcome = lens.learned(1, middle, states_of=late)
    assert np.array_equal(outcome.scores, hits(text, said, 1))
    assert outcome.factors["depth"] == middle.label
    assert late.label in outcome.name


def test_a_wrong_first_token_is_another_documents_and_the_others_stay(lens, readings, text):
    depth, rows = text.depths[1], text.rows("judge")
    kept = kept_prompt(readings, depth.block)
    order = other_document(rows.documents, text.rng("wrong tokens"))
    fed = rows.following[:, :3].copy()
    fed[:, 0] = rows.following[order, 0]
    assert (fed[:, 0] != rows.following[:, 0]).mean() > 0.9
    said = read_prompt(
        Cone(text.engine()),
        kept.prompt,
        depth.block,
        np.array(text.survey.states("judge", depth.block)),
        fed,
    )
    for ahead in (0, 2):
        outcome = lens.learned(ahead, depth, fed="wrong first")
        assert np.array_equal(outcome.scores, hits(text, said, ahead))
    # What is said at t does not hear what is fed behind it.
    assert np.array_equal(
        lens.learned(0, depth, fed="wrong first").scores, lens.learned(0, depth).scores
    )
    with pytest.raises(UsageError, match="true, wrong first"):
        lens.learned(1, depth, fed="none")


def test_vectors_turn_into_the_tokens_that_point_most_nearly_their_way(lens, readings, text):
    depth = text.depths[0]
    kept = kept_prompt(readings, depth.block)
    table = text.checkpoint.model.get_input_embeddings().weight.detach().numpy()
    cosine = (kept.vectors.numpy() @ table.T) / np.linalg.norm(table, axis=1)
    tokens = tuple(cosine.argmax(1).tolist())
    assert nearest_tokens(text.engine(), kept.prompt).tokens == tokens
    said = spoken(text, Prompt(tokens), depth.block, "own")
    outcome = lens.learned(1, depth, as_tokens=True)
    assert np.array_equal(outcome.scores, hits(text, said, 1))
    with pytest.raises(UsageError, match="tokens already"):
        nearest_tokens(text.engine(), Prompt(tokens))


def test_a_changed_recipe_is_named_and_trained_apart(lens, readings, text):
    depth = text.depths[0]
    changed = replace(RECIPE, vectors=2, share=0.5)
    kept = kept_prompt(readings, depth.block, recipe=changed)
    assert kept.vectors.shape[0] == 2
    said = spoken(text, kept.prompt, depth.block, "own")
    outcome = lens.learned(1, depth, recipe={"vectors": 2, "share": 0.5})
    assert np.array_equal(outcome.scores, hits(text, said, 1))
    assert "vectors 2, share 0.5" in outcome.name


# Scores other than hits.


def test_surprisal_is_that_of_the_target(lens, readings, text):
    depth, rows = text.depths[1], text.rows("judge")
    kept = kept_prompt(readings, depth.block)
    said = read_prompt(
        Cone(text.engine()),
        kept.prompt,
        depth.block,
        np.array(text.survey.states("judge", depth.block)),
        rows.following[:, :3],
        rows.targets,
    )
    for ahead in (0, 1, 3):
        outcome = lens.learned(ahead, depth, score="surprisal")
        assert np.allclose(outcome.scores, -said.scores[:, ahead], atol=1e-5)
        assert outcome.examples.tolist() == rows.examples.tolist()
    with pytest.raises(UsageError, match="hits, surprisal, surer half, random half"):
        lens.learned(1, depth, score="luck")


def test_the_surer_half_is_held_against_the_other():
    hits_ = np.array([1.0, 0.0, 1.0, 1.0, 0.0])
    sure = np.array([0.9, 0.1, 0.5, 0.8, 0.2], np.float32)
    scores = PromptOutcomes.surer_minus_other(hits_, sure)
    assert scores.mean() == pytest.approx(1.0 - 0.0)
    assert scores[2] == 0.0
    assert PromptOutcomes.surer_minus_other(hits_, 1 - sure).mean() == pytest.approx(-1.0)
    assert PromptOutcomes.surer_minus_other(np.ones(6), np.zeros(6)).mean() == 0.0


def test_confidence_is_the_prompts_own(lens, text):
    depth = text.depths[1]
    hit = lens.learned(1, depth).scores
    said = spoken(
        text,
        kept_prompt(lens.text, depth.block).prompt,
        depth.block,
        "own",
    )
    wanted = PromptOutcomes.surer_minus_other(hit, said.probabilities[:, 1])
    assert lens.learned(1, depth, score="surer half").scores.mean() == pytest.approx(wanted.mean())
    dealt = lens.learned(1, depth, score="random half").scores
    assert not np.array_equal(dealt, wanted)
    assert sorted(np.abs(dealt)) == pytest.approx(sorted(np.abs(wanted)))


# The cache.


def test_what_was_read_needs_neither_model_nor_survey(lens, readings, text):
    def never():
        raise AssertionError("read again")

    def ask(of):
        return [
            of.fixed(1, text.depths[1]),
            of.fixed(2, text.depths[1], "swapped"),
            of.learned(1),
            of.learned(3, text.depths[0], 1, "shuffled"),
            of.no_state(2),
            of.fair_linear(1),
        ]

    wanted = ask(lens)
    unread = TextReadings(text.checkpoint, never, text.corpus, text.plan, never, readings._store)
    for again, first in zip(ask(FutureLens(unread, RECIPE)), wanted, strict=True):
        assert np.array_equal(again.scores, first.scores)
        assert again.factors == first.factors
        assert again.name == first.name


def test_damaged_readings_are_read_by_prompts_of_their_own(lens, readings, text):
    before = len(list(readings._store.root.glob("learned-prompt/*")))
    other = FutureLens(readings.with_damage("dented"), RECIPE)
    lens.learned(1, text.depths[0])
    other.learned(1, text.depths[0])
    assert len(list(readings._store.root.glob("learned-prompt/*"))) == before + 1


def test_another_recipe_is_another_reader(lens, readings, text):
    told = []
    again = TextReadings(
        text.checkpoint,
        text.engine,
        text.corpus,
        text.plan,
        lambda: text.survey,
        readings._store,
        told.append,
    )
    depth = text.depths[0]
    lens.learned(1, depth)
    FutureLens(again, RECIPE).learned(1, depth)
    assert not told
    FutureLens(again, replace(RECIPE, restart=1)).learned(1, depth)
    about = "reading block 1 with the learned prompt, depth0.10, trained for 1, own states"
    # The choice of the depth comes first.
    assert told[:2] == [f"{about}, choose", "training the prompts of blocks 1, 4, 6, 7 for N=1"]
    assert "step 8 of 8" in told[3]
    assert f"{about}, choose: 100 %" in told
    assert f"{about}, first rows: 100 %" in told


# What is read in one pass.


def reads_of(readings, part="first rows"):
    """The N that each pass over some rows has read, in no order."""
    entries = [e for e in readings._store.entries() if e.kind == "readings"]
    return sorted(e.inputs["read"] for e in entries if e.inputs.get("part") == part)


@pytest.mark.parametrize("kind", ["fixed", "own", "shuffled", "no state"])
def test_readers_that_are_asked_for_every_n_are_read_once(lens, text, tmp_path, kind):
    """Whether their depth is named or not, and in whatever order N are asked for."""
    readings = with_cache(text, tmp_path)
    of = FutureLens(readings, RECIPE, first=30)
    chosen = of.prompts.chosen_depth()

    def ask(lens, ahead, named):
        if kind == "fixed":
            return lens.fixed_each(ahead, text.depth_in(FIRST), few=True)["concepts"]
        if kind == "no state":
            return lens.no_state(ahead, few=True)
        return lens.learned(ahead, chosen if named else None, states=kind, few=True)

    for ahead, named in ((2, False), (1, True), (1, False), (3, True)):
        outcome = ask(of, ahead, named)
        assert np.array_equal(outcome.scores, ask(lens, ahead, named).scores[:30])
    assert reads_of(readings) == [[1, 3]] * (4 if kind == "fixed" else 1)
    # The other rows are asked for N = 1 alone.
    if kind == "own":
        of.learned(1)
        assert reads_of(readings) == [[1, 3]]
        assert reads_of(readings, "other rows") == [[1, 1]]


def test_readers_that_few_ask_for_every_n_are_read_as_far_as_asked(text, tmp_path):
    readings = with_cache(text, tmp_path)
    of = FutureLens(readings, RECIPE, first=30)
    chosen = of.prompts.chosen_depth()
    other = next(depth for depth in text.depths[:-1] if depth != chosen)
    asked = (
        lambda: of.learned(1, other, few=True),
        lambda: of.learned(1, states="swapped", few=True),
        lambda: of.learned(1, chosen, as_tokens=True, few=True),
        lambda: of.learned(1, chosen, recipe={"vectors": 2}, few=True),
        lambda: of.learned(1, chosen, trained=2, few=True),
        lambda: of.learned(1, chosen, states_of=other, few=True),
        lambda: of.learned(1, chosen, fed="wrong first", few=True),
        lambda: of.no_state(1, trained=2, few=True),
    )
    for ask in asked:
        ask()
    assert reads_of(readings) == [[1, 1]] * len(asked)
    of.fixed(1, text.depths[1], few=True)
    of.fixed(1, text.depth_in(FIRST), "shuffled", few=True)
    assert reads_of(readings) == [[1, 1]] * (len(asked) + 8)
    damaged = FutureLens(readings.with_damage("dented"), RECIPE, first=30)
    damaged.learned(1, damaged.prompts.chosen_depth(), few=True)
    damaged.fixed(1, text.depth_in(FIRST), few=True)
    damaged.no_state(1, few=True)
    assert reads_of(readings) == [[1, 1]] * (len(asked) + 14)


# What is trained together.


def trained_by(text, folder, ask):
    """The blocks of all trainings that asking for something leads to, and what is asked."""
    readings = with_cache(text, folder)
    ask(FutureLens(readings, RECIPE))
    entries = [e for e in readings._store.entries() if e.kind == "learned-prompt"]
    return sorted(entry.inputs["blocks"] for entry in entries)


def test_the_usual_prompts_of_all_depths_are_trained_at_once(text, tmp_path):
    declared = [depth.block for depth in text.depths]
    assert declared[-1] == BLOCKS - 1

    def ask(lens):
        lens.learned(1, text.depths[2], few=True)
        lens.learned(1, few=True)
        lens.learned(2, text.depths[0], prompt_of=text.depths[1], few=True)
        lens.no_state(1, few=True)
        lens.prompts.trained_prompt(declared[1], (1,), RECIPE)

    assert trained_by(text, tmp_path / "usual", ask) == [declared]

    def again(lens):
        for restart in (1, 2):
            lens.learned(1, text.depths[1], recipe={"restart": restart}, few=True)

    assert trained_by(text, tmp_path / "again", again) == [declared, declared]


def test_unusual_prompts_are_trained_alone(text, tmp_path):
    early, middle = text.depths[:2]

    def ask(lens):
        lens.learned(1, middle, recipe={"vectors": 2}, few=True)
        lens.learned(1, middle, recipe={"share": 0.5}, few=True)
        lens.learned(1, early, trained=2, few=True)
        lens.learned(1, early, trained=(1, 2), few=True)

    blocks = [[early.block]] * 2 + [[middle.block]] * 2
    assert trained_by(text, tmp_path, ask) == blocks
