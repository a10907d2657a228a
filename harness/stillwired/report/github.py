"""The summary of a job on GitHub, in Markdown.

Names and texts are written as entities wherever Markdown would see more than text in them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

from stillwired.errors import RecordError
from stillwired.judge.gate import Gate
from stillwired.records.compare import Comparison
from stillwired.report.comparison import note, tally
from stillwired.report.drawing import counted
from stillwired.report.lens_terminal import pieces
from stillwired.report.reproduce import recipe
from stillwired.report.shown import Shown
from stillwired.report.terminal import Row
from stillwired.report.terminal import tally as counts
from stillwired.report.text import NOTHING, interval, number, where

LIMIT = 1024 * 1024
"""Bytes that GitHub takes as the summary of a step; it drops a longer one whole."""
_SPARE = 16 * 1024
_LEAST = 1024  # below it a table is not worth its heading
_LINES = 30  # of the gate; the tables say the same

_MARKS = str.maketrans({sign: f"&#{ord(sign)};" for sign in "|*_`[]~@:\\#$!"})
_CHANGE_HEADS = (
    *("word", "claim", "where", "then", "now"),
    *("change", "95 % interval", "allowed", "why"),
)
_HEADS = ("verdict", "claim", "where", "estimate", "95 % interval", "least", "why")


def on_github(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether GitHub runs this."""
    return environment.get("GITHUB_ACTIONS") == "true"


def job_summary(
    records: Sequence[Shown], remarks: Sequence[str] = (), room: int = LIMIT - _SPARE
) -> str:
    """Write the summary of a run.

    Args:
        records: What was judged.
        remarks: What went wrong in the run, a sentence each.
        room: Bytes that it may take, shared evenly. What does not fit is counted and left out,
            what holds before what fails.
    """
    each = room // max(len(records), 1)
    said = "".join(f"**{_text(remark)}**\n\n" for remark in remarks)
    return said + "".join(_summary(shown, each) for shown in records)


def append_summary(path: Path, text: str) -> None:
    """Add a summary to the file that GitHub names; other tools may have written there before.

    Raises:
        RecordError: If it cannot be written.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise RecordError(
            f"The job summary {path} cannot be written: {error.strerror or error}."
        ) from error


def room_in(path: Path) -> int:
    """Return the bytes that are left in a step's summary."""
    used = path.stat().st_size if path.is_file() else 0
    return max(LIMIT - _SPARE - used, 0)


def _summary(shown: Shown, room: int) -> str:
    finished = shown.finished
    gate = finished.gate
    answer = "" if gate is None else ": the gate passes" if gate.passed else ": the gate fails"
    head = [f"## {_text(shown.name)}{answer}", "", f"**{_text(counts(finished.verdicts))}**", ""]
    head += _listed(gate)
    foot = ["", "<details><summary>How to reproduce it</summary>", "", *_made(shown)]
    foot += ["", "</details>", "", ""]
    changed = _comparison(shown.comparison, room // 3) if shown.comparison is not None else []
    left = room - _size(head) - _size(foot) - _size(changed)
    rows = list(shown.rows.values())
    urgent = sorted((row for row in rows if _urgency(row) is not None), key=_urgency_of)
    others = [row for row in rows if _urgency(row) is None]
    body: list[str] = []
    if urgent:
        body += ["", *_table(_HEADS, list(map(_cells, urgent)), left)]
    left -= _size(body)
    if others and left < _LEAST:
        body += ["", f"{counted(len(others), 'other cell')}: see the record."]
    elif others:
        title = counted(len(others), "other cell" if urgent else "cell")
        body += ["", f"<details><summary>{title}</summary>", ""]
        body += [*_table(_HEADS, list(map(_cells, others)), left - 200), "", "</details>"]
    return "\n".join([*head, *changed, *body, *foot])


def _urgency(row: Row) -> int | None:
    """Return how early a row stands in the table of what needs a look; None if it does not."""
    verdict, word = row.verdict, row.verdict.verdict
    if word == "BROKEN":
        return 0
    # What was not expected says so; what was, or is not primary, can wait.
    if row.note.endswith("expected") and row.note != "expected":
        return 1
    if word == "FAILS" and row.note != "expected":
        return 2 if verdict.primary and not row.note else 3
    if word == "INCONCLUSIVE" and verdict.primary and row.note != "expected":
        return 4
    return None


def _urgency_of(row: Row) -> int:
    urgency = _urgency(row)
    assert urgency is not None
    return urgency


def _comparison(comparison: Comparison, room: int) -> list[str]:
    """Write what became of an older record's cells; those that were kept are only counted."""
    then = comparison.then.get("name") or "no checkpoint"
    lines = ["", f"### Compared with {_text(then)}", ""]
    lines += [f"- {_text(line)}" for line in tally(comparison.changes)]
    cells = [
        (
            f"{change.word} ({remark})" if (remark := note(change, comparison)) else change.word,
            change.claim,
            where(change.params) + (" *" if change.primary and change.held else ""),
            change.then or NOTHING,
            change.now or NOTHING,
            NOTHING if part is None else number(part.estimate),
            NOTHING if part is None else interval(part.low, part.high),
            NOTHING if part is None else part.allowed,
            change.reason,
        )
        for change in comparison.changes
        if change.word not in ("KEPT", "NEW")
        for part in (change.decided,)
    ]
    return [*lines, "", *_table(_CHANGE_HEADS, cells, room - _size(lines))] if cells else lines


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], room: int) -> list[str]:
    """Write a table as far as it fits, and how many rows do not."""
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    left = room - _size(lines) - 100
    for done, row in enumerate(rows):
        line = f"| {' | '.join(map(_text, row))} |"
        left -= _size([line])
        if left < 0:
            return [*lines, "", f"{counted(len(rows) - done, 'more cell')}: see the record."]
        lines.append(line)
    return lines


def _cells(row: Row) -> tuple[str, ...]:
    verdict = row.verdict
    return (
        f"{verdict.verdict} ({row.note})" if row.note else str(verdict.verdict),
        verdict.claim,
        where(verdict.params) + (" *" if verdict.primary else ""),
        number(verdict.estimate),
        interval(verdict.low, verdict.high),
        verdict.least or NOTHING,
        verdict.reason,
    )


def _listed(gate: Gate | None) -> list[str]:
    """List what a gate says, as far as anybody reads it."""
    lines = gate.lines if gate is not None else ()
    more = [f"- {counted(len(lines) - _LINES, 'more line')}"] if len(lines) > _LINES else []
    return [*(f"- {_text(line)}" for line in lines[:_LINES]), *more]


def _made(shown: Shown) -> Iterator[str]:
    made, data = recipe(shown.data), shown.data
    # Indented code needs no fence that a text could close.
    yield f"    {' '.join(made.command.split())}"
    yield ""
    yield from (f"- {_text(remark)}" for remark in made.notes)
    digest = data["checkpoint"].get("digest")
    if digest:
        yield f"- Checkpoint: sha256 {_text(digest)}"
    if data["corpus"] is not None:
        yield f"- Text: sha256 {_text(data['corpus']['digest'])}"
    yield f"- Record: sha256 {_text(data['digest'])}"


def _text(text: str) -> str:
    """Write a text on one line so that Markdown and HTML see nothing in it but text."""
    plain = "".join(shown for shown, _ in pieces(" ".join(text.split()), literal=True))
    return escape(plain, quote=False).translate(_MARKS)


def _size(lines: Sequence[str]) -> int:
    return sum(len(line.encode()) + 1 for line in lines)
