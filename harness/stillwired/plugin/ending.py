"""The end of a run: records, the gate's exit code, the table, and where everything lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from stillwired.options import OPTIONS
from stillwired.plugin.items import STATE
from stillwired.plugin.listener import LISTENER

if TYPE_CHECKING:
    from stillwired.report.outputs import Outputs

OUTPUTS: pytest.StashKey[Outputs] = pytest.StashKey()
"""Kept with the configuration: what the run has left beside its records."""


@pytest.hookimpl(specname="pytest_sessionfinish", tryfirst=True)
def pytest_sessionfinish_of_junit(session: pytest.Session) -> None:
    """Tell a JUnit report what holds for the whole run, before it is written."""
    config, state = session.config, session.config.stash[STATE]
    for plugin in config.pluginmanager.get_plugins() if state.seen else ():
        if hasattr(plugin, "add_global_property"):
            from stillwired.report.status import run_properties

            for name, value in run_properties(state.run):
                plugin.add_global_property(name, value)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Merge the cells into records, let the gate set the exit code, and write the reports."""
    state = session.config.stash[STATE]
    if hasattr(session.config, "workerinput") or not state.seen:
        return
    whole = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    state.close(interrupted=not whole, stopped=bool(session.shouldfail))
    if whole:
        # A run that -x stopped early has not judged everything: its gate proves nothing.
        passed = state.passed and not session.shouldfail
        session.exitstatus = pytest.ExitCode.OK if passed else pytest.ExitCode.TESTS_FAILED
    from stillwired.report.outputs import leave

    listener: Any = session.config.pluginmanager.get_plugin(LISTENER)
    session.config.stash[OUTPUTS] = leave(state, listener.told)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    """Show the table, and say where everything lies."""
    state, reporter = config.stash[STATE], terminalreporter
    if not state.seen:
        asked = any(config.getoption(option.key) is not None for option in OPTIONS)
        if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and (asked or state.deselected):
            from stillwired.report.summary import nothing_judged

            reporter.write_line(nothing_judged(len(state.deselected)))
        return
    from stillwired.report.console import Terminal
    from stillwired.report.outputs import Outputs
    from stillwired.report.summary import results

    terminal, outputs = Terminal(config), config.stash.get(OUTPUTS, Outputs())
    if not terminal.page.quiet and state.finished:
        reporter.write_sep("=", "verdicts")
    terminal.show(results(state, terminal.page, outputs.drawn))
    terminal.show(outputs.lines(terminal.page))
    for command in outputs.commands:
        reporter.write_line(command)
