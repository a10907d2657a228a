"""Clusters of rows: what their sizes do to a variance, and statistics that are no means."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from stillwired.errors import ClaimError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]

WORKING_CORRELATION = 0.02
"""Within-cluster correlation that the degrees of freedom assume. It matters only when
clusters differ in size: 0 covers too little there once rows do correlate."""

RARE_CORRELATION = 0.3
"""Within-cluster correlation by which rows are discounted for rare results."""


class Design:
    """Clusters of a sample: what a variance needs and no score changes.

    Args:
        codes: [rows] cluster of every row as an integer from 0.
    """

    def __init__(self, codes: NDArray[np.int64]) -> None:
        self.codes = codes
        self.sizes: Floats = np.bincount(codes).astype(np.float64)
        if not self.sizes.all():
            raise ClaimError("Cluster codes leave numbers out. Number clusters from 0 upwards.")
        self.n = len(codes)
        self.clusters = len(self.sizes)
        self.weights: Floats = self.sizes / self.n

    @cached_property
    def effective(self) -> float:
        """Number of equal clusters that would weigh as evenly: (Σn)² / Σn²."""
        return float(1 / np.square(self.weights).sum())

    @cached_property
    def trials(self) -> float:
        """Rows, discounted for correlation within clusters; for rare results."""
        crowd = float(np.square(self.sizes).sum()) / self.n
        return self.n / (1 + (crowd - 1) * RARE_CORRELATION)

    @cached_property
    def df(self) -> float:
        """Satterthwaite's degrees of freedom of the CR2 variance, at least 1.

        With V = Σ_g a_g s_g², a_g = 1/(1−w_g) and s_g the residual sum of cluster g:
        (E V)² / (Var V / 2) under a working covariance of the rows. Σ_gh a_g a_h cov(s_g, s_h)²
        is expanded so that it costs one pass over the clusters.
        """
        if self.clusters < 2:
            return 1.0
        w, a = self.weights, 1 / (1 - self.weights)
        v = self.sizes * (1 + (self.sizes - 1) * WORKING_CORRELATION)
        total = float(v.sum())
        between = w * w * total - 2 * w * v  # cov(s_g, s_g) less v_g: the form of g ≠ h
        own = between + v
        ww, vv, wv = (float((a * x).sum()) for x in (w * w, v * v, w * v))
        pairs = 2 * ww * vv + 2 * wv * wv + (total * ww) ** 2 - 4 * total * ww * wv
        spread = pairs + float((a * a * (own * own - between * between)).sum())
        return max(float((a * own).sum()) ** 2 / spread, 1.0)

    def mean(self, scores: Floats) -> float:
        """Return the mean over rows."""
        return float(scores.mean())

    def residuals(self, scores: Floats) -> Floats:
        """[clusters] each cluster's share of the mean's error, CR2-corrected."""
        centred = scores - scores.mean()
        sums = np.bincount(self.codes, weights=centred, minlength=self.clusters)
        if self.clusters < 2:
            return np.zeros(1)
        return np.asarray(sums / self.n / np.sqrt(1 - self.weights))


def jackknife(statistic: Callable[[NDArray[np.intp]], float], clusters: NDArray[np.str_]) -> Floats:
    """Return scores whose mean interval is the interval of a statistic that is no mean.

    Delete-one-cluster pseudo-values for clusters of unequal size (Busing, Meijer & van der
    Leeden 1999), one per row; rows of a cluster share theirs. For a mean they are the
    cluster's own means, so that nothing changes. The estimate is bias-corrected.

    Args:
        statistic: Takes row numbers and returns the statistic of those rows.
        clusters: [rows] cluster ids.

    Raises:
        ClaimError: If there is only one cluster.
    """
    codes = np.unique(clusters, return_inverse=True)[1]
    sizes = np.bincount(codes)
    if len(sizes) < 2:
        raise ClaimError("A jackknife needs at least two clusters. Draw from more documents.")
    rows = np.arange(len(codes), dtype=np.intp)
    whole = statistic(rows)
    values = np.empty(len(sizes))
    for cluster, size in enumerate(sizes):
        inflation = len(codes) / size
        without = statistic(rows[codes != cluster])
        values[cluster] = inflation * whole - (inflation - 1) * without
    return np.asarray(values[codes], dtype=np.float64)
