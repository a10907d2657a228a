"""What a checkpoint spec names: a registered name, a folder, a GGUF file, or a hub id.

Reading a spec looks at names only. Whether what it names is complete and safe to load is found
out by `stillwired.checkpoints.prepare`.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from stillwired.errors import CheckpointError
from stillwired.store.wheels import WheelPin

_REGISTRY = Path(__file__).with_name("registry.toml")
_HUB_ID = re.compile(r"(?:[A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]*")
_REVISION = re.compile(r"[A-Za-z0-9][\w./-]*")
_FORMS = "a registered name ({names}), a folder, a .gguf file, or a hub id as org/name@revision"

# Formats that run code of their author's choice when they are read.
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
WHY_NOT_PICKLED = (
    "Pickled weights can run any code when they are read, so they are never loaded. Convert them "
    "to safetensors on a machine where that does not matter"
)


@dataclass(frozen=True)
class Piece:
    """A part of a registered GGUF file.

    Attributes:
        wheel: The wheel that holds it.
        member: Its name inside the wheel.
        sha256: Its digest, hexadecimal.
    """

    wheel: WheelPin
    member: str
    sha256: str


@dataclass(frozen=True)
class Registered:
    """A checkpoint that this package knows by name.

    Attributes:
        name: How a spec names it.
        title: The model's own name.
        quantisation: What its weights were rounded to before they were published as GGUF.
        licence: Licence of the weights.
        source: Where the model comes from.
        sha256: Digest of the whole GGUF file, hexadecimal.
        size: Bytes of the GGUF file.
        converted: Bytes, about, of the copy that is made from it.
        pieces: Its parts, in order.
    """

    name: str
    title: str
    quantisation: str
    licence: str
    source: str
    sha256: str
    size: int
    converted: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Spec:
    """A spec, read.

    Attributes:
        text: As it was given.
        kind: What it names.
        name: A short name for headers and records.
        path: The folder or file, for local checkpoints.
        repo: The hub id, for hub checkpoints.
        revision: The hub's revision: branch, tag or commit.
    """

    text: str
    kind: Literal["registered", "folder", "gguf", "hub"]
    name: str
    path: Path | None = None
    repo: str = ""
    revision: str = ""


@cache
def registered() -> dict[str, Registered]:
    """Return the registered checkpoints, by name."""
    known = {}
    for name, facts in tomllib.loads(_REGISTRY.read_text(encoding="utf-8")).items():
        pieces = tuple(
            Piece(
                wheel=WheelPin(
                    name=wheel["name"],
                    version=wheel["version"],
                    sha256=wheel["sha256"],
                    filename=wheel["filename"],
                    size=wheel["size"],
                ),
                member=wheel["member"],
                sha256=wheel["member_sha256"],
            )
            for wheel in facts["wheels"]
        )
        known[name] = Registered(
            name=name,
            title=facts["title"],
            quantisation=facts["quantisation"],
            licence=facts["licence"],
            source=facts["source"],
            sha256=facts["sha256"],
            size=facts["size"],
            converted=facts["converted"],
            pieces=pieces,
        )
    return known


def parse_spec(text: str) -> Spec:
    """Read a spec string.

    Registered names come first; write ``./name`` for a folder that is called like one.

    Raises:
        CheckpointError: If it names nothing; the message offers what may have been meant.
    """
    text = text.strip()
    if "\0" in text:
        raise CheckpointError(_unknown(text))
    if text in registered():
        return Spec(text, "registered", text)
    # os.path takes any text: names too long for a disk or an unknown ~user are simply not there.
    expanded = os.path.expanduser(text)
    if text and (os.path.exists(expanded) or _looks_like_path(text)):
        return _local(text, Path(expanded))
    repo, at, revision = text.partition("@")
    if at and _HUB_ID.fullmatch(repo) and _REVISION.fullmatch(revision) and ".." not in revision:
        return Spec(text, "hub", repo.rpartition("/")[2], repo=repo, revision=revision)
    raise CheckpointError(_unknown(text))


def _looks_like_path(text: str) -> bool:
    suffix = Path(text).suffix.lower()
    return text.startswith((".", "/", "~")) or suffix in (".gguf", ".safetensors", *PICKLED)


def _local(text: str, path: Path) -> Spec:
    suffix = path.suffix.lower()
    # A path through a link is followed, so that the record and the digest speak of the same place.
    path = path.absolute()
    if os.path.isdir(path):
        return Spec(text, "folder", path.resolve().name, path=path)
    if not os.path.exists(path):
        raise CheckpointError(
            f"There is no {path}.{_neighbours(path)} Give the path of a folder with safetensors, "
            "config.json and tokenizer, or of a .gguf file."
        )
    if suffix == ".gguf":
        return Spec(text, "gguf", path.stem, path=path)
    if suffix in PICKLED:
        raise CheckpointError(f"{path} is a pickled checkpoint. {WHY_NOT_PICKLED}.")
    if suffix == ".safetensors":
        raise CheckpointError(
            f"{path} holds weights alone. Give its folder, with config.json and the tokenizer's "
            "files beside it."
        )
    raise CheckpointError(
        f"{path} is a file of unknown kind. Only folders with safetensors and .gguf files are read."
    )


def _neighbours(path: Path) -> str:
    """Name what lies beside a path that does not exist and is spelled like it."""
    try:
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.iterdir()], n=3)
    except (OSError, ValueError):
        return ""
    return f" Beside it lies {' and '.join(near)}." if near else ""


def _unknown(text: str) -> str:
    names = list(registered())
    forms = _FORMS.format(names=", ".join(names))
    if not text:
        return f"The checkpoint spec is empty. Give {forms}."
    start = f"{text!r} names no checkpoint."
    if _HUB_ID.fullmatch(text) and "/" in text:
        return (
            f"{text!r} names no folder here, and a hub id needs a revision so that a record says "
            f"which weights were measured. Write {text}@<commit>, or {text}@main for the newest."
        )
    lowered = {name.lower(): name for name in names}
    near = difflib.get_close_matches(text.lower(), lowered, n=3, cutoff=0.5)
    near = near or [name for name in lowered if text.lower() in name]
    if near:
        meant = " or ".join(lowered[name] for name in near)
        return f"{start} Did you mean {meant}? A spec is {forms}."
    return f"{start} Give {forms}."
