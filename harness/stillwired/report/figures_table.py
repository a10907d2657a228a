"""A cell's figures: a row for everything that was estimated, with its interval drawn beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stillwired.judge.claims import Claim
from stillwired.judge.regions import Region
from stillwired.judge.results import BesideResult, CheckResult, PartResult, Verdict
from stillwired.report.html import safe
from stillwired.report.interval_plot import Bar, Scale, axis, drawing
from stillwired.report.published_value import published_value
from stillwired.report.shown import deciding, is_rival, region_of
from stillwired.report.text import interval, number
from stillwired.report.words import chip

_HEADS = ("estimate", "95 % interval", "expected", "")


@dataclass(frozen=True)
class Figure:
    """One row.

    Attributes:
        name: What was estimated.
        bar: Its figures.
        needed: Where it was expected, in words.
        word: What became of it, in words.
        like: The verdict that the word looks like.
        remark: What else is said of it.
    """

    name: str
    bar: Bar
    needed: str = ""
    word: str = ""
    like: str = ""
    remark: str = ""


def figures_table(claim: Claim, verdict: Verdict) -> str:
    """Write the table of a cell: parts, rivals and null on one scale, then what stands beside."""
    own = list(_parts(claim, verdict))
    abilities = [
        _ability(claim, c) for c in verdict.checks if c.kind == "ability" and _estimated(c)
    ]
    beside = [Figure(one.name, _bar(one)) for one in verdict.beside]
    # Hits and probabilities share a scale; nats or ranks beside them would press them flat.
    shares = [one for one in beside if all(-1 <= value <= 1 for value in one.bar.values)]
    others = [one for one in beside if one not in shares]
    groups = [
        *([("", own)] if own else []),
        *(("presupposed", [one]) for one in abilities),
        *([("beside the verdict", shares)] if shares else []),
        *(("beside the verdict", [one]) for one in others),
    ]
    if not groups:
        return ""
    heads = "".join(f'<th scope="col">{head}</th>' for head in _HEADS)
    first = axis(Scale.over(one.bar for one in groups[0][1]))
    bodies = []
    above = ""
    for place, (title, figures) in enumerate(groups):
        scale = Scale.over(one.bar for one in figures)
        rows = []
        if title != above:
            over = axis(scale) if place and len(figures) > 1 else ""
            rows.append(
                f'<tr class="over"><th scope="rowgroup">{title}</th><td>{over}</td>'
                '<td colspan="4"></td></tr>'
            )
        above = title
        rows += [_row(one, scale) for one in figures]
        bodies.append(f"<tbody>{''.join(rows)}</tbody>")
    return (
        '<table class="figures"><thead><tr><th scope="col">quantity</th>'
        f"<td>{first}</td>{heads}</tr></thead>{''.join(bodies)}</table>"
    )


def claim_scale(claim: Claim, verdicts: Sequence[Verdict]) -> Scale:
    """Return the scale on which a claim's cells are drawn beneath each other."""
    return Scale.over(cell_bar(claim, verdict) for verdict in verdicts)


def cell_bar(claim: Claim, verdict: Verdict) -> Bar:
    """Return what stands for a whole cell: the figures that its verdict shows."""
    part = deciding(verdict)
    if part is None:
        return Bar(None)
    return _bar(part, region_of(claim, part), _published(claim, verdict, part))


def _parts(claim: Claim, verdict: Verdict) -> Iterator[Figure]:
    for part in verdict.parts:
        bar = _bar(part, region_of(claim, part), _published(claim, verdict, part))
        yield Figure(part.name, bar, part.least, str(part.word), str(part.word))
    for check in verdict.checks:
        if check.kind in ("null", "sensitivity") and _estimated(check):
            yield _check(claim, verdict, check)


def _published(claim: Claim, verdict: Verdict, part: PartResult) -> float | None:
    """The published value belongs to the claim's only quantity, and to no other."""
    own = [one for one in verdict.parts if not is_rival(one)]
    return published_value(claim, verdict.params) if own == [part] else None


def _bar(
    one: PartResult | CheckResult | BesideResult,
    region: Region | None = None,
    published: float | None = None,
) -> Bar:
    return Bar(one.estimate, one.low, one.high, region, published)


_CHECK_WORDS = {
    "ability": {True: "able", False: "not able", None: "undecided"},
    "null": {True: "no effect", False: "shows the effect", None: "undecided"},
    "sensitivity": {True: "noticed", False: "not noticed", None: "undecided"},
}
_LIKE = {True: "HOLDS", False: "FAILS", None: "INCONCLUSIVE"}


def _check(claim: Claim, verdict: Verdict, check: CheckResult) -> Figure:
    """A null or a planted difference, against the region of the part that it is about."""
    about = next((p for p in verdict.parts if check.detail.startswith(p.name)), None)
    region = region_of(claim, about) if about is not None else None
    name = about.name if about is not None else check.detail
    remark = f"{'null' if check.kind == 'null' else 'planted'}: {check.name}"
    word = _CHECK_WORDS[check.kind][check.passed]
    return Figure(name, _bar(check, region), "", word, _LIKE[check.passed], remark)


def _ability(claim: Claim, check: CheckResult) -> Figure:
    needs = next((n for n in claim.applies if n.ability == check.name), None)
    region = needs.region if needs is not None else None
    unit = f" {needs.unit}" if needs is not None and needs.unit else ""
    needed = f"{region.text}{unit}" if region is not None else ""
    word = _CHECK_WORDS["ability"][check.passed]
    return Figure(check.name, _bar(check, region), needed, word, _LIKE[check.passed])


def _estimated(check: CheckResult) -> bool:
    return check.estimate is not None


def _row(one: Figure, scale: Scale) -> str:
    bar = one.bar
    word = chip(one.word, like=one.like) if one.word else ""
    remark = f"<small>{safe(one.remark)}</small>" if one.remark else ""
    published = ""
    if bar.published is not None:
        published = f'<small class="pub">published {number(bar.published)}</small>'
    return (
        f'<tr><th scope="row">{safe(one.name)}{remark}</th><td>{drawing(bar, scale)}</td>'
        f"<td>{number(bar.estimate)}{published}</td><td>{interval(bar.low, bar.high)}</td>"
        f"<td>{safe(one.needed)}</td><td>{word}</td></tr>"
    )
