"""Records: one JSON file per checkpoint beside a table of every outcome it was judged from."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillwired.errors import RecordError
from stillwired.records.evidence import load_outcomes, outcome_ids, write_table
from stillwired.records.files import digest_of, read_json, write_json
from stillwired.records.run import Cell, RunFolder, environment

if TYPE_CHECKING:
    from stillwired.judge.results import Verdict
    from stillwired.outcomes import Outcome

Json = dict[str, Any]

SCHEMA = 1
_KEYS = (
    "schema",
    "checkpoint",
    "environment",
    "profile",
    "seed",
    "corpus",
    "tasks",
    "declarations",
    "verdicts",
    "outcomes",
    "figures",
    "digest",
    "times",
)
# What stands before the claims, in this order, and what only some records have.
_ABOUT = ("checkpoint", "environment", "profile", "layers", "seed", "corpus", "tasks")
_OPTIONAL = ("sizes", "redraw", "shard", "refits", "incomplete")
# Outside the digest: when and how long, and the digest itself.
_UNDIGESTED = ("digest", "times")


@dataclass(frozen=True)
class RunFacts:
    """What holds for a whole run, whichever cells were judged.

    Attributes:
        profile: Name of the profile.
        layers: Depths or block numbers that replaced the profile's, or empty.
        seed: The suite's seed.
        regime: Device, dtype and attention kernel.
        checkpoints: What is known of each checkpoint, by spec.
        started: When the run began, in seconds since the epoch.
        redraw: What is drawn or fitted otherwise than the seed says, by its label; or empty.
        sizes: The profile's sizes, by name.
    """

    profile: str
    layers: tuple[float | int, ...]
    seed: int
    regime: Mapping[str, str]
    checkpoints: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    started: float = 0.0
    redraw: str = ""
    sizes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    """A record as read back.

    Attributes:
        path: The JSON file; :func:`outcomes_path` names the table beside it.
        data: Its content.
    """

    path: Path
    data: Json

    @property
    def verdicts(self) -> list[Verdict]:
        """The stored verdicts."""
        from stillwired.judge.results import Verdict

        return [Verdict.from_json(verdict) for verdict in self.data["verdicts"]]

    @property
    def published(self) -> dict[str, str]:
        """The published value of every claim, by id."""
        return {name: claim["published"] for name, claim in self.data["declarations"].items()}


def outcomes_path(record: Path) -> Path:
    """Return the table that belongs to a record: ``outcomes.parquet`` beside ``record.json``."""
    if record.name == "record.json":
        return record.with_name("outcomes.parquet")
    return record.with_name(f"{record.stem}.outcomes.parquet")


def record_path(wanted: Path, model: str, models: int) -> Path:
    """Return a checkpoint's record file; with several models each name carries its own."""
    return wanted if models == 1 else wanted.with_name(f"{wanted.stem}-{model}.json")


def merge(
    folder: RunFolder,
    spec: str | None,
    facts: RunFacts,
    cells: Iterable[Cell] | None = None,
) -> tuple[Json, dict[str, Outcome]]:
    """Put the cells of one checkpoint together, in an order that no scheduling changes.

    Args:
        folder: The run's folder.
        spec: The checkpoint.
        facts: What holds for the whole run.
        cells: Every cell of the run; None to read them from the folder.

    Returns:
        The record and its outcomes, in the order of first use.

    Raises:
        RecordError: If two cells share a name, or declare one claim differently.
    """
    cells = [cell for cell in cells or folder.cells() if cell.spec == spec]
    corpora = list(folder.notes("corpus").values())
    figures = folder.notes(figures_of(None)) | folder.notes(figures_of(spec))
    code = folder.notes("code").get("code")
    about: Json = {
        "checkpoint": _checkpoint(spec, facts),
        "environment": environment() | ({"code": code} if code else {}),
        "profile": facts.profile,
        "layers": list(facts.layers),
        "seed": facts.seed,
        "corpus": corpora[0] if corpora else None,
        "tasks": folder.notes("tasks").get("tasks"),
        "figures": dict(sorted(figures.items())),
    }
    if facts.sizes:
        about["sizes"] = dict(facts.sizes)
    if facts.redraw:
        about["redraw"] = facts.redraw
    shard = folder.notes("shard").get(spec or "")
    if shard is not None:
        about["shard"] = shard
    if folder.notes("incomplete"):
        about["incomplete"] = True
    judged = {cell_name(cell.verdict) for cell in cells}
    known = folder.notes("refits").get("refits", {})
    refits = {key: known[key] for key in sorted(known) if key in judged}
    if refits:
        about["refits"] = refits
    record = put_together(cells, about)
    record["times"] = {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(facts.started)),
        "seconds": round(time.time() - facts.started, 3),
        "cells": {cell_name(cell.verdict): cell.seconds for cell in in_place(cells)},
        "steps": folder.notes("time"),
        "sweeps": folder.notes("cells"),
        "spent": added(folder.notes("spent").values()),
    }
    described = record["outcomes"]
    return record, load_outcomes(folder.outcomes, described, described)


def figures_of(spec: str | None) -> str:
    """Return the kind of note that a checkpoint's figures are; None for those of every one."""
    return "figure" if spec is None else f"figure of {spec}"


def put_together(cells: Iterable[Cell], about: Mapping[str, Any]) -> Json:
    """Build a record of one checkpoint's cells, times apart.

    Args:
        cells: The cells, in any order.
        about: What holds for all of them, by the record's own keys.

    Raises:
        RecordError: If two cells share a name, or declare one claim differently.
    """
    declarations: Json = {}
    described: Json = {}
    verdicts: list[Json] = []
    seen: set[str] = set()
    for cell in in_place(cells):
        claim, key = cell.verdict["claim"], cell_name(cell.verdict)
        if declarations.setdefault(claim, cell.declaration) != cell.declaration:
            raise RecordError(
                f"Two tests declare {claim} differently. Give each declaration its own id."
            )
        if key in seen:
            raise RecordError(f"Two tests judged {key}. Parametrise them apart, or remove one.")
        seen.add(key)
        verdicts.append({**cell.verdict, "evidence": cell.evidence})
        described |= {
            name: cell.outcomes[name]
            for name in outcome_ids(cell.evidence)
            if name not in described
        }
    record: Json = {
        "schema": SCHEMA,
        **{key: about[key] for key in _ABOUT},
        "declarations": declarations,
        "verdicts": verdicts,
        "outcomes": described,
        "figures": about["figures"],
        # Only where there is something to say, so that other records stay as they are.
        **{key: about[key] for key in _OPTIONAL if key in about},
    }
    record["digest"] = digest_of(record)
    return record


def write_record(path: Path, record: Json, outcomes: Mapping[str, Outcome]) -> None:
    """Write a record and its table; the JSON comes last, so that it never stands alone.

    Raises:
        RecordError: If the folder cannot be written.
    """
    write_table(outcomes_path(path), outcomes)
    write_json(path, record, indent=1)


def read_record(path: Path) -> Record:
    """Read a record and check that it is whole and as it was written.

    Raises:
        RecordError: If it is missing, of a newer schema, incomplete, or was edited.
    """
    data = read_json(path, "record")
    foreign = RecordError(f"{path} is no record of stillwired. Name a record.json.")
    if not isinstance(data, dict) or "schema" not in data:
        raise foreign
    if data["schema"] != SCHEMA:
        newer = isinstance(data["schema"], int) and data["schema"] > SCHEMA
        raise RecordError(
            f"{path} has schema {data['schema']}, and this version reads schema {SCHEMA}. "
            + ("Upgrade stillwired." if newer else "It was not written by stillwired.")
        )
    if "declarations" not in data:
        raise foreign  # the matrix beside it, say, which has a schema as well
    missing = [key for key in _KEYS if key not in data]
    if missing:
        raise RecordError(
            f"{path} lacks {', '.join(missing)}. It was cut short or edited; run the claims again."
        )
    digest = digest_of({key: value for key, value in data.items() if key not in _UNDIGESTED})
    if digest != data["digest"]:
        raise RecordError(
            f"{path} does not match its digest: it was edited after it was written. "
            "Restore the original, or run the claims again."
        )
    return Record(path, data)


def cell_name(verdict: Mapping[str, Any]) -> str:
    """Return the name of a stored verdict's cell within its record."""
    from stillwired.judge.results import cell_key

    return cell_key(verdict["claim"], verdict["params"])


def in_place(cells: Iterable[Cell]) -> list[Cell]:
    """Sort by claim, then by parameters, numbers by size; never by who finished first."""
    return sorted(cells, key=_place)


def added(times: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Add up times of several processes or runs, by what they were spent on."""
    found: dict[str, float] = {}
    for spent in times:
        for kind, seconds in spent.items():
            found[kind] = round(found.get(kind, 0.0) + seconds, 3)
    return found


def _place(cell: Cell) -> tuple[Any, ...]:
    params = sorted(cell.verdict["params"].items())
    return (
        cell.verdict["claim"],
        [(k, isinstance(v, str), str(v) if isinstance(v, str) else v) for k, v in params],
    )


def _checkpoint(spec: str | None, facts: RunFacts) -> Json:
    # Where a copy lies differs from machine to machine and says nothing about the model.
    known = {k: v for k, v in facts.checkpoints.get(spec or "", {}).items() if k != "folder"}
    return {"spec": spec, **known, "regime": dict(facts.regime)}
