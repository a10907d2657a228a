"""What an entry says about a family of models: the fields, without any family.

The entries themselves, and what each component means, stand in
`stillwired.checkpoints.families`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from stillwired.errors import AnatomyError

LAYERED = (
    "gate",
    "convolution",
    "state",
    "gated",
    "mixer",
    "head",
    "attention",
    "mlp",
    "residual",
)
"""Components of a block, in the order in which a forward pass reaches them."""

READ_ONLY = {
    "convolution": (
        "it is read where it enters one of the projections that follow, and a change there "
        "would not reach the scan that reads it as well"
    ),
}
"""Components that can be read and not edited, and why."""

When = Callable[[Any], bool]
"""Says of a model's config whether something applies."""

_LONGROPE = (
    "its rotary angles (rope_type = 'longrope') depend on the longest prompt that runs with it"
)


@dataclass(frozen=True)
class Variant:
    """Fields of an entry that are others where the config says so.

    Attributes:
        when: Decides by the config.
        fields: `Family` fields and their values then.
    """

    when: When
    fields: Mapping[str, Any] = field(hash=False)


@dataclass(frozen=True)
class Refusal:
    """A form of a family that the components cannot describe.

    Attributes:
        keys: The config keys that decide, for the message.
        when: Decides by the config.
        why: What makes it impossible, as the second half of a sentence.
    """

    keys: tuple[str, ...]
    when: When
    why: str


@dataclass(frozen=True)
class Mixer:
    """Where a state-space mixer keeps its parts; paths are from a layer.

    Attributes:
        module: The mixer, whose output is added to the residual.
        projection: Its output projection, whose input is the gated state.
        expand: Config key of the factor from the residual's width to the mixer's.
        gate: The input projection, whose output holds the gate among other things.
        gate_part: Which of the first two parts of that output, each as wide as the mixer,
            the gate is.
        convolution: The module whose input is the convolution after its activation; None
            where no module begins there.
        filter: The convolution's own module, which holds the weights but is not called.
        activation: The module that follows the convolution.
        state: The gated norm, whose input is the state-space output; None where the gate is
            applied before any module begins.
        unread: Components that cannot be read at the edge of a module, and what is there
            instead.
        kind: What the family's `kinds` call a layer with a mixer.
    """

    module: str
    projection: str
    expand: str
    gate: str
    gate_part: Literal["first", "second"]
    convolution: str | None = None
    filter: str | None = None
    activation: str | None = None
    state: str | None = None
    unread: Mapping[str, str] = field(default_factory=dict, hash=False)
    kind: str = "mamba"


@dataclass(frozen=True)
class Family:
    """Where the models of one family keep their parts.

    Paths are attribute paths: `embedding`, `embedding_norm`, `position_embedding`, `layers`,
    `final_norm` and `unembedding` from the model, the others from a layer.

    Attributes:
        name: What the family is called in messages.
        model_types: Values of the config's ``model_type`` that belong here.
        embedding: Token embedding.
        layers: The list of blocks.
        final_norm: The norm between the last block and the unembedding.
        unembedding: From the final norm to logits, before any soft-capping.
        attention: The attention module; None where no layer has attention.
        projection: Its output projection, whose input is the concatenated heads.
        projection_kind: ``linear`` keeps its weight as [out, in], ``conv1d`` as [in, out].
        attention_added: The module whose output is added to the residual for attention.
        mlp: The MLP module, or its first part where the block holds the parts itself; None
            where blocks have no MLP.
        mlp_norm: The norm that the MLP reads through; None where it reads the residual.
        mlp_added: The module whose output is added to the residual for the MLP.
        mlp_flat: Whether the MLP's parts see the positions of all rows as one list
            [rows x positions, width].
        mixer: The state-space mixer's parts; None where no layer has one.
        kinds: Config key that lists, layer by layer, whether it has attention or a mixer;
            None where all layers are alike.
        adds_residual: Whether attention and MLP modules return the residual with their own
            output added to it.
        attention_out: Whether the attention module returns a tensor or a tuple.
        residual_float32: Whether a block brings the residual to single precision before it
            adds to it, whatever the model's own precision is.
        layer_out: Whether a block returns a tensor or a tuple.
        layer_call: Whether a block gets the residual by position or by keyword.
        overwritten: Components whose tensor the model changes in place once it has been
            read, so that a reading must be a copy.
        parallel: Whether the MLP reads the block's input (True) or the residual after
            attention (False).
        mask: ``causal`` or ``sliding`` where every block gets that one mask, ``by layer
            type`` where the config's ``layer_types`` chooses a block's.
        positions: How the model knows where a token stands: ``absolute`` positions are
            learned and added to the embedding, ``rotary`` ones turn queries and keys,
            ``alibi`` is a bias on attention, ``none`` leaves it to mask and recurrence.
        position_embedding: Learned absolute positions; None for all other kinds.
        position_offset: Rows of the position embedding before the first position's.
        embedding_norm: A norm between token embedding and first block.
        embedding_scale: What the embedding multiplies its rows by.
        kv_heads: Config key of the number of key-value heads, or the number.
        softcap: Config key of the cap on the logits, if the family has one.
        kernels: Attention kernels that transformers runs correctly for the family.
        kernels_why: What is wrong with the others.
        cone: Why only the full forward pass is exact where positions are computed apart from
            each other; None where each position depends on earlier ones through attention
            alone, and on its own number.
        padding: Why a prompt that is padded on the left does not read as it does alone; None
            where it does.
        variants: Fields that the config decides; later ones win.
        refusals: Forms that are refused.
    """

    name: str
    model_types: tuple[str, ...]
    embedding: str
    layers: str
    final_norm: str
    unembedding: str
    attention: str | None = None
    projection: str | None = None
    attention_added: str | None = None
    mlp: str | None = None
    mlp_norm: str | None = None
    mlp_added: str | None = None
    mlp_flat: bool = False
    mixer: Mixer | None = None
    kinds: str | None = None
    adds_residual: bool = False
    projection_kind: Literal["linear", "conv1d"] = "linear"
    attention_out: Literal["tensor", "tuple"] = "tuple"
    residual_float32: bool = False
    layer_out: Literal["tensor", "tuple"] = "tensor"
    layer_call: Literal["positional", "keyword"] = "positional"
    overwritten: tuple[str, ...] = ()
    parallel: bool = False
    mask: Literal["causal", "sliding", "by layer type"] = "causal"
    positions: Literal["absolute", "rotary", "alibi", "none"] = "rotary"
    position_embedding: str | None = None
    position_offset: int = 0
    embedding_norm: str | None = None
    embedding_scale: Literal["one", "sqrt width"] = "one"
    kv_heads: str | int = "num_key_value_heads"
    softcap: str | None = None
    kernels: tuple[str, ...] = ("eager", "sdpa")
    kernels_why: str = ""
    cone: str | None = None
    padding: str | None = None
    variants: tuple[Variant, ...] = ()
    refusals: tuple[Refusal, ...] = ()

    def of(self, config: Any) -> Family:
        """Return the entry as it is for one model.

        Args:
            config: The model's config, as transformers holds it.

        Raises:
            AnatomyError: If the config asks for a form that is refused; the message names
                the keys.
        """
        for refusal in self.refusals:
            if refusal.when(config):
                asked = ", ".join(f"{key} = {getattr(config, key)!r}" for key in refusal.keys)
                raise AnatomyError(
                    f"{self.name} with {asked} is not supported: {refusal.why}. Use a checkpoint "
                    "of the family's usual form."
                )
        fields: dict[str, Any] = {}
        if _rope_type(config) == "longrope":
            fields |= {"cone": _LONGROPE, "padding": _LONGROPE}
        for variant in self.variants:
            if variant.when(config):
                fields |= variant.fields
        return replace(self, **fields) if fields else self


def _rope_type(config: Any) -> str | None:
    """How a config scales rotary positions, where it does so for all layers alike."""
    parameters = getattr(config, "rope_parameters", None)
    kind = parameters.get("rope_type") if isinstance(parameters, Mapping) else None
    return kind if isinstance(kind, str) else None
