"""Draw how the cost of a sweep grows: heads, prompt length, rows, with the floor beside it.

``python benchmarks/cost_curves.py docs/performance.svg`` measures (some minutes) and draws. The
floor is the bare forward pass of as many tokens as the sweep has cells, divided by blocks, and
the unembedding of its rows: what would remain if packing itself cost nothing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
import torch
from matplotlib import pyplot as plt

from benchmarks.common import interleaved, made_up
from stillwired.checkpoints.checkpoint import Checkpoint
from stillwired.checkpoints.prepare import prepare
from stillwired.engine.cone import Cone, Plan
from stillwired.engine.edits import Edit
from stillwired.engine.engine import Engine
from stillwired.engine.sites import head, logits, residual
from stillwired.store.cache import Store

ROUNDS = 5
HEADS = (30, 90, 180, 270)
LENGTHS = (24, 48, 96, 192, 384)
STATES = (50, 100, 200, 400, 800)
FIXED_PROMPT = 10

Make = Callable[[Engine, int], Plan]


def heads_of_a_prompt(engine: Engine, heads: int, length: int = 96) -> Plan:
    """Replace heads, spread evenly over all blocks, at the last token of one prompt."""
    anatomy = engine.anatomy
    layers = anatomy.layers
    some = [(number % layers, number // layers) for number in range(heads)]
    value = torch.ones(anatomy.head_dim)
    edits = [Edit(head(*at, -1), "replace", value, rows=[row]) for row, at in enumerate(some)]
    prompt = made_up(engine, 1, length)[0]
    return Cone(engine).plan([prompt] * heads, edits, [logits(-1)])


def length_of_a_prompt(engine: Engine, length: int) -> Plan:
    """Replace every head at the last token of a longer and longer prompt."""
    return heads_of_a_prompt(engine, engine.anatomy.layers * engine.anatomy.heads, length)


def states_in_a_prompt(engine: Engine, states: int) -> Plan:
    """Put more and more states into a fixed prompt, and feed three tokens after it."""
    prompt = made_up(engine, 1, FIXED_PROMPT)[0]
    prompts = [[*prompt, *fed] for fed in made_up(engine, states, 3, seed=1)]
    value = torch.randn(states, engine.anatomy.width, generator=torch.Generator().manual_seed(0))
    edits = [Edit(residual(engine.anatomy.layers // 2, -4), "replace", value)]
    return Cone(engine).plan(prompts, edits, [logits(-1)])


@torch.no_grad()
def floor(engine: Engine, plan: Plan) -> None:
    """Run as many tokens barely, at the width of the plan's packs, and unembed the rows."""
    model = engine.checkpoint.model
    tokens, most = plan.cells // engine.anatomy.layers, max(len(p.tokens) for p in plan.packs)
    while tokens > 0:
        model.base_model(torch.zeros(1, min(tokens, most), dtype=torch.long), use_cache=False)
        tokens -= most
    for first in range(0, len(plan.prompts), 512):
        rows = min(512, len(plan.prompts) - first)
        engine.unembed(torch.zeros(rows, engine.anatomy.width))


def curve(engine: Engine, make: Make, sizes: Sequence[int]) -> list[dict[str, float]]:
    """Time a sweep and its floor at several sizes."""
    points = []
    for size in sizes:
        plan = make(engine, size)
        list(plan.run())  # the run that checks itself against the full forward
        works = {"sweep": lambda p=plan: list(p.run()), "floor": lambda p=plan: floor(engine, p)}
        point = {"size": size, "cells": plan.cells, "full_cells": plan.full_cells}
        points.append({**point, **interleaved(works, ROUNDS)})
        print(make.__name__, points[-1], flush=True)
    return points


def draw(curves: dict[str, list[dict[str, float]]], path: Path) -> None:
    """Draw the curves side by side; what a full forward would cost stands in the title."""
    mpl.rcParams.update({"svg.hashsalt": "stillwired", "font.size": 9})
    figure, axes = plt.subplots(1, len(curves), figsize=(10.5, 3.2), constrained_layout=True)
    for axis, (title, points) in zip(axes, curves.items(), strict=True):
        name, unit = title.split(" | ")
        sizes = [point["size"] for point in points]
        axis.plot(sizes, [p["sweep"] for p in points], "o-", color="#1b6ca8", label="cone")
        axis.plot(sizes, [p["floor"] for p in points], "s--", color="#888888", label="floor")
        axis.set(title=name, xlabel=unit, ylabel="seconds", xlim=(0, None), ylim=(0, None))
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Measure and draw."""
    engine = Engine(Checkpoint(prepare("smollm2-135m-instruct", Store(Store.default_root()))))
    curves = {
        "Heads of a 96-token prompt | heads": curve(engine, heads_of_a_prompt, HEADS),
        "All 270 heads | tokens of the prompt": curve(engine, length_of_a_prompt, LENGTHS),
        "States in a 10-token prompt | states": curve(engine, states_in_a_prompt, STATES),
    }
    path = Path(sys.argv[1])
    path.with_suffix(".json").write_text(json.dumps(curves, indent=1))
    draw(curves, path)


if __name__ == "__main__":
    main()
