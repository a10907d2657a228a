"""Cones against a simulated pass in which every cell says what it depends on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillwired.engine.reach import (
    NEVER,
    Touch,
    common_prefix,
    deepest_block,
    group_prompts,
    last_levels,
    own_levels,
)
from stillwired.engine.sites import (
    Site,
    attention,
    embedding,
    final,
    head,
    logits,
    mlp,
    residual,
)

BLOCKS, LENGTH = 4, 5
NEXT = logits(-1)


def changed_cells(length, prefix, touches, blocks):
    """Which states differ from the trunk's: by level, and inside of each block."""
    at_level = np.zeros((blocks + 1, length), bool)
    inside = np.zeros((blocks, length), bool)
    at_level[0, prefix:] = True

    def edited(component, layer):
        for touch in touches:
            if (touch.site.component, touch.site.layer) == (component, layer):
                yield slice(None) if touch.position is None else touch.position

    for where in edited("embedding", None):
        at_level[0, where] = True
    for block in range(blocks):
        # A block's output differs where anything that it attends to does.
        inside[block] = np.logical_or.accumulate(at_level[block])
        for component in ("head", "attention", "mlp"):
            for where in edited(component, block):
                inside[block, where] = True
        at_level[block + 1] = inside[block]
        for where in edited("residual", block):
            at_level[block + 1, where] = True
    return at_level, inside


def sites_of(draw_position):
    layers = st.integers(0, BLOCKS - 1)
    return st.one_of(
        st.builds(embedding, draw_position),
        st.builds(residual, layers, draw_position),
        st.builds(attention, layers, draw_position),
        st.builds(mlp, layers, draw_position),
        st.builds(head, layers, st.just(1), draw_position),
    )


edited_sites = sites_of(st.one_of(st.none(), st.integers(-LENGTH, -1)))
read_sites = st.one_of(
    sites_of(st.integers(-LENGTH, -1)),
    st.builds(final, st.integers(-LENGTH, -1)),
    st.builds(logits, st.integers(-LENGTH, -1)),
)


def touches_of(sites):
    return [
        Touch(k, 0, site, None if site.position is None else LENGTH + site.position, False)
        for k, site in enumerate(sites)
    ]


@given(st.integers(0, LENGTH), st.lists(edited_sites, max_size=3))
def test_a_position_parts_where_its_cells_first_differ(prefix, edits):
    touches = touches_of(edits)
    at_level, inside = changed_cells(LENGTH, prefix, touches, BLOCKS)
    # A cell has to be computed if its input or anything inside differs; behind the last block
    # the state itself is what counts.
    differs = np.vstack([at_level[:-1] | inside, at_level[-1:]])
    first = np.where(differs.any(0), differs.argmax(0), NEVER)
    assert own_levels(LENGTH, prefix, touches, BLOCKS).tolist() == first.tolist()


@given(st.integers(0, LENGTH), st.lists(edited_sites, max_size=3), st.lists(read_sites, min_size=1))
def test_what_is_left_out_cannot_be_seen(prefix, edits, sites):
    """Put a change back where the plan leaves a cell out: no reading may notice."""
    touches = touches_of(edits)
    levels = own_levels(LENGTH, prefix, touches, BLOCKS)
    kept = levels <= last_levels(LENGTH, sites, BLOCKS)
    for dropped in np.flatnonzero(~kept & (levels < NEVER)):
        level = int(levels[dropped])
        at_level = np.zeros((BLOCKS + 1, LENGTH), bool)
        inside = np.zeros((BLOCKS, LENGTH), bool)
        at_level[level, dropped] = True
        for block in range(level, BLOCKS):
            inside[block] = np.logical_or.accumulate(at_level[block])
            at_level[block + 1] |= inside[block]
        for site in sites:
            position = LENGTH + site.position
            if site.component in ("final", "logits"):
                seen = at_level[BLOCKS]
            elif site.component == "embedding":
                seen = at_level[0]
            elif site.component == "residual":
                seen = at_level[site.layer + 1]
            else:
                seen = inside[site.layer]
            assert not seen[position], (site, dropped)


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=5))
def test_a_common_prefix_is_common_and_longest(prompts):
    count = common_prefix(prompts)
    assert len({tuple(prompt[:count]) for prompt in prompts}) == 1
    longer = {tuple(prompt[: count + 1]) for prompt in prompts}
    assert len(longer) > 1 or min(map(len, prompts)) == count


@pytest.mark.parametrize(
    ("site", "block"),
    [(embedding(-1), -1), (residual(2, -1), 2), (head(1, 0, -1), 1), (logits(-1), 3)],
)
def test_only_blocks_below_a_reading_run(site, block):
    assert deepest_block([site], BLOCKS) == block


def one(prompts, edits, site=NEXT):
    """Group prompts whose edits name all of them alike."""
    touches = [
        [Touch(k, row, s, len(p) + s.position, True) for k, s in enumerate(edits)]
        for row, p in enumerate(prompts)
    ]
    return group_prompts(prompts, touches, [site], BLOCKS)


def test_a_prefix_is_shared_by_different_prompts():
    groups = one([[1, 2, 3, 4], [1, 2, 3, 5], [1, 2, 3, 6]], [residual(1, -2)])
    assert [(group.trunk, group.shared) for group in groups] == [(3, (0,))]
    assert [branch.positions.tolist() for branch in groups[0].branches] == [[3]] * 3
    assert groups[0].cells(BLOCKS - 1) == 3 * BLOCKS + 3 * BLOCKS


def test_equal_prompts_are_apart_from_others_where_that_is_cheaper():
    groups = one([[1, 2, 3], [1, 2, 3], [9, 2, 3], [9, 2, 3]], [])
    assert [group.trunk for group in groups] == [3, 3]
    assert [len(group.branches) for group in groups] == [2, 2]
    assert sum(group.cells(BLOCKS - 1) for group in groups) == 6 * BLOCKS


def test_tokens_behind_the_last_reading_do_not_run():
    (group,) = one([[1, 2, 3, 4, 5]] * 2, [], site=residual(0, -4))
    assert group.trunk == 2


def test_an_edit_is_not_shared_where_single_prompts_change_the_same_place():
    site: Site = residual(1, -1)
    touches = [[Touch(0, row, site, 2, True)] for row in range(2)]
    touches[1].append(Touch(1, 0, residual(1, -2), 1, True))
    (group,) = group_prompts([[1, 2, 3]] * 2, touches, [logits(-1)], BLOCKS)
    assert group.shared == ()
    touches[1][1] = Touch(1, 0, residual(2, -2), 1, True)
    (group,) = group_prompts([[1, 2, 3]] * 2, touches, [logits(-1)], BLOCKS)
    assert group.shared == (0,)


def company(rows, *, fed=((5,), (6,), (7,))):
    """Placeholders in front of fed tokens; the rows of each prompt meet vectors of their own."""
    prompts, touches = [], []
    for prompt, count in enumerate(rows):
        for row in range(count):
            tokens = [0, 0, *fed[row]]
            numbers = [3 * prompt, 3 * prompt + 1]
            met = [Touch(n, row, embedding(k - 3), k, True) for k, n in enumerate(numbers)]
            # A state in its last place, in another block for each prompt; none for the third.
            if prompt < 2:
                met.append(Touch(3 * prompt + 2, row, residual(prompt, -2), 1, False))
            prompts.append(tokens)
            touches.append(met)
    return prompts, touches


def test_rows_of_different_learned_prompts_have_trunks_of_their_own():
    groups = group_prompts(*company([3, 3, 2]), [NEXT], BLOCKS)
    assert [group.trunk for group in groups] == [2, 2, 2]
    assert [group.shared for group in groups] == [(0, 1), (3, 4), (6, 7)]
    assert [[b.prompt for b in group.branches] for group in groups] == [
        [0, 1, 2],
        [3, 4, 5],
        [6, 7],
    ]
    # Each as it is alone: its trunk once, fed tokens everywhere, its end once the state is in.
    expected = [2 * 4 + 3 * (4 + 3), 2 * 4 + 3 * (4 + 2), 2 * 4 + 2 * 4]
    assert [group.cells(BLOCKS - 1) for group in groups] == expected
    for prompt, cells in enumerate(expected):
        prompts, touches = company([3, 3, 2])
        mine = [k for k, met in enumerate(touches) if met[0].number == 3 * prompt]
        (one_,) = group_prompts(
            [prompts[k] for k in mine], [touches[k] for k in mine], [NEXT], BLOCKS
        )
        assert one_.cells(BLOCKS - 1) == cells


def test_rows_that_meet_the_same_vectors_share_a_trunk_wherever_they_stand():
    prompts, touches = company([2, 2])
    order = [0, 2, 1, 3]
    groups = group_prompts([prompts[k] for k in order], [touches[k] for k in order], [NEXT], BLOCKS)
    assert [[branch.prompt for branch in group.branches] for group in groups] == [[0, 2], [1, 3]]


def test_one_prompt_for_all_is_no_company():
    prompts, touches = company([3])
    (group,) = group_prompts(prompts, touches, [NEXT], BLOCKS)
    assert (group.trunk, group.shared) == (2, (0, 1))


def test_edits_of_single_rows_are_no_reason_to_part():
    """A sweep with an edit for each row: nobody shares it, so all of them share the prompt."""
    touches = [[Touch(row, 0, head(2, 0, -1), 2, True)] for row in range(4)]
    (group,) = group_prompts([[1, 2, 3]] * 4, touches, [NEXT], BLOCKS)
    assert (group.trunk, group.shared) == (3, ())
    assert group.cells(BLOCKS - 1) == 3 * BLOCKS + 4 * 2


def test_a_sweep_of_one_prompt_stays_together_whatever_single_rows_meet():
    """A trunk for every kind of row would cost more than the few cells that part."""
    touches = [[Touch(row // 2, row % 2, mlp(BLOCKS - 1, -1), 4, True)] for row in range(6)]
    (group,) = group_prompts([[1, 2, 3, 4, 5]] * 6, touches, [NEXT], BLOCKS)
    assert group.cells(BLOCKS - 1) == 5 * BLOCKS + 6
