"""What can be said about a model of an unknown family: guesses, for a message only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stillwired.checkpoints.families import FAMILIES

if TYPE_CHECKING:
    from torch import nn

_ADD_A_FAMILY = (
    "To add it, append a Family(...) to FAMILIES in stillwired/checkpoints/families.py "
    "(model_types, embedding, layers, final_norm, unembedding, and within a layer attention, "
    "projection, attention_added, mlp, mlp_norm, mlp_added, or a mixer); the identities then "
    "say whether the entry is right. docs/families.md goes through the steps."
)


def unknown_family(model: nn.Module, model_type: str) -> str:
    """Say which parts of an unknown model can be guessed, and which cannot.

    Args:
        model: A model of no known family.
        model_type: Its config's ``model_type``.
    """
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
