"""Damaged function vectors: each breaks one thing that claims about them rely on.

What the model can do, what clean prompts leave and what each head does are taken over from sound
readings, so that no sweep is run again and every ability stays. Ways of damage that concern heads
and vectors are classes of `TaskVectors`; those that concern what is measured with them are classes
of what measures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from stillwired.errors import UsageError
from stillwired.instruments.depths import Depth
from stillwired.instruments.function_vectors import TaskVectors, as_long_as
from stillwired.instruments.head_effects import CleanMeans, others_of
from stillwired.instruments.head_outcomes import HeadOutcomes
from stillwired.instruments.interventions import Head
from stillwired.instruments.task_readings import TaskReadings
from stillwired.instruments.vector_outcomes import VectorOutcomes
from stillwired.outcomes import Outcome


class DamagedReadings(TaskReadings):
    """Questions that are cached apart, for ways of damage that change how they are put."""

    def __init__(self, sound: TaskReadings, damage: str) -> None:
        """Take over from sound readings."""
        super().__init__(
            sound.checkpoint,
            sound.engine,
            sound.tasks,
            sound.sizes,
            sound._store,
            sound.seed,
            sound.say,
            sound.restart,
            damage,
        )


class DamagedVectors(TaskVectors):
    """Vectors that are cached apart, of tasks, means and effects that are sound."""

    def __init__(self, sound: TaskVectors, damage: str) -> None:
        """Take over from sound vectors."""
        super().__init__(sound.readings.again(sound.readings.restart, damage))
        self._sound = sound
        # Chosen before the damage.
        self.carriers, self.count, self.all_heads = sound.carriers, sound.count, sound.all_heads

    def means(self, name: str, form: str = "") -> CleanMeans:
        """What clean questions leave, undamaged."""
        return self._sound.means(name, form)

    def effects(self, name: str) -> NDArray[np.float64]:
        """Indirect effects, undamaged."""
        return self._sound.effects(name)

    def depth(self, name: str, vector: str = "own") -> Depth:
        """The depth that was chosen before the damage."""
        return self._sound.depth(name, vector)

    def choice(self, name: str) -> NDArray[np.float64]:
        """The curves that depths were chosen by before the damage."""
        return self._sound.choice(name)


class OtherHeads(DamagedVectors):
    """Other heads of the same layers are taken for those that carry tasks."""

    def heads(self, count: int | None = None, without: str | None = None) -> tuple[Head, ...]:
        """Find the heads, and take others."""
        found = self._sound.heads(count, without)
        heads = self.mean_effects(without).shape[1]
        return others_of(found, heads, np.random.default_rng(0))


class OtherHeadsInTheVector(OtherHeads):
    """Likewise, but only where no number of heads is asked for."""

    def heads(self, count: int | None = None, without: str | None = None) -> tuple[Head, ...]:
        """Leave heads alone whose number is named."""
        if count is not None:
            return self._sound.heads(count, without)
        return super().heads(count, without)


class NextTasksVector(DamagedVectors):
    """Every task gets the vector of the next one in the list."""

    def vector(self, name: str, form: str = "", heads: Sequence[Head] | None = None) -> Tensor:
        """Return another task's vector."""
        return self._sound.vector(self.other(name), form, heads)


class RandomVectors(DamagedVectors):
    """Every task gets a random vector of its own one's length."""

    def vector(self, name: str, form: str = "", heads: Sequence[Head] | None = None) -> Tensor:
        """Draw a direction."""
        sound = self._sound.vector(name, form, heads)
        return as_long_as(sound, self.readings.rng(name, "damage"))


class LaidToTheLastLayer(DamagedVectors):
    """Nearly all that any layer's head does is laid to the last layer's head of that number."""

    def effects(self, name: str) -> NDArray[np.float64]:
        """Add most of every layer up in the last one."""
        sound = self._sound.effects(name)
        left = 0.05 * sound
        left[:, -1] += (sound - left).sum(1)
        return left


class NothingInLongText(VectorOutcomes):
    """In long text no vector is inserted."""

    def in_text(self, vector: str, long: bool = False) -> Outcome:
        """Read long text without a vector, whatever is asked for."""
        return super().in_text("nothing" if long else vector, long)


class LooksDealtOut(HeadOutcomes):
    """What each head looks at is dealt out anew within the prompt."""

    def attention_on_answers(self, heads: str) -> Outcome:
        """Shuffle what the heads that carry tasks look at."""
        return super().attention_on_answers("shuffled" if heads == "top" else heads)


VECTORS: dict[str, Callable[[TaskVectors, str], TaskVectors]] = {
    "other heads of the same layers taken for those that carry tasks": OtherHeads,
    "other heads of the same layers taken for the vector, not for the doubled one": (
        OtherHeadsInTheVector
    ),
    "every task gets the vector of the next one": NextTasksVector,
    "every task gets a random vector of its own one's length": RandomVectors,
    "nearly all effects laid to the last layer": LaidToTheLastLayer,
}
"""What is broken about heads and vectors, and what breaks it."""

OUTCOMES: dict[str, type[VectorOutcomes]] = {"no vector inserted into long text": NothingInLongText}
"""What is broken where vectors are judged."""

HEADS: dict[str, type[HeadOutcomes]] = {
    "what each head looks at dealt out anew within the prompt": LooksDealtOut
}
"""What is broken where heads are described."""


def damaged_vectors(sound: TaskVectors, damage: str) -> TaskVectors:
    """Damage heads or vectors.

    Args:
        sound: What is damaged; it stays as it is.
        damage: One of :data:`VECTORS`.

    Raises:
        UsageError: If there is no such damage.
    """
    if damage not in VECTORS:
        raise UsageError(
            f"There is no damage {damage!r} to vectors. Choose one of: {', '.join(VECTORS)}."
        )
    return VECTORS[damage](sound, damage)
