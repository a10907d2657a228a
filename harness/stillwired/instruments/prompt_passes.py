"""Passes of prompts over the rows of a text: whose states, put in where, behind which tokens.

What is said at every row is cached: tokens, probabilities and the likeliest ten, for every N up
to the furthest that is fed. How that becomes hits is `stillwired.instruments.prompt_outcomes`'s
matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillwired.engine.cone import Cone
from stillwired.errors import UsageError
from stillwired.instruments.prompt_readers import Prompt, read_prompt, swapped_rows
from stillwired.instruments.survey import FURTHEST
from stillwired.instruments.telling import tenths
from stillwired.instruments.text import TextReadings, other_document

STATES = ("own", "shuffled", "swapped", "none")
FED = ("true", "wrong first")
TOGETHER = {0: (0, 0), 1: (1, 1), 2: (2, FURTHEST), 3: (2, FURTHEST)}
"""Smallest and largest N that one pass reads, by the N that is asked for.

A fed token costs a pass through all blocks and a reading an unembedding, so what few ask for is
not read along; who asks for N = 2 mostly asks for 3 as well.
"""

EVERY = (1, FURTHEST)
"""The same for readers that are asked for every N: two passes would both feed the first token."""

PARTS = ("choose", "first rows", "other rows")

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Asked:
    """What a prompt is given at every row.

    Attributes:
        block: The block whose output is overwritten.
        states: ``own``, ``shuffled`` across documents, ``swapped`` among rows with the same
            token for N = 0, or ``none``.
        source: The block that the states come from; None for the one that is overwritten. States
            of another block are scaled to the mean length of those that belong there.
        fed: ``true``, the text's own tokens; or ``wrong first``: the first of them, ``t + 1``,
            is that of a row from another document, and the others stay.
    """

    block: int
    states: str = "own"
    source: int | None = None
    fed: str = "true"

    def __post_init__(self) -> None:
        if self.states not in STATES:
            raise UsageError(
                f"There are no states {self.states!r}. Choose one of: {', '.join(STATES)}."
            )
        if self.fed not in FED:
            raise UsageError(f"Nothing feeds {self.fed!r} tokens. Choose one of: {', '.join(FED)}.")


class PromptPasses:
    """What prompts say at the rows of one text.

    Args:
        text: Rows, states and cache.
        first: Judge rows that are read by themselves, so that curves over many depths need no
            more than those; contrasts of single depths use all rows.
    """

    damage = ""
    """Name of the mutant that damages the passes, or empty."""

    def __init__(self, text: TextReadings, first: int) -> None:
        self.text, self.first = text, first

    @cached_property
    def cone(self) -> Cone:
        """What runs the passes."""
        return Cone(self.text.engine())

    def said(
        self,
        what: str,
        given: Mapping[str, Any],
        prompt: Callable[[], Prompt],
        asked: Asked,
        ahead: int,
        part: str,
        every: bool = False,
        turn: tuple[int, int] = (0, 1),
    ) -> Arrays:
        """Return what a prompt says, from the cache or read now.

        Args:
            what: The prompt, for messages.
            given: What determines the prompt.
            prompt: Makes it; called only if something is to be read.
            asked: What it is given at every row.
            ahead: The N that is asked for.
            part: One of :data:`PARTS`: the choose rows, the first judge rows, or the others.
            every: Read as in :data:`EVERY` and not as in :data:`TOGETHER`, unless N is 0.
            turn: Which of several prompts that take turns this one is, and how many there are:
                it reads the rows of the part that are its own.

        Returns:
            The arrays of `prompt_readers.Spoken` for that N, rows first.
        """
        split = "choose" if part == "choose" else "judge"
        nearest, furthest = EVERY if every and ahead else TOGETHER[ahead]
        if asked.fed != "true":
            # A control of one N alone.
            nearest, furthest = ahead, ahead
        of_part = {
            "choose": slice(None),
            "first rows": slice(self.first),
            "other rows": slice(self.first, None),
        }[part]
        number, of = turn
        rows = np.arange(len(self.text.rows(split)))[of_part]
        rows = rows[rows % of == number]

        def build() -> Arrays:
            about = f"reading block {asked.block} with the {what}, {asked.states} states, {part}"
            self.text.say(about)
            spoken = read_prompt(
                self.cone,
                prompt(),
                asked.block,
                self._states(split, asked, rows),
                self.fed(split, asked)[rows, :furthest],
                self.text.rows(split).targets[rows, nearest : furthest + 1],
                tenths(self.text.say, about),
                nearest,
            )
            return spoken.arrays()

        key = {**vars(asked), "read": [nearest, furthest], "part": part, "first": self.first}
        key |= {"turn": list(turn)} if of > 1 else {}
        damage = {"damaged": self.damage} if self.damage else {}
        text = self.kept_by(part, asked)
        kept = text.cached("prompt", {**given, **key, **damage}, build, module=__name__)
        return {name: values[:, ahead - nearest] for name, values in kept.items()}

    def fed(self, split: str, asked: Asked) -> NDArray[np.int64]:
        """Tokens that are fed at every row of a split [rows, 4]."""
        following = self.text.rows(split).following
        if asked.fed == "wrong first":
            documents = self.text.rows(split).documents
            others = following[other_document(documents, self.text.rng("wrong tokens")), 0]
            following = np.concatenate([others[:, None], following[:, 1:]], axis=1)
        return following

    def partners(self, split: str, states: str) -> NDArray[np.int64]:
        """For each row of a split, the row whose state it is given."""
        rows = self.text.rows(split)
        if states == "shuffled":
            return other_document(rows.documents, self.text.rng("shuffled states"))
        if states == "swapped":
            rng = self.text.rng("swapped states")
            return swapped_rows(rows.targets[:, 0], rows.documents, rng)
        return np.arange(len(rows))

    def kept_by(self, part: str, asked: Asked) -> TextReadings:
        """Return the readings among whose cached ones something belongs."""
        if part == "choose" or (asked.states == "none" and self._rows_are_sound):
            return self.text.fits
        return self.text

    @cached_property
    def _rows_are_sound(self) -> bool:
        """Whether what is judged are the rows of the readings that instruments are fitted to."""
        ours, sound = (vars(text.rows("judge")) for text in (self.text, self.text.fits))
        return all(np.array_equal(column, sound[name]) for name, column in ours.items())

    def _states(
        self, split: str, asked: Asked, rows: NDArray[np.intp]
    ) -> NDArray[np.float32] | None:
        if asked.states == "none":
            return None
        survey, block = self.text.survey, asked.block
        source = block if asked.source is None else asked.source
        states = np.array(survey.states(split, source)[self.partners(split, asked.states)[rows]])
        if source != block:
            # Lengths grow with depth; a length that a block never sees would tell by itself.
            states *= _length(survey.states("choose", block)) / _length(
                survey.states("choose", source)
            )
        return states


def _length(states: NDArray[np.float32]) -> np.float32:
    """Mean Euclidean length of some states."""
    return np.float32(np.linalg.norm(np.asarray(states, np.float64), axis=1).mean())
