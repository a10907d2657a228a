"""What counts as noticing damage: judged from real verdicts, damaged and undamaged."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stillwired.judge import Claim, Difference, InstrumentCheck, Level, Needs, Word, judge_cell
from stillwired.judge.kills import kills, notices

DOES = Needs("top-1", at_least=0.3)
LEARNT = Needs("gain from more text", at_most=0.1, otherwise="undecided")


@pytest.fixture
def judged(claim, evidence, outcome, noisy):
    """Judge a difference of that size, for a claim with changes in its declaration."""

    def judge(size, changes=None, ability=(), **more):
        declared = claim(**(changes or {}))
        shown = {name: outcome(name, noisy(mean)) for name, mean in dict(ability).items()}
        return declared, judge_cell(declared, evidence(plus=size, ability=shown, **more), {})

    return judge


def killed(undamaged, damaged):
    declared, sound = undamaged
    return kills(declared, sound, damaged[1])


def test_what_held_or_was_open_has_to_fail(judged):
    holds, opened, fails = judged(0.2), judged(0.025), judged(-0.1)
    assert [v.verdict for _, v in (holds, opened, fails)] == ["HOLDS", "INCONCLUSIVE", "FAILS"]
    assert killed(holds, fails)
    assert killed(opened, fails)
    assert not killed(holds, opened)
    assert not killed(holds, judged(0.15))


def test_what_fails_already_has_to_fail_clearly_worse(judged):
    fails = judged(-0.05)
    assert not killed(fails, fails)
    assert not killed(fails, judged(-0.055))
    assert killed(fails, judged(-0.2))
    # Nearer to the region is no worse, however far.
    assert not killed(judged(-0.2), judged(-0.05))


def test_worse_lies_on_the_side_where_the_region_was_missed(judged):
    at_most = {"expects": (Difference("linear", "bigram", at_most=0.1),)}
    too_high, higher, lower = (judged(size, at_most) for size in (0.3, 0.6, 0.2))
    assert killed(too_high, higher)
    assert not killed(too_high, lower)
    band = {"expects": (Difference("linear", "bigram", between=(0.2, 0.4)),)}
    low, lower, high = (judged(size, band) for size in (0.1, -0.2, 0.7))
    assert killed(low, lower)
    assert not killed(low, high)


def test_a_rival_counts_like_any_part(judged, outcome, noisy):
    rival = {"rivals": ("constant",)}

    def against(mean):
        arms = {"constant": outcome("constant", noisy(mean, seed=3))}
        return judged(0.2, rival, arms=arms)

    assert killed(against(0.0), against(0.5))
    assert killed(against(0.5), against(0.9))
    assert not killed(against(0.9), against(0.5))


@pytest.mark.parametrize("able", [0.05, 0.3])
def test_without_its_ability_nothing_is_killed(judged, able):
    needs = {"applies": (DOES,)}
    sound = judged(0.2, needs, {"top-1": 0.6})
    assert killed(sound, judged(-0.1, needs, {"top-1": 0.6}))
    damaged = judged(-0.1, needs, {"top-1": able})
    assert damaged[1].verdict in ("NOT APPLICABLE", "INCONCLUSIVE")
    assert not killed(sound, damaged)


@pytest.mark.parametrize(
    ("otherwise", "sound_word", "word"),
    [
        ("undecided", "INCONCLUSIVE", "INCONCLUSIVE"),
        ("not held", "INCONCLUSIVE", "FAILS"),
        ("not failed", "HOLDS", "INCONCLUSIVE"),
    ],
)
def test_too_little_text_does_not_hide_that_a_part_fails(judged, otherwise, sound_word, word):
    needs = {"applies": (DOES, replace(LEARNT, otherwise=otherwise))}
    sound = judged(0.2, needs, {"top-1": 0.6, "gain from more text": 0.5})
    damaged = judged(-0.1, needs, {"top-1": 0.6, "gain from more text": 0.5})
    assert (sound[1].verdict, damaged[1].verdict) == (sound_word, word)
    assert killed(sound, damaged)
    assert not killed(sound, sound)
    unable = judged(-0.1, needs, {"top-1": 0.3, "gain from more text": 0.5})
    assert unable[1].verdict == "INCONCLUSIVE"
    assert not killed(sound, unable)


def test_an_open_verdict_without_needs_kills_nothing(judged):
    """Of two parts one is open: then none fails."""
    two = {
        "expects": (
            Difference("linear", "bigram", at_least=0.02),
            Level("linear", at_least=0.02, labelled="level"),
        )
    }
    assert not killed(judged(0.2, two), judged(0.025, two))


def test_a_broken_measurement_kills_nothing_and_cannot_be_killed(judged):
    check = {"instrument": (InstrumentCheck("adds up", False),)}
    broken, holds, fails = judged(0.2, **check), judged(0.2), judged(-0.1)
    assert broken[1].verdict is Word.BROKEN
    assert not killed(holds, broken)
    assert not killed(broken, fails)


def test_what_was_not_measured_undamaged_is_not_killed(judged):
    needs = {"applies": (DOES,)}
    unable, fails = judged(0.2, needs, {"top-1": 0.05}), judged(-0.1, needs, {"top-1": 0.6})
    assert not killed(unable, fails)


def test_a_mutant_is_noticed_by_a_cell_that_held_or_by_a_check(judged):
    _, holds = judged(0.2)
    _, opened = judged(0.025)
    _, fails = judged(-0.1)
    broken = replace(holds, verdict=Word.BROKEN)
    assert notices(holds, fails)
    assert notices(holds, broken)
    assert notices(opened, broken)
    assert not notices(broken, broken)
    assert not notices(opened, fails)
    assert not notices(holds, opened)
    assert not notices(holds, holds)


def test_a_declaration_read_from_a_record_is_as_good(judged):
    declared, sound = judged(0.2)
    again = Claim.from_json(declared.to_json())
    assert kills(again, sound, judged(-0.1)[1])
