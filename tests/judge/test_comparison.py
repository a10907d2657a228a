from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from stillwired.errors import ClaimError
from stillwired.judge import (
    Difference,
    Evidence,
    Level,
    Needs,
    Outcome,
    Steps,
    Verdict,
    Word,
    judge_cell,
)
from stillwired.judge.changes import ChangeWord, Judged
from stillwired.judge.comparison import compare_cell
from stillwired.judge.shifts import Pairing

K, G, L, U = ChangeWord.KEPT, ChangeWord.GAINED, ChangeWord.LOST, ChangeWord.UNDECIDED
H, F, I, N, B, R = Word  # noqa: E741


@pytest.fixture
def cell(claim, outcome, noisy):
    """Builds a judged cell of free scores; means are exact, and noise is shared between cells."""

    def build(plus=0.2, minus=0.0, *, declared=None, clusters=100, sd=0.05, **more):
        arms = more.pop("arms", None) or {
            "linear": outcome("linear", noisy(plus, sd, clusters, seed=1)),
            "bigram": outcome("bigram", noisy(minus, sd, clusters, seed=2)),
        }
        # What differs between two checkpoints differs a little in every row.
        own = noisy(0.0, 0.01, clusters, seed=more.pop("seed", 3))
        first = next(iter(arms))
        if isinstance(arms[first], Outcome):
            arms[first] = replace(arms[first], scores=arms[first].scores + own)
        declared = declared or claim(primary={})
        planted = {}
        if declared.plants:
            planted = {first: replace(arms[first], scores=arms[first].scores + 9.0)}
        evidence = Evidence(arms, planted=planted, **more)
        return Judged(declared, judge_cell(declared, evidence, {}), evidence)

    return build


def level(claim, region, margin=0.03):
    return claim(expects=(Level("arm", **region),), margin=margin, sensitivity=region.get("within"))


@pytest.mark.parametrize(
    # At +m it is not yet a gain, and no loss.
    ("after", "word"),
    [(0.2, K), (0.19, K), (0.21, K), (0.22, K), (0.3, G), (0.1, L), (0.1801, U)],
)
def test_the_interval_of_the_change_decides(cell, after, word):
    """The margin is 0.02, and the change is known to about ±0.002."""
    change = compare_cell(cell(0.2), cell(after, seed=4))
    assert change.word is word
    assert change.decided.estimate == pytest.approx(after - 0.2)
    assert (change.decided.margin, change.decided.allowed) == (0.02, "−0.02")
    assert (change.then, change.now) == (H, H if after > 0.05 else F)
    assert (change.p_lost <= 0.05) == (word is L)


def test_a_loss_may_never_exceed_half_of_what_was_surely_there(cell, claim):
    wide = claim(margin=0.5)
    change = compare_cell(cell(0.2, declared=wide), cell(0.15, declared=wide, seed=4))
    sure = cell(0.2, declared=wide).verdict.low
    assert change.decided.margin == pytest.approx(sure / 2)
    assert change.word is K
    assert compare_cell(cell(0.2, declared=wide), cell(0.05, declared=wide, seed=4)).word is L


def test_where_nothing_was_surely_there_the_margin_counts(cell):
    change = compare_cell(cell(0.0), cell(-0.01, seed=4))
    assert change.then is F
    assert change.decided.margin == 0.02
    assert not change.held


def one_arm(mean, seed, outcome, noisy, clusters=100):
    shared, own = noisy(mean, 0.03, clusters, seed=1), noisy(0.0, 0.01, clusters, seed=seed)
    return {"arm": outcome("arm", shared + own)}


@pytest.mark.parametrize(
    ("after", "word", "allowed"), [(0.1, K, "+0.03"), (0.2, L, "+0.03"), (0.02, G, "+0.03")]
)
def test_where_low_values_are_wanted_the_sign_turns(
    cell, claim, outcome, noisy, after, word, allowed
):
    declared = level(claim, {"at_most": 0.3})
    old, new = (
        cell(declared=declared, arms=one_arm(mean, seed, outcome, noisy))
        for mean, seed in ((0.1, 3), (after, 4))
    )
    change = compare_cell(old, new)
    assert (change.word, change.decided.allowed) == (word, allowed)
    assert change.decided.estimate == pytest.approx(after - 0.1)
    assert (change.p_lost <= 0.05) == (word is L)


@pytest.mark.parametrize(("before", "after", "word"), [(0.02, 0.38, L), (-0.4, -0.28, K)])
def test_where_little_is_tolerated_half_of_that_may_come_in(
    cell, claim, outcome, noisy, before, after, word
):
    """Wherever it was before: a wide margin, meant for other parts, excuses nothing here."""
    declared = level(claim, {"at_most": 0.3}, margin=0.5)
    old, new = (
        cell(declared=declared, arms=one_arm(mean, seed, outcome, noisy))
        for mean, seed in ((before, 3), (after, 4))
    )
    change = compare_cell(old, new)
    assert (change.word, change.decided.allowed) == (word, "+0.15")


def test_where_low_values_are_wanted_half_of_what_is_surely_below_zero_counts(
    cell, claim, outcome, noisy
):
    declared = level(claim, {"at_most": -0.05}, margin=0.5)
    old, new = (
        cell(declared=declared, arms=one_arm(mean, seed, outcome, noisy))
        for mean, seed in ((-0.2, 3), (-0.15, 4))
    )
    assert compare_cell(old, new).decided.margin == pytest.approx(-old.verdict.high / 2)


@pytest.mark.parametrize("region", [{"between": (0.0, 0.4)}, {"within": 0.4}])
@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        (0.2, 0.2, K),
        (0.2, 0.19, K),
        (0.2, 0.3, L),  # still in the region, but elsewhere
        (0.2, 0.1, L),
        (0.2, 0.23, U),
        (0.6, 0.5, G),  # towards the region, from outside of it
        (0.6, 0.2, G),
        (0.6, 0.7, L),
        (-0.5, -0.4 + 0.85, G),  # past it, and nearer on the other side
        (-0.45, 0.9, L),  # past it, and farther
        (0.6, 0.6, K),
    ],
)
def test_bands_have_two_sides(cell, claim, outcome, noisy, region, before, after, word):
    declared = level(claim, region)
    old, new = (
        cell(declared=declared, arms=one_arm(mean, seed, outcome, noisy))
        for mean, seed in ((before, 3), (after, 4))
    )
    change = compare_cell(old, new)
    assert change.word is word
    assert change.decided.allowed == "±0.03"
    assert (change.p_lost <= 0.05) == (word is L)


def test_no_difference_has_nothing_to_lose_half_of(cell, claim, outcome, noisy):
    """A difference of 0.01 within ± 0.4 may become one of 0.02, its interval being far above 0."""
    declared = level(claim, {"within": 0.4})
    old, new = (
        cell(declared=declared, arms=one_arm(mean, seed, outcome, noisy))
        for mean, seed in ((0.01, 3), (0.02, 4))
    )
    assert old.verdict.low > 0
    assert compare_cell(old, new).word is K
    band = level(claim, {"between": (0.0, 0.4)})
    assert compare_cell(replace(old, claim=band), replace(new, claim=band)).word is not K


FAMILY = {"first": 0.1, "middle": 0.2, "late": 0.4}


@pytest.mark.parametrize(
    ("changes", "word", "decided"),
    [
        ({}, K, None),
        ({"late": 0.3}, G, "arm [late]"),  # one gained, the others kept
        ({"late": 0.3, "first": -0.02}, U, "arm [first]"),
        ({"late": 0.3, "first": -0.02, "middle": -0.1}, L, "arm [middle]"),
        ({"middle": -0.1, "first": -0.15}, L, "arm [first]"),
        ({"late": 0.015}, K, None),
    ],
)
def test_the_worst_part_decides(cell, claim, outcome, noisy, changes, word, decided):
    declared = claim(expects=(Level("arm", at_least=0.01),))
    sides = []
    for seed, by in ((3, {}), (13, changes)):
        family = {
            label: outcome(label, noisy(mean + by.get(label, 0.0), 0.02, 100, seed=seed + k))
            for k, (label, mean) in enumerate(FAMILY.items())
        }
        sides.append(cell(declared=declared, arms={"arm": family}))
    change = compare_cell(*sides)
    assert [part.name for part in change.parts] == [f"arm [{label}]" for label in FAMILY]
    assert change.word is word
    if decided:
        assert change.decided.name == decided
        assert change.reason.startswith(decided)
    assert change.p_lost == pytest.approx(min(1, 3 * min(part.p_lost for part in change.parts)))


def test_steps_keep_their_order(cell, claim, outcome, noisy):
    declared = claim(expects=(Steps("arm", at_least=0.01),))

    def family(last, seed):
        means = {"a": 0.1, "b": 0.3, "c": last}
        return {
            "arm": {
                label: outcome(label, noisy(mean, 0.02, 100, seed=seed + k))
                for k, (label, mean) in enumerate(means.items())
            }
        }

    change = compare_cell(
        cell(declared=declared, arms=family(0.5, 3)), cell(declared=declared, arms=family(0.4, 9))
    )
    assert [round(part.estimate, 3) for part in change.parts] == [0.0, -0.1]
    assert (change.word, change.decided.name) == (L, "steps of arm [b → c]")


def test_rivals_are_no_part_of_what_is_compared(cell, claim, outcome, noisy):
    declared = claim(rivals=("copy",))

    def arms(copy):
        return {
            "linear": outcome("linear", noisy(0.2, 0.05, 100, seed=1)),
            "bigram": outcome("bigram", noisy(0.0, 0.05, 100, seed=2)),
            "copy": outcome("copy", noisy(copy, 0.05, 100, seed=5)),
        }

    old = cell(declared=declared, arms=arms(0.0))
    tied = compare_cell(old, cell(declared=declared, arms=arms(0.19), seed=4))
    assert (tied.word, tied.explained, len(tied.parts)) == (K, False, 1)
    beaten = compare_cell(old, cell(declared=declared, arms=arms(0.4), seed=4))
    assert (beaten.word, beaten.now, beaten.explained) == (K, F, True)
    assert beaten.reason == "a rival explains it now: linear − copy (rival) is below 0"
    # A baseline keeps no rivals.
    bare = Evidence({name: old.evidence.arms[name] for name in ("linear", "bigram")})
    assert (
        compare_cell(replace(old, evidence=bare), cell(declared=declared, arms=arms(0.0))).word is K
    )


# What can be said without figures.


def verdict(word, version=1, **more):
    return Verdict("future-lens/linear-beats-bigram", version, {}, True, word, "because", **more)


def bare(claim, word, version=1, **changes):
    return Judged(claim(version=version, **changes), verdict(word, version), Evidence({}))


def test_a_cell_that_is_missing_is_lost_if_it_held(claim):
    lost = compare_cell(bare(claim, H), None)
    assert (lost.word, lost.cause, lost.then, lost.now) == (L, "missing", H, None)
    for word in (F, I, N, B):
        change = compare_cell(bare(claim, word), None)
        assert (change.word, change.cause) == (ChangeWord.NOT_COMPARED, "")
        assert change.reason == "not judged now"


def test_an_ability_that_is_gone_is_a_loss_if_the_claim_held(claim):
    lost = compare_cell(bare(claim, H), bare(claim, N))
    assert (lost.word, lost.cause, lost.reason) == (L, "ability", "because")
    for word in (F, I, N, B):
        assert compare_cell(bare(claim, word), bare(claim, N)).word is ChangeWord.NOT_COMPARED


@pytest.mark.parametrize("before", [H, F, I, N, B, R, None])
def test_what_is_broken_stays_broken_whatever_it_was(claim, before):
    old = None if before is None else bare(claim, before)
    change = compare_cell(old, bare(claim, B))
    assert (change.word, change.reason) == (ChangeWord.BROKEN, "because")


@pytest.mark.parametrize("word", [H, F, I, N, R])
def test_a_cell_without_a_counterpart_is_new(claim, word):
    change = compare_cell(None, bare(claim, word))
    assert (change.word, change.then, change.now) == (ChangeWord.NEW, None, word)
    with pytest.raises(ClaimError, match="no cell to compare"):
        compare_cell(None, None)


@pytest.mark.parametrize("now", [H, F, N])
def test_another_version_is_not_compared(claim, now):
    change = compare_cell(bare(claim, H, 1), bare(claim, now, 2))
    assert (change.word, change.reason) == (ChangeWord.NOT_COMPARED, "version 1 then, 2 now")


@pytest.mark.parametrize(
    "declared",
    [
        {"margin": 0.5},
        {"expects": (Difference("linear", "bigram", at_least=0.01),)},
        {"rivals": ("copy",)},
        {"applies": (Needs("top-1", 0.2),)},
    ],
)
def test_another_declaration_is_not_compared_and_other_words_are(cell, claim, declared):
    change = compare_cell(bare(claim, H), bare(claim, F, **declared))
    assert change.word is ChangeWord.NOT_COMPARED
    assert change.reason == "declared otherwise under the same version"
    reworded = claim(says="Otherwise said.", published="0.3", mutant="other", unit="words")
    assert compare_cell(cell(), cell(declared=reworded, seed=4)).word is K


@pytest.mark.parametrize("before", [N, B])
def test_what_was_not_measured_then_cannot_be_compared(claim, before):
    change = compare_cell(bare(claim, before), bare(claim, H))
    assert change.word is ChangeWord.NOT_COMPARED
    assert change.reason.startswith(f"{before} then")


def test_what_is_only_reported_is_not_compared(claim):
    told = {
        "expects": (Level("linear", reported=True),),
        "margin": None,
        "mutant": None,
    }
    change = compare_cell(bare(claim, R, **told), bare(claim, R, **told))
    assert (change.word, change.reason) == (ChangeWord.NOT_COMPARED, "only reported")


def test_other_members_are_undecided_and_named(cell, claim, outcome, noisy):
    declared = claim(expects=(Level("arm", at_least=0.01),))

    def family(*labels):
        return {"arm": {name: outcome(name, noisy(0.2, seed=k)) for k, name in enumerate(labels)}}

    change = compare_cell(
        cell(declared=declared, arms=family("early", "late")),
        cell(declared=declared, arms=family("early", "last")),
    )
    assert (change.word, change.parts) == (U, ())
    assert change.reason == "the two records compare different members: arm [last], arm [late]"


# A model that got worse gains nothing.


def able(claim, outcome, noisy, effect, abilities, seed=3):
    declared = claim(
        applies=(Needs("top-1", at_least=0.1), Needs("perplexity", at_most=20.0)), margin=0.02
    )
    own = noisy(0.0, 0.01, 100, seed=seed)
    arms = {
        "linear": outcome("linear", noisy(effect, 0.05, 100, seed=1) + own),
        "bigram": outcome("bigram", noisy(0.0, 0.05, 100, seed=2)),
    }
    ability = {
        name: outcome(name, noisy(mean, sd, 100, seed=seed + 10), prefix="other")
        for (name, sd), mean in zip(
            {"top-1": 0.005, "perplexity": 0.5}.items(), abilities, strict=True
        )
    }
    evidence = Evidence(arms, ability=ability)
    return Judged(declared, judge_cell(declared, evidence, {}), evidence)


@pytest.mark.parametrize(
    ("abilities", "word", "worse"),
    [
        ((0.40, 10.0), G, ""),
        ((0.60, 5.0), G, ""),
        ((0.38, 10.0), K, "top-1"),  # worse by 0.02, a fifth of the threshold
        ((0.395, 10.0), G, ""),  # by a twentieth
        ((0.40, 13.0), K, "perplexity"),
        ((0.40, 11.0), G, ""),
        ((0.15, 18.0), K, "top-1"),
    ],
)
def test_a_degenerate_model_gains_nothing(claim, outcome, noisy, abilities, word, worse):
    old = able(claim, outcome, noisy, 0.2, (0.40, 10.0))
    new = able(claim, outcome, noisy, 0.5, abilities, seed=4)
    assert (old.verdict.verdict, new.verdict.verdict) == (H, H)
    change = compare_cell(old, new)
    assert change.word is word
    assert change.decided.word is G
    assert ("the model got worse" in change.reason) == (word is K)
    assert worse in change.reason
    # Where nothing was gained nothing is refused.
    kept = compare_cell(old, able(claim, outcome, noisy, 0.2, abilities, seed=4))
    assert (kept.word, kept.reason) == (K, "")


# How rows are put together, and what would settle it.


def test_unpaired_rows_are_said_to_be_so(cell):
    change = compare_cell(cell(0.2), cell(0.2, seed=4), Pairing(same_tokens=False))
    assert not change.decided.paired
    assert "unpaired" in change.reason
    few = cell(0.2, clusters=60, seed=4)
    change = compare_cell(cell(0.2), few)
    assert "unpaired: 60 % of the examples are in both" in change.reason
    most = cell(0.2, clusters=90, seed=4)
    change = compare_cell(cell(0.2), most)
    assert change.decided.paired
    assert change.reason.endswith("80 examples that only one record has are left out")


@pytest.mark.parametrize(("clusters", "word"), [(7, U), (8, K)])
def test_below_eight_clusters_nothing_is_kept(cell, clusters, word):
    change = compare_cell(cell(0.2, clusters=clusters), cell(0.2, clusters=clusters, seed=4))
    assert change.word is word
    if word is U:
        assert change.reason == "only 7 documents; below 8 nothing is kept"
    assert compare_cell(cell(0.2, clusters=7), cell(0.0, clusters=7, seed=4)).word is L


def test_the_same_record_twice_has_kept_everything(cell):
    one = cell(0.2, clusters=7)
    change = compare_cell(one, one, Pairing(same_model=True))
    assert (change.word, change.decided.low, change.decided.high) == (K, 0.0, 0.0)
    # Another model with equal scores: 7 clusters cannot say that.
    assert compare_cell(one, one).word is U


def test_refits_make_a_change_less_sure(cell):
    old, new = cell(0.2), cell(0.19, seed=4)
    name = "linear − bigram"
    assert compare_cell(old, new).word is K
    known = compare_cell(old, new, refit_sd={name: 0.004})
    assert known.word is U
    assert known.decided.estimate == compare_cell(old, new).decided.estimate
    # One model in one regime is not fitted again.
    for sd in ({name: 0.5}, {}):
        assert compare_cell(old, new, Pairing(same_model=True), sd).word is K


@pytest.mark.parametrize(("after", "without"), [(0.19, K), (0.3, G), (0.1, L)])
def test_what_is_fitted_and_was_never_measured_stays_undecided(after, without, cell):
    """Its interval lacks the refits: neither that it was kept nor that it was lost is shown."""
    old, new = cell(0.2), cell(after, seed=4)
    plain = compare_cell(old, new)
    for sd in ({}, {"another part": 0.5}):
        change = compare_cell(old, new, refit_sd=sd)
        assert (plain.word, change.word, change.p_lost) == (without, U, 1.0)
        assert change.reason == "how much it differs from fit to fit was never measured"
        assert change.decided.estimate == plain.decided.estimate
        assert change.decided.low == plain.decided.low


def test_a_change_says_whose_refits_it_was_given(cell):
    old, new, name = cell(0.2), cell(0.19, seed=4), "linear − bigram"
    where = {name: "task=present-past", "another part": "task=antonym"}
    for sd, word in ((0.0001, K), (0.1, U)):
        change = compare_cell(old, new, refit_sd={name: sd}, borrowed=where)
        assert change.word is word
        assert change.reason.endswith("refits borrowed from task=present-past")
        assert "borrowed" not in compare_cell(old, new, refit_sd={name: sd}).reason
        same = Pairing(same_model=True)
        assert "borrowed" not in compare_cell(old, new, same, {name: sd}, where).reason


def test_what_would_settle_it_is_planned_from_no_change(cell):
    near, far = (
        compare_cell(cell(0.2, sd=0.0001, clusters=9), cell(after, sd=0.2, clusters=9, seed=4))
        for after in (0.185, 0.195)
    )
    assert {near.word, far.word} == {U}
    assert near.reason == far.reason
    assert near.reason.startswith("about ")
    assert near.reason.endswith(" documents more would settle it")
    edge = compare_cell(cell(0.2), cell(0.18, seed=4))
    assert edge.reason == "100 documents are enough where nothing has changed"
    fits = compare_cell(cell(0.2), cell(0.2, seed=4), refit_sd={"linear − bigram": 0.03})
    assert (
        fits.reason == "fits of one checkpoint differ too much (by 0.03) to show a change of −0.02"
    )


def test_what_never_varied_is_planned_from_its_interval(claim, outcome):
    """30 word pairs of which none changed leave ± 0.116; with a few more it would be ± 0.1."""
    declared = claim(expects=(Level("arm", at_least=0.1),), margin=0.1, unit="word pairs")
    hits = outcome("arm", np.arange(30) % 2, per_cluster=1)
    judged = Judged(declared, verdict(H), Evidence({"arm": hits}))
    change = compare_cell(judged, judged)
    assert (change.word, change.decided.high) == (U, pytest.approx(0.1157, abs=1e-4))
    (more,) = re.findall(r"about (\d+) word pairs more would settle it", change.reason)
    again = outcome("arm", np.arange(30 + int(more)) % 2, per_cluster=1)
    judged = Judged(declared, verdict(H), Evidence({"arm": again}))
    assert compare_cell(judged, judged).word is K


def test_scores_without_measure_of_chance_are_undecided(claim, outcome):
    declared = claim(expects=(Level("arm", at_least=0.1),))
    one = Evidence({"arm": outcome("arm", np.full(320, 2.5))})
    judged = Judged(declared, verdict(H), one)
    change = compare_cell(judged, judged)
    assert (change.word, change.decided.low) == (U, None)
    assert "no measure of chance" in change.reason
