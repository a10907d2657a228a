"""The job summary: failures first, nothing that acts, and never too long for GitHub."""

from __future__ import annotations

import html
import re
from dataclasses import replace

import pytest

from stillwired.errors import RecordError
from stillwired.records.baseline import read_side
from stillwired.report.github import LIMIT, append_summary, job_summary, on_github, room_in
from stillwired.report.shown import read_shown
from tests.report.made_records import HOSTILE, write


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    return read_shown(write(tmp_path_factory.mktemp("r") / "record.json"))


def rows_of(text):
    """Cells of every row of every table, heads left out."""
    rows = [line[2:-2].split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [list(map(html.unescape, row)) for row in rows if row[0] not in ("verdict", "word")]


def test_what_needs_a_look_comes_first_and_the_rest_is_folded(shown):
    text = job_summary([shown])
    lines = text.splitlines()
    assert lines[0] == "## tiny: the gate fails"
    assert lines[2] == "**2 hold, 1 fails, 1 inconclusive, 1 not applicable, 1 broken, 1 reported**"
    assert any(line.startswith("- first-paper/failing FAILS (p ") for line in lines)
    words = [row[0] for row in rows_of(text)]
    assert words == [
        *("BROKEN", "FAILS", "INCONCLUSIVE"),
        *("HOLDS", "HOLDS", "NOT APPLICABLE", "REPORTED"),
    ]
    urgent = text.split("<details>")[0]
    assert [row[0] for row in rows_of(urgent)] == words[:3]
    assert "<summary>4 other cells</summary>" in text
    assert text.count("<details>") == text.count("</details>") == 2


def test_figures_are_those_of_the_record(shown):
    (row,) = [row for row in rows_of(job_summary([shown])) if row[1] == "first-paper/failing"]
    assert row == [
        *("FAILS", "first-paper/failing", "– *", "0.052", "0.034 … 0.079", "0.20"),
        "arm is 0.05 (0.03 … 0.08), expected at least 0.20",
    ]


def test_how_to_measure_it_again_is_told(shown):
    text = job_summary([shown])
    assert "\n    OMP_NUM_THREADS=" in text
    assert "--claims-model tiny" in text
    assert f"Record: sha256 {shown.data['digest']}" in text


def test_errors_are_told_first(shown):
    assert job_summary([shown], ["2 not judged."]).startswith("**2 not judged.**\n\n## tiny")
    assert job_summary([], ["No record was written."]) == "**No record was written.**\n\n"


def test_a_comparison_is_told(tmp_path):
    old = write(tmp_path / "old.json")
    new = read_shown(write(tmp_path / "new.json", rate=0.4), baseline=read_side(old))
    text = job_summary([new])
    assert "### Compared with tiny" in text
    assert "is LOST (p " in text.split("###")[0]
    assert "- 2 held before: 2 lost" in html.unescape(text)
    changed = [row for row in rows_of(text) if row[0] in ("LOST", "KEPT", "NEW")]
    assert [row[:5] for row in changed] == [
        ["LOST", "first-paper/holding", "N=1 *", "HOLDS", "HOLDS"],
        ["LOST", "first-paper/holding", "N=2", "HOLDS", "HOLDS"],
    ]


def test_nothing_that_a_record_holds_acts(shown):
    text = job_summary([shown], [HOSTILE])
    told = re.sub(r"</?(details|summary)>", "", text)
    assert "<" not in told
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202a-\u202e]", told)
    body = told.replace("| `", "")
    for acting in ("](", "@all", "`x`", "**b**", "http://", "<!--"):
        assert acting not in body, acting
    # What somebody reads is the text itself.
    assert html.unescape(told).count("</script><script>window.pwned=1</script>") >= 3
    # No text opens a cell, a row or a table of its own.
    assert {len(row) for row in rows_of(text)} == {7}


def test_no_summary_is_longer_than_github_takes(shown):
    verdict = shown.rows["first-paper/failing"].verdict
    many = tuple(
        replace(verdict, params={"k": k}, reason="日本 |" * 60, verdict=word, primary=False)
        for word in ("FAILS", "HOLDS")
        for k in range(3000)
    )
    verdicts = tuple(replace(v, params={**v.params, "w": str(v.verdict)}) for v in many)
    long = replace(shown, finished=replace(shown.finished, verdicts=verdicts))
    text = job_summary([long, shown])
    assert 0.2 * LIMIT < len(text.encode()) < LIMIT
    (left,) = re.findall(r"^(\d[\d,]*) more cells: see the record\.$", text, re.MULTILINE)
    told = [row for row in rows_of(text.split("## tiny")[1]) if row[0] == "FAILS"]
    assert len(told) + int(left.replace(",", "")) == 3000
    assert "3,000 other cells: see the record." in text
    # The second record is told in full all the same.
    assert text.count("## tiny") == 2
    assert text.rstrip().endswith("</details>")
    for room in (100_000, 20_000, 6_000):
        assert len(job_summary([long], room=room).encode()) <= room


def test_the_summary_is_added_to_what_is_there(tmp_path):
    path = tmp_path / "summary.md"
    assert room_in(path) == room_in(tmp_path / "none")
    path.write_text("before\n")
    append_summary(path, "after é\n")
    assert path.read_text(encoding="utf-8") == "before\nafter é\n"
    before = room_in(path)
    append_summary(path, "x" * 1000)
    assert before - room_in(path) == 1000
    path.write_text("x" * 2 * LIMIT)
    assert room_in(path) == 0
    with pytest.raises(RecordError, match="cannot be written"):
        append_summary(tmp_path / "no" / "folder.md", "x")


def test_github_is_known_by_its_own_word():
    assert on_github({"GITHUB_ACTIONS": "true"})
    assert not on_github({"GITHUB_ACTIONS": "false"})
    assert not on_github({"CI": "true"})
