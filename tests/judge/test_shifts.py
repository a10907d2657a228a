from __future__ import annotations

import math

import numpy as np
import pytest

from stillwired.errors import ClaimError
from stillwired.judge import Outcome, mean_interval
from stillwired.judge.clusters import Design
from stillwired.judge.contrasts import Part
from stillwired.judge.intervals import Sample
from stillwired.judge.regions import Region
from stillwired.judge.shifts import FEWEST_REFITS, Pairing, Shift, match

REGION = Region("at least", low=0.1)


def part(scores, minus=None, *, keep=None, clusters=40, order=None):
    """A part of eight rows to a cluster, as far as ``keep`` says, in another order if asked."""
    rows = np.arange(len(scores)) if keep is None else np.asarray(keep)
    rows = rows if order is None else rows[order]
    names = [f"d{row % clusters}" for row in rows]
    examples = [f"d{row % clusters}:{row}" for row in rows]
    outcomes = [
        None if s is None else Outcome("o", examples, names, np.asarray(s, dtype=float)[rows])
        for s in (scores, minus)
    ]
    return Part("a − b", REGION, ("a", "b"), *outcomes)


def drawn(p, seed, rows=320):
    return (np.random.default_rng(seed).random(rows) < p).astype(float)


def spread(sd, seed, rows=320):
    return np.random.default_rng(seed).normal(0.0, sd, rows)


def sample(se, df):
    """A sample of free scores with about this standard error, of df + 1 clusters."""
    scores = np.random.default_rng(1).normal(size=df + 1)
    scores = (scores - scores.mean()) / scores.std(ddof=1) * se * math.sqrt(df + 1)
    return Sample(scores, Design(np.arange(df + 1)))


def test_a_change_is_taken_row_by_row():
    base, noise = spread(5.0, 1), spread(0.1, 2)
    found = match(part(base), part(base + 0.3 + noise), Pairing())
    clusters = [f"d{row % 40}" for row in range(320)]
    by_hand = mean_interval(0.3 + noise, clusters)
    interval = found.shift.interval()
    assert (interval.low, interval.high) == pytest.approx((by_hand.low, by_hand.high))
    assert found.shift.estimate == pytest.approx(0.3 + noise.mean())
    assert (interval.n, interval.clusters, found.paired, found.left_out) == (320, 40, True, 0)
    # The rows' own spread is fifty times as large.
    assert interval.half_width < 0.02


def test_of_a_difference_the_contrast_is_compared_and_not_its_arms():
    base, other = spread(1.0, 1), spread(1.0, 2)
    found = match(part(base, other), part(base + 9.0, other + 8.5), Pairing())
    assert found.shift.estimate == pytest.approx(0.5)
    assert found.shift.se == pytest.approx(0.0, abs=1e-9)


def test_the_order_of_rows_changes_nothing():
    old, new = drawn(0.5, 1), drawn(0.4, 2)
    order = np.random.default_rng(3).permutation(320)
    straight = match(part(old), part(new), Pairing()).shift.interval()
    mixed = match(part(old), part(new, order=order), Pairing()).shift.interval()
    assert (mixed.estimate, mixed.low, mixed.high) == pytest.approx(
        (straight.estimate, straight.low, straight.high)
    )


@pytest.mark.parametrize(("shared", "paired"), [(256, True), (255, False)])
def test_four_fifths_of_the_examples_must_be_shared(shared, paired):
    old, new = drawn(0.5, 1), drawn(0.5, 2)
    found = match(part(old), part(new, keep=range(shared)), Pairing())
    assert (found.paired, found.shared, found.examples) == (paired, shared, 320)
    assert found.left_out == (64 if paired else 0)
    if paired:
        assert found.shift.n == 256
        assert found.shift.estimate == pytest.approx(new[:256].mean() - old[:256].mean())


def test_only_what_both_have_is_compared_row_by_row():
    old, new = drawn(0.5, 1), drawn(0.5, 2)
    found = match(part(old, keep=range(300)), part(new, keep=range(20, 320)), Pairing())
    assert (found.paired, found.left_out, found.shift.n) == (True, 40, 280)
    assert found.shift.estimate == pytest.approx(new[20:300].mean() - old[20:300].mean())


def test_other_tokens_make_two_independent_means():
    base = spread(1.0, 1)
    old, new = part(base), part(base + 0.3 + spread(0.01, 2))
    found = match(old, new, Pairing(same_tokens=False))
    assert not found.paired
    halves = [one.interval.half_width for one in (old, new)]
    interval = found.shift.interval()
    assert interval.estimate == pytest.approx(0.3, abs=0.002)
    assert interval.half_width == pytest.approx(math.hypot(*halves))
    # Row by row the same change is known a hundred times as well.
    assert match(old, new, Pairing()).shift.interval().half_width < interval.half_width / 50


def test_two_means_use_the_ends_that_face_each_other():
    old, new = part(drawn(0.03, 1)), part(drawn(0.5, 2))
    below, above = old.interval, new.interval
    interval = match(old, new, Pairing(same_tokens=False)).shift.interval()
    down = math.hypot(above.estimate - above.low, below.high - below.estimate)
    up = math.hypot(above.high - above.estimate, below.estimate - below.low)
    assert interval.estimate - interval.low == pytest.approx(down)
    assert interval.high - interval.estimate == pytest.approx(up)
    assert down != pytest.approx(up, rel=0.01)


def test_an_example_in_another_cluster_is_an_error():
    names = [f"d{row}" for row in range(40)]
    examples = [f"{name}:0" for name in names]
    old, new = (
        Part("a", REGION, ("a",), Outcome("o", examples, clusters, np.zeros(40)))
        for clusters in (["d0", "x", *names[2:]], names)
    )
    with pytest.raises(ClaimError, match=r"'d1:0' lies in cluster 'x' in one record and in 'd1'"):
        match(old, new, Pairing())


def test_levels_of_hits_change_by_one_at_most_and_their_differences_by_two():
    a, b, c, d = (drawn(0.5, seed) for seed in range(4))
    level = match(part(a), part(b), Pairing()).shift.interval()
    assert level.method == "square and add"
    change = match(part(a, c), part(b, d), Pairing())
    assert change.shift.interval().method == "square and add"
    assert np.abs((b - d) - (a - c)).max() == 2
    mixed = match(part(a), part(b / 2), Pairing()).shift.interval()
    assert mixed.method == "t"


def test_what_never_differs_is_bounded_by_the_number_of_clusters():
    hits = drawn(0.5, 1)
    interval = match(part(hits), part(hits), Pairing()).shift.interval()
    # Of 40 clusters at least 0.912 of all would not differ either; those that do, by one.
    assert (interval.low, interval.high) == pytest.approx((-0.0881, 0.0881), abs=1e-4)
    free = spread(1.0, 1)
    interval = match(part(free), part(free), Pairing()).shift.interval()
    assert interval.high == pytest.approx(np.ptp(free) * 0.0881, rel=1e-3)


def test_one_model_with_equal_scores_has_changed_by_nothing_at_all():
    hits = drawn(0.5, 1)
    same = Pairing(same_model=True)
    shift = match(part(hits), part(hits), same, refit_sd=0.2).shift
    assert shift.identical
    assert shift.bounds() == (0.0, 0.0)
    assert shift.p_reaches(-0.01, "low") == 1.0
    other = hits.copy()
    other[0] = 1 - other[0]
    changed = match(part(hits), part(other), same, refit_sd=0.2).shift
    assert not changed.identical
    assert changed.refit_se == 0
    assert changed.interval().half_width > 0


def test_the_variance_of_two_fits_comes_on_top():
    plain, refitted = Shift(sample(0.01, 400)), Shift(sample(0.01, 400), refit_sd=0.01)
    assert refitted.se**2 == pytest.approx(plain.se**2 + 2 * 0.01**2)
    assert refitted.estimate == plain.estimate
    # Satterthwaite by hand: (1 + 2)² / (1/400 + 4/4), in units of the sampling variance.
    assert refitted.df == pytest.approx(9 / (1 / 400 + 4 / 4), rel=1e-6)
    from scipy.stats import t

    half = t.ppf(0.975, refitted.df) * refitted.se
    assert refitted.interval().half_width == pytest.approx(half, rel=1e-6)


def test_refits_alone_have_the_freedom_of_their_number():
    shift = Shift(sample(1e-9, 400), refit_sd=1.0)
    assert shift.df == pytest.approx(FEWEST_REFITS - 1, rel=1e-3)


@pytest.mark.parametrize("refit_sd", [0.0, 0.02])
@pytest.mark.parametrize("pairing", [Pairing(), Pairing(same_tokens=False)])
def test_p_values_agree_with_the_interval(pairing, refit_sd):
    old, new = part(drawn(0.5, 1)), part(drawn(0.3, 2))
    shift = match(old, new, pairing, refit_sd).shift
    low, high = shift.bounds()
    assert shift.p_reaches(high + 1e-6, "low") < 0.05 < shift.p_reaches(high - 1e-6, "low")
    assert shift.p_reaches(low - 1e-6, "high") < 0.05 < shift.p_reaches(low + 1e-6, "high")
    assert shift.p_reaches(shift.estimate - 0.1, "low") == 1.0
