"""Model families as data: where each keeps its parts, and how its parts are called.

Adding a family means adding one `Family` to `FAMILIES`. Nothing else names a module, and
what an entry claims is checked by identities whenever a model is loaded
(`stillwired.engine.identities`), so a wrong entry cannot be used.

Every component means the same in every family:

* ``residual`` at layer *l* is the output of block *l*, counted from 0;
* ``embedding`` is the input of block 0: token embeddings as the first block gets them,
  scaled (Gemma), normed (BLOOM) and with learned positions added (GPT-2, OPT);
* ``attention``, ``mlp`` and ``mixer`` are what is *added* to the residual: the branch's
  output after its own norm where the family puts one there (the sandwich norms of Gemma 2
  and 3, the norms behind the branches of OLMo 2), the projected and biased output
  everywhere else, and never the residual with it (BLOOM's modules return both);
* ``head`` is one attention head's slice of the input of the output projection, before it
  is projected (with grouped queries there are as many heads as there are queries);
* ``final`` is the output of the final norm, ``logits`` what the model returns, with
  soft-capping and biases as the model applies them.

A state-space mixer has parts of its own, in the words of Mamba (Gu and Dao 2023, arXiv
2312.00752) and Mamba-2 (Dao and Gu 2024, arXiv 2405.21060). They are as wide as the mixer,
`expand` times the residual:

* ``gate`` is z, the gate before its SiLU;
* ``convolution`` is the output of the causal depthwise convolution after its SiLU: what
  the state-space model reads (in Mamba only x goes through it);
* ``state`` is y, the output of the state-space model with the skip D x added, before the
  gate;
* ``gated`` is the input of the mixer's output projection: y times the SiLU of z, and
  behind the gated norm where there is one (Mamba-2).

Not every family has all of them at the edge of a module; what it has elsewhere is refused
and not approximated. `Mixer.unread` says what, and why.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stillwired.checkpoints.family import Family, Mixer, Refusal, Variant
from stillwired.errors import AnatomyError

_NO_SDPA = "transformers has no sdpa attention for this family"
_RECURRENT = "a recurrent mixer carries every earlier position in one state"
_BIASED_PADDING = (
    "the mixer's input projection has a bias, so the convolution sees it left of a padded "
    "prompt where it sees zeros left of a prompt that runs alone"
)
_SCANNED = "the scan applies the gate before it returns, so no module begins or ends there"
_BIDIRECTIONAL = Refusal(
    keys=("use_bidirectional_attention",),
    when=lambda config: bool(config.use_bidirectional_attention),
    why="its states depend on later tokens, and every reading supposes that they do not",
)
_WINDOW = Variant(lambda config: config.sliding_window is not None, {"mask": "sliding"})

GPT2 = Family(
    name="GPT-2",
    model_types=("gpt2",),
    embedding="transformer.wte",
    positions="absolute",
    position_embedding="transformer.wpe",
    layers="transformer.h",
    final_norm="transformer.ln_f",
    unembedding="lm_head",
    attention="attn",
    projection="attn.c_proj",
    projection_kind="conv1d",
    attention_added="attn",
    mlp="mlp",
    mlp_norm="ln_2",
    mlp_added="mlp",
)

GPTJ = Family(
    name="GPT-J",
    model_types=("gptj",),
    embedding="transformer.wte",
    layers="transformer.h",
    final_norm="transformer.ln_f",
    unembedding="lm_head",
    attention="attn",
    projection="attn.out_proj",
    attention_added="attn",
    mlp="mlp",
    mlp_norm="ln_1",
    mlp_added="mlp",
    layer_out="tuple",
    parallel=True,
    kernels=("eager",),
    kernels_why=_NO_SDPA,
)

GPT_NEOX = Family(
    name="GPT-NeoX",
    model_types=("gpt_neox",),
    embedding="gpt_neox.embed_in",
    layers="gpt_neox.layers",
    final_norm="gpt_neox.final_layer_norm",
    unembedding="lm_head",
    attention="attention",
    projection="attention.dense",
    attention_added="attention",
    mlp="mlp",
    mlp_norm="post_attention_layernorm",
    mlp_added="mlp",
    parallel=True,
    variants=(Variant(lambda config: not config.use_parallel_residual, {"parallel": False}),),
)

OPT = Family(
    name="OPT",
    model_types=("opt",),
    embedding="model.decoder.embed_tokens",
    positions="absolute",
    position_embedding="model.decoder.embed_positions",
    position_offset=2,
    layers="model.decoder.layers",
    final_norm="model.decoder.final_layer_norm",
    unembedding="lm_head",
    attention="self_attn",
    projection="self_attn.out_proj",
    attention_added="self_attn",
    # The block holds the two halves of its MLP itself, and calls its norm "final".
    mlp="fc1",
    mlp_norm="final_layer_norm",
    mlp_added="fc2",
    mlp_flat=True,
    refusals=(
        Refusal(
            keys=("do_layer_norm_before",),
            when=lambda config: not config.do_layer_norm_before,
            why="each block norms the residual itself, so nothing is ever added to one stream",
        ),
        Refusal(
            keys=("_remove_final_layer_norm",),
            when=lambda config: bool(config._remove_final_layer_norm),
            why="there is no final norm to read through",
        ),
        Refusal(
            keys=("word_embed_proj_dim", "hidden_size"),
            when=lambda config: config.word_embed_proj_dim != config.hidden_size,
            why="projections stand between the embeddings and the residual",
        ),
    ),
)

BLOOM = Family(
    name="BLOOM",
    model_types=("bloom",),
    embedding="transformer.word_embeddings",
    embedding_norm="transformer.word_embeddings_layernorm",
    positions="alibi",
    layers="transformer.h",
    final_norm="transformer.ln_f",
    unembedding="lm_head",
    attention="self_attention",
    projection="self_attention.dense",
    # Both modules return the residual too; what is added is what their last projection gives.
    adds_residual=True,
    attention_added="self_attention.dense",
    mlp="mlp",
    mlp_norm="post_attention_layernorm",
    mlp_added="mlp.dense_4h_to_h",
    layer_out="tuple",
    kernels=("eager",),
    kernels_why=_NO_SDPA,
    refusals=(
        Refusal(
            keys=("apply_residual_connection_post_layernorm",),
            when=lambda config: bool(config.apply_residual_connection_post_layernorm),
            why="its branches are added to the normed residual, not to the block's input",
        ),
        Refusal(
            keys=("pretraining_tp", "slow_but_exact"),
            when=lambda config: config.pretraining_tp > 1 and config.slow_but_exact,
            why="the output projections are computed in slices that pass through no module",
        ),
    ),
)

FALCON = Family(
    name="Falcon",
    model_types=("falcon",),
    embedding="transformer.word_embeddings",
    layers="transformer.h",
    final_norm="transformer.ln_f",
    unembedding="lm_head",
    attention="self_attention",
    projection="self_attention.dense",
    attention_added="self_attention",
    mlp="mlp",
    mlp_norm="input_layernorm",
    mlp_added="mlp",
    layer_out="tuple",
    parallel=True,
    # A parallel block adds attention into the MLP's own tensor.
    overwritten=("mlp",),
    kv_heads="num_kv_heads",
    variants=(
        Variant(
            lambda config: config.multi_query and not config.new_decoder_architecture,
            {"kv_heads": 1},
        ),
        Variant(
            lambda config: config.new_decoder_architecture and config.num_ln_in_parallel_attn != 1,
            {"mlp_norm": "ln_mlp"},
        ),
        Variant(
            lambda config: not (config.new_decoder_architecture or config.parallel_attn),
            {"parallel": False, "mlp_norm": "post_attention_layernorm", "overwritten": ()},
        ),
        Variant(
            lambda config: bool(config.alibi),
            {
                "positions": "alibi",
                "kernels": ("sdpa",),
                "kernels_why": "with alibi = True, eager attention adds the ALiBi bias twice",
            },
        ),
    ),
    refusals=(
        Refusal(
            keys=("new_decoder_architecture", "parallel_attn"),
            when=lambda config: config.new_decoder_architecture and not config.parallel_attn,
            why="transformers builds its norms for one form and its forward pass for the other",
        ),
        Refusal(
            keys=("num_ln_in_parallel_attn", "new_decoder_architecture"),
            when=lambda config: (
                config.parallel_attn
                and config.num_ln_in_parallel_attn == 2
                and not config.new_decoder_architecture
            ),
            why="transformers builds its norms for one form and its forward pass for the other",
        ),
    ),
)

LLAMA = Family(
    name="Llama",
    model_types=("llama",),
    embedding="model.embed_tokens",
    layers="model.layers",
    final_norm="model.norm",
    unembedding="lm_head",
    attention="self_attn",
    projection="self_attn.o_proj",
    attention_added="self_attn",
    mlp="mlp",
    mlp_norm="post_attention_layernorm",
    mlp_added="mlp",
)

# These keep Llama's names; what else they change is inside of their modules.
MISTRAL = replace(LLAMA, name="Mistral", model_types=("mistral",), variants=(_WINDOW,))
MIXTRAL = replace(LLAMA, name="Mixtral", model_types=("mixtral",), variants=(_WINDOW,))
PHI3 = replace(LLAMA, name="Phi-3", model_types=("phi3",), variants=(_WINDOW,))
QWEN2 = replace(LLAMA, name="Qwen2", model_types=("qwen2",), mask="by layer type")
QWEN3 = replace(LLAMA, name="Qwen3", model_types=("qwen3",), mask="by layer type")

OLMO2 = replace(
    LLAMA,
    name="OLMo 2",
    model_types=("olmo2",),
    attention_added="post_attention_layernorm",
    mlp_norm=None,
    mlp_added="post_feedforward_layernorm",
)

GEMMA3 = replace(
    LLAMA,
    name="Gemma 3",
    model_types=("gemma3_text",),
    embedding_scale="sqrt width",
    attention_added="post_attention_layernorm",
    mlp_norm="pre_feedforward_layernorm",
    mlp_added="post_feedforward_layernorm",
    mask="by layer type",
    softcap="final_logit_softcapping",
    refusals=(_BIDIRECTIONAL,),
)

GEMMA2 = replace(
    GEMMA3,
    name="Gemma 2",
    model_types=("gemma2",),
    kernels=("eager",),
    kernels_why="sdpa cannot cap attention logits, and transformers refuses it",
)

MAMBA = Family(
    name="Mamba",
    model_types=("mamba",),
    embedding="backbone.embeddings",
    positions="none",
    layers="backbone.layers",
    final_norm="backbone.norm_f",
    unembedding="lm_head",
    mixer=Mixer(
        module="mixer",
        projection="mixer.out_proj",
        expand="expand",
        gate="mixer.in_proj",
        gate_part="second",
        convolution="mixer.x_proj",
        filter="mixer.conv1d",
        activation="mixer.act",
        unread={"state": _SCANNED},
    ),
    kernels=("eager",),
    kernels_why="it has no attention, and transformers takes no other name for that",
    cone=_RECURRENT,
    variants=(
        Variant(lambda config: bool(config.use_bias), {"padding": _BIASED_PADDING}),
        Variant(lambda config: bool(config.residual_in_fp32), {"residual_float32": True}),
    ),
)

MAMBA2 = replace(
    MAMBA,
    name="Mamba-2",
    model_types=("mamba2",),
    mixer=Mixer(
        module="mixer",
        projection="mixer.out_proj",
        expand="expand",
        gate="mixer.in_proj",
        gate_part="first",
        state="mixer.norm",
        unread={
            "convolution": (
                "it goes from one function to the next, so no module begins or ends there"
            )
        },
    ),
)

JAMBA = Family(
    name="Jamba",
    model_types=("jamba",),
    embedding="model.embed_tokens",
    positions="none",
    layers="model.layers",
    final_norm="model.final_layernorm",
    unembedding="lm_head",
    kinds="layers_block_type",
    attention="self_attn",
    projection="self_attn.o_proj",
    attention_added="self_attn",
    mlp="feed_forward",
    mlp_norm="pre_ff_layernorm",
    mlp_added="feed_forward",
    mixer=Mixer(
        module="mamba",
        projection="mamba.out_proj",
        expand="mamba_expand",
        gate="mamba.in_proj",
        gate_part="second",
        convolution="mamba.x_proj",
        filter="mamba.conv1d",
        activation="mamba.act",
        unread={"state": _SCANNED},
    ),
    cone=_RECURRENT,
    variants=(Variant(lambda config: bool(config.mamba_proj_bias), {"padding": _BIASED_PADDING}),),
)

FAMILIES: tuple[Family, ...] = (
    GPT2,
    GPTJ,
    GPT_NEOX,
    OPT,
    BLOOM,
    FALCON,
    LLAMA,
    MISTRAL,
    MIXTRAL,
    PHI3,
    QWEN2,
    QWEN3,
    OLMO2,
    GEMMA2,
    GEMMA3,
    MAMBA,
    MAMBA2,
    JAMBA,
)


def family_of(model_type: str) -> Family | None:
    """Return the family of a config's ``model_type``, or None if there is no entry."""
    return next((family for family in FAMILIES if model_type in family.model_types), None)


def check_kernel(config: Any, attention: str) -> None:
    """Refuse an attention kernel that the family of a model does not allow.

    An unknown family passes: `stillwired.checkpoints.anatomy.anatomy_of` says more about it
    once the model is built.

    Args:
        config: The model's config; in some families it decides which kernels are right.
        attention: The kernel, by transformers' name.

    Raises:
        AnatomyError: If the family is known and the kernel is not among its `kernels`, or
            the family's form is refused.
    """
    family = family_of(str(config.model_type))
    if family is None:
        return
    family = family.of(config)
    if attention not in family.kernels:
        why = f": {family.kernels_why}" if family.kernels_why else ""
        raise AnatomyError(
            f"{family.name} does not run with the attention kernel {attention!r}{why}. "
            f"Choose one of: {', '.join(family.kernels)}."
        )
