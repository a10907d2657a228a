"""Records of the shards of one run, put together as if the run had never been divided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from stillwired.errors import RecordError
from stillwired.records.evidence import outcome_ids, read_table
from stillwired.records.making import called, short
from stillwired.records.record import (
    Record,
    added,
    cell_name,
    in_place,
    outcomes_path,
    put_together,
    read_record,
)
from stillwired.records.run import Cell

if TYPE_CHECKING:
    from stillwired.outcomes import Outcome

Json = dict[str, Any]

# Machines of one kind may differ in their system, and a fleet's in the model of its processors.
_DIFFERING = {"platform", "cpu"}


@dataclass(frozen=True)
class Merged:
    """What shards add up to.

    Attributes:
        record: The record; without ``shard`` where every part is there.
        outcomes: Its outcomes, in the order of first use.
        missing: Numbers of the parts that are not there, empty for a whole run.
        incomplete: Numbers of the parts in which an error kept cells from being judged.
    """

    record: Json
    outcomes: dict[str, Outcome]
    missing: tuple[int, ...]
    incomplete: tuple[int, ...]


def merge_records(paths: Sequence[Path], *, partial: bool = False) -> Merged:
    """Merge the records of one run's shards, for one checkpoint.

    What comes out has the digest of the record of an undivided run on the same machine.

    Args:
        paths: The records; a merged part may be among them.
        partial: Merge what is there although parts are missing. The result is a part itself, and
            does not gate.

    Raises:
        RecordError: If a record cannot be read or is no shard's, if they are not of one run, or
            if parts are missing.
    """
    read = [read_record(path) for path in paths]
    # The same record under two names counts once.
    records = list({record.data["digest"]: record for record in read}.values())
    for record in records:
        if "shard" not in record.data:
            raise RecordError(
                f"{record.path} is a whole record and no shard's, so there is nothing to merge. "
                "Shards are what `pytest --claims-shard 1/2` writes."
            )
    first = records[0]
    for other in records[1:]:
        _check_alike(first, other)
    held = _parts(records)
    missing = tuple(sorted(set(first.data["shard"]["holders"]) - set(held)))
    if missing and not partial:
        raise RecordError(
            f"Of the {first.data['shard']['of']} shards of this run {_numbers(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not here. Name their records too, or merge "
            "what there is with --partial; what comes out does not gate."
        )
    incomplete = {part for part, record in held.items() if record.data.get("incomplete")}
    about = _about(records)
    if missing:
        about["shard"] = {**first.data["shard"], "parts": sorted(held)}
    if incomplete:
        about["incomplete"] = True
    cells = _cells(records)
    whole = put_together(cells, about)
    whole["times"] = _times(records, cells)
    outcomes = _outcomes(records, whole["outcomes"])
    return Merged(whole, outcomes, missing, tuple(sorted(incomplete)))


def require_place(out: Path, records: Sequence[Path]) -> None:
    """Refuse a place for the merged record before anything is read.

    Raises:
        RecordError: If it is no JSON file, or one of the records themselves.
    """
    if out.suffix != ".json":
        raise RecordError(
            f"{out} does not end in .json. Name the JSON file; the outcomes are written beside it."
        )
    for record in records:
        if out.resolve() in (record.resolve(), outcomes_path(record).resolve()):
            raise RecordError(
                f"The merged record would take the place of {record}. Name another file with --out."
            )


def _check_alike(first: Record, other: Record) -> None:
    """Refuse a record of another run, naming what differs."""
    a, b = first.data, other.data

    def differ(what: str, one: Any, two: Any, remedy: str) -> NoReturn:
        raise RecordError(
            f"{first.path} and {other.path} are not shards of one run: {what} is {one} in one and "
            f"{two} in the other. {remedy}"
        )

    # Where a checkpoint lies may differ from machine to machine; its digest may not.
    for key in sorted({*a["checkpoint"], *b["checkpoint"]} - {"spec"}):
        one, two = a["checkpoint"].get(key), b["checkpoint"].get(key)
        if one != two:
            name = "the regime" if key == "regime" else f"the checkpoint's {key}"
            differ(name, one, two, "Run every shard on the same checkpoint in the same regime.")
    for key in ("profile", "layers", "seed"):
        if a[key] != b[key]:
            differ(f"the {key}", a[key], b[key], f"Run every shard with the same {key}.")
    # Of the first records neither is known.
    here, there = (data["environment"].get("code", {}) for data in (a, b))
    for name in {**here, **there}:
        if here.get(name) != there.get(name):
            differ(
                f"the code of {called(name)}",
                short(here.get(name)),
                short(there.get(name)),
                "Run every shard from one state of the code.",
            )
    here, there = (_computed_by(data["environment"]) for data in (a, b))
    for name in {**here, **there}:
        if here.get(name) != there.get(name):
            differ(
                name,
                here.get(name),
                there.get(name),
                "Install the same versions everywhere, and set OMP_NUM_THREADS.",
            )
    for key, what in (("corpus", "the text"), ("tasks", "the digests of the tasks")):
        # A shard whose claims need no text has read none.
        if None not in (a[key], b[key]) and a[key] != b[key]:
            differ(what, a[key], b[key], "Run every shard on the same data.")
    for key, what in (
        ("of", "the number of shards"),
        ("plan", "the digest of what is claimed and who judges it"),
    ):
        if a["shard"][key] != b["shard"][key]:
            differ(
                what,
                a["shard"][key],
                b["shard"][key],
                "Run every shard of the same claims, as one version declares them, with the same "
                "-k and -m.",
            )


def _parts(records: Sequence[Record]) -> dict[int, Record]:
    """Return which record holds which part, refusing a part that is there twice and differs."""
    held: dict[int, Record] = {}
    for record in records:
        for part in record.data["shard"]["parts"]:
            other = held.setdefault(part, record)
            if other.data["digest"] != record.data["digest"]:
                raise RecordError(
                    f"{other.path} and {record.path} are both shard {part} and differ. Name the "
                    "one that counts; a claim is not run until it passes."
                )
    return held


def _about(records: Sequence[Record]) -> Json:
    """Say once what holds for all parts."""
    first = records[0].data
    about = {key: first[key] for key in ("checkpoint", "profile", "layers", "seed")}
    about["environment"] = {**first["environment"]}
    for key in _DIFFERING & first["environment"].keys():
        told = dict.fromkeys(record.data["environment"].get(key, "") for record in records)
        about["environment"][key] = "; ".join(told)
    for key in ("corpus", "tasks"):
        about[key] = next((r.data[key] for r in records if r.data[key] is not None), None)
    if "sizes" in first:
        about["sizes"] = first["sizes"]
    about["figures"] = _union(records, "figures")
    refits = _union(records, "refits")
    if refits:
        about["refits"] = refits
    return about


def _cells(records: Sequence[Record]) -> list[Cell]:
    """Take every cell once."""
    found: dict[str, tuple[Cell, Record]] = {}
    for record in records:
        data = record.data
        for stored in data["verdicts"]:
            evidence = stored["evidence"]
            key = cell_name(stored)
            cell = Cell(
                order=0,
                spec=data["checkpoint"]["spec"],
                declaration=data["declarations"][stored["claim"]],
                verdict={name: value for name, value in stored.items() if name != "evidence"},
                evidence=evidence,
                outcomes={name: data["outcomes"][name] for name in outcome_ids(evidence)},
                seconds=data["times"]["cells"].get(key, 0.0),
            )
            other, where = found.setdefault(key, (cell, record))
            same = (other.verdict, other.evidence) == (cell.verdict, cell.evidence)
            if not same or other.declaration != cell.declaration:
                raise RecordError(
                    f"{where.path} and {record.path} both judge {key} and do not agree. The "
                    "shards were dealt out from different claims, or are not of one run."
                )
    return [cell for cell, _ in found.values()]


def _outcomes(records: Sequence[Record], wanted: Mapping[str, Any]) -> dict[str, Outcome]:
    """Read the outcomes from the parts' tables, each checked against its id."""
    found: dict[str, Outcome] = {}
    for record in records:
        needed = {k: about for k, about in record.data["outcomes"].items() if k not in found}
        found |= read_table(outcomes_path(record.path), needed) if needed else {}
    return {name: found[name] for name in wanted}


def _times(records: Sequence[Record], cells: Sequence[Cell]) -> Json:
    """Add up what the parts took; they may have run side by side."""
    times = [record.data["times"] for record in records]
    sweeps: dict[str, list[int]] = {}
    for one in times:
        for label, counts in one.get("sweeps", {}).items():
            sweeps[label] = [a + b for a, b in zip(sweeps.get(label, (0, 0)), counts, strict=True)]
    return {
        "started": min(one["started"] for one in times),
        "seconds": round(sum(one["seconds"] for one in times), 3),
        "cells": {cell_name(cell.verdict): cell.seconds for cell in in_place(cells)},
        "steps": added(one["steps"] for one in times),
        "sweeps": dict(sorted(sweeps.items())),
        "spent": added(one.get("spent", {}) for one in times),
    }


def _union(records: Sequence[Record], key: str) -> Json:
    """Put the entries that records have under a key together, sorted as one run has them."""
    found: dict[str, tuple[Any, Record]] = {}
    for record in records:
        for name, value in record.data.get(key, {}).items():
            other, where = found.setdefault(name, (value, record))
            if other != value:
                raise RecordError(
                    f"{where.path} and {record.path} have other {key} for {name!r}. They are not "
                    "shards of one run."
                )
    return {name: found[name][0] for name in sorted(found)}


def _computed_by(environment: Json) -> Json:
    """Return libraries and threads; what code there was is compared by itself."""
    apart = {*_DIFFERING, "packages", "code"}
    rest = {k: v for k, v in environment.items() if k not in apart}
    return {**rest, **environment["packages"]}


def _numbers(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
