"""Packs: trunks and branches laid out as one sequence, and who attends to whom in it.

A pack is one row of cells: first every trunk, then the branches' own cells in the order of the
level at which they enter. Below that level they are no part of the sequence, so block ``b``
runs on the pack's first ``size(b)`` cells. No key or value is copied and the weights are read
once; a mask keeps prompts apart.

Where branches of a trunk go on with the same tokens, they are the same until an edit is felt. The
first of them lends its cells to the others, which enter only there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

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


def brought(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device; one of the host's without waiting for what that is doing.

    A pass makes hundreds of such copies. Each would hold the host up until the device has done
    everything before it, and then the device waits for the host.
    """
    return tensor.to(device, non_blocking=tensor.device.type == "cpu")


@dataclass(frozen=True)
class Layout:
    """What attention in a pack has to know of its cells; it travels with the pass.

    Attributes:
        positions: Position of each cell in its prompt, from the left [cells].
        slots: The trunk that each cell belongs to [cells].
        branches: The branch that each cell belongs to, the last number for trunks [cells].
        levels: The level at which each cell enters, ascending [cells].
        own: The level at which each branch parts from its trunk, or from what it is lent, by
            position [branches + 1, positions]; trunks, in the last row, never do.
        lenders: The branch that lends a branch its cell until then, by position, -1 where none
            does [branches + 1, positions].
    """

    positions: Tensor
    slots: Tensor
    branches: Tensor
    levels: Tensor
    own: Tensor
    lenders: Tensor

    def to(self, device: torch.device) -> Layout:
        """Return the same on a device."""
        return Layout(*(brought(getattr(self, part.name), device) for part in fields(self)))


@dataclass(frozen=True)
class Pack:
    """One sequence of cells.

    Attributes:
        slots: Trunks with their branches.
        prompts: The prompts whose branches are in it, branch by branch.
        tokens: Token of each cell [cells].
        layout: Where each cell stands.
        sources: The cell, of the trunk or lent, that each cell continues when it enters [cells].
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

        Where a branch has not parted yet, that is the cell that it is lent, or the trunk's.

        Args:
            branches: Branch numbers [n].
            positions: One position, from the left, for each of them [n].
            level: The level.
        """
        own = self.index[branches, positions]
        parted = (own >= 0) & (self.layout.own.numpy()[branches, positions] <= level)
        lender = self.layout.lenders.numpy()[branches, positions]
        shared = np.where(
            lender >= 0, self.index[lender, positions], self.starts[branches] + positions
        )
        return np.where(parted, own, shared)

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
    width = max(len(prompts[branch.prompt]) for _, branch in members)
    lent = _lend(members, trunks, prompts, width)
    # Own cells by level; within a level by branch and position, as they were found. What parts
    # at no level is read where it is lent.
    level = np.concatenate(
        [
            np.zeros(0, np.int64),
            *(
                np.where(lenders[branch.positions] >= 0, branch.edited, branch.levels)
                for (_, branch), lenders in zip(members, lent, strict=True)
            ),
        ]
    )
    order = np.argsort(level, kind="stable")
    order = order[level[order] < NEVER]

    def own(values: Sequence[Cells]) -> Cells:
        return np.concatenate([np.zeros(0, np.int64), *values])[order]

    position = own([branch.positions for _, branch in members])
    slot = own([np.full(len(branch.positions), number) for number, branch in members])
    number = own([np.full(len(branch.positions), k) for k, (_, branch) in enumerate(members)])
    start = sum(trunks)
    cells = np.arange(start, start + len(order))

    index = np.full((len(members), width), -1)
    index[number, position] = cells
    parted = np.full((len(members) + 1, width), NEVER)
    parted[number, position] = level[order]
    lender = lent[number, position]
    sources = np.where(lender >= 0, index[lender, position], first[slot] + position)

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
        lenders=torch.from_numpy(np.concatenate([lent, np.full((1, width), -1)])),
    )
    return Pack(
        slots=tuple(slots),
        prompts=tuple(branch.prompt for _, branch in members),
        tokens=torch.from_numpy(np.concatenate([*trunk_tokens, own(own_tokens)])),
        layout=layout,
        sources=np.concatenate([np.arange(start), sources]),
        index=index,
        starts=first[np.array([number for number, _ in members])],
    )


def _lend(
    members: Sequence[tuple[int, Branch]],
    trunks: Sequence[int],
    prompts: Sequence[Sequence[int]],
    width: int,
) -> Cells:
    """Find which branch lends each branch its cells, by position, -1 where none does.

    A branch lends where its tokens are the same from the trunk on, and where its own edits are
    felt no earlier.

    Args:
        members: For each branch the number of its slot, and the branch.
        trunks: Tokens of each slot's trunk.
        prompts: Token ids of every prompt.
        width: Tokens of the longest prompt.

    Returns:
        Numbers of branches [branches, positions].
    """
    lent = np.full((len(members), width), -1)
    # Every run of tokens behind a trunk is a node; who came first with its own cell there lends.
    nodes: dict[tuple[int, int], int] = {}
    lenders: dict[int, tuple[int, int]] = {}
    for number, (slot, branch) in enumerate(members):
        tokens, node, reached = prompts[branch.prompt], -1 - slot, trunks[slot]
        for position, level, edited in zip(
            branch.positions.tolist(), branch.levels.tolist(), branch.edited.tolist(), strict=True
        ):
            if position < trunks[slot] or level > 0 or edited == 0:
                continue
            for token in tokens[reached : position + 1]:
                node = nodes.setdefault((node, token), len(nodes))
            reached = position + 1
            lender, clean = lenders.setdefault(node, (number, edited))
            if lender != number and edited <= clean:
                lent[number, position] = lender
    return lent


def may_attend(
    layout: Layout, size: int, block: int, window: int | None, device: torch.device
) -> Tensor:
    """Say which cells attend to which in a block [size, size].

    A cell sees itself and what stands left of it in its own prompt: the branch's own cells
    where it has parted, elsewhere those that it is lent, or the trunk's. What takes part in a
    block are the block's inputs, so a position counts as parted if it entered at the block's
    level or before.

    Args:
        layout: The pack's cells, on the host.
        size: Cells that the block runs on.
        block: The block.
        window: How many positions back a cell sees at most, itself included; None for all.
        device: Where it is worked out.
    """
    trunks = int((layout.branches[:size] == len(layout.own) - 1).sum())
    anybody_lends = bool((layout.lenders >= 0).any())
    layout = layout.to(device)
    positions, slots = layout.positions[:size], layout.slots[:size]
    branches = layout.branches[:size]
    seen = slots[:, None] == slots[None, :]
    # Columns of trunks: seen until the row's own prompt has parted at that position.
    parted = layout.own.le(block)[:, positions[:trunks]]
    seen[:, :trunks] &= ~parted[branches]
    # Columns of branches: seen by the branch, and by those that are lent them and have not parted.
    theirs = branches[:, None] == branches[None, trunks:]
    if anybody_lends:
        there = positions[trunks:]
        lent = layout.lenders[:, there][branches] == branches[None, trunks:]
        theirs |= lent & ~layout.own.le(block)[:, there][branches]
    seen[:, trunks:] &= theirs
    seen &= positions[:, None] >= positions[None, :]
    if window is not None:
        seen &= positions[:, None] - positions[None, :] < window
    return seen
