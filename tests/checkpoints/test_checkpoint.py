from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, MixtralConfig, MixtralForCausalLM

from stillwired.checkpoints.checkpoint import Checkpoint, Regime
from stillwired.checkpoints.prepare import prepare
from stillwired.checkpoints.regime import computed_by
from stillwired.errors import CheckpointError, UsageError
from stillwired.store.cache import Store


@pytest.fixture
def open_folder(store: Store) -> Callable[..., Checkpoint]:
    """Prepare a folder and wrap it, without loading it."""

    def open_folder(folder: Path, **regime: str) -> Checkpoint:
        return Checkpoint(prepare(str(folder), store), Regime(**regime))

    return open_folder


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})


def test_what_is_loaded_is_what_was_saved(
    llama: Path, model: Any, open_folder: Callable[..., Checkpoint]
) -> None:
    checkpoint = open_folder(llama)
    model.set_attn_implementation("eager")
    ids = torch.tensor([[1, 2, 3, 4]])
    with torch.inference_mode():
        assert torch.equal(checkpoint.model(ids).logits, model.eval()(ids).logits)
    assert not checkpoint.model.training
    assert not any(p.requires_grad for p in checkpoint.model.parameters())
    assert checkpoint.model.config._attn_implementation == "eager"
    assert checkpoint.model is checkpoint.model


def test_name_digest_and_key_need_no_weights(
    llama: Path, open_folder: Callable[..., Checkpoint]
) -> None:
    checkpoint = open_folder(llama, dtype="bfloat16")
    (llama / "model.safetensors").unlink()
    assert checkpoint.name == "tiny"
    assert checkpoint.key == {
        "checkpoint": checkpoint.digest,
        "device": "cpu",
        "dtype": "bfloat16",
        "attention": "eager",
        **computed_by(),
    }
    assert {"torch", "transformers", "nnsight", "numpy", "threads"} == set(computed_by())
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be read"):
        _ = checkpoint.model


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_a_regime_is_honoured(
    gpt2: Path, open_folder: Callable[..., Checkpoint], dtype: str, attention: str
) -> None:
    model = open_folder(gpt2, dtype=dtype, attention=attention).model
    assert model.dtype == getattr(torch, dtype)
    assert model.config._attn_implementation == attention


def test_a_kernel_that_the_family_lacks_is_told(
    save: Callable[..., Path], tokenizer: Any, open_folder: Callable[..., Checkpoint]
) -> None:
    from transformers import GPTJConfig, GPTJForCausalLM

    config = GPTJConfig(
        vocab_size=300, n_embd=32, n_layer=1, n_head=2, rotary_dim=8, n_positions=32,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    folder = save(GPTJForCausalLM(config), tokenizer)
    with pytest.raises(UsageError, match=r"'sdpa' here.*--claims-attention eager"):
        _ = open_folder(folder, attention="sdpa").model
    assert open_folder(folder).model.config.model_type == "gptj"


def test_a_regime_that_does_not_exist_is_told_before_loading(
    llama: Path, open_folder: Callable[..., Checkpoint]
) -> None:
    (llama / "model.safetensors").read_bytes()
    with pytest.raises(UsageError, match="no dtype"):
        _ = open_folder(llama, dtype="float31").model


def test_missing_weights_are_not_made_up(
    llama: Path, open_folder: Callable[..., Checkpoint]
) -> None:
    name = "model.layers.1.mlp.up_proj.weight"
    change_weights(llama, lambda weights: weights.__delitem__(name))
    # This is what would happen otherwise: a random matrix, and no error.
    assert AutoModelForCausalLM.from_pretrained(llama).state_dict()[name].std() > 0
    with pytest.raises(CheckpointError, match="would have been random") as caught:
        _ = open_folder(llama).model
    assert name in str(caught.value)


def test_weights_of_no_part_are_refused(
    llama: Path, open_folder: Callable[..., Checkpoint]
) -> None:
    change_weights(llama, lambda weights: weights.update({"model.extra.weight": torch.ones(2)}))
    with pytest.raises(CheckpointError, match=r"no part of the model: model\.extra\.weight"):
        _ = open_folder(llama).model


def test_weights_of_another_shape_are_refused(
    llama: Path, open_folder: Callable[..., Checkpoint]
) -> None:
    change_weights(llama, lambda weights: weights.update({"lm_head.weight": torch.ones(300, 31)}))
    with pytest.raises(CheckpointError, match=r"another shape than the model: lm_head\.weight"):
        _ = open_folder(llama).model


def test_a_config_of_another_architecture_is_refused(
    llama: Path, open_folder: Callable[..., Checkpoint]
) -> None:
    config = json.loads((llama / "config.json").read_text())
    config["num_hidden_layers"] = 1
    (llama / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"model\.layers\.1"):
        _ = open_folder(llama).model


def test_broken_weights_are_refused(llama: Path, open_folder: Callable[..., Checkpoint]) -> None:
    def spoil(weights: dict[str, torch.Tensor]) -> None:
        weights["model.norm.weight"][3] = float("nan")

    change_weights(llama, spoil)
    with pytest.raises(CheckpointError, match=r"not a number: model\.norm\.weight"):
        _ = open_folder(llama).model


@pytest.mark.parametrize("size", [270, 305])
def test_a_tokenizer_of_another_model_is_refused(
    llama: Path, open_folder: Callable[..., Checkpoint], make_tokenizer: Any, size: int
) -> None:
    make_tokenizer(size).save_pretrained(llama)
    for part in ("model", "tokenizer"):
        with pytest.raises(CheckpointError, match="does not match its embedding"):
            getattr(open_folder(llama), part)


def test_text_is_encoded_without_loading_weights(
    llama: Path, open_folder: Callable[..., Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = open_folder(llama)

    def load(*_: Any, **__: Any) -> Any:
        raise AssertionError("weights were loaded")

    with monkeypatch.context() as patch:
        patch.setattr(AutoModelForCausalLM, "from_pretrained", load)
        encoded = checkpoint.encode(["One, two"])
        assert checkpoint.tokenizer.decode(encoded[0]) == "One, two"
    known = checkpoint.tokenizer
    assert checkpoint.model is not None
    assert checkpoint.tokenizer is known


def test_an_unknown_architecture_is_told(
    llama: Path, open_folder: Callable[..., Checkpoint]
) -> None:
    config = json.loads((llama / "config.json").read_text())
    (llama / "config.json").write_text(json.dumps({**config, "model_type": "llamma"}))
    with pytest.raises(CheckpointError, match="llamma"):
        _ = open_folder(llama).model


def test_texts_are_encoded_without_special_tokens(
    llama: Path, save: Any, model: Any, starting_tokenizer: Any, open_folder: Any
) -> None:
    texts = ["The capital of France", "", "One, two", "é✓"]
    plain, starting = open_folder(llama), open_folder(save(model, starting_tokenizer))
    assert plain.prefix == []
    assert starting.prefix == [starting_tokenizer.convert_tokens_to_ids("<start>")]
    for checkpoint in (plain, starting):
        encoded = checkpoint.encode(texts)
        assert [checkpoint.tokenizer.decode(ids) for ids in encoded] == texts
        assert encoded == [checkpoint.encode([text])[0] for text in texts]
        assert encoded[1] == []
        assert checkpoint.encode([]) == []
    whole = starting.tokenizer(texts[0])["input_ids"]
    assert whole == starting.prefix + starting.encode(texts[:1])[0]


def test_a_special_token_without_a_row_is_refused_in_a_text(model: Any, tokenizer: Any) -> None:
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    checkpoint = Checkpoint.of_model(model, tokenizer, name="tiny")
    assert checkpoint.encode(["no image"])
    with pytest.raises(CheckpointError, match="special token '<image>'"):
        checkpoint.encode(["fine", "an <image> here"])


def test_threads_load_one_model(llama: Path, open_folder: Callable[..., Checkpoint]) -> None:
    checkpoint = open_folder(llama)
    seen: list[Any] = []
    threads = [threading.Thread(target=lambda: seen.append(checkpoint.model)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(seen) == 4
    assert all(model is seen[0] for model in seen)


def test_a_model_in_memory_is_a_checkpoint(model: Any, tokenizer: Any) -> None:
    checkpoint = Checkpoint.of_model(model, tokenizer, name="tiny", origin="for a test")
    prepared = checkpoint.prepared
    assert checkpoint.model is model
    assert checkpoint.tokenizer is tokenizer
    assert checkpoint.regime == Regime("cpu", "float32", model.config._attn_implementation)
    assert (prepared.layers, prepared.heads, prepared.kv_heads) == (2, 4, 2)
    assert (prepared.width, prepared.vocabulary, prepared.model_type) == (32, 300, "llama")
    assert prepared.parameters == sum(p.numel() for p in model.parameters())


def test_the_digest_in_memory_sees_any_change(
    model: Any, tokenizer: Any, make_tokenizer: Any
) -> None:
    def digest(tokenizer: Any) -> str:
        return Checkpoint.of_model(model, tokenizer, name="tiny").digest

    first = digest(tokenizer)
    assert digest(make_tokenizer()) == first
    assert digest(make_tokenizer(start="<start>")) != first
    with torch.no_grad():
        model.lm_head.weight[5, 5] += 1e-6
    changed = digest(tokenizer)
    assert changed != first
    model.config.rms_norm_eps *= 2
    assert digest(tokenizer) not in (first, changed)


def test_a_broken_model_in_memory_is_refused(model: Any, tokenizer: Any) -> None:
    with torch.no_grad():
        model.lm_head.weight[5, 5] = float("inf")
    with pytest.raises(CheckpointError, match="not a number"):
        Checkpoint.of_model(model, tokenizer, name="tiny")


def test_experts_compute_in_float64(
    tokenizer: Any, tmp_path: Path, open_folder: Callable[..., Checkpoint]
) -> None:
    torch.manual_seed(0)
    config = MixtralConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=4,
    )
    MixtralForCausalLM(config).save_pretrained(tmp_path / "tiny")
    tokenizer.save_pretrained(tmp_path / "tiny")
    ids = torch.tensor([[1, 2, 3, 4]])
    single, double = (open_folder(tmp_path / "tiny", dtype=d) for d in ("float32", "float64"))
    with torch.inference_mode():
        expected, found = single.model(ids).logits, double.model(ids).logits
    assert found.dtype == torch.float64
    assert (found - expected).abs().max() < 1e-5
