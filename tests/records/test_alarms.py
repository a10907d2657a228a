"""False alarms: which claim-runs count, what they came to, and how sure their rates are."""

from __future__ import annotations

import math

import pytest

from stillwired.judge.intervals import clopper_pearson
from stillwired.records.alarms import TOLERATED, Alarms, Case, Tally, count_alarms, rate_of
from stillwired.records.calibration import Planned
from stillwired.records.record import read_record
from tests.records.made_calibration import write_run

# Of 200 documents: 0.5 holds against 0.2, 0.24 is open, 0.05 fails.
HOLDS, OPEN, FAILS = 0.5, 0.24, 0.05


@pytest.fixture
def calibrated(tmp_path):
    """Make records from rates by run and claim, and count their alarms."""

    def count(by_run, jobs=1, **more):
        records = {}
        for run, shares in by_run.items():
            path = write_run(tmp_path, run, shares, **more.get(run.name, {}))
            records[run.name] = read_record(path)
        return count_alarms(records, [run for run in by_run if run.kind], jobs)

    return count


def told(cases):
    return [(case.run.name, case.change.key, case.now, case.word) for case in cases]


def numbers(tally):
    return {word: rate.hits for word, rate in tally.rates.items() if rate.hits}


# What counts


def test_other_examples_are_held_against_the_reference(calibrated):
    alarms = calibrated(
        {
            Planned(): {"a": HOLDS, "b": HOLDS, "never": FAILS},
            Planned("seed", 1): {"a": 0.45, "b": FAILS, "never": HOLDS},
            Planned("seed", 2): {"a": OPEN, "b": HOLDS, "never": FAILS},
        }
    )
    seed = alarms.tallies["seed"]
    assert told(seed.cases) == [
        ("seed-1", "a-paper/b", "FAILS", "LOST"),
        ("seed-1", "a-paper/a", "HOLDS", "UNDECIDED"),
        ("seed-2", "a-paper/a", "INCONCLUSIVE", "LOST"),
        ("seed-2", "a-paper/b", "HOLDS", "KEPT"),
    ]
    assert numbers(seed) == {"FAILS": 1, "INCONCLUSIVE": 1, "LOST": 2, "UNDECIDED": 1}
    assert {rate.trials for rate in seed.rates.values()} == {4}
    assert numbers(seed.by_claim()["a-paper/a"]) == {"INCONCLUSIVE": 1, "LOST": 1, "UNDECIDED": 1}
    assert told(alarms.flipped) == told([seed.cases[0], seed.cases[2]])
    # The gate stops both: a claim is gone in one, and one is LOST in the other.
    assert (alarms.blocked, alarms.runs) == ({"seed": 2}, {"seed": 2})


def test_runs_that_are_compared_side_by_side_come_to_the_same(calibrated):
    runs = {Planned(): {"a": HOLDS, "b": HOLDS}}
    runs |= {Planned("seed", 1): {"a": 0.45, "b": FAILS}, Planned("bf16", 1): {"a": OPEN}}
    alone, side_by_side = calibrated(runs), calibrated(runs, jobs=2)
    assert alone.pooled.cases
    assert side_by_side == alone


def test_the_same_examples_are_held_against_the_seed_run_of_the_number(calibrated):
    alarms = calibrated(
        {
            Planned(): {"a": HOLDS},
            Planned("seed", 1): {"a": 0.8},
            Planned("bf16", 1): {"a": HOLDS},
            Planned("batches", 1): {"a": 0.8},
        }
    )
    # Against the reference nothing would be lost; against the same examples it is.
    (case,) = alarms.tallies["bf16"].cases
    assert (case.word, case.change.decided.paired) == ("LOST", True)
    assert case.change.decided.estimate == pytest.approx(-0.3)
    assert case.then["estimate"] == pytest.approx(0.8)
    (same,) = alarms.tallies["batches"].cases
    assert (same.now, same.word) == ("HOLDS", "KEPT")
    assert alarms.blocked == {"seed": 0, "batches": 0, "bf16": 1}
    assert list(alarms.tallies) == ["seed", "batches", "bf16"]


def test_where_a_redraw_has_nothing_new_to_judge_it_proves_nothing(calibrated):
    alarms = calibrated(
        {
            Planned(): {"a": HOLDS, "b": FAILS},
            Planned("seed", 1): {"a": HOLDS, "b": FAILS},
            Planned("documents", 1): {"a": 0.55, "b": FAILS},
            Planned("refit", 1): {"a": HOLDS, "b": FAILS},
        },
        **{"seed-1": {"draw": "reference"}, "documents-1": {"draw": "reference"}},
    )
    assert (len(alarms.tallies["seed"].cases), alarms.tallies["seed"].stale) == (0, 1)
    # The same examples with other scores are new, and so are other fits that change nothing.
    assert (len(alarms.tallies["documents"].cases), alarms.tallies["documents"].stale) == (1, 0)
    assert (len(alarms.tallies["refit"].cases), alarms.tallies["refit"].stale) == (1, 0)
    assert (len(alarms.pooled.cases), alarms.pooled.stale) == (2, 1)


def test_a_refit_is_no_repetition_of_the_same_fits(calibrated):
    alarms = calibrated(
        {Planned(): {"a": HOLDS}, Planned("refit", 1): {"a": HOLDS}, Planned("seed", 1): {"a": 0.5}}
    )
    (refit,) = alarms.tallies["refit"].cases
    # Equal scores of other fits are a finding, with its own uncertainty.
    assert refit.change.decided.method == "exact"
    assert refit.change.decided.low < 0


def test_broken_cells_and_cells_that_are_missing(calibrated):
    alarms = calibrated(
        {
            Planned(): {"a": HOLDS, "b": HOLDS, "c": HOLDS},
            Planned("seed", 1): {"a": HOLDS, "b": HOLDS},
        },
        **{"seed-1": {"broken": ("b",)}},
    )
    assert numbers(alarms.tallies["seed"])["BROKEN"] == 1
    assert alarms.missing == {"seed-1": ["a-paper/c"]}
    assert len(alarms.pooled.cases) == 2
    assert alarms.complaints == ("1 of 2 claim-runs that held came out as BROKEN",)


# Rates


def made_case(run, cell, now="HOLDS", word="KEPT"):
    class Change:
        claim = key = cell
        parts = ()

    change = Change()
    change.word = word
    return Case(run, change, {}, {"verdict": now})


def made_tally(flags):
    """A tally of flags [draws][cells], whose flagged ones are LOST."""
    return Tally(
        tuple(
            made_case(Planned("seed", draw + 1), f"cell {cell}", word="LOST" if lost else "KEPT")
            for draw, row in enumerate(flags)
            for cell, lost in enumerate(row)
        )
    )


def test_none_of_some_is_bounded_by_claim_runs_and_by_the_fewest_that_share_something():
    rate = made_tally([[False] * 4] * 5).rates["LOST"]
    assert (rate.hits, rate.trials, rate.share) == (0, 20, 0.0)
    assert rate.exact == pytest.approx((0.0, 1 - 0.025 ** (1 / 20)))
    # Five draws and four cells: the cells are fewest.
    assert rate.clustered == pytest.approx((0.0, 1 - 0.025 ** (1 / 4)))


def test_alarms_that_lie_in_one_draw_or_in_one_cell_are_less_sure_than_scattered_ones():
    places = {(k, k) for k in range(11)} | {(10, 3)}
    scattered = [[(draw, cell) in places for cell in range(12)] for draw in range(12)]
    one_draw = [[draw == 3] * 12 for draw in range(12)]
    one_cell = [[cell == 3 for cell in range(12)] for draw in range(12)]
    rates = [made_tally(flags).rates["LOST"] for flags in (scattered, one_draw, one_cell)]
    exact = clopper_pearson(12, 144)
    assert all(rate.exact == pytest.approx(exact) for rate in rates)
    widths = [rate.clustered[1] - rate.clustered[0] for rate in rates]
    # A draw, or a cell, that loses everything is one event and not twelve.
    assert widths[1] == pytest.approx(widths[2])
    assert widths[1] > 2 * widths[0]
    assert all(rate.clustered[0] <= exact[0] and rate.clustered[1] >= exact[1] for rate in rates)


def test_an_interval_never_comes_from_fewer_trials_than_there_are_draws():
    (rate,) = [rate_of([made_case(Planned("seed", 1), "a", "FAILS")], [True])]
    assert rate.exact == rate.clustered == pytest.approx((0.025, 1.0))
    assert rate_of([], []).clustered == (0.0, 1.0)


def test_runs_of_one_number_share_a_draw():
    kinds = ("seed", "batches", "bf16", "sdpa")
    cases = [
        made_case(Planned(kind, number), f"cell {cell}")
        for kind in kinds
        for number in (1, 2)
        for cell in range(50)
    ]
    rate = rate_of(cases, [False] * len(cases))
    assert rate.trials == 400
    assert rate.clustered[1] == pytest.approx(1 - math.sqrt(0.025))


# What is complained about


def alarms_of(tally):
    return Alarms({"seed": tally}, {"seed": 0}, {"seed": 1}, {}, {})


def test_lost_claim_runs_are_complained_about_when_they_are_surely_too_many():
    few = [[cell == draw for cell in range(60)] for draw in range(20)]
    many = [[cell % 10 == draw % 10 for cell in range(60)] for draw in range(20)]
    one, other = made_tally(few), made_tally(many)
    assert one.rates["LOST"].share > TOLERATED > one.rates["LOST"].clustered[0]
    assert alarms_of(one).complaints == ()
    (said,) = alarms_of(other).complaints
    assert "LOST" in said
    assert "10.0%" in said


def test_one_claim_that_fails_is_complained_about():
    cases = [made_case(Planned("seed", 1), f"cell {k}") for k in range(500)]
    assert alarms_of(Tally(tuple(cases))).complaints == ()
    cases.append(made_case(Planned("seed", 1), "gone", "FAILS", "UNDECIDED"))
    assert alarms_of(Tally(tuple(cases))).complaints == (
        "1 of 501 claim-runs that held came out as FAILS",
    )
    cases[-1] = made_case(Planned("seed", 1), "open", "INCONCLUSIVE", "UNDECIDED")
    assert alarms_of(Tally(tuple(cases))).complaints == ()
