"""Evidence on disk: outcomes under the digest of their content, claims' arms by that digest.

An outcome that several cells use is stored once, and a table that was edited or belongs to
another record is noticed when it is read.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillwired.errors import RecordError
from stillwired.records.files import plain_json, write_whole

if TYPE_CHECKING:
    from stillwired.judge.results import Evidence
    from stillwired.outcomes import Arm, Outcome

Json = dict[str, Any]

COLUMNS = ("outcome", "example", "cluster", "score")


def outcome_id(outcome: Outcome) -> str:
    """Return the digest of an outcome: name, factors and every row, in order."""
    digest = hashlib.sha256()
    head = {"name": outcome.name, "factors": dict(sorted(outcome.factors.items()))}
    digest.update(plain_json(head).encode("utf-8"))
    for column in (outcome.examples, outcome.clusters):
        digest.update(plain_json(column.tolist()).encode("utf-8"))
    digest.update(outcome.scores.astype("<f8").tobytes())
    return digest.hexdigest()[:32]


def describe(outcome: Outcome) -> Json:
    """Return what a record says about an outcome beside its rows."""
    return {"name": outcome.name, "factors": dict(outcome.factors), "rows": len(outcome)}


def evidence_to_json(evidence: Evidence) -> tuple[Json, dict[str, Outcome]]:
    """Return evidence with every outcome replaced by its id, and the outcomes by id."""
    outcomes: dict[str, Outcome] = {}

    def arm_to_json(arm: Arm) -> str | dict[str, str]:
        if isinstance(arm, Mapping):
            return {label: str(arm_to_json(member)) for label, member in arm.items()}
        name = outcome_id(arm)
        outcomes[name] = arm
        return name

    def arms_to_json(arms: Mapping[str, Arm]) -> Json:
        return {name: arm_to_json(arm) for name, arm in arms.items()}

    data: Json = {
        "arms": arms_to_json(evidence.arms),
        "null": arms_to_json(evidence.null),
        "planted": arms_to_json(evidence.planted),
        "ability": arms_to_json(evidence.ability),
        "instrument": [asdict(check) for check in evidence.instrument],
    }
    # Where nothing stands beside, evidence is written as it always was.
    if evidence.beside:
        data["beside"] = arms_to_json(evidence.beside)
    if evidence.facts:
        data["facts"] = dict(evidence.facts)
    if evidence.obstacle is not None:
        data["obstacle"] = asdict(evidence.obstacle)
    return data, outcomes


def evidence_from_json(data: Mapping[str, Any], outcomes: Mapping[str, Outcome]) -> Evidence:
    """Rebuild evidence from a record.

    Raises:
        RecordError: If it names an outcome that is not there.
    """
    from stillwired.judge.results import Evidence, InstrumentCheck, Obstacle

    def outcome(name: str) -> Outcome:
        try:
            return outcomes[name]
        except KeyError:
            raise RecordError(
                f"The record refers to outcome {name}, which its table does not hold. "
                "The table belongs to another record, or was cut short."
            ) from None

    def arms(block: str) -> dict[str, Arm]:
        return {
            name: {label: outcome(member) for label, member in arm.items()}
            if isinstance(arm, Mapping)
            else outcome(arm)
            for name, arm in data[block].items()
        }

    return Evidence(
        arms=arms("arms"),
        null=arms("null"),
        planted=arms("planted"),
        ability={name: outcome(member) for name, member in data["ability"].items()},
        instrument=tuple(InstrumentCheck(**check) for check in data["instrument"]),
        beside=arms("beside") if "beside" in data else {},
        facts=data.get("facts", {}),
        obstacle=Obstacle(**data["obstacle"]) if "obstacle" in data else None,
    )


def outcome_ids(data: Mapping[str, Any]) -> list[str]:
    """Return the ids of every outcome that evidence refers to, in order of appearance."""
    ids: dict[str, None] = {}
    for block in ("arms", "null", "planted", "ability", "beside"):
        for arm in data.get(block, {}).values():
            for name in arm.values() if isinstance(arm, Mapping) else (arm,):
                ids[name] = None
    return list(ids)


def write_table(
    path: Path, outcomes: Mapping[str, Outcome], *, small: bool = False, sweep: bool = True
) -> None:
    """Write outcomes as Parquet: one row per example, in the order given.

    Args:
        path: The file.
        outcomes: The outcomes by id.
        small: Name the examples that outcomes share once for all of them, at the price of reading
            the whole table for any one.
        sweep: As in `write_whole`.

    Raises:
        RecordError: If the folder cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    coded = pa.dictionary(pa.int32(), pa.string())
    schema = pa.schema(
        [("outcome", coded), ("example", coded), ("cluster", coded), ("score", pa.float64())]
    )

    def tables() -> Iterator[Any]:
        for name, outcome in outcomes.items():
            columns = [
                pa.array([name] * len(outcome)).dictionary_encode(),
                pa.array(outcome.examples.tolist()).dictionary_encode(),
                pa.array(outcome.clusters.tolist()).dictionary_encode(),
                pa.array(outcome.scores),
            ]
            yield pa.Table.from_arrays(columns, schema=schema)

    def write(file: Path) -> None:
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            if small and outcomes:
                writer.write_table(pa.concat_tables(tables()).unify_dictionaries())
                return
            for table in tables():
                writer.write_table(table)

    write_whole(path, write, sweep=sweep)


def read_table(path: Path, described: Mapping[str, Mapping[str, Any]]) -> dict[str, Outcome]:
    """Read outcomes that a record describes, and check each against its id.

    Only the rows of those asked for are read, be they few of many.

    Raises:
        RecordError: If the table is missing or damaged, or its rows are not the record's.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from stillwired.outcomes import Outcome

    if not path.is_file():
        raise RecordError(
            f"The record's outcomes are missing: there is no {path}. "
            "Keep the two files together, under the names they were written with."
        )
    try:
        wanted = [("outcome", "in", list(described))] if described else None
        table = pq.read_table(path, columns=list(COLUMNS), filters=wanted)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise RecordError(
            f"The outcomes in {path} cannot be read ({error}). "
            "The file may have been cut short; run the claims again."
        ) from error
    # By way of an array: its rows share their texts, where a list spells every one out.
    names, examples, clusters = (
        np.asarray(table.column(column).to_numpy(), dtype=np.str_) for column in COLUMNS[:3]
    )
    scores = table.column("score").to_numpy()
    starts = [0, *(np.flatnonzero(names[1:] != names[:-1]) + 1).tolist(), len(names)]
    rows = {
        str(names[low]): slice(low, high) for low, high in itertools.pairwise(starts) if high > low
    }
    outcomes: dict[str, Outcome] = {}
    for name, about in described.items():
        part = rows.get(name)
        if part is not None:
            outcome = Outcome(
                name=about["name"],
                examples=examples[part],
                clusters=clusters[part],
                scores=scores[part],
                factors=about["factors"],
            )
            if outcome_id(outcome) == name:
                outcomes[name] = outcome
                continue
        raise RecordError(
            f"The rows of outcome {about['name']!r} in {path} are not the ones that the record "
            "was judged from. The two files are of different runs, or were edited."
        )
    return outcomes


def save_outcomes(folder: Path, outcomes: Mapping[str, Outcome]) -> None:
    """Keep each outcome in a file of its own, named after its id; present ones are left.

    The folder is a run's, and goes with what was left unfinished in it.
    """
    for name, outcome in outcomes.items():
        path = folder / f"{name}.parquet"
        if not path.exists():
            write_table(path, {name: outcome}, sweep=False)


def load_outcomes(
    folder: Path, names: Iterable[str], described: Mapping[str, Mapping[str, Any]]
) -> dict[str, Outcome]:
    """Read outcomes kept by :func:`save_outcomes`, in the order asked for."""
    return {
        name: read_table(folder / f"{name}.parquet", {name: described[name]})[name]
        for name in names
    }
