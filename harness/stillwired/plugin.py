"""pytest hooks: claims become tests, verdicts become outcomes, the gate becomes the exit code.

Only this module knows pytest. It stays out of the way of projects without claims, and it
imports nothing heavy before a claim runs.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _pytest.compat import NOTSET

from stillwired.errors import ClaimError, NotAbleError, StillwiredError
from stillwired.options import INI_ONLY, OPTIONS, collect, depth_id, model_ids, parse
from stillwired.report.status import ERROR, About, not_passed, properties, status
from stillwired.settings import Settings

if TYPE_CHECKING:
    from stillwired.judge.results import Obstacle, Verdict
    from stillwired.records.ledger import Ledger
    from stillwired.records.session import CellId, Judge, Run
    from stillwired.report.github_notes import Told
    from stillwired.report.outputs import Outputs


class VerdictFailure(pytest.fail.Exception):  # type: ignore[name-defined,misc]
    """A claim's test fails because of its verdict, and for no other reason."""


STATE: pytest.StashKey[Ledger] = pytest.StashKey()
CELL: pytest.StashKey[CellId] = pytest.StashKey()
JUDGE: pytest.StashKey[Judge] = pytest.StashKey()
RAISED: pytest.StashKey[StillwiredError] = pytest.StashKey()
OUTPUTS: pytest.StashKey[Outputs] = pytest.StashKey()
LISTENER = "stillwired-listener"


# --- options ------------------------------------------------------------------------------


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
        "standard: the test takes trainings of its own, which the quick profile leaves out.",
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


# --- collection ---------------------------------------------------------------------------


def _claim_of(item: pytest.Item) -> Any:
    """Return the claim that a test carries; other projects' marks of that name mean nothing."""
    marker = item.get_closest_marker("claim")
    declared = sys.modules.get("stillwired.judge.claims")
    if marker is None or declared is None or not marker.args:
        return None
    return marker.args[0] if isinstance(marker.args[0], declared.Claim) else None


def _cell_of(item: pytest.Item, order: int = 0) -> CellId | None:
    from stillwired.records.session import cell_of

    claim = _claim_of(item)
    params = item.callspec.params if hasattr(item, "callspec") else {}
    # A test that is asked of nothing, such as none of the tasks, is skipped and no cell.
    if claim is None or any(value is NOTSET for value in params.values()):
        return None
    return cell_of(claim, params, item.nodeid, order)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a claim on every checkpoint and, where it asks for a depth, at every depth."""
    if _claim_of(metafunc.definition) is None:
        return
    settings = metafunc.config.stash[STATE].run.settings
    depths = settings.layers or settings.profile.depths
    wanted = {
        "checkpoint_spec": (settings.models, model_ids(settings.models), "session"),
        "depth": (depths, [depth_id(depth) for depth in depths], "function"),
    }
    by_hand = {
        name.strip()
        for mark in metafunc.definition.iter_markers("parametrize")
        for name in (mark.args[0].split(",") if isinstance(mark.args[0], str) else mark.args[0])
    }
    for name, (values, ids, scope) in wanted.items():
        if name in metafunc.fixturenames and name not in by_hand:
            metafunc.parametrize(name, values, ids=ids, indirect=True, scope=scope)  # type: ignore[arg-type]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out of the small profiles what takes longer than they are meant to."""
    profile = config.stash[STATE].run.settings.profile
    if profile.trains_more:
        return
    reason = f"not in the {profile.name} profile: --claims-profile standard runs it"
    skip = pytest.mark.skip(reason=reason)
    for item in items:
        if item.get_closest_marker("standard") is not None:
            item.add_marker(skip)


@pytest.hookimpl(specname="pytest_collection_modifyitems", trylast=True)
def pytest_collection_modifyitems_of_shard(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the claims of other shards out, once it is known which claims the run has."""
    state = config.stash[STATE]
    if state.run.options.shard is None:
        return
    # What is skipped in any case costs nothing, whoever skips it.
    dealt = [item for item in items if item.get_closest_marker("skip") is None]
    try:
        cells = {item: cell for item in dealt if (cell := _cell_of(item)) is not None}
        ours = state.deal([(cell, item.path) for item, cell in cells.items()])
    except StillwiredError as error:
        if not hasattr(config, "workerinput"):
            raise pytest.UsageError(str(error)) from None
        state.problem = error
        return
    elsewhere = {item for item, here in zip(cells, ours, strict=True) if not here}
    if elsewhere:
        config.hook.pytest_deselected(items=list(elsewhere))
        items[:] = [item for item in items if item not in elsewhere]


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Remember which cells the user left out."""
    cells = [(item, _cell_of(item)) for item in items]
    for item, cell in cells:
        if cell is not None:
            item.config.stash[STATE].deselected.append(cell.key)


# --- before the first test ----------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Prepare the checkpoints that the collected claims ask for, and show the header."""
    config, state = session.config, session.config.stash[STATE]
    if config.option.collectonly or not any(_claim_of(item) for item in session.items):
        return
    from stillwired.report.console import Terminal

    state.seen = True
    try:
        if state.problem is not None:
            raise state.problem
        for order, item in enumerate(session.items):
            cell = _cell_of(item, order)
            if cell is not None:
                item.stash[CELL] = cell
        ours = {item.nodeid: item.stash[CELL] for item in session.items if CELL in item.stash}
        say = Terminal(config).speaker(always=True)
        prepare = config.hook.pytest_claims_prepare
        folders = {item.path.parent for item in session.items if CELL in item.stash}
        state.begin(ours, lambda spec: prepare(config=config, spec=spec, say=say), folders)
        _show_header(config)
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


# --- fixtures -----------------------------------------------------------------------------


@pytest.fixture(scope="session")
def claims_run(pytestconfig: pytest.Config) -> Run:
    """The run that these claims are part of: its settings, checkpoints and notes."""
    return pytestconfig.stash[STATE].run


@pytest.fixture(scope="session")
def claims_config(claims_run: Run) -> Settings:
    """The settings of this run, from the --claims-* options and the ini file."""
    return claims_run.settings


@pytest.fixture(scope="session")
def claims_say(claims_run: Run) -> Callable[[str], None]:
    """Tell the user about progress: a function that takes one line."""
    return claims_run.say


@pytest.fixture(scope="session")
def checkpoint_spec(request: pytest.FixtureRequest) -> str:
    """The spec of the checkpoint to judge; a claim runs once for each --claims-model."""
    return str(_parameter(request, "checkpoint_spec"))


@pytest.fixture
def depth(request: pytest.FixtureRequest) -> float | int:
    """The depth to judge: a relative depth (float) or a block number (int)."""
    value: float | int = _parameter(request, "depth")
    return value


def _parameter(request: pytest.FixtureRequest, name: str) -> Any:
    if not hasattr(request, "param"):
        raise ClaimError(
            f"The fixture {name} has a value only in tests that carry a claim. "
            "Put @pytest.mark.claim(DECLARATION) on the test."
        )
    return request.param


@pytest.fixture
def judge(request: pytest.FixtureRequest) -> Judge:
    """Judge the claim of this test: ``judge(arm=outcome, ...)`` gives its verdict."""
    request.node.stash[JUDGE] = judge = _new_judge(request.node)
    return judge


def _new_judge(item: pytest.Item) -> Judge:
    from stillwired.records.session import Judge

    return Judge(item.config.stash[STATE].run, item.nodeid, item.stash.get(CELL, None))


# --- running ------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Say in each test of a worker why the worker could not prepare."""
    problem = item.config.stash[STATE].problem
    if problem is not None and _claim_of(item) is not None:
        raise problem


@pytest.hookimpl(specname="pytest_runtest_setup", wrapper=True, tryfirst=True)
def pytest_runtest_setup_of_fixtures(item: pytest.Item) -> Generator[None]:
    """Keep a fixture's error that is a verdict for the call."""
    try:
        yield
    except StillwiredError as error:
        if _obstacle(item, error) is None:
            raise
        # Every report takes a setup that fails for an error, and a verdict is none.
        item.stash[RAISED] = error


@pytest.hookimpl(specname="pytest_runtest_call", tryfirst=True)
def pytest_runtest_call_without_fixtures(item: pytest.Item) -> None:
    """Raise what a fixture raised in place of the test, which lacks an argument."""
    if RAISED in item.stash:
        error = item.stash[RAISED]
        # Its frames would keep a model alive for as long as the test is remembered.
        del item.stash[RAISED]
        raise error


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Let the verdict decide how the test came out."""
    cause: StillwiredError | None = None
    try:
        yield
    except StillwiredError as error:
        obstacle, unable = _obstacle(item, error), isinstance(error, NotAbleError)
        if obstacle is None and not unable:
            raise
        judge = item.stash.setdefault(JUDGE, _new_judge(item))
        if isinstance(error, NotAbleError):
            judge(ability=error.ability)
        elif obstacle is not None:
            judge.unmeasured(obstacle)
        cause = error
    if CELL not in item.stash:
        return
    verdict = _verdict_of(item)
    if verdict is None:
        raise ClaimError(
            f"{item.nodeid} carries a claim and never called judge. "
            "Ask for the fixture judge and call it with the claim's arms."
        )
    from stillwired.report.terminal import failure

    item.user_properties += properties(verdict)
    run = item.config.stash[STATE].run
    why = failure(item.stash[CELL].claim.to_json(), verdict, run.expected, run.baseline)
    # Under a mutant a claim is meant to fail; what that comes to, the matrix says.
    if why and not run.options.mutants:
        raise VerdictFailure(why, pytrace=False) from cause


def _obstacle(item: pytest.Item, error: StillwiredError) -> Obstacle | None:
    """Return what an error says about a test's cell, unless a verdict stands already."""
    from stillwired.records.session import obstacle_of

    settled = CELL not in item.stash or _verdict_of(item) is not None
    # A worker whose checkpoint cannot be prepared has measured nothing, whatever the error.
    if settled or error is item.config.stash[STATE].problem:
        return None
    return obstacle_of(error, item.stash[CELL].spec)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Write the verdict onto the report, and keep what went wrong short."""
    report = yield
    error = call.excinfo.value if call.excinfo is not None else None
    of_ours = isinstance(error, StillwiredError)
    if _claim_of(item) is None and not (of_ours and JUDGE in item.stash):
        return report
    config, verdict = item.config, _verdict_of(item)
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


def _verdict_of(item: pytest.Item) -> Verdict | None:
    judge = item.stash.get(JUDGE, None)
    return judge.verdict if judge is not None else None


def pytest_report_teststatus(
    report: pytest.CollectReport | pytest.TestReport,
) -> tuple[str, str, str] | None:
    """Give every verdict its word and its letter."""
    about: About | None = getattr(report, "stillwired", None)
    return status(about) if about is not None else None


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
            _show_header(self._config)

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


# --- the end ------------------------------------------------------------------------------


def _show_header(config: pytest.Config) -> None:
    """Show what is about to be judged, once."""
    from stillwired.report.console import Terminal

    state = config.stash[STATE]
    state.headed = True
    Terminal(config).show_header(state.run.facts)


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
