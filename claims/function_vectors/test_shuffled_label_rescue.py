"""Where examples show the task wrongly, the vector puts it right."""

from __future__ import annotations

from dataclasses import replace

import pytest

from claims.function_vectors.paper import DOES_THE_TASK, FUNCTION_VECTORS, PRIMARY
from stillwired.judge import Claim, Difference

SHUFFLED_LABEL_RESCUE = Claim(
    id="function-vectors/shuffled-label-rescue",
    version=2,
    says="The vector makes the model do the task though the examples' answers are shuffled.",
    source=FUNCTION_VECTORS.at("Section 3.1, shuffled labels"),
    published="0.908 against 0.391 (GPT-J-6B, mean of six tasks)",
    expects=(Difference("with_vector", "without", at_least=0.13),),
    margin=0.10,
    applies=DOES_THE_TASK,
    rivals=("other_vector", "random_vector", "commonest_answer"),
    primary=PRIMARY,
    mutant="every task gets a random vector of its own one's length",
    unit="word pairs",
)

SHUFFLED_LABEL_RESCUE_ACROSS_TASKS = replace(
    SHUFFLED_LABEL_RESCUE,
    id="function-vectors/shuffled-label-rescue-across-tasks",
    says="Vectors put wrongly shown tasks right, whichever task one looks at.",
    applies=(),
    primary={},
    unit="tasks",
)


@pytest.mark.claim(SHUFFLED_LABEL_RESCUE)
def test_shuffled_label_rescue(function_vectors, task, judge_vectors):
    on = function_vectors.on(task)
    judge_vectors(
        with_vector=on.rescue("own"),
        without=on.rescue("nothing"),
        other_vector=on.rescue("another task's"),
        random_vector=on.rescue("random"),
        commonest_answer=on.rescue("commonest answer"),
        beside={"layer average": on.rescue("layer average")},
    )


@pytest.mark.claim(SHUFFLED_LABEL_RESCUE_ACROSS_TASKS)
def test_shuffled_label_rescue_across_tasks(function_vectors, judge_vectors):
    on = function_vectors.on_all()
    judge_vectors(
        with_vector=on.rescue("own"),
        without=on.rescue("nothing"),
        other_vector=on.rescue("another task's"),
        random_vector=on.rescue("random"),
        commonest_answer=on.rescue("commonest answer"),
    )
