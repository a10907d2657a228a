"""Do larger models foresee more? The authors guess so; one checkpoint gives one point."""

from __future__ import annotations

import pytest

from claims.future_lens.paper import FUTURE_LENS, PREDICTS_TEXT
from stillwired.judge import Claim, Level

BIGGER_MODELS_FORESEE_MORE = Claim(
    id="future-lens/bigger-models-foresee-more",
    version=1,
    says="How much a learned prompt foresees, to be held against checkpoints of other sizes.",
    source=FUTURE_LENS.at("a guess of the authors, told in conversation"),
    published="0.484 (GPT-J-6B, N=1)",
    expects=(Level("learned", reported=True),),
    applies=PREDICTS_TEXT,
)


@pytest.mark.claim(BIGGER_MODELS_FORESEE_MORE)
@pytest.mark.parametrize("ahead", [1, 2, 3])
def test_bigger_models_foresee_more(future_lens, ahead, judge_readers):
    judge_readers(
        learned=future_lens.learned(ahead, few=True),
        beside={
            "next token right": future_lens.learned(ahead, few=True, population="next-right"),
            "within 5": future_lens.learned(ahead, within=5, few=True),
            "within 10": future_lens.learned(ahead, within=10, few=True),
            "surprisal of the target, nats": future_lens.learned(
                ahead, few=True, score="surprisal"
            ),
        },
    )
