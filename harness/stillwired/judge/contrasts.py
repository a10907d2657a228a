"""From declared expectations and measured arms to the quantities that are judged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from stillwired.errors import ClaimError
from stillwired.judge.claims import Claim
from stillwired.judge.clusters import Design
from stillwired.judge.expectations import Difference, Expectation, Level, Steps
from stillwired.judge.intervals import Interval, Sample, Scale
from stillwired.judge.regions import Region
from stillwired.judge.results import Evidence
from stillwired.outcomes import Arm, Outcome, members, paired

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Part:
    """One quantity with its region: a mean, or a paired difference ``plus − minus``.

    Attributes:
        name: The contrast, with the family member's label in brackets.
        region: Where it is expected.
        arms: Names of the arms that it is made of.
        plus: The outcome whose mean is taken.
        minus: The outcome that is subtracted, or None.
    """

    name: str
    region: Region
    arms: tuple[str, ...]
    plus: Outcome
    minus: Outcome | None = None

    @cached_property
    def scores(self) -> NDArray[np.float64]:
        """[rows] score, or difference of scores, in the order of ``plus``."""
        if self.minus is None:
            return self.plus.scores
        plus, minus = paired(self.plus, self.minus)
        return plus - minus

    @cached_property
    def sample(self) -> Sample:
        """The scores with their clusters."""
        outcomes = [self.plus] if self.minus is None else [self.plus, self.minus]
        scale: Scale = "free"
        spread: tuple[float, float] | None = None
        if all(outcome.is_hits for outcome in outcomes):
            scale = "hits" if self.minus is None else "hit differences"
        elif self.minus is not None:
            # Only used if every row differs by the same amount: a difference cannot exceed
            # the range that the arms themselves show.
            every = np.concatenate([outcome.scores for outcome in outcomes])
            reach = float(np.ptp(every))
            spread = (-reach, reach) if reach > 0 else None
        return Sample(self.scores, Design(self.plus.codes), scale, spread)

    @cached_property
    def interval(self) -> Interval:
        """The 95 % interval."""
        return self.sample.interval()


def check_evidence(claim: Claim, evidence: Evidence, *, whole: bool = True) -> None:
    """Check that evidence holds what a claim declares, and nothing that it does not know.

    What stands beside the claim is free.

    Args:
        claim: What was declared.
        evidence: What was measured.
        whole: Whether everything that was declared must be there.

    Raises:
        ClaimError: If a declared check was not measured, or a name is not declared.
    """

    def known(what: str, given: Iterable[str], names: Sequence[str]) -> None:
        odd = [name for name in given if name not in names]
        if odd:
            raise ClaimError(
                f"Claim {claim.id} knows no {what} {', '.join(map(repr, odd))}; it declares "
                f"{', '.join(map(repr, names)) or 'none'}. Check the spelling."
            )

    known("arm", evidence.arms, claim.arms)
    known("arm for the null", evidence.null, claim.arms)
    known("arm to plant into", evidence.planted, claim.arms)
    needed = [needs.ability for needs in claim.applies]
    known("ability", evidence.ability, needed)
    missing = [name for name in needed if name not in evidence.ability]
    if missing and whole:
        raise ClaimError(
            f"Claim {claim.id} applies only with {', '.join(map(repr, missing))}, which was not "
            "measured. Hand it to judge(ability=...)."
        )
    if claim.null is None and evidence.null:
        raise ClaimError(
            f"Claim {claim.id} was handed a null but declares none. Say in the declaration "
            "what the null does."
        )
    if evidence.planted and claim.sensitivity is None:
        raise ClaimError(
            f"Claim {claim.id} was handed planted arms but declares no sensitivity. Declare it."
        )
    if claim.plants and not evidence.planted and whole:
        raise ClaimError(
            f"Claim {claim.id} expects no difference and declares a sensitivity, but nothing was "
            "planted. Hand arms with that difference planted to judge(planted=...)."
        )


def parts_of(claim: Claim, arms: Mapping[str, Arm]) -> list[Part]:
    """Return a claim's parts without its rivals, in declared order.

    Raises:
        ClaimError: If arms are missing, or families do not fit together.
    """
    missing = [name for name in claim.arms if name not in arms]
    if missing:
        raise ClaimError(
            f"Claim {claim.id} compares {', '.join(map(repr, missing))}, but the evidence holds "
            f"only {', '.join(map(repr, arms)) or 'nothing'}. Hand every arm to judge()."
        )
    return [part for expectation in claim.expects for part in _expand(claim, expectation, arms)]


def rival_parts_of(claim: Claim, arms: Mapping[str, Arm]) -> list[Part]:
    """Return ``plus − rival`` for every arm that a rival explanation is held against."""
    region = Region("above", low=0.0)
    return [
        part
        for challenged in claim.challenged
        for rival in claim.rivals
        for part in _differences(
            claim, f"{challenged} − {rival} (rival)", region, challenged, rival, arms
        )
    ]


def beside_parts_of(beside: Mapping[str, Arm]) -> list[Part]:
    """Return a part that has no region for every outcome beside a claim.

    Raises:
        ClaimError: If a family is empty or holds something else than outcomes.
    """
    region = Region("reported")
    return [
        Part(_named(name, label), region, (), outcome)
        for name, arm in beside.items()
        for label, outcome in members(name, arm).items()
    ]


def _expand(claim: Claim, expectation: Expectation, arms: Mapping[str, Arm]) -> Iterator[Part]:
    name, region = expectation.label, expectation.region
    if isinstance(expectation, Difference):
        yield from _differences(claim, name, region, expectation.plus, expectation.minus, arms)
    elif isinstance(expectation, Level):
        for label, outcome in members(expectation.arm, arms[expectation.arm]).items():
            yield Part(_named(name, label), region, expectation.arms, outcome)
    elif isinstance(expectation, Steps):
        family = list(members(expectation.arm, arms[expectation.arm]).items())
        if len(family) < 2:
            raise ClaimError(
                f"Claim {claim.id} looks at the steps of {expectation.arm!r}, which has fewer "
                "than two members. Hand over a family: a mapping of labels to outcomes."
            )
        for (before, low), (after, high) in pairwise(family):
            yield Part(_named(name, f"{before} → {after}"), region, expectation.arms, high, low)
    else:
        raise ClaimError(f"Claim {claim.id}: {type(expectation).__name__} cannot be judged.")


def _differences(
    claim: Claim, name: str, region: Region, plus: str, minus: str, arms: Mapping[str, Arm]
) -> Iterator[Part]:
    left, right = members(plus, arms[plus]), members(minus, arms[minus])
    both = None not in left and None not in right
    if both and set(left) != set(right):
        odd = ", ".join(sorted(map(repr, set(left) ^ set(right))))
        raise ClaimError(
            f"Claim {claim.id} pairs the families {plus!r} and {minus!r}, but {odd} occurs in "
            "only one of them. Measure both at the same labels."
        )
    for label in left if None not in left else right:
        yield Part(
            _named(name, label),
            region,
            (plus, minus),
            _member(left, label),
            _member(right, label),
        )


def _member(family: Mapping[str | None, Outcome], label: str | None) -> Outcome:
    return family[None] if None in family else family[label]


def _named(name: str, label: Any) -> str:
    return name if label is None else f"{name} [{label}]"
