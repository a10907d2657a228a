"""Prompts that are trained to read hidden states, fetched from the cache or trained now.

Future Lens (Section 3, causal intervention with a learned prompt) trains a few vectors in front
of a frozen model. A state from block ``l`` is put in place of the output of block ``l`` at their
last position, the text's own tokens ``t + 1 … t + N`` are fed behind them, and the loss is the
KL divergence from what the model said in its own context at ``t + N`` to what it says here. The
published training makes one pass over 10,000 states, eight to a step, in bfloat16.

Training (`stillwired.instruments.prompt_training`) is part of the cache: what is finished is
kept under everything that determines it, and what was interrupted goes on where it was, to the
same result. Prompts that are trained together are kept together: who asks for the same blocks in
any order finds them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from stillwired.engine.cone import Cone
from stillwired.errors import UsageError
from stillwired.instruments.prompt_readers import Prompt
from stillwired.instruments.prompt_recipes import Recipe
from stillwired.instruments.prompt_training import Course, Lesson, Underway, prompts_of, train
from stillwired.instruments.survey import FURTHEST
from stillwired.instruments.text import TextReadings

KIND = "learned-prompt"
_FILE = "prompt.safetensors"


@dataclass(frozen=True, eq=False)
class LearnedPrompt:
    """A trained prompt.

    Attributes:
        vectors: [vectors, width].
        about: Block, trained N, recipe, damage, and steps and losses of the choose split.
    """

    vectors: Tensor
    about: Mapping[str, Any]

    @property
    def prompt(self) -> Prompt:
        """The prompt, ready to be read with."""
        return Prompt.of(self.vectors)

    @property
    def course(self) -> str:
        """How the loss on the choose split fell: at first, after two thirds, at the end.

        Where the last third still lowers it much, the recipe is too short for this model.
        """
        losses = dict(zip(self.about["steps"], self.about["choose_losses"], strict=True))
        last = max(losses)
        late = max(step for step in losses if 3 * step <= 2 * last)
        told = [f"{losses[step]:.2f} after {step} steps" for step in (late, last) if step]
        return ", ".join([f"{losses[0]:.2f} nats at first", *told])


def learned_prompt(
    text: TextReadings,
    cone: Callable[[], Cone],
    block: int,
    trained: tuple[int, ...],
    recipe: Recipe,
) -> LearnedPrompt:
    """Train, or fetch from the cache, the prompt of one block alone; see `learned_prompts`."""
    return learned_prompts(text, cone, (block,), trained, recipe)[block]


def learned_prompts(
    text: TextReadings,
    cone: Callable[[], Cone],
    blocks: Iterable[int],
    trained: tuple[int, ...],
    recipe: Recipe,
) -> Mapping[int, LearnedPrompt]:
    """Train together, or fetch from the cache, the prompts of some blocks.

    At the last block a state reaches no later position: a prompt that is trained there for
    N ≥ 1 only has learned to do without. No state is read for it.

    Args:
        text: Rows, states and cache.
        cone: Gives what runs the passes; called only if there is something to train.
        blocks: The blocks that states are read from and put into: declared ones, or the last.
        trained: The N whose losses are summed.
        recipe: Sizes.

    Returns:
        The prompts by block. Each has taken the steps of a training alone; see `train`.

    Raises:
        UsageError: If no such N can be trained.
        EngineError: If a loss is not finite.
    """
    blocks = sorted(set(blocks))
    if not trained or set(trained) - set(range(FURTHEST + 1)):
        raise UsageError(f"A prompt is trained for N from 0 to {FURTHEST}, not for {trained}.")
    trained = tuple(sorted(set(trained)))
    if trained == (0,) and text.checkpoint.prepared.layers - 1 in blocks:
        raise UsageError(
            "At the last block N = 0 is read off the state itself, so no prompt can be trained "
            "for it. Train for another N: every prompt reads N = 0 there."
        )
    given = {"trained": list(trained), "recipe": asdict(recipe)}

    def build(to: Path, unfinished: Path) -> None:
        def keep(state: Underway) -> None:
            # In one step, so that a stop while writing leaves the state before.
            state.save(to / _FILE)
            (to / _FILE).replace(unfinished)

        begun = Underway.load(unfinished)
        where = "" if begun is None else f", going on from step {begun.step}"
        text.say(f"training {prompts_of(blocks)} for N={listed(trained)}{where}")
        ended = train(
            cone(),
            [_course(text, block, trained, recipe) for block in blocks],
            recipe,
            begun=begun,
            keep=keep,
            say=text.say,
        )
        about = {
            _name(block): {
                "block": block,
                **given,
                "checkpoint": text.checkpoint.name,
                "damage": text.damage,
                "steps": ended.looks.tolist(),
                "choose_losses": losses,
            }
            for block, losses in zip(blocks, ended.losses.T.tolist(), strict=True)
        }
        vectors = {name: best.clone() for name, best in zip(about, ended.best, strict=True)}
        save_file(vectors, to / _FILE, metadata={"about": json.dumps(about)})

    path = text.folder(KIND, {"blocks": blocks, **given}, build, __name__) / _FILE
    with safe_open(path, framework="pt") as kept:
        about = json.loads(kept.metadata()["about"])
        return {
            block: LearnedPrompt(kept.get_tensor(_name(block)), about[_name(block)])
            for block in blocks
        }


def _course(text: TextReadings, block: int, trained: tuple[int, ...], recipe: Recipe) -> Course:
    """Say what the prompt of a block learns from. Nothing here depends on other prompts."""
    fit = _lesson(text, "fit", block, trained)
    if recipe.share < 1:
        # Rows that no step would take are no loss, so the share is one of those that it takes. They
        # are drawn from everywhere: the first ones would be a handful of documents.
        some = math.ceil(recipe.share * min(len(fit), recipe.states))
        fit = fit.of(np.sort(text.rng("share of the fit rows").permutation(len(fit))[:some]))
    purpose = f"learned prompt, N={listed(trained)}, block {block}, restart {recipe.restart}"
    return Course(
        block,
        fit,
        _lesson(text, "choose", block, trained),
        text.fit_seed(purpose),
    )


def _lesson(text: TextReadings, split: str, block: int, trained: tuple[int, ...]) -> Lesson:
    needless = block == text.checkpoint.prepared.layers - 1 and 0 not in trained
    survey = text.survey
    return Lesson(
        None if needless else survey.states(split, block),
        text.rows(split).following[:, : max(trained)],
        {ahead: survey.final_states(split, ahead) for ahead in trained},
    )


def _name(block: int) -> str:
    """How what belongs to a block is called in the file."""
    return f"block{block}"


def listed(trained: tuple[int, ...]) -> str:
    """Name the N that a prompt was trained for."""
    return "+".join(map(str, trained))
