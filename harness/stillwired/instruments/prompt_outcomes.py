"""Prompts as readers of Future Lens, fixed and learned, as outcomes.

Prompts hear the text's tokens ``t + 1 … t + N`` besides the state at ``t``
(`stillwired.instruments.prompt_readers`). How much of what they say comes from the state is told
by readers that hear the same tokens: a prompt without a state, prompts with other rows' states,
and a linear map that is fed the same (`stillwired.instruments.fed_linear`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwired.engine.cone import Cone
from stillwired.engine.engine import Progress
from stillwired.errors import UsageError
from stillwired.instruments.depths import Depth
from stillwired.instruments.learned_prompt import learned_prompt, listed
from stillwired.instruments.prompt_readers import (
    FIXED_PROMPTS,
    LIKELIEST,
    Prompt,
    read_prompt,
    swapped_rows,
)
from stillwired.instruments.prompt_training import SHORT, Recipe
from stillwired.instruments.survey import FURTHEST, Say
from stillwired.instruments.text import TextReadings, other_document
from stillwired.outcomes import Outcome

STATES = ("own", "shuffled", "swapped", "none")

Arrays = dict[str, NDArray[Any]]


class PromptOutcomes:
    """Readers of one text that are fed its tokens.

    Args:
        text: Rows, states and cache.
        recipe: How prompts are trained.
        first: Judge rows that are read by themselves, so that curves over many depths need no
            more than those; contrasts of single depths use all rows.
    """

    def __init__(self, text: TextReadings, recipe: Recipe = SHORT, first: int = 3_000) -> None:
        self.text, self.recipe, self._first = text, recipe, first

    # Fixed prompts

    def fixed_each(
        self,
        ahead: int,
        depth: Depth,
        states: str = "own",
        within: int = 1,
        few: bool = False,
        population: str = "all",
        prompts: Mapping[str, str] = FIXED_PROMPTS,
    ) -> Mapping[str, Outcome]:
        """Hits of prompts in words, each alone.

        Args:
            ahead: N.
            depth: A declared depth.
            states: ``own``, ``shuffled`` across documents, ``swapped`` among rows with the same
                token for N = 0, or ``none``.
            within: A hit is a target among this many likeliest tokens, at most 10.
            few: Judge the first rows only: whole passages, spread over all documents.
            population: ``all`` rows, or ``next-right``.
            prompts: Text by name; see also `prompt_readers.GENERIC_PROMPTS`.
        """
        return {
            name: self._hits(
                f"fixed prompt {name!r}, {depth.label}",
                partial(self._fixed, text, ahead, depth.block, states),
                ahead,
                states,
                within,
                few,
                population,
                {"depth": depth.label, "block": depth.block},
            )
            for name, text in prompts.items()
        }

    def fixed(
        self,
        ahead: int,
        depth: Depth,
        states: str = "own",
        within: int = 1,
        few: bool = False,
        population: str = "all",
    ) -> Outcome:
        """Hits of the four published prompts, averaged row by row; arguments as `fixed_each`."""
        each = list(self.fixed_each(ahead, depth, states, within, few, population).values())
        return Outcome(
            name=f"fixed prompts, {states} states, {depth.label}, N={ahead}",
            examples=each[0].examples,
            clusters=each[0].clusters,
            scores=np.mean([outcome.scores for outcome in each], axis=0),
            factors=each[0].factors,
        )

    # Learned prompts

    def learned(
        self,
        ahead: int,
        depth: Depth | None = None,
        trained: int | tuple[int, ...] = 1,
        states: str = "own",
        within: int = 1,
        few: bool = False,
        population: str = "all",
    ) -> Outcome:
        """Hits of the prompt that was trained for a depth.

        Args:
            ahead: N that is read.
            depth: A declared depth; None for the best one on the choose split, which trains a
                prompt for each of them.
            trained: The N that it was trained for, or several.
            states: As in `fixed_each`.
            within: As in `fixed_each`.
            few: As in `fixed_each`.
            population: As in `fixed_each`.
        """
        trained = _several(trained)
        depth = depth or self.chosen_depth(ahead, trained)
        return self._hits(
            f"learned prompt, {depth.label}, trained for {listed(trained)}",
            partial(self._learned, ahead, depth.block, trained, states),
            ahead,
            states,
            within,
            few,
            population,
            {"depth": depth.label, "block": depth.block, "trained": listed(trained)},
        )

    def no_state(
        self,
        ahead: int,
        trained: int | tuple[int, ...] = 1,
        within: int = 1,
        few: bool = False,
        population: str = "all",
    ) -> Outcome:
        """Hits of the prompt that was trained where no state can reach the fed tokens.

        It hears the tokens that the learned prompts hear, is trained as they are, and sees no
        state: what it foresees, the fed tokens alone foretell.

        Args:
            ahead: N, at least 1.
            trained: As in `learned`.
            within: As in `fixed_each`.
            few: As in `fixed_each`.
            population: As in `fixed_each`.

        Raises:
            UsageError: If N is 0, where there is nothing but the state.
        """
        trained = _several(trained)
        if ahead < 1 or 0 in trained:
            raise UsageError("Without a state there is nothing to read for N = 0. Ask for N ≥ 1.")
        last = self.text.checkpoint.prepared.layers - 1
        return self._hits(
            f"prompt of the last block, trained for {listed(trained)}",
            partial(self._learned, ahead, last, trained, "none"),
            ahead,
            "none",
            within,
            few,
            population,
            {"trained": listed(trained)},
        )

    def chosen_depth(self, ahead: int, trained: int | tuple[int, ...] = 1) -> Depth:
        """The depth whose prompt is least surprised by the targets of the choose split."""

        def surprisal(depth: Depth) -> float:
            spoken = self._learned(ahead, depth.block, _several(trained), "own", "choose")
            return -float(spoken["scores"][:, ahead].mean(dtype=np.float64))

        return min(self.text.depths, key=surprisal)

    # Inside

    @cached_property
    def _cone(self) -> Cone:
        return Cone(self.text.engine())

    def _hits(
        self,
        name: str,
        read: Callable[[str], Arrays],
        ahead: int,
        states: str,
        within: int,
        few: bool,
        population: str,
        factors: dict[str, str | int | float],
    ) -> Outcome:
        """Score what is read of the first rows, or of these and the others."""
        if not 1 <= within <= LIKELIEST:
            raise UsageError(f"Hits are counted within 1 to {LIKELIEST} tokens, not {within}.")
        parts = [read("first rows")]
        if not few:
            parts.append(read("other rows"))
        likeliest, said = (
            np.concatenate([part[what][:, ahead] for part in parts])
            for what in ("likeliest", "tokens")
        )
        factors = {**factors, "states": states}
        if states == "swapped":
            alone = self._partners("judge", states)[: len(said)] == np.arange(len(said))
            factors["alone"] = int(alone.sum())
            name = f"{name}, {int(alone.sum())} of {len(alone)} rows keep their own"
        # The target counts as guessed where it is among the likeliest.
        wanted = self.text.rows("judge").targets[: len(said), ahead]
        found = (likeliest[:, :within] == wanted[:, None]).any(1) & (within > 1)
        guesses = np.where(found, wanted, said)
        name = f"{name}, {'no' if states == 'none' else states} states"
        outcome = self.text.hits(name, guesses, ahead, population)
        return replace(outcome, factors={**outcome.factors, "within": within, **factors})

    def _fixed(self, words: str, ahead: int, block: int, states: str, part: str) -> Arrays:
        return self._spoken(
            f"prompt {words!r}",
            {"prompt": words},
            lambda: Prompt.fixed(self.text.checkpoint, words),
            block,
            ahead,
            states,
            part,
        )

    def _learned(
        self, ahead: int, block: int, trained: tuple[int, ...], states: str, part: str
    ) -> Arrays:
        return self._spoken(
            f"prompt trained for N={listed(trained)}",
            {"trained": list(trained), "recipe": asdict(self.recipe)},
            lambda: (
                learned_prompt(self.text, lambda: self._cone, block, trained, self.recipe).prompt
            ),
            block,
            ahead,
            states,
            part,
        )

    def _spoken(
        self,
        what: str,
        given: Mapping[str, Any],
        prompt: Callable[[], Prompt],
        block: int,
        ahead: int,
        states: str,
        part: str,
    ) -> Arrays:
        """Read a prompt over the choose rows, the first judge rows or the others."""
        if states not in STATES:
            raise UsageError(f"There are no states {states!r}. Choose one of: {', '.join(STATES)}.")
        split = "choose" if part == "choose" else "judge"
        # Most is asked of N = 0 and 1, and feeding three tokens costs twice what one does.
        fed = 1 if ahead <= 1 else FURTHEST
        rows = {
            "choose": slice(None),
            "first rows": slice(self._first),
            "other rows": slice(self._first, None),
        }[part]

        def build() -> Arrays:
            about = f"reading block {block} with the {what}, {states} states, {part}"
            self.text.say(about)
            kept = self.text.rows(split)
            transplanted = None
            if states != "none":
                partners = self._partners(split, states)[rows]
                transplanted = np.array(self.text.survey.states(split, block)[partners])
            spoken = read_prompt(
                self._cone,
                prompt(),
                block,
                transplanted,
                kept.following[rows, :fed],
                kept.targets[rows, : fed + 1],
                _tenths(self.text.say, about),
            )
            return spoken.arrays()

        key = {"block": block, "fed": fed, "states": states, "part": part, "first": self._first}
        return self._cached("prompt", {**given, **key}, build)

    def _partners(self, split: str, states: str) -> NDArray[np.int64]:
        """For each row of a split, the row whose state it is given."""
        rows = self.text.rows(split)
        if states == "shuffled":
            return other_document(rows.documents, self.text.rng("shuffled states"))
        if states == "swapped":
            rng = self.text.rng("swapped states")
            return swapped_rows(rows.targets[:, 0], rows.documents, rng)
        return np.arange(len(rows))

    def _cached(self, what: str, given: Mapping[str, Any], build: Callable[[], Arrays]) -> Arrays:
        return self.text.cached(what, given, build, module=__name__)


def _tenths(say: Say, about: str) -> Progress:
    """Report every tenth of the work, once."""
    told = 0

    def report(done: int, total: int) -> None:
        nonlocal told
        if 10 * done // total > told:
            told = 10 * done // total
            say(f"{about}: {10 * told} %")

    return report


def _several(trained: int | tuple[int, ...]) -> tuple[int, ...]:
    return (trained,) if isinstance(trained, int) else tuple(sorted(set(trained)))
