from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillwired.errors import CacheError
from stillwired.store.entry import (
    MANIFEST,
    DamagedEntryError,
    Entry,
    canonical,
    check,
    check_content,
    describe,
    key_of,
    read_manifest,
    write_manifest,
)

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
inputs = st.dictionaries(st.text(), json_values, max_size=4)


@given(inputs)
def test_the_key_ignores_the_order_of_inputs(values: dict[str, object]) -> None:
    turned = dict(reversed(values.items()))
    assert key_of("kind", values, "") == key_of("kind", turned, "")


@given(inputs)
def test_canonical_json_is_read_back_to_the_same_value(values: dict[str, object]) -> None:
    assert json.loads(canonical(values)) == values


@given(inputs, inputs)
def test_different_inputs_have_different_keys(
    one: dict[str, object], two: dict[str, object]
) -> None:
    same = canonical(one) == canonical(two)
    assert (key_of("kind", one, "") == key_of("kind", two, "")) == same


def test_kind_and_code_are_part_of_the_key() -> None:
    keys = {key_of(kind, {"a": 1}, code) for kind in ("one", "two") for code in ("", "x")}
    assert len(keys) == 4


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, b"bytes", Path("x")])
def test_inputs_that_are_not_json_are_refused(value: object) -> None:
    with pytest.raises(CacheError, match="plain JSON"):
        key_of("kind", {"value": value}, "")


@pytest.mark.parametrize("kind", ["", "../up", "a/b", "Upper", "-a", "a b"])
def test_a_kind_is_a_plain_name(kind: str) -> None:
    with pytest.raises(CacheError, match="name a kind"):
        key_of(kind, {}, "")


@pytest.fixture
def stored(tmp_path: Path) -> Entry:
    key = key_of("kind", {"n": 1}, "c")
    folder = tmp_path / "kind" / key[:16]
    (folder / "inner").mkdir(parents=True)
    (folder / "a.bin").write_bytes(b"first")
    (folder / "inner" / "b.bin").write_bytes(b"second")
    made = Entry("kind", key, folder, {"n": 1}, "c", describe(folder), "now")
    write_manifest(made, folder / MANIFEST)
    return made


def test_a_manifest_comes_back_as_written(stored: Entry) -> None:
    assert read_manifest(stored.path) == stored
    assert check(stored, "full")
    assert check(stored, "quick")
    assert stored.size == len(b"firstsecond")


def test_a_missing_entry_is_not_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_manifest(tmp_path / "kind" / "0123456789abcdef")


def test_altered_content_of_the_same_size_is_seen(stored: Entry) -> None:
    path = stored.path / "a.bin"
    stat = path.stat()
    path.write_bytes(b"FIRST")
    with pytest.raises(DamagedEntryError, match=r"content of a\.bin"):
        check(stored, "quick")
    # With the old time back, only a full check can see it: that is the bargain of a quick one.
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert check(stored, "quick")
    with pytest.raises(DamagedEntryError, match=r"content of a\.bin"):
        check(stored, "full")


def test_a_new_time_alone_is_no_damage(stored: Entry) -> None:
    os.utime(stored.path / "a.bin", (1, 1))
    assert not check(stored, "quick")
    assert not check(stored, "full")


def test_cut_missing_and_added_files_are_seen(stored: Entry) -> None:
    (stored.path / "a.bin").write_bytes(b"fir")
    with pytest.raises(DamagedEntryError, match="3 bytes instead of 5"):
        check(stored, "quick")
    (stored.path / "a.bin").unlink()
    with pytest.raises(DamagedEntryError, match=r"a\.bin is missing"):
        check(stored, "quick")
    (stored.path / "a.bin").write_bytes(b"first")
    (stored.path / "extra").write_bytes(b"")
    with pytest.raises(DamagedEntryError, match="extra is not part of it"):
        check(stored, "quick")


def test_a_link_is_never_part_of_an_entry(stored: Entry) -> None:
    (stored.path / "a.bin").unlink()
    (stored.path / "a.bin").symlink_to("/etc/hostname")
    with pytest.raises(DamagedEntryError, match="not a plain file"):
        check(stored, "quick")


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"[]", b"{}", b"\xff\xfe", b'{"files": 3}', b"null", b'{"kind": "kind"'),
        *(b"[" * 100_000, b'{"files": [{"name": "a", "size": 1e999, "sha256": ""}]}'),
    ],
)
def test_an_unreadable_manifest_is_damage(stored: Entry, content: bytes) -> None:
    (stored.path / MANIFEST).write_bytes(content)
    with pytest.raises(DamagedEntryError, match="cannot be read"):
        read_manifest(stored.path)


def test_a_manifest_of_another_entry_is_damage(stored: Entry) -> None:
    manifest = stored.path / MANIFEST
    content = json.loads(manifest.read_text())
    content["inputs"] = {"n": 2}
    manifest.write_text(json.dumps(content))
    with pytest.raises(DamagedEntryError, match="does not belong"):
        read_manifest(stored.path)
    manifest.unlink()
    with pytest.raises(DamagedEntryError, match="missing"):
        read_manifest(stored.path)


def test_the_content_of_one_file_can_be_compared_alone(stored: Entry) -> None:
    other = stored.path / "inner" / "b.bin"
    other.write_bytes(b"SECOND")
    check_content(stored, "a.bin")
    with pytest.raises(DamagedEntryError, match=r"content of inner/b\.bin"):
        check_content(stored, "inner/b.bin")
    (stored.path / "c.bin").write_bytes(b"first")
    with pytest.raises(DamagedEntryError, match=r"content of c\.bin"):
        check_content(stored, "c.bin")
