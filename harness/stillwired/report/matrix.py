"""The matrix of claims and mutants, for people: letters, a legend, and what stands out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from stillwired.records.matrix import Matrix, Row, Survivor
from stillwired.report.summary import Page
from stillwired.report.terminal import STYLES, Line, Span
from stillwired.report.text import fold, pad, path, to_ascii, where, width_of, wrap

if TYPE_CHECKING:
    from stillwired.mutants.catalogue import Mutant
    from stillwired.records.survivors import Decision, Survivors

LETTERS = {
    "HOLDS": "H",
    "FAILS": "F",
    "INCONCLUSIVE": "I",
    "NOT APPLICABLE": "N",
    "BROKEN": "B",
    "REPORTED": "R",
}
ABSENT = "·"
T = TypeVar("T")
_GROUP = 10
_GAP = 2


def matrix_lines(
    matrix: Matrix,
    decision: Decision,
    page: Page,
    survivors: Survivors | None = None,
    written: Path | None = None,
) -> list[Line]:
    """Return a matrix with its legend, what survived, and what that comes to.

    Args:
        matrix: The matrix.
        decision: What was made of it.
        page: Where it is shown.
        survivors: The known survivors, for their reasons.
        written: Where the matrix was written, or None.
    """
    head = f"{matrix.checkpoint} under {len(matrix.mutants)} mutants  {matrix.profile}  "
    lines = page.plain([head + f"seed {matrix.seed}"], "bold")
    if page.quiet < 2:
        lines = [*page.plain([""]), *lines, *_table(matrix, page)]
        lines += _legend(matrix, page)
        claims = survivors.claims if survivors else {}
        mutants = survivors.mutants if survivors else {}
        lines += _listed(
            "claims that their own mutant left standing", matrix.standing, claims, page
        )
        lines += _listed("damaged instruments that nobody noticed", matrix.unnoticed, mutants, page)
        # These decide nothing.
        lines += _listed("harmless mutants that cost a HOLDS", matrix.costly, {}, page, "yellow")
    chunks = [
        f"{len(matrix.tried) - len(matrix.standing)} of {len(matrix.tried)} claims fail under "
        "their own mutant",
        f"{len(matrix.instruments) - len(matrix.unnoticed)} of {len(matrix.instruments)} damaged "
        "instruments were noticed",
    ]
    if written is not None:
        chunks.append(f"matrix: {path(written, page.start)}")
    lines += page.plain(fold(chunks, page.width, gap=3))
    for text in decision.stale:
        lines += page.plain(wrap(text, page.width, 0), "red")
    return lines


def _table(matrix: Matrix, page: Page) -> list[Line]:
    """Lay out a line for each row and a column for each mutant; too many columns go on beneath."""
    cells = [where(row.params) for row in matrix.rows]
    claims = max([width_of("claim"), *(width_of(row.claim) for row in matrix.rows)])
    places = max([width_of("where"), *map(width_of, cells)])
    lead = claims + places + 2 * _GAP
    # The undamaged verdict, and then letters in groups, a blank behind each.
    groups = max((page.width - lead - 1 - _GAP) // (_GROUP + 1), 1)
    columns = list(enumerate(matrix.mutants, start=1))
    lines: list[Line] = []
    for part in _parts(columns, groups * _GROUP):
        tens = "".join(str(n // 10) if n % 10 == 0 else " " for n, _ in part)
        units = "".join(str(n % 10) for n, _ in part)
        title = pad("claim", claims) + " " * _GAP + pad("where", places) + " " * _GAP
        lines += page.plain([""])
        if tens.strip():
            lines += page.plain([" " * (lead + 1 + _GAP) + _grouped(tens)], "bold")
        lines += page.plain([f"{title}0{' ' * _GAP}{_grouped(units)}"], "bold")
        for row, place in zip(matrix.rows, cells, strict=True):
            start = pad(row.claim, claims) + " " * _GAP + pad(place, places) + " " * _GAP
            line = [Span(to_ascii(start) if page.ascii_only else start)]
            line += [_letter(str(row.sound), page), Span(" " * _GAP)]
            for k, (_, mutant) in enumerate(part):
                line += [Span(" ")] if k and k % _GROUP == 0 else []
                line.append(_letter(str(row.damaged.get(mutant, "")), page, _own(row, mutant)))
            lines.append(line)
    return lines


def _own(row: Row, mutant: Mutant) -> bool:
    return row.declares == mutant.name


def _letter(word: str, page: Page, own: bool = False) -> Span:
    letter = LETTERS.get(word, "." if page.ascii_only else ABSENT)
    style = STYLES.get(word, "light")
    return Span(letter, f"{style} bold" if own else style)


def _grouped(letters: str) -> str:
    return " ".join("".join(group) for group in _parts(letters, _GROUP)).rstrip()


def _parts(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _legend(matrix: Matrix, page: Page) -> list[Line]:
    words = [f"{letter} {word.lower()}" for word, letter in LETTERS.items()]
    lines = page.plain(["", *fold([*words, f"{ABSENT} not judged"], page.width, gap=3)], "light")
    lines += page.plain(["  0  undamaged"], "light")
    for number, mutant in enumerate(matrix.mutants, start=1):
        harmless = ", meant to be harmless" if mutant.harmless else ""
        text = f"{number:3d}  {mutant.name} ({mutant.damages}{harmless})"
        lines += page.plain([text], "light")
    return lines


def _listed(
    what: str,
    found: Sequence[Survivor],
    reasons: Mapping[str, str],
    page: Page,
    style: str = "red",
) -> list[Line]:
    lines = page.plain(["", f"{what}: {len(found) or 'none'}"], "bold")
    for one in found:
        known = reasons.get(one.name)
        text = f"{one.name}: {one.why}" + ("" if known is None else f"; known: {known}")
        lines += page.plain(wrap(text, page.width, 2), style if known is None else "light")
    return lines
