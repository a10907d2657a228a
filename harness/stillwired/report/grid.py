"""A table for terminals: aligned columns, a word that decides at the end, and its reason.

Everything is laid out as spans of text with a style, so that the same lines serve a terminal
with colours, a terminal without, and a log file.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from stillwired.report.text import pad, width_of, wrap

GAP = "  "
INDENT = 4


class Span(NamedTuple):
    """A piece of a line and how it looks: names of styles, separated by blanks."""

    text: str
    style: str = ""


Line = list[Span]


@dataclass(frozen=True)
class Entry:
    """One row, ready to be aligned.

    Attributes:
        texts: A text for every column. Rows of equal first texts belong together; the last one
            is the word that decides.
        style: How the word looks.
        reason: Follows the word.
        bold: Whether the first column stands out.
    """

    texts: tuple[str, ...]
    style: str
    reason: str = ""
    bold: bool = False


def grid(
    titles: Sequence[str],
    entries: Sequence[Entry],
    width: int,
    *,
    spare: str,
    longest: str,
    right: Collection[str],
) -> list[Line]:
    """Lay rows out for a terminal of that width.

    The columns are aligned; where they do not fit, the spare one goes first, then rows that
    belong together stand beneath what they share. Reasons follow the word if the line has room,
    otherwise they stand wrapped below, once if several rows running share one.

    Args:
        titles: The columns.
        entries: The rows, at least one.
        width: Columns of the terminal.
        spare: Title of the column that can be done without.
        longest: The longest word: nothing follows the last column but its reason, so that it
            needs no more room than this.
        right: Titles of columns that are aligned on their right.
    """
    widths = [
        max(width_of(title), *(width_of(entry.texts[k]) for entry in entries))
        for k, title in enumerate(titles)
    ]
    widths[-1] = min(widths[-1], len(longest))
    columns = list(range(len(titles)))

    def total() -> int:
        return sum(widths[k] for k in columns) + len(GAP) * (len(columns) - 1)

    def fill(text: str, k: int) -> str:
        return pad(text, widths[k], right=titles[k] in right)

    if total() > width:
        columns.remove(titles.index(spare))
    stacked = total() > width
    if stacked:
        columns.remove(0)
    lead = " " * INDENT if stacked else ""
    head = GAP.join(fill(titles[k], k) for k in columns)
    lines: list[Line] = [[Span((lead + head).rstrip(), "bold")]]
    above = said = ""
    for entry in entries:
        if stacked and entry.texts[0] != above:
            lines.append([Span(entry.texts[0])])
        above = entry.texts[0]
        # What a shared fixture ran into would otherwise fill the page, once per cell.
        again, said = entry.reason == said != "", entry.reason
        line: Line = [Span(lead)] if stacked else []
        for k in columns[:-1]:
            style = "bold" if k == columns[0] and entry.bold else ""
            line.append(Span(fill(entry.texts[k], k) + GAP, style))
        line.append(Span(entry.texts[-1], entry.style))
        used = sum(width_of(span.text) for span in line)
        room = width - used - len(GAP)
        reason = "(as above)" if again and width_of(entry.reason) > room else entry.reason
        if reason and width_of(reason) <= room:
            lines.append([*line, Span(GAP + reason, "light")])
            continue
        lines.append(line)
        lines += [[Span(text, "light")] for text in wrap(reason, width, INDENT + len(lead))]
    return lines
