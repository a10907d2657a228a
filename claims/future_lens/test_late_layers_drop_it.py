"""Late layers no longer hold what middle layers know of the tokens to come."""

from __future__ import annotations

import pytest

from claims.future_lens.paper import FUTURE_LENS, PREDICTS_TEXT
from stillwired.judge import Claim, Difference

LATE_LAYERS_DROP_IT = Claim(
    id="future-lens/late-layers-drop-it",
    version=2,
    says="Read in the same way, late states tell less of the token after next than middle ones.",
    source=FUTURE_LENS.at("Figure 4 and Section 5, late layers"),
    published="learned 0.238 at layer 28 against 0.482 at layer 14; linear 0.25 against 0.29",
    expects=(
        Difference("middle_states", "late_states", at_least=0.03),
        # Late states lose by standing where they do not belong; they must lose in their own place.
        Difference("middle_states", "late_in_place", at_least=0.03),
        Difference("linear_best", "linear_last", at_least=0.01),
    ),
    margin=0.01,
    applies=PREDICTS_TEXT,
    mutant="every judged state replaced by their mean",
)


@pytest.mark.claim(LATE_LAYERS_DROP_IT)
def test_late_layers_drop_it(future_lens, judge_readers):
    middle, late = future_lens.middle, future_lens.late
    judge_readers(
        # Late states, put in where the middle ones belong, for the prompt that knows that place.
        middle_states=future_lens.learned(1, middle, few=True),
        late_states=future_lens.learned(1, middle, states_of=late, few=True),
        late_in_place=future_lens.learned(1, late, few=True),
        linear_best=future_lens.linear(1),
        linear_last=future_lens.linear(1, future_lens.last),
    )
