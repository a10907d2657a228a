"""Upgrades of one checkpoint, harmless and harmful, each held against the checkpoint itself.

What a team may do to a model between two releases: other precisions, coarser weights, training on
more text, training that forgets, parts taken out. What is expected of each stands in `CASES`, and
was written down before any was judged; docs/gating.md compares it with what came out.

    python benchmarks/upgrade_cases.py make FOLDER
    python benchmarks/upgrade_cases.py judge FOLDER --profile mutants

``make`` trains the two fine-tuned checkpoints, some minutes each. ``judge`` judges the checkpoint
as it is, then every case with the first record as its baseline, a process each; what was judged
already is not judged again. Reports and records lie in the folder.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from stillwired.checkpoints.checkpoint import Checkpoint
from stillwired.checkpoints.prepare import prepare
from stillwired.data.corpus import load_corpus
from stillwired.data.passages import draw_passages
from stillwired.settings import DEFAULT_MODEL
from stillwired.store.cache import Store

ROOT = Path(__file__).parent.parent
LENGTH, BATCH = 64, 8


@dataclass(frozen=True)
class Tuning:
    """How a checkpoint is trained on.

    Attributes:
        rate: Learning rate of AdamW, constant.
        steps: Steps of 8 passages of 64 tokens.
        repeats: Different passages; fewer are learned by heart.
    """

    rate: float
    steps: int
    repeats: int


@dataclass(frozen=True)
class Case:
    """One upgrade.

    Attributes:
        name: Short name; a fine-tuned checkpoint lies in the folder of that name.
        expected: What should come out, written before it was tried.
        mutant: The damage behind the spec's tilde, or empty.
        options: More options of the run.
        tuning: How it is trained, or None.
    """

    name: str
    expected: str
    mutant: str = ""
    options: tuple[str, ...] = ()
    tuning: Tuning | None = None


CASES = (
    Case("bf16", "everything KEPT", options=("--claims-dtype", "bfloat16")),
    Case("8-bit", "everything KEPT", mutant="rounded-to-8-bits"),
    Case("4-bit", "nothing LOST among the primary cells", mutant="rounded-to-4-bits"),
    Case("2-bit", "nearly everything LOST, mostly for want of ability", mutant="rounded-to-2-bits"),
    Case(
        "tuned",
        "nothing LOST among the primary cells",
        tuning=Tuning(2e-5, steps=300, repeats=2400),
    ),
    Case(
        "forgetting",
        "function vectors LOST, most for want of ability; Future Lens LOST or undecided",
        tuning=Tuning(1e-3, steps=300, repeats=64),
    ),
    Case(
        "heads-removed",
        "function vectors LOST; Future Lens and logit lens KEPT",
        mutant="heads-that-carry-tasks-silenced",
    ),
    Case(
        "layer-skipped",
        "Future Lens KEPT or undecided; some function vectors LOST",
        mutant="middle-layer-skipped",
    ),
)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", choices=("make", "judge"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--profile", default="mutants")
    given = parser.parse_args()
    if given.what == "make":
        for case in CASES:
            if case.tuning is not None and not (given.folder / case.name).exists():
                tune(given.model, case.tuning, given.folder / case.name)
        return
    judge(given.folder, given.model, given.profile)


def tune(model: str, how: Tuning, folder: Path) -> None:
    """Train a checkpoint on text that no claim is judged on, and save it whole or not at all."""
    store = Store(Store.default_root())
    checkpoint = Checkpoint(prepare(model, store))
    network: Any = checkpoint.model
    network.requires_grad_(True)
    optimiser = torch.optim.AdamW(network.parameters(), lr=how.rate, weight_decay=0.0)
    started = time.monotonic()
    for step, batch in enumerate(_batches(checkpoint, store, how), start=1):
        logits = network(batch).logits[:, :-1]
        loss = cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        if step % 10 == 0:
            left = (time.monotonic() - started) / step * (how.steps - step)
            print(
                f"{folder.name}: step {step} of {how.steps}, loss {float(loss):.3f}, {left:.0f} s"
            )
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    network.save_pretrained(unfinished)
    checkpoint.tokenizer.save_pretrained(unfinished)
    shutil.move(unfinished, folder)


def _batches(checkpoint: Checkpoint, store: Store, how: Tuning) -> Iterator[torch.Tensor]:
    """Yield passages of the fit split [8, 64], over and over."""
    passages = draw_passages(
        load_corpus(store),
        "fit",
        how.repeats,
        LENGTH,
        checkpoint.encode,
        checkpoint.prefix,
        seed=1,
        purpose="fine-tuning",
    )
    tokens = torch.tensor([passage.tokens for passage in passages])
    generator = torch.Generator().manual_seed(0)
    for _ in range(how.steps):
        yield tokens[torch.randint(len(tokens), (BATCH,), generator=generator)]


def judge(folder: Path, model: str, profile: str) -> None:
    """Judge the checkpoint, then every case against it."""
    before = folder / "before" / "record.json"
    _run(before, model, ("--claims-profile", profile))
    for case in CASES:
        spec = f"{model}~{case.mutant}" if case.mutant else model
        if case.tuning is not None:
            spec = str(folder / case.name)
        options = ("--claims-profile", profile, "--claims-baseline", str(before), *case.options)
        _run(folder / "judged" / case.name / "record.json", spec, options)
        print(f"{case.name}: expected {case.expected}")


def _run(record: Path, spec: str, options: tuple[str, ...]) -> None:
    if record.exists():
        return
    record.parent.mkdir(parents=True, exist_ok=True)
    where = ("--claims-model", spec, "--claims-record", str(record))
    command = [sys.executable, "-m", "pytest", str(ROOT / "claims"), "-q", *where, *options]
    with record.with_name("output.txt").open("w") as output:
        # A case that fails its gate exits with 1; that is what it is there for.
        subprocess.run(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, check=False)


if __name__ == "__main__":
    main()
