"""One cell's verdict from its claim and its evidence; rules 0 to 5 of ``docs/judging.md``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from stillwired.errors import ClaimError
from stillwired.judge.claims import Claim, Needs, Value
from stillwired.judge.contrasts import (
    Part,
    beside_parts_of,
    check_evidence,
    parts_of,
    rival_parts_of,
)
from stillwired.judge.figures import figure, with_interval
from stillwired.judge.intervals import Interval
from stillwired.judge.planning import FEWEST_CLUSTERS, clusters_needed, rounded
from stillwired.judge.regions import Region
from stillwired.judge.results import (
    BesideResult,
    CheckResult,
    Evidence,
    InstrumentCheck,
    PartResult,
    Verdict,
    Word,
)
from stillwired.outcomes import Arm, Outcome

__all__ = [
    "CheckResult",
    "Evidence",
    "InstrumentCheck",
    "PartResult",
    "Verdict",
    "Word",
    "judge_cell",
    "lacking",
    "locate",
]


def locate(interval: Interval, region: Region) -> Word:
    """Return HOLDS, FAILS or INCONCLUSIVE for one quantity; REPORTED for one without region."""
    if region.kind == "reported":
        return Word.REPORTED
    if region.outside(interval.low, interval.high):
        return Word.FAILS
    if interval.clusters >= FEWEST_CLUSTERS and region.inside(interval.low, interval.high):
        return Word.HOLDS
    return Word.INCONCLUSIVE


def judge_cell(
    claim: Claim,
    evidence: Evidence,
    params: Mapping[str, Value],
    primary: bool | None = None,
) -> Verdict:
    """Judge one cell.

    Args:
        claim: What was declared.
        evidence: What was measured.
        params: Parameters of the cell, for example ``{"ahead": 1}``.
        primary: Whether it is the one that the gate looks at; None for what is declared.

    Raises:
        ClaimError: If the evidence does not fit the declaration. A declared check without
            evidence is an error, never skipped.
    """
    start = Verdict(
        claim=claim.id,
        version=claim.version,
        params=params,
        primary=claim.is_primary(params) if primary is None else primary,
        verdict=Word.HOLDS,
        reported=claim.reported,
        facts=evidence.facts,
    )
    obstacle = evidence.obstacle
    if obstacle is not None:
        check = CheckResult(obstacle.kind, obstacle.name, False, obstacle.detail)
        return replace(start, verdict=obstacle.word, reason=obstacle.detail, checks=(check,))
    abilities = _abilities(claim, evidence.ability)
    unable = _unable(abilities)
    failed = [check for check in evidence.instrument if not check.passed]
    check_evidence(claim, evidence, whole=not (unable or failed))
    checks = [CheckResult("instrument", c.name, c.passed, c.detail) for c in evidence.instrument]
    if failed:
        reason = "; ".join(f"{c.name}: {c.detail or 'failed'}" for c in failed)
        return replace(
            start,
            verdict=Word.BROKEN,
            reason=f"instrument check failed: {reason}",
            checks=tuple(checks),
        )
    # From here on figures are shown, whatever the word; it never depends on those beside it.
    start = replace(start, beside=_beside(evidence))
    checks += [check for _, check, _ in abilities]
    if unable:
        return replace(
            start,
            verdict=Word.NOT_APPLICABLE,
            reason="; ".join(check.detail for check in unable),
            checks=tuple(checks),
        )
    own = parts_of(claim, evidence.arms)
    parts = own + rival_parts_of(claim, evidence.arms)
    results = [_result(part) for part in parts]
    leading = 0 if claim.reported else _worst(parts, results)
    decided = results[leading]
    blocks: list[tuple[Word, str]] = []  # what the checks make of it, gravest first
    checks += _null(claim, evidence, blocks)
    sensitivity = list(_sensitivity(claim, own, evidence))
    checks += sensitivity
    unnoticed = [check.detail for check in sensitivity if not check.passed]
    if unnoticed:
        why = f"a planted difference goes unnoticed: {'; '.join(unnoticed)}"
        blocks.append((Word.BROKEN, why))
    word, reason, p_fail = decided.word, "", min(1.0, len(parts) * min(r.p_fail for r in results))
    broken = [why for block, why in blocks if block is Word.BROKEN]
    capped = [why for block, why in blocks if block is Word.INCONCLUSIVE]
    # A measurement that falls short on one side leaves the other word as sure as it is.
    one_sided = {"not held": Word.HOLDS, "not failed": Word.FAILS}
    undecided = [
        (needs, interval)
        for needs, check, interval in abilities
        if check.passed is not True and one_sided.get(needs.otherwise, word) is word
    ]
    if broken:
        word, reason = Word.BROKEN, "; ".join(broken)
    elif undecided:
        # Whether the claim applies, or its figures can be trusted, is open: it cannot fail either.
        word, p_fail = Word.INCONCLUSIVE, 1.0
        reason = _open(undecided)
    elif word is Word.HOLDS and capped:
        word, reason = Word.INCONCLUSIVE, "; ".join(capped)
    elif word is Word.INCONCLUSIVE:
        reason = _undecided(claim, parts[leading])
    elif word is Word.FAILS:
        reason = _failed(decided)
    return replace(
        start,
        verdict=word,
        reason=reason,
        estimate=decided.estimate,
        low=decided.low,
        high=decided.high,
        least=decided.least,
        n=decided.n,
        clusters=decided.clusters,
        p_fail=None if claim.reported else p_fail,
        parts=tuple(results),
        checks=tuple(checks),
    )


def lacking(claim: Claim, ability: Mapping[str, Outcome]) -> bool:
    """Say whether a model clearly lacks what a claim presupposes.

    Then nothing else needs to be measured: `judge_cell` calls the claim not applicable on these
    outcomes alone.

    Args:
        claim: What was declared.
        ability: Outcomes by ability name, as far as they are measured.
    """
    return bool(_unable(_abilities(claim, ability)))


def _abilities(
    claim: Claim, ability: Mapping[str, Outcome]
) -> list[tuple[Needs, CheckResult, Interval]]:
    """Check what a claim needs, as far as it is measured."""
    return [
        (needs, *_ability(needs, ability[needs.ability]))
        for needs in claim.applies
        if needs.ability in ability
    ]


def _unable(abilities: Iterable[tuple[Needs, CheckResult, Interval]]) -> list[CheckResult]:
    """Return the checks by which a claim does not apply."""
    return [check for needs, check, _ in abilities if check.passed is False and needs.of_the_model]


def _ability(needs: Needs, outcome: Outcome) -> tuple[CheckResult, Interval]:
    part = Part(needs.ability, needs.region, (), outcome)
    interval, word = part.interval, locate(part.interval, part.region)
    unit = f" {needs.unit}" if needs.unit else ""
    limit = "needed" if needs.at_least is not None else "allowed"
    figures = f"{_figures(interval)}{unit} {needs.ability}, {needs.threshold:g} {limit}"
    passed = {Word.HOLDS: True, Word.FAILS: False}.get(word)
    return _check("ability", needs.ability, passed, figures, interval), interval


def _open(unmet: Sequence[tuple[Needs, Interval]]) -> str:
    """Say which needs leave the claim undecided; what several have in common is said once."""
    said: list[str] = []
    before = ""
    for need, interval in unmet:
        unit = f" {need.unit}" if need.unit else ""
        clear = locate(interval, need.region) is Word.FAILS
        if need.at_least is not None:
            verb = "is below" if clear else "may be below"
        else:
            verb = "exceeds" if clear else "may exceed"
        limit = f" {verb} {need.threshold:g}{unit}"
        said.append(f"{need.ability}{'' if limit == before else limit}: {_figures(interval)}")
        before = limit
    return f"undecided while {'; '.join(said)}"


def _null(
    claim: Claim, evidence: Evidence, blocks: list[tuple[Word, str]]
) -> Iterable[CheckResult]:
    if claim.null is None:
        return
    if not evidence.null:
        raise ClaimError(
            f"Claim {claim.id} declares a null ({claim.null}), but none was measured. Hand it "
            "to judge(null=...)."
        )
    parts = [
        p for p in _replaced(claim, evidence, evidence.null) if set(p.arms) & set(evidence.null)
    ]
    if not parts:
        raise ClaimError(
            f"Claim {claim.id}: the null replaces {', '.join(evidence.null)}, which no "
            "expectation compares. Measure the null for an arm that is expected to show it."
        )
    results = [_result(part) for part in parts]
    leading = _worst(parts, results)
    word, interval = results[leading].word, parts[leading].interval
    figures = f"{parts[leading].name} {_figures(interval)}"
    if word is Word.HOLDS:
        blocks.append((Word.BROKEN, f"the null ({claim.null}) shows the effect: {figures}"))
    elif word is Word.INCONCLUSIVE:
        more = _undecided(claim, parts[leading])
        blocks.append(
            (Word.INCONCLUSIVE, f"the null ({claim.null}) is undecided: {figures}; {more}")
        )
    passed = {Word.FAILS: True, Word.HOLDS: False}.get(word)
    yield _check("null", claim.null, passed, figures, interval)


def _sensitivity(claim: Claim, own: list[Part], evidence: Evidence) -> Iterable[CheckResult]:
    if claim.sensitivity is None:
        return
    if any(part.region.kind == "within" for part in own):
        yield from _planted(claim, own, evidence)
        return
    for part in own:
        if part.region.kind != "at least":
            continue
        # An effect of this size the other way round must be seen for what it is.
        shift = -claim.sensitivity - part.interval.estimate
        shifted = replace(
            part.interval,
            estimate=part.interval.estimate + shift,
            low=part.interval.low + shift,
            high=part.interval.high + shift,
        )
        seen = locate(shifted, part.region) is Word.FAILS
        figures = f"{part.name} shifted by {figure(shift)} is {_figures(shifted)}"
        yield _check("sensitivity", f"shifted by {claim.sensitivity:g}", seen, figures, shifted)


def _planted(claim: Claim, own: list[Part], evidence: Evidence) -> Iterable[CheckResult]:
    """With the planted arms a part must have moved, and must no longer hold."""
    found = {_which(part): part for part in _replaced(claim, evidence, evidence.planted)}
    if set(found) != set(map(_which, own)):
        raise ClaimError(
            f"Claim {claim.id}: the planted arms ({', '.join(evidence.planted)}) have other "
            "members than those they replace. Plant at every label of a family."
        )
    touched = [
        part
        for part in own
        if part.region.kind == "within" and set(part.arms) & set(evidence.planted)
    ]
    if not touched:
        raise ClaimError(
            f"Claim {claim.id}: the planted arms replace {', '.join(evidence.planted)}, which no "
            "expectation of no difference compares. Plant into an arm that one compares."
        )
    for before in touched:
        after = found[_which(before)]
        change = Part(
            before.name, before.region, before.arms, _as_outcome(after), _as_outcome(before)
        ).interval
        moved = change.low > 0 or change.high < 0
        seen = moved and locate(after.interval, after.region) is not Word.HOLDS
        figures = (
            f"{before.name} is {_figures(after.interval)} with the planted arms, moved by "
            f"{_figures(change)}"
        )
        yield _check("sensitivity", "planted arms", seen, figures, after.interval)


def _which(part: Part) -> tuple[str, tuple[str, ...], Region]:
    return part.name, part.arms, part.region


def _replaced(claim: Claim, evidence: Evidence, arms: Mapping[str, Arm]) -> list[Part]:
    return parts_of(claim, {**evidence.arms, **arms})


def _as_outcome(part: Part) -> Outcome:
    return Outcome(part.name, part.plus.examples, part.plus.clusters, part.scores)


def _result(part: Part) -> PartResult:
    interval, region = part.interval, part.region
    reach = [1.0]
    if region.low is not None:
        reach.append(part.sample.p_reaches(region.low, "low"))
    if region.high is not None:
        reach.append(part.sample.p_reaches(region.high, "high"))
    return PartResult(
        name=part.name,
        word=locate(interval, region),
        estimate=interval.estimate,
        low=_finite(interval.low),
        high=_finite(interval.high),
        least=region.text,
        n=interval.n,
        clusters=interval.clusters,
        p_fail=min(reach),
        method=interval.method,
    )


def _beside(evidence: Evidence) -> tuple[BesideResult, ...]:
    """Estimate what stands beside the claim."""
    return tuple(
        BesideResult(
            part.name,
            part.interval.estimate,
            _finite(part.interval.low),
            _finite(part.interval.high),
            part.interval.n,
            part.interval.clusters,
        )
        for part in beside_parts_of(evidence.beside)
    )


def _worst(parts: Sequence[Part], results: Sequence[PartResult]) -> int:
    """Return which part decides."""
    return min(range(len(parts)), key=lambda k: _severity(parts[k], results[k]))


def _severity(part: Part, result: PartResult) -> tuple[int, float]:
    """Order of parts, worst first: by word, then by how deep inside the region they lie."""
    rank = {Word.FAILS: 0, Word.INCONCLUSIVE: 1, Word.HOLDS: 2}[result.word]
    interval, region = part.interval, part.region
    depth = min(
        math.inf if region.low is None else interval.estimate - region.low,
        math.inf if region.high is None else region.high - interval.estimate,
    )
    half = interval.half_width
    return rank, depth / half if half > 0 else math.copysign(math.inf, depth)


def _undecided(claim: Claim, part: Part) -> str:
    interval, region = part.interval, part.region
    if interval.clusters < FEWEST_CLUSTERS:
        return (
            f"only {interval.clusters} {claim.unit}; below {FEWEST_CLUSTERS} nothing holds, "
            "whatever the figures"
        )
    if interval.method == "none":
        return (
            f"every row of {part.name} has the score {figure(interval.estimate)}, which leaves no "
            "measure of chance; check the instrument"
        )
    need = clusters_needed(_planned_distance(claim, region), interval.se, interval.clusters)
    more = need - interval.clusters
    if more > 0:
        return f"about {rounded(more)} {claim.unit} more would settle it"
    return (
        f"{interval.clusters} {claim.unit} are enough for the declared effect, so that the "
        f"truth lies near the edge ({region.text})"
    )


def _planned_distance(claim: Claim, region: Region) -> float:
    """Distance that a design must resolve: from a dead mechanism, at 0, to the edge."""
    if math.isfinite(region.half_width):
        return region.half_width
    edge = region.low if region.low is not None else region.high
    if edge:
        return abs(edge)
    effects = [e.at_least for e in claim.expects if e.at_least is not None]
    # Only a claim that is reported throughout may lack a margin, and nothing of it is undecided.
    assert claim.margin is not None
    return min(effects, default=claim.margin)


def _failed(result: PartResult) -> str:
    figures = with_interval(result.estimate, result.low, result.high)
    return f"{result.name} is {figures}, expected {_expected(result.least)}"


def _expected(least: str) -> str:
    # A bare figure is a least effect; the other regions already read as what they are.
    return f"at least {least}" if least.lstrip("-−")[:1].isdigit() and "…" not in least else least


def _check(
    kind: str, name: str, passed: bool | None, detail: str, interval: Interval
) -> CheckResult:
    low, high = _finite(interval.low), _finite(interval.high)
    return CheckResult(kind, name, passed, detail, interval.estimate, low, high)


def _figures(interval: Interval) -> str:
    return with_interval(interval.estimate, interval.low, interval.high)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
