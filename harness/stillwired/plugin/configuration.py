"""Options and what they come to: a run, in the process that the user started and in its workers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from stillwired.errors import StillwiredError
from stillwired.options import INI_ONLY, OPTIONS, collect, model_ids, parse
from stillwired.plugin.items import STATE
from stillwired.plugin.listener import LISTENER, Listener


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register every option, and an ini key for each."""
    group = parser.getgroup("claims", "claims about models (stillwired)")
    for option in OPTIONS:
        group.addoption(option.flag, **option.keywords)
        parser.addini(option.key, f"Same as {option.flag}.", type=option.ini_type, default=None)
    for name, text in INI_ONLY.items():
        parser.addini(f"claims_{name}", text, type="args", default=[])


def pytest_configure(config: pytest.Config) -> None:
    """Read the options; complain about them before anything runs."""
    from stillwired.records.ledger import Ledger
    from stillwired.records.preparing import check_files
    from stillwired.records.run import RunFolder, new_folder
    from stillwired.records.session import Run
    from stillwired.report.console import Terminal

    for marker in (
        "claim(declaration): the test judges this claim about a checkpoint.",
        "standard: smaller profiles leave the test out; most such take trainings of their own.",
    ):
        config.addinivalue_line("markers", marker)
    here, root = config.invocation_params.dir, config.rootpath
    ini_folder = config.inipath.parent if config.inipath is not None else root
    try:
        options = parse(collect(config.getoption, config.getini, here, ini_folder))
        check_files(options)
        if options.report is not None:
            from stillwired.report.html import require_place

            require_place(options.report, "--claims-report")
    except StillwiredError as error:
        raise pytest.UsageError(str(error)) from None
    started = time.time()
    worker = getattr(config, "workerinput", None)
    if worker is not None:
        folder = RunFolder(Path(worker["stillwired_folder"]), worker["stillwired_token"])
    else:
        folder = new_folder(options, root, started)
    run = Run(options, folder, Terminal(config).speaker(), started)
    config.stash[STATE] = Ledger(run)
    if worker is None:
        config.pluginmanager.register(Listener(config), LISTENER)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Send xdist's workers to this run's folder."""
    folder = node.config.stash[STATE].run.folder
    node.workerinput["stillwired_folder"] = str(folder.wanted)
    node.workerinput["stillwired_token"] = folder.token


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Let ``--dist loadgroup`` keep each checkpoint in one of xdist's workers."""
    models = config.stash[STATE].run.settings.models
    if config.getoption("dist") != "loadgroup" or len(models) == 1:
        return None
    from stillwired.workers import CheckpointScheduling

    return CheckpointScheduling(config, log, model_ids(models))
