"""Fixtures of claims: the run, the checkpoint and depth to judge, and the judge."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from stillwired.errors import ClaimError
from stillwired.plugin.items import JUDGE, STATE, new_judge
from stillwired.settings import Settings

if TYPE_CHECKING:
    from stillwired.records.session import Judge, Run


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
    request.node.stash[JUDGE] = judge = new_judge(request.node)
    return judge
