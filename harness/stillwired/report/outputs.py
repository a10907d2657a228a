"""What a run leaves beside its records: curves, the page, and what GitHub is told.

The run is over and its records stand: whatever goes wrong here is told, and neither undoes a
record nor changes the exit code.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from stillwired.errors import StillwiredError
from stillwired.report.curves_files import Drawn, draw_beside
from stillwired.report.summary import Page
from stillwired.report.terminal import Line
from stillwired.report.text import fold, path, wrap

if TYPE_CHECKING:
    from stillwired.records.ledger import Ledger
    from stillwired.report.github_notes import Told
    from stillwired.report.shown import Shown

T = TypeVar("T")


@dataclass(frozen=True)
class Outputs:
    """What was written, and why something was not.

    Attributes:
        drawn: What became of the curves, by the record that they are drawn from.
        page: The page, or None.
        problems: Why something that was wanted is not there, a sentence each.
        commands: Lines that GitHub reads from the log.
    """

    drawn: Mapping[Path, Drawn] = field(default_factory=dict)
    page: Path | None = None
    problems: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()

    def lines(self, page: Page) -> list[Line]:
        """Say where the page lies, and what is missing."""
        lines: list[Line] = []
        if self.page is not None and page.quiet < 2:
            lines += page.plain(fold([f"report:  {path(self.page, page.start)}"], page.width))
        for problem in self.problems:
            lines += page.plain(wrap(problem, page.width, 0), "red")
        return lines


def leave(
    ledger: Ledger,
    told: Sequence[Told],
    environment: Mapping[str, str] = os.environ,
) -> Outputs:
    """Write everything that a run is to leave beside its records.

    Args:
        ledger: The run, closed.
        told: What the tests of claims came to.
        environment: Says whether GitHub runs this, and where it takes a summary.
    """
    from stillwired.report import github, github_notes

    paths = [one.record for one in ledger.shown if one.record is not None]
    page, on_github = ledger.run.options.report, github.on_github(environment)
    # A redraw is one of a hundred that are held against each other, and looked at only if it flips.
    looked_at = ledger.run.settings.redraw is None or page is not None
    drawn = {record: draw_beside(record) if looked_at else Drawn() for record in paths}
    if page is None and not on_github:
        return Outputs(drawn)
    desk = _Desk()
    records = desk.tries("The records cannot be shown.", lambda: _shown(ledger, drawn))
    remarks = [f"{ledger.errors} not judged, because of errors."] if ledger.errors else []
    if ledger.unwritten:
        remarks.append(f"No record was written. {ledger.unwritten}")
    written, commands = None, None
    if page is not None and records:
        write = partial(_write, page, records, remarks)
        written = desk.tries("No report was written.", write)
    elif page is not None and records is not None:
        desk.problems.append("No report was written, since there is no record to show.")
    place = environment.get("GITHUB_STEP_SUMMARY")
    if on_github and place and records is not None:
        summarise = partial(_summarise, Path(place), records, remarks)
        desk.tries("No job summary was written.", summarise)
    if on_github:
        root = Path(environment.get("GITHUB_WORKSPACE", Path.cwd()))
        strict = ledger.run.settings.strict
        note = partial(github_notes.notes, told, records or [], root, strict=strict)
        commands = desk.tries("GitHub was not told of the tests that failed.", note)
    return Outputs(drawn, written, tuple(desk.problems), tuple(commands or ()))


class _Desk:
    """Tries one thing after another, and keeps why some did not come off."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def tries(self, otherwise: str, work: Callable[[], T]) -> T | None:
        """Return what comes of it; None if nothing does, of which ``otherwise`` tells."""
        try:
            return work()
        except StillwiredError as error:
            problem = str(error)
        except KeyboardInterrupt:
            problem = "Interrupted."
        except Exception as error:
            problem = f"{type(error).__name__}: {error}."
        self.problems.append(f"{otherwise} {problem}")
        return None


def _write(page: Path, records: Sequence[Shown], remarks: Sequence[str]) -> Path:
    from stillwired.report.claims_page import claims_page
    from stillwired.report.html import write_page

    write_page(page, claims_page(records, remarks), "--claims-report")
    return page


def _summarise(place: Path, records: Sequence[Shown], remarks: Sequence[str]) -> None:
    from stillwired.report.github import append_summary, job_summary, room_in

    append_summary(place, job_summary(records, remarks, room=room_in(place)))


def _shown(ledger: Ledger, drawn: Mapping[Path, Drawn]) -> list[Shown]:
    """Read the records back, and take the curves that have just been drawn from them."""
    from stillwired.records.record import read_record
    from stillwired.report.shown import Shown

    found = []
    for one in ledger.shown:
        if one.record is None:
            continue
        curves = drawn[one.record]
        stem = f"{one.record.stem}."
        pictures = {p.name.removeprefix(stem): p.read_text("utf-8") for p in curves.paths}
        data = read_record(one.record).data
        found.append(Shown(one, data, ledger.run.expected, pictures, curves.problem))
    return found
