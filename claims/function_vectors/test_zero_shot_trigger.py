"""Added to one layer, a function vector makes the model do a task that nothing else asks for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from claims.function_vectors.paper import DOES_THE_TASK, FUNCTION_VECTORS, PRIMARY
from stillwired.judge import Claim, Difference

ZERO_SHOT_TRIGGER = Claim(
    id="function-vectors/zero-shot-trigger",
    version=2,
    says="The vector alone makes the model do the task, without a single example.",
    source=FUNCTION_VECTORS.at("Section 3.1, zero-shot"),
    published="0.575 against 0.055 (GPT-J-6B, mean of six tasks)",
    expects=(Difference("with_vector", "without", at_least=0.13),),
    margin=0.10,
    applies=DOES_THE_TASK,
    rivals=("other_vector", "random_vector", "commonest_answer"),
    primary=PRIMARY,
    mutant="other heads of the same layers taken for those that carry tasks",
    unit="word pairs",
)

ZERO_SHOT_TRIGGER_ACROSS_TASKS = replace(
    ZERO_SHOT_TRIGGER,
    id="function-vectors/zero-shot-trigger-across-tasks",
    says="Vectors alone make the model do its tasks, whichever of them one looks at.",
    applies=(),
    primary={},
    unit="tasks",
)

BEATS_THE_LAYER_AVERAGE = Claim(
    id="function-vectors/beats-the-layer-average",
    version=2,
    says="The vector triggers the task better than the mean state of the same clean prompts.",
    source=FUNCTION_VECTORS.at("Section 3.1, layer averages"),
    published="0.575 against 0.095 (GPT-J-6B, zero-shot)",
    expects=(Difference("with_vector", "with_layer_average", at_least=0.10),),
    margin=0.10,
    applies=DOES_THE_TASK,
    rivals=("other_vector", "random_vector", "commonest_answer"),
    primary=PRIMARY,
    mutant="other heads of the same layers taken for those that carry tasks",
    unit="word pairs",
)


@pytest.mark.claim(ZERO_SHOT_TRIGGER)
def test_zero_shot_trigger(function_vectors, task, judge_vectors):
    on = function_vectors.on(task)
    judge_vectors(
        with_vector=on.zero_shot("own"),
        without=on.zero_shot("nothing"),
        other_vector=on.zero_shot("another task's"),
        random_vector=on.zero_shot("random"),
        commonest_answer=on.zero_shot("commonest answer"),
    )


@pytest.mark.claim(ZERO_SHOT_TRIGGER_ACROSS_TASKS)
def test_zero_shot_trigger_across_tasks(function_vectors, judge_vectors):
    on = function_vectors.on_all()
    judge_vectors(
        with_vector=on.zero_shot("own"),
        without=on.zero_shot("nothing"),
        other_vector=on.zero_shot("another task's"),
        random_vector=on.zero_shot("random"),
        commonest_answer=on.zero_shot("commonest answer"),
    )


@pytest.mark.claim(BEATS_THE_LAYER_AVERAGE)
def test_beats_the_layer_average(function_vectors, task, judge_vectors):
    on = function_vectors.on(task)
    judge_vectors(
        with_vector=on.zero_shot("own"),
        with_layer_average=on.zero_shot("layer average"),
        other_vector=on.zero_shot("another task's"),
        random_vector=on.zero_shot("random"),
        commonest_answer=on.zero_shot("commonest answer"),
    )
