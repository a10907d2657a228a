"""pytest hooks: claims become tests, verdicts become outcomes, the gate becomes the exit code.

Only this module knows pytest. It stays out of the way of projects without claims, and it
imports nothing heavy before a claim runs.
"""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stillwired.errors import ClaimError, NotAbleError, StillwiredError
from stillwired.options import INI_ONLY, OPTIONS, Given, depth_id, model_ids, parse
from stillwired.report.status import ERROR, MEASURED, About, properties, status
from stillwired.settings import Settings

if TYPE_CHECKING:
    from stillwired.judge.results import Obstacle, Verdict
    from stillwired.records.ledger import Ledger
    from stillwired.records.session import CellId, Judge, Run
    from stillwired.report.curves_files import Drawn


class VerdictFailure(pytest.fail.Exception):  # type: ignore[name-defined,misc]
    """A claim's test fails because of its verdict, and for no other reason."""


STATE: pytest.StashKey[Ledger] = pytest.StashKey()
CELL: pytest.StashKey[CellId] = pytest.StashKey()
JUDGE: pytest.StashKey[Judge] = pytest.StashKey()
RAISED: pytest.StashKey[StillwiredError] = pytest.StashKey()
DRAWN: pytest.StashKey[dict[Path, Drawn]] = pytest.StashKey()


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
        extra: dict[str, Any] = {"metavar": option.metavar} if option.metavar else {}
        extra["action"] = "append" if option.repeatable else "store"
        if not option.metavar:
            extra["action"] = "store_true"
        text = option.help_line.replace("%", "%%")
        group.addoption(option.flag, dest=option.key, default=None, help=text, **extra)
        kind = "args" if option.repeatable else "string" if option.metavar else "bool"
        parser.addini(option.key, f"Same as {option.flag}.", type=kind, default=None)  # type: ignore[arg-type]
    for name, text in INI_ONLY.items():
        parser.addini(f"claims_{name}", text, type="args", default=[])


def pytest_configure(config: pytest.Config) -> None:
    """Read the options; complain about them before anything runs."""
    from stillwired.records.ledger import Ledger
    from stillwired.records.run import RECORDS, RunFolder, run_name
    from stillwired.records.session import Run
    from stillwired.report.console import Terminal

    for marker in (
        "claim(declaration): the test judges this claim about a checkpoint.",
        "standard: the test takes trainings of its own, which the quick profile leaves out.",
    ):
        config.addinivalue_line("markers", marker)
    try:
        options = parse(_given(config))
        if options.settings.tasks is not None:
            from stillwired.data.tasks import load_task_folder

            load_task_folder(options.settings.tasks)
    except StillwiredError as error:
        raise pytest.UsageError(str(error)) from None
    started = time.time()
    worker = getattr(config, "workerinput", None)
    if worker is not None:
        folder = RunFolder(Path(worker["stillwired_folder"]), worker["stillwired_token"])
    else:
        name = run_name(tuple(model_ids(options.settings.models)), started)
        place = config.rootpath / RECORDS / name
        if options.record is not None:
            place = options.record.with_suffix(".run")
        folder = RunFolder(place, uuid.uuid4().hex)
    run = Run(options, folder, Terminal(config).speaker(), started)
    config.stash[STATE] = Ledger(run)
    if worker is None:
        config.pluginmanager.register(Listener(config), "stillwired-listener")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Send xdist's workers to this run's folder."""
    folder = node.config.stash[STATE].run.folder
    node.workerinput["stillwired_folder"] = str(folder.wanted)
    node.workerinput["stillwired_token"] = folder.token


def _given(config: pytest.Config) -> dict[str, Given]:
    """Collect what was given: on the command line, otherwise in the ini file."""
    ini_base = config.inipath.parent if config.inipath is not None else config.rootpath
    given = {}
    for option in OPTIONS:
        value, base = config.getoption(option.key), config.invocation_params.dir
        if value is None:
            value, base = config.getini(option.key), ini_base
        if value not in (None, "", []):
            given[option.name] = Given(value, base)
    lists = {name: config.getini(f"claims_{name}") for name in INI_ONLY}
    return given | {name: Given(value, ini_base) for name, value in lists.items() if value}


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
    if claim is None:
        return None
    callspec = getattr(item, "callspec", None)
    return cell_of(claim, callspec.params if callspec else {}, item.nodeid, order)


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
    """Leave out of the quick profile what takes longer than it is meant to."""
    if config.stash[STATE].run.settings.profile.name != "quick":
        return
    skip = pytest.mark.skip(reason="not in the quick profile: --claims-profile standard runs it")
    for item in items:
        if item.get_closest_marker("standard") is not None:
            item.add_marker(skip)


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
    from stillwired.records.session import check_cells
    from stillwired.report.console import Terminal

    state.seen = True
    try:
        for order, item in enumerate(session.items):
            cell = _cell_of(item, order)
            if cell is not None:
                item.stash[CELL] = cell
        ours = {item.nodeid: item.stash[CELL] for item in session.items if CELL in item.stash}
        check_cells(ours)
        if state.deselected:
            state.run.folder.note("selection", "deselected", sorted(state.deselected))
        say = Terminal(config).speaker(always=True)
        state.run.prepare_all(
            dict.fromkeys(cell.spec for cell in ours.values() if cell.spec is not None),
            lambda spec: config.hook.pytest_claims_prepare(config=config, spec=spec, say=say),
        )
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
    from stillwired.checkpoints.prepare import prepare
    from stillwired.checkpoints.regime import Regime, check_regime
    from stillwired.store.cache import Store

    settings = config.stash[STATE].run.settings
    regime = Regime(settings.device, settings.dtype, settings.attention)
    # Before anything is fetched; the reference is had everywhere, and needs no torch to say so.
    if regime != Regime():
        check_regime(regime)
    if settings.remote:
        from stillwired.engine.remote import check_host, host_of

        check_host(host_of(settings.remote, spec))
    return prepare(spec, Store(_cache(config), say), say=say)


def _cache(config: pytest.Config) -> Path:
    from stillwired.store.cache import Store

    return config.stash[STATE].run.settings.cache or Store.default_root()


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
        raise item.stash[RAISED]


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
    from stillwired.report.terminal import message, unexpected

    item.user_properties += properties(verdict)
    declaration = item.stash[CELL].claim.to_json()
    expected = item.config.stash[STATE].run.expected
    if expected is None and verdict.verdict in ("FAILS", "BROKEN"):
        raise VerdictFailure(message(declaration, verdict), pytrace=False) from cause
    if expected is not None and not expected.met(verdict):
        raise VerdictFailure(unexpected(declaration, verdict, expected), pytrace=False) from cause


def _obstacle(item: pytest.Item, error: StillwiredError) -> Obstacle | None:
    """Return what an error says about a test's cell, unless a verdict stands already."""
    from stillwired.records.session import obstacle_of

    settled = CELL not in item.stash or _verdict_of(item) is not None
    # A worker whose checkpoint cannot be prepared has measured nothing, whatever the error.
    if settled or error is item.config.stash[STATE].problem:
        return None
    return obstacle_of(error)


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
    about: About = {"word": "", "expected": None, "beside": []}
    report.stillwired = about  # type: ignore[attr-defined]
    if report.failed and not isinstance(error, VerdictFailure):
        about["word"] = ERROR
        if of_ours and short:
            report.longrepr = f"{type(error).__name__}: {error}"
    elif report.when == "call" and verdict is not None and not hasattr(report, "wasxfail"):
        about["word"] = str(verdict.verdict)
        about["expected"] = None if expected is None else expected.met(verdict)
        if report.failed:
            report.longrepr = str(error)
            if error is not None and error.__cause__ is not None and not short:
                raised = pytest.ExceptionInfo.from_exception(error.__cause__)
                report.longrepr += f"\n\n{item.repr_failure(raised)}"
        elif config.get_verbosity() > 0:
            from stillwired.report.terminal import beside

            about["beside"] = beside(verdict, item.stash[CELL].claim.unit)
        if report.passed and verdict.verdict not in MEASURED:
            # Other tools know passed, failed and skipped; none of these has passed.
            path, line, _ = item.reportinfo()
            reason = (expected.reason(verdict.key) if expected else "") or verdict.reason
            report.outcome = "skipped"
            report.longrepr = (os.fspath(path), (line or 0) + 1, reason or str(verdict.verdict))
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
        self._config = config
        self._state = config.stash[STATE]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Tell verdicts from failures of any other kind."""
        about: About | None = getattr(report, "stillwired", None)
        error = about is not None and about["word"] == ERROR
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
    from stillwired.report.summary import heads

    state, terminal = config.stash[STATE], Terminal(config)
    state.headed = True
    wanted = config.get_verbosity() >= 0 and not config.option.no_header
    if terminal.reporter is not None and wanted:
        terminal.show(heads(state.run.facts, terminal.page))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Merge the cells into records, let the gate set the exit code, and draw the curves."""
    state = session.config.stash[STATE]
    if hasattr(session.config, "workerinput") or not state.seen:
        return
    whole = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    state.close(interrupted=not whole)
    if whole:
        # A run that -x stopped early has not judged everything: its gate proves nothing.
        passed = state.passed and not session.shouldfail
        session.exitstatus = pytest.ExitCode.OK if passed else pytest.ExitCode.TESTS_FAILED
    from stillwired.report.curves_files import draw_beside

    records = [one.record for one in state.finished]
    drawn = {record: draw_beside(record) for record in records if record is not None}
    session.config.stash[DRAWN] = drawn


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
    from stillwired.report.summary import aftermath, summary

    terminal, run = Terminal(config), state.run
    page, drawn = terminal.page, config.stash.get(DRAWN, {})
    if not page.quiet and state.finished:
        reporter.write_sep("=", "verdicts")
    for one in state.finished:
        cache = _cache(config) if one.reads_checkpoint else None
        took = time.time() - run.started
        curves = drawn.get(one.record) if one.record is not None else None
        terminal.show(
            summary(one, page, expected=run.expected, cache=cache, seconds=took, drawn=curves)
        )
    terminal.show(aftermath(state.finished, page, run.folder, state.errors, state.unwritten))
