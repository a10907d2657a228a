"""What a calibration's runs came to: false alarms by kind and by claim, with their intervals.

A claim-run is one cell of one run, held against the same cell of another run: whatever is lost
between the two is a false alarm. Cells that did not hold have nothing to lose and do not count, nor
do cells for which a redraw found nothing new to judge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from multiprocessing import get_context
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


def count_alarms(records: Mapping[str, Record], runs: Sequence[Planned], jobs: int = 1) -> Alarms:
    """Hold every run against its partner.

    Args:
        records: Records by name of their run; the reference and what is held against are there.
        runs: Runs that are done, the reference apart.
        jobs: How many comparisons at a time, each in a process of its own if more than one.

    Raises:
        RecordError: If two records cannot be compared, or a table cannot be trusted.
        ClaimError: As `compare`.
    """
    then = [records[run.against] for run in runs]
    now = [records[run.name] for run in runs]
    if jobs > 1:
        # Processes begun anew: whoever calls may have threads, which a fork does not survive.
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            each = [*pool.map(_hold, runs, then, now)]
    else:
        each = [*map(_hold, runs, then, now)]
    kinds = [name for name in KINDS if any(run.kind == name for run in runs)]
    of_kind = {name: [one for one in each if one.run.kind == name] for name in kinds}
    return Alarms(
        tallies={
            name: Tally(
                tuple(case for one in found for case in one.cases), sum(s.stale for s in found)
            )
            for name, found in of_kind.items()
        },
        blocked={name: sum(one.blocked for one in found) for name, found in of_kind.items()},
        runs={name: len(found) for name, found in of_kind.items()},
        missing={one.run.name: one.missing for one in each if one.missing},
        uncompared={one.run.name: one.uncompared for one in each if one.uncompared},
    )


@dataclass
class _Held:
    """What one run came to: as the attributes of `Alarms`."""

    run: Planned
    blocked: bool
    missing: list[str]
    cases: list[Case] = field(default_factory=list)
    stale: int = 0
    uncompared: list[str] = field(default_factory=list)


def _hold(run: Planned, then: Record, now: Record) -> _Held:
    """Hold one run's record against its partner's."""
    old, new = (Side.of_record(record.path, record.data) for record in (then, now))
    missing = [key for key in old.cells if key not in new.cells]
    found = compare(old, new, deselected=missing)
    held = _Held(run, not found.gate.passed, missing)
    for change in found.changes:
        if not change.held:
            continue
        case = Case(run, change, old.cells[change.key], new.cells[change.key])
        if change.word == "NOT COMPARED":
            held.uncompared.append(f"{change.key}: {change.reason}")
        if case.fresh:
            held.cases.append(case)
        else:
            held.stale += 1
    return held


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
