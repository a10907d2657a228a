from __future__ import annotations

from functools import cache

import pytest

from stillwired.instruments import function_vectors
from stillwired.instruments.function_vectors import TaskVectors
from tests.instruments.test_task_readings import made_readings


@pytest.fixture(scope="module")
def vectors_of(tmp_path_factory):
    """Make vectors of tasks. A random model does nothing well; it is asked all the same."""

    def make(tasks):
        made = TaskVectors(made_readings(tmp_path_factory.mktemp("cache"), tasks))
        made.count = 3
        made.effects, made.choice = cache(made.effects), cache(made.choice)
        made.heads()
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(function_vectors, "ABLE", -1.0)
        yield make
