"""The verdict table and the lines around it, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillwired.report.grid import GAP, Entry, grid
from stillwired.report.grid import Line as Line
from stillwired.report.grid import Span as Span
from stillwired.report.text import (
    NOTHING,
    count,
    dtype,
    duration,
    fact,
    fold,
    number,
    pad,
    path,
    published,
    size,
    to_ascii,
    where,
    width_of,
)

if TYPE_CHECKING:
    from stillwired.judge.results import BesideResult, Verdict
    from stillwired.records.baseline import Side
    from stillwired.records.expected import Expectations

_NAME = "stillwired"
WORDS = ("HOLDS", "FAILS", "INCONCLUSIVE", "NOT APPLICABLE", "BROKEN", "REPORTED")
STYLES = {
    "HOLDS": "green",
    "FAILS": "red",
    "INCONCLUSIVE": "yellow",
    "NOT APPLICABLE": "cyan",
    "BROKEN": "purple",
    "REPORTED": "blue",
}


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        verdict: The cell's verdict.
        published: What the paper measured.
        note: Written after the verdict in brackets, for example ``expected``.
        quiet: A quiet table leaves it out.
    """

    verdict: Verdict
    published: str
    note: str = ""
    quiet: bool = False


def _blocks(known: Mapping[str, Any]) -> str:
    """Name the size of a checkpoint by its blocks, and their heads where they have attention."""
    heads = known.get("heads")
    if heads is None:
        return ""
    return f"{known['layers']} × {heads} heads" if heads else f"{known['layers']} blocks, no heads"


def title(
    checkpoint: Mapping[str, Any] | None, profile: str, seed: int, width: int, redraw: str = ""
) -> list[str]:
    """Return what says which checkpoint was judged, how, and from which draws.

    One line if that fits; otherwise the checkpoint's particulars stand beneath.
    """
    known = checkpoint or {}
    regime = known.get("regime", {})
    name = known.get("name") or "no checkpoint"
    how = [regime.get("device", ""), dtype(regime.get("dtype", "")), regime.get("attention", "")]
    if regime.get("accelerator"):
        how[0] += f" ({regime['accelerator']})"
    if regime.get("remote"):
        how.append(f"at {regime['remote']}")
    run = [" ".join(how).strip() if known.get("name") else "", profile, f"seed {seed}"]
    run += [f"redraw {redraw}"] if redraw else []
    about = [
        str(known["origin"]) if known.get("origin") else "",
        f"sha256 {str(known['digest'])[:8]}…" if known.get("digest") else "",
        _blocks(known),
    ]
    inner = [part for part in about if part]
    one = GAP.join(
        part for part in (_NAME, f"{name} ({', '.join(inner)})" if inner else name, *run) if part
    )
    if width_of(one) <= width:
        return [one]
    first = fold((part for part in (_NAME, name, *run) if part), width, indent=len(_NAME) + 2)
    commas = [f"{part}," for part in inner[:-1]] + inner[-1:]
    return first + _indented(fold(commas, width - len(_NAME) - 2, gap=1))


def versions(
    checkpoint: Mapping[str, Any] | None, packages: Mapping[str, str], width: int
) -> list[str]:
    """Return the line of parameters and library versions under the title."""
    chunks = [f"{name} {version}" for name, version in packages.items()]
    if checkpoint is not None and checkpoint.get("parameters"):
        chunks.insert(0, f"{size(checkpoint['parameters'])} parameters")
    return _indented(fold(chunks, width - len(_NAME) - 2))


def _indented(lines: Sequence[str]) -> list[str]:
    return [" " * (len(_NAME) + 2) + line for line in lines]


def table(rows: Sequence[Row], width: int, *, ascii_only: bool = False) -> list[Line]:
    """Lay the table out for a terminal of that width.

    The columns are aligned; where they do not fit, the published value goes first, then the
    rows of a claim stand beneath its name. Reasons follow the verdict if the line has room,
    otherwise they stand wrapped below, once if several cells in a row share one.
    """
    if not rows:
        return []
    say = to_ascii if ascii_only else str
    entries = _entries(rows, say)
    titles = ("claim", "where", "estimate", say("95 % interval"), "least", "published", "verdict")
    lines = grid(
        titles, entries, width, spare="published", longest="NOT APPLICABLE", right=("estimate",)
    )
    if any(entry.bold for entry in entries):
        lines.append([Span("* primary cell: these alone decide the exit code", "light")])
    return lines


def _entries(rows: Sequence[Row], say: Any) -> list[Entry]:
    bounds = intervals([(row.verdict.low, row.verdict.high) for row in rows])
    # Where every cell is primary, nothing stands out.
    marked = any(not row.verdict.primary for row in rows)
    entries = []
    for row, interval in zip(rows, bounds, strict=True):
        verdict = row.verdict
        word, primary = str(verdict.verdict), marked and verdict.primary
        texts = (
            verdict.claim,
            where(verdict.params) + (" *" if primary else ""),
            number(verdict.estimate),
            interval,
            verdict.least or NOTHING,
            published(row.published),
            f"{word} ({row.note})" if row.note else word,
        )
        entries.append(
            Entry(tuple(map(say, texts)), STYLES[word], say(verdict.reason), bold=primary)
        )
    return entries


def intervals(ends: Sequence[tuple[float | None, float | None]]) -> list[str]:
    """Write intervals one beneath the other, so that their figures stand aligned."""
    lows, highs = ([number(end) for end in side] for side in zip(*ends, strict=True))
    low_width, high_width = max(map(width_of, lows)), max(map(width_of, highs))
    return [
        NOTHING
        if bounds == (None, None)
        else f"{pad(low, low_width, right=True)} … {pad(high, high_width, right=True)}"
        for bounds, low, high in zip(ends, lows, highs, strict=True)
    ]


def tally(verdicts: Sequence[Verdict]) -> str:
    """Count the verdicts: ``31 hold, 1 fails, 2 inconclusive, 4 not applicable, 0 broken``.

    What was reported is no verdict, and is counted only if there is any: ``…, 3 reported``.
    """
    counts = {word: sum(v.verdict == word for v in verdicts) for word in WORDS}
    verbs = {
        "HOLDS": "holds" if counts["HOLDS"] == 1 else "hold",
        "FAILS": "fails" if counts["FAILS"] == 1 else "fail",
    }
    return ", ".join(
        f"{n} {verbs.get(word, word.lower())}"
        for word, n in counts.items()
        if n or word != "REPORTED"
    )


def closing(
    verdicts: Sequence[Verdict],
    record: Path | None,
    cache: Path | None,
    seconds: float,
    *,
    start: Path,
    width: int,
) -> list[str]:
    """Return the lines under the table: counts, time, record, cache."""
    chunks = [tally(verdicts), duration(seconds)]
    if record is not None:
        chunks.append(f"record: {path(record, start)}")
    if cache is not None:
        chunks.append(f"cache: {path(cache, start)}")
    return fold(chunks, width, gap=3)


def failure(
    declaration: Mapping[str, Any],
    verdict: Verdict,
    expected: Expectations | None,
    baseline: Side | None = None,
) -> str:
    """Say why a verdict makes its test fail; empty if it does not."""
    if expected is not None:
        return "" if expected.met(verdict) else unexpected(declaration, verdict, expected)
    if baseline is not None and verdict.verdict != "BROKEN":
        if verdict.verdict not in ("FAILS", "NOT APPLICABLE") or not baseline.held(verdict):
            return ""
        held = f"{verdict.verdict}, and it held in {baseline.path.name}"
        return f"{held}\n{message(declaration, verdict)}"
    return message(declaration, verdict) if verdict.verdict in ("FAILS", "BROKEN") else ""


def message(declaration: Mapping[str, Any], verdict: Verdict) -> str:
    """Say in a few lines why a claim's test fails, in place of a traceback."""
    source = declaration["source"]
    paper = source["paper"]
    lines = [
        verdict.reason or f"{verdict.verdict}: {verdict.claim}",
        f"  claim        {declaration['says']}",
    ]
    unit = declaration.get("unit", "clusters")
    if verdict.estimate is not None:
        lines.append(f"  measured     {_measured(verdict, unit)}")
    if verdict.least:
        lines.append(f"  needed       {verdict.least}")
    lines.append(f"  published    {declaration['published']}")
    lines.append(f"  source       {paper['title']}, {source['place']}")
    lines += [
        f"  {check.kind:<11}  {check.name}: {check.detail or 'not passed'}"
        for check in verdict.checks
        # What already stands in full at the top is not said twice.
        if check.passed is not True and check.detail != verdict.reason
    ]
    return "\n".join([*lines, *beside(verdict, unit)])


def beside(verdict: Verdict, unit: str) -> list[str]:
    """Return a line for everything that stands next to a verdict; ``unit`` names the clusters."""
    return [
        *(f"  beside       {one.name}: {_measured(one, unit)}" for one in verdict.beside),
        *(f"  fact         {name}: {fact(value)}" for name, value in verdict.facts.items()),
    ]


def _measured(figures: Verdict | BesideResult, unit: str) -> str:
    return (
        f"{number(figures.estimate)}, "
        f"95 % interval {number(figures.low)} … {number(figures.high)}, "
        f"{count(figures.n)} examples in {count(figures.clusters)} {unit}"
    )


def unexpected(declaration: Mapping[str, Any], verdict: Verdict, expected: Expectations) -> str:
    """Say why a verdict that was not expected fails the run, even a better one."""
    allowed = " or ".join(expected.allowed(verdict))
    known = expected.reason(verdict.key)
    kind = "reported cell" if verdict.reported else "cell"
    listed = f" ({known})" if known else f", as every {kind} that the file does not list"
    return (
        f"{verdict.verdict}, where {expected.path.name} expects {allowed}{listed}\n"
        f"{message(declaration, verdict)}\n"
        f"  remedy       if this verdict is right, write it into {expected.path} with its reason"
    )
