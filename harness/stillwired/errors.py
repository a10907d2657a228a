"""Errors that a person can act on: each message names the cause and the remedy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stillwired.judge.results import InstrumentCheck
    from stillwired.outcomes import Outcome


class StillwiredError(Exception):
    """Base of every error that this package raises on purpose."""


class UsageError(StillwiredError):
    """An option or an argument that cannot be honoured."""


class CacheError(StillwiredError):
    """The cache cannot be read or written."""


class FetchError(StillwiredError):
    """Something pinned could not be fetched, or is not what was pinned."""


class CheckpointError(StillwiredError):
    """A checkpoint cannot be found, is refused, or does not fit together.

    Messages quote files that strangers wrote: signs that would steer a terminal are replaced.
    """

    def __init__(self, message: str) -> None:
        super().__init__(
            "".join(sign if sign.isprintable() or sign == "\n" else "\ufffd" for sign in message)
        )


class AnatomyError(StillwiredError):
    """A model's parts cannot be located, or are not where its family says."""


class MissingComponentError(AnatomyError):
    """A model has no such component there, or has it where it cannot be read or edited."""


class EngineError(StillwiredError):
    """A reading or an edit did not do what it claims to do."""


class MismatchError(EngineError):
    """A measurement was repeated another way and came out differently."""


class CorpusError(StillwiredError):
    """Text that cannot be read, split or sampled as asked."""


class ClaimError(StillwiredError):
    """A claim is declared or judged in a way that has no meaning."""


class RecordError(StillwiredError):
    """A record or an expectation cannot be read or trusted."""


class EarlyVerdictError(StillwiredError):
    """What was measured first decides a claim already, so nothing else was measured.

    The model clearly cannot do what the claim presupposes, or a check of the instrument failed.

    Attributes:
        ability: Outcomes by ability name; those that show what the model cannot do are among them.
        checks: What ran with their measurement.
    """

    def __init__(
        self,
        message: str,
        ability: Mapping[str, Outcome],
        checks: Sequence[InstrumentCheck] = (),
    ) -> None:
        super().__init__(message)
        self.ability = ability
        self.checks = checks


class UnsuitableTaskError(StillwiredError):
    """A claim says nothing about a task: it cannot be asked, or the model cannot do it."""
