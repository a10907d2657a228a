"""From a pack and the edits of its prompts to the walk that runs it.

Says, place by place, which cells are changed, which enter and which are kept. What runs is in
`stillwired.engine.pack_walk`; here is only bookkeeping of cells.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from stillwired.checkpoints.anatomy import Anatomy, Place
from stillwired.engine.edits import Edit
from stillwired.engine.pack_walk import Alteration, BlockCall, Ending, PackWalk, Stop, Take
from stillwired.engine.packing import Cells, Pack
from stillwired.engine.reach import Touch, deepest_block, parts_at, seen_at
from stillwired.engine.sites import Site, residual

BEHIND = ("final", "logits")
"""Components behind the last block."""


@dataclass(frozen=True)
class Calling:
    """How the blocks of a model are called.

    Attributes:
        arguments: Names of a block's arguments, in the order of its signature.
        windows: Positions that each block's attention sees back, None for all [blocks].
        alibi_scale: What ALiBi is multiplied by where the family adds it to the mask.
    """

    arguments: tuple[str, ...]
    windows: tuple[int | None, ...]
    alibi_scale: float | None = None


@dataclass(frozen=True)
class Wanted:
    """What a sweep was asked for.

    Attributes:
        edits: The edits.
        sites: What is read of every prompt, each with a position from the right.
        touches: The edits that each prompt meets, in the order of the call.
        lengths: Tokens of each prompt.
    """

    edits: Sequence[Edit]
    sites: Sequence[Site]
    touches: Sequence[Sequence[Touch]]
    lengths: Sequence[int]


@dataclass
class _Draft:
    """A stop that is being put together; changes go by the number of their edit."""

    order: tuple[int, ...]
    shared: list[Alteration] = field(default_factory=list)
    own: list[Alteration] = field(default_factory=list)
    takes: list[Take] = field(default_factory=list)
    entering: Tensor | None = None

    def stop(self, place: Place) -> Stop:
        return Stop(
            place=place,
            shared=tuple(sorted(self.shared, key=lambda change: change.number)),
            entering=self.entering,
            own=tuple(sorted(self.own, key=lambda change: change.number)),
            takes=tuple(self.takes),
        )


def route(anatomy: Anatomy, calling: Calling, pack: Pack, wanted: Wanted) -> PackWalk:
    """Put together the walk of one pack."""
    drafts: dict[Place, _Draft] = {}

    def draft(site: Site) -> _Draft:
        place = anatomy.place(site.component, site.layer)
        return drafts.setdefault(place, _Draft(site.order[:2]))

    branches = np.arange(len(pack.prompts))
    lengths = np.array([wanted.lengths[prompt] for prompt in pack.prompts])
    for key, site in enumerate(wanted.sites):
        if site.component not in BEHIND:
            level, _ = seen_at(site, anatomy.layers)
            cells = pack.cells(branches, lengths + _position(site), level)
            columns = anatomy.part(site.component, site.head)
            draft(site).takes.append(Take(key, torch.from_numpy(cells), columns))
    for site, change in _shared(anatomy, pack, wanted):
        draft(site).shared.append(change)
    for site, change in _own(anatomy, pack, wanted):
        draft(site).own.append(change)
    last = max(deepest_block(wanted.sites, anatomy.layers), 0)
    levels = pack.layout.levels
    for block in range(last + 1):
        entering = torch.nonzero(levels == block + 1).flatten().numpy()
        if len(entering):
            draft(residual(block)).entering = torch.from_numpy(pack.sources[entering])
    ending = _ending(anatomy, pack, wanted)
    if ending is not None:
        draft(residual(last))

    calls = []
    for block in range(last + 1):
        # The input of block 0 has an order before every block.
        here = sorted(
            ((d.order, place) for place, d in drafts.items() if max(d.order[0], 0) == block),
            key=lambda pair: pair[0],
        )
        call = BlockCall(
            path=anatomy.within(block, ""),
            block=block,
            size=pack.size(block),
            window=calling.windows[block],
            anew=block == 0
            or bool((levels == block).any())
            or calling.windows[block] != calling.windows[block - 1],
        )
        calls.append((call, tuple(drafts[place].stop(place) for _, place in here)))
    return PackWalk(pack.layout, calling.arguments, calling.alibi_scale, tuple(calls), ending)


def _position(site: Site) -> int:
    """A site's position; a sweep has none without."""
    assert site.position is not None
    return site.position


def _shared(anatomy: Anatomy, pack: Pack, wanted: Wanted) -> Iterator[tuple[Site, Alteration]]:
    """Change trunks, and the branches that have already parted from them.

    Cells that enter behind a changed place continue what the trunk has become there.
    """
    layout = pack.layout
    for number, slot in enumerate(pack.slots):
        met = {touch.number: touch for touch in wanted.touches[slot.branches[0].prompt]}
        for touch in (met[shared] for shared in slot.group.shared):
            edit = wanted.edits[touch.number]
            here = (layout.slots == number) & (layout.levels <= (edit.site.layer or 0))
            if touch.position is not None:
                here &= layout.positions == touch.position
            cells = torch.nonzero(here).flatten()
            if len(cells):
                of_trunk = slot.branches[0].prompt
                names = np.append(np.array(pack.prompts), of_trunk)
                prompts = tuple(names[layout.branches[cells].numpy()].tolist())
                columns = anatomy.span(edit.site.component, edit.site.head)
                yield (
                    edit.site,
                    Alteration(touch.number, prompts, cells, columns, edit.how, edit.value),
                )


def _own(anatomy: Anatomy, pack: Pack, wanted: Wanted) -> Iterator[tuple[Site, Alteration]]:
    """Change single branches; what no reading can see has no cell and is left out."""
    found: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    slots = np.repeat(np.arange(len(pack.slots)), [len(slot.branches) for slot in pack.slots])
    for branch, prompt in enumerate(pack.prompts):
        shared = pack.slots[slots[branch]].group.shared
        for touch in wanted.touches[prompt]:
            if touch.number in shared or touch.site.component in BEHIND:
                continue
            level, _ = parts_at(touch.site, anatomy.layers)
            for cell in pack.own_cells(branch, touch.position, level):
                found[touch.number].append((int(cell), touch.row, prompt))
    for number, places in found.items():
        edit = wanted.edits[number]
        yield edit.site, _alteration(anatomy, number, edit, places)


def _alteration(
    anatomy: Anatomy, number: int, edit: Edit, found: Sequence[tuple[int, int, int]]
) -> Alteration:
    """Make a change of cells, rows of the edit's value, and prompts."""
    cells, rows, prompts = zip(*found, strict=True)
    value = edit.value
    if isinstance(value, Tensor) and value.dim() == 2:
        value = value[torch.tensor(rows, device=value.device)]
    columns = anatomy.span(edit.site.component, edit.site.head)
    return Alteration(number, tuple(prompts), torch.tensor(cells), columns, edit.how, value)


def _ending(anatomy: Anatomy, pack: Pack, wanted: Wanted) -> Ending | None:
    """Norm one cell for every branch and every position that is read behind the last block."""
    read = [(key, site) for key, site in enumerate(wanted.sites) if site.component in BEHIND]
    if not read:
        return None
    count = len(pack.prompts)
    branches = np.arange(count)
    lengths = np.array([wanted.lengths[prompt] for prompt in pack.prompts])
    positions = sorted({_position(site) for _, site in read})
    cells: list[Cells] = []
    changed: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for turn, position in enumerate(positions):
        cells.append(pack.cells(branches, lengths + position, anatomy.layers))
        for branch, prompt in enumerate(pack.prompts):
            for touch in wanted.touches[prompt]:
                at = touch.position in (None, lengths[branch] + position)
                if touch.site.component == "final" and at:
                    changed[touch.number].append((turn * count + branch, touch.row, prompt))

    def takes(component: str) -> tuple[Take, ...]:
        return tuple(
            Take(key, torch.from_numpy(positions.index(_position(site)) * count + branches))
            for key, site in read
            if site.component == component
        )

    family = anatomy.family
    return Ending(
        norm=family.final_norm,
        unembedding=family.unembedding,
        softcap=anatomy.softcap,
        cells=torch.from_numpy(np.concatenate(cells)),
        changes=tuple(
            _alteration(anatomy, number, wanted.edits[number], changed[number])
            for number in sorted(changed)
        ),
        finals=takes("final"),
        logits=takes("logits"),
    )
