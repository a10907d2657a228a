"""Whether damage was noticed: one cell's verdict undamaged, and its verdict under a mutant."""

from __future__ import annotations

from stillwired.judge.claims import Claim
from stillwired.judge.regions import Region
from stillwired.judge.results import PartResult, Verdict, Word


def kills(claim: Claim, sound: Verdict, damaged: Verdict) -> bool:
    """Whether damage brought a claim to FAILS, with all that it presupposes in place.

    A part that held or was open has to fail; where the undamaged checkpoint fails already, its
    interval has to lie clearly further from the region than before. A need that the measurement
    and not the model falls short of, such as enough text, caps a verdict at INCONCLUSIVE and says
    nothing of the mechanism: it does not hide that a part fails.

    Args:
        claim: What was declared.
        sound: The cell's verdict on the undamaged checkpoint.
        damaged: Its verdict under the mutant.
    """
    if sound.verdict is Word.BROKEN or not _fails(claim, damaged):
        return False
    before = {(part.name, part.least): part for part in sound.parts}
    regions = {e.region.text: e.region for e in claim.expects}
    beaten = Region("above", low=0.0)
    regions[beaten.text] = beaten
    return any(
        part.word is Word.FAILS and _worse(before.get((part.name, part.least)), part, regions)
        for part in damaged.parts
    )


def notices(sound: Verdict, damaged: Verdict) -> bool:
    """Whether a cell tells a mutant: it no longer holds but fails, or it is broken now."""
    if damaged.verdict is Word.BROKEN:
        return sound.verdict is not Word.BROKEN
    return sound.verdict is Word.HOLDS and damaged.verdict is Word.FAILS


def _fails(claim: Claim, damaged: Verdict) -> bool:
    if damaged.verdict is not Word.INCONCLUSIVE:
        return damaged.verdict is Word.FAILS
    passed = {check.name: check.passed for check in damaged.checks if check.kind == "ability"}
    # Without an open need the parts themselves are open.
    return bool(claim.applies) and all(
        passed.get(needs.ability) is True or not needs.of_the_model for needs in claim.applies
    )


def _worse(before: PartResult | None, after: PartResult, regions: dict[str, Region]) -> bool:
    if before is None:
        return False
    if before.word is not Word.FAILS:
        return True
    region = regions[after.least]
    ends = (before.low, before.high, after.low, after.high)
    if any(end is None for end in ends):
        return False
    old_low, old_high, low, high = (float(end) for end in ends if end is not None)
    if region.low is not None and old_high < region.low:
        return high < old_low
    return low > old_high
