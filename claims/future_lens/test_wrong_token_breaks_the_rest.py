"""One wrong token on the way, and what was foreseen beyond it is lost."""

from __future__ import annotations

import pytest

from claims.future_lens.paper import FUTURE_LENS, PREDICTS_TEXT
from stillwired.judge import Claim, Difference

WRONG_TOKEN_BREAKS_THE_REST = Claim(
    id="future-lens/wrong-token-breaks-the-rest",
    version=1,
    says="Fed a wrong token first, a learned prompt foresees the one after far worse.",
    source=FUTURE_LENS.at("Section 4, tokens fed in between"),
    published="told, no figure given",
    expects=(Difference("true_token", "wrong_token", at_least=0.10),),
    margin=0.05,
    applies=PREDICTS_TEXT,
    mutant="another document's tokens fed",
)


@pytest.mark.claim(WRONG_TOKEN_BREAKS_THE_REST)
def test_wrong_token_breaks_the_rest(future_lens, judge_readers):
    judge_readers(
        true_token=future_lens.learned(2, few=True),
        wrong_token=future_lens.learned(2, fed="wrong first", few=True),
        # What fed tokens foretell by themselves is lost as well.
        beside={
            "the model itself": future_lens.own_drop(2),
            "true token, no state": future_lens.no_state(2, few=True),
            "wrong token, no state": future_lens.no_state(2, fed="wrong first", few=True),
        },
    )
