"""Vectors add up: what is asked of the last item, and where it stands, come from three others."""

from __future__ import annotations

import pytest

from claims.function_vectors.paper import DOES_THE_TASK, FUNCTION_VECTORS
from stillwired.judge import Claim, Difference

VECTORS_ADD_UP = Claim(
    id="function-vectors/vectors-add-up",
    version=2,
    says="The sum of three tasks' vectors does a fourth task better than its own vector does.",
    source=FUNCTION_VECTORS.at("Section 3.3, composition"),
    published="last capital 0.60 against 0.15; last first letter 0.95 by the sum alone (GPT-J-6B)",
    expects=(Difference("composed", "direct", at_least=0.05),),
    margin=0.05,
    applies=DOES_THE_TASK,
    rivals=("last_copy", "first", "first_copy", "commonest_answer"),
    primary={"which": "last-first-letter-capital"},
    mutant="other heads of the same layers taken for those that carry tasks",
    unit="answers",
)


@pytest.mark.standard
@pytest.mark.claim(VECTORS_ADD_UP)
@pytest.mark.parametrize("which", ["last-country-capital", "last-first-letter-capital"])
def test_vectors_add_up(function_vectors, which, judge_vectors):
    composed = function_vectors.composed(which)
    judge_vectors(
        composed=composed.zero_shot("composed"),
        direct=composed.zero_shot("direct"),
        last_copy=composed.zero_shot("last_copy"),
        first=composed.zero_shot("first"),
        first_copy=composed.zero_shot("first_copy"),
        commonest_answer=composed.zero_shot("commonest answer"),
        beside={"without": composed.zero_shot("nothing")},
    )
