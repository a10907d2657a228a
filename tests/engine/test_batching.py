from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stillwired.engine.batching import assemble, check_prompts, plan
from stillwired.errors import EngineError

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=60)


@given(LENGTHS, st.integers(1, 200), st.booleans())
def test_every_row_runs_once_within_the_budget(lengths, batch_tokens, pad):
    batches = plan(lengths, batch_tokens, pad=pad)
    assert sorted(row for rows in batches for row in rows) == list(range(len(lengths)))
    for rows in batches:
        longest = max(lengths[row] for row in rows)
        assert len(rows) == 1 or len(rows) * longest <= batch_tokens
        if not pad:
            assert {lengths[row] for row in rows} == {longest}


@given(LENGTHS, st.integers(1, 200))
def test_no_batch_could_take_the_next_prompt(lengths, batch_tokens):
    batches = plan(lengths, batch_tokens)
    for rows, following in pairwise(batches):
        length = lengths[rows[0]]
        if lengths[following[0]] == length:
            assert (len(rows) + 1) * length > batch_tokens


def test_a_budget_of_nothing_is_refused():
    with pytest.raises(EngineError, match="at least 1"):
        plan([3], 0)


def test_equal_lengths_run_without_mask_or_positions():
    batch = assemble([[5, 6], [7, 8]], (1, 0))
    assert batch.tokens.tolist() == [[7, 8], [5, 6]]
    assert batch.mask is None
    assert set(batch.inputs) == {"input_ids", "use_cache"}


def test_padding_stands_left_and_positions_start_at_the_prompt():
    batch = assemble([[5, 6, 7], [8]], (0, 1))
    assert batch.tokens.tolist() == [[5, 6, 7], [0, 0, 8]]
    assert batch.inputs["attention_mask"].tolist() == [[1, 1, 1], [0, 0, 1]]
    assert batch.inputs["position_ids"].tolist() == [[0, 1, 2], [0, 0, 0]]
    assert batch.inputs["input_ids"].dtype == torch.long


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([], "no prompts"),
        ([[1], []], "Prompt 1 is empty"),
        ([[1] * 9], "9 tokens"),
        ([[1, 61]], "outside of 0 … 60"),
        ([[-1]], "outside"),
    ],
)
def test_prompts_that_cannot_run_are_refused(prompts, message):
    with pytest.raises(EngineError, match=message):
        check_prompts(prompts, vocabulary=61, context=8)
