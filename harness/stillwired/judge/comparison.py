"""One cell of a claim in two records: is what was there KEPT, GAINED or LOST?

Compared is the contrast of every part, rivals apart, on the same examples. A change may go as far
as a margin against the claim; what lies within that with certainty is KEPT. That no difference was
found is never called the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from stillwired.errors import ClaimError
from stillwired.judge.changes import Change, ChangeWord, Judged, PartChange
from stillwired.judge.claims import Claim
from stillwired.judge.contrasts import Part, parts_of
from stillwired.judge.figures import figure, with_interval
from stillwired.judge.intervals import Interval
from stillwired.judge.planning import FEWEST_CLUSTERS, clusters_needed, rounded
from stillwired.judge.regions import Region
from stillwired.judge.results import Word
from stillwired.judge.shifts import Matched, Pairing, Shift, match

DEGENERATE = 0.1
"""Share of an ability's threshold by which it must have got worse for a gain to be refused."""

_RESOLVED = 3.24
"""Standard errors to an edge that are told apart from it nine times out of ten."""


def compare_cell(
    old: Judged | None,
    new: Judged | None,
    pairing: Pairing | None = None,
    refit_sd: Mapping[str, float] | None = None,
    borrowed: Mapping[str, str] | None = None,
) -> Change:
    """Compare a cell of two records; one of them may lack it.

    Args:
        old: The cell of the baseline.
        new: The cell of the record that is compared with it.
        pairing: What is known of the two records as a whole.
        refit_sd: Standard deviation over refits of each part, by the part's name; None where
            nothing was fitted anew. Of a part that it lacks nobody knows how much fits differ, so
            that its interval is too short to decide anything.
        borrowed: The cell in which that was measured, by the part's name, where it is another one.

    Raises:
        ClaimError: If neither record has the cell, or their rows do not fit together.
    """
    one = new or old
    if one is None:
        raise ClaimError("There is no cell to compare. Hand over at least one of the two.")
    verdict = one.verdict
    start = Change(
        claim=verdict.claim,
        params=verdict.params,
        primary=verdict.primary,
        then=old.verdict.verdict if old is not None else None,
        now=new.verdict.verdict if new is not None else None,
        word=ChangeWord.NOT_COMPARED,
    )
    if start.now is Word.BROKEN:
        return replace(start, word=ChangeWord.BROKEN, reason=verdict.reason)
    if old is None:
        return replace(start, word=ChangeWord.NEW)
    if new is None:
        lost = replace(start, reason="not judged now")
        return replace(lost, word=ChangeWord.LOST, cause="missing") if start.held else lost
    hindrance = _hindrance(old, new)
    if hindrance:
        return replace(start, reason=hindrance)
    if start.held and start.now is Word.NOT_APPLICABLE:
        return replace(start, word=ChangeWord.LOST, cause="ability", reason=verdict.reason)
    for word, when in ((start.then, "then"), (start.now, "now")):
        if word in (Word.NOT_APPLICABLE, Word.BROKEN):
            return replace(start, reason=f"{word} {when}, so that there is nothing to compare")
    return _measured(start, old, new, pairing or Pairing(), refit_sd, borrowed or {})


def _hindrance(old: Judged, new: Judged) -> str:
    """Say why two cells are not about the same thing; empty if they are."""
    if old.verdict.version != new.verdict.version:
        return f"version {old.verdict.version} then, {new.verdict.version} now"
    if _declared(old.claim) != _declared(new.claim):
        return "declared otherwise under the same version"
    return "only reported" if new.claim.reported else ""


def _declared(claim: Claim) -> dict[str, object]:
    """Return what a claim declares, wording apart."""
    wording = ("says", "source", "published", "mutant", "unit")
    return {key: value for key, value in claim.to_json().items() if key not in wording}


def _measured(
    start: Change,
    old: Judged,
    new: Judged,
    pairing: Pairing,
    refit_sd: Mapping[str, float] | None,
    borrowed: Mapping[str, str],
) -> Change:
    before, after = _parts(old), _parts(new)
    if before.keys() != after.keys():
        odd = ", ".join(sorted({name for name, _ in before.keys() ^ after.keys()}))
        return replace(
            start,
            word=ChangeWord.UNDECIDED,
            reason=f"the two records compare different members: {odd}",
        )
    fitted = refit_sd is not None and not pairing.same_model
    known = refit_sd or {}
    found = [
        match(before[name], part, pairing, known.get(part.name, 0.0))
        for name, part in after.items()
    ]
    parts = [
        _part(before[name], part, matched, new.claim, sure=not fitted or part.name in known)
        for (name, part), matched in zip(after.items(), found, strict=True)
    ]
    decided = _decides(parts)
    word, matched = parts[decided].word, found[decided]
    said = [parts[decided].name] if len(parts) > 1 else []
    if word is ChangeWord.GAINED:
        worse = _worse_abilities(old, new, pairing)
        if worse:
            word = ChangeWord.KEPT
            said.append(f"it grew, but the model got worse: {'; '.join(worse)}")
    elif word is ChangeWord.UNDECIDED and fitted and parts[decided].name not in known:
        said.append("how much it differs from fit to fit was never measured")
    elif word is ChangeWord.UNDECIDED:
        said.append(_open(parts[decided], matched.shift, new.claim.unit))
    if fitted and parts[decided].name in borrowed:
        said.append(f"refits borrowed from {borrowed[parts[decided].name]}")
    said += _how(matched, pairing)
    own = {part.name for part in parts}
    beaten = [
        part.name for part in new.verdict.parts if part.word is Word.FAILS and part.name not in own
    ]
    if beaten:
        said.append(f"a rival explains it now: {beaten[0]} is below 0")
    return replace(
        start,
        word=word,
        reason="; ".join(said),
        explained=bool(beaten),
        decided=parts[decided],
        parts=tuple(parts),
    )


def _parts(cell: Judged) -> dict[tuple[str, int], Part]:
    """Return a claim's parts by name; a number tells those apart that share one."""
    found: dict[tuple[str, int], Part] = {}
    # A baseline keeps no rivals, and they are no part of what is compared.
    for part in parts_of(replace(cell.claim, rivals=()), cell.evidence.arms):
        number = sum(name == part.name for name, _ in found)
        found[part.name, number] = part
    return found


def _part(old: Part, new: Part, matched: Matched, claim: Claim, *, sure: bool) -> PartChange:
    """Compare a part; one whose interval is not to be trusted stays undecided."""
    shift = matched.shift
    interval, kept = shift.interval(), _allowed(old, claim)
    reach = [1.0]
    if kept.low is not None:
        reach.append(shift.p_reaches(kept.low, "low"))
    if kept.high is not None:
        reach.append(shift.p_reaches(kept.high, "high"))
    word = _word(interval, kept, surely=shift.identical)
    if word is ChangeWord.LOST and _approached(old, new):
        enough = interval.clusters >= FEWEST_CLUSTERS
        word, reach = ChangeWord.GAINED if enough else ChangeWord.UNDECIDED, [1.0]
    if not sure:
        word, reach = ChangeWord.UNDECIDED, [1.0]
    return PartChange(
        name=new.name,
        word=word,
        estimate=interval.estimate,
        low=interval.low if math.isfinite(interval.low) else None,
        high=interval.high if math.isfinite(interval.high) else None,
        kept=kept,
        p_lost=min(reach),
        n=interval.n,
        clusters=interval.clusters,
        paired=matched.paired,
        left_out=matched.left_out,
        method=interval.method,
    )


def _allowed(old: Part, claim: Claim) -> Region:
    """Return how far a part may change.

    Never by more than half of what was surely there, or of what a quantity that is to stay small
    may come to. One that is to be no difference has nothing to lose half of.
    """
    margin, region = claim.margin, old.region
    assert margin is not None  # only claims that are reported throughout may lack one
    if region.kind == "at most":
        assert region.high is not None
        there = region.high if region.high > 0 else -old.interval.high
        return Region("at most", high=min(margin, there / 2) if there > 0 else margin)
    if region.kind != "within" and old.interval.low > 0:
        margin = min(margin, old.interval.low / 2)
    if region.kind == "at least":
        return Region("at least", low=-margin)
    return Region("within", low=-margin, high=margin)


def _word(interval: Interval, kept: Region, *, surely: bool) -> ChangeWord:
    low, high = interval.low, interval.high
    if kept.outside(low, high):
        return ChangeWord.LOST
    if not kept.inside(low, high) or not (surely or interval.clusters >= FEWEST_CLUSTERS):
        return ChangeWord.UNDECIDED
    if kept.kind == "at least" and kept.low is not None and low > -kept.low:
        return ChangeWord.GAINED
    if kept.kind == "at most" and kept.high is not None and high < -kept.high:
        return ChangeWord.GAINED
    return ChangeWord.KEPT


def _approached(old: Part, new: Part) -> bool:
    """Whether a part with a region of two edges was outside of it and came nearer."""
    if not math.isfinite(old.region.half_width):
        return False
    before, after = (_distance(part.interval.estimate, old.region) for part in (old, new))
    return before > 0 and after < before


def _distance(value: float, region: Region) -> float:
    assert region.low is not None
    assert region.high is not None
    return max(region.low - value, value - region.high, 0.0)


def _decides(parts: Sequence[PartChange]) -> int:
    """Return which part decides: the worst, or a gained one if no other is worse than kept."""
    rank = {ChangeWord.LOST: 0, ChangeWord.UNDECIDED: 1, ChangeWord.GAINED: 2, ChangeWord.KEPT: 3}

    def severity(part: PartChange) -> tuple[int, float]:
        depth = min(
            math.inf if part.kept.low is None else part.estimate - part.kept.low,
            math.inf if part.kept.high is None else part.kept.high - part.estimate,
        )
        half = math.inf
        if part.low is not None and part.high is not None:
            half = (part.high - part.low) / 2
        return rank[part.word], depth / half if half > 0 else math.copysign(math.inf, depth)

    return min(range(len(parts)), key=lambda k: severity(parts[k]))


def _worse_abilities(old: Judged, new: Judged, pairing: Pairing) -> list[str]:
    """Say which abilities that the claim presupposes have clearly got worse."""
    worse = []
    for needs in new.claim.applies:
        before, after = (
            Part(needs.ability, needs.region, (), cell.evidence.ability[needs.ability])
            for cell in (old, new)
        )
        interval = match(before, after, pairing).shift.interval()
        slack = DEGENERATE * abs(needs.threshold)
        wrong = -interval.low if needs.at_least is None else interval.high
        if wrong < -slack:
            figures = with_interval(interval.estimate, interval.low, interval.high)
            worse.append(f"{needs.ability} changed by {figures}")
    return worse


def _open(part: PartChange, shift: Shift, unit: str) -> str:
    """Say what would settle an undecided change; planned from no change at all."""
    if part.clusters < FEWEST_CLUSTERS:
        return f"only {part.clusters} {unit}; below {FEWEST_CLUSTERS} nothing is kept"
    if part.method == "none":
        return "no measure of chance is left: every row has one score"
    room = part.margin**2 - (_RESOLVED * shift.refit_se) ** 2
    if room <= 0:
        sd = figure(shift.refit_se / math.sqrt(2))
        return (
            f"fits of one checkpoint differ too much (by {sd}) to show a change of {part.allowed}"
        )
    more = clusters_needed(math.sqrt(room), shift.sampling_se, part.clusters) - part.clusters
    if more > 0:
        return f"about {rounded(more)} {unit} more would settle it"
    return f"{part.clusters} {unit} are enough where nothing has changed"


def _how(matched: Matched, pairing: Pairing) -> list[str]:
    """Say how the rows of two records were put together, unless every one met its like."""
    if matched.paired:
        if not matched.left_out:
            return []
        return [f"{matched.left_out} examples that only one record has are left out"]
    if not pairing.same_tokens:
        return ["unpaired"]
    share = matched.shared / matched.examples
    return [f"unpaired: {100 * share:.0f} % of the examples are in both"]
