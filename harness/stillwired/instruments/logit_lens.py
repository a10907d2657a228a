"""The logit lens: every layer read through the model's own last step.

nostalgebraist (2020), "interpreting GPT: the logit lens": the output of a block is passed
through the final norm and the unembedding, as if the later blocks were not there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stillwired.instruments.survey import EMBEDDING, lens_bands, lens_early_block
from stillwired.instruments.text import TextReadings, other_document
from stillwired.outcomes import Outcome

TARGETS = ("own", "another's", "a third's")


class LogitLens:
    """What the lens says of the judged rows at many depths.

    Args:
        text: Rows, states and cache.
    """

    def __init__(self, text: TextReadings) -> None:
        self.text = text

    @property
    def bands(self) -> tuple[tuple[int, ...], ...]:
        """Blocks that are read in each band of equal depth, the last block left out."""
        return lens_bands(self.text.checkpoint.prepared.layers)

    def surprisal(self, blocks: Sequence[int], target: str = "own") -> NDArray[np.float64]:
        """Surprisal of the text's next token under the lens, averaged over blocks.

        Args:
            blocks: Blocks to average over.
            target: ``own`` next token, or that of another or of a third document.

        Returns:
            Nats, [rows].
        """
        scores = [self._at(block)[f"next {target}"] for block in blocks]
        return np.asarray(np.mean(scores, axis=0), dtype=np.float64)

    def by_band(self) -> Mapping[str, Outcome]:
        """Surprisal of the next token in each band of depth, in order."""
        return {
            f"band {k + 1} of {len(self.bands)}": self._outcome(
                f"surprisal, band {k + 1}", self.surprisal(blocks)
            )
            for k, blocks in enumerate(self.bands)
        }

    def fall(self, target: str = "own") -> Outcome:
        """Surprisal in the first third of the depth minus that in the last third, in nats."""
        third = max(len(self.bands) // 3, 1)
        first = [block for band in self.bands[:third] for block in band]
        last = [block for band in self.bands[-third:] for block in band]
        fallen = self.surprisal(first, target) - self.surprisal(last, target)
        return self._outcome(f"fall of the surprisal of {target} next token", fallen)

    def input_at_embedding(self, target: str = "own") -> Outcome:
        """Probability of the input token (or another's) under the lens at the embedding."""
        return self._input_probability(EMBEDDING, target)

    def input_at_early_block(self, target: str = "own") -> Outcome:
        """The same at relative depth 0.15."""
        return self._input_probability(
            lens_early_block(self.text.checkpoint.prepared.layers), target
        )

    def _input_probability(self, block: int, target: str) -> Outcome:
        scores = np.exp(-self._at(block)[f"input {target}"])
        where = "the embedding" if block == EMBEDDING else f"block {block}"
        return self._outcome(f"probability of {target} input token at {where}", scores)

    def embedding_decodes(self) -> Outcome:
        """Probability of the input token at the embedding, on rows that are not judged."""
        rows = self.text.rows("choose")

        def read() -> dict[str, NDArray[Any]]:
            states = self.text.survey.states("choose", EMBEDDING)
            return self._score(states, {"input": rows.fed[:, 0]})

        scores = np.exp(-self._cached("lens ability", {}, read)["input"])
        return Outcome("the embedding decodes its input", rows.examples, rows.documents, scores)

    def agreement_at_last_block(self) -> float:
        """Share of rows where the lens at the last block says what the model says; must be 1."""
        said = self._at(self.text.checkpoint.prepared.layers - 1)["argmax"]
        targets = self.text.rows("judge").targets[: len(said), 0]
        return float(np.mean(said == targets))

    def _at(self, block: int) -> dict[str, NDArray[Any]]:
        def read() -> dict[str, NDArray[Any]]:
            self.text.say(f"reading block {block} through the logit lens")
            states = self.text.survey.lens_states(block)
            rows = self.text.rows("judge")
            documents = rows.documents[: len(states)]
            tokens = {}
            for target in TARGETS:
                order = np.arange(len(states))
                if target != "own":
                    order = other_document(documents, self.text.rng(f"lens, {target}"))
                tokens[f"next {target}"] = rows.following[order, 0]
                tokens[f"input {target}"] = rows.fed[order, 0]
            return self._score(states, tokens)

        return self._cached("lens", {"block": block}, read)

    def _score(
        self, states: NDArray[np.float32], tokens: Mapping[str, NDArray[np.int64]]
    ) -> dict[str, NDArray[Any]]:
        """Surprisal of tokens under the lens, [rows] each in nats; and its ``argmax``, [rows]."""
        engine = self.text.engine()
        found: dict[str, list[NDArray[Any]]] = {name: [] for name in (*tokens, "argmax")}
        for start in range(0, len(states), 512):
            part = torch.from_numpy(np.array(states[start : start + 512]))
            logits = engine.unembed(engine.final_norm(part)).float()
            scores = torch.log_softmax(logits, -1)
            found["argmax"].append(scores.argmax(-1).cpu().numpy())
            for name, ids in tokens.items():
                asked = torch.from_numpy(ids[start : start + 512, None]).to(scores.device)
                found[name].append(-scores.gather(1, asked)[:, 0].double().cpu().numpy())
        return {name: np.concatenate(parts) for name, parts in found.items()}

    def _cached(
        self, what: str, given: Mapping[str, Any], build: Callable[[], dict[str, NDArray[Any]]]
    ) -> dict[str, NDArray[Any]]:
        return self.text.cached(what, given, build, module=__name__)

    def _outcome(self, name: str, scores: NDArray[np.float64]) -> Outcome:
        rows = self.text.rows("judge")
        count = len(scores)
        return Outcome(name, rows.examples[:count], rows.documents[:count], scores)
