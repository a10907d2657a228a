"""What a linear map can read of the future fades with every token further ahead."""

from __future__ import annotations

import pytest

from claims.future_lens.paper import FUTURE_LENS, PREDICTS_TEXT
from stillwired.judge import Claim, Difference

LINEAR_DECAYS = Claim(
    id="future-lens/linear-decays",
    version=1,
    says="Linear maps foresee less the further ahead they look.",
    source=FUTURE_LENS.at("Table 2, linear map to the hidden state"),
    published="0.292, 0.190, 0.158 for N = 1, 2, 3 (GPT-J-6B)",
    expects=(
        Difference("one_ahead", "two_ahead", at_least=0.025),
        Difference("two_ahead", "three_ahead", at_least=0.01),
    ),
    margin=0.01,
    applies=PREDICTS_TEXT,
    null="states shuffled across documents",
    mutant="the same target whatever N",
)


@pytest.mark.claim(LINEAR_DECAYS)
def test_linear_decays(future_lens, judge_readers):
    def read(states):
        return {
            "one_ahead": future_lens.linear(1, states=states),
            "two_ahead": future_lens.linear(2, states=states),
            "three_ahead": future_lens.linear(3, states=states),
        }

    judge_readers(**read("own"), null=read("shuffled"))
