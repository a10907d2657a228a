"""What the plugin keeps with pytest's objects, and what a test's claim, cell and verdict are."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
from _pytest.compat import NOTSET

if TYPE_CHECKING:
    from stillwired.judge.results import Verdict
    from stillwired.records.ledger import Ledger
    from stillwired.records.session import CellId, Judge

STATE: pytest.StashKey[Ledger] = pytest.StashKey()
"""Kept with the configuration: the run, and how it stands."""

CELL: pytest.StashKey[CellId] = pytest.StashKey()
"""Kept with a test: the cell that it judges."""

JUDGE: pytest.StashKey[Judge] = pytest.StashKey()
"""Kept with a test: what judges its claim, and has its verdict then."""


class VerdictFailure(pytest.fail.Exception):  # type: ignore[name-defined,misc]
    """A claim's test fails because of its verdict, and for no other reason."""


def claim_of(item: pytest.Item) -> Any:
    """Return the claim that a test carries; other projects' marks of that name mean nothing."""
    marker = item.get_closest_marker("claim")
    declared = sys.modules.get("stillwired.judge.claims")
    if marker is None or declared is None or not marker.args:
        return None
    return marker.args[0] if isinstance(marker.args[0], declared.Claim) else None


def cell_of(item: pytest.Item, order: int = 0) -> CellId | None:
    """Return the cell that a test judges; None if it carries no claim, or is asked of nothing.

    Args:
        item: The test.
        order: Its place among the tests of the run.

    Raises:
        ClaimError: If a parameter of the test has no place in a record.
    """
    from stillwired.records import session

    claim = claim_of(item)
    params = item.callspec.params if hasattr(item, "callspec") else {}
    # A test that is asked of nothing, such as none of the tasks, is skipped and no cell.
    if claim is None or any(value is NOTSET for value in params.values()):
        return None
    return item.config.stash[STATE].settled(session.cell_of(claim, params, item.nodeid, order))


def verdict_of(item: pytest.Item) -> Verdict | None:
    """Return the verdict of a test, if it has one yet."""
    judge = item.stash.get(JUDGE, None)
    return judge.verdict if judge is not None else None


def new_judge(item: pytest.Item) -> Judge:
    """Return what judges the claim of a test."""
    from stillwired.records.session import Judge

    return Judge(item.config.stash[STATE].run, item.nodeid, item.stash.get(CELL, None))
