"""Trained prompts in the cache: what they are kept with, and going on after a stop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from stillwired.engine.cone import Cone
from stillwired.errors import CacheError, UsageError
from stillwired.instruments import learned_prompt as module
from stillwired.instruments.learned_prompt import LearnedPrompt, learned_prompt, learned_prompts
from stillwired.instruments.prompt_recipes import Recipe
from stillwired.instruments.prompt_training import Course, Lesson, Underway, train
from stillwired.instruments.text import TextReadings
from stillwired.mutants.readings import damaged
from stillwired.store.cache import Store
from tests.instruments.conftest import BLOCKS, WIDTH
from tests.running import fill, small_disk

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


# What is kept.


def made(text, folder, block=4, trained=(1,), recipe=FEW, say=lambda _: None):
    return made_together(text, folder, (block,), trained, recipe, say)[block]


def made_together(text, folder, blocks, trained=(1,), recipe=FEW, say=lambda _: None):
    own = readings(text, folder, say)
    cone = Cone(text.engine())
    return learned_prompts(own, lambda: cone, blocks, trained, recipe)


def test_a_prompt_is_kept_with_its_recipe(text, tmp_path):
    kept = made(text, tmp_path, trained=(2, 1, 1))
    (path,) = tmp_path.glob(f"{module.KIND}/*/*.safetensors")
    with safe_open(path, "pt") as file:
        assert torch.equal(file.get_tensor("block4"), kept.vectors)
    assert kept.vectors.shape == (3, WIDTH)
    assert kept.about["recipe"] == vars(FEW)
    assert (kept.about["block"], kept.about["trained"]) == (4, [1, 2])
    assert kept.about["steps"] == [0, 2, 4, 6]
    assert kept.prompt.vectors is kept.vectors
    first, _, late, last = (f"{loss:.2f}" for loss in kept.about["choose_losses"])
    assert kept.course == f"{first} nats at first, {late} after 4 steps, {last} after 6 steps"

    def never():
        raise AssertionError("asked for although it lies in the cache")

    again = TextReadings(text.checkpoint, never, text.corpus, text.plan, never, Store(tmp_path))
    fetched = learned_prompt(again, never, 4, (1, 2), FEW)
    assert torch.equal(fetched.vectors, kept.vectors)
    assert fetched.about == kept.about


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([0, 50, 100, 150], "5.00 nats at first, 3.00 after 100 steps, 2.00 after 150 steps"),
        ([0, 75, 150], "5.00 nats at first, 4.00 after 75 steps, 3.00 after 150 steps"),
        ([0, 60], "5.00 nats at first, 4.00 after 60 steps"),
    ],
)
def test_the_course_of_a_training_tells_what_its_last_third_did(steps, told):
    about = {"steps": steps, "choose_losses": [5.0, 4.0, 3.0, 2.0][: len(steps)]}
    assert LearnedPrompt(torch.zeros(1, 2), about).course == told


@pytest.mark.parametrize(
    ("recipe", "first"), [(replace(FEW, share=0.25), 6), (replace(FEW, share=0.1, steps=300), 60)]
)
def test_a_share_is_one_of_the_states_that_would_be_taken(recipe, first, cone, text, tmp_path):
    assert len(text.rows("fit")) == 600
    kept = made(text, tmp_path, recipe=recipe)
    drawn = np.sort(text.rng("share of the fit rows").permutation(600)[:first])
    few, choose = lesson_of(text, "fit", 4, (1,), drawn), lesson_of(text, "choose", 4, (1,))
    seed = text.fit_seed("learned prompt, N=1, block 4, restart 0")
    whole = replace(recipe, share=1.0)
    assert torch.equal(kept.vectors, train(cone, [Course(4, few, choose, seed)], whole).best[0])
    all_of_them = Course(4, lesson_of(text, "fit", 4, (1,)), choose, seed)
    assert not torch.equal(kept.vectors, train(cone, [all_of_them], whole).best[0])


def test_a_share_comes_from_everywhere(text):
    recipe = replace(FEW, share=0.1, steps=300)
    course = module._course(text, 4, (1,), recipe)
    rows = text.rows("fit")
    fed = {tuple(tokens) for tokens in rows.following[:, :1].tolist()}
    assert {tuple(tokens) for tokens in course.fit.fed.tolist()} <= fed
    states = np.asarray(text.survey.states("fit", 4))
    places = [np.flatnonzero((states == state).all(1))[0] for state in course.fit.states]
    documents = set(rows.documents[places].tolist())
    assert len(course.fit) == 60
    assert len(documents) > len(set(rows.documents[:60].tolist()))


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
    ended = train(cone, [Course(BLOCKS - 1, *lessons, seed)], FEW)
    assert float((ended.best[0] - kept.vectors).abs().max()) < 1e-5


@pytest.mark.parametrize(
    ("block", "trained", "said"),
    [(4, (), "from 0 to 3"), (4, (4,), "from 0 to 3"), (BLOCKS - 1, (0,), "read off the state")],
)
def test_what_cannot_be_trained_is_an_error(text, tmp_path, block, trained, said):
    with pytest.raises(UsageError, match=said):
        made(text, tmp_path, block=block, trained=trained)


# Several together.

TOGETHER = (6, 1, BLOCKS - 1)


def test_prompts_that_are_trained_together_are_kept_together(text, tmp_path):
    read, states = [], text.survey.states
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text.survey, "states", lambda *of: read.append(of) or states(*of))
        found = made_together(text, tmp_path, TOGETHER)
    assert {block for _, block in read} == {1, 6}
    assert list(found) == [1, 6, BLOCKS - 1]
    (path,) = tmp_path.glob(f"{module.KIND}/*/*.safetensors")
    with safe_open(path, "pt") as file:
        assert sorted(file.keys()) == ["block1", "block6", f"block{BLOCKS - 1}"]
    for block, kept in found.items():
        assert kept.about["block"] == block
        assert kept.about["recipe"] == vars(FEW)
        assert kept.about["steps"] == [0, 2, 4, 6]
        # What each has learned is what it learns alone.
        alone = made(text, tmp_path, block)
        assert torch.allclose(kept.vectors, alone.vectors, atol=1e-3)
        losses = alone.about["choose_losses"]
        assert kept.about["choose_losses"] == pytest.approx(losses, abs=1e-3)
        assert {**kept.about, "choose_losses": losses} == alone.about

    def never():
        raise AssertionError("asked for although it lies in the cache")

    again = TextReadings(text.checkpoint, never, text.corpus, text.plan, never, Store(tmp_path))
    fetched = learned_prompts(again, never, sorted(TOGETHER), (1, 1), FEW)
    for block, kept in found.items():
        assert torch.equal(fetched[block].vectors, kept.vectors)


def test_one_block_that_cannot_be_trained_is_an_error_for_all(text, tmp_path):
    with pytest.raises(UsageError, match="read off the state"):
        made_together(text, tmp_path, TOGETHER, trained=(0,))


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


@pytest.mark.parametrize(("blocks", "trained"), [((4,), (1,)), ((4,), (1, 2, 3)), (TOGETHER, (1,))])
def test_an_interrupted_training_goes_on_to_the_same_result(text, tmp_path, blocks, trained):
    whole = made_together(text, tmp_path / "whole", blocks, trained)
    folder = tmp_path / "stopped"
    # The first line is said before anything is done, each later one after two steps.
    for at, step in ((1, 0), (2, 2), (2, 4)):
        with pytest.raises(KeyboardInterrupt):
            made_together(text, folder, blocks, trained, say=Stop(at))
        kept = [path for path in files(folder) if path.suffix == ".safetensors"]
        assert len(kept) == bool(step)
        if step:
            assert Underway.load(folder / kept[0]).step == step
    go_on = Stop(0)
    resumed = made_together(text, folder, blocks, trained, say=go_on)
    assert "going on from step 4" in go_on.told[0]
    assert list(resumed) == list(whole)
    for block, kept in resumed.items():
        assert torch.equal(kept.vectors, whole[block].vectors)
        assert kept.about == whole[block].about
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


@pytest.mark.parametrize("how", ["cut", "one bit", "foreign"])
def test_a_damaged_state_of_a_training_is_started_anew(text, tmp_path, how):
    with pytest.raises(KeyboardInterrupt):
        made(text, tmp_path, say=Stop(2))
    (kept,) = files(tmp_path)
    path = tmp_path / kept
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif how == "one bit":
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    else:
        save_file({"vectors": load_file(path)["vectors"]}, path, metadata={"step": "2"})
    told = Stop(0)
    resumed = made(text, tmp_path, say=told)
    assert "going on" not in told.told[0]
    assert torch.equal(resumed.vectors, made(text, tmp_path / "whole").vectors)


@pytest.fixture
def small(tmp_path):
    with small_disk(tmp_path / "small", "256k") as disk:
        yield disk


def test_a_disk_that_runs_full_on_the_way_is_told_and_the_state_before_stays(
    text, small, monkeypatch
):
    plain = Underway.save

    def full_from_step_4(self, path):
        if self.step == 4:
            fill(small)
        plain(self, path)

    with monkeypatch.context() as patch:
        patch.setattr(Underway, "save", full_from_step_4)
        with pytest.raises(CacheError, match="The disk of the cache ran full"):
            made(text, small / "cache")
    (kept,) = files(small / "cache")
    assert Underway.load(small / "cache" / kept).step == 2
    (small / "other").unlink()
    told = Stop(0)
    resumed = made(text, small / "cache", say=told)
    assert "going on from step 2" in told.told[0]
    assert torch.equal(resumed.vectors, made(text, small.parent / "whole").vectors)
