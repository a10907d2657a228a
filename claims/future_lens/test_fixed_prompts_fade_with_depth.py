"""Asked in words, early states tell more than late ones, and more fed tokens help."""

from __future__ import annotations

import pytest

from claims.future_lens.paper import FUTURE_LENS, PREDICTS_TEXT
from stillwired.judge import Claim, Difference

FIXED_PROMPTS_FADE_WITH_DEPTH = Claim(
    id="future-lens/fixed-prompts-fade-with-depth",
    version=2,
    says="Prompts in words foresee the token after next better from first states than from late.",
    source=FUTURE_LENS.at("Figure 4, fixed prompt, N=1"),
    published="0.187 at layer 1 against 0.122 at layer 28 (GPT-J-6B)",
    expects=(Difference("first", "late", at_least=0.015),),
    margin=0.015,
    applies=PREDICTS_TEXT,
    mutant="bands of depth named the wrong way round",
)

FIXED_PROMPTS_GAIN_FROM_FED_TOKENS = Claim(
    id="future-lens/fixed-prompts-gain-from-fed-tokens",
    version=2,
    says="Prompts in words do better further ahead, where more of the text has been fed.",
    source=FUTURE_LENS.at("Figure 4, fixed prompt at layer 1"),
    published="0.19, 0.28, 0.34 for N = 1, 2, 3 (GPT-J-6B)",
    expects=(Difference("three_ahead", "one_ahead", at_least=0.04),),
    margin=0.04,
    applies=PREDICTS_TEXT,
    mutant="one token ahead read whatever N",
)


@pytest.mark.claim(FIXED_PROMPTS_FADE_WITH_DEPTH)
def test_fixed_prompts_fade_with_depth(future_lens, judge_readers):
    judge_readers(
        first=future_lens.fixed(1, future_lens.first),
        late=future_lens.fixed(1, future_lens.late),
    )


@pytest.mark.claim(FIXED_PROMPTS_GAIN_FROM_FED_TOKENS)
def test_fixed_prompts_gain_from_fed_tokens(future_lens, judge_readers):
    judge_readers(
        three_ahead=future_lens.fixed(3, future_lens.first, few=True),
        one_ahead=future_lens.fixed(1, future_lens.first, few=True),
        # Fed tokens foretell by themselves: how much, a prompt without a state tells.
        beside={
            "no state, N=1": future_lens.no_state(1, few=True),
            "no state, N=3": future_lens.no_state(3, few=True),
        },
    )
