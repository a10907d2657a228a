"""The first token of a long name already holds the rest of it."""

from __future__ import annotations

import pytest

from claims.future_lens.paper import FUTURE_LENS, PREDICTS_TEXT
from stillwired.judge import Claim, Difference

NAMES_ACT_AS_ONE = Claim(
    id="future-lens/names-act-as-one",
    version=1,
    says="Inside a name of several tokens, the state foresees the rest beyond what tokens tell.",
    source=FUTURE_LENS.at("Section 1 and Section 5, names such as New York City"),
    published="shown by examples, no figure given",
    expects=(Difference("learned", "fair_linear", at_least=0.05),),
    margin=0.05,
    applies=PREDICTS_TEXT,
    rivals=("no_state", "shuffled_states"),
    mutant="another name's token fed behind every name",
    unit="names",
)

NAMES_ARE_NOT_SPECIAL = Claim(
    id="future-lens/names-are-not-special",
    version=1,
    says="Names are foreseen no better than other text.",
    source=FUTURE_LENS.at("Section 4, named entities"),
    published="0.44, 0.42, 0.37 for N = 1, 2, 3 against 0.48, 0.44, 0.47 overall (GPT-J-6B)",
    expects=(Difference("on_names", "elsewhere", reported=True),),
    applies=PREDICTS_TEXT,
    unit="names",
)


@pytest.mark.claim(NAMES_ACT_AS_ONE)
def test_names_act_as_one(future_lens, judge_readers):
    names = future_lens.names
    judge_readers(
        learned=names.learned(),
        fair_linear=names.fair_linear(),
        no_state=names.no_state(),
        shuffled_states=names.learned("shuffled"),
    )


@pytest.mark.claim(NAMES_ARE_NOT_SPECIAL)
def test_names_are_not_special(future_lens, judge_readers):
    judge_readers(on_names=future_lens.names.learned(), elsewhere=future_lens.names.elsewhere())
