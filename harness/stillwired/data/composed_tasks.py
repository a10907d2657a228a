"""Tasks about the items of a list that add up to one another, made from a table.

Todd, Li, Sen Sharma, Mueller, Wallace, Bau (2024), "Function vectors in large language models"
(arXiv 2310.15213), the section on composition: the vector of a task with two parts, such as the
capital of the last country of a list, is put together from those of simpler tasks,

    v(last-f) ≈ v(last-copy) + v(first-f) − v(first-copy).

Any table can be the ``f``. The four tasks show the same lists and differ in the answer alone, so
their vectors differ in nothing else. Lists depend on the table and on nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from stillwired.data.splits import SPLITS
from stillwired.data.tasks import LEAST_ROWS, Row, Task, load_tasks, split
from stillwired.errors import CorpusError, UsageError

PARTS = ("last_copy", "first", "first_copy")
"""Roles of the tasks whose vectors are added up; the last of them is taken away."""
ROLES = ("first_copy", "last_copy", "first", "last")

COMPOSITIONS: Mapping[str, str] = MappingProxyType(
    {
        "last-country-capital": "country-capital",
        "last-first-letter-capital": "first-letter-capital",
    }
)
"""The compositions that the paper finds to work, and the tables that they are made from.

Accuracy on GPT-J: 0.60 composed, 0.15 with the task's own vector and 0.32 with ten shots; the
second ("Last-Capitalize-First-Letter" there) 0.95 composed and 0.75 with ten shots."""

UNIT = "list of words"
BETWEEN = ", "
SIZE = 3
LISTS = 200
_TRIES = 20
"""How many lists are tried for each one wanted. Small tables repeat themselves."""


class Summable(Protocol):
    """What a vector must be able to do; arrays and tensors are."""

    def __add__(self, other: Any, /) -> Any: ...

    def __sub__(self, other: Any, /) -> Any: ...


V = TypeVar("V", bound=Summable)


@dataclass(frozen=True, slots=True)
class Composition:
    """Four tasks on the same lists; the vectors of three of them add up to that of the fourth.

    Attributes:
        name: That of the fourth.
        says: What is added up, as one sentence.
        base: The table: what ``f`` does to one item.
        lists: Rows of the table, one tuple for each list, in the order shown.
        tasks: By role (:data:`ROLES`). Row ``k`` of every task shows list ``k``.
    """

    name: str
    says: str
    base: Task
    lists: tuple[tuple[Row, ...], ...]
    tasks: Mapping[str, Task]

    @property
    def parts(self) -> Mapping[str, Task]:
        """The three tasks whose vectors are added up, by role."""
        return {role: self.tasks[role] for role in PARTS}

    @property
    def whole(self) -> Task:
        """The task that the sum should do, and is judged on."""
        return self.tasks["last"]

    @staticmethod
    def compose(vectors: Mapping[str, V]) -> V:
        """Return last_copy + first − first_copy.

        Args:
            vectors: Arrays or tensors of one shape by role; other roles are not looked at.

        Raises:
            UsageError: If one of the three is missing.
        """
        missing = [role for role in PARTS if role not in vectors]
        if missing:
            raise UsageError(
                f"There is no vector for {', '.join(missing)}. Give one for each of "
                f"{', '.join(PARTS)}."
            )
        composed: V = vectors["last_copy"] + vectors["first"] - vectors["first_copy"]
        return composed


def compose_tasks(base: Task, size: int = SIZE, count: int = LISTS) -> Composition:
    """Make the four tasks of a composition from a table.

    The items of a list differ, and so do the answers for its first and its last item. Where the
    table allows it, no two items begin alike, and the answers for both ends begin like no item
    and unlike each other: the first token of an answer then tells which of the four tasks was
    done. Rows that can stand last take turns, so that many of them are asked for.

    Args:
        base: The table.
        size: Items of a list.
        count: Most lists; a small table gives fewer.

    Raises:
        UsageError: If a list would have no two ends.
        CorpusError: If an input is a list already, or the table gives too few lists.
    """
    if size < 2:
        raise UsageError(f"A list of {size} has no two ends. Ask for 2 items or more.")
    for row in base.rows:
        if BETWEEN in row.input:
            raise CorpusError(
                f"{base.name}: the input {row.input!r} cannot be an item of a list, because it "
                "is one itself. Choose a task about single things."
            )
    lists = _draw(base, size, count)
    if len(lists) < LEAST_ROWS:
        raise CorpusError(
            f"{base.name} gives {len(lists)} lists of {size}, but at least {LEAST_ROWS} are "
            "needed: they are split into fit, choose and judge. Choose a longer table."
        )
    does = base.says.rstrip(".")
    names = {
        "first_copy": f"first-copy-for-{base.name}",
        "last_copy": f"last-copy-for-{base.name}",
        "first": f"first-{base.name}",
        "last": f"last-{base.name}",
    }
    tasks = {}
    for role, name in names.items():
        copied = role.endswith("copy")
        end = role.split("_")[0]
        tasks[role] = Task(
            name=name,
            kind="extractive" if copied else base.kind,
            says=f"The {end} item of a list." if copied else f"{does}, for the {end} of a list.",
            rows=tuple(_row(items, end, copied) for items in lists),
            source=f"derived from {base.name}",
            cyclic=False,
            unit=UNIT,
        )
    says = (
        f"The vector of {names['last']} is that of {names['last_copy']} plus that of "
        f"{names['first']} minus that of {names['first_copy']}."
    )
    return Composition(names["last"], says, base, lists, MappingProxyType(tasks))


@lru_cache(maxsize=len(COMPOSITIONS))
def composition(name: str) -> Composition:
    """Return one of :data:`COMPOSITIONS`.

    Raises:
        UsageError: If there is none of that name.
    """
    if name not in COMPOSITIONS:
        raise UsageError(
            f"There is no composition {name!r}. Choose one of: {', '.join(COMPOSITIONS)}; or make "
            "one from a table with `compose_tasks`."
        )
    return compose_tasks(load_tasks()[COMPOSITIONS[name]])


def split_lists(composed: Composition, seed: int) -> dict[str, dict[str, tuple[Row, ...]]]:
    """Return the rows that fit, choose and judge, the same lists for all four tasks.

    `tasks.split` goes by both sides of a row. The tasks of a composition differ in one of them,
    so each would be split in its own way, and a list that a part was fitted on would judge the
    sum. Here a list goes where the table's own split has its last item: a sum is judged on items
    that neither ``f`` itself nor any list was asked for at its end while fitting. A judged item
    may still have stood in another place of a fitted list, also as its first item.

    Args:
        composed: The tasks.
        seed: Seed of the table's split.

    Returns:
        Rows by role and by part. Row ``k`` of a part shows the same list in every role.
    """
    part_of = {row.input: part for part, rows in split(composed.base, seed).items() for row in rows}
    parts = [part_of[items[-1].input] for items in composed.lists]
    return {
        role: {
            part: tuple(row for row, there in zip(task.rows, parts, strict=True) if there == part)
            for part in SPLITS
        }
        for role, task in composed.tasks.items()
    }


def _row(items: Sequence[Row], end: str, copied: bool) -> Row:
    asked = items[0 if end == "first" else -1]
    shown = BETWEEN.join(item.input for item in items)
    return Row(shown, asked.input if copied else asked.output)


def _draw(base: Task, size: int, count: int) -> tuple[tuple[Row, ...], ...]:
    """Draw lists, each once, in an order that depends on the table's rows only."""
    rows = sorted(base.rows, key=lambda row: _number("order", row.input, row.output))
    # Where an item and its answer begin alike, copying looks like `f`: Tunisia, Tunis.
    clear = [row for row in rows if row.input[0] != row.output[0]]
    ends = clear if len(clear) >= LEAST_ROWS else rows
    found: dict[tuple[Row, ...], None] = {}
    for number in range(_TRIES * count):
        if not ends or len(found) == count:
            break
        items = _list(rows, ends, ends[number % len(ends)], size, number)
        if items is not None:
            found[items] = None
    return tuple(found)


def _list(
    rows: Sequence[Row], ends: Sequence[Row], last: Row, size: int, number: int
) -> tuple[Row, ...] | None:
    """Draw a list that ends in a row; None if the table does not have the rows for it."""
    begun = {last.input[0], last.output[0]}
    possible = [row for row in ends if row != last and row.output != last.output]
    apart = [row for row in possible if row.input[0] != last.input[0]]
    clear = [row for row in apart if not begun & {row.input[0], row.output[0]}]
    first = _pick(_number("first", number), clear, apart, possible)
    if first is None:
        return None
    begun |= {first.input[0], first.output[0]}
    items = [first]
    for place in range(1, size - 1):
        letters = {row.input[0] for row in (*items, last)}
        possible = [row for row in rows if row not in (*items, last)]
        apart = [row for row in possible if row.input[0] not in letters]
        clear = [row for row in apart if row.input[0] not in begun]
        picked = _pick(_number("place", place, number), clear, apart, possible)
        if picked is None:
            return None
        items.append(picked)
    return (*items, last)


def _pick(number: int, *tiers: Sequence[Row]) -> Row | None:
    """Pick a row of the first tier that has any."""
    left = next((tier for tier in tiers if tier), None)
    return left[number % len(left)] if left else None


def _number(*key: object) -> int:
    """Return a number that depends on nothing but the key, on any machine and Python."""
    return int.from_bytes(hashlib.sha256(json.dumps(key).encode()).digest()[:8], "big")
