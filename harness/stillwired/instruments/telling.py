"""How instruments tell of long work."""

from __future__ import annotations

from stillwired.engine.engine import Progress
from stillwired.instruments.survey import Say


def tenths(say: Say, about: str) -> Progress:
    """Report every tenth of some work, once."""
    told = 0

    def report(done: int, total: int) -> None:
        nonlocal told
        if 10 * done // total > told:
            told = 10 * done // total
            say(f"{about}: {10 * told} %")

    return report
