from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from stillwired.judge.planning import clusters_needed, power, rounded


def test_power_equals_its_simulation():
    rng = np.random.default_rng(0)
    draws = rng.normal(0.5, 1, (20_000, 12))
    low = draws.mean(1) - stats.t.ppf(0.975, 11) * stats.sem(draws, axis=1)
    assert power(0.5, 1 / np.sqrt(12), 12) == pytest.approx((low > 0).mean(), abs=0.01)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.005, 2), st.floats(0.001, 1), st.integers(8, 500))
def test_the_number_needed_is_the_smallest_that_suffices(distance, se, clusters):
    need = clusters_needed(distance, se, clusters)
    assert need >= 8

    def reached(count):
        return power(distance, se * np.sqrt(clusters / count), count)

    assert reached(need) >= 0.9
    assert need == 8 or reached(need - 1) < 0.9


def test_known_design():
    # (1.960 + 1.282)² (se / δ)² clusters, for many clusters
    assert clusters_needed(0.02, 0.0064, 1000) == pytest.approx(1000 * 10.507 * 0.1024, rel=0.01)


def test_without_variance_the_exact_interval_must_be_short_enough():
    need = clusters_needed(0.02, 0, 20)
    assert 1 - 0.025 ** (1 / need) <= 0.02 < 1 - 0.025 ** (1 / (need - 1))
    assert clusters_needed(1.5, 0, 20) == 8


def test_a_design_without_an_effect_is_refused():
    for wrong in (0, -1, float("inf")):
        with pytest.raises(ValueError, match="distance"):
            clusters_needed(wrong, 0.1, 10)


def test_extremes():
    assert power(1, 0, 10) == 1
    assert power(1, 0.1, 1) == 0
    assert power(100, 0.1, 10) == 1


def test_counts_are_rounded_upwards_to_two_digits():
    assert [rounded(k) for k in (7, 99, 101, 260, 1234)] == [7, 99, 110, 260, 1300]
