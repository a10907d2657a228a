"""How many clusters a verdict takes, and how likely a given number is to reach one.

Everything is computed from the declared effect, never from the estimate: planning from what
was seen would promise decisions that a small estimate only suggests.
"""

from __future__ import annotations

import math

from stillwired.judge.intervals import LEVEL

POWER = 0.9
"""How often a dead mechanism must come out as FAILS."""

FEWEST_CLUSTERS = 8
"""Below this many clusters nothing HOLDS."""


def power(distance: float, se: float, clusters: int, level: float = LEVEL) -> float:
    """Return how often a t interval clears an edge.

    Args:
        distance: From the truth to the region's edge, above 0.
        se: Standard error of the estimate with this many clusters.
        clusters: Number of clusters of equal size.
        level: Level of the interval.
    """
    from scipy.special import nctdtr, stdtrit

    if clusters < 2:
        return 0.0
    if se <= 0:
        return 1.0
    shift = distance / se
    quantile = float(stdtrit(clusters - 1, (1 + level) / 2))
    if shift > 37:  # beyond double precision of the noncentral t
        return 1.0
    return 1 - float(nctdtr(clusters - 1, shift, quantile))


def clusters_needed(
    distance: float, se: float, clusters: int, target: float = POWER, level: float = LEVEL
) -> int:
    """Return how many clusters of the same kind give a power.

    Args:
        distance: From the truth that must be told apart to the region's edge, above 0.
        se: Standard error seen with ``clusters`` clusters; 0 where nothing varied, and the
            exact interval must then be short enough.
        clusters: Clusters behind ``se``.
        target: Power wanted.
        level: Level of the interval.
    """
    if distance <= 0 or not math.isfinite(distance):
        raise ValueError(f"distance must be above 0 and finite, not {distance}")
    if se <= 0:
        if distance >= 1:
            return FEWEST_CLUSTERS
        exact = math.log((1 - level) / 2) / math.log1p(-distance)
        return max(math.ceil(exact), FEWEST_CLUSTERS)

    def reached(count: int) -> bool:
        return power(distance, se * math.sqrt(clusters / count), count, level) >= target

    if reached(FEWEST_CLUSTERS):
        return FEWEST_CLUSTERS
    few, many = FEWEST_CLUSTERS, 2 * FEWEST_CLUSTERS
    while not reached(many):
        few, many = many, 2 * many
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if reached(middle) else (middle, many)
    return many


def rounded(count: int) -> int:
    """Return a count with two significant digits, upwards: an estimate is not exact."""
    if count < 100:
        return count
    unit: int = 10 ** (len(str(count)) - 2)
    return -(-count // unit) * unit
