"""How reasons write figures: with a typographic minus, and no digits that chance swamps."""

from __future__ import annotations

import math

NOTHING = "–"


def figure(value: float, decimals: int | None = None) -> str:
    """Write a number; by default with three significant digits."""
    if not math.isfinite(value):
        return NOTHING
    text = f"{value:.3g}" if decimals is None else f"{value:.{decimals}f}"
    # A rounded zero has no sign.
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def with_interval(estimate: float, low: float | None, high: float | None) -> str:
    """Write ``0.013 (0.003 … 0.024)``, down to a half to a twentieth of the half-width."""
    low, high = (math.nan if end is None else end for end in (low, high))
    half, decimals = (high - low) / 2, None
    if 0 < half < math.inf:
        needed = max(0, math.ceil(-math.log10(half / 2)))
        decimals = needed if needed <= 6 else None
    ends = " … ".join(figure(end, decimals) for end in (low, high))
    return f"{figure(estimate, decimals)} ({ends})"
