from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from stillwired.errors import RecordError
from stillwired.judge import InstrumentCheck, Obstacle, Verdict, Word
from stillwired.judge.results import Evidence
from stillwired.records.baseline import (
    accept,
    default_place,
    read_finished,
    read_side,
)
from stillwired.records.compare import compare
from stillwired.records.files import digest_of, write_json
from stillwired.records.record import outcomes_path, read_record
from tests.records.made_records import claim, evidence, outcome, record

ROOT = Path(__file__).parents[2]
CANNOT = Evidence({}, obstacle=Obstacle("ability", "what", "It is not there."))
BROKEN = replace(evidence(0.3), instrument=(InstrumentCheck("adds up", False, "0.3"),))


def cells():
    shared = evidence(0.3)
    return [
        (claim("wins"), {"ahead": 1}, replace(shared, beside={"late": outcome("late", 0.9)})),
        (claim("wins"), {"ahead": 2}, evidence(0.0)),
        (claim("open"), {}, evidence(0.07, rows=200)),
        (claim("cannot"), {}, CANNOT),
        (claim("told", reported=True), {}, Evidence({"reader": outcome("told", 0.4)})),
    ]


@pytest.fixture
def made(tmp_path):
    return read_record(record(tmp_path / "record.json", cells()))


@pytest.fixture
def baseline(made, tmp_path):
    out = tmp_path / "ci" / "base.json"
    accept(made, out, note="The first release.", date="2026-11-26")
    return out


def test_a_baseline_says_what_was_accepted_of_what_by_whom_it_may_be_reviewed(made, baseline):
    data = json.loads(baseline.read_text())
    assert data["baseline"] == 1
    assert (data["accepted"], data["note"]) == ("2026-11-26", "The first release.")
    assert data["record"] == made.data["digest"]
    assert made.data["environment"]["code"]["stillwired"]
    for key in (
        "checkpoint",
        "environment",
        "profile",
        "layers",
        "seed",
        "corpus",
        "tasks",
        "declarations",
    ):
        assert data[key] == made.data[key]
    assert [(c["claim"], c["params"], c["verdict"]) for c in data["cells"]] == [
        ("some-paper/cannot", {}, "NOT APPLICABLE"),
        ("some-paper/open", {}, "INCONCLUSIVE"),
        ("some-paper/told", {}, "REPORTED"),
        ("some-paper/wins", {"ahead": 1}, "HOLDS"),
        ("some-paper/wins", {"ahead": 2}, "FAILS"),
    ]
    stored = {(v["claim"], v["params"].get("ahead")): v for v in made.data["verdicts"]}
    for cell in data["cells"]:
        verdict = stored[cell["claim"], cell["params"].get("ahead")]
        assert (cell["version"], cell["primary"]) == (verdict["version"], verdict["primary"])
        for name in ("estimate", "low", "high"):
            assert cell[name] == pytest.approx(verdict[name], abs=1e-6)


def test_it_is_laid_out_a_few_lines_a_cell(baseline):
    lines = baseline.read_text().splitlines()
    at = lines.index('   "claim": "some-paper/wins", "version": 1, "params": {"ahead": 1},')
    assert lines[at - 1] == "  {"
    assert lines[at + 1].startswith('   "verdict": "HOLDS", "estimate": 0.3')
    assert lines[at + 2].startswith('   "arms": {"reader": "')
    assert lines[at + 3] == "  },"
    assert ' "note": "The first release.",' in lines
    assert '  "digest": "abababab' in baseline.read_text()


def test_only_what_a_comparison_needs_is_kept(made, baseline):
    data = json.loads(baseline.read_text())
    kept = {about["name"] for about in data["outcomes"].values()}
    # Neither rivals, nulls, what stands beside, nor what is only reported.
    assert kept == {"reader", "floor", "top-1"}
    assert {about["name"] for about in made.data["outcomes"].values()} == {
        *kept,
        "copy",
        "null",
        "late",
        "told",
    }
    assert outcomes_path(baseline).stat().st_size < outcomes_path(made.path).stat().st_size
    assert sorted(path.name for path in baseline.parent.iterdir()) == [
        "base.json",
        "base.outcomes.parquet",
    ]


def test_the_examples_that_outcomes_share_are_named_once(tmp_path):
    """The same rows again cost their scores, and not their names."""
    sizes = []
    for count in (1, 6):
        found = [
            (claim(f"c{k}"), {}, replace(evidence(0.3), ability={"top-1": outcome("t", 0.6, k)}))
            for k in range(count)
        ]
        path = record(tmp_path / f"{count}.json", found)
        accept(read_record(path), tmp_path / f"base{count}.json")
        sizes.append(outcomes_path(tmp_path / f"base{count}.json").stat().st_size)
    assert sizes[1] < 1.5 * sizes[0]


def test_a_record_and_its_baseline_are_the_same_side(made, baseline):
    one, other = read_side(made.path), read_side(baseline)
    keys = {key for key in one.cells if "wins" in key}
    assert one.cells.keys() == other.cells.keys()
    assert one.ids(keys) == other.ids(keys)
    left, right = one.judged(keys), other.judged(keys)
    for key in one.cells:
        a, b = left[key], right[key]
        assert a.claim == b.claim
        assert (a.verdict.key, a.verdict.verdict, a.verdict.primary) == (
            b.verdict.key,
            b.verdict.verdict,
            b.verdict.primary,
        )
        assert a.evidence.arms.keys() == b.evidence.arms.keys()
        for name, arm in a.evidence.arms.items():
            assert (arm.scores == b.evidence.arms[name].scores).all()
        assert bool(a.evidence.arms) == (key in keys)
        assert set(a.evidence.ability) == ({"top-1"} if key in keys else set())


def test_what_held_is_known_without_the_outcomes(baseline):
    outcomes_path(baseline).unlink()
    side = read_side(baseline)

    def verdict(name, version=1, **params):
        return Verdict(f"some-paper/{name}", version, params, True, Word.FAILS)

    assert side.held(verdict("wins", ahead=1))
    assert side.held(verdict("wins", ahead=1, version=2))
    assert not side.held(verdict("wins", ahead=2))
    assert not side.held(verdict("elsewhere"))
    with pytest.raises(RecordError, match="outcomes are missing"):
        side.judged({"some-paper/wins[ahead=1]"})


def test_refits_are_taken_over_where_there_are_any(tmp_path, baseline):
    assert "refits" not in json.loads(baseline.read_text())
    known = {"some-paper/a": {"reader − floor": 0.01}}
    path = record(tmp_path / "r.json", [(claim("a"), {}, evidence(0.3))], refits=known)
    accept(read_record(path), tmp_path / "b.json")
    assert read_side(tmp_path / "b.json").data["refits"] == known


# What is not accepted.


def test_a_broken_record_is_not_accepted(tmp_path):
    path = record(tmp_path / "r.json", [*cells(), (claim("odd"), {"ahead": 3}, BROKEN)])
    with pytest.raises(RecordError, match=r"1 BROKEN cell, some-paper/odd\[ahead=3\] for one"):
        accept(read_record(path), tmp_path / "b.json")
    assert not (tmp_path / "b.json").exists()
    assert not (tmp_path / "b.outcomes.parquet").exists()


def test_a_redraw_is_nothing_to_compare_with(tmp_path):
    path = record(tmp_path / "r.json", cells(), redraw="seed-1")
    with pytest.raises(RecordError, match=r"of a redraw \(seed-1\)"):
        accept(read_record(path), tmp_path / "b.json")
    assert not (tmp_path / "b.json").exists()


def test_neither_is_that_of_a_run_that_judged_not_everything(tmp_path):
    path = record(tmp_path / "r.json", cells(), incomplete=True)
    with pytest.raises(RecordError, match="kept from judging every claim"):
        accept(read_record(path), tmp_path / "b.json")
    part = record(tmp_path / "p.json", cells(), shard={"of": 2, "parts": [1]})
    for refused in (
        lambda: accept(read_record(part), tmp_path / "b.json"),
        lambda: read_side(part),
    ):
        with pytest.raises(RecordError, match="stillwired merge"):
            refused()


@pytest.mark.parametrize("place", ["run", "run/record.json", "base.json"])
def test_an_interrupted_run_has_no_record_to_accept(place, tmp_path):
    folder = "base.run" if place == "base.json" else "run"
    (tmp_path / folder / "cells").mkdir(parents=True)
    with pytest.raises(RecordError, match=rf"The run in \S*{folder} was interrupted"):
        read_finished(tmp_path / place)
    with pytest.raises(RecordError, match="There is no record"):
        read_finished(tmp_path / "elsewhere" / "record.json")


def test_a_baseline_is_replaced_only_on_purpose(made, baseline):
    before = baseline.read_bytes()
    with pytest.raises(RecordError, match=r"There is a file \S*base.json already"):
        accept(made, baseline, note="again")
    assert baseline.read_bytes() == before
    accept(made, baseline, note="again", force=True)
    assert json.loads(baseline.read_text())["note"] == "again"
    baseline.unlink()
    with pytest.raises(RecordError, match=r"base.outcomes.parquet already"):
        accept(made, baseline)


def test_it_never_takes_the_record_s_own_place(made, tmp_path):
    with pytest.raises(RecordError, match="is the record itself"):
        accept(made, tmp_path / "record.json", force=True)
    with pytest.raises(RecordError, match=r"does not end in \.json"):
        accept(made, tmp_path / "base.txt")
    assert read_record(made.path).data == made.data


def test_a_table_that_cannot_be_written_leaves_no_baseline(made, tmp_path):
    (tmp_path / "b.outcomes.parquet").mkdir()
    with pytest.raises(RecordError, match="cannot be written"):
        accept(made, tmp_path / "b.json", force=True)
    assert not (tmp_path / "b.json").exists()


def test_a_baseline_lies_where_it_is_looked_for(made):
    assert default_place(made) == Path("ci/baselines/m-quick.json")


# Trust.


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"baseline": 2}, "baseline of schema 2, and this version reads schema 1. Upgrade"),
        ({"baseline": "x"}, "not written by stillwired"),
        ({"note": "Another."}, "edited after it was written"),
        ({"seed": 5}, "edited after it was written"),
        ({"digest": "0"}, "edited after it was written"),
        ({"cells": None}, "lacks cells"),
    ],
)
def test_a_baseline_that_cannot_be_trusted_is_refused(change, says, baseline):
    data = json.loads(baseline.read_text())
    for key, value in change.items():
        data.pop(key) if value is None else data.update({key: value})
    baseline.write_text(json.dumps(data))
    with pytest.raises(RecordError, match=says):
        read_side(baseline)


def test_layout_is_no_content(baseline):
    data = json.loads(baseline.read_text())
    write_json(baseline, data)
    assert read_side(baseline).data == data


def test_other_outcomes_are_noticed(made, baseline, tmp_path):
    other = read_record(record(tmp_path / "o.json", [(claim("wins"), {"ahead": 1}, evidence(0.2))]))
    accept(other, tmp_path / "other.json")
    outcomes_path(tmp_path / "other.json").replace(outcomes_path(baseline))
    with pytest.raises(RecordError, match="not the ones that the record was judged from"):
        read_side(baseline).judged({"some-paper/wins[ahead=1]"})


@pytest.mark.parametrize(
    ("text", "says"), [("[1]", "no record"), ("{", "is not JSON"), ('{"schema": 9}', "Upgrade")]
)
def test_what_is_neither_is_refused(text, says, tmp_path):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(RecordError, match=says):
        read_side(tmp_path / "x.json")
    with pytest.raises(RecordError, match="There is no record or baseline"):
        read_side(tmp_path / "none.json")


def test_a_baseline_is_no_record(baseline):
    with pytest.raises(RecordError, match="is no record"):
        read_record(baseline)


def test_a_digest_covers_everything(baseline):
    data = json.loads(baseline.read_text())
    assert data["digest"] == digest_of({k: v for k, v in data.items() if k != "digest"})


@pytest.mark.parametrize(
    "path", sorted((ROOT / "ci" / "baselines").glob("*.json")), ids=lambda path: path.stem
)
def test_committed_baselines_are_whole_and_guard_something(path):
    side = read_side(path)
    held = [key for key, cell in side.cells.items() if cell["verdict"] == "HOLDS"]
    assert path.stem == f"{side.data['checkpoint']['name']}-{side.data['profile']}"
    assert {change.word for change in compare(side, side).changes if change.held} == {"KEPT"}
    assert len(held) > 20
