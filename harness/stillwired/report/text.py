"""How single things are written: numbers, durations, parameters, and text of limited width."""

from __future__ import annotations

import json
import re
import textwrap
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

NOTHING = "–"

_ASCII = str.maketrans(
    {"−": "-", "–": "-", "—": "-", "…": "...", "×": "x", "±": "+/-", "≤": "<=", "≥": ">=", "’": "'"}
)
_DTYPES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float64": "fp64"}


def to_ascii(text: str) -> str:
    """Write typographic signs in ASCII, for terminals that have no others."""
    return text.translate(_ASCII).encode("ascii", "replace").decode("ascii")


def number(value: float | None) -> str:
    """Write an estimate with three decimals, fewer from 100 on; a dash for none."""
    if value is None:
        return NOTHING
    text = f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"
    # A rounded zero has no sign.
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def interval(low: float | None, high: float | None) -> str:
    """Write an interval, or a dash where there is none."""
    return NOTHING if low is high is None else f"{number(low)} … {number(high)}"


def count(value: int) -> str:
    """Write a count with thousands separated."""
    return f"{value:,}"


def fact(value: str | int | float) -> str:
    """Write a fact as it is, for people: ``5,760``, ``2.5e−06``, ``cosine``."""
    if isinstance(value, str):
        return value
    text = count(value) if isinstance(value, int) else f"{value:.6g}"
    return text.replace("-", "−")


def size(value: int) -> str:
    """Write a number of parameters as people say it: ``134.5 M``."""
    for factor, unit in ((1_000_000_000, "B"), (1_000_000, "M"), (1_000, "k")):
        if value >= factor:
            return f"{value / factor:.1f} {unit}"
    return str(value)


def duration(seconds: float) -> str:
    """Write a duration: ``0.4 s``, ``42 s``, ``6 min 12 s``, ``1 h 02 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def dtype(name: str) -> str:
    """Return the short name of a dtype."""
    return _DTYPES.get(name, name)


def where(params: Mapping[str, Any]) -> str:
    """Write a cell's parameters: ``N=1``, ``depth 0.50``, ``antonym``; a dash for none."""
    return ", ".join(_parameter(key, value) for key, value in params.items()) or NOTHING


def _parameter(key: str, value: Any) -> str:
    if key == "ahead":
        return f"N={value}"
    if key == "depth" and isinstance(value, float):
        return f"depth {value:.2f}" if round(value, 2) == value else f"depth {value}"
    if key == "block":
        return f"block {value}"
    return value if isinstance(value, str) else f"{key}={json.dumps(value)}"


def published(text: str, longest: int = 22) -> str:
    """Shorten a published value to what a column holds: without its remarks in brackets."""
    short = re.sub(r"\s*\([^()]*\)", "", text).strip() or text
    return short if width_of(short) <= longest else short[: longest - 1].rstrip(" ,;:") + "…"


def path(place: Path, start: Path) -> str:
    """Write a path as it can be pasted into a shell started in ``start``."""
    try:
        return str(place.relative_to(start))
    except ValueError:
        return str(place)


def width_of(text: str) -> int:
    """Return the number of terminal cells that a text takes."""
    wide = sum(unicodedata.east_asian_width(sign) in "WF" for sign in text)
    return len(text) + wide - sum(bool(unicodedata.combining(sign)) for sign in text)


def pad(text: str, width: int, *, right: bool = False) -> str:
    """Fill a text up to a width, on its right, or on its left for numbers."""
    space = " " * (width - width_of(text))
    return space + text if right else text + space


def fold(chunks: Iterable[str], width: int, *, gap: int = 2, indent: int = 0) -> list[str]:
    """Join chunks into lines of at most a width, breaking between chunks if that is possible."""
    lines: list[str] = []
    line = ""
    for chunk in chunks:
        joined = f"{line}{' ' * gap}{chunk}" if line else chunk
        if line and width_of(joined) > width:
            lines.append(line)
            joined = " " * indent + chunk
        line = joined
    return [*lines, line] if line else lines


def wrap(text: str, width: int, indent: int) -> list[str]:
    """Wrap a sentence to a width, every line indented; words are never broken."""
    return textwrap.wrap(
        text,
        max(width, indent + 20),
        initial_indent=" " * indent,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
