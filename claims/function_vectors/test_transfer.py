"""A vector works where its examples were written otherwise, and where there are none: in prose."""

from __future__ import annotations

import pytest

from claims.function_vectors.paper import DOES_THE_TASK, FUNCTION_VECTORS, PRIMARY
from stillwired.judge import Claim, Difference, Level

TRANSFERS_ACROSS_TEMPLATES = Claim(
    id="function-vectors/transfers-across-templates",
    version=2,
    says="Vectors that were extracted from prompts in other formats trigger the task in this one.",
    source=FUNCTION_VECTORS.at("Section 3.1 and appendix, other formats"),
    published="twenty formats, figures by format in the appendix",
    expects=(Difference("from_other_formats", "without", at_least=0.10),),
    margin=0.10,
    applies=DOES_THE_TASK,
    rivals=("other_vector", "random_vector", "commonest_answer"),
    primary={**PRIMARY, "form": "arrow"},
    mutant="other heads of the same layers taken for those that carry tasks",
    unit="word pairs",
)

TRANSFERS_TO_NATURAL_TEXT = Claim(
    id="function-vectors/transfers-to-natural-text",
    version=2,
    says="The vector makes a sentence go on with the task's answer.",
    source=FUNCTION_VECTORS.at("Section 3.1, natural text"),
    published="antonym 0.00-0.03 to 0.46-0.68, capitals 0.04-0.23 to 0.57-0.72 (GPT-J-6B)",
    expects=(Difference("with_vector", "without", at_least=0.10),),
    margin=0.10,
    applies=DOES_THE_TASK,
    rivals=("other_vector", "random_vector", "commonest_answer"),
    primary=PRIMARY,
    mutant="other heads of the same layers taken for those that carry tasks",
    unit="word pairs",
)

LENGTH_MATTERS_LITTLE = Claim(
    id="function-vectors/length-of-the-text-matters-little",
    version=2,
    says="The vector works behind several sentences as well as behind none.",
    source=FUNCTION_VECTORS.at("Section 3.1, natural text; told by an author of the paper"),
    published="told, no figure given",
    expects=(
        Difference("long_text", "short_text", within=0.10),
        # Where the vector does less than that, nothing is said by their agreement.
        Level("short_text", at_least=0.10),
    ),
    margin=0.10,
    applies=DOES_THE_TASK,
    primary=PRIMARY,
    mutant="no vector inserted into long text",
    unit="word pairs",
)


@pytest.mark.claim(TRANSFERS_ACROSS_TEMPLATES)
def test_transfers_across_templates(function_vectors, task, form, judge_vectors):
    on = function_vectors.on(task)
    judge_vectors(
        from_other_formats=on.transferred(form, "own"),
        without=on.transferred(form, "nothing"),
        other_vector=on.transferred(form, "another task's"),
        random_vector=on.transferred(form, "random"),
        commonest_answer=on.transferred(form, "commonest answer"),
        beside={"vector from": on.from_each_form(form)},
    )


@pytest.mark.claim(TRANSFERS_TO_NATURAL_TEXT)
def test_transfers_to_natural_text(function_vectors, task, judge_vectors):
    on = function_vectors.on(task)
    judge_vectors(
        with_vector=on.in_text("own"),
        without=on.in_text("nothing"),
        other_vector=on.in_text("another task's"),
        random_vector=on.in_text("random"),
        commonest_answer=on.in_text("commonest answer"),
    )


@pytest.mark.claim(LENGTH_MATTERS_LITTLE)
def test_length_of_the_text_matters_little(function_vectors, task, judge_vectors):
    on = function_vectors.on(task)
    judge_vectors(
        long_text=on.gain_in_text(long=True),
        short_text=on.gain_in_text(),
    )
