"""A linear map of one state sees a little further than a table of token pairs."""

from __future__ import annotations

import pytest

from claims.future_lens.paper import FUTURE_LENS, PREDICTS_TEXT
from stillwired.judge import Claim, Difference, Needs

LINEAR_BEATS_BIGRAM = Claim(
    id="future-lens/linear-beats-bigram",
    version=2,
    says="A linear map of one state foresees the token after next better than token pairs do.",
    source=FUTURE_LENS.at("Figure 4 and Table 2"),
    published="0.292 against 0.201 (GPT-J-6B, N=1)",
    expects=(Difference("linear", "bigram", at_least=0.02),),
    margin=0.02,
    # A map that more text would still improve is no measure of all that a state holds: a lead
    # stands, a want of one does not.
    applies=(
        *PREDICTS_TEXT,
        Needs("gain of the map from twice the text", at_most=0.01, otherwise="not failed"),
    ),
    null="states shuffled across documents",
    rivals=("constant",),
    primary={"population": "all"},
    mutant="maps fitted to the final states of other documents",
)

LINEAR_IS_BEST_LATE = Claim(
    id="future-lens/linear-is-best-late",
    version=1,
    says="Linear maps foresee the token after next better from late states than from first ones.",
    source=FUTURE_LENS.at("Figure 4, linear maps"),
    published="0.29 at layers 21 to 25 against 0.14 at layer 1 (GPT-J-6B, N=1)",
    expects=(Difference("late", "first", at_least=0.02),),
    margin=0.02,
    applies=PREDICTS_TEXT,
    null="states shuffled across documents",
    rivals=("constant",),
    mutant="the first block read at every depth",
)


@pytest.mark.claim(LINEAR_BEATS_BIGRAM)
@pytest.mark.parametrize("population", ["all", "next-right"])
def test_linear_beats_bigram(future_lens, population, judge_readers):
    gain = future_lens.gain_from_doubling("linear", 1)
    judge_readers(
        linear=future_lens.linear(1, population=population),
        bigram=future_lens.bigram(1, population=population),
        constant=future_lens.constant(1, population=population),
        null={"linear": future_lens.linear(1, states="shuffled", population=population)},
        ability={"gain of the map from twice the text": gain},
    )


@pytest.mark.claim(LINEAR_IS_BEST_LATE)
def test_linear_is_best_late(future_lens, judge_readers):
    late, first = future_lens.late, future_lens.first
    judge_readers(
        late=future_lens.linear(1, late),
        first=future_lens.linear(1, first),
        constant=future_lens.constant(1),
        null={
            "late": future_lens.linear(1, late, states="shuffled"),
            "first": future_lens.linear(1, first, states="shuffled"),
        },
    )
