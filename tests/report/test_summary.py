from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from stillwired.judge import Verdict, Word
from stillwired.options import RunOptions
from stillwired.records.expected import Expectations, ExpectedCell
from stillwired.records.finish import Finished
from stillwired.records.ledger import Ledger
from stillwired.records.record import RunFacts
from stillwired.records.run import RunFolder
from stillwired.records.session import Run
from stillwired.report.curves_files import Drawn
from stillwired.report.summary import Page, aftermath, heads, nothing_judged, results, summary
from stillwired.settings import Settings

REGIME = {"device": "cpu", "dtype": "float32", "attention": "eager"}


@dataclass
class Decision:
    passed: bool = True
    lines: tuple[str, ...] = ("2 primary cells, none fails",)
    corrected: dict[str, bool] = field(default_factory=dict)


def verdict(word, ahead=1):
    return Verdict("p/f", 1, {"ahead": ahead}, ahead == 1, word, estimate=0.2, low=0.1, high=0.3)


def finished(*verdicts, gate=None, record=Path("/r/record.json")):
    checkpoint = {"spec": "m", "name": "m", "regime": REGIME}
    return Finished("m", checkpoint, "quick", 0, {"p/f": "0.5"}, verdicts, gate, record)


def plain(lines):
    return ["".join(span.text for span in line) for line in lines]


def test_a_summary_has_title_table_counts_and_the_gate():
    lines = plain(summary(finished(verdict(Word.HOLDS), gate=Decision()), Page(120), seconds=5))
    assert lines[0] == "stillwired  m  cpu fp32 eager  quick  seed 0"
    assert lines[1].startswith("claim")
    assert lines[2].startswith("p/f")
    assert lines[3].startswith("1 holds, 0 fail")
    assert lines[3].endswith("5.0 s   record: /r/record.json")
    assert lines[4:] == ["2 primary cells, none fails"]


def test_quiet_leaves_out_what_holds_and_very_quiet_the_table():
    one = finished(verdict(Word.HOLDS), verdict(Word.FAILS, 2), gate=Decision())
    quiet = plain(summary(one, Page(120, quiet=1)))
    assert not any("HOLDS" in line for line in quiet)
    assert any("FAILS" in line for line in quiet)
    assert not quiet[0].startswith("stillwired")
    (only,) = plain(summary(one, Page(160, quiet=2)))
    assert only.startswith("1 holds, 1 fails")


def test_a_failure_that_correction_takes_back_is_marked():
    gate = Decision(corrected={"p/f[ahead=1]": False})
    lines = plain(summary(finished(verdict(Word.FAILS), gate=gate), Page(120)))
    assert any(line.endswith("FAILS (not after correction)") for line in lines)


@pytest.mark.parametrize(
    ("word", "note"), [(Word.FAILS, "FAILS (expected)"), (Word.HOLDS, "HOLDS (FAILS expected)")]
)
def test_expected_verdicts_are_shown_as_such(word, note):
    one = verdict(word)
    cell = ExpectedCell("p/f", one.params, (Word.FAILS,), "small")
    expected = Expectations(Path("e.json"), "m", "quick", {cell.key: cell})
    lines = plain(summary(finished(one, gate=Decision()), Page(120), expected=expected))
    assert any(line.endswith(note) for line in lines)


def test_what_is_reported_is_shown_and_counted_as_such():
    one = finished(verdict(Word.HOLDS), verdict(Word.REPORTED, 2), gate=Decision())
    lines = plain(summary(one, Page(120)))
    (line,) = [line for line in lines if "REPORTED" in line]
    assert line.split()[:7] == ["p/f", "N=2", "0.200", "0.100", "…", "0.300", "–"]
    assert any("0 broken, 1 reported" in line for line in lines)
    assert any("REPORTED" in line for line in plain(summary(one, Page(120, quiet=1))))
    # No file needs to list it, and then nothing is said of it.
    expected = Expectations(Path("e.json"), "m", "quick", {})
    assert line in plain(summary(one, Page(120), expected=expected))
    cell = ExpectedCell("p/f", {"ahead": 2}, (Word.FAILS,), "small")
    listed = Expectations(Path("e.json"), "m", "quick", {cell.key: cell})
    lines = plain(summary(one, Page(120), expected=listed))
    assert any(line.endswith("REPORTED (FAILS expected)") for line in lines)


def test_ascii_pages_hold_ascii_only():
    one = finished(verdict(Word.INCONCLUSIVE), gate=Decision(lines=("0.15 … 0.30",)))
    assert all(line.isascii() for line in plain(summary(one, Page(120, ascii_only=True))))


def test_the_header_names_each_checkpoint_once_and_the_libraries():
    known = {"name": "m", "parameters": 1000, "digest": "ab" * 32}
    facts = RunFacts("quick", (), 0, REGIME, {"m": known, "n": {**known, "name": "n"}})
    lines = plain(heads(facts, Page(200)))
    assert [line.split()[1] for line in lines[:2]] == ["m", "n"]
    assert "torch" in lines[2]
    (line, *_) = plain(heads(RunFacts("quick", (), 0, REGIME), Page(200)))
    assert line == "stillwired  no checkpoint  quick  seed 0"
    redrawn = RunFacts("quick", (), 0, REGIME, redraw="seed-3")
    (line, *_) = plain(heads(redrawn, Page(200)))
    assert line == "stillwired  no checkpoint  quick  seed 0  redraw seed-3"


def test_what_stayed_behind_is_said(tmp_path):
    folder, page = RunFolder(tmp_path / "run", "t"), Page(200, start=tmp_path)
    whole = finished(verdict(Word.HOLDS), gate=Decision())
    assert aftermath([whole], page, folder) == []
    (line,) = plain(aftermath([finished(verdict(Word.HOLDS), record=None)], page, folder))
    assert line == (
        "Interrupted: 1 judged, no record was written. The cells judged so far stay in run/cells."
    )
    (line,) = plain(aftermath([], page, folder, unwritten="The disk is full."))
    assert line.startswith("No record was written. The disk is full. The cells judged so far")
    assert plain(aftermath([], page, folder, errors=2)) == [
        "2 not judged, because of errors.",
        "No claim was judged, so there is no record.",
    ]


def test_a_run_ends_with_each_table_its_own_curves_and_what_went_wrong(tmp_path):
    options = RunOptions(Settings(cache=tmp_path / "cache"))
    ledger = Ledger(Run(options, RunFolder(tmp_path / "run", "t"), print), errors=2)
    one, other = Path("/r/one.json"), Path("/r/other.json")
    unread = finished(verdict(Word.FAILS), gate=Decision(), record=other)
    unread.checkpoint["spec"] = None
    ledger.finished = [finished(verdict(Word.HOLDS), gate=Decision(), record=one), unread]
    drawn = {one: Drawn((Path("/r/one.svg"),)), other: Drawn()}
    lines = plain(results(ledger, Page(300), drawn))
    (first, second) = (k for k, line in enumerate(lines) if "record: " in line)
    assert f"record: /r/one.json   cache: {tmp_path / 'cache'}" in lines[first]
    assert lines[first + 1] == "curves:  /r/one.svg"
    assert lines[second].endswith("record: /r/other.json")
    assert lines[second + 1 :] == [
        "2 primary cells, none fails",
        "2 not judged, because of errors.",
    ]


def test_exit_code_5_is_explained():
    assert "12 were collected, and -k, -m or --deselect" in nothing_judged(12)
    assert "none was collected" in nothing_judged(0)
    assert "Exit code 5" in nothing_judged(0)


def test_curves_stand_beside_the_record_or_the_reason_why_there_are_none():
    one, page = finished(verdict(Word.HOLDS), gate=Decision()), Page(60, start=Path("/r"))
    paths = tuple(Path(f"/r/future-lens-N{n}.svg") for n in (1, 2, 3))
    lines = plain(summary(one, page, drawn=Drawn(paths)))
    at = lines.index("curves:  future-lens-N1.svg  future-lens-N2.svg")
    assert lines[at - 1].endswith("record: record.json")
    assert lines[at + 1] == "         future-lens-N3.svg"
    (line,) = [
        line
        for line in summary(one, Page(120), drawn=Drawn(problem="The disk is full."))
        if line[0].text.startswith("No curves")
    ]
    assert (line[0].text, line[0].style) == ("No curves were drawn. The disk is full.", "yellow")
    for drawn in (None, Drawn()):
        assert not any("curves" in line for line in plain(summary(one, page, drawn=drawn)))
    assert len(plain(summary(one, Page(160, quiet=2), drawn=Drawn(paths)))) == 1


def test_a_summary_says_what_the_time_went_into():
    one = finished(verdict(Word.HOLDS))
    one.spent.update({"fits": 10.0, "everything else": 5.0, "passes of the model": 85.0})
    lines = plain(summary(one, Page(120), seconds=100))
    assert "time:    passes of the model 85 %  fits 10 %  everything else 5 %" in lines
    assert not any(line.startswith("time:") for line in plain(summary(one, Page(120, quiet=1))))
