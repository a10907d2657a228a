"""How instruments tell of long work."""

from __future__ import annotations

from stillwired.engine.engine import Progress
from stillwired.instruments.survey import Say


def tenths(say: Say, about: str) -> Progress:
    """Report every tenth of some work, once."""
    return shares(say, about, 10)


def shares(say: Say, about: str, parts: int) -> Progress:
    """Report each of some equal parts of some work, once."""
    told = 0

    def report(done: int, total: int) -> None:
        nonlocal told
        if parts * done // total > told:
            told = parts * done // total
            say(f"{about}: {100 * told // parts} %")

    return report
