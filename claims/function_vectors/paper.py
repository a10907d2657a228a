"""The paper, and what a model must be able to do for its claims to apply."""

from __future__ import annotations

from stillwired.judge import Needs, Paper

FUNCTION_VECTORS = Paper(
    key="function-vectors",
    title="Function Vectors in Large Language Models",
    authors="Todd, Li, Sen Sharma, Mueller, Wallace, Bau",
    venue="ICLR 2024",
    arxiv="2310.15213",
)

# A vector is made of what clean prompts leave, so there have to be right answers among them, and
# more than a guesser has who always says the commonest one.
DOES_THE_TASK = (Needs("right in context beyond the commonest answer", at_least=0.30),)

PRIMARY = {"task": "present-past"}
"""One of the paper's six, and the one that small models are surest of."""
