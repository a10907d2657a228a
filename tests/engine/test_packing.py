"""Packs against the sentences that define them, cell by cell."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from stillwired.engine.packing import fill_packs, lay_out, may_attend
from stillwired.engine.reach import NEVER, Branch, Group

BLOCKS, LENGTH = 4, 6


@st.composite
def groups(draw, most=3):
    """Groups with trunks and branches of any shape that arithmetic allows, and their prompts."""
    found, prompts = [], []
    for _ in range(draw(st.integers(1, most))):
        trunk = draw(st.integers(0, LENGTH))
        head = draw(st.lists(st.integers(0, 9), min_size=trunk, max_size=trunk))
        branches = []
        for _ in range(draw(st.integers(1, 4))):
            own = LENGTH - trunk
            # Few tokens, so that tails are often alike.
            tail = draw(st.lists(st.integers(0, 1), min_size=own, max_size=own))
            some = draw(st.sets(st.integers(0, trunk - 1))) if trunk else set()
            positions = np.array([*sorted(some), *range(trunk, LENGTH)], dtype=np.int64)
            levels = [draw(st.integers(0, BLOCKS)) for _ in some] + [0] * own
            levels = np.array(levels, dtype=np.int64)
            felt = st.one_of(st.integers(0, BLOCKS), st.just(NEVER))
            edits = draw(st.lists(felt, min_size=own, max_size=own))
            edited = np.concatenate([levels[: len(some)], np.array(edits, dtype=np.int64)])
            branches.append(Branch(len(prompts), positions, levels, edited))
            prompts.append(head + tail)
        found.append(Group(trunk, (), tuple(branches)))
    return found, prompts


def whole(found, prompts):
    return lay_out([slot for slots in fill_packs(found, 10**6) for slot in slots], prompts)


def parting(found, prompts):
    """By branch and position of its own: the level at which it parts, and who lends until then."""
    parts, start = {}, 0
    for group in found:
        for number, branch in enumerate(group.branches):
            tokens = prompts[branch.prompt]
            for at, level, edited in zip(
                *(values.tolist() for values in (branch.positions, branch.levels, branch.edited)),
                strict=True,
            ):
                lender = None
                if at >= group.trunk and level == 0 < edited:
                    for earlier, other in enumerate(group.branches[: number + 1]):
                        felt = dict(
                            zip(other.positions.tolist(), other.edited.tolist(), strict=True)
                        )
                        same = prompts[other.prompt][group.trunk : at + 1]
                        if same == tokens[group.trunk : at + 1] and felt[at] > 0:
                            # The first that could lend does, or nobody.
                            if earlier != number and felt[at] >= edited:
                                lender = start + earlier
                            break
                parts[start + number, at] = (level if lender is None else edited, lender)
        start += len(group.branches)
    return parts


@given(groups(), st.integers(0, BLOCKS - 1), st.one_of(st.none(), st.integers(1, LENGTH)))
def test_a_cell_attends_to_its_own_prompt_as_it_is_at_that_block(made, block, window):
    pack, parts = whole(*made), parting(*made)
    layout, size = pack.layout, pack.size(block)
    seen = may_attend(layout, size, block, window, layout.positions.device).numpy()
    branch, slot = layout.branches.numpy(), layout.slots.numpy()
    position, level = layout.positions.numpy(), layout.levels.numpy()
    trunk = len(pack.prompts)
    assert (level[:size] <= block).all()
    assert (level[size:] > block).all()
    for i in range(size):
        allowed = set()
        for at in range(position[i] + 1):
            if window is not None and position[i] - at >= window:
                continue
            own = [
                j
                for j in range(size)
                if branch[i] != trunk and branch[j] == branch[i] and position[j] == at
            ]
            shared = [
                j
                for j in range(size)
                if branch[j] == trunk and slot[j] == slot[i] and position[j] == at
            ]
            lender = parts.get((int(branch[i]), at), (0, None))[1]
            lent = [
                j
                for j in range(size)
                if lender is not None and branch[j] == lender and position[j] == at
            ]
            allowed.update(own or lent or shared)
        assert set(np.flatnonzero(seen[i])) == allowed


@given(groups(), st.integers(0, BLOCKS))
def test_a_position_is_stood_for_by_its_own_cell_once_that_has_entered(made, level):
    found, prompts = made
    pack = whole(found, prompts)
    branches = [branch for group in found for branch in group.branches]
    parts = parting(found, prompts)
    for number, branch in enumerate(branches):
        for at in range(LENGTH):
            own, lender = parts.get((number, at), (NEVER, None))
            (cell,) = pack.cells(np.array([number]), np.array([at]), level)
            parted = own <= level
            assert int(pack.layout.positions[cell]) == at
            assert int(pack.tokens[cell]) == prompts[branch.prompt][at]
            shared = len(branches) if lender is None else lender
            assert int(pack.layout.branches[cell]) == (number if parted else shared)
            mine = pack.own_cells(number, at, level)
            assert mine.tolist() == ([cell] if parted else [])
    inside = pack.layout.levels > 0
    sources = torch.from_numpy(pack.sources)[inside]
    assert torch.equal(pack.layout.positions[sources], pack.layout.positions[inside])
    assert torch.equal(pack.layout.slots[sources], pack.layout.slots[inside])
    for cell, source in zip(np.flatnonzero(inside.numpy()), sources.tolist(), strict=True):
        branch, at = int(pack.layout.branches[cell]), int(pack.layout.positions[cell])
        lender = parts[branch, at][1]
        assert int(pack.layout.branches[source]) == (len(branches) if lender is None else lender)


@given(groups(), st.integers(1, 40))
def test_every_branch_is_in_one_pack_and_packs_keep_their_budget(made, most):
    found, prompts = made
    packs = fill_packs(found, most)
    seen = [branch.prompt for slots in packs for slot in slots for branch in slot.branches]
    assert sorted(seen) == list(range(len(prompts)))
    for slots in packs:
        size = sum(slot.size for slot in slots)
        if size > most:
            # A large trunk has as many cells beside it as it has itself, or its largest branch.
            (slot,) = slots
            largest = max(len(branch.positions) for branch in slot.group.branches)
            assert size <= slot.group.trunk + max(largest, slot.group.trunk)
    for slots in packs:
        pack = lay_out(slots, prompts)
        unseen = sum((branch.edited == NEVER).sum() for s in slots for branch in s.branches)
        assert 0 <= sum(slot.size for slot in slots) - len(pack.tokens) <= unseen
        cells = sum(
            group.cells(BLOCKS - 1) for group in {id(s.group): s.group for s in slots}.values()
        )
        assert pack.cost(BLOCKS - 1) <= cells


def test_the_cost_of_a_pack_is_what_the_groups_say():
    group = edited_in_the_middle(3)
    pack = whole([group], [[1, 2, 3, 4, 5 + k] for k in range(3)])
    # The trunk and three last tokens in every block, the parted position in two of four.
    assert pack.cost(BLOCKS - 1) == group.cells(BLOCKS - 1) == 4 * 4 + 3 * 4 + 3 * 2
    assert [pack.size(block) for block in range(BLOCKS)] == [7, 7, 10, 10]


def test_a_token_that_several_prompts_go_on_with_is_computed_once_until_an_edit_is_felt():
    group = edited_in_the_middle(4)
    pack = whole([group], [[1, 2, 3, 4, token] for token in (5, 6, 5, 5)])
    # Two different last tokens from the start, the two others from level 2 on.
    assert [pack.size(block) for block in range(BLOCKS)] == [6, 6, 12, 12]
    assert pack.cost(BLOCKS - 1) == group.cells(BLOCKS - 1) - 2 * 2


def edited_in_the_middle(prompts):
    """Prompts of five tokens that differ in the last, the fourth edited at level 2 in each."""
    own = np.array([3, 4]), np.array([2, 0]), np.array([2, 2])
    return Group(4, (0,), tuple(Branch(k, *own) for k in range(prompts)))
