"""One entry of the cache: what it was made from, which files it holds, whether they are intact."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stillwired.errors import CacheError
from stillwired.store.disk import naming

SCHEMA = 1
MANIFEST = "entry.json"
Check = Literal["full", "quick"]

_KIND = re.compile(r"[a-z0-9][a-z0-9-]*")


class DamagedEntryError(Exception):
    """An entry is not what its manifest says; the message says what is wrong with it."""


@dataclass(frozen=True)
class StoredFile:
    """A file of an entry.

    Attributes:
        name: Path inside the entry, with forward slashes.
        size: Bytes.
        sha256: Digest of the content, hexadecimal.
        mtime_ns: Time of the last change when it was stored, nanoseconds since the epoch.
    """

    name: str
    size: int
    sha256: str
    mtime_ns: int


@dataclass(frozen=True)
class Entry:
    """A finished folder of the cache.

    Attributes:
        kind: What sort of thing it is, for example ``"wheel"``; also a folder of the cache.
        key: sha256 over kind, inputs and code.
        path: The entry's folder.
        inputs: What it was made from.
        code: Digest of the code that made it, or an empty string.
        files: Its files, by name.
        created: When it was made, ISO 8601.
    """

    kind: str
    key: str
    path: Path
    inputs: Mapping[str, Any]
    code: str
    files: tuple[StoredFile, ...]
    created: str

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


def canonical(value: object) -> str:
    """Write a value as JSON in exactly one way.

    Raises:
        CacheError: If the value is not plain JSON (NaN included).
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CacheError(
            f"The inputs of a cache entry must be plain JSON values, and these are not: {error}. "
            "Pass text, numbers, booleans, lists and dictionaries only."
        ) from error


def key_of(kind: str, inputs: Mapping[str, Any], code: str) -> str:
    """The content address of an entry: a sha256 over everything that determines it.

    Raises:
        CacheError: If the kind is not a plain lower-case name or the inputs are not JSON.
    """
    if not _KIND.fullmatch(kind):
        raise CacheError(
            f"{kind!r} cannot name a kind of cache entry. Use lower-case letters, digits and '-'."
        )
    text = canonical({"schema": SCHEMA, "kind": kind, "inputs": dict(inputs), "code": code})
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_of(path: Path) -> str:
    """sha256 of a file's content, hexadecimal."""
    with naming(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def payload(folder: Path) -> list[Path]:
    """The files of an entry, its manifest excepted, in a fixed order.

    Raises:
        DamagedEntryError: If something in it is neither a plain file nor a folder.
    """
    found: list[Path] = []
    for base, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            path = Path(base, name)
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise DamagedEntryError(f"{path.relative_to(folder)} is not a plain file")
        found.extend(Path(base, name) for name in names)
    manifest = folder / MANIFEST
    return sorted(path for path in found if path != manifest)


def describe(folder: Path) -> tuple[StoredFile, ...]:
    """Measure and digest the files of a folder."""
    files = []
    for path in payload(folder):
        stat = path.stat()
        name = path.relative_to(folder).as_posix()
        files.append(StoredFile(name, stat.st_size, sha256_of(path), stat.st_mtime_ns))
    return tuple(files)


def write_manifest(entry: Entry, to: Path) -> None:
    """Write an entry's manifest to a file and make sure that it reached the disk."""
    content = {
        "schema": SCHEMA,
        "kind": entry.kind,
        "key": entry.key,
        "code": entry.code,
        "inputs": dict(entry.inputs),
        "files": [vars(file) for file in entry.files],
        "created": entry.created,
    }
    with to.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1, sort_keys=True)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())


def read_manifest(folder: Path) -> Entry:
    """Read an entry's manifest and check that it belongs where it lies.

    Raises:
        FileNotFoundError: If there is no such entry.
        DamagedEntryError: If the manifest cannot be read or contradicts itself.
    """
    try:
        content = json.loads((folder / MANIFEST).read_bytes())
        files = tuple(
            StoredFile(
                str(file["name"]), int(file["size"]), str(file["sha256"]), int(file["mtime_ns"])
            )
            for file in content["files"]
        )
        entry = Entry(
            kind=str(content["kind"]),
            key=str(content["key"]),
            path=folder,
            inputs=dict(content["inputs"]),
            code=str(content["code"]),
            files=files,
            created=str(content["created"]),
        )
        key = key_of(entry.kind, entry.inputs, entry.code)
    except FileNotFoundError:
        if folder.is_dir():
            raise DamagedEntryError(f"its {MANIFEST} is missing") from None
        raise
    except NotADirectoryError:
        raise DamagedEntryError("it is not a folder") from None
    except (
        *(ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError),
        CacheError,
    ) as error:
        raise DamagedEntryError(f"its {MANIFEST} cannot be read: {error}") from error
    if key != entry.key or not key.startswith(folder.name) or entry.kind != folder.parent.name:
        raise DamagedEntryError(f"its {MANIFEST} does not belong to it")
    return entry


def check(entry: Entry, how: Check) -> bool:
    """Compare an entry's files with its manifest.

    A quick check trusts a file whose size and time are unchanged. Where only the time differs,
    as after copying a cache to another machine, the content decides.

    Returns:
        True if every time is as stored; False if the content is right but times have changed.

    Raises:
        DamagedEntryError: If a file is missing, unlisted or altered.
    """
    expected = {file.name: file for file in entry.files}
    present = {path.relative_to(entry.path).as_posix(): path for path in payload(entry.path)}
    for name in sorted(expected.keys() ^ present.keys()):
        raise DamagedEntryError(f"{name} is {'missing' if name in expected else 'not part of it'}")
    as_stored = True
    for name, file in expected.items():
        stat = present[name].stat()
        if stat.st_size != file.size:
            raise DamagedEntryError(f"{name} has {stat.st_size} bytes instead of {file.size}")
        same_time = stat.st_mtime_ns == file.mtime_ns
        as_stored = as_stored and same_time
        if (how == "full" or not same_time) and sha256_of(present[name]) != file.sha256:
            raise DamagedEntryError(f"the content of {name} has changed")
    return as_stored


def check_content(entry: Entry, name: str) -> None:
    """Compare the content of one file of an entry with its digest.

    Raises:
        DamagedEntryError: If it has changed, or is no file of the entry.
    """
    listed = {file.name: file.sha256 for file in entry.files}
    if listed.get(name) != sha256_of(entry.path / name):
        raise DamagedEntryError(f"the content of {name} has changed")
