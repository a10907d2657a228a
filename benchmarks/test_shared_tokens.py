"""Several states for every text, against the same without sharing what they are fed.

What a state foresees is compared with what its rivals do: the mean state, another row's, one of
another layer. Each is put in at a prompt's last token and fed the same true tokens, which are the
same cells below the layer that the states are put into. The plain way runs each row on its own,
in batches under a hook; the other way is the cone with nothing lent from row to row.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import pytest

from benchmarks.common import interleaved
from benchmarks.test_fixed_prompt import AHEAD, Reader
from stillwired.engine import packing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_benchmark.fixture import BenchmarkFixture
    from torch import Tensor

    from stillwired.engine.engine import Engine

TEXTS, RIVALS, ROUNDS = 128, 4, 3
LEAST_RATIO, LEAST_RATIO_UNSHARED = 3.0, 1.15


@contextmanager
def nothing_lent() -> Iterator[None]:
    """Give every row cells of its own."""

    def lend(members: Any, trunks: Any, prompts: Any, width: int) -> Any:
        return np.full((len(members), width), -1)

    with mock.patch.object(packing, "_lend", lend):
        yield


@pytest.mark.benchmark(group="shared-tokens")
def test_rivals_of_a_state_share_the_tokens_they_are_fed(
    benchmark: BenchmarkFixture, engine: Engine
) -> None:
    reader = Reader(engine, TEXTS * RIVALS)
    # The rivals of a text stand next to each other and go on with its tokens.
    reader.prompts = [reader.prompts[row - row % RIVALS] for row in range(TEXTS * RIVALS)]

    def unshared() -> Tensor:
        with nothing_lent():
            return reader.by_cone()

    shared = reader.by_cone()
    difference = float((shared - reader.plainly()).abs().max())
    assert difference < 1e-4
    assert float((shared - unshared()).abs().max()) < 1e-4
    works = {"plain": reader.plainly, "unshared": unshared, "cone": reader.by_cone}
    took = interleaved(works, ROUNDS)
    benchmark.pedantic(reader.by_cone, rounds=1)
    benchmark.extra_info.update(
        ratio=took["plain"] / took["cone"],
        ratio_unshared=took["unshared"] / took["cone"],
        max_difference=difference,
        fed_tokens=AHEAD,
    )
    assert benchmark.extra_info["ratio"] >= LEAST_RATIO
    assert benchmark.extra_info["ratio_unshared"] >= LEAST_RATIO_UNSHARED
