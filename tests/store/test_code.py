from __future__ import annotations

import sys
from pathlib import Path

import pytest

from stillwired.errors import CacheError
from stillwired.store import code


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of the same name elsewhere, so that sources can be changed."""
    root = tmp_path / "stillwired"
    for room in ("engine", "data", "store"):
        (root / room).mkdir(parents=True)
        (root / room / "__init__.py").write_text("")
    (root / "__init__.py").write_text("")
    (root / "errors.py").write_text("class StillwiredError(Exception): ...\n")
    (root / "store" / "cache.py").write_text("CACHE = 1\n")
    (root / "data" / "leaf.py").write_text("LEAF = 1\n")
    (root / "data" / "aside.py").write_text("ASIDE = 1\n")
    (root / "engine" / "middle.py").write_text("from ..data import leaf\n")
    (root / "engine" / "top.py").write_text(
        "import numpy\n"
        "from stillwired.errors import StillwiredError\n"
        "from stillwired.store.cache import CACHE\n"
        "def run():\n"
        "    from stillwired.engine.middle import leaf\n"
        "    return leaf\n"
    )
    monkeypatch.setattr(code, "_ROOT", root)
    return root


def digest_anew(*modules: str) -> str:
    """Digest as a new process would."""
    code.code_digest.cache_clear()
    code._imports.cache_clear()
    return code.code_digest(*modules)


def test_a_process_keeps_to_the_code_that_it_began_with(package: Path) -> None:
    before = digest_anew("stillwired.engine.top")
    (package / "data" / "leaf.py").write_text("LEAF = 2\n")
    assert code.code_digest("stillwired.engine.top") == before
    assert digest_anew("stillwired.engine.top") != before


@pytest.mark.parametrize("changed", ["engine/top.py", "engine/middle.py", "data/leaf.py"])
def test_a_change_in_any_imported_module_changes_the_digest(package: Path, changed: str) -> None:
    before = digest_anew("stillwired.engine.top")
    with (package / changed).open("a") as file:
        file.write("# another line\n")
    assert digest_anew("stillwired.engine.top") != before


@pytest.mark.parametrize("changed", ["data/aside.py", "store/cache.py", "errors.py"])
def test_other_modules_do_not_count(package: Path, changed: str) -> None:
    before = digest_anew("stillwired.engine.top")
    with (package / changed).open("a") as file:
        file.write("# another line\n")
    assert digest_anew("stillwired.engine.top") == before


def test_a_new_import_is_seen_at_once(package: Path) -> None:
    before = digest_anew("stillwired.data.leaf")
    with (package / "data" / "leaf.py").open("a") as file:
        file.write("import stillwired.data.aside\n")
    with_import = digest_anew("stillwired.data.leaf")
    assert with_import != before
    (package / "data" / "aside.py").write_text("ASIDE = 2\n")
    assert digest_anew("stillwired.data.leaf") != with_import


def test_names_add_up_in_any_order(package: Path) -> None:
    one, other = "stillwired.data.leaf", "stillwired.data.aside"
    both = digest_anew(one, other)
    assert both == digest_anew(other, one)
    assert both != digest_anew(one)
    # What a module imports anyway adds nothing.
    top = digest_anew("stillwired.engine.top")
    assert digest_anew("stillwired.engine.top", "stillwired.data.leaf") == top


def test_importing_a_package_counts_its_init(package: Path) -> None:
    (package / "engine" / "top.py").write_text("from stillwired.data import THING\n")
    before = digest_anew("stillwired.engine.top")
    (package / "data" / "__init__.py").write_text("THING = 1\n")
    assert digest_anew("stillwired.engine.top") != before


def test_modules_that_import_each_other_end(package: Path) -> None:
    (package / "data" / "leaf.py").write_text("from stillwired.engine import top\n")
    assert len(digest_anew("stillwired.engine.top")) == 64


@pytest.mark.parametrize("name", ["stillwired.nowhere", "numpy", "stillwired.data.leaf.LEAF", ""])
def test_an_unknown_module_is_an_error(package: Path, name: str) -> None:
    with pytest.raises(CacheError, match="no module"):
        digest_anew(name)


def test_broken_source_is_an_error(package: Path) -> None:
    (package / "data" / "leaf.py").write_text("def (:\n")
    with pytest.raises(CacheError, match="not valid Python"):
        digest_anew("stillwired.engine.top")


def test_the_real_package_is_digested_without_importing_it() -> None:
    sys.modules.pop("stillwired.checkpoints.gguf", None)
    digest = digest_anew("stillwired.checkpoints.gguf")
    assert digest != digest_anew("stillwired.checkpoints.gguf_header")
    assert "stillwired.checkpoints.gguf" not in sys.modules


@pytest.mark.parametrize(
    ("changed", "counts"),
    [
        ("engine/top.py", True),
        ("data/aside.py", True),
        ("data/table.toml", True),
        ("store/cache.py", False),
        ("errors.py", False),
        ("report/page.py", False),
        ("commands/judge.py", False),
        ("cli.py", False),
        ("data/notes.txt", False),
    ],
)
def test_all_that_measures_and_judges_makes_a_record(
    package: Path, changed: str, counts: bool
) -> None:
    before = code.package_digest()
    (package / changed).parent.mkdir(exist_ok=True)
    (package / changed).write_text("another = 1\n")
    assert (code.package_digest() != before) is counts


def test_line_ends_do_not_count(package: Path) -> None:
    before = code.package_digest(), digest_anew("stillwired.engine.top")
    for file in package.rglob("*.py"):
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert (code.package_digest(), digest_anew("stillwired.engine.top")) == before


def test_tables_and_modules_of_one_name_are_two_files(package: Path) -> None:
    (package / "data" / "aside.toml").write_text("ASIDE = 1\n")
    before = code.package_digest()
    (package / "data" / "aside.toml").write_text("ASIDE = 2\n")
    assert code.package_digest() != before
