"""Damaged rows: what readers are scored on, and what stands in front of a text.

Unlike the damage of `stillwired.mutants.readings` some of this is for the checks that run with
every measurement to find, and not for a claim.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from stillwired.engine.engine import Engine
from stillwired.instruments.future_lens import FutureLens
from stillwired.instruments.logit_lens import LogitLens
from stillwired.instruments.survey import Rows, Survey
from stillwired.instruments.text import TextReadings, other_document
from stillwired.mutants.readings import JudgedSurvey
from stillwired.store.code import code_digest


class TargetsDealtOut(JudgedSurvey):
    """What the model says at judged rows is that of rows of other documents."""

    def rows(self, split: str) -> Rows:
        """Deal the judged targets out."""
        rows = super().rows(split)
        if split != "judge":
            return rows
        order = other_document(rows.documents, np.random.default_rng(1))
        return replace(rows, targets=rows.targets[order])


class TargetsEarly(JudgedSurvey):
    """At judged rows the target of N is that of N - 1."""

    def rows(self, split: str) -> Rows:
        """Shift the judged targets; that of N = 0 stays."""
        rows = super().rows(split)
        if split != "judge":
            return rows
        earlier = [max(ahead - 1, 0) for ahead in range(rows.targets.shape[1])]
        return replace(rows, targets=rows.targets[:, earlier])


class FitRowsJudged(JudgedSurvey):
    """Rows that readers were fitted to are judged, spread evenly over the fit text."""

    def rows(self, split: str) -> Rows:
        """Return fit rows for judged ones."""
        if split != "judge":
            return super().rows(split)
        fitted, taken = super().rows("fit"), self._taken
        return Rows(**{name: column[taken] for name, column in vars(fitted).items()})

    def states(self, split: str, block: int) -> NDArray[np.float32]:
        """Return their states."""
        if split != "judge":
            return super().states(split, block)
        return np.array(super().states("fit", block)[self._taken])

    @cached_property
    def _taken(self) -> NDArray[np.int64]:
        fitted, judged = len(super().rows("fit")), len(super().rows("judge"))
        return np.linspace(0, fitted - 1, min(fitted, judged)).astype(np.int64)


class Unnormed:
    """An engine that takes the final norm for nothing."""

    def __init__(self, engine: Engine) -> None:
        """Wrap an engine."""
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def final_norm(self, states: Tensor, *, grad: bool = False) -> Tensor:
        """Return the states as they are."""
        return states


TARGETS: dict[str, Callable[[Survey], Survey]] = {
    "targets dealt out anew": TargetsDealtOut,
    "targets one token early": TargetsEarly,
}
"""What is broken about the rows of a text, and what breaks it."""

ON_FIT_ROWS = "judged on rows that readers were fitted to"
UNNORMED = "the lens without the final norm"
WRONG_START = "a wrong start before every text"


def mistargeted(text: TextReadings, damage: str) -> TextReadings:
    """Return readings of the same text with other targets.

    Args:
        text: Sound readings.
        damage: A key of :data:`TARGETS`.
    """
    made = TARGETS[damage]
    return text.with_damage(_named(damage), survey=lambda: made(text.survey), keep_fits=True)


def judged_on_fit_rows(lens: FutureLens) -> FutureLens:
    """Return readers that are judged where they were fitted."""
    text = lens.text.with_damage(
        _named(ON_FIT_ROWS), survey=lambda: FitRowsJudged(lens.text.survey), keep_fits=True
    )
    return FutureLens(text, lens.prompts.recipe, lens.few_rows)


def unnormed_lens(lens: LogitLens) -> LogitLens:
    """Return a logit lens that skips the final norm."""
    sound = lens.text
    text = sound.with_damage(_named(UNNORMED), keep_fits=True)
    text.engine = lambda: cast("Engine", Unnormed(sound.engine()))
    return LogitLens(text)


def wrong_start(prefix: Sequence[int], tokenizer: Any, vocabulary: int) -> list[int]:
    """Return what stands in front of a text where something else should.

    Args:
        prefix: What the tokenizer puts there itself; if it is anything, it is left out.
        tokenizer: Knows the tokens that begin or end a text; otherwise one of them is put there.
        vocabulary: Token ids are below it.
    """
    if prefix:
        return []
    known = (tokenizer.bos_token_id, tokenizer.eos_token_id, 0)
    return [next(token for token in known if token is not None and token < vocabulary)]


def _named(damage: str) -> str:
    """Name a damage for the cache: it is done by code of its own, which must count as well."""
    return f"{damage}, by {code_digest(__name__)}"
