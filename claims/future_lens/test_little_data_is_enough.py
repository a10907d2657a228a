"""A quarter of the states, seen four times, trains a prompt as well as all of them."""

from __future__ import annotations

import pytest

from claims.future_lens.paper import FUTURE_LENS, PREDICTS_TEXT
from stillwired.judge import Claim, Difference

LITTLE_DATA_IS_ENOUGH = Claim(
    id="future-lens/little-data-is-enough",
    version=2,
    says="Trained on a quarter of the states for as many steps, a prompt foresees as much.",
    source=FUTURE_LENS.at("Section 3, 10,000 of 100,000 training states"),
    published="10,000 states are enough; no figure given",
    expects=(
        Difference("all_states", "a_quarter", within=0.05),
        # Where prompts read less than that, nothing is said by their agreement.
        Difference("all_states", "no_state", at_least=0.05),
    ),
    margin=0.05,
    applies=PREDICTS_TEXT,
    mutant="prompts of another recipe rounded to tokens",
)


@pytest.mark.standard
@pytest.mark.claim(LITTLE_DATA_IS_ENOUGH)
def test_little_data_is_enough(future_lens, judge_readers):
    middle = future_lens.middle
    judge_readers(
        all_states=future_lens.learned(1, middle, few=True),
        a_quarter=future_lens.learned(1, middle, recipe={"share": 0.25}, few=True),
        no_state=future_lens.no_state(1, few=True),
    )
