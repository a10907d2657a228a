"""A pytest plugin, `-p tests.small_run`: the quick profile cut down until a run takes seconds."""

from __future__ import annotations

from dataclasses import replace

from stillwired import profiles

profiles.PROFILES["quick"] = replace(
    profiles.QUICK,
    judge_states=160,
    choose_states=16,
    fit_states=600,
    per_passage=4,
    lens_states=30,
)


def pytest_collection_finish() -> None:
    """Train for few steps, looking and writing often; late, since this loads torch.

    Random models predict nothing, and readers are asked all the same.
    """
    from stillwired import judge
    from stillwired.instruments import prompt_recipes

    judge.lacking = lambda claim, ability: False

    short = replace(prompt_recipes.SHORT, steps=32, batch=4, every=2)
    prompt_recipes.RECIPES["quick"] = short
