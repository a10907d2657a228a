"""Telling a full or a read-only disk from other trouble, in words that help."""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

from stillwired.errors import CacheError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)

# Native writers and child processes report a full disk in text only.
_FULL_TEXTS = ("no space left on device", "os error 28", "disk quota exceeded")


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Give errors of reading a file its name, which the system leaves out once it is open."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def is_read_only(error: OSError) -> bool:
    """Whether an error says that the place cannot be written."""
    return error.errno in _READ_ONLY


def is_full_disk(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, is about a full disk."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        if any(text in str(error).lower() for text in _FULL_TEXTS):
            return True
        error = error.__cause__ or error.__context__
    return False


def explain_full_disk(error: BaseException, place: Path, need: int) -> CacheError | None:
    """Turn a full disk's error into one that a person can act on; None for other errors.

    Args:
        error: What was raised.
        place: A folder on the disk; what was left unfinished there should be gone by now.
        need: Bytes that are needed, or 0 if unknown.
    """
    if not is_full_disk(error):
        return None
    wanted = f"about {megabytes(need)} are needed" if need else "more is needed"
    return CacheError(
        f"The disk of the cache ran full: {_mount_of(place)} has {megabytes(_free(place))} free "
        f"without the unfinished entry, and {wanted}. Free some space, or name a folder on "
        "another disk with --claims-cache."
    )


def require_space(place: Path, need: int, what: str) -> None:
    """Refuse to start what cannot be finished.

    Raises:
        CacheError: If the disk of `place` has less than `need` bytes free.
    """
    free = _free(place)
    if free < need:
        raise CacheError(
            f"{what[:1].upper()}{what[1:]} needs about {megabytes(need)}, and the disk of the "
            f"cache has {megabytes(free)} free ({_mount_of(place)}). Free some space, or name a "
            "folder on another disk with --claims-cache."
        )


def megabytes(count: int) -> str:
    """Write a number of bytes for people."""
    return f"{count / 1e6:,.0f} MB" if count >= 1_000_000 else f"{count / 1e3:,.0f} kB"


def _existing(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _free(path: Path) -> int:
    return shutil.disk_usage(_existing(path)).free


def _mount_of(path: Path) -> Path:
    path = _existing(path).absolute()
    while not path.is_mount():
        path = path.parent
    return path
