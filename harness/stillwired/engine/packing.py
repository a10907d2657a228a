"""Packs: trunks and branches laid out as one sequence, and who attends to whom in it.

A pack is one row of cells: first every trunk, then the branches' own cells in the order of the
level at which they enter. Below that level they are no part of the sequence, so block ``b``
runs on the pack's first ``size(b)`` cells. No key or value is copied and the weights are read
once; a mask keeps prompts apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stillwired.engine.reach import NEVER, Branch, Group

Cells = NDArray[np.int64]


@dataclass(frozen=True)
class Slot:
    """A trunk in a pack, with some of its branches."""

    group: Group
    branches: tuple[Branch, ...]

    @property
    def size(self) -> int:
        """Cells at the last level."""
        return self.group.trunk + sum(len(branch.positions) for branch in self.branches)


def fill_packs(groups: Sequence[Group], most: int) -> list[tuple[Slot, ...]]:
    """Spread groups over packs of at most `most` cells, or of twice their trunk if that is more.

    A trunk whose branches do not all fit beside it runs again in the next pack, so a long one
    gets at least as many cells of branches beside it as it has itself.
    """
    packs: list[tuple[Slot, ...]] = []
    filling: list[Slot] = []
    room = most
    for group in groups:
        for slot in _slots(group, most):
            if filling and slot.size > room:
                packs.append(tuple(filling))
                filling, room = [], most
            filling.append(slot)
            room -= slot.size
    return [*packs, tuple(filling)]


def _slots(group: Group, most: int) -> Iterator[Slot]:
    """Cut a group's branches into runs of about equal size that fit beside its trunk."""
    sizes = [len(branch.positions) for branch in group.branches]
    room = max(most - group.trunk, group.trunk, *sizes, 1)
    # Even runs: attention grows with the square, so a full pack and a small rest cost more.
    runs = max(1, -(-sum(sizes) // room))
    limit = min(room, sum(sizes) // runs + max(sizes))
    start = taken = 0
    for end, size in enumerate(sizes):
        if taken + size > limit:
            yield Slot(group, group.branches[start:end])
            start, taken = end, 0
        taken += size
    yield Slot(group, group.branches[start:])


@dataclass(frozen=True)
class Layout:
    """What attention in a pack has to know of its cells; it travels with the pass.

    Attributes:
        positions: Position of each cell in its prompt, from the left [cells].
        slots: The trunk that each cell belongs to [cells].
        branches: The branch that each cell belongs to, the last number for trunks [cells].
        levels: The level at which each cell enters, ascending [cells].
        own: The level at which each branch parts from its trunk, by position
            [branches + 1, positions]; trunks, in the last row, never do.
    """

    positions: Tensor
    slots: Tensor
    branches: Tensor
    levels: Tensor
    own: Tensor


@dataclass(frozen=True)
class Pack:
    """One sequence of cells.

    Attributes:
        slots: Trunks with their branches.
        prompts: The prompts whose branches are in it, branch by branch.
        tokens: Token of each cell [cells].
        layout: Where each cell stands.
        sources: The trunk's cell that each cell continues when it enters [cells].
        index: The cell of each branch's own positions, -1 where it has none
            [branches, positions].
        starts: The first cell of each branch's trunk [branches].
    """

    slots: tuple[Slot, ...]
    prompts: tuple[int, ...]
    tokens: Tensor
    layout: Layout
    sources: Cells
    index: Cells
    starts: Cells

    def size(self, level: int) -> int:
        """Count the cells that have entered at a level."""
        return int(torch.searchsorted(self.layout.levels, level, right=True))

    def cost(self, deepest: int) -> int:
        """Count the cells that blocks 0 to `deepest` compute."""
        return sum(self.size(block) for block in range(deepest + 1))

    def cells(self, branches: Cells, positions: Cells, level: int) -> Cells:
        """Return the cells that stand for positions of branches at a level.

        Where a branch has not parted from its trunk yet, that is the trunk's cell.

        Args:
            branches: Branch numbers [n].
            positions: One position, from the left, for each of them [n].
            level: The level.
        """
        own = self.index[branches, positions]
        parted = (own >= 0) & (self.layout.own.numpy()[branches, positions] <= level)
        return np.where(parted, own, self.starts[branches] + positions)

    def own_cells(self, branch: int, position: int | None, level: int) -> Cells:
        """Return a branch's own cells at a position, or at all, that have entered at a level."""
        where = slice(None) if position is None else slice(position, position + 1)
        own = self.index[branch, where]
        levels = self.layout.own.numpy()[branch, where]
        return own[(own >= 0) & (levels <= level)]


def lay_out(slots: Sequence[Slot], prompts: Sequence[Sequence[int]]) -> Pack:
    """Put trunks and branches into one sequence."""
    members = [(number, branch) for number, slot in enumerate(slots) for branch in slot.branches]
    trunks = [slot.group.trunk for slot in slots]
    first = np.concatenate([[0], np.cumsum(trunks)[:-1]]).astype(np.int64)
    head = [np.arange(trunk) for trunk in trunks]
    # Own cells by level; within a level by branch and position, as they were found.
    level = np.concatenate([np.zeros(0, np.int64), *(branch.levels for _, branch in members)])
    order = np.argsort(level, kind="stable")

    def own(values: Sequence[Cells]) -> Cells:
        return np.concatenate([np.zeros(0, np.int64), *values])[order]

    position = own([branch.positions for _, branch in members])
    slot = own([np.full(len(branch.positions), number) for number, branch in members])
    number = own([np.full(len(branch.positions), k) for k, (_, branch) in enumerate(members)])
    start = sum(trunks)
    cells = np.arange(start, start + len(order))

    width = max(len(prompts[branch.prompt]) for _, branch in members)
    index = np.full((len(members), width), -1)
    index[number, position] = cells
    parted = np.full((len(members) + 1, width), NEVER)
    parted[number, position] = level[order]

    trunk_tokens = [
        np.asarray(prompts[slot.branches[0].prompt][: slot.group.trunk], dtype=np.int64)
        for slot in slots
    ]
    own_tokens = [
        np.asarray(prompts[branch.prompt], dtype=np.int64)[branch.positions]
        for _, branch in members
    ]
    slot_of_trunk = np.repeat(np.arange(len(slots)), trunks)
    layout = Layout(
        positions=torch.from_numpy(np.concatenate([*head, position])),
        slots=torch.from_numpy(np.concatenate([slot_of_trunk, slot])),
        branches=torch.from_numpy(np.concatenate([np.full(start, len(members)), number])),
        levels=torch.from_numpy(np.concatenate([np.zeros(start, np.int64), level[order]])),
        own=torch.from_numpy(parted),
    )
    return Pack(
        slots=tuple(slots),
        prompts=tuple(branch.prompt for _, branch in members),
        tokens=torch.from_numpy(np.concatenate([*trunk_tokens, own(own_tokens)])),
        layout=layout,
        sources=np.concatenate([np.arange(start), first[slot] + position]),
        index=index,
        starts=first[np.array([number for number, _ in members])],
    )


def may_attend(layout: Layout, size: int, block: int, window: int | None) -> Tensor:
    """Say which cells attend to which in a block [size, size].

    A cell sees itself and what stands left of it in its own prompt: the branch's own cells
    where it has parted from its trunk, the trunk's elsewhere. What takes part in a block are the
    block's inputs, so a position counts as parted if it entered at the block's level or before.

    Args:
        layout: The pack's cells.
        size: Cells that the block runs on.
        block: The block.
        window: How many positions back a cell sees at most, itself included; None for all.
    """
    positions, slots = layout.positions[:size], layout.slots[:size]
    branches = layout.branches[:size]
    trunks = int((branches == len(layout.own) - 1).sum())
    seen = slots[:, None] == slots[None, :]
    # Columns of trunks: seen until the row's own prompt has parted at that position.
    parted = layout.own.le(block)[:, positions[:trunks]]
    seen[:, :trunks] &= ~parted[branches]
    # Columns of branches: seen by the branch alone.
    seen[:, trunks:] &= branches[:, None] == branches[None, trunks:]
    seen &= positions[:, None] >= positions[None, :]
    if window is not None:
        seen &= positions[:, None] - positions[None, :] < window
    return seen
