"""What the allocator does with freed memory, seen by the pages that the system hands out."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PASSES = 20
SCRIPT = f"""
import resource
import torch
from stillwired.engine.host_memory import keep_freed_memory

def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range({PASSES}):
        torch.ones(2**24)  # 64 MiB, taken, written to and freed
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

torch.set_num_threads(1)
before, told = pages(), keep_freed_memory()
pages()  # The allocator settles.
print(before, int(told), pages())
"""


def counted(**environment: str) -> list[int]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(number) for number in done.stdout.split()]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the GNU C library's allocator")
def test_freed_memory_is_taken_again() -> None:
    before, told, after = counted()
    if not told:
        pytest.skip("another allocator than the GNU C library's")
    assert after < before / PASSES


def test_who_sets_the_allocator_up_is_obeyed() -> None:
    # One arena changes nothing of what is measured here.
    before, told, after = counted(MALLOC_ARENA_MAX="1")
    assert not told
    assert after > 0.9 * before > 0
