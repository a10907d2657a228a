"""Counting pairs of tokens already foresees the token after next about one time in five."""

from __future__ import annotations

import pytest

from claims.future_lens.paper import FUTURE_LENS, PREDICTS_TEXT
from stillwired.judge import Claim, Level

BIGRAM_FLOOR = Claim(
    id="future-lens/bigram-floor",
    version=1,
    says="A table of token pairs foresees the token after next about one time in five.",
    source=FUTURE_LENS.at("Section 4 and Figure 4, bigram baseline"),
    published="0.201 (GPT-J-6B, N=1)",
    expects=(Level("bigram", between=(0.15, 0.30)),),
    margin=0.03,
    applies=PREDICTS_TEXT,
    rivals=("constant",),
    null="the followers dealt out again at random",
    primary={"population": "all"},
    mutant="a table that counts the tokens before instead of after",
)


@pytest.mark.claim(BIGRAM_FLOOR)
@pytest.mark.parametrize("population", ["all", "next-right"])
def test_bigram_floor(future_lens, population, judge_readers):
    judge_readers(
        bigram=future_lens.bigram(ahead=1, population=population),
        constant=future_lens.constant(ahead=1, population=population),
        null={"bigram": future_lens.bigram(1, followers="shuffled", population=population)},
    )
