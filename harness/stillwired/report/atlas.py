"""Claims by checkpoints on one HTML page: which finding holds where, with its figures.

Nothing is refused that can be shown: checkpoints of different profiles, texts or regimes stand
beside each other, and the page says first where they differ. Each row is one cell of a claim;
a claim's primary cell stands for it, and the others are shown on demand, also without scripts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from stillwired.judge.claims import Claim
from stillwired.report.atlas_style import KEYS, STYLE
from stillwired.report.claims_style import sheet
from stillwired.report.html import THEME, document, safe
from stillwired.report.shown import Shown, papers_of
from stillwired.report.terminal import WORDS, Row, tally
from stillwired.report.text import count, interval, number, where
from stillwired.report.words import chip, slug


def atlas(records: Sequence[Shown]) -> str:
    """Write the page from records, one column each, in the order given.

    Raises:
        ClaimError: If a declaration has no meaning to this version.
    """
    names = columns(records)
    claims = {name: claim for shown in records for name, claim in shown.claims.items()}
    heads = "".join(_head(one, name) for one, name in zip(records, names, strict=True))
    bodies = "".join(
        _paper(records, paper, known) for paper, known in papers_of(list(claims.values()))
    )
    notes = "".join(f"<li>{safe(note)}</li>" for note in differences(records))
    said = f"<p>{_DIFFERENT}</p><ul>{notes}</ul>" if notes else f"<p>{_ALIKE}</p>"
    legend = " ".join(chip(word) for word in WORDS)
    body = f"""<header>
<h1>Atlas <small>{len(claims)} claims, {len(records)} records</small></h1>
{THEME}
</header>
<section aria-label="How far the records can be compared">{said}</section>
<p class="legend">{legend}</p>
<p><label><input type="checkbox" id="others">cells that are not primary, too</label></p>
<div class="scroll" tabindex="0" role="region" aria-label="Atlas">
<table class="atlas">
<thead><tr><th scope="col">claim</th>{heads}</tr></thead>
{bodies}</table>
</div>"""
    return document(f"Atlas: {safe(', '.join(names))}", sheet(STYLE), KEYS, body)


def columns(records: Sequence[Shown]) -> list[str]:
    """Return a name for every record: its checkpoint's, numbered where several are of one."""
    names = [shown.name for shown in records]
    return [
        name if names.count(name) == 1 else f"{name} ({names[: k + 1].count(name)})"
        for k, name in enumerate(names)
    ]


def differences(records: Sequence[Shown]) -> list[str]:
    """Say where records differ in what was measured, a sentence each.

    Cells of one row rest on the same examples only where none of this differs, tokenizers apart.
    """
    names = columns(records)

    def differ(what: str, of: Callable[[Shown], Any]) -> Iterator[str]:
        known = {name: of(shown) for name, shown in zip(names, records, strict=True)}
        told = {name: value for name, value in known.items() if value is not None}
        values = dict.fromkeys(told.values())
        if len(values) > 1:
            groups = (
                f"{value} ({', '.join(name for name in told if told[name] == value)})"
                for value in values
            )
            yield f"{what}: {'; '.join(groups)}."

    def task(name: str) -> Callable[[Shown], str | None]:
        return lambda shown: _short((shown.data["tasks"] or {}).get(name))

    def version(claim: str) -> Callable[[Shown], int | None]:
        return lambda shown: shown.claims[claim].version if claim in shown.claims else None

    tasks = dict.fromkeys(name for shown in records for name in shown.data["tasks"] or ())
    claims = dict.fromkeys(name for shown in records for name in shown.claims)
    return [
        *differ("Profiles", lambda shown: shown.data["profile"]),
        *differ("Depths", lambda shown: _layers(shown.data.get("layers", []))),
        *differ("Texts", lambda shown: _text(shown.data["corpus"])),
        *differ("Seeds", lambda shown: shown.data["seed"]),
        *differ("Redraws", lambda shown: shown.data.get("redraw") or "none"),
        *differ("Regimes", lambda shown: _regime(shown.data["checkpoint"])),
        *differ(
            "stillwired", lambda shown: shown.data["environment"]["packages"].get("stillwired")
        ),
        *(line for name in tasks for line in differ(f"The task {name}", task(name))),
        *(line for name in claims for line in differ(f"Versions of {name}", version(name))),
    ]


def _layers(layers: Sequence[float | int]) -> str:
    return ", ".join(map(json.dumps, layers)) or "the profile's"


def _text(corpus: Any) -> str | None:
    return f"{corpus['name']} {_short(corpus['digest'])}" if corpus is not None else None


def _short(digest: str | None) -> str | None:
    return f"{digest[:12]}…" if digest is not None else None


def _regime(checkpoint: Any) -> str | None:
    # A record without a checkpoint has a regime too, and nothing was computed in it.
    if checkpoint["spec"] is None:
        return None
    return " ".join(str(value) for value in checkpoint.get("regime", {}).values())


def _head(shown: Shown, name: str) -> str:
    data, checkpoint = shown.data, shown.data["checkpoint"]
    digest = _short(checkpoint.get("digest"))
    lines = [
        checkpoint.get("origin"),
        f"sha256 {digest}" if digest else None,
        f"profile {data['profile']}",
        _regime(checkpoint),
        str(data["times"].get("started", ""))[:10],
        tally(shown.finished.verdicts),
    ]
    about = "".join(f"<span>{safe(line)}</span>" for line in lines if line)
    return f'<th scope="col"><b>{safe(name)}</b>{about}</th>'


def _paper(records: Sequence[Shown], paper: Any, claims: Sequence[Claim]) -> str:
    rows = "".join(row for claim in claims for row in _claim(records, claim))
    return (
        f'<tbody><tr class="paper"><th colspan="{len(records) + 1}" scope="rowgroup">'
        f"{safe(paper.title)}</th></tr>{rows}</tbody>\n"
    )


def _claim(records: Sequence[Shown], claim: Claim) -> Iterator[str]:
    """Yield a claim's rows: the cell that stands for it, then the others."""
    known: dict[str, Row] = {}
    for shown in records:
        known |= {
            key: row
            for key, row in shown.rows.items()
            if row.verdict.claim == claim.id and key not in known
        }
    order = sorted(known, key=lambda key: not known[key].verdict.primary)
    for key in order:
        first = key == order[0]
        params = known[key].verdict.params
        star = " *" if known[key].verdict.primary else ""
        place = f"<span>{safe(where(params))}</span>" if params else ""
        says = f'<span class="says">{safe(claim.says)}</span>' if first else ""
        cells = "".join(_cell(claim, shown.rows.get(key)) for shown in records)
        yield (
            f'<tr{"" if first else " class=other"}><th scope="row"><b>{safe(claim.id)}{star}</b>'
            f"{place}{says}</th>{cells}</tr>\n"
        )


def _cell(claim: Claim, row: Row | None) -> str:
    if row is None:
        return '<td class="none">not judged</td>'
    verdict = row.verdict
    word = safe(verdict.verdict) + (f" ({safe(row.note)})" if row.note else "")
    figures, more = "", []
    if verdict.estimate is not None:
        bounds = interval(verdict.low, verdict.high)
        figures = f"<span>{number(verdict.estimate)} <small>{bounds}</small></span>"
        more.append(f"{number(verdict.estimate)}, 95 % interval {bounds}")
        if verdict.least:
            more.append(f"expected {verdict.least}")
        more.append(f"{count(verdict.n)} examples in {count(verdict.clusters)} {claim.unit}")
    said = "; ".join(more)
    tip = (
        f'<div class="tip"><b>{safe(verdict.claim)}</b> {safe(where(verdict.params))}: {word}. '
        f"{safe(said)}{'. ' if said else ''}{safe(verdict.reason)}</div>"
    )
    return f'<td class="{slug(verdict.verdict)}" tabindex="0"><b>{word}</b>{figures}{tip}</td>'


_DIFFERENT = (
    "These records differ in what was measured, so that cells of one row do not all rest on the "
    "same examples:"
)
_ALIKE = (
    "All records were measured alike: profile, seed, text, tasks, depths and regime are the same."
)
