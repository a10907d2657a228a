"""What made-up suites of claims have in common."""

from __future__ import annotations

from typing import Any

from stillwired.judge import Claim, Level, Paper


def claim(name: str, mutant: str = "the same target whatever N", **more: Any) -> Claim:
    """Return a claim about how often an arm hits."""
    return Claim(
        id=f"a-paper/{name}",
        version=1,
        says="It is so.",
        source=Paper("a-paper", "A Paper", "A. Author", "Venue 2026").at("Table 1"),
        published="0.5",
        expects=(Level("arm", at_least=0.2),),
        margin=0.1,
        mutant=mutant,
        **more,
    )
