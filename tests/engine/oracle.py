"""Reads and edits by plain PyTorch hooks: what the engine must reproduce exactly.

Written apart from the library on purpose: it has its own table of module names, applies
edits row by row, and knows nothing of nnsight.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from stillwired.engine.edits import Edit
from stillwired.engine.sites import Site

LLAMA_LIKE = {
    "layers": "model.layers",
    "head": "self_attn.o_proj",
    "attention": "self_attn",
    "mlp": "mlp",
    "final": "model.norm",
}
NEOX = {
    "layers": "gpt_neox.layers",
    "head": "attention.dense",
    "attention": "attention",
    "mlp": "mlp",
    "final": "gpt_neox.final_layer_norm",
}
GPT2_LIKE = {"layers": "transformer.h", "mlp": "mlp", "final": "transformer.ln_f"}
FALCON = {**GPT2_LIKE, "head": "self_attention.dense", "attention": "self_attention"}
SANDWICH = {
    **LLAMA_LIKE,
    "attention": "post_attention_layernorm",
    "mlp": "post_feedforward_layernorm",
}
MAMBA = {
    "layers": "backbone.layers",
    "gate": "mixer.in_proj",
    "gated": "mixer.out_proj",
    "mixer": "mixer",
    "final": "backbone.norm_f",
}
MODULES = {
    "gpt2": {**GPT2_LIKE, "head": "attn.c_proj", "attention": "attn"},
    "gptj": {**GPT2_LIKE, "head": "attn.out_proj", "attention": "attn"},
    "gpt_neox": NEOX,
    "gpt_neox_sequential": NEOX,
    "opt": {
        "layers": "model.decoder.layers",
        "head": "self_attn.out_proj",
        "attention": "self_attn",
        "mlp": "fc2",
        "final": "model.decoder.final_layer_norm",
    },
    "bloom": {
        **GPT2_LIKE,
        "head": "self_attention.dense",
        "attention": "self_attention.dense",
        "mlp": "mlp.dense_4h_to_h",
    },
    "falcon": FALCON,
    "falcon_new": FALCON,
    "falcon_alibi": FALCON,
    "llama": LLAMA_LIKE,
    "mistral": LLAMA_LIKE,
    "mixtral": LLAMA_LIKE,
    "phi3": LLAMA_LIKE,
    "qwen2": LLAMA_LIKE,
    "qwen3": LLAMA_LIKE,
    "olmo2": SANDWICH,
    "gemma2": SANDWICH,
    "gemma3": SANDWICH,
    "mamba": {**MAMBA, "convolution": "mixer.x_proj"},
    "mamba2": {**MAMBA, "state": "mixer.norm"},
    "jamba": {
        "layers": "model.layers",
        "gate": "mamba.in_proj",
        "convolution": "mamba.x_proj",
        "gated": "mamba.out_proj",
        "mixer": "mamba",
        "head": "self_attn.o_proj",
        "attention": "self_attn",
        "mlp": "feed_forward",
        "final": "model.final_layernorm",
    },
}
ON_INPUT = ("embedding", "head", "gated", "convolution", "state")
GATE_FROM = {"mamba": 64, "mamba2": 0, "jamba": 64}
"""First of the 64 columns of the input projection's output that are the gate."""


def oracle(
    family: str,
    model: Any,
    head_dim: int,
    tokens: Sequence[Sequence[int]],
    sites: Sequence[Site],
    edits: Sequence[Edit] = (),
) -> dict[Site, Tensor]:
    """Run prompts of one length as one batch; return the states at the sites."""
    recorded: dict[tuple[str, int | None], Tensor] = {}
    handles = []
    names = MODULES[family]

    def columns(site: Site) -> slice:
        if site.component == "gate":
            return slice(GATE_FROM[family], GATE_FROM[family] + 64)
        if site.head is None:
            return slice(None)
        return slice(site.head * head_dim, (site.head + 1) * head_dim)

    addresses = {(site.component, site.layer) for site in sites}
    addresses |= {(edit.site.component, edit.site.layer) for edit in edits}

    def change_and_record(address: tuple[str, int | None], state: Tensor) -> Tensor:
        here = [edit for edit in edits if (edit.site.component, edit.site.layer) == address]
        if here:
            state = state.clone()
        for edit in here:
            part = columns(edit.site)
            rows = list(range(len(tokens))) if edit.rows is None else list(edit.rows)
            for index, row in enumerate(rows):
                value = edit.value
                if isinstance(value, Tensor) and value.dim() == 2:
                    value = value[index]
                for position in range(state.shape[1]):
                    if edit.site.position not in (None, position - state.shape[1]):
                        continue
                    old = state[row, position, part].clone()
                    if edit.how == "replace":
                        old[:] = value
                    elif edit.how == "add":
                        old = old + value
                    else:
                        old = old * value
                    state[row, position, part] = old
        recorded[address] = state.clone()
        return state

    def on_output(address: tuple[str, int | None]) -> Any:
        def hook(module: Any, args: Any, output: Any) -> Any:
            if isinstance(output, tuple):
                return (change_and_record(address, output[0]), *output[1:])
            if output.dim() == 2:
                rows = output.reshape(len(tokens), -1, output.shape[-1])
                return change_and_record(address, rows).reshape(output.shape)
            return change_and_record(address, output)

        return hook

    def on_input(address: tuple[str, int | None]) -> Any:
        def hook(module: Any, args: Any) -> Any:
            return (change_and_record(address, args[0]), *args[1:])

        return hook

    for component, layer in addresses - {("logits", None)}:
        address = (component, layer)
        if component == "final":
            module = model.get_submodule(names["final"])
        elif component == "embedding":
            module = model.get_submodule(names["layers"])[0]
        else:
            module = model.get_submodule(names["layers"])[layer]
            if component != "residual":
                module = module.get_submodule(names[component])
        if component in ON_INPUT:
            handles.append(module.register_forward_pre_hook(on_input(address)))
        else:
            handles.append(module.register_forward_hook(on_output(address)))
    try:
        with torch.no_grad():
            recorded["logits", None] = model(torch.tensor(tokens), use_cache=False).logits
    finally:
        for handle in handles:
            handle.remove()

    states = {}
    for site in sites:
        state = recorded[site.component, site.layer][..., columns(site)]
        states[site] = state if site.position is None else state[:, site.position]
    return states
