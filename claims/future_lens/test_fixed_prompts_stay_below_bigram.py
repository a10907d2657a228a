"""Asked in words, the model foretells less from a state than a table of token pairs does."""

from __future__ import annotations

import pytest

from claims.future_lens.paper import FUTURE_LENS, PREDICTS_TEXT
from stillwired.instruments.prompt_readers import GENERIC_PROMPTS
from stillwired.judge import Claim, Difference

FIXED_PROMPTS_STAY_BELOW_BIGRAM = Claim(
    id="future-lens/fixed-prompts-stay-below-bigram",
    version=2,
    says="Whatever the layer, prompts in words foresee the token after next worse than pairs do.",
    source=FUTURE_LENS.at("Figure 4, fixed prompt"),
    published="0.107 to 0.187 over the layers against 0.201 (GPT-J-6B, N=1)",
    expects=(Difference("bigram", "fixed", at_least=0.005),),
    margin=0.02,
    sensitivity=0.02,
    applies=PREDICTS_TEXT,
    mutant="followers dealt out at random",
)

OTHER_WORDS_DO_NO_BETTER = Claim(
    id="future-lens/other-words-do-no-better",
    version=1,
    says="Other generic prompts, a dot and a bracket among them, foresee no more.",
    source=FUTURE_LENS.at("Section 4, told of the search for prompts"),
    published="told, no figure given",
    expects=(Difference("bigram", "prompt", reported=True),),
    applies=PREDICTS_TEXT,
)


@pytest.mark.claim(FIXED_PROMPTS_STAY_BELOW_BIGRAM)
def test_fixed_prompts_stay_below_bigram(future_lens, judge_readers):
    judge_readers(
        bigram=future_lens.bigram(1, few=True),
        fixed=future_lens.over(
            future_lens.for_fixed_prompts, lambda depth: future_lens.fixed(1, depth, few=True)
        ),
        beside=future_lens.fixed_apart(1, future_lens.middle, few=True),
    )


@pytest.mark.standard
@pytest.mark.claim(OTHER_WORDS_DO_NO_BETTER)
def test_other_words_do_no_better(future_lens, judge_readers):
    judge_readers(
        bigram=future_lens.bigram(1, few=True),
        prompt=future_lens.fixed_each(1, future_lens.middle, prompts=GENERIC_PROMPTS, few=True),
    )
