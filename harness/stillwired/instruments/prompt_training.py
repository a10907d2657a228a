"""Training of a prompt that reads a hidden state: what it learns from, its loss, and its steps.

The loss is the KL divergence from what the model said in its own context at ``t + N`` to what it
says behind the prompt. Stopping is decided on the choose split alone: of the vectors that are
looked at every few steps, those with the smallest loss there are kept. A training is described
whole by an `Underway`, so that one that was interrupted goes on to the same result. Where rows
come from and where results are kept is `stillwired.instruments.learned_prompt`'s matter.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax, softmax

from stillwired.engine.cone import Cone
from stillwired.engine.sites import logits
from stillwired.errors import EngineError, UsageError
from stillwired.instruments.prompt_readers import Prompt, plan_prompt
from stillwired.instruments.survey import Say
from stillwired.profiles import Profile

CHOOSE_ROWS = 64
"""Choose rows in a pass: their logits are what takes memory."""


@dataclass(frozen=True)
class Recipe:
    """How a prompt is trained. The defaults are the published ones.

    Attributes:
        vectors: Length of the prompt.
        spread: Standard deviation of the normal distribution that they start from.
        rate: Learning rate of AdamW, constant; its betas are the usual 0.9 and 0.999.
        decay: Weight decay.
        steps: Optimiser steps.
        batch: States in a step. The fit rows are gone through in drawn order, again and again
            if there are fewer than ``steps * batch``.
        every: Steps from one look at the choose split to the next. The state of the training
            is written at the same time.
        share: Share of the fit rows that is learned from: the first ones, which are whole passages
            in drawn order.
        restart: Which draw of first vectors and of order: 0, 1, 2, … are independent trainings.
    """

    vectors: int = 10
    spread: float = 0.02
    rate: float = 5e-4
    decay: float = 1e-5
    steps: int = 1_250
    batch: int = 8
    every: int = 50
    share: float = 1.0
    restart: int = 0

    def __post_init__(self) -> None:
        if min(self.vectors, self.steps, self.batch, self.every) < 1:
            raise UsageError(
                f"{self} trains nothing. Vectors, steps, batch and every must be at least 1."
            )
        if not 0 < self.share <= 1:
            raise UsageError(f"{self} learns from no rows. Give a share above 0 and up to 1.")


SHORT = Recipe(rate=0.05, steps=150, batch=16)
"""For small models on a CPU: a quarter of the states, in few and large steps.

Chosen on the default model's choose split, for the middle block, among eight recipes: half the time
of 300 steps at 0.02, and a loss of 2.15 against 2.12 nats (untrained: 2.94).
"""

RECIPES = {"quick": SHORT, "standard": Recipe(rate=0.02, steps=600, batch=16), "paper": Recipe()}
"""By profile."""


def recipe_of(profile: Profile) -> Recipe:
    """Return how prompts are trained in a profile; one without a recipe of its own gets `SHORT`."""
    return RECIPES.get(profile.name, SHORT)


@dataclass(frozen=True, eq=False)
class Lesson:
    """Rows that a prompt learns from, or is tested on.

    Attributes:
        states: Transplanted states [rows, width]; None where none is needed.
        fed: The text's tokens ``t + 1 … t + N`` for the largest N [rows, N].
        finals: For each N that counts, the model's own final states at ``t + N``, after the
            norm [rows, width].
    """

    states: NDArray[np.float32] | None
    fed: NDArray[np.int64]
    finals: Mapping[int, NDArray[np.float32]]

    def __len__(self) -> int:
        return len(self.fed)

    def of(self, rows: NDArray[np.int64] | slice) -> Lesson:
        """Take some rows."""
        return Lesson(
            None if self.states is None else self.states[rows],
            self.fed[rows],
            {ahead: finals[rows] for ahead, finals in self.finals.items()},
        )


@dataclass(frozen=True, eq=False)
class Underway:
    """A training under way. Its order follows from the seed, so this is all there is to know.

    Attributes:
        step: Steps done.
        vectors: The vectors now [vectors, width].
        mean: AdamW's running mean of the gradients [vectors, width].
        square: Its running mean of their squares [vectors, width].
        best: The vectors with the smallest choose loss so far [vectors, width].
        curve: Steps done and choose loss in nats, from the untrained vectors on [looks, 2].
    """

    step: int
    vectors: Tensor
    mean: Tensor
    square: Tensor
    best: Tensor
    curve: Tensor

    @property
    def best_loss(self) -> float:
        """The smallest choose loss so far."""
        return float(self.curve[:, 1].min())

    def save(self, path: Path) -> None:
        """Write everything to one file."""
        tensors = {name: value for name, value in vars(self).items() if name != "step"}
        save_file(tensors, path, metadata={"step": str(self.step)})

    @classmethod
    def load(cls, path: Path) -> Underway | None:
        """Read what `save` wrote; None where there is no such file, or it is damaged."""
        try:
            with safe_open(path, framework="pt") as kept:
                step = int(kept.metadata()["step"])
            return cls(step, **load_file(path))
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return None


def divergences(
    cone: Cone, vectors: Tensor, block: int, lesson: Lesson, *, grad: bool = False
) -> Iterator[Tensor]:
    """Sum, pack by pack, how far the patched readings are from what the model said itself.

    Args:
        cone: What runs the passes.
        vectors: The prompt [vectors, width].
        block: The block whose output is overwritten.
        lesson: The rows.
        grad: Let gradients flow to the vectors. A pack's graph lives as long as its sum.

    Yields:
        The sum over a pack's rows and all N of KL(own ‖ patched), in nats.

    Raises:
        EngineError: As `Plan.run`.
    """
    furthest = lesson.fed.shape[1]
    sites = {ahead: logits(ahead - furthest - 1) for ahead in lesson.finals}
    plan = plan_prompt(cone, Prompt.of(vectors), block, lesson.states, lesson.fed, sites.values())
    for reading in plan.run(grad=grad):
        total = torch.zeros(())
        for ahead, site in sites.items():
            own = torch.from_numpy(np.array(lesson.finals[ahead][reading.rows]))
            target = softmax(cone.engine.unembed(own).float(), -1)
            patched = log_softmax(reading[site].float(), -1)
            total = total.to(patched.device) + kl_div(patched, target, reduction="sum")
        yield total


def choose_loss(cone: Cone, vectors: Tensor, block: int, lesson: Lesson) -> float:
    """Average the divergence over all rows of a lesson, in nats."""
    total = 0.0
    with torch.no_grad():
        for start in range(0, len(lesson), CHOOSE_ROWS):
            part = lesson.of(slice(start, start + CHOOSE_ROWS))
            total += sum(map(float, divergences(cone, vectors, block, part)))
    return total / len(lesson)


def train(
    cone: Cone,
    block: int,
    fit: Lesson,
    choose: Lesson,
    recipe: Recipe,
    seed: int,
    *,
    begun: Underway | None = None,
    keep: Callable[[Underway], None] = lambda _: None,
    say: Say = lambda _: None,
) -> Underway:
    """Train a prompt, from the start or from where an earlier training was left.

    Args:
        cone: What runs the passes.
        block: The block whose output is overwritten.
        fit: Rows to learn from.
        choose: Rows that decide which vectors are kept.
        recipe: Sizes.
        seed: First vectors and order of the rows.
        begun: What an earlier call handed to `keep`, with everything else the same.
        keep: Is handed the state of the training every ``recipe.every`` steps.
        say: Told about progress, afterwards.

    Returns:
        The finished training.

    Raises:
        EngineError: If the loss is not finite.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.normal(0.0, recipe.spread, (recipe.vectors, cone.engine.anatomy.width))
    order = _order(len(fit), recipe, rng)
    if begun is None:
        start = torch.from_numpy(drawn.astype(np.float32))
        untrained = choose_loss(cone, start, block, choose)
        _require_finite(untrained, block, 0)
        curve = torch.tensor([[0.0, untrained]], dtype=torch.float64)
        zero = torch.zeros_like(start)
        begun = Underway(0, start, zero, zero.clone(), start.clone(), curve)

    state, vectors = begun, begun.vectors.clone().requires_grad_()
    optimiser = torch.optim.AdamW([vectors], lr=recipe.rate, weight_decay=recipe.decay)
    optimiser.state[vectors] = {
        "step": torch.tensor(float(begun.step)),
        "exp_avg": begun.mean.clone(),
        "exp_avg_sq": begun.square.clone(),
    }
    started = time.monotonic()
    recent: list[float] = []
    for step in range(begun.step, recipe.steps):
        optimiser.zero_grad()
        recent.append(_descend(cone, vectors, block, fit.of(order[step])))
        _require_finite(recent[-1], block, step + 1)
        optimiser.step()
        done = step + 1
        if done % recipe.every and done != recipe.steps:
            continue
        now = vectors.detach().clone()
        loss = choose_loss(cone, now, block, choose)
        _require_finite(loss, block, done)
        moments = optimiser.state[vectors]
        state = Underway(
            done,
            now,
            moments["exp_avg"].clone(),
            moments["exp_avg_sq"].clone(),
            now.clone() if loss < state.best_loss else state.best,
            torch.cat([state.curve, torch.tensor([[float(done), loss]], dtype=torch.float64)]),
        )
        keep(state)
        left = (time.monotonic() - started) / (done - begun.step) * (recipe.steps - done)
        say(
            f"training the prompt of block {block}: step {done} of {recipe.steps}, loss "
            f"{np.mean(recent):.3f}, on the choose split {loss:.3f}, {left:.0f} s left"
        )
        recent = []
    return state


def _descend(cone: Cone, vectors: Tensor, block: int, batch: Lesson) -> float:
    """Add up the gradient of the mean divergence of a batch; return that mean, in nats."""
    mean = 0.0
    with torch.enable_grad():
        for total in divergences(cone, vectors, block, batch, grad=True):
            part = total / len(batch)
            mean += float(part.detach())
            with _same_every_time(part.device):
                torch.autograd.backward(part)
    return mean


@contextlib.contextmanager
def _same_every_time(device: torch.device) -> Iterator[None]:
    """Add gradients up in one order: several threads would add them in any."""
    if device.type != "cpu" or torch.are_deterministic_algorithms_enabled():
        yield
        return
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def _order(rows: int, recipe: Recipe, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw the rows of every step [steps, batch]: whole rounds, each in an order of its own."""
    needed = recipe.steps * recipe.batch
    rounds = [rng.permutation(rows) for _ in range(math.ceil(needed / rows))]
    return np.concatenate(rounds)[:needed].reshape(recipe.steps, recipe.batch)


def _require_finite(loss: float, block: int, step: int) -> None:
    if not math.isfinite(loss):
        raise EngineError(
            f"The loss of the prompt of block {block} is {loss} at step {step}. Lower the "
            "recipe's rate, and check that the weights and the kept states are finite."
        )
