"""Measure how far equal computations lie apart, regime by regime.

``python benchmarks/noise_floors.py`` prints the table of docs/performance.md: the largest
difference of any token's probability between cone and full forward, between a batch and single
prompts, and between a regime and float32 with eager attention, on the default model.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.common import difference_of_probabilities, made_up
from stillwired.checkpoints.checkpoint import Checkpoint
from stillwired.checkpoints.prepare import prepare
from stillwired.checkpoints.regime import Regime
from stillwired.engine.cone import Cone
from stillwired.engine.edits import Edit
from stillwired.engine.engine import Engine
from stillwired.engine.sites import head, logits
from stillwired.store.cache import Store

LENGTH, ROWS = 48, 60
NEXT = logits(-1)


def in_order(readings: object) -> Tensor:
    """Gather next-token logits in the order of the prompts."""
    found = {}
    for reading in readings:  # type: ignore[attr-defined]
        found |= dict(zip(reading.rows, reading[NEXT].float(), strict=True))
    return torch.stack([found[row] for row in sorted(found)])


def measure(regime: Regime) -> dict[str, Tensor]:
    """Run one sweep by cone and in full, and some prompts together and alone."""
    engine = Engine(
        Checkpoint(prepare("smollm2-135m-instruct", Store(Store.default_root())), regime)
    )
    anatomy = engine.anatomy
    generator = torch.Generator().manual_seed(0)
    value = torch.randn(ROWS, anatomy.head_dim, generator=generator)
    edits = [
        Edit(
            head(row % anatomy.layers, row % anatomy.heads, -1 - row % 4),
            "replace",
            value[row],
            rows=[row],
        )
        for row in range(ROWS)
    ]
    prompts = made_up(engine, 1, LENGTH) * ROWS
    others = made_up(engine, 8, LENGTH, seed=1)
    return {
        "cone": in_order(Cone(engine).plan(prompts, edits, [NEXT]).run()),
        "full": in_order(engine.edit(prompts, edits, [NEXT])),
        "batch": in_order(engine.read(others, [NEXT])),
        "alone": torch.cat([in_order(engine.read([one], [NEXT])) for one in others]),
    }


def main() -> None:
    """Print the table."""
    print("| regime | cone − full | batch − single | regime − float32 eager |")
    print("|---|---|---|---|")
    reference: Tensor | None = None
    for dtype in ("float32", "bfloat16"):
        for attention in ("eager", "sdpa"):
            found = measure(Regime("cpu", dtype, attention))
            reference = found["full"] if reference is None else reference
            pairs = (
                (found["cone"], found["full"]),
                (found["batch"], found["alone"]),
                (found["full"], reference),
            )
            cells = [f"{difference_of_probabilities(*pair):.0e}" for pair in pairs]
            print(f"| {dtype}, {attention} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
