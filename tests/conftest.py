"""What every test needs of its surroundings."""

from __future__ import annotations

import os
import signal


def pytest_configure() -> None:
    """Let tests interrupt their subprocesses, and keep what they run out of a job's summary.

    A shell starts background jobs with Ctrl-C ignored, and children inherit that.
    """
    os.environ.pop("GITHUB_ACTIONS", None)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
