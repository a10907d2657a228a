from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from stillwired.checkpoints.folders import check_config, inspect_folder
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
        "\x1b[2Jmodel.safetensors",
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


@pytest.mark.parametrize(
    "change",
    [
        {"_attn_implementation": "somebody/kernel"},
        {"attn_implementation": {"": "eager", "vision_config": "somebody/kernel@main:fast"}},
        {"vision_config": {"inner": [{"_attn_implementation_internal": "somebody/kernel"}]}},
        {"experts_implementation": "somebody/kernel"},
    ],
)
def test_a_kernel_from_the_hub_is_code_and_refused(llama: Path, change: dict[str, object]) -> None:
    edit_json(llama / "config.json", **change)
    with pytest.raises(CheckpointError, match="asks for a kernel from the hub") as caught:
        inspect_folder(llama)
    assert "somebody/kernel" in str(caught.value)


def test_a_kernel_of_transformers_and_other_slashes_are_no_kernel_from_the_hub(
    llama: Path,
) -> None:
    edit_json(llama / "config.json", _attn_implementation="sdpa", _name_or_path="org/model")
    inspect_folder(llama)


@pytest.mark.parametrize(
    "change",
    [
        {"fast_tokenizer_files": ["../elsewhere/tokenizer.4.0.0.json"]},
        {"fast_tokenizer_files": ["tokenizer.json", "tokenizer.4.0.0.json"]},
        {"init_inputs": ["/etc/passwd"]},
    ],
)
def test_a_tokenizer_is_made_from_the_checked_files_alone(
    llama: Path, change: dict[str, object]
) -> None:
    edit_json(llama / "tokenizer_config.json", **change)
    with pytest.raises(CheckpointError, match="chooses the tokenizer's files itself"):
        inspect_folder(llama)
    edit_json(llama / "tokenizer_config.json", **{key: [] for key in change})
    inspect_folder(llama)


@pytest.mark.parametrize(
    "name",
    [
        *("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"),
        *("chat_template.jinja", "additional_chat_templates/a.jinja"),
    ],
)
def test_a_giant_among_the_small_files_is_not_read(llama: Path, name: str) -> None:
    (llama / name).parent.mkdir(exist_ok=True)
    (llama / name).touch()
    os.truncate(llama / name, 1 << 40)  # sparse: it takes no room
    with pytest.raises(CheckpointError, match=f"{name} has 1099511627776 bytes"):
        inspect_folder(llama)


@pytest.mark.parametrize("kind", ["\x1b[31mllama", "\ud800", "a/b", "", ["llama"], 3, "x" * 100])
def test_a_model_type_is_a_plain_name(llama: Path, kind: object) -> None:
    edit_json(llama / "config.json", model_type=kind)
    with pytest.raises(CheckpointError, match="is no name of an architecture") as caught:
        check_config(inspect_folder(llama))
    assert str(caught.value).isprintable()


def test_a_config_that_the_weights_cannot_be_is_refused(llama: Path) -> None:
    check_config(inspect_folder(llama))
    edit_json(llama / "config.json", num_hidden_layers=10**9)
    with pytest.raises(CheckpointError, match=r"config\.json does not belong to the weights"):
        check_config(inspect_folder(llama))


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


@pytest.mark.parametrize(
    "content",
    [
        *(b"{", b"[]", b"\xff\xfe", b"", b"[" * 100_000, b'{"a":' * 100_000),
        *(b'{"rms_norm_eps": NaN}', b'{"hidden_size": ' + b"9" * 10_000 + b"}"),
    ],
    ids=range(8),
)
def test_a_config_that_is_no_json_object_is_told(llama: Path, content: bytes) -> None:
    (llama / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"config\.json is not"):
        inspect_folder(llama)


def test_infinity_is_no_damage(llama: Path) -> None:
    edit_json(llama / "config.json", time_step_limit=[0.0, float("inf")])
    assert inspect_folder(llama).config["time_step_limit"] == [0.0, float("inf")]
