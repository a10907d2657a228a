"""Where heads look: one prompt, written out once for each head and shaded by its attention.

The first token is a sink on which heads rest that look for nothing, so its weight is printed
apart, and shades are shares of what it leaves. Whitespace is made visible.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from stillwired.report.curves_figure import Heading
from stillwired.report.drawing import (
    GREY,
    INK,
    LEFT,
    RIGHT,
    RULE,
    TOP,
    Sheet,
    Words,
    counted,
    ink_on,
    picture,
    shortened,
)
from stillwired.report.text import width_of
from stillwired.report.vectors import Attention, Head

HEARD = 8
"""Tokens named for each head to people who hear the picture."""

_COLOURS = "Oranges"
_GAP, _WIDEST = 0.22, 4.6  # between panels; of a panel, in inches
_SIZES = (10.0, 8.5, 7.0, 6.0)  # of type, in points: smaller where a prompt is long
_SIGN = 0.602 / 72  # width of a sign of fixed-width type, in inches for each point
_LEADING = 1.62 / 72  # distance of lines, likewise
_HEAD = 0.5  # for what stands above the prompt
_TALLEST = 5.6  # of a prompt in larger type, in inches

_WHITE = {" ": "·", "\u00a0": "·", "\n": "⏎", "\t": "⇥"}


class Placed(NamedTuple):
    """A token on the page.

    Attributes:
        token: Its place in the prompt.
        line: Line, from 0.
        column: Where it begins, in signs from 0.
        text: What is written, every sign of it visible.
    """

    token: int
    line: int
    column: int
    text: str


def figure(attention: Attention, heading: Heading) -> str:
    """Draw where heads look as SVG.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    panels = len(attention.heads)
    wide = min((RIGHT - LEFT - (panels - 1) * _GAP) / panels, _WIDEST)
    size, placed = _fitted(attention.tokens, wide)
    top, foot = largest(attention), _HEAD + _lines(placed) * size * _LEADING

    def draw(sheet: Sheet) -> None:
        for row in range(panels):
            left = LEFT + row * (wide + _GAP)
            _panel(sheet, attention, row, placed, left, size, top)
        _scale(sheet, TOP + foot + 0.22, top)

    return picture(_words(attention, heading), foot + 0.55, draw)


def described(attention: Attention, heading: Heading) -> str:
    """Say in words where each head looks."""
    sentences = [
        f"{heading.name}, profile {heading.profile}, task {attention.task}: where heads look from "
        f"the last of {counted(len(attention.tokens), 'token')}."
    ]
    for row, head in enumerate(attention.heads):
        shares = attention.shares(row)
        best = sorted(range(1, len(shares)), key=lambda k: (-shares[k], k))[:HEARD]
        told = ", ".join(f"{visible(attention.tokens[k])} {shares[k]:.2f}" for k in best)
        sentences.append(
            f"{_called(head)}: {attention.weights[row][0]:.2f} on the first token; of the rest, "
            f"{told}."
        )
    return " ".join([*sentences, *_on_answers(attention)])


def visible(token: str) -> str:
    """Write a token so that every sign of it is seen and none moves the others.

    Spaces, line ends and tabs get signs of their own; other controls those of Unicode's control
    pictures; what has no place or width of its own stands on a dotted circle or is replaced.
    """
    text = "".join(map(_visible, token))
    return f"◌{text}" if text and unicodedata.combining(text[0]) else text


def laid_out(tokens: Sequence[str], columns: int) -> list[Placed]:
    """Write a prompt as it was written: lines end where its lines end, or where they are full.

    Args:
        tokens: The prompt, token by token.
        columns: Signs that a line holds; a token that is longer is cut.
    """
    placed: list[Placed] = []
    line = column = 0
    for token, raw in enumerate(tokens):
        text = visible(raw)
        if width_of(text) > columns:
            text = shortened(text, columns)
        if column and column + width_of(text) > columns:
            line, column = line + 1, 0
        placed.append(Placed(token, line, column, text))
        column += width_of(text)
        if raw.endswith("\n"):
            line, column = line + 1, 0
    return placed


def largest(attention: Attention) -> float:
    """Return the share at which shades end: the largest that any head gives to a token."""
    found = [max(attention.shares(row)) for row in range(len(attention.heads))]
    return max(*found, 0.0) or 1.0


def shade(share: float, top: float) -> float:
    """Return how dark a share is, from 0 to 1: its root, so that ten shares of 0.1 are seen."""
    return math.sqrt(min(max(share / top, 0.0), 1.0))


def _fitted(tokens: Sequence[str], wide: float) -> tuple[float, list[Placed]]:
    """Choose the largest type in which the prompt keeps its lines and is not too tall.

    One line may be broken: a first token that is no text is often long. Where too many would be
    even in the smallest type, only the height counts.
    """
    fits = {size: laid_out(tokens, int(wide / (size * _SIGN))) for size in _SIZES}
    own = _lines(laid_out(tokens, 1_000_000))
    low = [size for size in _SIZES if _lines(fits[size]) * size * _LEADING <= _TALLEST]
    kept = [size for size in low if _lines(fits[size]) <= own + 1]
    size = next(iter([*kept, *low]), _SIZES[-1])
    return size, fits[size]


def _lines(placed: Sequence[Placed]) -> int:
    return placed[-1].line + 1 if placed else 0


def _words(attention: Attention, heading: Heading) -> Words:
    first = visible(attention.tokens[0]) if attention.tokens else ""
    notes = [
        f"Shaded: the attention that a head pays to each token from the last one, framed, as a "
        f"share of what the first token leaves. The first, {shortened(first, 24)}, is a sink on "
        "which idle heads rest: its weight is printed above. · space, ⏎ line end.",
        *_on_answers(attention),
    ]
    return Words(
        title="Function vectors: where the heads that carry tasks look",
        name=heading.name,
        profile=heading.profile,
        under=f"one prompt of {attention.task}, {counted(len(attention.heads), 'head')}",
        notes=tuple(notes),
        said=described(attention, heading),
    )


def _on_answers(attention: Attention) -> list[str]:
    """Say what is known of many prompts."""
    top, random = (attention.on_answers.get(arm) for arm in ("top_heads", "random_heads"))
    if top is None or random is None:
        return []
    return [
        f"Over {counted(top.rows, 'prompt')}, all chosen heads give {top.value:.2f} of what the "
        f"first token leaves to the examples' answers, random heads of the same layers "
        f"{random.value:.2f}."
    ]


def _panel(
    sheet: Sheet,
    attention: Attention,
    row: int,
    placed: Sequence[Placed],
    left: float,
    size: float,
    top: float,
) -> None:
    """Write the prompt once, shaded by what one head looks at."""
    import matplotlib as mpl

    sheet.text(left, TOP + 0.14, _called(attention.heads[row]), fontweight="bold")
    sink = f"first token {attention.weights[row][0]:.2f}"
    sheet.text(left, TOP + 0.34, sink, fontsize=9, color=GREY)
    shares = attention.shares(row)
    upper, leading, sign = TOP + _HEAD, size * _LEADING, size * _SIGN
    looks = {"fontfamily": "monospace", "fontsize": size, "va": "center_baseline", "zorder": 3}
    for token, line, column, text in placed:
        x, y, wide = left + column * sign, upper + line * leading, width_of(text) * sign
        colour, ink = (1.0, 1.0, 1.0), INK
        if token:
            colour = mpl.colormaps[_COLOURS](shade(shares[token], top))[:3]
            sheet.box(x, y, wide, leading * 0.94, facecolor=colour)
            ink = ink_on(colour)
        else:
            frame = {"facecolor": "none", "edgecolor": RULE, "linewidth": 0.7}
            sheet.box(x, y, wide, leading * 0.94, **frame, linestyle=(0, (2, 1.5)))
        if token == len(shares) - 1:
            frame = {"facecolor": "none", "edgecolor": INK, "linewidth": 1.1, "zorder": 4}
            sheet.box(x, y, wide, leading * 0.94, **frame)
        sheet.text(x, y + leading * 0.47, text, color=ink, **looks)


def _scale(sheet: Sheet, upper: float, top: float) -> None:
    """Show what the shades mean."""
    import matplotlib as mpl

    sheet.text(LEFT, upper + 0.12, "share of attention", fontsize=8.5, color=GREY)
    left, wide, steps = LEFT + 1.35, 2.2, 44
    for step in range(steps):
        colour = mpl.colormaps[_COLOURS](shade((step + 0.5) / steps, 1.0))
        hair = 0.01 if step < steps - 1 else 0.0
        sheet.box(left + step * wide / steps, upper, wide / steps + hair, 0.14, color=colour)
    sheet.box(left, upper, wide, 0.14, facecolor="none", edgecolor=RULE, linewidth=0.6)
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        across = left + share * wide
        sheet.text(across, upper + 0.29, f"{share * top:.2f}", ha="center", fontsize=8)


def _called(head: Head) -> str:
    return f"layer {head[0]}, head {head[1]}"


def _visible(sign: str) -> str:
    if sign in _WHITE:
        return _WHITE[sign]
    if ord(sign) < 0x20:
        return chr(0x2400 + ord(sign))
    if sign == "\x7f":
        return "␡"
    kind = unicodedata.category(sign)
    # Controls, directions, halves of pairs and what is not assigned: no sign, or no valid XML.
    return "�" if kind[0] in "CZ" else sign
