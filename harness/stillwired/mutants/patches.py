"""Damaged patches: what is written into a pass lands elsewhere, or is something else.

Damage is done on the way to the engine, after everything was fitted and chosen. What a prompt
itself consists of is no patch and stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property

from stillwired.engine.cone import Cone, Plan
from stillwired.engine.edits import Edit
from stillwired.engine.engine import Engine
from stillwired.engine.sites import Site
from stillwired.instruments.function_vectors import TaskVectors
from stillwired.instruments.future_lens import FutureLens
from stillwired.instruments.prompt_outcomes import PromptOutcomes
from stillwired.instruments.prompt_passes import PromptPasses
from stillwired.instruments.prompt_readers import Prompt
from stillwired.instruments.prompt_recipes import Recipe
from stillwired.instruments.task_readings import TaskReadings
from stillwired.mutants.readers import DamagedPasses, DamagedPrompts
from stillwired.mutants.vectors import DamagedReadings, DamagedVectors
from stillwired.store.code import code_digest

Patch = Callable[[Edit], Edit | None]
"""Says what becomes of an edit; None drops it."""


def a_layer_early(edit: Edit) -> Edit:
    """Land in the block before; what is meant for the first one lands there."""
    layer = edit.site.layer
    return replace(edit, site=replace(edit.site, layer=max(layer - 1, 0) if layer else layer))


def a_position_early(edit: Edit) -> Edit:
    """Land one token further left."""
    position = edit.site.position
    return replace(
        edit, site=replace(edit.site, position=None if position is None else position - 1)
    )


def without_effect(edit: Edit) -> Edit:
    """Leave the site as it is, which the engine has to notice."""
    return replace(edit, how="scale", value=1.0)


def forgotten(edit: Edit) -> None:
    """Never reach the engine."""


def zeros(edit: Edit) -> Edit:
    """Write or add nothing but zeros."""
    return replace(edit, value=0.0)


PATCHES: dict[str, Patch] = {
    "patches land one layer early": a_layer_early,
    "patches land one position early": a_position_early,
    "patches that leave everything as it is": without_effect,
    "patches forgotten": forgotten,
    "patches of nothing but zeros": zeros,
}
"""What is broken about patches, and what breaks it."""


class PatchedCone(Cone):
    """Runs sweeps whose patches are changed on their way."""

    def __init__(self, engine: Engine, patch: Patch) -> None:
        """Damage the patches of an engine's sweeps."""
        super().__init__(engine)
        self._patch = patch

    def plan(
        self, prompts: Sequence[Sequence[int]], edits: Sequence[Edit], sites: Iterable[Site]
    ) -> Plan:
        """Plan with the changed patches; vectors that stand for a prompt's tokens stay."""
        landed = [e if e.site.component == "embedding" else self._patch(e) for e in edits]
        return super().plan(prompts, [edit for edit in landed if edit is not None], sites)


class PatchedPasses(DamagedPasses):
    """Passes of prompts with damaged patches."""

    def __init__(self, sound: PromptPasses, damage: str, patch: Patch) -> None:
        """Take over from sound passes."""
        super().__init__(sound, damage)
        self._patch = patch

    @cached_property
    def cone(self) -> Cone:
        """What runs the passes."""
        return PatchedCone(self.text.engine(), self._patch)


class PatchedPrompts(DamagedPrompts):
    """Readers whose states land elsewhere; their prompts were trained before."""

    def __init__(self, sound: PromptOutcomes, damage: str, patch: Patch) -> None:
        """Take over from sound readers."""
        self._patch = patch
        super().__init__(sound, damage)

    def damaged_passes(self, damage: str) -> PromptPasses:
        """Return the passes."""
        return PatchedPasses(self.passes, damage, self._patch)

    def trained_prompt(self, block: int, trained: tuple[int, ...], recipe: Recipe) -> Prompt:
        """Train with sound passes: what is trained is kept under the sound checkpoint's name."""
        return self._sound.trained_prompt(block, trained, recipe)


class PatchedReadings(DamagedReadings):
    """Questions that are asked with damaged patches."""

    def __init__(self, sound: TaskReadings, damage: str, patch: Patch) -> None:
        """Take over from sound readings."""
        super().__init__(sound, damage)
        self._patch = patch

    @cached_property
    def cone(self) -> Cone:
        """What runs the passes."""
        return PatchedCone(self.engine(), self._patch)


class PatchedVectors(DamagedVectors):
    """Heads and vectors that were found before the patches were damaged."""

    def __init__(self, sound: TaskVectors, damage: str, patch: Patch) -> None:
        """Take over from sound vectors."""
        super().__init__(sound, damage)
        self.readings = PatchedReadings(sound.readings, damage, patch)


def patched_lens(sound: FutureLens, damage: str) -> FutureLens:
    """Return readers of the same text whose patches are damaged.

    Args:
        sound: Sound readers.
        damage: A key of :data:`PATCHES`.
    """
    broken = FutureLens(sound.text, sound.prompts.recipe, sound.few_rows)
    broken.prompts = PatchedPrompts(sound.prompts, _named(damage), PATCHES[damage])
    return broken


def patched_vectors(sound: TaskVectors, damage: str) -> TaskVectors:
    """Return the same heads and vectors, judged with damaged patches.

    Args:
        sound: Sound vectors.
        damage: A key of :data:`PATCHES`.
    """
    return PatchedVectors(sound, _named(damage), PATCHES[damage])


def _named(damage: str) -> str:
    """Name a damage for the cache: it is done by code of its own, which must count as well."""
    return f"{damage}, by {code_digest(__name__)}"
