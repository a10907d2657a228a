"""Questions of in-context tasks: a prompt, the token that answers it, and where both come from.

Todd, Li, Sen Sharma, Mueller, Wallace, Bau (2024), "Function vectors in large language models".
A question is clean (shots, then the query), shuffled (the same with the shots' answers dealt out
wrongly), zero-shot (the query alone) or natural text. Its answer is the first token that the
model's own tokenizer writes after the prompt. What is drawn depends on the seed and on the task;
the tokenizer only decides which of it can be asked.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from stillwired.checkpoints.checkpoint import Checkpoint
from stillwired.data.task_prompts import (
    LEAST_ANSWERS,
    Format,
    in_frame,
    prompt,
    shuffle_labels,
)
from stillwired.data.tasks import Row, Task
from stillwired.errors import CorpusError, UnsuitableTaskError, UsageError
from stillwired.outcomes import Factor, Outcome

KINDS = ("clean", "shuffled", "zero-shot")

Draw = Callable[[str], np.random.Generator]
"""Gives the randomness of a purpose."""

Parts = Mapping[str, Sequence[Row]]
"""Rows of a task by split."""


@dataclass(frozen=True)
class Question:
    """A prompt and its right answer.

    Attributes:
        example: Id, unique among the questions of one draw.
        cluster: The word pair; a row and its reverse are one.
        tokens: The prompt.
        query: The query's own tokens, written as an answer would be.
        answer: First token of the answer.
        pieces: Tokens of the whole answer.
        copies: Whether the query begins with the same token as the answer, so that repeating
            the query would be counted as right.
        answers: Positions in the prompt of every token of the shots' answers, from the left.
        row: The row that is asked for.
    """

    example: str
    cluster: str
    tokens: tuple[int, ...]
    query: tuple[int, ...]
    answer: int
    pieces: int
    copies: bool
    answers: tuple[int, ...]
    row: Row


@dataclass(frozen=True)
class Drawn:
    """A query with its shots, before anything is written down."""

    example: str
    query: Row
    shots: tuple[Row, ...]


Asked: TypeAlias = tuple[Drawn, str, str, list[tuple[int, int]]]
"""A drawn query, its prompt, what leads to an answer, and where the prompt's answers stand."""

WRITTEN = 32
"""Prompts that are written down at a time."""


def digest_of(task: Task) -> str:
    """sha256 of a task's name and rows, hexadecimal."""
    content = [task.name, [[row.input, row.output] for row in task.rows]]
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()


def draw(task: Task, parts: Parts, part: str, count: int, shots: int, rng: Draw) -> list[Drawn]:
    """Draw queries from one split and shots from the fit split.

    A query's own row and its reverse are never among its shots. Where a split has fewer rows
    than are asked for, every row is asked once.

    Args:
        task: The table.
        parts: Its rows by split.
        part: ``fit``, ``choose`` or ``judge``: where queries come from.
        count: Most queries.
        shots: Shots for each.
        rng: Randomness by purpose.

    Raises:
        UnsuitableTaskError: If the fit split has too few rows for so many shots.
    """
    pool = parts["fit"]
    chance = rng(f"{task.name}, {part}")
    order = chance.permutation(len(parts[part]))[:count]
    found = []
    for number in order:
        query = parts[part][int(number)]
        others = [row for row in pool if _pair(row) != _pair(query)]
        if len(others) < shots:
            raise UnsuitableTaskError(
                f"{task.name} has {len(others)} rows to show beside {query.input!r}, and {shots} "
                "shots are asked for. Give the task more rows."
            )
        picked = chance.choice(len(others), shots, replace=False)
        found.append(
            Drawn(f"{task.name}: {query.input}", query, tuple(others[int(k)] for k in picked))
        )
    return found


def ask(
    checkpoint: Checkpoint,
    task: Task,
    drawn: Sequence[Drawn],
    kind: str,
    form: Format,
    rng: Draw,
    most: int | None = None,
    copies: bool = True,
) -> list[Question]:
    """Write drawn queries down as prompts.

    Questions whose prompt and answer the tokenizer joins in one token are left out, and those
    whose shots share too few answers to be dealt out wrongly.

    Args:
        checkpoint: Whose tokenizer is used.
        task: The table.
        drawn: Queries with their shots.
        kind: One of :data:`KINDS`.
        form: How examples are written.
        rng: Randomness by purpose, for shuffled labels.
        most: Questions that are enough: no more are written than that takes.
        copies: Whether to keep those whose answer begins like the query.

    Raises:
        UsageError: If there is no such kind.
        UnsuitableTaskError: If the labels of this task cannot be shuffled.
    """
    if kind == "shuffled" and task.answers < LEAST_ANSWERS:
        raise UnsuitableTaskError(
            f"The labels of {task.name} cannot be shuffled: it has {task.answers} distinct "
            f"answers, and at least {LEAST_ANSWERS} are needed."
        )
    if kind not in KINDS:
        raise UsageError(
            f"There are no {kind!r} questions. Choose one of: {', '.join(KINDS)}, or natural text."
        )
    chance = rng(f"{task.name}, labels")
    asked: list[Asked] = []
    for one in drawn:
        shown = {"clean": list(one.shots), "zero-shot": [], "shuffled": []}[kind]
        if kind == "shuffled":
            try:
                shown = shuffle_labels(task, one.shots, chance)
            except CorpusError:
                continue
        spans, text = [], form.opening
        for number, row in enumerate(shown, 1):
            before = form.ask(number, row.input) + form.lead
            spans.append((len(text + before), len(text + before + row.output)))
            text += form.show(number, row)
        asked.append((one, prompt(form, shown, one.query.input), form.lead, spans))
    return _enough(checkpoint, asked, most, copies)


def ask_in_frame(
    checkpoint: Checkpoint,
    drawn: Sequence[Drawn],
    frame: str,
    before: str = "",
    most: int | None = None,
    copies: bool = True,
) -> list[Question]:
    """Put queries into natural text, behind some text that has nothing to do with them.

    Args:
        checkpoint: Whose tokenizer is used.
        drawn: Queries; their shots are not shown.
        frame: Natural text with ``{x}`` for the query, ending where the answer goes on.
        before: Text in front of it.
        most: As in `ask`.
        copies: As in `ask`.
    """
    asked: list[Asked] = [
        (one, before + in_frame(frame, one.query.input), " ", []) for one in drawn
    ]
    return _enough(checkpoint, asked, most, copies)


def scored(
    name: str,
    questions: Sequence[Question],
    scores: Sequence[float] | NDArray[np.float64],
    **factors: Factor,
) -> Outcome:
    """Return the outcome of some questions, with their word pairs as clusters."""
    return Outcome(
        name=name,
        examples=[question.example for question in questions],  # type: ignore[arg-type]
        clusters=[question.cluster for question in questions],  # type: ignore[arg-type]
        scores=scores,  # type: ignore[arg-type]
        factors=factors,
    )


def _enough(
    checkpoint: Checkpoint, asked: Sequence[Asked], most: int | None, copies: bool
) -> list[Question]:
    """Write prompts down, some at a time, until there are enough questions."""
    found: list[Question] = []
    for start in range(0, len(asked), WRITTEN):
        written = _written(checkpoint, asked[start : start + WRITTEN])
        found += [question for question in written if copies or not question.copies]
        if most is not None and len(found) >= most:
            break
    return found[:most]


def _written(checkpoint: Checkpoint, asked: Sequence[Asked]) -> list[Question]:
    prompts = checkpoint.encode([text for _, text, _, _ in asked])
    wholes = checkpoint.encode([text + lead + one.query.output for one, text, lead, _ in asked])
    queries = checkpoint.encode([lead + one.query.input for one, _, lead, _ in asked])
    questions = []
    for (one, text, _, spans), short, whole, query in zip(
        asked, prompts, wholes, queries, strict=True
    ):
        if whole[: len(short)] != short or len(whole) <= len(short):
            continue
        prefix = checkpoint.prefix
        places = _positions(checkpoint, text, spans)
        questions.append(
            Question(
                example=one.example,
                cluster=_pair(one.query),
                tokens=(*prefix, *short),
                query=tuple(query),
                answer=whole[len(short)],
                pieces=len(whole) - len(short),
                copies=bool(query) and query[0] == whole[len(short)],
                answers=tuple(place + len(prefix) for place in places),
                row=one.query,
            )
        )
    return questions


def _positions(checkpoint: Checkpoint, text: str, spans: Sequence[tuple[int, int]]) -> list[int]:
    """Find the tokens that overlap some spans of characters."""
    if not spans:
        return []
    encoded = checkpoint.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    found, left = [], list(spans)
    for number, (start, end) in enumerate(encoded["offset_mapping"]):
        while left and left[0][1] <= start:
            left.pop(0)
        if left and start < left[0][1] and end > left[0][0]:
            found.append(number)
    return found


def _pair(row: Row) -> str:
    """Name a word pair, whichever way round."""
    return " | ".join(sorted((row.input, row.output)))
