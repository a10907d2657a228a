"""A comparison with another record as a section of a page: what was kept, gained and lost."""

from __future__ import annotations

from stillwired.judge.changes import Change
from stillwired.judge.results import Word
from stillwired.records.compare import Comparison
from stillwired.report.comparison import note, tally
from stillwired.report.html import safe
from stillwired.report.interval_plot import Bar, Scale, axis, drawing
from stillwired.report.shown import Shown
from stillwired.report.text import NOTHING, interval, number, where
from stillwired.report.words import chip


def comparison_section(shown: Shown, prefix: str) -> str:
    """Write the section; empty where a record is compared with none.

    Args:
        shown: The record.
        prefix: What stands before the names of its cells.
    """
    comparison = shown.comparison
    if comparison is None:
        return ""
    known = [change for change in comparison.changes if change.decided is not None]
    scale = Scale.over(map(_bar, known))
    rows = "".join(_row(shown, change, comparison, scale, prefix) for change in comparison.changes)
    heads = ("then", "now", "change", "95 % interval", "allowed", "word")
    head = f'<th scope="col">claim</th><td>{axis(scale)}</td>'
    head += "".join(f'<th scope="col">{name}</th>' for name in heads)
    return f"""<section class="comparison">
<h3>Compared with {safe(comparison.then.get("name") or "no checkpoint")}</h3>
<p class="about">{safe(_about(comparison))}</p>
<p class="tally">{safe("; ".join(tally(comparison.changes)))}</p>
<div class="scroll" tabindex="0" role="region" aria-label="Comparison of {safe(shown.name)}">
<table class="changes"><thead><tr>{head}</tr></thead>
<tbody>{rows}</tbody></table></div>
<p class="rest">{_LEGEND}</p>
</section>
"""


def _about(comparison: Comparison) -> str:
    then = comparison.then
    said = [
        f"sha256 {then['digest'][:16]}…" if then.get("digest") else "",
        comparison.path.name,
        f"accepted {comparison.accepted}" if comparison.accepted else "",
        comparison.note,
    ]
    return " ".join([f"{', '.join(part for part in said if part)}.", *comparison.remarks])


def _bar(change: Change) -> Bar:
    part = change.decided
    if part is None:
        return Bar(None)
    return Bar(part.estimate, part.low, part.high, part.kept)


def _row(shown: Shown, change: Change, comparison: Comparison, scale: Scale, prefix: str) -> str:
    part, remark = change.decided, note(change, comparison)
    name = safe(change.claim)
    if change.key in shown.anchors:
        name = f'<a href="#{safe(prefix + shown.anchors[change.key])}">{name}</a>'
    star = " *" if change.primary and change.held else ""
    place = f"<small>{safe(where(change.params))}{star}</small>" if change.params or star else ""
    why = f'<span class="why">{safe(change.reason)}</span>' if change.reason else ""
    figures = (NOTHING, NOTHING, NOTHING)
    if part is not None:
        figures = (number(part.estimate), interval(part.low, part.high), part.allowed)
    cells = "".join(f"<td>{safe(text)}</td>" for text in figures)
    return (
        f'<tr><th scope="row">{name}{place}</th><td>{drawing(_bar(change), scale)}</td>'
        f"<td>{_verdict(change.then)}</td><td>{_verdict(change.now)}</td>{cells}"
        f"<td>{chip(change.word, remark)}{why}</td></tr>\n"
    )


def _verdict(word: Word | None) -> str:
    return NOTHING if word is None else chip(word)


_LEGEND = (
    "* primary cell that held: what these do decides the exit code, with what is missing or "
    "BROKEN. The shaded ground is how far a cell may change and count as kept."
)
