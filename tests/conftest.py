"""What every test needs of its surroundings."""

from __future__ import annotations

import os
import signal

import pytest


def pytest_configure() -> None:
    """Let tests interrupt their subprocesses, and keep what they run out of a job's summary.

    A shell starts background jobs with Ctrl-C ignored, and children inherit that.
    """
    os.environ.pop("GITHUB_ACTIONS", None)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def secluded(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder for runs of pytest inside a test: a cache of its own, one thread, no terminal."""
    # On a CI machine pytest repeats whole messages in its summary.
    for name in ("COLUMNS", "CI", "BUILD_NUMBER", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STILLWIRED_CACHE", str(pytester.path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return pytester
