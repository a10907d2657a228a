"""Tasks that lead back to where they began are no constant step between words."""

from __future__ import annotations

import pytest

from claims.function_vectors.paper import DOES_THE_TASK, FUNCTION_VECTORS
from stillwired.judge import Claim, Difference

NOT_WORD_ARITHMETIC = Claim(
    id="function-vectors/not-word-arithmetic",
    version=2,
    says="On cyclic tasks a vector does what no constant offset between words can do.",
    source=FUNCTION_VECTORS.at("Section 3, cyclic tasks"),
    published="told, no figure given",
    expects=(Difference("vector", "offset", at_least=0.10),),
    margin=0.10,
    applies=DOES_THE_TASK,
    primary={"cyclic_task": "antonym"},
    mutant="other heads of the same layers taken for those that carry tasks",
    unit="word pairs",
)


@pytest.mark.claim(NOT_WORD_ARITHMETIC)
def test_not_word_arithmetic(function_vectors, cyclic_task, judge_vectors):
    meaning = function_vectors.meaning_of(cyclic_task)
    judge_vectors(
        vector=function_vectors.on(cyclic_task).zero_shot("own"),
        offset={space: meaning.with_offset(space) for space in ("embedding", "logits")},
    )
