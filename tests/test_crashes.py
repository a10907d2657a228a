"""Killed runs, runs side by side, and damaged caches: nothing is taken for what it is not.

A kill (SIGKILL) gives a process no chance to clean up, as losing power or memory does. Here there
are a few, each while something else is being done; `benchmarks/kill_runs.py` draws many at random.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest

from stillwired.records.record import read_record
from stillwired.store.cache import CacheWarning, Store
from stillwired.store.entry import MANIFEST, Entry
from tests.running import PASSED, Ran, ended, save_tiny, start, write_text

# The text is read, maps are solved, and a training writes its state every other step.
CLAIMS = ("-p", "tests.small_run", "-k", "(bigram_floor and all) or learned_prompt_wins")


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    """What every run here is asked for."""
    folder = tmp_path_factory.mktemp("given")
    model, text = save_tiny(folder / "tiny"), write_text(folder / "text.jsonl", 200)
    return (*CLAIMS, "--claims-model", model, "--claims-corpus", text)


@dataclass(frozen=True)
class Calm:
    """What a run has left that nothing disturbed."""

    folder: Path
    digest: str


@pytest.fixture(scope="module")
def calm(wanted: tuple[object, ...], tmp_path_factory: pytest.TempPathFactory) -> Calm:
    """Four workers and one empty cache; every other run here is a single process."""
    folder = tmp_path_factory.mktemp("calm")
    ran = ended(start(folder, *wanted, "-n", "4"))
    assert entries_in(folder)
    return Calm(folder, digest_of_finished(ran, folder))


def entries_in(folder: Path) -> dict[Path, tuple[int, str]]:
    """Every entry of the cache, checked byte by byte, with what changes when it is rebuilt."""
    store = Store(folder / "cache")
    assert [why for _, whole, why in store.verify() if not whole] == []
    return {entry.path: (entry.path.stat().st_ino, entry.created) for entry in store.entries()}


def digest_of_finished(ran: Ran, folder: Path) -> str:
    """Check that a run came to its end and left its record, and nothing else."""
    assert ran.code == PASSED, ran.output
    out, scratch = folder / "out", folder / "cache" / "tmp"
    kept = {path.name for path in out.iterdir() if path.suffix != ".svg"}
    assert kept == {"record.json", "outcomes.parquet"}
    assert {path.name for path in scratch.iterdir()} == {"sweep.lock"}
    return str(read_record(out / "record.json").data["digest"])


# --- kills --------------------------------------------------------------------------------


# What shows how far a run is, and how many seconds later it is killed at most.
READING = "cache/tmp/*/entry/fit.block*.npy", 0.2
TRAINING = "cache/tmp/learned-prompt-*.safetensors", 0.2
JUDGING = "out/record.run/cells/00001.json", 0.0


def written(folder: Path, sign: str, since: float) -> bool:
    """Whether such a file has been written since some time."""
    for path in folder.glob(sign):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime > since:
                return True
    return False


def killed(wanted: tuple[object, ...], folder: Path, sign: str, linger: float) -> str:
    """Start a run, kill it soon after it has written such a file, and return what it said."""
    began = time.time()
    # Unbuffered, or what it says would die with it.
    process = start(folder, *wanted, "-v", PYTHONUNBUFFERED="1")
    while not written(folder, sign, began):
        assert process.poll() is None, process.communicate()[0]
        assert time.time() < began + 120
        time.sleep(0.002)
    time.sleep(random.uniform(0, linger))
    process.kill()
    output, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL, output
    return output


def test_killed_runs_lose_only_what_they_were_doing(wanted, calm, tmp_path):
    before: dict[Path, tuple[int, str]] = {}
    said = []
    for sign, linger in (READING, TRAINING, JUDGING):
        said.append(killed(wanted, tmp_path, sign, linger))
        after = entries_in(tmp_path)
        # What was whole stays, the very same files; and nothing claims to be a record.
        assert before.items() <= after.items()
        assert not (tmp_path / "out" / "record.json").exists()
        before = after
    assert ["going on from step" in output for output in said] == [False, False, True]
    # The last one finds what three have left, and clears it away.
    assert digest_of_finished(ended(start(tmp_path, *wanted)), tmp_path) == calm.digest
    assert before.items() <= entries_in(tmp_path).items()


# --- damage -------------------------------------------------------------------------------


def altered(path: Path, content: bytes) -> None:
    """Change a file and leave its time alone, as a failing disk does."""
    stat = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def flipped(content: bytes, draw: random.Random) -> bytes:
    changed = bytearray(content)
    changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def do_damage(folder: Path, draw: random.Random) -> str:
    """Damage an entry at random and say which of its files; the manifest is one of them."""
    path, other = draw.sample(sorted(folder.iterdir()), 2)
    content = path.read_bytes()
    match draw.choice(["flip", "cut", "extend", "swap", "delete"]):
        case "flip":
            altered(path, flipped(content, draw))
        case "cut":
            altered(path, content[: draw.randrange(len(content))])
        case "extend":
            altered(path, content + draw.randbytes(draw.randint(1, 9)))
        case "swap":
            altered(path, other.read_bytes())
            altered(other, content)
        case "delete":
            path.unlink()
    return path.name


def test_damage_anywhere_in_the_cache_is_found_whatever_it_is(calm, tmp_path):
    shutil.copytree(calm.folder / "cache", tmp_path / "cache")
    draw, sound = random.Random(0), Store(calm.folder / "cache")
    kinds = {"corpus", "folder-digest", "learned-prompt", "readings", "survey"}
    by_kind = {kind: [entry for entry in sound.entries() if entry.kind == kind] for kind in kinds}
    unseen = 0
    for _ in range(200):
        whole = draw.choice(by_kind[draw.choice(sorted(kinds))])
        place = tmp_path / "cache" / whole.kind / whole.path.name
        name = do_damage(place, draw)

        def build(folder: Path, whole: Entry = whole) -> None:
            for file in whole.files:
                shutil.copy2(whole.path / file.name, folder / file.name)

        store, asked = Store(tmp_path / "cache"), (whole.kind, dict(whole.inputs))
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            if whole.kind == "survey" and name != MANIFEST:
                store.file(*asked, name, build, code=whole.code)
            else:
                store.folder(*asked, build, code=whole.code)
        found = any(issubclass(warning.category, CacheWarning) for warning in told)
        # A date or a space of a manifest may be another without harm.
        assert found or name == MANIFEST
        unseen += not found
        for file in whole.files:
            kept, there = (p / file.name for p in (whole.path, place))
            assert there.read_bytes() == kept.read_bytes()
    assert unseen < 20


def test_a_run_notices_one_wrong_bit_in_every_file_and_gives_the_same_record(
    wanted, calm, tmp_path
):
    shutil.copytree(calm.folder / "cache", tmp_path / "cache")
    draw = random.Random(0)
    for path in sorted(tmp_path.glob("cache/*/*/*")):
        if path.name != MANIFEST:
            altered(path, flipped(path.read_bytes(), draw))
    ran = ended(start(tmp_path, *wanted))
    assert digest_of_finished(ran, tmp_path) == calm.digest
    for kind in ("corpus", "folder-digest", "learned-prompt", "readings", "survey"):
        assert ran.says(f"cache/{kind}/", "is damaged", "built again"), ran.output
    damaged = {entry.kind for entry, whole, _ in Store(tmp_path / "cache").verify() if not whole}
    assert damaged == set()
