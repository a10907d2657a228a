"""What a calibration's runs came to: false alarms by kind and by claim, with their intervals.

A claim-run is one cell of one run, held against the same cell of another run: whatever is lost
between the two is a false alarm. Cells that did not hold have nothing to lose and do not count, nor
do cells for which a redraw found nothing new to judge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from stillwired.records.baseline import Side
from stillwired.records.calibration import KINDS, Planned
from stillwired.records.compare import compare
from stillwired.records.record import Record

if TYPE_CHECKING:
    from stillwired.judge.changes import Change

Json = dict[str, Any]

TOLERATED = 0.01
"""Share of claim-runs that a comparison may call LOST."""

VERDICTS = ("FAILS", "BROKEN", "NOT APPLICABLE", "INCONCLUSIVE")
CHANGES = ("LOST", "UNDECIDED", "GAINED")
"""Words that are counted: what a claim that holds comes to, and what the comparison calls it."""


@dataclass(frozen=True)
class Case:
    """One claim-run.

    Attributes:
        run: The run.
        change: What became of the cell.
        then: The verdict that it is held against: word, estimate, low, high.
        figures: Its own verdict, likewise.
    """

    run: Planned
    change: Change
    then: Json
    figures: Json

    @property
    def now(self) -> str:
        """The verdict's word."""
        return str(self.figures["verdict"])

    @property
    def word(self) -> str:
        """What the comparison says."""
        return str(self.change.word)

    @property
    def fresh(self) -> bool:
        """Whether other examples were judged, where the run is meant to judge others."""
        parts = self.change.parts
        same = bool(parts) and all(part.method == "identical" for part in parts)
        return not (same and KINDS[self.run.kind].new_data)

    @property
    def flipped(self) -> bool:
        """Whether something that held is gone, by its verdict or by the comparison."""
        return self.word == "LOST" or self.now in ("FAILS", "BROKEN", "NOT APPLICABLE")


@dataclass(frozen=True)
class Rate:
    """A share of claim-runs.

    Attributes:
        hits: How many.
        trials: Of how many.
        exact: Clopper and Pearson's 95 % interval, as if every one stood alone.
        clustered: The 95 % interval that allows for what they share; see `rate_of`.
    """

    hits: int
    trials: int
    exact: tuple[float, float]
    clustered: tuple[float, float]

    @property
    def share(self) -> float:
        """The share; 0 of nothing is 0."""
        return self.hits / self.trials if self.trials else 0.0


@dataclass(frozen=True)
class Tally:
    """Claim-runs that are counted together.

    Attributes:
        cases: Those that count.
        stale: How many held and had nothing new to judge.
    """

    cases: tuple[Case, ...]
    stale: int = 0

    @cached_property
    def rates(self) -> dict[str, Rate]:
        """The share of each of :data:`VERDICTS` and :data:`CHANGES`."""
        return {
            word: rate_of(self.cases, [word in (case.now, case.word) for case in self.cases])
            for word in (*VERDICTS, *CHANGES)
        }

    def by_claim(self) -> dict[str, Tally]:
        """Return the tally of every claim, by its id."""
        found: dict[str, list[Case]] = {}
        for case in sorted(self.cases, key=lambda case: case.change.claim):
            found.setdefault(case.change.claim, []).append(case)
        return {claim: Tally(tuple(cases)) for claim, cases in found.items()}


@dataclass(frozen=True)
class Alarms:
    """A whole calibration.

    Attributes:
        tallies: By kind, in the order of :data:`KINDS`.
        blocked: For each kind how many of its runs a comparison's gate would have stopped.
        runs: For each kind how many there are.
        missing: Cells of a run's partner that the run did not judge, by name of the run.
        uncompared: Cells that held and could not be compared, with the reasons, likewise.
    """

    tallies: Mapping[str, Tally]
    blocked: Mapping[str, int]
    runs: Mapping[str, int]
    missing: Mapping[str, Sequence[str]]
    uncompared: Mapping[str, Sequence[str]]

    @cached_property
    def pooled(self) -> Tally:
        """All kinds together."""
        found = self.tallies.values()
        return Tally(
            tuple(case for tally in found for case in tally.cases),
            sum(tally.stale for tally in found),
        )

    @property
    def flipped(self) -> tuple[Case, ...]:
        """Every claim-run that is an alarm."""
        return tuple(case for case in self.pooled.cases if case.flipped)

    @property
    def complaints(self) -> tuple[str, ...]:
        """What a suite must not show where nothing has changed; empty if it does not."""
        rates = self.pooled.rates
        found = [
            f"{rates[word].hits} of {rates[word].trials:,} claim-runs that held came out as {word}"
            for word in ("FAILS", "BROKEN")
            if rates[word].hits
        ]
        lost = rates["LOST"]
        if lost.clustered[0] > TOLERATED:
            found.append(
                f"the comparison calls {lost.share:.1%} of the claim-runs LOST, surely more than "
                f"{TOLERATED:.0%}"
            )
        return tuple(found)


def count_alarms(records: Mapping[str, Record], runs: Sequence[Planned]) -> Alarms:
    """Hold every run against its partner.

    Args:
        records: Records by name of their run; the reference and what is held against are there.
        runs: Runs that are done, the reference apart.

    Raises:
        RecordError: If two records cannot be compared, or a table cannot be trusted.
        ClaimError: As `compare`.
    """
    sides = {name: Side.of_record(record.path, record.data) for name, record in records.items()}
    cases: dict[str, list[Case]] = {}
    stale: dict[str, int] = {}
    blocked: dict[str, int] = {}
    missing: dict[str, list[str]] = {}
    uncompared: dict[str, list[str]] = {}
    for run in runs:
        old, new = sides[run.against], sides[run.name]
        absent = [key for key in old.cells if key not in new.cells]
        if absent:
            missing[run.name] = absent
        found = compare(old, new, deselected=absent)
        blocked[run.kind] = blocked.get(run.kind, 0) + (not found.gate.passed)
        for change in found.changes:
            if not change.held:
                continue
            case = Case(run, change, old.cells[change.key], new.cells[change.key])
            if change.word == "NOT COMPARED":
                reasons = uncompared.setdefault(run.name, [])
                reasons.append(f"{change.key}: {change.reason}")
            if case.fresh:
                cases.setdefault(run.kind, []).append(case)
            else:
                stale[run.kind] = stale.get(run.kind, 0) + 1
    kinds = [name for name in KINDS if any(run.kind == name for run in runs)]
    return Alarms(
        tallies={name: Tally(tuple(cases.get(name, ())), stale.get(name, 0)) for name in kinds},
        blocked={name: blocked[name] for name in kinds},
        runs={name: sum(run.kind == name for run in runs) for name in kinds},
        missing=missing,
        uncompared=uncompared,
    )


def rate_of(cases: Sequence[Case], flags: Sequence[bool]) -> Rate:
    """Return the share of cases that are flagged, with its intervals.

    Claim-runs are no independent trials: those of one draw judge the same examples, and those of
    one cell are held against the same reference. The clustered interval is the widest of three: the
    exact one, and the judge's intervals with draws and with cells as clusters.

    Args:
        cases: The cases.
        flags: Whether each counts.
    """
    from stillwired.judge.intervals import clopper_pearson

    if not cases:
        return Rate(0, 0, (0.0, 1.0), (0.0, 1.0))
    ends = [
        clopper_pearson(sum(flags), len(cases)),
        _clustered(flags, [case.run.draw for case in cases]),
        _clustered(flags, [case.change.key for case in cases]),
    ]
    low, high = min(one for one, _ in ends), max(other for _, other in ends)
    return Rate(sum(flags), len(cases), ends[0], (low, high))


def _clustered(flags: Sequence[bool], clusters: Sequence[str]) -> tuple[float, float]:
    import numpy as np

    from stillwired.judge.intervals import mean_interval

    interval = mean_interval(np.array(flags, float), np.array(clusters), "hits")
    return interval.low, interval.high
