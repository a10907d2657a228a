"""A prompt that is trained to read a hidden state, fetched from the cache or trained now.

Future Lens (Section 3, causal intervention with a learned prompt) trains a few vectors in front
of a frozen model. A state from block ``l`` is put in place of the output of block ``l`` at their
last position, the text's own tokens ``t + 1 … t + N`` are fed behind them, and the loss is the
KL divergence from what the model said in its own context at ``t + N`` to what it says here. The
published training makes one pass over 10,000 states, eight to a step, in bfloat16.

Training (`stillwired.instruments.prompt_training`) is part of the cache: what is finished is
kept under everything that determines it, and what was interrupted goes on where it was, to the
same result.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from stillwired.engine.cone import Cone
from stillwired.errors import UsageError
from stillwired.instruments.prompt_readers import Prompt
from stillwired.instruments.prompt_training import Lesson, Recipe, Underway, train
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


def learned_prompt(
    text: TextReadings,
    cone: Callable[[], Cone],
    block: int,
    trained: tuple[int, ...],
    recipe: Recipe,
) -> LearnedPrompt:
    """Train, or fetch from the cache, the prompt of one block.

    At the last block a state reaches no later position: a prompt that is trained there for
    N ≥ 1 only has learned to do without. No state is read for it.

    Args:
        text: Rows, states and cache.
        cone: Gives what runs the passes; called only if there is something to train.
        block: The block that states are read from and put into: a declared one, or the last.
        trained: The N whose losses are summed.
        recipe: Sizes.

    Raises:
        UsageError: If no such N can be trained.
        EngineError: If the loss is not finite.
    """
    blocks = text.checkpoint.prepared.layers
    if not trained or set(trained) - set(range(FURTHEST + 1)):
        raise UsageError(f"A prompt is trained for N from 0 to {FURTHEST}, not for {trained}.")
    trained = tuple(sorted(set(trained)))
    if block == blocks - 1 and trained == (0,):
        raise UsageError(
            "At the last block N = 0 is read off the state itself, so no prompt can be trained "
            "for it. Train for another N: every prompt reads N = 0 there."
        )
    given = {"block": block, "trained": list(trained), "recipe": asdict(recipe)}

    def build(to: Path, unfinished: Path) -> None:
        def keep(state: Underway) -> None:
            # In one step, so that a stop while writing leaves the state before.
            state.save(to / _FILE)
            (to / _FILE).replace(unfinished)

        begun = Underway.load(unfinished)
        where = "" if begun is None else f", going on from step {begun.step}"
        text.say(f"training the prompt of block {block} for N={listed(trained)}{where}")
        ended = train(
            cone(),
            block,
            _lesson(text, "fit", block, trained).of(
                slice(math.ceil(recipe.share * len(text.rows("fit"))))
            ),
            _lesson(text, "choose", block, trained),
            recipe,
            text.fit_seed(
                f"learned prompt, N={listed(trained)}, block {block}, restart {recipe.restart}"
            ),
            begun=begun,
            keep=keep,
            say=text.say,
        )
        about = {
            **given,
            "checkpoint": text.checkpoint.name,
            "damage": text.damage,
            "steps": ended.curve[:, 0].int().tolist(),
            "choose_losses": ended.curve[:, 1].tolist(),
        }
        save_file({"vectors": ended.best}, to / _FILE, metadata={"about": json.dumps(about)})

    path = text.folder(KIND, given, build, __name__) / _FILE
    with safe_open(path, framework="pt") as kept:
        return LearnedPrompt(kept.get_tensor("vectors"), json.loads(kept.metadata()["about"]))


def _lesson(text: TextReadings, split: str, block: int, trained: tuple[int, ...]) -> Lesson:
    needless = block == text.checkpoint.prepared.layers - 1 and 0 not in trained
    survey = text.survey
    return Lesson(
        None if needless else survey.states(split, block),
        text.rows(split).following[:, : max(trained)],
        {ahead: survey.final_states(split, ahead) for ahead in trained},
    )


def listed(trained: tuple[int, ...]) -> str:
    """Name the N that a prompt was trained for."""
    return "+".join(map(str, trained))
