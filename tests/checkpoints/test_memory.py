from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stillwired.checkpoints import memory
from stillwired.checkpoints.checkpoint import Checkpoint
from stillwired.checkpoints.memory import host_memory, require_memory, room_on_gpus
from stillwired.checkpoints.prepare import prepare
from stillwired.checkpoints.regime import Regime
from stillwired.errors import UsageError
from stillwired.store.cache import Store


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a made-up machine tells its memory: 8 GB free, no container."""
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path / "groups")
    (tmp_path / "meminfo").write_text("MemTotal: 16000000 kB\nMemAvailable: 8000000 kB\n")
    return tmp_path


def limit(group: Path, most: str, used: int, cached: int) -> None:
    group.mkdir(parents=True, exist_ok=True)
    (group / "memory.max").write_text(f"{most}\n")
    (group / "memory.current").write_text(f"{used}\n")
    (group / "memory.stat").write_text(f"anon 5\ninactive_file {cached}\n")


def test_the_machine_s_own_figures_are_read() -> None:
    left = host_memory()
    assert left is not None
    assert 10**7 < left < 10**14


def test_a_container_may_leave_less_than_its_machine(machine: Path) -> None:
    assert host_memory() == 8_192_000_000
    (machine / "cgroup").write_text("0::/kube/pod\n")
    limit(machine / "groups" / "kube" / "pod", "max", 1, 0)
    assert host_memory() == 8_192_000_000
    # Its own has no limit, the one above it has; files that were read count as free.
    limit(machine / "groups" / "kube", "5000000000", 3_000_000_000, 1_000_000_000)
    assert host_memory() == 3_000_000_000
    limit(machine / "groups" / "kube" / "pod", "2000000000", 2_500_000_000, 0)
    assert host_memory() == 0


def test_where_nothing_is_told_nothing_is_refused(machine: Path) -> None:
    (machine / "meminfo").write_text("MemAvailable: plenty\n")
    assert host_memory() is None
    require_memory("big", 10**15, Regime())


@pytest.mark.parametrize(
    ("dtype", "takes"), [("float64", 8), ("float32", 4), ("bfloat16", 2), ("float16", 2)]
)
def test_what_just_fits_is_loaded_and_a_weight_more_is_not(
    dtype: str, takes: int, machine: Path
) -> None:
    fits = 8_192_000_000 // takes
    require_memory("big", fits, Regime(dtype=dtype))
    with pytest.raises(UsageError, match=rf"{fits + 1:,} weights take 8,192 MB in {dtype}, and"):
        require_memory("big", fits + 1, Regime(dtype=dtype))


def test_the_message_says_what_to_do(machine: Path) -> None:
    with pytest.raises(UsageError) as caught:
        require_memory("big", 3_000_000_000, Regime())
    assert str(caught.value) == (
        "big does not fit: its 3,000,000,000 weights take 12,000 MB in float32, and this machine "
        "has 8,192 MB of memory free. Use --claims-dtype bfloat16, a regime of its own, or a "
        "machine with more, or a smaller checkpoint."
    )
    with pytest.raises(UsageError, match=r"free\. Use a machine with more, or a smaller"):
        require_memory("big", 6_000_000_000, Regime(dtype="bfloat16"))


@pytest.fixture
def two_gpus(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "gpu_memory", lambda: {0: 2_000_000_000, 1: 4_000_000_000})
    monkeypatch.setattr(memory, "gpus", lambda: ("some", "other"))


def test_a_gpu_must_have_room_and_so_must_the_way_there(two_gpus: None, machine: Path) -> None:
    regime = Regime("cuda:1")
    require_memory("big", 1_000_000_000, regime)
    with pytest.raises(UsageError, match=r"cuda:1 has 4,000 MB .* --claims-device-map balanced"):
        require_memory("big", 1_000_000_001, regime)
    (machine / "meminfo").write_text("MemAvailable: 3000000 kB\n")
    with pytest.raises(UsageError, match="this machine has 3,072 MB"):
        require_memory("big", 1_000_000_000, regime)


def test_a_model_that_is_spread_fills_gpus_and_leaves_room_for_passes(
    two_gpus: None, machine: Path
) -> None:
    assert room_on_gpus() == {0: 1_800_000_000, 1: 3_600_000_000}
    (machine / "meminfo").write_text("MemAvailable: 1000 kB\n")
    regime = Regime("cuda", device_map="balanced")
    require_memory("big", 1_350_000_000, regime)
    with pytest.raises(UsageError, match="the 2 GPUs together have 5,400 MB") as caught:
        require_memory("big", 1_350_000_001, regime)
    assert "device-map" not in str(caught.value)


def test_a_model_that_is_too_large_is_told_before_any_weight_is_read(
    llama: Path, store: Store
) -> None:
    prepared = replace(prepare(str(llama), store), parameters=10**13)
    # Whoever tried to read it now would say otherwise.
    (llama / "model.safetensors").unlink()
    with pytest.raises(UsageError, match=r"10,000,000,000,000 weights take 40,000,000 MB"):
        _ = Checkpoint(prepared).model


def test_a_gguf_file_that_does_not_fit_unpacked_is_told_before_it_is_unpacked(
    gguf_file: tuple[Path, Any], store: Store, machine: Path
) -> None:
    (machine / "meminfo").write_text("MemAvailable: 1 kB\n")
    weights = sum(p.numel() for p in gguf_file[1].state_dict().values())
    with pytest.raises(UsageError, match=r"cannot be converted here: its ([\d,]+) weights") as told:
        prepare(str(gguf_file[0]), store)
    counted = int(re.search(r"its ([\d,]+) weights", str(told.value))[1].replace(",", ""))  # type: ignore[index]
    # A tied unembedding is stored once.
    assert counted in (weights, weights - gguf_file[1].get_input_embeddings().weight.numel())
    assert not [entry for entry in store.entries() if entry.kind == "checkpoint"]
    (machine / "meminfo").write_text("MemAvailable: 8000000 kB\n")
    assert prepare(str(gguf_file[0]), store).parameters > 0
