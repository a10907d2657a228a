"""Pass or fail of a whole record: Holm over the primary cells, or a file of expectations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from stillwired.errors import ClaimError
from stillwired.judge.results import Verdict, Word

ALPHA = 0.05
"""Chance, over all primary cells together, that the gate fails a model that is as claimed."""


@dataclass(frozen=True)
class Gate:
    """The gate's answer.

    Attributes:
        passed: Whether the run passes.
        lines: What failed, or what is worth saying, a line each.
        corrected: For every primary cell by key, whether it FAILS after correction. A cell
            that FAILS by its plain interval only is shown as "FAILS (not after correction)".
    """

    passed: bool
    lines: tuple[str, ...] = ()
    corrected: Mapping[str, bool] = field(default_factory=dict)


def holm(p_values: Sequence[float], alpha: float = ALPHA) -> list[bool]:
    """Return which hypotheses Holm's (1979) step-down procedure rejects."""
    rejected = [False] * len(p_values)
    for step, k in enumerate(sorted(range(len(p_values)), key=lambda k: p_values[k])):
        if p_values[k] > alpha / (len(p_values) - step):
            break
        rejected[k] = True
    return rejected


def gate(
    verdicts: Sequence[Verdict],
    *,
    strict: bool = False,
    expected: Mapping[str, Collection[Word]] | None = None,
) -> Gate:
    """Decide over a whole record. Only a merged record gates, never a shard.

    A REPORTED cell decides nothing: it is never primary, and where verdicts are expected it
    need not be listed.

    Args:
        verdicts: Every cell of one checkpoint.
        strict: An INCONCLUSIVE primary cell fails too. Without effect on expectations.
        expected: Known verdicts by cell key, where they are not HOLDS. If given, they decide
            instead: every cell must come out as listed, unlisted ones must HOLD (or be
            REPORTED, if that is all their claim can be), a better verdict than listed fails
            too, and so does an entry that met no cell. BROKEN is never accepted. Leave out the
            entries of cells that were not asked for.

    Raises:
        ClaimError: If a cell was judged twice.
    """
    twice = [key for key, count in Counter(v.key for v in verdicts).items() if count > 1]
    if twice:
        raise ClaimError(
            f"The cell {twice[0]} was judged twice. Give each test its own parameters."
        )
    corrected = _corrected(verdicts)
    if expected is not None:
        return _against(verdicts, expected, corrected)
    failures: list[str] = []
    notes: list[str] = []
    for verdict in verdicts:
        key, word = verdict.key, verdict.verdict
        if word is Word.BROKEN:
            failures.append(f"{key} is BROKEN: {verdict.reason}")
        elif word is Word.FAILS and corrected.get(key):
            failures.append(
                f"{key} FAILS (p {verdict.p_fail:.2g}, Holm over {len(corrected)} primary cells)"
            )
        elif word is Word.FAILS and verdict.primary:
            notes.append(
                f"{key} FAILS (not after correction: p {verdict.p_fail:.2g} among "
                f"{len(corrected)} primary cells)"
            )
        elif word is Word.INCONCLUSIVE and verdict.primary and strict:
            failures.append(f"{key} is INCONCLUSIVE, which fails a strict run: {verdict.reason}")
    notes += unwatched((v.claim, v.primary) for v in verdicts if not v.reported)
    if not corrected and verdicts:
        notes.append("no primary cell could be judged, so that only BROKEN cells can fail the run")
    return Gate(not failures, (*failures, *notes), corrected)


def unwatched(cells: Iterable[tuple[str, bool]]) -> list[str]:
    """Say which claims have cells here and no primary one among them; nothing if none does.

    Args:
        cells: The claim of each cell, and whether the cell is primary.
    """
    watched: dict[str, bool] = {}
    for claim, primary in cells:
        watched[claim] = watched.get(claim, False) or primary
    names = ", ".join(claim for claim, primary in watched.items() if not primary)
    said = f"judged without a primary cell, so that nothing but BROKEN counts: {names}"
    return [said] if names else []


def gate_part(verdicts: Sequence[Verdict], which: str) -> Gate:
    """Decide over a part of a record, which proves nothing: only BROKEN fails it.

    Args:
        verdicts: The cells of the part.
        which: Which part it is, as in ``2 of 4``.
    """
    lines = [f"{v.key} is BROKEN: {v.reason}" for v in verdicts if v.verdict is Word.BROKEN]
    return Gate(not lines, (*lines, f"a shard does not gate: merge the records ({which})"))


def _corrected(verdicts: Sequence[Verdict]) -> dict[str, bool]:
    judged = {Word.HOLDS, Word.FAILS, Word.INCONCLUSIVE}
    family = [v for v in verdicts if v.primary and v.verdict in judged]
    rejected = holm([1.0 if v.p_fail is None else v.p_fail for v in family])
    return {v.key: hit and v.verdict is Word.FAILS for v, hit in zip(family, rejected, strict=True)}


def _against(
    verdicts: Sequence[Verdict],
    expected: Mapping[str, Collection[Word]],
    corrected: Mapping[str, bool],
) -> Gate:
    lines: list[str] = []
    for verdict in verdicts:
        listed = expected.get(verdict.key)
        allowed = (verdict.usual,) if listed is None else tuple(map(Word, listed))
        if verdict.verdict in allowed and verdict.verdict is not Word.BROKEN:
            continue
        line = f"{verdict.key} is {verdict.verdict}, expected {' or '.join(allowed)}"
        if listed is None:
            line += " (no exception is listed)"
        lines.append(f"{line}: {verdict.reason}" if verdict.reason else line)
    judged = {verdict.key for verdict in verdicts}
    lines += [f"{key} is expected but was not judged" for key in expected if key not in judged]
    return Gate(not lines, tuple(lines), corrected)
