"""Attention weights are those that the model used, or there are none."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from stillwired.engine.attention_weights import attention_weights
from stillwired.engine.engine import Engine
from stillwired.engine.sites import head
from stillwired.errors import AnatomyError, EngineError, MissingComponentError, UsageError
from tests.engine.oracle import MODULES
from tests.engine.tiny import (
    CONFIGS,
    HEADS,
    LAYERS,
    VOCABULARY,
    TinyRegime,
    prompts,
    tiny,
    tiny_model,
)

WITHOUT = {"mamba", "mamba2", "falcon_alibi"}
"""Models without attention, or without weights that can be read."""

ATTENDING = [name for name in CONFIGS if name not in WITHOUT]
WINDOWED = ["mistral", "phi3", "qwen2", "qwen3", "gemma2", "gemma3"]
# What a token hands on in the first block is the same wherever it stands.
VALUES_KNOW_NO_PLACE = [name for name in ATTENDING if name not in ("gpt2", "opt", "jamba")]


@pytest.fixture(params=ATTENDING)
def attending(request):
    return request.param


def layers_of(engine):
    return [layer for layer in range(LAYERS) if engine.anatomy.kind(layer) == "attention"]


def only(readings):
    (reading,) = readings
    return reading


def every_weight(engine, tokens, layers=None):
    return only(attention_weights(engine, tokens, layers or layers_of(engine), None))


def hooked(family, tokens, layers):
    """What attention modules return behind their output, by plain hooks and our oracle's names."""
    model, found = tiny_model(family), {}
    blocks = model.get_submodule(MODULES[family]["layers"])
    for layer in layers:
        path = MODULES[family]["head"].rpartition(".")[0]

        def keep(module, given, output, layer=layer):
            found[layer] = output[1]

        blocks[layer].get_submodule(path).register_forward_hook(keep)
    with torch.no_grad():
        model(torch.tensor(tokens), use_cache=False)
    return found


# What the weights are


def test_weights_equal_plain_hooks_exactly(engine_of, attending):
    engine, tokens = engine_of(attending), prompts(7, 7, 7)
    layers = layers_of(engine)
    expected = hooked(attending, tokens, layers)
    reading = every_weight(engine, tokens)
    assert list(reading.weights) == layers
    for layer in layers:
        assert torch.equal(reading[layer], expected[layer][list(reading.rows)])


def test_weights_equal_those_that_transformers_hands_out(engine_of, attending):
    engine, tokens = engine_of(attending), prompts(7, 7)
    model = tiny_model(attending)
    given = torch.tensor(tokens)
    handed = model(given, use_cache=False, output_attentions=True).attentions
    reading = every_weight(engine, tokens)
    # Jamba hands out those of its layers with attention only.
    assert len(handed) == len(layers_of(engine))
    for layer, expected in zip(layers_of(engine), handed, strict=True):
        assert torch.equal(reading[layer], expected[list(reading.rows)])


@pytest.mark.parametrize("name", VALUES_KNOW_NO_PLACE)
def test_heads_are_the_values_mixed_by_the_weights(engine_of, name):
    """A token alone looks at itself, so its heads are its values."""
    engine, tokens = engine_of(name), prompts(7)
    sites = [head(0, number, -1) for number in range(HEADS)]
    mixed = only(engine.read(tokens, sites))
    alone = only(engine.read([[token] for token in tokens[0]], sites))
    weights = only(attention_weights(engine, tokens, [0]))[0]
    for number, site in enumerate(sites):
        values = alone[site][torch.tensor(alone.rows).argsort()]
        expected = weights[0, number] @ values
        torch.testing.assert_close(mixed[site][0], expected, atol=1e-5, rtol=1e-5)


def test_weights_are_causal_distributions(engine_of, attending):
    engine = engine_of(attending)
    reading = every_weight(engine, prompts(8, 8))
    for weights in reading.weights.values():
        assert weights.shape == (2, HEADS, 8, 8)
        assert bool((weights.triu(1) == 0).all())
        assert bool((weights >= 0).all())
        assert bool((weights.diagonal(dim1=-2, dim2=-1) > 0).all())
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, HEADS, 8))


@pytest.mark.parametrize("name", WINDOWED)
def test_a_window_bounds_where_heads_look(engine_of, name):
    engine = engine_of(name)
    kinds = getattr(engine.checkpoint.model.config, "layer_types", None)
    kinds = kinds or ["sliding_attention"] * LAYERS
    reading = every_weight(engine, prompts(9))
    for layer, kind in enumerate(kinds):
        beyond = reading[layer].tril(-4)
        assert bool((beyond == 0).all()) == (kind == "sliding_attention")


# One position, several lengths


@pytest.mark.parametrize("position", [-1, -3])
def test_one_position_is_a_row_of_all(engine_of, attending, position):
    engine, tokens = engine_of(attending), prompts(6, 6)
    whole = every_weight(engine, tokens)
    one = only(attention_weights(engine, tokens, layers_of(engine), position))
    for layer in layers_of(engine):
        assert torch.equal(one[layer], whole[layer][:, :, position])
        # Nothing of the other positions is kept alive.
        assert one[layer].untyped_storage().nbytes() == one[layer].nbytes


def test_batches_hold_one_length_and_say_which_prompts(engine_of):
    engine, tokens = engine_of("llama"), prompts(3, 5, 3, 5, 5)
    seen = []
    readings = list(
        attention_weights(
            engine, tokens, [2, 0, 2], batch_tokens=10, progress=lambda *done: seen.append(done)
        )
    )
    assert [reading.rows for reading in readings] == [(1, 3), (4,), (0, 2)]
    assert seen == [(10, 21), (15, 21), (21, 21)]
    for reading in readings:
        assert list(reading.weights) == [0, 2]
        for index, row in enumerate(reading.rows):
            alone = only(attention_weights(engine, [tokens[row]], [0, 2]))
            for layer in (0, 2):
                torch.testing.assert_close(reading[layer][index], alone[layer][0])


def test_a_pass_ends_at_the_last_layer_that_is_asked_for(fresh):
    model = fresh("gpt2")
    engine = Engine(model)
    ran = []
    for layer, block in enumerate(model.model.transformer.h):
        block.register_forward_hook(lambda *_, layer=layer: ran.append(layer))
    only(attention_weights(engine, prompts(4), [1]))
    assert ran == [0]


def test_a_remote_reading_equals_a_local_one(engine_of):
    there = Engine(tiny("llama"), remote="local")
    for position in (-1, None):
        ours = list(attention_weights(there, prompts(6, 4, 6), [0, 2], position))
        theirs = list(attention_weights(engine_of("llama"), prompts(6, 4, 6), [0, 2], position))
        for a, b in zip(ours, theirs, strict=True):
            assert a.rows == b.rows
            assert all(torch.equal(a[layer], b[layer]) for layer in (0, 2))


def test_half_precision_may_round_sums(fresh):
    """Three equal weights of 0.33398 are what bfloat16 has for thirds."""
    made = replace(fresh("llama"), regime=TinyRegime(dtype="bfloat16"))
    made.model.to(torch.bfloat16)
    queries = made.model.model.layers[1].self_attn.q_proj
    queries.weight.zero_()
    queries.bias.zero_()
    weights = only(attention_weights(Engine(made), prompts(3), [1]))[1]
    assert weights.float().sum(-1)[0, 0] == pytest.approx(3 * 0.333984375)


# What is refused


def test_a_kernel_without_weights_is_refused_with_the_remedy(fresh):
    engine = Engine(fresh("llama", attention="sdpa"))
    with pytest.raises(UsageError, match=r"kernel 'sdpa', .* Use --claims-attention eager\."):
        attention_weights(engine, prompts(4), [0])


def test_a_family_that_does_not_run_eagerly_has_no_weights(engine_of):
    """No remedy is named that the family would refuse."""
    with pytest.raises(MissingComponentError, match=r"Falcon has no .* adds the ALiBi bias twice"):
        attention_weights(engine_of("falcon_alibi"), prompts(4), [0])


@pytest.mark.parametrize(("name", "layer"), [("mamba", 0), ("mamba2", 1), ("jamba", 2)])
def test_a_layer_without_attention_is_refused(engine_of, name, layer):
    with pytest.raises(MissingComponentError, match=f"no component 'attention' in layer {layer}"):
        attention_weights(engine_of(name), prompts(4), [layer])


@pytest.mark.parametrize(
    ("layers", "position", "tokens", "error", "match"),
    [
        ([], -1, prompts(4), EngineError, "at least one layer"),
        ([LAYERS], -1, prompts(4), AnatomyError, f"no layer {LAYERS}"),
        ([0], 0, prompts(4), EngineError, "Positions count from the right"),
        ([0], -4, prompts(5, 3), EngineError, "Prompt 1 has 3 tokens"),
        ([0], -1, [], EngineError, "no prompts"),
        ([0], -1, [[VOCABULARY]], EngineError, "token id outside"),
    ],
)
def test_a_call_that_does_not_fit_is_refused_at_once(
    engine_of, layers, position, tokens, error, match
):
    with pytest.raises(error, match=match):
        attention_weights(engine_of("llama"), tokens, layers, position)


def test_a_layer_that_was_not_read_is_named(engine_of):
    reading = only(attention_weights(engine_of("llama"), prompts(4, 4), [1]))
    assert len(reading) == 2
    with pytest.raises(EngineError, match="layer 0 were not read"):
        reading[0]


NAN_IN_THE_SECOND = torch.tensor([1.0, math.nan])[:, None, None, None]


@pytest.mark.parametrize(
    ("damage", "error", "match"),
    [
        (lambda w: None, MissingComponentError, "layer 1: model.layers.1.self_attn does not"),
        (lambda w: w[0], MissingComponentError, "layer 1: model.layers.1.self_attn does not"),
        (lambda w: w[:, :1], EngineError, "layer 1 are shaped"),
        (lambda w: w[..., 1:], EngineError, "layer 1 are shaped"),
        (lambda w: w * 1.01, EngineError, r"prompt 0 are no distribution .* 0\.01 away"),
        (
            lambda w: w * 2 - w.flip(-1),
            EngineError,
            "positions: the least is -1,",
        ),
        (lambda w: w * math.nan, EngineError, "prompt 0 are not finite"),
        (lambda w: w * NAN_IN_THE_SECOND, EngineError, "prompt 1 are not finite"),
        (lambda w: w.transpose(-1, -2), EngineError, "no distribution"),
    ],
)
def test_what_no_softmax_gives_is_refused(fresh, damage, error, match):
    made = fresh("llama")
    attention = made.model.model.layers[1].self_attn
    forward = attention.forward

    def damaged(*given, **named):
        added, weights = forward(*given, **named)
        return added, damage(weights)

    attention.forward = damaged
    engine = Engine(made)
    with pytest.raises(error, match=match):
        list(attention_weights(engine, prompts(5, 5), [0, 1], None))
