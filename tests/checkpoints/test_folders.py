from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from stillwired.checkpoints.folders import inspect_folder
from stillwired.errors import CheckpointError


def edit_json(path: Path, **changes: object) -> None:
    content = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**content, **changes}))


def test_the_files_that_count_are_found(llama: Path) -> None:
    layout = inspect_folder(llama)
    assert [path.name for path in layout.weights] == ["model.safetensors"]
    names = [path.name for path in layout.files]
    assert names == ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert layout.config["model_type"] == "llama"
    model = AutoModelForCausalLM.from_pretrained(llama)
    assert layout.parameters == sum(p.numel() for p in model.parameters())


@pytest.fixture
def sharded(llama: Path, save: Callable[..., Path]) -> Path:
    """The same model in several files."""
    model = AutoModelForCausalLM.from_pretrained(llama)
    from transformers import AutoTokenizer

    return save(model, AutoTokenizer.from_pretrained(llama), max_shard_size="30KB")


def test_shards_are_found_through_their_index(sharded: Path, llama: Path) -> None:
    layout = inspect_folder(sharded)
    assert len(layout.weights) > 1
    assert layout.parameters == inspect_folder(llama).parameters
    assert sharded / "model.safetensors.index.json" in layout.others


def test_a_missing_shard_is_named(sharded: Path) -> None:
    gone = inspect_folder(sharded).weights[0]
    gone.unlink()
    with pytest.raises(CheckpointError, match=gone.name):
        inspect_folder(sharded)


@pytest.mark.parametrize(
    "name",
    [
        "../model.safetensors",
        "/etc/model.safetensors",
        "sub/model.safetensors",
        "..\\model.safetensors",
        ".hidden.safetensors",
        "c:model.safetensors",
        "pytorch_model.bin",
        "model.safetensors\0.bin",
        "",
        3,
        ["model.safetensors"],
        None,
    ],
)
def test_an_index_names_files_of_its_own_folder_only(sharded: Path, name: object) -> None:
    outside = sharded.parent / "model.safetensors"
    outside.write_bytes(inspect_folder(sharded).weights[0].read_bytes())
    index = sharded / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"]["lm_head.weight"] = name
    index.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="not the plain name"):
        inspect_folder(sharded)


@pytest.mark.parametrize("content", [{}, {"weight_map": {}}, {"weight_map": []}])
def test_an_index_of_nothing_is_refused(sharded: Path, content: object) -> None:
    (sharded / "model.safetensors.index.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="lists no weights"):
        inspect_folder(sharded)


def test_a_folder_without_weights_says_what_was_looked_for(llama: Path) -> None:
    (llama / "model.safetensors").unlink()
    with pytest.raises(CheckpointError) as caught:
        inspect_folder(llama)
    assert "model.safetensors and model.safetensors.index.json" in str(caught.value)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "consolidated.00.pth"])
def test_pickled_weights_alone_are_refused_with_the_reason(llama: Path, name: str) -> None:
    (llama / "model.safetensors").rename(llama / name)
    with pytest.raises(CheckpointError, match="can run any code") as caught:
        inspect_folder(llama)
    assert name in str(caught.value)


def test_pickled_weights_beside_safetensors_are_left_alone(llama: Path) -> None:
    (llama / "pytorch_model.bin").write_bytes(b"junk")
    assert [path.name for path in inspect_folder(llama).weights] == ["model.safetensors"]


def test_a_gguf_file_in_a_folder_is_not_guessed(llama: Path) -> None:
    (llama / "model.safetensors").rename(llama / "model.gguf")
    with pytest.raises(CheckpointError, match="Name the GGUF file itself"):
        inspect_folder(llama)


def test_weights_under_another_name_are_told(llama: Path) -> None:
    (llama / "model.safetensors").rename(llama / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"found other\.safetensors"):
        inspect_folder(llama)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_remote_code_is_refused_with_the_reason(llama: Path, name: str) -> None:
    edit_json(llama / name, auto_map={"AutoModelForCausalLM": "modeling.Evil"})
    with pytest.raises(CheckpointError, match="never run") as caught:
        inspect_folder(llama)
    assert name in str(caught.value)


def test_an_adapter_is_refused(llama: Path) -> None:
    edit_json(llama / "adapter_config.json", peft_type="LORA")
    with pytest.raises(CheckpointError, match="adapter"):
        inspect_folder(llama)


def test_a_config_that_chooses_its_weights_is_refused(llama: Path) -> None:
    edit_json(llama / "config.json", transformers_weights="adapter_model.bin")
    with pytest.raises(CheckpointError, match="transformers_weights"):
        inspect_folder(llama)


def test_a_missing_config_and_a_missing_tokenizer_are_told(llama: Path) -> None:
    (llama / "tokenizer.json").rename(llama / "elsewhere")
    with pytest.raises(CheckpointError, match=r"looked for tokenizer\.json"):
        inspect_folder(llama)
    (llama / "elsewhere").rename(llama / "tokenizer.json")
    (llama / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        inspect_folder(llama)


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\xfe", b"", b"[" * 100_000])
def test_a_config_that_is_no_json_object_is_told(llama: Path, content: bytes) -> None:
    (llama / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"config\.json is not"):
        inspect_folder(llama)
