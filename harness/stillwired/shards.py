"""Dividing a run: which shard judges which claims, the same on every machine that asks.

What makes a claim expensive is mostly shared: one pass over a text, one training, one sweep over
heads serve many claims. Two shards that both need such a reading both take it, unless they share
a cache. So files that need the same readings of the same checkpoint are kept together, and parted
only where a shard would otherwise have nothing to do, or where that shortens the longest shard.

Costs are declared, in ``costs.toml`` beside the folders of claims; only their ratios count:

.. code-block:: toml

    [readings]
    text = 290

    [files]
    "a_paper/test_a_finding.py" = { seconds = 12, needs = ["text"] }

A file that is not declared costs a second for each of its tests, and shares a reading as long as
its folder's tests with the others of its folder.
"""

from __future__ import annotations

import tomllib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

from stillwired.errors import UsageError

COSTS = "costs.toml"


@dataclass(frozen=True)
class Shard:
    """Which part of a divided run this is.

    Attributes:
        number: From 1 on.
        of: How many parts there are.
    """

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``2/4``.

        Raises:
            UsageError: If that names no part.
        """
        number, slash, of = text.partition("/")
        if not slash or not number.isdecimal() or not of.isdecimal():
            raise UsageError(
                f"--claims-shard: {text!r} is no shard. Write its number and how many there are, "
                "as in 2/4."
            )
        shard = cls(int(number), int(of))
        if not 1 <= shard.number <= shard.of:
            raise UsageError(
                f"--claims-shard: there is no shard {shard}. They are counted from 1: the last of "
                f"{shard.of} is {shard.of}/{shard.of}."
            )
        return shard


class Place(NamedTuple):
    """Where a test belongs: the checkpoint that it judges, or None, and its file."""

    spec: str | None
    file: Path


@dataclass(frozen=True)
class Costs:
    """What claims cost, as one ``costs.toml`` declares it.

    Attributes:
        folder: Where the file lies; names of files start there.
        readings: Seconds of each reading that several files need.
        files: Seconds of a file's tests beyond that, and the readings that they need.
    """

    folder: Path
    readings: Mapping[str, float] = field(default_factory=dict)
    files: Mapping[str, tuple[float, tuple[str, ...]]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Job:
    """What is never parted: the tests of one file on one checkpoint."""

    place: Place
    seconds: float
    readings: Mapping[tuple[str | None, str], float]


def deal(places: Sequence[Place], shards: int) -> list[int]:
    """Deal tests out to shards.

    Args:
        places: Where each test belongs; what comes back depends on all of them.
        shards: How many there are.

    Returns:
        The number of the shard of each test, from 1 on. No shard goes without.

    Raises:
        UsageError: If there are fewer files than shards, or costs are declared wrongly.
    """
    jobs = _jobs(places)
    if len(jobs) < shards:
        raise UsageError(
            f"--claims-shard: there are {shards} shards and {len(jobs)} files of claims to deal "
            f"out, counted for each checkpoint. Divide the run into at most {max(len(jobs), 1)}."
        )
    hands = _balanced(jobs, shards)
    numbers = {job.place: number for number, hand in enumerate(hands, 1) for job in hand}
    return [numbers[place] for place in places]


def read_costs(path: Path) -> Costs:
    """Read a ``costs.toml``.

    Raises:
        UsageError: If it is not of the form that this module describes.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        readings = {str(name): _seconds(cost) for name, cost in data.get("readings", {}).items()}
        files = {}
        for name, about in data.get("files", {}).items():
            needs = tuple(about.get("needs", ()))
            for need in needs:
                if need not in readings:
                    raise ValueError(f"{name} needs {need!r}, which is not among the readings")
            files[str(name)] = (_seconds(about["seconds"]), needs)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path} declares what claims cost, and cannot be read: {error}. Give every file "
            "seconds and needs, and every reading seconds, as in claims/costs.toml."
        ) from error
    return Costs(path.parent, readings, files)


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ValueError(f"{value!r} is no number of seconds")
    return float(value)


@cache
def _costs_above(folder: Path) -> Costs | None:
    """Find the declaration that a folder's files belong to: the nearest one above."""
    for above in (folder, *folder.parents):
        if (above / COSTS).is_file():
            return read_costs(above / COSTS)
    return None


def _jobs(places: Sequence[Place]) -> list[_Job]:
    """Say what each file costs on each checkpoint, in an order that only their names decide."""
    tests = Counter(places)
    by_folder: Counter[tuple[str | None, Path]] = Counter()
    for place, count in tests.items():
        by_folder[place.spec, place.file.parent] += count
    jobs = []
    for place in sorted(tests, key=lambda place: (place.spec or "", place.file)):
        spec, file = place
        costs = _costs_above(file.parent)
        name = file.relative_to(costs.folder).as_posix() if costs is not None else ""
        if costs is not None and name in costs.files:
            seconds, needs = costs.files[name]
            readings = {(spec, need): costs.readings[need] for need in needs}
        else:
            seconds = float(tests[place])
            readings = {(spec, str(file.parent)): float(by_folder[spec, file.parent])}
        jobs.append(_Job(place, seconds, readings))
    return jobs


def _balanced(jobs: Sequence[_Job], shards: int) -> list[list[_Job]]:
    """Deal whole groups out, and part the largest as long as that is of use."""
    groups: dict[frozenset[tuple[str | None, str]], list[_Job]] = defaultdict(list)
    for job in jobs:
        # Files that need nothing in common with others are groups of their own.
        alone = frozenset([(job.place.spec, str(job.place.file))])
        groups[frozenset(job.readings) or alone].append(job)
    members = list(groups.values())
    parts = [1] * len(members)
    hands = _dealt(members, parts, shards)
    while True:
        partable = [k for k, group in enumerate(members) if parts[k] < len(group)]
        if not partable:
            return hands
        largest = max(partable, key=lambda k: max(map(_load, _parted(members[k], parts[k]))))
        finer = [count + (k == largest) for k, count in enumerate(parts)]
        trial = _dealt(members, finer, shards)
        if all(hands) and max(map(_load, trial)) >= max(map(_load, hands)):
            return hands
        parts, hands = finer, trial


def _dealt(groups: Sequence[Sequence[_Job]], parts: Sequence[int], shards: int) -> list[list[_Job]]:
    """Deal groups out, each in so many parts: the longest first, each to the shortest shard."""
    pieces = [piece for k, group in enumerate(groups) for piece in _parted(group, parts[k])]
    hands: list[list[_Job]] = [[] for _ in range(shards)]
    # Sorting keeps the order of equals, which their names have decided.
    for piece in sorted(pieces, key=_load, reverse=True):
        shortest = min(range(shards), key=lambda k: _load([*hands[k], *piece]))
        hands[shortest] += piece
    return hands


def _parted(group: Sequence[_Job], parts: int) -> list[list[_Job]]:
    """Part files that need the same readings evenly."""
    pieces: list[list[_Job]] = [[] for _ in range(parts)]
    for job in sorted(group, key=lambda job: job.seconds, reverse=True):
        min(pieces, key=_load).append(job)
    return pieces


def _load(jobs: Sequence[_Job]) -> float:
    """Seconds that a shard needs: every reading is taken once."""
    readings = {name: cost for job in jobs for name, cost in job.readings.items()}
    return sum(readings.values()) + sum(job.seconds for job in jobs)
