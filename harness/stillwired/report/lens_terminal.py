"""A lens grid as text, and how tokens are written wherever they are shown.

A token may hold anything: line breaks, control characters that steer a terminal, marks that turn
the direction of a line around. `pieces` leaves none of that in what is shown.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stillwired.report.text import to_ascii, wrap

if TYPE_CHECKING:
    from stillwired.instruments.lens import Grid

MARKS: Mapping[str, str] = {" ": "·", "\n": "⏎", "\t": "⇥", "\r": "␍"}
"""What stands for whitespace."""

_NO_LETTER = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs")
_ZERO_WIDTH = ("Mn", "Me")
_PRESENTATION = "\ufe0e\ufe0f"
_ASCII = str.maketrans({"·": "_", "⏎": "$", "⇥": ">", "␍": "<", "⟨": "<", "⟩": ">", "◌": "o"})

WIDEST_CELL = 20
"""Terminal columns that a cell takes at most."""

# From unsure to sure, background and foreground. Both are set, so that the terminal's own colours
# do not matter, and lightness alone tells the order.
_COLOURS_256 = ((234, 250), (17, 255), (24, 255), (31, 16), (74, 16), (117, 16), (159, 16))
_COLOURS_8 = ((40, 37), (44, 37), (46, 30), (47, 30))
_RESET = "\x1b[0m"


def pieces(token: str, *, named: bool = False, literal: bool = False) -> Iterator[tuple[str, bool]]:
    """Split a token into what can be shown as it is and what something has to stand for.

    Args:
        token: The token.
        named: Name the code points that cannot be shown, and not only number them.
        literal: Leave whitespace as it is.

    Yields:
        Text, and whether it stands for something else.
    """
    plain = ""
    for place, sign in enumerate(token):
        kind = unicodedata.category(sign)
        shown = sign
        if sign in MARKS:
            # HTML has no way to write a carriage return.
            shown = sign if literal and sign != "\r" else MARKS[sign]
        elif kind in _NO_LETTER:
            name = unicodedata.name(sign, "") if named else ""
            shown = f"⟨U+{ord(sign):04X}{f' {name}' if name else ''}⟩"
        elif place == 0 and kind.startswith("M"):
            # A mark without a letter would sit on whatever stands before it.
            shown = f"◌{sign}"
        if shown == sign or kind.startswith("M"):
            plain += shown
            continue
        if plain:
            yield plain, False
        plain = ""
        yield shown, True
    if plain:
        yield plain, False


def visible(token: str) -> str:
    """Write a token so that everything in it is seen and nothing in it acts."""
    return "".join(text for text, _ in pieces(token))


def columns_of(text: str) -> int:
    """Return the terminal columns that a text takes: wide signs two, combining marks none."""
    return sum(map(_columns, text))


def _columns(sign: str) -> int:
    if unicodedata.category(sign) in _ZERO_WIDTH or "\u1160" <= sign <= "\u11ff":
        return 0
    return 1 + (unicodedata.east_asian_width(sign) in "WF")


def cut(text: str, width: int, ellipsis: str = "…") -> str:
    """Shorten a text to some terminal columns; marks stay with their letters."""
    if columns_of(text) <= width:
        return text
    kept, room = "", width - columns_of(ellipsis)
    for sign in text:
        room -= _columns(sign)
        if room < 0:
            break
        kept += sign
    return kept + ellipsis


@dataclass(frozen=True)
class Look:
    """What a terminal can show.

    Attributes:
        width: Columns.
        colours: 256, 8, or 0 for none.
        ascii_only: Whether it lacks all other signs.
    """

    width: int = 160
    colours: int = 0
    ascii_only: bool = False

    @classmethod
    def of(
        cls, width: int, *, watched: bool, ascii_only: bool, environment: Mapping[str, str]
    ) -> Look:
        """Find out from the environment: https://no-color.org, TERM and COLORTERM."""
        term = environment.get("TERM", "")
        colours = 0
        if watched and not environment.get("NO_COLOR") and term not in ("", "dumb"):
            many = "256" in term or bool(environment.get("COLORTERM")) or "kitty" in term
            colours = 256 if many else 8
        return cls(width, colours, ascii_only)


def lens_lines(grid: Grid, title: Sequence[str], look: Look) -> list[str]:
    """Lay a grid out for a terminal.

    Args:
        grid: What is shown; of the logit lens only the likeliest token of each cell.
        title: Lines above it: model, text, how it was read.
        look: What the terminal can show. Without colours the confidence follows each cell as a
            number of hundredths.

    Returns:
        Lines, the last block's first. Columns that do not fit beside each other follow in
        blocks below.
    """
    write = _writer(look)
    shown = 1 if grid.kind == "logit" else grid.words.shape[-1]
    heads = [write(visible(token)) for token in grid.tokens]
    cells = [
        [[write(visible(token)) for token in cell[:shown]] for cell in row] for row in grid.words
    ]
    sure = grid.confidence
    number = 0 if look.colours else 3
    side = max(len(str(layer)) for layer in grid.layers) + 1
    said = ["".join(cell) for row in cells for cell in row]
    longest = max(columns_of(text) for text in (*heads, *said))
    width = min(longest, WIDEST_CELL, max(look.width - side - 1 - number, 4))
    each = max(1, (look.width - side) // (width + number + 1))
    lines = [line for text in title for line in _wrapped(write(text), look.width)]
    lines += [*_wrapped(write(_legend(grid)), look.width)]
    lines += _key(look, write)
    for start in range(0, len(heads), each):
        columns = range(start, min(start + each, len(heads)))
        lines.append("")
        head = (_fitted(heads[column], width + number, write) for column in columns)
        lines.append((" " * side + " ".join(head)).rstrip())
        for row in reversed(range(len(grid.layers))):
            line = [f"{grid.layers[row]:>{side - 1}}"]
            for column in columns:
                first, *others = cells[row][column]
                cell = _fitted(first + "".join(others), width, write)
                line.append(_shaded(cell, float(sure[row, column]), look, bold=len(first)))
            lines.append(" ".join(line).rstrip())
    return lines


def _legend(grid: Grid) -> str:
    said = "what the state says, unembedded at once"
    if grid.kind == "future":
        said = f"what is said next, and what is foreseen up to N = {grid.words.shape[-1] - 1}"
    return (
        f"rows: layers from 0, the last on top; columns: tokens; cells: {said}. "
        "· space, ⏎ line break, ⇥ tab"
    )


def _key(look: Look, write: _Write) -> list[str]:
    """Say what the numbers mean, or show the shades with the confidence where each begins."""
    if not look.colours:
        return list(_wrapped("numbers: hundredths of the mean probability", look.width))
    shades, swatch = len(_shades(look)), " 0.00 "
    steps = [k / shades for k in range(shades)]
    swatches = [_shaded(f" {step:.2f} ", step, look) for step in steps]
    each = max(1, look.width // len(swatch))
    return [
        *_wrapped(write("background: the mean probability of the tokens shown, from"), look.width),
        *("".join(swatches[start : start + each]) for start in range(0, shades, each)),
    ]


def _shades(look: Look) -> Sequence[tuple[int, int]]:
    return _COLOURS_256 if look.colours == 256 else _COLOURS_8


def _shaded(text: str, sure: float, look: Look, bold: int = 0) -> str:
    """Put a confidence behind a text, whose first signs may be bold, or a number after it."""
    if not look.colours:
        return f"{text} {min(round(100 * sure), 99):02d}"
    shades = _shades(look)
    back, front = shades[min(int(sure * len(shades) + 1e-6), len(shades) - 1)]
    code = f"48;5;{back};38;5;{front}" if look.colours == 256 else f"{back};{front}"
    strong = f"\x1b[1m{text[:bold]}\x1b[22m" if bold else ""
    return f"\x1b[{code}m{strong}{text[bold:]}{_RESET}"


class _Write:
    """Turns text into what a terminal can show."""

    def __init__(self, ascii_only: bool) -> None:
        self.ascii_only = ascii_only
        self.ellipsis = "~" if ascii_only else "…"

    def __call__(self, text: str) -> str:
        if self.ascii_only:
            return to_ascii(text.translate(_ASCII))
        # Terminals disagree about how wide a sign is that one of these follows.
        return text.translate(dict.fromkeys(map(ord, _PRESENTATION)))


def _writer(look: Look) -> _Write:
    return _Write(look.ascii_only)


def _fitted(text: str, width: int, write: _Write) -> str:
    """Cut or fill a text to exactly some columns."""
    short = cut(text, width, write.ellipsis)
    return short + " " * (width - columns_of(short))


def _wrapped(text: str, width: int) -> Iterable[str]:
    return wrap(text, width, 0)
