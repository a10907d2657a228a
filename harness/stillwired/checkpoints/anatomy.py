"""Where one loaded model keeps its parts, resolved from its family and its config."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from stillwired.checkpoints.families import family_of
from stillwired.checkpoints.family import LAYERED, READ_ONLY, Family
from stillwired.checkpoints.parts import (
    check_attention,
    check_mixer,
    check_shape,
    locate,
    weight_of,
)
from stillwired.checkpoints.unknown import unknown_family
from stillwired.errors import AnatomyError, MissingComponentError

if TYPE_CHECKING:
    from torch import nn

Form = Literal["tensor", "tuple", "positional", "keyword", "logits"]
Kind = Literal["attention", "mixer"]

_OF_KIND: dict[Kind, tuple[str, ...]] = {
    "attention": ("head", "attention"),
    "mixer": ("gate", "convolution", "state", "gated", "mixer"),
}


@dataclass(frozen=True)
class Place:
    """Where a value passes by during a forward pass.

    Attributes:
        path: The module's attribute path from the model; empty for the model itself.
        side: Whether the value is what the module gets or what it returns.
        form: How the value is packed. Outputs are a ``tensor``, the first entry of a
            ``tuple``, or the ``logits`` of a model output; inputs are handed over as the
            first ``positional`` argument or as the first ``keyword``.
        flat: Whether the positions of all rows come as one list [rows x positions, width].
        overwritten: Whether the model changes the tensor in place afterwards.
    """

    path: str
    side: Literal["input", "output"]
    form: Form
    flat: bool = False
    overwritten: bool = False


@dataclass(frozen=True)
class Anatomy:
    """One model's counts and paths.

    Attributes:
        family: The entry that the paths come from, with what the config decides.
        layer_paths: The blocks, in forward order, as paths from the model.
        heads: Query heads per layer with attention; 0 where no layer has any.
        kv_heads: Key-value heads per layer with attention.
        head_dim: Width of one head.
        width: Width of the residual stream.
        vocabulary: Rows of the embedding; token ids are below it.
        context: Longest sequence that the model has positions for; None where no number
            bounds it.
        parallel: Whether attention and MLP read the same residual.
        embedding_scale: Factor between an embedding's row and the residual.
        softcap: Cap on the logits, or None.
        kinds: What each block mixes positions with; empty where all have attention.
        inner: Width of a state-space mixer; 0 where no layer has one.
    """

    family: Family
    layer_paths: tuple[str, ...]
    heads: int
    kv_heads: int
    head_dim: int
    width: int
    vocabulary: int
    context: int | None
    parallel: bool
    embedding_scale: float
    softcap: float | None
    kinds: tuple[Kind, ...] = ()
    inner: int = 0

    @property
    def layers(self) -> int:
        """Number of blocks."""
        return len(self.layer_paths)

    def kind(self, layer: int) -> Kind:
        """Return what a block mixes positions with."""
        return self.kinds[layer] if self.kinds else "attention"

    def components(self, layer: int) -> tuple[str, ...]:
        """Return the components of a block that can be read, in forward order.

        Raises:
            AnatomyError: If the model has no such block.
        """
        self.within(layer, "")
        kind = self.kind(layer)
        unread = self.family.mixer.unread if self.family.mixer else {}
        has = {"residual", *(name for name in _OF_KIND[kind] if name not in unread)}
        has |= {"mlp"} if self.family.mlp else set()
        return tuple(name for name in LAYERED if name in has)

    def within(self, layer: int, part: str) -> str:
        """Return the path of a part of a block.

        Raises:
            AnatomyError: If the model has no such block.
        """
        if not 0 <= layer < self.layers:
            raise AnatomyError(
                f"There is no layer {layer}: this {self.family.name} model has {self.layers} "
                f"blocks. Choose a layer from 0 to {self.layers - 1}."
            )
        return f"{self.layer_paths[layer]}.{part}" if part else self.layer_paths[layer]

    def place(self, component: str, layer: int | None = None) -> Place:
        """Return where a component passes by.

        Args:
            component: A component as defined in `stillwired.checkpoints.families`.
            layer: Block number, counted from 0, for the components that have one.

        Raises:
            AnatomyError: If there is no such component or the model has no such layer.
            MissingComponentError: If the component exists and the layer does not have it, or
                not where it can be read.
        """
        family = self.family
        if component == "embedding":
            return Place(self.within(0, ""), "input", family.layer_call)
        if component == "final":
            return Place(family.final_norm, "output", "tensor")
        if component == "logits":
            return Place("", "output", "logits")
        if layer is None or component not in LAYERED:
            where = "outside the layers" if layer is None else f"in layer {layer}"
            raise AnatomyError(
                f"There is no component {component!r} {where}. Components of a layer: "
                f"{', '.join(LAYERED)}; outside: embedding, final, logits."
            )
        path, side, form = self._part_of(component, layer)
        return Place(
            self.within(layer, path),
            side,
            form,
            flat=component == "mlp" and family.mlp_flat,
            overwritten=component in family.overwritten,
        )

    def columns(self, head: int) -> slice:
        """Return the slice of the projection's input that belongs to a head.

        Raises:
            AnatomyError: If the model has no such head.
            MissingComponentError: If it has no attention heads at all.
        """
        if not self.heads:
            raise MissingComponentError(
                f"{self.family.name} has no attention heads: none of its layers has attention. "
                f"Its layers have {', '.join(self.components(0))}."
            )
        if not 0 <= head < self.heads:
            raise AnatomyError(
                f"There is no head {head}: this {self.family.name} model has {self.heads} heads "
                f"per layer. Choose a head from 0 to {self.heads - 1}."
            )
        return slice(head * self.head_dim, (head + 1) * self.head_dim)

    def part(self, component: str, head: int | None = None) -> slice | None:
        """Return the columns of a place that belong to a component; None for all of them.

        Raises:
            AnatomyError: As `columns`.
        """
        if head is not None:
            return self.columns(head)
        if component == "gate" and self.family.mixer is not None:
            start = self.inner if self.family.mixer.gate_part == "second" else 0
            return slice(start, start + self.inner)
        return None

    def span(self, component: str, head: int | None = None) -> slice:
        """Return the columns that belong to a component, as numbers.

        Raises:
            AnatomyError: As `columns`.
        """
        part = self.part(component, head)
        return slice(0, self.width_of(component)) if part is None else part

    def width_of(self, component: str) -> int:
        """Return the width of a component: of one head for ``head``."""
        if component == "head":
            return self.head_dim
        if component == "logits":
            return self.vocabulary
        return self.inner if component in ("gate", "convolution", "state", "gated") else self.width

    def require_editable(self, component: str) -> None:
        """Refuse to edit a component that can only be read.

        Raises:
            MissingComponentError: Says why a change would not arrive.
        """
        if component in READ_ONLY:
            raise MissingComponentError(
                f"The component {component!r} of {self.family.name} cannot be edited: "
                f"{READ_ONLY[component]}. Edit 'gated' or 'mixer' instead."
            )

    def _part_of(self, component: str, layer: int) -> tuple[str, Literal["input", "output"], Form]:
        """Return path, side and form of a block's component."""
        family = self.family
        has = self.components(layer)
        if component not in has:
            self._refuse(component, layer, has)
        if component == "residual":
            return "", "output", family.layer_out
        if component == "mlp":
            return str(family.mlp_added), "output", "tensor"
        if component == "head":
            return str(family.projection), "input", "positional"
        if component == "attention":
            added = str(family.attention_added)
            return added, "output", family.attention_out if added == family.attention else "tensor"
        mixer = family.mixer
        assert mixer is not None
        if component == "mixer":
            return mixer.module, "output", "tensor"
        if component == "gate":
            return mixer.gate, "output", "tensor"
        before = {
            "convolution": mixer.convolution,
            "state": mixer.state,
            "gated": mixer.projection,
        }
        return str(before[component]), "input", "positional"

    def _refuse(self, component: str, layer: int, has: tuple[str, ...]) -> None:
        """Say why a block does not have a component, and what it has."""
        family = self.family
        kind = self.kind(layer)
        if family.mixer is not None and kind == "mixer" and component in family.mixer.unread:
            why = f" that can be read: {family.mixer.unread[component]}"
        elif len(set(self.kinds)) > 1:
            mixes = "attention" if kind == "attention" else "a state-space mixer"
            why = f", which is a layer with {mixes}"
        else:
            why = ""
        raise MissingComponentError(
            f"{family.name} has no component {component!r} in layer {layer}{why}. The layer has: "
            f"{', '.join(has)}."
        )


def anatomy_of(model: nn.Module) -> Anatomy:
    """Locate the parts of a loaded causal language model.

    Counts come from the config and must agree with the weights' shapes.

    Args:
        model: A transformers model with a language-modelling head.

    Raises:
        AnatomyError: If the family or this form of it is unknown, a part is not where its
            entry says, or a weight has another shape than the config declares.
    """
    config: Any = model.config
    entry = family_of(str(config.model_type))
    if entry is None:
        raise AnatomyError(unknown_family(model, str(config.model_type)))
    family = entry.of(config)
    width = int(config.hidden_size)
    count = int(config.num_hidden_layers)
    kinds = _kinds(family, config, count)
    heads, kv_heads, head_dim = _heads(family, config, width)
    mixer = family.mixer
    inner = 0 if mixer is None else int(getattr(config, mixer.expand) * width)

    blocks = locate(model, family.layers, family, "layers")
    found = len(list(blocks.children()))
    if found != count:
        raise AnatomyError(
            f"{family.name}: the config declares {count} layers, {family.layers} holds {found}. "
            "The checkpoint's config and weights do not belong together, or the entry's "
            "`layers` path is wrong."
        )
    embedding = locate(model, family.embedding, family, "embedding")
    vocabulary = int(weight_of(embedding, family, "embedding").shape[0])
    check_shape(embedding, (vocabulary, width), family, "embedding")
    if family.embedding_norm is not None:
        locate(model, family.embedding_norm, family, "embedding_norm")
    if family.position_embedding is not None:
        positions = locate(model, family.position_embedding, family, "position_embedding")
        rows = config.max_position_embeddings + family.position_offset
        check_shape(positions, (rows, width), family, "position_embedding")
    locate(model, family.final_norm, family, "final_norm")
    unembedding = locate(model, family.unembedding, family, "unembedding")
    check_shape(unembedding, (int(config.vocab_size), width), family, "unembedding")

    paths = tuple(f"{family.layers}.{layer}" for layer in range(count))
    for path, kind in zip(paths, kinds, strict=True):
        block = locate(model, path, family, "layers")
        for name in ("mlp", "mlp_norm", "mlp_added"):
            if getattr(family, name) is not None:
                locate(block, getattr(family, name), family, name, path)
        if kind == "attention":
            check_attention(block, family, path, heads * head_dim, width)
        else:
            check_mixer(block, family, path, inner, width)

    softcap = None if family.softcap is None else getattr(config, family.softcap, None)
    context = getattr(config, "max_position_embeddings", None)
    return Anatomy(
        family=family,
        layer_paths=paths,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        width=width,
        vocabulary=vocabulary,
        context=None if context is None else int(context),
        parallel=family.parallel,
        embedding_scale=math.sqrt(width) if family.embedding_scale == "sqrt width" else 1.0,
        softcap=None if softcap is None else float(softcap),
        kinds=kinds,
        inner=inner,
    )


def _kinds(family: Family, config: Any, count: int) -> tuple[Kind, ...]:
    """Return what every block mixes positions with."""
    if family.mixer is None or family.kinds is None:
        alike: Kind = "attention" if family.mixer is None else "mixer"
        return (alike,) * count
    listed = list(getattr(config, family.kinds))
    if len(listed) != count:
        raise AnatomyError(
            f"{family.name}: the config declares {count} layers, its {family.kinds} lists "
            f"{len(listed)}. The checkpoint's config is not consistent."
        )
    return tuple("mixer" if kind == family.mixer.kind else "attention" for kind in listed)


def _heads(family: Family, config: Any, width: int) -> tuple[int, int, int]:
    """Return the counts of query and key-value heads, and a head's width; 0 without attention."""
    if family.attention is None:
        return 0, 0, 0
    heads = int(config.num_attention_heads)
    named = family.kv_heads
    shared = named if isinstance(named, int) else getattr(config, named, None)
    kv_heads = int(heads if shared is None else shared)
    if kv_heads == 0 or heads % kv_heads:
        raise AnatomyError(
            f"{family.name}: {heads} heads cannot share {kv_heads} key-value heads evenly. "
            "The checkpoint's config is not consistent."
        )
    return heads, kv_heads, int(getattr(config, "head_dim", None) or width // heads)
