"""Sizes that a config declares, held against the weights beside it before anything is built.

transformers builds the model that a config describes first and looks at the weights afterwards: a
config of a billion blocks, by a slip or on purpose, would take all memory of the machine. Widths,
heads, experts and rows never exceed the largest dimension of any tensor, nor blocks their number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# As configs call them, and as the last part of a GGUF key.
_BLOCKS = frozenset({"num_hidden_layers", "num_layers", "n_layer", "n_layers", "block_count"})
_DIMENSIONS = frozenset(
    {
        *("vocab_size", "num_labels"),
        *("hidden_size", "n_embd", "n_embed", "d_model", "embedding_length", "word_embed_proj_dim"),
        *("intermediate_size", "moe_intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size"),
        *("feed_forward_length", "expand", "mamba_expand"),
        *("num_attention_heads", "num_key_value_heads", "num_kv_heads", "num_heads", "n_head"),
        *("head_count", "head_count_kv", "mamba_n_heads"),
        *("head_dim", "key_length", "value_length", "mamba_d_head", "rotary_dim"),
        *("num_experts", "num_local_experts", "n_routed_experts", "expert_count"),
        *("state_size", "mamba_d_state", "conv_kernel", "mamba_d_conv"),
        *("time_step_rank", "mamba_dt_rank", "n_groups"),
    }
)
_POSITIONS = frozenset({"max_position_embeddings", "n_positions", "n_ctx", "context_length"})
_SMALL = 1 << 10  # never absurd: some defaults stand for nothing that their model has
_MOST_POSITIONS = 1 << 24  # beyond any model's, and a table of them still fits into memory


def absurd_size(declared: Mapping[str, Any], tensors: int, largest: int) -> str:
    """Say which declared size the weights cannot have, and why; empty if there is none.

    Args:
        declared: A config, with configs inside of it, or the fields of a GGUF header.
        tensors: Number of stored tensors.
        largest: The largest dimension of any of them.
    """
    for key, size in _numbers(declared):
        name = key.rpartition(".")[2]
        if name in _BLOCKS and not 1 <= size <= tensors:
            return f"{name} is {size}, and the weights are {tensors} tensors in all"
        if name in _DIMENSIONS and not 0 <= size <= max(largest, _SMALL):
            return f"{name} is {size}, and no tensor has a dimension above {largest}"
        if name in _POSITIONS and not 0 <= size <= _MOST_POSITIONS:
            return f"{name} is {size}, and at most {_MOST_POSITIONS} positions are taken"
    return ""


def _numbers(declared: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Whole numbers by name; some configs have one for each block."""
    pending: list[tuple[str, Any]] = list(declared.items())
    while pending:
        name, value = pending.pop()
        if isinstance(value, Mapping):
            pending += value.items()
        elif isinstance(value, list):
            pending += [(name, inner) for inner in value]
        elif isinstance(value, int) and not isinstance(value, bool):
            yield name, value
