"""Sums from which the linear maps of every layer and every N are solved.

A ridge regression needs only ``X'X`` and ``X'Y``. One pass over the text adds them up for all
layers and all N together, so nothing but a few matrices per layer is held, whatever the amount
of text; solving afterwards costs a Cholesky factor per layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stillwired.engine.reading import Reading
from stillwired.engine.sites import Site, final, residual


@dataclass
class Moments:
    """Running sums over positions ``t``: inputs are states, targets final states at ``t + N``.

    Attributes:
        blocks: Layers that are read.
        ahead: The values of N.
        first: First position that counts; the last ``max(ahead) + 1`` do not count.
        n: Positions so far.
        gram: ``X'X`` per block, [blocks, width, width], float64.
        cross: ``X'Y`` per block and N, [blocks, ahead, width, width], float64.
        x_sum: Sum of the inputs, [blocks, width].
        y_sum: Sum of the targets, [ahead, width].
    """

    blocks: tuple[int, ...]
    ahead: tuple[int, ...]
    first: int
    n: int = 0
    gram: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    cross: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    x_sum: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    y_sum: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def empty(cls, blocks: Sequence[int], ahead: Sequence[int], first: int) -> Moments:
        """Start with nothing added."""
        return cls(tuple(blocks), tuple(ahead), first)

    @property
    def sites(self) -> frozenset[Site]:
        """What has to be read."""
        return frozenset({final(), *(residual(block) for block in self.blocks)})

    def take(self, reading: Reading) -> None:
        """Add the positions of one batch."""
        y = reading[final()].float()
        start, stop = self.first, y.shape[1] - max(self.ahead) - 1
        width = y.shape[-1]
        targets = torch.cat(
            [y[:, start + n : stop + n].reshape(-1, width) for n in self.ahead], dim=1
        )
        if not self.n:
            count, wide = len(self.blocks), len(self.ahead)
            self.gram = np.zeros((count, width, width))
            self.cross = np.zeros((count, wide, width, width))
            self.x_sum, self.y_sum = np.zeros((count, width)), np.zeros((wide, width))
        self.n += len(targets)
        # Sums of one batch are exact enough in float32; across batches they are kept in float64.
        self.y_sum += targets.sum(0).reshape(len(self.ahead), width).double().cpu().numpy()
        for k, block in enumerate(self.blocks):
            x = reading[residual(block)][:, start:stop].float().reshape(-1, width)
            self.gram[k] += (x.T @ x).cpu().numpy()
            products = (x.T @ targets).reshape(width, len(self.ahead), width)
            self.cross[k] += products.permute(1, 0, 2).cpu().numpy()
            self.x_sum[k] += x.sum(0).cpu().numpy()

    @classmethod
    def of(
        cls, block: int, states: NDArray[np.float32], finals: Sequence[NDArray[np.float32]]
    ) -> Moments:
        """Sum rows of one block that are already read: states and final states per N."""
        x = np.asarray(states)
        cross = np.stack([x.T @ np.asarray(y) for y in finals]).astype(np.float64)
        return cls(
            blocks=(block,),
            ahead=tuple(range(len(finals))),
            first=0,
            n=len(x),
            gram=(x.T @ x).astype(np.float64)[None],
            cross=cross[None],
            x_sum=x.sum(0, dtype=np.float64)[None],
            y_sum=np.stack([np.sum(y, axis=0, dtype=np.float64) for y in finals]),
        )

    def save(self, path: Path) -> None:
        """Write the sums to one ``.npz`` file."""
        arrays: dict[str, Any] = {name: np.asarray(value) for name, value in vars(self).items()}
        np.savez(path, **arrays)

    @classmethod
    def load(cls, path: Path) -> Moments:
        """Read what :meth:`save` wrote."""
        with np.load(path, allow_pickle=False) as kept:
            return cls(
                blocks=tuple(int(b) for b in kept["blocks"]),
                ahead=tuple(int(n) for n in kept["ahead"]),
                first=int(kept["first"]),
                n=int(kept["n"]),
                gram=kept["gram"],
                cross=kept["cross"],
                x_sum=kept["x_sum"],
                y_sum=kept["y_sum"],
            )


@dataclass(frozen=True)
class Whitened:
    """Inputs of one block, centred and scaled, with the eigenvectors of their covariance.

    One decomposition serves every ridge strength and every N.

    Attributes:
        mean: Mean input, [width].
        scale: Standard deviation per input, [width].
        values: Eigenvalues of the correlation matrix, [width].
        vectors: Its eigenvectors as columns, [width, width].
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    values: NDArray[np.float64]
    vectors: NDArray[np.float64]

    @classmethod
    def of(cls, moments: Moments, block: int) -> Whitened:
        """Prepare the inputs of one block."""
        k = moments.blocks.index(block)
        mean = moments.x_sum[k] / moments.n
        covariance = moments.gram[k] / moments.n - np.outer(mean, mean)
        scale = np.sqrt(np.maximum(np.diag(covariance), 1e-12))
        values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
        return cls(mean, scale, np.maximum(values, 0.0), vectors)

    def solve(self, cross: NDArray[np.float64], ridge: float) -> NDArray[np.float64]:
        """Solve for the weights of raw, centred inputs.

        Args:
            cross: Centred covariance of raw inputs with the targets, [width, targets].
            ridge: Strength, relative to unit-variance inputs.
        """
        projected = self.vectors.T @ (cross / self.scale[:, None])
        weights = self.vectors @ (projected / (self.values + ridge)[:, None])
        solved: NDArray[np.float64] = weights / self.scale[:, None]
        return solved
