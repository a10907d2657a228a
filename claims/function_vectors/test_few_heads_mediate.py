"""A few attention heads carry a task: one is too few, twice as many add nothing."""

from __future__ import annotations

import pytest

from claims.function_vectors.paper import DOES_THE_TASK, FUNCTION_VECTORS, PRIMARY
from stillwired.judge import Claim, Difference

FEW_HEADS_MEDIATE = Claim(
    id="function-vectors/few-heads-mediate",
    version=2,
    says="A few heads' mean outputs bring the right answer back to prompts with wrong labels.",
    source=FUNCTION_VECTORS.at("Section 2, causal mediation"),
    published="ten of 448 heads carry the effect, 0.06 each at most (GPT-J-6B)",
    expects=(Difference("top_heads", "random_heads", at_least=0.10),),
    margin=0.05,
    applies=DOES_THE_TASK,
    null="random heads of the same layers, against others of them",
    primary=PRIMARY,
    mutant="other heads of the same layers taken for those that carry tasks",
    unit="word pairs",
)

ONE_HEAD_IS_NOT_ENOUGH = Claim(
    id="function-vectors/one-head-is-not-enough",
    version=2,
    says="The strongest head alone brings back less of the right answer than the few together.",
    source=FUNCTION_VECTORS.at("Section 2; told by an author of the paper"),
    published="told, no figure given",
    expects=(Difference("top_heads", "first_head", at_least=0.05),),
    margin=0.05,
    applies=DOES_THE_TASK,
    primary=PRIMARY,
    mutant="other heads of the same layers taken for those that carry tasks",
    unit="word pairs",
)

TWICE_AS_MANY_ADD_NOTHING = Claim(
    id="function-vectors/twice-as-many-add-nothing",
    version=2,
    says="A vector made of twice as many heads triggers the task no better and no worse.",
    source=FUNCTION_VECTORS.at("appendix, number of heads"),
    published="levels off at about ten heads (GPT-J-6B)",
    expects=(
        Difference("twice_as_many", "vector", within=0.10),
        # Where the vector does less than that, nothing is said by their agreement.
        Difference("vector", "without", at_least=0.10),
    ),
    margin=0.10,
    applies=DOES_THE_TASK,
    primary=PRIMARY,
    mutant="other heads of the same layers taken for the vector, not for the doubled one",
    unit="word pairs",
)


@pytest.mark.claim(FEW_HEADS_MEDIATE)
def test_few_heads_mediate(function_vectors, task, judge_vectors):
    on = function_vectors.on(task)
    judge_vectors(
        top_heads=on.lift("top"),
        random_heads=on.lift("random"),
        null={"top_heads": on.lift("other random")},
    )


@pytest.mark.claim(ONE_HEAD_IS_NOT_ENOUGH)
def test_one_head_is_not_enough(function_vectors, task, judge_vectors):
    on = function_vectors.on(task)
    judge_vectors(top_heads=on.lift("top"), first_head=on.lift("first"))


@pytest.mark.claim(TWICE_AS_MANY_ADD_NOTHING)
def test_twice_as_many_add_nothing(function_vectors, task, judge_vectors):
    on = function_vectors.on(task)
    judge_vectors(
        twice_as_many=on.zero_shot("doubled"),
        vector=on.zero_shot("own"),
        without=on.zero_shot("nothing"),
        beside={
            "lift by twice as many heads": on.lift("doubled"),
            "lift by the heads": on.lift("top"),
        },
    )
