"""Questions of in-context tasks: a prompt, the token that answers it, and where both come from.

Todd, Li, Sen Sharma, Mueller, Wallace, Bau (2024), "Function vectors in large language models".
A question is clean (shots, then the query), shuffled (the same with the shots' answers dealt out
wrongly), zero-shot (the query alone) or natural text. Its answer is the first token that the
model's own tokenizer writes after the prompt; where that is nothing but a space, as before numbers
in some vocabularies, the space belongs to the prompt. What is drawn depends on the seed and on the
task; the tokenizer only decides which of it can be asked.
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
        cluster: What the row has in common with others; see `clusters_of`.
        tokens: The prompt.
        query: The query's own tokens, written where the answer would be, without mere spaces.
        answer: First token of the answer that is no mere space.
        pieces: Tokens of the answer from there on.
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
    """A query with its shots, before anything is written down.

    Attributes:
        example: Id.
        query: The row that is asked for.
        shots: The rows that are shown.
        cluster: As in `Question`; empty for the word pair.
    """

    example: str
    query: Row
    shots: tuple[Row, ...]
    cluster: str = ""


Asked: TypeAlias = tuple[Drawn, str, str, list[tuple[int, int]]]
"""A drawn query, its prompt, what leads to an answer, and where the prompt's answers stand."""

WRITTEN = 32
"""Prompts that are written down at a time."""


def digest_of(task: Task) -> str:
    """sha256 of a task's name and rows, hexadecimal."""
    content = [task.name, [[row.input, row.output] for row in task.rows]]
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()


def clusters_of(task: Task) -> dict[Row, str]:
    """Return what is resampled: rows of one cluster do not count as independent.

    A row and its reverse are one cluster. Where answers repeat, rows that share one are a cluster
    as well: what holds of an answer is seen once, however many rows ask for it. Fewer than
    :data:`LEAST_ANSWERS` answers are all that there are, as positive and negative, and no sample
    of others; their rows stay apart.
    """
    if not LEAST_ANSWERS <= task.answers < len(task.rows):
        return {row: _pair(row) for row in task.rows}
    before: dict[str, str] = {}

    def first(answer: str) -> str:
        while answer in before:
            answer = before[answer]
        return answer

    rows = set(task.rows)
    for row in task.rows:
        one, other = sorted((first(row.input), first(row.output)))
        if one != other and Row(row.output, row.input) in rows:
            before[other] = one
    return {row: first(row.output) for row in task.rows}


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
    pool, clusters = parts["fit"], clusters_of(task)
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
        shown = tuple(others[int(k)] for k in picked)
        found.append(Drawn(f"{task.name}: {query.input}", query, shown, clusters[query]))
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
    if kind == "shuffled" and (begun := _beginnings(checkpoint, task, form)) < LEAST_ANSWERS:
        raise UnsuitableTaskError(
            f"The labels of {task.name} cannot be shuffled: to the tokenizer of {checkpoint.name} "
            f"its answers begin with {begun} distinct tokens, and at least {LEAST_ANSWERS} are "
            "needed."
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


def hits_of_always(said: int, questions: Sequence[Question]) -> NDArray[np.float64]:
    """Hits of a guesser that says one token whatever is asked [questions]."""
    return np.array([float(question.answer == said) for question in questions])


def scored(
    name: str,
    questions: Sequence[Question],
    scores: Sequence[float] | NDArray[np.float64],
    **factors: Factor,
) -> Outcome:
    """Return the outcome of some questions, with their clusters."""
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


def _beginnings(checkpoint: Checkpoint, task: Task, form: Format) -> int:
    """Count the distinct tokens that answers begin with: a label is known by the first one."""
    rows = {row.output: row for row in task.rows}.values()
    asked: list[Asked] = [
        (Drawn(row.input, row, ()), prompt(form, [], row.input), form.lead, []) for row in rows
    ]
    return len({question.answer for question in _written(checkpoint, asked)})


def _written(checkpoint: Checkpoint, asked: Sequence[Asked]) -> list[Question]:
    prompts = checkpoint.encode([text for _, text, _, _ in asked])
    wholes = checkpoint.encode([text + lead + one.query.output for one, text, lead, _ in asked])
    # Some tokenizers begin a text otherwise than they go on, so a query is encoded in its place.
    copies = checkpoint.encode([text + lead + one.query.input for one, text, lead, _ in asked])
    questions = []
    for (one, text, _, spans), short, whole, copy in zip(
        asked, prompts, wholes, copies, strict=True
    ):
        if whole[: len(short)] != short:
            continue
        blanks, answer = _parted(checkpoint, whole[len(short) :])
        if not answer:
            continue
        _, query = _parted(checkpoint, copy[_shared(short, copy) :])
        prefix = checkpoint.prefix
        places = _positions(checkpoint, text, spans)
        questions.append(
            Question(
                example=one.example,
                cluster=one.cluster or _pair(one.query),
                tokens=(*prefix, *short, *blanks),
                query=tuple(query),
                answer=answer[0],
                pieces=len(answer),
                copies=query[:1] == answer[:1],
                answers=tuple(place + len(prefix) for place in places),
                row=one.query,
            )
        )
    return questions


def _parted(checkpoint: Checkpoint, tokens: Sequence[int]) -> tuple[list[int], list[int]]:
    """Part leading tokens that stand for nothing but blanks from the others."""
    says = (k for k, token in enumerate(tokens) if checkpoint.tokenizer.decode([token]).strip())
    start = next(says, len(tokens))
    return list(tokens[:start]), list(tokens[start:])


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """Count the leading tokens that two texts have in common."""
    differ = (k for k, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differ, min(len(one), len(other)))


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
