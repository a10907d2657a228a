from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stillwired.errors import CacheError
from stillwired.store.cache import CacheWarning, Store

AS_NOBODY = 65534


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


class Builder:
    """Writes two files and counts how often it is asked to."""

    def __init__(self, content: bytes = b"content" * 100) -> None:
        self.calls = 0
        self.content = content

    def __call__(self, folder: Path) -> None:
        self.calls += 1
        (folder / "a.bin").write_bytes(self.content)
        (folder / "inner").mkdir()
        (folder / "inner" / "b.txt").write_text("b")


def leftovers(store: Store) -> list[Path]:
    scratch = store.root / "tmp"
    return [p for p in scratch.iterdir() if p.name != "sweep.lock"] if scratch.exists() else []


def child(source: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(source), *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )


def test_an_entry_is_built_once(store: Store) -> None:
    builder = Builder()
    first = store.folder("kind", {"n": 1}, builder)
    assert (first / "a.bin").read_bytes() == builder.content
    assert store.folder("kind", {"n": 1}, builder) == first
    assert builder.calls == 1
    assert leftovers(store) == []
    [entry] = store.entries()
    assert (entry.kind, entry.inputs, entry.path) == ("kind", {"n": 1}, first)
    assert entry.size == len(builder.content) + 1
    assert store.size() > entry.size


def test_inputs_code_and_kind_each_make_an_entry_of_their_own(store: Store) -> None:
    builder = Builder()
    store.folder("kind", {"n": 1}, builder)
    store.folder("kind", {"n": 2}, builder)
    store.folder("other", {"n": 1}, builder)
    store.folder("kind", {"n": 1}, builder, code="new code")
    assert builder.calls == 4
    assert len(list(store.entries())) == 4


@pytest.mark.parametrize("check", ["full", "quick"])
def test_a_damaged_entry_is_named_and_built_again(store: Store, check: str) -> None:
    builder = Builder()
    folder = store.folder("kind", {}, builder, check=check)  # type: ignore[arg-type]
    (folder / "a.bin").write_bytes(b"something else")
    with pytest.warns(CacheWarning, match=folder.name):
        again = store.folder("kind", {}, builder, check=check)  # type: ignore[arg-type]
    assert again == folder
    assert builder.calls == 2
    assert (folder / "a.bin").read_bytes() == builder.content
    assert leftovers(store) == []


def test_damage_at_any_byte_of_any_file_is_found(store: Store) -> None:
    builder = Builder()
    folder = store.folder("kind", {"inputs": [1, 2.5, "three"]}, builder)
    draw = random.Random(0)
    files = ["a.bin", "inner/b.txt", "entry.json"]
    for trial in range(60):
        path = folder / files[trial % 3]
        content = bytearray(path.read_bytes())
        at = draw.randrange(len(content))
        content[at] ^= 1 << draw.randrange(8)
        path.write_bytes(content)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            store.folder("kind", {"inputs": [1, 2.5, "three"]}, builder)
        rebuilt = any(issubclass(warning.category, CacheWarning) for warning in caught)
        # What the entry holds is right in any case; a manifest's date or spacing may be otherwise.
        assert (folder / "a.bin").read_bytes() == builder.content
        assert (folder / "inner" / "b.txt").read_text() == "b"
        assert rebuilt or path.name == "entry.json"


def altered(path: Path, content: bytes) -> None:
    """Change a file and leave its time alone, as a failing disk does."""
    stat = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_a_file_is_compared_with_its_digest_when_a_process_first_asks_for_it(store: Store) -> None:
    builder = Builder()
    path = store.file("kind", {}, "a.bin", builder)
    assert path.read_bytes() == builder.content
    altered(path, b"Content" * 100)
    # This process has read it, and whoever has not sees what a quick check cannot.
    assert store.file("kind", {}, "a.bin", builder).read_bytes() != builder.content
    assert store.folder("kind", {}, builder, check="quick") == path.parent
    other = Store(store.root)
    assert other.file("kind", {}, "inner/b.txt", builder).read_text() == "b"
    assert builder.calls == 1
    with pytest.warns(CacheWarning, match=r"the content of a\.bin has changed"):
        assert other.file("kind", {}, "a.bin", builder) == path
    assert path.read_bytes() == builder.content
    assert builder.calls == 2
    assert leftovers(store) == []


def test_a_file_that_is_no_part_of_its_entry_is_an_error(store: Store) -> None:
    with pytest.raises(CacheError, match=r"wrote no file c\.bin"):
        store.file("kind", {}, "c.bin", Builder())


def test_a_copied_cache_is_read_in_full_once_and_trusted_then(tmp_path: Path) -> None:
    builder = Builder()
    store = Store(tmp_path / "one")
    folder = store.folder("kind", {}, builder, check="quick")
    copy = Store(tmp_path / "two")
    shutil.copytree(store.root, copy.root, copy_function=shutil.copyfile)
    copied = copy.folder("kind", {}, builder, check="quick")
    assert builder.calls == 1
    [entry] = copy.entries()
    times = {file.name: file.mtime_ns for file in entry.files}
    assert times["a.bin"] == (copied / "a.bin").stat().st_mtime_ns
    assert times["a.bin"] != (folder / "a.bin").stat().st_mtime_ns


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(3)])
def test_a_builder_that_raises_leaves_nothing(store: Store, error: BaseException) -> None:
    def build(folder: Path) -> None:
        (folder / "half").write_bytes(b"half")
        raise error

    with pytest.raises(type(error)):
        store.folder("kind", {}, build)
    assert list(store.entries()) == []
    assert leftovers(store) == []
    builder = Builder()
    store.folder("kind", {}, builder)
    assert builder.calls == 1


def test_a_builder_that_writes_nothing_is_an_error(store: Store) -> None:
    with pytest.raises(CacheError, match="wrote no file"):
        store.folder("kind", {}, lambda folder: None)
    assert list(store.entries()) == []


def test_verify_tells_whole_entries_from_damaged_ones(store: Store) -> None:
    good = store.folder("kind", {"n": 1}, Builder())
    bad = store.folder("kind", {"n": 2}, Builder())
    gone = store.folder("kind", {"n": 3}, Builder())
    altered(bad / "a.bin", b"Content" * 100)
    (gone / "entry.json").unlink()

    found = {entry.path: (ok, why) for entry, ok, why in store.verify()}
    assert found[good] == (True, "")
    assert found[bad] == (False, "the content of a.bin has changed")
    assert found[gone] == (False, "its entry.json is missing")
    quick = {entry.path: ok for entry, ok, _ in store.verify(full=False)}
    assert quick == {good: True, bad: True, gone: False}


def test_entries_are_readable_like_the_rest_of_the_cache(store: Store) -> None:
    def build(folder: Path) -> None:
        (folder / "private").write_bytes(b"x")
        (folder / "private").chmod(0o600)

    folder = store.folder("kind", {}, build)
    mask = os.umask(0)
    os.umask(mask)
    assert (folder / "private").stat().st_mode & 0o777 == 0o666 & ~mask


# Other processes.


def test_an_interrupt_in_a_build_leaves_nothing(store: Store) -> None:
    process = child(
        """
        import sys, time
        from pathlib import Path
        from stillwired.store.cache import Store
        def build(folder):
            (folder / "half").write_bytes(b"half")
            print("building", flush=True)
            time.sleep(60)
        Store(Path(sys.argv[1])).folder("kind", {}, build)
        """,
        store.root,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "building\n"
    assert len(leftovers(store)) == 2
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode != 0
    assert "KeyboardInterrupt" in errors
    assert leftovers(store) == []
    assert list(store.entries()) == []


def test_what_a_killed_process_left_is_swept_and_a_living_one_kept(store: Store) -> None:
    source = """
        import sys, time
        from pathlib import Path
        from stillwired.store.cache import Store
        with Store(Path(sys.argv[1])).scratch() as scratch:
            (scratch / "half").write_bytes(b"half")
            print(scratch, flush=True)
            time.sleep(60)
        """
    killed, living = child(source, store.root), child(source, store.root)
    try:
        assert killed.stdout is not None
        assert living.stdout is not None
        dead, alive = Path(killed.stdout.readline().strip()), Path(living.stdout.readline().strip())
        killed.kill()
        killed.wait(timeout=30)
        assert dead.exists()
        with store.scratch() as scratch:
            assert scratch.is_dir()
            assert not dead.exists()
            assert (alive / "half").read_bytes() == b"half"
    finally:
        living.kill()
        living.communicate(timeout=30)
        killed.communicate(timeout=30)


def test_what_kills_at_other_moments_leave_is_swept_in_time(store: Store) -> None:
    scratch = store.root / "tmp"
    scratch.mkdir(parents=True)
    # Killed after its folder was gone; and work that somebody may go on with, old and new.
    (scratch / "1-abc.alive").touch()
    for name in ("old.safetensors", "new.safetensors"):
        (scratch / name).touch()
    os.utime(scratch / "old.safetensors", (1, 1))
    with store.scratch() as lent:
        names = {path.name for path in scratch.iterdir()}
        assert names == {"sweep.lock", "new.safetensors", lent.name, f"{lent.name}.alive"}


def test_two_processes_build_one_entry_once(store: Store, tmp_path: Path) -> None:
    source = """
        import sys, time
        from pathlib import Path
        from stillwired.store.cache import Store
        def build(folder):
            with open(sys.argv[2], "a") as log:
                log.write("built\\n")
            time.sleep(2)
            (folder / "a").write_bytes(b"a" * 1000)
        store = Store(Path(sys.argv[1]), say=lambda line: print(line, flush=True))
        folder = store.folder("kind", {"n": 1}, build)
        assert (folder / "a").read_bytes() == b"a" * 1000
        """
    log = tmp_path / "log"
    processes = [child(source, store.root, log) for _ in range(3)]
    output = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], output
    assert log.read_text() == "built\n"
    assert sum("Waiting for another process" in out for out, _ in output) >= 1
    assert leftovers(store) == []


def test_threads_build_different_entries_at_once(store: Store) -> None:
    met = threading.Barrier(2, timeout=20)

    def build(folder: Path) -> None:
        met.wait()  # both are inside a build, or this times out
        (folder / "a").write_text("a")

    threads = [
        threading.Thread(target=store.folder, args=("kind", {"n": n}, build)) for n in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(list(store.entries())) == 2


# Disks and rights.


def as_nobody(call: Callable[[], None]) -> str:
    """Run a call in a child without root's rights; return the text of its CacheError."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        text = "no error"
        try:
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(AS_NOBODY)
                os.setuid(AS_NOBODY)
            call()
        except CacheError as error:
            text = str(error)
        except BaseException as error:
            text = f"unexpected {error!r}"
        finally:
            os.write(write, text.encode())
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    return text


@pytest.fixture
def read_only(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A cache with one entry that only its owner may write, in a place that all may enter."""
    place = Path("/tmp") / f"stillwired-test-{os.getpid()}-{time.monotonic_ns()}"
    store = Store(place)
    store.folder("kind", {"n": 1}, Builder(), check="quick")
    for base, _, names in os.walk(place):
        os.chmod(base, 0o555)
        for name in names:
            os.chmod(Path(base, name), 0o444)
    yield store  # type: ignore[misc]
    for base, _, _ in os.walk(place):
        os.chmod(base, 0o755)
    shutil.rmtree(place)


def test_a_read_only_cache_serves_what_it_has(read_only: Store) -> None:
    builder = Builder()

    def look_up() -> None:
        for check in ("quick", "full"):
            read_only.folder("kind", {"n": 1}, builder, check=check)  # type: ignore[arg-type]
        assert builder.calls == 0

    assert as_nobody(look_up) == "no error"


def test_a_read_only_cache_says_what_it_lacks(read_only: Store) -> None:
    told = as_nobody(lambda: read_only.folder("kind", {"n": 2}, Builder()) and None)
    assert str(read_only.root) in told
    assert "cannot be written" in told
    assert "--claims-cache" in told


def test_damage_in_a_read_only_cache_is_an_error(read_only: Store) -> None:
    path = next(read_only.entries()).path / "a.bin"
    path.chmod(0o644)
    path.write_bytes(b"altered")
    path.chmod(0o444)
    told = as_nobody(lambda: read_only.folder("kind", {"n": 1}, Builder()) and None)
    assert "cannot be written" in told


def test_a_root_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError, match="is a file"):
        Store(tmp_path / "file").folder("kind", {}, Builder())
    with pytest.raises(CacheError, match="is a file"):
        Store(tmp_path / "file" / "below").folder("kind", {}, Builder())


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this user may not mount a small disk")
    yield place  # type: ignore[misc]
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_is_told_and_cleaned_up(small_disk: Path) -> None:
    store = Store(small_disk / "cache")
    with pytest.raises(CacheError, match="ran full") as caught:
        store.folder("kind", {}, Builder(b"x" * 3_000_000), need=1_500_000)
    assert str(small_disk) in str(caught.value)
    assert "about 2 MB are needed" in str(caught.value)
    assert "--claims-cache" in str(caught.value)
    assert leftovers(store) == []
    assert list(store.entries()) == []
    builder = Builder(b"x" * 1000)
    store.folder("kind", {}, builder)
    assert builder.calls == 1


def test_native_writers_that_meet_a_full_disk_are_understood(small_disk: Path) -> None:
    store = Store(small_disk / "cache")
    with pytest.raises(CacheError, match="ran full"):
        store.arrays("kind", {}, lambda: {"big": np.ones(1_000_000)})
    assert leftovers(store) == []


def test_too_little_space_is_seen_beforehand(small_disk: Path) -> None:
    builder = Builder()
    with pytest.raises(CacheError, match="needs about 50 MB"):
        Store(small_disk / "cache").folder("kind", {}, builder, need=50_000_000)
    assert builder.calls == 0


# Arrays.

numbers = hnp.arrays(
    dtype=st.sampled_from(["f4", "f8", "f2", "i8", "i4", "u1", "?"]),
    shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
words = hnp.arrays(
    dtype="U5",
    shape=hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3),
    # numpy drops trailing NULs itself, and lone surrogates are no text.
    elements=st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=5),
)


@given(st.dictionaries(st.text(min_size=1, max_size=8), numbers | words, max_size=4))
@settings(max_examples=60, deadline=None)
def test_arrays_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, arrays: dict[str, np.ndarray]
) -> None:
    store = Store(tmp_path_factory.mktemp("cache"))
    loaded = store.arrays("kind", {}, lambda: arrays)
    assert list(loaded) == list(arrays)
    for name, array in arrays.items():
        assert loaded[name].shape == array.shape
        assert loaded[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded[name], array)


def test_arrays_need_not_lie_in_order(store: Store) -> None:
    grid = np.arange(12, dtype=np.float32).reshape(3, 4)
    loaded = store.arrays("kind", {}, lambda: {"turned": grid.T, "every second": grid[:, ::2]})
    np.testing.assert_array_equal(loaded["turned"], grid.T)
    np.testing.assert_array_equal(loaded["every second"], grid[:, ::2])


def test_arrays_are_computed_once_and_again_when_damaged(store: Store) -> None:
    calls = []

    def build() -> dict[str, np.ndarray]:
        calls.append(1)
        return {"a": np.arange(5), "ids": np.array(["x", "yy"])}

    store.arrays("kind", {}, build)
    store.arrays("kind", {}, build)
    assert len(calls) == 1
    path = next(store.entries()).path / "arrays.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.warns(CacheWarning):
        loaded = store.arrays("kind", {}, build)
    assert len(calls) == 2
    np.testing.assert_array_equal(loaded["a"], np.arange(5))


def test_objects_are_not_arrays(store: Store) -> None:
    with pytest.raises(CacheError, match="dtype object"):
        store.arrays("kind", {}, lambda: {"a": np.array([{}, None])})
    assert list(store.entries()) == []


def test_the_root_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STILLWIRED_CACHE", "/somewhere/else")
    assert Store.default_root() == Path("/somewhere/else")
    monkeypatch.setenv("STILLWIRED_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert Store.default_root() == Path("/xdg/stillwired")
