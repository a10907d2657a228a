"""Function vectors: which heads carry tasks, and the vectors that their mean outputs add up to.

Todd et al. 2024, Section 2. Heads are ranked by their indirect effect, averaged over the tasks
that the model can do in context; a task's vector is what the first few of them write into the
residual stream, on average over clean prompts of that task. Ranking, number of heads and depth of
insertion are decided on rows that are not judged. How vectors are judged is
`stillwired.instruments.vector_outcomes`'s matter.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stillwired.data.tasks import Task
from stillwired.errors import UnsuitableTaskError, UsageError
from stillwired.instruments.depths import Depth
from stillwired.instruments.head_effects import (
    CleanMeans,
    clean_means,
    head_effects,
    heads_of,
    others_of,
    ranked,
    written,
)
from stillwired.instruments.interventions import Answers, Head, Insert, Intervention, answers
from stillwired.instruments.questions import Parts, Question, hits_of_always, scored
from stillwired.instruments.task_readings import TaskReadings
from stillwired.outcomes import Outcome

Arrays = dict[str, NDArray[Any]]

ABLE = 0.30
"""Share of right answers, beyond that of the commonest answer, from which the model can do a task
in context."""

SHARES = (0.01, 0.02, 0.04, 0.08)
"""Numbers of heads that are tried, as shares of all heads. The paper's ten of GPT-J's 448 heads
are 0.022, its hundred of Llama-2-70B's 5,120 are 0.020."""

DRAWS = 3
"""Draws of random heads, averaged question by question."""

VECTORS = ("own", "another task's", "layer average", "random")

COMMONEST = "commonest answer"
"""Stands for a vector that does nothing but say the commonest answer of the fit split."""


class TaskVectors:
    """Heads and vectors of one checkpoint.

    Args:
        readings: Questions, cache and randomness.
    """

    def __init__(self, readings: TaskReadings) -> None:
        self.readings = readings
        self._means: dict[tuple[str, str], CleanMeans] = {}
        self._written: dict[tuple[str, str], Tensor] = {}
        self._effects: dict[str, NDArray[np.float64]] = {}

    def about(self, tasks: Mapping[str, Task], parts: Mapping[str, Parts]) -> TaskVectors:
        """Return heads and vectors of other tasks; see `TaskReadings.about`."""
        return TaskVectors(self.readings.about(tasks, parts))

    # What the model can do

    def ability(self, name: str) -> Outcome:
        """How much oftener clean questions are answered rightly than by the commonest answer.

        They are about rows that are not judged. A question that repeating the query would answer
        does not count, as it is never judged either.

        Raises:
            UnsuitableTaskError: If no question counts.
        """
        questions, gains, always = self._gains(name)
        if not questions:
            raise UnsuitableTaskError(
                f"No question about {name} tells what the model can do: to the tokenizer of "
                f"{self.readings.checkpoint.name} every answer begins like its query, or joins "
                "the prompt."
            )
        label = f"right in context beyond the commonest answer, {name}"
        return scored(label, questions, gains, task=name, commonest_answer=always)

    def can_do(self, name: str) -> bool:
        """Whether that gain is large enough for the task's heads to count."""
        _, gains, _ = self._gains(name)
        return bool(len(gains) and gains.mean() >= ABLE)

    def _gains(self, name: str) -> tuple[list[Question], NDArray[np.float64], float]:
        """Return the questions that count, what each gains, and how often the floor is right."""
        asked = self.readings.questions(name, "fit", "clean")
        counted = [k for k, question in enumerate(asked) if not question.copies]
        if not counted:
            return [], np.empty(0), 0.0
        questions = [asked[k] for k in counted]
        always = hits_of_always(self.readings.commonest(name), questions)
        hits = self.means(name).hits[counted].astype(float)
        return questions, hits - always, float(always.mean())

    # Means and effects

    def means(self, name: str, form: str = "") -> CleanMeans:
        """What clean questions of a task leave at their last token.

        Args:
            name: The task.
            form: How examples are written; empty for the first format.

        Raises:
            MissingComponentError: If the model has no attention heads.
        """
        form = form or self.readings.sizes.forms[0]
        if (name, form) not in self._means:

            def build() -> Arrays:
                about = f"reading clean prompts of {name}, written as {form}"
                self.readings.say(about)
                questions = self.readings.questions(name, "fit", "clean", form)
                progress = self.readings.tenths(about)
                found = clean_means(self.readings.engine(), questions, progress)
                return {
                    "heads": found.heads.numpy(),
                    "residual": found.residual.numpy(),
                    "hits": found.hits,
                    "averaged": np.array(found.averaged),
                }

            kept = self._cached("clean means", (name,), {"written": form}, build)
            self._means[name, form] = CleanMeans(
                torch.from_numpy(np.array(kept["heads"])),
                torch.from_numpy(np.array(kept["residual"])),
                kept["hits"],
                int(kept["averaged"]),
            )
        return self._means[name, form]

    def effects(self, name: str) -> NDArray[np.float64]:
        """Indirect effect of every head [questions, layers, heads].

        Raises:
            UnsuitableTaskError: If the task's labels cannot be shuffled.
        """
        if name in self._effects:
            return self._effects[name]

        def build() -> Arrays:
            about = f"trying every head on {name}"
            self.readings.say(about)
            questions = self.readings.questions(name, "choose", "shuffled")
            progress = self.readings.tenths(about)
            means = self.means(name)
            effects, found = head_effects(self.readings.cone, questions, means, progress)
            return {"effects": effects, "cells": np.array([found.cells, found.full_cells])}

        kept = self._cached("head effects", (name,), {}, build)
        self.readings.count_cells("head sweep", name, kept["cells"])
        self._effects[name] = kept["effects"]
        return self._effects[name]

    @cached_property
    def carriers(self) -> tuple[str, ...]:
        """Tasks whose effects are averaged: those that the model can do, shuffled labels and all.

        Raises:
            UnsuitableTaskError: If there is none.
        """
        found = tuple(n for n in self.readings.tasks if self._can_carry(n) and self.can_do(n))
        if not found:
            raise UnsuitableTaskError(
                f"{self.readings.checkpoint.name} does none of the tasks in context, so no head "
                f"can be found that carries them: {', '.join(self.readings.tasks)}."
            )
        return found

    @cached_property
    def all_heads(self) -> frozenset[Head]:
        """The heads of the model."""

        def build() -> Arrays:
            return {"heads": np.array(heads_of(self.readings.engine().anatomy))}

        kept = self._cached("heads of the model", (), {}, build)
        return frozenset((int(layer), int(which)) for layer, which in kept["heads"])

    def _can_carry(self, name: str) -> bool:
        """Whether the questions that heads are chosen by can be asked."""
        try:
            for kind in ("shuffled", "zero-shot"):
                self.readings.questions(name, "choose", kind)
        except UnsuitableTaskError:
            return False
        return True

    def mean_effects(self, without: str | None = None) -> NDArray[np.float64]:
        """Average effects over questions, then over tasks [layers, heads].

        Args:
            without: A task that is left out.

        Raises:
            UnsuitableTaskError: If no task is left.
        """
        names = [name for name in self.carriers if name != without]
        if not names:
            raise UnsuitableTaskError(
                f"{self.readings.checkpoint.name} does no task but {without} in context, so no "
                "heads can be found without it."
            )
        found: NDArray[np.float64] = np.mean([self.effects(n).mean(0) for n in names], axis=0)
        return found

    # What is chosen

    @cached_property
    def count(self) -> int:
        """How many heads make a vector: the number whose vectors do most on the choose split.

        For each number, vectors of all carriers are inserted at every depth into zero-shot
        questions; each task counts with its best depth. Fewer heads win a tie.
        """

        def build() -> Arrays:
            counts = self.counts
            gains = np.zeros((len(self.carriers), len(counts), len(self.readings.depths)))
            for number, name in enumerate(self.carriers):
                questions = self.readings.questions(name, "choose", "zero-shot")
                tried: list[Intervention] = [None]
                for count in counts:
                    vector = self.vector(name, heads=self.heads(count))
                    tried += [Insert(depth.block, vector) for depth in self.readings.depths]
                self.readings.say(f"choosing the number of heads: {name}")
                mean = answers(self.readings.cone, questions, tried).probabilities.mean(0)
                gains[number] = (mean[1:] - mean[0]).reshape(len(counts), -1)
            return {"gains": gains}

        kept = self._cached("number of heads", tuple(self.readings.tasks), {}, build)
        best = kept["gains"].max(2).mean(0)
        return self.counts[int(best.argmax())]

    @property
    def counts(self) -> tuple[int, ...]:
        """Numbers of heads that are tried, rising."""
        total = len(self.all_heads)
        return tuple(sorted({max(1, round(share * total)) for share in SHARES}))

    def heads(self, count: int | None = None, without: str | None = None) -> tuple[Head, ...]:
        """Return the heads that carry tasks, the strongest first.

        Args:
            count: How many; None for the chosen number.
            without: A task whose effects do not count.
        """
        return self.strongest(self.mean_effects(without), count or self.count)

    def strongest(self, effects: NDArray[np.float64], count: int) -> tuple[Head, ...]:
        """Return the heads with the largest effects [layers, heads], falling."""
        # Layers without attention have zeros for the heads that they lack.
        found = [head for head in ranked(effects) if head in self.all_heads]
        return tuple(found[:count])

    def vector(self, name: str, form: str = "", heads: Sequence[Head] | None = None) -> Tensor:
        """Return the function vector of a task [width].

        Args:
            name: The task.
            form: How the clean prompts are written; empty for the first format.
            heads: Heads whose outputs are summed; None for the chosen ones.
        """
        form = form or self.readings.sizes.forms[0]
        if (name, form) not in self._written:
            self._written[name, form] = written(self.readings.engine(), self.means(name, form))
        chosen = torch.tensor(list(self.heads() if heads is None else heads))
        return self._written[name, form][chosen[:, 0], chosen[:, 1]].sum(0)

    def other(self, name: str) -> str:
        """Return the task whose vector stands against a task's own: the next one in the list.

        Tasks that ask the same, and those that nothing can be asked about, are passed over.

        Raises:
            UnsuitableTaskError: If there is no other task.
        """
        names = list(self.readings.tasks)
        start = names.index(name) + 1
        for other in (*names[start:], *names[: start - 1]):
            if self.readings.task(other).asks_as(self.readings.task(name)):
                continue
            with contextlib.suppress(UnsuitableTaskError):
                if self.readings.questions(other, "fit", "clean"):
                    return other
        raise UnsuitableTaskError(
            f"There is no task beside {name} whose vector could stand against its own. Judge "
            "several tasks together."
        )

    def inserted(self, name: str, vector: str, depth: Depth) -> Insert:
        """Return the intervention that inserts a vector at a depth.

        Args:
            name: The task.
            vector: One of :data:`VECTORS`: the task's own, that of another task (see `other`),
                the mean output of the block itself, or a random one of the own one's length.
            depth: Where.

        Raises:
            UsageError: If there is no such vector.
        """
        if vector not in VECTORS:
            raise UsageError(f"There is no {vector!r} vector. Choose one of: {', '.join(VECTORS)}.")
        if vector == "own":
            return Insert(depth.block, self.vector(name))
        if vector == "another task's":
            return Insert(depth.block, self.vector(self.other(name)))
        if vector == "layer average":
            return Insert(depth.block, self.means(name).residual[depth.block])
        rng = self.readings.rng(name, "random vector")
        return Insert(depth.block, as_long_as(self.vector(name), rng))

    def depth(self, name: str, vector: str = "own") -> Depth:
        """Return the depth at which a vector does most on the choose split.

        What counts is the mean probability of the right answer to zero-shot questions.

        Args:
            name: The task.
            vector: As in `inserted`.
        """
        curve = self.choice(name)[VECTORS.index(vector)]
        return self.readings.depths[int(curve.argmax())]

    def choice(self, name: str) -> NDArray[np.float64]:
        """Mean probability of the right answer on the choose split [vectors, depths]."""

        def build() -> Arrays:
            self.readings.say(f"choosing where to insert the vectors of {name}")
            questions = self.readings.questions(name, "choose", "zero-shot")
            tried = [
                self.inserted(name, vector, depth)
                for vector in VECTORS
                for depth in self.readings.depths
            ]
            found: Answers = answers(self.readings.cone, questions, tried)
            return {"mean": found.probabilities.mean(0).reshape(len(VECTORS), -1)}

        kept = self._cached(
            "depths of insertion", tuple(self.readings.tasks), {"task": name}, build
        )
        return kept["mean"]

    def random_heads(self, name: str, draw: int, heads: Sequence[Head]) -> tuple[Head, ...]:
        """Draw other heads of the same layers; see `others_of`.

        Args:
            name: The task, for the randomness.
            draw: Which draw.
            heads: The heads that are not drawn.
        """
        count = self.mean_effects().shape[1]
        return others_of(heads, count, self.readings.rng(name, f"random heads {draw}"))

    def _cached(
        self, what: str, tasks: tuple[str, ...], given: dict[str, Any], build: Any
    ) -> Arrays:
        return self.readings.cached(what, tasks, given, build, __name__)


def called(vector: str) -> str:
    """Name what stands for a vector, as part of an outcome's name."""
    return vector if vector == COMMONEST else f"{vector} vector"


def as_long_as(vector: Tensor, rng: np.random.Generator) -> Tensor:
    """Draw a random vector of a vector's length [width]."""
    drawn = torch.from_numpy(rng.normal(size=len(vector))).float()
    scaled: Tensor = drawn * vector.norm() / drawn.norm()
    return scaled
