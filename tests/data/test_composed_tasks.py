"""Compositions: what lists hold, what the four tasks answer, and how they are split."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stillwired.data.composed_tasks import (
    BETWEEN,
    COMPOSITIONS,
    LISTS,
    PARTS,
    ROLES,
    UNIT,
    Composition,
    compose_tasks,
    composition,
    split_lists,
)
from stillwired.data.splits import SPLITS
from stillwired.data.tasks import LEAST_ROWS, Row, Task, load_tasks, split
from stillwired.errors import CorpusError, UsageError

TASKS = load_tasks()


def made(rows: dict[str, str], name: str = "made") -> Task:
    made_rows = tuple(Row(*row) for row in rows.items())
    return Task(name, "abstractive", "What is made.", made_rows, "", False)


def image(composed: Composition) -> dict[str, str]:
    return {row.input: row.output for row in composed.base.rows}


@pytest.fixture(params=COMPOSITIONS)
def composed(request: pytest.FixtureRequest) -> Composition:
    return composition(request.param)


# The two of the paper


def test_the_four_tasks_show_the_same_lists_and_answer_differently(composed: Composition) -> None:
    assert tuple(composed.tasks) == ROLES
    shown = [[row.input for row in task.rows] for task in composed.tasks.values()]
    assert shown[0] == shown[1] == shown[2] == shown[3]
    assert len(set(shown[0])) == len(shown[0]) == LISTS
    f = image(composed)
    for role, task in composed.tasks.items():
        for row in task.rows:
            items = row.input.split(BETWEEN)
            item = items[0] if role.startswith("first") else items[-1]
            assert row.output == (item if role.endswith("copy") else f[item])
    for answers in zip(*(task.rows for task in composed.tasks.values()), strict=True):
        assert len({row.output for row in answers}) == 4


def test_an_answer_begins_like_nothing_else(composed: Composition) -> None:
    for items in composed.lists:
        letters = [item.input[0] for item in items]
        letters += [items[0].output[0], items[-1].output[0]]
        assert len(set(letters)) == len(letters), items


def test_rows_take_turns_at_the_end_that_is_judged(composed: Composition) -> None:
    counts = Counter(items[-1] for items in composed.lists)
    clear = [row for row in composed.base.rows if row.input[0] != row.output[0]]
    assert len(counts) == min(LISTS, len(clear))
    assert max(counts.values()) - min(counts.values()) <= 1
    assert len({items[0] for items in composed.lists}) >= 100


def test_tasks_say_what_they_are(composed: Composition) -> None:
    base = COMPOSITIONS[composed.name]
    assert composed.base == TASKS[base]
    names = [task.name for task in composed.tasks.values()]
    copies = [f"first-copy-for-{base}", f"last-copy-for-{base}"]
    assert names == [*copies, f"first-{base}", f"last-{base}"]
    assert composed.whole.name == composed.name
    assert list(composed.parts) == list(PARTS)
    for task in (composed, *composed.tasks.values()):
        assert re.fullmatch(r"[A-Z].*[a-z]\.", task.says)
    assert [task.kind for task in composed.tasks.values()] == ["extractive"] * 2 + [
        "abstractive"
    ] * 2
    for task in composed.tasks.values():
        assert (task.unit, task.source, task.cyclic) == (UNIT, f"derived from {base}", False)
        assert not any(row.input == row.output for row in task.rows)
        assert task.answers >= 10


def test_names_are_unique() -> None:
    names = [task.name for name in COMPOSITIONS for task in composition(name).tasks.values()]
    assert len({*names, *TASKS}) == len(names) + len(TASKS)


def test_what_is_drawn_is_pinned() -> None:
    capital, letter = (composition(name).whole.rows[0] for name in COMPOSITIONS)
    assert capital == Row("Tanzania, Solomon Islands, Bahrain", "Manama")
    assert letter == Row("taxi, milk, drum", "D")


def test_lists_depend_on_nothing_but_the_rows(composed: Composition) -> None:
    base = composed.base
    turned = Task(base.name, base.kind, base.says, base.rows[::-1], base.source, base.cyclic)
    assert compose_tasks(turned).lists == composed.lists
    assert compose_tasks(base) == composed


def test_there_is_no_other_composition() -> None:
    with pytest.raises(UsageError, match=r"no composition 'last-day'.*last-country-capital"):
        composition("last-day")


# Any table


@given(
    st.dictionaries(
        st.text("abcd", min_size=1, max_size=3),
        st.text("abcde", min_size=1, max_size=2),
        min_size=14,
        max_size=30,
    ),
    st.integers(2, 5),
)
@settings(deadline=None, max_examples=40)
def test_lists_of_any_table_differ_in_what_they_must(rows: dict[str, str], size: int) -> None:
    try:
        composed = compose_tasks(made(rows), size, 40)
    except CorpusError:
        assume(False)
    assert LEAST_ROWS <= len(composed.lists) <= 40
    assert len(set(composed.lists)) == len(composed.lists)
    for items in composed.lists:
        assert len({item.input for item in items}) == size
        assert items[0].output != items[-1].output


def test_letters_that_cannot_differ_may_be_the_same() -> None:
    alike = made({f"a{k}": f"a{k + 1}" for k in range(9)})
    composed = compose_tasks(alike)
    assert len(composed.lists) == LISTS
    with pytest.raises(CorpusError, match=r"next-day gives 28 lists of 3.*at least 30"):
        compose_tasks(TASKS["next-day"])


def test_longer_lists_and_more_of_them() -> None:
    composed = compose_tasks(TASKS["antonym"], size=5, count=300)
    assert len(composed.lists) == 300
    for items in composed.lists:
        letters = {item.input[0] for item in items} | {items[0].output[0], items[-1].output[0]}
        assert len(letters) == 7
    pairs = compose_tasks(TASKS["antonym"], size=2)
    assert all(len(row.input.split(BETWEEN)) == 2 for row in pairs.whole.rows)


def test_a_table_that_is_no_table_of_items_is_refused() -> None:
    with pytest.raises(UsageError, match="A list of 1 has no two ends"):
        compose_tasks(TASKS["antonym"], size=1)
    with pytest.raises(CorpusError, match="'lobster, plum, axe' cannot be an item"):
        compose_tasks(TASKS["choose-first-of-3"])
    for rows in ({}, {"a": "x", "b": "x", "c": "x"}):
        with pytest.raises(CorpusError, match="made gives 0 lists"):
            compose_tasks(made(rows))


# Splits


@pytest.mark.parametrize("seed", range(4))
def test_a_list_is_in_one_part_for_all_four_tasks(composed: Composition, seed: int) -> None:
    parts = split_lists(composed, seed)
    assert tuple(parts) == ROLES
    for role, rows in parts.items():
        assert tuple(rows) == SPLITS
        assert Counter(row for part in rows.values() for row in part) == Counter(
            composed.tasks[role].rows
        )
    shown = {part: {row.input for row in parts["last"][part]} for part in SPLITS}
    for role in ROLES:
        for part in SPLITS:
            assert [row.input for row in parts[role][part]] == [
                row.input for row in parts["last"][part]
            ]
    assert not shown["fit"] & shown["judge"]
    assert not shown["fit"] & shown["choose"]
    assert not shown["choose"] & shown["judge"]


@pytest.mark.parametrize("seed", range(4))
def test_no_judged_item_was_asked_for_while_fitting(composed: Composition, seed: int) -> None:
    parts, base = split_lists(composed, seed), split(composed.base, seed)
    f = image(composed)
    for part in SPLITS:
        asked = {row.input.split(BETWEEN)[-1] for row in parts["last"][part]}
        assert {Row(item, f[item]) for item in asked} <= set(base[part])


@pytest.mark.parametrize("seed", range(10))
def test_shares_are_about_a_half_a_fifth_and_the_rest(composed: Composition, seed: int) -> None:
    parts = split_lists(composed, seed)["last"]
    for part, share in (("fit", 0.5), ("choose", 0.2), ("judge", 0.3)):
        assert abs(len(parts[part]) / len(composed.lists) - share) < 0.06


def test_the_plain_split_would_part_a_list_from_itself() -> None:
    composed = composition("last-country-capital")
    fitted = {row.input for row in split(composed.tasks["first"], 0)["fit"]}
    judged = {row.input for row in split(composed.whole, 0)["judge"]}
    assert fitted & judged


# The sum


def test_the_sum_takes_the_first_copy_away() -> None:
    vectors = {role: np.eye(4)[k] for k, role in enumerate(ROLES)}
    assert Composition.compose(vectors).tolist() == [-1, 1, 1, 0]
    tensors = {role: torch.from_numpy(vector) for role, vector in vectors.items()}
    tensors.pop("last")
    assert composition("last-country-capital").compose(tensors).tolist() == [-1, 1, 1, 0]


def test_a_missing_vector_is_named() -> None:
    with pytest.raises(UsageError, match="no vector for first_copy"):
        Composition.compose({"last_copy": np.zeros(2), "first": np.zeros(2), "last": np.zeros(2)})
