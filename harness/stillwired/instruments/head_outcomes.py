"""What the heads that carry tasks have in common: where they look, where they lie, what they copy.

Todd et al. 2024, Section 2.3 and the appendix on heads; the prefix-matching score is from Olsson
et al. 2022. Attention is read where the kernel keeps it (`stillwired.engine.attention_weights`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwired.instruments.function_vectors import DRAWS, TaskVectors
from stillwired.instruments.head_attention import (
    attention_on_answers,
    attention_pattern,
    prefix_matching,
)
from stillwired.instruments.interventions import Head
from stillwired.instruments.questions import scored
from stillwired.outcomes import Outcome

EARLY = 2 / 3
"""Share of the layers in which heads that carry tasks are said to lie."""


class HeadOutcomes:
    """Heads of one checkpoint, described on one task.

    Args:
        vectors: Which heads carry tasks.
        task: The task; for what concerns no single one, any.
    """

    def __init__(self, vectors: TaskVectors, task: str) -> None:
        self.vectors, self.task = vectors, task
        self.readings = vectors.readings

    def attention_on_answers(self, heads: str) -> Outcome:
        """Share of attention from the last token on the answers that a clean prompt shows.

        The first token, where idle heads look, does not count.

        Args:
            heads: ``top``, those that carry tasks; ``shuffled``, the same with what each looks
                at dealt out anew within the prompt; or ``random``, others of the same layers.

        Raises:
            UsageError: If the attention kernel keeps no weights.
            MissingComponentError: If the model has no attention.
        """
        name = self.task
        questions = self.readings.questions(name, "judge", "clean")

        def build() -> dict[str, NDArray[Any]]:
            self.readings.say(f"reading where heads look on prompts of {name}")
            top = self.vectors.heads()
            drawn = [self.vectors.random_heads(name, k, top) for k in range(DRAWS)]
            groups = [top, *drawn]
            flat = [head for group in groups for head in group]
            engine, rng = self.readings.engine(), self.readings.rng(name, "shuffled positions")
            found = attention_on_answers(engine, questions, flat, rng)
            return {
                "top": found.own[:, : len(top)].mean(1),
                "random": found.own[:, len(top) :].mean(1),
                "shuffled": found.dealt[:, : len(top)].mean(1),
            }

        kept = self._cached("attention on answers", {"task": name}, build)
        return scored(
            f"{name}: attention on answers, {heads} heads",
            questions,
            kept[heads],
            task=name,
            heads=heads,
        )

    def pattern(self, heads: Sequence[Head]) -> tuple[list[str], NDArray[np.float64]]:
        """Where heads look from the last token of one clean prompt, for a picture.

        Returns:
            The prompt's tokens as text [positions], and weights [heads, positions].
        """
        question = self.readings.questions(self.task, "judge", "clean")[0]

        def build() -> dict[str, NDArray[Any]]:
            return {"weights": attention_pattern(self.readings.engine(), question, heads)}

        given = {"task": self.task, "heads": [list(head) for head in heads]}
        weights = self._cached("attention pattern", given, build)["weights"]
        tokens = [self.readings.checkpoint.tokenizer.decode([token]) for token in question.tokens]
        return tokens, weights

    def early_share(self, rows: NDArray[np.intp]) -> float:
        """Share of the top heads' effect that lies in the first two thirds of the layers.

        Args:
            rows: Which of the carriers' effects are averaged; heads are ranked by these alone.
        """
        names = [self.vectors.carriers[int(row)] for row in rows]
        mean = np.mean([self.vectors.effects(name).mean(0) for name in names], axis=0)
        top = self.vectors.strongest(mean, self.vectors.count)
        effects = np.array([mean[head] for head in top])
        early = np.array([layer + 0.5 < EARLY * len(mean) for layer, _ in top])
        return float(effects[early].sum() / effects.sum())

    @property
    def early_by_chance(self) -> float:
        """Share of all heads that lie in the first two thirds of the layers."""
        layers = len(self.vectors.mean_effects())
        early = [layer + 0.5 < EARLY * layers for layer, _ in self.vectors.all_heads]
        return float(np.mean(early))

    def induction(self, heads: str) -> Outcome:
        """Prefix-matching score on random tokens that are shown twice.

        Args:
            heads: ``top``, those that carry tasks; or ``random``, others of the same layers.
        """
        first = next(iter(self.readings.tasks))

        def build() -> dict[str, NDArray[Any]]:
            self.readings.say("reading which heads copy what came before")
            top = self.vectors.heads()
            drawn = [self.vectors.random_heads(first, k, top) for k in range(DRAWS)]
            flat = [*top, *(head for group in drawn for head in group)]
            scores = prefix_matching(
                self.readings.engine(),
                flat,
                self.readings.rng(first, "tokens shown twice"),
                prefix=self.readings.checkpoint.prefix,
                rows=16,
            )
            return {"top": scores[:, : len(top)].mean(1), "random": scores[:, len(top) :].mean(1)}

        kept = self._cached("prefix matching", {}, build)
        rows = [f"sequence {k}" for k in range(len(kept[heads]))]
        return Outcome(
            name=f"prefix matching, {heads} heads",
            examples=rows,  # type: ignore[arg-type]
            clusters=rows,  # type: ignore[arg-type]
            scores=kept[heads],
            factors={"heads": heads},
        )

    def _cached(self, what: str, given: dict[str, Any], build: Any) -> dict[str, NDArray[Any]]:
        tasks = tuple(self.readings.tasks)
        return self.readings.cached(what, tasks, given, build, __name__)
