"""Notes that GitHub shows at the tests of claims that fail, or stay open."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillwired.report.shown import Shown
from stillwired.report.status import ERROR, About

SHOWN = 10
"""Notes of one kind that GitHub shows for a step."""


@dataclass(frozen=True)
class Told:
    """What a test of a claim came to, and where it stands.

    Attributes:
        spec: The checkpoint's spec, or None.
        cell: The cell's name within its record.
        word: The verdict, or ``ERROR``.
        expected: Whether a file of expected verdicts allows it; None without such a file.
        failed: Whether the test failed.
        text: Why it failed, as the test's report says it.
        test: The test's name.
        path: Its file.
        line: Its line, counted from 1.
    """

    spec: str | None
    cell: str
    word: str
    expected: bool | None
    failed: bool
    text: str
    test: str
    path: Path
    line: int

    @classmethod
    def of(cls, report: Any, about: About, root: Path) -> Told:
        """Take it from a test's report, as pytest has it.

        Args:
            report: The report.
            about: What it says of its verdict.
            root: The folder from which pytest names files.
        """
        file, line, test = report.location
        why = report.longrepr
        crash = getattr(why, "reprcrash", None)
        text = crash.message if crash is not None else why[2] if isinstance(why, tuple) else why
        cell, spec = about["cell"]
        return cls(
            spec=spec,
            cell=cell,
            word=about["word"],
            expected=about["expected"],
            failed=report.failed,
            text="" if text is None else str(text),
            test=test,
            path=root / file,
            line=(line or 0) + 1,
        )


def notes(
    told: Sequence[Told], records: Sequence[Shown], root: Path, *, strict: bool = False
) -> list[str]:
    """Return the commands that make GitHub show notes at the tests of claims.

    Errors are what fails the run, warnings are other claims that fail, and notices are primary
    cells that stay open. Of each kind GitHub shows ten; the last of more says how many follow.

    Args:
        told: What the tests came to, in their order.
        records: What was judged.
        root: The folder of the repository that GitHub has checked out.
        strict: Whether an INCONCLUSIVE primary cell fails the run.
    """
    known = {shown.data["checkpoint"]["spec"]: shown for shown in records}
    found: dict[str, list[tuple[Told, str]]] = {"error": [], "warning": [], "notice": []}
    for one in told:
        kind, text = _kind(one, known.get(one.spec), strict)
        if kind:
            found[kind].append((one, text))
    return [line for kind, ones in found.items() for line in _commands(kind, ones, root)]


def _kind(one: Told, shown: Shown | None, strict: bool) -> tuple[str, str]:
    """Return the kind of note that a test deserves, and its text; an empty kind for none."""
    if one.word in (ERROR, "BROKEN") or one.expected is False:
        return "error", one.text
    row = shown.rows.get(one.cell) if shown is not None else None
    if one.expected or shown is None or row is None:
        return "", ""
    gate, comparison = shown.finished.gate, shown.comparison
    if comparison is not None:
        # What fails the run is what was lost, and that may still hold by itself.
        lost = comparison.gate.corrected.get(one.cell, False)
        if lost or one.failed:
            said = [line for line in comparison.gate.lines if line.startswith(f"{one.cell} ")]
            return "error", (said or [one.text])[0]
    elif one.word == "FAILS" and gate is not None and gate.corrected.get(one.cell):
        return "error", one.text
    if one.word == "FAILS":
        return "warning", one.text
    if one.word == "INCONCLUSIVE" and row.verdict.primary:
        return "error" if strict and comparison is None else "notice", one.text
    return "", ""


def _commands(kind: str, ones: Sequence[tuple[Told, str]], root: Path) -> Iterator[str]:
    for place, (one, said) in enumerate(ones[:SHOWN]):
        text = said or one.word
        if place == SHOWN - 1 and len(ones) > SHOWN:
            text += f"\n{len(ones) - SHOWN} more; the job summary has them all."
        try:
            file = one.path.relative_to(root)
        except ValueError:
            file = one.path
        title = f"{one.word}: {one.cell or one.test}"
        given = {"file": file.as_posix(), "line": str(one.line), "title": title}
        written = ",".join(f"{key}={_property(value)}" for key, value in given.items())
        yield f"::{kind} {written}::{_message(text)}"


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")
