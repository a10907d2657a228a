"""Claims against mutants: what each damage made of each claim, read from the records of one run.

A matrix has a row for every primary cell and a column for every mutant. It answers three
questions: which claims survive the mutant that they name, which damaged instruments nobody
noticed, and which harmless damage cost a claim its HOLDS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillwired.errors import RecordError, UsageError
from stillwired.mutants.catalogue import Mutant, mutant_named, split_spec
from stillwired.records.files import write_json
from stillwired.records.record import Record, read_record

if TYPE_CHECKING:
    from stillwired.judge.results import Verdict, Word

Json = dict[str, Any]

SCHEMA = 1
_SHARED = ("profile", "layers", "seed", "corpus", "tasks")


@dataclass(frozen=True)
class Row:
    """One primary cell under every mutant.

    Attributes:
        claim: The claim's id.
        params: The cell's parameters.
        declares: The mutant that the claim names.
        sound: The verdict on the undamaged checkpoint.
        damaged: The verdicts by mutant; one that was not judged is missing.
        killed_by: The mutants that brought it to FAILS and left it what it presupposes.
    """

    claim: str
    params: Mapping[str, Any]
    declares: str
    sound: Word
    damaged: Mapping[Mutant, Word]
    killed_by: tuple[Mutant, ...]


@dataclass(frozen=True)
class Survivor:
    """A claim or a mutant that should not have come through.

    Attributes:
        name: The claim's id, or the mutant's name.
        why: What it came out as.
    """

    name: str
    why: str


@dataclass(frozen=True)
class Matrix:
    """One checkpoint's claims against the mutants that were tried.

    Attributes:
        record: The undamaged checkpoint's record.
        checkpoint: Name of the undamaged checkpoint.
        digest: Its digest.
        profile: Name of the profile.
        seed: The suite's seed.
        mutants: The mutants, in the order in which they are listed.
        rows: The primary cells, by claim.
        noticed: Mutants that some cell, primary or not, told from the undamaged checkpoint.
    """

    record: Path
    checkpoint: str
    digest: str
    profile: str
    seed: int
    mutants: tuple[Mutant, ...]
    rows: tuple[Row, ...]
    noticed: frozenset[Mutant]

    @property
    def tried(self) -> dict[str, list[Row]]:
        """Rows by claim, of the claims whose own mutant was tried or does not exist."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            if (own := _own(row)) is None or own in self.mutants:
                found.setdefault(row.claim, []).append(row)
        return found

    @property
    def standing(self) -> list[Survivor]:
        """Claims that the mutant that they name did not bring to FAILS."""
        found = []
        for claim, rows in self.tried.items():
            own = _own(rows[0])
            if own is None:
                found.append(Survivor(claim, f"there is no mutant {rows[0].declares!r}"))
            elif not any(own in row.killed_by for row in rows):
                words = [
                    f"{row.sound}, damaged {row.damaged.get(own, 'not judged')}" for row in rows
                ]
                found.append(Survivor(claim, f"{'; '.join(words)} ({own.name})"))
        return found

    @property
    def unnoticed(self) -> list[Survivor]:
        """Damaged instruments that no claim, no check and no error gave away."""
        return [
            Survivor(mutant.name, "no cell that held fails, and none is broken")
            for mutant in self.instruments
            if mutant not in self.noticed
        ]

    @property
    def costly(self) -> list[Survivor]:
        """Harmless mutants under which a primary cell no longer holds."""
        return [
            Survivor(mutant.name, f"{_cell(row)}: {row.damaged[mutant]}")
            for mutant in self.mutants
            for row in self.rows
            if mutant.harmless
            and row.sound == "HOLDS"
            and row.damaged.get(mutant, row.sound) != "HOLDS"
        ]

    @property
    def instruments(self) -> list[Mutant]:
        """The damaged instruments among the mutants."""
        return [mutant for mutant in self.mutants if mutant.damages == "instrument"]

    def to_json(self) -> Json:
        """Return plain data: everything that a report shows."""
        return {
            "schema": SCHEMA,
            "checkpoint": self.checkpoint,
            "digest": self.digest,
            "profile": self.profile,
            "seed": self.seed,
            "mutants": [
                {
                    "name": mutant.name,
                    "slug": mutant.slug,
                    "damages": mutant.damages,
                    "harmless": mutant.harmless,
                    "noticed": mutant in self.noticed,
                }
                for mutant in self.mutants
            ],
            "rows": [
                {
                    "claim": row.claim,
                    "params": dict(row.params),
                    "declares": row.declares,
                    "sound": str(row.sound),
                    "damaged": {mutant.slug: str(word) for mutant, word in row.damaged.items()},
                    "killed_by": [mutant.slug for mutant in row.killed_by],
                }
                for row in self.rows
            ],
            **{
                kind: [{"name": one.name, "why": one.why} for one in getattr(self, kind)]
                for kind in ("standing", "unnoticed", "costly")
            },
        }


def matrices(paths: Sequence[Path]) -> list[Matrix]:
    """Read records and put them together, one matrix for each undamaged checkpoint.

    Args:
        paths: Records of undamaged and of damaged checkpoints, in any order. Records of claims
            that read no checkpoint are passed over.

    Raises:
        RecordError: If a record cannot be read, the undamaged checkpoint of a mutant is missing,
            two records are of the same one, or records are not of one kind.
    """
    sound: dict[str, Record] = {}
    damaged: dict[str, dict[Mutant, Record]] = {}
    for record in map(read_record, paths):
        whole = record.data["checkpoint"]["spec"]
        if whole is None:
            continue
        spec, mutant = _split(record, whole)
        if mutant is None:
            taken = sound.setdefault(spec, record)
        else:
            taken = damaged.setdefault(spec, {}).setdefault(mutant, record)
        if taken is not record:
            raise RecordError(
                f"{taken.path} and {record.path} are both of {whole}. Name one of them."
            )
    for spec, records in damaged.items():
        if spec not in sound:
            first = next(iter(records.values()))
            raise RecordError(
                f"{first.path} is of a damaged {spec}, and no record is of the undamaged one. "
                "Name that one as well."
            )
    return [matrix_of(record, damaged[spec]) for spec, record in sound.items() if spec in damaged]


def matrix_of(sound: Record, damaged: Mapping[Mutant, Record]) -> Matrix:
    """Put the records of one checkpoint together.

    Args:
        sound: The undamaged checkpoint's record.
        damaged: Those of the same checkpoint under mutants.

    Raises:
        RecordError: If one differs in what was measured, or in what was claimed.
    """
    from stillwired.judge.claims import Claim
    from stillwired.judge.kills import kills, notices

    for record in damaged.values():
        _check_alike(sound, record)
    claims = {name: Claim.from_json(data) for name, data in sound.data["declarations"].items()}
    before = {verdict.key: verdict for verdict in sound.verdicts}
    after: dict[Mutant, dict[str, Verdict]] = {
        mutant: {verdict.key: verdict for verdict in record.verdicts}
        for mutant, record in damaged.items()
    }
    rows = [
        Row(
            claim=verdict.claim,
            params=verdict.params,
            declares=claims[verdict.claim].mutant or "",
            sound=verdict.verdict,
            damaged={m: found[key].verdict for m, found in after.items() if key in found},
            killed_by=tuple(
                mutant
                for mutant, found in after.items()
                if key in found and kills(claims[verdict.claim], verdict, found[key])
            ),
        )
        for key, verdict in before.items()
        if verdict.primary
    ]
    noticed = {
        mutant
        for mutant, found in after.items()
        if any(key in found and notices(verdict, found[key]) for key, verdict in before.items())
    }
    # A claim that names a mutant and fails under it has noticed it, wherever it stood before.
    noticed |= {own for row in rows if (own := _own(row)) in row.killed_by and own is not None}
    return Matrix(
        record=sound.path,
        checkpoint=sound.data["checkpoint"].get("name", ""),
        digest=sound.data["checkpoint"].get("digest", ""),
        profile=sound.data["profile"],
        seed=sound.data["seed"],
        mutants=tuple(after),
        rows=tuple(rows),
        noticed=frozenset(noticed),
    )


def matrix_path(record: Path) -> Path:
    """Return where the matrix lies that belongs to an undamaged checkpoint's record."""
    if record.name == "record.json":
        return record.with_name("matrix.json")
    if record.name.startswith("record-"):
        return record.with_name(f"matrix-{record.name.removeprefix('record-')}")
    return record.with_name(f"{record.stem}.matrix.json")


def write_matrix(path: Path, matrix: Matrix) -> None:
    """Write a matrix, whole or not at all.

    Raises:
        RecordError: If the folder cannot be written.
    """
    write_json(path, matrix.to_json(), indent=1)


def _own(row: Row) -> Mutant | None:
    """The mutant that a row's claim names, if there is one of that name."""
    try:
        return mutant_named(row.declares)
    except UsageError:
        return None


def _cell(row: Row) -> str:
    from stillwired.judge.results import cell_key

    return cell_key(row.claim, row.params)


def _split(record: Record, whole: str) -> tuple[str, Mutant | None]:
    try:
        return split_spec(whole)
    except UsageError as error:
        raise RecordError(f"{record.path}: {error}") from error


def _check_alike(sound: Record, record: Record) -> None:
    for key in _SHARED:
        if sound.data.get(key) != record.data.get(key):
            raise RecordError(
                f"{record.path} and {sound.path} differ in {key}: {record.data.get(key)} and "
                f"{sound.data.get(key)}. A matrix wants records of one run."
            )
    for name, declared in record.data["declarations"].items():
        if sound.data["declarations"].get(name, declared) != declared:
            raise RecordError(
                f"{record.path} and {sound.path} declare {name} differently. Judge both again "
                "with the same claims."
            )
