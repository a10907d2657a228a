"""Tiny models of every family with random weights, and the stand-in for a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPTJConfig,
    GPTNeoXConfig,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from stillwired.checkpoints.anatomy import Anatomy, anatomy_of

VOCABULARY, WIDTH, LAYERS, HEADS, CONTEXT = 61, 32, 3, 4, 64

CONFIGS: dict[str, Any] = {
    "gpt2": lambda: GPT2Config(
        vocab_size=VOCABULARY, n_positions=CONTEXT, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS
    ),
    "gptj": lambda: GPTJConfig(
        vocab_size=VOCABULARY,
        n_positions=CONTEXT,
        n_embd=WIDTH,
        n_layer=LAYERS,
        n_head=HEADS,
        rotary_dim=4,
    ),
    "gpt_neox": lambda: GPTNeoXConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=48,
        max_position_embeddings=CONTEXT,
    ),
    "gpt_neox_sequential": lambda: GPTNeoXConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=48,
        max_position_embeddings=CONTEXT,
        use_parallel_residual=False,
    ),
    "llama": lambda: LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=2,
        intermediate_size=48,
        max_position_embeddings=CONTEXT,
        attention_bias=True,
        mlp_bias=True,
    ),
    "qwen2": lambda: Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=2,
        intermediate_size=48,
        max_position_embeddings=CONTEXT,
        use_sliding_window=True,
        sliding_window=4,
        max_window_layers=1,
    ),
    "gemma3": lambda: Gemma3TextConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=2,
        # Wider than width / heads: the projection of this family is not square.
        head_dim=12,
        intermediate_size=48,
        max_position_embeddings=CONTEXT,
        sliding_window=4,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        final_logit_softcapping=2.0,
        attention_bias=True,
    ),
}


@dataclass(frozen=True)
class TinyRegime:
    device: str = "cpu"
    dtype: str = "float32"
    attention: str = "eager"


@dataclass(frozen=True)
class Tiny:
    """What an engine needs of a checkpoint, around a tiny model."""

    name: str
    model: Any
    tokenizer: Any
    anatomy: Anatomy
    regime: TinyRegime = field(default_factory=TinyRegime)


def tiny_model(family: str, *, attention: str = "eager", seed: int = 0) -> Any:
    """Build a model whose every weight, bias and norm included, is random."""
    torch.manual_seed(seed)
    config = CONFIGS[family]()
    model = AutoModelForCausalLM.from_config(config, attn_implementation=attention)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1 and name.endswith("weight"):
                parameter.normal_(1.0 if "gemma" not in family else 0.0, 0.3)
            else:
                parameter.normal_(0.0, 0.25)
    return model.eval().requires_grad_(False)


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    words = {f"w{index}": index for index in range(VOCABULARY)}
    tokenizer = Tokenizer(WordLevel(words, unk_token="w0"))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="w1")


def tiny(family: str, *, attention: str = "eager", seed: int = 0) -> Tiny:
    model = tiny_model(family, attention=attention, seed=seed)
    return Tiny(family, model, tiny_tokenizer(), anatomy_of(model), TinyRegime(attention=attention))


def prompts(*lengths: int, seed: int = 1) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randint(0, VOCABULARY, (length,), generator=generator).tolist() for length in lengths
    ]
