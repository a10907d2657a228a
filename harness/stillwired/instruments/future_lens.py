"""The readers of Future Lens, as outcomes.

Pal, Sun, Yuan, Wallace, Bau (2023), "Future Lens: anticipating subsequent tokens from a single
hidden state". A reader sees one state at position ``t`` (some also the tokens after it) and
guesses what the model says at ``t + N``. A hit is a guess that equals the model's own argmax
there. Guesses are cached, so a claim that is judged again costs no forward pass.

Prompts are in `stillwired.instruments.prompt_outcomes`, and asked for here like the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stillwired.instruments.depths import FIRST, LATE, Depth
from stillwired.instruments.fed_linear import FedLinear
from stillwired.instruments.linear_map import LinearMap, Training, solve_ridge, train_on_kl
from stillwired.instruments.moments import Moments, Whitened
from stillwired.instruments.ngrams import FollowerTable, count_followers
from stillwired.instruments.prompt_outcomes import PromptOutcomes
from stillwired.instruments.prompt_training import SHORT, Recipe
from stillwired.instruments.survey import AHEAD, Survey
from stillwired.instruments.text import TextReadings, other_document
from stillwired.instruments.vocabulary_map import RIDGES, VocabularyMap
from stillwired.outcomes import Outcome

CURVE_ROWS = 3_000
"""Rows judged at every declared depth; contrasts of single depths use all rows."""
CHUNK = 4_096

Arrays = dict[str, NDArray[Any]]


class FutureLens:
    """Readers of one text.

    Args:
        text: Rows, states and cache.
        recipe: How prompts are trained.

    Attributes:
        text: The same.
        prompts: Prompts, with everything that they can be asked.
    """

    def __init__(self, text: TextReadings, recipe: Recipe = SHORT) -> None:
        self.text = text
        self.prompts = PromptOutcomes(text, recipe, CURVE_ROWS)
        self._inputs_of: dict[tuple[int, float], tuple[Moments, Whitened]] = {}

    @property
    def first(self) -> Depth:
        """The declared depth that stands for the first blocks."""
        return self.text.depth_in(FIRST)

    @property
    def late(self) -> Depth:
        """The declared depth that stands for the late blocks, the last one excluded."""
        return self.text.depth_in(LATE)

    # Readers that count tokens

    def bigram(self, ahead: int, followers: str = "counted", population: str = "all") -> Outcome:
        """Hits of the follower table, told the last token known at N: the one at ``t + N``.

        Args:
            ahead: N.
            followers: ``counted``, or ``shuffled`` for the control that must fail.
            population: ``all`` rows, or ``next-right`` for the paper's stated filter.
        """
        table = self._tables[1]
        if followers == "shuffled":
            table = table.shuffled(self.text.rng("followers"))
        guesses = table.guess(self.text.rows("judge").fed[:, ahead])
        return self.text.hits(f"bigram, followers {followers}", guesses, ahead, population)

    def skip_bigram(self, ahead: int) -> Outcome:
        """Hits of the follower table at distance N + 1, told the token at ``t`` alone."""
        guesses = self._tables[ahead + 1].guess(self.text.rows("judge").fed[:, 0])
        return self.text.hits("skip-bigram", guesses, ahead)

    def constant(self, ahead: int, population: str = "all", few: bool = False) -> Outcome:
        """Hits of the one token that the model says most often on the fit text."""
        guess = np.bincount(self.text.rows("fit").targets[:, ahead]).argmax()
        guesses = np.full(len(self.text.rows("judge")), guess)[: CURVE_ROWS if few else None]
        return self.text.hits("constant guess", guesses, ahead, population)

    # Readers that see a state

    def linear(
        self,
        ahead: int,
        depth: Depth | None = None,
        states: str = "own",
        population: str = "all",
    ) -> Outcome:
        """Hits of the linear map to the final state, read by the model's own unembedding.

        Args:
            ahead: N.
            depth: A declared depth; None for the best one on the choose split.
            states: ``own``, or ``shuffled`` across documents for the control that must fail.
            population: ``all`` rows, or ``next-right``.
        """
        return self.read("linear", ahead, depth or self.chosen_depth(ahead), states, population)

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
        """Hits of a linear reader at one depth.

        Args:
            reader: ``linear`` (to the final state) or ``vocabulary`` (straight to tokens).
            ahead: N.
            depth: A declared depth.
            states: ``own``, or ``shuffled`` across documents.
            population: ``all`` rows, or ``next-right``.
            few: Judge the first rows only: whole passages, spread over all documents.
            share: Fit on this share of the rows, for a learning curve.
        """
        guesses = self._guesses(reader, ahead, depth, share, "first rows")
        if not few:
            rest = self._guesses(reader, ahead, depth, share, "other rows")
            guesses = np.concatenate([guesses, rest])
        if states == "shuffled":
            # A map that is given another document's state guesses what it guesses there.
            documents = self.text.rows("judge").documents[: len(guesses)]
            guesses = guesses[other_document(documents, self.text.rng("shuffled states"))]
        name = f"{reader} map, {states} states, {depth.label}"
        factors: dict[str, str | int | float] = {
            "depth": depth.label,
            "block": depth.block,
            "share": share,
        }
        return self.text.hits(name, guesses, ahead, population, **factors)

    def by_depth(self, reader: str, ahead: int) -> Mapping[str, Outcome]:
        """Return a linear reader at every declared depth, by label."""
        return {
            depth.label: self.read(reader, ahead, depth, few=True) for depth in self.text.depths
        }

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

    def chosen_depth(self, ahead: int) -> Depth:
        """The depth whose linear map is least surprised by the targets of the choose split."""

        def surprisal(depth: Depth) -> float:
            return float(self._linear_map(ahead, depth, 1.0)["choose_surprisal"])

        return min(self.text.depths, key=surprisal)

    def gain_from_doubling(self, reader: str, ahead: int) -> Outcome:
        """Hits with all fit rows minus hits with half of them, at the chosen depth."""
        depth = self.chosen_depth(ahead)
        full = self.read(reader, ahead, depth, few=True)
        half = self.read(reader, ahead, depth, few=True, share=0.5)
        return Outcome(
            name=f"{full.name}, all fit rows − half of them",
            examples=full.examples,
            clusters=full.clusters,
            scores=full.scores - half.scores,
            factors=full.factors,
        )

    # Readers that are fed the tokens in between

    def fixed(self, ahead: int, depth: Depth, states: str = "own", **how: Any) -> Outcome:
        """Hits of the four published prompts, averaged; `how` as in `PromptOutcomes.fixed`."""
        return self.prompts.fixed(ahead, depth, states, **how)

    def fixed_each(
        self, ahead: int, depth: Depth, states: str = "own", **how: Any
    ) -> Mapping[str, Outcome]:
        """Hits of each of the four alone; `how` as in `PromptOutcomes.fixed_each`."""
        return self.prompts.fixed_each(ahead, depth, states, **how)

    def learned(
        self,
        ahead: int,
        depth: Depth | None = None,
        trained: int | tuple[int, ...] = 1,
        states: str = "own",
        **how: Any,
    ) -> Outcome:
        """Hits of the prompt that was trained for a depth; as `PromptOutcomes.learned`."""
        return self.prompts.learned(ahead, depth, trained, states, **how)

    def no_state(self, ahead: int, trained: int | tuple[int, ...] = 1, **how: Any) -> Outcome:
        """Hits of the prompt that no state can reach; as `PromptOutcomes.no_state`."""
        return self.prompts.no_state(ahead, trained, **how)

    def fair_linear(
        self, ahead: int, depth: Depth | None = None, population: str = "all"
    ) -> Outcome:
        """Hits of a linear map of the state and of the fed tokens' embeddings.

        It is told what a prompt is told, but lacks the model's own layers.

        Args:
            ahead: N; for 0 nothing is fed.
            depth: A declared depth; None for the best one on the choose split.
            population: ``all`` rows, or ``next-right``.
        """
        readers = FedLinear(self.text)
        depth = depth or readers.chosen_depth(ahead)
        guesses = readers.guesses(ahead, depth)
        factors: dict[str, str | int | float] = {"depth": depth.label, "block": depth.block}
        name = f"linear map of state and fed tokens, {depth.label}"
        return self.text.hits(name, guesses, ahead, population, **factors)

    # Inside

    @cached_property
    def _tables(self) -> dict[int, FollowerTable]:
        checkpoint, distances = self.text.checkpoint, [ahead + 1 for ahead in AHEAD]

        def count() -> Arrays:
            texts = [document.text for document in self.text.corpus.documents_of("fit")]
            tables = count_followers(
                checkpoint.encode(texts), checkpoint.prepared.vocabulary, distances
            )
            return {
                f"{part}{distance}": getattr(table, part)
                for distance, table in tables.items()
                for part in ("followers", "seen")
            }

        kept = self._cached("followers", {}, count)
        return {d: FollowerTable(d, kept[f"followers{d}"], kept[f"seen{d}"]) for d in distances}

    def _guesses(
        self, reader: str, ahead: int, depth: Depth, share: float, part: str
    ) -> NDArray[np.int64]:
        """Guess the first rows, or the others; together they are all judge rows."""
        guess = {"linear": self._guess_linear, "vocabulary": self._guess_tokens}[reader]
        rows = slice(CURVE_ROWS) if part == "first rows" else slice(CURVE_ROWS, None)

        def build() -> Arrays:
            self.text.say(f"guessing from {depth.label}, N={ahead}, {reader} map, {part}")
            states = np.array(self.text.survey.states("judge", depth.block)[rows])
            return {"guesses": guess(ahead, depth, share, states)}

        given = {"ahead": ahead, "block": depth.block, "share": share, "part": part}
        guesses: NDArray[np.int64] = self._cached(reader, given, build)["guesses"]
        return guesses

    def _guess_linear(
        self, ahead: int, depth: Depth, share: float, states: NDArray[np.float32]
    ) -> NDArray[np.int64]:
        kept = self._linear_map(ahead, depth, share)
        fitted = LinearMap(kept["mean"], kept["weights"], kept["offset"], float(kept["ridge"]))
        return self._read_out(fitted.predict(states))[0]

    def _linear_map(self, ahead: int, depth: Depth, share: float) -> Arrays:
        """Fit, or fetch, the map of one depth and N, with its surprisal on the choose split."""

        def fit() -> Arrays:
            self.text.say(f"fitting the linear map of {depth.label}, N={ahead}")
            survey, rows = self.text.survey, self._fit_rows(share)
            moments, whitened = self._inputs(depth, share)
            choose = (
                np.array(survey.states("choose", depth.block)),
                np.array(survey.final_states("choose", ahead)),
            )
            fitted = train_on_kl(
                solve_ridge(moments, whitened, depth.block, ahead, choose),
                (survey.states("fit", depth.block)[rows], survey.final_states("fit", ahead)[rows]),
                choose,
                self.text.rows("fit").targets[rows, ahead],
                self.text.engine().unembedding_of,
                Training(),
                seed=self.text.fit_seed(f"linear map, N={ahead}, block {depth.block}"),
            )
            said = self.text.rows("choose").targets[:, ahead]
            _, surprisal = self._read_out(fitted.predict(choose[0]), said)
            kept = {name: np.asarray(value) for name, value in vars(fitted).items()}
            return {**kept, "choose_surprisal": surprisal.mean()}

        given = {"ahead": ahead, "block": depth.block, "share": share}
        return self._cached("linear map", given, fit)

    def _guess_tokens(
        self, ahead: int, depth: Depth, share: float, states: NDArray[np.float32]
    ) -> NDArray[np.int64]:
        rows = self._fit_rows(share)
        _, whitened = self._inputs(depth, share)
        fitted = VocabularyMap(
            whitened,
            self.text.survey.states("fit", depth.block)[rows],
            self.text.rows("fit").targets[rows, ahead],
        )
        choose = self.text.survey.states("choose", depth.block)
        said = self.text.rows("choose").targets[:, ahead]
        return fitted.guess(states, fitted.best_ridge(choose, said, RIDGES))

    def _inputs(self, depth: Depth, share: float) -> tuple[Moments, Whitened]:
        """Sums over the fit rows, and the whitened states of one depth."""
        key = (depth.block, share)
        if key not in self._inputs_of:
            survey, rows = self.text.survey, self._fit_rows(share)
            moments = self._moments if share == 1.0 else sums_of(survey, depth.block, rows)
            self._inputs_of[key] = moments, Whitened.of(moments, depth.block)
        return self._inputs_of[key]

    @cached_property
    def _moments(self) -> Moments:
        return self.text.survey.moments()

    def _fit_rows(self, share: float) -> slice:
        """The first rows of the fit split: whole passages in drawn order, mixed by domain."""
        return slice(int(len(self.text.rows("fit")) * share))

    def _read_out(
        self, finals: NDArray[np.float32], tokens: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Unembed predicted final states: argmax tokens, and surprisal of given tokens."""
        engine = self.text.engine()
        said, surprisal = [], [np.zeros(0)]
        for start in range(0, len(finals), 1024):
            logits = engine.unembed(torch.from_numpy(finals[start : start + 1024])).float()
            said.append(logits.argmax(-1).cpu().numpy())
            if tokens is not None:
                asked = torch.from_numpy(tokens[start : start + 1024, None]).to(logits.device)
                scores = logits.gather(1, asked)[:, 0] - logits.logsumexp(-1)
                surprisal.append(-scores.double().cpu().numpy())
        return np.concatenate(said or [np.zeros(0, np.int64)]), np.concatenate(surprisal)

    def _cached(self, what: str, given: Mapping[str, Any], build: Callable[[], Arrays]) -> Arrays:
        return self.text.cached(what, given, build, module=__name__)


def sums_of(survey: Survey, block: int, rows: slice) -> Moments:
    """Sum some fit rows of one block, from the states that the survey keeps."""
    moments = Moments((block,), AHEAD)
    for start in range(*rows.indices(len(survey.rows("fit"))))[::CHUNK]:
        chunk = slice(start, min(start + CHUNK, rows.stop))
        states = torch.from_numpy(np.array(survey.states("fit", block)[chunk]))
        finals = [np.array(survey.final_states("fit", ahead)[chunk]) for ahead in AHEAD]
        moments.add([states], [torch.from_numpy(final) for final in finals])
    return moments
