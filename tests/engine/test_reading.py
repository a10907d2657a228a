from __future__ import annotations

import pytest
import torch

from stillwired.engine.reading import Reading, check_finite, total
from stillwired.engine.sites import mlp, residual
from stillwired.errors import EngineError


def reading(state: torch.Tensor) -> Reading:
    return Reading([4, 7], [3, 3], {residual(0): torch.ones(2, 3, 5), mlp(1): state})


def check(state: torch.Tensor) -> None:
    got = reading(state)
    check_finite(got, {site: total(got[site]) for site in (residual(0), mlp(1))})


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_one_bad_entry_is_found_and_its_prompt_named(bad):
    state = torch.ones(2, 3, 5)
    state[1, 2, 4] = bad
    with pytest.raises(EngineError, match=r"mlp\(1\) are not finite in prompts 7\."):
        check(state)


def test_infinities_that_would_cancel_are_found():
    state = torch.ones(2, 3, 5)
    state[0, 0, 0], state[0, 0, 1] = float("inf"), float("-inf")
    with pytest.raises(EngineError, match="prompts 4"):
        check(state)


@pytest.mark.parametrize(
    ("dtype", "large"), [(torch.float16, 6e4), (torch.bfloat16, 3e38), (torch.float32, 3e38)]
)
def test_large_finite_states_pass(dtype, large):
    state = torch.full((2, 3, 5), large, dtype=dtype)
    check(state)


def test_a_site_that_was_not_read_is_refused():
    got = reading(torch.ones(2, 3, 5))
    assert mlp(1) in got
    assert residual(1) not in got
    with pytest.raises(EngineError, match=r"residual\(1\) was not read"):
        got[residual(1)]
