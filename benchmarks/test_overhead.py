"""A traced pass with nothing to do in it, against the bare forward pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from benchmarks.common import interleaved, made_up
from stillwired.engine.engine import Engine
from stillwired.engine.sites import final

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

ROWS, LENGTH, ROUNDS, MOST = 8, 96, 9, 1.1


@pytest.mark.benchmark(group="overhead")
def test_a_pass_with_nothing_to_do(benchmark: BenchmarkFixture, engine: Engine) -> None:
    prompts = made_up(engine, ROWS, LENGTH)
    trunk = engine.checkpoint.model.base_model

    @torch.no_grad()
    def bare() -> torch.Tensor:
        states: torch.Tensor = trunk(torch.tensor(prompts), use_cache=False).last_hidden_state
        return states

    def traced() -> torch.Tensor:
        (reading,) = engine.read(prompts, [final()])
        return reading[final()]

    difference = float((bare() - traced()).abs().max())
    assert difference == 0.0
    took = interleaved({"bare": bare, "traced": traced}, ROUNDS)
    benchmark.pedantic(traced, rounds=1)
    benchmark.extra_info.update(
        ratio=took["traced"] / took["bare"],
        max_difference=difference,
        overhead_milliseconds=1000 * (took["traced"] - took["bare"]),
    )
    assert benchmark.extra_info["ratio"] <= MOST
