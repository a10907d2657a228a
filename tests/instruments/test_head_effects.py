"""Heads: their means and effects against plain hooks, what they write, and how they are drawn."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from stillwired.engine.cone import Cone
from stillwired.engine.engine import Engine
from stillwired.errors import MissingComponentError
from stillwired.instruments.head_effects import (
    FEWEST_RIGHT,
    CleanMeans,
    clean_means,
    head_effects,
    heads_of,
    others_of,
    ranked,
    replacing,
    written,
)
from tests.engine.oracle import MODULES
from tests.engine.tiny import HEADS, LAYERS, WIDTH, prompts, tiny
from tests.instruments.test_interventions import question

PLAIN = ("llama", "gpt2", "bloom", "mistral")
BEHIND_A_NORM = ("gemma2", "gemma3", "olmo2")
PROMPTS = prompts(6, 9, 6, 11, 9, 6, 9, 6, seed=3)


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny products gain nothing from threads, and lose much where others compute too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@cache
def engine_of(family, biased=True):
    made = tiny(family)
    if not biased:
        for name, parameter in made.model.named_parameters():
            if "self_attn" in name and name.endswith("bias"):
                parameter.zero_()
    return Engine(made)


def projection_of(family, model, layer):
    names = MODULES[family]
    return model.get_submodule(f"{names['layers']}.{layer}.{names['head']}")


def plain(family, model, tokens, replaced=None):
    """One prompt under hooks: heads' outputs, blocks' outputs, what attention adds, logits."""
    names, handles = MODULES[family], []
    found = {"heads": {}, "residual": {}, "added": {}}

    def keep(what, layer):
        def hook(_, args, output=None):
            state = args[0] if output is None else output
            state = state[0] if isinstance(state, tuple) else state
            found[what][layer] = state[0, -1].clone()

        return hook

    def put_in(number, value):
        def hook(_, args):
            whole = args[0].clone()
            whole[0, -1, number * len(value) : (number + 1) * len(value)] = value
            return (whole, *args[1:])

        return hook

    if replaced is not None:
        (layer, number), value = replaced
        place = projection_of(family, model, layer)
        handles.append(place.register_forward_pre_hook(put_in(number, value)))
    blocks = model.get_submodule(names["layers"])
    for layer, block in enumerate(blocks):
        handles.append(block.register_forward_hook(keep("residual", layer)))
        if family == "jamba" and layer != 1:
            continue
        place = projection_of(family, model, layer)
        handles.append(place.register_forward_pre_hook(keep("heads", layer)))
        added = block.get_submodule(names["attention"])
        handles.append(added.register_forward_hook(keep("added", layer)))
    try:
        with torch.no_grad():
            out = model(torch.tensor([list(tokens)]), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return {**found, "logits": out.logits[0, -1]}


def asked(family, right):
    """Questions of which some, by their rows, are answered rightly."""
    model = engine_of(family).checkpoint.model
    said = [int(plain(family, model, tokens)["logits"].argmax()) for tokens in PROMPTS]
    return [
        question(tokens, said[row] if row in right else (said[row] + 1) % 61, f"made: {row}")
        for row, tokens in enumerate(PROMPTS)
    ]


def means_of(family, rows):
    """Means of heads [layers, heads, head width] and of blocks over some prompts, one by one."""
    anatomy = engine_of(family).anatomy
    model = engine_of(family).checkpoint.model
    heads = torch.zeros(anatomy.layers, anatomy.heads, anatomy.head_dim).double()
    residual = torch.zeros(anatomy.layers, WIDTH).double()
    for row in rows:
        found = plain(family, model, PROMPTS[row])
        for layer, state in found["heads"].items():
            heads[layer] += state.view(anatomy.heads, anatomy.head_dim)
        for layer, state in found["residual"].items():
            residual[layer] += state
    return heads / len(rows), residual / len(rows)


# Means


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3", "jamba"])
@pytest.mark.parametrize(
    ("right", "averaged"),
    [
        ((0, 2, 3, 4, 6, 7), (0, 2, 3, 4, 6, 7)),
        ((1, 2, 3, 5, 7), (1, 2, 3, 5, 7)),
        # Too few right answers to select anything by.
        ((1, 2, 5, 7), tuple(range(8))),
        ((), tuple(range(8))),
    ],
)
def test_means_are_over_the_rightly_answered_questions(family, right, averaged):
    found = clean_means(engine_of(family), asked(family, right))
    heads, residual = means_of(family, averaged)
    np.testing.assert_allclose(found.heads, heads, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found.residual, residual, rtol=1e-3, atol=1e-5)
    assert found.hits.tolist() == [row in right for row in range(8)]
    assert found.averaged == len(averaged)
    assert FEWEST_RIGHT == 5


def test_layers_without_attention_have_means_of_zero_and_blocks_all_the_same():
    found = clean_means(engine_of("jamba"), asked("jamba", range(8)))
    assert heads_of(engine_of("jamba").anatomy) == tuple((1, k) for k in range(HEADS))
    assert not found.heads[[0, 2]].any()
    assert found.heads[1].abs().min() > 0
    assert (found.residual.norm(dim=1) > 0).all()


def test_a_model_without_heads_is_refused():
    engine = engine_of("mamba")
    with pytest.raises(MissingComponentError, match="no attention heads, so none can carry"):
        heads_of(engine.anatomy)
    with pytest.raises(MissingComponentError, match="no attention heads"):
        clean_means(engine, [question(PROMPTS[0], 1)])


def test_heads_are_listed_layer_by_layer():
    assert heads_of(engine_of("llama").anatomy) == tuple(
        (layer, number) for layer in range(LAYERS) for number in range(HEADS)
    )


# What heads write


def means_at(family, row, biased=True):
    """Means over one prompt: its own heads, and what the plain pass shows of it."""
    engine = engine_of(family, biased)
    anatomy = engine.anatomy
    found = plain(family, engine.checkpoint.model, PROMPTS[row])
    heads = torch.stack([found["heads"][layer] for layer in range(LAYERS)])
    shaped = heads.view(LAYERS, anatomy.heads, anatomy.head_dim)
    nothing = torch.zeros(LAYERS, WIDTH)
    return CleanMeans(shaped, nothing, np.ones(1, bool), 1), found


def matrix_of(projection):
    """The projection's weight as [out, in], whichever way it is kept."""
    weight = projection.weight
    return weight.T if type(projection).__name__ == "Conv1D" else weight


@pytest.mark.parametrize("family", PLAIN)
def test_heads_of_a_layer_write_what_attention_adds_without_its_bias(family):
    engine = engine_of(family)
    means, found = means_at(family, 1)
    parts = written(engine, means)
    for layer in range(LAYERS):
        projection = projection_of(family, engine.checkpoint.model, layer)
        bias = 0 if projection.bias is None else projection.bias
        added = found["added"][layer] - bias
        np.testing.assert_allclose(parts[layer].sum(0), added, rtol=1e-3, atol=1e-5)
    biases = [projection_of(family, engine.checkpoint.model, k).bias for k in range(LAYERS)]
    if family != "mistral":
        assert all(bias.norm() > 0.1 for bias in biases)


@pytest.mark.parametrize("family", PLAIN)
def test_each_head_writes_through_its_own_columns(family):
    engine = engine_of(family)
    means, _ = means_at(family, 2)
    size, parts = engine.anatomy.head_dim, written(engine, means)
    for layer in range(LAYERS):
        matrix = matrix_of(projection_of(family, engine.checkpoint.model, layer))
        for number in range(HEADS):
            columns = matrix[:, number * size : (number + 1) * size]
            expected = columns @ means.heads[layer, number]
            np.testing.assert_allclose(parts[layer, number], expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("family", BEHIND_A_NORM)
def test_behind_a_norm_the_heads_of_a_layer_add_up_to_what_it_adds(family):
    engine = engine_of(family, biased=False)
    means, found = means_at(family, 1, biased=False)
    parts = written(engine, means)
    for layer in range(LAYERS):
        np.testing.assert_allclose(parts[layer].sum(0), found["added"][layer], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("family", BEHIND_A_NORM)
def test_behind_a_norm_each_head_gets_the_layers_own_scale(family):
    """The norm of one head alone would make every head as large as the layer."""
    engine = engine_of(family, biased=False)
    model, size = engine.checkpoint.model, engine.anatomy.head_dim
    means = clean_means(engine, asked(family, range(8)))
    parts = written(engine, means)
    for layer in range(LAYERS):
        matrix = projection_of(family, model, layer).weight
        whole = matrix @ means.heads[layer].flatten()
        norm = model.get_submodule(f"model.layers.{layer}.post_attention_layernorm")
        weight = norm.weight + (family != "olmo2")
        scale = weight / (whole.square().mean() + 1e-6).sqrt()
        np.testing.assert_allclose(parts[layer].sum(0), norm(whole), rtol=1e-3, atol=1e-4)
        for number in range(HEADS):
            columns = matrix[:, number * size : (number + 1) * size]
            expected = scale * (columns @ means.heads[layer, number])
            np.testing.assert_allclose(parts[layer, number], expected, rtol=1e-3, atol=1e-3)


def test_behind_a_norm_a_bias_is_normed_too():
    """What the heads write has the scale that the layer's norm has where the bias is added."""
    engine = engine_of("gemma3")
    means, found = means_at("gemma3", 1)
    parts = written(engine, means)
    for layer in range(LAYERS):
        projection = projection_of("gemma3", engine.checkpoint.model, layer)
        assert projection.bias.norm() > 0.1
        without = projection.weight @ means.heads[layer].flatten()
        scale = found["added"][layer] / (without + projection.bias)
        np.testing.assert_allclose(parts[layer].sum(0), scale * without, rtol=2e-3, atol=1e-4)


def test_layers_without_attention_write_nothing():
    engine = engine_of("jamba")
    means = clean_means(engine, asked("jamba", range(8)))
    parts = written(engine, means)
    assert not parts[[0, 2]].any()
    matrix = projection_of("jamba", engine.checkpoint.model, 1).weight
    np.testing.assert_allclose(
        parts[1].sum(0), matrix @ means.heads[1].flatten(), rtol=1e-3, atol=1e-5
    )


# Effects


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3"])
def test_effects_are_those_of_one_head_put_back_at_a_time(family):
    engine = engine_of(family)
    model = engine.checkpoint.model
    means = clean_means(engine, asked(family, range(8)))
    questions = asked(family, (1,))[:3]
    effects, found = head_effects(Cone(engine), questions, means)
    for row, one in enumerate(questions):

        def right(replaced=None, one=one):
            logits = plain(family, model, one.tokens, replaced)["logits"]
            return float(logits.double().softmax(-1)[one.answer])

        for layer in range(LAYERS):
            for number in range(HEADS):
                there = right(((layer, number), means.heads[layer, number]))
                assert effects[row, layer, number] == pytest.approx(there - right(), abs=1e-5)
        assert found.probabilities[row, 0] == pytest.approx(right(), abs=1e-5)
    assert found.probabilities.shape == (3, 1 + LAYERS * HEADS)
    assert np.abs(effects).max() > 1e-3


def test_effects_in_layers_without_attention_are_zero():
    engine = engine_of("jamba")
    means = clean_means(engine, asked("jamba", range(8)))
    effects, _ = head_effects(Cone(engine), asked("jamba", ())[:2], means)
    assert effects.shape == (2, LAYERS, HEADS)
    assert not effects[:, [0, 2]].any()
    assert (effects[:, 1] != 0).all()


def test_replacing_puts_each_heads_own_mean_in():
    means = clean_means(engine_of("llama"), asked("llama", range(8)))
    heads = [(2, 1), (0, 3), (2, 0)]
    made = replacing(means, heads)
    assert made.heads == tuple(heads)
    for (layer, number), value in zip(heads, made.values, strict=True):
        assert torch.equal(value, means.heads[layer, number])


# Which heads


def test_ranks_fall_and_the_earlier_of_equal_ones_comes_first():
    effects = np.array([[0.1, 0.5, 0.0], [0.5, -0.2, 0.7], [0.0, 0.1, 0.5]])
    first, rest = [(1, 2), (0, 1), (1, 0), (2, 2)], [(0, 0), (2, 1), (0, 2), (2, 0), (1, 1)]
    assert ranked(effects) == first + rest
    assert ranked(np.zeros((2, 2))) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert all(type(number) is int for head in ranked(effects) for number in head)


def test_others_are_as_many_of_the_same_layers_and_never_the_given_ones():
    heads = [(5, 1), (0, 3), (5, 0), (2, 2)]
    seen = set()
    for seed in range(200):
        others = others_of(heads, 5, np.random.default_rng(seed))
        assert sorted(layer for layer, _ in others) == [0, 2, 5, 5]
        assert len(set(others)) == 4
        assert not set(others) & set(heads)
        seen |= set(others)
    # Each of the others is drawn at some time.
    assert len(seen) == 4 + 4 + 3
    again = others_of(heads, 5, np.random.default_rng(7))
    assert others_of(heads, 5, np.random.default_rng(7)) == again
    assert others_of(heads[::-1], 5, np.random.default_rng(7)) == again


def test_others_are_drawn_evenly():
    counts = np.zeros(6)
    for seed in range(600):
        for _, number in others_of([(0, 0), (0, 4)], 6, np.random.default_rng(seed)):
            counts[number] += 1
    assert counts[[0, 4]].tolist() == [0, 0]
    # Two of four, 600 times; the bound is four standard deviations.
    assert np.abs(counts[[1, 2, 3, 5]] - 300).max() < 4 * np.sqrt(600 / 4)


def test_a_layer_with_too_few_others_gives_all_of_them():
    rng = np.random.default_rng(0)
    assert others_of([(1, 0), (1, 1), (1, 3)], 4, rng) == ((1, 2),)
    assert others_of([(1, k) for k in range(4)], 4, rng) == ()
    assert others_of([], 4, rng) == ()
