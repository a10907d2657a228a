from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillwired.engine.sites import (
    Site,
    attention,
    convolution,
    embedding,
    final,
    gate,
    gated,
    head,
    logits,
    mixer,
    mlp,
    residual,
    state,
)
from stillwired.errors import EngineError

SITES = st.one_of(
    st.builds(Site, st.sampled_from(["embedding", "final", "logits"])),
    st.builds(
        Site,
        st.sampled_from(["attention", "mlp", "residual", "gate", "state", "gated", "mixer"]),
        st.integers(0, 40),
    ),
    st.builds(head, st.integers(0, 40), st.integers(0, 12), st.none() | st.integers(-9, -1)),
)


def test_sites_sort_in_forward_order():
    order = [
        embedding(),
        gate(0),
        convolution(0),
        state(0),
        gated(0),
        mixer(0),
        head(0, 0),
        head(0, 1),
        attention(0),
        mlp(0),
        residual(0),
        residual(0, -3),
        residual(0, -1),
        attention(1),
        residual(1),
        final(),
        logits(),
    ]
    shuffled = order[6:] + order[:6]
    assert shuffled != order
    assert sorted(shuffled) == order


@given(SITES, SITES)
def test_order_is_total(a, b):
    assert (a < b) + (b < a) + (a == b) == 1


@pytest.mark.parametrize("position", [0, 1, 7])
def test_positions_from_the_left_are_refused(position):
    with pytest.raises(EngineError, match="count from the right"):
        residual(0, position)


@pytest.mark.parametrize(
    ("component", "layer", "number"),
    [
        ("residuals", 0, None),
        ("residual", None, None),
        ("residual", -1, None),
        ("final", 0, None),
        ("head", 0, None),
        ("head", 0, -1),
        ("mlp", 0, 0),
        ("mixer", None, None),
        ("gate", 0, 0),
    ],
)
def test_malformed_sites_are_refused(component, layer, number):
    with pytest.raises(EngineError):
        Site(component, layer, number)


def test_a_site_names_itself():
    assert str(head(20, 5, -1)) == "head(20, 5, position -1)"
