"""Prompts of in-context tasks: formats, natural text, shuffled labels.

Every prompt ends right before the answer and never in a space. Where words are separated by one,
the space belongs to the answer, as tokenizers have it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stillwired.data.tasks import Row, Task
from stillwired.errors import CorpusError

LEAST_ANSWERS = 10
"""With fewer distinct answers a shuffled label is the right one too often."""


@dataclass(frozen=True, slots=True)
class Format:
    """A way to write examples down.

    Attributes:
        name: What the format is called.
        example: One example, with ``{x}`` for its input and ``{y}`` for its output; ``{n}``
            counts them.
        opening: What stands before the first example.
    """

    name: str
    example: str
    opening: str = ""

    @property
    def lead(self) -> str:
        """What an answer begins with after a prompt: a space or nothing."""
        before = self.example.split("{y}")[0]
        return before[len(before.rstrip(" ")) :]

    def ask(self, number: int, query: str) -> str:
        """Return an example up to its answer."""
        before = self.example.split("{y}")[0].rstrip(" ")
        # The query last: it may hold braces of its own.
        return before.replace("{n}", str(number)).replace("{x}", query)

    def show(self, number: int, row: Row) -> str:
        """Return an example in full."""
        return self.ask(number, row.input) + self.lead + row.output + self.example.split("{y}")[1]


FORMATS = {
    made.name: made
    for made in (
        Format("qa", "Q: {x}\nA: {y}\n\n"),
        Format("question-answer", "Question: {x}\nAnswer: {y}\n\n"),
        Format("input-output", "Input: {x}\nOutput: {y}\n\n"),
        Format("arrow", "{x} → {y}\n"),
        Format("thin-arrow", "{x} -> {y}\n"),
        Format("thick-arrow", "{x} => {y}\n"),
        Format("colon", "{x}: {y}\n"),
        Format("equals", "{x} = {y}\n"),
        Format("bullet", "* {x} - {y}\n"),
        Format("numbered", "{n}. {x} / {y}\n"),
        Format("table", "| {x} | {y} |\n", opening="| given | wanted |\n| --- | --- |\n"),
        Format("json", '{"in": "{x}", "out": "{y}"}\n'),
        Format("tags", "<in>{x}</in><out>{y}</out>\n"),
        Format("brackets", "[{x}] [{y}]\n"),
        Format("dialogue", "Anna: {x}\nBen: {y}\n\n", opening="Anna asks and Ben answers.\n\n"),
    )
}
"""By name; ``qa`` is the paper's."""

WORD_FRAMES = (
    'In this sentence, the word "{x}" could be replaced by',
    'What she had in mind when she wrote "{x}" was',
    'My dictionary explains the word "{x}" as',
    'People who say "{x}" usually mean',
    'Another way of putting "{x}" would be',
)
PLACE_FRAMES = (
    "On our way through {x} last summer we spent a week in",
    "When people hear of {x}, the first thing that they think of is",
    "The letter came from {x}, to be exact from",
)


def frames(task: Task) -> tuple[str, ...]:
    """Return the natural text that a task's inputs fit into, with ``{x}`` for the input."""
    return {"word pair": WORD_FRAMES, "place": PLACE_FRAMES}.get(task.unit, ())


def in_frame(frame: str, query: str) -> str:
    """Return natural text that ends where the model goes on."""
    return frame.replace("{x}", query)


def prompt(form: Format, shots: Sequence[Row], query: str) -> str:
    """Return the shots and the query, up to the query's answer."""
    shown = "".join(form.show(number, row) for number, row in enumerate(shots, 1))
    return form.opening + shown + form.ask(len(shots) + 1, query)


def shuffle_labels(task: Task, shots: Sequence[Row], rng: np.random.Generator) -> list[Row]:
    """Return the shots with their answers permuted, so that none keeps its own.

    Raises:
        CorpusError: If the task has fewer than ten distinct answers, or more than half of the
            shots share one.
    """
    if task.answers < LEAST_ANSWERS:
        raise CorpusError(
            f"The labels of {task.name} cannot be shuffled: it has {task.answers} distinct "
            f"answers, and at least {LEAST_ANSWERS} are needed. Choose another task."
        )
    counts = Counter(row.output for row in shots)
    most = max(counts.values(), default=0)
    if 2 * most > len(shots):
        raise CorpusError(
            f"The labels of these {len(shots)} shots of {task.name} cannot be shuffled: "
            f"{most} of them share an answer. Draw other shots."
        )
    # Equal answers stand side by side, in an order left to chance; a step as long as the
    # longest such run leads out of every run.
    ranks = dict(zip(counts, rng.permutation(len(counts)), strict=True))
    chance = rng.permutation(len(shots))
    order = sorted(range(len(shots)), key=lambda k: (ranks[shots[k].output], chance[k]))
    giver = dict(zip(order, order[most:] + order[:most], strict=True))
    return [Row(row.input, shots[giver[k]].output) for k, row in enumerate(shots)]
