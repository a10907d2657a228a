"""The heads that carry tasks lie in the first two thirds of the layers."""

from __future__ import annotations

import pytest

from claims.function_vectors.paper import FUNCTION_VECTORS
from stillwired.judge import Claim, Level

EFFECTS_LIE_EARLY = Claim(
    id="function-vectors/effects-lie-early",
    version=1,
    says="Most of the effect of the heads that carry tasks lies in the first two thirds of layers.",
    source=FUNCTION_VECTORS.at("Section 2, map of indirect effects"),
    published="0.90 (a replication, GPT-J-6B), 0.61 to 1.00 elsewhere",
    expects=(Level("early", at_least=0.60),),
    margin=0.10,
    # Two thirds of all heads lie there, so that an effect spread evenly would pass 0.60.
    rivals=("by_chance",),
    mutant="nearly all effects laid to the last layer",
    unit="tasks",
)


@pytest.mark.claim(EFFECTS_LIE_EARLY)
def test_effects_lie_early(function_vectors, judge_vectors):
    judge_vectors(**function_vectors.depth_of_effects())
