"""What a learned prompt can read of the token after next is greatest in the middle layers."""

from __future__ import annotations

import pytest

from claims.future_lens.paper import FUTURE_LENS, PREDICTS_TEXT
from stillwired.judge import Claim, Difference

MIDDLE_LAYERS_FORESEE_MOST = Claim(
    id="future-lens/middle-layers-foresee-most",
    version=1,
    says="Learned prompts foresee the token after next best from the middle layers.",
    source=FUTURE_LENS.at("Figure 4, learned prompt, N=1"),
    published="0.378, 0.482, 0.310 at layers 1, 14, 25 of 28 (GPT-J-6B)",
    expects=(
        Difference("middle", "first", at_least=0.02),
        Difference("middle", "late", at_least=0.02),
    ),
    margin=0.02,
    applies=PREDICTS_TEXT,
    mutant="the first block's states put in at every depth",
)


@pytest.mark.claim(MIDDLE_LAYERS_FORESEE_MOST)
def test_middle_layers_foresee_most(future_lens, judge_readers):
    judge_readers(
        first=future_lens.learned(1, future_lens.first),
        middle=future_lens.learned(1, future_lens.middle),
        late=future_lens.learned(1, future_lens.late),
        beside={
            "learned": future_lens.over(
                future_lens.before_last, lambda depth: future_lens.learned(1, depth, few=True)
            )
        },
    )
