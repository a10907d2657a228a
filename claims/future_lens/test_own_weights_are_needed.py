"""A state points to what is to come; it takes the model's own layers to follow."""

from __future__ import annotations

import pytest

from claims.future_lens.paper import FUTURE_LENS, PREDICTS_TEXT
from stillwired.judge import Claim, Difference, Needs

OWN_WEIGHTS_ARE_NEEDED = Claim(
    id="future-lens/own-weights-are-needed",
    version=2,
    says="A learned prompt foresees more than a linear map that is fed the same tokens.",
    source=FUTURE_LENS.at("Section 5; the fed linear map is ours"),
    published="0.484 against 0.292 for a linear map without fed tokens (GPT-J-6B, N=1)",
    expects=(Difference("learned", "fair_linear", at_least=0.03),),
    margin=0.03,
    # As far as more text would improve the linear map, the lead is one of training. It can only
    # shrink, so that the claim may fail on little text.
    applies=(
        *PREDICTS_TEXT,
        Needs("gain of the linear map from twice the text", at_most=0.01, otherwise="not held"),
    ),
    rivals=("no_state", "shuffled_states", "bigram"),
    mutant="the vectors rounded to tokens before anything is read",
)


@pytest.mark.claim(OWN_WEIGHTS_ARE_NEEDED)
def test_own_weights_are_needed(future_lens, judge_readers):
    gain = future_lens.gain_from_doubling("fair linear", 1)
    judge_readers(
        learned=future_lens.learned(1, few=True),
        fair_linear=future_lens.fair_linear(1, few=True),
        no_state=future_lens.no_state(1, few=True),
        shuffled_states=future_lens.learned(1, states="shuffled", few=True),
        bigram=future_lens.bigram(1, few=True),
        ability={"gain of the linear map from twice the text": gain},
    )
