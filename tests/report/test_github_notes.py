"""Notes at tests: which, of what kind, where, and written so that GitHub reads no more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from stillwired.records.baseline import read_side
from stillwired.report.github_notes import SHOWN, Told, notes
from stillwired.report.shown import read_shown
from tests.report.made_records import HOSTILE, write

ROOT = Path("/repo")


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    return read_shown(write(tmp_path_factory.mktemp("r") / "record.json"))


def told(cell="first-paper/failing", word="FAILS", **more):
    given = {
        "spec": "tiny",
        "cell": cell,
        "word": word,
        "expected": None,
        "failed": word in ("FAILS", "BROKEN", "ERROR"),
        "text": "It is 0.05.",
        "test": "test_it[tiny]",
        "path": ROOT / "claims" / "test_it.py",
        "line": 12,
    }
    return Told(**given | more)


CLOSE = f'second-paper/close[task="{HOSTILE}"]'


@pytest.mark.parametrize(
    ("one", "kind"),
    [
        (told(), "error"),
        (told(word="ERROR", cell=""), "error"),
        (told("second-paper/broken", "BROKEN"), "error"),
        (told("first-paper/holding[ahead=1]", "HOLDS"), None),
        (told("second-paper/beyond", "NOT APPLICABLE"), None),
        (told('second-paper/told[task="antonym"]', "REPORTED"), None),
        # It fails, and decides nothing.
        (told("first-paper/holding[ahead=2]"), "warning"),
        # A file knows of it, or allows it not.
        (told(expected=True, failed=False), None),
        (told("first-paper/holding[ahead=1]", "HOLDS", expected=False), "error"),
        # Of no record that is shown.
        (told(spec="other"), None),
    ],
)
def test_kinds(shown, one, kind):
    found = notes([one], [shown], ROOT)
    assert [line.split(" ")[0] for line in found] == ([f"::{kind}"] if kind else [])


def test_open_primary_cells_are_notices_and_errors_of_a_strict_run(shown):
    key = next(key for key in shown.rows if key.startswith("second-paper/close"))
    one = told(key, "INCONCLUSIVE")
    assert notes([one], [shown], ROOT)[0].startswith("::notice ")
    assert notes([one], [shown], ROOT, strict=True)[0].startswith("::error ")
    rows = {k: replace(r, verdict=replace(r.verdict, primary=False)) for k, r in shown.rows.items()}
    verdicts = tuple(row.verdict for row in rows.values())
    other = replace(shown, finished=replace(shown.finished, verdicts=verdicts))
    assert notes([one], [other], ROOT) == []


def test_what_was_lost_is_an_error_though_it_still_holds(tmp_path):
    old = write(tmp_path / "old.json")
    new = read_shown(write(tmp_path / "new.json", rate=0.4), baseline=read_side(old))
    lost, kept = told("first-paper/holding[ahead=1]", "HOLDS"), told(failed=False)
    (line, other) = notes([lost, kept], [new], ROOT)
    assert line.startswith("::error ")
    assert "first-paper/holding[ahead=1] is LOST (p" in line
    # It failed before as well.
    assert other.startswith("::warning ")
    assert notes([told(failed=True)], [new], ROOT)[0].startswith("::error ")


def test_a_note_stands_at_its_test(shown):
    (line,) = notes([told()], [shown], ROOT)
    assert line == (
        "::error file=claims/test_it.py,line=12,title=FAILS%3A first-paper/failing::It is 0.05."
    )
    (line,) = notes([told(path=Path("/elsewhere/test_it.py"))], [shown], ROOT)
    assert "file=/elsewhere/test_it.py," in line


def test_nothing_in_a_text_ends_a_note_or_begins_another(shown):
    one = told(
        text="100 % sure\r\n::set-output name=x::y\n::error::z",
        path=ROOT / "a,b:c.py",
        word="ERROR",
        cell="x::y,line=1\n::error::",
    )
    (line,) = notes([one], [shown], ROOT)
    assert "\n" not in line
    assert "\r" not in line
    head, text = line.removeprefix("::error ").split("::", 1)
    assert text == "100 %25 sure%0D%0A::set-output name=x::y%0A::error::z"
    assert dict(pair.split("=", 1) for pair in head.split(",")) == {
        "file": "a%2Cb%3Ac.py",
        "line": "12",
        "title": "ERROR%3A x%3A%3Ay%2Cline=1%0A%3A%3Aerror%3A%3A",
    }


def test_of_more_than_github_shows_the_rest_is_counted(shown):
    found = notes([told(line=k) for k in range(SHOWN + 3)], [shown], ROOT)
    assert len(found) == SHOWN
    assert found[-1].endswith("It is 0.05.%0A3 more; the job summary has them all.")
    assert not any("more" in line for line in found[:-1])
    assert not any("more" in line for line in notes([told()] * SHOWN, [shown], ROOT))


@pytest.mark.parametrize(
    ("longrepr", "text"),
    [
        ("It is 0.05.", "It is 0.05."),
        (("file.py", 3, "too few rows"), "too few rows"),
        (SimpleNamespace(reprcrash=SimpleNamespace(message="ValueError: no")), "ValueError: no"),
        (None, ""),
    ],
)
def test_what_a_test_came_to_is_taken_from_its_report(longrepr, text):
    report = SimpleNamespace(
        location=("claims/test_it.py", 11, "test_it[tiny]"), longrepr=longrepr, failed=True
    )
    about = {"word": "FAILS", "expected": None, "cell": ("first-paper/failing", "tiny")}
    assert Told.of(report, about, ROOT) == told(text=text)
