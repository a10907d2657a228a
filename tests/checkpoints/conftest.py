"""Tiny checkpoints with random weights, made in a second and without a network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from stillwired.store.cache import Store

LINES = ["The capital of France is Paris.", "One, two, three and four.", "Any text will do here."]


def make_tokenizer(size: int = 300, start: str | None = None) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer of exactly `size` tokens, which may put one before each text."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    special = ["<end>"] if start is None else ["<end>", start]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    inner.train_from_iterator(LINES * 4, trainer)
    assert inner.get_vocab_size() == size
    if start is not None:
        inner.post_processor = processors.TemplateProcessing(
            single=f"{start} $A", special_tokens=[(start, inner.token_to_id(start))]
        )
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<end>")


def make_llama(rows: int = 300) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=rows,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        bos_token_id=0,
        eos_token_id=0,
    )
    return LlamaForCausalLM(config)


def make_gpt2(rows: int = 300) -> GPT2LMHeadModel:
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=rows,
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=64,
        bos_token_id=0,
        eos_token_id=0,
    )
    return GPT2LMHeadModel(config)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


@pytest.fixture(scope="session")
def save(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Save a model and a tokenizer to a new folder."""

    def save(model: Any, tokenizer: Any, **options: Any) -> Path:
        folder = tmp_path_factory.mktemp("saved") / "tiny"
        model.save_pretrained(folder, **options)
        tokenizer.save_pretrained(folder)
        return folder

    return save


@pytest.fixture
def llama(save: Callable[..., Path]) -> Path:
    """A folder of its own with a tiny Llama."""
    return save(make_llama(), make_tokenizer())


@pytest.fixture
def gpt2(save: Callable[..., Path]) -> Path:
    """A folder of its own with a tiny GPT-2."""
    return save(make_gpt2(), make_tokenizer())


def write_gguf(path: Path) -> LlamaForCausalLM:
    """Write a tiny Llama as GGUF, as the usual converters do, and return the model."""
    import json

    import gguf

    model, tokenizer = make_llama(), make_tokenizer()
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("Tiny Llama")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)

    content = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    words = sorted(content["vocab"], key=content["vocab"].get)
    merges = [m if isinstance(m, str) else " ".join(m) for m in content["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(words)
    kinds = [gguf.TokenType.CONTROL, *[gguf.TokenType.NORMAL] * (len(words) - 1)]
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(0)
    writer.add_bos_token_id(0)
    writer.add_add_bos_token(False)

    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        values = tensor.numpy()
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
        for part, count in heads.items():
            if part in name:
                # GGUF interleaves the halves that transformers' rotary embedding keeps apart.
                split = values.reshape(count, 2, -1, values.shape[1])
                values = split.swapaxes(1, 2).reshape(values.shape)
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight", ".bias")), values.copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


@pytest.fixture(scope="session")
def gguf_file(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LlamaForCausalLM]:
    """A tiny GGUF file and the model that it was written from."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    return path, write_gguf(path)


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of 300 tokens that puts nothing before a text."""
    return make_tokenizer()


@pytest.fixture
def starting_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of 300 tokens that puts one before each text."""
    return make_tokenizer(start="<start>")


@pytest.fixture
def model() -> LlamaForCausalLM:
    """A tiny Llama with 300 rows."""
    return make_llama()


@pytest.fixture(name="make_tokenizer")
def tokenizer_maker() -> Callable[..., PreTrainedTokenizerFast]:
    """Makes tokenizers of a given size."""
    return make_tokenizer
