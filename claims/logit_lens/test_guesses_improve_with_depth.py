"""Layer by layer the model's guess at the next token gets better."""

from __future__ import annotations

import pytest

from claims.future_lens.paper import PREDICTS_TEXT
from claims.logit_lens.paper import LOGIT_LENS
from stillwired.judge import Claim, Difference, Level, Steps

GUESSES_IMPROVE_WITH_DEPTH = Claim(
    id="logit-lens/guesses-improve-with-depth",
    version=1,
    says="Read through the model's own last step, guesses at the next token improve with depth.",
    source=LOGIT_LENS.at("the surprisal and rank plots"),
    published="shown as curves, no figure given",
    expects=(
        Level("fall", at_least=1.0, labelled="fall of the surprisal, first to last third"),
        # Any token gets likelier once the lens stops being wildly overconfident. What counts is
        # how much more the text's own next token gains than another text's.
        Difference("fall", "fall_elsewhere", at_least=1.0, labelled="fall beyond calibration"),
        Steps("by_band", at_most=0.3, labelled="rise from one band of depth to the next"),
    ),
    margin=0.5,
    applies=PREDICTS_TEXT,
    null="another text's next token in place of the own one",
    mutant="the first block read at every depth",
)


@pytest.mark.claim(GUESSES_IMPROVE_WITH_DEPTH)
def test_guesses_improve_with_depth(logit_lens, judge_readers):
    judge_readers(
        fall=logit_lens.fall(),
        fall_elsewhere=logit_lens.fall("another's"),
        by_band=logit_lens.by_band(),
        null={"fall": logit_lens.fall("a third's")},
    )
