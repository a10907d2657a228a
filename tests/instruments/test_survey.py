"""The survey against a naive loop: one plain forward pass per passage, nothing clever."""

from __future__ import annotations

import gc
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stillwired.errors import CacheError, UsageError
from stillwired.instruments import survey as module
from stillwired.instruments.survey import (
    AHEAD,
    EMBEDDING,
    FIRST_POSITION,
    Survey,
    SurveyPlan,
    lens_bands,
    lens_early_block,
    take_survey,
)
from stillwired.profiles import QUICK
from stillwired.store.cache import Store
from tests.instruments.conftest import BLOCKS, LENS_ROWS, PLAN, SMALL, WIDTH, readings_of

SPLITS = {"fit": 600, "choose": 16, "judge": 80}
READ = (1, 4, 6, 7)
"""Blocks at the declared depths."""


class Reversed:
    """An engine that hands out small batches, the last one first."""

    def __init__(self, engine):
        self._engine = engine
        self.self_check = engine.self_check
        self.unembed = engine.unembed

    def stream(self, prompts, consumers, *, batch_tokens, progress):
        sites = frozenset().union(*(consumer.sites for consumer in consumers))
        for reading in reversed(list(self._engine.read(prompts, sites, batch_tokens=300))):
            for consumer in consumers:
                consumer.take(reading)


class Never:
    """An engine that must not be asked for."""

    def __call__(self):
        raise AssertionError("the text was read again")


@pytest.mark.parametrize("split", SPLITS)
def test_rows_equal_a_plain_forward_pass(text, naive, split):
    rows = text.survey.rows(split)
    assert text.checkpoint.prefix == [0]
    assert len(rows) == SPLITS[split] == len(set(rows.examples))
    for row, example in enumerate(rows.examples):
        plain = naive(example, split)
        at, tokens = plain["at"], plain["tokens"]
        assert 1 + FIRST_POSITION <= at < len(tokens) - len(AHEAD)
        assert rows.documents[row] == plain["document"]
        assert text.corpus.splits[plain["document"]] == split
        assert rows.fed[row].tolist() == tokens[at : at + 4]
        assert rows.following[row].tolist() == tokens[at + 1 : at + 5]
        assert rows.targets[row].tolist() == plain["said"][at : at + 4].tolist()
        assert rows.next_is_right[row] == (plain["said"][at] == tokens[at + 1])


@pytest.mark.parametrize("split", SPLITS)
def test_states_equal_a_plain_forward_pass(text, naive, split):
    survey = text.survey
    plain = [naive(example, split) for example in survey.rows(split).examples]
    for block in READ:
        expected = np.stack([row["blocks"][block][row["at"]] for row in plain])
        assert np.abs(survey.states(split, block) - expected).max() < 1e-4
    if split == "judge":
        return
    for ahead in AHEAD:
        expected = np.stack([row["final"][row["at"] + ahead] for row in plain])
        assert np.abs(survey.final_states(split, ahead) - expected).max() < 1e-4


def test_the_choose_rows_keep_the_embedding(text, naive):
    plain = [naive(example, "choose") for example in text.survey.rows("choose").examples]
    expected = np.stack([row["embedding"][row["at"]] for row in plain])
    assert np.array_equal(text.survey.states("choose", EMBEDDING), expected)


def test_the_lens_reads_the_first_judged_rows(text, naive):
    survey = text.survey
    plain = [naive(example, "judge") for example in survey.rows("judge").examples[:LENS_ROWS]]
    bands = {block for band in lens_bands(BLOCKS) for block in band}
    assert survey.lens_blocks == tuple(
        sorted({EMBEDDING, lens_early_block(BLOCKS), BLOCKS - 1} | bands)
    )
    for block in survey.lens_blocks:
        states = [row["embedding"] if block < 0 else row["blocks"][block] for row in plain]
        expected = np.stack([s[row["at"]] for s, row in zip(states, plain, strict=True)])
        assert survey.lens_states(block).shape == expected.shape
        assert np.abs(survey.lens_states(block) - expected).max() < 1e-4


def test_fit_reads_every_position_and_the_others_a_few(text):
    for split, each in (("fit", 60), ("choose", 4), ("judge", 4)):
        passages = [example.rsplit("+", 1)[0] for example in text.survey.rows(split).examples]
        assert set(np.unique(passages, return_counts=True)[1]) == {each}
        # Rows of one passage stand together, in order.
        assert all(len(set(passages[k : k + each])) == 1 for k in range(0, len(passages), each))


def test_sums_are_those_of_the_kept_states(text):
    moments, survey = text.survey.moments(), text.survey
    assert moments.n == len(text.rows("fit"))
    assert (moments.blocks, moments.ahead) == (READ, AHEAD)
    finals = [np.array(survey.final_states("fit", n), dtype=np.float64) for n in AHEAD]
    for k, block in enumerate(moments.blocks):
        x = np.array(survey.states("fit", block), dtype=np.float64)
        mean = moments.origin[k] + moments.x_sum[k] / moments.n
        assert np.abs(mean - x.mean(0)).max() < 1e-4
        y_sums = np.stack([y.sum(0) for y in finals])
        assert np.abs(moments.y_sum - y_sums).max() < 1e-4 * np.abs(y_sums).max()
        around = x - moments.origin[k]
        gram = around.T @ around
        assert np.abs(moments.gram[k] - gram).max() < 1e-4 * np.abs(gram).max()
        for ahead, y in zip(AHEAD, finals, strict=True):
            cross = around.T @ y
            assert np.abs(moments.cross[k, ahead] - cross).max() < 1e-4 * np.abs(cross).max()
            plain = (x - x.mean(0)).T @ (y - y.mean(0)) / len(x)
            error = np.abs(moments.centred_cross(block, ahead) - plain).max()
            assert error < 1e-3 * np.abs(plain).max()


def test_batches_may_come_in_any_order(text, engine, tmp_path):
    other = readings_of(text.checkpoint, Reversed(engine), text.corpus, tmp_path).survey
    assert {p.name for p in other.folder.iterdir()} == {
        p.name for p in text.survey.folder.iterdir()
    }
    for path in text.survey.folder.glob("*.npy"):
        there = np.load(other.folder / path.name)
        assert np.abs(there - np.load(path)).max() < 1e-4
    for split in SPLITS:
        for name, values in vars(text.survey.rows(split)).items():
            assert np.array_equal(values, getattr(other.rows(split), name))
    sound, reordered = text.survey.moments(), other.moments()
    assert reordered.n == sound.n
    for block in sound.blocks:
        a, b = (m.centred_cross(block, 1) for m in (sound, reordered))
        assert np.abs(a - b).max() < 1e-4 * np.abs(a).max()


def test_files_have_the_shapes_that_are_asked_for(text):
    files = {path.name: np.load(path) for path in text.survey.folder.glob("*.npy")}
    expected = {f"{split}.block{b}.npy": rows for split, rows in SPLITS.items() for b in READ}
    expected |= {
        f"{split}.final{n}.npy": SPLITS[split] for split in ("fit", "choose") for n in AHEAD
    }
    expected |= {f"lens.block{b}.npy": LENS_ROWS for b in text.survey.lens_blocks}
    expected[f"choose.block{EMBEDDING}.npy"] = SPLITS["choose"]
    assert {name: array.shape for name, array in files.items()} == {
        name: (rows, WIDTH) for name, rows in expected.items()
    }
    assert {array.dtype for array in files.values()} == {np.dtype("<f4")}
    assert isinstance(text.survey.states("fit", 4), np.memmap)


def test_a_second_survey_comes_from_the_cache(text):
    again = take_survey(Never(), text.checkpoint, text.corpus, PLAN, text._store, lambda _: None)
    assert again.folder == text.survey.folder
    assert again.depths == text.survey.depths
    assert again.self_check == text.survey.self_check
    assert np.array_equal(again.rows("judge").targets, text.rows("judge").targets)


@pytest.mark.parametrize(
    "plan",
    [
        SurveyPlan(SMALL, SMALL.depths, seed=4),
        SurveyPlan(SMALL, (0.3,), seed=3),
        SurveyPlan(QUICK, SMALL.depths, seed=3),
    ],
    ids=["seed", "depths", "sizes"],
)
def test_another_plan_is_read_anew(text, plan):
    with pytest.raises(AssertionError, match="read again"):
        take_survey(Never(), text.checkpoint, text.corpus, plan, text._store, lambda _: None)


def test_the_name_of_a_profile_does_not_count():
    renamed = SurveyPlan(SMALL.__class__(**{**vars(SMALL), "name": "x"}), SMALL.depths, seed=3)
    assert renamed.key() == PLAN.key()


def test_what_decides_which_claims_are_judged_and_on_how_many_rows_does_not_count():
    others = replace(SMALL, few_states=7, names=7, trains_more=not SMALL.trains_more)
    assert SurveyPlan(others, SMALL.depths, seed=3).key() == PLAN.key()
    assert SurveyPlan(replace(SMALL, fit_tokens=7), SMALL.depths, seed=3).key() != PLAN.key()


def test_blocks_that_claims_compare_are_read_in_any_case():
    assert [d.block for d in SurveyPlan(SMALL, (0.5,), 0).resolved(BLOCKS)] == [1, 4, 6, 7]
    assert [d.block for d in SurveyPlan(SMALL, (3, 6), 0).resolved(BLOCKS)] == [1, 3, 4, 6, 7]


def test_progress_is_told_by_tenths(text, engine, tmp_path):
    told: list[str] = []
    take_survey(lambda: engine, text.checkpoint, text.corpus, PLAN, Store(tmp_path), told.append)
    assert told[-1] == "reading judge text: 900 of 900 tokens"
    assert len(told) == len(set(told)) <= 33


@pytest.mark.parametrize("blocks", [4, 5, 7, 8, 12, 30, 48])
def test_lens_bands_leave_out_the_last_block(blocks):
    bands = lens_bands(blocks)
    read = [block for band in bands for block in band]
    assert read == sorted(set(read))
    assert read[-1] == blocks - 2
    assert len(bands) == min(6, blocks - 1)
    assert all(1 <= len(band) <= 2 for band in bands)


def test_too_few_blocks_for_bands_are_an_error():
    with pytest.raises(UsageError, match="at least four blocks; this model has 3"):
        lens_bands(3)


@pytest.fixture
def small_disk(tmp_path: Path):
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(place)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this user may not mount a small disk")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def left(store: Store) -> list[Path]:
    folders = [store.root / "survey", store.root / "tmp"]
    return [p for f in folders if f.exists() for p in f.rglob("*") if p.suffix != ".lock"]


# Files that are still open when the disk runs full cannot be flushed any more.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_full_disk_is_told_and_leaves_nothing(text, engine, small_disk, monkeypatch):
    store = Store(small_disk / "cache")
    monkeypatch.setattr(module, "_bytes_needed", lambda *_: 0)
    with pytest.raises(CacheError, match="ran full") as caught:
        take_survey(lambda: engine, text.checkpoint, text.corpus, PLAN, store, lambda _: None)
    assert str(small_disk) in str(caught.value)
    assert left(store) == []
    assert list(store.entries()) == []
    del caught
    gc.collect()


def test_too_little_space_is_seen_before_anything_is_read(text, small_disk):
    with pytest.raises(CacheError, match="entry survey needs about"):
        take_survey(
            Never(), text.checkpoint, text.corpus, PLAN, Store(small_disk / "c"), lambda _: None
        )


def test_the_space_that_is_asked_for_is_about_what_is_used(text):
    used = sum(path.stat().st_size for path in text.survey.folder.iterdir())
    assert 0.8 * used < module._bytes_needed(text.checkpoint, PLAN) < 1.3 * used


def test_a_folder_opens_without_a_checkpoint(text):
    assert len(Survey(text.survey.folder).rows("fit")) == SPLITS["fit"]
