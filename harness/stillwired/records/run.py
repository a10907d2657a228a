"""A run's folder: what has been judged so far, cell by cell, whoever judged it.

Each process of a run writes into the same folder, every file whole or not at all. When the
run ends its cells are merged into records; when it is interrupted or killed they stay where they
are, until another run wants the same folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import json
import os
import platform
import shutil
import tempfile
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillwired.errors import RecordError
from stillwired.options import RunOptions, model_ids
from stillwired.records.evidence import describe, evidence_to_json, save_outcomes
from stillwired.records.files import digest_of, read_json, write_json

if TYPE_CHECKING:
    from stillwired.judge.claims import Claim
    from stillwired.judge.results import Evidence, Verdict

Json = dict[str, Any]

RECORDS = Path(".stillwired", "records")
LIBRARIES = ("torch", "transformers", "nnsight", "numpy", "scipy")


@dataclass(frozen=True)
class Cell:
    """One judged cell as it lies in the run's folder.

    Attributes:
        order: Place of its test in the run; the same in every process of the run.
        spec: Checkpoint spec that it belongs to, or None.
        declaration: The claim as data.
        verdict: The verdict as data.
        evidence: Arms, null, ability, instrument checks and what stands beside them, outcomes
            by id; or the obstacle that kept the cell from being measured.
        outcomes: Name and factors of those outcomes, by id.
        seconds: Time from the start of the test to the verdict.
    """

    order: int
    spec: str | None
    declaration: Json
    verdict: Json
    evidence: Json
    outcomes: Json
    seconds: float


class RunFolder:
    """Access to one run's folder; nothing is written before :meth:`reserve`."""

    def __init__(self, wanted: Path, token: str) -> None:
        """Name the folder that is wanted and the run (by a token) that wants it."""
        self.wanted = wanted
        self.token = token
        self._path: Path | None = None
        self._alive: int | None = None

    @property
    def path(self) -> Path:
        """The folder, made for this run on first use.

        The folder of another run that is under way, or has left a record in it, is never used: if
        the name is taken, a number is added. What a run that is over has left without a record
        is removed. Every process of one run holds the same token and so ends up in the same
        folder.

        Raises:
            RecordError: If no folder can be made there.
        """
        if self._path is None:
            self._path = self._reserve()
        return self._path

    def _reserve(self) -> Path:
        for k in range(1, 1000):
            path = self.wanted if k == 1 else Path(f"{self.wanted}-{k}")
            try:
                path.mkdir(parents=True, exist_ok=True)
                if self._owns(path) or (_left_behind(path) and self._owns(path)):
                    return path
            except OSError as error:
                raise RecordError(
                    f"The folder {path} of this run cannot be written: "
                    f"{error.strerror or error}. Name another place with --claims-record, or run "
                    "from a folder that can be written."
                ) from error
        raise RecordError(f"No free name beside {self.wanted}. Remove old records there.")

    def _owns(self, path: Path) -> bool:
        """Put our token into the folder, unless another run's is there already."""
        owner = path / "run"
        if not any(owner.glob("*")) and not (path / "record.json").exists():
            # A folder that is not empty cannot be replaced by a rename, so exactly one run's
            # token arrives, and it arrives whole.
            ours = Path(tempfile.mkdtemp(dir=path))
            (ours / self.token).touch()
            self._hold(ours / self.token)
            try:
                ours.rename(owner)
            except OSError:
                shutil.rmtree(ours)
        if not (owner / self.token).exists():
            return False
        self._hold(owner / self.token)
        return True

    def _hold(self, token: Path) -> None:
        """Show that the run is under way; the system takes that back when the process is gone."""
        # A number, which nothing closes by itself: a run may be under way without this object.
        held = os.open(token, os.O_RDONLY)
        with contextlib.suppress(OSError):
            fcntl.flock(held, fcntl.LOCK_SH)
        self._release()
        self._alive = held

    def _release(self) -> None:
        if self._alive is not None:
            os.close(self._alive)
            self._alive = None

    @property
    def outcomes(self) -> Path:
        """Where outcomes are kept until the merge."""
        return self.path / "outcomes"

    def add(
        self,
        claim: Claim,
        verdict: Verdict,
        evidence: Evidence,
        *,
        order: int,
        spec: str | None,
        seconds: float,
    ) -> None:
        """Keep a judged cell with everything it was judged from."""
        data, outcomes = evidence_to_json(evidence)
        cell = Cell(
            order=order,
            spec=spec,
            declaration=claim.to_json(),
            verdict=verdict.to_json(),
            evidence=data,
            outcomes={name: describe(outcome) for name, outcome in outcomes.items()},
            seconds=round(seconds, 3),
        )
        save_outcomes(self.outcomes, outcomes)
        # No sweeping here and below: the folder goes as a whole, and has thousands of files.
        write_json(self.path / "cells" / f"{order:05d}.json", asdict(cell), sweep=False)

    def cells(self) -> list[Cell]:
        """Return every cell judged so far, in the order of their tests."""
        files = sorted((self.path / "cells").glob("*.json"))
        return [Cell(**read_json(file, "judged cell")) for file in files]

    def note(self, kind: str, name: str, value: Any) -> None:
        """Keep a fact about the run; a later one of the same kind and name replaces it."""
        file = f"{digest_of([kind, name])[:16]}.json"
        fact = {"kind": kind, "name": name, "value": value}
        write_json(self.path / "notes" / file, fact, sweep=False)

    def notes(self, kind: str) -> Json:
        """Return the facts of one kind by name, sorted by name."""
        files = sorted((self.path / "notes").glob("*.json"))
        found = [read_json(file, "note") for file in files]
        return {n["name"]: n["value"] for n in sorted(found, key=_name) if n["kind"] == kind}

    def clear(self) -> None:
        """Remove what the merge has taken over; the folder too, if no record lies in it."""
        if self._path is None:
            return
        _remove_parts(self._path)
        self._release()
        above = [p for p in self._path.parents[: len(RECORDS.parts)] if p.name in RECORDS.parts]
        for folder in (self._path, *above):
            if any(folder.iterdir()):
                break
            folder.rmdir()


def _left_behind(path: Path) -> bool:
    """Remove what a run that is over has left in its folder; False if it may be under way."""
    tokens = list((path / "run").glob("*"))
    if len(tokens) != 1 or (path / "record.json").exists():
        return False
    with contextlib.suppress(OSError), tokens[0].open("rb") as token:
        fcntl.flock(token, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever holds this very file alone may remove it, and nobody else.
        if os.path.samestat(os.fstat(token.fileno()), tokens[0].stat()):
            _remove_parts(path)
            return True
    return False


def _remove_parts(path: Path) -> None:
    """Remove a run's folders, the one that says whose they are last."""
    for part in ("cells", "outcomes", "notes", "run"):
        shutil.rmtree(path / part, ignore_errors=True)


def run_name(models: tuple[str, ...], at: float) -> str:
    """Return the name of a run's folder: its time, and the model if there is just one."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(at))
    return f"{stamp}-{models[0]}" if len(models) == 1 else stamp


def new_folder(options: RunOptions, root: Path, started: float) -> RunFolder:
    """Name a new run's folder: beside the record that is asked for, else below ``root``."""
    if options.record is not None:
        wanted = options.record.with_suffix(".run")
    else:
        wanted = root / RECORDS / run_name(tuple(model_ids(options.settings.models)), started)
    return RunFolder(wanted, uuid.uuid4().hex)


def environment() -> Json:
    """Describe the machine without importing anything heavy.

    ``threads`` is what the process may use: ``OMP_NUM_THREADS``, otherwise its CPUs.
    """
    packages = {}
    for package in ("stillwired", *LIBRARIES):
        try:
            packages[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    threads = os.environ.get("OMP_NUM_THREADS", "")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.machine(),
        "cpu": _cpu(),
        "threads": int(threads) if threads.isdigit() else len(os.sched_getaffinity(0)),
        "packages": packages,
    }


def _cpu() -> str:
    """Return the processor's model: another one may sum in another order."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor()


def _name(note: Mapping[str, Any]) -> str:
    return json.dumps(note["name"])
