"""Folders that somebody made to do harm: nothing runs, nothing hangs, nothing else is read."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from stillwired.checkpoints.checkpoint import Checkpoint
from stillwired.checkpoints.prepare import prepare
from stillwired.cli import main
from stillwired.errors import CheckpointError
from stillwired.store.cache import Store

Attack = Callable[[Path], None]


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def own_code(folder: Path) -> None:
    edit_json(folder / "config.json", auto_map={"AutoModelForCausalLM": "evil.Model"})
    (folder / "evil.py").write_text(f"open({str(folder.parent / 'it was run')!r}, 'w')\n")


def own_tokenizer_code(folder: Path) -> None:
    auto_map = {"AutoTokenizer": [None, "evil.Tokenizer"]}
    edit_json(folder / "tokenizer_config.json", auto_map=auto_map)


def kernel(folder: Path) -> None:
    edit_json(folder / "config.json", _attn_implementation="somebody/kernel")


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"weight": torch.zeros(1)}, folder / "pytorch_model.bin")


def pickle_in_disguise(folder: Path) -> None:
    torch.save({"weight": torch.zeros(1)}, folder / "model.safetensors")


def shard_elsewhere(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "model.safetensors")
    content = {"weight_map": {"lm_head.weight": "../model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(content))


def tokenizer_elsewhere(folder: Path) -> None:
    shutil.copy(folder / "tokenizer.json", folder.parent / "tokenizer.4.0.0.json")
    files = ["../tokenizer.4.0.0.json"]
    edit_json(folder / "tokenizer_config.json", fast_tokenizer_files=files)


def endless_file(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to("/dev/zero")


def unreadable_file(folder: Path) -> None:
    # A file that every process may open and none may read from its start, root included.
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("/proc/self/mem")


def billion_blocks(folder: Path) -> None:
    edit_json(folder / "config.json", num_hidden_layers=10**9)


def billion_labels(folder: Path) -> None:
    edit_json(folder / "config.json", num_labels=10**9)


def giant_config(folder: Path) -> None:
    os.truncate(folder / "config.json", 1 << 40)


def long_header(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes((1 << 30).to_bytes(8, "little"))
    os.truncate(weights, 1 << 31)


ATTACKS: dict[Attack, tuple[str, str]] = {
    own_code: ("config.json asks for Python code", "Use a copy without auto_map"),
    own_tokenizer_code: ("tokenizer_config.json asks for Python code", "Use a copy without"),
    kernel: ("config.json asks for a kernel from the hub", "Remove that line"),
    pickled: ("found pytorch_model.bin", "Convert them to safetensors"),
    pickle_in_disguise: ("model.safetensors is not a whole safetensors file", "export it again"),
    shard_elsewhere: ("index.json names '../model.safetensors'", "export it again"),
    tokenizer_elsewhere: ("tokenizer_config.json chooses the tokenizer's files", "Remove that"),
    endless_file: ("has no config.json", "Export the model with save_pretrained"),
    unreadable_file: ("model.safetensors cannot be read", "Check its permissions and its disk"),
    billion_blocks: ("num_hidden_layers is 1000000000", "Use the config that the model was saved"),
    billion_labels: ("num_labels is 1000000000", "Use the config that the model was saved with"),
    giant_config: ("config.json has 1099511627776 bytes", "Fetch or export it again"),
    long_header: ("its header has 1073741824 bytes", "Fetch or export it again"),
}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_an_attack_is_refused_by_name_and_leaves_no_trace(
    llama: Path, attack: Attack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    attack(llama)
    before = {path: path.lstat().st_mtime_ns for path in llama.parent.rglob("*")}
    arguments = ["fetch", "--no-text", "--cache", str(tmp_path / "cache"), "--model", str(llama)]
    assert main(arguments) == 2
    said = capsys.readouterr().err
    what, remedy = ATTACKS[attack]
    assert said.startswith(f"stillwired fetch: {llama}")
    assert what in said
    assert remedy in said
    assert {path: path.lstat().st_mtime_ns for path in llama.parent.rglob("*")} == before
    assert not (tmp_path / "cache").exists()


def test_a_chat_template_is_never_rendered(
    llama: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = "{% for i in range(10**15) %}{{ ''.__class__.__mro__ }}{% endfor %}"
    edit_json(llama / "tokenizer_config.json", chat_template=endless)
    (llama / "chat_template.jinja").write_text(endless)
    (llama / "additional_chat_templates").mkdir()
    (llama / "additional_chat_templates" / "other.jinja").write_text(endless)

    def rendered(*_: Any, **__: Any) -> None:
        raise AssertionError("a template was rendered")

    for name in ("render", "generate", "stream", "make_module"):
        monkeypatch.setattr(f"jinja2.Template.{name}", rendered)
    checkpoint = Checkpoint(prepare(str(llama), store))
    assert checkpoint.prefix == []
    (tokens,) = checkpoint.encode(["{{ 7 * 7 }}"])
    assert checkpoint.tokenizer.decode(tokens) == "{{ 7 * 7 }}"


def test_a_pattern_that_takes_forever_is_given_up(llama: Path, store: Store) -> None:
    path = llama / "tokenizer.json"
    content = json.loads(path.read_text())
    pattern = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated"}
    content["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [{**pattern, "invert": False}, content["pre_tokenizer"]],
    }
    path.write_text(json.dumps(content))
    checkpoint = Checkpoint(prepare(str(llama), store))
    assert len(checkpoint.encode(["an ordinary text"])) == 1
    with pytest.raises(CheckpointError, match=r"The tokenizer of tiny gave up: .*retry-limit"):
        checkpoint.encode(["a" * 40 + "!"])
