from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillwired.errors import UsageError
from stillwired.instruments.depths import (
    FIRST,
    LATE,
    MIDDLE,
    even_blocks,
    resolve_depth,
    resolve_depths,
)


def test_relative_depth_runs_from_the_first_block_to_the_last():
    assert resolve_depth(0.0, 30).block == 0
    assert resolve_depth(1.0, 30).block == 29
    assert resolve_depth(0.5, 29).block == 14


@pytest.mark.parametrize(("asked", "what"), [(1.5, "outside"), (-0.1, "outside"), (30, "0 to 29")])
def test_depths_that_do_not_exist_are_refused(asked, what):
    with pytest.raises(UsageError, match=what):
        resolve_depth(asked, 30)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9), st.integers(1, 80))
def test_each_block_is_read_once_and_in_order(asked, blocks):
    depths = resolve_depths(tuple(asked), blocks)
    numbers = [depth.block for depth in depths]
    assert numbers == sorted(set(numbers))
    assert set(numbers) == {round(depth * (blocks - 1)) for depth in asked}


def test_bands_hold_the_declared_depths_of_the_default_model():
    depths = {d.label: d for d in resolve_depths((0.1, 0.3, 0.5, 0.7, 0.9, 1.0), 30)}
    assert [d for d in depths if FIRST.holds(depths[d])] == ["depth0.10"]
    assert [d for d in depths if MIDDLE.holds(depths[d])] == ["depth0.50"]
    assert [d for d in depths if LATE.holds(depths[d])] == ["depth0.90"]


@given(st.integers(1, 120), st.integers(1, 12), st.integers(1, 4))
def test_even_blocks_cover_every_band_and_end_with_the_last_block(blocks, bands, per_band):
    if blocks < bands:
        with pytest.raises(UsageError, match="cannot fill"):
            even_blocks(blocks, bands, per_band)
        return
    chosen = even_blocks(blocks, bands, per_band)
    flat = [block for band in chosen for block in band]
    assert len(chosen) == bands
    assert all(1 <= len(band) <= per_band for band in chosen)
    assert flat == sorted(set(flat))
    assert flat[-1] == blocks - 1
