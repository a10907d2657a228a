"""What pages are made of: a record with its notes, its regions, and names for its cells."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from stillwired.errors import RecordError, UsageError
from stillwired.judge import Difference, Level, Steps
from stillwired.judge.results import PartResult, Word
from stillwired.records.baseline import read_side
from stillwired.records.expected import read_expected
from stillwired.records.files import digest_of
from stillwired.records.record import read_record
from stillwired.report.shown import deciding, is_rival, read_shown, region_of
from tests.report.made_records import claim, write


@pytest.fixture
def record(tmp_path):
    return write(tmp_path / "record.json")


def part(name, word=Word.HOLDS):
    return PartResult(name, word, 0.5, 0.4, 0.6, "", 9, 9, 1.0, "t")


def test_a_part_lies_in_the_region_that_was_declared_for_it():
    declared = claim(
        "x",
        expects=(
            Level("arm", at_most=0.5),
            Difference("plus", "minus", within=0.1),
            Steps("family", at_least=0.2, labelled="arm by depth"),
        ),
        sensitivity=0.1,
    )
    ends = {
        name: (region.low, region.high) if region else None
        for name in ("arm", "arm [depth0.50]", "plus − minus", "arm by depth [a → b]", "other")
        for region in [region_of(declared, part(name))]
    }
    assert ends == {
        "arm": (None, 0.5),
        "arm [depth0.50]": (None, 0.5),
        "plus − minus": (-0.1, 0.1),
        "arm by depth [a → b]": (0.2, None),
        "other": None,
    }
    for name in ("arm − other (rival)", "arm − other (rival) [depth0.50]"):
        assert is_rival(part(name))
        assert region_of(declared, part(name)).low == 0.0
    assert not is_rival(part("arm (rival) − other"))


def test_the_deciding_part_is_the_one_whose_figures_the_verdict_shows(record):
    shown = read_shown(record)
    for row in shown.rows.values():
        found = deciding(row.verdict)
        if row.verdict.estimate is None:
            assert found is None
        else:
            assert (found.estimate, found.least) == (row.verdict.estimate, row.verdict.least)


def test_cells_stand_by_paper_and_primary_ones_first(record):
    shown = read_shown(record)
    order = [row.verdict.claim.split("/")[0] for row in shown.rows.values()]
    assert order == sorted(order)
    holding = [row.verdict for row in shown.rows_of("first-paper/holding")]
    assert [(v.params["ahead"], v.primary) for v in holding] == [(1, True), (2, False)]
    assert len(shown.rows) == len(read_record(record).data["verdicts"]) == 7


def test_anchors_are_plain_and_no_two_are_alike(record):
    shown = read_shown(record)
    anchors = list(shown.anchors.values())
    assert len(set(anchors)) == len(anchors)
    for anchor in anchors:
        assert re.fullmatch(r"[a-z0-9/-]+(:[\w.=,-]+)?", anchor, flags=re.ASCII), anchor
    assert "first-paper/holding:ahead=2" in anchors
    assert "first-paper/failing" in anchors


def test_anchors_of_parameters_that_look_alike_are_numbered(record):
    shown = read_shown(record)
    (close,) = (row.verdict for row in shown.rows_of("second-paper/close"))
    twin = replace(close, params={"task": close.params["task"].replace("<", ">")})
    finished = replace(shown.finished, verdicts=(*shown.finished.verdicts, twin))
    anchors = replace(shown, finished=finished).anchors
    assert anchors[twin.key] == f"{anchors[close.key]}-2"


def test_the_gate_and_its_notes_are_those_of_the_record(record):
    shown = read_shown(record)
    assert not shown.finished.gate.passed
    assert any("first-paper/failing FAILS" in line for line in shown.finished.gate.lines)
    strict = read_shown(record, strict=True)
    assert any("INCONCLUSIVE" in line for line in strict.finished.gate.lines)


def test_expected_verdicts_are_noted_and_must_be_about_the_record(tmp_path, record):
    path = tmp_path / "expected.json"
    entry = {
        "claim": "first-paper/failing",
        "params": {},
        "verdicts": ["FAILS"],
        "reason": "small",
    }
    content = {"schema": 1, "checkpoint": "tiny", "profile": "quick", "expected": [entry]}
    path.write_text(json.dumps(content))
    rows = read_shown(record, expected=read_expected(path)).rows
    assert rows["first-paper/failing"].note == "expected"
    assert rows["second-paper/beyond"].note == "HOLDS expected"
    path.write_text(json.dumps(content | {"checkpoint": "other"}))
    with pytest.raises(UsageError, match="is about other"):
        read_shown(record, expected=read_expected(path))


def test_a_comparison_decides_in_place_of_the_gate(tmp_path, record):
    new = write(tmp_path / "new.json", rate=0.4)
    shown = read_shown(new, baseline=read_side(record))
    words = {change.key: str(change.word) for change in shown.comparison.changes}
    assert words["first-paper/holding[ahead=1]"] == "LOST"
    assert shown.finished.gate.lines == shown.comparison.gate.lines
    other = write(tmp_path / "other.json", seed=1)
    with pytest.raises(RecordError, match="its seed is 0, and not 1"):
        read_shown(other, baseline=read_side(record))


def test_a_part_of_a_run_does_not_gate(record):
    data = json.loads(record.read_text())
    data["shard"] = {"of": 4, "parts": [1, 3], "holders": [1, 2, 3, 4], "plan": "aa"}
    data["digest"] = digest_of({k: v for k, v in data.items() if k not in ("digest", "times")})
    record.write_text(json.dumps(data))
    broken, part = read_shown(record).finished.gate.lines
    assert broken.startswith("second-paper/broken is BROKEN")
    assert part == "a shard does not gate: merge the records (1, 3 of 4)"


def test_what_cannot_be_drawn_is_told_and_changes_nothing_else(tmp_path, record, monkeypatch):
    def broken(_):
        raise RecordError("The record's outcomes are missing.")
        yield

    monkeypatch.setattr("stillwired.report.curves_files.pictures", broken)
    shown = read_shown(record, draw=True)
    assert shown.undrawn == "The record's outcomes are missing."
    assert not shown.pictures
    assert len(shown.rows) == 7
    assert read_shown(record).undrawn == ""
