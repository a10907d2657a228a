"""Indirect effects of all heads on one prompt, against one full forward for each head.

Every head's output at the last token is replaced, one head at a time, and the next token's
distribution is read. The plain way is a hook and a forward pass for each head, as the papers'
own scripts do it; the other way that people use keeps the keys and values of the prompt and
runs the last token alone, once for each head, over copies of them.
"""

from __future__ import annotations

import copy
import time
from statistics import median
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache

from benchmarks.common import difference_of_probabilities, hooked, made_up, peak_megabytes
from stillwired.engine.cone import Cone
from stillwired.engine.edits import Edit
from stillwired.engine.engine import Engine
from stillwired.engine.sites import head, logits

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

LENGTH, CACHED_ROWS = 96, 90
LEAST_RATIO, MOST_OF_FLOOR = 60, 1.5


class Heads:
    """All heads of the model, and what each is replaced by."""

    def __init__(self, engine: Engine) -> None:
        anatomy = engine.anatomy
        self.engine, self.model, self.width = engine, engine.checkpoint.model, anatomy.head_dim
        self.all = [(la, he) for la in range(anatomy.layers) for he in range(anatomy.heads)]
        self.prompt, other = made_up(engine, 2, LENGTH)
        sites = [head(layer, which, -1) for layer, which in self.all]
        (reading,) = engine.read([other], sites)
        self.values = torch.cat([reading[site] for site in sites])

    def projection(self, layer: int) -> Any:
        anatomy = self.engine.anatomy
        return self.model.get_submodule(anatomy.within(layer, anatomy.family.projection))

    @torch.no_grad()
    def plainly(self, numbers: list[int]) -> Tensor:
        """One hook and one forward pass for each head [heads, vocabulary]."""
        tokens, found = torch.tensor([self.prompt]), []
        for number in numbers:
            layer, which = self.all[number]
            columns = self.engine.anatomy.columns(which)

            def replace(module: Any, args: Any, columns: slice = columns, n: int = number) -> Any:
                state = args[0].clone()
                state[:, -1, columns] = self.values[n]
                return (state, *args[1:])

            with hooked((self.projection(layer), replace, True)):
                found.append(self.model(tokens, use_cache=False, logits_to_keep=1).logits[0, -1])
        return torch.stack(found)

    @torch.no_grad()
    def over_a_cache(self) -> Tensor:
        """The last token alone, one row for each head, over copies of the prompt's cache."""
        start = DynamicCache(config=self.model.config)
        self.model.base_model(torch.tensor([self.prompt[:-1]]), past_key_values=start)
        found = []
        for first in range(0, len(self.all), CACHED_ROWS):
            numbers = range(first, min(first + CACHED_ROWS, len(self.all)))
            cache = copy.deepcopy(start)
            cache.batch_repeat_interleave(len(numbers))
            hooks = []
            for layer in {self.all[number][0] for number in numbers}:
                mine = [(k, n) for k, n in enumerate(numbers) if self.all[n][0] == layer]

                def replace(module: Any, args: Any, mine: Any = mine) -> Any:
                    state = args[0].clone()
                    for row, number in mine:
                        columns = self.engine.anatomy.columns(self.all[number][1])
                        state[row, -1, columns] = self.values[number]
                    return (state, *args[1:])

                hooks.append((self.projection(layer), replace, True))
            last = torch.full((len(numbers), 1), self.prompt[-1])
            with hooked(*hooks):
                found.append(self.model(last, past_key_values=cache).logits[:, -1])
        return torch.cat(found)

    def by_cone(self, cone: Cone) -> Tensor:
        """Ours."""
        edits = [
            Edit(head(layer, which, -1), "replace", self.values[number], rows=[number])
            for number, (layer, which) in enumerate(self.all)
        ]
        found = torch.empty(len(self.all), self.engine.anatomy.vocabulary)
        plan = cone.plan([self.prompt] * len(self.all), edits, [logits(-1)])
        for reading in plan.run():
            found[reading.rows] = reading[logits(-1)]
        return found

    @torch.no_grad()
    def floor(self, cells: int) -> None:
        """The bare forward of as many tokens as the cone has, and the rows' unembedding."""
        tokens = round(cells / self.engine.anatomy.layers)
        self.model.base_model(torch.tensor([(self.prompt * 9)[:tokens]]), use_cache=False)
        self.engine.unembed(torch.zeros(len(self.all), self.engine.anatomy.width))


@pytest.mark.benchmark(group="head-sweep")
def test_all_heads_of_a_prompt(benchmark: BenchmarkFixture, engine: Engine) -> None:
    heads, cone = Heads(engine), Cone(engine)
    plan = cone.plan(
        [heads.prompt] * len(heads.all),
        [
            Edit(head(layer, which, -1), "replace", heads.values[number], rows=[number])
            for number, (layer, which) in enumerate(heads.all)
        ],
        [logits(-1)],
    )
    # The first run, with the check by the full forward that every run makes.
    peak = peak_megabytes(lambda: heads.by_cone(cone))
    layers, per_layer = engine.anatomy.layers, engine.anatomy.heads
    plain_took, floor_took, cached_took = [], [], []
    plain = torch.empty(len(heads.all), engine.anatomy.vocabulary)

    def others() -> None:
        # One head of every layer a round, so that all ways see the same machine.
        turn = len(plain_took)
        numbers = [layer * per_layer + turn for layer in range(layers)]
        start = time.perf_counter()
        plain[numbers] = heads.plainly(numbers)
        plain_took.append(time.perf_counter() - start)
        start = time.perf_counter()
        heads.floor(plan.cells)
        floor_took.append(time.perf_counter() - start)
        if turn % 3 == 0:
            start = time.perf_counter()
            heads.over_a_cache()
            cached_took.append(time.perf_counter() - start)

    ours = benchmark.pedantic(heads.by_cone, args=(cone,), setup=others, rounds=per_layer)
    took = benchmark.stats.stats.median
    difference = difference_of_probabilities(ours, plain)
    cached = difference_of_probabilities(heads.over_a_cache(), plain)
    assert max(difference, cached) < 1e-4
    benchmark.extra_info.update(
        ratio=sum(plain_took) / took,
        ratio_to_cache=median(cached_took) / took,
        of_floor=took / median(floor_took),
        max_difference=difference,
        peak_megabytes=peak,
        cells=plan.cells,
        full_cells=plan.full_cells,
    )
    assert benchmark.extra_info["ratio"] >= LEAST_RATIO
    assert benchmark.extra_info["of_floor"] <= MOST_OF_FLOOR
