"""Files that are either whole or absent, and JSON that has one form."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from stillwired.errors import RecordError


def write_whole(path: Path, write: Callable[[Path], None], *, sweep: bool = True) -> None:
    """Let ``write`` fill a file beside ``path`` and move it into place when it is complete.

    Whatever interrupts the writing leaves ``path`` as it was.

    Args:
        path: The file.
        write: Fills the file that it is given.
        sweep: Remove what killed processes have left beside ``path``. It takes a look at the whole
            folder; one of many files that is removed as a whole can do without.

    Raises:
        RecordError: If the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if sweep:
            _sweep(path)
        with _unfinished(path) as temporary:
            write(temporary)
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            # mkstemp makes files private; a record is meant to be read by others.
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
    except OSError as error:
        raise RecordError(
            f"{path} cannot be written: {error.strerror or error}. "
            "Free some space there, or name another place with --claims-record."
        ) from error


def write_json(path: Path, data: Any, *, indent: int | None = None, sweep: bool = True) -> None:
    """Write plain data as JSON, whole or not at all; ``sweep`` as in `write_whole`.

    Raises:
        RecordError: If the data are not plain, or the folder cannot be written.
    """
    text = plain_json(data, indent=indent) + "\n"

    def write(file: Path) -> None:
        file.write_text(text, encoding="utf-8")

    write_whole(path, write, sweep=sweep)


def read_json(path: Path, what: str) -> Any:
    """Read a JSON file; ``what`` names its kind in messages.

    Raises:
        RecordError: If it is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecordError(f"There is no {what} {path}. Check the path.") from None
    except IsADirectoryError:
        raise RecordError(f"{path} is a folder. Name the {what} itself.") from None
    except OSError as error:
        raise RecordError(
            f"The {what} {path} cannot be read: {error.strerror}. Check its permissions."
        ) from error
    except (ValueError, RecursionError) as error:
        raise RecordError(
            f"The {what} {path} is not JSON ({error}). It may have been cut short or edited."
        ) from error


def plain_json(data: Any, *, indent: int | None = None) -> str:
    """Return JSON with the order of keys kept: the order of a family's members has a meaning.

    Raises:
        RecordError: If something in the data has no JSON form; NaN and infinity have none.
    """
    try:
        return json.dumps(
            data,
            indent=indent,
            ensure_ascii=False,
            allow_nan=False,
            separators=None if indent else (",", ":"),
        )
    except (TypeError, ValueError) as error:
        raise RecordError(
            f"A record holds plain data only ({error}). "
            "Hand over strings, booleans and finite numbers of Python's own types."
        ) from error


def digest_of(data: Any) -> str:
    """Return the sha256 of plain data, in hex."""
    return hashlib.sha256(plain_json(data).encode("utf-8")).hexdigest()


@contextlib.contextmanager
def _unfinished(path: Path) -> Iterator[Path]:
    """Make a file beside ``path``, locked while its process lives; gone afterwards if not moved."""
    while True:
        handle, name = tempfile.mkstemp(prefix=_unfinished_prefix(path), dir=path.parent)
        with contextlib.suppress(OSError):  # where there are no locks, nothing is swept either
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.path.exists(name):
            break
        os.close(handle)  # another process has swept it before it was locked
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)
        os.close(handle)


def _sweep(path: Path) -> None:
    """Remove what processes that were killed have left unfinished beside ``path``."""
    for left in path.parent.glob(f"{glob.escape(_unfinished_prefix(path))}*"):
        with contextlib.suppress(OSError), left.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink()


def _unfinished_prefix(path: Path) -> str:
    return f".{path.name}.unfinished-"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def check_form(
    data: Any, schema: int, kinds: Mapping[str, type], wrong: Callable[[str], NoReturn]
) -> None:
    """Check that a file that people write has its schema and exactly the keys that it may have.

    Args:
        data: Its content.
        schema: What it has to say under ``schema``.
        kinds: The type of each other key, in the order in which messages name them.
        wrong: Raises the error, given what is wrong.
    """
    if not isinstance(data, dict) or data.get("schema") != schema:
        wrong(f'it does not say "schema": {schema}')
    names = ["schema", *kinds]
    if set(data) != set(names):
        wrong(f"its keys are {', '.join(data)}, not {', '.join(names[:-1])} and {names[-1]}")
    for key, kind in kinds.items():
        if not isinstance(data[key], kind):
            wrong(f"{key} is a {type(data[key]).__name__}, not a {kind.__name__}")
