"""Relative depth: how layers of models of different depth are compared.

Block ``l`` of ``L`` blocks (counted from 0) stands at relative depth ``l / (L - 1)``, so that
0 is the first block and 1 the last. Bands of depth are declared once, here.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from stillwired.errors import UsageError


@dataclass(frozen=True)
class Depth:
    """One block that is read.

    Attributes:
        label: What test ids and families of outcomes call it, for example ``depth0.50``.
        block: Index of the block, from 0.
        relative: ``block / (blocks - 1)``.
    """

    label: str
    block: int
    relative: float


@dataclass(frozen=True)
class Band:
    """A range of relative depth, both ends included."""

    name: str
    low: float
    high: float

    def holds(self, depth: Depth) -> bool:
        """Whether a block lies in the band."""
        return self.low <= depth.relative <= self.high


FIRST = Band("first", 0.0, 0.15)
MIDDLE = Band("middle", 0.35, 0.65)
LATE = Band("late", 0.85, 0.95)


def label_of(asked: float | int) -> str:
    """Name a depth as test ids do: a float is relative, an int is a block number."""
    return f"depth{asked:.2f}" if isinstance(asked, float) else f"block{asked}"


def resolve_depth(asked: float | int, blocks: int) -> Depth:
    """Find the block that a relative depth (float) or a block number (int) means.

    Raises:
        UsageError: If the depth lies outside 0 to 1, or the block does not exist.
    """
    if isinstance(asked, float):
        if not 0.0 <= asked <= 1.0:
            raise UsageError(f"Relative depth {asked} lies outside 0 (first block) to 1 (last).")
        block = round(asked * (blocks - 1))
    else:
        block = asked
        if not 0 <= block < blocks:
            raise UsageError(
                f"Block {block} does not exist; this model has blocks 0 to {blocks - 1}. "
                "A relative depth is written with a decimal point, such as 0.5."
            )
    return Depth(label_of(asked), block, block / max(blocks - 1, 1))


def resolve_depths(asked: tuple[float | int, ...], blocks: int) -> tuple[Depth, ...]:
    """Resolve several depths, each block once, from the first block to the last.

    On a shallow model two relative depths may mean one block; the one asked first names it.
    """
    found: dict[int, Depth] = {}
    for depth in (resolve_depth(value, blocks) for value in asked):
        found.setdefault(depth.block, depth)
    return tuple(found[block] for block in sorted(found))


def even_blocks(blocks: int, bands: int, per_band: int) -> tuple[tuple[int, ...], ...]:
    """Split all blocks into bands of equal depth and take a few, evenly, from each.

    Args:
        blocks: Number of blocks of the model.
        bands: Number of bands.
        per_band: Most blocks taken from one band.

    Returns:
        One tuple of block numbers per band, ordered; the last band ends with the last block.

    Raises:
        UsageError: If the model has fewer blocks than bands.
    """
    if blocks < bands:
        raise UsageError(f"{blocks} blocks cannot fill {bands} bands of depth.")
    edges = [round(k * blocks / bands) for k in range(bands + 1)]
    chosen = []
    for low, high in pairwise(edges):
        members = list(range(low, high))
        count = min(per_band, len(members))
        # Evenly from the top of the band downwards, so that the last block is always read.
        picked = {members[len(members) - 1 - (k * len(members)) // count] for k in range(count)}
        chosen.append(tuple(sorted(picked)))
    return tuple(chosen)
