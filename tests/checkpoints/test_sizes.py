from __future__ import annotations

import json

import pytest
from transformers import AutoConfig

from stillwired.checkpoints.families import FAMILIES
from stillwired.checkpoints.sizes import absurd_size
from tests.checkpoints.conftest import make_gpt2, make_llama

LLAMA = make_llama().config.to_dict()
TENSORS, LARGEST = 21, 3000


def test_what_a_model_was_saved_with_is_never_absurd() -> None:
    for model in (make_llama(), make_gpt2()):
        shapes = [weights.shape for weights in model.state_dict().values()]
        largest = max(size for shape in shapes for size in shape)
        assert absurd_size(model.config.to_dict(), len(shapes), largest) == ""


@pytest.mark.parametrize(
    ("change", "trouble"),
    [
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000, and the weights are 21"),
        ({"num_hidden_layers": 22}, "num_hidden_layers is 22"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0"),
        ({"hidden_size": -32}, "hidden_size is -32"),
        ({"vocab_size": 10**12}, "vocab_size is 1000000000000, and no tensor has a dimension"),
        ({"vocab_size": 3001}, "vocab_size is 3001"),
        ({"num_labels": 10**9}, "num_labels"),
        ({"max_position_embeddings": 10**12}, "at most 16777216 positions"),
        ({"text_config": {"inner": {"num_local_experts": 10**6}}}, "num_local_experts"),
        ({"num_key_value_heads": [2, 2, 10**9]}, "num_key_value_heads is 1000000000"),
        ({"llama.block_count": 10**9}, "block_count is 1000000000"),
        ({"llama.attention.head_count": 3001}, "head_count is 3001"),
    ],
)
def test_what_the_weights_cannot_be_is_named(change: dict[str, object], trouble: str) -> None:
    assert trouble in absurd_size({**LLAMA, **change}, TENSORS, LARGEST)


@pytest.mark.parametrize(
    "change",
    [
        {"num_hidden_layers": 21, "vocab_size": 3000},
        {"max_position_embeddings": 10_485_760, "rope_theta": 500_000_000, "eos_token_id": 128_001},
        {"num_local_experts": 0, "head_dim": None, "num_labels": True, "n_inner": None},
        {"quantizer": {"window_size": 4096}, "sliding_window": 131_072},
    ],
)
def test_large_numbers_that_are_no_sizes_are_left_alone(change: dict[str, object]) -> None:
    assert absurd_size({**LLAMA, **change}, TENSORS, LARGEST) == ""


def test_a_small_default_that_the_model_has_no_part_for_is_left_alone() -> None:
    assert absurd_size({"model_type": "mamba2", "time_step_rank": 256}, TENSORS, 100) == ""


def test_a_config_as_deep_as_json_goes_is_walked_through() -> None:
    deep = json.loads('{"a":' * 900 + '{"vocab_size": 3001}' + "}" * 900)
    assert "vocab_size is 3001" in absurd_size(deep, TENSORS, LARGEST)


# Whole numbers in configs that make no tensor, whatever they are.
HARMLESS = {
    *("bos_token_id", "eos_token_id", "pad_token_id", "pretraining_tp", "chunk_size"),
    *("sliding_window", "_sliding_window_pattern", "max_window_layers", "query_pre_attn_scalar"),
    *("attn_layer_offset", "attn_layer_period", "expert_layer_offset", "expert_layer_period"),
    *("num_experts_per_tok", "chunk_size_feed_forward", "original_max_position_embeddings"),
    *("LABEL_0", "LABEL_1"),
}


@pytest.mark.parametrize("kind", [kind for family in FAMILIES for kind in family.model_types])
def test_every_size_of_every_family_is_known(kind: str) -> None:
    pending = [AutoConfig.for_model(kind).to_dict()]
    while pending:
        content = pending.pop()
        pending += [value for value in content.values() if isinstance(value, dict)]
        sizes = {name for name, value in content.items() if type(value) is int} - HARMLESS
        assert {name for name in sizes if not absurd_size({name: 10**12}, 10**6, 10**6)} == set()
