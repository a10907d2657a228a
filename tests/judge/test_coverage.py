"""Simulated coverage; docs/judging.md has the full table of simulation.py."""

from __future__ import annotations

import math

import pytest

REPETITIONS = 1000
SLACK = 2 * math.sqrt(0.95 * 0.05 / REPETITIONS)  # of the simulation itself
COMMON = [("hits", (0.2,)), ("hits", (0.5,)), ("hit differences", (0.3, 0.1)), ("free", ())]
RARE = [
    ("hits", (0.02,)),
    ("hits", (0.98,)),
    ("hit differences", (0.02, 0.005)),
    ("hit differences", (0.1, 0.1)),
]


@pytest.mark.parametrize("clusters", [8, 12, 20, 40, 100])
@pytest.mark.parametrize(("scale", "rates"), COMMON)
def test_common_results_are_covered_neither_too_rarely_nor_too_often(
    simulation, scale, rates, clusters
):
    found = simulation.Case(scale, rates, clusters).coverage(REPETITIONS)
    assert found >= 0.93
    if clusters >= 12:
        assert found <= 0.97 + SLACK / 2


@pytest.mark.parametrize("clusters", [8, 12, 40, 100])
@pytest.mark.parametrize(("scale", "rates"), RARE)
def test_rare_results_are_covered(simulation, scale, rates, clusters):
    assert simulation.Case(scale, rates, clusters, icc=0.1).coverage(REPETITIONS) >= 0.93


@pytest.mark.parametrize("clusters", [8, 20, 100])
@pytest.mark.parametrize(("scale", "rates"), COMMON)
def test_unequal_clusters_are_covered(simulation, scale, rates, clusters):
    case = simulation.Case(scale, rates, clusters, simulation.FEW_LARGE)
    assert case.coverage(REPETITIONS) >= 0.93


def test_four_hundred_clusters(simulation):
    for scale, rates in (("hits", (0.2,)), ("hit differences", (0.12, 0.1))):
        assert 0.93 <= simulation.Case(scale, rates, 400).coverage(500) <= 0.98


@pytest.mark.parametrize(
    ("scale", "rates", "icc"),
    [
        ("hits", (0.05,), 0.3),
        ("hits", (0.2,), 0.05),
        ("hit differences", (0.02, 0.005), 0.1),
        ("hit differences", (0.12, 0.1), 0.05),
        ("free", (), 0.1),
    ],
)
def test_the_quick_profiles_own_design(simulation, scale, rates, icc):
    """713 documents of 8 to 56 rows; docs/judging.md has every rate and correlation."""
    case = simulation.Case(scale, rates, simulation.QUICK_DOCUMENTS, simulation.QUICK, icc)
    sizes = simulation.sizes_of(case.sizes, case.clusters)
    assert (sizes.sum(), sizes.min(), sizes.max()) == (8400, 8, 56)
    assert 0.93 <= case.coverage(REPETITIONS) <= 0.97


def test_rows_taken_for_independent_would_not_be_covered(simulation):
    """The simulation can fail: ignoring clusters misses far more often than 5 %."""
    import numpy as np

    from stillwired.judge.intervals import mean_interval

    case = simulation.Case("free", (), 40, icc=0.3)
    samples = case.draw(np.random.default_rng(0), 200)
    rows = [mean_interval(s._scores, np.arange(len(s._scores))) for s in samples]
    assert np.mean([r.low <= 0 <= r.high for r in rows]) < 0.85
