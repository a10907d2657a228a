from __future__ import annotations

import pytest

from tests.report.chromium import Browser


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()
