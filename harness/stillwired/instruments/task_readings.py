"""In-context tasks as instruments see them: questions by split, randomness, and a cache.

What `stillwired.instruments.text` is to text, this is to tasks. Rows that judge are drawn from
the suite's seed and the task alone. What instruments are fitted to and chosen on is drawn anew
for every restart, which is how the variance of a refit is measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwired.checkpoints.checkpoint import Checkpoint
from stillwired.data.task_prompts import FORMATS
from stillwired.data.task_sizes import DEPTHS, TaskSizes
from stillwired.data.tasks import Task, split
from stillwired.engine.cone import Cone
from stillwired.engine.engine import Engine, Progress
from stillwired.errors import UnsuitableTaskError, UsageError
from stillwired.instruments.depths import Depth, resolve_depths
from stillwired.instruments.draws import generator
from stillwired.instruments.questions import (
    Drawn,
    Parts,
    Question,
    ask,
    ask_in_frame,
    digest_of,
    draw,
)
from stillwired.instruments.survey import Say
from stillwired.instruments.telling import tenths
from stillwired.store.cache import Store
from stillwired.store.code import code_digest

FEWEST_CLEAN = 5
"""With fewer clean questions a mean over them would be that of a few prompts."""


class TaskReadings:
    """Questions about tasks, put to one checkpoint.

    Args:
        checkpoint: What is asked.
        engine: Gives the engine; called only when something is not in the cache.
        tasks: The tables by name, in the order in which they are shown.
        sizes: How much is measured.
        store: The cache.
        seed: The suite's seed.
        say: Told about progress.
        restart: Which draw of what is fitted and chosen on: 0, 1, 2, …
        damage: Name of the mutant that damages the readings, or empty.

    Attributes:
        tasks: The same.
        sizes: The same.
        restart: The same.
        seed: The same.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        engine: Callable[[], Engine],
        tasks: Mapping[str, Task],
        sizes: TaskSizes,
        store: Store,
        seed: int = 0,
        say: Say = lambda _: None,
        restart: int = 0,
        damage: str = "",
    ) -> None:
        self.checkpoint, self.engine, self.sizes, self.say = checkpoint, engine, sizes, say
        self.tasks = dict(tasks)
        self.restart, self.damage = restart, damage
        self._store, self.seed = store, seed
        self._parts: dict[str, Parts] = {}
        self._cells: dict[tuple[str, str], NDArray[np.int64]] = {}
        self._questions: dict[tuple[str, str, str, str], list[Question]] = {}
        self._commonest: dict[tuple[str, str, str], int] = {}

    def again(self, restart: int = 0, damage: str = "") -> TaskReadings:
        """Return the same readings with another draw of fits, or under a mutant's name."""
        return self._like(self.tasks, self._parts, restart, damage)

    def about(self, tasks: Mapping[str, Task], parts: Mapping[str, Parts]) -> TaskReadings:
        """Return readings of other tasks, which may be split in a way of their own.

        Args:
            tasks: The tables by name.
            parts: Rows by split, for the tasks that are not split as all are.
        """
        return self._like(tasks, parts, self.restart, self.damage)

    def _like(
        self, tasks: Mapping[str, Task], parts: Mapping[str, Parts], restart: int, damage: str
    ) -> TaskReadings:
        made = TaskReadings(
            self.checkpoint,
            self.engine,
            tasks,
            self.sizes,
            self._store,
            self.seed,
            self.say,
            restart,
            damage,
        )
        made._parts = dict(parts)
        return made

    @cached_property
    def cone(self) -> Cone:
        """What runs the passes."""
        return Cone(self.engine())

    @cached_property
    def depths(self) -> tuple[Depth, ...]:
        """Depths at which vectors are inserted, resolved for this checkpoint."""
        return resolve_depths(DEPTHS, self.checkpoint.prepared.layers)

    def task(self, name: str) -> Task:
        """Return a table.

        Raises:
            UsageError: If there is no task of that name.
        """
        if name not in self.tasks:
            raise UsageError(f"There is no task {name!r}. Choose one of: {', '.join(self.tasks)}.")
        return self.tasks[name]

    def parts(self, name: str) -> Parts:
        """Rows of a task by split."""
        if name not in self._parts:
            self._parts[name] = split(self.task(name), self.seed)
        return self._parts[name]

    def questions(self, name: str, part: str, kind: str, form: str = "") -> list[Question]:
        """Return the questions of a task.

        Questions whose answer begins like the query are left out: repeating the query would
        count as right. Where fewer than :data:`FEWEST_CLEAN` clean ones would be left, all are
        asked: the vector of a task of copying may still stand beside others.

        Args:
            name: The task.
            part: ``fit``, ``choose`` or ``judge``: where queries come from. Shots are always
                from the fit split.
            kind: ``clean``, ``shuffled`` or ``zero-shot``.
            form: How examples are written; empty for the first of the sizes' formats.

        Raises:
            UsageError: If there is no such task, format or kind.
            UnsuitableTaskError: If no such question can be asked about this task.
        """
        sizes = self.sizes
        form = form or sizes.forms[0]
        if form not in FORMATS:
            raise UsageError(f"There is no format {form!r}. Choose one of: {', '.join(FORMATS)}.")
        count = {
            ("choose", "shuffled"): sizes.shuffled,
            ("choose", "zero-shot"): sizes.choosing,
            ("judge", "clean"): sizes.judged_clean,
            ("judge", "zero-shot"): sizes.judged,
            ("judge", "shuffled"): sizes.judged_shuffled,
        }.get((part, kind), sizes.clean if form == sizes.forms[0] else sizes.clean_elsewhere)
        key = name, part, kind, form
        if key not in self._questions:
            self._questions[key] = self._asked(name, part, kind, form, count)
        return self._questions[key]

    def in_text(self, name: str, frame: str, before: str = "") -> list[Question]:
        """Return judged questions in natural text.

        Args:
            name: The task.
            frame: As `stillwired.data.task_prompts.frames` gives them.
            before: Text in front of it.
        """
        drawn = self._drawn(name, "judge")
        most = self.sizes.judged_text
        return self._some(
            name, ask_in_frame(self.checkpoint, drawn, frame, before, most, copies=False)
        )

    def commonest(self, name: str, form: str = "", frame: str = "") -> int:
        """Return the token that most answers of the fit split begin with.

        Always saying it is what a task's answers give away to a guesser who never looks at the
        query. Of equally frequent ones the first in the split counts.

        Args:
            name: The task.
            form: How examples are written; empty for the first of the sizes' formats.
            frame: Natural text that stands in place of a format.

        Raises:
            UnsuitableTaskError: If no question about these rows can be asked.
        """
        key = name, form or self.sizes.forms[0], frame
        if key not in self._commonest:
            drawn = [Drawn(row.input, row, ()) for row in self.parts(name)["fit"]]
            if frame:
                asked = ask_in_frame(self.checkpoint, drawn, frame, copies=False)
            else:
                task, rng = self.task(name), self._draw_for(name, "fit")
                written = FORMATS[key[1]]
                asked = ask(self.checkpoint, task, drawn, "zero-shot", written, rng, copies=False)
            counts = Counter(question.answer for question in self._some(name, asked))
            self._commonest[key] = counts.most_common(1)[0][0]
        return self._commonest[key]

    def rng(self, name: str, purpose: str) -> np.random.Generator:
        """Randomness of data and controls: never depends on the checkpoint."""
        return generator(self.seed, digest_of(self.task(name)), purpose)

    @cached_property
    def self_check(self) -> list[tuple[str, float, float]]:
        """Identities of the anatomy: name, largest difference, largest difference allowed."""

        def read() -> dict[str, NDArray[Any]]:
            held = self.engine().self_check
            return {
                "names": np.array([check.name for check in held]),
                "figures": np.array([[check.max_difference, check.tolerance] for check in held]),
            }

        kept = self.cached("self-check", (), {}, read, __name__)
        return [
            (str(name), float(difference), float(most))
            for name, (difference, most) in zip(kept["names"], kept["figures"], strict=True)
        ]

    def cached(
        self,
        what: str,
        tasks: tuple[str, ...],
        given: Mapping[str, Any],
        build: Callable[[], Mapping[str, NDArray[Any]]],
        module: str,
    ) -> dict[str, NDArray[Any]]:
        """Return arrays that follow from these readings, from the cache or built now.

        Args:
            what: What the arrays are.
            tasks: Names of the tasks that they depend on.
            given: Everything else that they depend on.
            build: Computes them.
            module: The module that computes them; its sources are part of the key.
        """
        inputs = {
            "checkpoint": self.checkpoint.key,
            # In their order, by which a task's rival is chosen.
            "tasks": [[name, digest_of(self.task(name))] for name in tasks],
            "sizes": {k: v for k, v in asdict(self.sizes).items() if k not in ("tasks", "forms")},
            "form": self.sizes.forms[0],
            "seed": self.seed,
            "restart": self.restart,
            "damage": self.damage,
            "what": what,
            **given,
        }
        modules = [module, "stillwired.mutants.vectors"] if self.damage else [module]
        return self._store.arrays("tasks", inputs, build, code=code_digest(*modules))

    def count_cells(self, what: str, which: str, cells: NDArray[np.int64]) -> None:
        """Note what a sweep cost: cells that ran, and those of one full forward a row.

        Args:
            what: What kind of sweep it was.
            which: Which one of them; what is fetched again counts once.
            cells: [2].
        """
        self._cells[what, which] = cells

    @property
    def cost(self) -> dict[str, tuple[int, int]]:
        """What sweeps have cost so far, by what they were: cells, and those of full forwards."""
        found: dict[str, tuple[int, int]] = {}
        for (what, _), (cells, full) in self._cells.items():
            before = found.get(what, (0, 0))
            found[what] = before[0] + int(cells), before[1] + int(full)
        return found

    def tenths(self, about: str) -> Progress:
        """Report every tenth of some work; see `telling.tenths`."""
        return tenths(self.say, about)

    def _asked(self, name: str, part: str, kind: str, form: str, count: int) -> list[Question]:
        task, drawn = self.task(name), self._drawn(name, part)
        rng, clean = self._draw_for(name, part), kind == "clean"

        def asked(copies: bool) -> list[Question]:
            return ask(self.checkpoint, task, drawn, kind, FORMATS[form], rng, count, copies)

        found = asked(copies=False)
        if not clean:
            return self._some(name, found)
        return found if len(found) >= min(count, FEWEST_CLEAN) else asked(copies=True)

    def _some(self, name: str, asked: list[Question]) -> list[Question]:
        """Require that something is left of the questions that a copied query cannot answer.

        Raises:
            UnsuitableTaskError: If nothing is.
        """
        if not asked:
            raise UnsuitableTaskError(
                f"Nothing is left to ask about {name}: to the tokenizer of "
                f"{self.checkpoint.name} every answer begins like its query, or joins the prompt."
            )
        return asked

    def _drawn(self, name: str, part: str) -> list[Drawn]:
        """Draw more than any kind of question needs, so that all kinds ask the same queries."""
        sizes = self.sizes
        most = (
            max(sizes.clean, sizes.judged)
            if part != "judge"
            else max(sizes.judged, sizes.judged_shuffled, sizes.judged_text)
        )
        rng = self._draw_for(name, part)
        return draw(self.task(name), self.parts(name), part, 2 * most, sizes.shots, rng)

    def _draw_for(self, name: str, part: str) -> Callable[[str], np.random.Generator]:
        # A restart changes what is fitted and chosen, never what is judged.
        restart = 0 if part == "judge" else self.restart
        return lambda purpose: self.rng(name, f"{purpose}, restart {restart}")
