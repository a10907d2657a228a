from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillwired.errors import ClaimError
from stillwired.judge import (
    Difference,
    Evidence,
    InstrumentCheck,
    Level,
    Needs,
    Obstacle,
    Steps,
    Verdict,
    Word,
    judge_cell,
)


@pytest.mark.parametrize(
    ("effect", "word"), [(0.2, Word.HOLDS), (-0.2, Word.FAILS), (0.02, Word.INCONCLUSIVE)]
)
def test_the_plain_interval_decides(claim, evidence, effect, word):
    verdict = judge_cell(claim(primary={"ahead": 1}), evidence(effect), {"ahead": 1})
    assert verdict.verdict is word
    assert verdict.estimate == pytest.approx(effect)
    assert verdict.low < effect < verdict.high
    assert (verdict.n, verdict.clusters, verdict.least) == (320, 40, "0.02")
    assert verdict.primary
    assert verdict.key == "future-lens/linear-beats-bigram[ahead=1]"
    assert (verdict.p_fail <= 0.05) == (word is Word.FAILS)
    assert bool(verdict.reason) == (word is not Word.HOLDS)


def test_a_dead_mechanism_fails_and_says_so(claim, evidence):
    verdict = judge_cell(claim(), evidence(0.0, clusters=10), {})
    assert verdict.verdict is Word.INCONCLUSIVE
    assert verdict.reason == "about 14 documents more would settle it"
    verdict = judge_cell(claim(), evidence(0.0, clusters=100), {})
    assert verdict.verdict is Word.FAILS
    assert "expected at least 0.02" in verdict.reason


def test_the_number_of_documents_comes_from_the_effect_and_not_from_the_estimate(claim, evidence):
    near, far = (judge_cell(claim(), evidence(e, clusters=10), {}).reason for e in (0.0, 0.03))
    assert near == far
    assert "documents more" in near
    wider = claim(expects=(Difference("linear", "bigram", at_least=0.01),))
    assert "documents more" in judge_cell(wider, evidence(0.0, clusters=10), {}).reason
    assert judge_cell(wider, evidence(0.0, clusters=10), {}).reason != near


def test_other_units_are_named(claim, evidence):
    verdict = judge_cell(claim(unit="word pairs"), evidence(0.0, clusters=10), {})
    assert "word pairs more" in verdict.reason


def test_enough_clusters_at_the_edge_are_not_asked_for_more(claim, evidence):
    verdict = judge_cell(claim(), evidence(0.02, clusters=400), {})
    assert verdict.verdict is Word.INCONCLUSIVE
    assert "lies near the edge (0.02)" in verdict.reason


def test_below_eight_clusters_nothing_holds(claim, evidence):
    verdict = judge_cell(claim(), evidence(5.0, clusters=7), {})
    assert verdict.verdict is Word.INCONCLUSIVE
    assert "only 7 documents" in verdict.reason
    assert judge_cell(claim(), evidence(5.0, clusters=8), {}).verdict is Word.HOLDS
    assert judge_cell(claim(), evidence(-5.0, clusters=7), {}).verdict is Word.FAILS


@pytest.mark.parametrize(
    ("kind", "word"), [("instrument", Word.BROKEN), ("ability", Word.NOT_APPLICABLE)]
)
def test_what_could_not_be_measured_is_decided_by_what_stood_in_the_way(claim, kind, word):
    """Nothing that the claim declares is asked for: no arm, no ability, no null."""
    declared = claim(applies=(Needs("top-1", 0.3),), null="shuffled", primary={"ahead": 1})
    evidence = Evidence({}, obstacle=Obstacle(kind, "parts", "Mamba has no heads."))
    verdict = judge_cell(declared, evidence, {"ahead": 1})
    assert verdict.verdict is word
    assert verdict.reason == "Mamba has no heads."
    assert (verdict.primary, verdict.params) == (True, {"ahead": 1})
    (check,) = verdict.checks
    assert (check.kind, check.name, check.passed) == (kind, "parts", False)
    assert check.detail == verdict.reason
    assert (verdict.estimate, verdict.p_fail, verdict.n, verdict.parts) == (None, None, 0, ())
    assert Verdict.from_json(json.loads(json.dumps(verdict.to_json()))) == verdict


def test_an_obstacle_stands_alone_and_says_why(evidence):
    obstacle = Obstacle("instrument", "repeated", "0.3 against 0.4")
    with pytest.raises(ClaimError, match="one or the other"):
        evidence(obstacle=obstacle)
    with pytest.raises(ClaimError, match="one or the other"):
        Evidence({}, facts={"rank": 3}, obstacle=obstacle)
    with pytest.raises(ClaimError, match="one or the other"):
        Evidence({}, instrument=(InstrumentCheck("adds up", True),), obstacle=obstacle)
    with pytest.raises(ClaimError, match="kind 'weather'"):
        Obstacle("weather", "rain", "It rains.")
    with pytest.raises(ClaimError, match="gives no reason"):
        Obstacle("ability", "parts", " ")


def test_a_failed_instrument_check_breaks_the_cell_whatever_the_figures(claim, evidence):
    checks = (InstrumentCheck("identities", True), InstrumentCheck("finite", False, "3 NaN"))
    verdict = judge_cell(claim(), evidence(0.2, instrument=checks), {})
    assert verdict.verdict is Word.BROKEN
    assert verdict.reason == "instrument check failed: finite: 3 NaN"
    assert [check.passed for check in verdict.checks] == [True, False]
    assert verdict.estimate is None
    passed = judge_cell(claim(), evidence(0.2, instrument=checks[:1]), {})
    assert passed.verdict is Word.HOLDS


@pytest.mark.parametrize(
    ("mean", "effect", "word"),
    [
        (0.9, 0.2, Word.HOLDS),
        (0.9, -0.2, Word.FAILS),
        (0.1, 0.2, Word.NOT_APPLICABLE),
        (0.1, -0.2, Word.NOT_APPLICABLE),
        (0.3, 0.2, Word.INCONCLUSIVE),
        (0.3, -0.2, Word.INCONCLUSIVE),
    ],
)
def test_a_claim_applies_only_where_the_ability_is_shown(
    claim, evidence, outcome, noisy, mean, effect, word
):
    declared = claim(applies=(Needs("right in context", 0.3),))
    ability = {"right in context": outcome("ability", noisy(mean), prefix="other")}
    verdict = judge_cell(declared, evidence(effect, ability=ability), {})
    assert verdict.verdict is word
    assert verdict.checks[0].kind == "ability"
    assert verdict.checks[0].passed is {0.9: True, 0.1: False, 0.3: None}[mean]
    if word is Word.NOT_APPLICABLE:
        assert verdict.reason == "0.100 (0.087 … 0.113) right in context, 0.3 needed"
        assert verdict.p_fail is None
    if word is Word.INCONCLUSIVE:
        assert verdict.reason.startswith("undecided while right in context may be below 0.3: 0.3")
        assert verdict.p_fail == 1


def test_an_ability_that_is_clearly_missing_is_enough(claim, evidence, outcome, noisy):
    """What costs more to measure may be left out then, and only then."""
    declared = claim(
        applies=(Needs("right in context", 0.3), Needs("rate", at_most=0.1, otherwise="undecided")),
        null="labels shuffled",
        sensitivity=0.05,
    )
    weak, fair, large = (outcome("able", noisy(mean), prefix="o") for mean in (0.1, 0.3, 0.9))
    alone = judge_cell(declared, Evidence({}, ability={"right in context": weak}), {})
    whole = judge_cell(declared, evidence(ability={"right in context": weak, "rate": weak}), {})
    assert alone.verdict is whole.verdict is Word.NOT_APPLICABLE
    assert alone.reason == whole.reason
    for ability in ({}, {"right in context": fair}, {"right in context": large}, {"rate": large}):
        with pytest.raises(ClaimError, match="which was not measured"):
            judge_cell(declared, Evidence({}, ability=ability), {})


@pytest.mark.parametrize(
    ("mean", "effect", "word"),
    [
        (0.0, 0.2, Word.HOLDS),
        (0.0, -0.2, Word.FAILS),
        (0.5, 0.2, Word.INCONCLUSIVE),
        (0.5, -0.2, Word.INCONCLUSIVE),
        (0.1, 0.2, Word.INCONCLUSIVE),
    ],
)
def test_a_measurement_that_falls_short_leaves_the_claim_undecided(
    claim, evidence, outcome, noisy, mean, effect, word
):
    """A learning curve that still climbs, for example: not the model's inability."""
    declared = claim(applies=(Needs("gain", at_most=0.1, otherwise="undecided"),))
    ability = {"gain": outcome("gain", noisy(mean), prefix="other")}
    verdict = judge_cell(declared, evidence(effect, ability=ability), {})
    assert verdict.verdict is word
    assert verdict.checks[0].passed is {0.0: True, 0.5: False, 0.1: None}[mean]
    if word is Word.INCONCLUSIVE:
        verb = {0.5: "exceeds", 0.1: "may exceed"}[mean]
        assert verdict.reason.startswith(f"undecided while gain {verb} 0.1: {mean:.3f} (")
        assert verdict.p_fail == 1


@pytest.mark.parametrize("mean", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("effect", [0.2, 0.02, -0.2])
@pytest.mark.parametrize(("otherwise", "kept_from"), [("not held", 0.2), ("not failed", -0.2)])
def test_a_measurement_that_falls_short_on_one_side_decides_the_other(
    claim, evidence, outcome, noisy, mean, effect, otherwise, kept_from
):
    """More text would improve a rival, so that a lead can only shrink; or the arm itself."""
    declared = claim(applies=(Needs("gain", at_most=0.1, otherwise=otherwise),))
    ability = {"gain": outcome("gain", noisy(mean), prefix="other")}
    verdict = judge_cell(declared, evidence(effect, ability=ability), {})
    without = judge_cell(claim(), evidence(effect), {})
    words = {0.2: Word.HOLDS, 0.02: Word.INCONCLUSIVE, -0.2: Word.FAILS}
    assert without.verdict is words[effect]
    if mean > 0 and effect == kept_from:
        verb = {0.5: "exceeds", 0.1: "may exceed"}[mean]
        assert verdict.reason.startswith(f"undecided while gain {verb} 0.1: {mean:.3f} (")
        assert (verdict.verdict, verdict.p_fail) == (Word.INCONCLUSIVE, 1)
    else:
        kept = ("verdict", "reason", "p_fail")
        assert [getattr(verdict, name) for name in kept] == [
            getattr(without, name) for name in kept
        ]


def test_several_open_needs_are_said_in_one_short_sentence(claim, evidence, outcome, noisy):
    """The limit is repeated only where it is another one."""
    declared = claim(
        applies=(
            Needs("gain of a", at_most=0.01, otherwise="undecided"),
            Needs("gain of b", at_most=0.01, otherwise="undecided"),
            Needs("variety", at_least=4, unit="bits"),
        )
    )
    ability = {
        "gain of a": outcome("a", noisy(0.013), prefix="other"),
        "gain of b": outcome("b", noisy(-0.0004, sd=0.2), prefix="other"),
        "variety": outcome("variety", noisy(4, sd=2), prefix="other"),
    }
    assert judge_cell(declared, evidence(0.2, ability=ability), {}).reason == (
        "undecided while gain of a may exceed 0.01: 0.013 (0.000 … 0.026); "
        "gain of b: 0.00 (−0.03 … 0.03); variety may be below 4 bits: 4.0 (3.7 … 4.3)"
    )


def test_reasons_write_the_minus_as_the_table_does(claim, evidence):
    reason = judge_cell(claim(), evidence(-0.2, clusters=100), {}).reason
    assert reason.startswith("linear − bigram is −0.200 (−0.2")
    assert "-" not in reason
    band = claim(expects=(Difference("linear", "bigram", between=(-0.1, 0.1)),))
    reason = judge_cell(band, evidence(-0.2, clusters=100), {}).reason
    assert reason.endswith("expected −0.10 … 0.10")


@pytest.mark.parametrize(
    ("shown", "effect", "word"),
    [
        (0.0, 0.2, Word.HOLDS),
        (0.2, 0.2, Word.BROKEN),
        (0.2, -0.2, Word.BROKEN),
        (0.02, 0.2, Word.INCONCLUSIVE),
        (0.02, -0.2, Word.FAILS),
    ],
)
def test_a_null_that_shows_the_effect_breaks_the_claim(
    claim, evidence, outcome, noisy, shown, effect, word
):
    declared = claim(null="states shuffled across documents")
    bare = evidence(effect, minus=0.0, clusters=100)
    null = {"linear": outcome("shuffled", noisy(shown, clusters=100, seed=3))}
    verdict = judge_cell(declared, replace(bare, null=null), {})
    assert verdict.verdict is word
    check = verdict.checks[0]
    assert check.kind == "null"
    assert check.passed is {0.0: True, 0.2: False, 0.02: None}[shown]
    assert check.estimate == pytest.approx(shown)
    if word in {Word.BROKEN, Word.INCONCLUSIVE}:
        assert "states shuffled across documents" in verdict.reason
    assert verdict.estimate == pytest.approx(effect), "the claim's own figures stay visible"


def test_rivals_are_beaten_or_the_claim_fails(claim, evidence, outcome, noisy):
    declared = claim(rivals=("floor",))

    def against(level):
        arms = {"floor": outcome("floor", noisy(level, clusters=100, seed=5))}
        return judge_cell(declared, evidence(0.2, clusters=100, arms=arms), {})

    assert against(0.1).verdict is Word.HOLDS
    lost = against(0.3)
    assert lost.verdict is Word.FAILS
    assert lost.estimate == pytest.approx(-0.1)
    assert lost.least == "> 0"
    tied = against(0.2)
    assert tied.verdict is Word.INCONCLUSIVE
    assert [part.name for part in tied.parts] == ["linear − bigram", "linear − floor (rival)"]


def test_a_rival_is_no_part_of_the_null(claim, evidence, outcome, noisy):
    """A null that shows the effect is BROKEN even if it loses to a rival."""
    declared = claim(rivals=("floor",), null="shuffled")
    bare = evidence(0.3, arms={"floor": outcome("floor", noisy(0.2, seed=5))})
    null = {"linear": outcome("shuffled", noisy(0.1, seed=6))}
    assert judge_cell(declared, replace(bare, null=null), {}).verdict is Word.BROKEN


@pytest.mark.parametrize(
    ("middle", "word", "estimate"),
    [
        ({"0.3": 0.5, "0.5": 0.4}, Word.HOLDS, 0.4),
        ({"0.3": 0.5, "0.5": -0.4}, Word.FAILS, -0.4),
        ({"0.3": 0.5, "0.5": 0.02}, Word.INCONCLUSIVE, 0.02),
        ({"0.3": -0.1, "0.5": -0.4}, Word.FAILS, -0.4),
        ({"0.3": 0.02, "0.5": -0.4}, Word.FAILS, -0.4),
    ],
)
def test_the_worst_part_decides_and_is_reported(
    claim, evidence, outcome, noisy, middle, word, estimate
):
    family = {k: outcome(k, noisy(v, clusters=100, seed=8)) for k, v in middle.items()}
    arms = {"linear": family, "bigram": outcome("bigram", noisy(0, clusters=100, seed=9))}
    verdict = judge_cell(claim(), Evidence(arms), {})
    assert verdict.verdict is word
    assert verdict.estimate == pytest.approx(estimate)
    assert [part.name for part in verdict.parts] == [f"linear − bigram [{k}]" for k in middle]
    least = min(part.p_fail for part in verdict.parts)
    assert verdict.p_fail == pytest.approx(min(1, 2 * least)), "Bonferroni over the parts"


def test_parts_of_different_units_are_compared_by_their_own_noise(claim, outcome, noisy):
    declared = claim(
        expects=(Level("nats", at_least=1), Level("rate", at_least=0.01)),
    )
    arms = {
        "nats": outcome("nats", noisy(3, sd=0.1)),  # far above its edge
        "rate": outcome("rate", noisy(0.05, sd=0.1, seed=2)),  # near it
    }
    assert judge_cell(declared, Evidence(arms), {}).estimate == pytest.approx(0.05)


def test_two_families_are_paired_by_label(claim, outcome, noisy):
    def family(levels, seed):
        return {k: outcome(k, noisy(v, seed=seed)) for k, v in levels.items()}

    linear = family({"a": 1.0, "b": 2.0}, 1)
    arms = {"linear": linear, "bigram": family({"b": 1.0, "a": 0.5}, 2)}
    verdict = judge_cell(claim(), Evidence(arms), {})
    assert [part.estimate for part in verdict.parts] == pytest.approx([0.5, 1.0])
    arms["bigram"] = family({"a": 0.5}, 2)
    with pytest.raises(ClaimError, match="'b' occurs in only one"):
        judge_cell(claim(), Evidence(arms), {})


def test_steps_look_at_every_rise_of_a_family(claim, outcome, noisy):
    declared = claim(expects=(Steps("bands", at_most=0.3),))

    def bands(*levels):
        family = {f"{k}": outcome(f"{k}", noisy(v, seed=k)) for k, v in enumerate(levels)}
        return judge_cell(declared, Evidence({"bands": family}), {})

    falling = bands(3.0, 2.0, 2.1)
    assert falling.verdict is Word.HOLDS
    assert [part.estimate for part in falling.parts] == pytest.approx([-1.0, 0.1])
    assert falling.parts[1].name == "steps of bands [1 → 2]"
    assert bands(3.0, 2.0, 2.5).verdict is Word.FAILS
    with pytest.raises(ClaimError, match="fewer than two members"):
        bands(3.0)


def equivalence(claim, **more):
    expects = (Difference("linear", "vocab", within=0.05),)
    return claim(expects=expects, **{"sensitivity": 0.05, **more})


@pytest.mark.parametrize(
    ("difference", "clusters", "word"),
    [
        (0.0, 200, Word.HOLDS),
        (0.2, 200, Word.FAILS),
        (-0.2, 200, Word.FAILS),
        (0.0, 8, Word.INCONCLUSIVE),
    ],
)
def test_no_difference_has_to_be_shown(claim, outcome, noisy, difference, clusters, word):
    arms = {
        "linear": outcome("linear", noisy(difference, sd=0.3, clusters=clusters, seed=1)),
        "vocab": outcome("vocab", noisy(0, sd=0.3, clusters=clusters, seed=2)),
    }
    far = noisy(math.copysign(0.5, difference), sd=0.1, clusters=clusters, seed=3)
    apart = replace(arms["linear"], scores=arms["linear"].scores + far)
    verdict = judge_cell(equivalence(claim), Evidence(arms, planted={"linear": apart}), {})
    assert verdict.verdict is word
    assert verdict.least == "±0.05"
    assert verdict.checks[0].kind == "sensitivity"
    assert verdict.checks[0].passed


@pytest.mark.parametrize(("spread", "words"), [(0.01, {Word.HOLDS}), (1.5, {Word.BROKEN})])
def test_a_least_effect_may_have_to_be_measured_finely(claim, outcome, noisy, spread, words):
    arms = {
        "linear": outcome("linear", noisy(0.5, sd=spread, clusters=40, seed=1)),
        "bigram": outcome("bigram", noisy(0, sd=spread, clusters=40, seed=2)),
    }
    expects = (Difference("linear", "bigram", at_least=0.005),)
    verdict = judge_cell(claim(expects=expects, sensitivity=0.02), Evidence(arms), {})
    assert {verdict.verdict} == words
    (check,) = [check for check in verdict.checks if check.kind == "sensitivity"]
    assert check.passed is (verdict.verdict is Word.HOLDS)
    # Turned round, the effect has the declared size below zero.
    assert check.high - check.low == pytest.approx(verdict.high - verdict.low) or words == {
        Word.BROKEN
    }
    assert (check.low + check.high) / 2 == pytest.approx(-0.02, abs=0.3 * (check.high - check.low))


@pytest.mark.parametrize(("level", "word"), [(0.3, Word.HOLDS), (0.0, Word.FAILS)])
def test_agreement_of_dead_arms_is_no_finding(claim, outcome, level, word):
    """With a least effect beside it, nothing need be planted."""
    hits, _ = readings(outcome, rate=level)
    expects = (Difference("linear", "vocab", within=0.05), Level("vocab", at_least=0.1))
    verdict = judge_cell(claim(expects=expects), Evidence({"linear": hits, "vocab": hits}), {})
    assert verdict.verdict is word
    assert verdict.parts[0].word is Word.HOLDS
    assert not verdict.checks


def readings(outcome, rate=0.3, rows=1600):
    """Hits of two readers that agree, and what spoils a share of all rows."""
    rng = np.random.default_rng(0)
    hits = (rng.random(rows) < rate).astype(float)

    def spoilt(share, change=0.0):
        scores = hits.copy()
        chosen = np.flatnonzero(hits != change)
        scores[rng.permutation(chosen)[: round(share * rows)]] = change
        return outcome("planted", scores)

    return outcome("hits", hits), spoilt


@pytest.mark.parametrize(
    ("spoils", "gains", "word", "moved"),
    [
        (0.05, 0.0, Word.HOLDS, "−0.050"),  # one arm loses the whole limit
        (0.0, 0.05, Word.HOLDS, "0.050"),  # or gains it
        (0.03, 0.03, Word.HOLDS, "−0.060"),  # or both arms move apart
        (0.0, 0.0, Word.BROKEN, "0.000"),  # nothing was planted
        (0.02, 0.0, Word.BROKEN, "−0.020"),  # it moves clearly, and the claim would still hold
    ],
)
def test_with_the_planted_arms_the_claim_must_not_hold(claim, outcome, spoils, gains, word, moved):
    agreed, spoilt = readings(outcome)
    planted = {}
    if spoils or not gains:
        planted["linear"] = spoilt(spoils)
    if gains:
        planted["vocab"] = spoilt(gains, change=1.0)
    if not spoils and gains:
        planted = {"linear": planted["vocab"]}
    arms = {"linear": agreed, "vocab": agreed}
    verdict = judge_cell(equivalence(claim), Evidence(arms, planted=planted), {})
    assert verdict.verdict is word
    check = verdict.checks[-1]
    assert (check.kind, check.name) == ("sensitivity", "planted arms")
    assert check.passed is (word is Word.HOLDS)
    assert f"with the planted arms, moved by {moved} (" in check.detail
    assert ("a planted difference goes unnoticed" in verdict.reason) is (word is Word.BROKEN)


@pytest.mark.parametrize(("change", "word"), [(0.0, Word.BROKEN), (1.0, Word.HOLDS)])
def test_a_difference_planted_in_the_wrong_direction_breaks_the_claim(claim, outcome, change, word):
    """Where one reader is ahead by 0.03, spoiling it by 0.05 brings the two closer again."""
    agreed, spoilt = readings(outcome)
    behind = spoilt(0.03)
    planted = {"linear": spoilt(0.05, change=change)}
    arms = {"linear": agreed, "vocab": behind}
    verdict = judge_cell(equivalence(claim), Evidence(arms, planted=planted), {})
    assert verdict.verdict is word
    assert verdict.parts[0].word is Word.HOLDS
    assert verdict.checks[-1].passed is (change == 1.0)


def test_dead_readers_agree_perfectly_and_are_found(claim, outcome):
    """Planting into a dead reader moves nothing."""
    dead = outcome("dead", np.zeros(1600))
    blind = Evidence({"linear": dead, "vocab": dead}, planted={"linear": dead})
    verdict = judge_cell(equivalence(claim), blind, {})
    assert verdict.verdict is Word.BROKEN
    assert "a planted difference goes unnoticed" in verdict.reason


def test_families_are_planted_by_label(claim, outcome):
    agreed, spoilt = readings(outcome)
    family = {"early": agreed, "late": agreed}
    arms = {"linear": family, "vocab": family}

    def judged(**planted):
        return judge_cell(equivalence(claim), Evidence(arms, planted={"linear": planted}), {})

    good = judged(late=spoilt(0.06), early=spoilt(0.05))  # in another order
    assert good.verdict is Word.HOLDS
    early, late = good.checks[-2:]
    assert "[early] is −0.050" in early.detail
    assert "[late] is −0.060" in late.detail
    none = judged(early=agreed, late=agreed)
    assert none.reason.count("a planted difference goes unnoticed") == 1
    assert "[early]" in none.reason
    assert "[late]" in none.reason
    half = judged(early=spoilt(0.05), late=agreed)
    assert half.verdict is Word.BROKEN
    assert "[late]" in half.reason
    assert "[early]" not in half.reason
    # The label that is left out of both families would be skipped.
    one = {"early": spoilt(0.05)}
    both = Evidence(arms, planted={"linear": one, "vocab": {"early": agreed}})
    with pytest.raises(ClaimError, match="other members than those they replace"):
        judge_cell(equivalence(claim), both, {})


def test_arms_planted_where_nothing_is_compared_for_agreement_are_an_error(claim, outcome):
    agreed, spoilt = readings(outcome)
    declared = equivalence(claim)
    declared = replace(declared, expects=(*declared.expects, Level("bigram", at_least=0.1)))
    arms = {"linear": agreed, "vocab": agreed, "bigram": agreed}
    with pytest.raises(ClaimError, match="which no expectation of no difference compares"):
        judge_cell(declared, Evidence(arms, planted={"bigram": spoilt(0.1)}), {})


def test_identical_continuous_arms_fail_a_difference(claim, outcome, noisy):
    """An edit that does nothing leaves every row as it was; that is no lack of data."""
    same = outcome("same", noisy(0.3, sd=0.1, clusters=400))
    verdict = judge_cell(claim(), Evidence({"linear": same, "bigram": same}), {})
    assert verdict.verdict is Word.FAILS


def test_a_level_that_never_varies_is_not_judged(claim, outcome):
    declared = claim(expects=(Level("arm", at_least=0.1),))
    arm = outcome("arm", np.full(320, 3.7))
    verdict = judge_cell(declared, Evidence({"arm": arm}), {})
    assert verdict.verdict is Word.INCONCLUSIVE
    assert (verdict.low, verdict.high) == (None, None)
    assert "no measure of chance" in verdict.reason


def only_reported(claim, *expects, **more):
    expects = expects or (Difference("linear", "bigram", reported=True),)
    return claim(expects=expects, **{"margin": None, "mutant": None, **more})


@pytest.mark.parametrize("effect", [0.2, 0.0, -0.2])
@pytest.mark.parametrize("clusters", [7, 40])
def test_without_a_threshold_the_estimate_is_all_there_is(claim, evidence, effect, clusters):
    declared = only_reported(claim, primary={"ahead": 1})
    verdict = judge_cell(declared, evidence(effect, clusters=clusters), {"ahead": 1})
    assert verdict.verdict is Word.REPORTED
    assert verdict.estimate == pytest.approx(effect)
    assert verdict.low < effect < verdict.high
    assert (verdict.n, verdict.clusters) == (8 * clusters, clusters)
    assert (verdict.least, verdict.reason, verdict.p_fail) == ("", "", None)
    assert (verdict.primary, verdict.reported) == (False, True)
    (part,) = verdict.parts
    assert (part.word, part.least, part.p_fail) == (Word.REPORTED, "", 1.0)


def test_the_first_part_leads_a_report(claim, outcome, noisy):
    declared = only_reported(
        claim,
        Level("late", reported=True),
        Level("early", reported=True),
        Steps("u", reported=True),
    )
    levels = {"late": 3.0, "early": -1.0}
    arms = {name: outcome(name, noisy(level)) for name, level in levels.items()}
    arms["u"] = {"0.1": arms["late"], "0.5": arms["early"]}
    verdict = judge_cell(declared, Evidence(arms), {})
    assert verdict.estimate == pytest.approx(3.0)
    assert [part.estimate for part in verdict.parts] == pytest.approx([3.0, -1.0, -4.0])


def test_a_report_of_what_never_varies_has_no_interval(claim, outcome):
    declared = only_reported(claim, Level("arm", reported=True))
    verdict = judge_cell(declared, Evidence({"arm": outcome("arm", np.full(320, 3.7))}), {})
    assert verdict.verdict is Word.REPORTED
    assert (verdict.estimate, verdict.low, verdict.high) == (pytest.approx(3.7), None, None)


@pytest.mark.parametrize(
    ("mean", "otherwise", "word"),
    [
        (0.9, "not applicable", Word.REPORTED),
        (0.1, "not applicable", Word.NOT_APPLICABLE),
        (0.3, "not applicable", Word.INCONCLUSIVE),
        (0.1, "undecided", Word.INCONCLUSIVE),
        (0.9, "undecided", Word.REPORTED),
        (0.1, "not held", Word.REPORTED),
        (0.1, "not failed", Word.REPORTED),
    ],
)
def test_a_report_applies_only_where_the_ability_is_shown(
    claim, evidence, outcome, noisy, mean, otherwise, word
):
    declared = only_reported(claim, applies=(Needs("top-1", 0.3, otherwise=otherwise),))
    ability = {"top-1": outcome("ability", noisy(mean), prefix="other")}
    verdict = judge_cell(declared, evidence(ability=ability), {})
    assert (verdict.verdict, verdict.reported, verdict.p_fail) == (word, True, None)
    assert bool(verdict.reason) is (word is not Word.REPORTED)
    assert (verdict.estimate is None) is (word is Word.NOT_APPLICABLE)


def test_a_report_from_a_broken_instrument_is_broken(claim, evidence):
    checks = (InstrumentCheck("finite", False, "3 NaN"),)
    verdict = judge_cell(only_reported(claim), evidence(instrument=checks), {})
    assert (verdict.verdict, verdict.estimate, verdict.reported) == (Word.BROKEN, None, True)
    obstacle = Obstacle("ability", "parts", "Mamba has no heads.")
    verdict = judge_cell(only_reported(claim), Evidence({}, obstacle=obstacle), {})
    assert (verdict.verdict, verdict.reported) == (Word.NOT_APPLICABLE, True)


def test_evidence_for_a_report_has_to_fit_as_well(claim, evidence, outcome):
    arm = outcome("arm", np.arange(16.0))
    for more in ({"null": {"linear": arm}}, {"planted": {"linear": arm}}, {"arms": {"x": arm}}):
        with pytest.raises(ClaimError):
            judge_cell(only_reported(claim), evidence(**more), {})


@pytest.mark.parametrize(
    ("effect", "word"), [(0.2, Word.HOLDS), (-0.2, Word.FAILS), (0.02, Word.INCONCLUSIVE)]
)
def test_what_stands_beside_a_verdict_is_shown_and_changes_nothing(
    claim, evidence, outcome, noisy, effect, word
):
    beside = {
        "no state": outcome("other rows", noisy(-9.0, clusters=10), prefix="other"),
        "rate": {"0.9": outcome("r", np.ones(80)), "0.1": outcome("r", np.arange(80) % 2)},
    }
    facts = {"trained parameters, learned": 5760, "by": "Adam", "loss": 2.5}
    bare = judge_cell(claim(), evidence(effect), {})
    verdict = judge_cell(claim(), evidence(effect, beside=beside, facts=facts), {})
    assert verdict.verdict is word
    assert replace(verdict, beside=(), facts={}) == bare
    assert verdict.facts == facts
    first, high, low = verdict.beside
    assert [one.name for one in verdict.beside] == ["no state", "rate [0.9]", "rate [0.1]"]
    assert first.estimate == pytest.approx(-9.0)
    assert first.low < -9.0 < first.high
    assert (first.n, first.clusters) == (80, 10)
    # Hits have the intervals of hits, that of a rate of 1 included.
    assert (high.estimate, high.high) == (1.0, 1.0)
    assert 0.5 < high.low < 1.0
    assert 0.0 < low.low < low.estimate == 0.5
    assert Verdict.from_json(json.loads(json.dumps(verdict.to_json()))) == verdict


def test_what_stands_beside_is_estimated_unless_the_instrument_is_broken(
    claim, evidence, outcome, noisy
):
    """A model that lacks the ability may still show what it lacks; a broken figure shows none."""
    more = {"beside": {"no state": outcome("x", noisy(0.1))}, "facts": {"rank": 3}}
    declared = claim(applies=(Needs("top-1", 0.3),))
    ability = {"top-1": outcome("ability", noisy(0.1), prefix="other")}
    weak = judge_cell(declared, evidence(ability=ability, **more), {})
    assert weak.verdict is Word.NOT_APPLICABLE
    assert [one.name for one in weak.beside] == ["no state"]
    checks = (InstrumentCheck("finite", False, "3 NaN"),)
    broken = judge_cell(claim(), evidence(instrument=checks, **more), {})
    assert (broken.beside, broken.facts) == ((), {"rank": 3})


def test_something_else_than_outcomes_beside_is_an_error(claim, evidence):
    for beside in ({"no state": 0.3}, {"no state": {}}, {"no state": {"late": 0.3}}):
        with pytest.raises(ClaimError, match="'no state'"):
            judge_cell(claim(), evidence(beside=beside), {})


def test_evidence_that_does_not_fit_is_an_error_and_never_skipped(claim, evidence, outcome):
    arm = outcome("arm", np.arange(16.0))
    bare = evidence()
    cases = [
        (claim(), Evidence({"linear": arm}), "compares 'bigram'"),
        (claim(), evidence(arms={"linaer": arm}), "knows no arm 'linaer'"),
        (claim(rivals=("floor",)), bare, "compares 'floor'"),
        (claim(null="shuffled"), bare, "declares a null"),
        (claim(), replace(bare, null={"linear": arm}), "declares none"),
        (claim(null="x"), replace(bare, null={"other": arm}), "knows no arm for the null"),
        (claim(applies=(Needs("top-1", 0.1),)), bare, "'top-1', which was not measured"),
        (claim(), replace(bare, ability={"top-1": arm}), "knows no ability"),
        (claim(), replace(bare, planted={"linear": arm}), "no sensitivity"),
        (equivalence(claim), Evidence({"linear": arm, "vocab": arm}), "nothing was planted"),
    ]
    for declared, given_evidence, message in cases:
        with pytest.raises(ClaimError, match=message):
            judge_cell(declared, given_evidence, {})


def test_a_null_for_a_rival_alone_is_an_error(claim, evidence, outcome, noisy):
    declared = claim(rivals=("floor",), null="shuffled")
    floor = outcome("floor", noisy(0.1))
    bare = evidence(arms={"floor": floor}, null={"floor": floor})
    with pytest.raises(ClaimError, match="no expectation compares"):
        judge_cell(declared, bare, {})


@settings(max_examples=25, deadline=None)
@given(
    st.floats(-0.2, 0.3),
    st.integers(8, 60),
    st.integers(0, 99),
    st.sampled_from(["null", "no null", "reported"]),
    st.dictionaries(st.text(), st.text() | st.integers() | st.floats(-9, 9), max_size=3),
)
def test_a_verdict_survives_json_and_is_the_same_when_derived_again(
    claim, evidence, outcome, noisy, effect, clusters, seed, kind, facts
):
    arm = outcome("null", noisy(0, clusters=clusters, seed=seed))
    declared = claim(null="shuffled" if kind == "null" else None, primary={"ahead": 1})
    if kind == "reported":
        declared = only_reported(claim)
    bare = evidence(
        effect,
        clusters=clusters,
        null={"linear": arm} if kind == "null" else {},
        beside=dict.fromkeys(facts, arm),
        facts=facts,
    )
    verdict = judge_cell(declared, bare, {"ahead": 1, "depth": 0.5})
    assert Verdict.from_json(json.loads(json.dumps(verdict.to_json()))) == verdict
    again = judge_cell(type(declared).from_json(declared.to_json()), bare, verdict.params)
    assert again == verdict


def test_rows_in_another_order_give_the_same_verdict(claim, evidence):
    bare = evidence(0.05)
    order = np.random.default_rng(0).permutation(320)
    arms = dict(bare.arms)
    arm = arms["linear"]
    arms["linear"] = type(arm)(
        arm.name, arm.examples[order], arm.clusters[order], arm.scores[order]
    )
    first, second = judge_cell(claim(), bare, {}), judge_cell(claim(), Evidence(arms), {})
    assert first.verdict is second.verdict
    for name in ("estimate", "low", "high", "p_fail"):
        assert getattr(first, name) == pytest.approx(getattr(second, name), abs=1e-12)
