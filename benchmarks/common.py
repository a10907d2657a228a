"""What the benchmarks share: made-up prompts, clocks that take turns, plain hooks, peak memory."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch
from torch import Tensor

from stillwired.engine.engine import Engine


def made_up(engine: Engine, rows: int, length: int, seed: int = 0) -> list[list[int]]:
    """Random prompts of one length."""
    generator = torch.Generator().manual_seed(seed)
    ids: list[list[int]] = torch.randint(
        engine.anatomy.vocabulary, (rows, length), generator=generator
    ).tolist()
    return ids


def interleaved(works: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median seconds of several works that take turns, so that all see the same machine."""
    took: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            took[name].append(time.perf_counter() - start)
    return {name: median(times) for name, times in took.items()}


@contextlib.contextmanager
def hooked(*hooks: tuple[Any, Callable[..., Any], bool]) -> Iterator[None]:
    """Register plain hooks: module, function, and whether it looks at the module's input."""
    handles = [
        module.register_forward_pre_hook(hook) if before else module.register_forward_hook(hook)
        for module, hook, before in hooks
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def difference_of_probabilities(ours: Tensor, plain: Tensor) -> float:
    """Largest difference of any token's probability."""
    return float((ours.softmax(-1) - plain.softmax(-1)).abs().max())


def peak_megabytes(work: Callable[[], Any]) -> float:
    """Largest resident size during some work, above what was resident before.

    What earlier work has freed is given back first, or the process would use it again unseen.
    """
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("the resident size is read from /proc")

    def resident() -> float:
        return int(statm.read_text().split()[1]) * 4096 / 1e6

    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    before, peak, done = resident(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            peak[0] = max(peak[0], resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return peak[0] - before
