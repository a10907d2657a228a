"""What a comparison of two records takes in and gives back, cell by cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from stillwired.judge.claims import Claim, Value
from stillwired.judge.figures import figure
from stillwired.judge.regions import Region
from stillwired.judge.results import Evidence, Verdict, Word, cell_key


class ChangeWord(StrEnum):
    """What became of a cell."""

    KEPT = "KEPT"
    GAINED = "GAINED"
    LOST = "LOST"
    UNDECIDED = "UNDECIDED"
    BROKEN = "BROKEN"
    NEW = "NEW"
    NOT_COMPARED = "NOT COMPARED"


@dataclass(frozen=True, eq=False)
class Judged:
    """A cell as one record has it.

    Attributes:
        claim: The claim as that record declares it.
        verdict: How the cell came out.
        evidence: At least the arms that the claim's expectations compare, and its abilities.
    """

    claim: Claim
    verdict: Verdict
    evidence: Evidence


@dataclass(frozen=True)
class PartChange:
    """How one part of a claim changed.

    Attributes:
        name: The contrast, with the label of a family's member in brackets.
        word: KEPT, GAINED, LOST or UNDECIDED.
        estimate: The new mean less the old one.
        low: Lower end of its 95 % interval; None where the data give no bound.
        high: Upper end, likewise.
        kept: Where a change has to lie to be allowed: above −m, below m, or within ± m.
        p_lost: Two-sided p of a truth at the nearest edge of what is allowed.
        n: Rows.
        clusters: Clusters.
        paired: Whether the change was taken row by row.
        left_out: Examples of one record only, where it was.
        method: How the interval was computed.
    """

    name: str
    word: ChangeWord
    estimate: float
    low: float | None
    high: float | None
    kept: Region
    p_lost: float
    n: int
    clusters: int
    paired: bool
    left_out: int
    method: str

    @property
    def margin(self) -> float:
        """The change that is allowed, above 0."""
        edge = self.kept.low if self.kept.high is None else self.kept.high
        assert edge is not None
        return abs(edge)

    @property
    def allowed(self) -> str:
        """The same as text: ``−0.02``, ``+0.02`` where low values are wanted, ``±0.02``."""
        sign = "−" if self.kept.high is None else "+" if self.kept.low is None else "±"
        return sign + figure(self.margin)


@dataclass(frozen=True)
class Change:
    """What became of one cell.

    Attributes:
        claim: The claim's id.
        params: Parameters of the cell.
        primary: Whether it is the one of its claim that decides the exit code.
        then: The old verdict; None if the cell is new.
        now: The new verdict; None if the cell is missing.
        word: One of the words.
        reason: What a person should know; empty where the figures say everything.
        cause: Why a cell is LOST without its figures: ``missing``, ``ability``, or empty.
        explained: Whether a rival explanation now beats an arm, which makes the claim fail
            whatever its own contrast does.
        decided: The part that decided; None where nothing was compared.
        parts: Every part, in declared order.
    """

    claim: str
    params: Mapping[str, Value]
    primary: bool
    then: Word | None
    now: Word | None
    word: ChangeWord
    reason: str = ""
    cause: Literal["", "missing", "ability"] = ""
    explained: bool = False
    decided: PartChange | None = None
    parts: tuple[PartChange, ...] = ()

    @property
    def key(self) -> str:
        """The cell's name within a record."""
        return cell_key(self.claim, self.params)

    @property
    def held(self) -> bool:
        """Whether the claim held before. Only then can anything be lost that counts."""
        return self.then is Word.HOLDS

    @property
    def p_lost(self) -> float:
        """The p of the whole cell, Bonferroni over its parts; 1 where nothing was compared."""
        return min(1.0, len(self.parts) * min((part.p_lost for part in self.parts), default=1.0))
