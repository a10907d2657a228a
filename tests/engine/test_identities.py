from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from stillwired.engine.engine import Engine
from stillwired.engine.identities import TOLERANCES
from stillwired.errors import AnatomyError, EngineError
from tests.engine.tiny import CONFIGS, tiny_model


def entry(**fields: object):
    """Damage the family's entry."""
    return lambda anatomy: replace(anatomy, family=replace(anatomy.family, **fields))


def resolved(**fields: object):
    """Damage what was resolved for the model."""
    return lambda anatomy: replace(anatomy, **fields)


def mixer(**fields: object):
    """Damage the mixer of the family's entry."""
    return lambda anatomy: replace(
        anatomy,
        family=replace(anatomy.family, mixer=replace(anatomy.family.mixer, **fields)),
    )


def paths(change):
    return lambda anatomy: replace(anatomy, layer_paths=change(anatomy.layer_paths))


def test_identities_hold_far_within_their_tolerance(engine_of, family):
    for name, difference, tolerance in engine_of(family).self_check:
        assert difference <= tolerance / 10, name


DAMAGE = [
    ("gemma3", entry(attention_added="self_attn"), r"input \+ attention \+ mlp"),
    ("gemma3", entry(mlp_added="mlp"), r"input \+ attention \+ mlp"),
    ("gemma3", entry(attention_added="pre_feedforward_layernorm"), r"input \+ attention \+ mlp"),
    ("gemma3", entry(mlp_norm="input_layernorm"), "norm of the residual"),
    ("gemma3", resolved(softcap=None), "= logits"),
    ("gemma3", resolved(softcap=2.5), "= logits"),
    ("gemma3", resolved(embedding_scale=1.0), "input of the first block"),
    ("gemma3", entry(projection="self_attn.q_proj"), "projected heads"),
    ("llama", entry(projection="self_attn.q_proj"), "projected heads"),
    ("llama", entry(projection="self_attn.k_proj"), "projected heads"),
    ("llama", entry(mlp_norm="input_layernorm"), "norm of the residual"),
    ("llama", resolved(heads=2), "projected heads"),
    ("llama", resolved(parallel=True), "norm of the residual"),
    ("llama", resolved(softcap=30.0), "= logits"),
    ("llama", paths(lambda layers: layers[1:]), "input of the first block"),
    ("llama", paths(lambda layers: layers[:-1]), "final state"),
    ("llama", paths(lambda layers: layers[::2]), "input of the next"),
    ("gptj", resolved(parallel=False), "norm of the residual"),
    ("gpt_neox", resolved(parallel=False), "norm of the residual"),
    ("gpt_neox", entry(mlp_norm="input_layernorm"), "norm of the residual"),
    ("gpt_neox_sequential", resolved(parallel=True), "norm of the residual"),
    ("gpt2", entry(position_embedding=None), "input of the first block"),
    ("gpt2", entry(projection_kind="linear"), "projected heads"),
    ("gpt2", paths(lambda layers: layers[1:]), "input of the first block"),
    ("opt", entry(position_offset=0), "input of the first block"),
    ("opt", entry(mlp_norm="self_attn_layer_norm"), "norm of the residual"),
    ("opt", entry(mlp_flat=False), "not the positional"),
    ("opt", entry(mlp_added="fc1"), r"input \+ attention \+ mlp"),
    ("opt", paths(lambda layers: layers[1:]), "input of the first block"),
    ("bloom", entry(embedding_norm=None), "input of the first block"),
    ("bloom", entry(attention_added="self_attention", attention_out="tuple"), "input . attention"),
    ("bloom", entry(mlp_added="mlp"), r"input \+ attention \+ mlp"),
    ("bloom", entry(mlp_norm="input_layernorm"), "norm of the residual"),
    ("bloom", paths(lambda layers: layers[:-1]), "final state"),
    ("falcon", entry(overwritten=()), r"input \+ attention \+ mlp"),
    ("falcon", resolved(parallel=False), "norm of the residual"),
    ("falcon", paths(lambda layers: layers[1:]), "input of the first block"),
    ("falcon_new", entry(mlp_norm="ln_attn"), "norm of the residual"),
    ("falcon_new", paths(lambda layers: layers[::2]), "input of the next"),
    ("falcon_alibi", resolved(parallel=True), "norm of the residual"),
    ("falcon_alibi", entry(layer_out="tensor"), "not the tensor"),
    ("mistral", entry(mlp_norm="input_layernorm"), "norm of the residual"),
    ("mistral", entry(projection="self_attn.q_proj"), "projected heads"),
    ("mistral", paths(lambda layers: layers[1:]), "input of the first block"),
    ("mixtral", entry(mlp_norm="input_layernorm"), "norm of the residual"),
    ("mixtral", entry(attention_added="input_layernorm", attention="mlp"), "not the tuple"),
    ("mixtral", paths(lambda layers: layers[:-1]), "final state"),
    ("phi3", entry(projection="self_attn.qkv_proj"), "projected heads"),
    ("phi3", resolved(heads=2), "projected heads"),
    ("phi3", paths(lambda layers: layers[1:]), "input of the first block"),
    ("qwen2", entry(mlp_norm="input_layernorm"), "norm of the residual"),
    ("qwen3", entry(projection="self_attn.q_proj"), "projected heads"),
    ("qwen3", resolved(head_dim=8), "projected heads"),
    ("qwen3", paths(lambda layers: layers[::2]), "input of the next"),
    ("olmo2", entry(attention_added="self_attn"), r"input \+ attention \+ mlp"),
    ("olmo2", entry(mlp_added="mlp"), r"input \+ attention \+ mlp"),
    ("olmo2", entry(mlp_norm="post_attention_layernorm"), "norm of the residual"),
    ("olmo2", paths(lambda layers: layers[1:]), "input of the first block"),
    ("gemma2", entry(attention_added="self_attn"), r"input \+ attention \+ mlp"),
    ("gemma2", entry(mlp_norm="post_attention_layernorm"), "norm of the residual"),
    ("gemma2", resolved(softcap=None), "= logits"),
    ("gemma2", paths(lambda layers: layers[:-1]), "final state"),
    ("mamba", mixer(gate_part="first"), "of the projected input = convolution"),
    ("mamba", mixer(convolution="mixer.out_proj"), "= convolution"),
    ("mamba", mixer(gate="norm"), "= convolution"),
    ("mamba", paths(lambda layers: layers[1:]), "input of the first block"),
    ("mamba", paths(lambda layers: layers[:-1]), "final state"),
    ("mamba2", mixer(gate_part="second"), "gated norm of the state"),
    ("mamba2", mixer(projection="mixer.norm"), "projected gated state"),
    ("mamba2", paths(lambda layers: layers[1:]), "input of the first block"),
    ("jamba", mixer(gate_part="first"), "of the projected input = convolution"),
    ("jamba", entry(mlp_norm="input_layernorm"), "norm of the residual"),
    ("jamba", mixer(gate="input_layernorm"), "of the projected input = convolution"),
    ("jamba", paths(lambda layers: layers[:-1]), "final state"),
    # Not an identity but the way the parts are called or ordered gives these away.
    ("gpt2", entry(attention_out="tensor"), "not the tensor"),
    ("gpt2", entry(layer_out="tuple"), "not the tuple"),
    ("gptj", entry(layer_out="tensor"), "not the tensor"),
    ("llama", entry(layer_call="keyword"), "not the keyword"),
    ("llama", entry(attention="mlp", mlp="self_attn"), "not the tuple"),
]


@pytest.mark.parametrize(("family", "damage", "message"), DAMAGE)
def test_a_misplaced_part_is_refused(fresh, family, damage, message):
    checkpoint = fresh(family)
    with pytest.raises(AnatomyError, match=message):
        Engine(replace(checkpoint, anatomy=damage(checkpoint.anatomy)))


MISORDERED = [
    (
        "gemma3",
        entry(attention_added="post_feedforward_layernorm", mlp_added="post_attention_layernorm"),
    ),
    ("llama", entry(attention_added="mlp", mlp_added="self_attn")),
    ("llama", paths(lambda layers: (layers[1], layers[0], layers[2]))),
    ("llama", entry(final_norm="model.layers.0.input_layernorm")),
    ("mixtral", entry(mlp_added="self_attn.o_proj")),
    ("mamba", mixer(module="norm")),
    ("mamba", mixer(convolution="mixer.out_proj", projection="mixer.x_proj")),
    ("jamba", paths(lambda layers: (layers[2], layers[1], layers[0]))),
]


@pytest.mark.parametrize(("family", "damage"), MISORDERED)
def test_parts_in_the_wrong_order_are_refused(fresh, family, damage):
    checkpoint = fresh(family)
    with pytest.raises(EngineError, match="had passed or never reaches"):
        Engine(replace(checkpoint, anatomy=damage(checkpoint.anatomy)))


def test_every_weight_of_the_models_is_random():
    """A norm of ones or a bias of zeros would hide that an identity leaves it out."""
    for family in CONFIGS:
        for name, parameter in tiny_model(family).named_parameters():
            assert float(parameter.std()) > 0.01, f"{family}: {name}"


def test_identities_name_what_the_blocks_add(engine_of):
    added = {
        family: next(name for name, *_ in engine_of(family).self_check if "input + " in name)
        for family in ("llama", "mamba", "jamba")
    }
    assert added == {
        "llama": "output of a block = input + attention + mlp",
        "mamba": "output of a block = input + mixer",
        "jamba": "output of a block = input + attention or mixer + mlp",
    }
    olmo = [name for name, *_ in engine_of("olmo2").self_check]
    assert "input of the mlp = the residual" in olmo


def test_weights_that_are_not_finite_do_not_pass(fresh):
    checkpoint = fresh("llama")
    checkpoint.model.model.layers[1].mlp.down_proj.weight[0, 0] = float("nan")
    with pytest.raises(AnatomyError, match="nan"):
        Engine(checkpoint)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_stays_within_its_own_tolerance(fresh, family, dtype):
    checkpoint = fresh(family)
    checkpoint.model.to(dtype)
    regime = replace(checkpoint.regime, dtype=str(dtype).removeprefix("torch."))
    engine = Engine(replace(checkpoint, regime=regime))
    assert all(identity.tolerance == TOLERANCES[dtype] for identity in engine.self_check)


# Mamba rounds its residual to single precision in every block, and its logits.
@pytest.mark.parametrize("name", ["gpt2", "gemma3", "mamba", "mamba2"])
def test_double_precision_is_held_to_its_own_tolerance(fresh, name):
    checkpoint = fresh(name)
    checkpoint.model.to(torch.float64)
    engine = Engine(replace(checkpoint, regime=replace(checkpoint.regime, dtype="float64")))
    assert {identity.tolerance for identity in engine.self_check} == {TOLERANCES[torch.float64]}


def test_a_single_block_has_an_anatomy_too(fresh, monkeypatch):
    config = CONFIGS["llama"]()
    config.num_hidden_layers = 1
    monkeypatch.setitem(CONFIGS, "one block", lambda: config)
    engine = Engine(fresh("one block"))
    assert engine.anatomy.layers == 1
    assert all(identity.holds for identity in engine.self_check)
