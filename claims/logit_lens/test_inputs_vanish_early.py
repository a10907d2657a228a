"""After a few blocks the state no longer looks like the token that went in."""

from __future__ import annotations

import pytest

from claims.logit_lens.paper import LOGIT_LENS
from stillwired.judge import Claim, Difference, Needs

INPUTS_VANISH_EARLY = Claim(
    id="logit-lens/inputs-vanish-early",
    version=1,
    says="After a few blocks the lens no longer shows the token that went in.",
    source=LOGIT_LENS.at("the section on inputs that are quickly discarded"),
    published="described, no figure given",
    expects=(Difference("at_the_embedding", "at_depth_015", at_least=0.25),),
    margin=0.1,
    applies=(Needs("the embedding decodes its input", at_least=0.5),),
    null="another text's input token in place of the own one",
    mutant="the embedding read at every depth",
)


@pytest.mark.claim(INPUTS_VANISH_EARLY)
def test_inputs_vanish_early(logit_lens, judge_readers):
    def read(token):
        return {
            "at_the_embedding": logit_lens.input_at_embedding(token),
            "at_depth_015": logit_lens.input_at_early_block(token),
        }

    judge_readers(
        **read("own"),
        null=read("another's"),
        ability={"the embedding decodes its input": logit_lens.embedding_decodes()},
    )
