"""A map to the final state and a map straight to the vocabulary foresee equally much."""

from __future__ import annotations

import pytest

from claims.future_lens.paper import FUTURE_LENS, PREDICTS_TEXT
from stillwired.judge import Claim, Difference, Needs

TWO_LINEAR_MAPS_AGREE = Claim(
    id="future-lens/two-linear-maps-agree",
    version=1,
    says="Linear maps to the final state and to the vocabulary foresee equally much, everywhere.",
    source=FUTURE_LENS.at("Figure 4, the two linear maps"),
    published="never further apart than 0.04 (GPT-J-6B, N=1)",
    expects=(Difference("linear", "vocabulary", within=0.05),),
    sensitivity=0.05,
    margin=0.05,
    # A map that more text would still improve says nothing about what a state holds.
    applies=(
        *PREDICTS_TEXT,
        Needs("gain of linear from twice the text", at_most=0.01, otherwise="undecided"),
        Needs("gain of vocabulary from twice the text", at_most=0.01, otherwise="undecided"),
    ),
    primary={"ahead": 1},
    mutant="a vocabulary map fitted to the tokens of other documents",
)


@pytest.mark.claim(TWO_LINEAR_MAPS_AGREE)
@pytest.mark.parametrize("ahead", [1, 2, 3])
def test_two_linear_maps_agree(future_lens, ahead, judge_readers):
    linear = future_lens.by_depth("linear", ahead)
    vocabulary = future_lens.by_depth("vocabulary", ahead)
    apart = future_lens.apart(linear, vocabulary, by=TWO_LINEAR_MAPS_AGREE.sensitivity)
    judge_readers(
        linear=linear,
        vocabulary=vocabulary,
        planted={"linear": apart[0], "vocabulary": apart[1]},
        ability={
            f"gain of {reader} from twice the text": future_lens.gain_from_doubling(reader, ahead)
            for reader in ("linear", "vocabulary")
        },
    )
