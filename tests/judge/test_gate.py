from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillwired.errors import ClaimError
from stillwired.judge import Verdict, Word
from stillwired.judge.gate import gate, gate_part, holm

H, F, I, N, B, R = Word  # noqa: E741


def cell(name, word, p=None, primary=True, reason="why"):
    default = {H: 0.9, F: 0.001, I: 0.3}.get(word)
    return Verdict(
        f"paper/{name}", 1, {}, primary, word, reason, p_fail=default if p is None else p
    )


def test_holm_is_stricter_than_plain_intervals():
    """Three plain failures at 0.04 would each fail alone; together none is certain enough."""
    verdicts = [cell(name, F, p=0.04) for name in ("a", "b", "c")]
    answer = gate(verdicts)
    assert answer.passed
    assert set(answer.corrected.values()) == {False}
    assert all("FAILS (not after correction" in line for line in answer.lines)
    assert not gate(verdicts[:1]).passed


def test_holm_steps_down():
    """0.02 is above 0.05/3 but fails once 0.001 is out of the way; Bonferroni would stop."""
    verdicts = [cell("a", F, p=0.001), cell("b", F, p=0.02), cell("c", H, p=1.0)]
    assert gate(verdicts).corrected == {"paper/a": True, "paper/b": True, "paper/c": False}
    assert gate([cell("a", F, p=0.02), *verdicts[1:]]).corrected["paper/b"] is False


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == [True, False, False, True]
    assert holm([]) == []
    assert holm([0.05]) == [True]


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_lies_between_bonferroni_and_no_correction(ps):
    rejected = holm(ps)
    for p, hit in zip(ps, rejected, strict=True):
        assert hit or p > 0.05 / len(ps)
        assert not hit or p <= 0.05


def test_only_primary_cells_gate():
    assert gate([cell("a", H), cell("b", F, primary=False)]).passed
    assert not gate([cell("a", H), cell("b", F)]).passed


def test_cells_that_are_not_judged_do_not_dilute_the_correction():
    many = [cell(f"n{k}", N) for k in range(50)]
    assert not gate([cell("a", F, p=0.03), *many]).passed
    assert "paper/n0" not in gate(many).corrected


def test_anything_broken_fails():
    answer = gate([cell("a", H), cell("b", B, primary=False, reason="null shows it")])
    assert not answer.passed
    assert answer.lines[0] == "paper/b is BROKEN: null shows it"


def test_inconclusive_fails_a_strict_run_only():
    verdicts = [cell("a", I), cell("b", H)]
    assert gate(verdicts).passed
    assert not gate(verdicts, strict=True).passed
    assert gate([cell("a", I, primary=False)], strict=True).passed
    assert gate([cell("a", N), cell("b", H)], strict=True).passed


def test_a_blocked_failure_never_fails_the_gate():
    """A cell whose parts fail but which was capped is not a failure, whatever its p."""
    assert gate([cell("a", I, p=1e-9)]).passed


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("word", [R, I, N])
def test_what_is_reported_never_gates(word, strict):
    """Neither for itself, nor by diluting the correction of those that are judged."""
    reported = [
        replace(cell(f"r{k}", word, primary=False), reported=True, p_fail=None) for k in range(50)
    ]
    assert gate([cell("a", H), *reported], strict=strict).passed
    answer = gate([cell("a", F, p=0.03), *reported], strict=strict)
    assert not answer.passed
    assert set(answer.corrected) == {"paper/a"}


def test_a_broken_report_fails_as_anything_broken_does():
    assert not gate([replace(cell("r", B, primary=False), reported=True)]).passed


@pytest.mark.parametrize(
    ("word", "listed", "line"),
    [
        (R, None, None),
        (R, (R,), None),
        (R, (N, R), None),
        (R, (H, F), "paper/a is REPORTED, expected HOLDS or FAILS: why"),
        (N, None, "paper/a is NOT APPLICABLE, expected REPORTED (no exception is listed): why"),
        (N, (N,), None),
        (I, (R,), "paper/a is INCONCLUSIVE, expected REPORTED: why"),
        (B, (R,), "paper/a is BROKEN, expected REPORTED: why"),
    ],
)
def test_what_is_reported_need_not_be_listed(word, listed, line):
    expected = {} if listed is None else {"paper/a": listed}
    one = replace(cell("a", word, primary=False), reported=True)
    answer = gate([one], expected=expected)
    assert answer.lines == (() if line is None else (line,))
    assert answer.passed is (line is None)


def test_a_run_without_judged_primary_cells_says_so():
    answer = gate([cell("a", N)])
    assert answer.passed
    assert "no primary cell" in answer.lines[0]
    assert gate([]).lines == ()


def test_claims_without_a_primary_cell_are_named():
    """They pass whatever they do, which nobody should take for a proof."""
    dead = [replace(cell("d", F, p=1e-9, primary=False), params={"task": t}) for t in "xy"]
    other = replace(cell("a", F, p=1e-9, primary=False), params={"task": "x"})
    answer = gate([cell("a", H), other, *dead, cell("c", I, primary=False)], strict=True)
    assert answer.passed
    assert answer.lines == (
        "judged without a primary cell, so that nothing but BROKEN counts: paper/d, paper/c",
    )
    reported = replace(cell("r", R, primary=False), reported=True)
    assert gate([cell("a", H), other, reported]).lines == ()


def test_a_cell_judged_twice_is_an_error():
    with pytest.raises(ClaimError, match="paper/a was judged twice"):
        gate([cell("a", H), cell("a", F)])


@pytest.mark.parametrize(
    ("word", "listed", "passes"),
    [
        (F, (F,), True),
        (H, (F,), False),  # better than expected fails too
        (I, (F, I), True),
        (H, (H, I), True),
        (N, (F, I), False),
        (H, None, True),
        (F, None, False),
        (I, None, False),
        (N, None, False),
        (B, (B, F), False),  # a broken measurement is never accepted
    ],
)
def test_expectations_decide(word, listed, passes):
    expected = {} if listed is None else {"paper/a": listed}
    answer = gate([cell("a", word)], expected=expected)
    assert answer.passed is passes
    assert bool(answer.lines) is not passes


def test_an_expectation_that_met_no_cell_fails():
    answer = gate([cell("a", H)], expected={"paper/gone": [F]})
    assert not answer.passed
    assert answer.lines == ("paper/gone is expected but was not judged",)


def test_expectations_concern_secondary_cells_too():
    assert not gate([cell("a", F, primary=False)], expected={}).passed


@pytest.mark.parametrize(("word", "passes"), [(H, True), (F, True), (I, True), (B, False)])
def test_a_part_proves_nothing_but_that_something_is_broken(word, passes):
    answer = gate_part([cell("a", word, p=1e-9), cell("b", H)], "2 of 4")
    assert answer.passed is passes
    assert answer.lines[-1] == "a shard does not gate: merge the records (2 of 4)"
    assert answer.corrected == {}
    assert ("paper/a is BROKEN: " in answer.lines[0]) is not passes
