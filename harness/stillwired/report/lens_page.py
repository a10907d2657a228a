"""A lens grid as one HTML file that needs nothing else: no network, no fonts, no framework.

Every cell carries its sentence as its accessible name and its tokens with their probabilities as
a tooltip, so that the page reads the same by eye, by keyboard and by ear, also without scripts.
The script only moves the focus with the arrow keys and puts the tooltip beside its cell.

Tokens may hold anything; `stillwired.report.html` says how they meet the page.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING

from stillwired.report.html import THEME, document, safe
from stillwired.report.lens_style import SCRIPT, SHADES, shade, style
from stillwired.report.lens_terminal import columns_of, cut, pieces

if TYPE_CHECKING:
    from stillwired.instruments.lens import Grid

LONGEST = 14
"""Columns that a token takes in a cell or a heading before it is cut."""

_WHITESPACE = {" ": "space", "\n": "line break", "\t": "tab", "\r": "carriage return"}


@dataclass(frozen=True)
class About:
    """What the page says of its grid.

    Attributes:
        model: The model's name.
        origin: What it is, in words.
        digest: sha256 of weights, config and tokenizer.
        text: The text that was read.
        reading: How the states were read: which prompt, trained where, from what.
        date: When.
    """

    model: str
    origin: str
    digest: str
    text: str
    reading: str
    date: str


def lens_page(grid: Grid, about: About) -> str:
    """Write a grid as an HTML document."""
    future = grid.kind == "future"
    title = "Future Lens" if future else "Logit lens"
    heads = "".join(_head(token) for token in grid.tokens)
    rows = "\n".join(_row(grid, row) for row in reversed(range(len(grid.layers))))
    body = f"""<header>
<h1>{title} <small>{safe(about.model)}</small></h1>
{THEME}
</header>
<p>{_FUTURE if future else _LOGIT} Layers are counted from 0, and the last one is on top. Hover over
a cell, tap it, or move there with the arrow keys, to see every token with its probability.</p>
<div class="legend"><span>{_MEAN if future else _LIKELIEST}</span>{_legend()}</div>
<div class="scroll">
<table role="grid" aria-readonly="true">
<caption><div>
<dl>
<dt>model</dt><dd>{safe(about.model)}, {safe(about.origin)}</dd>
<dt>sha256</dt><dd><code>{safe(about.digest)}</code></dd>
<dt>text</dt><dd class="text"><bdi>{_literal(about.text)}</bdi></dd>
<dt>read with</dt><dd>{safe(about.reading)}</dd>
<dt>date</dt><dd>{safe(about.date)}</dd>
</dl>
</div></caption>
<thead>
<tr><th scope="col">layer</th>{heads}</tr>
</thead>
<tbody>
{rows}
</tbody>
</table>
</div>"""
    return document(f"{title}: {safe(about.model)}", style(), SCRIPT, body)


def sentence(grid: Grid, row: int, column: int) -> str:
    """Say a cell as a person would: ``layer 12, after “ Paris”: “ is” 0.62, then “ a” 0.31``."""
    said = [
        f"{spoken(word)} {probability:.2f}"
        for word, probability in zip(
            grid.words[row, column], grid.probabilities[row, column].tolist(), strict=True
        )
    ]
    then = ", then " if grid.kind == "future" else ", or "
    where = f"layer {grid.layers[row]}, after {spoken(grid.tokens[column])}"
    return f"{where}: {said[0]}{''.join(then + more for more in said[1:])}"


def spoken(token: str) -> str:
    """Write a token for a voice: in quotes, and whitespace by name where there is nothing else."""
    if token and set(token) <= set(_WHITESPACE):
        runs = [(_WHITESPACE[sign], len(list(run))) for sign, run in groupby(token)]
        return ", ".join(f"{count} {name}s" if count > 1 else name for name, count in runs)
    return f"“{''.join(text for text, _ in pieces(token, named=True, literal=True))}”"


def _row(grid: Grid, row: int) -> str:
    layer = grid.layers[row]
    cells = "\n".join(_cell(grid, row, column) for column in range(len(grid.tokens)))
    return f'<tr><th scope="row" aria-label="layer {layer}">{layer}</th>\n{cells}</tr>'


def _cell(grid: Grid, row: int, column: int) -> str:
    words = list(grid.words[row, column])
    probabilities = grid.probabilities[row, column].tolist()
    future = grid.kind == "future"
    said = [f"<b>{_short(words[0])}</b>", *map(_short, words[1:] if future else ())]
    lines = "".join(
        f"<tr><td>{f'N = {k}' if future else k + 1}</td><td>{_whole(word)}</td>"
        f'<td><data class="s{shade(p)}" value="{p!r}">{_probability(p)}</data></td></tr>'
        for k, (word, p) in enumerate(zip(words, probabilities, strict=True))
    )
    where = f"layer {grid.layers[row]}, after {_whole(grid.tokens[column])}"
    return (
        f'<td class="s{shade(float(grid.confidence[row, column]))}" tabindex="0" '
        f'aria-label="{safe(sentence(grid, row, column))}">'
        f'<div class="w">{"".join(said)}</div>'
        f'<div class="tip" aria-hidden="true"><p>{where}</p><table>{lines}</table></div></td>'
    )


def _head(token: str) -> str:
    named = safe(spoken(token))
    return f'<th scope="col" title="{named}" aria-label="{named}">{_short(token)}</th>'


def _short(token: str) -> str:
    """A token in a cell: whitespace visible, cut if it is long."""
    return f"<bdi>{''.join(_marked(_cut(token)))}</bdi>"


def _whole(token: str) -> str:
    """A token in a tooltip: all of it, whitespace literal, and named where there is no more."""
    shown = "".join(_marked(pieces(token, named=True, literal=True)))
    blank = not token.strip(" \n\t\r")
    name = f" <i>{escape(spoken(token))}</i>" if blank and token else ""
    return f'<bdi class="q">{shown}</bdi>{name}'


def _cut(token: str) -> Iterator[tuple[str, bool]]:
    room = LONGEST
    for text, mark in pieces(token):
        if columns_of(text) > room:
            yield (cut(text, room) if room > 1 and not mark else "…"), mark
            return
        room -= columns_of(text)
        yield text, mark


def _marked(parts: Iterator[tuple[str, bool]]) -> Iterator[str]:
    for text, mark in parts:
        yield f"<i>{escape(text)}</i>" if mark else escape(text)


def _literal(text: str) -> str:
    """The text that was read: whitespace as it is, and whatever stands for something marked."""
    return "".join(_marked(pieces(text, literal=True)))


def _probability(value: float) -> str:
    return f"{value:.4f}" if value >= 0.001 else f"{value:.1e}"


def _legend() -> str:
    swatches = "".join(f'<span class="s{step}"></span>' for step in range(SHADES + 1))
    return f'<span class="scale">0<span class="bar" aria-hidden="true">{swatches}</span>1</span>'


_FUTURE = (
    "Each cell holds what the model would say after the state of one layer at one token: in bold "
    "what it is about to say, then what the state foresees. One learned prompt reads all of them. "
    "It goes on by itself: each token is fed back before the next one is read. At the last layer "
    "no state reaches the later tokens; there they follow from the first one alone."
)
_LOGIT = (
    "Each cell holds the likeliest next token according to the state of one layer at one token, "
    "passed through the final norm and the unembedding as if the later layers were not there."
)
_MEAN = "Shading: mean probability of the tokens shown"
_LIKELIEST = "Shading: probability of the token shown"
