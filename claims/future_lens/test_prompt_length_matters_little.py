"""Prompts of five, ten and twenty vectors foresee equally much."""

from __future__ import annotations

import pytest

from claims.future_lens.paper import FUTURE_LENS, PREDICTS_TEXT
from stillwired.judge import Claim, Difference

PROMPT_LENGTH_MATTERS_LITTLE = Claim(
    id="future-lens/prompt-length-matters-little",
    version=2,
    says="Learned prompts of 5, 10 and 20 vectors foresee the token after next equally well.",
    source=FUTURE_LENS.at("Section 3, told of other lengths"),
    published="little difference, no figure given",
    expects=(
        Difference("ten", "five", within=0.05),
        Difference("twenty", "ten", within=0.05),
        Difference("twenty", "five", within=0.05),
        # Where prompts read less than that, nothing is said by their agreement.
        Difference("ten", "no_state", at_least=0.05),
    ),
    margin=0.05,
    applies=PREDICTS_TEXT,
    mutant="prompts of another recipe rounded to tokens",
)

NO_LENGTH_IS_LIKE_A_FIXED_PROMPT = Claim(
    id="future-lens/no-length-is-like-a-fixed-prompt",
    version=1,
    says="With next to no prompt the state foretells about what a fixed prompt lets it foretell.",
    source=FUTURE_LENS.at("a guess of the authors, told in conversation"),
    published="untested",
    expects=(
        Difference("start_token", "fixed", reported=True),
        Difference("one_vector", "fixed", reported=True),
    ),
    applies=PREDICTS_TEXT,
)


def of_length(future_lens, vectors):
    return future_lens.learned(1, future_lens.middle, recipe={"vectors": vectors}, few=True)


@pytest.mark.standard
@pytest.mark.claim(PROMPT_LENGTH_MATTERS_LITTLE)
def test_prompt_length_matters_little(future_lens, judge_readers):
    judge_readers(
        five=of_length(future_lens, 5),
        ten=of_length(future_lens, 10),
        twenty=of_length(future_lens, 20),
        no_state=future_lens.no_state(1, few=True),
    )


@pytest.mark.standard
@pytest.mark.claim(NO_LENGTH_IS_LIKE_A_FIXED_PROMPT)
def test_no_length_is_like_a_fixed_prompt(future_lens, judge_readers):
    only_start = {"start": "<|endoftext|>"}
    judge_readers(
        start_token=future_lens.fixed_each(1, future_lens.middle, prompts=only_start, few=True)[
            "start"
        ],
        one_vector=of_length(future_lens, 1),
        fixed=future_lens.fixed(1, future_lens.middle, few=True),
    )
