"""Linear maps of one state as readers: to the final state, and straight to the vocabulary.

Maps are fitted on the fit split, their ridge, training and depth are chosen on the choose split,
and their guesses at the judge rows are cached.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stillwired.clock import FITS, spending
from stillwired.instruments.depths import Depth
from stillwired.instruments.linear_map import LinearMap, Training, solve_ridge, train_on_kl
from stillwired.instruments.moments import Moments, Whitened
from stillwired.instruments.survey import AHEAD, Survey
from stillwired.instruments.text import TextReadings, factors_of, other_document
from stillwired.instruments.vocabulary_map import RIDGES, VocabularyMap
from stillwired.outcomes import Outcome

CURVE_ROWS = 3_000
"""Rows judged at every declared depth; contrasts of single depths may use all rows."""
CHUNK = 4_096

Arrays = dict[str, NDArray[Any]]


class LinearOutcomes:
    """Linear readers of one text.

    Args:
        text: Rows, states and cache.
        first: Judge rows that are read by themselves, so that curves over many depths need no
            more than those.
    """

    def __init__(self, text: TextReadings, first: int = CURVE_ROWS) -> None:
        self.text, self._first = text, first
        self._inputs_of: dict[tuple[int, float], tuple[Moments, Whitened]] = {}

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
            "reader": reader,
            **factors_of(depth),
            "states": states,
            "share": share,
        }
        return self.text.hits(name, guesses, ahead, population, **factors)

    def chosen_depth(self, ahead: int) -> Depth:
        """The depth whose linear map is least surprised by the targets of the choose split."""

        def surprisal(depth: Depth) -> float:
            return float(self._linear_map(ahead, depth, 1.0)["choose_surprisal"])

        return min(self.text.depths, key=surprisal)

    # Inside

    def _guesses(
        self, reader: str, ahead: int, depth: Depth, share: float, part: str
    ) -> NDArray[np.int64]:
        """Guess the first rows, or the others; together they are all judge rows."""
        guess = {"linear": self._guess_linear, "vocabulary": self._guess_tokens}[reader]
        rows = slice(self._first) if part == "first rows" else slice(self._first, None)

        def build() -> Arrays:
            self.text.say(f"guessing from {depth.label}, N={ahead}, {reader} map, {part}")
            states = np.array(self.text.survey.states("judge", depth.block)[rows])
            return {"guesses": guess(ahead, depth, share, states)}

        given = {
            "ahead": ahead,
            "block": depth.block,
            "share": share,
            "part": part,
            "first": self._first,
        }
        guesses: NDArray[np.int64] = self._cached(reader, given, build)["guesses"]
        return guesses

    def _guess_linear(
        self, ahead: int, depth: Depth, share: float, states: NDArray[np.float32]
    ) -> NDArray[np.int64]:
        kept = self._linear_map(ahead, depth, share)
        fitted = LinearMap.of_arrays(kept)
        return self._read_out(fitted.predict(states))[0]

    def _linear_map(self, ahead: int, depth: Depth, share: float) -> Arrays:
        """Fit, or fetch, the map of one depth and N, with its surprisal on the choose split."""
        if self.text.fits is not self.text:
            return self._fits._linear_map(ahead, depth, share)

        def fit() -> Arrays:
            self.text.say(f"fitting the linear map of {depth.label}, N={ahead}")
            survey, rows = self.text.survey, fit_rows(self.text, share)
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
            return {**fitted.arrays(), "choose_surprisal": surprisal.mean()}

        given = {"ahead": ahead, "block": depth.block, "share": share}
        return self._cached("linear map", given, fit)

    @cached_property
    def _fits(self) -> LinearOutcomes:
        """The readers whose maps these are, where what is judged is not what maps are fitted to."""
        return LinearOutcomes(self.text.fits, self._first)

    def _guess_tokens(
        self, ahead: int, depth: Depth, share: float, states: NDArray[np.float32]
    ) -> NDArray[np.int64]:
        rows = fit_rows(self.text, share)
        _, whitened = self._inputs(depth, share)
        fitted = VocabularyMap(
            whitened,
            self.text.fits.survey.states("fit", depth.block)[rows],
            self.text.rows("fit").targets[rows, ahead],
        )
        choose = self.text.fits.survey.states("choose", depth.block)
        said = self.text.rows("choose").targets[:, ahead]
        return fitted.guess(states, fitted.best_ridge(choose, said, RIDGES))

    def _inputs(self, depth: Depth, share: float) -> tuple[Moments, Whitened]:
        """Sums over the fit rows, and the whitened states of one depth."""
        key = (depth.block, share)
        if key not in self._inputs_of:
            survey, rows = self.text.fits.survey, fit_rows(self.text, share)
            moments = self._moments if share == 1.0 else sums_of(survey, depth.block, rows)
            self._inputs_of[key] = moments, Whitened.of(moments, depth.block)
        return self._inputs_of[key]

    @cached_property
    def _moments(self) -> Moments:
        return self.text.fits.survey.moments()

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


def fit_rows(text: TextReadings, share: float) -> slice:
    """The first rows of the fit split: whole passages in drawn order, mixed by domain."""
    return slice(int(len(text.rows("fit")) * share))


@spending(FITS)
def sums_of(survey: Survey, block: int, rows: slice) -> Moments:
    """Sum some fit rows of one block, from the states that the survey keeps."""
    moments = Moments((block,), AHEAD)
    for start in range(*rows.indices(len(survey.rows("fit"))))[::CHUNK]:
        chunk = slice(start, min(start + CHUNK, rows.stop))
        states = torch.from_numpy(np.array(survey.states("fit", block)[chunk]))
        finals = [np.array(survey.final_states("fit", ahead)[chunk]) for ahead in AHEAD]
        moments.add([states], [torch.from_numpy(final) for final in finals])
    return moments
