from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from stillwired.errors import ClaimError
from stillwired.judge.clusters import Design, jackknife
from stillwired.judge.intervals import Sample, clopper_pearson, mean_interval, wilson


@st.composite
def samples(draw, scale="free"):
    sizes = draw(st.lists(st.integers(1, 12), min_size=2, max_size=12))
    codes = np.repeat(np.arange(len(sizes)), sizes)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if scale == "free":
        scores = rng.normal(draw(st.floats(-3, 3)), draw(st.floats(0.01, 5)), len(codes))
    elif scale == "hits":
        scores = (rng.random(len(codes)) < draw(st.floats(0, 1))).astype(float)
    elif scale == "hit differences":
        scores = rng.choice([-1.0, 0.0, 1.0], len(codes), p=[0.1, 0.8, 0.1])
    else:
        scores = rng.choice([-2.0, -1.0, 0.0, 1.0, 2.0], len(codes), p=[0.02, 0.1, 0.76, 0.1, 0.02])
    return scores, codes


def same(a, b, tolerance=1e-9):
    assert a.estimate == pytest.approx(b.estimate, abs=tolerance)
    assert a.low == pytest.approx(b.low, abs=tolerance)
    assert a.high == pytest.approx(b.high, abs=tolerance)


def test_equal_clusters_give_t_on_cluster_means():
    rng = np.random.default_rng(3)
    means = rng.normal(1, 0.5, 12)
    scores = np.repeat(means, 8) + rng.normal(0, 1, 96)
    got = mean_interval(scores, np.repeat(np.arange(12), 8))
    by_cluster = scores.reshape(12, 8).mean(axis=1)
    low, high = stats.t.interval(0.95, 11, by_cluster.mean(), stats.sem(by_cluster))
    assert got.estimate == pytest.approx(by_cluster.mean())
    assert (got.low, got.high) == pytest.approx((low, high))
    assert got.df == pytest.approx(11)
    assert (got.n, got.clusters, got.method) == (96, 12, "t")


def test_degrees_of_freedom_equal_their_matrix_form():
    sizes = np.array([1, 2, 4, 8, 8, 80])
    design = Design(np.repeat(np.arange(6), sizes))
    weights = sizes / sizes.sum()
    residual = np.eye(6) - np.outer(sizes, np.ones(6)) / sizes.sum()
    covariance = np.diag(sizes * (1 + (sizes - 1) * 0.02))
    form = residual.T @ np.diag(1 / (1 - weights)) @ residual @ covariance
    expected = np.trace(form) ** 2 / np.trace(form @ form)
    assert expected > 1
    assert design.df == pytest.approx(expected)


def test_the_variance_is_unbiased_for_independent_rows_of_unequal_clusters():
    sizes = np.array([1, 2, 4, 8, 8, 80])
    design = Design(np.repeat(np.arange(6), sizes))
    rng = np.random.default_rng(5)
    found = [float(np.square(design.residuals(rng.normal(size=103))).sum()) for _ in range(4000)]
    # Without the correction the average would be 0.65 of the truth.
    assert np.mean(found) == pytest.approx(1 / 103, rel=0.05)


@pytest.mark.parametrize("scale", ["free", "hits", "hit differences", "hit changes"])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_order_and_names_of_rows_and_clusters_change_nothing(scale, data):
    scores, codes = data.draw(samples(scale))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    order = rng.permutation(len(scores))
    renamed = rng.permutation(codes.max() + 1)[codes]
    base = mean_interval(scores, codes, scale)
    same(base, mean_interval(scores[order], renamed[order], scale), 1e-10)


@settings(max_examples=40, deadline=None)
@given(samples(), st.floats(-100, 100), st.floats(0.01, 100))
def test_shifting_and_scaling_scores_shifts_and_scales_the_interval(sample, shift, factor):
    scores, codes = sample
    base = mean_interval(scores, codes)
    moved = mean_interval(shift + factor * scores, codes)
    for end in ("estimate", "low", "high"):
        wanted = shift + factor * getattr(base, end)
        assert getattr(moved, end) == pytest.approx(wanted, rel=1e-7, abs=1e-7)


@pytest.mark.parametrize("scale", ["hits", "hit differences", "hit changes"])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_hits_and_misses_are_treated_alike(scale, data):
    scores, codes = data.draw(samples(scale))
    mirrored = 1 - scores if scale == "hits" else -scores
    base, other = mean_interval(scores, codes, scale), mean_interval(mirrored, codes, scale)
    top = 1 if scale == "hits" else 0
    assert other.low == pytest.approx(top - base.high, abs=1e-9)
    assert other.high == pytest.approx(top - base.low, abs=1e-9)


@pytest.mark.parametrize("scale", ["free", "hits", "hit differences", "hit changes"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_p_values_agree_with_the_interval(scale, data):
    scores, codes = data.draw(samples(scale))
    edge = data.draw(st.floats(-1, 1))
    sample = Sample(scores, Design(codes), scale)
    found = sample.interval()
    assert found.low <= found.estimate <= found.high
    assume(min(abs(edge - found.low), abs(edge - found.high)) > 1e-6)
    assert (sample.p_reaches(edge, "low") < 0.05) == (found.high < edge)
    assert (sample.p_reaches(edge, "high") < 0.05) == (found.low > edge)


@settings(max_examples=40, deadline=None)
@given(samples("hit differences"), st.floats(0.001, 0.5), st.floats(0.001, 0.5))
def test_a_higher_level_gives_a_wider_interval(sample, a, b):
    scores, codes = sample
    tested = Sample(scores, Design(codes), "hit differences")
    wide, narrow = tested.bounds(min(a, b)), tested.bounds(max(a, b))
    assert wide[0] <= narrow[0] + 1e-12
    assert wide[1] >= narrow[1] - 1e-12


def test_many_common_hits_give_the_plain_t_interval():
    rng = np.random.default_rng(1)
    codes = np.repeat(np.arange(1000), 8)
    a, b = (rng.random((2, 8000)) < 0.3).astype(float)
    for scores, scale in ((a, "hits"), (a - b, "hit differences")):
        plain, found = mean_interval(scores, codes), mean_interval(scores, codes, scale)
        assert found.method != plain.method
        assert found.low == pytest.approx(plain.low, abs=3e-4)
        assert found.high == pytest.approx(plain.high, abs=3e-4)


def test_repeating_rows_within_clusters_adds_no_certainty():
    rng = np.random.default_rng(2)
    scores, codes = rng.normal(size=40), np.arange(40)
    once = mean_interval(scores, codes)
    same(once, mean_interval(np.repeat(scores, 50), np.repeat(codes, 50)), 1e-6)


def test_no_hit_at_all_gives_the_exact_interval_on_clusters():
    codes = np.repeat(np.arange(20), 8)
    none = mean_interval(np.zeros(160), codes, "hits")
    assert none.method == "exact"
    assert (none.low, none.high) == pytest.approx((0, 1 - 0.025 ** (1 / 20)))
    assert (none.low, none.high) == pytest.approx(clopper_pearson(0, 20))
    every = mean_interval(np.ones(160), codes, "hits")
    assert (every.low, every.high) == pytest.approx((0.025 ** (1 / 20), 1))


def test_arms_that_never_differ_still_have_an_interval():
    found = mean_interval(np.zeros(160), np.repeat(np.arange(20), 8), "hit differences")
    bound = 1 - 0.025 ** (1 / 20)
    assert (found.low, found.high) == pytest.approx((-bound, bound))
    always = mean_interval(np.ones(160), np.repeat(np.arange(20), 8), "hit differences")
    assert (always.low, always.high) == pytest.approx((1 - 2 * bound, 1))


def test_a_constant_that_is_no_hit_has_no_interval_unless_its_range_is_known():
    codes = np.repeat(np.arange(20), 8)
    assert mean_interval(np.full(160, 0.1), codes).low == -math.inf
    known = mean_interval(np.zeros(160), codes, spread=(-10, 10))
    assert known.high == pytest.approx(10 * (1 - 0.025 ** (1 / 20)))


def test_rounding_is_not_variation():
    codes = np.repeat(np.arange(20), 8)
    scores = np.full(160, 0.1) + np.tile([0, 1e-17], 80)
    assert mean_interval(scores, codes).method == "none"


def test_equal_cluster_means_do_not_give_certainty():
    codes = np.repeat(np.arange(20), 8)
    hits = np.tile([0.0, 1.0], 80)
    found = mean_interval(hits, codes, "hits")
    assert (found.low, found.high) == pytest.approx(clopper_pearson(10, 20))
    free = mean_interval(hits, codes)
    assert free.high - free.low > 0.1
    differences = mean_interval(np.tile([1.0, -1.0, 0.0, 0.0], 40), codes, "hit differences")
    assert differences.high - differences.low > 0.1


def test_one_cluster_says_next_to_nothing():
    codes = np.zeros(50, dtype=np.int64)
    rng = np.random.default_rng(0)
    assert mean_interval(rng.normal(size=50), codes).high == math.inf
    hits = mean_interval((rng.random(50) < 0.5).astype(float), codes, "hits")
    assert hits.high - hits.low > 0.9
    assert mean_interval(rng.choice([-1.0, 1.0], 50), codes, "hit differences").high == 1


def test_scores_off_their_scale_are_refused():
    with pytest.raises(ClaimError, match="hits"):
        mean_interval(np.array([0, 1, 2.0]), np.arange(3), "hits")
    with pytest.raises(ClaimError, match="hit changes"):
        mean_interval(np.array([0, 1, 3.0]), np.arange(3), "hit changes")


@settings(max_examples=30, deadline=None)
@given(samples("hit differences"))
def test_changes_of_one_are_treated_as_differences_and_changes_of_two_as_twice_that(sample):
    scores, codes = sample
    assume(np.ptp(scores) > 0)
    assume(not Sample(scores, Design(codes), "hit differences").even_clusters)
    base, twice = (mean_interval(k * scores, codes, "hit changes") for k in (1, 2))
    difference = mean_interval(scores, codes, "hit differences")
    # Only the bounds of what a score can be lie elsewhere.
    assert difference.low == pytest.approx(max(base.low, -1))
    assert difference.high == pytest.approx(min(base.high, 1))
    assert twice.estimate == pytest.approx(2 * base.estimate)
    assert twice.low == pytest.approx(max(2 * base.low, -2))
    assert twice.high == pytest.approx(min(2 * base.high, 2))


def test_changes_are_covered():
    """Gains and losses of 1 and of 2 in 40 clusters of 8 rows, and rare ones."""
    rng = np.random.default_rng(6)
    codes = np.repeat(np.arange(40), 8)
    for law in ((0.02, 0.1, 0.7, 0.15, 0.03), (0.01, 0.03, 0.95, 0.01, 0.0)):
        truth = float(np.dot(law, [-2, -1, 0, 1, 2]))
        inside = 0
        for _ in range(500):
            found = mean_interval(
                rng.choice([-2.0, -1.0, 0.0, 1.0, 2.0], 320, p=law), codes, "hit changes"
            )
            inside += found.low <= truth <= found.high
        assert inside / 500 >= 0.93


@pytest.mark.parametrize("trials", [8, 12, 40, 100])
@pytest.mark.parametrize("rate", [0.02, 0.1, 0.5, 0.98])
def test_the_exact_interval_covers_at_least_95_percent(trials, rate):
    hits = np.arange(trials + 1)
    inside = [low <= rate <= high for low, high in (clopper_pearson(h, trials) for h in hits)]
    assert stats.binom.pmf(hits, trials, rate)[inside].sum() >= 0.95


@pytest.mark.parametrize("clusters", [8, 12, 40])
@pytest.mark.parametrize("icc", [0.0, 0.3, 1.0])
def test_the_exact_interval_of_clusters_without_hits_covers_whatever_the_correlation(clusters, icc):
    # The interval misses a rate only if no cluster shows a hit although the bound is below.
    bound = 1 - 0.025 ** (1 / clusters)
    rng = np.random.default_rng(0)
    rate = bound * 1.001
    law = rng.random((20_000, clusters)) < rate if icc == 1 else None
    if law is None:
        shape = (1 - icc) / max(icc, 1e-9)
        local = rng.beta(rate * shape, (1 - rate) * shape, (20_000, clusters)) if icc else rate
        law = rng.binomial(8, local, (20_000, clusters)) > 0
    assert (~law.any(axis=1)).mean() <= 0.025 + 0.003


def test_wilson_and_clopper_pearson_agree_with_scipy():
    for hits, trials in ((0, 10), (3, 10), (50, 100), (10, 10)):
        result = stats.binomtest(hits, trials)
        exact = result.proportion_ci(method="exact")
        assert clopper_pearson(hits, trials) == pytest.approx((exact.low, exact.high))
        score = result.proportion_ci(method="wilson")
        assert wilson(hits, trials) == pytest.approx((score.low, score.high), abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(samples())
def test_the_jackknife_of_a_mean_changes_nothing(sample):
    scores, codes = sample
    pseudo = jackknife(lambda rows: float(scores[rows].mean()), codes)
    same(mean_interval(scores, codes), mean_interval(pseudo, codes), 1e-6)


def test_the_jackknife_covers_an_entropy():
    rng = np.random.default_rng(4)
    law = np.array([0.5, 0.25, 0.125, 0.125])
    clusters = np.repeat(np.arange(40), 8)
    inside = 0
    for _ in range(300):
        tokens = rng.choice(4, 320, p=law)

        def entropy(rows, tokens=tokens):
            share = np.bincount(tokens[rows], minlength=4) / len(rows)
            return float(-(share[share > 0] * np.log2(share[share > 0])).sum())

        found = mean_interval(jackknife(entropy, clusters), clusters)
        inside += found.low <= 1.75 <= found.high
    assert inside / 300 >= 0.93


def test_the_jackknife_needs_two_clusters():
    with pytest.raises(ClaimError, match="two clusters"):
        jackknife(lambda rows: 0.0, np.array(["a", "a"]))
