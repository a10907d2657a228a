"""Tiny models of every family with random weights, and the stand-in for a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    FalconConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTJConfig,
    GPTNeoXConfig,
    JambaConfig,
    LlamaConfig,
    Mamba2Config,
    MambaConfig,
    MistralConfig,
    MixtralConfig,
    Olmo2Config,
    OPTConfig,
    Phi3Config,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

from stillwired.checkpoints.anatomy import Anatomy, anatomy_of

VOCABULARY, WIDTH, LAYERS, HEADS, CONTEXT = 61, 32, 3, 4, 64

TOKENS = {"pad_token_id": None, "bos_token_id": 1, "eos_token_id": 1}
SHARED = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "max_position_embeddings": CONTEXT,
    **TOKENS,
}
GROUPED = {**SHARED, "num_key_value_heads": 2, "intermediate_size": 48}

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
    "gpt_neox": lambda: GPTNeoXConfig(**SHARED, intermediate_size=48),
    "gpt_neox_sequential": lambda: GPTNeoXConfig(
        **SHARED, intermediate_size=48, use_parallel_residual=False
    ),
    "opt": lambda: OPTConfig(**SHARED, ffn_dim=48, word_embed_proj_dim=WIDTH),
    "bloom": lambda: BloomConfig(
        vocab_size=VOCABULARY, hidden_size=WIDTH, n_layer=LAYERS, n_head=HEADS, **TOKENS
    ),
    # As Falcon-7B: one key-value head, attention and MLP behind one norm.
    "falcon": lambda: FalconConfig(**SHARED, ffn_hidden_size=48, bias=True),
    # As Falcon-40B: grouped queries, a norm for each branch.
    "falcon_new": lambda: FalconConfig(
        **SHARED, ffn_hidden_size=48, num_kv_heads=2, new_decoder_architecture=True
    ),
    # As Falcon-RW: ALiBi, one branch after the other.
    "falcon_alibi": lambda: FalconConfig(
        **SHARED, ffn_hidden_size=48, bias=True, alibi=True, parallel_attn=False
    ),
    "llama": lambda: LlamaConfig(**GROUPED, attention_bias=True, mlp_bias=True),
    "mistral": lambda: MistralConfig(**GROUPED, head_dim=12, sliding_window=4),
    "mixtral": lambda: MixtralConfig(**GROUPED, num_local_experts=4, num_experts_per_tok=2),
    "phi3": lambda: Phi3Config(**GROUPED, sliding_window=4),
    "qwen2": lambda: Qwen2Config(
        **GROUPED, use_sliding_window=True, sliding_window=4, max_window_layers=1
    ),
    "qwen3": lambda: Qwen3Config(
        **GROUPED,
        head_dim=12,
        attention_bias=True,
        use_sliding_window=True,
        sliding_window=4,
        layer_types=["full_attention", "sliding_attention", "full_attention"],
    ),
    "olmo2": lambda: Olmo2Config(**GROUPED, attention_bias=True),
    "gemma2": lambda: Gemma2Config(
        **GROUPED,
        head_dim=12,
        sliding_window=4,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        attn_logit_softcapping=1.5,
        final_logit_softcapping=2.0,
    ),
    "gemma3": lambda: Gemma3TextConfig(
        **GROUPED,
        # Wider than width / heads: the projection of this family is not square.
        head_dim=12,
        sliding_window=4,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        final_logit_softcapping=2.0,
        attention_bias=True,
    ),
    "mamba": lambda: MambaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        state_size=4,
        **TOKENS,
    ),
    "mamba2": lambda: Mamba2Config(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        state_size=4,
        num_heads=8,
        head_dim=8,
        n_groups=2,
        # Shorter than the prompts, so that states pass from chunk to chunk.
        chunk_size=4,
        **TOKENS,
    ),
    # Mixer, attention, mixer; experts in the first and the last block.
    "jamba": lambda: JambaConfig(
        **GROUPED,
        attn_layer_period=2,
        attn_layer_offset=1,
        expert_layer_period=2,
        expert_layer_offset=0,
        num_experts=4,
        mamba_d_state=4,
    ),
}
INNER = 2 * WIDTH
"""Width of a mixer in the models above."""

KERNEL = {"falcon_alibi": "sdpa"}
"""Models whose reference kernel is not eager attention."""


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


def tiny_model(family: str, *, attention: str | None = None, seed: int = 0) -> Any:
    """Build a model whose every weight, bias and norm included, is random."""
    torch.manual_seed(seed)
    config = CONFIGS[family]()
    attention = attention or KERNEL.get(family, "eager")
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


def tiny(family: str, *, attention: str | None = None, seed: int = 0) -> Tiny:
    attention = attention or KERNEL.get(family, "eager")
    model = tiny_model(family, attention=attention, seed=seed)
    return Tiny(family, model, tiny_tokenizer(), anatomy_of(model), TinyRegime(attention=attention))


def prompts(*lengths: int, seed: int = 1) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randint(0, VOCABULARY, (length,), generator=generator).tolist() for length in lengths
    ]
