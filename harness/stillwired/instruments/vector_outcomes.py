"""Function vectors as outcomes: what is answered with a vector, with heads, and without.

Todd et al. 2024. Everything here is judged on rows that nothing was fitted to or chosen on. Each
vector is inserted at the depth that was best for it on the choose split. What is measured at
once is cached at once, so that a prompt that many interventions share runs once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwired.data.task_prompts import frames
from stillwired.errors import UnsuitableTaskError
from stillwired.instruments.depths import Band, Depth, resolve_depth
from stillwired.instruments.function_vectors import COMMONEST, DRAWS, VECTORS, TaskVectors, called
from stillwired.instruments.head_effects import replacing
from stillwired.instruments.interventions import Insert, Intervention, answers
from stillwired.instruments.questions import Question, hits_of_always, scored
from stillwired.outcomes import Factor, Outcome

ALL_TASKS = "all tasks"
"""Stands for every task that carries: one row a task, whose score is the task's mean."""

EARLY = Band("early to middle", 0.2, 0.6)
LATE = Band("late", 0.8, 1.0)

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
            tried = self._shuffled(name)
            gain = self._of_heads(tried, heads) - tried.probabilities["nothing"]
            return self._scored(name, f"lift, {heads} heads", tried.questions, gain, heads=heads)

        return self._each(read)

    def rescue(self, vector: str) -> Outcome:
        """Hits on shuffled labels with a vector inserted; ``nothing`` for without.

        Args:
            vector: ``nothing``, one of `function_vectors.VECTORS`, or :data:`COMMONEST`.
        """

        def read(name: str) -> Outcome:
            tried = self._shuffled(name)
            scores = _known(tried.hits, vector)
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
            tried = self._transfer(name, form)
            wanted = [other for other in self.readings.sizes.forms if other != form]
            if vector == "own" and not wanted:
                raise UnsuitableTaskError(
                    "Vectors are extracted from one format only, so that none can be transferred."
                )
            if vector == "own":
                scores = np.mean([_known(tried.hits, other) for other in wanted], axis=0)
            else:
                scores = _known(tried.hits, vector)
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
            tried = self._text(name, long)
            label = f"in natural {kind}, {called(vector)}"
            scores = _known(tried.hits, vector)
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
        tried = self._transfer(name, form)
        label = f"zero-shot, written as {form}, vector from {of}"
        return self._scored(name, label, tried.questions, tried.hits[of], form=form, extracted=of)

    def _zero_shot_scored(self, name: str, which: str, vector: str) -> Outcome:
        tried = self._zero_shot(name)
        label = f"zero-shot, {called(vector)}" + (f", {which}" if which != vector else "")
        scores = _known(tried.hits, which)
        return self._scored(name, label, tried.questions, scores, vector=vector, depth=which)

    def _of_heads(self, tried: Tried, heads: str) -> NDArray[np.float64]:
        # A random vector is no random head: where no head is left to draw, nothing stands for them.
        of = {label: p for label, p in tried.probabilities.items() if label not in VECTORS}
        drawn = [p for label, p in of.items() if label.startswith(f"{heads} #")]
        if drawn:
            return np.mean(drawn, axis=0)  # type: ignore[no-any-return]
        return _known(of, heads)

    def _zero_shot(self, name: str) -> Tried:
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

    def _shuffled(self, name: str) -> Tried:
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

    def _transfer(self, name: str, form: str) -> Tried:
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

    def _text(self, name: str, long: bool) -> Tried:
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


def _label(outcomes: Sequence[Outcome]) -> str:
    """Return what the names of outcomes about single tasks have in common."""
    labels = [outcome.name.split(": ", 1)[1].split(", ") for outcome in outcomes]
    shared = itertools.takewhile(lambda words: len(set(words)) == 1, zip(*labels, strict=False))
    return ", ".join(words[0] for words in shared)


def _common(outcomes: Sequence[Outcome]) -> dict[str, Factor]:
    """Return the factors in which outcomes agree."""
    first, *others = (outcome.factors for outcome in outcomes)
    return {k: v for k, v in first.items() if all(other.get(k) == v for other in others)}


def _known(tried: Mapping[str, NDArray[np.float64]], label: str) -> NDArray[np.float64]:
    if label not in tried:
        raise UnsuitableTaskError(
            f"There is nothing to compare with: {label!r} could not be tried. Tried were: "
            f"{', '.join(tried)}."
        )
    return tried[label]
