"""Running a claim: its verdict decides how the test came out, and so do some errors."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

from stillwired.errors import ClaimError, EarlyVerdictError, StillwiredError
from stillwired.plugin.items import (
    CELL,
    JUDGE,
    STATE,
    VerdictFailure,
    claim_of,
    new_judge,
    verdict_of,
)
from stillwired.report.status import properties

if TYPE_CHECKING:
    from stillwired.judge.results import Obstacle

RAISED: pytest.StashKey[StillwiredError] = pytest.StashKey()
"""Kept with a test between setup and call: what a fixture raised."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Say in each test of a worker why the worker could not prepare."""
    problem = item.config.stash[STATE].problem
    if problem is not None and claim_of(item) is not None:
        raise problem


@pytest.hookimpl(specname="pytest_runtest_setup", wrapper=True, tryfirst=True)
def pytest_runtest_setup_of_fixtures(item: pytest.Item) -> Generator[None]:
    """Keep a fixture's error that is a verdict for the call."""
    try:
        yield
    except StillwiredError as error:
        if _obstacle(item, error) is None and not _early(item, error):
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
        obstacle = _obstacle(item, error)
        if obstacle is None and not _early(item, error):
            raise
        judge = item.stash.setdefault(JUDGE, new_judge(item))
        if isinstance(error, EarlyVerdictError):
            judge(ability=error.ability, checks=error.checks)
        elif obstacle is not None:
            judge.unmeasured(obstacle)
        cause = error
    if CELL not in item.stash:
        return
    verdict = verdict_of(item)
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

    # A worker whose checkpoint cannot be prepared has measured nothing, whatever the error.
    if _settled(item) or error is item.config.stash[STATE].problem:
        return None
    return obstacle_of(error, item.stash[CELL].spec)


def _early(item: pytest.Item, error: StillwiredError) -> bool:
    """Say whether an error decides a test's cell before its arms are measured."""
    return isinstance(error, EarlyVerdictError) and not _settled(item)


def _settled(item: pytest.Item) -> bool:
    """Say whether no error can be a test's verdict any more."""
    return CELL not in item.stash or verdict_of(item) is not None
