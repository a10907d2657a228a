"""A claim on a page: what the paper says, what was compared, and every cell with its figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stillwired.judge.claims import Claim
from stillwired.judge.regions import Region
from stillwired.judge.results import Fact, Verdict
from stillwired.report.figures_table import cell_bar, claim_scale, figures_table
from stillwired.report.html import safe
from stillwired.report.interval_plot import Scale, axis, drawing
from stillwired.report.shown import Shown
from stillwired.report.terminal import Row
from stillwired.report.text import count, fact, interval, number, where
from stillwired.report.words import chip


def claim_section(shown: Shown, claim: Claim, prefix: str) -> str:
    """Write a claim's section.

    Args:
        shown: The record.
        claim: The claim.
        prefix: Put before the names of its parts, so that several records fit on a page.
    """
    rows = shown.rows_of(claim.id)
    verdicts = [row.verdict for row in rows]
    common = _common(verdicts)
    scale = claim_scale(claim, verdicts)
    # A claim without a primary cell shows its first one instead.
    opened = [verdict.primary for verdict in verdicts]
    if not any(opened):
        opened = [place == 0 for place in range(len(rows))]
    cells = [
        _cell(shown, claim, row, scale, f"{prefix}{shown.anchors[row.verdict.key]}", open_, common)
        for row, open_ in zip(rows, opened, strict=True)
    ]
    name = safe(f"{prefix}{claim.id}")
    return f"""<section class="claim" id="{name}">
<h4><a href="#{name}">{safe(claim.id)}</a></h4>
<p class="says">{safe(claim.says)}</p>
<dl>{"".join(_about(claim, common))}</dl>
<div class="cells-head">{axis(scale)}</div>
{"".join(cells)}
</section>
"""


def _about(claim: Claim, common: Mapping[str, Fact]) -> Iterator[str]:
    """Say what is compared and what else was declared, in pairs of a name and a text."""
    compared = [f"{e.label}{_expected(e.region)}" for e in claim.expects]
    yield _pair("paper", f"{claim.source.paper.title}, {claim.source.place}")
    yield _pair("published", claim.published)
    yield _pair("compared", *compared)
    if claim.rivals:
        yield _pair("rivals", ", ".join(claim.rivals))
    if claim.null is not None:
        yield _pair("null", claim.null)
    if claim.mutant is not None:
        yield _pair("must fail with", claim.mutant)
    if claim.margin is not None:
        yield _pair("loss that counts", f"{claim.margin:g}, when two checkpoints are compared")
    for name, value in common.items():
        yield _pair(name, fact(value))


def _pair(name: str, *texts: str) -> str:
    return f"<dt>{safe(name)}</dt>" + "".join(f"<dd>{safe(text)}</dd>" for text in texts)


def _expected(region: Region) -> str:
    if region.kind == "reported":
        return ", only reported"
    plain = {"at least": " at least", "between": " in"}.get(region.kind, "")
    return f"{plain} {region.text}"


def _cell(
    shown: Shown,
    claim: Claim,
    row: Row,
    scale: Scale,
    anchor: str,
    open_: bool,
    common: Mapping[str, Fact],
) -> str:
    verdict = row.verdict
    # The only cell of a claim without parameters is what the claim's own link leads to.
    own = f' id="{safe(anchor)}"' if verdict.params else ""
    place = where(verdict.params) if verdict.params else "one cell"
    star = '<abbr title="primary cell">*</abbr>' if verdict.primary else ""
    figures = ""
    if verdict.estimate is not None:
        figures = f"{number(verdict.estimate)} <span>{interval(verdict.low, verdict.high)}</span>"
    return (
        f'<details class="cell"{own}{" open" if open_ else ""}><summary>'
        f'<span class="where">{safe(place)}{star}</span>'
        f"{drawing(cell_bar(claim, verdict), scale)}"
        f'<span class="figure">{figures}</span>{chip(verdict.verdict, row.note)}</summary>'
        f"{_reason(verdict)}{figures_table(claim, verdict)}{_rest(claim, verdict, common)}"
        "</details>\n"
    )


def _reason(verdict: Verdict) -> str:
    return f'<p class="why">{safe(verdict.reason)}</p>' if verdict.reason else ""


def _rest(claim: Claim, verdict: Verdict, common: Mapping[str, Fact]) -> str:
    """Say what stands behind the figures: rows, clusters, methods, checks and facts."""
    said = []
    if verdict.n:
        said.append(f"{count(verdict.n)} examples in {count(verdict.clusters)} {claim.unit}")
    methods = dict.fromkeys(part.method for part in verdict.parts)
    if methods:
        said.append(f"intervals by {', '.join(methods)}")
    if verdict.p_fail is not None and verdict.p_fail < 1:
        said.append(f"p {verdict.p_fail:.2g} in the failing direction")
    ran = [check for check in verdict.checks if check.kind == "instrument"]
    passed = [check for check in ran if check.passed]
    if ran:
        said.append(f"{len(passed)} of {len(ran)} checks of the instrument passed")
    lines = [f'<p class="rest">{safe("; ".join(said))}</p>'] if said else []
    pairs = [
        _pair(check.name, check.detail or "not passed")
        for check in verdict.checks
        if check.passed is not True
        and check.estimate is None
        # What already stands above in full is not said twice.
        and (not check.detail or check.detail not in verdict.reason)
    ]
    pairs += [_pair(k, fact(v)) for k, v in verdict.facts.items() if k not in common]
    if pairs:
        lines.append(f"<dl>{''.join(pairs)}</dl>")
    return "".join(lines)


def _common(verdicts: Sequence[Verdict]) -> dict[str, Fact]:
    """Return the facts that every measured cell shares, so that they are told once."""
    told: list[Mapping[str, Any]] = [verdict.facts for verdict in verdicts if verdict.facts]
    if not told:
        return {}
    return {
        name: value
        for name, value in told[0].items()
        if all(name in facts and facts[name] == value for facts in told)
    }
