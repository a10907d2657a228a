from __future__ import annotations

import pytest
import torch

from stillwired.engine.engine import Engine
from tests.engine.tiny import CONFIGS, Tiny, tiny

ENGINES: dict[str, Engine] = {}


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny products gain nothing from threads, and lose much where others compute too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def engine_of():
    """Engines of tiny models, built once: a call leaves nothing behind in them."""

    def build(family: str) -> Engine:
        if family not in ENGINES:
            ENGINES[family] = Engine(tiny(family))
        return ENGINES[family]

    return build


@pytest.fixture(params=list(CONFIGS))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def fresh():
    """A tiny model of its own, for tests that damage it."""

    def build(family: str, **options: object) -> Tiny:
        return tiny(family, **options)  # type: ignore[arg-type]

    return build
