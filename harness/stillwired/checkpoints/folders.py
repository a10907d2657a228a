"""A checkpoint folder: which of its files count, and whether it may be loaded at all."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillwired.checkpoints.sizes import absurd_size
from stillwired.checkpoints.spec import PICKLED, WHY_NOT_PICKLED
from stillwired.checkpoints.weights import count_parameters, read_header
from stillwired.errors import CheckpointError
from stillwired.store.disk import naming

CONFIG = "config.json"
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"

# Any one of these sets is a tokenizer that transformers can read.
_TOKENIZERS = (("tokenizer.json",), ("tokenizer.model",), ("vocab.json", "merges.txt"))
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
)
_TOKENIZER_CONFIG = "tokenizer_config.json"
_WITH_CODE = (CONFIG, _TOKENIZER_CONFIG, "processor_config.json")
# What transformers reads as well, although nothing that is computed depends on it.
_BESIDE = (
    *("generation_config.json", "chat_template.json", "chat_template.jinja", "tekken.json"),
    "additional_chat_templates/*.jinja",
)
_LARGEST_FILE = 256_000_000  # bytes of anything but weights; the largest tokenizers have 40 MB
_MODEL_TYPE = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True)
class Layout:
    """The files of a checkpoint folder that determine what the model computes.

    Attributes:
        folder: The folder.
        config: Content of ``config.json``.
        weights: Safetensors files that are loaded, in order.
        others: Config, index and tokenizer files.
    """

    folder: Path
    config: dict[str, Any]
    weights: tuple[Path, ...]
    others: tuple[Path, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """All of them, by name."""
        return tuple(sorted((*self.weights, *self.others)))

    @property
    def parameters(self) -> int:
        """Number of stored parameters."""
        return count_parameters(self.weights)


def inspect_folder(folder: Path) -> Layout:
    """Find a checkpoint's files, refusing what is incomplete or unsafe.

    Raises:
        CheckpointError: If config, weights or tokenizer are missing, damaged or of absurd size, if
            the weights are pickled, or if the checkpoint wants to run code of its own or to read
            files of other folders.
    """
    refuse_code(folder)
    weights, index = _weights(folder)
    config = _json(folder / CONFIG) if (folder / CONFIG).is_file() else None
    if config is None:
        raise CheckpointError(
            f"{folder} has no {CONFIG}, so nothing says what its weights mean. Export the model "
            "with save_pretrained, which writes it."
        )
    if "transformers_weights" in config:
        raise CheckpointError(
            f"{folder / CONFIG} chooses the weights file itself (transformers_weights), so what is "
            "loaded would not be what is checked. Remove that line."
        )
    if not any(all((folder / name).is_file() for name in names) for names in _TOKENIZERS):
        wanted = ", or ".join(" with ".join(names) for names in _TOKENIZERS)
        raise CheckpointError(
            f"{folder} has no tokenizer: looked for {wanted}. Save the tokenizer beside the "
            "weights with save_pretrained."
        )
    present = [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()]
    for path in (*present, *(path for name in _BESIDE for path in folder.glob(name))):
        _refuse_giant(path)
    _refuse_other_files(folder / _TOKENIZER_CONFIG)
    return Layout(folder, config, weights, (folder / CONFIG, *index, *present))


def check_config(layout: Layout) -> None:
    """Refuse a config that names no model, or one that the weights cannot be.

    Raises:
        CheckpointError: Names what is wrong; also if a weights file is damaged.
    """
    path, kind = layout.folder / CONFIG, layout.config.get("model_type", "unknown")
    if not isinstance(kind, str) or not _MODEL_TYPE.fullmatch(kind):
        raise CheckpointError(
            f"{path} has the model_type {str(kind)[:80]!r}, which is no name of an architecture. "
            "Fetch or export it again."
        )
    tensors = [tensor for weights in layout.weights for tensor in read_header(weights)]
    largest = max((size for tensor in tensors for size in tensor.shape), default=0)
    absurd = absurd_size(layout.config, len(tensors), largest)
    if absurd:
        raise CheckpointError(
            f"{path} does not belong to the weights beside it: {absurd}. Use the config that the "
            "model was saved with."
        )


def refuse_code(folder: Path) -> None:
    """Refuse a checkpoint that asks for code of its own to be run.

    Raises:
        CheckpointError: If one of its JSON files has an ``auto_map``, or its config names a kernel
            on the hub.
    """
    for name in _WITH_CODE:
        path = folder / name
        content = _json(path) if path.is_file() else {}
        if "auto_map" in content:
            raise CheckpointError(
                f"{path} asks for Python code from the checkpoint itself (auto_map). Such code "
                "could do anything on this machine, so it is never run, and there is no switch "
                "for it. Use a copy without auto_map, if transformers has this architecture built "
                "in."
            )
        for field, kernel in _kernels(content):
            raise CheckpointError(
                f"{path} asks for a kernel from the hub ({field}: {kernel[:80]!r}), which is code "
                "like any other, so it is never run. Remove that line; --claims-attention chooses "
                "among the kernels that come with transformers."
            )


def _kernels(content: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Hub ids among the implementations that a config, or one inside of it, chooses."""
    pending: list[tuple[str, Any]] = [("", content)]
    while pending:
        field, value = pending.pop()
        if isinstance(value, dict):
            inside = "_implementation" in field
            pending += [(field if inside else key, inner) for key, inner in value.items()]
        elif isinstance(value, list):
            pending += [(field, inner) for inner in value]
        elif isinstance(value, str) and "_implementation" in field and "/" in value:
            yield field, value


def _refuse_other_files(path: Path) -> None:
    """Refuse a tokenizer that is made from other files than those that are checked."""
    content = _json(path) if path.is_file() else {}
    for name in ("fast_tokenizer_files", "init_inputs"):
        if content.get(name) not in (None, [], ["tokenizer.json"]):
            raise CheckpointError(
                f"{path} chooses the tokenizer's files itself ({name}), so what is loaded would "
                "not be what is checked, and could lie anywhere. Remove that line."
            )


def _refuse_giant(path: Path) -> None:
    size = path.stat().st_size
    if size > _LARGEST_FILE:
        raise CheckpointError(
            f"{path} has {size} bytes, and no description of a model is that long: at most "
            f"{_LARGEST_FILE} are read. Fetch or export it again."
        )


def _weights(folder: Path) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """The safetensors files, and the index if there is one."""
    if (folder / "adapter_config.json").is_file():
        raise CheckpointError(
            f"{folder} holds an adapter, which changes another model. Merge it into that model "
            "and save the result."
        )
    if (folder / SINGLE).is_file():
        return (folder / SINGLE,), ()
    if (folder / INDEX).is_file():
        return _shards(folder), (folder / INDEX,)

    names = sorted(path.name for path in folder.iterdir())
    start = f"{folder} has no weights that can be read: looked for {SINGLE} and {INDEX}"
    pickled = [name for name in names if name.lower().endswith(PICKLED)]
    if pickled:
        raise CheckpointError(f"{start}, and found {', '.join(pickled)}. {WHY_NOT_PICKLED}.")
    gguf = [name for name in names if name.lower().endswith(".gguf")]
    if gguf:
        raise CheckpointError(f"{start}. Name the GGUF file itself: {folder / gguf[0]}.")
    other = [name for name in names if name.endswith(".safetensors")]
    if other:
        raise CheckpointError(
            f"{start}, and found {', '.join(other)}. Save the model with save_pretrained, which "
            "uses these names."
        )
    raise CheckpointError(f"{start}. Give the folder that save_pretrained wrote.")


def _shards(folder: Path) -> tuple[Path, ...]:
    index = folder / INDEX
    mapping = _json(index).get("weight_map")
    if not isinstance(mapping, dict) or not mapping:
        raise CheckpointError(f"{index} lists no weights. Export the model again.")
    names = set()
    for name in mapping.values():
        plain = isinstance(name, str) and name.endswith(".safetensors") and name.isprintable()
        if not plain or set(name) & set("/\\:\0") or name.startswith("."):
            raise CheckpointError(
                f"{index} names {name!r}, which is not the plain name of a safetensors file in "
                "the same folder. Such a path could lead anywhere, so the checkpoint is refused: "
                "export it again."
            )
        names.add(name)
    missing = sorted(name for name in names if not (folder / name).is_file())
    if missing:
        raise CheckpointError(
            f"{folder} lacks {', '.join(missing)}, named by {INDEX}. Fetch the rest of the model."
        )
    return tuple(folder / name for name in sorted(names))


def _json(path: Path) -> dict[str, Any]:
    _refuse_giant(path)
    try:
        with naming(path):
            content = json.loads(path.read_bytes(), parse_constant=_no_nan)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} is not valid JSON ({error}). Fetch or export it again."
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is not a JSON object. Fetch or export it again.")
    return content


def _no_nan(word: str) -> float:
    """Take an infinity, which some configs have for "no limit", and nothing that is no number."""
    if word == "NaN":
        raise ValueError("NaN is no number")
    return float(word)
