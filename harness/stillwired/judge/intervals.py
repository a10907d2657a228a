"""95 % intervals of means over rows that come in clusters: closed form, no resampling.

Rows of one document resemble each other, so clusters are what was sampled. The estimate is
the mean over rows; its variance is linearised over the clusters' sums with the CR2
correction (Bell & McCaffrey 2002), and the t quantile has Satterthwaite's degrees of freedom
for that variance under a slight working correlation within clusters. With clusters of equal
size all this is exactly the t interval on cluster means.

Hits are skewed near 0 and 1. A rate gets its interval on the logit scale, and a paired
difference of hits the square-and-add interval (Zou & Donner 2008) from the rates of gains and
losses; a change of such a difference, which may be 2, from the rates of gains and losses of at
least 1 and of 2. Where too few clusters show the rarer result, and where nothing varies,
Clopper and Pearson's exact interval takes over. ``docs/judging.md`` has the simulated
coverage.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from stillwired.errors import ClaimError
from stillwired.judge.clusters import Design

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]

Scale: TypeAlias = Literal["hits", "hit differences", "hit changes", "free"]

# Values that a score can have, where that is known; a row gains or loses in whole steps.
_VALUES: dict[Scale, tuple[float, ...]] = {
    "hits": (0.0, 1.0),
    "hit differences": (-1.0, 0.0, 1.0),
    "hit changes": (-2.0, -1.0, 0.0, 1.0, 2.0),
}

LEVEL = 0.95
"""Level of every interval that decides something."""

RARE_CLUSTERS = 4.0
"""Below this effective number of clusters with the rarer result the logit is not trusted."""

ROUNDING = 1e-12
"""Relative size below which a variation is taken for rounding."""

SMALLEST_P = 1e-12
"""p values are not resolved below this."""


@dataclass(frozen=True)
class Interval:
    """A 95 % interval of a mean.

    Attributes:
        estimate: Mean over rows.
        low: Lower end; minus infinity where the data give no bound.
        high: Upper end; infinity where the data give no bound.
        n: Rows.
        clusters: Clusters.
        se: Cluster-robust standard error of the estimate.
        df: Degrees of freedom of the t quantile.
        method: ``t``, ``logit t``, ``square and add``, ``exact`` or ``none``.
    """

    estimate: float
    low: float
    high: float
    n: int
    clusters: int
    se: float
    df: float
    method: str

    @property
    def half_width(self) -> float:
        """Half of the interval's width."""
        return (self.high - self.low) / 2


class _Rate:
    """Share of rows with a result; its interval is t on the logit scale.

    Args:
        hits: [rows] 0 or 1.
        design: The rows' clusters.
        constant_trials: Trials that a rate of exactly 0 or 1 counts as; by default the
            effective clusters.
    """

    def __init__(self, hits: Floats, design: Design, constant_trials: float | None = None) -> None:
        self.rate = float(hits.mean())
        self.residuals = design.residuals(hits)
        self.error = math.sqrt(float(self.residuals @ self.residuals))
        self._df = design.df
        self._trials: float | None = None  # of the exact interval, where there is one
        self._exact_only = True
        if self.rate in {0.0, 1.0}:
            self._trials = constant_trials or design.effective
        elif self.error <= ROUNDING:
            self._trials = design.effective
        else:
            self._exact_only = False
            rarer = hits if self.rate <= 0.5 else 1 - hits
            shown = design.weights[np.bincount(design.codes, weights=rarer) > 0]
            if float(shown.sum()) ** 2 / float(np.square(shown).sum()) < RARE_CLUSTERS:
                self._trials = design.trials

    def bounds(self, alpha: float) -> tuple[float, float]:
        """Return the ends of the interval at level 1 − alpha."""
        low, high = math.inf, -math.inf
        if not self._exact_only:
            spread = self.rate * (1 - self.rate)
            centre = math.log(self.rate / (1 - self.rate))
            half = _t_quantile(self._df, alpha) * self.error / spread
            low, high = _logistic(centre - half), _logistic(centre + half)
        if self._trials is not None:
            exact = clopper_pearson(self.rate * self._trials, self._trials, alpha)
            low, high = min(low, exact[0]), max(high, exact[1])
        return low, high


class Sample:
    """Scores with their clusters, ready to give intervals at any level.

    Args:
        scores: [rows] finite scores.
        design: Their clusters.
        scale: ``hits`` (0 and 1), ``hit differences`` (−1, 0, 1), ``hit changes`` (−2 to 2: one
            such difference less another) or ``free``.
        spread: Bounds that a score cannot leave, used only where nothing varies; a scale other
            than ``free`` has its own.

    Raises:
        ClaimError: If the scores do not fit the scale.
    """

    def __init__(
        self,
        scores: Floats,
        design: Design,
        scale: Scale = "free",
        spread: tuple[float, float] | None = None,
    ) -> None:
        values = _VALUES.get(scale)
        if values is not None and not np.isin(scores, values).all():
            raise ClaimError(f"Scores of scale {scale!r} must be among {values}.")
        self.design = design
        self.scale = scale
        self.spread = spread if values is None else (values[0], values[-1])
        self.estimate = design.mean(scores)
        self._scores = scores
        self._residuals = design.residuals(scores)
        # Sums of equal floats differ in their last bits; less than that is no variation.
        noise = ROUNDING * max(float(np.abs(scores).max()), 1e-300)
        self.constant = bool(np.ptp(scores) <= noise)
        variance = float(np.square(self._residuals).sum())
        self.even_clusters = variance <= noise * noise
        if self.even_clusters and not self.constant:
            # Every cluster has the same mean although rows vary: take the rows' variance,
            # since a standard error of 0 would be nonsense.
            variance = float(scores.var(ddof=1)) / design.n
        self.se = 0.0 if self.constant else math.sqrt(variance)

    @cached_property
    def method(self) -> str:
        """How the interval is computed."""
        if self.constant:
            return "none" if self.spread is None else "exact"
        if self.scale == "free":
            return "t" if self.design.clusters > 1 else "none"
        if self.design.clusters < 2:
            return "exact"
        return "logit t" if self.scale == "hits" else "square and add"

    @cached_property
    def _rate(self) -> _Rate:
        return _Rate(self._scores, self.design)

    def bounds(self, alpha: float = 1 - LEVEL) -> tuple[float, float]:
        """Return the ends of the interval at level 1 − alpha."""
        if self.method == "none":
            return -math.inf, math.inf
        if self.method == "exact":
            return self._exact(alpha)
        if self.method == "t":
            half = _t_quantile(self.design.df, alpha) * self.se
            return self.estimate - half, self.estimate + half
        if self.method == "logit t":
            return self._rate.bounds(alpha)
        return self._square_and_add(alpha)

    def interval(self, level: float = LEVEL) -> Interval:
        """Return the interval at a level."""
        low, high = self.bounds(1 - level)
        design = self.design
        return Interval(
            self.estimate, low, high, design.n, design.clusters, self.se, design.df, self.method
        )

    def p_reaches(self, edge: float, side: Literal["low", "high"]) -> float:
        """Two-sided p of a truth at ``edge``, on one side of the estimate.

        Args:
            edge: The value in question.
            side: ``low`` asks whether the truth, estimated below, may still reach up to
                ``edge``; ``high`` whether, estimated above, it may reach down to it.

        Returns:
            The smallest alpha at which the interval's end no longer passes the edge; 1 where
            the estimate itself is past it.
        """
        if not (self.estimate < edge if side == "low" else self.estimate > edge):
            return 1.0

        if self.method == "t":
            from scipy.special import stdtr

            p = 2 * float(stdtr(self.design.df, -abs(self.estimate - edge) / self.se))
            return min(max(p, SMALLEST_P), 1.0)
        return p_of_bounds(self.bounds, edge, side)

    def _exact(self, alpha: float) -> tuple[float, float]:
        assert self.spread is not None
        trials = self.design.effective
        if self.constant:
            # All clusters agree; at least the share `sure` of all clusters would, and the
            # rest may lie anywhere in the spread.
            sure = (alpha / 2) ** (1 / trials)
            low, high = self.spread
            return (
                self.estimate * sure + low * (1 - sure),
                self.estimate * sure + high * (1 - sure),
            )
        # One cluster: it counts as one trial.
        if self.scale == "hits":
            return clopper_pearson(self.estimate * trials, trials, alpha)
        return self.spread

    @cached_property
    def _rates(self) -> tuple[list[_Rate], list[_Rate], float]:
        """Rates of gains and of losses by size, and what their correlation does to the error.

        A gain of 2 counts among those of at least 1 and among those of 2, so that the estimate
        is the sum of the gains' rates less that of the losses'. The factor is the standard error
        of the estimate over that of independent rates: a constant, so that intervals of higher
        levels hold those of lower ones, which a correlation inside the square root would not
        ensure.
        """
        # A size that no row shows would only make the interval wider than it needs to be.
        sizes = range(1, round(float(np.abs(self._scores).max())) + 1)
        up, down = (
            [_Rate((s >= k).astype(np.float64), self.design, self.design.trials) for k in sizes]
            for s in (self._scores, -self._scores)
        )
        apart = math.hypot(*(rate.error for rate in up + down))
        # Clusters of equal mean difference would cancel the errors to none at all.
        if apart <= ROUNDING or self.even_clusters:
            return up, down, 1.0
        return up, down, self.se / apart

    def _square_and_add(self, alpha: float) -> tuple[float, float]:
        up, down, factor = self._rates
        below, above = [], []
        for rate in up:
            low, high = rate.bounds(alpha)
            below.append(rate.rate - low)
            above.append(high - rate.rate)
        for rate in down:
            low, high = rate.bounds(alpha)
            below.append(high - rate.rate)
            above.append(rate.rate - low)
        assert self.spread is not None
        return (
            max(self.estimate - factor * math.hypot(*below), self.spread[0]),
            min(self.estimate + factor * math.hypot(*above), self.spread[1]),
        )


def p_of_bounds(
    bounds: Callable[[float], tuple[float, float]], edge: float, side: Literal["low", "high"]
) -> float:
    """Return the smallest alpha at which an interval no longer passes an edge.

    Args:
        bounds: Gives the interval's ends at level 1 − alpha; wider for smaller alpha.
        edge: The value in question.
        side: ``low`` if the interval must lie below the edge, ``high`` if above.
    """

    def clear(alpha: float) -> bool:
        low, high = bounds(alpha)
        return high < edge if side == "low" else low > edge

    if not clear(1.0 - 1e-12):
        return 1.0
    if clear(SMALLEST_P):
        return SMALLEST_P
    below, above = math.log(SMALLEST_P), 0.0
    while above - below > 1e-9:
        middle = (below + above) / 2
        if clear(math.exp(middle)):
            above = middle
        else:
            below = middle
    return math.exp(above)


def mean_interval(
    scores: Floats,
    clusters: NDArray[np.str_] | NDArray[np.int64],
    scale: Scale = "free",
    spread: tuple[float, float] | None = None,
    level: float = LEVEL,
) -> Interval:
    """Return the interval of the mean over rows.

    Args:
        scores: [rows] finite scores.
        clusters: [rows] cluster ids.
        scale: ``hits``, ``hit differences`` or ``free``.
        spread: Bounds of a score, used only where nothing varies.
        level: Level of the interval.
    """
    codes = np.unique(clusters, return_inverse=True)[1].astype(np.int64)
    values = np.asarray(scores, dtype=np.float64)
    return Sample(values, Design(codes), scale, spread).interval(level)


def clopper_pearson(hits: float, trials: float, alpha: float = 1 - LEVEL) -> tuple[float, float]:
    """Return the exact interval of a rate; fractional counts are allowed.

    Source: Clopper & Pearson (1934), as quantiles of the beta distribution.
    """
    from scipy.special import betaincinv

    hits = min(max(hits, 0.0), trials)
    misses = trials - hits
    low = 0.0 if hits <= 0 else float(betaincinv(hits, misses + 1, alpha / 2))
    high = 1.0 if misses <= 0 else float(betaincinv(hits + 1, misses, 1 - alpha / 2))
    return low, high


def wilson(hits: float, trials: float, alpha: float = 1 - LEVEL) -> tuple[float, float]:
    """Return Wilson's (1927) interval of a rate over independent trials."""
    from scipy.special import ndtri

    z = float(ndtri(1 - alpha / 2))
    rate, pull = hits / trials, z * z / trials
    centre = (rate + pull / 2) / (1 + pull)
    half = math.sqrt(pull * rate * (1 - rate) + pull * pull / 4) / (1 + pull)
    return max(centre - half, 0.0), min(centre + half, 1.0)


def _t_quantile(df: float, alpha: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(df, 1 - alpha / 2)) if alpha > 1e-9 else -float(stdtrit(df, alpha / 2))


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
