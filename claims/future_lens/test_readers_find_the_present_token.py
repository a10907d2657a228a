"""What the model is about to say can be read ever better towards the last block."""

from __future__ import annotations

import pytest

from claims.future_lens.paper import FUTURE_LENS, PREDICTS_TEXT
from stillwired.judge import Claim, Difference

READERS_FIND_THE_PRESENT_TOKEN = Claim(
    id="future-lens/readers-find-the-present-token",
    version=1,
    says="Late states give away what the model is about to say far more often than first ones.",
    source=FUTURE_LENS.at("Figure 4, N=0"),
    published="0.23 → 0.98, 0.22 → 0.85 (linear), 0.14 → 0.97, 0.30 → 0.97 (prompts) (GPT-J-6B)",
    expects=(Difference("late", "first", at_least=0.10),),
    margin=0.05,
    applies=PREDICTS_TEXT,
    null="states shuffled across documents",
    rivals=("constant",),
    primary={"reader": "linear"},
    mutant="the first block read at every depth",
)


@pytest.mark.claim(READERS_FIND_THE_PRESENT_TOKEN)
@pytest.mark.parametrize(
    "reader",
    ["linear", "vocabulary", pytest.param("fixed", marks=pytest.mark.standard), "learned"],
)
def test_readers_find_the_present_token(future_lens, reader, judge_readers):
    def read(depth, states="own"):
        return future_lens.with_reader(reader, 0, depth, states)

    late, first = future_lens.late, future_lens.first
    judge_readers(
        late=read(late),
        first=read(first),
        constant=future_lens.constant(0, few=True),
        null={"late": read(late, "shuffled"), "first": read(first, "shuffled")},
    )
