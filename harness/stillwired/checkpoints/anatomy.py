"""Where one loaded model keeps its parts, resolved from its family and its config."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from stillwired.checkpoints.families import FAMILIES, Family, family_of
from stillwired.errors import AnatomyError

if TYPE_CHECKING:
    from torch import nn

Form = Literal["tensor", "tuple", "positional", "keyword", "logits"]

_ADD_A_FAMILY = (
    "To add it, append a Family(...) to FAMILIES in stillwired/checkpoints/families.py "
    "(model_types, embedding, layers, final_norm, unembedding, and within a layer attention, "
    "projection, attention_added, mlp, mlp_norm, mlp_added); the identities then say whether "
    "the entry is right."
)


@dataclass(frozen=True)
class Place:
    """Where a value passes by during a forward pass.

    Attributes:
        path: The module's attribute path from the model; empty for the model itself.
        side: Whether the value is what the module gets or what it returns.
        form: How the value is packed. Outputs are a ``tensor``, the first entry of a
            ``tuple``, or the ``logits`` of a model output; inputs are handed over as the
            first ``positional`` argument or as the first ``keyword``.
    """

    path: str
    side: Literal["input", "output"]
    form: Form


@dataclass(frozen=True)
class Anatomy:
    """One model's counts and paths.

    Attributes:
        family: The entry that the paths come from.
        layer_paths: The blocks, in forward order, as paths from the model.
        heads: Query heads per layer.
        kv_heads: Key-value heads per layer.
        head_dim: Width of one head.
        width: Width of the residual stream.
        vocabulary: Rows of the embedding; token ids are below it.
        context: Longest sequence that the model has positions for.
        parallel: Whether attention and MLP read the same residual.
        embedding_scale: Factor between an embedding's row and the residual.
        softcap: Cap on the logits, or None.
    """

    family: Family
    layer_paths: tuple[str, ...]
    heads: int
    kv_heads: int
    head_dim: int
    width: int
    vocabulary: int
    context: int
    parallel: bool
    embedding_scale: float
    softcap: float | None

    @property
    def layers(self) -> int:
        """Number of blocks."""
        return len(self.layer_paths)

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
            component: ``embedding``, ``head``, ``attention``, ``mlp``, ``residual``,
                ``final`` or ``logits``, as defined in `stillwired.checkpoints.families`.
            layer: Block number, counted from 0, for the components that have one.

        Raises:
            AnatomyError: If the family has no such component or the model no such layer.
        """
        family = self.family
        if component == "embedding":
            return Place(self.within(0, ""), "input", family.layer_call)
        if component == "final":
            return Place(family.final_norm, "output", "tensor")
        if component == "logits":
            return Place("", "output", "logits")
        if layer is not None:
            if component == "residual":
                return Place(self.within(layer, ""), "output", family.layer_out)
            if component == "head":
                return Place(self.within(layer, family.projection), "input", "positional")
            if component == "attention":
                added = family.attention_added
                form: Form = family.attention_out if added == family.attention else "tensor"
                return Place(self.within(layer, added), "output", form)
            if component == "mlp":
                return Place(self.within(layer, family.mlp_added), "output", "tensor")
        where = "outside the layers" if layer is None else f"in layer {layer}"
        raise AnatomyError(
            f"{family.name} has no component {component!r} {where}. Components of a layer: "
            "head, attention, mlp, residual; outside: embedding, final, logits."
        )

    def columns(self, head: int) -> slice:
        """Return the slice of the projection's input that belongs to a head.

        Raises:
            AnatomyError: If the model has no such head.
        """
        if not 0 <= head < self.heads:
            raise AnatomyError(
                f"There is no head {head}: this {self.family.name} model has {self.heads} heads "
                f"per layer. Choose a head from 0 to {self.heads - 1}."
            )
        return slice(head * self.head_dim, (head + 1) * self.head_dim)


def anatomy_of(model: nn.Module) -> Anatomy:
    """Locate the parts of a loaded causal language model.

    Counts come from the config and must agree with the weights' shapes.

    Args:
        model: A transformers model with a language-modelling head.

    Raises:
        AnatomyError: If the family is unknown, a part is not where its entry says, or a
            weight has another shape than the config declares.
    """
    config: Any = model.config
    family = family_of(str(config.model_type))
    if family is None:
        raise AnatomyError(_unknown(model, str(config.model_type)))
    width = int(config.hidden_size)
    heads = int(config.num_attention_heads)
    kv_heads = int(getattr(config, "num_key_value_heads", None) or heads)
    head_dim = int(getattr(config, "head_dim", None) or width // heads)
    count = int(config.num_hidden_layers)

    blocks = _part(model, family.layers, family, "layers")
    found = len(list(blocks.children()))
    if found != count:
        raise AnatomyError(
            f"{family.name}: the config declares {count} layers, {family.layers} holds {found}. "
            "The checkpoint's config and weights do not belong together, or the entry's "
            "`layers` path is wrong."
        )
    if kv_heads == 0 or heads % kv_heads:
        raise AnatomyError(
            f"{family.name}: {heads} heads cannot share {kv_heads} key-value heads evenly. "
            "The checkpoint's config is not consistent."
        )
    embedding = _part(model, family.embedding, family, "embedding")
    vocabulary = int(_weight(embedding, family, "embedding").shape[0])
    _expect(embedding, (vocabulary, width), family, "embedding")
    if family.position_embedding is not None:
        positions = _part(model, family.position_embedding, family, "position_embedding")
        _expect(positions, (config.max_position_embeddings, width), family, "position_embedding")
    _part(model, family.final_norm, family, "final_norm")
    unembedding = _part(model, family.unembedding, family, "unembedding")
    _expect(unembedding, (int(config.vocab_size), width), family, "unembedding")

    paths = tuple(f"{family.layers}.{layer}" for layer in range(count))
    inner = heads * head_dim
    for path in paths:
        block = _part(model, path, family, "layers")
        for name in ("attention", "attention_added", "mlp", "mlp_norm", "mlp_added"):
            _part(block, getattr(family, name), family, name, path)
        projection = _part(block, family.projection, family, "projection", path)
        conv = type(projection).__name__ == "Conv1D"
        if conv != (family.projection_kind == "conv1d"):
            raise AnatomyError(
                f"{family.name}: {path}.{family.projection} is a {type(projection).__name__}, "
                f"its entry says {family.projection_kind}. Correct `projection_kind`."
            )
        _expect(projection, (inner, width) if conv else (width, inner), family, "projection", path)

    parallel = family.parallel
    softcap = None if family.softcap is None else getattr(config, family.softcap, None)
    return Anatomy(
        family=family,
        layer_paths=paths,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        width=width,
        vocabulary=vocabulary,
        context=int(config.max_position_embeddings),
        parallel=bool(getattr(config, parallel)) if isinstance(parallel, str) else parallel,
        embedding_scale=math.sqrt(width) if family.embedding_scale == "sqrt width" else 1.0,
        softcap=None if softcap is None else float(softcap),
    )


def _part(root: nn.Module, path: str, family: Family, name: str, prefix: str = "") -> nn.Module:
    """Return the module at a path, or say how far the path leads."""
    module = root
    for step in path.split("."):
        children = dict(module.named_children())
        if step not in children:
            where = f"{prefix}.{path}" if prefix else path
            raise AnatomyError(
                f"{family.name}: `{name}` could not be located at {where}: there is no "
                f"{step!r} among {', '.join(children) or 'no parts'}. Correct the entry in "
                "stillwired/checkpoints/families.py, or load a checkpoint of this family."
            )
        module = children[step]
    return module


def _weight(module: nn.Module, family: Family, name: str) -> Any:
    """Return a module's weight matrix."""
    weight = getattr(module, "weight", None)
    if weight is None or weight.dim() != 2:
        raise AnatomyError(
            f"{family.name}: `{name}` is a {type(module).__name__} without a weight matrix. "
            "Correct the entry in stillwired/checkpoints/families.py."
        )
    return weight


def _expect(
    module: nn.Module, shape: tuple[int, int], family: Family, name: str, prefix: str = ""
) -> None:
    """Refuse a weight that has another shape than the config declares."""
    found = tuple(_weight(module, family, name).shape)
    if found != shape:
        where = f" of {prefix}" if prefix else ""
        raise AnatomyError(
            f"{family.name}: `{name}`{where} has shape {found}, the config declares {shape}. "
            "The checkpoint's config and weights do not belong together, or the entry in "
            "stillwired/checkpoints/families.py names another module."
        )


def _unknown(model: nn.Module, model_type: str) -> str:
    """Say which parts of an unknown model can be guessed, and which cannot."""
    parts = _guess(model)
    located = [f"{name} ({path})" for name, path in parts.items() if path]
    missing = [name for name, path in parts.items() if not path]
    known = ", ".join(kind for family in FAMILIES for kind in family.model_types)
    return (
        f"There is no anatomy for the model type {model_type!r} "
        f"({type(model).__name__}); known are {known}. "
        f"Could be located by name: {', '.join(located) or 'nothing'}. "
        f"Could not be located: {', '.join(missing) or 'nothing, but names prove nothing'}. "
        f"{_ADD_A_FAMILY}"
    )


def _guess(model: nn.Module) -> dict[str, str]:
    """Guess the main parts by name, for a message only."""
    config: Any = model.config
    count = getattr(config, "num_hidden_layers", None)
    modules = dict(model.named_modules())
    lists = {
        path: module
        for path, module in modules.items()
        if type(module).__name__ == "ModuleList" and len(list(module.children())) == count
    }
    layers = min(lists, key=len) if lists else ""
    parts = {"layers": layers, "attention": "", "mlp": "", "final norm": ""}
    if layers:
        block = next(iter(lists[layers].children()))
        for name, _ in block.named_children():
            lowered = name.lower()
            if "norm" in lowered or lowered.startswith("ln"):
                continue
            if "attn" in lowered or "attention" in lowered:
                parts["attention"] = parts["attention"] or f"{layers}.0.{name}"
            elif "mlp" in lowered or "feed_forward" in lowered or "ffn" in lowered:
                parts["mlp"] = parts["mlp"] or f"{layers}.0.{name}"
        parent, _, _ = layers.rpartition(".")
        holder = modules[parent]
        for name, _ in holder.named_children():
            if "norm" in name.lower() or name.lower().startswith("ln"):
                parts["final norm"] = f"{parent}.{name}" if parent else name
    head = getattr(model, "get_output_embeddings", lambda: None)()
    parts["unembedding"] = next((path for path, module in modules.items() if module is head), "")
    return parts
