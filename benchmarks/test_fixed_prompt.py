"""Reading a fixed prompt for 1,000 states, against feeding it whole for each of them.

A state is put in at the prompt's last token in a middle layer, three true tokens are fed after
it, and the four distributions N = 0, 1, 2, 3 are read. The plain way runs prompt and fed tokens
for each state, in batches under a hook, and unembeds the four positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor

from benchmarks.common import hooked, interleaved, made_up, peak_megabytes
from stillwired.engine.cone import PACK_CELLS, Cone
from stillwired.engine.edits import Edit
from stillwired.engine.engine import Engine
from stillwired.engine.sites import logits, residual

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

PROMPT = 'Hello! Could you please tell me more about "'
STATES, LAYER, AHEAD, BATCH, ROUNDS = 1000, 15, 3, 64, 3
LEAST_RATIO = 3.0


class Reader:
    """Some states in the prompt, and both ways to read it."""

    def __init__(self, engine: Engine, states: int = STATES, pack_cells: int = PACK_CELLS) -> None:
        generator = torch.Generator().manual_seed(0)
        self.engine, self.model = engine, engine.checkpoint.model
        self.cone = Cone(engine, pack_cells)
        tokens = engine.checkpoint.tokenizer(PROMPT)["input_ids"]
        self.length = len(tokens)
        self.prompts = [[*tokens, *fed] for fed in made_up(engine, states, AHEAD)]
        self.states = torch.randn(states, engine.anatomy.width, generator=generator)

    def keep(self, found: Tensor) -> Tensor:
        """What an instrument keeps of a distribution: the likeliest token's probability."""
        return found.softmax(-1).max(-1).values

    @torch.no_grad()
    def plainly(self) -> Tensor:
        kept = []
        block = self.model.get_submodule(self.engine.anatomy.layer_paths[LAYER])
        for first in range(0, len(self.states), BATCH):
            rows = slice(first, first + BATCH)

            def put_in(module: Any, args: Any, output: Tensor, rows: slice = rows) -> Tensor:
                state = output.clone()
                state[:, self.length - 1] = self.states[rows]
                return state

            with hooked((block, put_in, False)):
                out = self.model(
                    torch.tensor(self.prompts[rows]), use_cache=False, logits_to_keep=AHEAD + 1
                )
            kept.append(self.keep(out.logits))
        return torch.cat(kept)

    def by_cone(self) -> Tensor:
        kept = torch.empty(len(self.states), AHEAD + 1)
        edits = [Edit(residual(LAYER, -AHEAD - 1), "replace", self.states)]
        sites = [logits(ahead - AHEAD - 1) for ahead in range(AHEAD + 1)]
        for reading in self.cone.plan(self.prompts, edits, sites).run():
            for ahead, site in enumerate(sites):
                kept[reading.rows, ahead] = self.keep(reading[site])
        return kept


@pytest.mark.benchmark(group="fixed-prompt")
def test_a_fixed_prompt_for_a_thousand_states(benchmark: BenchmarkFixture, engine: Engine) -> None:
    reader = Reader(engine)
    peak = peak_megabytes(reader.by_cone)
    difference = float((reader.by_cone() - reader.plainly()).abs().max())
    assert difference < 1e-4
    took = interleaved({"plain": reader.plainly, "cone": reader.by_cone}, ROUNDS)
    benchmark.pedantic(reader.by_cone, rounds=1)
    benchmark.extra_info.update(
        ratio=took["plain"] / took["cone"],
        max_difference=difference,
        plain_seconds=took["plain"],
        cone_seconds=took["cone"],
        prompt_tokens=reader.length,
        peak_megabytes=peak,
    )
    assert benchmark.extra_info["ratio"] >= LEAST_RATIO


@pytest.mark.benchmark(group="fixed-prompt")
def test_the_row_budget_bounds_peak_memory(benchmark: BenchmarkFixture, engine: Engine) -> None:
    few, many = Reader(engine, 240), Reader(engine, 720)
    small = Reader(engine, 240, pack_cells=PACK_CELLS // 4)
    peaks = {}
    for name, reader in (("warm", few), ("240", few), ("720", many), ("240, small packs", small)):
        peaks[name] = peak_megabytes(reader.by_cone)
    benchmark.extra_info.update(peak_megabytes=peaks)
    benchmark.pedantic(small.by_cone, rounds=1)
    # Three times the states need no more than the packs in hand; small packs need less.
    assert peaks["720"] <= 1.25 * max(peaks["warm"], peaks["240"])
    assert peaks["240, small packs"] < peaks["warm"]
