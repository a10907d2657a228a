"""Two records side by side, for people: what was kept, gained and lost, worst first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from stillwired.report.grid import Entry, Line, Span, grid
from stillwired.report.terminal import intervals
from stillwired.report.text import NOTHING, fold, number, path, to_ascii, where, wrap

if TYPE_CHECKING:
    from stillwired.judge.changes import Change
    from stillwired.records.compare import Comparison
    from stillwired.report.summary import Page

STYLES = {
    "BROKEN": "purple",
    "LOST": "red",
    "UNDECIDED": "yellow",
    "NOT COMPARED": "cyan",
    "KEPT": "green",
    "GAINED": "blue",
    "NEW": "cyan",
}
_ALWAYS = ("KEPT", "GAINED", "LOST", "UNDECIDED")
_GOOD = ("KEPT", "GAINED", "NEW")


def comparison_lines(comparison: Comparison, page: Page) -> list[Line]:
    """Return what stands beneath the verdicts: with what they are compared, each cell, counts.

    What the gate makes of it is not among them.
    """
    lines: list[Line] = []
    if page.quiet < 2:
        for text in _about(comparison, page):
            lines += page.plain(wrap(text, page.width, 0), "bold" if not lines else "")
        shown = [c for c in comparison.changes if not (page.quiet and c.word in _GOOD)]
        lines += _table(shown, comparison, page)
    return lines + page.plain(fold(tally(comparison.changes), page.width, gap=3))


def note(change: Change, comparison: Comparison) -> str:
    """Say in a word or two what qualifies a change's word; empty if nothing does."""
    if change.word == "LOST" and comparison.gate.corrected.get(change.key) is False:
        return "not after correction"
    return change.cause


def tally(changes: Iterable[Change]) -> list[str]:
    """Count the words, of cells that held before and of the others."""
    held: list[str] = []
    others: list[str] = []
    for change in changes:
        (held if change.held else others).append(str(change.word))
    of_held = [w for w in STYLES if w in held or w in _ALWAYS]
    of_others = [w for w in STYLES if w in others]
    return [
        f"{len(held)} held before: {_counts(held, of_held)}",
        *([f"{len(others)} did not: {_counts(others, of_others)}"] if others else []),
    ]


def _counts(words: list[str], named: list[str]) -> str:
    return ", ".join(f"{words.count(word)} {word.lower()}" for word in named)


def _about(comparison: Comparison, page: Page) -> list[str]:
    then, now = (
        f"{known.get('name') or 'no checkpoint'}"
        + (f" (sha256 {known['digest'][:8]}…)" if known.get("digest") else "")
        for known in (comparison.then, comparison.now)
    )
    accepted = f", accepted {comparison.accepted}" if comparison.accepted else ""
    why = f": {comparison.note}" if comparison.note else ""
    return [
        f"{now} compared with {then}",
        f"from {path(comparison.path, page.start)}{accepted}{why}",
        *comparison.remarks,
    ]


def _table(changes: list[Change], comparison: Comparison, page: Page) -> list[Line]:
    if not changes:
        return []
    say = to_ascii if page.ascii_only else str
    bounds = intervals(
        [(c.decided.low, c.decided.high) if c.decided else (None, None) for c in changes]
    )
    entries = [
        _entry(change, interval, note(change, comparison), say)
        for change, interval in zip(changes, bounds, strict=True)
    ]
    titles = ("claim", "where", "then", "now", "change", "95 % interval", "allowed", "word")
    lines = grid(
        titles, entries, page.width, spare="allowed", longest="NOT COMPARED", right=("change",)
    )
    if any(entry.bold for entry in entries):
        why = "* primary cell that held: these decide, with what is missing or BROKEN"
        lines.append([Span(why, "light")])
    return lines


def _entry(change: Change, interval: str, remark: str, say: Any) -> Entry:
    part, word = change.decided, str(change.word)
    counts = change.primary and change.held
    texts = (
        change.claim,
        where(change.params) + (" *" if counts else ""),
        str(change.then or NOTHING),
        str(change.now or NOTHING),
        NOTHING if part is None else number(part.estimate),
        interval,
        NOTHING if part is None else part.allowed,
        f"{word} ({remark})" if remark else word,
    )
    return Entry(tuple(map(say, texts)), STYLES[word], say(change.reason), bold=counts)
