"""Sums from which the linear maps of every layer and every N are solved.

A ridge regression needs only ``X'X`` and ``X'Y``. One pass over the text adds them up for all
layers and all N together, so nothing but a few matrices per layer is held, whatever the amount
of text; solving afterwards costs one decomposition per layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stillwired.clock import FITS, spending
from stillwired.engine.reading import Reading
from stillwired.engine.sites import Site, final, residual


def _nothing() -> NDArray[np.float64]:
    return np.zeros(0)


@dataclass
class Moments:
    """Running sums over positions ``t``: inputs are states, targets final states at ``t + N``.

    Inputs are counted from a fixed point near their mean. A few inputs of a residual stream lie
    a thousand times further from 0 than they vary, and float32 products of the raw values would
    drown what varies.

    Attributes:
        blocks: Layers that are read.
        ahead: The values of N.
        first: First position that counts; the last ``max(ahead) + 1`` do not count.
        n: Positions so far.
        origin: The fixed point of the inputs, [blocks, width]: the mean of the first batch.
        gram: ``X'X`` per block, [blocks, width, width].
        cross: ``X'Y`` per block and N, [blocks, ahead, width, width].
        x_sum: Sum of the inputs, [blocks, width].
        y_sum: Sum of the targets, [ahead, width].
    """

    blocks: tuple[int, ...]
    ahead: tuple[int, ...]
    first: int = 0
    n: int = 0
    origin: NDArray[np.float64] = field(default_factory=_nothing)
    gram: NDArray[np.float64] = field(default_factory=_nothing)
    cross: NDArray[np.float64] = field(default_factory=_nothing)
    x_sum: NDArray[np.float64] = field(default_factory=_nothing)
    y_sum: NDArray[np.float64] = field(default_factory=_nothing)

    @property
    def sites(self) -> frozenset[Site]:
        """What has to be read."""
        return frozenset({final(), *(residual(block) for block in self.blocks)})

    def take(self, reading: Reading) -> None:
        """Add the positions of one batch."""
        finals = reading[final()].float()
        start, stop = self.first, finals.shape[1] - max(self.ahead) - 1
        inputs = [reading[residual(block)][:, start:stop].flatten(0, 1) for block in self.blocks]
        targets = [finals[:, start + n : stop + n].flatten(0, 1) for n in self.ahead]
        self.add(inputs, targets)

    @spending(FITS)
    def add(self, inputs: Sequence[torch.Tensor], targets: Sequence[torch.Tensor]) -> None:
        """Add rows: inputs per block and targets per N, each [rows, width]."""
        if not self.n:
            self._start(inputs)
        y = torch.cat([part.float() for part in targets], dim=1)
        rows, wide, width = len(y), len(self.ahead), targets[0].shape[1]
        self.n += rows
        # Sums of one batch are exact enough in float32; across batches they are kept in float64.
        self.y_sum += _double(y.sum(0)).reshape(wide, width)
        for k, given in enumerate(inputs):
            x = given.float() - torch.from_numpy(self.origin[k]).float().to(given.device)
            self.gram[k] += _double(x.T @ x)
            self.cross[k] += _double((x.T @ y).reshape(-1, wide, width).permute(1, 0, 2))
            self.x_sum[k] += _double(x.sum(0))

    def centred_cross(self, block: int, ahead: int) -> NDArray[np.float64]:
        """Covariance of one block's inputs with the targets of one N, [width, width]."""
        k, j = self.blocks.index(block), self.ahead.index(ahead)
        means = np.outer(self.x_sum[k], self.y_sum[j]) / self.n**2
        return np.asarray(self.cross[k, j] / self.n - means)

    def save(self, path: Path) -> None:
        """Write the sums to one ``.npz`` file."""
        arrays: dict[str, Any] = {name: np.asarray(value) for name, value in vars(self).items()}
        np.savez(path, **arrays)

    @classmethod
    def load(cls, path: Path) -> Moments:
        """Read what :meth:`save` wrote."""
        with np.load(path, allow_pickle=False) as kept:
            numbers = {name: kept[name] for name in kept.files}
        for name in ("blocks", "ahead"):
            numbers[name] = tuple(int(value) for value in numbers[name])
        for name in ("first", "n"):
            numbers[name] = int(numbers[name])
        return cls(**numbers)

    def _start(self, inputs: Sequence[torch.Tensor]) -> None:
        count, wide, width = len(self.blocks), len(self.ahead), inputs[0].shape[1]
        self.origin = np.stack([_double(given.float().mean(0)) for given in inputs])
        self.gram = np.zeros((count, width, width))
        self.cross = np.zeros((count, wide, width, width))
        self.x_sum, self.y_sum = np.zeros((count, width)), np.zeros((wide, width))


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
    @spending(FITS)
    def of(cls, moments: Moments, block: int) -> Whitened:
        """Prepare the inputs of one block."""
        k = moments.blocks.index(block)
        from_origin = moments.x_sum[k] / moments.n
        covariance = moments.gram[k] / moments.n - np.outer(from_origin, from_origin)
        scale = np.sqrt(np.maximum(np.diag(covariance), 1e-12))
        values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
        mean = moments.origin[k] + from_origin
        return cls(mean, scale, np.maximum(values, 0.0), vectors)

    def solve(self, cross: NDArray[np.float64], ridge: float) -> NDArray[np.float64]:
        """Solve for the weights of raw, centred inputs.

        Args:
            cross: Covariance of raw inputs with the targets, [width, targets].
            ridge: Strength, relative to unit-variance inputs.
        """
        projected = self.vectors.T @ (cross / self.scale[:, None])
        weights = self.vectors @ (projected / (self.values + ridge)[:, None])
        solved: NDArray[np.float64] = weights / self.scale[:, None]
        return solved


def _double(values: torch.Tensor) -> NDArray[np.float64]:
    return np.asarray(values.double().cpu().numpy())
