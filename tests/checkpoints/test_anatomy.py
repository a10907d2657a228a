from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import AutoModelForCausalLM, CodeGenConfig, FalconMambaConfig

from stillwired.checkpoints import families
from stillwired.checkpoints.anatomy import Anatomy, Place, anatomy_of
from stillwired.checkpoints.families import FAMILIES, LLAMA, MAMBA, check_kernel, family_of
from stillwired.checkpoints.family import LAYERED
from stillwired.errors import AnatomyError, MissingComponentError
from tests.engine.tiny import CONFIGS, HEADS, INNER, LAYERS, VOCABULARY, WIDTH, tiny_model


@pytest.mark.parametrize(
    ("name", "kv_heads", "head_dim"),
    [
        ("gpt2", HEADS, 8),
        ("gptj", HEADS, 8),
        ("gpt_neox", HEADS, 8),
        ("opt", HEADS, 8),
        ("falcon", 1, 8),
        ("falcon_new", 2, 8),
        ("llama", 2, 8),
        ("mistral", 2, 12),
        ("mixtral", 2, 8),
        ("phi3", 2, 8),
        ("qwen2", 2, 8),
        ("qwen3", 2, 12),
        ("olmo2", 2, 8),
        ("gemma2", 2, 12),
        ("gemma3", 2, 12),
        ("jamba", 2, 8),
    ],
)
def test_counts_come_from_the_model(name, kv_heads, head_dim):
    anatomy = anatomy_of(tiny_model(name))
    assert (anatomy.layers, anatomy.heads, anatomy.width) == (LAYERS, HEADS, WIDTH)
    assert (anatomy.kv_heads, anatomy.head_dim) == (kv_heads, head_dim)
    assert (anatomy.vocabulary, anatomy.context) == (VOCABULARY, 64)


@pytest.mark.parametrize("name", ["mamba", "mamba2"])
def test_a_model_without_attention_has_no_heads_and_a_mixers_width(name):
    anatomy = anatomy_of(tiny_model(name))
    assert (anatomy.heads, anatomy.kv_heads, anatomy.head_dim) == (0, 0, 0)
    assert (anatomy.width, anatomy.inner, anatomy.context) == (WIDTH, INNER, None)
    assert anatomy.kinds == ("mixer",) * LAYERS


def test_a_hybrid_knows_which_layers_have_what():
    anatomy = anatomy_of(tiny_model("jamba"))
    assert anatomy.kinds == ("mixer", "attention", "mixer")
    assert anatomy.components(0) == ("gate", "convolution", "gated", "mixer", "mlp", "residual")
    assert anatomy.components(1) == ("head", "attention", "mlp", "residual")


def test_every_component_has_its_width():
    anatomy = anatomy_of(tiny_model("jamba"))
    widths = {name: anatomy.width_of(name) for name in (*LAYERED, "embedding", "final", "logits")}
    assert widths == {
        **dict.fromkeys(("gate", "convolution", "state", "gated"), INNER),
        **dict.fromkeys(("mixer", "attention", "mlp", "residual", "embedding", "final"), WIDTH),
        "head": 8,
        "logits": VOCABULARY,
    }
    assert anatomy.part("gate") == slice(INNER, 2 * INNER)
    assert anatomy_of(tiny_model("mamba2")).part("gate") == slice(0, INNER)
    assert anatomy.part("residual") is None
    assert anatomy.part("head", 1) == slice(8, 16)


def test_what_a_config_decides_is_read_from_it():
    assert anatomy_of(tiny_model("gpt_neox")).parallel is True
    assert anatomy_of(tiny_model("gpt_neox_sequential")).parallel is False
    falcons = [anatomy_of(tiny_model(name)) for name in ("falcon", "falcon_new", "falcon_alibi")]
    assert [anatomy.parallel for anatomy in falcons] == [True, True, False]
    assert [anatomy.family.mlp_norm for anatomy in falcons] == [
        "input_layernorm",
        "ln_mlp",
        "post_attention_layernorm",
    ]
    assert [anatomy.family.kernels for anatomy in falcons] == [
        ("eager", "sdpa"),
        ("eager", "sdpa"),
        ("sdpa",),
    ]
    masks = {name: anatomy_of(tiny_model(name)).family.mask for name in ("mistral", "mixtral")}
    assert masks == {"mistral": "sliding", "mixtral": "causal"}
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


@pytest.mark.parametrize("name", list(CONFIGS))
def test_every_place_is_a_module_of_the_model(name):
    model = tiny_model(name)
    anatomy = anatomy_of(model)
    places = [anatomy.place(component) for component in ("embedding", "final", "logits")]
    for layer in range(LAYERS):
        places += [anatomy.place(part, layer) for part in anatomy.components(layer)]
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
    with pytest.raises(AnatomyError, match=r"no component 'convulsion' in layer 0. Components of"):
        anatomy.place("convulsion", 0)
    with pytest.raises(MissingComponentError, match=r"no component 'convolution' in layer 0. The"):
        anatomy.place("convolution", 0)
    with pytest.raises(MissingComponentError, match="Mamba has no attention heads"):
        anatomy_of(tiny_model("mamba")).columns(0)
    with pytest.raises(AnatomyError, match="no component 'residual' outside the layers"):
        anatomy.place("residual")
    with pytest.raises(AnatomyError, match="from 0 to 2"):
        anatomy.place("residual", 99)


def test_an_unknown_family_is_told_what_was_found_and_how_to_add_it():
    config = CodeGenConfig(
        vocab_size=61, n_embd=32, n_layer=2, n_head=4, rotary_dim=4, bos_token_id=1, eos_token_id=1
    )
    with pytest.raises(AnatomyError) as caught:
        anatomy_of(AutoModelForCausalLM.from_config(config))
    message = str(caught.value)
    assert "'codegen'" in message
    assert "layers (transformer.h)" in message
    assert "attention (transformer.h.0.attn)" in message
    assert "unembedding (lm_head)" in message
    assert "Could not be located: nothing, but names prove nothing." in message
    assert "stillwired/checkpoints/families.py" in message


def test_an_unknown_family_without_attention_is_told_so():
    config = FalconMambaConfig(
        vocab_size=61, hidden_size=16, num_hidden_layers=2, state_size=4, pad_token_id=None
    )
    with pytest.raises(AnatomyError, match=r"'falcon_mamba'.*not be located: attention, mlp"):
        anatomy_of(AutoModelForCausalLM.from_config(config))


REFUSED = [
    ("opt", {"do_layer_norm_before": False}, "do_layer_norm_before = False is not supported: "),
    ("opt", {"_remove_final_layer_norm": True}, "_remove_final_layer_norm = True .*no final norm"),
    (
        "opt",
        {"word_embed_proj_dim": 16},
        "word_embed_proj_dim = 16, hidden_size = 32 .*projections",
    ),
    (
        "bloom",
        {"apply_residual_connection_post_layernorm": True},
        "apply_residual_connection_post_layernorm = True .*normed residual",
    ),
    ("bloom", {"pretraining_tp": 2, "slow_but_exact": True}, "slow_but_exact = True .*slices"),
    ("falcon", {"num_ln_in_parallel_attn": 2}, "num_ln_in_parallel_attn = 2.* one form"),
    ("falcon_new", {"parallel_attn": False}, "parallel_attn = False is not .* one form"),
    ("gemma2", {"use_bidirectional_attention": True}, "= True .*depend on later tokens"),
    ("gemma3", {"use_bidirectional_attention": True}, "= True .*depend on later tokens"),
]


@pytest.mark.parametrize(("name", "changes", "message"), REFUSED)
def test_a_form_that_cannot_be_described_is_refused_by_its_config_key(name, changes, message):
    config = CONFIGS[name]()
    config = type(config)(**{**config.to_dict(), **changes})
    with pytest.raises(AnatomyError, match=message):
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


@pytest.mark.parametrize(
    ("family", "path", "module", "message"),
    [
        ("opt", "model.decoder.embed_positions", nn.Embedding(64, WIDTH), "`position_embedding`"),
        ("bloom", "transformer.h.1.self_attention.dense", nn.Linear(31, 32), "`projection` of"),
        ("falcon", "transformer.word_embeddings", nn.Embedding(61, 31), "`embedding` has"),
        ("mamba", "backbone.layers.2.mixer.out_proj", nn.Linear(63, 32), "`mixer.projection` of"),
        ("mamba", "backbone.layers.0.mixer.in_proj", nn.Linear(32, 127), "at least 128 rows of 32"),
        ("mamba2", "backbone.layers.1.mixer.norm", nn.LayerNorm(63), "gated norm has \\(64,\\)"),
        ("jamba", "model.layers.1.self_attn.o_proj", nn.Linear(31, 32), "`projection` of"),
        ("jamba", "model.layers.2.mamba.out_proj", nn.Linear(31, 32), "`mixer.projection` of"),
    ],
)
def test_a_state_of_an_unexpected_shape_is_refused_in_every_new_part(family, path, module, message):
    model = tiny_model(family)
    parent, _, child = path.rpartition(".")
    setattr(model.get_submodule(parent), child, module)
    with pytest.raises(AnatomyError, match=message):
        anatomy_of(model)


def test_a_hybrid_whose_list_of_layers_is_not_theirs_is_refused(monkeypatch):
    model = tiny_model("jamba")
    kinds = property(lambda config: ["mamba", "attention"])
    monkeypatch.setattr(type(model.config), "layers_block_type", kinds)
    with pytest.raises(AnatomyError, match="declares 3 layers, its layers_block_type lists 2"):
        anatomy_of(model)
    kinds = property(lambda config: ["attention", "mamba", "attention"])
    monkeypatch.setattr(type(model.config), "layers_block_type", kinds)
    with pytest.raises(AnatomyError, match=r"could not be located at model.layers.0.self_attn"):
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
    assert len(set(kinds)) == len(kinds) >= 18
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
    assert all(family_of(kind) is not None for kind in kinds)
    assert family_of("rwkv") is None


def test_every_family_is_built_small_in_the_tests():
    assert {config().model_type for config in CONFIGS.values()} == {
        kind for family in FAMILIES for kind in family.model_types
    }


def test_kernels_are_those_that_the_family_runs_with():
    check_kernel(CONFIGS["llama"](), "sdpa")
    check_kernel(CodeGenConfig(), "sdpa")
    with pytest.raises(AnatomyError, match=r"GPT-J does not run with .* 'sdpa': transformers has"):
        check_kernel(CONFIGS["gptj"](), "sdpa")
    with pytest.raises(AnatomyError, match="eager, sdpa"):
        check_kernel(CONFIGS["llama"](), "flash_attention_2")
    check_kernel(CONFIGS["falcon"](), "eager")
    with pytest.raises(AnatomyError, match="bias twice"):
        check_kernel(CONFIGS["falcon_alibi"](), "eager")


@pytest.mark.parametrize("name", ["gptj", "bloom", "gemma2", "mamba", "mamba2"])
def test_transformers_itself_refuses_what_is_left_out(name):
    """Should a later transformers take sdpa here, the entry is to be looked at again."""
    with pytest.raises(ValueError, match="scaled_dot_product_attention"):
        AutoModelForCausalLM.from_config(CONFIGS[name](), attn_implementation="sdpa")


def test_a_recurrent_family_says_why_only_the_full_forward_is_exact():
    reasons = {family.name for family in FAMILIES if family.cone is not None}
    assert reasons == {"Mamba", "Mamba-2", "Jamba"}
    assert MAMBA.cone == "a recurrent mixer carries every earlier position in one state"
    longrope = CONFIGS["phi3"]()
    longrope.rope_parameters = {**longrope.rope_parameters, "rope_type": "longrope"}
    assert "longest prompt" in str(family_of("phi3").of(longrope).cone)


def test_positions_follow_from_the_entry():
    absolute = [family.name for family in FAMILIES if family.positions == "absolute"]
    assert absolute == ["GPT-2", "OPT"]
    assert all(
        (family.positions == "absolute") == (family.position_embedding is not None)
        for family in FAMILIES
    )
    assert torch.is_tensor(tiny_model("gpt2").transformer.wpe.weight)
