"""Damaged prompts: each breaks one thing that a reader which is fed tokens relies on.

Damage is done when prompts are read, so that none is trained again. What the model says in its
own context, and the linear readers, stay as they are.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stillwired.errors import UsageError
from stillwired.instruments.future_lens import FutureLens
from stillwired.instruments.prompt_outcomes import PromptOutcomes
from stillwired.instruments.prompt_passes import Arrays, Asked, PromptPasses
from stillwired.instruments.prompt_readers import Prompt, nearest_tokens
from stillwired.instruments.prompt_training import Recipe
from stillwired.instruments.text import other_document
from stillwired.outcomes import Outcome
from stillwired.store.code import code_digest


class DamagedPasses(PromptPasses):
    """Passes that are cached apart."""

    def __init__(self, sound: PromptPasses, damage: str) -> None:
        """Take over from sound passes."""
        super().__init__(sound.text, sound.first)
        # Damage is done by code of its own, which must count as well.
        self.damage = f"{damage}, by {code_digest(__name__)}"


class DamagedPrompts(PromptOutcomes):
    """Readers whose passes are cached apart."""

    def __init__(self, sound: PromptOutcomes, damage: str) -> None:
        """Take over from sound readers."""
        super().__init__(sound.text, sound.recipe, sound.passes.first)
        self.passes = self.damaged_passes(damage)

    def damaged_passes(self, damage: str) -> PromptPasses:
        """Return the passes."""
        return DamagedPasses(self.passes, damage)


class Untrained(DamagedPrompts):
    """Every prompt consists of vectors as they are before training."""

    def trained_prompt(self, block: int, trained: tuple[int, ...], recipe: Recipe) -> Prompt:
        """Draw vectors and leave them so."""
        rng = np.random.default_rng(block)
        shape = (recipe.vectors, self.text.checkpoint.prepared.width)
        return Prompt.of(torch.from_numpy(rng.normal(0.0, recipe.spread, shape)).float())


class ChangedRecipesUntrained(Untrained):
    """Prompts of another recipe than the usual one are left untrained."""

    def trained_prompt(self, block: int, trained: tuple[int, ...], recipe: Recipe) -> Prompt:
        """Train the usual ones only."""
        if recipe == self.recipe:
            return PromptOutcomes.trained_prompt(self, block, trained, recipe)
        return super().trained_prompt(block, trained, recipe)


class Rounded(DamagedPrompts):
    """Every vector is replaced by the nearest token's embedding."""

    def trained_prompt(self, block: int, trained: tuple[int, ...], recipe: Recipe) -> Prompt:
        """Train, and put the nearest embeddings in place of the vectors."""
        engine = self.text.engine()
        prompt = nearest_tokens(engine, super().trained_prompt(block, trained, recipe))
        table = engine.checkpoint.model.get_input_embeddings().weight
        return Prompt.of(table[list(prompt.tokens)].detach().float())


class Mirrored(DamagedPrompts):
    """Blocks are counted from the last one, where states come from and where they are put."""

    def damaged_passes(self, damage: str) -> PromptPasses:
        """Return passes that mirror every block that they are asked for."""
        last = self.text.checkpoint.prepared.layers - 1

        class Passes(DamagedPasses):
            def said(
                self, what: str, given: Any, prompt: Any, asked: Asked, ahead: int, part: str
            ) -> Arrays:
                source = None if asked.source is None else last - asked.source
                mirrored = replace(asked, block=last - asked.block, source=source)
                return super().said(what, given, prompt, mirrored, ahead, part)

        return Passes(self.passes, damage)


class OthersTokens(DamagedPrompts):
    """What is fed is another document's, true or wrong."""

    def damaged_passes(self, damage: str) -> PromptPasses:
        """Return passes that feed other rows' tokens."""

        class Passes(DamagedPasses):
            def fed(self, split: str, asked: Asked) -> NDArray[np.int64]:
                rows = self.text.rows(split)
                other = other_document(rows.documents, np.random.default_rng(1))
                return rows.following[other]

        return Passes(self.passes, damage)


class UpsideDown(DamagedPrompts):
    """The prompt is called surest where it is least sure."""

    @staticmethod
    def surer_minus_other(
        hits: NDArray[np.float64], sureness: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """Swap the halves."""
        return PromptOutcomes.surer_minus_other(hits, -sureness)


class LastN(DamagedPrompts):
    """What a prompt says three tokens ahead is scored as what it says one token ahead."""

    def fixed_each(self, ahead: int, *args: Any, **how: Any) -> dict[str, Outcome]:
        """Read fixed prompts at N = 1 whatever N."""
        return dict(super().fixed_each(min(ahead, 1), *args, **how))


PROMPTS: dict[str, type[DamagedPrompts]] = {
    "untrained vectors in place of the prompt": Untrained,
    "prompts of another recipe left untrained": ChangedRecipesUntrained,
    "the vectors rounded to tokens before anything is read": Rounded,
    "blocks counted from the last one": Mirrored,
    "another document's tokens fed": OthersTokens,
    "confidence read upside down": UpsideDown,
    "one token ahead read whatever N": LastN,
}


def damaged_prompts(lens: FutureLens, damage: str) -> FutureLens:
    """Return readers of the same text whose prompts carry one damage.

    Args:
        lens: Sound readers.
        damage: A key of :data:`PROMPTS`.

    Raises:
        UsageError: If there is no such damage.
    """
    if damage not in PROMPTS:
        known = "; ".join(PROMPTS)
        raise UsageError(f"There is no damage {damage!r} to prompts. Known are: {known}.")
    broken = FutureLens(lens.text, lens.prompts.recipe, lens.few_rows)
    broken.prompts = PROMPTS[damage](lens.prompts, damage)
    return broken
