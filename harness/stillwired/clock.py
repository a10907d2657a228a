"""Where a process's time goes, by kind of work.

Every second counts once: for the innermost kind of work that is under way. What is under no kind
is everything else.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PASSES = "passes of the model"
"""Forward and backward passes, and unembedding."""
FITS = "fits"
"""Solving for maps and training them, apart from passes of the model."""
LOADING = "fetching and loading"
"""Getting models and text from where they come from into memory."""
JUDGING = "judging"
"""Intervals, verdicts, and keeping what they were judged from."""
ELSE = "everything else"
"""What belongs to no kind."""


class Clock:
    """Adds up the time that one thread spends, by kind of work.

    Args:
        now: Gives the time, in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._started = now, now()
        self._thread = threading.get_ident()
        self._spent: dict[str, float] = {}
        self._under_way: list[str] = []
        self._since = self._started

    @contextmanager
    def spending(self, on: str) -> Iterator[None]:
        """Count the time of the block for a kind of work; works as a decorator too.

        Other threads work beside the one that is watched, so their time is not counted.
        """
        if threading.get_ident() != self._thread:
            yield
            return
        self._turn()
        self._under_way.append(on)
        try:
            yield
        finally:
            self._turn()
            self._under_way.pop()

    @property
    def spent(self) -> dict[str, float]:
        """Seconds by kind of work so far; with everything else they are all since the start."""
        self._turn()
        rest = self._now() - self._started - sum(self._spent.values())
        return {**self._spent, ELSE: max(rest, 0.0)}

    def _turn(self) -> None:
        """Put the time since the last turn down to what was under way."""
        now = self._now()
        if self._under_way:
            kind = self._under_way[-1]
            self._spent[kind] = self._spent.get(kind, 0.0) + now - self._since
        self._since = now


CLOCK = Clock()
"""The clock of this process."""

spending = CLOCK.spending
