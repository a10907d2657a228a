"""A calibration's report: what was found comes first, and every figure is one of the tallies'."""

from __future__ import annotations

import json

import pytest

from stillwired.records.alarms import count_alarms
from stillwired.records.calibration import Planned
from stillwired.records.record import read_record
from stillwired.report.calibration import (
    Calibration,
    calibration_lines,
    found,
    markdown,
    write_reports,
)
from stillwired.report.summary import Page
from tests.records.made_calibration import write_run

STEADY = {
    Planned(): {"a": 0.5, "b": 0.5},
    Planned("seed", 1): {"a": 0.52, "b": 0.49},
    Planned("bf16", 1): {"a": 0.52, "b": 0.49},
}
FALLEN = {
    Planned(): {"a": 0.5, "b": 0.5},
    Planned("seed", 1): {"a": 0.05, "b": 0.24},
    Planned("bf16", 1): {"a": 0.05, "b": 0.24},
}


@pytest.fixture
def calibration(tmp_path):
    def make(by_run, failed=(), **more):
        records = {run.name: read_record(write_run(tmp_path, run, by_run[run])) for run in by_run}
        alarms = count_alarms(records, [run for run in by_run if run.kind])
        return Calibration(records["reference"], records, dict(failed), alarms)

    return make


def rows(text, title):
    """The table below a heading, as lists of cells without the heads."""
    part = text.split(f"## {title}\n\n")[1].split("\n\n")[0]
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in part.splitlines()[2:]]


def test_what_was_found_is_said_first(calibration):
    calm = calibration(STEADY)
    said = (
        "No claim that held came out as FAILS or BROKEN in 4 claim-runs, and the comparison called "
        "0 of 4 LOST."
    )
    assert found(calm) == said
    title, first, *_ = markdown(calm).split("\n\n")
    assert title == "# False alarms: m, profile quick"
    assert first == f"**{said}**"
    fallen = calibration(FALLEN)
    assert found(fallen).startswith("False alarms: 1 of 2 claim-runs that held came out as FAILS")


def test_a_calibration_that_judged_nothing_new_says_so(calibration):
    nothing = calibration({Planned(): {"a": 0.05}, Planned("seed", 1): {"a": 0.05}})
    assert found(nothing).startswith("Nothing was found out")


def test_rates_stand_with_both_intervals(calibration):
    text = markdown(calibration(FALLEN))
    by_word = {row[0]: row[1:] for row in rows(text, "All kinds")}
    # Both runs of seed-1 share a draw. What fell there had nothing left to lose in bfloat16.
    assert by_word["HOLDS → FAILS"] == ["1 of 2", "50.0 %", "1.3 % … 98.7 %", "0.00 % … 100.0 %"]
    assert by_word["HOLDS → INCONCLUSIVE"][0] == "1 of 2"
    assert by_word["LOST"][0] == "2 of 2"
    assert by_word["GAINED"][0] == "0 of 2"
    by_kind = {row[0]: row[1:] for row in rows(text, "By kind")}
    assert by_kind["seed"][1:5] == ["the reference", "1", "2", "0"]
    assert by_kind["seed"][-1] == "1 of 1"
    assert by_kind["bf16"][1:5] == ["the seed run", "1", "0", "0"]
    claims = {row[0]: row[1:] for row in rows(text, "seed: other passages, questions and shots")}
    assert claims == {
        "a-paper/a": ["1", "1", "0", "0", "0", "1", "0", "0"],
        "a-paper/b": ["1", "0", "0", "0", "1", "1", "0", "0"],
    }


def test_what_flipped_stands_with_the_intervals_of_both_runs(calibration):
    text = markdown(calibration(FALLEN))
    flipped = rows(text, "What flipped")
    assert [row[:2] for row in flipped] == [["a-paper/a", "seed-1"], ["a-paper/b", "seed-1"]]
    then, now, change, allowed, word = flipped[0][2:]
    assert then.startswith("HOLDS 0.50 (0.43 … ")
    assert now.startswith("FAILS 0.05 (0.03 … ")
    assert change.startswith("−0.45 (−0.5")
    assert (allowed, word) == ("−0.1", "LOST")
    assert "What flipped" not in markdown(calibration(STEADY))


def test_what_is_not_there_is_listed(calibration):
    by_run = {
        Planned(): {"a": 0.5, "b": 0.5},
        Planned("seed", 1): {"a": 0.5},
        Planned("seed", 2): {"a": 0.5},
    }
    text = markdown(calibration(by_run, failed={"sdpa-1": "pytest ended with 1: refused"}))
    assert "## Runs that left no record\n\n- sdpa-1: pytest ended with 1: refused" in text
    assert "## Cells that were not judged\n\n- a-paper/b (seed-1, seed-2)" in text


def test_the_data_say_what_the_page_says(calibration, tmp_path):
    fallen = calibration(FALLEN, failed={"sdpa-1": "refused"})
    page, data = write_reports(fallen, tmp_path / "out")
    assert page.read_text() == markdown(fallen)
    read = json.loads(data.read_text())
    assert read["found"] == found(fallen)
    assert read["passed"] is False
    assert read["failed"] == {"sdpa-1": "refused"}
    assert read["runs"]["seed-1"]["digest"] == fallen.records["seed-1"].data["digest"]
    rate = fallen.alarms.tallies["seed"].rates["FAILS"]
    kept = read["kinds"]["seed"]["rates"]["FAILS"]
    assert (kept["count"], kept["share"]) == (rate.hits, rate.share)
    assert (kept["alone"], kept["clustered"]) == (list(rate.exact), list(rate.clustered))
    assert read["kinds"]["seed"]["claims"]["a-paper/b"]["rates"]["INCONCLUSIVE"]["count"] == 1
    (flip, _) = read["flipped"]
    assert (flip["claim"], flip["run"], flip["against"]) == ("a-paper/a", "seed-1", "reference")
    assert flip["then"]["verdict"] == "HOLDS"
    assert flip["now"] == {
        name: fallen.alarms.flipped[0].figures[name]
        for name in ("verdict", "estimate", "low", "high")
    }
    assert flip["change"]["estimate"] == pytest.approx(-0.45)


def test_a_failed_run_is_no_pass(calibration, tmp_path):
    _, data = write_reports(calibration(STEADY, failed={"sdpa-1": "refused"}), tmp_path / "out")
    assert json.loads(data.read_text())["passed"] is False
    _, data = write_reports(calibration(STEADY), tmp_path / "out")
    assert json.loads(data.read_text())["passed"] is True


def test_the_terminal_shows_a_line_for_each_kind(calibration, tmp_path):
    page = Page(120, start=tmp_path)
    lines = calibration_lines(calibration(FALLEN), [tmp_path / "out" / "report.md"], page)
    shown = ["".join(span.text for span in line) for line in lines]
    assert shown[0].split() == [
        *("runs", "claim-runs", "FAILS", "INCONCLUSIVE", "LOST", "UNDECIDED", "GAINED")
    ]
    assert shown[1].split() == ["seed", "1", "2", "1", "1", "2", "0", "0"]
    assert shown[2].split() == ["bf16", "1", "0", "0", "0", "0", "0", "0"]
    assert shown[-1] == "report: out/report.md"
