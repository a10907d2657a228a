"""Accuracy by depth: the Future Lens readers of a record as curves, one set of them for each N.

Nothing is measured for them. Claims hand outcomes over whose factors say which reader was asked,
for which N and at which depth; put in order, they are curves. The published ones stand beside
them, by relative depth.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from stillwired.outcomes import Outcome

Json = dict[str, Any]

READERS = ("learned", "fixed", "fair linear", "linear", "vocabulary")
"""Readers of a state, which have a curve however few their depths."""
LEVELS = ("no state", "bigram", "constant")
"""Readers without a state, which do equally well at every depth."""
FEWEST = 3
"""Depths that make a curve."""

# An outcome whose factors say something else is a control or a variant, and no accuracy of the
# reader that it names. Whatever its factors leave out is as it is here.
_PLAIN: Mapping[str, Any] = {
    "states": "own",
    "population": "all",
    "within": 1,
    "score": "hits",
    "share": 1.0,
    "fed": "true",
    "prompt_of": None,
    "states_of": None,
}
# What stands in nulls, abilities and planted arms is altered on purpose.
_BLOCKS = ("arms", "beside")
_TRAINED = "1"


class Place(NamedTuple):
    """Where an accuracy stands: N, the reader, and its relative depth, None at every depth."""

    ahead: int
    reader: str
    depth: float | None


@dataclass(frozen=True)
class Point:
    """An accuracy.

    Attributes:
        depth: Relative depth of the state, or None for a reader without a state.
        value: Share of rows where the reader finds what the model says.
        low: Lower end of the 95 % interval; the value itself where none was published.
        high: Upper end.
        rows: Number of rows; 0 where none was published.
    """

    depth: float | None
    value: float
    low: float
    high: float
    rows: int = 0


@dataclass(frozen=True)
class Curve:
    """A reader's accuracy, from the first block to the last.

    Attributes:
        reader: Its name.
        points: One for each depth; a single one without a depth for a reader without a state.
    """

    reader: str
    points: tuple[Point, ...]

    @property
    def level(self) -> bool:
        """Whether it is the same at every depth."""
        return self.points[0].depth is None


@dataclass(frozen=True)
class Curves:
    """All readers at one N, in the order in which they are declared here.

    Attributes:
        ahead: N.
        curves: One for each reader.
    """

    ahead: int
    curves: tuple[Curve, ...]

    @property
    def rows(self) -> tuple[int, int]:
        """Fewest and most rows of a point."""
        rows = [point.rows for curve in self.curves for point in curve.points]
        return min(rows), max(rows)


def place_of(factors: Mapping[str, Any]) -> Place | None:
    """Return where an outcome with these factors stands, or None if it is no plain accuracy."""
    reader, ahead, depth = (factors.get(name) for name in ("reader", "ahead", "relative"))
    if not isinstance(reader, str) or type(ahead) is not int:
        return None
    if not isinstance(depth, float | int | None) or (depth is None) != (reader in LEVELS):
        return None
    plain = {**_PLAIN, "states": "none"} if reader == "no state" else _PLAIN
    if any(factors.get(name, value) != value for name, value in plain.items()):
        return None
    trained = str(factors.get("trained", _TRAINED))
    name = reader if trained == _TRAINED else f"{reader}, trained for N={trained}"
    return Place(ahead, name, None if depth is None else float(depth))


def places_of(record: Json) -> dict[Place, str]:
    """Return the outcomes that a record's curves are drawn from: ids by place.

    Of several outcomes at one place the one with most rows counts; among these the one with the
    shortest name, since every detail that differs from the usual lengthens a name. An N has
    curves if some reader was asked at three depths, and then every reader that is named here; of
    others, those that were asked at three depths themselves.
    """
    best: dict[Place, tuple[tuple[int, int, str], str]] = {}
    for name in _handed_over(record):
        about = record["outcomes"][name]
        place = place_of(about["factors"])
        if place is None:
            continue
        rank = (-about["rows"], len(about["name"]), name)
        if place not in best or rank < best[place][0]:
            best[place] = rank, name
    depths: dict[tuple[int, str], int] = {}
    for place in best:
        if place.depth is not None:
            depths[place[:2]] = depths.get(place[:2], 0) + 1
    drawn = {ahead for (ahead, _), count in depths.items() if count >= FEWEST}
    return {
        place: best[place][1]
        for place in sorted(best, key=_order)
        if place.ahead in drawn
        and (place.reader in (*READERS, *LEVELS) or depths.get(place[:2], 0) >= FEWEST)
    }


def curves_of(places: Mapping[Place, str], outcomes: Mapping[str, Outcome]) -> list[Curves]:
    """Return the curves of every N, with the judge's own intervals: documents are clusters."""
    from stillwired.judge.contrasts import Part
    from stillwired.judge.regions import Region

    found: dict[int, dict[str, list[Point]]] = {}
    for place, name in places.items():
        outcome = outcomes[name]
        interval = Part(outcome.name, Region("reported"), (), outcome).interval
        point = Point(place.depth, interval.estimate, interval.low, interval.high, interval.n)
        found.setdefault(place.ahead, {}).setdefault(place.reader, []).append(point)
    return [
        Curves(ahead, tuple(Curve(reader, tuple(points)) for reader, points in readers.items()))
        for ahead, readers in found.items()
    ]


@dataclass(frozen=True)
class Published:
    """The paper's curves.

    Attributes:
        model: The model that they are about.
        source: Where they were read, how exactly, and what prompts were trained for.
        curves: The curves by N.
    """

    model: str
    source: str
    curves: Mapping[int, Curves]


@lru_cache(maxsize=1)
def published() -> Published:
    """Return the paper's curves; block ``k`` of ``L``, from 1, stands at ``(k − 1) / (L − 1)``."""
    file = resources.files("stillwired.report") / "gptj_future_lens.json"
    data = json.loads(file.read_text(encoding="utf-8"))
    last = data["blocks"] - 1
    curves = {}
    for ahead, readers in data["curves"].items():
        found = [
            Curve(
                reader,
                tuple(
                    Point(block / last, value, value, value)
                    for block, value in enumerate(values)
                    # Another marker hides it in the figure.
                    if value is not None
                ),
            )
            for reader, values in readers.items()
        ]
        if ahead in data["bigram"]:
            value = data["bigram"][ahead]
            found.append(Curve("bigram", (Point(None, value, value, value),)))
        curves[int(ahead)] = Curves(int(ahead), tuple(found))
    return Published(data["model"], data["source"], curves)


def _handed_over(record: Json) -> Iterator[str]:
    """Yield the ids of the outcomes that claims were judged from, or that stand beside them."""
    for verdict in record["verdicts"]:
        for block in _BLOCKS:
            for arm in verdict["evidence"].get(block, {}).values():
                yield from arm.values() if isinstance(arm, Mapping) else (arm,)


def _order(place: Place) -> tuple[int, bool, int, str, float]:
    """Sort by N, by reader in the order declared here, others after those, and by depth."""
    ahead, reader, depth = place
    known = LEVELS if depth is None else READERS
    number = known.index(reader) if reader in known else len(known)
    return ahead, depth is None, number, reader, 0.0 if depth is None else depth
