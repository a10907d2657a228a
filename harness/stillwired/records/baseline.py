"""Baselines: what later records are compared with, small enough to keep under version control.

A baseline is made from a record by somebody who accepts its verdicts: a JSON file with a few
lines for each cell, to be read in review, beside a table of the outcomes that a comparison needs.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillwired.errors import RecordError
from stillwired.records.evidence import evidence_from_json, outcome_ids, read_table, write_table
from stillwired.records.files import digest_of, read_json, write_whole
from stillwired.records.record import Record, cell_name, outcomes_path, read_record

if TYPE_CHECKING:
    from stillwired.judge.changes import Judged
    from stillwired.judge.claims import Claim
    from stillwired.judge.results import Verdict
    from stillwired.outcomes import Outcome

Json = dict[str, Any]

SCHEMA = 1
FOLDER = Path("ci", "baselines")

_ABOUT = ("checkpoint", "profile", "layers", "seed", "corpus", "tasks")
# What the first records and baselines lack, and some later ones.
_WHERE_KNOWN = ("environment", "sizes", "refits")
_REQUIRED = (*_ABOUT, "accepted", "note", "cells", "declarations", "outcomes", "digest")
# A cell's lines: what it is, how it came out, and what it was judged from.
_CELL = (
    ("claim", "version", "params"),
    ("verdict", "estimate", "low", "high", "primary"),
    ("arms", "ability"),
)
_JUDGED = (*_CELL[0], *_CELL[1])
_DECIMALS = 6


@dataclass(frozen=True)
class Side:
    """A record or a baseline, as one of two that are compared.

    Attributes:
        path: Its file.
        data: Its content: checkpoint, profile, layers, seed, corpus, tasks and declarations are
            the same in both, and so are environment, sizes and refits where they are known.
        cells: What it says of every cell, by key. Both have ``arms`` and ``ability``, as ids of
            outcomes and only as far as they are compared.
        outcomes: The outcomes by id, where they have been read already.
    """

    path: Path
    data: Json
    cells: Mapping[str, Json]
    outcomes: Mapping[str, Outcome] | None = None

    @classmethod
    def of_record(
        cls, path: Path, data: Json, outcomes: Mapping[str, Outcome] | None = None
    ) -> Side:
        """Take a record's content for a side."""
        from stillwired.judge.claims import Claim

        claims = {name: Claim.from_json(about) for name, about in data["declarations"].items()}
        cells = {
            cell_name(verdict): {**verdict, **_compared(verdict, claims[verdict["claim"]])}
            for verdict in data["verdicts"]
        }
        return cls(path, data, cells, outcomes)

    def held(self, verdict: Verdict) -> bool:
        """Whether the cell of a verdict held here."""
        return self.cells.get(verdict.key, {}).get("verdict") == "HOLDS"

    def ids(self, keys: Collection[str]) -> list[str]:
        """Return the ids of the outcomes behind some cells, in order of appearance."""
        cells = [_measured(cell) for key, cell in self.cells.items() if key in keys]
        return list(dict.fromkeys(name for cell in cells for name in outcome_ids(cell)))

    def judged(self, keys: Collection[str]) -> dict[str, Judged]:
        """Return every cell, and with those of these keys what they were judged from.

        Raises:
            RecordError: If the table is missing, damaged or was edited.
            ClaimError: If a declaration has no meaning to this version.
        """
        from stillwired.judge.changes import Judged
        from stillwired.judge.claims import Claim

        outcomes = self.read(self.ids(keys))
        claims = {name: Claim.from_json(data) for name, data in self.data["declarations"].items()}
        nothing: Json = {"arms": {}, "ability": {}, "null": {}, "planted": {}, "instrument": []}
        found = {}
        for key, cell in self.cells.items():
            measured = _measured(cell) if key in keys else {}
            evidence = evidence_from_json(nothing | measured, outcomes)
            found[key] = Judged(claims[cell["claim"]], _verdict(cell), evidence)
        return found

    def read(self, ids: Iterable[str]) -> Mapping[str, Outcome]:
        """Return outcomes by id, read from the table unless they are here.

        Raises:
            RecordError: If the table is missing, damaged or was edited.
        """
        if self.outcomes is not None:
            return self.outcomes
        wanted = {name: self.data["outcomes"][name] for name in ids}
        return read_table(outcomes_path(self.path), wanted)


def read_side(path: Path) -> Side:
    """Read a record or a baseline, and check that it is whole and as it was written.

    Raises:
        RecordError: If it is neither, of a newer schema, incomplete, a part of a divided run, or
            was edited.
    """
    data = read_json(path, "record or baseline")
    if not (isinstance(data, dict) and "baseline" in data):
        record = read_record(path)
        _require_no_part(record)
        return Side.of_record(path, record.data)
    if data["baseline"] != SCHEMA:
        newer = isinstance(data["baseline"], int) and data["baseline"] > SCHEMA
        raise RecordError(
            f"{path} is a baseline of schema {data['baseline']}, and this version reads schema "
            f"{SCHEMA}. "
            + ("Upgrade stillwired." if newer else "It was not written by stillwired.")
        )
    missing = [key for key in _REQUIRED if key not in data]
    if missing:
        raise RecordError(
            f"{path} lacks {', '.join(missing)}. It was cut short or edited; accept the record "
            "again."
        )
    if digest_of({key: value for key, value in data.items() if key != "digest"}) != data["digest"]:
        raise RecordError(
            f"{path} does not match its digest: it was edited after it was written. "
            "Restore the original, or accept a record again."
        )
    return Side(path, data, {cell_name(cell): cell for cell in data["cells"]})


def read_finished(path: Path) -> Record:
    """Read the record of a run that came to its end.

    Raises:
        RecordError: If the run was interrupted, or the record cannot be read or trusted.
    """
    for folder in (path, path.parent, path.with_suffix(".run")):
        if not path.is_file() and (folder / "cells").is_dir():
            raise RecordError(
                f"The run in {folder} was interrupted and left no record. Run the claims again to "
                "the end."
            )
    return read_record(path)


def default_place(record: Record) -> Path:
    """Return where a record's baseline is kept unless another place is named."""
    name = record.data["checkpoint"].get("name") or "no-model"
    return FOLDER / f"{name}-{record.data['profile']}.json"


def accept(
    record: Record, out: Path, *, note: str = "", date: str = "", force: bool = False
) -> Json:
    """Write a record's baseline.

    Args:
        record: The record whose verdicts are accepted.
        out: The JSON file; the outcomes are written beside it.
        note: Why they are accepted.
        date: The day on which they are.
        force: Replace a baseline that is there already.

    Returns:
        What was written.

    Raises:
        RecordError: If cells are BROKEN or were not judged, if there is a file already, or if the
            folder cannot be written.
    """
    data = record.data
    _require_whole(record)
    _require_place(out, record, force=force)
    side = Side.of_record(record.path, data)
    ids = side.ids(side.cells.keys())
    content: Json = {
        "baseline": SCHEMA,
        "accepted": date,
        "note": note,
        "record": data["digest"],
        **{key: data.get(key, []) for key in _ABOUT},  # the first records lack layers
        **{key: data[key] for key in _WHERE_KNOWN if key in data},
        "cells": [_kept(cell) for cell in side.cells.values()],
        "declarations": data["declarations"],
        "outcomes": {name: data["outcomes"][name] for name in ids},
    }
    content["digest"] = digest_of(content)
    write_table(outcomes_path(out), side.read(ids), small=True)
    text = _laid_out(content)

    def write(file: Path) -> None:
        file.write_text(text, encoding="utf-8")

    write_whole(out, write)
    return content


def _require_no_part(record: Record) -> None:
    if "shard" in record.data:
        raise RecordError(
            f"{record.path} is a part of a divided run. Put the parts together with `stillwired "
            "merge`, and take what comes out."
        )


def _require_whole(record: Record) -> None:
    data, path = record.data, record.path
    _require_no_part(record)
    if data.get("redraw"):
        raise RecordError(
            f"{path} is of a redraw ({data['redraw']}), which asks about the suite. Accept the "
            "record of a run without --claims-redraw."
        )
    if data.get("incomplete"):
        raise RecordError(
            f"{path} is of a run that an error or -x kept from judging every claim. Run the "
            "claims again to the end, and accept that record."
        )
    broken = [cell_name(v) for v in data["verdicts"] if v["verdict"] == "BROKEN"]
    if broken:
        raise RecordError(
            f"{path} has {len(broken)} BROKEN {'cell' if len(broken) == 1 else 'cells'}, "
            f"{broken[0]} for one. A measurement that cannot be trusted is nothing to compare "
            "with: find out why, and run the claims again."
        )


def _require_place(out: Path, record: Record, *, force: bool) -> None:
    if out.suffix != ".json":
        raise RecordError(
            f"{out} does not end in .json. Name the JSON file; the outcomes are written beside it."
        )
    if out.resolve() == record.path.resolve():
        raise RecordError(f"{out} is the record itself. Name another file with --out.")
    taken = [path for path in (out, outcomes_path(out)) if path.exists()]
    if taken and not force:
        raise RecordError(
            f"There is a file {taken[0]} already. Replace it with --force, or name another "
            "with --out."
        )


def _compared(verdict: Mapping[str, Any], claim: Claim) -> Json:
    """Return the arms and abilities that a comparison of a cell needs, by id."""
    if claim.reported or verdict["verdict"] not in ("HOLDS", "FAILS", "INCONCLUSIVE"):
        return {"arms": {}, "ability": {}}
    names = {arm for expectation in claim.expects for arm in expectation.arms}
    evidence = verdict["evidence"]
    arms = {name: arm for name, arm in evidence["arms"].items() if name in names}
    return {"arms": arms, "ability": evidence["ability"]}


def _measured(cell: Mapping[str, Any]) -> Json:
    return {name: cell[name] for name in _CELL[2]}


def _verdict(cell: Mapping[str, Any]) -> Verdict:
    """Return a cell's verdict; of a baseline's, what is kept there."""
    from stillwired.judge.results import Verdict, Word

    if "parts" in cell:
        return Verdict.from_json(cell)
    return Verdict(**{**{name: cell[name] for name in _JUDGED}, "verdict": Word(cell["verdict"])})


def _kept(cell: Mapping[str, Any]) -> Json:
    kept = {name: cell[name] for line in _CELL for name in line}
    figures = {name: kept[name] for name in ("estimate", "low", "high")}
    return kept | {
        name: None if value is None else round(value, _DECIMALS) for name, value in figures.items()
    }


def _laid_out(content: Json) -> str:
    """Write a baseline so that a cell that changes changes a few lines."""
    entries = []
    for key, value in content.items():
        text = _line(value)
        if key == "cells":
            text = _listed("[]", [_lines(cell) for cell in value])
        elif isinstance(value, dict):
            text = _listed("{}", [f"{_line(name)}: {_line(item)}" for name, item in value.items()])
        entries.append(f"{_line(key)}: {text}")
    return _listed("{}", entries, indent=0) + "\n"


def _lines(cell: Json) -> str:
    lines = [", ".join(f"{_line(name)}: {_line(cell[name])}" for name in line) for line in _CELL]
    return _listed("{}", lines, indent=2)


def _listed(brackets: str, items: Sequence[str], indent: int = 1) -> str:
    """Write items a line each, between brackets that stand as far in as ``indent`` says."""
    if not items:
        return brackets
    lines = ",\n".join(f"{' ' * (indent + 1)}{item}" for item in items)
    return f"{brackets[0]}\n{lines}\n{' ' * indent}{brackets[1]}"


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
