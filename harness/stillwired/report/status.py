"""What a test's report says of its verdict, and how pytest counts and names it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NotRequired, TypedDict

from stillwired import __version__

if TYPE_CHECKING:
    from stillwired.judge.results import Verdict
    from stillwired.records.expected import Expectations
    from stillwired.records.session import Run

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
        held: Whether the cell holds in the baseline; None or absent without one.
        gated: Whether a verdict may fail its test. In a run of mutants none does.
        beside: What a verbose run shows beneath the test: figures and facts beside its verdict.
        cell: The cell's name within its record, and the spec of its checkpoint.
    """

    word: str
    expected: bool | None
    held: NotRequired[bool | None]
    gated: bool
    beside: list[str]
    cell: tuple[str, str | None]


def status(about: About) -> tuple[str, str, str] | None:
    """Return category, letter and word for pytest, or None to leave them to pytest."""
    word, expected = about["word"], about["expected"]
    if not word:
        return None
    category, letter, name = _STATUS[word]
    if not about["gated"] and category == "failed":
        category = word.lower()
    held = about.get("held")
    if held and word in ("FAILS", "NOT APPLICABLE"):
        return "failed", "F", f"{name}, held before"
    if held is False and word == "FAILS":
        return "did not hold before", letter.lower(), f"{name}, did not hold before"
    if expected is None or word == ERROR or (expected and word in MEASURED):
        return category, letter, name
    if expected:
        return "as expected", letter.lower(), f"{name}, as expected"
    return "failed", "F", f"{name}, not expected"


def not_passed(verdict: Verdict, expected: Expectations | None) -> str:
    """Say why a test whose verdict stands has not passed; empty if it has.

    Other tools know passed, failed and skipped, and a verdict that leaves the question open is
    the last of them.
    """
    if verdict.verdict in MEASURED:
        return ""
    known = expected.reason(verdict.key) if expected is not None else ""
    return known or verdict.reason or str(verdict.verdict)


def properties(verdict: Verdict) -> list[tuple[str, object]]:
    """Return what JUnit and other reports are told of a verdict.

    ``cell`` is its name within the record, the same in every profile. What was not estimated is
    left out.
    """
    told = {
        "claim": verdict.claim,
        "version": verdict.version,
        "cell": verdict.key,
        "primary": "yes" if verdict.primary else "no",
        "verdict": str(verdict.verdict),
        "estimate": verdict.estimate,
        "low": verdict.low,
        "high": verdict.high,
        "least": verdict.least or None,
        "n": verdict.n,
        "clusters": verdict.clusters,
    }
    return [(name, value) for name, value in told.items() if value is not None]


def run_properties(run: Run) -> list[tuple[str, str]]:
    """Return what holds for every test of a run: what was judged, how, and on what."""
    facts, corpus = run.facts, run.folder.notes("corpus").values()
    told = {"profile": facts.profile, "seed": facts.seed, **facts.regime}
    if facts.layers:
        told["layers"] = ",".join(map(str, facts.layers))
    for spec, known in facts.checkpoints.items():
        told[f"checkpoint.{run.name_of(spec)}"] = known.get("digest", "")
    for text in corpus:
        told["corpus"] = text["digest"]
    for name, digest in run.folder.notes("tasks").get("tasks", {}).items():
        told[f"task.{name}"] = digest
    return [("stillwired", __version__)] + [
        (f"stillwired.{name}", str(value)) for name, value in told.items()
    ]
