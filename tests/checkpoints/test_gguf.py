from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from stillwired.checkpoints.gguf import convert_gguf
from stillwired.errors import CheckpointError


def test_the_converted_model_computes_what_the_original_does(
    gguf_file: tuple[Path, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path, original = gguf_file
    convert_gguf(path, tmp_path)
    assert capfd.readouterr().err == ""
    converted = AutoModelForCausalLM.from_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert converted.dtype == torch.float32
    ids = torch.tensor([tokenizer("The capital of France is Paris.")["input_ids"]])
    assert 1 < ids.shape[1] < 31
    with torch.inference_mode():
        torch.testing.assert_close(converted(ids).logits, original(ids).logits)
    for name, weights in original.state_dict().items():
        assert torch.equal(converted.state_dict()[name], weights), name
    assert "quantization_config" not in json.loads((tmp_path / "config.json").read_text())


def test_files_beside_the_gguf_take_no_part(gguf_file: tuple[Path, Any], tmp_path: Path) -> None:
    crowded = tmp_path / "crowded"
    crowded.mkdir()
    path = crowded / "tiny.gguf"
    path.write_bytes(gguf_file[0].read_bytes())
    (crowded / "config.json").write_text('{"model_type": "gpt2", "auto_map": {}}')
    (crowded / "tokenizer_config.json").write_text('{"bos_token": "nonsense"}')
    (crowded / "tokenizer.json").write_text("no JSON")
    alone, beside = tmp_path / "alone", tmp_path / "beside"
    alone.mkdir()
    beside.mkdir()
    convert_gguf(gguf_file[0], alone)
    convert_gguf(path, beside)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"):
        assert (alone / name).read_bytes() == (beside / name).read_bytes(), name


def test_an_architecture_that_cannot_be_read_is_told(
    gguf_file: tuple[Path, Any], tmp_path: Path
) -> None:
    path = tmp_path / "odd.gguf"
    path.write_bytes(gguf_file[0].read_bytes().replace(b"\0\0\0llama", b"\0\0\0lloma", 1))
    with pytest.raises(CheckpointError, match=r"odd\.gguf cannot be converted"):
        convert_gguf(path, tmp_path)
