"""The surer a learned prompt is of a token, the more often it is right."""

from __future__ import annotations

import pytest

from claims.future_lens.paper import FUTURE_LENS, PREDICTS_TEXT
from stillwired.judge import Claim, Level

CONFIDENCE_TRACKS_ACCURACY = Claim(
    id="future-lens/confidence-tracks-accuracy",
    version=2,
    says="A learned prompt is right more often where it is surer.",
    source=FUTURE_LENS.at("Section 4, accuracy by confidence"),
    published="95 % right in the bin of 90 to 100 % confidence (GPT-J-6B)",
    expects=(
        Level("surer_half", at_least=0.10, labelled="hits of the surer half − the other half"),
    ),
    margin=0.05,
    applies=PREDICTS_TEXT,
    null="confidences dealt out at random",
    primary={"ahead": 1},
    mutant="confidence read upside down",
)


@pytest.mark.claim(CONFIDENCE_TRACKS_ACCURACY)
@pytest.mark.parametrize("ahead", [1, 2, 3])
def test_confidence_tracks_accuracy(future_lens, ahead, judge_readers):
    judge_readers(
        surer_half=future_lens.learned(ahead, few=True, score="surer half"),
        null={"surer_half": future_lens.learned(ahead, few=True, score="random half")},
    )
