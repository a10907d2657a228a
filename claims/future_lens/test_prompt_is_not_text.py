"""What a learned prompt has learned cannot be said in tokens."""

from __future__ import annotations

import pytest

from claims.future_lens.paper import FUTURE_LENS, PREDICTS_TEXT
from stillwired.judge import Claim, Difference

PROMPT_IS_NOT_TEXT = Claim(
    id="future-lens/prompt-is-not-text",
    version=1,
    says="With its vectors turned into the nearest tokens, a learned prompt foresees far less.",
    source=FUTURE_LENS.at("Section 5, told of the nearest tokens"),
    published="the tokens are gibberish; no figure given",
    expects=(Difference("learned", "nearest_tokens", at_least=0.05),),
    margin=0.05,
    sensitivity=0.05,
    applies=PREDICTS_TEXT,
    mutant="the vectors rounded to tokens before anything is read",
)


@pytest.mark.claim(PROMPT_IS_NOT_TEXT)
def test_prompt_is_not_text(future_lens, judge_readers):
    judge_readers(
        learned=future_lens.learned(1, few=True),
        nearest_tokens=future_lens.learned(1, as_tokens=True, few=True),
    )
