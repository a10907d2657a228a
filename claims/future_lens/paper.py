"""The paper, and what a model must be able to do for its claims to apply."""

from __future__ import annotations

from stillwired.judge import Needs, Paper

FUTURE_LENS = Paper(
    key="future-lens",
    title="Future Lens: Anticipating Subsequent Tokens from a Single Hidden State",
    authors="Pal, Sun, Yuan, Wallace, Bau",
    venue="CoNLL 2023",
    arxiv="2311.04897",
)

# Targets are the model's own words, so a model that loops would be easy to foresee.
PREDICTS_TEXT = (
    Needs("top-1 on the text", at_least=0.15),
    Needs("variety of what it says", at_least=4.0, unit="bits"),
)
