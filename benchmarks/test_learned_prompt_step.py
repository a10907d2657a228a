"""Training steps of learned prompts: against running the whole prompt each time, and together.

Ten vectors in front, an example's state put in at the last of them in a middle layer, one more
token fed, the next one foreseen (N = 1); the loss is the KL divergence from the model's own
distribution. The plain way runs all eleven tokens for each example, under a hook, and unembeds
the last position only. Prompts of several blocks take their steps in the same passes, against
one after another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.common import hooked, interleaved, made_up, peak_megabytes
from stillwired.engine.cone import Cone
from stillwired.engine.edits import Edit
from stillwired.engine.engine import Engine
from stillwired.engine.sites import embedding, logits, residual
from stillwired.instruments.prompt_training import Lesson, divergences

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

VECTORS, LAYER, ROUNDS = 10, 15, 9
LEAST_RATIO = {16: 2.2, 64: 3.5}


class Step:
    """One step's examples, and both ways to compute its loss and gradient."""

    def __init__(self, engine: Engine, examples: int) -> None:
        generator = torch.Generator().manual_seed(0)
        width = engine.anatomy.width
        self.engine, self.cone, self.model = engine, Cone(engine), engine.checkpoint.model
        self.start = 0.02 * torch.randn(VECTORS, width, generator=generator)
        self.states = torch.randn(examples, width, generator=generator)
        self.fed = made_up(engine, examples, 1)
        goal = torch.randn(examples, engine.anatomy.vocabulary, generator=generator)
        self.goal = (3 * goal).log_softmax(-1)

    def loss(self, found: Tensor) -> Tensor:
        log_probs = found.log_softmax(-1)
        return functional.kl_div(log_probs, self.goal, log_target=True, reduction="batchmean")

    def plainly(self) -> tuple[float, Tensor]:
        vectors = self.start.clone().requires_grad_()
        fed = self.model.get_input_embeddings()(torch.tensor(self.fed))
        inputs = torch.cat([vectors.expand(len(fed), -1, -1), fed], dim=1)

        def put_in(module: Any, args: Any, output: Tensor) -> Tensor:
            state = output.clone()
            state[:, VECTORS - 1] = self.states
            return state

        block = self.model.get_submodule(self.engine.anatomy.layer_paths[LAYER])
        with hooked((block, put_in, False)):
            out = self.model(inputs_embeds=inputs, use_cache=False, logits_to_keep=1)
        loss = self.loss(out.logits[:, -1])
        loss.backward()
        assert vectors.grad is not None
        return loss.item(), vectors.grad

    def by_cone(self) -> tuple[float, Tensor]:
        vectors = self.start.clone().requires_grad_()
        edits = [Edit(embedding(k - VECTORS - 1), "replace", vectors[k]) for k in range(VECTORS)]
        edits.append(Edit(residual(LAYER, -2), "replace", self.states))
        prompts = [[0] * VECTORS + fed for fed in self.fed]
        (reading,) = self.cone.plan(prompts, edits, [logits(-1)]).run(grad=True)
        loss = self.loss(reading[logits(-1)])
        loss.backward()
        assert vectors.grad is not None
        return loss.item(), vectors.grad


@pytest.mark.benchmark(group="learned-prompt-step")
@pytest.mark.parametrize("examples", LEAST_RATIO)
def test_a_step_of_a_learned_prompt(
    benchmark: BenchmarkFixture, engine: Engine, examples: int
) -> None:
    step = Step(engine, examples)
    peaks = {"cone": peak_megabytes(step.by_cone), "plain": peak_megabytes(step.plainly)}
    (plain_loss, plain), (loss, ours) = step.plainly(), step.by_cone()
    difference = float((ours - plain).norm() / plain.norm())
    assert difference < 1e-4
    assert loss == pytest.approx(plain_loss, rel=1e-5)
    took = interleaved({"plain": step.plainly, "cone": step.by_cone}, ROUNDS)
    benchmark.pedantic(step.by_cone, rounds=3)
    benchmark.extra_info.update(
        ratio=took["plain"] / took["cone"],
        max_difference=difference,
        plain_seconds=took["plain"],
        cone_seconds=took["cone"],
        peak_megabytes=peaks["cone"],
        plain_peak_megabytes=peaks["plain"],
    )
    assert benchmark.extra_info["ratio"] >= LEAST_RATIO[examples]


TOGETHER = (3, 9, 15, 20, 26)
"""Blocks whose prompts take a step in the same passes."""
LEAST_GAIN = 1.3


@pytest.mark.benchmark(group="learned-prompts-together")
def test_steps_of_several_learned_prompts_together(
    benchmark: BenchmarkFixture, engine: Engine
) -> None:
    """Five prompts, 16 examples each: in the same passes, against one after another."""
    generator = torch.Generator().manual_seed(0)
    width, cone = engine.anatomy.width, Cone(engine)
    start = 0.02 * torch.randn(len(TOGETHER), VECTORS, width, generator=generator)
    lessons = []
    for _ in TOGETHER:
        states, own = (torch.randn(16, width, generator=generator).numpy() for _ in range(2))
        lessons.append(Lesson(states, np.array(made_up(engine, 16, 1)), {1: own}))

    def step(which: slice) -> Tensor:
        vectors = start[which].clone().requires_grad_()
        for sums in divergences(cone, vectors, TOGETHER[which], lessons[which], grad=True):
            sums.sum().backward()  # type: ignore[no-untyped-call]
        assert vectors.grad is not None
        return vectors.grad

    def together() -> Tensor:
        return step(slice(None))

    def one_by_one() -> Tensor:
        return torch.cat([step(slice(k, k + 1)) for k in range(len(TOGETHER))])

    plain, ours = one_by_one(), together()
    difference = float((ours - plain).norm() / plain.norm())
    assert difference < 1e-4
    took = interleaved({"plain": one_by_one, "cone": together}, ROUNDS)
    benchmark.pedantic(together, rounds=3)
    benchmark.extra_info.update(
        ratio=took["plain"] / took["cone"],
        max_difference=difference,
        plain_seconds=took["plain"],
        cone_seconds=took["cone"],
    )
    assert benchmark.extra_info["ratio"] >= LEAST_GAIN
