"""Regions that a quantity is expected to lie in, and where an interval lies against them."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Region:
    """An interval of values, possibly open-ended.

    Attributes:
        kind: ``at least``, ``at most``, ``between``, ``within``, ``above`` (rivals), or
            ``reported`` for a region that has no edges because none was declared.
        low: Lower edge, or None.
        high: Upper edge, or None.
    """

    kind: str
    low: float | None = None
    high: float | None = None

    @property
    def text(self) -> str:
        """The region as the table shows it in the column of the least effect."""
        if self.kind == "reported":
            return ""
        if self.kind == "at least":
            return _figure(self.low)
        if self.kind == "at most":
            return f"≤ {_figure(self.high)}"
        if self.kind == "within":
            return f"±{_figure(self.high)}"
        if self.kind == "above":
            return f"> {_figure(self.low)}"
        return f"{_figure(self.low)} … {_figure(self.high)}"

    @property
    def half_width(self) -> float:
        """Half the width of a region with two edges, otherwise infinity."""
        if self.low is None or self.high is None:
            return math.inf
        return (self.high - self.low) / 2

    def inside(self, low: float, high: float) -> bool:
        """Whether an interval lies inside. One that touches an edge does not."""
        return (self.low is None or low > self.low) and (self.high is None or high < self.high)

    def outside(self, low: float, high: float) -> bool:
        """Whether an interval lies outside. One that touches an edge does not."""
        return (self.low is not None and high < self.low) or (
            self.high is not None and low > self.high
        )


def _figure(value: float | None) -> str:
    """A short number that keeps at least two decimals below 1, as a table reads best."""
    assert value is not None
    if value == 0:
        return "0"
    short = f"{value:g}"
    text = f"{value:.2f}" if abs(value) < 1 and len(short.lstrip("-")) < 4 else short
    return f"−{text[1:]}" if text.startswith("-") else text
