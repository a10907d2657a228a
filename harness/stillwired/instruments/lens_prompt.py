"""Which prompt a lens reads with: the one that is kept, or one that is trained now.

The key is that of the claims, so that whoever trains first, the other finds it: at a depth of the
profile the prompts of all its depths are trained together, as the claims train them. What has to
be done comes with an estimate of how long it takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from stillwired.checkpoints.checkpoint import Checkpoint
from stillwired.data.corpus import Corpus
from stillwired.engine.cone import Cone
from stillwired.engine.engine import Engine
from stillwired.engine.sites import final
from stillwired.errors import UsageError
from stillwired.instruments.depths import resolve_depth
from stillwired.instruments.learned_prompt import LearnedPrompt, learned_prompts
from stillwired.instruments.lens_task import Task
from stillwired.instruments.prompt_recipes import Recipe, recipe_of
from stillwired.instruments.prompt_training import Lesson, divergences, prompts_of
from stillwired.instruments.survey import (
    FIRST_POSITION,
    FURTHEST,
    Say,
    Survey,
    SurveyPlan,
    take_survey,
)
from stillwired.instruments.text import TextReadings
from stillwired.profiles import Profile
from stillwired.store.cache import Store

TRAINED = (1,)
"""The N that the prompt of the tool is trained for."""


def prompt_for_lens(
    checkpoint: Checkpoint,
    engine: Engine,
    corpus: Corpus,
    store: Store,
    task: Task,
    *,
    recipe: Recipe | None = None,
    say: Say = lambda _: None,
) -> LearnedPrompt:
    """Fetch the prompt of one depth from the cache, or train it now.

    A claims run with the same profile and seed trains the same prompt.

    Args:
        checkpoint: Whose states it reads.
        engine: Runs the training.
        corpus: The text that it is trained on.
        store: The cache.
        task: Depth, profile and seed.
        recipe: How it is trained; None for what belongs to the profile, as in the claims.
        say: Told what has to be done, about how long that takes, and about progress.

    Raises:
        UsageError: If the depth is the last block, or does not exist.
        EngineError: As `learned_prompt`.
    """
    profile, blocks = task.profile, checkpoint.prepared.layers
    recipe = recipe or recipe_of(profile)
    block = resolve_depth(task.depth, blocks).block
    if block == blocks - 1:
        raise UsageError(
            f"A prompt that is trained at the last block, {block}, never hears a state. Train it "
            "at an earlier one, such as --depth 0.5."
        )
    plan = SurveyPlan(profile, profile.depths, task.seed)
    together = [found.block for found in plan.resolved(blocks)]
    if block not in together:
        # The profile does not read that block: a survey of its own does, for this prompt alone.
        plan, together = SurveyPlan(profile, (*profile.depths, task.depth), task.seed), [block]

    # The cache asks for these two only if it lacks what they make.
    def cone() -> Cone:
        needed = _about(_training_seconds(engine, together, recipe, profile.choose_states))
        say(
            f"no prompt is kept for block {block} of {checkpoint.name}: now training "
            f"{prompts_of(together)} on the {profile.name} survey of the {corpus.name}, "
            f"{recipe.steps} steps, {needed}"
        )
        return Cone(engine)

    def surveyor() -> Engine:
        needed = _about(_survey_seconds(engine, profile))
        say(f"that survey is not kept either and comes first: {needed}")
        return engine

    def survey() -> Survey:
        return take_survey(surveyor, checkpoint, corpus, plan, store, say)

    text = TextReadings(checkpoint, lambda: engine, corpus, plan, survey, store, say)
    return learned_prompts(text, cone, together, TRAINED, recipe)[block]


def _training_seconds(engine: Engine, blocks: Sequence[int], recipe: Recipe, choose: int) -> float:
    """Estimate a training from one step on made-up states."""
    anatomy = engine.anatomy
    draw = torch.Generator().manual_seed(0)
    vectors = torch.randn(len(blocks), recipe.vectors, anatomy.width, generator=draw)
    states = torch.randn(recipe.batch, anatomy.width, generator=draw).numpy()
    fed = torch.randint(anatomy.vocabulary, (recipe.batch, max(TRAINED)), generator=draw).numpy()
    lessons = [Lesson(states, fed, dict.fromkeys(TRAINED, states))] * len(blocks)
    # A cone of its own, so that its account of checks is not the training's.
    cone = Cone(engine)

    def step(grad: bool) -> None:
        with torch.set_grad_enabled(grad):
            trained = vectors.clone().requires_grad_(grad)
            for totals in divergences(cone, trained, blocks, lessons, grad=grad):
                if grad:
                    torch.autograd.backward(totals.sum())

    looks = recipe.steps // recipe.every + 1
    testing = _seconds(lambda: step(False)) * looks * choose / recipe.batch
    return _seconds(lambda: step(True)) * recipe.steps + testing


def _survey_seconds(engine: Engine, profile: Profile) -> float:
    """Estimate a survey from one passage of made-up tokens."""
    counts = (
        (profile.fit_states, profile.fit_tokens, None),
        (profile.choose_states, profile.judge_tokens, profile.per_passage),
        (profile.judge_states, profile.judge_tokens, profile.per_passage),
    )
    whole = sum(
        states / (each or length - FIRST_POSITION - FURTHEST - 1) * length
        for states, length, each in counts
    )
    length = min(256, engine.anatomy.context or 256)
    passage = [token % engine.anatomy.vocabulary for token in range(length)]

    def read() -> None:
        (reading,) = engine.read([passage], [final()])
        # About half of a passage's positions are unembedded.
        engine.unembed(reading[final()][0, : length // 2])

    return _seconds(read) * whole / length


def _seconds(run: Callable[[], Any]) -> float:
    """Time the second run: the first one warms up."""
    run()
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _about(seconds: float) -> str:
    return f"about {seconds:.0f} s" if seconds < 90 else f"about {seconds / 60:.0f} min"
