"""Prompts as readers of Future Lens, fixed and learned, as outcomes.

Prompts hear the text's tokens ``t + 1 … t + N`` besides the state at ``t``
(`stillwired.instruments.prompt_readers`). How much of what they say comes from the state is told
by readers that hear the same tokens: a prompt without a state, prompts with other rows' states,
and a linear map that is fed the same (`stillwired.instruments.fed_linear`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from stillwired.errors import UsageError
from stillwired.instruments.depths import FIRST, Depth
from stillwired.instruments.learned_prompt import LearnedPrompt, learned_prompts, listed
from stillwired.instruments.prompt_passes import Arrays, Asked, PromptPasses
from stillwired.instruments.prompt_readers import (
    FIXED_PROMPTS,
    Prompt,
    last_block_identity,
    nearest_tokens,
)
from stillwired.instruments.prompt_recipes import SHORT, Recipe
from stillwired.instruments.prompt_scores import Scoring, scored, surer_minus_other
from stillwired.instruments.text import TextReadings, factors_of
from stillwired.outcomes import Factor, Outcome

IDENTITY_ROWS = 32
"""Rows on which the identity of the last block is checked, by the full forward."""


@dataclass(frozen=True)
class _Reader:
    """A prompt, what determines it, and what it is given.

    Attributes:
        name: What messages and outcomes call it.
        key: What determines the prompt.
        make: Makes it.
        asked: What it is given at every row.
        factors: Settings that hold for every row.
        every: Whether claims ask for each N from 1 on at the first rows, so that one pass reads
            them all.
        turns: Prompts that take turns from row to row, in place of one prompt; empty for one.
    """

    name: str
    key: Mapping[str, Any]
    make: Callable[[], Prompt]
    asked: Asked
    factors: Mapping[str, Factor]
    every: bool = False
    turns: tuple[_Reader, ...] = ()


class PromptOutcomes:
    """Readers of one text that are fed its tokens.

    Args:
        text: Rows, states and cache.
        recipe: How prompts are trained.
        first: Judge rows that ``few`` means.
    """

    def __init__(self, text: TextReadings, recipe: Recipe = SHORT, first: int = 3_000) -> None:
        self.text, self.recipe = text, recipe
        self.passes = PromptPasses(text, first)
        self._chosen: dict[tuple[int, ...], Depth] = {}

    # Fixed prompts

    def fixed_each(
        self,
        ahead: int,
        depth: Depth,
        states: str = "own",
        prompts: Mapping[str, str] = FIXED_PROMPTS,
        **scoring: Any,
    ) -> Mapping[str, Outcome]:
        """Hits of prompts in words, each alone.

        Args:
            ahead: N.
            depth: A declared depth.
            states: As in `prompt_passes.Asked`.
            prompts: Text by name; see also `prompt_readers.GENERIC_PROMPTS`.
            scoring: As in `Scoring`.
        """
        how = Scoring(**scoring)
        return {
            name: self._outcome(self._fixed(name, words, depth, states), ahead, how)
            for name, words in prompts.items()
        }

    def fixed(self, ahead: int, depth: Depth, states: str = "own", **scoring: Any) -> Outcome:
        """Hits of the four published prompts, which take turns from row to row.

        Their average is the same, and four times as many rows for the same passes make it surer:
        what the four say of one state is much alike. Arguments as `fixed_each`.
        """
        turns = tuple(
            self._fixed(name, words, depth, states) for name, words in FIXED_PROMPTS.items()
        )
        reader = _Reader(
            name=f"fixed prompts in turn, {depth.label}",
            key={},
            make=turns[0].make,
            asked=turns[0].asked,
            factors={**turns[0].factors, "reader": "fixed"},
            turns=turns,
        )
        return self._outcome(reader, ahead, Scoring(**scoring))

    def fixed_apart(
        self, ahead: int, depth: Depth, states: str = "own", **scoring: Any
    ) -> dict[str, Outcome]:
        """Hits of each published prompt on the rows that are its turn; arguments as `fixed_each`.

        Raises:
            UsageError: If a population is asked for, or a score that compares rows.
        """
        if set(scoring) - {"few", "within"}:
            raise UsageError("Prompts that take turns are told apart by hits at all rows alone.")
        whole = self.fixed(ahead, depth, states, **scoring)
        of = len(FIXED_PROMPTS)
        return {
            name: Outcome(
                f"fixed prompt {name!r} in its turn, {depth.label}",
                whole.examples[number::of],
                whole.clusters[number::of],
                whole.scores[number::of],
                {**whole.factors, "reader": f"fixed, {name}"},
            )
            for number, name in enumerate(FIXED_PROMPTS)
        }

    # Learned prompts

    def learned(
        self,
        ahead: int,
        depth: Depth | None = None,
        trained: int | tuple[int, ...] = 1,
        states: str = "own",
        *,
        prompt_of: Depth | None = None,
        states_of: Depth | None = None,
        fed: str = "true",
        as_tokens: bool = False,
        recipe: Mapping[str, Any] | None = None,
        **scoring: Any,
    ) -> Outcome:
        """Hits of a trained prompt.

        Args:
            ahead: N that is read.
            depth: A declared depth, where a state is put in; None for the one that
                `chosen_depth` gives.
            trained: The N that the prompt was trained for, or several.
            states: As in `prompt_passes.Asked`.
            prompt_of: The depth that the prompt was trained for; None for `depth`.
            states_of: The depth that states come from; None for `depth`. They are scaled to the
                mean length of states at `depth`.
            fed: As in `prompt_passes.Asked`.
            as_tokens: Feed the tokens whose embeddings point most nearly where the vectors do.
            recipe: What differs from the recipe of these readers, by field of `Recipe`.
            scoring: As in `Scoring`.
        """
        trained = _several(trained)
        depth = depth or self.chosen_depth(trained)
        changed = replace(self.recipe, **(recipe or {}))
        reader = self._learned(prompt_of or depth, trained, changed, as_tokens)
        source = None if states_of is None else states_of.block
        unusual: dict[str, Factor] = {}
        if prompt_of is not None and prompt_of != depth:
            unusual["prompt_of"] = prompt_of.label
        if states_of is not None:
            unusual["states_of"] = states_of.label
        if fed != "true":
            unusual["fed"] = fed
        details = [
            f"put in at {depth.label}" if "prompt_of" in unusual else "",
            f"states of {unusual['states_of']}" if "states_of" in unusual else "",
            f"{fed} token fed" if "fed" in unusual else "",
        ]
        reader = replace(
            reader,
            name=", ".join(filter(None, [reader.name, *details])),
            asked=Asked(depth.block, states, source, fed),
            factors={**reader.factors, **factors_of(depth), "states": states, **unusual},
            # Claims read the chosen depth, and shuffled states as its control, at every N. A depth
            # that is named may be that one: it then meets what was read there already.
            every=ahead > 0
            and states in ("own", "shuffled")
            and not (unusual or as_tokens)
            and self._usual(trained, changed)
            and self._undamaged(states)
            and depth == self.chosen_depth(trained),
        )
        return self._outcome(reader, ahead, Scoring(**scoring))

    def no_state(
        self,
        ahead: int,
        trained: int | tuple[int, ...] = 1,
        fed: str = "true",
        **scoring: Any,
    ) -> Outcome:
        """Hits of the prompt that was trained where no state can reach the fed tokens.

        It hears the tokens that the learned prompts hear, is trained as they are, and sees no
        state: what it foresees, the fed tokens alone foretell.

        Args:
            ahead: N, at least 1.
            trained: As in `learned`.
            fed: As in `prompt_passes.Asked`.
            scoring: As in `Scoring`.

        Raises:
            UsageError: If N is 0, where there is nothing but the state.
        """
        trained = _several(trained)
        if ahead < 1 or 0 in trained:
            raise UsageError("Without a state there is nothing to read for N = 0. Ask for N ≥ 1.")
        last = self.text.checkpoint.prepared.layers - 1
        reader = self._learned(Depth("last block", last, 1.0), trained, self.recipe, False)
        name = f"prompt of the last block, trained for {listed(trained)}"
        factors: dict[str, Factor] = {"reader": "no state", "trained": listed(trained)}
        factors["states"] = "none"
        if fed != "true":
            name, factors["fed"] = f"{name}, {fed} token fed", fed
        reader = replace(
            reader,
            name=name,
            asked=Asked(last, "none", fed=fed),
            factors=factors,
            # It stands beside those of the chosen depth.
            every=fed == "true" and self._usual(trained, self.recipe) and self._undamaged("none"),
        )
        return self._outcome(reader, ahead, Scoring(**scoring))

    def chosen_depth(self, trained: int | tuple[int, ...] = 1) -> Depth:
        """The depth whose prompt is least surprised by the targets of the choose split.

        Targets are those of the smallest N that the prompts were trained for. It trains a
        prompt for every declared depth.
        """
        trained = _several(trained)
        if self.text.fits is not self.text:
            return self._fits.chosen_depth(trained)

        def surprisal(depth: Depth) -> float:
            reader = self._learned(depth, trained, self.recipe, False)
            spoken = self._spoken(reader, trained[0], "choose")
            return -float(spoken["scores"].mean(dtype=np.float64))

        if trained not in self._chosen:
            self._chosen[trained] = min(self.text.depths, key=surprisal)
        return self._chosen[trained]

    def last_block_identity(self) -> float:
        """Swap states at the last block and see what changes at fed tokens, in nats.

        See `prompt_readers.last_block_identity`; a published prompt and some choose rows.
        """
        rows = self.text.rows("choose")
        count = min(IDENTITY_ROWS, len(rows))
        last = self.text.checkpoint.prepared.layers - 1

        def swap() -> Arrays:
            states = np.array(self.text.survey.states("choose", last))
            others = states[self.passes.partners("choose", "shuffled")]
            prompt = Prompt.fixed(self.text.checkpoint, FIXED_PROMPTS["concepts"])
            worst = last_block_identity(
                self.text.engine(), prompt, states[:count], others[:count], rows.following[:count]
            )
            return {"worst": np.array(worst)}

        kept = self.text.cached("last block identity", {"rows": count}, swap, module=__name__)
        return float(kept["worst"])

    def training(self, block: int, trained: tuple[int, ...], recipe: Recipe) -> LearnedPrompt:
        """Return the prompt of a block with the course of its training."""
        if self.text.fits is not self.text:
            return self._fits.training(block, trained, recipe)
        together = self._trained_along(block, trained, recipe)
        prompts = learned_prompts(self.text, lambda: self.passes.cone, together, trained, recipe)
        return prompts[block]

    # What mutants replace

    def trained_prompt(self, block: int, trained: tuple[int, ...], recipe: Recipe) -> Prompt:
        """Fetch or train the prompt of a block, with those that are trained along."""
        return self.training(block, trained, recipe).prompt

    surer_minus_other = staticmethod(surer_minus_other)
    """How hits are weighed for the score ``surer half``."""

    # Inside

    @cached_property
    def _fits(self) -> PromptOutcomes:
        """The readers whose prompts these are, where what is judged is not what they learn from."""
        return PromptOutcomes(self.text.fits, self.recipe, self.passes.first)

    def _trained_along(
        self, block: int, trained: tuple[int, ...], recipe: Recipe
    ) -> tuple[int, ...]:
        """The blocks whose prompts are trained together with that of a block, itself included."""
        declared = tuple(depth.block for depth in self.text.depths)
        usual = self._usual(trained, replace(recipe, restart=self.recipe.restart))
        # The choice of the depth, and curves over depths, need every one of the usual prompts;
        # what is asked of unusual ones is asked at one depth or two.
        return declared if usual and block in declared else (block,)

    def _usual(self, trained: tuple[int, ...], recipe: Recipe) -> bool:
        """Whether a prompt is trained as most claims want it."""
        return trained == (1,) and recipe == self.recipe

    def _undamaged(self, states: str) -> bool:
        """Whether what is read is undamaged. Of damaged readings nobody asks for every N."""
        text = self.text.fits if states == "none" else self.text
        return not (text.damage or self.passes.damage)

    def _fixed(self, name: str, words: str, depth: Depth, states: str) -> _Reader:
        in_band = [found for found in self.text.depths if FIRST.holds(found)]
        return _Reader(
            name=f"fixed prompt {name!r}, {depth.label}",
            key={"prompt": words},
            make=lambda: Prompt.fixed(self.text.checkpoint, words),
            asked=Asked(depth.block, states),
            factors={"reader": f"fixed, {name}", **factors_of(depth), "states": states},
            # Of the first band, claims ask how fast the published prompts fade with N.
            every=states == "own"
            and words in FIXED_PROMPTS.values()
            and self._undamaged(states)
            and bool(in_band)
            and depth == self.text.depth_in(FIRST),
        )

    def _learned(
        self, depth: Depth, trained: tuple[int, ...], recipe: Recipe, as_tokens: bool
    ) -> _Reader:
        """Describe the prompt of one depth, read where it was trained."""
        given: dict[str, Any] = {"trained": list(trained), "recipe": asdict(recipe)}

        def make() -> Prompt:
            prompt = self.trained_prompt(depth.block, trained, recipe)
            if as_tokens and prompt.vectors is not None:
                return nearest_tokens(self.text.engine(), prompt)
            return prompt

        unusual = {
            name: value
            for name, value in asdict(recipe).items()
            if value != getattr(self.recipe, name)
        }
        words = [f"{name} {value}" for name, value in unusual.items()]
        words += ["as tokens"] if as_tokens else []
        return _Reader(
            name=", ".join(
                [f"learned prompt, {depth.label}, trained for {listed(trained)}", *words]
            ),
            key={**given, "prompt_of": depth.block, "as_tokens": as_tokens},
            make=make,
            asked=Asked(depth.block),
            factors={
                "reader": ", ".join(["learned", *words]),
                **factors_of(depth),
                "trained": listed(trained),
            },
        )

    def _spoken(self, reader: _Reader, ahead: int, part: str) -> Arrays:
        if reader.turns:
            return self._in_turn(reader.turns, ahead, part)
        return self._said(reader, ahead, part)

    def _in_turn(self, readers: Sequence[_Reader], ahead: int, part: str) -> Arrays:
        """Put together what prompts say that take turns."""
        of, start = len(readers), self.passes.first if part == "other rows" else 0
        each = [self._said(one, ahead, part, (number, of)) for number, one in enumerate(readers)]
        found: Arrays = {}
        for name, first in each[0].items():
            rows = sum(len(said[name]) for said in each)
            found[name] = np.empty((rows, *first.shape[1:]), first.dtype)
            for number, said in enumerate(each):
                found[name][(number - start) % of :: of] = said[name]
        return found

    def _said(
        self, reader: _Reader, ahead: int, part: str, turn: tuple[int, int] = (0, 1)
    ) -> Arrays:
        every = reader.every and part == "first rows"
        return self.passes.said(
            reader.name, reader.key, reader.make, reader.asked, ahead, part, every, turn
        )

    def _outcome(self, reader: _Reader, ahead: int, how: Scoring) -> Outcome:
        """Score what is read of the first rows, or of these and the others."""
        parts = [self._spoken(reader, ahead, "first rows")]
        if not how.few:
            parts.append(self._spoken(reader, ahead, "other rows"))
        said = {
            what: np.concatenate([part[what] for part in parts])
            for what in ("tokens", "likeliest", "probabilities", "scores")
        }
        name, factors = reader.name, {**reader.factors, "within": how.within, "score": how.score}
        states = reader.asked.states
        if states == "swapped":
            partners = self.passes.partners("judge", states)[: len(said["tokens"])]
            alone = int((partners == np.arange(len(partners))).sum())
            factors["alone"] = alone
            name = f"{name}, {alone} of {len(partners)} rows keep their own"
        name = f"{name}, {'no' if states == 'none' else states} states"
        return scored(self.text, name, said, ahead, how, factors, self.surer_minus_other)


def _several(trained: int | tuple[int, ...]) -> tuple[int, ...]:
    return (trained,) if isinstance(trained, int) else tuple(sorted(set(trained)))
