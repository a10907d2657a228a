"""Fitting the linear maps of all layers and N, against the forward pass that feeds them.

The plain way would keep the states of every layer and solve each map from them; here sums are
added up while the text passes, and one decomposition per layer serves every N.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from benchmarks.common import made_up
from stillwired.engine.engine import Engine
from stillwired.engine.reading import Reading
from stillwired.engine.sites import final, residual
from stillwired.instruments.moments import Moments, Whitened
from stillwired.instruments.survey import AHEAD, FIRST_POSITION

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

LENGTH, PASSAGES, BATCH_TOKENS, RIDGE = 96, 168, 1024, 1e-2
CHECKED = 15


class Timed:
    """Sums as they are added up in a run, with the time that this takes."""

    def __init__(self, moments: Moments) -> None:
        self.moments, self.sites, self.seconds = moments, moments.sites, 0.0

    def take(self, reading: Reading) -> None:
        start = time.perf_counter()
        self.moments.take(reading)
        self.seconds += time.perf_counter() - start


class Kept:
    """States and final states of one layer, kept whole, for equality."""

    sites = frozenset({residual(CHECKED), final()})

    def __init__(self) -> None:
        self.states: list[torch.Tensor] = []
        self.finals: dict[int, list[torch.Tensor]] = {ahead: [] for ahead in AHEAD}

    def take(self, reading: Reading) -> None:
        stop = LENGTH - max(AHEAD) - 1
        self.states.append(reading[residual(CHECKED)][:, FIRST_POSITION:stop].flatten(0, 1))
        for ahead, kept in self.finals.items():
            places = slice(FIRST_POSITION + ahead, stop + ahead)
            kept.append(reading[final()][:, places].flatten(0, 1))


def solve_all(moments: Moments) -> dict[tuple[int, int], Any]:
    found = {}
    for block in moments.blocks:
        inputs = Whitened.of(moments, block)
        for ahead in moments.ahead:
            found[block, ahead] = inputs.solve(moments.centred_cross(block, ahead), RIDGE)
    return found


def plain_ridge(states: torch.Tensor, finals: torch.Tensor) -> Any:
    """One map from the states themselves, in double precision."""
    x, y = states.double(), finals.double()
    scale = x.std(0, correction=0)
    centred = (x - x.mean(0)) / scale
    gram = centred.T @ centred / len(x) + RIDGE * torch.eye(x.shape[1], dtype=x.dtype)
    weights = torch.linalg.solve(gram, centred.T @ (y - y.mean(0)) / len(x))
    return (weights / scale[:, None]).numpy(), centred.numpy(), scale.numpy()


@pytest.mark.benchmark(group="linear-maps")
def test_fitting_costs_less_than_the_forward_pass(
    benchmark: BenchmarkFixture, engine: Engine
) -> None:
    prompts = made_up(engine, PASSAGES, LENGTH)
    sums = Timed(Moments(tuple(range(engine.anatomy.layers)), AHEAD, FIRST_POSITION))
    kept = Kept()

    start = time.perf_counter()
    engine.stream(prompts, [sums, kept], batch_tokens=BATCH_TOKENS)
    forward = time.perf_counter() - start - sums.seconds

    maps = benchmark.pedantic(solve_all, args=(sums.moments,), rounds=1)
    fitting = sums.seconds + benchmark.stats.stats.total

    states = torch.cat(kept.states)
    difference = 0.0
    for ahead in AHEAD:
        plain, centred, scale = plain_ridge(states, torch.cat(kept.finals[ahead]))
        ours = maps[CHECKED, ahead]
        # What the two maps predict, since weights of directions without variance are free.
        predicted = centred @ ((ours - plain) * scale[:, None])
        wanted = centred @ (plain * scale[:, None])
        difference = max(difference, float(np.abs(predicted).max() / wanted.std()))
    benchmark.extra_info.update(
        ratio=forward / fitting,
        max_difference=difference,
        forward_seconds=forward,
        fitting_seconds=fitting,
        maps=len(maps),
        tokens=PASSAGES * LENGTH,
    )
    assert len(maps) == engine.anatomy.layers * len(AHEAD)
    assert difference < 1e-2
