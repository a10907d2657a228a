"""The whole summary of a run or of a record: title, table, counts, and what the gate says."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillwired.mutants.catalogue import split_spec
from stillwired.records.expected import Expectations
from stillwired.records.finish import Finished
from stillwired.records.ledger import Ledger
from stillwired.records.preparing import cache_of
from stillwired.records.record import RunFacts
from stillwired.records.run import RunFolder, environment
from stillwired.report.terminal import Line, Row, Span, closing, table, title, versions
from stillwired.report.text import fold, path, to_ascii, wrap

if TYPE_CHECKING:
    from stillwired.judge.results import Verdict
    from stillwired.report.curves_files import Drawn


@dataclass(frozen=True)
class Page:
    """Where a summary is shown.

    Attributes:
        width: Columns.
        ascii_only: Whether typographic signs must be written in ASCII.
        quiet: 0 for everything, 1 without title and without what holds, 2 for the counts alone.
        start: Folder that shown paths start from.
    """

    width: int
    ascii_only: bool = False
    quiet: int = 0
    start: Path = Path()

    def plain(self, lines: Sequence[str], style: str = "") -> list[Line]:
        """Turn texts into lines that this page can show."""
        return [[Span(to_ascii(text) if self.ascii_only else text, style)] for text in lines]


def heads(facts: RunFacts, page: Page) -> list[Line]:
    """Return the header of a run: each checkpoint that is about to be judged, and versions."""
    lines: list[Line] = []
    checkpoints: list[Mapping[str, Any] | None] = [
        {**known, "regime": facts.regime}
        for spec, known in facts.checkpoints.items()
        # Mutants that stand beside their undamaged checkpoint are named by the matrix.
        if split_spec(spec)[1] is None or split_spec(spec)[0] not in facts.checkpoints
    ]
    for checkpoint in checkpoints or [None]:
        named = title(checkpoint, facts.profile, facts.seed, page.width, facts.redraw)
        lines += page.plain(named, "bold")
    packages = environment()["packages"]
    only = checkpoints[0] if len(checkpoints) == 1 else None
    return lines + page.plain(versions(only, packages, page.width), "light")


def summary(
    finished: Finished,
    page: Page,
    *,
    expected: Expectations | None = None,
    cache: Path | None = None,
    seconds: float = 0.0,
    drawn: Drawn | None = None,
) -> list[Line]:
    """Return one checkpoint's part of the summary."""
    rows = [row_of(verdict, finished, expected) for verdict in finished.verdicts]
    lines: list[Line] = []
    if page.quiet == 0:
        named = title(
            finished.checkpoint, finished.profile, finished.seed, page.width, finished.redraw
        )
        lines += page.plain(named, "bold")
    if page.quiet < 2:
        shown = [row for row in rows if not (page.quiet and row.quiet)]
        lines += table(shown, page.width, ascii_only=page.ascii_only)
    lines += page.plain(
        closing(
            finished.verdicts,
            finished.record,
            cache,
            seconds,
            start=page.start,
            width=page.width,
        )
    )
    if finished.spent and page.quiet == 0:
        lines += page.plain(fold(_spent(finished.spent), page.width, indent=9))
    if finished.sweeps and page.quiet == 0:
        lines += page.plain(fold(_sweeps(finished.sweeps), page.width, indent=9))
    if drawn is not None and page.quiet < 2:
        lines += _curves(drawn, page)
    if finished.comparison is not None:
        from stillwired.report.comparison import comparison_lines

        lines += comparison_lines(finished.comparison, page)
    if finished.gate is not None and page.quiet < 2:
        style = "" if finished.gate.passed else "red"
        for text in finished.gate.lines:
            lines += page.plain(wrap(text, page.width, 0), style)
    return lines


def results(ledger: Ledger, page: Page, drawn: Mapping[Path, Drawn]) -> list[Line]:
    """Return what a run shows at its end: each checkpoint's summary, then what else must be said.

    Args:
        ledger: The run, closed.
        page: Where it is shown.
        drawn: What became of the curves, by the record that they are drawn from.
    """
    run, lines = ledger.run, list[Line]()
    for one in ledger.shown:
        lines += summary(
            one,
            page,
            expected=run.expected,
            cache=cache_of(run.settings) if one.reads_checkpoint else None,
            seconds=time.time() - run.started,
            drawn=drawn.get(one.record) if one.record is not None else None,
        )
    for trial in ledger.trials:
        from stillwired.report.matrix import matrix_lines

        lines += matrix_lines(trial.matrix, trial.decision, page, trial.survivors, trial.path)
    return lines + aftermath(ledger.finished, page, run.folder, ledger.errors, ledger.unwritten)


def _sweeps(sweeps: Mapping[str, tuple[int, int]]) -> list[str]:
    """Say how much less was computed than one full forward a row would have."""
    found = [f"{label} 1/{full / cells:.0f}" for label, (cells, full) in sweeps.items()]
    return [f"sweeps:  cells, of those of full forwards: {found[0]}", *found[1:]]


def _spent(spent: Mapping[str, float]) -> list[str]:
    """Say what a run's time went into, most first."""
    whole = sum(spent.values()) or 1.0
    most = sorted(spent.items(), key=lambda kind: -kind[1])
    found = [f"{kind} {100 * seconds / whole:.0f} %" for kind, seconds in most]
    return [f"time:    {found[0]}", *found[1:]]


def _curves(drawn: Drawn, page: Page) -> list[Line]:
    """Say where the curves lie, or why they could not be drawn; nothing if there were none."""
    if drawn.problem:
        return page.plain(wrap(f"No curves were drawn. {drawn.problem}", page.width, 0), "yellow")
    if not drawn.paths:
        return []
    first, *others = (path(file, page.start) for file in drawn.paths)
    return page.plain(fold([f"curves:  {first}", *others], page.width, indent=9))


def row_of(verdict: Verdict, finished: Finished, expected: Expectations | None) -> Row:
    """Return a verdict with what was published and what the gate or a file makes of it."""
    note = ""
    if expected is not None:
        if not expected.met(verdict):
            allowed = " or ".join(expected.allowed(verdict))
            note = f"{allowed} expected"
        elif verdict.key in expected.cells:
            note = "expected"
    elif verdict.verdict == "FAILS" and finished.gate is not None:
        note = "" if finished.gate.corrected.get(verdict.key, True) else "not after correction"
    quiet = (verdict.verdict == "HOLDS" and not note) or note == "expected"
    return Row(verdict, finished.published.get(verdict.claim, ""), note, quiet)


def aftermath(
    finished: Sequence[Finished],
    page: Page,
    folder: RunFolder,
    errors: int = 0,
    unwritten: str = "",
) -> list[Line]:
    """Return what must be said after the tables: errors, and cells that stayed behind."""
    judged = sum(len(one.verdicts) for one in finished)
    stay = f"The cells judged so far stay in {path(folder.path / 'cells', page.start)}"
    lines: list[str] = []
    if errors:
        lines.append(f"{errors} not judged, because of errors.")
    if unwritten:
        lines.append(f"No record was written. {unwritten} {stay}.")
    elif any(one.record is None for one in finished):
        lines.append(f"Interrupted: {judged} judged, no record was written. {stay}.")
    elif not finished:
        lines.append("No claim was judged, so there is no record.")
    return [line for text in lines for line in page.plain(wrap(text, page.width, 0), "red")]


def nothing_judged(deselected: int) -> str:
    """Explain pytest's exit code 5 to somebody who meant to judge claims."""
    why = (
        f"{deselected} were collected, and -k, -m or --deselect left them all out"
        if deselected
        else "none was collected; name their folder, as in `pytest claims/`"
    )
    return f"No claim was judged: {why}. Exit code 5 says that nothing was run."
