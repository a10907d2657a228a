"""Pass or fail of a comparison of two records: Holm over the primary cells that held before."""

from __future__ import annotations

from collections.abc import Sequence

from stillwired.judge.changes import Change, ChangeWord
from stillwired.judge.figures import with_interval
from stillwired.judge.gate import Gate, holm, unwatched
from stillwired.judge.results import Word

_KEPT = (ChangeWord.KEPT, ChangeWord.GAINED)
_ORDER = (
    ChangeWord.BROKEN,
    ChangeWord.LOST,
    ChangeWord.UNDECIDED,
    ChangeWord.NOT_COMPARED,
    ChangeWord.KEPT,
    ChangeWord.GAINED,
    ChangeWord.NEW,
)


def upgrade_gate(changes: Sequence[Change], *, strict: bool = False) -> Gate:
    """Decide whether a checkpoint may take another's place.

    What counts are primary cells that held before. The gate fails where the change of one is LOST
    after Holm's correction, where its claim no longer applies, and where it FAILS now, unless its
    change is KEPT (it was near the edge and is so still) and no rival explains it. One that cannot
    be compared, as after a new version of its claim, has its own verdict alone. A cell that held
    and is missing, and anything BROKEN, fails the gate whether primary or not.

    Args:
        changes: Every cell of both records.
        strict: A primary cell that held and whose change is UNDECIDED fails too, and so does one
            that is not compared and does not hold now.
    """
    family = [c for c in changes if c.primary and c.held and c.decided is not None]
    rejected = holm([change.p_lost for change in family])
    corrected = {
        change.key: hit and change.word is ChangeWord.LOST
        for change, hit in zip(family, rejected, strict=True)
    }
    gone: list[str] = []  # by the claims' own standard, which comes first
    lost: list[str] = []
    notes: list[str] = []
    for change in changes:
        key, word = change.key, change.word
        if word is ChangeWord.BROKEN:
            lost.append(f"{key} is BROKEN: {change.reason}")
        elif change.cause == "missing":
            lost.append(f"{key} is LOST: it held and was not judged")
        elif not (change.primary and change.held):
            continue
        elif change.cause == "ability":
            lost.append(f"{key} is LOST: it held and does not apply now: {change.reason}")
        elif word is ChangeWord.NOT_COMPARED:
            # Nothing vouches for it but its own verdict.
            said = f"{key} held and is not compared: {change.reason}"
            if change.now is Word.FAILS:
                gone.append(f"{said}; it FAILS now")
            elif strict and change.now is not Word.HOLDS:
                lost.append(f"{said}; it is {change.now} now, which fails a strict comparison")
            else:
                notes.append(said)
        elif corrected.get(key):
            lost.append(
                f"{key} is LOST (p {change.p_lost:.2g}, Holm over {len(family)} primary cells "
                f"that held): {_figures(change)}"
            )
        elif change.now is Word.FAILS and _is_gone(change):
            gone.append(f"{key} held and FAILS now, its change {word}: {_figures(change)}")
        elif change.now is Word.FAILS:
            notes.append(f"{key} held and FAILS now, though it is {word}: {_figures(change)}")
        elif word is ChangeWord.LOST:
            notes.append(
                f"{key} is LOST (not after correction: p {change.p_lost:.2g} among "
                f"{len(family)} primary cells that held): {_figures(change)}"
            )
        elif word is ChangeWord.UNDECIDED:
            fails = f"{key} is UNDECIDED, which fails a strict comparison: {_figures(change)}"
            lost += [fails] if strict else []
            notes += [] if strict else [f"{key} is UNDECIDED: {_figures(change)}"]
    notes += unwatched((c.claim, c.primary) for c in changes if c.held)
    if changes and not family:
        notes.append("no primary cell that held could be compared")
    failures = [*gone, *lost]
    return Gate(not failures, (*failures, *notes), corrected)


def severity(change: Change) -> tuple[bool, bool, int, bool]:
    """Order of changes, worst first: cells that held before others, then by word."""
    counts = change.primary and change.held
    gone = counts and change.now is Word.FAILS and _is_gone(change)
    concerns = change.held or change.word is ChangeWord.BROKEN
    return not gone, not concerns, _ORDER.index(change.word), not change.primary


def _is_gone(change: Change) -> bool:
    """Whether a claim that FAILS now does so for more than having been near its edge."""
    return change.word not in _KEPT or change.explained


def _figures(change: Change) -> str:
    part = change.decided
    if part is None:
        return change.reason
    figures = f"{with_interval(part.estimate, part.low, part.high)}, {part.allowed} allowed"
    return f"{figures}; {change.reason}" if change.reason else figures
