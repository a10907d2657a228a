"""Training of prompts: gradients, stopping, seeds, and several prompts at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import kl_div

from stillwired.engine.cone import Cone
from stillwired.engine.engine import Engine
from stillwired.engine.sites import final
from stillwired.errors import EngineError, UsageError
from stillwired.instruments import prompt_training
from stillwired.instruments.learned_prompt import _lesson
from stillwired.instruments.prompt_readers import Fronted, Prompt, plan_prompts
from stillwired.instruments.prompt_recipes import RECIPES, SHORT, Recipe, recipe_of
from stillwired.instruments.prompt_training import (
    Course,
    Lesson,
    Underway,
    choose_loss,
    divergences,
    embedding_unit,
    train,
)
from stillwired.profiles import PROFILES
from tests.engine.tiny import tiny
from tests.instruments.conftest import BLOCKS, SMALL, WIDTH

FEW = Recipe(vectors=3, rate=0.02, steps=6, batch=4, every=2)


@pytest.fixture(scope="module")
def cone(engine):
    return Cone(engine)


def lesson_of(text, split, block, trained, rows=slice(None)):
    return _lesson(text, split, block, trained).of(rows)


def descend(cone, vectors, block, lesson):
    """One prompt's gradient and loss."""
    (loss,) = prompt_training._descend(cone, vectors[None], [block], [lesson]).tolist()
    return loss


def alone(cone, block, fit, choose, recipe, seed, **how):
    return train(cone, [Course(block, fit, choose, seed)], recipe, **how)


def plain_loss(checkpoint, vectors, block, lesson):
    """Mean divergence by one plain forward pass for each row, with hooks; gradients pass."""
    model, total = checkpoint.model, torch.zeros(())
    at = len(vectors) - 1
    for row in range(len(lesson)):

        def feed(_module, _given, out):
            return torch.cat([vectors[None], out[:, at + 1 :]], dim=1)

        def transplant(_module, _given, out, row=row):
            hidden = (out[0] if isinstance(out, tuple) else out).clone()
            hidden[0, at] = torch.from_numpy(np.array(lesson.states[row]))
            return (hidden, *out[1:]) if isinstance(out, tuple) else hidden

        hooks = [model.model.embed_tokens.register_forward_hook(feed)]
        if lesson.states is not None:
            hooks.append(model.model.layers[block].register_forward_hook(transplant))
        tokens = [0] * len(vectors) + lesson.fed[row].tolist()
        logits = model(torch.tensor([tokens])).logits[0, at:]
        for hook in hooks:
            hook.remove()
        for ahead, finals in lesson.finals.items():
            own = model.lm_head(torch.from_numpy(np.array(finals[row]))).softmax(-1)
            total = total + kl_div(logits[ahead].log_softmax(-1), own, reduction="sum")
    return total / len(lesson)


# One step.


@pytest.mark.parametrize("trained", [(0,), (1,), (3,), (1, 2, 3), (0, 2)])
@pytest.mark.parametrize("block", [1, 4])
def test_a_step_follows_the_plain_gradient(checkpoint, cone, text, trained, block):
    fit = lesson_of(text, "fit", block, trained, slice(5))
    start = 0.3 * torch.randn(4, WIDTH, generator=torch.Generator().manual_seed(2))
    ours, theirs = (start.clone().requires_grad_() for _ in range(2))
    loss = descend(cone, ours, block, fit)
    expected = plain_loss(checkpoint, theirs, block, fit)
    torch.autograd.backward(expected)
    assert loss == pytest.approx(float(expected.detach()), rel=1e-5)
    assert float(theirs.grad.norm()) > 1e-3
    assert float((ours.grad - theirs.grad).norm() / theirs.grad.norm()) < 1e-4
    with torch.no_grad():
        parts = divergences(cone, start[None], [block], [fit])
        summed = sum(map(float, parts)) / len(fit)
    assert summed == pytest.approx(loss, rel=1e-5)


def test_gradients_of_several_packs_add_up(engine, cone, text):
    fit = lesson_of(text, "fit", 4, (2,), slice(12))
    small = Cone(engine, pack_cells=16)
    gradients, losses = [], []
    for runs in (cone, small):
        vectors = torch.full((4, WIDTH), 0.1).requires_grad_()
        losses.append(descend(runs, vectors, 4, fit))
        gradients.append(vectors.grad)
    with torch.no_grad():
        assert len(list(divergences(small, torch.full((1, 4, WIDTH), 0.1), [4], [fit]))) > 1
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert float((gradients[0] - gradients[1]).norm() / gradients[0].norm()) < 1e-4


def test_steps_are_those_of_adamw_in_drawn_order(cone, text):
    fit, choose = (lesson_of(text, split, 4, (1,), slice(10)) for split in ("fit", "choose"))
    recipe = replace(FEW, steps=4, every=4, batch=3)
    seen = []
    ended = alone(cone, 4, fit, choose, recipe, 11, keep=seen.append)
    rng = np.random.default_rng(11)
    vectors = torch.from_numpy(rng.normal(0.0, 0.02, (3, WIDTH)).astype(np.float32))
    vectors.requires_grad_()
    order = np.concatenate([rng.permutation(10), rng.permutation(10)])[:12].reshape(4, 3)
    optimiser = torch.optim.AdamW([vectors], lr=0.02, betas=(0.9, 0.999), weight_decay=1e-5)
    for rows in order:
        optimiser.zero_grad()
        descend(cone, vectors, 4, fit.of(rows))
        optimiser.step()
    assert torch.equal(ended.vectors[0], vectors.detach())
    assert [state.step for state in seen] == [4]
    assert ended.looks.tolist() == [0, 4]


def test_spread_and_steps_are_taken_in_the_models_unit(cone, text, monkeypatch):
    """By hand on vectors in that unit; a run that is taken up again goes on in the same."""
    scale, recipe = 8.0, Recipe(vectors=3, rate=0.02, decay=0.1, steps=4, batch=3, every=2)
    monkeypatch.setattr(prompt_training, "embedding_unit", lambda *_: scale)
    fit, choose = (lesson_of(text, split, 4, (1,), slice(12)) for split in ("fit", "choose"))
    drawn, order = Course(4, fit, choose, 3).draw(recipe, WIDTH)
    rows = drawn.clone().requires_grad_()
    optimiser = torch.optim.AdamW([rows], lr=0.02, weight_decay=0.1)
    for some in order:
        optimiser.zero_grad()
        descend(cone, scale * rows, 4, fit.of(some))
        optimiser.step()
    seen = []
    ended = alone(cone, 4, fit, choose, recipe, 3, keep=seen.append)
    assert torch.allclose(ended.vectors[0], scale * rows.detach(), atol=1e-4)
    assert float(ended.losses[0]) == choose_loss(cone, scale * drawn, 4, choose)
    again = alone(cone, 4, fit, choose, recipe, 3, begun=seen[0])
    assert torch.equal(again.vectors, ended.vectors)
    monkeypatch.undo()
    plain = alone(cone, 4, fit, choose, recipe, 3)
    assert not torch.allclose(scale * plain.vectors, ended.vectors, atol=0.1)


@pytest.mark.parametrize("family", ["llama", "gemma3", "bloom", "gpt2"])
@pytest.mark.parametrize("larger", [1.0, 10.0])
def test_the_unit_follows_the_size_of_what_enters_the_first_block(family, larger):
    engine = Engine(tiny(family))
    anatomy, model = engine.anatomy, engine.checkpoint.model
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(larger)
        entering = anatomy.embedding_scale * model.get_input_embeddings().weight
        if family == "bloom":
            entering = model.transformer.word_embeddings_layernorm(entering)
    size = float(entering.pow(2).mean().sqrt())
    unit = embedding_unit(engine, replace(FEW, relative=True))
    assert unit == pytest.approx(size / prompt_training.TYPICAL, rel=0.05)
    assert unit == float(f"{unit:.2g}")
    assert embedding_unit(engine, FEW) == anatomy.embedding_scale
    assert (anatomy.embedding_scale > 1) == (family == "gemma3")


def test_rounding_does_not_change_the_unit():
    engine = Engine(tiny("llama"))
    weight = engine.checkpoint.model.get_input_embeddings().weight
    relative, units = replace(FEW, relative=True), set()
    with torch.no_grad():
        for size in (0.998, 1.0, 1.002):
            weight.mul_(size * prompt_training.TYPICAL / weight.pow(2).mean().sqrt())
            units.add(embedding_unit(engine, relative))
    assert units == {1.0}


def test_gradients_are_added_up_in_one_order():
    """Many branches continue one cell; two threads would add their gradients in any order."""
    weights = torch.randn(128, 576, generator=torch.Generator().manual_seed(0))
    threads, gradients = torch.get_num_threads(), []
    torch.set_num_threads(2)
    try:
        for _ in range(30):
            cell = torch.ones(1, 12, 576, requires_grad=True)
            total = (cell[0, torch.zeros(128, dtype=torch.long)] * weights).sum()
            with prompt_training._same_every_time(total.device):
                torch.autograd.backward(total)
            gradients.append(cell.grad)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(gradients[0], other) for other in gradients)
    assert not torch.are_deterministic_algorithms_enabled()


# A whole training.


@pytest.mark.parametrize("block", [1, BLOCKS - 1])
def test_training_lowers_the_loss_on_rows_that_were_never_fitted(cone, text, block):
    recipe = Recipe(vectors=4, rate=0.05, steps=60, batch=16, every=20)
    fit, choose = (lesson_of(text, split, block, (1,)) for split in ("fit", "choose"))
    rest = fit.of(slice(400, None))
    states = []
    ended = alone(cone, block, fit.of(slice(400)), choose, recipe, 1, keep=states.append)
    assert ended.looks.tolist() == [0, 20, 40, 60]
    assert float(ended.best_losses) < 0.9 * float(ended.losses[0])
    start = np.random.default_rng(1).normal(0.0, recipe.spread, (4, WIDTH)).astype(np.float32)
    before, after = (
        choose_loss(cone, vectors, block, rest)
        for vectors in (torch.from_numpy(start), ended.best[0])
    )
    assert after < 0.9 * before


def test_what_depends_on_the_state_is_learned_with_a_state_only(cone, text):
    """Planted: the final states are what a given prompt makes of the states and fed tokens."""
    generator = torch.Generator().manual_seed(1)
    teacher = torch.randn(4, WIDTH, generator=generator)

    def planted(split):
        lesson = lesson_of(text, split, 1, (1,), slice(200))
        rows = Fronted(Prompt.of(teacher), 1, lesson.states, lesson.fed)
        plan = plan_prompts(cone, [rows], [final(-1)])
        finals = np.zeros((len(lesson), WIDTH), np.float32)
        for reading in plan.run():
            finals[reading.rows] = reading[final(-1)].numpy()
        return Lesson(lesson.states, lesson.fed, {1: finals})

    fit, choose = planted("fit"), planted("choose")
    assert choose_loss(cone, teacher, 1, choose) < 1e-6
    start = teacher + 0.1 * torch.randn(4, WIDTH, generator=generator)
    zero, recipe = torch.zeros_like(start), Recipe(vectors=4, rate=0.01, steps=60, batch=8)
    losses = []
    for lessons in ((fit, choose), [Lesson(None, each.fed, each.finals) for each in (fit, choose)]):
        untrained = torch.tensor([[choose_loss(cone, start, 1, lessons[1])]], dtype=torch.float64)
        four = (each[None] for each in (start, zero, zero, start))
        begun = Underway(0, *four, torch.tensor([0]), untrained)
        losses.append(float(alone(cone, 1, *lessons, recipe, 1, begun=begun).best_losses))
    with_state, without = losses
    assert with_state < 0.5 * without


def test_the_vectors_with_the_smallest_choose_loss_are_kept(cone, text):
    fit, choose = (lesson_of(text, split, 4, (1,), slice(16)) for split in ("fit", "choose"))
    # So large a rate that the loss goes up again.
    states = []
    recipe = replace(FEW, rate=0.5, steps=12, every=1)
    ended = alone(cone, 4, fit, choose, recipe, 4, keep=states.append)
    losses = ended.losses[:, 0].tolist()
    best = int(np.argmin(losses))
    assert len(losses) == 13
    assert 0 < best < 12, losses
    assert torch.equal(ended.best, states[best - 1].vectors)
    assert choose_loss(cone, ended.best[0], 4, choose) == float(ended.best_losses) == losses[best]
    assert not torch.equal(ended.best, ended.vectors)


def test_the_loss_on_the_choose_split_is_a_mean_over_its_rows(checkpoint, cone, text, monkeypatch):
    monkeypatch.setattr(prompt_training, "CHOOSE_ROWS", 7)
    choose = lesson_of(text, "choose", 4, (1, 2))
    assert len(choose) == 16
    vectors = torch.full((3, WIDTH), 0.2)
    with torch.no_grad():
        expected = float(plain_loss(checkpoint, vectors, 4, choose))
    assert choose_loss(cone, vectors, 4, choose) == pytest.approx(expected, rel=1e-5)


def test_the_order_goes_through_all_rows_before_it_repeats_one():
    order = prompt_training._order(10, replace(FEW, steps=5, batch=4), np.random.default_rng(0))
    assert order.shape == (5, 4)
    assert sorted(order.ravel()[:10]) == sorted(order.ravel()[10:]) == list(range(10))


def test_a_loss_that_is_not_finite_is_an_error(cone, text):
    fit, choose = (lesson_of(text, split, 4, (1,), slice(8)) for split in ("fit", "choose"))
    broken = Lesson(fit.states, fit.fed, {1: np.full_like(fit.finals[1], np.nan)})
    with pytest.raises(EngineError, match=r"prompt of block 4 is nan at step 1.*Lower"):
        alone(cone, 4, broken, choose, FEW, 0)
    with pytest.raises(EngineError, match="finite"):
        alone(cone, 4, fit, choose, replace(FEW, rate=1e30), 0)


# Several prompts at once.


def courses_of(text, trained=(1,), blocks=(1, 4, BLOCKS - 1), rows=40):
    """Courses of several blocks, the last one without states, in orders of their own."""
    return [
        Course(
            block,
            lesson_of(text, "fit", block, trained, slice(rows)),
            lesson_of(text, "choose", block, trained),
            seed,
        )
        for seed, block in enumerate(blocks)
    ]


@pytest.mark.parametrize("trained", [(1,), (0, 2)])
def test_prompts_that_are_trained_together_end_where_they_would_alone(cone, text, trained):
    recipe, courses = replace(FEW, steps=3, every=1, batch=8), courses_of(text, trained)
    assert [course.fit.states is None for course in courses] == [False, False, trained == (1,)]
    together, seen = train(cone, courses, recipe), []
    for number, course in enumerate(courses):
        ended = train(cone, [course], recipe, keep=seen.append)
        start = course.draw(recipe, WIDTH)[0]
        # As a whole, and not number by number: a step of AdamW is as long for a gradient that is
        # all rounding as for any other.
        for name, before in (("vectors", start), ("best", start), ("mean", torch.zeros(()))):
            alone = getattr(ended, name)[0]
            apart = (getattr(together, name)[number] - alone).norm()
            assert float(apart / (alone - before).norm()) < 1e-3
        assert torch.allclose(together.losses[:, number], ended.losses[:, 0], atol=1e-4)
        # Rows and first vectors are its own: the losses come down from different ones.
        assert float((together.vectors[number] - course.draw(recipe, WIDTH)[0]).abs().max()) > 0.01
    assert len({round(loss, 3) for loss in together.losses.flatten().tolist()}) == 12


def test_the_vectors_of_each_prompt_are_kept_where_its_own_loss_is_smallest(cone, text):
    seen, recipe = [], replace(FEW, rate=0.5, steps=12, every=1)
    ended = train(cone, courses_of(text, rows=16), recipe, keep=seen.append)
    best = ended.losses.argmin(0).tolist()
    assert len(set(best)) > 1, "they would prove little if all were at their best at once"
    starts = [course.draw(recipe, WIDTH)[0] for course in courses_of(text)]
    for number, look in enumerate(best):
        expected = seen[look - 1].vectors[number] if look else starts[number]
        assert torch.equal(ended.best[number], expected)
        assert float(ended.best_losses[number]) == float(ended.losses[look, number])


def test_prompts_do_not_feel_each_others_gradients(cone, text):
    """What one learns does not depend on how far off another one is."""
    courses, blocks = courses_of(text), [1, 4, BLOCKS - 1]
    batches = [course.fit.of(slice(5)) for course in courses]
    generator = torch.Generator().manual_seed(5)
    start = 0.3 * torch.randn(3, 4, WIDTH, generator=generator)
    gradients = []
    for scale in (1.0, 5.0):
        vectors = start.clone()
        vectors[1] *= scale
        vectors.requires_grad_()
        losses = prompt_training._descend(cone, vectors, blocks, batches)
        gradients.append((vectors.grad, losses))
    (first, before), (second, after) = gradients
    for number in (0, 2):
        assert torch.allclose(first[number], second[number], rtol=1e-4, atol=1e-6)
        assert float(before[number]) == pytest.approx(float(after[number]), rel=1e-5)
    assert not torch.allclose(first[1], second[1], rtol=0.1)


def test_a_step_of_several_prompts_runs_in_one_pack(cone, text):
    courses, blocks = courses_of(text), [1, 4, BLOCKS - 1]
    vectors = torch.full((3, 4, WIDTH), 0.1)
    lessons = [course.fit.of(slice(6)) for course in courses]
    with torch.no_grad():
        (sums,) = divergences(cone, vectors, blocks, lessons)
        apart = [
            float(*divergences(cone, vectors[:1], [block], [lesson]))
            for block, lesson in zip(blocks, lessons, strict=True)
        ]
        # Where they do not fit into one, packs add up to the same.
        packs = list(divergences(Cone(cone.engine, 12), vectors, blocks, lessons))
    assert sums.tolist() == pytest.approx(apart, rel=1e-5)
    assert len(packs) > 3
    assert torch.stack(packs).sum(0).tolist() == pytest.approx(apart, rel=1e-5)


def test_the_block_whose_loss_is_not_finite_is_named(cone, text):
    courses = courses_of(text)
    broken = courses[1].fit
    broken = Lesson(broken.states, broken.fed, {1: np.full_like(broken.finals[1], np.nan)})
    courses[1] = replace(courses[1], fit=broken)
    with pytest.raises(EngineError, match="prompt of block 4 is nan at step 1"):
        train(cone, courses, FEW)


def test_progress_names_the_blocks_and_their_losses(cone, text):
    told = []
    ended = train(cone, courses_of(text), FEW, say=told.append)
    assert len(told) == 3
    losses = ", ".join(f"{loss:.3f}" for loss in ended.losses[-1].tolist())
    assert told[-1].startswith("training the prompts of blocks 1, 4, 7: step 6 of 6, loss ")
    assert told[-1].endswith(f", on the choose split {losses}, 0 s left")


# Recipes.


def test_a_recipe_that_trains_nothing_is_an_error():
    with pytest.raises(UsageError, match="trains nothing"):
        replace(FEW, steps=0)
    for share in (0, 1.1, -0.5):
        with pytest.raises(UsageError, match="learns from no rows"):
            replace(FEW, share=share)
    assert (Recipe().rate, Recipe().batch, Recipe().steps) == (5e-4, 8, 1250)


def test_every_profile_has_its_recipe_and_others_the_short_one():
    assert {name: recipe_of(profile) for name, profile in PROFILES.items()} == RECIPES
    assert recipe_of(SMALL) == SHORT
    assert {name for name, recipe in RECIPES.items() if not recipe.relative} == {"paper"}
