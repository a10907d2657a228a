from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import errors

from stillwired.checkpoints.hub import fetch_snapshot
from stillwired.errors import CheckpointError, FetchError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Stands in for the hub's client: one repository, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / COMMIT
        self.folder.mkdir()
        (self.folder / "config.json").write_text('{"model_type": "llama"}')
        self.calls: list[tuple[str, list[str]]] = []
        self.error: Exception | None = None

    def snapshot_download(
        self, repo: str, *, revision: str, allow_patterns: list[str], ignore_patterns: list[str]
    ) -> str:
        assert ignore_patterns == ["*/*"]
        self.calls.append((revision, allow_patterns))
        if self.error is not None:
            raise self.error
        return str(self.folder)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    hub = Hub(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.snapshot_download)
    return hub


def test_the_weights_come_from_the_commit_that_was_looked_at(hub: Hub) -> None:
    said: list[str] = []
    folder, commit = fetch_snapshot("org/name", "main", said.append)
    assert (folder, commit) == (hub.folder, COMMIT)
    (first, small), (second, all_of_it) = hub.calls
    assert (first, second) == ("main", COMMIT)
    assert "*.safetensors" not in small
    assert {"config.json", "tokenizer.json", "*.safetensors"} <= set(all_of_it)
    assert not any(pattern.endswith((".bin", ".pt", ".py")) for pattern in all_of_it)
    assert len(said) == 2


def test_remote_code_is_refused_before_any_weights(hub: Hub) -> None:
    (hub.folder / "config.json").write_text(json.dumps({"auto_map": {"AutoModel": "x.Y"}}))
    with pytest.raises(CheckpointError, match="never run"):
        fetch_snapshot("org/name", "main", lambda _: None)
    assert len(hub.calls) == 1


def response(status: int) -> Any:
    import httpx

    return httpx.Response(status, request=httpx.Request("GET", "https://hub/"))


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (
            errors.RepositoryNotFoundError("x", response=response(404)),
            CheckpointError,
            "no repository",
        ),
        (
            errors.RevisionNotFoundError("x", response=response(404)),
            CheckpointError,
            "no revision 'main'",
        ),
        (
            errors.GatedRepoError("x", response=response(403)),
            CheckpointError,
            "accepted its licence",
        ),
        (errors.HFValidationError("bad id"), CheckpointError, "no repository"),
        (errors.LocalEntryNotFoundError("x"), FetchError, "not in the hub's cache"),
        (errors.OfflineModeIsEnabled("offline is on"), FetchError, "offline is on"),
        (ConnectionError("no route"), FetchError, "no route"),
        (TimeoutError(""), FetchError, "TimeoutError"),
    ],
)
def test_what_can_go_wrong_is_told_with_what_to_do(
    hub: Hub, error: Exception, kind: type[Exception], told: str
) -> None:
    hub.error = error
    with pytest.raises(kind) as caught:
        fetch_snapshot("org/name", "main", lambda _: None)
    assert told in str(caught.value)
    assert "org/name" in str(caught.value)


def test_offline_without_a_copy_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(FetchError, match="HF_HUB_OFFLINE"):
        fetch_snapshot("org-that-is/not-there", "main", lambda _: None)
