"""A learned prompt reads the token after next out of one state better than anything else."""

from __future__ import annotations

import pytest

from claims.future_lens.paper import FUTURE_LENS, PREDICTS_TEXT
from stillwired.judge import Claim, Difference

LEARNED_PROMPT_WINS = Claim(
    id="future-lens/learned-prompt-wins",
    version=2,
    says="A learned prompt foresees the token after next better than every other reader.",
    source=FUTURE_LENS.at("Figure 4 and Table 2"),
    published="0.484 against 0.292 (linear), 0.187 (fixed), 0.201 (pairs) (GPT-J-6B, N=1)",
    expects=(
        Difference("learned", "linear", at_least=0.04),
        Difference("learned", "fixed", at_least=0.04),
        Difference("learned", "bigram", at_least=0.04),
    ),
    margin=0.04,
    applies=PREDICTS_TEXT,
    # It hears the tokens in between, which tell something by themselves.
    rivals=("no_state", "shuffled_states"),
    primary={"ahead": 1},
    mutant="the vectors rounded to tokens before anything is read",
)


@pytest.mark.claim(LEARNED_PROMPT_WINS)
@pytest.mark.parametrize("ahead", [1, 2, 3])
def test_learned_prompt_wins(future_lens, ahead, judge_readers):
    judge_readers(
        learned=future_lens.learned(ahead, few=True),
        linear=future_lens.linear(ahead, few=True),
        fixed=future_lens.fixed(ahead, future_lens.first, few=True),
        bigram=future_lens.bigram(ahead, few=True),
        no_state=future_lens.no_state(ahead, few=True),
        shuffled_states=future_lens.learned(ahead, states="shuffled", few=True),
        facts=future_lens.training_facts(),
    )
