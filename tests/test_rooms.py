"""Data goes one way, and start-up stays light: the rooms keep to what the design says."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import stillwired.plugin
from stillwired.cli import COMMANDS

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "harness" / "stillwired"
ORDER = (
    "store",
    "checkpoints",
    "engine",
    "data",
    "instruments",
    "mutants",
    "judge",
    "records",
    "report",
    "commands",
)
PLUGIN = sorted(name.removeprefix("stillwired.") for name in stillwired.plugin.pytest_plugins)
# The vocabulary that every room may use.
SHARED = {"clock", "errors", "outcomes", "profiles", "settings", "options"}


def imported(path):
    """Modules that a file imports anywhere, `from a import b` as a.b too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_imported(path):
    parts = [name.split(".") for name in imported(path)]
    return {name[1] for name in parts if name[0] == "stillwired" and len(name) > 1}


@pytest.mark.parametrize("room", ORDER)
def test_a_room_imports_only_from_rooms_to_its_left(room):
    allowed = {*ORDER[: ORDER.index(room) + 1], *SHARED, "__version__"}
    for path in sorted((PACKAGE / room).rglob("*.py")):
        strangers = (rooms_imported(path) & set(ORDER)) - allowed
        assert not strangers, f"{path.relative_to(ROOT)} imports from {strangers}"


def test_the_judge_knows_no_model():
    for path in sorted((PACKAGE / "judge").rglob("*.py")):
        assert rooms_imported(path) <= {"judge", "errors", "outcomes"}, path


def test_only_the_engine_traces():
    users = [
        path
        for path in sorted(PACKAGE.rglob("*.py"))
        if any(name.split(".")[0] == "nnsight" for name in imported(path))
    ]
    assert users
    assert {path.parent.name for path in users} == {"engine"}


def test_only_the_plugin_knows_pytest():
    users = {
        path.relative_to(PACKAGE).parts[0]
        for path in sorted(PACKAGE.rglob("*.py"))
        if any(name.split(".")[0] in ("pytest", "_pytest") for name in imported(path))
    }
    assert users == {"plugin"}


def test_pytest_is_told_of_every_part_of_the_plugin():
    parts = [
        f"stillwired.plugin.{path.stem}"
        for path in sorted((PACKAGE / "plugin").glob("*.py"))
        if re.search(r"^(def pytest_|@pytest\.fixture)", path.read_text(), re.MULTILINE)
    ]
    assert parts == sorted(stillwired.plugin.pytest_plugins)


def test_nothing_but_the_command_line_uses_a_command():
    users = [
        path.relative_to(PACKAGE).as_posix()
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.parent.name != "commands" and "commands" in rooms_imported(path)
    ]
    assert users == ["cli.py"]


def test_every_command_is_listed():
    modules = {path.stem for path in (PACKAGE / "commands").glob("*.py")}
    assert sorted(COMMANDS) == sorted(modules - {"__init__", "common"})


def test_claims_hold_no_tensors():
    forbidden = {"torch", "numpy", "nnsight", "transformers", "scipy"}
    files = sorted((ROOT / "claims").rglob("*.py"))
    assert files
    for path in files:
        assert not {name.split(".")[0] for name in imported(path)} & forbidden, path


@pytest.mark.parametrize(
    "module",
    [*PLUGIN, "cli", "judge", "records", "report.terminal", "options"],
)
def test_start_up_does_not_load_torch(module):
    runs_light(f"import stillwired.{module}")


def test_listing_the_commands_loads_nothing_heavy():
    runs_light("from stillwired.cli import main; main([])", "numpy", "scipy", "pyarrow")


def runs_light(code, *others):
    heavy = {"torch", "transformers", "nnsight", *others}
    code += f"; import sys; sys.exit(', '.join({heavy!r} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
