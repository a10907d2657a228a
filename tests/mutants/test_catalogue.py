"""Mutants by name: what claims and specs call them, and that each of them is done somewhere."""

from __future__ import annotations

import re
from importlib import import_module

import pytest

from stillwired.errors import UsageError
from stillwired.mutants import patches, readers, readings, rows, tasks, vectors, weights
from stillwired.mutants.catalogue import (
    MUTANTS,
    Mutant,
    mutant_named,
    split_spec,
    with_mutants,
)
from tests.test_claims_can_fail import ROOT, every_claim

FOUR_BITS = mutant_named("rounded to 4 bits")


def test_names_are_told_apart_and_fit_into_specs_test_ids_and_files():
    slugs = [mutant.slug for mutant in MUTANTS]
    assert len({mutant.name for mutant in MUTANTS}) == len(set(slugs)) == len(MUTANTS)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug) for slug in slugs)
    assert max(map(len, slugs)) < 100


def test_there_are_at_least_ten_damaged_checkpoints_and_ten_instruments():
    for kind in ("checkpoint", "instrument"):
        harmful = [m for m in MUTANTS if m.damages == kind and not m.harmless]
        assert len(harmful) >= 10
    assert any(mutant.harmless for mutant in MUTANTS)


def test_what_is_listed_is_what_the_modules_do():
    done = {
        weights: {*weights.CHANGES, weights.CARRIERS},
        readings: {*readings.SURVEYS, readings.BACKWARD},
        readers: {*readers.PROMPTS, *readers.LENSES},
        vectors: {*vectors.VECTORS, *vectors.OUTCOMES, *vectors.HEADS},
        tasks: {*tasks.MISUSED},
        patches: {*patches.PATCHES},
        rows: {*rows.TARGETS, rows.ON_FIT_ROWS, rows.UNNORMED, rows.WRONG_START},
    }
    listed: dict = {}
    for mutant in MUTANTS:
        listed.setdefault(import_module(mutant.module), set()).add(mutant.name)
    assert listed == done


def test_every_mutant_is_documented():
    page = (ROOT / "docs" / "mutants.md").read_text()
    assert [mutant.name for mutant in MUTANTS if mutant.name not in page] == []


def test_every_claim_that_can_fail_names_a_mutant():
    named = {claim.id: claim.mutant for claim, _ in every_claim() if not claim.reported}
    assert named
    for name in named.values():
        assert mutant_named(name).name == name


@pytest.mark.parametrize(
    "written",
    ["rounded to 4 bits", "rounded-to-4-bits", " Rounded to 4 bits ", "ROUNDED-to 4-bits"],
)
def test_a_mutant_is_found_however_its_name_is_written(written):
    assert mutant_named(written) is FOUR_BITS


def test_a_name_that_is_nearly_right_is_offered():
    with pytest.raises(UsageError, match=r"no mutant 'rounded-to-4-bit'\. Did you mean rounded-to"):
        mutant_named("rounded-to-4-bit")
    with pytest.raises(UsageError) as refused:
        mutant_named("xyz")
    assert "Did you mean" not in str(refused.value)
    assert "docs/mutants.md" in str(refused.value)


def test_a_spec_is_split_at_its_last_tilde():
    assert split_spec("smollm2-135m-instruct") == ("smollm2-135m-instruct", None)
    assert split_spec("gemma~rounded-to-4-bits") == ("gemma", FOUR_BITS)
    assert split_spec("org/name@main~rounded to 4 bits") == ("org/name@main", FOUR_BITS)
    assert split_spec("~/models/one~two~rounded-to-4-bits") == ("~/models/one~two", FOUR_BITS)
    with pytest.raises(UsageError, match="Did you mean rounded-to-"):
        split_spec("gemma~rounded-to-5-bits")


def test_a_tilde_in_a_path_is_no_mutant(tmp_path, monkeypatch):
    assert split_spec("~/models/one") == ("~/models/one", None)
    assert split_spec("~rounded-to-4-bits") == ("~rounded-to-4-bits", None)
    assert split_spec("/data/old~new/model") == ("/data/old~new/model", None)
    for name in ("model~v2", "model~rounded-to-4-bits"):
        # What lies there is meant, whatever its name looks like.
        (tmp_path / name).mkdir()
        assert split_spec(str(tmp_path / name)) == (str(tmp_path / name), None)
    whole = f"{tmp_path / 'model~v2'}~rounded-to-4-bits"
    assert split_spec(whole) == (str(tmp_path / "model~v2"), FOUR_BITS)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert split_spec("~/model~v2") == ("~/model~v2", None)


def test_each_checkpoint_comes_undamaged_first():
    two = [FOUR_BITS, Mutant("no name", "instrument", "nowhere")]
    assert with_mutants(["a", "b"], two) == (
        "a",
        "a~rounded-to-4-bits",
        "a~no-name",
        "b",
        "b~rounded-to-4-bits",
        "b~no-name",
    )
