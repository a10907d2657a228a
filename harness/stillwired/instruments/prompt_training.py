"""Training of prompts that read hidden states: what they learn from, their loss, and their steps.

The loss is the KL divergence from what the model said in its own context at ``t + N`` to what it
says behind the prompt. Stopping is decided on the choose split alone: of the vectors that are
looked at every few steps, those with the smallest loss there are kept.

Prompts of several blocks are trained together. Each takes the steps that it would take alone, on
rows and from vectors that its own seed draws, but all of them take a step in the same passes: a
step of one is too small to be worth reading the model's weights for.

First vectors and steps are as large as the model's embeddings ask for (`embedding_unit`). Those
differ by orders of magnitude from family to family: a rate that suits one leaves the vectors of
another too small to be felt, or tears them about.

A training is described whole by an `Underway`, so that one that was interrupted goes on to the
same result. Where rows come from and where results are kept is
`stillwired.instruments.learned_prompt`'s matter.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax

from stillwired.clock import FITS, PASSES, spending
from stillwired.engine.cone import Cone
from stillwired.engine.engine import Engine
from stillwired.engine.reading import Reading
from stillwired.engine.sites import Site, logits
from stillwired.errors import EngineError
from stillwired.instruments.prompt_readers import EMBEDDINGS, Fronted, Prompt, plan_prompts
from stillwired.instruments.prompt_recipes import Recipe
from stillwired.instruments.survey import Say

TOLD = 10
"""Steps between two lines about progress."""

CHOOSE_ROWS = 256
"""Choose rows whose logits are held at a time; about a pack of them."""

TYPICAL = 0.136
"""Root mean square of the default model's embeddings, on which rates were chosen."""


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
class Course:
    """A prompt that is to be trained.

    Attributes:
        block: The block whose output is overwritten.
        fit: Rows to learn from.
        choose: Rows that decide which vectors are kept.
        seed: First vectors and order of the rows, whatever else is trained along.
    """

    block: int
    fit: Lesson
    choose: Lesson
    seed: int

    def draw(self, recipe: Recipe, width: int) -> tuple[Tensor, NDArray[np.int64]]:
        """Draw the first vectors, in units [vectors, width], and rows by step [steps, batch]."""
        rng = np.random.default_rng(self.seed)
        drawn = rng.normal(0.0, recipe.spread, (recipe.vectors, width)).astype(np.float32)
        return torch.from_numpy(drawn), _order(len(self.fit), recipe, rng)


@dataclass(frozen=True, eq=False)
class Underway:
    """A training under way. Its order follows from the seeds, so this is all there is to know.

    Attributes:
        step: Steps done.
        vectors: The vectors now [courses, vectors, width].
        mean: AdamW's running mean of the gradients [courses, vectors, width].
        square: Its running mean of their squares [courses, vectors, width].
        best: The vectors with the smallest choose loss so far [courses, vectors, width].
        looks: Steps that were done at each look at the choose split, from 0 on [looks].
        losses: The choose losses at each look, in nats [looks, courses].
    """

    step: int
    vectors: Tensor
    mean: Tensor
    square: Tensor
    best: Tensor
    looks: Tensor
    losses: Tensor

    @property
    def best_losses(self) -> Tensor:
        """The smallest choose losses so far [courses]."""
        return self.losses.min(0).values

    @property
    def _tensors(self) -> dict[str, Tensor]:
        return {name: value for name, value in vars(self).items() if name != "step"}

    @property
    def _digest(self) -> str:
        """sha256 over everything, hexadecimal: no manifest speaks for a file that is on the way."""
        digest = hashlib.sha256(str(self.step).encode())
        for name, tensor in sorted(self._tensors.items()):
            digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def save(self, path: Path) -> None:
        """Write everything to one file."""
        save_file(self._tensors, path, metadata={"step": str(self.step), "digest": self._digest})

    @classmethod
    def load(cls, path: Path) -> Underway | None:
        """Read what `save` wrote; None where there is no such file, or it is damaged."""
        try:
            with safe_open(path, framework="pt") as kept:
                about = kept.metadata()
            found = cls(int(about["step"]), **load_file(path))
            return found if found._digest == about["digest"] else None
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return None


def embedding_unit(engine: Engine, recipe: Recipe) -> float:
    """What the first vectors and the rate of a recipe are multiplied by on a model.

    Rates that were chosen on one model are taken in units of its embeddings' root mean square, as
    they enter the first block, and so is the spread of the first vectors. The ratio is rounded to
    two digits: the order of a sum, or weights in 16 bits, must not change a training.

    The published rate is one of rows of the embedding table, as everywhere in prompt tuning: a
    family that scales its embeddings (Gemma, by the root of the width) scales it.
    """
    scale, norm = engine.anatomy.embedding_scale, engine.anatomy.family.embedding_norm
    if not recipe.relative:
        return scale
    model, table = engine.checkpoint.model, engine.embeddings
    squares = 0.0
    with torch.no_grad():
        for rows in torch.split(table, EMBEDDINGS):
            entering = scale * rows if norm is None else model.get_submodule(norm)(scale * rows)
            squares += float(entering.double().square().sum())
    return float(f"{math.sqrt(squares / table.numel()) / TYPICAL:.2g}")


def divergences(
    cone: Cone,
    vectors: Tensor,
    blocks: Sequence[int],
    lessons: Sequence[Lesson],
    *,
    grad: bool = False,
) -> Iterator[Tensor]:
    """Sum, pack by pack, how far the patched readings are from what the model said itself.

    Args:
        cone: What runs the passes.
        vectors: The prompts [prompts, vectors, width].
        blocks: For each prompt, the block whose output is overwritten.
        lessons: For each prompt, its rows; the same N count in all of them.
        grad: Let gradients flow to the vectors. A pack's graph lives as long as its sums.

    Yields:
        For each prompt, the sum over a pack's rows and all N of KL(own ‖ patched), in nats
        [prompts].

    Raises:
        EngineError: As `Plan.run`.
    """
    furthest = lessons[0].fed.shape[1]
    sites = {ahead: logits(ahead - furthest - 1) for ahead in lessons[0].finals}
    # All at once: every pass would move every vector by itself, and its gradient back.
    vectors = vectors.to(cone.engine.embeddings.device)
    fronted = [
        Fronted(Prompt.of(of_prompt), block, lesson.states, lesson.fed)
        for of_prompt, block, lesson in zip(vectors, blocks, lessons, strict=True)
    ]
    finals = {
        ahead: np.concatenate([lesson.finals[ahead] for lesson in lessons]) for ahead in sites
    }
    prompts = torch.arange(len(lessons)).repeat_interleave(torch.tensor([*map(len, lessons)]))
    for reading in plan_prompts(cone, fronted, sites.values()).run(grad=grad):
        apart = _divergence(cone, reading, sites, finals)
        owners = prompts[reading.rows]
        # One by one: a sum that is not finite must not spoil those of the others.
        sums = torch.stack([apart[owners == prompt].sum() for prompt in range(len(lessons))])
        # Nothing but the sums holds what the pack was, while the next one is computed.
        del reading, apart
        yield sums


def _divergence(
    cone: Cone,
    reading: Reading,
    sites: Mapping[int, Site],
    finals: Mapping[int, NDArray[np.float32]],
) -> Tensor:
    """Add up KL(own ‖ patched) over all N, in nats [rows of the reading]."""
    apart = torch.zeros(())
    for ahead, site in sites.items():
        own = torch.from_numpy(finals[ahead][reading.rows])
        target = log_softmax(cone.engine.unembed(own).float(), -1)
        patched = log_softmax(reading[site].float(), -1)
        each = kl_div(patched, target, reduction="none", log_target=True)
        apart = apart.to(patched.device) + each.sum(-1)
    return apart


def choose_loss(cone: Cone, vectors: Tensor, block: int, lesson: Lesson) -> float:
    """Average the divergence of one prompt [vectors, width] over all rows of a lesson, in nats."""
    total = 0.0
    with torch.no_grad():
        for start in range(0, len(lesson), CHOOSE_ROWS):
            part = lesson.of(slice(start, start + CHOOSE_ROWS))
            total += sum(map(float, divergences(cone, vectors[None], [block], [part])))
    return total / len(lesson)


@spending(FITS)
def train(
    cone: Cone,
    courses: Sequence[Course],
    recipe: Recipe,
    *,
    begun: Underway | None = None,
    keep: Callable[[Underway], None] = lambda _: None,
    say: Say = lambda _: None,
) -> Underway:
    """Train prompts together, from the start or from where an earlier training was left.

    Each takes the steps that it would take alone, but sums are rounded otherwise. AdamW makes
    steps of full length of the smallest gradients, so that over many steps the vectors part from
    those of a training alone, as they do from one machine to the next.

    Args:
        cone: What runs the passes.
        courses: The prompts; the same N count in the lessons of all of them.
        recipe: Sizes.
        begun: What an earlier call handed to `keep`, with everything else the same.
        keep: Is handed the state of the training every ``recipe.every`` steps.
        say: Told about progress every few steps.

    Returns:
        The finished training.

    Raises:
        EngineError: If a loss is not finite.
    """
    blocks = [course.block for course in courses]
    drawn, orders = zip(
        *(course.draw(recipe, cone.engine.anatomy.width) for course in courses), strict=True
    )
    scale = embedding_unit(cone.engine, recipe)
    if begun is None:
        start = scale * torch.stack(drawn)
        losses = _choose_losses(cone, start, courses)
        _require_finite(losses, blocks, 0)
        zero = torch.zeros_like(start)
        begun = Underway(
            0, start, zero, zero.clone(), start.clone(), torch.zeros(1).long(), losses[None]
        )

    # AdamW goes number by number, so that one of them serves all courses without mixing them.
    state, vectors = begun, begun.vectors.clone().requires_grad_()
    # The steps that AdamW would take on vectors in that unit, whose gradients are larger by it.
    optimiser = torch.optim.AdamW(
        [vectors], lr=scale * recipe.rate, eps=1e-8 / scale, weight_decay=recipe.decay / scale
    )
    optimiser.state[vectors] = {
        "step": torch.tensor(float(begun.step)),
        "exp_avg": begun.mean.clone(),
        "exp_avg_sq": begun.square.clone(),
    }
    started = time.monotonic()
    recent: list[Tensor] = []
    for step in range(begun.step, recipe.steps):
        optimiser.zero_grad()
        batches = [c.fit.of(order[step]) for c, order in zip(courses, orders, strict=True)]
        recent.append(_descend(cone, vectors, blocks, batches))
        _require_finite(recent[-1], blocks, step + 1)
        optimiser.step()
        done = step + 1
        left = (time.monotonic() - started) / (done - begun.step) * (recipe.steps - done)
        about = f"training {prompts_of(blocks)}: step {done} of {recipe.steps}"
        if done % recipe.every and done != recipe.steps:
            if done % TOLD == 0:
                lately = torch.stack(recent[-TOLD:]).mean(0)
                say(f"{about}, loss {_in_nats(lately)}, {left:.0f} s left")
            continue
        now = vectors.detach().clone()
        losses = _choose_losses(cone, now, courses)
        _require_finite(losses, blocks, done)
        moments, better = optimiser.state[vectors], losses < state.best_losses
        state = Underway(
            done,
            now,
            moments["exp_avg"].clone(),
            moments["exp_avg_sq"].clone(),
            torch.where(better[:, None, None], now, state.best),
            torch.cat([state.looks, torch.tensor([done])]),
            torch.cat([state.losses, losses[None]]),
        )
        keep(state)
        lately = torch.stack(recent).mean(0)
        say(
            f"{about}, loss {_in_nats(lately)}, on the choose split {_in_nats(losses)}, "
            f"{left:.0f} s left"
        )
        recent = []
    return state


def prompts_of(blocks: Sequence[int]) -> str:
    """Name the prompts of some blocks."""
    several = "s" if len(blocks) > 1 else ""
    return f"the prompt{several} of block{several} {', '.join(map(str, blocks))}"


def _choose_losses(cone: Cone, vectors: Tensor, courses: Sequence[Course]) -> Tensor:
    """Look at the choose split with every prompt [courses].

    One after another: many rows share a prompt here, so that a pass is large enough by itself,
    and in shared passes of as many rows every prompt would run in each.
    """
    losses = [
        choose_loss(cone, of_course, course.block, course.choose)
        for of_course, course in zip(vectors, courses, strict=True)
    ]
    return torch.tensor(losses, dtype=torch.float64)


def _in_nats(losses: Tensor) -> str:
    return ", ".join(f"{loss:.3f}" for loss in losses.tolist())


def _descend(
    cone: Cone, vectors: Tensor, blocks: Sequence[int], batches: Sequence[Lesson]
) -> Tensor:
    """Add up the gradients of the mean divergences of batches; return these means, in nats.

    A mean depends on the vectors of its own prompt alone, so the gradient of their sum is that
    of each.
    """
    rows = torch.tensor([*map(len, batches)])
    means = torch.zeros(len(batches), dtype=torch.float64)
    with torch.enable_grad():
        for totals in divergences(cone, vectors, blocks, batches, grad=True):
            parts = totals / rows.to(totals.device)
            means += parts.detach().cpu()
            with _same_every_time(parts.device), spending(PASSES):
                torch.autograd.backward(parts.sum())
    return means


@contextlib.contextmanager
def _same_every_time(device: torch.device) -> Iterator[None]:
    """Add gradients up in one order: several threads would add them in any."""
    if device.type != "cpu" or torch.are_deterministic_algorithms_enabled():
        yield
        return
    settings: Any = torch.utils.deterministic
    # Memory that nothing reads before it is written need not be filled first.
    filling, settings.fill_uninitialized_memory = settings.fill_uninitialized_memory, False
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)
        settings.fill_uninitialized_memory = filling


def _order(rows: int, recipe: Recipe, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw the rows of every step [steps, batch]: whole rounds, each in an order of its own."""
    rounds = [rng.permutation(rows) for _ in range(math.ceil(recipe.states / rows))]
    return np.concatenate(rounds)[: recipe.states].reshape(recipe.steps, recipe.batch)


def _require_finite(losses: Tensor, blocks: Sequence[int], step: int) -> None:
    for loss, block in zip(losses.tolist(), blocks, strict=True):
        if not math.isfinite(loss):
            raise EngineError(
                f"The loss of the prompt of block {block} is {loss} at step {step}. Lower the "
                "recipe's rate, and check that the weights and the kept states are finite."
            )
