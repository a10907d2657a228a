"""What made a record: which code counts, and when two were made alike."""

from __future__ import annotations

import pytest

from stillwired.records.making import code_of, differences, short

THEN = {
    "python": "3.11.7",
    "platform": "Linux-6.1",
    "processor": "x86_64",
    "cpu": "One",
    "threads": 2,
    "packages": {"stillwired": "0.1.0", "torch": "2.3"},
    "code": {"stillwired": "12" * 32, "claims/a": "34" * 32},
}


@pytest.fixture
def project(tmp_path):
    """Claims of two papers in a package, their fixtures, and what has nothing to do with them."""
    root = tmp_path / "project"
    for name in (
        "claims/__init__.py",
        "claims/shared.py",
        "claims/a/__init__.py",
        "claims/a/test_one.py",
        "claims/a/test_two.py",
        "claims/a/notes.md",
        "claims/b/__init__.py",
        "claims/b/test_three.py",
        "fixtures/made.py",
        "fixtures/unused.py",
        "conftest.py",
        "setup.py",
        "tests/test_other.py",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("A = 1\n")
    return root


def code(root, *papers):
    folders = [root / "claims" / paper for paper in papers]
    return code_of(folders, [root / "conftest.py", root / "fixtures" / "made.py"], root)


def test_code_is_digested_folder_by_folder(project):
    found = code(project, "a", "b")
    assert list(found) == ["stillwired", ".", "claims", "claims/a", "claims/b", "fixtures"]
    assert code(project, "b", "a") == found
    # A run of one paper has the same to say of what it has.
    alone = code(project, "a")
    assert alone == {name: digest for name, digest in found.items() if name != "claims/b"}


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        ("claims/a/test_two.py", "claims/a"),
        ("claims/a/__init__.py", "claims/a"),
        ("claims/shared.py", "claims"),
        ("claims/b/test_three.py", "claims/b"),
        ("fixtures/made.py", "fixtures"),
        ("conftest.py", "."),
        ("claims/a/notes.md", None),
        ("fixtures/unused.py", None),
        ("setup.py", None),
        ("tests/test_other.py", None),
    ],
)
def test_what_claims_rest_on_counts_and_nothing_else(changed, where, project):
    before = code(project, "a", "b")
    (project / changed).write_text("A = 2\n")
    after = code(project, "a", "b")
    assert {name for name in before if before[name] != after[name]} == ({where} - {None})


def test_another_name_is_another_module(project):
    before = code(project, "a")
    (project / "claims/a/test_two.py").rename(project / "claims/a/test_zero.py")
    assert code(project, "a")["claims/a"] != before["claims/a"]


def test_neither_place_nor_line_ends_count(project, tmp_path):
    before = code(project, "a", "b")
    moved = project.rename(tmp_path / "elsewhere")
    for file in moved.rglob("*.py"):
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert code(moved, "a", "b") == before


def test_claims_outside_the_root_are_named_from_it(project):
    found = code_of([project / "claims" / "a"], [], project / "fixtures")
    assert list(found) == ["stillwired", "../claims", "../claims/a"]


# Two records


def test_what_was_made_alike_does_not_differ():
    assert differences(THEN, THEN) == ()
    # Nor do another kernel of the system, or claims that only one of the two has judged.
    for other in ({"platform": "Linux-6.2"}, {"code": THEN["code"] | {"claims/b": "56" * 32}}):
        assert differences(THEN, THEN | other) == ()
        assert differences(THEN | other, THEN) == ()


@pytest.mark.parametrize(
    ("now", "says"),
    [
        ({"threads": 4}, "threads (2 then, 4 now)"),
        ({"python": "3.12.0"}, "python (3.11.7 then, 3.12.0 now)"),
        ({"cpu": "Other"}, "cpu (One then, Other now)"),
        ({"processor": "aarch64"}, "processor (x86_64 then, aarch64 now)"),
        ({"packages": {"stillwired": "0.1.0", "torch": "2.4"}}, "torch (2.3 then, 2.4 now)"),
        ({"packages": {"stillwired": "0.1.0"}}, "torch (2.3 then, unknown now)"),
        (
            {"code": THEN["code"] | {"stillwired": "ab" * 32}},
            "code of stillwired (12121212… then, abababab… now)",
        ),
        (
            {"code": THEN["code"] | {"claims/a": "ab" * 32}},
            "code of claims/a (34343434… then, abababab… now)",
        ),
        ({"code": {}}, "code (12121212… then, unknown now)"),
    ],
)
def test_what_differs_is_named_with_both_values(now, says):
    (found,) = differences(THEN, THEN | now)
    assert str(found) == says
    (back,) = differences(THEN | now, THEN)
    assert (back.what, back.then, back.now) == (found.what, found.now, found.then)


def test_what_is_unknown_of_both_is_not_the_same():
    old = {key: value for key, value in THEN.items() if key != "code"}
    assert [str(one) for one in differences(old, old)] == ["code (unknown then, unknown now)"]
    whole = "code, libraries and machine (unknown then, known now)"
    assert [str(one) for one in differences(None, THEN)] == [whole]
    assert len(differences(None, None)) == 1


def test_the_root_folder_has_a_name():
    then, now = ({**THEN, "code": {"stillwired": "1", ".": digest}} for digest in ("2", "3"))
    assert [one.what for one in differences(then, now)] == ["code of the root folder"]
    assert (short("ab" * 32), short(None), short("")) == ("abababab…", "unknown", "unknown")
