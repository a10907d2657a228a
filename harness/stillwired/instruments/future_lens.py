"""The readers of Future Lens, as outcomes.

Pal, Sun, Yuan, Wallace, Bau (2023), "Future Lens: anticipating subsequent tokens from a single
hidden state". A reader sees one state at position ``t`` (some also the tokens after it) and
guesses what the model says at ``t + N``. A hit is a guess that equals the model's own argmax
there. Guesses are cached, so a claim that is judged again costs no forward pass.

Prompts are in `stillwired.instruments.prompt_outcomes`, and asked for here like the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwired.instruments.depths import FIRST, LATE, MIDDLE, Depth
from stillwired.instruments.fed_linear import FedLinear
from stillwired.instruments.linear_outcomes import LinearOutcomes
from stillwired.instruments.names import Names
from stillwired.instruments.ngrams import FollowerTable, count_followers
from stillwired.instruments.own_context import keeps_its_word
from stillwired.instruments.prompt_outcomes import PromptOutcomes
from stillwired.instruments.prompt_recipes import Recipe, recipe_of
from stillwired.instruments.survey import AHEAD
from stillwired.instruments.text import TextReadings, factors_of
from stillwired.outcomes import Outcome

Arrays = dict[str, NDArray[Any]]


class FutureLens:
    """Readers of one text.

    Args:
        text: Rows, states and cache.
        recipe: How prompts are trained; None for what belongs to the text's profile.
        first: Judge rows that ``few`` means, wherever it is asked for; None for as many as belong
            to the text's profile.

    Attributes:
        text: The same.
        few_rows: The same as `first`.
        maps: Linear readers.
        prompts: Prompts, with everything that they can be asked.
    """

    def __init__(
        self, text: TextReadings, recipe: Recipe | None = None, first: int | None = None
    ) -> None:
        first = text.plan.profile.few_states if first is None else first
        self.text, self.few_rows = text, first
        recipe = recipe or recipe_of(text.plan.profile)
        self.prompts = PromptOutcomes(text, recipe, first)
        self.maps = LinearOutcomes(text, first)

    @property
    def first(self) -> Depth:
        """The declared depth that stands for the first blocks."""
        return self.text.depth_in(FIRST)

    @property
    def middle(self) -> Depth:
        """The declared depth that stands for the middle blocks."""
        return self.text.depth_in(MIDDLE)

    @property
    def late(self) -> Depth:
        """The declared depth that stands for the late blocks, the last one excluded."""
        return self.text.depth_in(LATE)

    @property
    def last(self) -> Depth:
        """The last block."""
        return self.text.depths[-1]

    @property
    def before_last(self) -> tuple[Depth, ...]:
        """The declared depths without the last block, where no later token hears a state."""
        return self.text.depths[:-1]

    @property
    def for_fixed_prompts(self) -> tuple[Depth, ...]:
        """Depths at which four prompts are read: in the quick profile one of each band."""
        if self.text.plan.profile.name == "quick":
            return self.first, self.middle, self.late
        return self.before_last

    # Readers that count tokens

    def bigram(
        self, ahead: int, followers: str = "counted", population: str = "all", few: bool = False
    ) -> Outcome:
        """Hits of the follower table, told the last token known at N: the one at ``t + N``.

        Args:
            ahead: N.
            followers: ``counted``, or ``shuffled`` for the control that must fail.
            population: ``all`` rows, or ``next-right`` for the paper's stated filter.
            few: As in `read`.
        """
        table = self._tables[1]
        if followers == "shuffled":
            table = table.shuffled(self.text.rng("followers"))
        guesses = table.guess(self.text.rows("judge").fed[:, ahead])[: self._first(few)]
        name = f"bigram, followers {followers}"
        return self.text.hits(name, guesses, ahead, population, reader="bigram")

    def skip_bigram(self, ahead: int) -> Outcome:
        """Hits of the follower table at distance N + 1, told the token at ``t`` alone."""
        guesses = self._tables[ahead + 1].guess(self.text.rows("judge").fed[:, 0])
        return self.text.hits("skip-bigram", guesses, ahead, reader="skip-bigram")

    def constant(self, ahead: int, population: str = "all", few: bool = False) -> Outcome:
        """Hits of the one token that the model says most often on the fit text."""
        guess = np.bincount(self.text.rows("fit").targets[:, ahead]).argmax()
        guesses = np.full(len(self.text.rows("judge")), guess)[: self._first(few)]
        return self.text.hits("constant guess", guesses, ahead, population, reader="constant")

    # Readers that see a state

    def linear(
        self,
        ahead: int,
        depth: Depth | None = None,
        states: str = "own",
        population: str = "all",
        few: bool = False,
    ) -> Outcome:
        """Hits of the linear map to the final state, read by the model's own unembedding.

        Args:
            ahead: N.
            depth: A declared depth; None for the best one on the choose split.
            states: ``own``, or ``shuffled`` across documents for the control that must fail.
            population: ``all`` rows, or ``next-right``.
            few: As in `read`.
        """
        depth = depth or self.chosen_depth(ahead)
        return self.read("linear", ahead, depth, states, population, few)

    def read(
        self,
        reader: str,
        ahead: int,
        depth: Depth,
        states: str = "own",
        population: str = "all",
        few: bool = False,
        share: float = 1.0,
    ) -> Outcome:
        """Hits of a linear reader at one depth; see `LinearOutcomes.read`."""
        return self.maps.read(reader, ahead, depth, states, population, few, share)

    def chosen_depth(self, ahead: int) -> Depth:
        """The depth whose linear map is least surprised; see `LinearOutcomes.chosen_depth`."""
        return self.maps.chosen_depth(ahead)

    def by_depth(self, reader: str, ahead: int) -> Mapping[str, Outcome]:
        """Return a linear reader at every declared depth, by label."""
        return self.over(self.text.depths, lambda depth: self.read(reader, ahead, depth, few=True))

    def apart(
        self, a: Mapping[str, Outcome], b: Mapping[str, Outcome], by: float
    ) -> tuple[Mapping[str, Outcome], Mapping[str, Outcome]]:
        """Plant a difference: at each depth the reader that hits less loses ``by`` more hits.

        The hits that turn into misses are drawn at random; where there are fewer, all go.
        """
        rng = self.text.rng("planted difference")
        planted: tuple[dict[str, Outcome], dict[str, Outcome]] = dict(a), dict(b)
        for label in a:
            worse = planted[0 if a[label].scores.mean() <= b[label].scores.mean() else 1]
            outcome = worse[label]
            scores = outcome.scores.copy()
            scores[rng.permutation(np.flatnonzero(scores))[: round(by * len(scores))]] = 0.0
            worse[label] = replace(outcome, name=f"{outcome.name}, {by} spoilt", scores=scores)
        return planted

    def gain_from_doubling(self, reader: str, ahead: int) -> Outcome:
        """Hits with all fit rows minus hits with half of them, at the chosen depth.

        Args:
            reader: ``linear``, ``vocabulary`` or ``fair linear``.
            ahead: N.
        """
        read: Callable[..., Outcome]
        if reader == "fair linear":
            read = partial(self.fair_linear, ahead, FedLinear(self.text).chosen_depth(ahead))
        else:
            read = partial(self.read, reader, ahead, self.chosen_depth(ahead))
        full, half = read(few=True), read(few=True, share=0.5)
        return Outcome(
            name=f"{full.name}, all fit rows − half of them",
            examples=full.examples,
            clusters=full.clusters,
            scores=full.scores - half.scores,
            factors=full.factors,
        )

    # Readers that are fed the tokens in between

    def fixed(self, ahead: int, depth: Depth, states: str = "own", **scoring: Any) -> Outcome:
        """Hits of the four published prompts in turn; see `PromptOutcomes.fixed`."""
        return self.prompts.fixed(ahead, depth, states, **scoring)

    def fixed_apart(
        self, ahead: int, depth: Depth, states: str = "own", **scoring: Any
    ) -> Mapping[str, Outcome]:
        """Hits of each of them in its turn; see `PromptOutcomes.fixed_apart`."""
        return self.prompts.fixed_apart(ahead, depth, states, **scoring)

    def fixed_each(
        self, ahead: int, depth: Depth, states: str = "own", **scoring: Any
    ) -> Mapping[str, Outcome]:
        """Hits of prompts in words, each alone; see `PromptOutcomes.fixed_each`."""
        return self.prompts.fixed_each(ahead, depth, states, **scoring)

    def learned(
        self,
        ahead: int,
        depth: Depth | None = None,
        trained: int | tuple[int, ...] = 1,
        states: str = "own",
        **how: Any,
    ) -> Outcome:
        """Hits of a prompt that was trained for a depth; see `PromptOutcomes.learned`."""
        return self.prompts.learned(ahead, depth, trained, states, **how)

    def no_state(
        self, ahead: int, trained: int | tuple[int, ...] = 1, fed: str = "true", **scoring: Any
    ) -> Outcome:
        """Hits of the prompt that no state can reach; see `PromptOutcomes.no_state`."""
        return self.prompts.no_state(ahead, trained, fed, **scoring)

    def with_reader(self, reader: str, ahead: int, depth: Depth, states: str = "own") -> Outcome:
        """Hits of a reader by name on the first rows.

        Names are ``linear``, ``vocabulary``, ``fixed``, and ``learned``, trained for N = 1.
        """
        if reader == "fixed":
            return self.fixed(ahead, depth, states, few=True)
        if reader == "learned":
            return self.learned(ahead, depth, states=states, few=True)
        return self.read(reader, ahead, depth, states, few=True)

    def own_drop(self, ahead: int) -> Outcome:
        """Hits of the model itself, had its own context the wrong token that prompts are fed."""
        return keeps_its_word(self.prompts.passes, ahead)

    def training_facts(self) -> dict[str, int | str]:
        """Tell what each reader learns, and how far the prompt that `learned` reads has come."""
        prepared, recipe = self.text.checkpoint.prepared, self.prompts.recipe
        block = self.prompts.chosen_depth().block
        return {
            "loss of the learned prompt": self.prompts.training(block, (1,), recipe).course,
            "trained parameters, learned prompt": recipe.vectors * prepared.width,
            "trained parameters, linear map": (prepared.width + 1) * prepared.width,
            "trained parameters, vocabulary map": (prepared.width + 1) * prepared.vocabulary,
        }

    @cached_property
    def names(self) -> Names:
        """The readers, tried on names of several tokens."""
        return Names(self.prompts)

    def over(self, depths: Iterable[Depth], read: Callable[[Depth], Outcome]) -> dict[str, Outcome]:
        """Read at several depths: a family of outcomes, by label."""
        return {depth.label: read(depth) for depth in depths}

    def fair_linear(
        self,
        ahead: int,
        depth: Depth | None = None,
        population: str = "all",
        few: bool = False,
        share: float = 1.0,
    ) -> Outcome:
        """Hits of a linear map of the state and of the fed tokens' embeddings.

        It is told what a prompt is told, but lacks the model's own layers.

        Args:
            ahead: N; for 0 nothing is fed.
            depth: A declared depth; None for the best one on the choose split.
            population: ``all`` rows, or ``next-right``.
            few: As in `read`.
            share: As in `read`.
        """
        readers = FedLinear(self.text)
        depth = depth or readers.chosen_depth(ahead)
        guesses = readers.guesses(ahead, depth, share)[: self._first(few)]
        name = f"linear map of state and fed tokens, {depth.label}"
        factors: dict[str, str | int | float] = {
            "reader": "fair linear",
            **factors_of(depth),
            "share": share,
        }
        return self.text.hits(name, guesses, ahead, population, **factors)

    # Inside

    def _first(self, few: bool) -> int | None:
        """How many judge rows are read."""
        return self.few_rows if few else None

    @cached_property
    def _tables(self) -> dict[int, FollowerTable]:
        fits, distances = self.text.fits, [ahead + 1 for ahead in AHEAD]
        checkpoint = fits.checkpoint

        def count() -> Arrays:
            texts = [document.text for document in fits.corpus.documents_of("fit")]
            tables = count_followers(
                checkpoint.encode(texts), checkpoint.prepared.vocabulary, distances
            )
            return {
                f"{part}{distance}": getattr(table, part)
                for distance, table in tables.items()
                for part in ("followers", "seen")
            }

        kept = fits.cached("followers", {}, count, module=__name__)
        return {d: FollowerTable(d, kept[f"followers{d}"], kept[f"seen{d}"]) for d in distances}
