"""What a learned prompt foresees comes out of the state, not out of the tokens it is fed."""

from __future__ import annotations

import pytest

from claims.future_lens.paper import FUTURE_LENS, PREDICTS_TEXT
from stillwired.judge import Claim, Difference

STATE_IS_NEEDED = Claim(
    id="future-lens/state-is-needed",
    version=1,
    says="A learned prompt foresees the token after next far worse without the state.",
    source=FUTURE_LENS.at("Section 3, learned prompt; the control is ours"),
    published="not published; 0.01 with another's state in a replication without fed tokens",
    expects=(Difference("learned", "no_state", at_least=0.06),),
    margin=0.04,
    applies=PREDICTS_TEXT,
    null="states shuffled across documents",
    mutant="every judged state replaced by their mean",
)

PROMPT_WORKS_FURTHER_AHEAD = Claim(
    id="future-lens/prompt-works-further-ahead",
    version=1,
    says="A prompt trained for the token after next reads two and three tokens ahead as well.",
    source=FUTURE_LENS.at("Figure 4, learned prompt, N=2 and N=3"),
    published="0.437 and 0.469, with what the fed tokens tell (GPT-J-6B)",
    expects=(Difference("learned", "no_state", at_least=0.02),),
    margin=0.02,
    applies=PREDICTS_TEXT,
    null="states shuffled across documents",
    primary={"ahead": 2},
    mutant="every judged state exchanged for another document's",
)


PROMPTS_FOR_FURTHER_AHEAD = Claim(
    id="future-lens/prompts-for-further-ahead",
    version=1,
    says="How well prompts that were trained for other N read one, two and three tokens ahead.",
    source=FUTURE_LENS.at("appendix, prompts trained for other N"),
    published="trained for N=3: 0.14 to 0.42 at N=1, up to 0.44 and 0.48 at N=2, 3 (GPT-J-6B)",
    expects=(
        Difference("trained_for_two", "trained_for_one", reported=True),
        Difference("trained_for_three", "trained_for_one", reported=True),
        Difference("trained_for_all", "trained_for_one", reported=True),
    ),
    applies=PREDICTS_TEXT,
)


@pytest.mark.claim(STATE_IS_NEEDED)
def test_state_is_needed(future_lens, judge_readers):
    judge_readers(
        learned=future_lens.learned(1, few=True),
        no_state=future_lens.no_state(1, few=True),
        null={"learned": future_lens.learned(1, states="shuffled", few=True)},
        # With a state that foretells the same next token: what the state knows beyond that.
        beside={"swapped states": future_lens.learned(1, states="swapped", few=True)},
    )


@pytest.mark.claim(PROMPT_WORKS_FURTHER_AHEAD)
@pytest.mark.parametrize("ahead", [2, 3])
def test_prompt_works_further_ahead(future_lens, ahead, judge_readers):
    judge_readers(
        learned=future_lens.learned(ahead, few=True),
        no_state=future_lens.no_state(ahead, few=True),
        null={"learned": future_lens.learned(ahead, states="shuffled", few=True)},
    )


@pytest.mark.standard
@pytest.mark.claim(PROMPTS_FOR_FURTHER_AHEAD)
@pytest.mark.parametrize("ahead", [1, 2, 3])
def test_prompts_for_further_ahead(future_lens, ahead, judge_readers):
    def read(trained):
        return future_lens.learned(ahead, future_lens.middle, trained=trained, few=True)

    judge_readers(
        trained_for_one=read(1),
        trained_for_two=read(2),
        trained_for_three=read(3),
        trained_for_all=read((1, 2, 3)),
    )
