"""The lens grids: against plain forward passes with hooks, and the way from text to grid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from stillwired.engine.cone import Cone
from stillwired.engine.engine import Engine
from stillwired.errors import UsageError
from stillwired.instruments import lens as module
from stillwired.instruments import lens_prompt
from stillwired.instruments.lens import Grid, future_grid, logit_grid, namer, read_lens
from stillwired.instruments.lens_prompt import prompt_for_lens
from stillwired.instruments.lens_task import Task, layers_of, tokens_of
from stillwired.instruments.prompt_outcomes import PromptOutcomes
from stillwired.instruments.prompt_readers import Prompt
from stillwired.instruments.prompt_recipes import Recipe
from stillwired.store.cache import Store
from tests.checkpoints.conftest import make_llama, make_tokenizer
from tests.instruments.conftest import BLOCKS, SMALL, WIDTH, made_checkpoint

TEXT = "w3 w1 w41 w59 w26 w5"
FEW = Recipe(vectors=3, rate=0.02, steps=4, batch=4, every=2)
ALL = tuple(range(BLOCKS))


@pytest.fixture(scope="module")
def tokens(checkpoint):
    return tokens_of(checkpoint, TEXT)


@pytest.fixture(scope="module")
def words(checkpoint):
    return namer(checkpoint)


@pytest.fixture(scope="module")
def prompt():
    drawn = torch.randn(4, WIDTH, generator=torch.Generator().manual_seed(7))
    return Prompt.of(0.5 * drawn)


@pytest.fixture(scope="module")
def plain(checkpoint, tokens):
    """Outputs of all blocks by one plain pass, [blocks, tokens, width], and its logits."""
    kept = []
    hooks = [
        block.register_forward_hook(
            lambda _m, _g, out: kept.append((out[0] if isinstance(out, tuple) else out)[-1:])
        )
        for block in checkpoint.model.model.layers
    ]
    with torch.no_grad():
        logits = checkpoint.model(torch.tensor([tokens])).logits[0]
    for hook in hooks:
        hook.remove()
    return torch.cat([out.reshape(1, len(tokens), WIDTH) for out in kept]), logits


def run_freely(checkpoint, vectors, block, state, ahead):
    """One cell by plain forward passes with hooks, each token fed back: ids, probabilities."""
    model, at = checkpoint.model, len(vectors) - 1
    ids, probabilities = [], []
    for _ in range(ahead + 1):

        def feed(_module, _given, out):
            return torch.cat([vectors[None], out[:, at + 1 :]], dim=1)

        def transplant(_module, _given, out):
            hidden = (out[0] if isinstance(out, tuple) else out).clone()
            hidden[0, at] = state
            return (hidden, *out[1:]) if isinstance(out, tuple) else hidden

        hooks = [
            model.model.embed_tokens.register_forward_hook(feed),
            model.model.layers[block].register_forward_hook(transplant),
        ]
        with torch.no_grad():
            logits = model(torch.tensor([[0] * len(vectors) + ids])).logits[0, -1]
        for hook in hooks:
            hook.remove()
        best, token = logits.softmax(-1).max(-1)
        ids.append(int(token))
        probabilities.append(float(best))
    return ids, probabilities


# The free run.


@pytest.mark.parametrize("pack_cells", [512, 40])
def test_cells_are_those_of_plain_passes(
    checkpoint, engine, tokens, words, prompt, plain, pack_cells
):
    grid = future_grid(Cone(engine, pack_cells), prompt, tokens, ALL, 3, words, first=1)
    assert grid.words.shape == grid.probabilities.shape == (BLOCKS, len(tokens) - 1, 4)
    for block in (0, 3, BLOCKS - 1):
        for column in (0, 2, 5):
            state = plain[0][block, column + 1]
            ids, probabilities = run_freely(checkpoint, prompt.vectors, block, state, 3)
            assert list(grid.words[block, column]) == [words(token) for token in ids]
            assert grid.probabilities[block, column] == pytest.approx(probabilities, abs=1e-5)
    # It would prove little if all cells said the same.
    assert len({tuple(cell) for row in grid.words for cell in row}) > 10


def test_the_last_layer_says_what_the_model_says(engine, tokens, words, prompt, plain):
    said = [words(token) for token in plain[1][1:].argmax(-1).tolist()]
    future = future_grid(Cone(engine), prompt, tokens, ALL, 0, words, first=1)
    logit = logit_grid(engine, tokens, ALL, words, first=1)
    best = plain[1][1:].softmax(-1).max(-1).values.numpy()
    for grid in (future, logit):
        assert list(grid.words[-1, :, 0]) == said
        assert grid.probabilities[-1, :, 0] == pytest.approx(best, abs=1e-5)


def test_at_the_last_layer_no_state_reaches_later_tokens(engine, tokens, words, prompt):
    """Two columns with one token for N = 0 go on alike, whatever their states."""
    twice = tokens_of(engine.checkpoint, "w3 w1 w41 w59 w26 w5 " * 4)
    grid = future_grid(Cone(engine), prompt, twice, (BLOCKS - 1,), 2, words, first=1)
    runs = {}
    for cell, probabilities in zip(grid.words[0], grid.probabilities[0], strict=True):
        runs.setdefault(cell[0], []).append((cell[1:].tolist(), probabilities[1:]))
    shared = [found for found in runs.values() if len(found) > 1]
    assert shared
    for found in shared:
        for said, probabilities in found[1:]:
            assert said == found[0][0]
            assert probabilities == pytest.approx(found[0][1], abs=1e-5)


def test_some_layers_are_those_of_all(engine, tokens, words, prompt):
    everything = future_grid(Cone(engine), prompt, tokens, ALL, 1, words)
    some = future_grid(Cone(engine), prompt, tokens, (1, 6), 1, words)
    assert some.layers == (1, 6)
    assert some.words.tolist() == everything.words[[1, 6]].tolist()
    assert some.probabilities == pytest.approx(everything.probabilities[[1, 6]], abs=1e-5)


def test_progress_is_told(engine, tokens, words, prompt):
    told = []
    future_grid(Cone(engine, 60), prompt, tokens, ALL, 1, words, first=1, say=told.append)
    assert told[-1] == "reading N = 1 of 48 states: 100 %"


# The logit lens.


def test_logit_cells_are_norm_and_unembedding(checkpoint, engine, tokens, words, plain):
    grid = logit_grid(engine, tokens, (0, 4), words, first=1)
    model = checkpoint.model
    with torch.no_grad():
        scores = model.lm_head(model.model.norm(plain[0][[0, 4]][:, 1:])).softmax(-1)
    best, ids = scores.topk(10)
    assert grid.words.tolist() == [[[words(k) for k in c] for c in row] for row in ids.tolist()]
    assert grid.probabilities == pytest.approx(best.numpy(), abs=1e-6)
    assert grid.confidence.tolist() == grid.probabilities[..., 0].tolist()


def test_confidence_is_the_mean_over_n():
    probabilities = np.array([[[0.2, 0.4, 0.9]]], dtype=np.float32)
    words = np.full((1, 1, 3), "x", dtype=object)
    assert Grid("future", (0,), ("a",), words, probabilities).confidence.item() == (
        pytest.approx(0.5)
    )


# Text, layers, names.


def test_the_text_is_read_as_the_model_reads_it(checkpoint, tokens):
    assert tokens[0] == 0
    assert len(tokens) == 7


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("w1 " * 128, "129 tokens, and tiny has positions for 128"),
        ("\udc80", "UTF-8"),
    ],
)
def test_text_that_cannot_be_read_is_refused(checkpoint, text, words):
    with pytest.raises(UsageError, match=words):
        tokens_of(checkpoint, text)


def test_the_longest_text_is_read(checkpoint, engine, words, prompt):
    tokens = tokens_of(checkpoint, "w1 " * 127)
    grid = future_grid(Cone(engine), prompt, tokens, (2,), 0, words, first=1)
    assert len(grid.tokens) == 127


@pytest.mark.parametrize(
    ("asked", "blocks", "found"),
    [
        ((), 3, (0, 1, 2)),
        ((), 48, tuple(range(48))),
        ((5, 0.5, 1.0, 5), 9, (4, 5, 8)),
    ],
)
def test_layers(asked, blocks, found):
    assert layers_of(asked, blocks) == found


@pytest.mark.parametrize("blocks", [49, 80, 126])
def test_deep_models_are_read_at_24_layers(blocks):
    layers = layers_of((), blocks)
    assert len(set(layers)) == 24
    assert (layers[0], layers[-1]) == (0, blocks - 1)
    assert max(np.diff(layers)) - min(np.diff(layers)) <= 1


def test_layers_that_do_not_exist_are_refused():
    with pytest.raises(UsageError, match="blocks 0 to 7"):
        layers_of((8,), 8)


@pytest.mark.parametrize("ahead", [-1, 17])
def test_how_far_ahead_is_limited(ahead):
    with pytest.raises(UsageError, match="0 to 16"):
        Task("w1", ahead=ahead)


def test_tokens_keep_their_spaces_and_bytes():
    from stillwired.checkpoints.checkpoint import Checkpoint

    bytewise = Checkpoint.of_model(make_llama().eval(), make_tokenizer(), name="bytes")
    name = namer(bytewise)
    text = "The capital of\n\tParis é"
    (ids,) = bytewise.encode([text])
    named = [name(token) for token in ids]
    assert "".join(named) == text.replace("é", "<0xC3><0xA9>")
    assert any(token.startswith(" ") for token in named)
    assert module._bytes_of("Ġæ") == " <0xE6>"
    assert module._bytes_of("<0xE6>") == "<0xE6>"
    assert name(300 + 5) == "<token 305>"
    assert name(0) == "<end>"


# From text to grid.


@pytest.fixture
def small(monkeypatch, corpus, tmp_path):
    monkeypatch.setattr(module, "load_corpus", lambda _store, say: corpus)
    monkeypatch.setattr(prompt_for_lens, "__kwdefaults__", {"recipe": FEW, "say": print})
    return Store(tmp_path / "cache")


def test_a_prompt_is_trained_once_and_then_kept(checkpoint, small):
    told: list[str] = []
    task = Task(TEXT, ahead=1, profile=SMALL, seed=3, layers=(0, 7))
    grid, reading = read_lens(checkpoint, task, small, told.append)
    assert (grid.layers, grid.tokens[0].strip(), len(grid.tokens)) == ((0, 7), "w3", 6)
    announced = next(k for k, line in enumerate(told) if line.startswith("no prompt is kept"))
    assert "4 steps, about" in told[announced]
    assert "survey is not kept either and comes first: about" in told[announced + 1]
    assert any(
        line.startswith("training the prompts of blocks 1, 4, 6, 7: step 4") for line in told
    )
    assert "3 learned vectors, trained for N = 1 at layer 4 (relative depth 0.57)" in reading
    assert "small survey of the made up, seed 3" in reading
    told.clear()
    again, same = read_lens(checkpoint, task, small, told.append)
    assert not any("train" in line or "survey" in line for line in told)
    assert same == reading
    assert again.words.tolist() == grid.words.tolist()


def test_the_prompt_is_the_one_that_claims_train(checkpoint, engine, corpus, text):
    """Whoever trains first, the other finds it: plan, blocks, N and recipe are the same key."""
    store = text._store
    claims = PromptOutcomes(text, FEW)
    trained = {depth.block: claims.trained_prompt(depth.block, (1,), FEW) for depth in text.depths}

    def never(_):
        raise AssertionError("trained again")

    for depth in (0.1, 0.5, 6):
        task = Task(TEXT, profile=SMALL, seed=3, depth=depth)
        found = prompt_for_lens(checkpoint, engine, corpus, store, task, recipe=FEW, say=never)
        assert torch.equal(found.vectors, trained[found.about["block"]].vectors)


def test_a_depth_that_the_profile_lacks_gets_a_survey_of_its_own(
    checkpoint, engine, corpus, tmp_path
):
    store = Store(tmp_path / "cache")
    task, told = Task(TEXT, profile=SMALL, seed=3, depth=3), []
    found = prompt_for_lens(checkpoint, engine, corpus, store, task, recipe=FEW, say=told.append)
    assert found.about["block"] == 3
    # The claims of that profile have no use for such prompts, so that one alone is trained.
    assert any(line.startswith("training the prompt of block 3: step 4") for line in told)


def test_the_last_block_trains_no_prompt(checkpoint, engine, corpus, tmp_path):
    task = Task(TEXT, profile=SMALL, depth=1.0)
    with pytest.raises(UsageError, match="never hears a state"):
        prompt_for_lens(checkpoint, engine, corpus, Store(tmp_path), task)


def test_the_logit_lens_needs_neither_text_nor_training(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "load_corpus", None)
    task = Task(TEXT, logit=True)
    grid, reading = read_lens(checkpoint, task, Store(tmp_path), lambda _: None)
    assert grid.words.shape == (BLOCKS, 6, 10)
    assert "unembedding" in reading
    assert not list(tmp_path.iterdir())


def test_estimates_grow_with_the_work(engine):
    few = lens_prompt._training_seconds(engine, [1, 4], FEW, 64)
    assert 0 < few < lens_prompt._training_seconds(engine, [1, 4], replace(FEW, steps=400), 64)
    assert lens_prompt._survey_seconds(engine, SMALL) > 0


def test_another_model_says_something_else(tokens, words, prompt):
    other = Engine(made_checkpoint(seed=1))
    grids = [
        future_grid(Cone(one), prompt, tokens, (3,), 1, words).words.tolist()
        for one in (other, Engine(made_checkpoint()))
    ]
    assert grids[0] != grids[1]
