"""Simulated samples with known truth, and the coverage tables of docs/judging.md.

``python tests/judge/simulation.py [repetitions]`` prints the tables, ``… quick`` only that of
the quick profile's own design; the tests run a part of it. Rates vary between clusters by a
beta (Dirichlet) law, so that ``icc`` is the correlation of two rows of one cluster.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from stillwired.judge.clusters import Design
from stillwired.judge.intervals import Sample, Scale

CLUSTERS = (8, 12, 20, 40, 100, 400)
EQUAL, MIXED, FEW_LARGE, QUICK = "equal", "mixed", "few large", "quick profile"

# Documents that give 1, 2, … 7 of the quick profile's 1,050 judged passages, 8 rows each: drawn
# from the built-in text for smollm2-135m-instruct, seed 0.
QUICK_PASSAGES = {1: 579, 2: 64, 3: 28, 4: 3, 5: 6, 6: 14, 7: 19}
QUICK_DOCUMENTS = sum(QUICK_PASSAGES.values())


def sizes_of(kind: str, clusters: int) -> np.ndarray:
    """Rows of each cluster; a large cluster has ten times the rows of the others."""
    if kind == QUICK:
        assert clusters == QUICK_DOCUMENTS
        return 8 * np.repeat(list(QUICK_PASSAGES), list(QUICK_PASSAGES.values()))
    if kind == MIXED:
        return np.array([1, 2, 4, 8, 8, 16, 24, 40])[np.arange(clusters) % 8]
    sizes = np.full(clusters, 8)
    if kind == FEW_LARGE:
        sizes[: max(2, clusters // 10)] = 80
    return sizes


@dataclass(frozen=True)
class Case:
    """What is sampled.

    Attributes:
        scale: ``hits``, ``hit differences`` or ``free``.
        rates: Rate of hits; rates of gains and losses; nothing for free scores.
        clusters: Number of clusters.
        sizes: Kind of cluster sizes.
        icc: Correlation of two rows of a cluster.
        law: ``normal`` or ``exponential``, for free scores (standard deviation 1, mean 0).
    """

    scale: Scale
    rates: tuple[float, ...]
    clusters: int
    sizes: str = EQUAL
    icc: float = 0.05
    law: str = "normal"

    @property
    def truth(self) -> float:
        return sum(self.rates[:1]) - sum(self.rates[1:])

    def draw(self, rng: np.random.Generator, repetitions: int) -> Iterator[Sample]:
        sizes = sizes_of(self.sizes, self.clusters)
        codes = np.repeat(np.arange(self.clusters), sizes)
        design = Design(codes)
        for _ in range(repetitions):
            yield Sample(self._scores(rng, codes), design, self.scale)

    def _scores(self, rng: np.random.Generator, codes: np.ndarray) -> np.ndarray:
        if self.scale == "free":
            draw = rng.normal if self.law == "normal" else self._exponential(rng)
            shared = draw(size=self.clusters)[codes]
            own = draw(size=len(codes))
            return np.sqrt(self.icc) * shared + np.sqrt(1 - self.icc) * own
        rates = np.array([*self.rates, 1 - sum(self.rates)])
        if self.icc:
            weights = rng.gamma(rates * (1 - self.icc) / self.icc, size=(self.clusters, len(rates)))
            local = weights / weights.sum(axis=1, keepdims=True)
        else:
            local = np.tile(rates, (self.clusters, 1))
        edges = np.cumsum(local, axis=1)[codes]
        u = rng.random(len(codes))
        gains = u < edges[:, 0]
        if self.scale == "hits":
            return gains.astype(np.float64)
        losses = ~gains & (u < edges[:, 1])
        return gains.astype(np.float64) - losses

    @staticmethod
    def _exponential(rng: np.random.Generator):
        return lambda size: rng.exponential(size=size) - 1

    def coverage(self, repetitions: int, seed: int = 0) -> float:
        """Share of the samples whose 95 % interval holds the truth."""
        rng = np.random.default_rng([seed, self.clusters, int(1000 * sum(self.rates))])
        inside = 0
        for sample in self.draw(rng, repetitions):
            low, high = sample.bounds()
            inside += low - 1e-12 <= self.truth <= high + 1e-12
        return inside / repetitions


RATES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 0.98)
PAIRS = (
    (0.02, 0.02),
    (0.02, 0.005),
    (0.04, 0.02),
    (0.1, 0.1),
    (0.12, 0.1),
    (0.25, 0.05),
    (0.3, 0.1),
)


QUICK_CASES = {
    **{f"hits {p:g}": ("hits", (p,)) for p in (0.02, 0.05, 0.2, 0.5, 0.8)},
    **{
        f"hits +{gain:g} −{loss:g}": ("hit differences", (gain, loss))
        for gain, loss in ((0.02, 0.005), (0.1, 0.1), (0.12, 0.1), (0.25, 0.05))
    },
    "normal scores": ("free", ()),
}


def quick_table(repetitions: int) -> None:
    """Print the coverage of the quick profile's design, a column per correlation."""
    for name, (scale, rates) in QUICK_CASES.items():
        cells = [
            f"{Case(scale, rates, QUICK_DOCUMENTS, QUICK, icc).coverage(repetitions):.3f}"
            for icc in (0.0, 0.05, 0.1, 0.3)
        ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def table(repetitions: int) -> None:
    """Print lowest and highest coverage over rates for every design."""
    groups = {
        "hits": [("hits", (p,), "normal") for p in RATES],
        "differences of hits": [("hit differences", pair, "normal") for pair in PAIRS],
        "normal scores": [("free", (), "normal")],
        "exponential scores": [("free", (), "exponential")],
    }
    for name, members in groups.items():
        for kind in (EQUAL, MIXED, FEW_LARGE):
            for icc in (0.0, 0.05, 0.1, 0.3):
                cells = []
                for clusters in CLUSTERS:
                    found = [
                        Case(scale, rates, clusters, kind, icc, law).coverage(repetitions)
                        for scale, rates, law in members
                    ]
                    cells.append(f"{min(found):.3f}–{max(found):.3f}")
                print(f"| {name} | {kind} | {icc:g} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    asked = sys.argv[1:]
    counts = [int(word) for word in asked if word.isdigit()]
    quick_table(*counts or [2000])
    if "quick" not in asked:
        table(*counts or [2000])
