"""What judging takes in and gives back: evidence, verdicts, and their JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Literal

from stillwired.errors import ClaimError
from stillwired.judge.claims import Json, Value
from stillwired.outcomes import Arm, Outcome


class Word(StrEnum):
    """The five verdicts."""

    HOLDS = "HOLDS"
    FAILS = "FAILS"
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_APPLICABLE = "NOT APPLICABLE"
    BROKEN = "BROKEN"


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
            With them the claim must not hold. Optional: without them the judge shifts the
            difference.
        obstacle: Why there is nothing else: what kept the cell from being measured.
    """

    arms: Mapping[str, Arm]
    null: Mapping[str, Arm] = field(default_factory=dict)
    ability: Mapping[str, Outcome] = field(default_factory=dict)
    instrument: tuple[InstrumentCheck, ...] = ()
    planted: Mapping[str, Arm] = field(default_factory=dict)
    obstacle: Obstacle | None = None

    def __post_init__(self) -> None:
        measured = self.arms or self.null or self.ability or self.instrument or self.planted
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
        word: HOLDS, FAILS or INCONCLUSIVE, by the plain interval.
        estimate: Mean over rows.
        low: Lower end of the 95 % interval; None where the data give no bound.
        high: Upper end, likewise.
        least: The region as text.
        n: Rows.
        clusters: Clusters.
        p_fail: Two-sided p of a truth at the region's nearest edge, in the failing direction.
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
class Verdict:
    """How one cell of a claim came out.

    Attributes:
        claim: The claim's id.
        version: The claim's version.
        params: Parameters of the cell.
        primary: Whether the gate looks at it.
        verdict: One of the five words.
        reason: A sentence that a person can act on; empty for a plain HOLDS.
        estimate: Of the part that decided; None where nothing was estimated.
        low: Lower end of its 95 % interval; None where there is none.
        high: Upper end.
        least: The deciding part's region as text.
        n: Its rows.
        clusters: Its clusters.
        p_fail: p of the whole claim in the failing direction, Bonferroni over its parts;
            the gate corrects it further. None where nothing was estimated.
        parts: Every part, in declared order.
        checks: Every check.
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

    def __post_init__(self) -> None:
        object.__setattr__(self, "params", dict(self.params))

    @property
    def key(self) -> str:
        """The cell's name within a record."""
        return cell_key(self.claim, self.params)

    def to_json(self) -> Json:
        """Return plain data; :meth:`from_json` reads it back to an equal verdict."""
        data = {item.name: getattr(self, item.name) for item in fields(self)}
        data["params"] = dict(self.params)
        data["verdict"] = str(self.verdict)
        data["parts"] = [_plain(part) for part in self.parts]
        data["checks"] = [_plain(check) for check in self.checks]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Verdict:
        """Rebuild a verdict; keys that a record adds (its evidence) are passed over.

        Raises:
            ClaimError: If a field is missing or has no meaning.
        """
        try:
            known = {item.name: data[item.name] for item in fields(cls)}
            known["verdict"] = Word(known["verdict"])
            known["parts"] = tuple(
                PartResult(**{**part, "word": Word(part["word"])}) for part in known["parts"]
            )
            known["checks"] = tuple(CheckResult(**check) for check in known["checks"])
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


def _plain(item: PartResult | CheckResult) -> Json:
    data = {f.name: getattr(item, f.name) for f in fields(item)}
    if isinstance(item, PartResult):
        data["word"] = str(item.word)
    return data
