"""Cone execution: edited passes, exact, at the cost of the cells that the edits can reach.

A sweep runs one prompt hundreds of times with a different edit each time, and a trained prompt
runs in front of many examples. In a causal model nearly all of that is the same computation.
`Cone.plan` takes what `Engine.edit` takes and finds out what is shared, what has to be packed
and what is skipped (`stillwired.engine.reach`, `stillwired.engine.packing`); it says what that
costs before anything runs. `Plan.run` then gives the readings that `Engine.edit` would give.

Exact means equal in exact arithmetic; in float32 the difference is about 1e-6. In every run a
sample of prompts is computed by the full forward as well, and a mismatch raises. Where a family
does not allow it, the full forward is all there is, and the plan says so.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stillwired.engine.edits import Edit
from stillwired.engine.engine import Engine, Progress, nothing_changed
from stillwired.engine.pack_walk import walk_pack
from stillwired.engine.packing import Pack, fill_packs, lay_out
from stillwired.engine.reach import Touch, deepest_block, group_prompts
from stillwired.engine.reading import Reading, check_finite
from stillwired.engine.route import Calling, Wanted, route
from stillwired.engine.sites import Site
from stillwired.errors import MismatchError

PACK_CELLS = 512
"""Cells in a pack. Attention grows with the square: twice the cells cost four times the scores."""

MOST_CELLS = 1_024
"""Cells in a pack on a GPU, where a small pass costs no less than one of a few times its size."""

PACK_NUMBERS = 2**22
"""Cells times width that a pack may have on a GPU: training keeps every block's states."""

CHECK_SHARE = 0.02
"""Cells that may be spent on recomputing, as a share of the cells that ran."""

SHORTEST_CHECK = 48
"""Tokens that recomputing is counted as at least: a short pass reads every weight all the same."""

WORTH = 0.9
"""A pack that saves less than a tenth of the cells is not worth its mask."""

TOLERANCES = {
    torch.float64: 1e-4,  # attention weights are single precision all the same
    torch.float32: 1e-4,
    torch.float16: 2e-2,
    torch.bfloat16: 1e-1,
}
"""Largest difference to the full forward: of probabilities, or relative to a state's length."""


class Cone:
    """Plans sweeps on one engine, and keeps account of what was checked.

    Args:
        engine: What reads and edits.
        pack_cells: Row budget: most cells in one sequence, by default what fits the engine's
            device. Memory grows with its square.

    Attributes:
        engine: The same.
        pack_cells: The row budget.
        refusal: Why the full forward is used for this model, or None.
        checked: Prompts that were recomputed by the full forward.
        worst: Largest difference that was found.
    """

    def __init__(self, engine: Engine, pack_cells: int | None = None) -> None:
        self.engine = engine
        self.pack_cells = fitting_cells(engine) if pack_cells is None else pack_cells
        self.refusal = engine.anatomy.family.cone
        self.checked = 0
        self.worst = 0.0
        self._calling = _calling(engine)
        self._cells_run = self._cells_checked = 0

    def plan(
        self, prompts: Sequence[Sequence[int]], edits: Sequence[Edit], sites: Iterable[Site]
    ) -> Plan:
        """Work out how a sweep runs.

        Args:
            prompts: Token ids; one for each row of the sweep, equal ones included.
            edits: As for `Engine.edit`. Edits of every prompt with one value for all, at
                tokens that the prompts share, are done once for all of them.
            sites: What to read of every prompt, with positions from the right. An edit that
                none of them can see is not run.

        Raises:
            EngineError: As `Engine.edit`.
        """
        wanted = self.engine.check_call(prompts, edits, sites)
        lengths = [len(prompt) for prompt in prompts]
        blocks = self.engine.anatomy.layers
        deepest = deepest_block(wanted, blocks)
        full = sum(lengths) * (deepest + 1)
        call = Wanted(tuple(edits), wanted, _touches(edits, lengths), lengths)
        reason = self.refusal
        if reason is None and any(site.position is None for site in wanted):
            reason = "every position is read"
        packs: tuple[Pack, ...] = ()
        if reason is None:
            groups = group_prompts(prompts, call.touches, wanted, blocks)
            packs = tuple(lay_out(s, prompts) for s in fill_packs(groups, self.pack_cells))
            cells = sum(pack.cost(deepest) for pack in packs)
            if cells > WORTH * full:
                reason, packs = f"prompts share too little ({cells} of {full} cells)", ()
        cells = sum(pack.cost(deepest) for pack in packs) if packs else full
        return Plan(self, tuple(map(tuple, prompts)), call, packs, deepest, cells, full, reason)

    def run_pack(self, pack: Pack, call: Wanted, *, grad: bool = False) -> Reading:
        """Run one pack; for `Plan.run`."""
        engine = self.engine
        walk = route(engine.anatomy, self._calling, pack, call)
        inputs = {
            "input_ids": pack.tokens[None],
            "position_ids": pack.layout.positions[None],
            "use_cache": False,
        }
        with torch.set_grad_enabled(grad):
            found = engine.tracing.run(inputs, walk_pack, walk)
        _require_changes(call.edits, found["differs"])
        lengths = [call.lengths[prompt] for prompt in pack.prompts]
        values = {call.sites[key]: value for key, value in found["values"].items()}
        reading = Reading(list(pack.prompts), lengths, values)
        check_finite(reading, {call.sites[key]: t for key, t in found["totals"].items()})
        return reading

    def check(self, plan: Plan, reading: Reading, cells: int) -> None:
        """Recompute one prompt of a reading by the full forward, if its turn has come.

        The first reading is always checked, later ones as long as checks cost little.

        Raises:
            MismatchError: If the two differ by more than rounding explains.
        """
        self._cells_run += cells
        # Deterministic, and another place in every reading.
        index = (7919 * self.checked) % len(reading.rows)
        row = reading.rows[index]
        cost = max(plan.call.lengths[row], SHORTEST_CHECK) * (plan.deepest + 1)
        if self.checked and self._cells_checked + cost > CHECK_SHARE * self._cells_run:
            return
        self._cells_checked += cost
        self.checked += 1
        edits = [_edit_of(edit, row) for edit in plan.call.edits if _concerns(edit, row)]
        prompt, sites = [plan.prompts[row]], plan.call.sites
        engine = self.engine
        with torch.no_grad():
            runs = engine.edit(prompt, edits, sites) if edits else engine.read(prompt, sites)
            (whole,) = runs
        for site in sites:
            ours, full = reading[site][index].detach(), whole[site][0]
            difference = _difference(ours, full, site)
            self.worst = max(self.worst, difference)
            if not difference <= TOLERANCES[full.dtype]:
                raise MismatchError(
                    f"Prompt {row} of a sweep reads otherwise at {site} than by the full forward: "
                    f"{difference:.1e} apart, {TOLERANCES[full.dtype]:.0e} allowed. Nothing of "
                    "this sweep can be trusted. Set `cone` in the family's entry in "
                    "stillwired/checkpoints/families.py so that the full forward is used."
                )


@dataclass(frozen=True)
class Plan:
    """A sweep that is ready to run.

    Attributes:
        cone: What made it.
        prompts: Token ids.
        call: What was asked for.
        packs: The sequences that run; empty where the full forward is used.
        deepest: The last block that has to run.
        cells: What it costs: tokens x blocks that are computed.
        full_cells: What one full forward for each prompt would cost.
        reason: Why the full forward is used, or None.
    """

    cone: Cone
    prompts: tuple[tuple[int, ...], ...]
    call: Wanted
    packs: tuple[Pack, ...]
    deepest: int
    cells: int
    full_cells: int
    reason: str | None

    def __str__(self) -> str:
        if self.reason is not None:
            return f"full forward, {self.full_cells} cells: {self.reason}"
        largest = max(len(pack.tokens) for pack in self.packs)
        packs = "one pack of" if len(self.packs) == 1 else f"{len(self.packs)} packs of up to"
        return (
            f"{len(self.prompts)} prompts in {packs} {largest} positions: {self.cells} cells "
            f"(full forward: {self.full_cells})"
        )

    def run(
        self, *, grad: bool = False, batch_tokens: int = 4096, progress: Progress | None = None
    ) -> Iterator[Reading]:
        """Run the sweep; readings come pack by pack, each with the prompts that it holds.

        Args:
            grad: Let gradients flow from the readings to the edits' values. A pack's graph
                lives as long as its reading.
            batch_tokens: As in `Engine.edit`, where the full forward is used.
            progress: Called after every pack with cells done and cells in all.

        Raises:
            EngineError: As `Engine.edit`.
            MismatchError: If the full forward gives something else.
        """
        if self.reason is not None:
            yield from self._full(grad, batch_tokens, progress)
            return
        done = 0
        for pack in self.packs:
            cost = pack.cost(self.deepest)
            # Handed on without a name: nobody but the caller keeps it while the next one runs.
            yield self._checked(pack, cost, grad)
            done += cost
            if progress is not None:
                progress(done, self.cells)

    def _checked(self, pack: Pack, cost: int, grad: bool) -> Reading:
        reading = self.cone.run_pack(pack, self.call, grad=grad)
        self.cone.check(self, reading, cost)
        return reading

    def _full(self, grad: bool, batch_tokens: int, progress: Progress | None) -> Iterator[Reading]:
        engine, call, blocks = self.cone.engine, self.call, self.deepest + 1

        def in_cells(done: int, total: int) -> None:
            if progress is not None:
                progress(done * blocks, total * blocks)

        if not call.edits:
            return engine.read(
                self.prompts, call.sites, batch_tokens=batch_tokens, progress=in_cells
            )
        return engine.edit(
            self.prompts,
            call.edits,
            call.sites,
            batch_tokens=batch_tokens,
            grad=grad,
            progress=in_cells,
        )


def fitting_cells(engine: Engine) -> int:
    """Return how many cells a pack has on the engine's device, for its model."""
    if engine.checkpoint.regime.device == "cpu":
        return PACK_CELLS
    return max(PACK_CELLS, min(MOST_CELLS, PACK_NUMBERS // engine.anatomy.width))


def _touches(edits: Sequence[Edit], lengths: Sequence[int]) -> tuple[tuple[Touch, ...], ...]:
    """List, prompt by prompt, the edits that it meets."""
    found: list[list[Touch]] = [[] for _ in lengths]
    for number, edit in enumerate(edits):
        position = edit.site.position
        alike = not (isinstance(edit.value, Tensor) and edit.value.dim() == 2)
        rows = range(len(lengths)) if edit.rows is None else edit.rows
        for index, row in enumerate(rows):
            place = None if position is None else lengths[row] + position
            found[row].append(Touch(number, index, edit.site, place, alike))
    return tuple(map(tuple, found))


def _calling(engine: Engine) -> Calling:
    """Say how the blocks of a model are called."""
    anatomy, config = engine.anatomy, engine.checkpoint.model.config
    block = engine.checkpoint.model.get_submodule(anatomy.within(0, ""))
    names = list(inspect.signature(type(block).forward).parameters)[1:]
    masks = [anatomy.family.mask] * anatomy.layers
    if anatomy.family.mask == "by layer type":
        masks = [kind.removesuffix("_attention") for kind in config.layer_types]
    windows = tuple(config.sliding_window if mask == "sliding" else None for mask in masks)
    # Falcon folds ALiBi into the mask, so that a mask of ours has to hold it as well.
    folded = config.model_type == "falcon" and config.alibi
    scale = 1 / math.sqrt(anatomy.head_dim) if folded else None
    return Calling(tuple(names), windows, scale)


def _concerns(edit: Edit, row: int) -> bool:
    return edit.rows is None or row in edit.rows


def _edit_of(edit: Edit, row: int) -> Edit:
    """Return an edit as it stands for one prompt alone."""
    value = edit.value
    if isinstance(value, Tensor):
        value = value.detach()
        if value.dim() == 2:
            value = value[row if edit.rows is None else list(edit.rows).index(row)]
    return Edit(edit.site, edit.how, value)


def _difference(ours: Tensor, full: Tensor, site: Site) -> float:
    exact = torch.promote_types(full.dtype, torch.float32)
    ours, full = ours.to(exact), full.to(exact)
    if site.component == "logits":
        return float((ours.softmax(-1) - full.softmax(-1)).abs().max())
    return float((ours - full).norm() / full.norm().clamp(min=torch.finfo(exact).tiny))


def _require_changes(
    edits: Sequence[Edit], found: Sequence[tuple[int, Sequence[int], Tensor]]
) -> None:
    """Refuse an edit that left every cell of one of its prompts as it was."""
    if not found or bool(torch.cat([flags for _, _, flags in found]).all()):
        return
    for number, prompts, flags in found:
        moved = {p for p, flag in zip(prompts, flags.tolist(), strict=True) if flag}
        same = sorted(set(prompts) - moved)
        if same:
            raise nothing_changed(edits[number], same)
