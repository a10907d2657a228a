"""The real model, loaded once."""

from __future__ import annotations

import pytest

from stillwired.checkpoints.checkpoint import Checkpoint
from stillwired.checkpoints.prepare import prepare
from stillwired.engine.engine import Engine
from stillwired.store.cache import Store


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The default model."""
    return Engine(Checkpoint(prepare("smollm2-135m-instruct", Store(Store.default_root()))))
