"""Running the real command in a process of its own, on a random model and made-up text."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.checkpoints.conftest import make_tokenizer

ROOT = Path(__file__).parent.parent
# Other plugins would only take their time to be imported.
WITHOUT = ("cacheprovider", "benchmark", "hypothesispytest", "anyio")
REFUSED, FAILED, INTERRUPTED, PASSED = 4, 1, 2, 0
WORDS = [a + b + c for a in "bdklmnrst" for b in "aeiou" for c in "bdklmnrst"]


@dataclass(frozen=True)
class Ran:
    """What a run said and with which exit code it ended."""

    code: int
    output: str

    def says(self, *words: str) -> bool:
        """Whether the output has the words, in this order."""
        pattern = ".*".join(map(re.escape, words))
        return re.search(pattern, self.output, re.DOTALL) is not None


def start(
    folder: Path, *arguments: object, record: str = "record.json", **environment: str
) -> subprocess.Popen[str]:
    """Start `pytest claims/` with a cache and a record of its own; later arguments win."""
    # With one thread a run is not slowed down by what else this machine is doing.
    given = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "pytest", "claims/", *(f"-pno:{name}" for name in WITHOUT)]
    command += ["--claims-cache", folder / "cache", "--claims-record", folder / "out" / record]
    kept = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "PYTEST_ADDOPTS")}
    return subprocess.Popen(
        [str(part) for part in (*command, *arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        env={**kept, **given, **environment},
    )


def ended(process: subprocess.Popen[str]) -> Ran:
    """Wait for the end of a run."""
    try:
        output, _ = process.communicate(timeout=180)
    finally:
        process.kill()
    return Ran(process.returncode, output)


def run(folder: Path, *arguments: object, **environment: str) -> Ran:
    """Run `pytest claims/` to its end."""
    return ended(start(folder, *arguments, **environment))


def left_in(folder: Path) -> list[Path]:
    """Files of records, of runs and of unfinished entries; none should outlive a run."""
    files = [*folder.glob("out/**/*"), *folder.glob("cache/tmp/**/*")]
    return [path for path in files if path.is_file() and path.name != "sweep.lock"]


def save_tiny(folder: Path) -> Path:
    """Save a random Llama that every claim can run on, whose tokenizer starts each text."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=8,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        initializer_range=0.3,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    make_tokenizer(start="<start>").save_pretrained(folder)
    return folder


def write_text(path: Path, documents: int) -> Path:
    """Write made-up documents of 32 words."""
    draw = random.Random(0)
    texts = [" ".join(draw.choices(WORDS, k=32)) for _ in range(documents)]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def mount(*arguments: object) -> None:
    """Mount a disk, or skip the test where that is not allowed."""
    if subprocess.run(["mount", *map(str, arguments)], capture_output=True).returncode:
        pytest.skip("this user may not mount a disk")


@contextlib.contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """Lend a disk of some size, as in ``"48m"``, mounted in a new folder."""
    place.mkdir()
    mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", place)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def fill(disk: Path) -> None:
    """Take what is free, in small pieces, since a run that writes takes some as well."""
    with (disk / "other").open("wb", buffering=0) as other, contextlib.suppress(OSError):
        while True:
            other.write(bytes(1 << 12))
