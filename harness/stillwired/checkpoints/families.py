"""Model families as data: where each keeps its parts, and how its parts are called.

Adding a family means adding one `Family` to `FAMILIES`. Nothing else names a module, and
what an entry claims is checked by identities whenever a model is loaded
(`stillwired.engine.identities`), so a wrong entry cannot be used.

Every component means the same in every family:

* ``residual`` at layer *l* is the output of block *l*, counted from 0;
* ``embedding`` is the input of block 0: token embeddings as the first block gets them,
  scaled (Gemma) and with learned positions added (GPT-2);
* ``attention`` and ``mlp`` are what is *added* to the residual: the branch's output after
  its own norm where the family puts one there (Gemma 3's sandwich norms), the projected
  and biased output everywhere else;
* ``head`` is one head's slice of the input of the output projection, before it is
  projected (with grouped queries there are as many heads as there are queries);
* ``final`` is the output of the final norm, ``logits`` what the model returns, with
  soft-capping and biases as the model applies them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stillwired.errors import AnatomyError


@dataclass(frozen=True)
class Family:
    """Where the models of one family keep their parts.

    Paths are attribute paths: `embedding`, `position_embedding`, `layers`, `final_norm`
    and `unembedding` from the model, the others from a layer.

    Attributes:
        name: What the family is called in messages.
        model_types: Values of the config's ``model_type`` that belong here.
        embedding: Token embedding.
        layers: The list of blocks.
        final_norm: The norm between the last block and the unembedding.
        unembedding: From the final norm to logits, before any soft-capping.
        attention: The attention module.
        projection: Its output projection, whose input is the concatenated heads.
        projection_kind: ``linear`` keeps its weight as [out, in], ``conv1d`` as [in, out].
        attention_added: The module whose output is added to the residual for attention.
        mlp: The MLP module.
        mlp_norm: The norm that the MLP reads through.
        mlp_added: The module whose output is added to the residual for the MLP.
        attention_out: Whether the attention module returns a tensor or a tuple.
        layer_out: Whether a block returns a tensor or a tuple.
        layer_call: Whether a block gets the residual by position or by keyword.
        parallel: Whether the MLP reads the block's input (True) or the residual after
            attention (False); a string names the config key that decides.
        mask: ``causal`` where every block gets one mask, ``by layer type`` where the
            config's ``layer_types`` chooses between full and sliding masks.
        position_embedding: Learned absolute positions, added to the embedding; None
            where positions are rotary.
        embedding_scale: What the embedding multiplies its rows by.
        softcap: Config key of the cap on the logits, if the family has one.
        kernels: Attention kernels that transformers runs correctly for the family.
    """

    name: str
    model_types: tuple[str, ...]
    embedding: str
    layers: str
    final_norm: str
    unembedding: str
    attention: str
    projection: str
    attention_added: str
    mlp: str
    mlp_norm: str
    mlp_added: str
    projection_kind: Literal["linear", "conv1d"] = "linear"
    attention_out: Literal["tensor", "tuple"] = "tuple"
    layer_out: Literal["tensor", "tuple"] = "tensor"
    layer_call: Literal["positional", "keyword"] = "positional"
    parallel: bool | str = False
    mask: Literal["causal", "by layer type"] = "causal"
    position_embedding: str | None = None
    embedding_scale: Literal["one", "sqrt width"] = "one"
    softcap: str | None = None
    kernels: tuple[str, ...] = ("eager", "sdpa")

    @property
    def positions(self) -> Literal["absolute", "rotary"]:
        """How the model knows where a token stands."""
        return "rotary" if self.position_embedding is None else "absolute"


GPT2 = Family(
    name="GPT-2",
    model_types=("gpt2",),
    embedding="transformer.wte",
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
    parallel="use_parallel_residual",
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

QWEN2 = Family(
    name="Qwen2",
    model_types=("qwen2",),
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
    mask="by layer type",
)

GEMMA3 = Family(
    name="Gemma 3",
    model_types=("gemma3_text",),
    embedding="model.embed_tokens",
    embedding_scale="sqrt width",
    layers="model.layers",
    final_norm="model.norm",
    unembedding="lm_head",
    attention="self_attn",
    projection="self_attn.o_proj",
    attention_added="post_attention_layernorm",
    mlp="mlp",
    mlp_norm="pre_feedforward_layernorm",
    mlp_added="post_feedforward_layernorm",
    mask="by layer type",
    softcap="final_logit_softcapping",
)

FAMILIES: tuple[Family, ...] = (GPT2, GPTJ, GPT_NEOX, LLAMA, QWEN2, GEMMA3)


def family_of(model_type: str) -> Family | None:
    """Return the family of a config's ``model_type``, or None if there is no entry."""
    return next((family for family in FAMILIES if model_type in family.model_types), None)


def check_kernel(model_type: str, attention: str) -> None:
    """Refuse an attention kernel that the family of a model does not allow.

    An unknown family passes: `stillwired.checkpoints.anatomy.anatomy_of` says more about it
    once the model is built.

    Raises:
        AnatomyError: If the family is known and the kernel is not among its `kernels`.
    """
    family = family_of(model_type)
    if family is not None and attention not in family.kernels:
        raise AnatomyError(
            f"{family.name} does not run with the attention kernel {attention!r}. "
            f"Choose one of: {', '.join(family.kernels)}."
        )
