from __future__ import annotations

import hashlib
import importlib.util
import stat
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillwired.errors import FetchError
from stillwired.store.cache import Store
from stillwired.store.wheels import WheelPin, extract, fetch_wheel

TEXT = b"some text of the package\n" * 50
MEMBER = "texts/data/some.txt"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def make_wheel(folder: Path, text: bytes = TEXT) -> Path:
    """A wheel without code, good enough for pip."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "texts_for_tests-1.0-py3-none-any.whl"
    info = "texts_for_tests-1.0.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MEMBER, text)
        archive.writestr(
            f"{info}/METADATA",
            "Metadata-Version: 2.1\nName: texts-for-tests\nVersion: 1.0\n"
            "Requires-Dist: a-package-that-exists-nowhere\n",
        )
        archive.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


def pin_of(wheel: Path) -> WheelPin:
    return WheelPin("texts-for-tests", "1.0", sha256(wheel.read_bytes()), wheel.name)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all the package index there is."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


def test_a_wheel_is_fetched_once(store: Store, index: Path) -> None:
    wheel = make_wheel(index)
    pin, said = pin_of(wheel), []
    fetched = fetch_wheel(store, pin, said.append)
    assert fetched.read_bytes() == wheel.read_bytes()
    assert said == [f"Fetching {wheel.name}"]
    wheel.unlink()
    assert fetch_wheel(store, pin, said.append) == fetched
    assert len(said) == 1


def test_a_wheel_that_is_not_the_pinned_one_is_not_kept(store: Store, index: Path) -> None:
    pin = pin_of(make_wheel(index))
    altered = make_wheel(index, b"other text")
    with pytest.raises(FetchError) as caught:
        fetch_wheel(store, pin)
    assert pin.sha256 in str(caught.value)
    assert sha256(altered.read_bytes()) in str(caught.value)
    assert list(store.entries()) == []
    assert [p.name for p in (store.root / "tmp").iterdir()] == ["sweep.lock"]


def test_a_wheel_cut_short_on_the_index_is_an_error(store: Store, index: Path) -> None:
    wheel = make_wheel(index)
    pin = pin_of(wheel)
    wheel.write_bytes(wheel.read_bytes()[:-200])
    with pytest.raises(FetchError, match="could not fetch texts-for-tests"):
        fetch_wheel(store, pin)
    assert list(store.entries()) == []


def test_a_package_out_of_reach_is_told_with_what_to_do(store: Store, index: Path) -> None:
    pin = WheelPin("texts-for-tests", "1.0", "0" * 64, "texts_for_tests-1.0-py3-none-any.whl")
    with pytest.raises(FetchError) as caught:
        fetch_wheel(store, pin)
    told = str(caught.value)
    assert "texts-for-tests 1.0" in told
    assert "stillwired fetch" in told
    assert "package mirror" in told
    assert str(store.root) in told


def test_no_network_is_told_as_such(
    store: Store, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    monkeypatch.setenv("PIP_TIMEOUT", "1")
    pin = WheelPin("texts-for-tests", "1.0", "0" * 64, "texts_for_tests-1.0-py3-none-any.whl")
    with pytest.raises(FetchError, match="Connection refused"):
        fetch_wheel(store, pin)


def test_a_python_without_pip_says_how_to_get_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "pip" else find(name, *a)
    )
    with pytest.raises(FetchError, match="ensurepip"):
        fetch_wheel(store, WheelPin("a", "1", "0" * 64, "a-1-py3-none-any.whl"))


def test_a_pin_names_a_plain_file(store: Store) -> None:
    with pytest.raises(FetchError, match="plain file name"):
        fetch_wheel(store, WheelPin("a", "1", "0" * 64, "../a.whl"))


def test_pinned_members_are_extracted_and_nothing_else(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path)
    to = tmp_path / "to"
    to.mkdir()
    extracted = extract(wheel, {MEMBER: sha256(TEXT)}, to)
    assert extracted == {MEMBER: to / MEMBER}
    assert (to / MEMBER).read_bytes() == TEXT
    assert [p for p in to.rglob("*") if p.is_file()] == [to / MEMBER]


def test_an_altered_member_is_refused_and_removed(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, TEXT + b"!")
    to = tmp_path / "to"
    to.mkdir()
    with pytest.raises(FetchError) as caught:
        extract(wheel, {MEMBER: sha256(TEXT)}, to)
    assert sha256(TEXT) in str(caught.value)
    assert sha256(TEXT + b"!") in str(caught.value)
    assert not [p for p in to.rglob("*") if p.is_file()]


def test_a_missing_member_is_named(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=r"no member .*absent\.txt"):
        extract(make_wheel(tmp_path), {"absent.txt": "0" * 64}, tmp_path)


@pytest.mark.parametrize(
    "name", ["../out.txt", "/out.txt", "a/../../out.txt", "..\\out.txt", "C:out.txt", ""]
)
def test_no_member_leads_outside(tmp_path: Path, name: str) -> None:
    wheel = tmp_path / "w.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(name or "x", TEXT)
    to = tmp_path / "deep" / "to"
    to.mkdir(parents=True)
    with pytest.raises(FetchError, match="outside the folder"):
        extract(wheel, {name: sha256(TEXT)}, to)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [wheel]


def test_a_link_is_no_member(tmp_path: Path) -> None:
    wheel = tmp_path / "w.whl"
    info = zipfile.ZipInfo("link")
    info.create_system = 3
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(FetchError, match="plain file"):
        extract(wheel, {"link": sha256(b"/etc/passwd")}, tmp_path)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_wheel_harmed_anywhere_never_yields_wrong_bytes(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("wheel")
    wheel = make_wheel(folder)
    content = bytearray(wheel.read_bytes())
    if data.draw(st.booleans(), label="cut short"):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    wheel.write_bytes(content)
    to = folder / "to"
    to.mkdir()
    try:
        extract(wheel, {MEMBER: sha256(TEXT)}, to)
    except FetchError:
        assert not [p for p in to.rglob("*") if p.is_file()]
    else:
        assert (to / MEMBER).read_bytes() == TEXT
