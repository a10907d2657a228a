"""How far a quantity moved from one checkpoint to another, with its 95 % interval.

On the same examples the change is taken row by row and its interval is that of a mean over
clusters. Where the examples differ, two independent means are put together by square-and-add.
What is fitted anew for every checkpoint moves for that reason alone; the variance of two fits
comes on top.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from stillwired.errors import ClaimError
from stillwired.judge.clusters import Design
from stillwired.judge.contrasts import Part
from stillwired.judge.intervals import LEVEL, Interval, Sample, Scale, p_of_bounds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LEAST_SHARED = 0.8
"""Share of the examples that two records must have in common to be compared row by row."""

FEWEST_REFITS = 5
"""Fits that a standard deviation over refits must have been taken from, at least."""


class Shift:
    """A change and its uncertainty, ready to give intervals at any level.

    Args:
        sample: Changes row by row; or the new scores, if there are old ones to set against them.
        against: The old scores, a sample of other examples.
        refit_sd: Standard deviation over refits of one checkpoint's quantity; 0 where nothing
            was fitted anew.
        identical: Whether nothing can have changed: one model, and equal scores in every row.
    """

    def __init__(
        self,
        sample: Sample,
        against: Sample | None = None,
        *,
        refit_sd: float = 0.0,
        identical: bool = False,
    ) -> None:
        self._samples = (sample,) if against is None else (sample, against)
        self.identical = identical
        self.estimate = sample.estimate - (against.estimate if against is not None else 0.0)
        self.n = sample.design.n
        self.clusters = min(s.design.clusters for s in self._samples)
        self.refit_se = 0.0 if identical else math.sqrt(2) * refit_sd
        self.se = math.hypot(self.refit_se, *(s.se for s in self._samples))

    @property
    def df(self) -> float:
        """Satterthwaite's degrees of freedom of the variance, refits included."""
        refits = [(self.refit_se, FEWEST_REFITS - 1.0)] if self.refit_se else []
        return _satterthwaite([*self._sampled, *refits])

    @property
    def _sampled(self) -> list[tuple[float, float]]:
        return [(sample.se, sample.design.df) for sample in self._samples]

    @property
    def sampling_se(self) -> float:
        """The standard error that the interval amounts to, refits apart.

        The intervals of rare hits, and of what never varies, are wider than their own standard
        error says.
        """
        below, above = self._ends(1 - LEVEL)
        return (below + above) / 2 / _t_quantile(_satterthwaite(self._sampled), 1 - LEVEL)

    def bounds(self, alpha: float = 1 - LEVEL) -> tuple[float, float]:
        """Return the ends of the interval at level 1 − alpha."""
        if self.identical:
            return 0.0, 0.0
        below, above = self._ends(alpha)
        if self.refit_se:
            # Few refits make the whole less sure than its clusters do.
            t = _t_quantile(self.df, alpha)
            wider = t / _t_quantile(_satterthwaite(self._sampled), alpha)
            below, above = (math.hypot(wider * end, t * self.refit_se) for end in (below, above))
        return self.estimate - below, self.estimate + above

    def _ends(self, alpha: float) -> tuple[float, float]:
        """How far the interval reaches to either side for its examples alone."""
        new, *old = (
            (sample.estimate - low, high - sample.estimate)
            for sample in self._samples
            for low, high in (sample.bounds(alpha),)
        )
        # What makes the old mean larger makes the change smaller.
        below = math.hypot(new[0], *(end[1] for end in old))
        return below, math.hypot(new[1], *(end[0] for end in old))

    def interval(self) -> Interval:
        """Return the 95 % interval."""
        low, high = self.bounds()
        method = "identical" if self.identical else self._samples[0].method
        return Interval(self.estimate, low, high, self.n, self.clusters, self.se, self.df, method)

    def p_reaches(self, edge: float, side: Literal["low", "high"]) -> float:
        """Two-sided p of a true change at ``edge``, as :meth:`Sample.p_reaches` has it."""
        if not (self.estimate < edge if side == "low" else self.estimate > edge):
            return 1.0
        return p_of_bounds(self.bounds, edge, side)


@dataclass(frozen=True)
class Pairing:
    """What is known of two records beyond their cells.

    Attributes:
        same_tokens: Whether both checkpoints read the text as the same tokens; True where
            nothing is known to the contrary.
        same_model: Whether both are one checkpoint in one regime, by the same code and libraries
            on one kind of machine, so that nothing was fitted anew, and equal scores mean that
            nothing changed.
    """

    same_tokens: bool = True
    same_model: bool = False


@dataclass(frozen=True)
class Matched:
    """A part of a claim in two records.

    Attributes:
        shift: How far it moved.
        paired: Whether row by row.
        left_out: Examples of either record that the other lacks, if row by row.
        examples: Examples of the record that has more of them.
        shared: Examples that both have.
    """

    shift: Shift
    paired: bool
    left_out: int
    examples: int
    shared: int


def match(old: Part, new: Part, pairing: Pairing, refit_sd: float = 0.0) -> Matched:
    """Compare a part with the one of the same name in another record.

    Raises:
        ClaimError: If an example lies in different clusters, or scores cannot be subtracted.
    """
    sd = 0.0 if pairing.same_model else refit_sd
    mine, theirs = _common(new, old)
    examples, shared = max(len(new.plus), len(old.plus)), len(mine)
    if not pairing.same_tokens or shared < LEAST_SHARED * examples:
        shift = Shift(new.sample, old.sample, refit_sd=sd)
        return Matched(shift, paired=False, left_out=0, examples=examples, shared=shared)
    _check_clusters(new, old, mine, theirs)
    after, before = new.scores[mine], old.scores[theirs]
    changes = after - before
    scale, spread = _scale(new, old, after, before)
    design = Design(np.unique(new.plus.codes[mine], return_inverse=True)[1])
    sample = Sample(changes, design, scale, spread)
    identical = pairing.same_model and not changes.any()
    shift = Shift(sample, refit_sd=sd, identical=identical)
    left_out = len(new.plus) + len(old.plus) - 2 * shared
    return Matched(shift, paired=True, left_out=left_out, examples=examples, shared=shared)


def _common(new: Part, old: Part) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows of both parts that hold the same examples, in one order."""
    if np.array_equal(new.plus.examples, old.plus.examples):
        rows = np.arange(len(new.plus))
        return rows, rows
    _, mine, theirs = np.intersect1d(
        new.plus.examples, old.plus.examples, assume_unique=True, return_indices=True
    )
    return mine, theirs


def _check_clusters(new: Part, old: Part, mine: NDArray[np.intp], theirs: NDArray[np.intp]) -> None:
    ours, others = new.plus.clusters[mine], old.plus.clusters[theirs]
    if not np.array_equal(ours, others):
        row = int(np.flatnonzero(ours != others)[0])
        raise ClaimError(
            f"{new.name}: example {str(new.plus.examples[mine][row])!r} lies in cluster "
            f"{str(others[row])!r} in one record and in {str(ours[row])!r} in the other. The two "
            "were measured by versions that name examples otherwise: measure one of them again."
        )


def _scale(
    new: Part, old: Part, after: Floats, before: Floats
) -> tuple[Scale, tuple[float, float] | None]:
    """Return the scale of the changes, and how far they may reach where nothing varies."""
    arms = (new.plus, new.minus, old.plus, old.minus)
    # A change cannot exceed the range that the contrasts themselves show.
    reach = float(np.ptp(np.concatenate([after, before])))
    if all(arm is None or arm.is_hits for arm in arms):
        return ("hit differences" if reach <= 1 else "hit changes"), None
    return "free", (-reach, reach) if reach > 0 else None


def _t_quantile(df: float, alpha: float) -> float:
    from scipy.special import stdtrit

    return -float(stdtrit(df, alpha / 2))


def _satterthwaite(errors: list[tuple[float, float]]) -> float:
    """Degrees of freedom of a sum of variances, from standard errors with their own."""
    total = sum(se**2 for se, _ in errors)
    if total == 0:
        return min(df for _, df in errors)
    return total**2 / sum(se**4 / df for se, df in errors)
