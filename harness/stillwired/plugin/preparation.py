"""Before the first test: checkpoints are made ready, in a way that projects may replace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
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
    outline, judging = state.run.options.outline, not config.option.collectonly
    if not (judging or outline) or not any(claim_of(item) for item in session.items):
        return
    from stillwired.records.making import code_of
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
        files = _project_modules(config, folders | state.folders)
        state.run.note_code(code_of(folders | state.folders, files, config.rootpath))
        if outline is not None:
            from stillwired.records.outline import write_outline

            write_outline(outline, state.run, ours.values())
        if judging:
            show_header(config)
        else:
            state.seen = False
            state.run.folder.clear()
    except StillwiredError as error:
        if not hasattr(config, "workerinput"):
            state.seen = False
            state.run.folder.clear()
            raise pytest.UsageError(str(error)) from None
        # A worker that raises here would be taken for a crash: its tests report it instead.
        state.problem = error


def _project_modules(config: pytest.Config, folders: set[Path]) -> Iterator[Path]:
    """Find the modules that pytest was told of and claims rest on: fixtures and conftest files."""
    for module in config.pluginmanager.get_plugins():
        file, name = getattr(module, "__file__", None), getattr(module, "__name__", "")
        if file is None or name.partition(".")[0] == "stillwired":
            continue
        path = Path(file)
        if path.name == "conftest.py":
            counts = any(folder.is_relative_to(path.parent) for folder in folders)
        else:
            installed = {"site-packages", "dist-packages"} & set(path.parts)
            counts = path.is_relative_to(config.rootpath) and not installed
        if counts:
            yield path


@pytest.hookimpl(trylast=True)
def pytest_claims_prepare(config: pytest.Config, spec: str, say: Callable[[str], None]) -> Any:
    """Fetch, verify and convert a checkpoint, unless the cache holds it already."""
    from stillwired.records.preparing import prepare_for

    run = config.stash[STATE].run
    run.settle_device()
    return prepare_for(run.settings, spec, say)
