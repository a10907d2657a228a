"""The prompt of the middle layer reads the states of every other layer, too."""

from __future__ import annotations

import pytest

from claims.future_lens.paper import FUTURE_LENS, PREDICTS_TEXT
from stillwired.judge import Claim, Difference

ONE_PROMPT_FOR_ALL_LAYERS = Claim(
    id="future-lens/one-prompt-for-all-layers",
    version=1,
    says="The prompt that was trained in the middle reads every declared depth.",
    source=FUTURE_LENS.at("Section 5, the Future Lens tool"),
    published="the tool uses one prompt for all layers; no figure given",
    expects=(Difference("middle_prompt", "no_state", at_least=0.02),),
    margin=0.02,
    applies=PREDICTS_TEXT,
    null="states shuffled across documents",
    mutant="every judged state replaced by their mean",
)


@pytest.mark.standard
@pytest.mark.claim(ONE_PROMPT_FOR_ALL_LAYERS)
def test_one_prompt_for_all_layers(future_lens, judge_readers):
    def read(states):
        return future_lens.over(
            future_lens.before_last,
            lambda depth: future_lens.learned(
                1, depth, states=states, prompt_of=future_lens.middle, few=True
            ),
        )

    judge_readers(
        middle_prompt=read("own"),
        no_state=future_lens.no_state(1, few=True),
        null={"middle_prompt": read("shuffled")},
    )
