"""In-context tasks: tables of inputs and outputs.

A task is one file of ``tasks/``: rows written by hand, or a recipe that draws lists of words
from ``categories.json``. Everything here was written for this project; a user's own tasks come
in the published form, one list of inputs and outputs a file.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from stillwired.data.splits import SPLITS
from stillwired.errors import CorpusError

KINDS = ("abstractive", "extractive")
LEAST_ROWS = 30
"""Below it the judge split has fewer than nine rows, and nothing can be decided."""
DRAWN_ROWS = 300

_DEALT = ("fit", "judge", "fit", "choose", "fit", "judge", "fit", "choose", "fit", "judge")
"""How rows in hash order are dealt out: 50 / 20 / 30 %, all three from four rows on."""


@dataclass(frozen=True, slots=True)
class Row:
    """One example of a task."""

    input: str
    output: str


@dataclass(frozen=True, slots=True)
class Task:
    """A table of examples.

    Attributes:
        name: The name of its file, without the ending.
        kind: ``extractive`` if the answer is a part of the input, else ``abstractive``.
        says: What is asked, as one sentence.
        rows: The examples; no input occurs twice.
        source: Where the rows come from.
        cyclic: Whether going from input to output again and again leads back to every input.
        unit: What a row is about: a word pair, a place, a person, a list of words.
        asks: What is asked, where several tasks ask the same of other inputs. Their vectors are
            no others to each other.
    """

    name: str
    kind: str
    says: str
    rows: tuple[Row, ...]
    source: str
    cyclic: bool
    unit: str = "word pair"
    asks: str = ""

    def asks_as(self, other: Task) -> bool:
        """Whether another task asks the same."""
        return self.name == other.name or (self.asks != "" and self.asks == other.asks)

    @property
    def answers(self) -> int:
        """How many distinct answers there are."""
        return len({row.output for row in self.rows})


def _number(*key: object) -> int:
    """Return a number that depends on nothing but the key, on any machine and Python."""
    return int.from_bytes(hashlib.sha256(json.dumps(key).encode()).digest()[:8], "big")


def _draw(name: str, recipe: dict[str, Any], categories: dict[str, list[str]]) -> tuple[Row, ...]:
    """Draw the rows of a task about lists of words.

    No two words of a list begin alike, so that an answer's first token tells it from the others
    and the alphabet is decided by first letters.
    """
    pool = [word for category in recipe["words"] for word in categories[category]]
    size, asked = recipe["size"], recipe["answer"]
    rows: dict[str, str] = {}
    number = 0
    while len(rows) < DRAWN_ROWS:
        number += 1
        words: list[str] = []
        for place in range(size):
            source = categories[asked] if asked in categories and place == 0 else pool
            left = [word for word in source if word[0] not in {taken[0] for taken in words}]
            words.append(left[_number(name, number, place) % len(left)])
        if asked in categories:
            answer = words.pop(0)
            words.insert(_number(name, number, "where") % size, answer)
        else:
            asked_at = {"first": 0, "middle": size // 2, "last": -1}[asked.split()[-1]]
            ordered = sorted(words) if asked.startswith("alphabetically") else words
            answer = ordered[asked_at]
        rows[", ".join(words)] = answer
    return tuple(Row(shown, answer) for shown, answer in rows.items())


@lru_cache(maxsize=1)
def _built_in() -> tuple[Task, ...]:
    folder = resources.files("stillwired.data") / "tasks"
    files = [file for file in folder.iterdir() if file.name.endswith(".json")]
    read = {file.name: json.loads(file.read_text(encoding="utf-8")) for file in files}
    categories = read.pop("categories.json")
    tasks = []
    for entry in sorted(read.values(), key=lambda entry: str(entry["task"])):
        name = entry.pop("task")
        if "draw" in entry:
            rows = _draw(name, entry.pop("draw"), categories)
        else:
            rows = tuple(Row(**row) for row in entry.pop("rows"))
        tasks.append(Task(name=name, rows=rows, **entry))
    return tuple(tasks)


def load_tasks() -> dict[str, Task]:
    """Return the built-in tasks by name."""
    return {task.name: task for task in _built_in()}


def _side(where: str, row: dict[str, Any], key: str) -> str:
    """Return one side of a user's row, or refuse the row."""
    if key not in row:
        raise CorpusError(f'{where}: no "{key}". Give every row an "input" and an "output".')
    value = row[key]
    if not isinstance(value, str):
        raise CorpusError(f'{where}: "{key}" is {value!r}, not a string. Put it in quotes.')
    if not value.strip():
        raise CorpusError(f'{where}: "{key}" is empty. Fill it in, or remove the row.')
    if not value.isascii() and re.search("[\ud800-\udfff]", value):
        raise CorpusError(f'{where}: "{key}" holds half a surrogate pair. Write the character.')
    return value.strip()


def _user_task(file: Path) -> Task:
    try:
        entries = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise CorpusError(
            f"{file} cannot be read as JSON ({error}). Save a list of rows there as UTF-8, such "
            'as [{"input": "hot", "output": "cold"}].'
        ) from error
    if not isinstance(entries, list):
        raise CorpusError(
            f'{file} is not a list. Write the rows as [{{"input": ..., "output": ...}}, ...].'
        )
    first: dict[str, int] = {}
    rows = []
    for number, entry in enumerate(entries, 1):
        where = f"{file}, row {number}"
        if not isinstance(entry, dict):
            raise CorpusError(f'{where}: not an object. Write {{"input": ..., "output": ...}}.')
        row = Row(_side(where, entry, "input"), _side(where, entry, "output"))
        if row.input == row.output:
            raise CorpusError(
                f"{where}: input and output are both {row.input!r}, which shows nothing. Remove "
                "the row."
            )
        if row.input in first:
            raise CorpusError(
                f"{where}: the input {row.input!r} is already that of row {first[row.input]}. "
                "Keep one of the two."
            )
        first[row.input] = number
        rows.append(row)
    if len(rows) < LEAST_ROWS:
        raise CorpusError(
            f"{file} has {len(rows)} row{'s' * (len(rows) != 1)}, but at least {LEAST_ROWS} are "
            "needed: they are split into fit, choose and judge. Add rows, or leave the file out."
        )
    taken = all(re.search(rf"(?<!\w){re.escape(r.output)}(?!\w)", r.input) for r in rows)
    return Task(
        name=file.stem,
        kind="extractive" if taken else "abstractive",
        says=f"What {file.name} asks.",
        rows=tuple(rows),
        source=file.name,
        cyclic={row.input for row in rows} == {row.output for row in rows},
    )


def load_task_folder(path: Path) -> dict[str, Task]:
    """Return a user's tasks: each .json file of a folder is a list of inputs and outputs.

    Raises:
        CorpusError: If there is no such folder or file, or a row cannot be meant.
    """
    if not path.is_dir():
        raise CorpusError(f"There is no folder {path}. Name a folder of .json files, one a task.")
    files = sorted(file for file in path.glob("*.json") if file.is_file())
    if not files:
        raise CorpusError(f"The folder {path} holds no .json file. Put one there for each task.")
    return {task.name: task for task in map(_user_task, files)}


def split(task: Task, seed: int) -> dict[str, tuple[Row, ...]]:
    """Return the rows that fit (half of them), choose (a fifth) and judge (the rest).

    Rows are dealt out in the order of a hash of both sides, so neither the table's order nor
    any model matters. A row and its reverse stay together: one gives the other away.
    """
    pairs: dict[int, list[Row]] = {}
    for row in sorted(task.rows, key=lambda row: row.input):
        pairs.setdefault(_number(seed, *sorted((row.input, row.output))), []).append(row)
    dealt: dict[str, list[Row]] = {part: [] for part in SPLITS}
    for rank, (_, rows) in enumerate(sorted(pairs.items())):
        dealt[_DEALT[rank % len(_DEALT)]] += rows
    return {part: tuple(rows) for part, rows in dealt.items()}
