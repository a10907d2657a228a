"""Linear maps from one state to the final state of a later position.

Future Lens (Section 3.1, "linear model approximation") fits one affine map per layer and N to
the final hidden state and lets the model's own unembedding read it. The published fit starts
from least squares on 100 rows and continues with a few epochs on the KL divergence. Here the
start is the ridge solution on all rows, which is a stronger baseline; the KL training that
follows is kept only where rows that are neither fitted nor judged say that it is better.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import kl_div, log_softmax

from stillwired.clock import FITS, spending
from stillwired.instruments.moments import Moments, Whitened

RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)

ReadOut = Callable[[torch.Tensor], torch.Tensor]
"""Final states [rows, width] to logits [rows, tokens]; gradients pass through."""


@dataclass(frozen=True)
class LinearMap:
    """An affine map ``x ↦ (x − mean) W + offset``.

    Attributes:
        mean: Mean input, [width].
        weights: [width, width].
        offset: Mean target, [width].
        ridge: The ridge strength that was chosen.
        trained: Whether KL training improved on the ridge solution.
    """

    mean: NDArray[np.float32]
    weights: NDArray[np.float32]
    offset: NDArray[np.float32]
    ridge: float
    trained: bool = False

    @classmethod
    def of_arrays(cls, kept: Mapping[str, NDArray[Any]]) -> LinearMap:
        """Take what `arrays` gave; other arrays beside it are left alone."""
        return cls(
            kept["mean"],
            kept["weights"],
            kept["offset"],
            float(kept["ridge"]),
            bool(kept["trained"]),
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything as arrays, as the cache keeps it."""
        return {name: np.asarray(value) for name, value in vars(self).items()}

    def predict(self, states: NDArray[np.float32]) -> NDArray[np.float32]:
        """Predict final states, [rows, width], from states, [rows, width]."""
        predicted = (np.asarray(states) - self.mean) @ self.weights + self.offset
        return np.asarray(predicted, dtype=np.float32)


@spending(FITS)
def solve_ridge(
    moments: Moments,
    inputs: Whitened,
    block: int,
    ahead: int,
    choose: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> LinearMap:
    """Solve for one block and N, with the ridge strength that predicts the choose rows best.

    Args:
        moments: Sums over the fit text.
        inputs: The block's whitened inputs, shared by all N.
        block: The block that is read.
        ahead: N.
        choose: States and final states of the choose rows, each [rows, width].
    """
    offset = moments.y_sum[moments.ahead.index(ahead)] / moments.n
    cross = moments.centred_cross(block, ahead)
    states, wanted = choose

    def solved(ridge: float) -> LinearMap:
        weights = inputs.solve(cross, ridge).astype(np.float32)
        mean, bias = inputs.mean.astype(np.float32), offset.astype(np.float32)
        return LinearMap(mean, weights, bias, ridge)

    def error(candidate: LinearMap) -> float:
        return float(np.mean((candidate.predict(states) - wanted) ** 2))

    return min(map(solved, RIDGES), key=error)


@dataclass(frozen=True)
class Training:
    """The recipe of the KL training.

    Chosen on the default model's choose split, among a dozen recipes of about this cost: a pass
    over more rows beats several over fewer, and a smaller rate beats a larger one.

    Attributes:
        rows: Most fit rows that are used.
        epochs: Passes over them; the best map after any of them is kept.
        batch: Rows per step.
        rate: Adam's first learning rate, relative to the spread of the weights; it falls to 0.
        candidates: Size of the vocabulary that training sees: the tokens that the model says
            most often. The judged guess is always made over all tokens.
    """

    rows: int = 100_000
    epochs: int = 1
    batch: int = 256
    rate: float = 0.01
    candidates: int = 2_048


@spending(FITS)
def train_on_kl(
    start: LinearMap,
    fit: tuple[NDArray[np.float32], NDArray[np.float32]],
    choose: tuple[NDArray[np.float32], NDArray[np.float32]],
    said: NDArray[np.int64],
    unembedding_of: Callable[[torch.Tensor], ReadOut],
    recipe: Training,
    seed: int,
) -> LinearMap:
    """Continue from a ridge solution on the KL divergence to the model's own distribution.

    Args:
        start: The ridge solution.
        fit: States and final states of fit rows, each [rows, width].
        choose: The same for rows that decide when to stop.
        said: Tokens that the model says on the fit rows; the most frequent become candidates.
        unembedding_of: Gives the part of the unembedding that reads some tokens.
        recipe: Sizes.
        seed: Order of the rows.

    Returns:
        The map after the best epoch, or ``start`` itself where no epoch is better.
    """
    tokens, counts = np.unique(said, return_counts=True)
    order = np.lexsort((tokens, -counts))[: recipe.candidates]
    logits = unembedding_of(torch.from_numpy(np.sort(tokens[order])))
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(len(fit[0]))[: recipe.rows])
    states, finals = (torch.from_numpy(np.ascontiguousarray(part[rows])) for part in fit)
    chosen = tuple(torch.from_numpy(np.array(part)) for part in choose)
    mean = torch.from_numpy(start.mean)
    offset = torch.from_numpy(start.offset.copy()).requires_grad_()
    # Inputs differ in scale by orders of magnitude: train the weights of unit-variance inputs.
    scale = (states - mean).std(0).clamp_min(1e-6)
    weights = (torch.from_numpy(start.weights) * scale[:, None]).requires_grad_()
    rate = recipe.rate * float(weights.detach().std())
    optimiser = torch.optim.Adam([weights, offset], lr=rate)
    steps = recipe.epochs * -(-len(rows) // recipe.batch)
    fading = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / steps)

    def loss(x: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            target = log_softmax(logits(wanted).float(), -1)
        predicted = ((x - mean) / scale) @ weights + offset
        said = log_softmax(logits(predicted).float(), -1)
        return kl_div(said, target, reduction="batchmean", log_target=True)

    def on_choose() -> float:
        with torch.no_grad():
            return float(loss(*chosen))

    best, kept = on_choose(), start
    with torch.enable_grad():
        for _ in range(recipe.epochs):
            for batch in torch.split(torch.from_numpy(rng.permutation(len(rows))), recipe.batch):
                optimiser.zero_grad()
                torch.autograd.backward(loss(states[batch], finals[batch]))
                optimiser.step()
                fading.step()
            now = on_choose()
            if now < best:
                best = now
                kept = LinearMap(
                    start.mean,
                    (weights.detach() / scale[:, None]).numpy().copy(),
                    offset.detach().numpy().copy(),
                    start.ridge,
                    trained=True,
                )
    return kept
