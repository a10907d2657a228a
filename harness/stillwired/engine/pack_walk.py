"""A walk through the forward pass of one pack: cells enter, change and are taken on the way.

Runs inside of a trace, on plain data, so that it can be sent to wherever the model lives. The
model is called on the whole pack, which gives every cell its embedding and its position
encodings; each block is then handed only the cells that have entered by then, under the pack's
own mask. What a block outputs grows by the cells that enter behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stillwired.checkpoints.anatomy import Place
from stillwired.engine.edits import How
from stillwired.engine.packing import Layout, brought, may_attend
from stillwired.engine.reading import total
from stillwired.engine.tracing import read_place, write_place
from stillwired.errors import EngineError

Masks = dict[tuple[torch.device, torch.dtype], Tensor]
"""The mask of the blocks that attend alike, by where and how they compute."""


@dataclass(frozen=True)
class Alteration:
    """A change of some cells.

    Attributes:
        number: Which of the call's edits this is.
        prompts: The prompt that each cell belongs to [changed].
        cells: The cells [changed].
        columns: The part of the width that is changed.
        how: As in `stillwired.engine.edits.Edit`.
        value: A number, [width] or [changed, width].
    """

    number: int
    prompts: tuple[int, ...]
    cells: Tensor
    columns: slice
    how: How
    value: Tensor | float

    def of(self, state: Tensor) -> Tensor:
        """Return a copy of what is changed [changed, columns]."""
        return state[0, brought(self.cells, state.device), self.columns]

    def apply(self, state: Tensor) -> None:
        """Change a state [1, cells, width] in place."""
        value = self.value
        if isinstance(value, Tensor):
            value = brought(value, state.device).to(state.dtype)
        where = (0, brought(self.cells, state.device), self.columns)
        if self.how == "replace":
            state[where] = value
        elif self.how == "add":
            state[where] = state[where] + value
        else:
            state[where] = state[where] * value


@dataclass(frozen=True)
class Take:
    """What is kept of a state: some cells, a part of the width."""

    key: int
    cells: Tensor
    columns: slice | None = None

    def of(self, state: Tensor) -> Tensor:
        """Cut a state [1, cells, width] to [taken, columns]."""
        part = state if self.columns is None else state[..., self.columns]
        return part[0, brought(self.cells, part.device)]


@dataclass(frozen=True)
class Stop:
    """What happens at one place, in this order.

    Attributes:
        place: Where.
        shared: Changes that trunks carry, for every cell that is already there.
        entering: The trunk's cells that the entering ones continue [entering]; None where no
            cell can enter.
        own: Changes of single branches.
        takes: What is kept.
    """

    place: Place
    shared: tuple[Alteration, ...] = ()
    entering: Tensor | None = None
    own: tuple[Alteration, ...] = ()
    takes: tuple[Take, ...] = ()


@dataclass(frozen=True)
class BlockCall:
    """How a block is called on a part of a pack.

    Attributes:
        path: The block.
        block: Its number.
        size: Cells that it runs on.
        window: Positions that its attention sees back, or None for all.
        anew: Whether who attends to whom may differ from the block before.
    """

    path: str
    block: int
    size: int
    window: int | None
    anew: bool


@dataclass(frozen=True)
class Ending:
    """What is done with the last block's output.

    Attributes:
        norm: Path of the final norm.
        unembedding: Path of the unembedding.
        softcap: Cap on the logits, or None.
        cells: The cells that are normed [ending].
        changes: Changes of the normed states; their cells are places in `cells`.
        finals: Normed states that are kept; likewise.
        logits: Logits that are kept; likewise.
    """

    norm: str
    unembedding: str
    softcap: float | None
    cells: Tensor
    changes: tuple[Alteration, ...] = ()
    finals: tuple[Take, ...] = ()
    logits: tuple[Take, ...] = ()


@dataclass(frozen=True)
class PackWalk:
    """A walk: block by block a call and the stops on the way.

    Attributes:
        layout: The pack's cells.
        arguments: Names of a block's arguments, in the order of its signature.
        alibi_scale: What ALiBi is multiplied by where a family adds it to the mask itself.
        blocks: For every block that runs, its call and its stops, in forward order.
        ending: What follows, or None.
    """

    layout: Layout
    arguments: tuple[str, ...]
    alibi_scale: float | None
    blocks: tuple[tuple[BlockCall, tuple[Stop, ...]], ...]
    ending: Ending | None


def walk_pack(model: Any, walk: PackWalk) -> dict[str, Any]:
    """Walk through one pass; runs inside of a trace, in step with the model.

    Returns:
        ``values`` and ``totals`` by key, and ``differs``: for every change its number and, cell
        by cell, the prompt and whether the state differs.
    """
    found: dict[str, Any] = {"values": {}, "totals": {}, "differs": []}
    masks: Masks = {}
    state = None
    for call, stops in walk.blocks:
        if call.anew:
            masks.clear()
        _hand_over(model.get(call.path), walk, call, masks)
        for stop in stops:
            state = _visit(model.get(stop.place.path), stop, found)
    if walk.ending is not None and state is not None:
        _end(model, walk.ending, state, found)
    return found


def _hand_over(envoy: Any, walk: PackWalk, call: BlockCall, masks: Masks) -> None:
    """Give a block its cells, with their mask and their positions."""
    args, kwargs = envoy.inputs
    given = {**dict(zip(walk.arguments, args, strict=False)), **kwargs}
    if "attention_mask" not in given:
        raise EngineError(
            f"The block {call.path} is called without an attention mask, so prompts cannot be "
            "kept apart in it. Use the full forward for this family."
        )
    states = given[walk.arguments[0]]
    alibi = given.get("alibi")
    if alibi is not None:
        # Built for positions 0, 1, 2, …; every cell takes that of its own position.
        alibi = alibi[..., brought(walk.layout.positions[: call.size], alibi.device)]
    mask = _mask(walk, call, states, masks)
    if walk.alibi_scale is not None and alibi is not None:
        mask = mask + alibi.to(mask.device) * walk.alibi_scale
    fitted: dict[str, Any] = {}
    for name, value in given.items():
        if name == walk.arguments[0]:
            fitted[name] = value[:, : call.size]
        elif name == "attention_mask":
            fitted[name] = mask
        elif name == "alibi":
            fitted[name] = alibi
        elif name == "position_ids" and value is not None:
            fitted[name] = value[..., : call.size]
        elif name == "position_embeddings" and value is not None:
            fitted[name] = tuple(part[..., : call.size, :] for part in value)
        elif isinstance(value, Tensor):
            raise EngineError(
                f"The block {call.path} is called with {name!r}, and how that belongs to "
                "positions is not known. Use the full forward for this family."
            )
        else:
            fitted[name] = value
    values = list(fitted.values())
    envoy.inputs = (
        tuple(values[: len(args)]),
        dict(zip(kwargs, values[len(args) :], strict=True)),
    )


def _mask(walk: PackWalk, call: BlockCall, states: Tensor, masks: Masks) -> Tensor:
    """Return what is added to a block's scores, made where they are; kept for the next blocks."""
    where = states.device, states.dtype
    if where not in masks:
        seen = may_attend(walk.layout, call.size, call.block, call.window, states.device)
        low = torch.finfo(states.dtype).min
        masks[where] = states.new_zeros(seen.shape).masked_fill(~seen, low)[None, None]
    return masks[where]


def _visit(envoy: Any, stop: Stop, found: dict[str, Any]) -> Tensor:
    """Change what passes by at a place, let cells enter, and keep what is asked for."""
    before = state = read_place(envoy, stop.place)
    if stop.shared:
        state = _changed(state, stop.shared)
    if stop.entering is not None:
        state = torch.cat([state, state[:, brought(stop.entering, state.device)]], dim=1)
    grown = state
    if stop.own:
        state = _changed(state, stop.own)
    if state is not before:
        write_place(envoy, stop.place, state)
        # What counts is what the model goes on with, so the place is read again.
        state = read_place(envoy, stop.place)
    for changes, was in ((stop.shared, before), (stop.own, grown)):
        _compare(was, state, changes, found)
    _keep(state, stop.takes, found)
    return state


def _end(model: Any, ending: Ending, state: Tensor, found: dict[str, Any]) -> None:
    """Norm and unembed the cells that somebody reads, and no others."""
    normed = before = model.get(ending.norm)(state[:, brought(ending.cells, state.device)])
    if ending.changes:
        normed = _changed(normed, ending.changes)
        _compare(before, normed, ending.changes, found)
    _keep(normed, ending.finals, found)
    if ending.logits:
        logits = model.get(ending.unembedding)(normed)
        if ending.softcap is not None:
            logits = torch.tanh(logits / ending.softcap) * ending.softcap
        _keep(logits, ending.logits, found)


def _changed(state: Tensor, changes: Sequence[Alteration]) -> Tensor:
    state = state.clone()
    for change in changes:
        change.apply(state)
    return state


def _compare(
    before: Tensor, after: Tensor, changes: Sequence[Alteration], found: dict[str, Any]
) -> None:
    for change in changes:
        differs = (change.of(before).detach() != change.of(after).detach()).any(dim=-1)
        found["differs"].append((change.number, change.prompts, differs))


def _keep(state: Tensor, takes: Sequence[Take], found: dict[str, Any]) -> None:
    for take in takes:
        value = take.of(state)
        found["values"][take.key] = value
        found["totals"][take.key] = total(value.detach())
