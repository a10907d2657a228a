from __future__ import annotations

from dataclasses import replace

import pytest

from stillwired.judge import Word
from stillwired.judge.changes import Change, ChangeWord, PartChange
from stillwired.judge.regions import Region
from stillwired.judge.upgrade import severity, upgrade_gate

H, F, I, N, B, R = Word  # noqa: E741
KEPT, GAINED, LOST, UNDECIDED, BROKEN, NEW, NOT_COMPARED = ChangeWord
P = {KEPT: 1.0, GAINED: 1.0, LOST: 0.001, UNDECIDED: 0.3}


def change(name, word, then=H, now=H, p=None, primary=True, **more):
    part = None
    if word in P:
        p_lost = P[word] if p is None else p
        kept = Region("at least", low=-0.02)
        figures = ("a − b", word, -0.05, -0.07, -0.03, kept, p_lost, 320, 40, True, 0, "t")
        part = PartChange(*figures)
    given = {"reason": "why", "decided": part, "parts": (part,) if part else ()}
    return Change(f"paper/{name}", {}, primary, then, now, word, **given | more)


def beside(name, word, **more):
    """A cell of a claim that has its primary one elsewhere."""
    return replace(change(name, word, primary=False, **more), params={"task": "x"})


def test_what_is_lost_fails_and_what_is_kept_passes():
    answer = upgrade_gate([change("a", LOST), change("b", KEPT)])
    assert not answer.passed
    assert answer.lines == (
        "paper/a is LOST (p 0.001, Holm over 2 primary cells that held): "
        "−0.05 (−0.07 … −0.03), −0.02 allowed; why",
    )
    assert answer.corrected == {"paper/a": True, "paper/b": False}
    assert upgrade_gate([change("b", KEPT), change("c", GAINED)]).passed


def test_holm_is_stricter_than_plain_intervals():
    """Three plain losses at 0.04 would each fail alone; together none is certain enough."""
    changes = [change(name, LOST, p=0.04) for name in ("a", "b", "c")]
    answer = upgrade_gate(changes)
    assert answer.passed
    assert all("is LOST (not after correction: p 0.04 among 3" in line for line in answer.lines)
    assert not upgrade_gate(changes[:1]).passed


def test_holm_runs_over_the_primary_cells_that_held_and_were_compared():
    """Fifty others do not dilute it, and the parts of a cell are paid for."""
    other = [
        *(change(f"n{k}", KEPT, primary=False) for k in range(50)),
        *(change(f"f{k}", KEPT, then=F) for k in range(50)),
        *(change(f"x{k}", NOT_COMPARED) for k in range(50)),
        *(change(f"w{k}", NEW, then=None) for k in range(50)),
    ]
    assert not upgrade_gate([change("a", LOST, p=0.03), *other]).passed
    two = change("a", LOST, p=0.03)
    two = change("a", LOST, p=0.03, parts=(two.decided, two.decided))
    assert two.p_lost == pytest.approx(0.06)
    assert upgrade_gate([two, *other]).passed


@pytest.mark.parametrize("then", [F, I, N, B, None])
def test_what_did_not_hold_cannot_be_lost(then):
    changes = [change(word, word, then=then, now=F) for word in (LOST, UNDECIDED, KEPT, GAINED)]
    answer = upgrade_gate(changes, strict=True)
    assert answer.passed
    assert answer.lines == ("no primary cell that held could be compared",)


def test_secondary_cells_decide_nothing_but_what_is_missing_or_broken():
    secondary = [
        beside("a", LOST, now=F),
        beside("a", UNDECIDED, now=F),
        beside("a", LOST, now=N, decided=None, parts=(), cause="ability"),
        change("a", KEPT),
    ]
    assert upgrade_gate(secondary, strict=True) == upgrade_gate([change("a", KEPT)])
    missing = beside("a", LOST, now=None, decided=None, parts=(), cause="missing")
    assert upgrade_gate([*secondary, missing]).lines == (
        'paper/a[task="x"] is LOST: it held and was not judged',
    )
    assert not upgrade_gate([*secondary, missing]).passed
    assert not upgrade_gate([*secondary, change("f", BROKEN, now=B, primary=False)]).passed


def test_claims_that_held_without_a_primary_cell_are_named():
    changes = [
        change("a", KEPT),
        beside("a", LOST),
        beside("b", LOST),
        beside("c", LOST, then=F),
    ]
    answer = upgrade_gate(changes, strict=True)
    assert answer.passed
    assert answer.lines == (
        "judged without a primary cell, so that nothing but BROKEN counts: paper/b",
    )


def test_an_ability_that_is_gone_fails_whatever_p_the_others_have():
    gone = change(
        "a", LOST, now=N, decided=None, parts=(), cause="ability", reason="0.08, 0.3 needed"
    )
    answer = upgrade_gate([gone, change("b", KEPT)])
    assert not answer.passed
    assert answer.lines == ("paper/a is LOST: it held and does not apply now: 0.08, 0.3 needed",)
    assert "paper/a" not in answer.corrected


@pytest.mark.parametrize("then", [H, F, I, N, R, None])
def test_anything_broken_fails(then):
    answer = upgrade_gate([change("a", BROKEN, then=then, now=B, reason="null shows it")])
    assert not answer.passed
    assert answer.lines[0] == "paper/a is BROKEN: null shows it"


@pytest.mark.parametrize(
    ("word", "p", "explained", "passes", "says"),
    [
        (UNDECIDED, 0.3, False, False, "held and FAILS now, its change UNDECIDED"),
        (LOST, 0.06, False, False, "held and FAILS now, its change LOST"),
        (LOST, 0.001, False, False, "is LOST (p 0.001"),
        (KEPT, 1.0, False, True, "held and FAILS now, though it is KEPT"),
        (GAINED, 1.0, False, True, "held and FAILS now, though it is GAINED"),
        (KEPT, 1.0, True, False, "held and FAILS now, its change KEPT"),
    ],
)
def test_a_claim_that_fails_by_its_own_standard(word, p, explained, passes, says):
    answer = upgrade_gate([change("a", word, now=F, p=p, explained=explained)])
    assert answer.passed is passes
    assert answer.lines[0].startswith(f"paper/a {says}")


def test_what_fails_by_its_own_standard_comes_first():
    changes = [
        change("a", LOST),
        change("b", BROKEN, now=B),
        change("c", UNDECIDED),
        change("d", UNDECIDED, now=F),
    ]
    lines = upgrade_gate(changes).lines
    assert [line[:7] for line in lines] == ["paper/d", "paper/a", "paper/b", "paper/c"]


@pytest.mark.parametrize("now", [H, I])
def test_undecided_is_listed_and_fails_a_strict_comparison(now):
    answer = upgrade_gate([change("a", UNDECIDED, now=now)])
    assert answer.passed
    assert answer.lines[0].startswith("paper/a is UNDECIDED: −0.05")
    strict = upgrade_gate([change("a", UNDECIDED, now=now)], strict=True)
    assert not strict.passed
    assert "which fails a strict comparison" in strict.lines[0]


@pytest.mark.parametrize(
    ("now", "passes", "strict", "says"),
    [
        (H, True, True, ""),
        (I, True, False, "; it is INCONCLUSIVE now, which fails a strict comparison"),
        (F, False, False, "; it FAILS now"),
    ],
)
def test_what_held_and_is_not_compared_has_its_own_verdict_alone(now, passes, strict, says):
    alone = [change("a", NOT_COMPARED, now=now, reason="version 1 then, 2 now")]
    said = "paper/a held and is not compared: version 1 then, 2 now"
    plain, demanding = upgrade_gate(alone), upgrade_gate(alone, strict=True)
    assert (plain.passed, demanding.passed) == (passes, strict)
    assert demanding.lines[0] == said + says
    assert plain.lines[0] == said + (says if now is F else "")
    secondary = [change("a", NOT_COMPARED, now=now, primary=False)]
    assert upgrade_gate(secondary, strict=True).passed


def test_nothing_to_say_of_nothing():
    assert upgrade_gate([]).lines == ()


def test_the_worst_comes_first():
    order = [
        change("gone", UNDECIDED, now=F),
        change("broken", BROKEN, then=F, now=B, primary=False),
        change("lost", LOST),
        change("lost too", LOST, primary=False),
        change("open", UNDECIDED, now=I),
        change("not compared", NOT_COMPARED),
        change("kept near the edge", KEPT, now=F),
        change("gained", GAINED),
        change("lost, never held", LOST, then=F, now=F),
        change("undecided, never held", UNDECIDED, then=I),
        change("kept, never held", KEPT, then=F),
        change("found", GAINED, then=F),
        change("new", NEW, then=None),
    ]
    mixed = order[7:] + order[:7]
    mixed.sort(key=severity)
    assert [one.claim for one in mixed] == [one.claim for one in order]
