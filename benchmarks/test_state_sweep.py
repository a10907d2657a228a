"""Restoring one state of a corrupted prompt at a time, as causal tracing does, at every cell.

The first tokens' embeddings are drowned in noise; then the clean state is put back at one
(layer, position) after the other, and the next token's distribution is read. The plain ways
are one forward pass for each cell, and the same passes in full batches.
"""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor

from benchmarks.common import difference_of_probabilities, hooked, made_up, peak_megabytes
from stillwired.engine.cone import Cone
from stillwired.engine.edits import Edit
from stillwired.engine.engine import Engine
from stillwired.engine.sites import embedding, logits, residual

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

LENGTH, NOISED, BATCH, ROUNDS = 20, 3, 60, 3
LEAST_RATIO, LEAST_BATCHED = 5.0, 2.5


class Tracing:
    """A corrupted prompt, and the clean states that are put back."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.cone, self.model = engine, Cone(engine), engine.checkpoint.model
        self.prompt = made_up(engine, 1, LENGTH)[0]
        generator = torch.Generator().manual_seed(0)
        layers, width = engine.anatomy.layers, engine.anatomy.width
        self.noise = torch.randn(NOISED, width, generator=generator)
        self.cells = [(layer, at) for layer in range(layers) for at in range(LENGTH)]
        sites = [residual(layer) for layer in range(layers)]
        (clean,) = engine.read([self.prompt], sites)
        self.clean = torch.stack([clean[site][0] for site in sites])

    @torch.no_grad()
    def plainly(self, numbers: list[int], batch: int) -> Tensor:
        """Forward passes over the whole prompt, `batch` of them at a time."""
        found = []
        for first in range(0, len(numbers), batch):
            some = numbers[first : first + batch]

            def corrupt(module: Any, args: Any, output: Tensor) -> Tensor:
                state = output.clone()
                state[:, :NOISED] += self.noise
                return state

            hooks: list[Any] = [(self.model.get_input_embeddings(), corrupt, False)]
            for layer in {self.cells[number][0] for number in some}:
                mine = [
                    (row, self.cells[n][1])
                    for row, n in enumerate(some)
                    if self.cells[n][0] == layer
                ]

                def restore(
                    module: Any, args: Any, output: Tensor, layer: int = layer, mine: Any = mine
                ) -> Tensor:
                    state = output.clone()
                    for row, at in mine:
                        state[row, at] = self.clean[layer, at]
                    return state

                block = self.model.get_submodule(self.engine.anatomy.layer_paths[layer])
                hooks.append((block, restore, False))
            with hooked(*hooks):
                tokens = torch.tensor([self.prompt] * len(some))
                found.append(self.model(tokens, use_cache=False, logits_to_keep=1).logits[:, -1])
        return torch.cat(found)

    def by_cone(self) -> Tensor:
        """Ours: the noise belongs to the trunk, the restored states to branches."""
        edits = [Edit(embedding(at - LENGTH), "add", self.noise[at]) for at in range(NOISED)]
        edits += [
            Edit(residual(layer, at - LENGTH), "replace", self.clean[layer, at], rows=[row])
            for row, (layer, at) in enumerate(self.cells)
        ]
        found = torch.empty(len(self.cells), self.engine.anatomy.vocabulary)
        prompts = [self.prompt] * len(self.cells)
        for reading in self.cone.plan(prompts, edits, [logits(-1)]).run():
            found[reading.rows] = reading[logits(-1)]
        return found


@pytest.mark.benchmark(group="state-sweep")
def test_every_state_of_a_corrupted_prompt(benchmark: BenchmarkFixture, engine: Engine) -> None:
    tracing = Tracing(engine)
    everything = list(range(len(tracing.cells)))
    peak = peak_megabytes(tracing.by_cone)
    batched = tracing.plainly(everything, BATCH)
    difference = difference_of_probabilities(tracing.by_cone(), batched)
    assert difference < 1e-4
    alone: list[float] = []
    together: list[float] = []

    def others() -> None:
        turn = len(alone)
        start = time.perf_counter()
        tracing.plainly(everything[turn::ROUNDS], 1)
        alone.append(time.perf_counter() - start)
        start = time.perf_counter()
        tracing.plainly(everything, BATCH)
        together.append(time.perf_counter() - start)

    benchmark.pedantic(tracing.by_cone, setup=others, rounds=ROUNDS)
    took = benchmark.stats.stats.median
    benchmark.extra_info.update(
        ratio=sum(alone) / took,
        ratio_to_batches=median(together) / took,
        max_difference=difference,
        cells=len(everything),
        peak_megabytes=peak,
    )
    assert benchmark.extra_info["ratio"] >= LEAST_RATIO
    assert benchmark.extra_info["ratio_to_batches"] >= LEAST_BATCHED
