"""Damaged readings: each breaks one thing that a reader of text relies on.

A claim whose verdict survives its damage would not notice a model without the mechanism.
Damage is done to what was read, not to the weights, and it leaves alone what the model says next
and the last block, so that neither the ability to predict text nor a check of the wiring gives
the damage away: the claim itself has to notice. Some damage reaches one kind of reader only; the
others are then left with the sound readings, and need not be asked again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from stillwired.checkpoints.checkpoint import Checkpoint
from stillwired.errors import UsageError
from stillwired.instruments.future_lens import FutureLens
from stillwired.instruments.linear_outcomes import LinearOutcomes, sums_of
from stillwired.instruments.logit_lens import LogitLens
from stillwired.instruments.moments import Moments
from stillwired.instruments.ngrams import FollowerTable
from stillwired.instruments.survey import AHEAD, EMBEDDING, Rows, Survey
from stillwired.instruments.text import TextReadings, other_document


class DamagedSurvey(Survey):
    """A survey with one thing wrong; the undamaged one stays as it is on disk."""

    def __init__(self, sound: Survey) -> None:
        """Damage a view of a finished survey."""
        super().__init__(sound.folder, sound.file)
        self._other = other_document(sound.rows("fit").documents, np.random.default_rng(0))


class FirstBlockEverywhere(DamagedSurvey):
    """Every depth shows the first declared block."""

    def states(self, split: str, block: int) -> NDArray[np.float32]:
        """Return the first declared block's states, whatever is asked."""
        return super().states(split, self.depths[0].block)

    def lens_states(self, block: int) -> NDArray[np.float32]:
        """Return the first block that the lens reads, but for the last one."""
        first, last = self.lens_blocks[1], self.lens_blocks[-1]
        return super().lens_states(block if block == last else first)

    def moments(self) -> Moments:
        """Repeat the first block's sums for every block."""
        sound = super().moments()
        first = [0] * len(sound.blocks)
        return replace(
            sound,
            origin=sound.origin[first],
            gram=sound.gram[first],
            cross=sound.cross[first],
            x_sum=sound.x_sum[first],
        )


class EmbeddingEverywhere(DamagedSurvey):
    """The lens reads the embedding at every depth."""

    def lens_states(self, block: int) -> NDArray[np.float32]:
        """Return the embedding, but for the last block."""
        last = self.lens_blocks[-1]
        return super().lens_states(block if block == last else EMBEDDING)


class OtherDocumentsTargets(DamagedSurvey):
    """Maps to the final state are fitted to the final states of other documents."""

    def final_states(self, split: str, ahead: int) -> NDArray[np.float32]:
        """Deal the fit rows' final states out to other documents."""
        states = super().final_states(split, ahead)
        return np.array(states[self._other]) if split == "fit" else states

    def moments(self) -> Moments:
        """Sum over the wrong pairs."""
        every = slice(0, len(self.rows("fit")))
        per_block = [sums_of(self, depth.block, every) for depth in self.depths]
        joined: dict[str, Any] = {
            name: np.concatenate([getattr(moments, name) for moments in per_block])
            for name in ("origin", "gram", "cross", "x_sum")
        }
        return replace(per_block[0], blocks=tuple(d.block for d in self.depths), **joined)


class OtherDocumentsTokens(DamagedSurvey):
    """Maps to the vocabulary are fitted to the tokens of other documents."""

    def rows(self, split: str) -> Rows:
        """Deal the fit rows' targets out to other documents."""
        rows = super().rows(split)
        if split != "fit":
            return rows
        targets = rows.targets.copy()
        targets[:, 1:] = targets[self._other, 1:]
        return replace(rows, targets=targets)


class SameTarget(DamagedSurvey):
    """N = 1 is read whatever N above 0 is asked for."""

    def rows(self, split: str) -> Rows:
        """Repeat the targets of N = 1."""
        rows = super().rows(split)
        return replace(rows, targets=rows.targets[:, [min(ahead, 1) for ahead in AHEAD]])

    def final_states(self, split: str, ahead: int) -> NDArray[np.float32]:
        """Return the final states of N = 1."""
        return super().final_states(split, min(ahead, 1))

    def moments(self) -> Moments:
        """Repeat the sums of N = 1."""
        sound = super().moments()
        one = [sound.ahead.index(min(ahead, 1)) for ahead in sound.ahead]
        return replace(sound, cross=sound.cross[:, one], y_sum=sound.y_sum[one])


class JudgedSurvey(DamagedSurvey):
    """Damage to the states that are judged; what instruments are fitted to is sound."""


class MeanState(JudgedSurvey):
    """Every judged state is the mean of them all, so that none tells anything."""

    def states(self, split: str, block: int) -> NDArray[np.float32]:
        """Return one state over and over."""
        states = super().states(split, block)
        if split != "judge":
            return states
        mean = np.mean(states, axis=0, dtype=np.float64).astype(np.float32)
        return np.tile(mean, (len(states), 1))


class OthersStates(JudgedSurvey):
    """Every judged state is that of a row of another document."""

    def states(self, split: str, block: int) -> NDArray[np.float32]:
        """Deal the judged states out, the same way in every block."""
        states = super().states(split, block)
        if split != "judge":
            return states
        order = other_document(self.rows(split).documents, np.random.default_rng(1))
        return np.asarray(states)[order]


class FirstBlockJudged(JudgedSurvey):
    """Judged states come from the first declared block, whatever block is asked for."""

    def states(self, split: str, block: int) -> NDArray[np.float32]:
        """Return the first declared block's states, but for the last block."""
        last = self.depths[-1].block
        first = self.depths[0].block if split == "judge" and block != last else block
        return super().states(split, first)


class BackwardText:
    """A checkpoint whose tokenizer turns whole documents round, so followers are predecessors."""

    def __init__(self, checkpoint: Any) -> None:
        """Wrap a checkpoint."""
        self._checkpoint = checkpoint

    def __getattr__(self, name: str) -> Any:
        return getattr(self._checkpoint, name)

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Encode, and reverse every text."""
        return [tokens[::-1] for tokens in self._checkpoint.encode(texts)]


SURVEYS: dict[str, Callable[[Survey], Survey]] = {
    "the first block read at every depth": FirstBlockEverywhere,
    "the embedding read at every depth": EmbeddingEverywhere,
    "maps fitted to the final states of other documents": OtherDocumentsTargets,
    "a vocabulary map fitted to the tokens of other documents": OtherDocumentsTokens,
    "the same target whatever N": SameTarget,
    "every judged state replaced by their mean": MeanState,
    "the first block's states put in at every depth": FirstBlockJudged,
    "every judged state exchanged for another document's": OthersStates,
}
BACKWARD = "a table that counts the tokens before instead of after"
OF_THE_LENS = ("the embedding read at every depth",)
"""Damage that reaches the logit lens alone."""
OF_MAPS = (
    "maps fitted to the final states of other documents",
    "a vocabulary map fitted to the tokens of other documents",
    "the same target whatever N",
)
"""Damage that reaches linear maps alone."""
OF_ONE_KIND = (*OF_THE_LENS, *OF_MAPS, BACKWARD)
"""Damage that leaves the other kinds of readers with sound readings."""


class DamagedMaps(FutureLens):
    """Readers whose linear maps alone know nothing but damaged readings."""

    def __init__(self, sound: FutureLens, text: TextReadings) -> None:
        """Take over from sound readers."""
        super().__init__(sound.text, sound.prompts.recipe, sound.few_rows)
        self.prompts, self.maps = sound.prompts, LinearOutcomes(text, sound.few_rows)


class DamagedTables(FutureLens):
    """Readers whose tables of token pairs alone know nothing but damaged readings."""

    def __init__(self, sound: FutureLens, text: TextReadings) -> None:
        """Take over from sound readers."""
        super().__init__(sound.text, sound.prompts.recipe, sound.few_rows)
        self.prompts, self._damaged = sound.prompts, FutureLens(text)

    @cached_property
    def _tables(self) -> dict[int, FollowerTable]:
        return self._damaged._tables


def damaged(text: TextReadings, damage: str) -> TextReadings:
    """Return readings of the same text that carry one damage.

    Args:
        text: Sound readings.
        damage: A key of :data:`SURVEYS`, or :data:`BACKWARD`.

    Raises:
        UsageError: If there is no such damage.
    """
    if damage == BACKWARD:
        return text.with_damage(
            damage, checkpoint=cast("Checkpoint", BackwardText(text.checkpoint))
        )
    if damage not in SURVEYS:
        known = "; ".join([*SURVEYS, BACKWARD])
        raise UsageError(f"There is no damage {damage!r} to readings. Known are: {known}.")
    made = SURVEYS[damage]
    keep_fits = isinstance(made, type) and issubclass(made, JudgedSurvey)
    return text.with_damage(damage, survey=lambda: made(text.survey), keep_fits=keep_fits)


def damaged_readers(sound: FutureLens, damage: str) -> FutureLens:
    """Return readers of which one kind has damaged readings, if it is such a damage."""
    if damage in OF_MAPS:
        return DamagedMaps(sound, damaged(sound.text, damage))
    return DamagedTables(sound, damaged(sound.text, damage)) if damage == BACKWARD else sound


def damaged_logit_lens(sound: LogitLens, damage: str) -> LogitLens:
    """Return a logit lens that has damaged readings, if that is the damage."""
    return LogitLens(damaged(sound.text, damage)) if damage in OF_THE_LENS else sound
