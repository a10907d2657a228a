"""What an edit can reach: the cone, as arithmetic on levels and positions.

A causal model's pass is a grid of cells, positions by blocks. Between the blocks lie *levels*:
level 0 is the input of block 0, level ``l + 1`` the output of block ``l``. A cell is a position
in a block. An edit at level ``e`` and position ``p`` leaves every cell left of ``p`` and below
``e`` as it was, so a pass with that edit parts from the unedited one at

* its own position from level ``e`` on,
* every later position from the level at which a block first attends to what was changed.

A *branch* is a prompt's pass, described by the level at which each of its positions parts from
a *trunk*, the pass that several prompts share. Only cells above that level have to be computed
for the branch, and of those only the ones that something to be read depends on.

Pure arithmetic: no tensors, no model.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stillwired.engine.sites import Site

NEVER = 1 << 30
"""The level of a position that never parts from the trunk."""

Levels = NDArray[np.int64]


def parts_at(site: Site, blocks: int) -> tuple[int, int]:
    """Return the levels from which a change at a site is felt.

    Args:
        site: Where something is changed.
        blocks: Number of blocks.

    Returns:
        The level at the site's own position, and at every position to its right.
    """
    if site.component == "embedding":
        return 0, 0
    if site.layer is None:
        # Behind the last block nothing attends: each reading of it is changed by itself.
        return NEVER, NEVER
    # Inside of a block, keys and values come from the block's input and stay as they were.
    right = site.layer + 1 if site.layer + 1 < blocks else NEVER
    return (site.layer + 1 if site.component == "residual" else site.layer), right


def seen_at(site: Site, blocks: int) -> tuple[int, int]:
    """Return the levels up to which a change can be seen in a reading of a site.

    Args:
        site: What is read.
        blocks: Number of blocks.

    Returns:
        The last level at which a change of the site's own position shows, and the last one at
        which a change of a position to its left does.
    """
    if site.component == "embedding":
        return 0, -1
    if site.layer is None:
        return blocks, blocks - 1
    return site.layer + (site.component == "residual"), site.layer


@dataclass(frozen=True)
class Branch:
    """One prompt as a deviation from a trunk.

    Attributes:
        prompt: Index of the prompt.
        positions: Its own positions, counted from the left, ascending [cells].
        levels: The level at which each of them parts from the trunk [cells].
        edited: The level at which each of them would part from it by edits alone, if the tokens
            were the trunk's [cells]. Below it, a position of another branch with the same tokens
            up to there is the same [cells].
    """

    prompt: int
    positions: Levels
    levels: Levels
    edited: Levels

    def cells(self, deepest: int) -> int:
        """Count the cells in blocks 0 to `deepest` that belong to the branch alone."""
        return int(np.clip(deepest + 1 - self.levels, 0, None).sum())


@dataclass(frozen=True)
class Group:
    """Prompts that share a trunk.

    Attributes:
        trunk: Number of tokens that they share.
        shared: Numbers of the edits that the trunk carries, for all of them.
        branches: One for each prompt.
    """

    trunk: int
    shared: tuple[int, ...]
    branches: tuple[Branch, ...]

    def cells(self, deepest: int) -> int:
        """Count the cells of the trunk and of every branch."""
        return self.trunk * (deepest + 1) + sum(b.cells(deepest) for b in self.branches)


@dataclass(frozen=True)
class Touch:
    """An edit as one prompt meets it.

    Attributes:
        number: Which of the call's edits it is.
        row: Which of the edit's prompts this one is.
        site: Where.
        position: Counted from the left; None for every position.
        alike: Whether every prompt that the edit names gets the same value.
    """

    number: int
    row: int
    site: Site
    position: int | None
    alike: bool

    @property
    def address(self) -> tuple[str, int | None]:
        """The place in a block, whatever head or position."""
        return self.site.component, self.site.layer


def deepest_block(sites: Iterable[Site], blocks: int) -> int:
    """Return the last block that has to run for some sites to be read; -1 if none has."""
    return max(seen_at(site, blocks)[1] for site in sites)


def group_prompts(
    prompts: Sequence[Sequence[int]],
    touches: Sequence[Sequence[Touch]],
    sites: Sequence[Site],
    blocks: int,
) -> list[Group]:
    """Find what prompts share, in the way that leaves the fewest cells to compute.

    Equal prompts share everything up to their first edit; different prompts share their common
    prefix, be it a long instruction or a learned prompt. Where several learned prompts stand in
    front of rows of their own, the rows of each share it among themselves. All three ways are
    counted.

    Args:
        prompts: Token ids.
        touches: The edits that each prompt meets, in the order of the call.
        sites: What is read of every prompt, each with a position from the right.
        blocks: Number of blocks.
    """
    alike = [frozenset(touch.number for touch in met if touch.alike) for met in touches]
    ways: list[list[list[int]]] = []
    for way in (_by([tuple(prompt) for prompt in prompts]), [[*range(len(prompts))]], _by(alike)):
        if way not in ways:
            ways.append(way)
    deepest = deepest_block(sites, blocks)
    found = [[_group(rows, prompts, touches, sites, blocks) for rows in way] for way in ways]
    return min(found, key=lambda groups: sum(group.cells(deepest) for group in groups))


def common_prefix(prompts: Sequence[Sequence[int]]) -> int:
    """Count the leading tokens that prompts have in common."""
    ordered = sorted(map(tuple, prompts))
    first, last = ordered[0], ordered[-1]
    for count, (a, b) in enumerate(zip(first, last, strict=False)):
        if a != b:
            return count
    return min(len(first), len(last))


def _by(keys: Sequence[Hashable]) -> list[list[int]]:
    """Put those together that have one key, in the order in which the keys come first."""
    found: dict[Hashable, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        found[key].append(index)
    return list(found.values())


def _group(
    rows: Sequence[int],
    prompts: Sequence[Sequence[int]],
    touches: Sequence[Sequence[Touch]],
    sites: Sequence[Site],
    blocks: int,
) -> Group:
    prefix = common_prefix([prompts[row] for row in rows])
    shared = _shared([touches[row] for row in rows], prefix)
    branches = []
    # Those with the same tokens behind the trunk stand together, so that a pack holds them all.
    for row in sorted(rows, key=lambda row: tuple(prompts[row][prefix:])):
        length = len(prompts[row])
        own = [touch for touch in touches[row] if touch.number not in shared]
        edited = own_levels(length, length, own, blocks)
        levels = edited.copy()
        levels[prefix:] = 0
        kept = np.flatnonzero(levels <= last_levels(length, sites, blocks))
        branches.append(Branch(row, kept, levels[kept], edited[kept]))
    # Nobody looks at what lies right of the last position that is read.
    reads = max(
        len(prompts[row]) + site.position
        for row in rows
        for site in sites
        if site.position is not None
    )
    return Group(min(prefix, reads + 1), shared, tuple(branches))


def own_levels(length: int, prefix: int, own: Iterable[Touch], blocks: int) -> Levels:
    """Return the level at which each position of a prompt parts from its trunk [length].

    Args:
        length: Tokens of the prompt.
        prefix: Tokens that it shares with the trunk.
        own: Edits that the trunk does not carry.
        blocks: Number of blocks.
    """
    levels = np.full(length, NEVER)
    levels[prefix:] = 0
    for touch in own:
        here, right = parts_at(touch.site, blocks)
        if touch.position is None:
            levels = np.minimum(levels, here)
        else:
            levels[touch.position] = min(levels[touch.position], here)
            after = slice(touch.position + 1, None)
            levels[after] = np.minimum(levels[after], right)
    return levels


def last_levels(length: int, sites: Iterable[Site], blocks: int) -> Levels:
    """Return the last level at which a change of each position can be seen [length].

    Args:
        length: Tokens of the prompt.
        sites: What is read, with positions from the right.
        blocks: Number of blocks.
    """
    last = np.full(length, -1)
    for site in sites:
        here, left = seen_at(site, blocks)
        position = length + (site.position or 0)
        last[position] = max(last[position], here)
        last[:position] = np.maximum(last[:position], left)
    return last


def _shared(touches: Sequence[Sequence[Touch]], prefix: int) -> tuple[int, ...]:
    """Find the edits that every prompt of a group meets alike, within their common tokens.

    An edit whose place is also changed for single prompts is not shared: which of the two comes
    first may matter, and the trunk would always come first.
    """
    met: Mapping[int, list[Touch]] = defaultdict(list)
    for of_prompt in touches:
        for touch in of_prompt:
            met[touch.number].append(touch)
    candidates = {
        number
        for number, found in met.items()
        if len(found) == len(touches)
        and found[0].site.component != "final"
        and all(touch.alike for touch in found)
        and len({touch.position for touch in found}) == 1
        and (found[0].position is None or found[0].position < prefix)
    }
    alone = {
        touch.address
        for number, found in met.items()
        if number not in candidates
        for touch in found
    }
    return tuple(sorted(n for n in candidates if met[n][0].address not in alone))
