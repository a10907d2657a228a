"""The report of each test: it carries the verdict, with the verdict's word and letter."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

from stillwired.errors import StillwiredError
from stillwired.plugin.items import CELL, JUDGE, STATE, VerdictFailure, claim_of, verdict_of
from stillwired.report.status import ERROR, About, not_passed, status


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Write the verdict onto the report, and keep what went wrong short."""
    report = yield
    error = call.excinfo.value if call.excinfo is not None else None
    of_ours = isinstance(error, StillwiredError)
    if claim_of(item) is None and not (of_ours and JUDGE in item.stash):
        return report
    config, verdict = item.config, verdict_of(item)
    expected = config.stash[STATE].run.expected
    short = config.option.tbstyle != "long" and config.get_verbosity() < 2
    cell = item.stash.get(CELL, None)
    named = ("", None) if cell is None else (cell.key, cell.spec)
    gated = not config.stash[STATE].run.options.mutants
    about: About = {"word": "", "expected": None, "gated": gated, "beside": [], "cell": named}
    report.stillwired = about  # type: ignore[attr-defined]
    if report.failed and not isinstance(error, VerdictFailure):
        about["word"] = ERROR
        if of_ours and short:
            report.longrepr = f"{type(error).__name__}: {error}"
    elif report.when == "call" and verdict is not None and not hasattr(report, "wasxfail"):
        about["word"] = str(verdict.verdict)
        about["expected"] = None if expected is None else expected.met(verdict)
        baseline = config.stash[STATE].run.baseline
        about["held"] = None if baseline is None else baseline.held(verdict)
        if report.failed:
            report.longrepr = str(error)
            if error is not None and error.__cause__ is not None and not short:
                raised = pytest.ExceptionInfo.from_exception(error.__cause__)
                report.longrepr += f"\n\n{item.repr_failure(raised)}"
        elif config.get_verbosity() > 0:
            from stillwired.report.terminal import beside

            about["beside"] = beside(verdict, item.stash[CELL].claim.unit)
        why = not_passed(verdict, expected) if report.passed else ""
        if why:
            path, line, _ = item.reportinfo()
            report.outcome = "skipped"
            report.longrepr = (os.fspath(path), (line or 0) + 1, why)
    return report


def pytest_report_teststatus(
    report: pytest.CollectReport | pytest.TestReport,
) -> tuple[str, str, str] | None:
    """Give every verdict its word and its letter."""
    about: About | None = getattr(report, "stillwired", None)
    return status(about) if about is not None else None
