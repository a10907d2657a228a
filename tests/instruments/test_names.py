"""Names against plain passes: which tokens are rows, what readers say there, what is cached."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from stillwired.data.names import NamedText
from stillwired.engine.cone import Cone
from stillwired.engine.engine import Engine
from stillwired.errors import UsageError
from stillwired.instruments import names as module
from stillwired.instruments.depths import Depth
from stillwired.instruments.fed_linear import FedLinear
from stillwired.instruments.future_lens import FutureLens
from stillwired.instruments.learned_prompt import learned_prompts
from stillwired.instruments.names import matched
from stillwired.instruments.prompt_readers import Prompt, read_prompt
from stillwired.instruments.prompt_recipes import Recipe
from stillwired.instruments.text import TextReadings, other_document
from stillwired.mutants.readers import damaged_lens
from stillwired.store.cache import Store
from tests.instruments.conftest import WORDS, made_checkpoint, made_corpus, readings_of

RECIPE = Recipe(vectors=3, rate=0.05, steps=8, batch=8, every=4)
SAID = 4
"""Words that the model says."""
FIRST = 40
"""Judge rows that few means."""
SHORT_LEAD, LEAD = 30, 35
"""Words before the first name, and before the second."""


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """Readings of a model that says few words, so that every reader hits now and then."""
    checkpoint = made_checkpoint()
    with torch.no_grad():
        checkpoint.model.lm_head.weight[:2] *= 0.02
        checkpoint.model.lm_head.weight[2 + SAID :] *= 0.02
    folder = tmp_path_factory.mktemp("cache")
    return readings_of(checkpoint, Engine(checkpoint), made_corpus(), folder)


@pytest.fixture(scope="module")
def checkpoint(text):
    return text.checkpoint


def plain(checkpoint, tokens):
    """Outputs of all blocks but the last, and what is said, by one plain forward pass."""
    with torch.no_grad():
        out = checkpoint.model(torch.tensor([tokens]), output_hidden_states=True)
    blocks = [block[0].numpy() for block in out.hidden_states[1:-1]]
    return blocks, out.logits[0].argmax(-1).numpy()


def ids(checkpoint, text):
    return checkpoint.tokenizer.convert_tokens_to_ids(text.split())


def made_names(checkpoint):
    """Names of two to six words; words of every other one are what the model itself says."""
    rng = random.Random(7)
    names = []
    for number in range(24):
        before = rng.choices(WORDS, k=SHORT_LEAD if number == 0 else LEAD + number % 5)
        name = [rng.choice(WORDS)]
        for _ in range(5 if number == 0 else number % 5 + 1):
            said = None
            if number % 2:
                tokens = [0, *ids(checkpoint, " ".join([*before, *name]))]
                said = checkpoint.tokenizer.convert_ids_to_tokens(
                    int(plain(checkpoint, tokens)[1][-1])
                )
            name.append(said if said in WORDS else rng.choice(WORDS))
        after = " " + " ".join(rng.choices(WORDS, k=4))
        names.append(NamedText(" ".join(name), "other", " ".join(before), after))
    return tuple(names)


@pytest.fixture(scope="module")
def named(checkpoint):
    return made_names(checkpoint)


@pytest.fixture(autouse=True)
def listed(named, monkeypatch):
    monkeypatch.setattr(module, "load_names", lambda: named)


@pytest.fixture(scope="module")
def readings(text, tmp_path_factory):
    return with_cache(text, tmp_path_factory.mktemp("names"))


@pytest.fixture(scope="module")
def lens(readings):
    return FutureLens(readings, RECIPE, FIRST)


def with_cache(text, folder):
    return TextReadings(
        text.checkpoint, text.engine, text.corpus, text.plan, lambda: text.survey, Store(folder)
    )


@pytest.fixture(scope="module")
def rows(checkpoint, named):
    """All rows, read from whole texts word by word."""
    found = []
    for name in named:
        tokens = [0, *ids(checkpoint, name.text)]
        blocks, said = plain(checkpoint, tokens)
        before, words = len(name.before.split()), len(name.name.split())
        for word in range(words - 2):
            position = before + word
            if position < 32:
                continue
            # The special token stands in front of all words.
            at = position + 1
            found.append(
                {
                    "name": name.name,
                    "at": at,
                    "states": [block[at] for block in blocks],
                    "fed": tokens[at + 1],
                    "target": said[at + 1],
                    "right": said[at] == tokens[at + 1],
                }
            )
    return {key: np.array([row[key] for row in found]) for key in found[0]}


def hits_of(readings, rows, prompt, block, states):
    """What a prompt hits at rows of names, asked for directly."""
    cone = Cone(readings.engine())
    said = read_prompt(cone, prompt, block, states, rows["fed"][:, None])
    return said.tokens[:, 1] == rows["target"]


def trained(readings, block):
    cone = Cone(readings.engine())
    blocks = [depth.block for depth in readings.depths]
    return learned_prompts(readings, lambda: cone, blocks, (1,), RECIPE)[block].prompt


# Rows.


def test_rows_are_tokens_that_two_more_of_the_name_follow(lens, rows, named):
    kept = lens.names._rows
    assert kept["names"].tolist() == rows["name"].tolist()
    assert kept["places"].tolist() == rows["at"].tolist()
    # Six words behind thirty: two have too little before them, two too little behind.
    first = kept["places"][kept["names"] == named[0].name]
    assert first.tolist() == [32 + 1, 33 + 1]
    # Five words behind 38: the first three.
    third = kept["places"][kept["names"] == named[3].name]
    assert third.tolist() == [38 + 1, 39 + 1, 40 + 1]
    short = {name.name for name in named if len(name.name.split()) < 3}
    assert short
    assert not short & set(kept["names"])


def test_rows_hold_what_a_plain_pass_over_the_whole_text_says(lens, rows, text):
    kept = lens.names._rows
    for depth in text.depths[:-1]:
        assert np.allclose(kept[f"block{depth.block}"], rows["states"][:, depth.block], atol=1e-4)
    assert f"block{text.depths[-1].block}" in kept
    assert kept["fed"].tolist() == rows["fed"][:, None].tolist()
    assert kept["targets"].tolist() == rows["target"].tolist()
    assert kept["next_is_right"].astype(bool).tolist() == rows["right"].tolist()
    assert 0.2 < rows["right"].mean() < 0.8


def test_texts_are_read_behind_what_the_tokenizer_puts_first(lens, checkpoint, named, text):
    name, depth = named[3], text.depths[0]
    blocks, _ = plain(checkpoint, ids(checkpoint, name.text))
    kept = lens.names._rows
    state = kept[f"block{depth.block}"][kept["names"] == name.name][0]
    assert not np.allclose(state, blocks[depth.block][len(name.before.split())], atol=0.1)


def test_a_name_starts_where_tokens_of_the_text_before_it_end():
    def encode(texts):
        return [[ord(letter) for letter in text.replace("d n", "D")] for text in texts]

    whole, start = module._span(NamedText("name", "other", "and", ""), encode)
    assert (whole, start) == ([ord(letter) for letter in "anDame"], 2)
    whole, start = module._span(NamedText("of", "other", "some", ""), encode)
    assert (whole, start) == ([ord(letter) for letter in "some of"], 4)


# Readers.


def test_the_learned_prompt_of_the_chosen_depth_reads_names(lens, readings, rows):
    depth = lens.prompts.chosen_depth()
    prompt, states = trained(readings, depth.block), rows["states"][:, depth.block]
    own = lens.names.learned()
    assert np.array_equal(own.scores, hits_of(readings, rows, prompt, depth.block, states))
    assert 0 < own.scores.mean() < 1
    assert own.clusters.tolist() == rows["name"].tolist()
    assert len(set(own.examples)) == len(rows["name"])
    assert own.factors == {"ahead": 1, "text": "names"}
    assert depth.label in own.name


def test_shuffled_states_are_those_of_other_names(lens, readings, rows, text):
    depth = lens.prompts.chosen_depth()
    order = other_document(rows["name"], text.rng("shuffled names"))
    assert not np.any(rows["name"][order] == rows["name"])
    expected = hits_of(
        readings,
        rows,
        trained(readings, depth.block),
        depth.block,
        rows["states"][order, depth.block],
    )
    shuffled = lens.names.learned("shuffled")
    assert np.array_equal(shuffled.scores, expected)
    assert not np.array_equal(shuffled.scores, lens.names.learned().scores)
    assert shuffled.examples.tolist() == lens.names.learned().examples.tolist()
    with pytest.raises(UsageError, match=r"'swapped'.*own or shuffled"):
        lens.names.learned("swapped")


def test_names_may_be_fed_the_token_of_another(lens, readings, rows):
    broken = damaged_lens(lens, "another name's token fed behind every name")
    depth = lens.prompts.chosen_depth()
    order = other_document(rows["name"], np.random.default_rng(1))
    fed = {**rows, "fed": rows["fed"][order]}
    prompt, states = trained(readings, depth.block), rows["states"][:, depth.block]
    expected = hits_of(readings, fed, prompt, depth.block, states)
    assert np.array_equal(broken.names.learned().scores, expected)
    assert not np.array_equal(expected, lens.names.learned().scores)
    # Linear maps are fed the name's own token, and so are sound prompts afterwards.
    assert np.array_equal(broken.names.fair_linear().scores, lens.names.fair_linear().scores)
    whole = hits_of(readings, rows, prompt, depth.block, states)
    assert np.array_equal(lens.names.learned().scores, whole)


def test_without_a_state_the_prompt_of_the_last_block_reads_names(lens, readings, rows, text):
    last = text.depths[-1].block
    prompt = trained(readings, last)
    none = lens.names.no_state()
    assert np.array_equal(none.scores, hits_of(readings, rows, prompt, last, None))
    # Whatever state is put there, no later token hears it.
    strange = np.tile(rows["states"][:1, 0], (len(none), 1))
    assert np.array_equal(none.scores, hits_of(readings, rows, prompt, last, strange))


def test_the_linear_map_is_told_the_state_and_the_fed_token(lens, readings, rows, checkpoint):
    readers = FedLinear(readings)
    table = checkpoint.model.model.embed_tokens.weight.detach().numpy()
    head = checkpoint.model.lm_head.weight.detach()
    choose = readings.rows("choose")

    def said(kept: dict[str, np.ndarray], told: np.ndarray) -> torch.Tensor:
        predicted = (told - kept["mean"]) @ kept["weights"] + kept["offset"]
        return torch.from_numpy(predicted.astype(np.float32)) @ head.T

    def surprisal(depth: Depth) -> float:
        """What least squares at a depth make of what the model says after the fed token."""
        solved = readers._solve(1, depth.block)
        told = np.concatenate(
            [readings.survey.states("choose", depth.block), table[choose.following[:, 0]]], axis=1
        )
        return float(cross_entropy(said(solved, told), torch.from_numpy(choose.targets[:, 1])))

    depth = min(readings.depths, key=surprisal)
    kept = readers._fit(1, depth.block)
    if depth == readings.depths[-1]:
        states = lens.names._rows[f"block{depth.block}"]
    else:
        states = rows["states"][:, depth.block]
    told = np.concatenate([states, table[rows["fed"]]], axis=1)
    guesses = said(kept, told).argmax(1).numpy()
    fair = lens.names.fair_linear()
    assert np.array_equal(fair.scores, guesses == rows["target"])
    assert fair.scores.any()
    assert fair.clusters.tolist() == rows["name"].tolist()
    assert depth.label in fair.name


def test_a_linear_map_guesses_for_other_rows_what_it_guesses_for_its_own(readings, text):
    judge, reader = text.rows("judge"), FedLinear(readings)
    for ahead in (0, 2):
        depth = text.depths[1]
        states = np.array(text.survey.states("judge", depth.block))[::3]
        guesses = reader.guesses_of(states, judge.following[::3, :ahead], depth)
        assert np.array_equal(guesses, reader.guesses(ahead, depth)[::3])
    # It hears what it is fed.
    others = np.roll(judge.following, 1, axis=0)[::3, :2]
    assert not np.array_equal(reader.guesses_of(states, others, depth), guesses)


def test_untrained_prompts_read_names_untrained(lens, readings, rows, text):
    before = [outcome.scores for outcome in ask(lens)]
    broken = damaged_lens(lens, "untrained vectors in place of the prompt")

    def untrained(block):
        shape = (RECIPE.vectors, rows["states"].shape[-1])
        drawn = np.random.default_rng(block).normal(0.0, RECIPE.spread, shape)
        return Prompt.of(torch.from_numpy(drawn).float())

    block = broken.prompts.chosen_depth().block
    expected = hits_of(readings, rows, untrained(block), block, rows["states"][:, block])
    assert np.array_equal(broken.names.learned().scores, expected)
    last = text.depths[-1].block
    expected = hits_of(readings, rows, untrained(last), last, None)
    assert np.array_equal(broken.names.no_state().scores, expected)
    assert not np.array_equal(expected, lens.names.no_state().scores)
    assert np.array_equal(broken.names.fair_linear().scores, lens.names.fair_linear().scores)
    for outcome, scores in zip(ask(FutureLens(readings, RECIPE, FIRST)), before, strict=True):
        assert np.array_equal(outcome.scores, scores)


# Matched rows of the text.


def test_elsewhere_is_a_row_of_the_text_that_the_model_finds_alike(
    lens, readings, rows, text, monkeypatch
):
    judge = readings.rows("judge")
    fit = text.rows("fit").targets[:, 1].tolist()
    # No match is exact for the word that the model says least often: there it counts that the
    # distance is one of logarithms.
    targets, rarest = judge.targets.copy(), min(range(2, 2 + SAID), key=fit.count)
    targets[:, 1][targets[:, 1] == rarest] = 0
    unsaid = next(token for token in range(102) if fit.count(token) == 1)
    targets[::9, 1] = unsaid
    following = judge.following.copy()
    following[:FIRST:2, 0] = targets[:FIRST:2, 0]
    monkeypatch.setitem(vars(judge), "targets", targets)
    monkeypatch.setitem(vars(judge), "following", following)
    assert {rarest} <= set(rows["target"]) - set(targets[:FIRST, 1])
    assert unsaid in targets[:FIRST, 1]
    hits = lens.learned(1, few=True).scores
    assert len(hits) == FIRST
    pool_right = targets[:FIRST, 0] == following[:FIRST, 0]

    def matches(scale):
        often = [scale(fit.count(token)) for token in rows["target"]]
        pool = [scale(fit.count(token)) for token in targets[:FIRST, 1]]
        rng = text.rng("matched rows")
        for value, right in zip(often, rows["right"], strict=True):
            alike = [row for row in range(FIRST) if pool_right[row] == right]
            least = min(abs(pool[row] - value) for row in alike)
            yield rng.choice([row for row in alike if abs(pool[row] - value) == least])

    expected = [hits[row] for row in matches(np.log1p)]
    assert expected != [hits[row] for row in matches(float)]
    elsewhere, own = lens.names.elsewhere(), lens.names.learned()
    assert elsewhere.scores.tolist() == expected
    assert 0 < elsewhere.scores.mean() < 1
    assert elsewhere.examples.tolist() == own.examples.tolist()
    assert elsewhere.clusters.tolist() == own.clusters.tolist()
    assert elsewhere.name != own.name


def test_matches_have_the_same_flag_and_the_nearest_value():
    pool = np.array([1.0, 2.0, 3.0, 10.0, 2.5])
    flags = np.array([True, False, True, False, False])
    values = np.array([2.2, 2.3, 9.0, 2.1])
    found = matched(
        values, np.array([True, False, True, False]), pool, flags, np.random.default_rng(0)
    )
    assert found.tolist() == [2, 4, 2, 1]
    # Where no row has the flag, the nearest of all serves.
    some = np.zeros(5, bool)
    found = matched(values, np.ones(4, bool), pool, some, np.random.default_rng(0))
    assert found.tolist() == [1, 4, 3, 1]


def test_among_equally_near_rows_one_is_drawn():
    pool, flags = np.array([1.0, 3.0, 1.0, 7.0, 1.0]), np.array([True, True, True, True, False])
    found = matched(np.full(900, 2.0), np.ones(900, bool), pool, flags, np.random.default_rng(0))
    counts = np.bincount(found, minlength=5)
    assert counts[[3, 4]].tolist() == [0, 0]
    assert np.all(np.abs(counts[:3] - 300) < 60)


# Too few names.


def test_too_few_names_are_an_error(text, tmp_path, monkeypatch, named):
    long = [name for name in named if len(name.name.split()) >= 3]
    short = [name for name in named if len(name.name.split()) < 3]
    monkeypatch.setattr(module, "load_names", lambda: (*long[:7], *short))
    with pytest.raises(UsageError, match="tokenizer of tiny leaves fewer than 8 names"):
        FutureLens(with_cache(text, tmp_path), RECIPE).names.learned()
    monkeypatch.setattr(module, "load_names", lambda: (*long[:8], *short))
    kept = FutureLens(with_cache(text, tmp_path), RECIPE).names._rows
    assert set(kept["names"]) == {name.name for name in long[:8]}


def test_a_smaller_profile_reads_names_evenly_from_the_list(text, tmp_path, named, lens):
    plan = replace(text.plan, profile=replace(text.plan.profile, names=18))
    smaller = TextReadings(
        text.checkpoint, text.engine, text.corpus, plan, lambda: text.survey, Store(tmp_path)
    )
    kept, whole = FutureLens(smaller, RECIPE).names._rows, lens.names._rows
    # Of 24 names at most 18: every other one.
    other = {name.name for name in named[::2]}
    assert kept["names"].tolist() == [name for name in whole["names"] if name in other]
    assert 0 < len(kept["names"]) < len(whole["names"])


# The cache.


def ask(lens):
    names = lens.names
    return [
        names.learned(),
        names.learned("shuffled"),
        names.no_state(),
        names.fair_linear(),
        names.elsewhere(),
    ]


def test_what_was_read_needs_neither_model_nor_survey(lens, readings, text):
    def never():
        raise AssertionError("read again")

    wanted = ask(lens)
    unread = TextReadings(text.checkpoint, never, text.corpus, text.plan, never, readings._store)
    for again, first in zip(ask(FutureLens(unread, RECIPE, FIRST)), wanted, strict=True):
        assert again.name == first.name
        assert again.examples.tolist() == first.examples.tolist()
        assert again.clusters.tolist() == first.clusters.tolist()
        assert np.array_equal(again.scores, first.scores)


def test_another_list_of_names_is_read_anew(readings, named, lens, monkeypatch):
    ask(lens)
    monkeypatch.setattr(module, "load_names", lambda: named[3:])
    fewer = ask(FutureLens(readings, RECIPE, FIRST))
    gone = {name.name for name in named[:3]}
    for outcome in fewer:
        assert not gone & set(outcome.clusters)
    monkeypatch.setattr(module, "load_names", lambda: named)
    whole = lens.names.learned()
    kept = ~np.isin(whole.clusters, list(gone))
    assert np.array_equal(fewer[0].scores, whole.scores[kept])
