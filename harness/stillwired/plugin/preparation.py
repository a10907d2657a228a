"""Before the first test: checkpoints are made ready, in a way that projects may replace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stillwired.errors import StillwiredError
from stillwired.plugin.items import CELL, STATE, cell_of, claim_of
from stillwired.plugin.listener import show_header


class Hooks:
    """Hooks that this plugin offers to conftest files."""

    @pytest.hookspec(firstresult=True)
    def pytest_claims_prepare(
        self, config: pytest.Config, spec: str, say: Callable[[str], None]
    ) -> Any:
        """Make the checkpoint that a spec names ready to be loaded, and describe it.

        An implementation that returns an object with ``name``, ``layers`` and ``to_json()``
        replaces the default, which fetches, verifies and converts through the cache.
        """


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Offer our hooks."""
    pluginmanager.add_hookspecs(Hooks)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Prepare the checkpoints that the collected claims ask for, and show the header."""
    config, state = session.config, session.config.stash[STATE]
    if config.option.collectonly or not any(claim_of(item) for item in session.items):
        return
    from stillwired.report.console import Terminal

    state.seen = True
    try:
        if state.problem is not None:
            raise state.problem
        for order, item in enumerate(session.items):
            cell = cell_of(item, order)
            if cell is not None:
                item.stash[CELL] = cell
        ours = {item.nodeid: item.stash[CELL] for item in session.items if CELL in item.stash}
        say = Terminal(config).speaker(always=True)
        prepare = config.hook.pytest_claims_prepare
        folders = {item.path.parent for item in session.items if CELL in item.stash}
        state.begin(ours, lambda spec: prepare(config=config, spec=spec, say=say), folders)
        show_header(config)
    except StillwiredError as error:
        if not hasattr(config, "workerinput"):
            state.seen = False
            state.run.folder.clear()
            raise pytest.UsageError(str(error)) from None
        # A worker that raises here would be taken for a crash: its tests report it instead.
        state.problem = error


@pytest.hookimpl(trylast=True)
def pytest_claims_prepare(config: pytest.Config, spec: str, say: Callable[[str], None]) -> Any:
    """Fetch, verify and convert a checkpoint, unless the cache holds it already."""
    from stillwired.records.preparing import prepare_for

    run = config.stash[STATE].run
    run.settle_device()
    return prepare_for(run.settings, spec, say)
