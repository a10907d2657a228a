"""A vector decodes to the words that a task answers with, and is more than these words."""

from __future__ import annotations

import pytest

from claims.function_vectors.paper import DOES_THE_TASK, FUNCTION_VECTORS, PRIMARY
from stillwired.judge import Claim, Difference

DECODES_TO_ANSWERS = Claim(
    id="function-vectors/decodes-to-answers",
    version=2,
    says="A vector decodes to its own task's answers rather than to another task's vector's words.",
    source=FUNCTION_VECTORS.at("Section 3.2, decoded vocabulary"),
    published="shown by example, no figure given",
    expects=(Difference("own_vector", "other_vector", at_least=0.10),),
    margin=0.10,
    applies=DOES_THE_TASK,
    primary=PRIMARY,
    mutant="other heads of the same layers taken for those that carry tasks",
    unit="word pairs",
)

MORE_THAN_ITS_WORDS = Claim(
    id="function-vectors/more-than-its-words",
    version=2,
    says="A vector that was rebuilt from what the vector decodes to triggers the task far less.",
    source=FUNCTION_VECTORS.at("Section 3.2, reconstruction"),
    published="antonym 0.482 to 0.048, capitals 0.832 to 0.581 (GPT-J-6B)",
    expects=(Difference("vector", "rebuilt", at_least=0.10),),
    margin=0.10,
    applies=DOES_THE_TASK,
    primary=PRIMARY,
    mutant="other heads of the same layers taken for those that carry tasks",
    unit="word pairs",
)


@pytest.mark.claim(DECODES_TO_ANSWERS)
def test_decodes_to_answers(function_vectors, task, judge_vectors):
    meaning = function_vectors.meaning_of(task)
    judge_vectors(
        own_vector=meaning.names_answers("own"),
        other_vector=meaning.names_answers("another task's"),
    )


@pytest.mark.standard
@pytest.mark.claim(MORE_THAN_ITS_WORDS)
def test_more_than_its_words(function_vectors, task, judge_vectors):
    meaning = function_vectors.meaning_of(task)
    judge_vectors(
        vector=function_vectors.on(task).zero_shot("own"),
        rebuilt=meaning.with_rebuilt(),
    )
