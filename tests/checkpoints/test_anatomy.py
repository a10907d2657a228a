from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import AutoModelForCausalLM, MambaConfig, OPTConfig

from stillwired.checkpoints import families
from stillwired.checkpoints.anatomy import Anatomy, Place, anatomy_of
from stillwired.checkpoints.families import FAMILIES, LLAMA, check_kernel, family_of
from stillwired.errors import AnatomyError
from tests.engine.tiny import HEADS, LAYERS, VOCABULARY, WIDTH, tiny_model

COMPONENTS = ("head", "attention", "mlp", "residual")


@pytest.mark.parametrize(
    ("name", "kv_heads", "head_dim"),
    [
        ("gpt2", HEADS, 8),
        ("gptj", HEADS, 8),
        ("gpt_neox", HEADS, 8),
        ("llama", 2, 8),
        ("qwen2", 2, 8),
        ("gemma3", 2, 12),
    ],
)
def test_counts_come_from_the_model(name, kv_heads, head_dim):
    anatomy = anatomy_of(tiny_model(name))
    assert (anatomy.layers, anatomy.heads, anatomy.width) == (LAYERS, HEADS, WIDTH)
    assert (anatomy.kv_heads, anatomy.head_dim) == (kv_heads, head_dim)
    assert (anatomy.vocabulary, anatomy.context) == (VOCABULARY, 64)


def test_what_a_config_decides_is_read_from_it():
    assert anatomy_of(tiny_model("gpt_neox")).parallel is True
    assert anatomy_of(tiny_model("gpt_neox_sequential")).parallel is False
    gemma = anatomy_of(tiny_model("gemma3"))
    assert gemma.softcap == 2.0
    assert gemma.embedding_scale == pytest.approx(math.sqrt(WIDTH))
    assert anatomy_of(tiny_model("llama")).softcap is None


def test_attention_of_a_sandwich_is_taken_after_its_norm():
    gemma = anatomy_of(tiny_model("gemma3"))
    after = "model.layers.1.post_attention_layernorm"
    assert gemma.place("attention", 1) == Place(after, "output", "tensor")
    llama = anatomy_of(tiny_model("llama"))
    assert llama.place("attention", 1) == Place("model.layers.1.self_attn", "output", "tuple")


def test_every_place_is_a_module_of_the_model():
    for name in ("gpt2", "gptj", "gpt_neox", "llama", "qwen2", "gemma3"):
        model = tiny_model(name)
        anatomy = anatomy_of(model)
        places = [anatomy.place(component) for component in ("embedding", "final", "logits")]
        places += [anatomy.place(part, layer) for part in COMPONENTS for layer in range(LAYERS)]
        assert len({(place.path, place.side) for place in places}) == len(places)
        for place in places:
            model.get_submodule(place.path)


@given(st.integers(1, 16), st.integers(1, 16), st.data())
def test_heads_tile_the_projections_input(groups, kv_heads, data):
    head_dim = data.draw(st.integers(1, 64))
    anatomy = Anatomy(
        family=LLAMA,
        layer_paths=("model.layers.0",),
        heads=groups * kv_heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        width=8,
        vocabulary=9,
        context=16,
        parallel=False,
        embedding_scale=1.0,
        softcap=None,
    )
    inner = list(range(anatomy.heads * head_dim))
    tiled = [inner[anatomy.columns(head)] for head in range(anatomy.heads)]
    assert [index for part in tiled for index in part] == inner
    assert {len(part) for part in tiled} == {head_dim}
    with pytest.raises(AnatomyError, match=f"no head {anatomy.heads}"):
        anatomy.columns(anatomy.heads)


def test_a_component_or_layer_that_is_not_there_is_refused():
    anatomy = anatomy_of(tiny_model("llama"))
    with pytest.raises(AnatomyError, match="no component 'convolution' in layer 0"):
        anatomy.place("convolution", 0)
    with pytest.raises(AnatomyError, match="no component 'residual' outside the layers"):
        anatomy.place("residual")
    with pytest.raises(AnatomyError, match="from 0 to 2"):
        anatomy.place("residual", 99)


def test_an_unknown_family_is_told_what_was_found_and_how_to_add_it():
    config = OPTConfig(
        vocab_size=61, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, ffn_dim=48
    )
    with pytest.raises(AnatomyError) as caught:
        anatomy_of(AutoModelForCausalLM.from_config(config))
    message = str(caught.value)
    assert "'opt'" in message
    assert "layers (model.decoder.layers)" in message
    assert "attention (model.decoder.layers.0.self_attn)" in message
    assert "unembedding (lm_head)" in message
    assert "Could not be located: mlp." in message
    assert "stillwired/checkpoints/families.py" in message


def test_a_model_without_attention_is_told_so():
    config = MambaConfig(vocab_size=61, hidden_size=16, num_hidden_layers=2, state_size=4)
    with pytest.raises(AnatomyError, match="Could not be located: attention, mlp"):
        anatomy_of(AutoModelForCausalLM.from_config(config))


def test_a_config_that_declares_other_layers_is_refused():
    model = tiny_model("llama")
    model.config.num_hidden_layers = 5
    with pytest.raises(AnatomyError, match=r"declares 5 layers, model\.layers holds 3"):
        anatomy_of(model)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("model.layers.2.self_attn.o_proj", "projection"),
        ("lm_head", "unembedding"),
    ],
)
def test_a_weight_of_an_unexpected_shape_is_refused(path, name):
    model = tiny_model("llama")
    parent, _, child = path.rpartition(".")
    setattr(model.get_submodule(parent), child, nn.Linear(31, 33))
    with pytest.raises(AnatomyError, match=rf"`{name}`.*shape \(33, 31\)"):
        anatomy_of(model)


def test_an_embedding_of_another_width_is_refused():
    model = tiny_model("llama")
    model.model.embed_tokens = nn.Embedding(VOCABULARY, WIDTH + 1)
    with pytest.raises(AnatomyError, match="`embedding`"):
        anatomy_of(model)


def test_heads_that_cannot_be_grouped_are_refused():
    model = tiny_model("llama")
    model.config.num_key_value_heads = 3
    with pytest.raises(AnatomyError, match="cannot share 3 key-value heads"):
        anatomy_of(model)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("layers", "model.blocks", "`layers` could not be located at model.blocks: .*'blocks'"),
        ("attention", "attn", "`attention` could not be located at model.layers.0.attn"),
        ("final_norm", "model.ln_f", "`final_norm` could not be located"),
        ("unembedding", "head", "`unembedding` could not be located at head"),
        ("projection_kind", "conv1d", "is a Linear, its entry says conv1d"),
    ],
)
def test_a_wrong_entry_names_the_field_and_how_far_it_leads(monkeypatch, field, value, message):
    wrong = replace(LLAMA, **{field: value})
    monkeypatch.setattr(families, "FAMILIES", (wrong,))
    with pytest.raises(AnatomyError, match=message):
        anatomy_of(tiny_model("llama"))


def test_every_model_type_has_one_entry():
    kinds = [kind for family in FAMILIES for kind in family.model_types]
    assert len(set(kinds)) == len(kinds)
    assert all(family_of(kind) is not None for kind in kinds)
    assert family_of("opt") is None


def test_kernels_are_those_that_the_family_runs_with():
    check_kernel("llama", "sdpa")
    check_kernel("some family without an entry", "sdpa")
    with pytest.raises(AnatomyError, match=r"GPT-J does not run with .* 'sdpa'"):
        check_kernel("gptj", "sdpa")
    with pytest.raises(AnatomyError, match="eager, sdpa"):
        check_kernel("llama", "flash_attention_2")


def test_positions_follow_from_the_entry():
    absolute = [family.name for family in FAMILIES if family.positions == "absolute"]
    assert absolute == ["GPT-2"]
    assert torch.is_tensor(tiny_model("gpt2").transformer.wpe.weight)
