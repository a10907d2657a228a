"""Function vectors as outcomes: what is answered with a vector, with heads, and without.

Todd et al. 2024. What is asked, and under which interventions, is
`stillwired.instruments.vector_trials`'s matter; here it is told which answers belong together and
how they are scored.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stillwired.data.task_prompts import frames
from stillwired.errors import UnsuitableTaskError
from stillwired.instruments.depths import Band, Depth, resolve_depth
from stillwired.instruments.function_vectors import VECTORS, TaskVectors, called
from stillwired.instruments.questions import Question, scored
from stillwired.instruments.vector_trials import VectorTrials
from stillwired.outcomes import Factor, Outcome

ALL_TASKS = "all tasks"
"""Stands for every task that carries: one row a task, whose score is the task's mean."""

EARLY = Band("early to middle", 0.2, 0.6)
LATE = Band("late", 0.8, 1.0)


def reaches(band: Band, depth: Depth, blocks: int) -> bool:
    """Whether a declared depth belongs to a band, however it was rounded to a block.

    Of 30 blocks depth 0.8 means block 23, which stands at 0.793: it is still what ``0.8 to 1``
    means, or models of different depth would be read in different places.
    """
    slack = 0.5 / max(blocks - 1, 1)
    return replace(band, low=band.low - slack, high=band.high + slack).holds(depth)


class VectorOutcomes:
    """Function vectors of one checkpoint, judged on one task.

    Args:
        vectors: Heads, vectors and depths.
        task: The task, or :data:`ALL_TASKS`.

    Attributes:
        vectors: The same.
        task: The same.
    """

    def __init__(self, vectors: TaskVectors, task: str) -> None:
        self.vectors, self.task = vectors, task
        self.readings = vectors.readings
        self.trials = VectorTrials(vectors)

    # Heads put back into prompts with shuffled labels

    def lift(self, heads: str) -> Outcome:
        """Gain of the right answer's probability when heads get their clean means back.

        Args:
            heads: ``top``, the heads that carry tasks; ``first``, the strongest of them alone;
                ``doubled``, twice as many; ``random`` and ``other random``, as many of the same
                layers; ``without``, as many that were found without this task; ``random for
                without`` and ``other random for without``.

        Raises:
            UnsuitableTaskError: If the task's labels cannot be shuffled, or no other task is
                there to find heads with.
        """

        def read(name: str) -> Outcome:
            tried = self.trials.shuffled(name)
            gain = tried.of_heads(heads) - tried.probabilities["nothing"]
            return self._scored(name, f"lift, {heads} heads", tried.questions, gain, heads=heads)

        return self._each(read)

    def rescue(self, vector: str) -> Outcome:
        """Hits on shuffled labels with a vector inserted; ``nothing`` for without.

        Args:
            vector: ``nothing``, one of `function_vectors.VECTORS`, or :data:`COMMONEST`.
        """

        def read(name: str) -> Outcome:
            tried = self.trials.shuffled(name)
            scores = tried.hits_of(vector)
            label = f"shuffled labels, {called(vector)}"
            return self._scored(name, label, tried.questions, scores, vector=vector)

        return self._each(read)

    # Vectors inserted where nothing shows the task

    def zero_shot(self, vector: str) -> Outcome:
        """Hits on zero-shot questions with a vector at its own best depth.

        Args:
            vector: ``nothing``, one of `function_vectors.VECTORS`, :data:`COMMONEST`, or
                ``doubled``, the task's own made of twice as many heads, at the own one's depth.
        """

        def read(name: str) -> Outcome:
            which = vector
            if vector == "own":
                which = self.vectors.depth(name).label
            return self._zero_shot_scored(name, which, vector)

        return self._each(read)

    def at_depth(self, asked: float) -> Outcome:
        """Hits on zero-shot questions with the task's vector at one of `task_sizes.DEPTHS`."""
        return self._at(resolve_depth(asked, self.readings.checkpoint.prepared.layers))

    def by_depth(self) -> dict[str, Outcome]:
        """Hits on zero-shot questions with the task's vector, by label of the depth."""
        return {depth.label: self._at(depth) for depth in self.readings.depths}

    def early_to_middle(self) -> Outcome:
        """Hits with the task's vector at relative depth 0.2 to 0.6.

        Of the depths there, the one that the choose split prefers.
        """
        return self._best_in(EARLY)

    def late(self) -> Outcome:
        """Hits with the task's vector at relative depth 0.8 to 1.0, likewise."""
        return self._best_in(LATE)

    def transferred(self, form: str, vector: str) -> Outcome:
        """Hits on zero-shot questions in one format, with vectors extracted from others.

        The vectors of all other formats are inserted in turn; a question's score is the share
        of them that bring the answer.

        Args:
            form: The format of the questions.
            vector: ``own``, ``nothing``, ``another task's``, ``random`` or :data:`COMMONEST`.
        """

        def read(name: str) -> Outcome:
            tried = self.trials.transfer(name, form)
            wanted = [other for other in self.readings.sizes.forms if other != form]
            if vector == "own" and not wanted:
                raise UnsuitableTaskError(
                    "Vectors are extracted from one format only, so that none can be transferred."
                )
            if vector == "own":
                scores = np.mean([tried.hits_of(other) for other in wanted], axis=0)
            else:
                scores = tried.hits_of(vector)
            label = f"zero-shot, written as {form}, {called(vector)}"
            return self._scored(name, label, tried.questions, scores, form=form, vector=vector)

        return self._each(read)

    def from_each_form(self, form: str) -> dict[str, Outcome]:
        """Hits on zero-shot questions in one format, by the format that a vector is from."""

        def read(of: str) -> Outcome:
            return self._each(lambda name: self._transferred(name, form, of))

        return {of: read(of) for of in self.readings.sizes.forms}

    def in_text(self, vector: str, long: bool = False) -> Outcome:
        """Hits in natural text, averaged over the frames that a task's words fit into.

        Args:
            vector: As in `transferred`.
            long: Put some sentences about something else in front.

        Raises:
            UnsuitableTaskError: If the task's inputs fit into no natural text.
        """
        kind = "long text" if long else "text"

        def read(name: str) -> Outcome:
            tried = self.trials.in_text(name, long)
            label = f"in natural {kind}, {called(vector)}"
            scores = tried.hits_of(vector)
            return self._scored(name, label, tried.questions, scores, vector=vector)

        fit = [n for n in self.vectors.carriers if frames(self.readings.task(n))]
        return self._each(read, fit)

    def gain_in_text(self, long: bool = False) -> Outcome:
        """Hits in natural text with the task's vector, minus those without; see `in_text`."""
        own, nothing = self.in_text("own", long), self.in_text("nothing", long)
        name = f"{own.name}, gain"
        return Outcome(name, own.examples, own.clusters, own.scores - nothing.scores, own.factors)

    # Inside

    def _at(self, depth: Depth) -> Outcome:
        labels = {other.block: other.label for other in self.readings.depths}
        label = labels[depth.block]
        return self._each(lambda name: self._zero_shot_scored(name, label, "own"))

    def _best_in(self, band: Band) -> Outcome:
        blocks = self.readings.checkpoint.prepared.layers
        inside = [k for k, depth in enumerate(self.readings.depths) if reaches(band, depth, blocks)]

        def read(name: str) -> Outcome:
            curve = self.vectors.choice(name)[VECTORS.index("own")]
            best = self.readings.depths[max(inside, key=lambda k: curve[k])]
            return self._zero_shot_scored(name, best.label, "own")

        return self._each(read)

    def _each(self, read: Callable[[str], Outcome], among: Sequence[str] | None = None) -> Outcome:
        """Read the task, or all that carry as one row each."""
        if self.task != ALL_TASKS:
            return read(self.task)
        names = list(self.vectors.carriers if among is None else among)
        if not names:
            raise UnsuitableTaskError("None of the tasks that the model can do fits here.")
        found = [read(name) for name in names]
        return Outcome(
            name=f"{ALL_TASKS}: {_label(found)}",
            examples=names,  # type: ignore[arg-type]
            clusters=names,  # type: ignore[arg-type]
            scores=[outcome.scores.mean() for outcome in found],  # type: ignore[arg-type]
            factors={**_common(found), "task": ALL_TASKS},
        )

    def _scored(
        self,
        name: str,
        label: str,
        questions: Sequence[Question],
        scores: NDArray[np.float64],
        **factors: Factor,
    ) -> Outcome:
        return scored(f"{name}: {label}", questions, scores, task=name, **factors)

    def _transferred(self, name: str, form: str, of: str) -> Outcome:
        tried = self.trials.transfer(name, form)
        label = f"zero-shot, written as {form}, vector from {of}"
        return self._scored(name, label, tried.questions, tried.hits[of], form=form, extracted=of)

    def _zero_shot_scored(self, name: str, which: str, vector: str) -> Outcome:
        tried = self.trials.zero_shot(name)
        label = f"zero-shot, {called(vector)}" + (f", {which}" if which != vector else "")
        scores = tried.hits_of(which)
        return self._scored(name, label, tried.questions, scores, vector=vector, depth=which)


def _label(outcomes: Sequence[Outcome]) -> str:
    """Return what the names of outcomes about single tasks have in common."""
    labels = [outcome.name.split(": ", 1)[1].split(", ") for outcome in outcomes]
    shared = itertools.takewhile(lambda words: len(set(words)) == 1, zip(*labels, strict=False))
    return ", ".join(words[0] for words in shared)


def _common(outcomes: Sequence[Outcome]) -> dict[str, Factor]:
    """Return the factors in which outcomes agree."""
    first, *others = (outcome.factors for outcome in outcomes)
    return {k: v for k, v in first.items() if all(other.get(k) == v for other in others)}
