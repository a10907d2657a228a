"""Linear maps from one state straight to the vocabulary.

Future Lens (Section 3.1) also trains a fresh head per layer and N. Here the head is the ridge
solution for one-hot targets. A token that was never a target has weight zero everywhere, so
only the tokens that occur are solved for; and a map lives only while it guesses: one map of a
small model is already larger than everything else that a run keeps, all of them together would
be a hundred times the model.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from stillwired.clock import FITS, spending
from stillwired.instruments.moments import Whitened

RIDGES = (1e-3, 1e-2, 1e-1, 1.0)
CHUNK = 8_192
"""Rows that are turned at a time, so that memory does not grow with the fitted text."""


class VocabularyMap:
    """The map of one layer and N, in the eigenvectors of the layer's scaled states.

    Args:
        inputs: The layer's whitened inputs, from the same rows.
        states: Fitted states, [rows, width].
        tokens: The tokens that are to be guessed, [rows].
    """

    @spending(FITS)
    def __init__(
        self, inputs: Whitened, states: NDArray[np.float32], tokens: NDArray[np.int64]
    ) -> None:
        self._inputs = inputs
        order = np.argsort(tokens, kind="stable")
        self._seen, classes, counts = np.unique(
            tokens[order], return_inverse=True, return_counts=True
        )
        # X'Y for one-hot Y is the sum of the states of each token: nothing dense is built.
        sums = np.zeros((len(self._seen), len(inputs.mean)), dtype=np.float32)
        for start in range(0, len(tokens), CHUNK):
            here = classes[start : start + CHUNK]
            firsts = np.flatnonzero(np.diff(here, prepend=-1))
            rotated = self._rotate(states[order[start : start + CHUNK]])
            sums[here[firsts]] += np.add.reduceat(rotated, firsts, axis=0)
        self._share = (counts / len(tokens)).astype(np.float32)
        self._cross = (sums - self._share[:, None] * sums.sum(0)) / len(tokens)

    @spending(FITS)
    def guess(self, states: NDArray[np.float32], ridge: float) -> NDArray[np.int64]:
        """Guess the token for each state.

        Args:
            states: [rows, width].
            ridge: Strength, relative to unit-variance inputs.

        Returns:
            Token ids, [rows].
        """
        shrink = (1.0 / (self._inputs.values + ridge)).astype(np.float32)
        weights = torch.from_numpy(self._cross * shrink).T
        share = torch.from_numpy(self._share)
        asked = torch.from_numpy(self._rotate(states))
        best = [torch.addmm(share, part, weights).argmax(-1) for part in torch.split(asked, 2048)]
        guessed: NDArray[np.int64] = self._seen[torch.cat(best).numpy()]
        return guessed

    @spending(FITS)
    def best_ridge(
        self, states: NDArray[np.float32], tokens: NDArray[np.int64], ridges: Sequence[float]
    ) -> float:
        """Return the strength that guesses most of the given rows; the strongest of equals."""
        hits = {ridge: float(np.mean(self.guess(states, ridge) == tokens)) for ridge in ridges}
        return max(sorted(ridges, reverse=True), key=hits.__getitem__)

    def _rotate(self, states: NDArray[np.float32]) -> NDArray[np.float32]:
        inputs = self._inputs
        mean, scale = inputs.mean.astype(np.float32), inputs.scale.astype(np.float32)
        scaled = (np.asarray(states) - mean) / scale
        return np.asarray(scaled @ inputs.vectors.astype(np.float32), dtype=np.float32)
