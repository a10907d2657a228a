"""Checkpoints from the Hugging Face hub, through the hub's own client and cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from stillwired.checkpoints.folders import CONFIG, TOKENIZER_FILES, refuse_code
from stillwired.errors import CheckpointError, FetchError

_DESCRIPTION = (CONFIG, "generation_config.json", "processor_config.json", *TOKENIZER_FILES)
_WEIGHTS = ("*.safetensors", "*.safetensors.index.json")


def fetch_snapshot(repo: str, revision: str, say: Callable[[str], None]) -> tuple[Path, str]:
    """Fetch a repository's config, tokenizer and safetensors; ``HF_HUB_OFFLINE`` is honoured.

    The small files come first, so that a checkpoint that is refused costs no large download.

    Args:
        repo: Hub id.
        revision: Branch, tag or commit.
        say: Called with one line before fetching.

    Returns:
        The snapshot's folder in the hub's cache, and its commit.

    Raises:
        CheckpointError: If there is no such repository or revision, access needs a licence
            agreement, or the checkpoint wants to run code.
        FetchError: If the hub cannot be reached and its cache does not hold the snapshot.
    """
    say(f"Looking up {repo} at {revision} on the Hugging Face hub")
    folder = _download(repo, revision, _DESCRIPTION)
    refuse_code(folder)
    commit = folder.name
    say(f"Fetching the weights of {repo} at {commit[:12]}")
    return _download(repo, commit, (*_DESCRIPTION, *_WEIGHTS)), commit


def _download(repo: str, revision: str, patterns: tuple[str, ...]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        found = snapshot_download(
            repo,
            revision=revision,
            allow_patterns=list(patterns),
            # Copies in other formats lie in folders; only the top level is a transformers model.
            ignore_patterns=["*/*"],
        )
    except GatedRepoError as error:
        raise CheckpointError(
            f"{repo} is open only to accounts that accepted its licence. Accept it on the hub's "
            "page of the model, and log in with `hf auth login`."
        ) from error
    except RevisionNotFoundError as error:
        raise CheckpointError(
            f"{repo} has no revision {revision!r}. Give a branch, a tag or a full commit."
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise CheckpointError(
            f"The hub has no repository {repo!r} that this account may read. Correct the id, or "
            "log in with `hf auth login` if it is private."
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError, OSError) as error:
        raise FetchError(
            f"{repo} at {revision} is not in the hub's cache, and the hub cannot be used "
            f"({_first_line(error)}). Fetch it where there is a network and copy the hub's cache "
            "(HF_HOME), or give a local folder; unset HF_HUB_OFFLINE if it is set by mistake."
        ) from error
    return Path(found)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
