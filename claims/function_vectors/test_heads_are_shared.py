"""One small set of heads serves all tasks, and the vectors that it makes are each their own."""

from __future__ import annotations

import pytest

from claims.function_vectors.paper import DOES_THE_TASK, FUNCTION_VECTORS, PRIMARY
from stillwired.judge import Claim, Difference

HEADS_ARE_SHARED = Claim(
    id="function-vectors/heads-are-shared",
    version=2,
    says="Heads that were found on other tasks carry this one as well.",
    source=FUNCTION_VECTORS.at("Section 2, one set of heads for all tasks"),
    published="one list of ten heads serves more than forty tasks (GPT-J-6B)",
    expects=(Difference("heads_of_others", "random_heads", at_least=0.08),),
    margin=0.05,
    applies=DOES_THE_TASK,
    null="random heads of the same layers, against others of them",
    primary=PRIMARY,
    mutant="other heads of the same layers taken for those that carry tasks",
    unit="word pairs",
)

VECTORS_ARE_SPECIFIC = Claim(
    id="function-vectors/vectors-are-specific",
    version=2,
    says="A task's own vector triggers it; the vector of another task does not.",
    source=FUNCTION_VECTORS.at("Section 3.1; told by an author of the paper"),
    published="told, no figure given",
    expects=(Difference("own_vector", "other_vector", at_least=0.10),),
    margin=0.10,
    applies=DOES_THE_TASK,
    rivals=("random_vector", "commonest_answer"),
    primary=PRIMARY,
    mutant="other heads of the same layers taken for those that carry tasks",
    unit="word pairs",
)


@pytest.mark.claim(HEADS_ARE_SHARED)
def test_heads_are_shared(function_vectors, task, judge_vectors):
    on = function_vectors.on(task)
    judge_vectors(
        heads_of_others=on.lift("without"),
        random_heads=on.lift("random for without"),
        null={"heads_of_others": on.lift("other random for without")},
    )


@pytest.mark.claim(VECTORS_ARE_SPECIFIC)
def test_vectors_are_specific(function_vectors, task, judge_vectors):
    on = function_vectors.on(task)
    judge_vectors(
        own_vector=on.zero_shot("own"),
        other_vector=on.zero_shot("another task's"),
        random_vector=on.zero_shot("random"),
        commonest_answer=on.zero_shot("commonest answer"),
    )
