"""Training of prompts: gradients, stopping, seeds, the cache, and going on after a stop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.nn.functional import kl_div

from stillwired.engine.cone import Cone
from stillwired.engine.sites import final
from stillwired.errors import EngineError, UsageError
from stillwired.instruments import learned_prompt as module
from stillwired.instruments import prompt_training
from stillwired.instruments.learned_prompt import learned_prompt
from stillwired.instruments.prompt_readers import Prompt, plan_prompt
from stillwired.instruments.prompt_training import (
    RECIPES,
    SHORT,
    Lesson,
    Recipe,
    Underway,
    choose_loss,
    divergences,
    recipe_of,
    train,
)
from stillwired.instruments.text import TextReadings
from stillwired.mutants.readings import damaged
from stillwired.profiles import PROFILES
from stillwired.store.cache import Store
from tests.instruments.conftest import BLOCKS, SMALL, WIDTH

FEW = Recipe(vectors=3, rate=0.02, steps=6, batch=4, every=2)


@pytest.fixture(scope="module")
def cone(engine):
    return Cone(engine)


def lesson_of(text, split, block, trained, rows=slice(None)):
    return module._lesson(text, split, block, trained).of(rows)


def readings(text, folder, say=lambda _: None):
    """The same readings over a cache of their own."""
    return TextReadings(
        text.checkpoint,
        text.engine,
        text.corpus,
        text.plan,
        lambda: text.survey,
        Store(folder),
        say,
    )


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
    loss = prompt_training._descend(cone, ours, block, fit)
    expected = plain_loss(checkpoint, theirs, block, fit)
    torch.autograd.backward(expected)
    assert loss == pytest.approx(float(expected.detach()), rel=1e-5)
    assert float(theirs.grad.norm()) > 1e-3
    assert float((ours.grad - theirs.grad).norm() / theirs.grad.norm()) < 1e-4
    with torch.no_grad():
        summed = sum(float(part) for part in divergences(cone, start, block, fit)) / len(fit)
    assert summed == pytest.approx(loss, rel=1e-5)


def test_gradients_of_several_packs_add_up(engine, cone, text):
    fit = lesson_of(text, "fit", 4, (2,), slice(12))
    small = Cone(engine, pack_cells=16)
    gradients, losses = [], []
    for runs in (cone, small):
        vectors = torch.full((4, WIDTH), 0.1).requires_grad_()
        losses.append(prompt_training._descend(runs, vectors, 4, fit))
        gradients.append(vectors.grad)
    with torch.no_grad():
        assert len(list(divergences(small, torch.full((4, WIDTH), 0.1), 4, fit))) > 1
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert float((gradients[0] - gradients[1]).norm() / gradients[0].norm()) < 1e-4


def test_steps_are_those_of_adamw_in_drawn_order(cone, text):
    fit, choose = (lesson_of(text, split, 4, (1,), slice(10)) for split in ("fit", "choose"))
    recipe = replace(FEW, steps=4, every=4, batch=3)
    seen = []
    ended = train(cone, 4, fit, choose, recipe, 11, keep=seen.append)
    rng = np.random.default_rng(11)
    vectors = torch.from_numpy(rng.normal(0.0, 0.02, (3, WIDTH)).astype(np.float32))
    vectors.requires_grad_()
    order = np.concatenate([rng.permutation(10), rng.permutation(10)])[:12].reshape(4, 3)
    optimiser = torch.optim.AdamW([vectors], lr=0.02, betas=(0.9, 0.999), weight_decay=1e-5)
    for rows in order:
        optimiser.zero_grad()
        prompt_training._descend(cone, vectors, 4, fit.of(rows))
        optimiser.step()
    assert torch.equal(ended.vectors, vectors.detach())
    assert [state.step for state in seen] == [4]
    assert ended.curve[:, 0].tolist() == [0.0, 4.0]


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
    ended = train(cone, block, fit.of(slice(400)), choose, recipe, 1, keep=states.append)
    assert ended.curve[:, 0].tolist() == [0.0, 20.0, 40.0, 60.0]
    assert ended.best_loss < 0.9 * float(ended.curve[0, 1])
    start = np.random.default_rng(1).normal(0.0, recipe.spread, (4, WIDTH)).astype(np.float32)
    before, after = (
        choose_loss(cone, vectors, block, rest) for vectors in (torch.from_numpy(start), ended.best)
    )
    assert after < 0.9 * before


def test_what_depends_on_the_state_is_learned_with_a_state_only(cone, text):
    """Planted: the final states are what a given prompt makes of the states and fed tokens."""
    generator = torch.Generator().manual_seed(1)
    teacher = torch.randn(4, WIDTH, generator=generator)

    def planted(split):
        lesson = lesson_of(text, split, 1, (1,), slice(200))
        plan = plan_prompt(cone, Prompt.of(teacher), 1, lesson.states, lesson.fed, [final(-1)])
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
        curve = torch.tensor([[0.0, choose_loss(cone, start, 1, lessons[1])]], dtype=torch.float64)
        begun = Underway(0, start, zero, zero, start, curve)
        losses.append(train(cone, 1, *lessons, recipe, 1, begun=begun).best_loss)
    with_state, without = losses
    assert with_state < 0.5 * without


def test_the_vectors_with_the_smallest_choose_loss_are_kept(cone, text):
    fit, choose = (lesson_of(text, split, 4, (1,), slice(16)) for split in ("fit", "choose"))
    # So large a rate that the loss goes up again.
    states = []
    recipe = replace(FEW, rate=0.5, steps=12, every=1)
    ended = train(cone, 4, fit, choose, recipe, 4, keep=states.append)
    losses = ended.curve[:, 1].tolist()
    best = int(np.argmin(losses))
    assert len(losses) == 13
    assert 0 < best < 12, losses
    assert torch.equal(ended.best, states[best - 1].vectors)
    assert choose_loss(cone, ended.best, 4, choose) == ended.best_loss == losses[best]
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
        train(cone, 4, broken, choose, FEW, 0)
    with pytest.raises(EngineError, match="finite"):
        train(cone, 4, fit, choose, replace(FEW, rate=1e30), 0)


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


# What is kept.


def made(text, folder, block=4, trained=(1,), recipe=FEW, say=lambda _: None):
    own = readings(text, folder, say)
    cone = Cone(text.engine())
    return learned_prompt(own, lambda: cone, block, trained, recipe)


def test_a_prompt_is_kept_with_its_recipe(text, tmp_path):
    kept = made(text, tmp_path, trained=(2, 1, 1))
    (path,) = tmp_path.glob(f"{module.KIND}/*/*.safetensors")
    with safe_open(path, "pt") as file:
        assert torch.equal(file.get_tensor("vectors"), kept.vectors)
    assert kept.vectors.shape == (3, WIDTH)
    assert kept.about["recipe"] == vars(FEW)
    assert (kept.about["block"], kept.about["trained"]) == (4, [1, 2])
    assert kept.about["steps"] == [0, 2, 4, 6]
    assert kept.prompt.vectors is kept.vectors

    def never():
        raise AssertionError("asked for although it lies in the cache")

    again = TextReadings(text.checkpoint, never, text.corpus, text.plan, never, Store(tmp_path))
    fetched = learned_prompt(again, never, 4, (1, 2), FEW)
    assert torch.equal(fetched.vectors, kept.vectors)
    assert fetched.about == kept.about


def test_a_share_of_the_rows_is_the_first_of_them(cone, text, tmp_path):
    recipe = replace(FEW, share=0.1)
    kept = made(text, tmp_path, recipe=recipe)
    few = lesson_of(text, "fit", 4, (1,), slice(len(text.rows("fit")) // 10))
    choose = lesson_of(text, "choose", 4, (1,))
    seed = text.fit_seed("learned prompt, N=1, block 4, restart 0")
    assert torch.equal(kept.vectors, train(cone, 4, few, choose, FEW, seed).best)
    whole = train(cone, 4, lesson_of(text, "fit", 4, (1,)), choose, FEW, seed)
    assert not torch.equal(kept.vectors, whole.best)


def test_equal_seeds_give_equal_vectors_and_others_do_not(text, tmp_path):
    one, same = (made(text, tmp_path / name) for name in ("one", "same"))
    assert torch.equal(one.vectors, same.vectors)
    assert one.about == same.about
    others = [
        made(text, tmp_path / "one", recipe=replace(FEW, restart=1)),
        made(text, tmp_path / "one", block=6),
        made(text, tmp_path / "one", trained=(2,)),
    ]
    for other in others:
        assert not torch.equal(other.vectors, one.vectors)
    # Not only the training, the draw itself is another one.
    starts = {tuple(other.about["choose_losses"][:1]) for other in (one, *others)}
    assert len(starts) == 4


def test_damaged_readings_train_prompts_of_their_own(text, tmp_path):
    sound = readings(text, tmp_path)
    broken = damaged(sound, "maps fitted to the final states of other documents")
    cone = Cone(text.engine())
    own, other = (learned_prompt(of, lambda: cone, 4, (1,), FEW) for of in (sound, broken))
    assert other.about["damage"] == broken.damage
    assert not torch.equal(own.vectors, other.vectors)
    assert len(list(tmp_path.glob(f"{module.KIND}/*"))) == 2


def test_at_the_last_block_no_state_is_read(text, tmp_path, monkeypatch):
    read = []
    states = text.survey.states
    monkeypatch.setattr(text.survey, "states", lambda *of: read.append(of) or states(*of))
    kept = made(text, tmp_path, block=BLOCKS - 1)
    assert not read
    made(text, tmp_path, block=BLOCKS - 1, trained=(0, 1))
    assert {block for _, block in read} == {BLOCKS - 1}
    # With states it would have been the same: nothing that counts can see them.
    cone = Cone(text.engine())
    lessons = [
        Lesson(states(split, BLOCKS - 1), without.fed, without.finals)
        for split, without in (
            (split, lesson_of(text, split, BLOCKS - 1, (1,))) for split in ("fit", "choose")
        )
    ]
    seed = text.fit_seed(f"learned prompt, N=1, block {BLOCKS - 1}, restart 0")
    ended = train(cone, BLOCKS - 1, *lessons, FEW, seed)
    assert float((ended.best - kept.vectors).abs().max()) < 1e-5


@pytest.mark.parametrize(
    ("block", "trained", "said"),
    [(4, (), "from 0 to 3"), (4, (4,), "from 0 to 3"), (BLOCKS - 1, (0,), "read off the state")],
)
def test_what_cannot_be_trained_is_an_error(text, tmp_path, block, trained, said):
    with pytest.raises(UsageError, match=said):
        made(text, tmp_path, block=block, trained=trained)


# Going on after a stop.


class Stop:
    """Interrupts when it is told something for the n-th time."""

    def __init__(self, at):
        self.left = at
        self.told = []

    def __call__(self, line):
        self.told.append(line)
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def files(folder):
    """Everything in a cache that training leaves there, locks apart."""
    return sorted(
        path.relative_to(folder)
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock" and path.parts[-3] != "readings"
    )


@pytest.mark.parametrize("trained", [(1,), (1, 2, 3)])
def test_an_interrupted_training_goes_on_to_the_same_result(text, tmp_path, trained):
    whole = made(text, tmp_path / "whole", trained=trained)
    folder = tmp_path / "stopped"
    # The first line is said before anything is done, each later one after two steps.
    for at, step in ((1, 0), (2, 2), (2, 4)):
        with pytest.raises(KeyboardInterrupt):
            made(text, folder, trained=trained, say=Stop(at))
        kept = [path for path in files(folder) if path.suffix == ".safetensors"]
        assert len(kept) == bool(step)
        if step:
            assert Underway.load(folder / kept[0]).step == step
    go_on = Stop(0)
    resumed = made(text, folder, trained=trained, say=go_on)
    assert "going on from step 4" in go_on.told[0]
    assert torch.equal(resumed.vectors, whole.vectors)
    assert resumed.about == whole.about
    first, second = (
        next(path.glob(f"{module.KIND}/*/*.safetensors"))
        for path in (tmp_path / "whole", tmp_path / "stopped")
    )
    assert first.read_bytes() == second.read_bytes()
    # What was on the way is gone, and nothing half-written lies anywhere.
    assert [path.parts[0] for path in files(folder)] == [module.KIND] * 2
    assert all(intact for _, intact, _ in Store(folder).verify())


def test_a_stop_while_writing_leaves_the_state_before(text, tmp_path, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        made(text, tmp_path, say=Stop(2))
    (kept,) = files(tmp_path)
    before = (tmp_path / kept).read_bytes()

    def broken(self, path):
        path.write_bytes(b"half of")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Underway, "save", broken)
        with pytest.raises(KeyboardInterrupt):
            made(text, tmp_path)
    assert files(tmp_path) == [kept]
    assert (tmp_path / kept).read_bytes() == before
    whole = made(text, tmp_path / "whole")
    assert torch.equal(made(text, tmp_path).vectors, whole.vectors)


def test_a_training_of_another_key_is_not_picked_up(text, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        made(text, tmp_path, say=Stop(2))
    told = Stop(0)
    made(text, tmp_path, recipe=replace(FEW, restart=1), say=told)
    assert "going on" not in told.told[0]
    broken = readings(text, tmp_path, told).with_damage("the same target whatever N")
    cone = Cone(text.engine())
    told.told.clear()
    learned_prompt(broken, lambda: cone, 4, (1,), FEW)
    assert "going on" not in told.told[0]


@pytest.mark.parametrize("how", ["cut", "foreign"])
def test_a_damaged_state_of_a_training_is_started_anew(text, tmp_path, how):
    with pytest.raises(KeyboardInterrupt):
        made(text, tmp_path, say=Stop(2))
    (kept,) = files(tmp_path)
    path = tmp_path / kept
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        save_file({"vectors": load_file(path)["vectors"]}, path, metadata={"step": "2"})
    told = Stop(0)
    resumed = made(text, tmp_path, say=told)
    assert "going on" not in told.told[0]
    assert torch.equal(resumed.vectors, made(text, tmp_path / "whole").vectors)
