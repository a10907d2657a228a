"""Damaged readers: each breaks one thing that a reader of Future Lens relies on.

Damage is done when prompts are read, so that none is trained again. What the model says in its
own context, and the linear readers, stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stillwired.errors import UsageError
from stillwired.instruments.depths import Depth
from stillwired.instruments.future_lens import FutureLens
from stillwired.instruments.names import Names
from stillwired.instruments.prompt_outcomes import PromptOutcomes
from stillwired.instruments.prompt_passes import Asked, PromptPasses
from stillwired.instruments.prompt_readers import Prompt, nearest_tokens
from stillwired.instruments.prompt_recipes import Recipe
from stillwired.instruments.prompt_training import embedding_unit
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
        self._sound = sound
        self.passes = self.damaged_passes(damage)

    def chosen_depth(self, trained: int | tuple[int, ...] = 1) -> Depth:
        """The depth that was chosen before the damage."""
        return self._sound.chosen_depth(trained)

    def damaged_passes(self, damage: str) -> PromptPasses:
        """Return the passes."""
        return DamagedPasses(self.passes, damage)


class Untrained(DamagedPrompts):
    """Every prompt consists of vectors as they are before training."""

    def trained_prompt(self, block: int, trained: tuple[int, ...], recipe: Recipe) -> Prompt:
        """Draw vectors and leave them so."""
        rng, engine = np.random.default_rng(block), self.text.engine()
        drawn = rng.normal(0.0, recipe.spread, (recipe.vectors, engine.anatomy.width))
        return Prompt.of(embedding_unit(engine, recipe) * torch.from_numpy(drawn).float())


class Rounded(DamagedPrompts):
    """Every vector is replaced by the nearest token."""

    def trained_prompt(self, block: int, trained: tuple[int, ...], recipe: Recipe) -> Prompt:
        """Train, and put tokens in place of the vectors."""
        return nearest_tokens(self.text.engine(), super().trained_prompt(block, trained, recipe))


class ChangedRecipesRounded(Rounded):
    """Only prompts of another recipe than the usual one are rounded."""

    def trained_prompt(self, block: int, trained: tuple[int, ...], recipe: Recipe) -> Prompt:
        """Leave the usual ones alone."""
        if recipe == self.recipe:
            return PromptOutcomes.trained_prompt(self, block, trained, recipe)
        return super().trained_prompt(block, trained, recipe)


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


class Misread(DamagedPrompts):
    """What is said stays as it is, and is scored the wrong way."""

    def damaged_passes(self, damage: str) -> PromptPasses:
        """Return the sound passes."""
        return self._sound.passes


class UpsideDown(Misread):
    """The prompt is called surest where it is least sure."""

    @staticmethod
    def surer_minus_other(
        hits: NDArray[np.float64], sureness: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """Swap the halves."""
        return PromptOutcomes.surer_minus_other(hits, -sureness)


class LastN(Misread):
    """What a prompt says three tokens ahead is scored as what it says one token ahead."""

    def fixed_each(self, ahead: int, *args: Any, **how: Any) -> dict[str, Outcome]:
        """Read fixed prompts at N = 1 whatever N."""
        return dict(super().fixed_each(min(ahead, 1), *args, **how))

    def fixed(self, ahead: int, *args: Any, **how: Any) -> Outcome:
        """Read those that take turns at N = 1 likewise."""
        return super().fixed(min(ahead, 1), *args, **how)


class BandsSwapped(FutureLens):
    """What is called first is late, and the other way round."""

    @property
    def first(self) -> Depth:
        """The late depth."""
        return super().late

    @property
    def late(self) -> Depth:
        """The first depth."""
        return super().first


class DealtFollowers(FutureLens):
    """The table of token pairs has its followers dealt out at random."""

    def bigram(
        self, ahead: int, followers: str = "counted", population: str = "all", few: bool = False
    ) -> Outcome:
        """Read the table with dealt followers, whatever is asked."""
        return super().bigram(ahead, "shuffled", population, few)


class MisfedNames(Names):
    """Behind every name's state another name's token is fed."""

    damage = f"another name's token, by {code_digest(__name__)}"

    def fed_to_prompts(self, rows: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
        """Deal the tokens out to other names."""
        fed: NDArray[np.int64] = rows["fed"]
        return fed[other_document(rows["names"], np.random.default_rng(1))]


class NamesMisfed(FutureLens):
    """Names lose their own tokens."""

    @cached_property
    def names(self) -> Names:
        """The readers, tried on names that are fed another's token."""
        return MisfedNames(self.prompts)


LENSES: dict[str, type[FutureLens]] = {
    "bands of depth named the wrong way round": BandsSwapped,
    "followers dealt out at random": DealtFollowers,
    "another name's token fed behind every name": NamesMisfed,
}
PROMPTS: dict[str, type[DamagedPrompts]] = {
    "untrained vectors in place of the prompt": Untrained,
    "prompts of another recipe rounded to tokens": ChangedRecipesRounded,
    "the vectors rounded to tokens before anything is read": Rounded,
    "another document's tokens fed": OthersTokens,
    "confidence read upside down": UpsideDown,
    "one token ahead read whatever N": LastN,
}


def damaged_lens(lens: FutureLens, damage: str) -> FutureLens:
    """Return readers of the same text that carry one damage.

    Args:
        lens: Sound readers.
        damage: A key of :data:`PROMPTS` or :data:`LENSES`.

    Raises:
        UsageError: If there is no such damage.
    """
    if damage not in (*PROMPTS, *LENSES):
        known = "; ".join([*PROMPTS, *LENSES])
        raise UsageError(f"There is no damage {damage!r} to readers. Known are: {known}.")
    kind = LENSES.get(damage, FutureLens)
    broken = kind(lens.text, lens.prompts.recipe, lens.few_rows)
    if damage in PROMPTS:
        broken.prompts = PROMPTS[damage](lens.prompts, damage)
    return broken
