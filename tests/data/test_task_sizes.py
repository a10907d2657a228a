"""How much is measured of tasks: every size names what exists, and every task has rows for it."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields

import pytest

from claims.function_vectors.paper import PRIMARY
from stillwired.data.task_prompts import FORMATS, LEAST_ANSWERS, frames
from stillwired.data.task_sizes import DEPTHS, REPRESENTATIVE, SIZES, TaskSizes, sizes_of
from stillwired.data.tasks import load_tasks, split
from stillwired.instruments.depths import label_of
from stillwired.profiles import PROFILES, QUICK, Profile

TASKS = load_tasks()
CALENDAR = ("next-day", "previous-day", "next-month", "previous-month")
COUNTS = (
    "clean",
    "clean_elsewhere",
    "shuffled",
    "choosing",
    "judged",
    "judged_shuffled",
    "judged_clean",
    "judged_text",
    "shots",
)


def test_every_profile_has_sizes_of_its_own():
    assert list(SIZES) == list(PROFILES)
    for name, profile in PROFILES.items():
        assert sizes_of(profile) is SIZES[name]
    assert set(COUNTS) == {field.name for field in fields(TaskSizes)} - {"tasks", "forms"}


def test_a_profile_of_the_users_own_gets_the_quick_sizes():
    given = {field.name: getattr(QUICK, field.name) for field in fields(Profile)}
    assert sizes_of(Profile(**{**given, "name": "my own"})) is SIZES["quick"]


def test_larger_profiles_measure_no_less():
    for smaller, larger in (("quick", "standard"), ("standard", "paper")):
        for count in COUNTS:
            assert getattr(SIZES[smaller], count) <= getattr(SIZES[larger], count)
        assert set(SIZES[smaller].forms) <= set(SIZES[larger].forms)
    assert SIZES["paper"].forms == tuple(FORMATS)


def test_no_other_kind_of_question_asks_more_than_is_drawn_for_the_first():
    for sizes in SIZES.values():
        assert max(sizes.shuffled, sizes.choosing, sizes.clean_elsewhere) <= sizes.clean
        assert max(sizes.judged_shuffled, sizes.judged_clean, sizes.judged_text) <= sizes.judged


def test_the_quick_tasks_are_the_papers_six_and_four_more():
    tasks = SIZES["quick"].tasks
    assert set(tasks) <= set(TASKS)
    assert len(set(tasks)) == len(tasks) == 10
    assert tasks[:6] == REPRESENTATIVE
    # The larger profiles try all.
    assert SIZES["standard"].tasks == SIZES["paper"].tasks == ()


def test_mutants_are_tried_on_a_few_of_the_quick_tasks():
    few, quick = SIZES["mutants"], SIZES["quick"]
    assert set(few.tasks) < set(quick.tasks)
    assert all(getattr(few, count) <= getattr(quick, count) for count in COUNTS)
    # Below eight clusters nothing can hold.
    assert min(few.judged, few.judged_shuffled, few.judged_clean, few.judged_text) >= 8
    for name in few.tasks:
        assert TASKS[name].answers >= LEAST_ANSWERS
        assert frames(TASKS[name])


def test_what_the_quick_tasks_are_asked_can_be_asked():
    """Shuffled labels want ten answers, and some of the tasks have to fit into natural text."""
    for name in SIZES["quick"].tasks:
        assert TASKS[name].answers >= LEAST_ANSWERS
    assert sum(bool(frames(TASKS[name])) for name in SIZES["quick"].tasks) >= 8


def test_the_task_of_the_gate_is_measured_in_every_profile():
    for sizes in SIZES.values():
        assert PRIMARY["task"] in (sizes.tasks or TASKS)


@pytest.mark.parametrize("profile", SIZES)
def test_formats_exist_and_the_papers_comes_first(profile):
    forms = SIZES[profile].forms
    assert set(forms) <= set(FORMATS)
    assert len(set(forms)) == len(forms) >= 3
    assert forms[0] == "qa"


@pytest.mark.parametrize("profile", SIZES)
@pytest.mark.parametrize("seed", range(2))
def test_all_tasks_but_days_and_months_have_rows_for_their_shots(profile, seed):
    short = set()
    for name in SIZES[profile].tasks or TASKS:
        rows = split(TASKS[name], seed)["fit"]
        pairs = Counter(frozenset((row.input, row.output)) for row in rows)
        # A query and its reverse are not shown beside it.
        if len(rows) - max(pairs.values()) < SIZES[profile].shots:
            short.add(name)
    assert short == (set() if SIZES[profile].tasks else {*CALENDAR})


def test_depths_run_from_the_first_block_to_the_last_in_tenths():
    assert [round(10 * depth, 9) for depth in DEPTHS] == list(range(11))
    assert len({label_of(depth) for depth in DEPTHS}) == 11
