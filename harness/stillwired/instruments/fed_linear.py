"""A linear map that is fed what a prompt is fed.

Prompts hear the text's tokens ``t + 1 … t + N`` besides the state at ``t``; the linear maps of
Future Lens do not, so that a comparison of the two mixes what the model's own layers add with
what the tokens tell. This map is affine in the state and in the embeddings of the fed tokens, and
fitted as the linear map of the state alone is: ridge on all fit rows, then a short training on
the KL divergence. It is a control of ours; the paper has none like it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stillwired.clock import FITS, spending
from stillwired.instruments.depths import Depth
from stillwired.instruments.linear_map import LinearMap, Training, solve_ridge, train_on_kl
from stillwired.instruments.linear_outcomes import fit_rows
from stillwired.instruments.moments import Moments, Whitened
from stillwired.instruments.prompt_readers import Spoken
from stillwired.instruments.text import TextReadings

CHUNK = 4_096
"""Rows that are summed at a time."""

Arrays = dict[str, NDArray[Any]]


class FedLinear:
    """Linear maps of state and fed tokens, on one text.

    Args:
        text: Rows, states and cache.
    """

    def __init__(self, text: TextReadings) -> None:
        self.text = text

    def guesses(self, ahead: int, depth: Depth, share: float = 1.0) -> NDArray[np.int64]:
        """Guess what the model says at ``t + ahead``, for every judge row [rows].

        Args:
            ahead: N.
            depth: A declared depth.
            share: Fit on this share of the rows, for a learning curve.
        """
        given = {"ahead": ahead, "block": depth.block, "share": share}

        def guess() -> Arrays:
            self.text.say(f"guessing from {depth.label} and fed tokens, N={ahead}, linear map")
            told = self._told("judge", depth.block, ahead, slice(None))
            return {"guesses": self._read(self._fit(ahead, depth.block, share), told).tokens[:, 0]}

        kept = self._cached("fed linear map, guesses", given, guess)
        guessed: NDArray[np.int64] = kept["guesses"]
        return guessed

    def guesses_of(
        self, states: NDArray[np.float32], fed: NDArray[np.int64], depth: Depth
    ) -> NDArray[np.int64]:
        """Guess for rows of another text.

        Args:
            states: States of a depth [rows, width].
            fed: Tokens ``t + 1 … t + N`` [rows, N].
            depth: A declared depth.

        Returns:
            Tokens at ``t + N`` [rows].
        """
        fitted = self._fit(fed.shape[1], depth.block)
        return self._read(fitted, self._beside(states, fed)).tokens[:, 0]

    def chosen_depth(self, ahead: int) -> Depth:
        """The depth whose least squares are least surprised by the targets of the choose split.

        Training starts there and changes all depths alike, so that one map alone is trained.
        """

        def surprisal(depth: Depth) -> float:
            return float(self._solve(ahead, depth.block)["choose_surprisal"])

        return min(self.text.depths, key=surprisal)

    def _solve(self, ahead: int, block: int, share: float = 1.0) -> Arrays:
        """Solve, or fetch, the least squares of one block and N, with their surprisal."""
        if self.text.fits is not self.text:
            return FedLinear(self.text.fits)._solve(ahead, block, share)

        @spending(FITS)
        def solve() -> Arrays:
            self.text.say(f"solving the linear map of block {block} and fed tokens, N={ahead}")
            finals, last = self.text.survey.final_states("fit", ahead), fit_rows(self.text, share)
            chunks = [slice(k, min(k + CHUNK, last.stop)) for k in range(0, last.stop, CHUNK)]
            moments = moments_of(
                ((self._told("fit", block, ahead, rows), finals[rows]) for rows in chunks),
                block,
                ahead,
            )
            choose = self._choose(ahead, block)
            solved = solve_ridge(moments, Whitened.of(moments, block), block, ahead, choose)
            kept = solved.arrays()
            said = self.text.rows("choose").targets[:, ahead, None]
            scores = self._read(kept, choose[0], said).scores
            return {**kept, "choose_surprisal": np.asarray(-scores.mean(dtype=np.float64))}

        given = {"ahead": ahead, "block": block, "share": share}
        return self._cached("fed linear map, least squares", given, solve)

    def _fit(self, ahead: int, block: int, share: float = 1.0) -> Arrays:
        """Fit, or fetch, the map of one block and N."""
        if self.text.fits is not self.text:
            return FedLinear(self.text.fits)._fit(ahead, block, share)

        @spending(FITS)
        def fit() -> Arrays:
            solved = LinearMap.of_arrays(self._solve(ahead, block, share))
            self.text.say(f"training the linear map of block {block} and fed tokens, N={ahead}")
            training = Training()
            some = slice(min(training.rows, fit_rows(self.text, share).stop))
            return train_on_kl(
                solved,
                (
                    self._told("fit", block, ahead, some),
                    self.text.survey.final_states("fit", ahead)[some],
                ),
                self._choose(ahead, block),
                self.text.rows("fit").targets[some, ahead],
                self.text.engine().unembedding_of,
                training,
                seed=self.text.fit_seed(f"fed linear map, N={ahead}, block {block}"),
            ).arrays()

        given = {"ahead": ahead, "block": block, "share": share}
        return self._cached("fed linear map", given, fit)

    def _choose(self, ahead: int, block: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What a map is told on the choose split, and what the model said there."""
        finals = np.array(self.text.survey.final_states("choose", ahead))
        return self._told("choose", block, ahead, slice(None)), finals

    def _told(self, split: str, block: int, ahead: int, rows: slice) -> NDArray[np.float32]:
        """States and fed tokens' embeddings side by side [rows, width * (1 + ahead)]."""
        states = np.array(self.text.survey.states(split, block)[rows], dtype=np.float32)
        return self._beside(states, self.text.rows(split).following[rows, :ahead])

    def _beside(self, states: NDArray[np.float32], fed: NDArray[np.int64]) -> NDArray[np.float32]:
        table = self.text.engine().embeddings
        tokens = torch.from_numpy(fed).to(table.device)
        embedded = table[tokens].float().cpu().numpy()
        return np.concatenate([states, embedded.reshape(len(states), -1)], axis=1)

    def _read(
        self, kept: Arrays, told: NDArray[np.float32], asked: NDArray[np.int64] | None = None
    ) -> Spoken:
        """Predict final states and let the model's own unembedding read them."""
        fitted = LinearMap.of_arrays(kept)
        engine = self.text.engine()
        spoken = Spoken.empty(len(told), 1, engine.anatomy.vocabulary)
        predicted = torch.from_numpy(fitted.predict(told))
        spoken.hear(engine, np.arange(len(told)), 0, predicted, asked)
        return spoken

    def _cached(self, what: str, given: Mapping[str, Any], build: Callable[[], Arrays]) -> Arrays:
        return self.text.cached(what, given, build, module=__name__)


@spending(FITS)
def moments_of(
    parts: Iterable[tuple[NDArray[np.float32], NDArray[np.float32]]], block: int, ahead: int
) -> Moments:
    """Add up sums for inputs that are wider than the targets.

    Args:
        parts: Inputs [rows, inputs] and targets [rows, width], part by part; at least one.
        block: What the sums are said to belong to.
        ahead: N.

    Returns:
        The sums of one block and one N, where ``cross`` is [1, 1, inputs, width].
    """
    sums: Moments | None = None
    for inputs, targets in parts:
        if sums is None:
            # Rounded, so that what is subtracted in float32 is what is added again later.
            origin = inputs.mean(0, dtype=np.float64).astype(np.float32).astype(np.float64)
            wide, width = inputs.shape[1], targets.shape[1]
            sums = Moments(
                (block,),
                (ahead,),
                origin=origin[None],
                gram=np.zeros((1, wide, wide)),
                cross=np.zeros((1, 1, wide, width)),
                x_sum=np.zeros((1, wide)),
                y_sum=np.zeros((1, width)),
            )
        x = torch.from_numpy(inputs - sums.origin[0].astype(np.float32))
        y = torch.from_numpy(np.array(targets, dtype=np.float32))
        sums.n += len(x)
        # As in `Moments`: one part in float32, across parts in float64.
        sums.gram[0] += (x.T @ x).double().numpy()
        sums.cross[0, 0] += (x.T @ y).double().numpy()
        sums.x_sum[0] += x.sum(0).double().numpy()
        sums.y_sum[0] += y.sum(0).double().numpy()
    assert sums is not None
    return sums
