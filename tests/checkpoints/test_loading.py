from __future__ import annotations

import contextlib
from typing import Any

import pytest
import torch
from torch import nn

from stillwired.checkpoints.loading import (
    check_finite,
    check_loaded,
    check_tokenizer,
    quiet_progress,
)
from stillwired.errors import CheckpointError

NONE: dict[str, Any] = {
    "missing_keys": set(),
    "unexpected_keys": set(),
    "mismatched_keys": set(),
    "error_msgs": [],
}


def test_the_same_set_of_weights_passes() -> None:
    check_loaded(NONE, "it")


@pytest.mark.parametrize(
    ("key", "found", "told"),
    [
        ("missing_keys", {"b", "a"}, "would have been random: a, b"),
        ("unexpected_keys", {"z"}, "belong to no part"),
        ("mismatched_keys", {("w", (1,), (2,))}, "another shape than the model: w"),
        ("error_msgs", ["boom"], "could not be loaded: boom"),
        ("missing_keys", set("abcde"), "a, b, c and 2 more"),
    ],
)
def test_any_difference_is_an_error(key: str, found: Any, told: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        check_loaded({**NONE, key: found}, "it")
    assert told in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_one_broken_weight_is_found_and_named(value: float, dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Linear(50, 50), nn.Linear(50, 50)).to(dtype)
    check_finite(model, "it")
    with torch.no_grad():
        model[1].weight[17, 3] = value
    with pytest.raises(CheckpointError, match=r"not a number: 1\.weight"):
        check_finite(model, "it")


def test_a_sum_that_overflows_is_no_broken_weight() -> None:
    model = nn.Linear(10, 10, bias=False)
    nn.init.constant_(model.weight, 3e38)
    assert not torch.isfinite(model.weight.sum())
    check_finite(model, "it")


class Vocabulary:
    """As much of a tokenizer as the check looks at."""

    def __init__(self, ids: range, special: tuple[int, ...] = ()) -> None:
        self.ids = ids
        self.all_special_ids = list(special)
        self.added_tokens_decoder: dict[int, Any] = {}

    def get_vocab(self) -> dict[str, int]:
        return {str(i): i for i in self.ids}


@pytest.mark.parametrize(
    ("tokens", "special", "rows", "fits"),
    [
        (100, (), 100, True),
        (95, (), 100, True),
        (94, (), 100, False),
        (101, (), 100, False),
        (101, (100,), 100, True),
        (101, (0,), 100, False),
        (0, (), 100, False),
    ],
)
def test_a_tokenizer_fits_or_not(
    tokens: int, special: tuple[int, ...], rows: int, fits: bool
) -> None:
    tokenizer = Vocabulary(range(tokens), special)
    if fits:
        check_tokenizer(tokenizer, rows, "it")
        return
    with pytest.raises(CheckpointError, match="does not match its embedding"):
        check_tokenizer(tokenizer, rows, "it")


def test_added_special_tokens_may_lie_beyond_the_rows(
    tokenizer: Any,
) -> None:
    check_tokenizer(tokenizer, 300, "it")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    assert max(tokenizer.get_vocab().values()) == 300
    check_tokenizer(tokenizer, 300, "it")
    tokenizer.add_tokens(["ordinary"])
    with pytest.raises(CheckpointError, match="does not match"):
        check_tokenizer(tokenizer, 300, "it")


@pytest.mark.parametrize("shown", [True, False])
def test_progress_bars_are_as_they_were_afterwards(shown: bool) -> None:
    from transformers.utils import logging

    before = logging.is_progress_bar_enabled()
    try:
        logging.enable_progress_bar() if shown else logging.disable_progress_bar()
        with contextlib.suppress(ValueError), quiet_progress():
            assert not logging.is_progress_bar_enabled()
            raise ValueError
        assert logging.is_progress_bar_enabled() == shown
    finally:
        logging.enable_progress_bar() if before else logging.disable_progress_bar()
