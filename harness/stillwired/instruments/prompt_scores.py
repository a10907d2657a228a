"""What readers that are prompts said, as outcomes: hits, surprisal, hits by confidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwired.errors import UsageError
from stillwired.instruments.prompt_readers import LIKELIEST
from stillwired.instruments.text import TextReadings
from stillwired.outcomes import Factor, Outcome

SCORES = ("hits", "surprisal", "surer half", "random half")


@dataclass(frozen=True)
class Scoring:
    """How what a prompt says is scored.

    Attributes:
        within: A hit is a target among this many likeliest tokens, at most 10.
        few: Judge the first rows only: whole passages, spread over all documents.
        population: ``all`` rows, or ``next-right``.
        score: ``hits``; ``surprisal``, minus the log-probability of the target in nats;
            ``surer half``, whose mean is the hits of the half of the rows where the prompt is
            surer of what it says, minus those of the other half; or ``random half``, the same
            with the confidences dealt out at random.
    """

    within: int = 1
    few: bool = False
    population: str = "all"
    score: str = "hits"

    def __post_init__(self) -> None:
        if not 1 <= self.within <= LIKELIEST:
            raise UsageError(f"Hits are counted within 1 to {LIKELIEST} tokens, not {self.within}.")
        if self.score not in SCORES:
            raise UsageError(
                f"There is no score {self.score!r}. Choose one of: {', '.join(SCORES)}."
            )


def scored(
    text: TextReadings,
    name: str,
    said: Mapping[str, NDArray[Any]],
    ahead: int,
    how: Scoring,
    factors: Mapping[str, Factor],
    weigh: Callable[[NDArray[np.float64], NDArray[np.float32]], NDArray[np.float64]],
) -> Outcome:
    """Score what a reader said of the first judge rows.

    Args:
        text: The rows.
        name: What the outcome is called; a score other than hits is named behind it.
        said: ``tokens``, ``likeliest``, ``probabilities`` and ``scores``, row by row, as
            `prompt_readers.Spoken` has them for one N.
        ahead: N.
        how: The score.
        factors: Settings that hold for every row.
        weigh: Weighs hits by confidence, as `surer_minus_other`.
    """
    wanted = text.rows("judge").targets[: len(said["tokens"]), ahead]
    # The target counts as guessed where it is among the likeliest.
    found = (said["likeliest"][:, : how.within] == wanted[:, None]).any(1) & (how.within > 1)
    guesses = np.where(found, wanted, said["tokens"])
    name = name if how.score == "hits" else f"{name}, {how.score}"
    outcome = text.hits(name, guesses, ahead, how.population)
    outcome = replace(outcome, factors={**outcome.factors, **factors})
    if how.score == "hits":
        return outcome
    kept = text.in_population(how.population, len(guesses))
    if how.score == "surprisal":
        return replace(outcome, scores=-said["scores"][kept].astype(np.float64))
    sureness = said["probabilities"][kept]
    if how.score == "random half":
        sureness = text.rng("confidences").permutation(sureness)
    return replace(outcome, scores=weigh(outcome.scores, sureness))


def surer_minus_other(
    hits: NDArray[np.float64], sureness: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Weigh hits so that their mean is that of the surer half minus that of the other.

    They are taken from their mean: how many hits there are at all then adds no noise.

    Args:
        hits: [rows].
        sureness: [rows]; rows that are equally sure are split in the order given.

    Returns:
        [rows]; with an odd number of rows the middle one counts for neither half.
    """
    rows, half = len(hits), len(hits) // 2
    weights = np.zeros(rows)
    order = np.argsort(sureness, kind="stable")
    weights[order[:half]], weights[order[rows - half :]] = -rows / half, rows / half
    centred: NDArray[np.float64] = hits - hits.mean()
    return centred * weights
