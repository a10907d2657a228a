"""What a claim expects: quantities made of arms, and the region that each lies in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeAlias

from stillwired.errors import ClaimError
from stillwired.judge.regions import Region

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """Base of what a claim expects: a quantity, and exactly one region that it lies in.

    Attributes:
        at_least: Smallest effect that counts, above 0.
        at_most: Largest value that is allowed.
        between: Band (low, high).
        within: Equivalence limit: the quantity lies in ± this.
        reported: In place of a region: the paper gives no threshold, so that the quantity is
            estimated and never judged.
        labelled: How reports call the quantity; by default it is composed from the arms.
    """

    kind: ClassVar[str] = ""

    at_least: float | None = None
    at_most: float | None = None
    between: tuple[float, float] | None = None
    within: float | None = None
    reported: bool = False
    labelled: str | None = None

    def __post_init__(self) -> None:
        if self.between is not None:
            object.__setattr__(self, "between", tuple(self.between))
        if not isinstance(self.reported, bool):
            raise ClaimError(
                f"{self.label}: reported is {self.reported!r}. Write reported=True; what the "
                "paper measured belongs into the claim's published value."
            )
        regions = ("at_least", "at_most", "between", "within")
        given = [name for name in regions if getattr(self, name) is not None]
        given += ["reported"] if self.reported else []
        if len(given) != 1:
            raise ClaimError(
                f"{self.label} declares {' and '.join(given) or 'no region'}. Declare exactly "
                f"one of {', '.join((*regions, 'reported'))}."
            )
        if self.reported:
            return
        value = getattr(self, given[0])
        values: tuple[float, ...] = value if isinstance(value, tuple) else (value,)
        if given == ["between"] and len(values) != 2:
            raise ClaimError(f"{self.label}: between takes (low, high), not {values}.")
        if not all(math.isfinite(value) for value in values):
            raise ClaimError(f"{self.label}: {given[0]} must be finite, not {values}.")
        if given[0] in {"at_least", "within"} and values[0] <= 0:
            raise ClaimError(
                f"{self.label}: {given[0]} is {values[0]:g}. Declare a smallest effect that "
                "counts, above 0; otherwise a dead mechanism can never fail."
            )
        if given == ["between"] and not values[0] < values[1]:
            raise ClaimError(f"{self.label}: between is {values}; the low end comes first.")

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the arms that the quantity is made of."""
        raise NotImplementedError

    @property
    def label(self) -> str:
        """How reports call the quantity."""
        raise NotImplementedError

    @property
    def region(self) -> Region:
        """The declared region; one without edges where the quantity is only reported."""
        if self.reported:
            return Region("reported")
        if self.at_least is not None:
            return Region("at least", low=float(self.at_least))
        if self.at_most is not None:
            return Region("at most", high=float(self.at_most))
        if self.between is not None:
            return Region("between", low=float(self.between[0]), high=float(self.between[1]))
        assert self.within is not None
        return Region("within", low=-float(self.within), high=float(self.within))

    def to_json(self) -> Json:
        """Return plain data; :func:`expectation_from_json` reads it back."""
        data: Json = {"kind": self.kind}
        for item in fields(self):
            value = getattr(self, item.name)
            # A reader that knows no reported quantities can read all the others.
            if value is not None and value is not False:
                data[item.name] = list(value) if isinstance(value, tuple) else value
        return data


@dataclass(frozen=True)
class Level(Expectation):
    """The mean score of one arm; of every member, if the arm is a family."""

    kind: ClassVar[str] = "level"
    arm: str

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the arms that the quantity is made of."""
        return (self.arm,)

    @property
    def label(self) -> str:
        """How reports call the quantity."""
        return self.labelled or self.arm


@dataclass(frozen=True)
class Difference(Expectation):
    """The paired difference ``plus − minus``, example by example.

    Two families are paired by label; a single arm is held against every member of a family.
    """

    kind: ClassVar[str] = "difference"
    plus: str
    minus: str

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the arms that the quantity is made of."""
        return (self.plus, self.minus)

    @property
    def label(self) -> str:
        """How reports call the quantity."""
        return self.labelled or f"{self.plus} − {self.minus}"


@dataclass(frozen=True)
class Steps(Expectation):
    """Every successive difference of a family: the second member − the first, and so on."""

    kind: ClassVar[str] = "steps"
    arm: str

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the arms that the quantity is made of."""
        return (self.arm,)

    @property
    def label(self) -> str:
        """How reports call the quantity."""
        return self.labelled or f"steps of {self.arm}"


_KINDS: dict[str, type[Expectation]] = {kind.kind: kind for kind in (Level, Difference, Steps)}


def expectation_from_json(data: Mapping[str, Any]) -> Expectation:
    """Rebuild an expectation.

    Raises:
        ClaimError: If the data do not describe one.
    """
    rest = dict(data)
    kind = _KINDS.get(rest.pop("kind", ""))
    if kind is None:
        raise ClaimError(
            f"There is no expectation of kind {data.get('kind')!r}. Known: {', '.join(_KINDS)}."
        )
    try:
        return kind(**rest)
    except TypeError as error:
        raise ClaimError(f"An expectation cannot be read: {error}.") from error
