"""Damaged use of function vectors: from what, where, and against which answers.

Like `stillwired.mutants.vectors`, this takes over from sound readings what the model can do, what
each head does and which depths were chosen, so that nothing is swept again to find it out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from stillwired.instruments.depths import Depth
from stillwired.instruments.function_vectors import TaskVectors
from stillwired.instruments.head_effects import CleanMeans
from stillwired.instruments.interventions import Head
from stillwired.instruments.questions import Question
from stillwired.mutants.vectors import DamagedReadings, DamagedVectors
from stillwired.store.code import code_digest


class NextHeadsMeans(DamagedVectors):
    """Every head's mean output is that of the next head of its layer."""

    def means(self, name: str, form: str = "") -> CleanMeans:
        """Exchange the means within each layer."""
        sound = self._sound.means(name, form)
        return replace(sound, heads=sound.heads.roll(-1, dims=1))


class InTheLastBlock(DamagedVectors):
    """Every vector is inserted in the last block, whatever depth was chosen."""

    def depth(self, name: str, vector: str = "own") -> Depth:
        """Return the last depth."""
        return self.readings.depths[-1]


class SignTurned(DamagedVectors):
    """Every task's vector points the other way."""

    def vector(self, name: str, form: str = "", heads: Sequence[Head] | None = None) -> Tensor:
        """Turn a task's vector."""
        return -self._sound.vector(name, form, heads)


class OthersAnswers(DamagedReadings):
    """Judged questions whose right answers are those of other questions."""

    def questions(self, name: str, part: str, kind: str, form: str = "") -> list[Question]:
        """Deal the right answers of the judged questions out."""
        return self._dealt(super().questions(name, part, kind, form), part)

    def in_text(self, name: str, frame: str, before: str = "") -> list[Question]:
        """Deal them out in natural text as well."""
        return self._dealt(super().in_text(name, frame, before), "judge")

    def _dealt(self, asked: list[Question], part: str) -> list[Question]:
        if part != "judge":
            return asked
        order = np.roll(np.arange(len(asked)), 1)
        return [
            replace(one, answer=asked[other].answer)
            for one, other in zip(asked, order, strict=True)
        ]


class AnswersDealtOut(DamagedVectors):
    """Heads and vectors that were found before the judged answers were dealt out."""

    def __init__(self, sound: TaskVectors, damage: str) -> None:
        """Take over from sound vectors."""
        super().__init__(sound, damage)
        self.readings = OthersAnswers(sound.readings, damage)


MISUSED: dict[str, Callable[[TaskVectors, str], TaskVectors]] = {
    "every head's mean output taken from the next head": NextHeadsMeans,
    "every vector inserted in the last block": InTheLastBlock,
    "every vector inserted with its sign turned": SignTurned,
    "right answers dealt out anew": AnswersDealtOut,
}
"""What is broken about the use of vectors, and what breaks it."""


def misused_vectors(sound: TaskVectors, damage: str) -> TaskVectors:
    """Return the same heads and vectors, wrongly used.

    Args:
        sound: Sound vectors.
        damage: A key of :data:`MISUSED`.
    """
    return MISUSED[damage](sound, f"{damage}, by {code_digest(__name__)}")
