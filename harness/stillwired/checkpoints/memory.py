"""Whether a model fits: what its weights take against what is free, before any is read.

Without this, a machine that is too small ends the process without a word, or swaps for hours.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from stillwired.checkpoints.regime import Regime, gpus
from stillwired.errors import UsageError
from stillwired.store.disk import megabytes

BYTES: Mapping[str, int] = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
"""What a weight takes, by dtype."""

_FOR_WEIGHTS = 0.9
"""Share of a GPU's free memory that accelerate may fill with weights."""

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/proc/self/cgroup")
_CGROUPS = Path("/sys/fs/cgroup")


def require_memory(name: str, parameters: int, regime: Regime) -> None:
    """Refuse to load a model whose weights alone do not fit.

    Args:
        name: What messages call it.
        parameters: How many weights it has.
        regime: How it is to be run, which this machine can.

    Raises:
        UsageError: Says what is needed, what is there, and what to do.
    """
    need = parameters * BYTES[regime.dtype]
    places = {}
    if not regime.device_map:
        # Whatever goes elsewhere goes through this machine's memory.
        places["this machine"] = host_memory()
    kind, _, number = regime.device.partition(":")
    if kind == "cuda":
        if regime.device_map:
            shares = room_on_gpus()
            places[f"the {len(shares)} GPUs together"] = sum(shares.values())
        else:
            places[regime.device] = gpu_memory()[int(number or 0)]
    for place, there in places.items():
        if there is not None and there < need:
            raise UsageError(
                f"{name} does not fit: its {parameters:,} weights take {megabytes(need)} in "
                f"{regime.dtype}, and {place} {'have' if 'GPUs' in place else 'has'} "
                f"{megabytes(there)} of memory free. {_remedy(regime)}"
            )


def require_memory_to_convert(name: str, weights: int) -> None:
    """Refuse to unpack a quantised model that does not fit into this machine's memory.

    Raises:
        UsageError: As `require_memory`.
    """
    need, there = weights * BYTES["float32"], host_memory()
    if there is not None and there < need:
        raise UsageError(
            f"{name} cannot be converted here: its {weights:,} weights take {megabytes(need)} in "
            f"float32, and this machine has {megabytes(there)} of memory free. Convert it with "
            "`stillwired fetch` on a machine with more, and copy the cache's folder."
        )


def _remedy(regime: Regime) -> str:
    ways = []
    if BYTES[regime.dtype] > BYTES["bfloat16"]:
        ways.append("--claims-dtype bfloat16, a regime of its own")
    if regime.device.startswith("cuda") and not regime.device_map and len(gpus()) > 1:
        ways.append(f"--claims-device-map balanced, over the {len(gpus())} GPUs seen")
    return f"Use {', or '.join([*ways, 'a machine with more, or a smaller checkpoint'])}."


def gpu_memory() -> dict[int, int]:
    """Return the bytes that are free on each GPU that is seen."""
    import torch

    return {index: torch.cuda.mem_get_info(index)[0] for index in range(torch.cuda.device_count())}


def room_on_gpus() -> dict[int, int]:
    """Return what each GPU may hold of a model that is spread: all but what passes need."""
    return {index: int(free * _FOR_WEIGHTS) for index, free in gpu_memory().items()}


def host_memory() -> int | None:
    """Return the bytes that this process may still take; None where that is not known.

    A container may have less than its machine, and the kernel ends what takes more.
    """
    known = [left for left in (_left_on_machine(), _left_in_container()) if left is not None]
    return min(known, default=None)


def _left_on_machine() -> int | None:
    try:
        lines = _MEMINFO.read_text(encoding="ascii").splitlines()
        found = next(line for line in lines if line.startswith("MemAvailable:"))
        return int(found.split()[1]) * 1024
    except (OSError, ValueError, IndexError, StopIteration):
        return None


def _left_in_container() -> int | None:
    """The least that any control group (version 2) above this process leaves it."""
    try:
        lines = _CGROUP.read_text(encoding="utf-8").splitlines()
        own = next(line[3:] for line in lines if line.startswith("0::"))
    except (OSError, StopIteration):
        return None
    group = _CGROUPS / own.lstrip("/")
    left = []
    for folder in (group, *group.parents):
        if _CGROUPS not in (folder, *folder.parents):
            break
        try:
            limit = int((folder / "memory.max").read_text(encoding="ascii"))
            used = int((folder / "memory.current").read_text(encoding="ascii"))
            # Pages of files that were read are given back when memory is asked for.
            stat = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
            cached = next(int(s.split()[1]) for s in stat if s.startswith("inactive_file "))
        except (OSError, ValueError, StopIteration):
            # No limit here ("max"), or none that is told.
            continue
        left.append(max(limit - used + cached, 0))
    return min(left, default=None)
