"""The post that introduced the logit lens."""

from __future__ import annotations

from stillwired.judge import Paper

LOGIT_LENS = Paper(
    key="logit-lens",
    title="interpreting GPT: the logit lens",
    authors="nostalgebraist",
    venue="LessWrong 2020",
)
