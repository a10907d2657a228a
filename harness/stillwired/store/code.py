"""Which source code a cached value or a record depends on, as one digest.

A cached value is only as good as the code that made it. Its digest covers the named modules
and, by reading their import statements, every module of this package that they import in turn.
Nothing is imported to find out, so asking costs milliseconds and never loads torch. A record is
made by all of the package that measures and judges.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from stillwired.errors import CacheError

PACKAGE = "stillwired"
_ROOT = Path(__file__).resolve().parents[1]

# The store and the errors carry values, they do not make them: a better error message must not
# throw hours of fitting away.
_UNCOUNTED = (f"{PACKAGE}.store", f"{PACKAGE}.errors")

# Nor does what only shows, afterwards, what a record says.
_SHOWING = (f"{PACKAGE}.report", f"{PACKAGE}.commands", f"{PACKAGE}.cli")
_TABLES = (".toml", ".json", ".jsonl")


@cache
def code_digest(*module_names: str) -> str:
    """Digest the sources of modules and of everything of this package that they import.

    A process goes on with the code that it has loaded, whatever becomes of the files, so they are
    digested once.

    Imports inside functions count like those at the top. Modules loaded by a computed name are
    not seen, and neither are data files: put their content into the inputs of the cache entry.

    Args:
        module_names: Dotted names, for example ``"stillwired.engine.engine"``.

    Returns:
        A sha256 in hexadecimal, independent of the order of the names.

    Raises:
        CacheError: If a named module is not part of this package.
    """
    pending = list(module_names)
    sources: dict[str, Path] = {}
    while pending:
        name = pending.pop()
        if name in sources or _within(name, _UNCOUNTED):
            continue
        path = _source_of(name)
        if path is None:
            raise CacheError(
                f"There is no module {name!r} in {PACKAGE}, so its code cannot be part of a cache "
                "key. Name a module of the package by its dotted name."
            )
        sources[name] = path
        pending.extend(_imports(name, path))

    return files_digest(sources)


def package_digest() -> str:
    """Digest everything of this package that has a part in a record: sources and tables of data.

    Left out are the store and the errors, and what shows a record once it is there: the rooms
    report and commands, and the command line.
    """
    files = {}
    for path in _ROOT.rglob("*"):
        if path.suffix == ".py" or path.suffix in _TABLES:
            name = ".".join((PACKAGE, *path.relative_to(_ROOT).with_suffix("").parts))
            if not _within(name, (*_UNCOUNTED, *_SHOWING)):
                files[path.relative_to(_ROOT).as_posix()] = path
    return files_digest(files)


def files_digest(files: Mapping[str, Path]) -> str:
    """Digest text files under the names that they are given, in any order.

    Line ends do not count, since a checkout may translate them.
    """
    digest = hashlib.sha256()
    for name in sorted(files):
        text = files[name].read_bytes().replace(b"\r\n", b"\n")
        digest.update(f"{name} {hashlib.sha256(text).hexdigest()}\n".encode())
    return digest.hexdigest()


def _within(name: str, rooms: tuple[str, ...]) -> bool:
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


def _source_of(name: str) -> Path | None:
    """The file of a module of this package, by path arithmetic alone."""
    first, *rest = name.split(".")
    if first != PACKAGE:
        return None
    base = _ROOT.joinpath(*rest)
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        # `stillwired` itself has no file beside its folder, hence the test on `rest`.
        if (rest or candidate.name == "__init__.py") and candidate.is_file():
            return candidate
    return None


@cache
def _imports(name: str, path: Path) -> tuple[str, ...]:
    """Modules of this package that one source file imports."""
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except SyntaxError as error:
        raise CacheError(
            f"{path} is not valid Python ({error.msg}, line {error.lineno}), so it cannot be part "
            "of a cache key. Correct the file."
        ) from error

    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names if _is_ours(alias.name))
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            if not _is_ours(base):
                continue
            for alias in node.names:
                member = f"{base}.{alias.name}"
                found.add(member if _source_of(member) else base)
    return tuple(sorted(module for module in found if _source_of(module)))


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    kept = parts[: len(parts) - (node.level - 1)]
    return ".".join([*kept, node.module] if node.module else kept)


def _is_ours(name: str) -> bool:
    return name == PACKAGE or name.startswith(f"{PACKAGE}.")
