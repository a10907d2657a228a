"""Records as one HTML page: verdicts first, then every claim with its figures and pictures.

The page needs no script: the table is plain HTML, links lead to cells, and what is folded away
unfolds by itself. The script only adds the filters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from stillwired.judge.claims import Claim
from stillwired.report.claim_section import claim_section
from stillwired.report.claims_style import FILTERS, sheet
from stillwired.report.comparison_page import comparison_section
from stillwired.report.html import THEME, document, safe
from stillwired.report.inline_svg import Pictures
from stillwired.report.record_facts import record_facts
from stillwired.report.shown import Shown, papers_of
from stillwired.report.terminal import WORDS, Row, tally
from stillwired.report.text import NOTHING, interval, number, published, where
from stillwired.report.words import chip, slug


def claims_page(records: Sequence[Shown], remarks: Sequence[str] = ()) -> str:
    """Write one page from one or more records.

    Args:
        records: The records.
        remarks: What went wrong in the run, a sentence each.

    Raises:
        ClaimError: If a declaration has no meaning to this version.
        RecordError: If a picture is no SVG.
    """
    pictures = Pictures()
    prefixes = _prefixes(records)
    sections = "".join(
        _record(shown, prefix, pictures) for shown, prefix in zip(records, prefixes, strict=True)
    )
    names = [shown.name for shown in records]
    what = names[0] if len(names) == 1 else f"{len(names)} records"
    contents = ""
    if len(records) > 1:
        links = (
            f'<li><a href="#{safe(prefix.rstrip("/"))}">{safe(shown.name)}</a> '
            f"{safe(tally(shown.finished.verdicts))}</li>"
            for shown, prefix in zip(records, prefixes, strict=True)
        )
        contents = f'<nav aria-label="Records"><ul>{"".join(links)}</ul></nav>'
    said = "".join(f'<p class="remark">{safe(remark)}</p>' for remark in remarks)
    body = f"""<a class="skip" href="#claims">Skip to the verdicts</a>
<header>
<h1>Claims <small>{safe(what)}</small></h1>
{THEME}
</header>
{said}{contents}{_filters(records)}
<main id="claims">
{sections}</main>"""
    title = safe(f"Claims: {', '.join(names)}")
    return document(title, sheet(pictures.css), FILTERS, body)


def _prefixes(records: Sequence[Shown]) -> list[str]:
    """Return what stands before the names of each record's parts; nothing if there is just one."""
    if len(records) == 1:
        return [""]
    return [f"{place}/" for place, _ in enumerate(records, start=1)]


def _filters(records: Sequence[Shown]) -> str:
    """The form that the script shows: words, papers, a text, and primary cells alone."""
    rows = [row for shown in records for row in shown.rows.values()]
    counts = Counter(str(row.verdict.verdict) for row in rows)
    words = "".join(
        f'<label><input type="checkbox" name="word" value="{slug(word)}" checked>'
        f"{chip(word)} {counts[word]}</label>"
        for word in WORDS
        if counts[word]
    )
    papers = {
        claim.source.paper.key: claim.source.paper.title
        for shown in records
        for claim in shown.claims.values()
    }
    options = "".join(f'<option value="{safe(k)}">{safe(v)}</option>' for k, v in papers.items())
    return f"""<form class="filters" hidden>
<fieldset><legend>Verdicts</legend>{words}</fieldset>
<label>Paper <select name="paper"><option value="">all</option>{options}</select></label>
<label>Text <input type="search" name="text" size="18"></label>
<label><input type="checkbox" name="primary">primary cells only</label>
<output aria-live="polite"></output>
</form>"""


def _record(shown: Shown, prefix: str, pictures: Pictures) -> str:
    finished, claims = shown.finished, shown.claims
    gate = finished.gate
    said = ""
    if gate is not None:
        lines = "".join(f"<li>{safe(line)}</li>" for line in gate.lines)
        passes = chip("The gate passes", like="HOLDS")
        said = passes if gate.passed else chip("The gate fails", like="FAILS")
        said = f'<p class="gate">{said}</p>'
        said += f"<ul>{lines}</ul>" if lines else ""
    own = f' id="{safe(prefix.rstrip("/"))}"' if prefix else ""
    papers = "".join(
        _paper(shown, paper, known, prefix, pictures)
        for paper, known in papers_of(list(claims.values()))
    )
    return f"""<section class="record"{own}>
<h2>{safe(shown.name)}</h2>
<p class="about">{safe(_about(shown))}</p>
{said}<p class="tally">{safe(tally(finished.verdicts))}</p>
<h3>Verdicts</h3>
{_table(shown, prefix)}
<p class="rest">{_LEGEND}</p>
{comparison_section(shown, prefix)}{papers}{_others(shown, pictures)}{record_facts(shown)}
</section>
"""


_LEGEND = (
    "* primary cell, the one of its claim that the gate looks at. In the drawings below a bar is a "
    "95 % interval, the shaded ground the region that was declared for it, the upright line zero, "
    "and a diamond the published value, where the text gives one for that very quantity."
)


def _about(shown: Shown) -> str:
    """Say in a line what was judged and how."""
    data = shown.data
    checkpoint, regime = data["checkpoint"], data["checkpoint"].get("regime", {})
    said = [
        str(checkpoint.get("origin") or ""),
        f"sha256 {checkpoint['digest'][:16]}…" if checkpoint.get("digest") else "",
        " ".join(str(regime.get(k, "")) for k in ("device", "dtype", "attention")).strip(),
        f"profile {data['profile']}",
        f"seed {data['seed']}",
        str(data["times"].get("started", ""))[:10],
    ]
    return ", ".join(part for part in said if part)


def _table(shown: Shown, prefix: str) -> str:
    heads = ("claim", "where", "estimate", "95 % interval", "least", "published", "verdict")
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    body, above = "", ""
    for row in shown.rows.values():
        body += _row(shown, row, prefix, again=row.verdict.claim == above)
        above = row.verdict.claim
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Verdicts of '
        f'{safe(shown.name)}"><table class="verdicts"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _row(shown: Shown, row: Row, prefix: str, *, again: bool) -> str:
    verdict = row.verdict
    claim = shown.claims[verdict.claim]
    star = " *" if verdict.primary else ""
    # What holds for all cells of a claim is said once.
    quoted = "" if again else safe(published(row.published, 90))
    why = f'<span class="why">{safe(verdict.reason)}</span>' if verdict.reason else ""
    return (
        f'<tr class="{slug(verdict.verdict)}{" primary" if verdict.primary else ""}" '
        f'data-paper="{safe(claim.source.paper.key)}">'
        f'<th scope="row"><a href="#{safe(prefix + shown.anchors[verdict.key])}">'
        f"{safe(verdict.claim)}</a></th><td>{safe(where(verdict.params))}{star}</td>"
        f"<td>{number(verdict.estimate)}</td><td>{interval(verdict.low, verdict.high)}</td>"
        f"<td>{safe(verdict.least or NOTHING)}</td><td>{quoted}</td>"
        f"<td>{chip(verdict.verdict, row.note)}{why}</td></tr>\n"
    )


def _paper(
    shown: Shown, paper: Any, claims: Sequence[Claim], prefix: str, pictures: Pictures
) -> str:
    drawn = "".join(_drawn(shown, paper.key, pictures))
    cited = safe(f"{paper.authors}. {paper.venue}.")
    if paper.arxiv:
        place = safe(paper.arxiv)
        cited += f' <a href="https://arxiv.org/abs/{place}">arXiv {place}</a>'
    sections = "".join(claim_section(shown, claim, prefix) for claim in claims)
    return f"""<section class="paper">
<h3>{safe(paper.title)}</h3>
<p class="about">{cited}</p>
{drawn}{sections}</section>
"""


def _drawn(shown: Shown, paper: str, pictures: Pictures) -> Iterator[str]:
    """Yield the pictures that carry a paper's name."""
    for name, svg in shown.pictures.items():
        if name.startswith(f"{paper}-"):
            yield f"<figure>{pictures.take(svg)}</figure>"


def _others(shown: Shown, pictures: Pictures) -> str:
    """Pictures of no paper that was judged, and why there are none."""
    papers = {claim.source.paper.key for claim in shown.claims.values()}
    left = [
        f"<figure>{pictures.take(svg)}</figure>"
        for name, svg in shown.pictures.items()
        if not any(name.startswith(f"{paper}-") for paper in papers)
    ]
    if shown.undrawn:
        left.append(f'<p class="why">No picture was drawn. {safe(shown.undrawn)}</p>')
    return f"<section><h3>Pictures</h3>{''.join(left)}</section>" if left else ""
