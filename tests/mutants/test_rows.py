"""Damaged rows: other targets, other rows, a lens without its norm, another start."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stillwired.engine.engine import Engine
from stillwired.instruments.future_lens import FutureLens
from stillwired.instruments.linear_map import LinearMap
from stillwired.instruments.logit_lens import LogitLens
from stillwired.instruments.prompt_recipes import Recipe
from stillwired.mutants.rows import (
    ON_FIT_ROWS,
    TARGETS,
    judged_on_fit_rows,
    mistargeted,
    unnormed_lens,
    wrong_start,
)
from tests.instruments.conftest import made_checkpoint, made_corpus, readings_of

DEALT, EARLY = TARGETS


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    checkpoint = made_checkpoint()
    folder = tmp_path_factory.mktemp("cache")
    return readings_of(checkpoint, Engine(checkpoint), made_corpus(), folder)


@pytest.mark.parametrize("damage", TARGETS)
def test_only_judged_targets_change(text, damage):
    broken = mistargeted(text, damage)
    for split in ("fit", "choose"):
        assert np.array_equal(broken.rows(split).targets, text.rows(split).targets)
    rows, sound = broken.rows("judge"), text.rows("judge")
    assert not np.array_equal(rows.targets, sound.targets)
    for part in ("examples", "documents", "fed", "following"):
        assert np.array_equal(getattr(rows, part), getattr(sound, part))
    assert np.array_equal(broken.predicts_text().scores, text.predicts_text().scores)


def test_targets_are_dealt_out_to_other_documents(text):
    rows, sound = mistargeted(text, DEALT).rows("judge"), text.rows("judge")
    by_target: dict = {}
    for document, target in zip(sound.documents, map(tuple, sound.targets), strict=True):
        by_target.setdefault(target, []).append(document)
    for document, target in zip(rows.documents, map(tuple, rows.targets), strict=True):
        assert set(by_target[target]) != {document}
    # The last block gives it away.
    assert LogitLens(mistargeted(text, DEALT)).agreement_at_last_block() < 0.9


def test_targets_of_each_n_are_those_before(text):
    rows, sound = mistargeted(text, EARLY).rows("judge"), text.rows("judge")
    assert np.array_equal(rows.targets[:, 0], sound.targets[:, 0])
    assert np.array_equal(rows.targets[:, 1:], sound.targets[:, :-1])
    # Neither an ability nor a check can give it away.
    assert LogitLens(mistargeted(text, EARLY)).agreement_at_last_block() == 1.0


@pytest.mark.parametrize("first", ["sound", "broken"])
def test_what_is_read_without_a_state_stays_with_its_own_rows(text, tmp_path, first):
    """Such guesses are shared by damage of states alone; other rows must not be among them."""
    recipe = Recipe(steps=2, batch=4, every=2, vectors=4)
    own = readings_of(text.checkpoint, text.engine(), text.corpus, tmp_path)
    sound = FutureLens(own, recipe, 40)
    broken = judged_on_fit_rows(sound)
    order = (sound, broken) if first == "sound" else (broken, sound)
    read = {id(lens): lens.no_state(1, few=True) for lens in order}
    for lens in order:
        alone = readings_of(text.checkpoint, text.engine(), text.corpus, tmp_path / str(id(lens)))
        again = FutureLens(alone, recipe, 40)
        wanted = (again if lens is sound else judged_on_fit_rows(again)).no_state(1, few=True)
        assert np.array_equal(read[id(lens)].scores, wanted.scores)
        assert np.array_equal(read[id(lens)].examples, wanted.examples)


def test_readers_are_judged_on_rows_that_they_were_fitted_to(text):
    sound = FutureLens(text)
    broken = judged_on_fit_rows(sound)
    rows, fitted = broken.text.rows("judge"), text.rows("fit")
    assert len(rows) == len(text.rows("judge"))
    places = [list(fitted.examples).index(example) for example in rows.examples]
    assert places == sorted(set(places))
    assert (places[0], places[-1]) == (0, len(fitted) - 1)
    for part in ("documents", "fed", "following", "targets"):
        assert np.array_equal(getattr(rows, part), getattr(fitted, part)[places])
    depth = text.depths[1]
    states = text.survey.states("fit", depth.block)
    assert np.array_equal(broken.text.survey.states("judge", depth.block), states[places])
    # The map stays the one that was fitted, and guesses at these rows.
    kept, again = (lens.maps._linear_map(0, depth, 1.0) for lens in (sound, broken))
    assert np.array_equal(kept["weights"], again["weights"])
    fitting = LinearMap(kept["mean"], kept["weights"], kept["offset"], float(kept["ridge"]))
    finals = torch.from_numpy(fitting.predict(np.array(states[places])))
    guesses = text.engine().unembed(finals).argmax(-1).numpy()
    assert np.array_equal(broken.linear(0, depth).scores, guesses == rows.targets[:, 0])
    assert broken.text.damage.startswith(ON_FIT_ROWS)


def test_the_lens_without_its_norm_reads_the_states_as_they_are(text):
    lens = unnormed_lens(LogitLens(text))
    block = lens.bands[1][0]
    states = text.survey.lens_states(block)
    scores = text.checkpoint.model.lm_head(torch.from_numpy(np.array(states))).log_softmax(-1)
    wanted = torch.from_numpy(text.rows("judge").following[: len(states), :1])
    said = -scores.gather(1, wanted)[:, 0].detach().numpy()
    assert lens.surprisal([block]) == pytest.approx(said, abs=1e-4)
    assert not np.allclose(LogitLens(text).surprisal([block]), lens.surprisal([block]), atol=0.01)
    # The check at the last block gives it away.
    assert LogitLens(text).agreement_at_last_block() == 1.0
    assert lens.agreement_at_last_block() < 1.0


def tokenizer(**ids):
    return SimpleNamespace(**{"bos_token_id": None, "eos_token_id": None, **ids})


def test_a_start_is_left_out_or_put_where_none_belongs():
    assert wrong_start([5], tokenizer(bos_token_id=5), 100) == []
    assert wrong_start([], tokenizer(bos_token_id=5, eos_token_id=6), 100) == [5]
    assert wrong_start([], tokenizer(eos_token_id=6), 100) == [6]
    assert wrong_start([], tokenizer(bos_token_id=200, eos_token_id=0), 100) == [0]
    assert wrong_start([], tokenizer(), 100) == [0]
