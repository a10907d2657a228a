"""A vector works in early to middle layers, and beyond them not at all."""

from __future__ import annotations

import pytest

from claims.function_vectors.paper import DOES_THE_TASK, FUNCTION_VECTORS, PRIMARY
from stillwired.judge import Claim, Difference

PEAK_THEN_CLIFF = Claim(
    id="function-vectors/peak-then-cliff",
    version=2,
    says="A vector triggers its task in early to middle layers far better than in late ones.",
    source=FUNCTION_VECTORS.at("Section 3.1, zero-shot accuracy by layer"),
    published="0.60 at layer 11 of 28, at most 0.02 from 18 on (a replication, GPT-J-6B, antonyms)",
    expects=(Difference("early_to_middle", "late", at_least=0.10),),
    margin=0.10,
    applies=DOES_THE_TASK,
    primary=PRIMARY,
    mutant="other heads of the same layers taken for those that carry tasks",
    unit="word pairs",
)

EFFECT_BY_DEPTH = Claim(
    id="function-vectors/effect-by-depth",
    version=1,
    says="How well tasks are triggered by their vectors at one depth, without a vector beside it.",
    source=FUNCTION_VECTORS.at("Section 3.1, zero-shot accuracy by layer"),
    published="0.42 at layer 0 to 0.60 at 11 and 12 of 28 (a replication, GPT-J-6B, antonyms)",
    expects=(Difference("with_vector", "without", reported=True),),
    unit="tasks",
)


@pytest.mark.claim(PEAK_THEN_CLIFF)
def test_peak_then_cliff(function_vectors, task, judge_vectors):
    on = function_vectors.on(task)
    judge_vectors(
        early_to_middle=on.early_to_middle(),
        late=on.late(),
        beside={"by depth": on.by_depth(), "without": on.zero_shot("nothing")},
    )


@pytest.mark.claim(EFFECT_BY_DEPTH)
def test_effect_by_depth(function_vectors, insertion_depth, judge_vectors):
    on = function_vectors.on_all()
    judge_vectors(with_vector=on.at_depth(insertion_depth), without=on.zero_shot("nothing"))
