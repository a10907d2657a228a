"""Which tests there are: of which checkpoint and depth, in which profile, in which shard."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from stillwired.errors import ClaimError, StillwiredError
from stillwired.options import depth_id, model_ids
from stillwired.plugin.items import STATE, cell_of, claim_of

if TYPE_CHECKING:
    from stillwired.profiles import Profile


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a claim on every checkpoint and, where it asks for a depth, at every depth."""
    if claim_of(metafunc.definition) is None:
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


# Innermost: --lf thins out what a module has by a wrapper of its own.
@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Hear of every cell of the profile, before -k or a test id leaves any out."""
    report = yield
    state = collector.config.stash[STATE]
    profile = state.run.settings.profile
    for item in report.result or ():
        if isinstance(item, pytest.Item) and not _takes_longer(item, profile):
            # A parameter that has no place in a record is refused when the run begins.
            with suppress(ClaimError):
                cell = cell_of(item)
                if cell is not None:
                    state.offer(cell)
    return report


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out of the small profiles what takes longer than they are meant to."""
    profile = config.stash[STATE].run.settings.profile
    reason = f"not in the {profile.name} profile: --claims-profile standard runs it"
    skip = pytest.mark.skip(reason=reason)
    for item in items:
        if _takes_longer(item, profile):
            item.add_marker(skip)


def _takes_longer(item: pytest.Item, profile: Profile) -> bool:
    """Whether a test takes trainings of its own that a profile leaves out."""
    return not profile.trains_more and item.get_closest_marker("standard") is not None


@pytest.hookimpl(specname="pytest_collection_modifyitems")
def pytest_collection_modifyitems_of_mutants(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Keep to primary cells where checkpoints are damaged: the others decide nothing."""
    if not config.stash[STATE].run.options.mutants:
        return
    cells = {item: cell for item in items if (cell := cell_of(item)) is not None}
    beside = {item for item, cell in cells.items() if not cell.primary}
    _leave_out(config, items, beside)


@pytest.hookimpl(specname="pytest_collection_modifyitems", trylast=True)
def pytest_collection_modifyitems_of_shard(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the claims of other shards out, once it is known which claims the run has."""
    state = config.stash[STATE]
    if state.run.options.shard is None:
        return
    # What is skipped in any case costs nothing, whoever skips it.
    dealt = [item for item in items if item.get_closest_marker("skip") is None]
    try:
        cells = {item: cell for item in dealt if (cell := cell_of(item)) is not None}
        ours = state.deal([(cell, item.path) for item, cell in cells.items()])
    except StillwiredError as error:
        if not hasattr(config, "workerinput"):
            raise pytest.UsageError(str(error)) from None
        state.problem = error
        return
    elsewhere = {item for item, here in zip(cells, ours, strict=True) if not here}
    _leave_out(config, items, elsewhere)


def _leave_out(config: pytest.Config, items: list[pytest.Item], those: set[pytest.Item]) -> None:
    """Take tests out of a run, and tell pytest."""
    if those:
        config.hook.pytest_deselected(items=list(those))
        items[:] = [item for item in items if item not in those]


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Remember which cells the user left out."""
    cells = [(item, cell_of(item)) for item in items]
    for item, cell in cells:
        if cell is not None:
            item.config.stash[STATE].deselected.append(cell.key)
