"""What made a record besides its checkpoint: code, libraries, threads and processor.

The same weights judged by other code, or trained on by another library, may come out otherwise. A
record says what made it, so that two of them are not compared as if only the checkpoint differed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillwired.store.code import PACKAGE, files_digest, package_digest

Json = dict[str, Any]

UNKNOWN = "unknown"
_MACHINE = ("python", "threads", "processor", "cpu")


@dataclass(frozen=True)
class Difference:
    """One thing in which what made two records differs.

    Attributes:
        what: What differs, in words.
        then: What it was for the one, or ``unknown``.
        now: What it was for the other.
    """

    what: str
    then: str
    now: str

    def __str__(self) -> str:
        return f"{self.what} ({self.then} then, {self.now} now)"


def code_of(folders: Iterable[Path], files: Iterable[Path], root: Path) -> dict[str, str]:
    """Digest the code that has a part in a run, folder by folder.

    The modules of a folder count as one, whichever of its claims are judged, so that a run of some
    claims can be compared with a run of all. Modules that they import from elsewhere are not seen.

    Args:
        folders: Where the claims' tests lie. Their modules count, and those of the packages that
            they lie in.
        files: Modules that the tests rest on without importing them: fixtures, conftest files.
        root: What folders are named from; where it lies does not matter.

    Returns:
        Digests of ``stillwired`` itself and of every folder, by its name.
    """
    found: dict[Path, set[Path]] = {}
    for file in files:
        found.setdefault(file.parent, set()).add(file)
    for folder in folders:
        for package in _with_packages(folder):
            found.setdefault(package, set()).update(package.glob("*.py"))
    named = {Path(os.path.relpath(folder, root)).as_posix(): found[folder] for folder in found}
    digests = {
        name: files_digest({file.name: file for file in modules}) for name, modules in named.items()
    }
    return {PACKAGE: package_digest(), **dict(sorted(digests.items()))}


def _with_packages(folder: Path) -> Iterator[Path]:
    """A folder and, where it is a package, those that it is a part of."""
    yield folder
    while (folder / "__init__.py").is_file() and (folder.parent / "__init__.py").is_file():
        folder = folder.parent
        yield folder


def differences(then: Json | None, now: Json | None) -> tuple[Difference, ...]:
    """Compare what made two records.

    Machines of one kind may differ in their system. Code of folders that only one of the runs has
    judged says nothing about what both have.

    Args:
        then: The environment of one record; None where it is not known, as of the first baselines.
        now: The other's.

    Returns:
        What differs or is not known to be the same; empty if both were made alike.
    """
    if then is None or now is None:
        known = (UNKNOWN if one is None else "known" for one in (then, now))
        return (Difference("code, libraries and machine", *known),)
    found = [*_code(then.get("code", {}), now.get("code", {}))]
    for here, there, names in (
        (then["packages"], now["packages"], {**then["packages"], **now["packages"]}),
        (then, now, _MACHINE),
    ):
        for name in names:
            one, other = (str(side.get(name, UNKNOWN)) for side in (here, there))
            if one != other:
                found.append(Difference(name, one, other))
    return tuple(found)


def _code(then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[Difference]:
    if not (then and now):
        yield Difference("code", *(short(side.get(PACKAGE)) for side in (then, now)))
        return
    for name in then:
        if name in now and then[name] != now[name]:
            yield Difference(f"code of {called(name)}", short(then[name]), short(now[name]))


def called(folder: str) -> str:
    """Return what messages call a folder of code."""
    return "the root folder" if folder == "." else folder


def short(digest: str | None) -> str:
    """Write a digest so that it can be told from another; one that is not there is unknown."""
    return f"{digest[:8]}…" if digest else UNKNOWN
