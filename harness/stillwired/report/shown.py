"""What pages and summaries show: a record, what was made of it, and names for its parts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillwired.errors import RecordError
from stillwired.judge.claims import Claim
from stillwired.judge.regions import Region
from stillwired.report.summary import row_of
from stillwired.report.terminal import Row

if TYPE_CHECKING:
    from stillwired.judge.results import PartResult, Verdict
    from stillwired.records.baseline import Side
    from stillwired.records.compare import Comparison
    from stillwired.records.expected import Expectations
    from stillwired.records.finish import Finished

Json = Mapping[str, Any]

_RIVAL = re.compile(r" \(rival\)(?: \[.*\])?$")


@dataclass(frozen=True)
class Shown:
    """A record as a page shows it.

    Attributes:
        finished: Its verdicts and what the gate says of them.
        data: Its content.
        expected: The verdicts that were known, or None.
        pictures: SVG by file name, such as ``future-lens-N1.svg``.
        undrawn: Why there is no picture although there was something to draw; otherwise empty.
    """

    finished: Finished
    data: Json
    expected: Expectations | None = None
    pictures: Mapping[str, str] = field(default_factory=dict)
    undrawn: str = ""

    @property
    def name(self) -> str:
        """The checkpoint's name."""
        return self.data["checkpoint"].get("name") or "no checkpoint"

    @property
    def comparison(self) -> Comparison | None:
        """What became of the cells of a baseline, which then decides the gate; or None."""
        return self.finished.comparison

    @cached_property
    def claims(self) -> dict[str, Claim]:
        """The declarations by claim id, papers together, in the record's order.

        Raises:
            ClaimError: If a declaration has no meaning to this version.
        """
        claims = {name: Claim.from_json(data) for name, data in self.data["declarations"].items()}
        papers = list(dict.fromkeys(claim.source.paper for claim in claims.values()))
        return dict(sorted(claims.items(), key=lambda item: papers.index(item[1].source.paper)))

    @cached_property
    def rows(self) -> dict[str, Row]:
        """Every verdict with its note by cell; claims together, primary cells first."""
        order = list(self.claims)
        verdicts = sorted(
            self.finished.verdicts, key=lambda v: (order.index(v.claim), not v.primary)
        )
        return {v.key: row_of(v, self.finished, self.expected) for v in verdicts}

    def rows_of(self, claim: str) -> list[Row]:
        """Return a claim's rows, its primary cell first."""
        return [row for row in self.rows.values() if row.verdict.claim == claim]

    @cached_property
    def anchors(self) -> dict[str, str]:
        """A name for every cell that can stand in a link, by cell."""
        taken: set[str] = set()
        return {key: _free(_slug(row.verdict), taken) for key, row in self.rows.items()}


def read_shown(
    path: Path,
    *,
    expected: Expectations | None = None,
    baseline: Side | None = None,
    strict: bool = False,
    draw: bool = False,
) -> Shown:
    """Read a record to show it; its verdicts are the stored ones.

    Args:
        path: The record.
        expected: Verdicts that are known and accepted; they decide what the gate says.
        baseline: What it is compared with; the comparison then decides.
        strict: Whether an INCONCLUSIVE primary cell fails the gate, or an UNDECIDED change.
        draw: Whether its pictures are drawn; where they cannot be, the page says why.

    Raises:
        RecordError: If the record cannot be read or trusted, or not be compared.
        UsageError: If the expected verdicts are about another record.
        ClaimError: If a verdict has no meaning to this version.
    """
    from stillwired.records.baseline import Side
    from stillwired.records.compare import compare
    from stillwired.records.finish import Finished, decide
    from stillwired.records.record import read_record
    from stillwired.report.curves_files import MISSING, pictures

    record = read_record(path)
    if expected is not None:
        expected.check([""], record.data["profile"])
        expected.check_checkpoint(record.data["checkpoint"].get("name") or "")
    verdicts = record.verdicts
    shard = record.data.get("shard")
    gate, comparison = decide(verdicts, strict=strict, expected=expected, shard=shard), None
    if baseline is not None:
        comparison = compare(baseline, Side.of_record(path, record.data), strict=strict)
        # What its correction concerns are changes, and no verdicts.
        gate = replace(comparison.gate, corrected={})
    finished = Finished.of(record.data, verdicts, gate=gate, record=path, comparison=comparison)
    drawn: dict[str, str] = {}
    undrawn = ""
    try:
        drawn = dict(pictures(record)) if draw else {}
    except ImportError as error:
        undrawn = MISSING.format(error)
    except RecordError as error:
        undrawn = str(error)
    return Shown(finished, record.data, expected, drawn, undrawn)


def is_rival(part: PartResult) -> bool:
    """Whether a part holds a claim's arm against an explanation that would do without it."""
    return _RIVAL.search(part.name) is not None


def region_of(claim: Claim, part: PartResult) -> Region | None:
    """Return where a part was expected to lie; None where the declaration does not name it."""
    if is_rival(part):
        return Region("above", low=0.0)
    for expectation in claim.expects:
        if part.name == expectation.label or part.name.startswith(f"{expectation.label} ["):
            return expectation.region
    return None


def deciding(verdict: Verdict) -> PartResult | None:
    """Return the part whose figures the verdict shows."""
    shown = verdict.estimate, verdict.low, verdict.high, verdict.least
    for part in verdict.parts:
        if (part.estimate, part.low, part.high, part.least) == shown:
            return part
    return None


def papers_of(claims: Sequence[Claim]) -> Iterator[tuple[Any, list[Claim]]]:
    """Yield each paper with its claims."""
    papers: dict[Any, list[Claim]] = {}
    for claim in claims:
        papers.setdefault(claim.source.paper, []).append(claim)
    yield from papers.items()


def _slug(verdict: Verdict) -> str:
    """Write a cell's name without signs that a link would have to write in another way.

    The only cell of a claim has the claim's own name.
    """
    params = ",".join(f"{key}={value}" for key, value in sorted(verdict.params.items()))
    plain = re.sub(r"[^\w.=,-]+", "-", params, flags=re.ASCII)
    return f"{verdict.claim}:{plain}" if plain else verdict.claim


def _free(name: str, taken: set[str]) -> str:
    free, k = name, 2
    while free in taken:
        free, k = f"{name}-{k}", k + 1
    taken.add(free)
    return free
