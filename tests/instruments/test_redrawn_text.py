"""Text that is judged anew: other rows, and the fits of the undrawn readings, untouched."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from stillwired.checkpoints.checkpoint import Checkpoint
from stillwired.data.corpus import make_corpus
from stillwired.data.document import Document
from stillwired.engine.cone import PACK_CELLS
from stillwired.engine.engine import Engine
from stillwired.errors import CorpusError
from stillwired.instruments.fed_linear import FedLinear
from stillwired.instruments.future_lens import FutureLens
from stillwired.instruments.logit_lens import LogitLens
from stillwired.instruments.prompt_recipes import Recipe
from stillwired.instruments.redrawing import Redrawing
from stillwired.instruments.redrawn_text import without_judged
from stillwired.instruments.survey import BATCH_TOKENS, SurveyPlan, take_survey
from stillwired.instruments.text import TextReadings
from stillwired.redraws import Redraw
from stillwired.store.cache import Store
from tests.instruments.conftest import (
    BLOCKS,
    LENS_ROWS,
    PLAN,
    SMALL,
    WORDS,
    made_checkpoint,
    made_corpus,
    readings_of,
)

RECIPE = Recipe(vectors=3, rate=0.05, steps=2, batch=4, every=2)
# 8 of the 20 judged documents, so that others are left.
FEW = replace(SMALL, judge_states=32, per_passage=4)
SPLITS = ("fit", "choose")


def redrawn(undrawn, label, store, checkpoint=None, engine=None):
    """Redraw some readings, and readers of them, as a run does."""
    redrawing = Redrawing(
        Redraw.parse(label),
        checkpoint or undrawn.checkpoint,
        engine or undrawn.engine,
        lambda: store,
    )
    text = redrawing.text(undrawn)
    return text, redrawing.future_lens(FutureLens(text, RECIPE))


def told_by(text, store, told, engine=None):
    """The same readings with a cache of their own, saying what they do."""
    survey = text.survey
    return TextReadings(
        text.checkpoint,
        engine or text.engine,
        text.corpus,
        text.plan,
        lambda: survey,
        store,
        told.append,
    )


def ask(lens, depth):
    """Ask every reader that is fitted, and some that are not."""
    return [
        lens.bigram(1),
        lens.constant(1),
        lens.linear(1, depth),
        lens.fair_linear(1, depth),
        lens.read("vocabulary", 1, depth),
        lens.fixed(1, depth, few=True),
        lens.learned(1, depth, score="surprisal"),
        lens.no_state(1, score="surprisal"),
    ]


def entries(store):
    return sorted((entry.kind, entry.key) for entry in store.entries())


def never():
    raise AssertionError("asked for although nothing is to be fitted")


# Which rows are judged


def test_a_seed_judges_the_rows_of_that_seed_and_keeps_the_others(text, tmp_path):
    made, _ = redrawn(text, "seed-2", Store(tmp_path / "anew"))
    plan = SurveyPlan(SMALL, SMALL.depths, seed=PLAN.seed + 2)
    other = readings_of(text.checkpoint, text.engine(), text.corpus, tmp_path / "other", plan)
    rows, theirs = made.rows("judge"), other.rows("judge")
    for name, values in vars(rows).items():
        assert np.array_equal(values, getattr(theirs, name))
    assert not set(rows.examples) & set(text.rows("judge").examples)
    for depth in text.depths:
        drawn = made.survey.states("judge", depth.block)
        assert np.array_equal(drawn, other.survey.states("judge", depth.block))
        for split in SPLITS:
            kept = made.survey.states(split, depth.block)
            assert np.array_equal(kept, text.survey.states(split, depth.block))
    lens = made.survey.lens_states(4)
    assert len(lens) == LENS_ROWS
    assert np.array_equal(lens, other.survey.lens_states(4))
    for split in SPLITS:
        assert made.rows(split) is text.rows(split)
        for ahead in (0, 3):
            kept = made.survey.final_states(split, ahead)
            assert np.array_equal(kept, text.survey.final_states(split, ahead))
    assert np.array_equal(made.survey.moments().cross, text.survey.moments().cross)
    assert not np.array_equal(made.survey.moments().cross, other.survey.moments().cross)
    # Controls are drawn with the rows, and seeds of fits are not.
    assert made.rng("controls").random() == other.rng("controls").random()
    assert made.fit_seed("map") == text.fit_seed("map") != other.fit_seed("map")
    assert made.predicts_text().examples.tolist() == text.predicts_text().examples.tolist()


def test_only_judged_text_is_read(text, tmp_path):
    told, store = [], Store(tmp_path / "anew")
    undrawn = told_by(text, Store(tmp_path / "undrawn"), told)
    made, _ = redrawn(undrawn, "seed-1", store)
    made.survey  # noqa: B018 - opening it reads the text
    read = {line.split(" text:")[0] for line in told if line.startswith("reading")}
    assert read == {"reading judge"}
    (folder,) = (entry.path for entry in store.entries() if entry.kind == "survey")
    blocks = sorted(path.name for path in folder.glob("*.block*.npy"))
    assert all(name.startswith(("judge.", "lens.")) for name in blocks)


def test_other_documents_are_judged_and_none_of_the_undrawn_ones(text, tmp_path):
    plan = SurveyPlan(FEW, FEW.depths, seed=3)
    undrawn = readings_of(text.checkpoint, text.engine(), text.corpus, tmp_path / "few", plan)
    used = set(undrawn.rows("judge").documents)
    assert len(used) == 8
    drawn = []
    for label in ("documents-1", "documents-2"):
        made, _ = redrawn(undrawn, label, Store(tmp_path / "anew"))
        rows = made.rows("judge")
        assert len(rows) == 32
        assert not set(rows.documents) & used
        assert {text.corpus.splits[document] for document in rows.documents} == {"judge"}
        assert made.rows("fit") is undrawn.rows("fit")
        drawn.append(set(rows.examples))
    assert drawn[0] != drawn[1]


def test_where_too_few_documents_are_left_a_domain_has_no_weight():
    domains, draw = {"many": 120, "some": 60, "short": 40}, random.Random(0)
    documents = [
        Document(f"{domain}{k}", domain, " ".join(draw.choices(WORDS, k=30)))
        for domain, count in domains.items()
        for k in range(count)
    ]
    corpus = make_corpus("three", documents, {"many": 5, "some": 3, "short": 2})
    judged = corpus.documents_of("judge")
    by_domain = {name: [d.id for d in judged if d.domain == name] for name in domains}
    assert [len(ids) for ids in by_domain.values()] == [30, 15, 10]
    out = [*by_domain["many"][:4], *by_domain["some"][:7], *by_domain["short"][:3]]
    tried = []

    def enough(rest, least=1):
        tried.append(sorted(rest.weights))
        if len(rest.weights) > least:
            raise CorpusError("too little")

    # 26, 8 and 7 documents are left: the last are too few, whatever could be drawn.
    rest = without_judged(corpus, out, lambda rest: enough(rest, 2))
    assert {d.id for d in corpus.documents} - {d.id for d in rest.documents} == set(out)
    assert dict(rest.weights) == pytest.approx({"many": 5 / 8, "some": 3 / 8})
    assert rest.documents_of("fit") == corpus.documents_of("fit")
    # Where that cannot be drawn from, the domain with less text for its weight gives way.
    fewer = without_judged(corpus, out, enough)
    assert tried == [["many", "some"], ["many", "some"], ["many"]]
    assert dict(fewer.weights) == {"many": 1.0}
    other = without_judged(corpus, out[:1], lambda rest: None)
    assert len({corpus.digest, rest.digest, fewer.digest, other.digest}) == 4
    for impossible in (out, [d.id for d in judged]):
        with pytest.raises(CorpusError, match=r"judges \d+ documents of the three.*seed-1"):
            without_judged(corpus, impossible, lambda rest: enough(rest, 0))


# What reads them


@pytest.fixture(scope="module")
def fitted(text, tmp_path_factory):
    """Undrawn readings for which everything is fitted, and what they answer at one depth."""
    store = Store(tmp_path_factory.mktemp("fitted"))
    undrawn = told_by(text, store, [])
    answers = ask(FutureLens(undrawn, RECIPE), text.depths[1])
    return undrawn, answers


def test_nothing_is_fitted_again_and_the_undrawn_cache_stays(text, fitted, tmp_path):
    told, middle = [], text.depths[1]
    kept, whole = fitted[0]._store, fitted[1]
    undrawn = told_by(text, kept, told)
    sound = FutureLens(undrawn, RECIPE)
    chosen = [sound.chosen_depth(1), sound.prompts.chosen_depth()]
    fair = FedLinear(undrawn).chosen_depth(1)
    before = entries(kept)
    told.clear()

    made, lens = redrawn(undrawn, "seed-1", Store(tmp_path / "anew"))
    anew = ask(lens, middle)
    assert [lens.chosen_depth(1), lens.prompts.chosen_depth()] == chosen
    assert FedLinear(made).chosen_depth(1) == fair
    LogitLens(made).by_band()
    lens.own_drop(1)
    assert told
    assert not [line for line in told if line.startswith(("training", "fitting"))]
    assert not [line for line in told if "choose" in line]
    assert entries(kept) == before
    # The same readers, on the new rows.
    rows = made.rows("judge")
    for old, new in zip(whole, anew, strict=True):
        assert old.name == new.name
        assert new.examples.tolist() == rows.examples[: len(new)].tolist()
    fits = sound.maps._linear_map(1, middle, 1.0)
    states = np.array(made.survey.states("judge", middle.block))
    said = (states - fits["mean"]) @ fits["weights"] + fits["offset"]
    head = text.checkpoint.model.lm_head.weight.detach().numpy()
    said = (said.astype(np.float32) @ head.T).argmax(1)
    assert np.array_equal(anew[2].scores, said == rows.targets[:, 1])
    # A prompt without a state hears the new rows as well.
    assert not np.array_equal(anew[-1].scores, whole[-1].scores)


@pytest.fixture(scope="module")
def coarse():
    """The same model in another regime, and its engine."""
    made = made_checkpoint()
    checkpoint = Checkpoint.of_model(made.model.to(torch.bfloat16), made.tokenizer, name="tiny")
    return checkpoint, Engine(checkpoint)


@pytest.mark.parametrize("label", ["batches-1", "seed-1+reference-fits"])
def test_what_is_not_in_the_cache_is_fitted_as_if_nothing_was_redrawn(
    text, fitted, coarse, label, tmp_path
):
    told, middle = [], text.depths[1]
    undrawn = told_by(text, Store(tmp_path / "undrawn"), told)
    checkpoint, engine = coarse if "+" in label else (text.checkpoint, text.engine())
    given = Store(tmp_path / "anew"), checkpoint, lambda: engine
    ask(redrawn(undrawn, label, *given)[1], middle)
    assert any(line.startswith("training") for line in told)
    told.clear()
    # The undrawn readers find what they would have fitted themselves, to the last bit.
    found = ask(FutureLens(undrawn, RECIPE), middle)
    assert not [line for line in told if line.startswith(("training", "fitting"))]
    for mine, theirs in zip(found, fitted[1], strict=True):
        assert np.array_equal(mine.scores, theirs.scores)


def test_batches_are_half_as_large_and_give_the_same_up_to_rounding(
    text, fitted, tmp_path, monkeypatch
):
    middle, seen = text.depths[1], []
    stream = Engine.stream

    def spy(self, prompts, consumers, **given):
        seen.append(given["batch_tokens"])
        stream(self, prompts, consumers, **given)

    monkeypatch.setattr(Engine, "stream", spy)
    found = {}
    for label in ("seed-1", "batches-1"):
        made, lens = redrawn(fitted[0], label, Store(tmp_path / label))
        found[label] = made, ask(lens, middle), lens.prompts.passes.cone.pack_cells
    assert seen == [BATCH_TOKENS[True], BATCH_TOKENS[True] // 2]
    (one, whole, cells), (other, halved, half) = found.values()
    assert (cells, half) == (PACK_CELLS, PACK_CELLS // 2)
    assert one.rows("judge").examples.tolist() == other.rows("judge").examples.tolist()
    for depth in text.depths:
        a, b = (np.array(made.survey.states("judge", depth.block)) for made in (one, other))
        assert np.abs(a - b).max() < 1e-4 * np.abs(a).max()
    for a, b in zip(whole, halved, strict=True):
        assert a.examples.tolist() == b.examples.tolist()
        # Of a hundred hits a tie may fall the other way.
        assert np.mean(np.abs(a.scores - b.scores)) < 0.02


def test_another_regime_is_judged_on_the_same_rows_without_loading_the_reference(
    text, fitted, coarse, tmp_path
):
    checkpoint, engine = coarse
    middle = text.depths[1]
    _, exact = redrawn(fitted[0], "seed-1", Store(tmp_path / "exact"))
    undrawn = told_by(text, fitted[0]._store, [], never)
    given = Store(tmp_path / "coarse"), checkpoint, lambda: engine
    judged, lens = redrawn(undrawn, "seed-1+reference-fits", *given)
    assert judged.rows("judge").examples.tolist() == exact.text.rows("judge").examples.tolist()
    states = [np.array(made.survey.states("judge", middle.block)) for made in (judged, exact.text)]
    difference = np.abs(states[0] - states[1]).max()
    assert 1e-4 < difference < 0.1 * np.abs(states[1]).max()
    assert judged.self_check != text.self_check
    for coarsely, exactly in zip(ask(lens, middle), ask(exact, middle), strict=True):
        assert coarsely.examples.tolist() == exactly.examples.tolist()
        if "surprisal" in coarsely.name:
            assert 0.8 < np.corrcoef(coarsely.scores, exactly.scores)[0, 1] < 1 - 1e-6


def test_redrawn_readings_are_kept_apart_from_those_of_another_seed(text, tmp_path):
    store = Store(tmp_path)
    plan = SurveyPlan(SMALL, SMALL.depths, seed=PLAN.seed + 1)
    builders = iter(range(9))

    def value():
        return {"value": np.array([next(builders)])}

    fits = readings_of(text.checkpoint, text.engine(), text.corpus, tmp_path / "x")
    others = readings_of(
        text.checkpoint, text.engine(), text.corpus, tmp_path / "y", SurveyPlan(FEW, (0.5,), seed=9)
    )
    kept = [
        TextReadings(text.checkpoint, never, text.corpus, plan, never, store),
        *(redrawn(fits, label, store)[0] for label in ("seed-1", "batches-1")),
        redrawn(replace_plan(others, fits), "seed-1", store)[0],
    ]
    found = [readings.cached("thing", {}, value)["value"].tolist() for readings in kept]
    assert found == [[0], [1], [2], [3]]
    assert [readings.cached("thing", {}, value)["value"].tolist() for readings in kept] == found


def replace_plan(others, like):
    """Readings that are fitted to another draw than they are judged on."""
    made = TextReadings(
        like.checkpoint, never, made_corpus(seed=1), like.plan, never, others._store
    )
    assert made.corpus.digest != like.corpus.digest
    return made


# A redraw as a run meets it


def test_without_a_redraw_everything_stays(text, tmp_path):
    redrawing = Redrawing(None, text.checkpoint, text.engine, never)
    lens = FutureLens(text)
    assert redrawing.text(text) is text
    assert redrawing.future_lens(lens) is lens


def test_a_refit_trains_again_and_judges_the_same_rows(text, fitted, tmp_path):
    redrawing = Redrawing(Redraw.parse("refit-3"), text.checkpoint, text.engine, never)
    undrawn = told_by(text, Store(tmp_path), [])
    assert redrawing.text(undrawn) is undrawn
    lens = redrawing.future_lens(FutureLens(undrawn, RECIPE, 40))
    assert (lens.prompts.recipe, lens.few_rows) == (replace(RECIPE, restart=3), 40)
    again = lens.learned(1, text.depths[1], score="surprisal")
    assert again.examples.tolist() == fitted[1][-2].examples.tolist()
    assert not np.array_equal(again.scores, fitted[1][-2].scores)


def test_a_survey_of_fewer_splits_is_kept_apart(text, tmp_path):
    store = Store(tmp_path)
    given = lambda: text.engine(), text.checkpoint, text.corpus, PLAN, store, lambda _: None
    whole = take_survey(*given)
    judged = take_survey(*given, splits=("judge",))
    halved = take_survey(*given, splits=("judge",), cut=2)
    assert len({survey.folder for survey in (whole, judged, halved)}) == 3
    last = BLOCKS - 1
    assert np.array_equal(judged.states("judge", last), whole.states("judge", last))
    assert not (judged.folder / "fit.rows.npz").exists()
