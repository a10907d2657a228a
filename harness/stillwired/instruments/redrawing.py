"""One redraw as a run meets it: what it makes of the readings and readers that the run has made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from stillwired.checkpoints.checkpoint import Checkpoint
from stillwired.engine.engine import Engine
from stillwired.instruments.function_vectors import TaskVectors
from stillwired.instruments.future_lens import FutureLens
from stillwired.instruments.redrawn_tasks import RedrawnTasks, RedrawnVectors
from stillwired.instruments.redrawn_text import RedrawnPasses, RedrawnText
from stillwired.instruments.text import TextReadings
from stillwired.redraws import Redraw
from stillwired.store.cache import Store


class Redrawing:
    """Makes anew what a redraw says; without one, everything stays as it is handed over.

    Args:
        redraw: The redraw, or None.
        checkpoint: What is judged; what is handed over may be of the same in another regime.
        engine: Gives its engine.
        store: Gives the cache for what is read anew. It is called only if something is.
    """

    def __init__(
        self,
        redraw: Redraw | None,
        checkpoint: Checkpoint,
        engine: Callable[[], Engine],
        store: Callable[[], Store],
    ) -> None:
        self.redraw = redraw
        self._checkpoint, self._engine, self._store = checkpoint, engine, store

    def text(self, undrawn: TextReadings) -> TextReadings:
        """Draw the judged rows of a text anew."""
        if self.redraw is None or self.redraw.keeps_data:
            return undrawn
        return RedrawnText(undrawn, self.redraw, self._checkpoint, self._engine, self._store())

    def future_lens(self, lens: FutureLens) -> FutureLens:
        """Read redrawn rows, or train again what reads."""
        if self.redraw is None:
            return lens
        recipe = lens.prompts.recipe
        if self.redraw.keeps_data:
            recipe = replace(recipe, restart=self.redraw.number)
            return FutureLens(lens.text, recipe, lens.few_rows)
        made = FutureLens(lens.text, recipe, lens.few_rows)
        made.prompts.passes = RedrawnPasses(lens.text, lens.few_rows, self.redraw.cut)
        return made

    def task_vectors(self, vectors: TaskVectors) -> TaskVectors:
        """Ask other questions, or find heads and vectors again."""
        # Tasks have no documents: what the undrawn run answers is judged again.
        if self.redraw is None or self.redraw.kind == "documents":
            return vectors
        if self.redraw.keeps_data:
            return TaskVectors(vectors.readings.again(self.redraw.number))
        given = self.redraw, self._checkpoint, self._engine, self._store()
        return RedrawnVectors(vectors, RedrawnTasks(vectors.readings, *given))
