from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from stillwired.engine.engine import Engine
from stillwired.engine.identities import TOLERANCES
from stillwired.errors import AnatomyError, EngineError
from tests.engine.tiny import CONFIGS


def entry(**fields: object):
    """Damage the family's entry."""
    return lambda anatomy: replace(anatomy, family=replace(anatomy.family, **fields))


def resolved(**fields: object):
    """Damage what was resolved for the model."""
    return lambda anatomy: replace(anatomy, **fields)


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
]


@pytest.mark.parametrize(("family", "damage"), MISORDERED)
def test_parts_in_the_wrong_order_are_refused(fresh, family, damage):
    checkpoint = fresh(family)
    with pytest.raises(EngineError, match="had passed or never reaches"):
        Engine(replace(checkpoint, anatomy=damage(checkpoint.anatomy)))


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


def test_a_single_block_has_an_anatomy_too(fresh, monkeypatch):
    config = CONFIGS["llama"]()
    config.num_hidden_layers = 1
    monkeypatch.setitem(CONFIGS, "one block", lambda: config)
    engine = Engine(fresh("one block"))
    assert engine.anatomy.layers == 1
    assert all(identity.holds for identity in engine.self_check)
