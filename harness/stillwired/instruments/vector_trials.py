"""What is answered with function vectors, with heads put back, and with neither.

Everything is asked about rows that nothing was fitted to or chosen on. Each vector is inserted at
the depth that was best for it on the choose split. What is tried on the same questions is cached
at once, so that a prompt that many interventions share runs once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwired.data.task_prompts import frames
from stillwired.errors import UnsuitableTaskError
from stillwired.instruments.function_vectors import COMMONEST, DRAWS, VECTORS, TaskVectors
from stillwired.instruments.head_effects import replacing
from stillwired.instruments.interventions import Insert, Intervention, answers
from stillwired.instruments.questions import Question, hits_of_always

LONG_BEFORE = (
    "The harbour was quiet that evening. Two fishermen were mending a net by the wall, and "
    "neither of them looked up when the ferry came in. A girl with a red umbrella got off first, "
    "then a man who carried a cello, and after him nobody for a while. The lamps went on one by "
    "one along the quay. It had rained since noon, and nothing suggested that it would stop. "
)
"""Text in front of a question that has nothing to do with any task."""


@dataclass(frozen=True, eq=False)
class Tried:
    """What was answered to some questions under named interventions.

    Attributes:
        questions: The questions.
        probabilities: Of the right answer, by name [questions].
        hits: Whether the right answer was the likeliest, by name [questions].
    """

    questions: Sequence[Question]
    probabilities: Mapping[str, NDArray[np.float64]]
    hits: Mapping[str, NDArray[np.float64]]

    def hits_of(self, label: str) -> NDArray[np.float64]:
        """Hits under one intervention [questions].

        Raises:
            UnsuitableTaskError: If it could not be tried.
        """
        return _known(self.hits, label)

    def of_heads(self, heads: str) -> NDArray[np.float64]:
        """Probabilities with heads put back, averaged over draws where there are several.

        Raises:
            UnsuitableTaskError: If they could not be tried.
        """
        # A random vector is no random head: where no head is left to draw, nothing stands for them.
        of = {label: p for label, p in self.probabilities.items() if label not in VECTORS}
        drawn = [p for label, p in of.items() if label.startswith(f"{heads} #")]
        if drawn:
            return np.mean(drawn, axis=0)  # type: ignore[no-any-return]
        return _known(of, heads)


class VectorTrials:
    """Questions asked under the interventions of one checkpoint's heads and vectors.

    Args:
        vectors: Heads, vectors and depths.
    """

    def __init__(self, vectors: TaskVectors) -> None:
        self.vectors, self.readings = vectors, vectors.readings

    def zero_shot(self, name: str) -> Tried:
        """Ask zero-shot questions about a task, with its vector at every depth and with others."""
        vectors = self.vectors

        def tried() -> dict[str, Intervention]:
            at = vectors.depth(name)
            doubled = vectors.vector(name, heads=vectors.heads(2 * vectors.count))
            return {
                "nothing": None,
                **{d.label: vectors.inserted(name, "own", d) for d in self.readings.depths},
                **{v: vectors.inserted(name, v, vectors.depth(name, v)) for v in VECTORS[1:]},
                "doubled": Insert(at.block, doubled),
            }

        questions = self.readings.questions(name, "judge", "zero-shot")
        always = self.readings.commonest(name)
        return self._try("zero-shot questions", name, {}, questions, tried, always)

    def shuffled(self, name: str) -> Tried:
        """Ask questions with shuffled labels, with vectors and with heads put back.

        Raises:
            UnsuitableTaskError: If the task's labels cannot be shuffled.
        """
        vectors = self.vectors

        def tried() -> dict[str, Intervention]:
            means, top = vectors.means(name), vectors.heads()
            chosen = {
                "top": top,
                "first": top[:1],
                "doubled": vectors.heads(2 * vectors.count),
                **{f"random #{k}": vectors.random_heads(name, k, top) for k in range(DRAWS)},
                **{
                    f"other random #{k}": vectors.random_heads(name, DRAWS + k, top)
                    for k in range(DRAWS)
                },
            }
            if set(vectors.carriers) - {name}:
                found = vectors.heads(without=name)
                chosen["without"] = found
                for k in range(2 * DRAWS):
                    others = vectors.random_heads(name, 2 * DRAWS + k, found)
                    which = "random for without" if k < DRAWS else "other random for without"
                    chosen[f"{which} #{k}"] = others
            return {
                "nothing": None,
                **{v: vectors.inserted(name, v, vectors.depth(name, v)) for v in VECTORS},
                **{label: replacing(means, heads) for label, heads in chosen.items() if heads},
            }

        questions = self.readings.questions(name, "judge", "shuffled")
        always = self.readings.commonest(name)
        return self._try("questions with shuffled labels", name, {}, questions, tried, always)

    def transfer(self, name: str, form: str) -> Tried:
        """Ask zero-shot questions in one format, with vectors extracted from each."""
        vectors = self.vectors

        def tried() -> dict[str, Intervention]:
            at = vectors.depth(name)
            return {
                "nothing": None,
                **{
                    other: Insert(at.block, vectors.vector(name, other))
                    for other in self.readings.sizes.forms
                },
                **{
                    v: vectors.inserted(name, v, vectors.depth(name, v))
                    for v in ("another task's", "random")
                },
            }

        questions = self.readings.questions(name, "judge", "zero-shot", form)
        given = {"written": form, "forms": list(self.readings.sizes.forms)}
        always = self.readings.commonest(name, form)
        return self._try(f"questions written as {form}", name, given, questions, tried, always)

    def in_text(self, name: str, long: bool) -> Tried:
        """Ask in natural text; hits and probabilities are means over the frames.

        Args:
            name: The task.
            long: Put :data:`LONG_BEFORE` in front.

        Raises:
            UnsuitableTaskError: If the task's inputs fit into no natural text.
        """
        shown = frames(self.readings.task(name))
        if not shown:
            raise UnsuitableTaskError(f"The inputs of {name} fit into no natural text.")
        vectors = self.vectors

        def tried() -> dict[str, Intervention]:
            names = ("own", "another task's", "random")
            return {
                "nothing": None,
                **{v: vectors.inserted(name, v, vectors.depth(name, v)) for v in names},
            }

        before = LONG_BEFORE if long else ""
        by_frame = [
            self._try(
                f"{'long ' if long else ''}natural text",
                name,
                {"frame": frame, "before": before},
                self.readings.in_text(name, frame, before),
                tried,
                self.readings.commonest(name, frame=frame),
            )
            for frame in shown
        ]
        # A tokenizer may join another word in one frame: what all frames ask is judged.
        common = set.intersection(*({q.example for q in t.questions} for t in by_frame))
        rows = [[k for k, q in enumerate(t.questions) if q.example in common] for t in by_frame]
        if not common:
            raise UnsuitableTaskError(f"No question about {name} can be asked in every frame.")

        def mean(of: str) -> dict[str, NDArray[np.float64]]:
            return {
                label: np.mean(
                    [getattr(t, of)[label][r] for t, r in zip(by_frame, rows, strict=True)], axis=0
                )
                for label in getattr(by_frame[0], of)
            }

        asked = [by_frame[0].questions[k] for k in rows[0]]
        return Tried(asked, mean("probabilities"), mean("hits"))

    def _try(
        self,
        what: str,
        name: str,
        given: Mapping[str, Any],
        questions: Sequence[Question],
        tried: Callable[[], dict[str, Intervention]],
        commonest: int,
    ) -> Tried:
        """Ask questions under named interventions, or fetch what was answered.

        What always saying the commonest answer would hit is counted beside them.
        """

        def build() -> dict[str, NDArray[Any]]:
            about = f"asking {what} about {name}"
            self.readings.say(about)
            interventions = tried()
            progress = self.readings.tenths(about)
            found = answers(self.readings.cone, questions, list(interventions.values()), progress)
            return {
                "labels": np.array(list(interventions)),
                "probabilities": found.probabilities,
                "hits": found.hits.astype(float),
                "cells": np.array([found.cells, found.full_cells]),
            }

        # Heads and depths follow from all tasks together.
        tasks = tuple(self.readings.tasks)
        kept = self.readings.cached(what, tasks, {"task": name, **given}, build, __name__)
        which = ", ".join([name, *map(str, given.values())])
        self.readings.count_cells(what, which, kept["cells"])
        labels = [str(label) for label in kept["labels"]]
        always = hits_of_always(commonest, questions)
        return Tried(
            questions,
            dict(zip(labels, kept["probabilities"].T, strict=True)),
            {**dict(zip(labels, kept["hits"].T, strict=True)), COMMONEST: always},
        )


def _known(tried: Mapping[str, NDArray[np.float64]], label: str) -> NDArray[np.float64]:
    if label not in tried:
        raise UnsuitableTaskError(
            f"There is nothing to compare with: {label!r} could not be tried. Tried were: "
            f"{', '.join(tried)}."
        )
    return tried[label]
