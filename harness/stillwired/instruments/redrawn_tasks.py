"""Questions that are asked anew: others of the judge split, with other shots, on the same fits.

What `stillwired.instruments.redrawn_text` is to text, this is to tasks. Rows stay in their splits,
so that no judged question was ever fitted to. Where a task has no more rows than are judged,
another draw asks for the same ones, and only their shots and the controls are new.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwired.checkpoints.checkpoint import Checkpoint
from stillwired.data.tasks import Task
from stillwired.engine.cone import Cone, fitting_cells
from stillwired.engine.engine import Engine
from stillwired.instruments.depths import Depth
from stillwired.instruments.function_vectors import TaskVectors
from stillwired.instruments.head_effects import CleanMeans
from stillwired.instruments.interventions import Head
from stillwired.instruments.questions import Parts, Question
from stillwired.instruments.task_readings import TaskReadings
from stillwired.redraws import Redraw
from stillwired.store.cache import Store

CHOSEN = ("random vector",)
"""Purposes whose randomness stays: the depth of a random vector was chosen for that vector."""


class RedrawnTasks(TaskReadings):
    """Questions whose judged ones are drawn anew.

    Args:
        fits: The undrawn readings.
        redraw: What is drawn anew.
        checkpoint: What is asked: that of the undrawn readings, perhaps in another regime.
        engine: Gives its engine.
        store: Where what is answered anew is kept.
    """

    def __init__(
        self,
        fits: TaskReadings,
        redraw: Redraw,
        checkpoint: Checkpoint,
        engine: Callable[[], Engine],
        store: Store,
    ) -> None:
        super().__init__(
            checkpoint, engine, fits.tasks, fits.sizes, store, fits.seed, fits.say, fits.restart
        )
        self._fits, self._redraw = fits, redraw

    @cached_property
    def cone(self) -> Cone:
        """What runs the passes."""
        engine = self.engine()
        return Cone(engine, fitting_cells(engine) // self._redraw.cut)

    def about(self, tasks: Mapping[str, Task], parts: Mapping[str, Parts]) -> RedrawnTasks:
        """Return readings of other tasks, drawn anew as these are."""
        fits = self._fits.about(tasks, parts)
        return RedrawnTasks(fits, self._redraw, self.checkpoint, self.engine, self._store)

    def parts(self, name: str) -> Parts:
        """Rows of a task by split, as if nothing was drawn anew."""
        return self._fits.parts(name)

    def questions(self, name: str, part: str, kind: str, form: str = "") -> list[Question]:
        """Return the questions of a task; only those of the judge split are drawn anew."""
        if part != "judge":
            return self._fits.questions(name, part, kind, form)
        return super().questions(name, part, kind, form)

    def rng(self, name: str, purpose: str) -> np.random.Generator:
        """Randomness of judged data and controls."""
        drawn = purpose if purpose in CHOSEN else f"{purpose}, redraw {self._redraw.number}"
        return super().rng(name, drawn)

    def cached(
        self,
        what: str,
        tasks: tuple[str, ...],
        given: Mapping[str, Any],
        build: Callable[[], Mapping[str, NDArray[Any]]],
        module: str,
    ) -> dict[str, NDArray[Any]]:
        """Return arrays that follow from these readings, from the cache or built now."""
        drawn = {"redraw": self._redraw.label, "fitted": self._fits.checkpoint.key, **given}
        return super().cached(what, tasks, drawn, build, module)


class RedrawnVectors(TaskVectors):
    """Heads and vectors that were found before questions were drawn anew.

    Args:
        fits: The undrawn ones.
        readings: The redrawn readings.
    """

    def __init__(self, fits: TaskVectors, readings: TaskReadings) -> None:
        super().__init__(readings)
        self._fits = fits

    def about(self, tasks: Mapping[str, Task], parts: Mapping[str, Parts]) -> RedrawnVectors:
        """Return heads and vectors of other tasks, found before likewise."""
        return RedrawnVectors(self._fits.about(tasks, parts), self.readings.about(tasks, parts))

    def means(self, name: str, form: str = "") -> CleanMeans:
        """What clean questions of a task leave at their last token."""
        return self._fits.means(name, form)

    def effects(self, name: str) -> NDArray[np.float64]:
        """Indirect effect of every head [questions, layers, heads]."""
        return self._fits.effects(name)

    def choice(self, name: str) -> NDArray[np.float64]:
        """Mean probability of the right answer on the choose split [vectors, depths]."""
        return self._fits.choice(name)

    def depth(self, name: str, vector: str = "own") -> Depth:
        """The depth at which a vector does most on the choose split."""
        return self._fits.depth(name, vector)

    @cached_property
    def carriers(self) -> tuple[str, ...]:
        """Tasks whose effects are averaged."""
        return self._fits.carriers

    @cached_property
    def count(self) -> int:
        """How many heads make a vector."""
        return self._fits.count

    @cached_property
    def all_heads(self) -> frozenset[Head]:
        """The heads of the model."""
        return self._fits.all_heads
