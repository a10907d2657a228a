"""What a run's front end keeps in mind between the tests: counts, problems, results."""

from __future__ import annotations

from dataclasses import dataclass, field

from stillwired.errors import StillwiredError
from stillwired.records.finish import Finished, finish
from stillwired.records.session import Run


@dataclass
class Ledger:
    """The state of a run in the process that talks to the user, and in each worker.

    Attributes:
        run: The run.
        seen: Whether a claim was collected.
        headed: Whether the header has been shown.
        failures: Failed tests and modules, verdicts apart.
        errors: Claims that were not judged because of an error.
        deselected: Names of the cells that the user left out.
        problem: Why a worker could not prepare.
        finished: What became of each checkpoint, once the run is over.
        unwritten: Why there is no record.
    """

    run: Run
    seen: bool = False
    headed: bool = False
    failures: int = 0
    errors: int = 0
    deselected: list[str] = field(default_factory=list)
    problem: StillwiredError | None = None
    finished: list[Finished] = field(default_factory=list)
    unwritten: str = ""

    def count(self, *, failed: bool, of_claim: bool, error: bool) -> None:
        """Count one report of a test: an error, or a failure that is no verdict."""
        self.seen = self.seen or of_claim
        self.errors += of_claim and error
        self.failures += failed and (error or not of_claim)

    def close(self, *, interrupted: bool) -> None:
        """Merge the cells into records, unless the run was interrupted."""
        try:
            self.finished = finish(self.run, interrupted=interrupted)
        except StillwiredError as error:
            self.unwritten = str(error)

    @property
    def passed(self) -> bool:
        """Whether every gate passes and nothing else went wrong."""
        gated = all(one.gate is not None and one.gate.passed for one in self.finished)
        return gated and not self.failures and not self.unwritten
