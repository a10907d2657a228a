"""The heads that carry tasks look back at the answers that the examples give."""

from __future__ import annotations

import pytest

from claims.function_vectors.paper import DOES_THE_TASK, FUNCTION_VECTORS, PRIMARY
from stillwired.judge import Claim, Difference

HEADS_LOOK_AT_ANSWERS = Claim(
    id="function-vectors/heads-look-at-answers",
    version=2,
    says="From the last token, the heads that carry tasks look at the examples' answers.",
    source=FUNCTION_VECTORS.at("Section 2 and appendix, attention patterns of the heads"),
    published="shown in figures, no figure given",
    expects=(Difference("top_heads", "random_heads", at_least=0.10),),
    margin=0.10,
    applies=DOES_THE_TASK,
    null="what each head looks at dealt out anew within the prompt",
    primary=PRIMARY,
    mutant="what each head looks at dealt out anew within the prompt",
    unit="word pairs",
)

HEADS_ARE_INDUCTION_HEADS = Claim(
    id="function-vectors/heads-are-induction-heads",
    version=1,
    says="How much more the heads that carry tasks copy what came before than others do.",
    source=FUNCTION_VECTORS.at("appendix, prefix matching"),
    published="0.182 against 0.044 (a replication, GPT-J-6B); no difference in OLMo-2-7B",
    expects=(Difference("top_heads", "random_heads", reported=True),),
    unit="sequences",
)


@pytest.mark.claim(HEADS_LOOK_AT_ANSWERS)
def test_heads_look_at_answers(function_vectors, task, judge_vectors):
    heads = function_vectors.heads_on(task)
    judge_vectors(
        top_heads=heads.attention_on_answers("top"),
        random_heads=heads.attention_on_answers("random"),
        null={"top_heads": heads.attention_on_answers("shuffled")},
    )


@pytest.mark.claim(HEADS_ARE_INDUCTION_HEADS)
def test_heads_are_induction_heads(function_vectors, judge_vectors):
    heads = function_vectors.heads()
    judge_vectors(top_heads=heads.induction("top"), random_heads=heads.induction("random"))
