"""In the process that talks to the user: what is to be judged, and how each test came out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stillwired.plugin.items import STATE
from stillwired.report.status import ERROR, About

if TYPE_CHECKING:
    from stillwired.report.github_notes import Told

LISTENER = "stillwired-listener"
"""The name under which pytest knows the listener of a run."""


class Listener:
    """Hears every report in the process that talks to the user."""

    def __init__(self, config: pytest.Config) -> None:
        self.told: list[Told] = []
        self._config = config
        self._state = config.stash[STATE]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Tell verdicts from failures of any other kind."""
        about: About | None = getattr(report, "stillwired", None)
        error = about is not None and about["word"] == ERROR
        if about is not None and about["word"] and about["gated"]:
            from stillwired.report.github_notes import Told

            self.told.append(Told.of(report, about, self._config.rootpath))
        self._state.count(failed=report.failed, of_claim=about is not None, error=error)
        if self._state.seen and not self._state.headed:
            show_header(self._config)

    @pytest.hookimpl(specname="pytest_runtest_logreport", trylast=True)
    def pytest_runtest_logreport_beside(self, report: pytest.TestReport) -> None:
        """Show what stands beside a verdict beneath it, in a verbose run."""
        from stillwired.report.console import Terminal

        about: About | None = getattr(report, "stillwired", None)
        terminal = Terminal(self._config)
        if about is not None and about["beside"] and terminal.reporter is not None:
            terminal.show(terminal.page.plain(about["beside"], "light"))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Count modules that could not be collected."""
        self._state.count(failed=report.failed, of_claim=False, error=False)


def show_header(config: pytest.Config) -> None:
    """Show what is about to be judged, once."""
    from stillwired.report.console import Terminal

    state = config.stash[STATE]
    state.headed = True
    Terminal(config).show_header(state.run.facts)
