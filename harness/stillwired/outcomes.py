"""What an instrument hands to the judge: one row per example, with its cluster and its score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from stillwired.errors import ClaimError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Factor: TypeAlias = str | int | float


@dataclass(frozen=True, eq=False)
class Outcome:
    """Scores of one arm, example by example.

    Sequences are accepted and turned into read-only arrays of equal length.

    Attributes:
        name: What was measured, for messages and the record.
        examples: [rows] ids, unique within the outcome; arms are paired on them.
        clusters: [rows] ids of the units that are resampled (document, word pair, task).
        scores: [rows] finite numbers; hits are 0 and 1.
        factors: Settings that hold for every row, for example ``{"ahead": 1}``.

    Raises:
        ClaimError: If the columns differ in length or are empty, if an example occurs
            twice, or if a score is not finite.
    """

    name: str
    examples: NDArray[np.str_]
    clusters: NDArray[np.str_]
    scores: NDArray[np.float64]
    factors: Mapping[str, Factor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        examples = _column(self.examples, np.str_)
        clusters = _column(self.clusters, np.str_)
        scores = _column(self.scores, np.float64)
        object.__setattr__(self, "examples", examples)
        object.__setattr__(self, "clusters", clusters)
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "factors", dict(self.factors))
        lengths = {examples.shape, clusters.shape, scores.shape}
        if len(lengths) != 1 or scores.ndim != 1:
            raise ClaimError(
                f"The columns of outcome {self.name!r} differ in shape: examples "
                f"{examples.shape}, clusters {clusters.shape}, scores {scores.shape}. "
                "Give one entry of each per row."
            )
        if not len(scores):
            raise ClaimError(
                f"Outcome {self.name!r} has no rows. Measure at least one example, or leave "
                "the cell out."
            )
        bad = ~np.isfinite(scores)
        if bad.any():
            raise ClaimError(
                f"Outcome {self.name!r} has {int(bad.sum())} scores that are not finite, the "
                f"first for example {str(examples[bad][0])!r}. Find out in the instrument why, "
                "instead of dropping rows."
            )
        different = len(set(examples.tolist()))
        if different != len(examples):
            raise ClaimError(
                f"Outcome {self.name!r} has {len(examples)} rows but only "
                f"{different} different example ids. Make the ids unique, for "
                "example document:position."
            )

    def __len__(self) -> int:
        return len(self.scores)

    @cached_property
    def position(self) -> dict[str, int]:
        """Row of every example id."""
        return {example: row for row, example in enumerate(self.examples.tolist())}

    @cached_property
    def codes(self) -> NDArray[np.int64]:
        """[rows] cluster of every row as an integer, numbered in order of appearance."""
        number: dict[str, int] = {}
        codes = [number.setdefault(c, len(number)) for c in self.clusters.tolist()]
        return np.asarray(codes, dtype=np.int64)

    @cached_property
    def is_hits(self) -> bool:
        """Whether every score is 0 or 1."""
        return bool(np.all((self.scores == 0) | (self.scores == 1)))


Arm: TypeAlias = Outcome | Mapping[str, Outcome]
"""One outcome, or a family of outcomes by label (for example depths) in declared order."""


def paired(a: Outcome, b: Outcome) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return both arms' scores, [rows] each, in the order of ``a``'s examples.

    Raises:
        ClaimError: If the arms were not measured on the same examples, or put an example
            into different clusters.
    """
    if np.array_equal(a.examples, b.examples):
        order: NDArray[np.int64] | None = None
        clusters = b.clusters
    else:
        missing = a.position.keys() ^ b.position.keys()
        if missing:
            raise ClaimError(
                f"Outcomes {a.name!r} and {b.name!r} were measured on different examples: "
                f"{len(missing)} occur in only one of them, {min(missing)!r} for one. Score "
                "both arms on the same rows, so that they can be paired."
            )
        order = np.asarray([b.position[e] for e in a.examples.tolist()], dtype=np.int64)
        clusters = b.clusters[order]
    if not np.array_equal(a.clusters, clusters):
        row = int(np.flatnonzero(a.clusters != clusters)[0])
        example, ours, theirs = (str(c[row]) for c in (a.examples, a.clusters, clusters))
        raise ClaimError(
            f"Outcomes {a.name!r} and {b.name!r} put example {example!r} into clusters {ours!r} "
            f"and {theirs!r}. Name clusters after the document or item that the example comes "
            "from, in every arm."
        )
    return a.scores, b.scores if order is None else b.scores[order]


def members(name: str, arm: Arm) -> dict[str | None, Outcome]:
    """Return an arm's outcomes by label; a single outcome has the label None.

    Raises:
        ClaimError: If a family is empty or holds something else than outcomes.
    """
    if isinstance(arm, Outcome):
        return {None: arm}
    if not isinstance(arm, Mapping) or not arm:
        raise ClaimError(
            f"Arm {name!r} is neither an outcome nor a non-empty mapping of labels to "
            "outcomes. Hand over what the instrument returned."
        )
    for label, outcome in arm.items():
        if not isinstance(label, str) or not isinstance(outcome, Outcome):
            raise ClaimError(
                f"Arm {name!r} maps {label!r} to {type(outcome).__name__}. A family maps "
                "labels (strings) to outcomes."
            )
    return {label: outcome for label, outcome in arm.items()}  # noqa: C416 - widens the key type


def _column(values: ArrayLike | Sequence[str], dtype: type[Any]) -> NDArray[Any]:
    array = np.array(values, dtype=dtype)
    array.flags.writeable = False
    return array
