"""Intervals as small drawings: one row each, on a scale that several rows may share.

The drawings say nothing that does not stand beside them in figures, so that they are hidden from
screen readers. Colours come from the page's style sheet.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from stillwired.judge.regions import Region

WIDTH, HEIGHT = 220, 18
_MARGIN = 6


@dataclass(frozen=True)
class Bar:
    """One quantity as it is drawn.

    Attributes:
        estimate: The estimate, or None where nothing was estimated.
        low: Lower end of its interval; None where the data give no bound.
        high: Upper end, likewise.
        region: Where it is expected to lie, or None.
        published: What the paper measured, or None.
    """

    estimate: float | None
    low: float | None = None
    high: float | None = None
    region: Region | None = None
    published: float | None = None

    @property
    def values(self) -> Iterable[float]:
        """Every number that must have a place on the scale."""
        edges = (self.region.low, self.region.high) if self.region else ()
        every = (self.estimate, self.low, self.high, self.published, *edges)
        return (value for value in every if value is not None)


@dataclass(frozen=True)
class Scale:
    """Where a value stands on a drawing's width.

    Attributes:
        low: The value at the left margin.
        high: The value at the right one.
    """

    low: float
    high: float

    @classmethod
    def over(cls, bars: Iterable[Bar]) -> Scale:
        """Return a scale on which all of that has a place, and zero as well."""
        values = [0.0, *(value for bar in bars for value in bar.values)]
        low, high = min(values), max(values)
        room = (high - low) * 0.04 or 1.0
        return cls(low - room, high + room)

    def at(self, value: float) -> float:
        """Return the place of a value, from the left."""
        share = (value - self.low) / (self.high - self.low)
        return round(_MARGIN + share * (WIDTH - 2 * _MARGIN), 1)

    @property
    def ticks(self) -> list[float]:
        """Three to five round values."""
        rough = (self.high - self.low) / 4
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(unit * k for k in (1, 2, 5, 10) if unit * k >= rough)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [round(k * step, 12) for k in range(first, last + 1)]


def drawing(bar: Bar, scale: Scale) -> str:
    """Draw one quantity: its region as ground, zero, its interval, and what was published."""
    parts = [_region(bar.region, scale), f'<path class="z" d="M{scale.at(0):g} 0v{HEIGHT}"/>']
    middle = HEIGHT // 2
    if bar.estimate is not None:
        # An end that the data leave open runs out of the drawing.
        left = 0 if bar.low is None else scale.at(bar.low)
        right = WIDTH if bar.high is None else scale.at(bar.high)
        opened = " u" if bar.low is None or bar.high is None else ""
        line = f"M{left:g} {middle}H{right:g}"
        if not opened:
            line += f"M{left:g} {middle - 4}v8M{right:g} {middle - 4}v8"
        parts.append(f'<path class="i{opened}" d="{line}"/>')
        parts.append(f'<circle cx="{scale.at(bar.estimate):g}" cy="{middle}" r="3.5"/>')
    if bar.published is not None:
        at = scale.at(bar.published)
        parts.append(f'<path class="m" d="M{at:g} 3l5 6l-5 6l-5 -6z"/>')
    return _svg("".join(parts), HEIGHT)


def axis(scale: Scale) -> str:
    """Draw the scale: round values over their places."""
    marks = []
    for tick in scale.ticks:
        at = scale.at(tick)
        anchor = "s" if at < 20 else "e" if at > WIDTH - 20 else "c"
        marks.append(
            f'<path class="z" d="M{at:g} 14v4"/>'
            f'<text class="{anchor}" x="{at:g}" y="11">{f"{tick:g}".replace("-", "−")}</text>'
        )
    return _svg("".join(marks), HEIGHT)


def _region(region: Region | None, scale: Scale) -> str:
    if region is None or region.kind == "reported":
        return ""
    left = 0 if region.low is None else scale.at(region.low)
    right = WIDTH if region.high is None else scale.at(region.high)
    return f'<rect class="g" x="{left:g}" width="{right - left:g}" height="{HEIGHT}"/>'


def _svg(inner: str, height: int) -> str:
    return f'<svg class="p" viewBox="0 0 {WIDTH} {height}" aria-hidden="true">{inner}</svg>'
