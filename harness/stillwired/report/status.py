"""What a test's report says of its verdict, and how pytest counts and names it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from stillwired.judge.results import Verdict

ERROR = "ERROR"
MEASURED = ("HOLDS", "REPORTED")
"""The words of tests that did all they were to do; nobody needs a list to expect them."""

# Category in the counts, letter, word.
_STATUS = {
    "HOLDS": ("passed", ".", "HOLDS"),
    "FAILS": ("failed", "F", "FAILS"),
    "BROKEN": ("failed", "B", "BROKEN"),
    "INCONCLUSIVE": ("inconclusive", "i", "INCONCLUSIVE"),
    "NOT APPLICABLE": ("not applicable", "n", "NOT APPLICABLE"),
    "REPORTED": ("reported", "r", "REPORTED"),
    ERROR: ("error", "E", "ERROR"),
}


class About(TypedDict):
    """Travels on the report of every claim's test, and so survives xdist.

    Attributes:
        word: The verdict, ``ERROR`` for a failure of any other kind, or empty for a phase
            that says nothing.
        expected: Whether a file of expected verdicts allows it; None without such a file.
        beside: What a verbose run shows beneath the test: figures and facts beside its verdict.
    """

    word: str
    expected: bool | None
    beside: list[str]


def status(about: About) -> tuple[str, str, str] | None:
    """Return category, letter and word for pytest, or None to leave them to pytest."""
    word, expected = about["word"], about["expected"]
    if not word:
        return None
    category, letter, name = _STATUS[word]
    if expected is None or word == ERROR or (expected and word in MEASURED):
        return category, letter, name
    if expected:
        return "as expected", letter.lower(), f"{name}, as expected"
    return "failed", "F", f"{name}, not expected"


def properties(verdict: Verdict) -> list[tuple[str, object]]:
    """Return what JUnit and other reports are told of a verdict."""
    names = ("claim", "verdict", "estimate", "low", "high", "n", "clusters")
    values = [getattr(verdict, name) for name in names]
    return [(n, str(v) if n == "verdict" else v) for n, v in zip(names, values, strict=True)]
