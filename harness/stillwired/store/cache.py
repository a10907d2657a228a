"""The cache: finished things under the digest of everything that determines them.

An entry is a folder, ``<root>/<kind>/<first 16 digits of the key>/``, with a manifest beside its
files. It is built in a scratch folder of the same disk and moved into place in one step, under a
lock of its own, so that an entry is either whole or absent. It is checked whenever it is read,
and what is found damaged is named, removed and built again.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from platformdirs import user_cache_dir

from stillwired.errors import CacheError
from stillwired.store import entry as entries
from stillwired.store.arrays import read_arrays, write_arrays
from stillwired.store.disk import explain_full_disk, is_read_only, require_space
from stillwired.store.entry import Check, DamagedEntryError, Entry

if TYPE_CHECKING:
    from numpy.typing import NDArray

ENVIRONMENT = "STILLWIRED_CACHE"
_SCRATCH = "tmp"
_SWEEP = "sweep.lock"
_LOCKS = "locks"
_ALIVE = ".alive"
_RESERVED = (_SCRATCH, _LOCKS)
_KEY_DIGITS = 16
_FORGOTTEN_S = 30 * 24 * 3600.0  # how long half-finished work waits for somebody to go on with it
_PATIENCE_S = 1.0  # how long to wait for another process before saying so
_REMEDY = "Name a folder that can be written with --claims-cache, or in STILLWIRED_CACHE"


class CacheWarning(UserWarning):
    """A damaged entry of the cache was found, and is built again."""


def _silent(_: str) -> None:
    """Say nothing."""


class Store:
    """A cache in one folder, shared safely by any number of processes.

    Args:
        root: The cache's folder; it is created when the first entry is built.
        say: Called with one line when waiting for another process.
    """

    def __init__(self, root: Path, say: Callable[[str], None] = _silent) -> None:
        self.root = Path(root).expanduser().absolute()
        self.say = say
        self._compared: set[Path] = set()

    def __repr__(self) -> str:
        return f"Store({str(self.root)!r})"

    @staticmethod
    def default_root() -> Path:
        """Where the cache lies unless told otherwise: ``STILLWIRED_CACHE`` or the user's cache."""
        named = os.environ.get(ENVIRONMENT, "").strip()
        return Path(named).expanduser() if named else Path(user_cache_dir("stillwired"))

    def path_of(self, kind: str, inputs: Mapping[str, Any], *, code: str = "") -> Path:
        """Where an entry lies, or would lie once built."""
        return self.root / kind / entries.key_of(kind, inputs, code)[:_KEY_DIGITS]

    def folder(
        self,
        kind: str,
        inputs: Mapping[str, Any],
        build: Callable[[Path], None],
        *,
        code: str = "",
        check: Check = "full",
        need: int = 0,
    ) -> Path:
        """Return an entry's folder, building it when it is missing or damaged.

        Args:
            kind: What sort of thing it is; lower-case letters, digits and ``-``.
            inputs: Everything that determines the content, as plain JSON values.
            build: Fills an empty folder. Whatever it raises leaves no trace in the cache.
            code: Digest of the code that makes it (`stillwired.store.code.code_digest`).
            check: ``"full"`` compares every file's digest, ``"quick"`` its size and time, which is
                meant for entries of many megabytes that `file` reads, or whose reader compares
                digests itself: a failing disk changes neither.
            need: Bytes that building needs, when known, so that a full disk is seen beforehand.

        Returns:
            The folder. Its files must not be changed.

        Raises:
            CacheError: If the entry is missing and cannot be built: the cache is read-only, the
                disk is full, or the builder wrote nothing.
        """
        path = self.path_of(kind, inputs, code=code)
        with contextlib.suppress(DamagedEntryError, OSError):
            # Without the lock: a reader must not wait, nor need the right to write.
            self._checked(path, check)
            return path
        with self._lock(path):
            try:
                self._checked(path, check)
                return path
            except FileNotFoundError:
                pass
            except DamagedEntryError as damage:
                warnings.warn(
                    f"The cache entry {path} is damaged ({damage}). It is removed and built again.",
                    CacheWarning,
                    stacklevel=2,
                )
                self._discard(path)
            except OSError as error:
                raise self._refusal(error, path) from error
            self._build(path, kind, dict(inputs), build, code, need)
        return path

    def file(
        self,
        kind: str,
        inputs: Mapping[str, Any],
        name: str,
        build: Callable[[Path], None],
        *,
        code: str = "",
        need: int = 0,
    ) -> Path:
        """Return one file of an entry, building the entry when it is missing or damaged.

        A file's content is compared with its digest when a process first asks for it, so that of
        an entry of many megabytes only what is used is read.

        Args:
            kind: As in `folder`.
            inputs: As in `folder`.
            name: The file's path inside the entry.
            build: As in `folder`; it must write a file of that name.
            code: As in `folder`.
            need: As in `folder`.

        Returns:
            The file. It must not be changed.

        Raises:
            CacheError: As in `folder`.
        """
        path = self.path_of(kind, inputs, code=code) / name
        if path not in self._compared:
            folder = self.folder(kind, inputs, build, code=code, check="quick", need=need)
            try:
                entries.check_content(entries.read_manifest(folder), name)
            except (DamagedEntryError, OSError):
                self.folder(kind, inputs, build, code=code, check="full", need=need)
                if not path.is_file():
                    raise CacheError(
                        f"Building the cache entry {folder} wrote no file {name}, which is asked "
                        "for. Correct its builder."
                    ) from None
            self._compared.add(path)
        return path

    def arrays(
        self,
        kind: str,
        inputs: Mapping[str, Any],
        build: Callable[[], Mapping[str, NDArray[Any]]],
        *,
        code: str = "",
        need: int = 0,
    ) -> dict[str, NDArray[Any]]:
        """Return named arrays, computing them when they are missing or damaged.

        What comes back was always read from the disk, so a first run and a second one see the
        same bytes.

        Args:
            kind: As in `folder`.
            inputs: As in `folder`.
            build: Computes the arrays: numbers, booleans or text of any shape.
            code: As in `folder`.
            need: As in `folder`.

        Returns:
            The arrays, in the order in which they were built.

        Raises:
            CacheError: As in `folder`, and if an array is neither numbers nor text.
        """
        return read_arrays(
            self.folder(kind, inputs, lambda to: write_arrays(build(), to), code=code, need=need)
        )

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Lend an empty folder on the cache's disk; it is gone afterwards, whatever happens.

        Raises:
            CacheError: If the cache cannot be written.
        """
        base = self.root / _SCRATCH
        path = base / f"{os.getpid()}-{secrets.token_hex(6)}"
        alive = FileLock(f"{path}{_ALIVE}")
        try:
            base.mkdir(parents=True, exist_ok=True)
            with FileLock(base / _SWEEP):
                _sweep(base)
                # This lock says that the owner lives; the system drops it with the process.
                alive.acquire(timeout=0)
                path.mkdir()
        except OSError as error:
            alive.release()
            raise self._refusal(error, base) from error
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)
            Path(alive.lock_file).unlink(missing_ok=True)
            alive.release()

    def entries(self) -> Iterator[Entry]:
        """Go through the entries that can be read, by kind and key."""
        for path in self._folders():
            with contextlib.suppress(DamagedEntryError, OSError):
                yield entries.read_manifest(path)

    def verify(self, full: bool = True) -> Iterator[tuple[Entry, bool, str]]:
        """Check every entry; nothing is changed.

        Args:
            full: Compare contents; otherwise sizes and times.

        Yields:
            The entry, whether it is intact, and if not what is wrong with it.
        """
        for path in self._folders():
            found = Entry(path.parent.name, path.name, path, {}, "", (), "")
            try:
                found = entries.read_manifest(path)
                entries.check(found, "full" if full else "quick")
            except DamagedEntryError as damage:
                yield found, False, str(damage)
            except OSError as error:
                yield found, False, f"it cannot be read: {error.strerror}"
            else:
                yield found, True, ""

    def size(self) -> int:
        """Bytes under the root, scratch and locks included."""
        total = 0
        for base, _, names in os.walk(self.root):
            for name in names:
                with contextlib.suppress(OSError):
                    total += Path(base, name).lstat().st_size
        return total

    def _folders(self) -> Iterator[Path]:
        if not self.root.is_dir():
            return
        for kind in sorted(self.root.iterdir()):
            if kind.is_dir() and kind.name not in _RESERVED:
                yield from sorted(kind.iterdir())

    def _checked(self, path: Path, how: Check) -> None:
        found = entries.read_manifest(path)
        if not entries.check(found, how) and how == "quick":
            self._note_times(found)

    def _note_times(self, found: Entry) -> None:
        """Store the present times, so that the next quick check need not read the content."""
        files = tuple(
            entries.StoredFile(
                file.name, file.size, file.sha256, (found.path / file.name).stat().st_mtime_ns
            )
            for file in found.files
        )
        noted = Entry(
            found.kind, found.key, found.path, found.inputs, found.code, files, found.created
        )
        # A cache that cannot be written is merely checked in full every time.
        with contextlib.suppress(OSError, CacheError), self.scratch() as scratch:
            manifest = scratch / entries.MANIFEST
            entries.write_manifest(noted, manifest)
            manifest.replace(found.path / entries.MANIFEST)

    @contextlib.contextmanager
    def _lock(self, path: Path) -> Iterator[None]:
        locks = self.root / _LOCKS
        try:
            locks.mkdir(parents=True, exist_ok=True)
            lock = FileLock(locks / f"{path.parent.name}-{path.name}.lock")
            try:
                lock.acquire(timeout=_PATIENCE_S)
            except Timeout:
                self.say(f"Waiting for another process that is building {path}")
                lock.acquire()
        except OSError as error:
            raise self._refusal(error, path) from error
        try:
            yield
        finally:
            lock.release()

    def _build(
        self,
        path: Path,
        kind: str,
        inputs: dict[str, Any],
        build: Callable[[Path], None],
        code: str,
        need: int,
    ) -> None:
        require_space(self.root, need, f"the cache entry {kind}")
        try:
            with self.scratch() as scratch:
                folder = scratch / "entry"
                folder.mkdir()
                build(folder)
                files = entries.describe(folder)
                if not files:
                    raise CacheError(
                        f"Building the cache entry {path} wrote no file, so there is nothing to "
                        "keep. Correct its builder."
                    )
                created = datetime.now(UTC).isoformat(timespec="seconds")
                key = entries.key_of(kind, inputs, code)
                made = Entry(kind, key, path, inputs, code, files, created)
                entries.write_manifest(made, folder / entries.MANIFEST)
                _settle(folder, [folder / file.name for file in files])
                path.parent.mkdir(parents=True, exist_ok=True)
                folder.replace(path)
                _sync(path.parent)
        except CacheError:
            # Of an entry that this one is made from, and explained already.
            raise
        except Exception as error:
            full = explain_full_disk(error, self.root, need)
            if full is not None:
                raise full from error
            raise

    def _discard(self, path: Path) -> None:
        """Take a damaged entry out of sight in one step, then delete it."""
        with self.scratch() as scratch:
            try:
                path.replace(scratch / "damaged")
            except OSError as error:
                raise self._refusal(error, path) from error

    def _refusal(self, error: OSError, path: Path) -> CacheError:
        """Say why an entry cannot be had, and what to do about it."""
        full = explain_full_disk(error, self.root, 0)
        if full is not None:
            return full
        if is_read_only(error):
            return CacheError(
                f"{path} is not in the cache in usable form, and the cache folder {self.root} "
                f"cannot be written ({error.strerror}). {_REMEDY}."
            )
        if error.errno in (errno.ENOTDIR, errno.EEXIST):
            return CacheError(
                f"The cache folder {self.root} cannot be used, because a part of this path is a "
                f"file ({error.filename}). {_REMEDY}."
            )
        return CacheError(f"The cache folder {self.root} cannot be used: {error}. {_REMEDY}.")


def _sweep(base: Path) -> None:
    """Delete what processes left that were killed before they could do it themselves."""
    for path in list(base.iterdir()):
        if path.is_dir() or path.name.endswith(_ALIVE):
            folder = Path(str(path).removesuffix(_ALIVE))
            alive = Path(f"{folder}{_ALIVE}")
            with contextlib.suppress(OSError), FileLock(alive).acquire(timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
                alive.unlink(missing_ok=True)
        elif path.name != _SWEEP:
            # Builders may leave files for the next one to go on from.
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _FORGOTTEN_S:
                    path.unlink()


def _settle(folder: Path, files: list[Path]) -> None:
    """Bring an entry to the disk, readable by whoever may read the rest of the cache.

    Some writers make private files; the manifest has the rights that the user's mask gives.
    """
    mode = (folder / entries.MANIFEST).stat().st_mode & 0o777
    for path in files:
        path.chmod(mode)
        _sync(path)
    for base, _, _ in os.walk(folder):
        _sync(Path(base))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
