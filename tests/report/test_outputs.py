"""What a run leaves: written if it can be, told if it cannot, and no record is touched."""

from __future__ import annotations

import pytest

from stillwired.options import RunOptions
from stillwired.records.ledger import Ledger
from stillwired.records.run import RunFolder
from stillwired.records.session import Run
from stillwired.redraws import Redraw
from stillwired.report.curves_files import Drawn
from stillwired.report.outputs import leave
from stillwired.report.shown import read_shown
from stillwired.report.summary import Page
from stillwired.settings import Settings
from tests.report.made_records import write
from tests.report.test_github_notes import told

PAGE = Page(width=1000)


@pytest.fixture
def closed(tmp_path):
    """A run that is over, and where its page is to go."""

    def closed(report=None, record=True, errors=0, redraw=None):
        options = RunOptions(Settings(models=("tiny",), redraw=redraw), report=report)
        ledger = Ledger(Run(options, RunFolder(tmp_path / "run", "t"), print), errors=errors)
        finished = read_shown(write(tmp_path / "base.json")).finished
        ledger.finished = [finished] if record else []
        return ledger

    return closed


def github(tmp_path, **more):
    given = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
        "GITHUB_WORKSPACE": "/repo",
    }
    return given | more


def said(outputs, page=PAGE):
    return ["".join(span.text for span in line) for line in outputs.lines(page)]


def test_nothing_is_left_that_was_not_wanted(closed, tmp_path):
    ledger = closed()
    before = sorted(tmp_path.iterdir())
    outputs = leave(ledger, [told()], {})
    assert sorted(tmp_path.iterdir()) == before
    assert said(outputs) == []
    assert outputs.commands == ()
    assert list(outputs.drawn.values()) == [Drawn()]


def test_the_page_is_written_with_the_curves_that_lie_beside_the_record(
    closed, tmp_path, monkeypatch
):
    svg = tmp_path / "base.first-paper-heads.svg"
    svg.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg"><title>Heads</title><path d="M 0 0"/></svg>'
    )
    monkeypatch.setattr("stillwired.report.outputs.draw_beside", lambda _: Drawn((svg,)))
    outputs = leave(closed(tmp_path / "new" / "page.html", errors=2), [], {})
    page = (tmp_path / "new" / "page.html").read_text(encoding="utf-8")
    assert "<title>Heads</title>" in page
    assert page.index("A First Paper</h3>") < page.index("<title>Heads</title>")
    assert "2 not judged, because of errors." in page
    assert said(outputs) == [f"report:  {tmp_path / 'new' / 'page.html'}"]
    assert said(outputs, Page(width=160, quiet=2)) == []


def test_why_there_are_no_curves_is_on_the_page(closed, tmp_path, monkeypatch):
    monkeypatch.setattr("stillwired.report.outputs.draw_beside", lambda _: Drawn(problem="No ink."))
    leave(closed(tmp_path / "page.html"), [], {})
    assert "No picture was drawn. No ink." in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("page", "pictures"), [(None, []), ("page.html", ["base.json"])])
def test_a_redraw_is_drawn_only_where_it_is_to_be_looked_at(
    closed, tmp_path, monkeypatch, page, pictures
):
    drawn = []

    def draw(record):
        drawn.append(record.name)
        return Drawn()

    monkeypatch.setattr("stillwired.report.outputs.draw_beside", draw)
    leave(closed(page and tmp_path / page, redraw=Redraw("seed", 1)), [], {})
    assert drawn == pictures
    leave(closed(), [], {})
    assert drawn == [*pictures, "base.json"]


def test_github_gets_a_summary_and_notes(closed, tmp_path):
    outputs = leave(closed(), [told()], github(tmp_path))
    assert (tmp_path / "summary.md").read_text(encoding="utf-8").startswith("## tiny")
    (command,) = outputs.commands
    assert command.startswith("::error file=claims/test_it.py,line=12,")
    assert said(outputs) == []


def test_without_a_place_for_a_summary_there_are_notes_all_the_same(closed, tmp_path):
    outputs = leave(closed(), [told()], github(tmp_path, GITHUB_STEP_SUMMARY=""))
    assert len(outputs.commands) == 1
    assert outputs.problems == ()


def test_one_thing_that_fails_does_not_keep_the_others(closed, tmp_path):
    (tmp_path / "file").write_text("")
    report = tmp_path / "file" / "page.html"
    environment = github(tmp_path, GITHUB_STEP_SUMMARY=str(tmp_path / "file" / "s.md"))
    outputs = leave(closed(report), [told()], environment)
    page, summary = said(outputs)
    assert page.startswith(f"No report was written. {report} cannot be written: ")
    assert page.endswith("--claims-report.")
    assert summary.startswith("No job summary was written. The job summary ")
    assert len(outputs.commands) == 1
    assert outputs.page is None


def test_a_mistake_of_ours_is_told_and_not_raised(closed, tmp_path, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("stillwired.report.claims_page.claims_page", broken)
    outputs = leave(closed(tmp_path / "page.html"), [], {})
    assert said(outputs) == ["No report was written. ZeroDivisionError: by zero."]
    assert not (tmp_path / "page.html").exists()


def test_without_a_record_there_is_no_page(closed, tmp_path):
    outputs = leave(closed(tmp_path / "page.html", record=False), [], {})
    assert said(outputs) == ["No report was written, since there is no record to show."]
    assert not (tmp_path / "page.html").exists()


def test_a_record_that_cannot_be_read_back_is_told_once(closed, tmp_path):
    ledger = closed(tmp_path / "page.html")
    (tmp_path / "base.json").write_text("{}")
    outputs = leave(ledger, [told(word="ERROR")], github(tmp_path))
    assert [line.split(".")[0] for line in said(outputs)] == ["The records cannot be shown"]
    assert len(outputs.commands) == 1
