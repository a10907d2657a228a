"""pytest hooks: claims become tests, verdicts become outcomes, the gate becomes the exit code.

Only this package knows pytest. It stays out of the way of projects without claims, and it
imports nothing heavy before a claim runs.

Its entry point names this module, and pytest loads with it what ``pytest_plugins`` lists: one
module for each part of a run. What several parts need lies in :mod:`stillwired.plugin.items` and
:mod:`stillwired.plugin.listener`; the parts themselves do not import one another.
"""

from __future__ import annotations

from stillwired.plugin.items import STATE

__all__ = ["STATE", "pytest_plugins"]

pytest_plugins = [
    "stillwired.plugin.configuration",
    "stillwired.plugin.collection",
    "stillwired.plugin.preparation",
    "stillwired.plugin.fixtures",
    "stillwired.plugin.running",
    "stillwired.plugin.reports",
    "stillwired.plugin.ending",
]
