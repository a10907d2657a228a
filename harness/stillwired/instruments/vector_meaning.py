"""What a function vector is: its words, what they miss, how vectors add up, what offsets cannot do.

Todd et al. 2024, Section 3.2 (decoding a vector into the vocabulary, and rebuilding it from what it
decodes to), Section 3.3 (composition), and the discussion of cyclic tasks, which no constant offset
between words can do.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwired.data.composed_tasks import composition, split_lists
from stillwired.errors import UnsuitableTaskError
from stillwired.instruments.function_vectors import COMMONEST, TaskVectors, called
from stillwired.instruments.interventions import Insert, answers
from stillwired.instruments.questions import hits_of_always, scored
from stillwired.instruments.vocabulary_decoding import decoded, rebuilt
from stillwired.instruments.word_offset import offset_guesses
from stillwired.outcomes import Outcome

DECODED = 100
"""Tokens that a vector is decoded to."""

REBUILD_SEED = 0


class VectorMeaning:
    """The vector of one task, taken apart.

    Args:
        vectors: Heads, vectors and depths.
        task: The task.
    """

    def __init__(self, vectors: TaskVectors, task: str) -> None:
        self.vectors, self.task = vectors, task
        self.readings = vectors.readings

    def decodes_to(self, name: str = "") -> list[int]:
        """Return the tokens that a vector decodes to, the likeliest first.

        Args:
            name: Whose; empty for the task's own.
        """
        name = name or self.task

        def build() -> dict[str, NDArray[Any]]:
            tokens, _ = decoded(self.readings.engine(), self.vectors.vector(name), DECODED)
            return {"tokens": tokens.cpu().numpy()}

        kept = self._cached("decoded", {"task": name}, build)
        return [int(token) for token in kept["tokens"]]

    def names_answers(self, vector: str) -> Outcome:
        """Whether the answers to the judged questions are among what a vector decodes to.

        Args:
            vector: ``own``, or ``another task's``.
        """
        name = self.task
        of = name if vector == "own" else self.vectors.other(name)
        tokens = set(self.decodes_to(of))
        questions = self.readings.questions(name, "judge", "zero-shot")
        scores = [float(question.answer in tokens) for question in questions]
        return scored(f"{name}: among the {DECODED} tokens of {of}", questions, scores, task=name)

    def with_rebuilt(self) -> Outcome:
        """Hits on zero-shot questions with a vector that was rebuilt from what the own decodes to.

        It is inserted at the own one's depth.
        """
        name = self.task
        questions = self.readings.questions(name, "judge", "zero-shot")

        def build() -> dict[str, NDArray[Any]]:
            self.readings.say(f"rebuilding the vector of {name} from its {DECODED} tokens")
            engine = self.readings.engine()
            made = rebuilt(
                engine, self.vectors.vector(name), DECODED, seed=REBUILD_SEED, among="vocabulary"
            )
            put = Insert(self.vectors.depth(name).block, made.vector)
            found = answers(self.readings.cone, questions, [put])
            return {
                "hits": found.hits[:, 0].astype(float),
                "divergence": np.array(made.divergence),
                "share": np.array(made.share),
            }

        kept = self._cached("rebuilt vector", {"task": name}, build)
        return scored(
            f"{name}: zero-shot, rebuilt vector",
            questions,
            kept["hits"],
            task=name,
            divergence=float(kept["divergence"]),
            share=float(kept["share"]),
        )

    def with_offset(self, space: str) -> Outcome:
        """Hits of the best constant offset between words.

        Args:
            space: ``embedding`` or ``logits``; see `word_offset.offset_guesses`.
        """
        name = self.task
        questions = self.readings.questions(name, "judge", "zero-shot")

        def build() -> dict[str, NDArray[Any]]:
            pairs = [
                (question.query, question.answer)
                for question in self.readings.questions(name, "fit", "zero-shot")
            ]
            queries = [question.query for question in questions]
            return {"guesses": offset_guesses(self.readings.engine(), pairs, queries, space)}

        kept = self._cached("word offset", {"task": name, "space": space}, build)
        scores = kept["guesses"] == np.array([question.answer for question in questions])
        return scored(
            f"{name}: constant offset, {space}", questions, scores.astype(float), task=name
        )

    def _cached(self, what: str, given: dict[str, Any], build: Any) -> dict[str, NDArray[Any]]:
        tasks = tuple(self.readings.tasks)
        return self.readings.cached(what, tasks, given, build, __name__)


class ComposedVectors:
    """Vectors of four tasks about the same lists, made of the heads that carry other tasks.

    Args:
        carriers: Where the heads come from.
        which: One of `composed_tasks.COMPOSITIONS`.
    """

    def __init__(self, carriers: TaskVectors, which: str) -> None:
        composed = composition(which)
        self.carriers, self.composition = carriers, composed
        tasks = {task.name: task for task in composed.tasks.values()}
        parts = split_lists(composed, carriers.readings.seed)
        by_name = {composed.tasks[role].name: rows for role, rows in parts.items()}
        self.vectors = carriers.about(tasks, by_name)
        self.readings = self.vectors.readings

    def ability(self) -> Outcome:
        """Whether the task that is judged is done in context, on rows that are not judged."""
        return self.vectors.ability(self.composition.whole.name)

    def zero_shot(self, vector: str) -> Outcome:
        """Hits on the judged task's zero-shot questions.

        Args:
            vector: ``composed``, the sum; ``direct``, the judged task's own vector; ``nothing``;
                `function_vectors.COMMONEST`; or the role of a part: ``last_copy``, ``first``,
                ``first_copy``.

        Raises:
            UnsuitableTaskError: If there is no such vector.
        """
        name = self.composition.whole.name
        questions = self.readings.questions(name, "judge", "zero-shot")
        kept = self._tried
        labels = [str(label) for label in kept["labels"]]
        if vector == COMMONEST:
            scores = hits_of_always(self.readings.commonest(name), questions)
        elif vector in labels:
            scores = kept["hits"][:, labels.index(vector)]
        else:
            raise UnsuitableTaskError(f"There is no {vector!r} vector: {', '.join(labels)}.")
        # Lists share their last items, and these their answers.
        clusters = [question.row.output for question in questions]
        return Outcome(
            name=f"{name}: zero-shot, {called(vector)}",
            examples=[q.example for q in questions],  # type: ignore[arg-type]
            clusters=clusters,  # type: ignore[arg-type]
            scores=scores,
            factors={"task": name, "vector": vector},
        )

    @cached_property
    def _tried(self) -> dict[str, NDArray[Any]]:
        """Answers with each vector at the depth that the choose split prefers for it."""
        name = self.composition.whole.name
        readings = self.readings

        def build() -> dict[str, NDArray[Any]]:
            heads = self.carriers.heads()
            own = {
                role: self.vectors.vector(task.name, heads=heads)
                for role, task in self.composition.tasks.items()
            }
            vectors = {
                "composed": self.composition.compose(own),
                "direct": own["last"],
                **{role: own[role] for role in self.composition.parts},
            }
            readings.say(f"composing vectors for {name}")
            choosing = readings.questions(name, "choose", "zero-shot")
            tried = [
                Insert(depth.block, vector)
                for vector in vectors.values()
                for depth in readings.depths
            ]
            mean = answers(readings.cone, choosing, tried).probabilities.mean(0)
            best = mean.reshape(len(vectors), -1).argmax(1)
            chosen = [
                Insert(readings.depths[int(k)].block, vector)
                for k, vector in zip(best, vectors.values(), strict=True)
            ]
            judged = readings.questions(name, "judge", "zero-shot")
            found = answers(readings.cone, judged, [None, *chosen])
            return {
                "labels": np.array(["nothing", *vectors]),
                "hits": found.hits.astype(float),
                "depths": np.array([readings.depths[int(k)].relative for k in best]),
            }

        tasks = tuple(readings.tasks)
        given = {"heads": [list(head) for head in self.carriers.heads()]}
        return readings.cached("composed vectors", tasks, given, build, __name__)
