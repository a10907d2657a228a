"""What judging takes in and gives back: evidence, verdicts, and their JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Literal, TypeAlias

from stillwired.errors import ClaimError
from stillwired.judge.claims import Value
from stillwired.judge.expectations import Json
from stillwired.outcomes import Arm, Outcome

Fact: TypeAlias = str | int | float


class Word(StrEnum):
    """The five verdicts, and the word for an estimate that is none."""

    HOLDS = "HOLDS"
    FAILS = "FAILS"
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_APPLICABLE = "NOT APPLICABLE"
    BROKEN = "BROKEN"
    REPORTED = "REPORTED"


@dataclass(frozen=True)
class InstrumentCheck:
    """A check that ran with the measurement: did the instrument do what it says?

    Attributes:
        name: What was checked.
        passed: Whether it was so.
        detail: The figures, for example ``"largest difference 2e-6, 1e-4 allowed"``.
    """

    name: str
    passed: bool
    detail: str = ""


@dataclass(frozen=True)
class Obstacle:
    """Why a cell is decided without a measurement.

    Attributes:
        kind: The kind of check that did not pass: ``instrument`` where the measurement cannot
            be trusted, ``ability`` where the model lacks what the finding is about.
        name: What was checked.
        detail: A sentence that a person can act on; it becomes the verdict's reason.
    """

    kind: Literal["instrument", "ability"]
    name: str
    detail: str

    def __post_init__(self) -> None:
        if self.kind not in ("instrument", "ability"):
            raise ClaimError(
                f"An obstacle cannot be of the kind {self.kind!r}. Write 'instrument' or 'ability'."
            )
        if not self.detail.strip():
            raise ClaimError(f"The obstacle {self.name!r} gives no reason. Say it in a sentence.")

    @property
    def word(self) -> Word:
        """What the cell becomes."""
        return Word.BROKEN if self.kind == "instrument" else Word.NOT_APPLICABLE


@dataclass(frozen=True, eq=False)
class Evidence:
    """Everything that one cell is judged from.

    Attributes:
        arms: Outcomes by arm name, rivals included.
        null: Outcomes of the null check; each replaces the arm of the same name.
        ability: Outcomes by ability name, measured on rows that are not judged.
        instrument: Checks that ran with the measurement.
        planted: Outcomes into which the claim's sensitivity was planted before scoring was
            done; each replaces the arm of the same name, one arm of a difference or both.
            With them the claim must not hold. Without them the judge shifts a least difference;
            a sensitivity of agreement takes them.
        obstacle: Why there is nothing else: what kept the cell from being measured.
        beside: Outcomes by any name that are estimated and shown next to the verdict, and that
            no word depends on.
        facts: Plain figures and words by any name, likewise.
    """

    arms: Mapping[str, Arm]
    null: Mapping[str, Arm] = field(default_factory=dict)
    ability: Mapping[str, Outcome] = field(default_factory=dict)
    instrument: tuple[InstrumentCheck, ...] = ()
    planted: Mapping[str, Arm] = field(default_factory=dict)
    obstacle: Obstacle | None = None
    beside: Mapping[str, Arm] = field(default_factory=dict)
    facts: Mapping[str, Fact] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (*self.beside, *self.facts):
            if not isinstance(name, str):
                raise ClaimError(
                    f"What stands beside a claim is named {name!r}, a {type(name).__name__}. "
                    "Name it with a string."
                )
        for name, fact in self.facts.items():
            # Exact types: numpy's scalars would come back from a record as something else.
            known = type(fact) in (str, int, float)
            if not known or (isinstance(fact, float) and not math.isfinite(fact)):
                raise ClaimError(
                    f"The fact {name!r} is {fact!r}, a {type(fact).__name__}. Hand over a "
                    "string or a finite number of Python's own types."
                )
        measured = any(getattr(self, item.name) for item in fields(self) if item.name != "obstacle")
        if self.obstacle is not None and measured:
            raise ClaimError(
                f"Evidence holds outcomes or checks and an obstacle ({self.obstacle.name}) that "
                "kept it from being measured. Hand over one or the other."
            )


@dataclass(frozen=True)
class PartResult:
    """One quantity of a claim against its region.

    Attributes:
        name: The contrast, with the label of a family's member in brackets.
        word: HOLDS, FAILS or INCONCLUSIVE, by the plain interval; or REPORTED.
        estimate: Mean over rows.
        low: Lower end of the 95 % interval; None where the data give no bound.
        high: Upper end, likewise.
        least: The region as text.
        n: Rows.
        clusters: Clusters.
        p_fail: Two-sided p of a truth at the region's nearest edge, in the failing direction;
            1 where the region has none.
        method: How the interval was computed.
    """

    name: str
    word: Word
    estimate: float
    low: float | None
    high: float | None
    least: str
    n: int
    clusters: int
    p_fail: float
    method: str


@dataclass(frozen=True)
class CheckResult:
    """A check that stood beside a claim.

    Attributes:
        kind: ``instrument``, ``ability``, ``null`` or ``sensitivity``.
        name: What was checked.
        passed: True, False, or None where its interval does not decide.
        detail: A sentence with the figures.
        estimate: Estimate behind it, if there is one.
        low: Lower end of its 95 % interval.
        high: Upper end.
    """

    kind: str
    name: str
    passed: bool | None
    detail: str = ""
    estimate: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class BesideResult:
    """A quantity that is shown next to a verdict and has no part in it.

    Attributes:
        name: What it was handed over as, with the label of a family's member in brackets.
        estimate: Mean over rows.
        low: Lower end of the 95 % interval; None where the data give no bound.
        high: Upper end, likewise.
        n: Rows.
        clusters: Clusters.
    """

    name: str
    estimate: float
    low: float | None
    high: float | None
    n: int
    clusters: int


# Keys that older records lack; they are written only where they say something.
_LATER = ("reported", "beside", "facts")


@dataclass(frozen=True)
class Verdict:
    """How one cell of a claim came out.

    Attributes:
        claim: The claim's id.
        version: The claim's version.
        params: Parameters of the cell.
        primary: Whether the gate looks at it.
        verdict: One of the words.
        reason: A sentence that a person can act on; empty for a plain HOLDS, and for REPORTED.
        estimate: Of the part that decided, or of the first one of a claim that is only
            reported; None where nothing was estimated.
        low: Lower end of its 95 % interval; None where there is none.
        high: Upper end.
        least: The deciding part's region as text; empty where it has none.
        n: Its rows.
        clusters: Its clusters.
        p_fail: p of the whole claim in the failing direction, Bonferroni over its parts;
            the gate corrects it further. None where nothing was estimated, or can fail.
        parts: Every part, in declared order.
        checks: Every check.
        reported: Whether the claim is only reported, whatever the word.
        beside: What was estimated next to it.
        facts: What was handed over as it is.
    """

    claim: str
    version: int
    params: Mapping[str, Value]
    primary: bool
    verdict: Word
    reason: str = ""
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    least: str = ""
    n: int = 0
    clusters: int = 0
    p_fail: float | None = None
    parts: tuple[PartResult, ...] = ()
    checks: tuple[CheckResult, ...] = ()
    reported: bool = False
    beside: tuple[BesideResult, ...] = ()
    facts: Mapping[str, Fact] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "params", dict(self.params))
        object.__setattr__(self, "facts", dict(self.facts))
        object.__setattr__(self, "reported", self.reported or self.verdict is Word.REPORTED)

    @property
    def key(self) -> str:
        """The cell's name within a record."""
        return cell_key(self.claim, self.params)

    @property
    def usual(self) -> Word:
        """What is expected of the cell where nobody says otherwise."""
        return Word.REPORTED if self.reported else Word.HOLDS

    def to_json(self) -> Json:
        """Return plain data; :meth:`from_json` reads it back to an equal verdict."""
        data = {item.name: getattr(self, item.name) for item in fields(self)}
        data["params"] = dict(self.params)
        data["verdict"] = str(self.verdict)
        data["parts"] = [_plain(part) for part in self.parts]
        data["checks"] = [_plain(check) for check in self.checks]
        data["beside"] = [_plain(one) for one in self.beside]
        data["facts"] = dict(self.facts)
        return {key: value for key, value in data.items() if value or key not in _LATER}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Verdict:
        """Rebuild a verdict; keys that a record adds (its evidence) are passed over.

        Raises:
            ClaimError: If a field is missing or has no meaning.
        """
        try:
            names = [item.name for item in fields(cls)]
            known = {name: data[name] for name in names if name in data or name not in _LATER}
            known["verdict"] = Word(known["verdict"])
            known["parts"] = tuple(
                PartResult(**{**part, "word": Word(part["word"])}) for part in known["parts"]
            )
            known["checks"] = tuple(CheckResult(**check) for check in known["checks"])
            known["beside"] = tuple(BesideResult(**one) for one in known.get("beside", ()))
            return cls(**known)
        except (KeyError, TypeError, ValueError) as error:
            raise ClaimError(
                f"A verdict cannot be read ({type(error).__name__}: {error}). It may come "
                "from another version; judge its record again."
            ) from error


def cell_key(claim: str, params: Mapping[str, Value]) -> str:
    """Return the name of a cell within a record, whatever the order of its parameters."""
    if not params:
        return claim
    inner = ", ".join(f"{key}={json.dumps(params[key])}" for key in sorted(params))
    return f"{claim}[{inner}]"


def _plain(item: PartResult | CheckResult | BesideResult) -> Json:
    data = {f.name: getattr(item, f.name) for f in fields(item)}
    if isinstance(item, PartResult):
        data["word"] = str(item.word)
    return data
